# Values and gradients of Paddle's CPU kernels in f64: a reference that nobody here wrote.
from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import paddle


def on_cpu() -> Any:
    """A context in which Paddle's current device is the CPU: with the plug-in it would be a card, and the reference our
    own work. (`paddle.set_device` could not restore the card by its name, which only `openxpu.paddle` teaches it.)"""
    return paddle.base.framework._dygraph_place_guard(paddle.CPUPlace())


class Reference:
    """`function` of Paddle tensors, applied to NumPy arrays. Floating operands are widened to f64 and are leaves."""

    def __init__(self, function: Callable[..., Any], *operands: np.ndarray) -> None:
        with on_cpu():
            self._leaves = [_leaf(operand) for operand in operands]
            self._result = function(*self._leaves)
            assert self._result.place.is_cpu_place()

    @property
    def value(self) -> np.ndarray:
        return np.asarray(self._result.numpy())

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(self._result.shape)

    def gradients(self, d: np.ndarray) -> list[np.ndarray]:
        """The gradient of every floating operand for the result's gradient `d`."""
        wanted = [leaf for leaf in self._leaves if not leaf.stop_gradient]
        with on_cpu():
            upstream = paddle.to_tensor(np.asarray(d, np.float64).reshape(self.shape))
            return [np.asarray(g.numpy()) for g in paddle.grad([self._result], wanted, [upstream])]

    def gradient(self, d: np.ndarray) -> np.ndarray:
        """The gradient of the only floating operand."""
        (gradient,) = self.gradients(d)
        return gradient


def _leaf(operand: np.ndarray) -> Any:
    operand = np.asarray(operand)
    floating = operand.dtype.kind not in "biuc"  # ml_dtypes' bfloat16 is of kind V
    tensor = paddle.to_tensor(operand.astype(np.float64) if floating else operand)
    tensor.stop_gradient = not floating
    return tensor


__all__ = ["Reference", "on_cpu"]
