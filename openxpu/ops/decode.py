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


def plan_paged_attention(
    b: PlanBuilder, qkv: Tensor, keys: Tensor, values: Tensor, tables: Tensor, starts: Tensor, counts: Tensor,
    before: Tensor, bias: Tensor | None, rope: Tensor | None, out: Tensor, halves: bool,
) -> None:  # fmt: skip
    """qkv [tokens, (heads + 2 own) * depth] holds the new tokens of all sequences, sequence i those from starts[i] on,
    counts[i] of them, at the places from before[i] on. Their keys and values go into blocks [blocks, own, block, depth] by
    `tables` [sequences, blocks of each]; out [tokens, heads * depth] gets the attention of each over all places
    up to its own. rope [2, 1, places, 1, depth or depth / 2] f32: cosines and sines, for pairs of neighbours or of halves."""
    require_contiguous(
        "block_multihead_attention", qkv, keys, values, tables, starts, counts, before, bias, rope, out
    )
    own, block, depth = keys.shape[1:]
    heads = qkv.shape[-1] // depth - 2 * own
    sequences, each = tables.shape
    if depth > _DEPTH or depth % 2:
        raise Unsupported(f"heads have an even number of at most {_DEPTH} elements, found {depth}.")
    if rope is not None and (rope.shape[1] != 1 or rope.shape[-1] not in (depth, depth // 2)):
        raise Unsupported(f"the angles are [2, 1, places, 1, depth or depth / 2], found {rope.shape}.")
    if out.numel == 0:
        return
    acc = accumulation_dtype(qkv.dtype)
    tokens = qkv.shape[0]
    queries = b.scratch((tokens, heads * depth), qkv.dtype)
    depth_tile = max(16, power_of_two(depth))
    b.launch(
        "decode.paged_store", sequences * (heads + 2 * own), qkv, qkv if bias is None else bias, rope, tables, starts, counts,
        before, queries, keys, values, heads, own, block, each, 0 if rope is None else rope.shape[2], depth,
        cost=4 * qkv.nbytes, ROPE=int(rope is not None), HALVES=int(halves),
        WHOLE=int(rope is not None and rope.shape[-1] == depth), BIAS=int(bias is not None), ACC=dtype_constexpr(acc),
        BD=depth_tile,
    )  # fmt: skip
    rows = 16 if tokens <= 16 * sequences else 64
    b.launch(
        "decode.paged_attention", (-(-tokens // rows), sequences * heads), queries, keys, values, tables, starts, counts,
        before, out, heads, own, block, each, depth, real(1.4426950408889634 / depth**0.5, acc),
        cost=4 * tokens * heads * depth * each * block, ACC=dtype_constexpr(acc), BM=rows, BN=64, BD=depth_tile,
    )  # fmt: skip
