# Scaled dot-product attention: planners and public functions.

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from openxpu.ops.creation import plan_cast
from openxpu.ops.plan import PlanBuilder, Tensor, Unsupported
from openxpu.ops.reduce import power_of_two
from openxpu.ops.run import run

if TYPE_CHECKING:
    from openxpu.runtime import Array

_DEPTH = 256  # the deepest head
DTYPES = ("f32", "f16", "bf16")


def _check(q: Tensor, k: Tensor, v: Tensor) -> tuple[int, int, int, int, int, int]:
    """(batch, queries, keys, heads, heads that share one of k, depth)."""
    if (
        q.ndim != 4
        or k.ndim != 4
        or v.shape != k.shape
        or q.shape[0] != k.shape[0]
        or q.shape[3] != k.shape[3]
    ):
        raise ValueError(
            f"attention takes q [batch, queries, heads, depth] and k, v [batch, keys, heads, depth]; found {q.shape}, "
            f"{k.shape} and {v.shape}"
        )
    batch, m, heads, depth = q.shape
    _, n, own, _ = k.shape
    if own == 0 or heads % own:
        raise ValueError(f"{heads} heads of queries cannot share {own} heads of keys: it must divide them")
    if q.dtype not in DTYPES or k.dtype != q.dtype or v.dtype != q.dtype:
        raise Unsupported(
            f"attention computes one of {', '.join(DTYPES)}, found {q.dtype}, {k.dtype}, {v.dtype}."
        )
    if depth > _DEPTH:
        raise Unsupported(f"attention holds heads of at most {_DEPTH} elements, found {depth}.")
    for name, tensor in (("q", q), ("k", k), ("v", v)):
        if tensor.strides[3] != 1 and depth > 1 and tensor.numel:
            raise ValueError(f"the last dimension of {name} must be dense, found strides {tensor.strides}")
    return batch, m, n, heads, heads // own, depth


def _strides(tensor: Tensor) -> tuple[int, int, int]:
    """Of batch, head, row."""
    return tensor.strides[0], tensor.strides[2], tensor.strides[1]


def plan_flash_attention(
    b: PlanBuilder, q: Tensor, k: Tensor, v: Tensor, out: Tensor, lse: Tensor, scale: float, causal: bool
) -> None:
    """out = softmax(q @ k.T * scale) @ v for q [batch, queries, heads, depth] and k, v [batch, keys, heads, depth], where
    heads of k and v may be shared by as many heads of q each; `causal`: query i sees keys up to i + keys - queries.
    lse [batch, heads, queries] f32 gets log2(sum(2^scores)) with the scores in powers of two, for the gradient."""
    batch, m, n, heads, groups, depth = _check(q, k, v)
    if out.numel == 0:
        return
    block_m = min(128, max(16, power_of_two(m)))
    block_n = min(128, max(16, power_of_two(n)))
    b.launch(
        "attention.flash_forward", (-(-m // block_m), batch * heads), q, k, v, out, lse, heads, groups, m, n, scale,
        *_strides(q), *_strides(k), *_strides(v), *_strides(out), cost=4 * batch * heads * m * n * depth,
        D=depth, BD=max(16, power_of_two(depth)), CAUSAL=int(causal), BM=block_m, BN=block_n,
    )  # fmt: skip


def plan_flash_attention_grad(
    b: PlanBuilder, q: Tensor, k: Tensor, v: Tensor, out: Tensor, lse: Tensor, dout: Tensor,
    dq: Tensor, dk: Tensor, dv: Tensor, scale: float, causal: bool,
) -> None:  # fmt: skip
    """The gradients of q, k and v from out and lse of the forward pass."""
    batch, m, n, heads, groups, depth = _check(q, k, v)
    if q.numel == 0 or k.numel == 0:
        for grad in (dq, dk, dv):
            b.zero(grad)
        return
    delta = b.scratch((batch, heads, m), "f32")
    wide = dq if dq.dtype == "f32" and dq.contiguous else b.scratch(q.shape, "f32")
    b.zero(wide)
    depth_tile = max(16, power_of_two(depth))
    block_m = min(64, max(16, power_of_two(m)))
    block_n = min(64, max(16, power_of_two(n)))
    rows = min(256, max(16, power_of_two(m)))
    b.launch(
        "attention.row_products", (-(-m // rows), batch * heads), out, dout, delta, heads, m,
        *_strides(out), *_strides(dout), cost=2 * out.nbytes, D=depth, BD=depth_tile, BM=rows,
    )  # fmt: skip
    b.launch(
        "attention.flash_backward", batch * heads // groups, q, k, v, dout, lse, delta, wide, dk, dv,
        heads, groups, m, n, scale, *_strides(q), *_strides(k), *_strides(v), *_strides(dout),
        *_strides(wide), *_strides(dk), *_strides(dv), cost=10 * batch * heads * m * n * depth,
        D=depth, BD=depth_tile, CAUSAL=int(causal), BM=block_m, BN=block_n,
    )  # fmt: skip
    if wide is not dq:
        plan_cast(b, wide, dq)


# ---- on arrays ----


def flash_attention(
    q: Array, k: Array, v: Array, scale: float | None = None, causal: bool = False
) -> tuple[Array, Array]:
    """softmax(q @ k.T * scale) @ v for q [batch, queries, heads, depth], and what the gradient needs (lse).
    `scale` is 1 / sqrt(depth) unless given."""
    if q.ndim != 4:
        raise ValueError(f"attention takes q [batch, queries, heads, depth], found shape {q.shape}")
    factor = 1 / math.sqrt(max(q.shape[3], 1)) if scale is None else scale
    lse = (q.shape[0], q.shape[2], q.shape[1])
    result: tuple[Array, Array] = run(
        plan_flash_attention, [q, k, v], [(q.shape, q.dtype), (lse, "f32")], factor, causal
    )
    return result


def flash_attention_grad(
    q: Array,
    k: Array,
    v: Array,
    out: Array,
    lse: Array,
    dout: Array,
    scale: float | None = None,
    causal: bool = False,
) -> tuple[Array, Array, Array]:
    """(dq, dk, dv) of `flash_attention`."""
    factor = 1 / math.sqrt(max(q.shape[3], 1)) if scale is None else scale
    grads = [(t.shape, t.dtype) for t in (q, k, v)]
    result: tuple[Array, Array, Array] = run(
        plan_flash_attention_grad, [q, k, v, out, lse, dout], grads, factor, causal
    )
    return result
