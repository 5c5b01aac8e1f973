"""When work runs: in stream order, on the right stream, with memory that lives until the launch has run."""

import gc
import signal

import numpy as np
import pytest
import triton
import triton.language as tl

import openxpu
from openxpu import _runtime
from openxpu.triton import launch, numpy_argument


@triton.jit
def slow_increment(x, n, steps, BLOCK: tl.constexpr):
    i = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    v = tl.load(x + i, mask=i < n)
    for _ in range(steps):
        v = v * 1.5 + 1
        v = (v - 1) / 1.5
    tl.store(x + i, v + 1, mask=i < n)


N, STEPS = 4096, 2000


def test_in_stream_order():
    x = openxpu.zeros(N)
    for _ in range(20):
        slow_increment[(4,)](x, N, STEPS, BLOCK=1024)
    np.testing.assert_allclose(x.numpy(), 20, rtol=1e-3)


def test_on_the_current_stream():
    x = openxpu.zeros(N)
    openxpu.synchronize()
    slow_increment[(4,)](x, N, 2, BLOCK=1024)
    openxpu.synchronize()
    stream = openxpu.Stream()
    for _ in range(3):
        with stream:
            for _ in range(10):
                slow_increment[(4,)](x, N, 20 * STEPS, BLOCK=1024)
            assert not stream.query()
            assert openxpu.current_device().card.default_stream.query()
        stream.synchronize()
    np.testing.assert_allclose(x.numpy(), 31, rtol=1e-2)


def test_arrays_that_are_dropped_before_another_stream_has_used_them():
    stream = openxpu.Stream()
    total = openxpu.zeros(N)
    openxpu.synchronize()
    for turn in range(30):
        x = openxpu.from_numpy(np.full(N, turn, "f4"))  # of the default stream
        openxpu.synchronize()
        with stream:
            slow_increment[(4,)](x, N, STEPS, BLOCK=1024)
            add_to[(4,)](total, x, N, BLOCK=1024)
        del x
        gc.collect(0)  # a whole collection takes seconds when thousands of tests have run
        for _ in range(4):  # would take the freed block over
            openxpu.from_numpy(np.full(N, 1e6, "f4"))
    stream.synchronize()
    np.testing.assert_allclose(total.numpy(), sum(range(1, 31)), rtol=1e-3)


@triton.jit
def add_to(total, x, n, BLOCK: tl.constexpr):
    i = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    tl.store(total + i, tl.load(total + i, mask=i < n) + tl.load(x + i, mask=i < n), mask=i < n)


def test_between_operators_of_paddle(paddle_xpu):
    paddle_xpu.set_device("xpu")
    x = paddle_xpu.zeros([N])
    for _ in range(20):
        y = x + 1
        add_to[(4,)](y, x * 0 + 1, N, BLOCK=1024)  # the second tensor is dropped at once
        x = y * 1
    np.testing.assert_array_equal(x.numpy(), np.full(N, 40))


def test_paddle_tensors_use_paddles_stream(paddle_xpu):
    from openxpu.paddle.streams import current_stream

    paddle_xpu.set_device("xpu")
    stream = current_stream(0)
    assert stream.card.id == 0
    assert stream.handle == current_stream(0).handle
    assert stream.handle != _runtime.card(0).default_stream.handle
    other = paddle_xpu.device.Stream("xpu:0")
    with paddle_xpu.device.stream_guard(other):
        assert current_stream(0).handle != stream.handle
    assert current_stream(0).handle == stream.handle


def test_card_arrays_beside_paddle_tensors_are_ordered_both_ways(paddle_xpu):
    paddle_xpu.set_device("xpu")
    for _ in range(10):
        array = openxpu.zeros(N)
        tensor = paddle_xpu.zeros([N])
        for _ in range(5):
            slow_increment[(4,)](array, N, STEPS, BLOCK=1024)  # the array's stream
        add_to[(4,)](tensor, array, N, BLOCK=1024)  # Paddle's stream
        slow_increment[(4,)](array, N, 2, BLOCK=1024)
        np.testing.assert_allclose(tensor.numpy(), 5, rtol=1e-3)
        np.testing.assert_allclose(array.numpy(), 6, rtol=1e-3)


def test_an_explicit_stream():
    x = openxpu.zeros(N)
    kernel = slow_increment.warmup(x, N, STEPS, BLOCK=1024, grid=(1,))
    stream = openxpu.Stream()
    openxpu.synchronize()
    kernel[(4, 1, 1)](x, N, STEPS, 1024, stream=stream)
    stream.synchronize()
    np.testing.assert_allclose(x.numpy(), 1, rtol=1e-3)


def test_memory_shared_by_dlpack():
    torch = pytest.importorskip("torch")
    array = openxpu.zeros(N)
    shared = torch.from_dlpack(array)
    for _ in range(3):
        slow_increment[(4,)](shared, N, STEPS, BLOCK=1024)
        shared.mul_(2)  # torch knows nothing of the card's streams
    np.testing.assert_allclose(array.numpy(), 14, rtol=1e-3)


@pytest.mark.parametrize("warm", [False, True])
def test_an_interrupted_wait_keeps_host_memory(warm):
    def interrupt(number, frame):
        raise KeyboardInterrupt

    argument = numpy_argument(np.zeros(N, "f4"))
    slow_increment.warmup(argument, N, 16, BLOCK=1024, grid=(4,))  # an interrupt must not meet the compiler
    for _ in range(3 if warm else 0):
        slow_increment[(4,)](argument, N, 16, BLOCK=1024)
    launch.abandoned.clear()
    before = signal.signal(signal.SIGALRM, interrupt)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.01)
        with pytest.raises(KeyboardInterrupt):
            slow_increment[(4,)](argument, N, 4_000_000, BLOCK=1024)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert len(launch.abandoned) == 1
    openxpu.synchronize()
    launch.abandoned.clear()
