# Operators that the card lacks and that work in place: the result goes into the tensor's own memory.

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import paddle
import pytest
from compared import fallen, on_both

CHANGES: dict[str, Callable[[Any], Any]] = {
    "the tensor itself": lambda x: x.sin_(),
    "a row": lambda x: x[1].cos_(),
    "a transposed view": lambda x: x.T.tan_(),
    "a detached tensor": lambda x: x.detach().sin_(),
    "another shape": lambda x: x.reshape([12]).sin_(),
}


@pytest.mark.parametrize("name", CHANGES)
def test_all_that_share_the_memory_see_the_change(name: str) -> None:
    def change() -> list[np.ndarray]:
        x = paddle.to_tensor(np.linspace(0.5, 3 + 1j, 12, dtype=np.complex64).reshape(3, 4))
        other = x.detach()
        changed = CHANGES[name](x)
        return [x.numpy(), other.numpy(), changed.numpy(), (x + x).numpy()]

    card, cpu = on_both(change)
    for ours, theirs in zip(card, cpu, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-6)


def test_they_do_fall_back() -> None:
    """Else the cases above show nothing."""
    x = paddle.to_tensor([0.5 + 1j])
    assert fallen(x.sin_) == {"sin": 1}
    assert fallen(x.cos_) == {"cos": 1}
    assert fallen(x.tan_) == {"tan": 1}


def test_pending_work_on_the_card_comes_first() -> None:
    x = paddle.zeros([1 << 20], "complex64")
    one = paddle.ones([1], "complex64")
    for _ in range(50):
        x.add_(one)
    x.sin_()
    for _ in range(50):
        x.add_(one)
    np.testing.assert_allclose(x[:: 1 << 18].numpy(), np.full(4, np.sin(50.0) + 50), rtol=1e-5)
