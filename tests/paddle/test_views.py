# Views share memory with their base: reading, changing in place and differentiating through them.

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import paddle
import pytest
from compared import on_both

CHANGES: dict[str, Callable[[Any], Any]] = {
    "row": lambda x: x[1].add_(paddle.ones([4])),
    "column": lambda x: x[:, 1].multiply_(paddle.full([3], 3.0)),
    "transposed": lambda x: x.T.scale_(2.0),
    "block": lambda x: x[1:, 1:3].zero_(),
    "filled": lambda x: x[:, ::2].fill_(7.0),
    "flat": lambda x: x.reshape([12]).subtract_(paddle.arange(12, dtype="float32")),
    "detached": lambda x: x.detach().exp_(),
    "item": lambda x: x.__setitem__((slice(None), 2), 5.0),
    "rows from a view": lambda x: x.__setitem__(slice(0, 2), x[1:].flip(0)),
    "diagonal": lambda x: paddle.diagonal(x).copy_(paddle.zeros([3]), True),
}


@pytest.mark.parametrize("name", CHANGES)
def test_a_change_in_place_reaches_the_base(name: str) -> None:
    def change() -> np.ndarray:
        x = paddle.to_tensor(np.linspace(0.5, 3, 12, dtype=np.float32).reshape(3, 4))
        CHANGES[name](x)
        return x.numpy()

    card, cpu = on_both(change)
    np.testing.assert_allclose(card, cpu, rtol=1e-6)


GRADIENTS: dict[str, Callable[[Any], Any]] = {
    "slice": lambda x: x[1:, 1],
    "steps": lambda x: x[::2, ::-1],
    "transpose and flatten": lambda x: x.reshape([3, 2, 2]).transpose([1, 0, 2]).flatten(1),
    "squeeze": lambda x: x.unsqueeze(1).transpose([2, 1, 0]).squeeze(1),
    "expand": lambda x: x.unsqueeze(0).expand([2, 3, 4])[1],
    "as_strided": lambda x: paddle.as_strided(x, [2, 3], [4, 1], 4),
    "diagonal": paddle.diagonal,
    "unfold": lambda x: x.unfold(1, 2, 1),
    "split": lambda x: x.split(2, axis=1)[1] * x.chunk(2, axis=1)[0],
    "view": lambda x: x.T.contiguous().view([2, 6]),
}


@pytest.mark.parametrize("name", GRADIENTS)
def test_gradients_through_views(name: str) -> None:
    def differentiate() -> tuple[np.ndarray, np.ndarray]:
        x = paddle.to_tensor(np.linspace(-1, 3, 12, dtype=np.float32).reshape(3, 4), stop_gradient=False)
        y = GRADIENTS[name](x)
        weight = np.arange(1, y.size + 1, dtype=np.float32).reshape(y.shape)
        (y * y * paddle.to_tensor(weight)).sum().backward()
        return y.numpy(), x.grad.numpy()

    card, cpu = on_both(differentiate)
    for ours, theirs in zip(card, cpu, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-6)
