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
