"""Arrays: NumPy and DLPack both ways, views, devices, errors."""

from __future__ import annotations

import gc

import numpy as np
import pytest

import openxpu
from openxpu import _runtime
from openxpu.runtime.array import dtype_name

NUMPY_TYPES = [
    np.bool_, np.uint8, np.int8, np.int16, np.int32, np.int64,
    np.float16, np.float32, np.float64, np.complex64, np.complex128,
]  # fmt: skip


@pytest.mark.parametrize("dtype", NUMPY_TYPES)
@pytest.mark.parametrize("shape", [(), (0,), (1,), (3, 4), (2, 0, 5), (5, 1, 7)])
def test_numpy_round_trip(dtype: type[np.generic], shape: tuple[int, ...]) -> None:
    x = (np.random.default_rng(0).standard_normal(shape) * 5).astype(dtype)
    array = openxpu.from_numpy(x)
    assert array.shape == shape
    assert array.dtype == dtype_name(dtype)
    assert array.nbytes == x.nbytes
    back = openxpu.to_numpy(array)
    assert back.dtype == x.dtype
    np.testing.assert_array_equal(back, x)
    np.testing.assert_array_equal(np.asarray(array), x)


def test_strided_and_foreign_byte_order_sources() -> None:
    x = np.arange(24, dtype=np.float32).reshape(4, 6)
    for source in (x[::2, 1::2], x.T, x[::-1], x.astype(">f4")):
        np.testing.assert_array_equal(openxpu.from_numpy(source).numpy(), source)


def test_bfloat16_round_trip() -> None:
    ml_dtypes = pytest.importorskip("ml_dtypes")
    x = np.array([1.5, -2.25, 3e38, 1e-40, np.inf], ml_dtypes.bfloat16)
    array = openxpu.from_numpy(x)
    assert array.dtype == "bf16"
    assert array.numpy().dtype == ml_dtypes.bfloat16
    np.testing.assert_array_equal(array.numpy(), x)


def test_numpy_reads_card_memory_in_place() -> None:
    gc.collect()
    before = openxpu.memory_stats()["live"]
    array = openxpu.from_numpy(np.arange(6, dtype=np.float32).reshape(2, 3))
    view = np.from_dlpack(array)
    assert view.ctypes.data == array.data_ptr()
    np.testing.assert_array_equal(view, [[0, 1, 2], [3, 4, 5]])
    # The view keeps the memory.
    address = array.data_ptr()
    del array
    gc.collect()
    other = openxpu.zeros((2, 3))
    openxpu.synchronize()
    assert other.data_ptr() != address
    np.testing.assert_array_equal(view, [[0, 1, 2], [3, 4, 5]])
    assert openxpu.memory_stats()["live"] == before + 2
    del view, other
    gc.collect()
    assert openxpu.memory_stats()["live"] == before


def test_torch_shares_card_memory_and_writes_it() -> None:
    torch = pytest.importorskip("torch")
    array = openxpu.zeros((3, 5), "bf16")
    tensor = torch.from_dlpack(array)
    assert tensor.dtype == torch.bfloat16
    assert tensor.data_ptr() == array.data_ptr()
    tensor.fill_(2.5)
    assert (array.numpy().astype(np.float32) == 2.5).all()


def test_from_dlpack_copies_host_memory_and_shares_card_memory() -> None:
    x = np.arange(12, dtype=np.int64).reshape(3, 4)
    copied = openxpu.from_dlpack(x.T)
    np.testing.assert_array_equal(copied.numpy(), x.T)
    assert copied.device.card.owns(copied.data_ptr())
    x[:] = 0
    assert copied.numpy().any()
    shared = openxpu.from_dlpack(np.from_dlpack(copied))
    assert shared.data_ptr() == copied.data_ptr()
    np.testing.assert_array_equal(shared.numpy(), copied.numpy())


def test_dlpack_of_another_device_is_refused() -> None:
    array = openxpu.zeros(3)
    assert array.__dlpack_device__() == (1, 0)
    with pytest.raises(BufferError, match="CPU"):
        array.__dlpack__(dl_device=(2, 0))


def test_views_and_reshapes() -> None:
    x = np.arange(24, dtype=np.int32).reshape(2, 3, 4)
    array = openxpu.from_numpy(x)
    np.testing.assert_array_equal(array.reshape(4, -1).numpy(), x.reshape(4, -1))
    transposed = array.view((4, 3, 2), (1, 4, 12))
    assert not transposed.contiguous
    np.testing.assert_array_equal(transposed.numpy(), x.T)
    backwards = array.view((24,), (-1,), 23)
    np.testing.assert_array_equal(backwards.numpy(), x.ravel()[::-1])
    np.testing.assert_array_equal(array.view((5, 4), (0, 1), 4).numpy(), np.broadcast_to(x[0, 1], (5, 4)))
    for shape, strides, offset in [((25,), None, 0), ((2,), (24,), 0), ((1,), None, -1), ((2,), (-1,), 0)]:
        with pytest.raises(ValueError, match="outside"):
            array.view(shape, strides, offset)
    with pytest.raises(ValueError, match="cannot be seen"):
        array.reshape(5, 5)
    assert openxpu.from_numpy(np.array([[7.5]])).item() == 7.5
    with pytest.raises(ValueError, match="one element"):
        array.item()


def test_unknown_dtypes_and_devices() -> None:
    with pytest.raises(TypeError, match="cannot live on a card"):
        openxpu.from_numpy(np.array(["text"]))
    with pytest.raises(openxpu.Error, match=r"Card 7 was asked for.*one card: xpu:0"):
        openxpu.zeros(3, device="xpu:7")
    for name in ("gpu", "xpu:x", "xpu:-1", "xpu0"):
        with pytest.raises(ValueError, match="names no card"):
            openxpu.Device(name)
    assert openxpu.Device("xpu") == openxpu.Device(0) == openxpu.current_device()
    assert openxpu.device_count() >= 1


def test_philox_state_of_a_card() -> None:
    card = _runtime.card(0)
    openxpu.manual_seed(2**63 + 5)
    assert card.philox() == (2**63 + 5, 0)
    card.set_philox(3, 17)
    assert card.philox() == (3, 17)


def test_zero_clone_copy() -> None:
    values = np.arange(24, dtype=np.float32).reshape(4, 6)
    array = openxpu.from_numpy(values)
    copy = array.clone()
    assert array.zero_() is array
    assert not array.numpy().any()
    np.testing.assert_array_equal(copy.numpy(), values)
    assert array.copy_(copy) is array
    np.testing.assert_array_equal(array.numpy(), values)
    column = array.view((4,), (6,))
    for refused in (column.zero_, column.clone, lambda: column.copy_(column)):
        with pytest.raises(ValueError, match="contiguous"):
            refused()
    with pytest.raises(ValueError, match="shape, dtype and card must agree"):
        array.copy_(openxpu.from_numpy(values.ravel()))
