# Operators that the card lacks and that work in place: the result goes into the tensor's own memory.

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import paddle
import pytest
from compared import fallen, on_both

CHANGES: dict[str, Callable[[Any], Any]] = {
    "the tensor itself": lambda x: x.tril_(),
    "a row": lambda x: x[1].cumsum_(),
    "a transposed view": lambda x: x.T.tril_(),
    "a detached tensor": lambda x: x.detach().cumsum_(0),
    "another shape": lambda x: x.reshape([12]).cumsum_(),
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
    x = paddle.to_tensor([[0.5 + 1j]])
    assert fallen(x.tril_) == {"tril": 1}
    assert fallen(x.cumsum_) == {"cumsum": 1}
    assert fallen(x.round_) == {"round": 1}


def test_pending_work_on_the_card_comes_first() -> None:
    x = paddle.zeros([1 << 20], "complex64")
    part = paddle.full([1], 0.033, "complex64")
    for _ in range(50):
        x.add_(part)
    x.round_()
    for _ in range(50):
        x.add_(part)
    np.testing.assert_allclose(x[:: 1 << 18].numpy(), np.full(4, 2 + 50 * 0.033), rtol=1e-5)
