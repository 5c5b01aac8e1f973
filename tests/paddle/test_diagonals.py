# diagonal in programs, where it is a kernel (in eager calls it is Paddle's view).

from __future__ import annotations

import numpy as np
import paddle
import pytest

from openxpu.paddle import counters


@pytest.mark.parametrize("dtype", ["float32", "float64", "float16"])
@pytest.mark.parametrize(("offset", "axis1", "axis2"), [(0, 0, 1), (1, 0, 2), (-2, -1, 1), (9, 0, 1)])
def test_diagonal_and_its_gradient(dtype: str, offset: int, axis1: int, axis2: int) -> None:
    array = np.random.default_rng(0).integers(-9, 9, (3, 4, 5)).astype(dtype)
    paddle.enable_static()
    program, start = paddle.static.Program(), paddle.static.Program()
    with paddle.static.program_guard(program, start):
        x = paddle.static.data("x", [3, 4, 5], dtype)
        x.stop_gradient = False
        y = paddle.diagonal(x, offset, axis1, axis2)
        gradient = paddle.static.gradients([y * y], [x])
    before = counters.native_calls()
    executor = paddle.static.Executor(paddle.CustomPlace("xpu", 0))
    value, dx = executor.run(program, feed={"x": array}, fetch_list=[y, *gradient])
    after = counters.native_calls()
    np.testing.assert_array_equal(value, np.diagonal(array, offset, axis1, axis2))
    want = np.zeros_like(array)
    diagonal = np.diagonal(want, offset, axis1, axis2)
    diagonal.flags.writeable = True
    diagonal[...] = 2 * np.diagonal(array, offset, axis1, axis2)
    np.testing.assert_array_equal(dx, want)
    for kernel in ("diagonal", "diagonal_grad"):
        assert after[kernel] > before.get(kernel, 0)
