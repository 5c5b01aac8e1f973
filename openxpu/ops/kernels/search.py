# Searches along an axis: arg-max and arg-min, the k best, and how many predictions are right.
"""Of equal values the one with the lowest index wins. As in Paddle, a NaN is larger than every number among the k
best, and never the arg-max or arg-min."""

import triton
import triton.language as tl


@triton.jit
def better(a, b, LARGEST: tl.constexpr):
    if LARGEST:
        return a > b
    else:
        return a < b


@triton.jit
def best(v, LARGEST: tl.constexpr):
    if LARGEST:
        return tl.max(v, axis=0)
    else:
        return tl.min(v, axis=0)


@triton.jit
def key(v):
    """An integer in the order of v: the magnitude's bits turned over where v is negative, 0 for -0, NaN above all."""
    if v.dtype == tl.float32:
        bits = v.to(tl.int32, bitcast=True)
        order = tl.where(v == 0, 0, bits ^ ((bits >> 31) & 0x7FFFFFFF))
        order = tl.where(v != v, 0x7FFFFFFF, order)
    elif v.dtype == tl.float64:
        bits = v.to(tl.int64, bitcast=True)
        order = tl.where(v == 0, 0, bits ^ ((bits >> 63) & 0x7FFFFFFFFFFFFFFF))
        order = tl.where(v != v, 0x7FFFFFFFFFFFFFFF, order)
    else:
        order = v
    return order


@triton.jit
def arg_best_rows(x, out, n, worst, LARGEST: tl.constexpr, ACC: tl.constexpr, BLOCK: tl.constexpr):
    """[rows, n] -> index of the largest (smallest) element of each row; `worst` is a value that all others beat."""
    row = tl.program_id(0).to(tl.int64)
    x += row * n
    offsets = tl.arange(0, BLOCK)
    lowest = tl.cast(worst, ACC)
    top = lowest
    index = tl.full((), 0, tl.int32)
    for start in range(0, n, BLOCK):
        mask = offsets < n - start
        v = tl.load(x + start + offsets, mask=mask, other=0).to(ACC)
        v = tl.where(mask, v, lowest)
        here = best(v, LARGEST)
        at = start + tl.min(tl.where(v == here, offsets, BLOCK - 1), axis=0)
        index = tl.where(better(here, top, LARGEST), at, index)
        top = tl.where(better(here, top, LARGEST), here, top)
    tl.store(out + row, index.to(out.dtype.element_ty))


@triton.jit
def arg_best_columns(x, out, n, inner, worst, LARGEST: tl.constexpr, ACC: tl.constexpr, BLOCK: tl.constexpr):
    """[outer, n, inner] along n."""
    first = tl.program_id(0) * BLOCK
    outer = tl.program_id(1).to(tl.int64)
    offsets = tl.arange(0, BLOCK)
    mask = offsets < inner - first
    top = tl.full((BLOCK,), 0, ACC) + tl.cast(worst, ACC)
    index = tl.zeros((BLOCK,), tl.int32)
    at = outer * n * inner + first
    for i in range(0, n):
        v = tl.load(x + at + offsets, mask=mask, other=0).to(ACC)
        wins = better(v, top, LARGEST)
        index = tl.where(wins, i, index)
        top = tl.where(wins, v, top)
        at += inner
    tl.store(out + outer * inner + first + offsets, index.to(out.dtype.element_ty), mask=mask)


@triton.jit
def top_rows(
    x, values, indices, n, k, worst, utmost,
    LARGEST: tl.constexpr, ACC: tl.constexpr, KEY: tl.constexpr, BLOCK: tl.constexpr, K: tl.constexpr,
):  # fmt: skip
    """The k <= K best of each row, best first and of equals the first. The best so far lie sorted in a tile; a block
    gives it one element after the other as long as it has a better one than the last of the tile."""
    row = tl.program_id(0).to(tl.int64)
    x += row * n
    values += row * k
    indices += row * k
    offsets = tl.arange(0, BLOCK)
    places = tl.arange(0, K)
    none = 2147483647
    lowest = tl.cast(worst, KEY)
    top = tl.full([K], 0, KEY) + lowest
    index = tl.full([K], none, tl.int32)
    limit = lowest  # the key of the last of the k
    count = 0
    for start in range(0, n, BLOCK):
        at = start + offsets
        v = key(tl.load(x + at, mask=at < n, other=0).to(ACC))
        left = at < n
        here = best(tl.where(left, v, lowest), LARGEST)
        more = (count < k) | better(here, limit, LARGEST)
        while more:
            found = tl.min(tl.where(left & (v == here), at, none), axis=0)
            place = tl.sum(
                (better(top, here, LARGEST) | ((top == here) & (index < found))).to(tl.int32), axis=0
            )
            moved = tl.maximum(places - 1, 0)
            top = tl.where(places < place, top, tl.where(places == place, here, tl.gather(top, moved, 0)))
            index = tl.where(
                places < place, index, tl.where(places == place, found, tl.gather(index, moved, 0))
            )
            count += 1
            if count >= k:
                limit = best(tl.where(places == k - 1, top, tl.cast(utmost, KEY)), not LARGEST)
            left = left & (at != found)
            here = best(tl.where(left, v, lowest), LARGEST)
            some = tl.sum(left.to(tl.int32), axis=0) > 0
            more = some & ((count < k) | better(here, limit, LARGEST))
    inside = places < k
    tl.store(values + places, tl.load(x + index, mask=inside), mask=inside)
    tl.store(indices + places, index.to(indices.dtype.element_ty), mask=inside)


@triton.jit
def top_columns(
    x, values, indices, n, inner, k, worst, utmost,
    LARGEST: tl.constexpr, ACC: tl.constexpr, KEY: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """[outer, n, inner] along n."""
    first = tl.program_id(0) * BLOCK
    outer = tl.program_id(1).to(tl.int64)
    offsets = tl.arange(0, BLOCK)
    mask = offsets < inner - first
    x += outer * n * inner + first
    lowest = tl.full((BLOCK,), 0, KEY) + tl.cast(worst, KEY)
    last = tl.full((BLOCK,), 0, KEY) + tl.cast(utmost, KEY)
    last_index = tl.full((BLOCK,), -1, tl.int32)
    to = outer * k * inner + first
    for _j in range(0, k):
        top = lowest
        index = tl.full((BLOCK,), 2147483647, tl.int32)
        at = tl.full((), 0, tl.int64)
        for i in range(0, n):
            v = key(tl.load(x + at + offsets, mask=mask, other=0).to(ACC))
            after = better(last, v, LARGEST) | ((v == last) & (i > last_index))
            wins = after & (better(v, top, LARGEST) | (index == 2147483647))
            top = tl.where(wins, v, top)
            index = tl.where(wins, i, index)
            at += inner
        chosen = tl.load(x + index.to(tl.int64) * inner + offsets, mask=mask, other=0)
        tl.store(values + to + offsets, chosen, mask=mask)
        tl.store(indices + to + offsets, index.to(indices.dtype.element_ty), mask=mask)
        last = top
        last_index = index
        to += inner


@triton.jit
def top_grad(indices, dout, dx, n, k, inner, BLOCK: tl.constexpr):
    """dx [outer, n, inner] was zeroed; each index of [outer, k, inner] occurs once: program (block of inner, outer)."""
    c = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    outer = tl.program_id(1).to(tl.int64)
    mask = c < inner
    at = outer * k * inner
    for _j in range(0, k):
        index = tl.load(indices + at + c, mask=mask, other=0).to(tl.int64)
        g = tl.load(dout + at + c, mask=mask, other=0)
        tl.store(dx + (outer * n + index) * inner + c, g.to(dx.dtype.element_ty), mask=mask)
        at += inner


@triton.jit
def accuracy(
    indices, label, accuracy_out, correct_out, total_out, rows, k, ROWS: tl.constexpr, BLOCK: tl.constexpr
):
    """A row of `indices` [rows, k] is right when it contains its label. One program."""
    r = tl.arange(0, ROWS)
    c = tl.arange(0, BLOCK)
    right = tl.full((), 0, tl.int32)
    for start in range(0, rows, ROWS):
        inside = r < rows - start
        mask = inside[:, None] & (c < k)[None, :]
        guess = tl.load(indices + ((start + r) * k)[:, None] + c[None, :], mask=mask, other=0).to(tl.int64)
        wanted = tl.load(label + start + r, mask=inside, other=-1).to(tl.int64)
        hit = mask & (guess == wanted[:, None])
        right += tl.sum(tl.max(hit.to(tl.int32), axis=1), axis=0)
    tl.store(correct_out, right)
    tl.store(total_out, rows)
    tl.store(accuracy_out, (right.to(tl.float32) / rows).to(accuracy_out.dtype.element_ty))


@triton.jit
def top_grad_rows(indices, dout, dx, n, k, BLOCK: tl.constexpr):
    """The same for [rows, n]: program (block of k, row)."""
    j = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    row = tl.program_id(1).to(tl.int64)
    mask = j < k
    index = tl.load(indices + row * k + j, mask=mask, other=0).to(tl.int64)
    g = tl.load(dout + row * k + j, mask=mask, other=0)
    tl.store(dx + row * n + index, g.to(dx.dtype.element_ty), mask=mask)
