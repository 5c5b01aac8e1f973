# Kernels of what follows from an order or a number: modes, places in a sorted row, histograms, choices, segments.
import triton
import triton.language as tl


@triton.jit
def mode_rows(values, places, out, indices, n):
    """The most frequent element of a sorted row, of equally frequent ones the smallest, and the last place of it."""
    row = tl.program_id(0).to(tl.int64)
    values += row * n
    longest = tl.full((), 0, tl.int32)
    length = tl.full((), 0, tl.int32)
    end = tl.full((), 0, tl.int32)
    for i in range(0, n):
        same = False
        if i > 0:
            same = tl.load(values + i) == tl.load(values + i - 1)
        length = tl.where(same, length + 1, 1)
        end = tl.where(length > longest, i, end)
        longest = tl.maximum(longest, length)
    tl.store(out + row, tl.load(values + end))
    tl.store(indices + row, tl.load(places + row * n + end).to(indices.dtype.element_ty))


@triton.jit
def search(sequence, values, out, count, n, m, rows, steps, RIGHT: tl.constexpr, BLOCK: tl.constexpr):
    """Where each of m values of a row would stand in its sorted row of n: before equal ones, or, RIGHT, after them."""
    lane = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    mask = lane < count
    v = tl.load(values + lane, mask=mask, other=0)
    begin = tl.where(rows > 1, (lane // m) * n, 0)
    low = tl.zeros([BLOCK], tl.int64)
    high = low + n
    for _i in range(0, steps):
        open_ = mask & (low < high)
        middle = (low + high) // 2
        s = tl.load(sequence + begin + middle, mask=open_, other=0)
        if RIGHT:
            after = (s > v) == 0
        else:
            after = (s >= v) == 0
        low = tl.where(open_ & after, middle + 1, low)
        high = tl.where(open_ & (after == 0), middle, high)
    tl.store(out + lane, low.to(out.dtype.element_ty), mask=mask)


@triton.jit
def histogram_range(least, most, low, high, FOUND: tl.constexpr, ACC: tl.constexpr):
    a = tl.cast(low, ACC)
    z = tl.cast(high, ACC)
    if FOUND:
        a = tl.load(least).to(ACC)
        z = tl.load(most).to(ACC)
    same = a == z
    return tl.where(same, a - 1, a), tl.where(same, z + 1, z)


@triton.jit
def density(
    counts, least, most, out, bins, low, high, FOUND: tl.constexpr, ACC: tl.constexpr, BLOCK: tl.constexpr
):
    """counts / (their sum * the width of a bin). One program."""
    a, z = histogram_range(least, most, low, high, FOUND, ACC)
    width = (z - a).to(tl.float32) / bins
    lane = tl.arange(0, BLOCK)
    total = tl.zeros([BLOCK], tl.float64)
    for start in range(0, bins, BLOCK):
        total += tl.load(counts + start + lane, mask=lane < bins - start, other=0).to(tl.float64)
    whole = tl.sum(total, axis=0).to(tl.float32) * width
    for start in range(0, bins, BLOCK):
        count = tl.load(counts + start + lane, mask=lane < bins - start, other=0)
        tl.store(out + start + lane, count / whole, mask=lane < bins - start)


@triton.jit
def histogram_bins(
    x, least, most, number, n, bins, low, high, FOUND: tl.constexpr, ACC: tl.constexpr, BLOCK: tl.constexpr
):
    """number = the bin of each of x, `bins` for those outside; the range is [low, high], or, FOUND, what `least` and `most`
    hold."""
    a, z = histogram_range(least, most, low, high, FOUND, ACC)
    at = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    v = tl.load(x + at, mask=at < n, other=0).to(ACC)
    if ACC.is_floating():
        bin = ((v - a) * bins / (z - a)).to(tl.int64)
    else:
        bin = (v - a) * bins // (z - a)
    bin = tl.where((v >= a) & (v <= z), tl.minimum(bin, bins - 1), bins)
    tl.store(number + at, bin.to(tl.int32), mask=at < n)


@triton.jit
def bincount_size(x, size, n, least, BLOCK: tl.constexpr):
    """size = the largest of x plus one, at least `least`; -1 when one is negative. One program."""
    lane = tl.arange(0, BLOCK)
    top = tl.zeros([BLOCK], tl.int64) - 1
    low = tl.zeros([BLOCK], tl.int64)
    for start in range(0, n, BLOCK):
        mask = start + lane < n
        v = tl.load(x + start + lane, mask=mask, other=0).to(tl.int64)
        top = tl.maximum(top, tl.where(mask, v, -1))
        low = tl.minimum(low, v)
    tl.store(size, tl.where(tl.min(low, axis=0) < 0, -1, tl.maximum(tl.max(top, axis=0) + 1, least)))


@triton.jit
def bincount(x, weights, out, n, size, WEIGHTED: tl.constexpr, BLOCK: tl.constexpr):
    """out[v] = how often v occurs in x, or the sum of its weights. One program."""
    lane = tl.arange(0, BLOCK)
    for start in range(0, size, BLOCK):
        tl.store(
            out + start + lane, tl.zeros([BLOCK], tl.int32).to(out.dtype.element_ty), mask=lane < size - start
        )
    for i in range(0, n):
        place = out + tl.load(x + i).to(tl.int64)
        if WEIGHTED:
            tl.store(place, tl.load(place) + tl.load(weights + i).to(out.dtype.element_ty))
        else:
            tl.store(place, tl.load(place) + 1)


@triton.jit
def chosen(ids, x, out, k):
    """x where ids is k, else out."""
    return tl.where(ids == k, x, out)


@triton.jit
def chosen_grad(ids, d, k):
    return tl.where(ids == k, d, tl.zeros_like(d))


@triton.jit
def segment_pool(x, ids, out, sizes, n, width, OP: tl.constexpr, ACC: tl.constexpr, BLOCK: tl.constexpr):
    """out[s, :] = the rows of x with id s (ids ascend), combined in their order; zeros where there is none."""
    lane = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    mask = lane < width
    zero = tl.zeros([BLOCK], ACC)
    acc = zero
    current = tl.full((), -1, tl.int64)
    size = tl.full((), 0, tl.int32)
    for i in range(0, n):
        segment = tl.load(ids + i).to(tl.int64)
        v = tl.load(x + i.to(tl.int64) * width + lane, mask=mask, other=0).to(ACC)
        if segment != current:
            for gap in range(current + 1, segment):
                tl.store(out + gap * width + lane, zero.to(out.dtype.element_ty), mask=mask)
                if OP == "mean":
                    tl.store(sizes + gap, zero_of(sizes))
            size = size * 0
            acc = v
        elif OP == "max":
            acc = tl.maximum(acc, v)
        elif OP == "min":
            acc = tl.minimum(acc, v)
        else:
            acc += v
        current = segment
        size += 1
        result = acc
        if OP == "mean":
            result = acc / size
            tl.store(sizes + segment, size.to(sizes.dtype.element_ty))
        tl.store(out + segment * width + lane, result.to(out.dtype.element_ty), mask=mask)


@triton.jit
def zero_of(pointer):
    return tl.full((), 0, tl.int32).to(pointer.dtype.element_ty)


@triton.jit
def last_plus_one(ids, size, n):
    tl.store(size, tl.load(ids + n - 1).to(tl.int64) + 1)


@triton.jit
def segment_pool_grad(
    x, ids, out, sizes, d, dx, n, width, each, OP: tl.constexpr, ACC: tl.constexpr, BLOCK: tl.constexpr
):
    """dx[i, :] from d[ids[i], :]: itself, divided by the segment's size, or where x is the extreme."""
    first = tl.program_id(0).to(tl.int64) * each
    lane = tl.arange(0, BLOCK)
    for i in range(first, tl.minimum(first + each, n)):
        segment = tl.load(ids + i).to(tl.int64)
        for col in range(0, width, BLOCK):
            mask = lane < width - col
            g = tl.load(d + segment * width + col + lane, mask=mask, other=0).to(ACC)
            if OP == "mean":
                g = g / tl.load(sizes + segment).to(ACC)
            if OP == "max" or OP == "min":
                best = tl.load(out + segment * width + col + lane, mask=mask, other=0)
                g = tl.where(tl.load(x + i * width + col + lane, mask=mask, other=0) == best, g, 0)
            tl.store(dx + i * width + col + lane, g.to(dx.dtype.element_ty), mask=mask)


@triton.jit
def median_rows(values, places, out, indices, n, NAN: tl.constexpr, MEAN: tl.constexpr, ACC: tl.constexpr):
    """The middle of a sorted row, NaN last: of an even number the mean of both, with MEAN, or the lower one; and where they
    were. A row with a NaN is its first NaN, or, with NAN skipped, the median of the others; index -1 where there is none."""
    row = tl.program_id(0).to(tl.int64)
    values += row * n
    places += row * n
    valid = n
    while (valid > 0) & (
        tl.load(values + tl.maximum(valid, 1) - 1) != tl.load(values + tl.maximum(valid, 1) - 1)
    ):
        valid -= 1
    none = valid == 0
    high = tl.where(none, 0, valid // 2)
    low = tl.where(none, 0, (valid - 1) // 2)
    if NAN == "kept":
        none = False
        high = tl.where(valid < n, valid, high)
        low = tl.where(valid < n, valid, low)
    left = tl.load(values + low)
    if MEAN:
        mean = (left.to(ACC) + tl.load(values + high).to(ACC)) / 2
        tl.store(out + row, tl.where(low == high, left.to(ACC), mean).to(out.dtype.element_ty))
        tl.store(indices + 2 * row, tl.where(none, -1, tl.load(places + low)))
        tl.store(indices + 2 * row + 1, tl.where(none, -1, tl.load(places + high)))
    else:
        tl.store(out + row, left)
        tl.store(indices + row, tl.where(none, -1, tl.load(places + low)))


@triton.jit
def equal(a, b):
    """A NaN is as good as another."""
    return (a == b) | ((a != a) & (b != b))


@triton.jit
def median_grad_rows(x, indices, d, dx, n, MEAN: tl.constexpr, ACC: tl.constexpr, BLOCK: tl.constexpr):
    """d put to the middle element, half of it to each of two; a mean of equal ones is that of all which are equal to it.
    dx was zeroed."""
    row = tl.program_id(0).to(tl.int64)
    x += row * n
    dx += row * n
    g = tl.load(d + row)
    if MEAN:
        low = tl.maximum(tl.load(indices + 2 * row), 0)  # -1 where all are NaN
        high = tl.maximum(tl.load(indices + 2 * row + 1), 0)
        middle = tl.load(x + low)
        if equal(middle, tl.load(x + high)):
            lane = tl.arange(0, BLOCK)
            count = tl.full((), 0, tl.int32)
            for start in range(0, n, BLOCK):
                inside = lane < n - start
                same = equal(tl.load(x + start + lane, mask=inside, other=0), middle) & inside
                count += tl.sum(same.to(tl.int32), axis=0)
            share = (g.to(ACC) / count).to(dx.dtype.element_ty)
            for start in range(0, n, BLOCK):
                inside = lane < n - start
                same = equal(tl.load(x + start + lane, mask=inside, other=0), middle) & inside
                tl.store(dx + start + lane, tl.zeros([BLOCK], share.dtype) + share, mask=same)
        else:
            half = (g.to(ACC) / 2).to(dx.dtype.element_ty)
            tl.store(dx + low, half)
            tl.store(dx + high, half)
    else:
        low = tl.load(indices + row)
        if low >= 0:
            tl.store(dx + low, g)
