# Runs one function of Paddle on the card and on Paddle's own CPU device.

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import paddle

import openxpu.paddle


@contextmanager
def device(name: str) -> Iterator[None]:
    """Makes `name` the current device; the card is it again afterwards."""
    paddle.set_device(name)
    try:
        yield
    finally:
        paddle.set_device("xpu")


def on_both(function: Callable[[], Any]) -> tuple[Any, Any]:
    """What `function` returns on the card and on the CPU, each from seed 1."""
    results = []
    for name in ("xpu", "cpu"):
        with device(name):
            paddle.seed(1)
            results.append(function())
    return results[0], results[1]


def fallen(function: Callable[[], Any]) -> dict[str, int]:
    """The CPU fallbacks of one call."""
    before = openxpu.paddle.fallbacks()
    function()
    after = openxpu.paddle.fallbacks()
    return {name: count - before.get(name, 0) for name, count in after.items() if count > before.get(name, 0)}


def set_weights(layer: paddle.nn.Layer, seed: int = 0, scale: float = 0.1) -> None:
    """Weights from NumPy, so that a model is the same on every device."""
    rng = np.random.default_rng(seed)
    for parameter in layer.parameters():
        parameter.set_value(rng.normal(0, scale, parameter.shape).astype(np.float32))
