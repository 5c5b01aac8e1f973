# Attention of one new token against a cache of keys and values, which it joins.
"""The keys lie as [batch, heads, depth / X, places, X] with X elements in 16 bytes, the values as [batch, heads, places, depth]."""

import triton
import triton.language as tl


@triton.jit
def turned(x, bias, tables, b, batches, d, D, SEGMENT, ROTARY: tl.constexpr, HALVES: tl.constexpr, BIAS: tl.constexpr, ACC: tl.constexpr):  # fmt: skip
    """One head's vector with its bias, turned by the angles of its place: pairs are neighbours, or HALVES of segments."""
    inside = d < D
    v = tl.load(x + d, mask=inside, other=0).to(ACC)
    if BIAS:
        v += tl.load(bias + d, mask=inside, other=0).to(ACC)
    if ROTARY:
        half = SEGMENT // 2
        if HALVES:
            place = d % SEGMENT
            other = d - place + (place + half) % SEGMENT
            first = place < half
            angle = d
        else:
            other = d ^ 1
            first = d % 2 == 0
            angle = d - d % 2
        w = tl.load(x + other, mask=inside & (other < D), other=0).to(ACC)
        if BIAS:
            w += tl.load(bias + other, mask=inside & (other < D), other=0).to(ACC)
        cos = tl.load(tables + b * D + angle, mask=inside, other=0).to(ACC)
        sin = tl.load(tables + (batches + b) * D + angle, mask=inside, other=0).to(ACC)
        v = v * cos + tl.where(first, -w, w) * sin
    return v


@triton.jit
def decode(
    x, bias, mask, lengths, tables, cache, out, batches, heads, own, places, length, D, segment, mask_batch, mask_head, scale,
    ROTARY: tl.constexpr, HALVES: tl.constexpr, BIAS: tl.constexpr, MASK: tl.constexpr, LENGTHS: tl.constexpr,
    X: tl.constexpr, ACC: tl.constexpr, BD: tl.constexpr, BN: tl.constexpr,
):  # fmt: skip
    """A program has one head of the cache, and all heads of queries that share it. x [batch, heads + 2 own, D] holds the
    queries, keys and values of the new token."""
    b = (tl.program_id(0) // own).to(tl.int64)
    h = (tl.program_id(0) % own).to(tl.int64)
    at = length
    if LENGTHS:
        at = tl.load(lengths + b)
    if at >= 0:
        d = tl.arange(0, BD)
        inside = d < D
        keys = cache + (b * own + h) * places * D
        values = cache + ((batches + b) * own + h) * places * D
        row = x + b * (heads + 2 * own) * D
        new_k = turned(
            row + (heads + h) * D,
            bias + (heads + h) * D,
            tables,
            b,
            batches,
            d,
            D,
            segment,
            ROTARY,
            HALVES,
            BIAS,
            ACC,
        )
        new_v = turned(
            row + (heads + own + h) * D,
            bias + (heads + own + h) * D,
            tables,
            b,
            batches,
            d,
            D,
            segment,
            0,
            0,
            BIAS,
            ACC,
        )
        column = (d // X) * (places * X) + d % X
        tl.store(keys + column + at * X, new_k.to(cache.dtype.element_ty), mask=inside)
        tl.store(values + at.to(tl.int64) * D + d, new_v.to(cache.dtype.element_ty), mask=inside)
        groups = heads // own
        for g in range(0, groups):
            head = h * groups + g
            q = (
                turned(
                    row + head * D,
                    bias + head * D,
                    tables,
                    b,
                    batches,
                    d,
                    D,
                    segment,
                    ROTARY,
                    HALVES,
                    BIAS,
                    ACC,
                )
                * scale
            )
            top = tl.sum(q * new_k, axis=0)
            weights = mask
            if MASK:
                weights = mask + b * mask_batch + head * mask_head
                top += tl.load(weights + at).to(ACC)
            total = tl.full((), 1.0, ACC)
            acc = new_v
            for start in range(0, at, BN):
                n = start + tl.arange(0, BN)
                here = (n < at)[:, None] & inside[None, :]
                k = tl.load(keys + column[None, :] + n[:, None] * X, mask=here, other=0).to(ACC)
                s = tl.sum(k * q[None, :], axis=1)
                if MASK:
                    s += tl.load(weights + n, mask=n < at, other=0).to(ACC)
                s = tl.where(n < at, s, float("-inf"))
                highest = tl.maximum(top, tl.max(s, axis=0))
                p = tl.exp(s - highest)
                shrink = tl.exp(top - highest)
                v = tl.load(values + n.to(tl.int64)[:, None] * D + d[None, :], mask=here, other=0).to(ACC)
                acc = acc * shrink + tl.sum(v * p[:, None], axis=0)
                total = total * shrink + tl.sum(p, axis=0)
                top = highest
            tl.store(out + (b * heads + head) * D + d, (acc / total).to(out.dtype.element_ty), mask=inside)


@triton.jit
def paged_store(
    qkv, bias, rope, tables, starts, counts, before, queries, keys, values, heads, own, block, blocks_each, places, D,
    ROPE: tl.constexpr, HALVES: tl.constexpr, WHOLE: tl.constexpr, BIAS: tl.constexpr, ACC: tl.constexpr, BD: tl.constexpr,
):  # fmt: skip
    """A program takes one head of one sequence through its new tokens: with its bias, turned by the place's angles (rope
    [2, places, D], or [.., D / 2] with one for each pair), a query goes to `queries`, a key or value into its block."""
    lanes = heads + 2 * own
    b = (tl.program_id(0) // lanes).to(tl.int64)
    h = tl.program_id(0) % lanes
    d = tl.arange(0, BD)
    inside = d < D
    first = tl.load(starts + b).to(tl.int64)
    place = tl.load(before + b)
    half = D // 2
    if HALVES:
        other = tl.where(d < half, d + half, d - half)
        front = d < half
        pair = tl.where(d < half, d, d - half)
    else:
        other = d ^ 1
        front = d % 2 == 0
        pair = d // 2
    width = D if WHOLE else half
    angle = d if WHOLE else pair
    for i in range(0, tl.load(counts + b)):
        x = qkv + ((first + i) * lanes + h) * D
        v = tl.load(x + d, mask=inside, other=0).to(ACC)
        if BIAS:
            v += tl.load(bias + h * D + d, mask=inside, other=0).to(ACC)
        if ROPE:
            w = tl.load(x + other, mask=inside & (other < D), other=0).to(ACC)
            if BIAS:
                w += tl.load(bias + h * D + other, mask=inside & (other < D), other=0).to(ACC)
            row = rope + (place + i).to(tl.int64) * width
            cos = tl.load(row + angle, mask=inside, other=0).to(ACC)
            sin = tl.load(row + places.to(tl.int64) * width + angle, mask=inside, other=0).to(ACC)
            v = tl.where(h < heads + own, v * cos + tl.where(front, -w, w) * sin, v)
        if h < heads:
            tl.store(queries + ((first + i) * heads + h) * D + d, v.to(queries.dtype.element_ty), mask=inside)
        else:
            at = tl.load(tables + b * blocks_each + (place + i) // block).to(tl.int64)
            if h < heads + own:
                target = keys + ((at * own + h - heads) * block + (place + i) % block) * D
            else:
                target = values + ((at * own + h - heads - own) * block + (place + i) % block) * D
            tl.store(target + d, v.to(keys.dtype.element_ty), mask=inside)


@triton.jit
def paged_attention(
    queries, keys, values, tables, starts, counts, before, out, heads, own, block, blocks_each, D, factor,
    ACC: tl.constexpr, BM: tl.constexpr, BN: tl.constexpr, BD: tl.constexpr,
):  # fmt: skip
    """BM new tokens of one head of one sequence, each over all places up to its own; keys and values lie in blocks
    [blocks, own, block, D]. factor is the scale in powers of two."""
    b = (tl.program_id(1) // heads).to(tl.int64)
    h = tl.program_id(1) % heads
    count = tl.load(counts + b)
    first_m = tl.program_id(0) * BM
    if first_m < count:
        place = tl.load(before + b)
        token = tl.load(starts + b).to(tl.int64)
        kv = (h // (heads // own)).to(tl.int64)
        m = first_m + tl.arange(0, BM)
        d = tl.arange(0, BD)
        rows = (m < count)[:, None] & (d < D)[None, :]
        at = ((token + m.to(tl.int64)) * heads + h)[:, None] * D + d[None, :]
        q = tl.load(queries + at, mask=rows, other=0)
        top = tl.full([BM], float("-inf"), ACC)
        total = tl.zeros([BM], ACC)
        acc = tl.zeros([BM, BD], ACC)
        end = place + tl.minimum(first_m + BM, count)
        for start in range(0, end, BN):
            n = start + tl.arange(0, BN)
            page = tl.load(tables + b * blocks_each + n // block, mask=n < end, other=0).to(tl.int64)
            line = ((page * own + kv) * block + n % block) * D
            here = (n < end)[:, None] & (d < D)[None, :]
            k = tl.load(keys + line[:, None] + d[None, :], mask=here, other=0)
            v = tl.load(values + line[:, None] + d[None, :], mask=here, other=0)
            s = tl.dot(q, tl.trans(k), input_precision="ieee", out_dtype=ACC) * factor
            s = tl.where((n < end)[None, :] & (n[None, :] <= (place + m)[:, None]), s, float("-inf"))
            highest = tl.maximum(top, tl.max(s, axis=1))
            p = tl.exp2(s - highest[:, None])
            shrink = tl.exp2(top - highest)
            total = total * shrink + tl.sum(p, axis=1)
            acc = tl.dot(p.to(v.dtype), v, acc * shrink[:, None], input_precision="ieee", out_dtype=ACC)
            top = highest
        tl.store(out + at, (acc / total[:, None]).to(out.dtype.element_ty), mask=rows)
