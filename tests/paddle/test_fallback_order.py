# Operators on the CPU wait for the card's pending work and come before what follows, lists of tensors included.

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import paddle
import pytest
from compared import fallen, on_both


def late(x: Any) -> Any:
    """`x`, but only after a good deal of work on the card."""
    heavy = paddle.zeros([1 << 20])
    for _ in range(30):
        heavy = heavy + 1.0
    return x + (heavy[: x.size].reshape(x.shape) - 30.0).astype(x.dtype)


def rows(x: Any) -> Any:
    return late(paddle.to_tensor([2, 0, 1]))


def lstm(x: Any) -> Any:
    layer = paddle.nn.LSTM(5, 3)
    rng = np.random.default_rng(0)
    for parameter in layer.parameters():
        parameter.set_value(late(paddle.to_tensor(rng.normal(0, 0.5, parameter.shape).astype(np.float32))))
    return layer(x.unsqueeze(0))[0]


OPERATORS: dict[str, Callable[[Any], Any]] = {
    "sine": lambda x: paddle.sin(paddle.complex(x, late(x))).abs(),
    "tangent": lambda x: paddle.tan(late(paddle.complex(x, x))).abs(),
    "index_put": lambda x: paddle.index_put(x, (rows(x),), late(x[:3] * 2.0)),
    "indices": lambda x: x[rows(x)],
    "mask": lambda x: x[x > 1.5],
    "meshgrid": lambda x: sum(paddle.meshgrid(x[0], late(x[:, 1]))),
    "einsum": lambda x: paddle.einsum("ij,kj->ik", x, late(x)),
    "sort": lambda x: paddle.sort(x, 1),
    "lstm": lstm,
    "interpolate": lambda x: paddle.nn.functional.interpolate(
        x.reshape([1, 1, 4, 5]), scale_factor=2.0, mode="bilinear"
    ),
    "repeat": lambda x: paddle.repeat_interleave(x, late(paddle.to_tensor([1, 2, 0, 1, 2])), 1),
    "complex": lambda x: paddle.complex(x, late(x)).abs(),
    "cumprod": lambda x: paddle.cumprod(x, 1),
}


@pytest.mark.parametrize("name", OPERATORS)
def test_values_and_gradients(name: str) -> None:
    def run() -> list[np.ndarray]:
        start = np.random.default_rng(1).uniform(1, 2, (4, 5)).astype(np.float32)
        x = paddle.to_tensor(start, stop_gradient=False)
        out = OPERATORS[name](late(x))
        later = late(out) * 2.0
        (later**2).sum().backward()
        return [out.numpy(), later.numpy(), x.grad.numpy()]

    if not fallen(run):
        pytest.skip("it does not fall back any more: the case shows nothing")
    card, cpu = on_both(run)
    for ours, theirs in zip(card, cpu, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-5)
