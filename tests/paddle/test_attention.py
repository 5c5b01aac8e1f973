# Paddle's attention functions: for a device named xpu they choose kernels that only Kunlun's build has.

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import paddle
import pytest
from compared import fallen, on_both

F = paddle.nn.functional
FUNCTIONS: dict[str, Callable[[Any, Any, Any], Any]] = {
    "scaled_dot_product": F.scaled_dot_product_attention,
    "causal": lambda q, k, v: F.scaled_dot_product_attention(q, k, v, is_causal=True),
    "with a mask": lambda q, k, v: F.scaled_dot_product_attention(
        q, k, v, attn_mask=paddle.tril(paddle.ones([7, 7])).log().clip(-1e4).reshape([1, 1, 7, 7])
    ),
    "flash_attention": lambda q, k, v: F.flash_attention.flash_attention(q, k, v, causal=True)[0],
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_values_and_gradients(name: str) -> None:
    def attend() -> list[np.ndarray]:
        rng = np.random.default_rng(0)
        tensors = [
            paddle.to_tensor(rng.normal(0, 1, (2, 7, 4, 8)).astype(np.float32), stop_gradient=False) for _ in range(3)
        ]  # fmt: skip
        out = FUNCTIONS[name](*tensors)
        (out**2).sum().backward()
        return [out.numpy(), *[t.grad.numpy() for t in tensors]]

    card, cpu = on_both(attend)
    for ours, theirs in zip(card, cpu, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-5)
    assert fallen(attend) == {}
