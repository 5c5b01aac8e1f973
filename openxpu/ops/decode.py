# Attention of one new token against a cache of keys and values: planner.

from __future__ import annotations

from openxpu.ops.plan import PlanBuilder, Tensor, Unsupported, dtype_constexpr
from openxpu.ops.reduce import accumulation_dtype, power_of_two, real, require_contiguous

_DEPTH = 256


def plan_decode(
    b: PlanBuilder, x: Tensor, cache: Tensor, bias: Tensor | None, mask: Tensor | None, lengths: Tensor | None,
    rotary: Tensor | None, out: Tensor, segments: int, halves: bool,
) -> None:  # fmt: skip
    """x [batch, (heads + 2 own) * depth] holds queries, keys and values of one token for each sequence. Key and value
    join cache [2, batch, own, places, depth] at the sequence's length (i32 `lengths`, or mask's last extent - 1),
    and out [batch, heads * depth] gets the attention over all up to there, with mask [batch, 1 or heads, 1, n] added.
    `rotary` [2, batch, ..., depth] f32 has the cosines and sines of the new places."""
    require_contiguous("masked_multihead_attention", x, cache, bias, mask, lengths, rotary, out)
    _, batch, own, places, depth = cache.shape
    heads = x.shape[-1] // depth - 2 * own
    if depth > _DEPTH or depth % (16 // x.itemsize):
        raise Unsupported(
            f"the cache has heads of at most {_DEPTH} elements, in multiples of 16 bytes; found {depth}."
        )
    if lengths is None and mask is None:
        raise Unsupported("masked_multihead_attention needs sequence_lengths or src_mask to know the place.")
    if out.numel == 0:
        return
    acc = accumulation_dtype(x.dtype)
    steps = (0, 0)
    if mask is not None:
        steps = mask.strides[0] if mask.shape[0] > 1 else 0, mask.strides[1] if mask.shape[1] > 1 else 0
    b.launch(
        "decode.decode", batch * own, x, x if bias is None else bias, mask, lengths, rotary, cache, out, batch, heads, own,
        places, 0 if mask is None else mask.shape[-1] - 1, depth, depth // max(segments, 1), *steps,
        real(1 / depth**0.5, acc), cost=2 * cache.nbytes * heads // own, ROTARY=int(rotary is not None and segments > 0),
        HALVES=int(halves), BIAS=int(bias is not None), MASK=int(mask is not None), LENGTHS=int(lengths is not None),
        X=16 // x.itemsize, ACC=dtype_constexpr(acc), BD=max(16, power_of_two(depth)), BN=32,
    )  # fmt: skip
