# Gradients that conformance rows cannot compare: straight-through estimators, gradients of draws, of assignments in place.
from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import paddle
import pytest
from compared import device, fallen

ops = paddle._C_ops


@pytest.fixture(autouse=True)
def on_the_card(paddle_xpu: Any) -> None:
    paddle.set_device("xpu")


def numbers(*shape: int) -> np.ndarray:
    return np.random.default_rng(3).standard_normal(shape).astype(np.float32)


QUANTIZERS: dict[str, Callable[[Any], Any]] = {
    "whole": lambda x: ops.fake_quantize_dequantize_abs_max(x, 8, 1)[0],
    "by channel": lambda x: ops.fake_channel_wise_quantize_dequantize_abs_max(x, 8, 1, 0)[0],
    "moving average": lambda x: ops.fake_quantize_dequantize_moving_average_abs_max(
        x, paddle.ones([1]), paddle.ones([1]), paddle.ones([1]), 0.9, 8, False, 1
    )[0],
}


@pytest.mark.parametrize("name", QUANTIZERS)
def test_fake_quantization_passes_the_gradient_through(name: str) -> None:
    x, d = numbers(4, 33), numbers(33, 4).T.copy()

    def run() -> np.ndarray:
        t = paddle.to_tensor(x, stop_gradient=False)
        (gradient,) = paddle.grad(QUANTIZERS[name](t), [t], paddle.to_tensor(d))
        result: np.ndarray = gradient.numpy()
        return result

    got: list[np.ndarray] = []
    assert not fallen(lambda: got.append(run()))
    np.testing.assert_array_equal(got[0], d)
    with device("cpu"):
        np.testing.assert_array_equal(run(), d)


@pytest.mark.parametrize("axis", [0, 1, -1])
def test_gumbel_softmax(axis: int) -> None:
    x, d = numbers(5, 7), numbers(7, 5).T.copy()
    t = paddle.to_tensor(x, stop_gradient=False)
    out = paddle.nn.functional.gumbel_softmax(t, axis=axis)
    (gradient,) = paddle.grad(out, [t], paddle.to_tensor(d))
    y = out.numpy().astype(np.float64)
    np.testing.assert_allclose(y.sum(axis), 1, rtol=1e-5)
    expected = y * (d - (d * y).sum(axis, keepdims=True))
    np.testing.assert_allclose(gradient.numpy(), expected, rtol=1e-4, atol=1e-6)


def test_assignment_by_indices() -> None:
    x, v, d = numbers(6, 7, 8), numbers(5, 8), numbers(8, 7, 6).T.copy()
    rows, columns = np.array([0, 3, 5, 1, 2]), np.array([6, 0, 2, 2, 4])

    def run() -> list[np.ndarray]:
        a, b = (paddle.to_tensor(t, stop_gradient=False) for t in (x, v))
        c = a * 1.0
        c[paddle.to_tensor(rows), paddle.to_tensor(columns)] = b
        return [g.numpy() for g in paddle.grad(c, [a, b], paddle.to_tensor(d))]

    got: list[list[np.ndarray]] = []
    assert not fallen(lambda: got.append(run()))
    expected = d.copy()
    expected[rows, columns] = 0
    np.testing.assert_array_equal(got[0][0], expected)
    np.testing.assert_array_equal(got[0][1], d[rows, columns])
