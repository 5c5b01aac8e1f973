# Kernels of outputs whose size depends on values: what is kept is counted, then written to its place.
"""An element is kept where it is not zero ("nonzero"), or where it differs from the one before it ("heads"). A program has
a range of elements; `before` says for each program how many are kept before its range."""

import triton
import triton.language as tl


@triton.jit
def keeps(x, at, inside, KIND: tl.constexpr):
    v = tl.load(x + at, mask=inside, other=0)
    if KIND == "heads":
        previous = tl.load(x + at - 1, mask=inside & (at > 0), other=0)
        kept = (v != previous) | (at == 0)
    else:
        kept = v != 0
    return kept & inside


@triton.jit
def count_kept(x, before, n, each, KIND: tl.constexpr, BLOCK: tl.constexpr):
    """before[program] = how many elements its range keeps."""
    program = tl.program_id(0).to(tl.int64)
    first = program * each
    lane = tl.arange(0, BLOCK)
    count = tl.zeros([BLOCK], tl.int64)
    for start in range(first, tl.minimum(first + each, n), BLOCK):
        at = start + lane
        count += keeps(x, at, at < tl.minimum(first + each, n), KIND).to(tl.int64)
    tl.store(before + program, tl.sum(count, axis=0))


@triton.jit
def running_counts(counts, before, total, n, BLOCK: tl.constexpr):
    """before[i] = the sum of counts[:i], and the sum of all in `total`; in place, too. One program."""
    lane = tl.arange(0, BLOCK)
    carry = tl.full((), 0, tl.int64)
    for start in range(0, n, BLOCK):
        at = start + lane
        count = tl.load(counts + at, mask=at < n, other=0).to(tl.int64)
        tl.store(before + at, carry + tl.cumsum(count, axis=0) - count, mask=at < n)
        carry += tl.sum(count, axis=0)
    tl.store(total, carry)


@triton.jit
def keep(x, before, values, out, n, each, KIND: tl.constexpr, POSITIONS: tl.constexpr, BLOCK: tl.constexpr):
    """The kept elements of `values`, or, with POSITIONS, their positions, one after the other."""
    program = tl.program_id(0).to(tl.int64)
    first = program * each
    end = tl.minimum(first + each, n)
    lane = tl.arange(0, BLOCK)
    place = tl.load(before + program)
    for start in range(first, end, BLOCK):
        at = start + lane
        kept = keeps(x, at, at < end, KIND)
        count = kept.to(tl.int64)
        to = place + tl.cumsum(count, axis=0) - 1
        if POSITIONS:
            tl.store(out + to, at.to(out.dtype.element_ty), mask=kept)
        else:
            tl.store(out + to, tl.load(values + at, mask=kept), mask=kept)
        place += tl.sum(count, axis=0)


@triton.jit
def spread(x, before, values, out, n, each, KIND: tl.constexpr, BLOCK: tl.constexpr):
    """The other way: out is the next of `values` where the element is kept, else zero."""
    program = tl.program_id(0).to(tl.int64)
    first = program * each
    end = tl.minimum(first + each, n)
    lane = tl.arange(0, BLOCK)
    place = tl.load(before + program)
    for start in range(first, end, BLOCK):
        at = start + lane
        kept = keeps(x, at, at < end, KIND)
        count = kept.to(tl.int64)
        from_ = place + tl.cumsum(count, axis=0) - 1
        tl.store(out + at, tl.load(values + from_, mask=kept, other=0), mask=at < end)
        place += tl.sum(count, axis=0)


@triton.jit
def coordinates(x, before, out, table, n, each, RANK: tl.constexpr, BLOCK: tl.constexpr):
    """out[j, :] = the coordinates of the j-th element that is not zero; `table` has the extents."""
    program = tl.program_id(0).to(tl.int64)
    first = program * each
    end = tl.minimum(first + each, n)
    lane = tl.arange(0, BLOCK)
    place = tl.load(before + program)
    for start in range(first, end, BLOCK):
        at = start + lane
        kept = keeps(x, at, at < end, "nonzero")
        count = kept.to(tl.int64)
        to = (place + tl.cumsum(count, axis=0) - 1) * RANK
        rest = at
        for d in tl.static_range(RANK - 1, -1, -1):
            index = rest
            if d > 0:
                extent = tl.load(table + d)
                index = rest % extent
                rest = rest // extent
            tl.store(out + to + d, index, mask=kept)
        place += tl.sum(count, axis=0)


@triton.jit
def group_members(x, before, order, inverse, n, each, ORDERED: tl.constexpr, BLOCK: tl.constexpr):
    """inverse[i], or, with ORDERED, inverse[order[i]] = the number of the run of equal elements that i lies in."""
    program = tl.program_id(0).to(tl.int64)
    first = program * each
    end = tl.minimum(first + each, n)
    lane = tl.arange(0, BLOCK)
    place = tl.load(before + program)
    for start in range(first, end, BLOCK):
        at = start + lane
        count = keeps(x, at, at < end, "heads").to(tl.int64)
        run = (place + tl.cumsum(count, axis=0) - 1).to(inverse.dtype.element_ty)
        to = at
        if ORDERED:
            to = tl.load(order + at, mask=at < end, other=0).to(tl.int64)
        tl.store(inverse + to, run, mask=at < end)
        place += tl.sum(count, axis=0)


@triton.jit
def run_lengths(heads, counts, n, runs, BLOCK: tl.constexpr):
    """counts[j] = heads[j + 1] - heads[j], the last up to n."""
    j = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    head = tl.load(heads + j, mask=j < runs)
    end = tl.load(heads + j + 1, mask=j + 1 < runs, other=0)
    tl.store(counts + j, (tl.where(j + 1 < runs, end, n) - head).to(counts.dtype.element_ty), mask=j < runs)


@triton.jit
def repeat_rows(x, starts, repeats, out, n, inner, each, total, BLOCK: tl.constexpr):
    """out[o, starts[i] + r, :] = x[o, i, :] for r < repeats[i]; x [outer, n, inner], out [outer, total, inner]."""
    outer = tl.program_id(1).to(tl.int64)
    first = tl.program_id(0).to(tl.int64) * each
    lane = tl.arange(0, BLOCK)
    for i in range(first, tl.minimum(first + each, n)):
        count = tl.load(repeats + i).to(tl.int64)
        target = out + (outer * total + tl.load(starts + i)) * inner
        source = x + (outer * n + i) * inner
        if inner == 1:
            v = tl.load(source)
            for start in range(0, count, BLOCK):
                tl.store(target + start + lane, tl.zeros([BLOCK], v.dtype) + v, mask=lane < count - start)
        else:
            for r in range(0, count):
                for col in range(0, inner, BLOCK):
                    mask = lane < inner - col
                    tl.store(
                        target + r * inner + col + lane, tl.load(source + col + lane, mask=mask), mask=mask
                    )


@triton.jit
def sum_repeats(d, starts, repeats, dx, n, inner, total, ACC: tl.constexpr, BLOCK: tl.constexpr):
    """dx[o, i, :] = the sum of d[o, starts[i] + r, :] over r < repeats[i]: program (block of columns, row i, o)."""
    lane = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    i = tl.program_id(1).to(tl.int64)
    outer = tl.program_id(2).to(tl.int64)
    mask = lane < inner
    acc = tl.zeros([BLOCK], ACC)
    at = (outer * total + tl.load(starts + i)) * inner
    for _r in range(0, tl.load(repeats + i).to(tl.int64)):
        acc += tl.load(d + at + lane, mask=mask, other=0).to(ACC)
        at += inner
    tl.store(dx + (outer * n + i) * inner + lane, acc.to(dx.dtype.element_ty), mask=mask)


@triton.jit
def first_difference(x, a, b, width):
    """The first column in which rows a and b of x differ; width where they are equal."""
    at = tl.full((), 0, tl.int64)
    last = width - 1
    while (at < width) & (
        tl.load(x + a * width + tl.minimum(at, last)) == tl.load(x + b * width + tl.minimum(at, last))
    ):
        at += 1
    return at


@triton.jit
def precedes(x, a, b, width):
    """Whether row a comes before row b, by their first difference."""
    at = tl.minimum(first_difference(x, a, b, width), width - 1)
    return tl.load(x + a * width + at) < tl.load(x + b * width + at)


@triton.jit
def merge_rows(x, order, merged, n, run, width, each):
    """One step of a stable merge sort of the rows of x: of each pair of sorted runs in `order` every row finds its place in
    both, by bisection of the other."""
    first = tl.program_id(0).to(tl.int64) * each
    for i in range(first, tl.minimum(first + each, n)):
        pair = i // (2 * run) * (2 * run)
        middle = tl.minimum(pair + run, n)
        own = tl.load(order + i)
        left = i < middle
        low = tl.where(left, middle, pair)
        high = tl.where(left, tl.minimum(pair + 2 * run, n), middle)
        while low < high:
            half = (low + high) // 2
            other = tl.load(order + half)
            if left:
                after = precedes(x, other, own, width)
            else:
                after = precedes(x, own, other, width) == 0
            low = tl.where(after, half + 1, low)
            high = tl.where(after, high, half)
        tl.store(merged + tl.where(left, i + low - middle, low + i - middle), own)


@triton.jit
def merge_pairs(x, order, merged, n, run, width, each):
    """The same step, one pair of runs after the other, with one comparison for each row: for runs of which there are many."""
    first = tl.program_id(0).to(tl.int64) * each
    for pair in range(first, first + each):
        begin = tl.minimum(pair * 2 * run, n)
        middle = tl.minimum(begin + run, n)
        end = tl.minimum(middle + run, n)
        left = begin
        right = middle
        for k in range(begin, end):
            a = tl.load(order + tl.minimum(left, n - 1))
            b = tl.load(order + tl.minimum(right, n - 1))
            takes = right < end
            if takes & (left < middle):
                takes = precedes(x, b, a, width)
            tl.store(merged + k, tl.where(takes, b, a))
            left += tl.where(takes, 0, 1)
            right += tl.where(takes, 1, 0)


@triton.jit
def changes(x, order, flags, n, width, each, ORDERED: tl.constexpr):
    """flags[k] = whether row k differs from the next one, in the given order."""
    first = tl.program_id(0).to(tl.int64) * each
    for k in range(first, tl.minimum(first + each, n)):
        a = k
        b = tl.minimum(k + 1, n - 1)
        if ORDERED:
            a = tl.load(order + a)
            b = tl.load(order + b)
        tl.store(flags + k, (first_difference(x, a, b, width) < width).to(tl.int64))


@triton.jit
def pick_rows(x, picked, out, n, inner, each, count, BLOCK: tl.constexpr):
    """out[o, j, :] = x[o, picked[j], :] for j < count; x [outer, n, inner], out [outer, count, inner]."""
    outer = tl.program_id(1).to(tl.int64)
    first = tl.program_id(0).to(tl.int64) * each
    lane = tl.arange(0, BLOCK)
    for j in range(first, tl.minimum(first + each, count)):
        source = x + (outer * n + tl.load(picked + j)) * inner
        target = out + (outer * count + j) * inner
        for col in range(0, inner, BLOCK):
            mask = lane < inner - col
            tl.store(target + col + lane, tl.load(source + col + lane, mask=mask), mask=mask)


@triton.jit
def first_counted(x, out, count, BLOCK: tl.constexpr):
    """The first `count` of x."""
    lane = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    v = tl.load(x + lane, mask=lane < count, other=0)
    tl.store(out + lane, v.to(out.dtype.element_ty), mask=lane < count)
