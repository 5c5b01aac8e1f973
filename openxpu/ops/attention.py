# Scaled dot-product attention: planners and public functions.

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from openxpu.ops.creation import plan_cast
from openxpu.ops.layout import plan_copy
from openxpu.ops.plan import OFFSET, SEED, PlanBuilder, Tensor, Unsupported, dtype_constexpr
from openxpu.ops.pointwise import broadcast_strides
from openxpu.ops.reduce import accumulation_dtype, power_of_two, real
from openxpu.ops.run import run

if TYPE_CHECKING:
    from openxpu.runtime import Array

_DEPTH = 256  # the deepest head
DTYPES = ("f32", "f64", "f16", "bf16")


@dataclass(frozen=True)
class Packed:
    """Sequences without padding: q, k and v are [rows, heads, depth], and sequence i has the rows from starts[i] up to
    starts[i + 1]. The longest of each is known, because it decides the grid."""

    q_starts: Tensor
    k_starts: Tensor
    longest_q: int
    longest_k: int


@dataclass(frozen=True)
class Padded:
    """Sequences of a batch that end early: i32 lengths of each one's queries and keys; `more` keys come on top.
    Rows of the result behind the end are left as they are."""

    q_lengths: Tensor
    k_lengths: Tensor
    more: int = 0


@dataclass(frozen=True)
class Mask:
    """What changes or forbids scores. `bias` is broadcast to [batch, heads, queries, keys] and added. `bounds` [batch,
    1 or heads, keys, 1 or 2 or 4] has row numbers for each key: causal, queries from the first up to the second
    (or the end) do not see it; else queries from the first, and queries before the second (2), or from the
    first to the second and from the third to the fourth (4). A weight is dropped with probability `drop`
    by the key and counter in `seeds` (i64, 2 elements)."""

    bias: Tensor | None = None
    bounds: Tensor | None = None
    seeds: Tensor | None = None
    drop: float = 0.0


@dataclass(frozen=True)
class _Problem:
    """q, k and v with a batch in front, and their extents. `queries` and `keys` are those of the longest sequence."""

    q: Tensor
    k: Tensor
    v: Tensor
    batch: int
    queries: int
    keys: int
    heads: int
    groups: int
    depth: int
    acc: str

    @property
    def products(self) -> int:
        return self.batch * self.heads * self.queries * self.keys * self.depth


def _batched(tensor: Tensor) -> Tensor:
    """Packed rows as a batch of one."""
    return tensor.view((1, *tensor.shape), (0, *tensor.strides)) if tensor.ndim == 3 else tensor


def _check(q: Tensor, k: Tensor, v: Tensor, packed: Packed | None = None) -> _Problem:
    ndim = 3 if packed else 4
    if (
        q.ndim != ndim
        or k.ndim != ndim
        or v.shape != k.shape
        or (packed is None and q.shape[0] != k.shape[0])
        or q.shape[-1] != k.shape[-1]
    ):
        raise ValueError(
            f"attention takes q [batch, queries, heads, depth] and k, v [batch, keys, heads, depth] (packed: without "
            f"the batch); found {q.shape}, {k.shape} and {v.shape}"
        )
    q, k, v = _batched(q), _batched(k), _batched(v)
    batch, m, heads, depth = q.shape
    _, n, own, _ = k.shape
    if packed is not None:
        batch, m, n = packed.q_starts.numel - 1, packed.longest_q, packed.longest_k
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
    return _Problem(q, k, v, batch, m, n, heads, heads // own, depth, accumulation_dtype(q.dtype))


def _strides(tensor: Tensor) -> tuple[int, int, int]:
    """Of batch, head, row."""
    tensor = _batched(tensor)
    return tensor.strides[0], tensor.strides[2], tensor.strides[1]


def _mask_arguments(b: PlanBuilder, p: _Problem, mask: Mask) -> tuple[list[Any], list[int], dict[str, int]]:
    """(pointers, strides, constexprs) of bias and bounds."""
    bias, bounds = mask.bias, mask.bounds
    steps, kind, ranges = [0] * 6, 0, 0
    if bias is not None:
        shape = (p.batch, p.heads, p.queries, p.keys)
        *outer, column = broadcast_strides(bias, shape)
        if column not in (0, 1):
            dense = b.scratch(bias.shape, bias.dtype)
            plan_copy(b, bias, dense)
            bias = dense
            *outer, column = broadcast_strides(bias, shape)
        steps[:3] = outer
        kind = 1 if column == 1 else 2
    if bounds is not None:
        if not bounds.contiguous or bounds.ndim != 4 or bounds.shape[3] not in (1, 2, 4):
            raise Unsupported(
                f"the rows of a mask are [batch, heads, keys, 1 or 2 or 4] without gaps, found {bounds.shape}."
            )
        ranges = bounds.shape[3]
        steps[3:] = bounds.strides[0] if bounds.shape[0] > 1 else 0, bounds.strides[1], bounds.shape[1]
    return [bias, bounds], steps, {"BIAS": kind, "RANGES": ranges}


def _lse_strides(lse: Tensor, packed: Packed | None) -> tuple[int, int]:
    """Of batch and head: [batch, heads, rows], or [heads, rows] of packed sequences."""
    return (0, lse.strides[0]) if packed else (lse.strides[0], lse.strides[1])


def plan_seeds(b: PlanBuilder, fixed: Tensor | None, seeds: Tensor, counters: int) -> None:
    """seeds (i64, 2 elements) gets the key and first counter of `counters` draws: the given ones, or the generator's."""
    if fixed is not None:
        plan_copy(b, fixed, seeds)
        return
    b.draw(counters)
    b.launch("attention.keep_seed", 1, seeds, SEED, OFFSET)


def plan_flash_attention(
    b: PlanBuilder, q: Tensor, k: Tensor, v: Tensor, out: Tensor, lse: Tensor, scale: float, causal: bool,
    mask: Mask = Mask(), packed: Packed | Padded | None = None,
) -> None:  # fmt: skip
    """out = softmax(q @ k.T * scale) @ v for q [batch, queries, heads, depth] and k, v [batch, keys, heads, depth], where
    heads of k and v may be shared by as many heads of q each; `causal`: query i sees keys up to i + keys - queries.
    lse [batch, heads, queries] gets the logarithm of each row's sum of exponentials, for the gradient."""
    padded = packed if isinstance(packed, Padded) else None
    packed = packed if isinstance(packed, Packed) else None
    p = _check(q, k, v, packed)
    if out.numel == 0:
        return
    rows = (p.heads, q.shape[0]) if packed else (p.batch, p.heads, p.queries)
    if lse.ndim != len(rows) or any(have < need for have, need in zip(lse.shape, rows, strict=True)):
        raise ValueError(
            f"the logarithms of {q.shape} queries were to be written into a tensor of shape {lse.shape}"
        )
    block_m = min(128, max(16, power_of_two(p.queries)))
    block_n = min(128, max(16, power_of_two(p.keys)))
    if p.acc == "f64":
        block_m, block_n = min(block_m, 64), min(block_n, 64)
    pointers, steps, kinds = _mask_arguments(b, p, mask)
    starts: tuple[Tensor | None, Tensor | None] = (None, None)
    if packed:
        starts = packed.q_starts, packed.k_starts
    elif padded:
        starts = padded.q_lengths, padded.k_lengths
    b.launch(
        "attention.flash_forward", (-(-p.queries // block_m), p.batch * p.heads), p.q, p.k, p.v, *pointers, *starts,
        mask.seeds, out, lse, p.heads, p.groups, p.queries, p.keys, padded.more if padded else 0, real(scale, p.acc), real(mask.drop, p.acc),
        *_strides(q), *_strides(k), *_strides(v), *_strides(out), *steps, *_lse_strides(lse, packed),
        cost=4 * p.products, D=p.depth, BD=max(16, power_of_two(p.depth)), CAUSAL=int(causal), **kinds,
        DROP=int(mask.drop > 0), VARLEN=1 if packed else 2 if padded else 0, ACC=dtype_constexpr(p.acc),
        BM=block_m, BN=block_n,
    )  # fmt: skip


def plan_flash_attention_grad(
    b: PlanBuilder, q: Tensor, k: Tensor, v: Tensor, out: Tensor, lse: Tensor, dout: Tensor,
    dq: Tensor | None, dk: Tensor | None, dv: Tensor | None, scale: float, causal: bool, mask: Mask = Mask(),
    packed: Packed | None = None,
) -> None:  # fmt: skip
    """The gradients of q, k and v from out and lse of the forward pass."""
    p = _check(q, k, v, packed)
    if q.numel == 0 or k.numel == 0:
        for grad in (dq, dk, dv):
            if grad is not None:
                b.zero(grad)
        return
    rows = q.shape[-3]
    delta = b.scratch((1 if packed else p.batch, p.heads, rows), p.acc)
    wide = dq if dq is not None and dq.dtype == p.acc and dq.contiguous else b.scratch(q.shape, p.acc)
    b.zero(wide)
    dk = b.scratch(k.shape, k.dtype) if dk is None else dk
    dv = b.scratch(v.shape, v.dtype) if dv is None else dv
    if packed:  # rows that no sequence holds have no gradient
        b.zero(dk)
        b.zero(dv)
    depth_tile = max(16, power_of_two(p.depth))
    block_m = min(64, max(16, power_of_two(p.queries)))
    block_n = min(64, max(16, power_of_two(p.keys)))
    block = min(256, max(16, power_of_two(rows)))
    b.launch(
        "attention.row_products", (-(-rows // block), delta.shape[0] * p.heads), out, dout, delta, p.heads, rows,
        *_strides(out), *_strides(dout), cost=2 * out.nbytes, D=p.depth, BD=depth_tile, ACC=dtype_constexpr(p.acc), BM=block,
    )  # fmt: skip
    pointers, steps, kinds = _mask_arguments(b, p, mask)
    starts = (packed.q_starts, packed.k_starts) if packed else (None, None)
    b.launch(
        "attention.flash_backward", p.batch * p.heads // p.groups, p.q, p.k, p.v, *pointers, *starts, mask.seeds,
        dout, lse, delta, wide, dk, dv, p.heads, p.groups, p.queries, p.keys, rows,
        real(scale, p.acc), real(mask.drop, p.acc), *_strides(q), *_strides(k), *_strides(v), *_strides(dout),
        *_strides(wide), *_strides(dk), *_strides(dv), *steps, *_lse_strides(lse, packed), cost=10 * p.products,
        D=p.depth, BD=depth_tile, CAUSAL=int(causal), **kinds, DROP=int(mask.drop > 0), VARLEN=int(packed is not None),
        ACC=dtype_constexpr(p.acc), BM=block_m, BN=block_n,
    )  # fmt: skip
    if dq is not None and wide is not dq:
        plan_cast(b, wide, dq)


def plan_attention_weights(
    b: PlanBuilder, q: Tensor, k: Tensor, lse: Tensor, weights: Tensor, scale: float, causal: bool, mask: Mask = Mask(),
    summed: bool = False,
) -> None:  # fmt: skip
    """The weights themselves, [batch, heads, queries, keys] (or what is longer than these, whose rest is left alone);
    `summed` over the queries: [batch, heads, 1, keys]."""
    p = _check(q, k, k)
    if weights.numel == 0:
        return
    block_m = min(64, max(16, power_of_two(p.queries)))
    block_n = min(64, max(16, power_of_two(p.keys)))
    pointers, steps, kinds = _mask_arguments(b, p, mask)
    b.launch(
        "attention.attention_weights", (-(-p.keys // block_n), p.batch * p.heads), p.q, p.k, *pointers, lse, mask.seeds,
        weights, p.heads, p.groups, p.queries, p.keys, *weights.shape[2:], real(scale, p.acc), real(mask.drop, p.acc),
        *_strides(q), *_strides(k), *steps, *_lse_strides(lse, None), cost=2 * p.products, D=p.depth,
        BD=max(16, power_of_two(p.depth)), CAUSAL=int(causal), **kinds, DROP=int(mask.drop > 0), SUM=int(summed),
        ACC=dtype_constexpr(p.acc), BM=block_m, BN=block_n,
    )  # fmt: skip


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
