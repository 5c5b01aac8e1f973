# The name "xpu" in every place where programs write it, after a plain `import paddle`.

from __future__ import annotations

import numpy as np
import paddle
import pytest


def on_card(tensor: paddle.Tensor) -> bool:
    return bool(tensor.place.is_custom_place()) and tensor.place.custom_device_type() == "xpu"


@pytest.mark.parametrize("name", ["xpu", "xpu:0"])
def test_set_device(name: str) -> None:
    paddle.set_device(name)
    assert paddle.get_device() == "xpu:0"
    assert on_card(paddle.ones([2]))


@pytest.mark.parametrize("name", ["xpu", "xpu:0", paddle.CustomPlace("xpu", 0)])
def test_to_tensor_place(name: object) -> None:
    tensor = paddle.to_tensor([1.0, 2.0], place=name)
    assert on_card(tensor)
    np.testing.assert_array_equal(tensor.numpy(), [1.0, 2.0])


def test_tensor_to_and_back() -> None:
    host = paddle.to_tensor(np.arange(6, dtype="float32"), place="cpu")
    card = host.to("xpu:0")
    assert on_card(card)
    back = card.to("cpu")
    assert back.place.is_cpu_place()
    np.testing.assert_array_equal(back.numpy(), host.numpy())


def test_full_device() -> None:
    assert on_card(paddle.full([2], 3.0, device="xpu:0"))


def test_missing_card_names_those_that_exist() -> None:
    with pytest.raises(ValueError, match=r"xpu:7 .*these cards: xpu:0"):
        paddle.set_device("xpu:7")
    with pytest.raises(ValueError, match=r"these cards: xpu:0"):
        paddle.to_tensor([1.0], place="xpu:7")


def test_device_module() -> None:
    paddle.set_device("xpu")
    xpu = paddle.device.xpu
    assert xpu.device_count() == 1
    before = xpu.memory_allocated()
    tensor = paddle.ones([1024, 1024])
    xpu.synchronize()
    assert xpu.memory_allocated() >= before + 4 * 2**20
    assert xpu.max_memory_allocated("xpu:0") >= xpu.memory_allocated(0)
    assert xpu.memory_reserved() >= xpu.memory_allocated()
    assert 0 < xpu.memory_used() <= xpu.memory_total()
    del tensor
    xpu.empty_cache()
    assert xpu.memory_allocated() <= before


def test_streams_and_events() -> None:
    paddle.set_device("xpu")
    stream, event = paddle.device.xpu.Stream(), paddle.device.xpu.Event(enable_timing=True)
    event.record(stream)
    event.synchronize()
    assert event.query()
    stream.synchronize()
    other = paddle.device.Stream("xpu:0")
    with paddle.device.stream_guard(other):
        tensor = paddle.ones([128]) + 1.0
    other.synchronize()
    assert float(tensor.sum().item()) == 256.0
    paddle.device.synchronize()


def test_compiled_with() -> None:
    assert paddle.is_compiled_with_xpu()
    assert paddle.device.is_compiled_with_xpu()
    assert paddle.is_compiled_with_custom_device("xpu")
    assert paddle.base.is_compiled_with_xpu()
    assert paddle.base.core.is_compiled_with_xpu()


@pytest.mark.parametrize("asked", ["core.is_compiled_with_xpu()", "is_compiled_with_xpu()"])
def test_paddle_itself_is_not_compiled_with_it(asked: str) -> None:
    """Its own code must not look for Kunlun's library."""
    assert not eval(asked, vars(paddle.base.framework))


def test_places_of_the_built_in_device() -> None:
    place = paddle.XPUPlace(0)
    assert on_card(paddle.to_tensor([1.0], place=place))
    assert on_card(paddle.to_tensor([1.0], place=paddle.base.core.XPUPlace()))
    assert (
        [str(p) for p in paddle.static.xpu_places()]
        == ["Place(xpu:0)"]
        == [str(p) for p in paddle.static.xpu_places([0])]
    )
    assert not isinstance(paddle.CPUPlace(), paddle.XPUPlace)
    with pytest.raises(ValueError, match=r"xpu:7 .*these cards: xpu:0"):
        paddle.XPUPlace(7)
    paddle.enable_static()
    try:
        main = paddle.static.Program()
        with paddle.static.program_guard(main):
            x = paddle.static.data("x", [2], "float32")
            y = x + 1.0
        (out,) = paddle.static.Executor(place).run(main, feed={"x": np.ones(2, "float32")}, fetch_list=[y])
    finally:
        paddle.disable_static()
    np.testing.assert_array_equal(out, [2.0, 2.0])


def test_static_device_guard() -> None:
    paddle.enable_static()
    try:
        main = paddle.static.Program()
        with paddle.static.program_guard(main), paddle.static.device_guard("xpu:0"):
            x = paddle.static.data("x", [2, 2])
            y = x + 1.0
        out = paddle.static.Executor(paddle.CustomPlace("xpu", 0)).run(
            main, feed={"x": np.ones([2, 2], "float32")}, fetch_list=[y]
        )
    finally:
        paddle.disable_static()
    np.testing.assert_array_equal(out[0], np.full([2, 2], 2.0))


def test_other_names_are_left_alone() -> None:
    paddle.set_device("cpu")
    assert paddle.get_device() == "cpu"
    with pytest.raises(ValueError):
        paddle.set_device("gpu")
    paddle.set_device("xpu")
