"""The first Triton tutorial, in every dtype and with every kind of argument."""

import ml_dtypes
import numpy as np
import pytest
import triton
import triton.language as tl

import openxpu
from openxpu.triton import numpy_argument


@triton.jit
def add_kernel(x_ptr, y_ptr, output_ptr, n_elements, BLOCK_SIZE: tl.constexpr):
    pid = tl.program_id(axis=0)
    block_start = pid * BLOCK_SIZE
    offsets = block_start + tl.arange(0, BLOCK_SIZE)
    mask = offsets < n_elements
    x = tl.load(x_ptr + offsets, mask=mask)
    y = tl.load(y_ptr + offsets, mask=mask)
    output = x + y
    tl.store(output_ptr + offsets, output, mask=mask)


def grid_of(n):
    return lambda meta: (triton.cdiv(n, meta["BLOCK_SIZE"]),)


@pytest.mark.parametrize("n", [1, 16, 1000, 98432])
def test_card_arrays(random, n):
    x, y = random.random(n, "f4"), random.random(n, "f4")
    out = openxpu.empty(n)
    for _ in range(4):  # Triton's way, then the fast path
        out.device.card.current_stream.fill(out.data_ptr(), 0xFF, out.nbytes)
        add_kernel[grid_of(n)](openxpu.from_numpy(x), openxpu.from_numpy(y), out, n, BLOCK_SIZE=1024)
        np.testing.assert_array_equal(out.numpy(), x + y)


@pytest.mark.parametrize("dtype", ["u8", "i8", "i16", "i32", "i64", "f16", "f32", "f64"])
def test_dtypes(random, dtype):
    x = (random.random(1000) * 50).astype(openxpu.runtime.array._NUMPY[dtype])
    out = openxpu.empty(1000, dtype)
    for _ in range(3):
        add_kernel[grid_of(1000)](openxpu.from_numpy(x), openxpu.from_numpy(x), out, 1000, BLOCK_SIZE=256)
    np.testing.assert_array_equal(out.numpy(), x + x)


def test_bf16(random):
    x = random.random(1000).astype(ml_dtypes.bfloat16)
    out = np.zeros_like(x)
    for _ in range(3):
        add_kernel[grid_of(1000)](
            numpy_argument(x), numpy_argument(x), numpy_argument(out), 1000, BLOCK_SIZE=256
        )
    np.testing.assert_array_equal(out, x + x)


def test_numpy(random):
    x, y = random.random(1000, "f4"), random.random(1000, "f4")
    for _ in range(4):
        out = np.full(1000, np.nan, "f4")
        add_kernel[grid_of(1000)](
            numpy_argument(x), numpy_argument(y), numpy_argument(out), 1000, BLOCK_SIZE=256
        )
        np.testing.assert_array_equal(out, x + y)  # at once: the launch has ended


def test_torch(random):
    torch = pytest.importorskip("torch")
    device = triton.runtime.driver.active.get_active_torch_device()
    x, y = torch.rand(1000, device=device), torch.rand(1000, device=device)
    for _ in range(4):
        out = torch.full_like(x, torch.nan)
        add_kernel[grid_of(1000)](x, y, out, 1000, BLOCK_SIZE=256)
        assert torch.equal(out, x + y)


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16", "int32", "int64", "uint8"])
def test_paddle(paddle_xpu, dtype):
    paddle_xpu.set_device("xpu")
    x = paddle_xpu.arange(1000).astype(dtype)
    for _ in range(4):
        y = x + x
        out = paddle_xpu.zeros_like(x)
        add_kernel[grid_of(1000)](x, y, out, 1000, BLOCK_SIZE=256)
        assert bool((out == x + y).all())


def test_paddle_on_the_cpu(paddle_xpu):
    x = paddle_xpu.arange(1000, dtype="float32").cpu()
    for _ in range(4):
        out = paddle_xpu.zeros_like(x)
        add_kernel[grid_of(1000)](x, x, out, 1000, BLOCK_SIZE=256)
        np.testing.assert_array_equal(out.numpy(), 2 * np.arange(1000, dtype="f4"))


def test_kinds_in_one_launch(paddle_xpu, random):
    paddle_xpu.set_device("xpu")
    x = random.random(1000, "f4")
    for _ in range(4):
        out = paddle_xpu.zeros([1000])
        array = openxpu.from_numpy(x)
        add_kernel[grid_of(1000)](array, numpy_argument(x), out, 1000, BLOCK_SIZE=256)
        np.testing.assert_array_equal(out.numpy(), x + x)
        add_kernel[grid_of(1000)](array, out, array, 1000, BLOCK_SIZE=256)
        np.testing.assert_array_equal(array.numpy(), x + x + x)
