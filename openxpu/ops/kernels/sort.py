# Kernels that sort: a stable radix sort of rows, keys and positions together.
"""A number becomes an unsigned key of the same order: the magnitude's bits are turned over where it is negative, -0 is
0, a NaN is above all. The key is sorted digit by digit from the lowest, each pass stable, so that equal elements keep
their order (Knuth, The Art of Computer Programming 3, 5.2.5)."""

import triton
import triton.language as tl


@triton.jit
def order_of(v, BITS: tl.constexpr, KIND: tl.constexpr, DESCENDING: tl.constexpr):
    """The unsigned key of `BITS` bits, in i64, of elements that were loaded as integers."""
    SIGN: tl.constexpr = -(2**63) if BITS == 64 else 1 << (BITS - 1)
    v = v.to(tl.int64)
    if KIND == "float":
        REST: tl.constexpr = (1 << (BITS - 1)) - 1
        INFINITY: tl.constexpr = REST - ((1 << (52 if BITS == 64 else 23 if BITS == 32 else 10)) - 1)
        magnitude = v & REST
        v = tl.where(magnitude > INFINITY, REST, tl.where(magnitude == 0, 0, v ^ ((v >> 63) & REST)))
    if KIND == "bfloat":
        magnitude = v & 0x7FFF
        v = tl.where(magnitude > 0x7F80, 0x7FFF, tl.where(magnitude == 0, 0, v ^ ((v >> 63) & 0x7FFF)))
    if KIND != "unsigned":
        v ^= SIGN
    if DESCENDING:
        v = ~v
    if BITS < 64:
        v &= (1 << BITS) - 1
    return v


@triton.jit
def radix_rows(
    x, out, indices, work, places, counts, rows, n, each,
    BITS: tl.constexpr, KIND: tl.constexpr, DESCENDING: tl.constexpr, DIGIT: tl.constexpr, DIGITS: tl.constexpr,
    VALUES: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Sorts rows of n elements, `each` rows a program. `work` is [programs, 2, n] of i64: key and position in one word, or,
    of 64-bit elements, the key alone beside its position in `places` [programs, 2, n]; `counts` [programs, DIGITS, 2^DIGIT]."""
    BINS: tl.constexpr = 1 << DIGIT
    WIDE: tl.constexpr = BITS == 64
    LOW: tl.constexpr = 0 if BITS == 64 else 32
    program = tl.program_id(0).to(tl.int64)
    work += program * 2 * n
    if WIDE:
        places += program * 2 * n
    counts += program * DIGITS * BINS
    lane = tl.arange(0, BLOCK)
    bin = tl.arange(0, BINS)
    first = program * each
    for row in range(first, tl.minimum(first + each, rows)):
        source = x + row * n
        for digit in tl.static_range(DIGITS):
            tl.store(counts + digit * BINS + bin, tl.zeros([BINS], tl.int32))
        for start in range(0, n, BLOCK):
            at = start + lane
            inside = at < n
            k = order_of(tl.load(source + at, mask=inside, other=0), BITS, KIND, DESCENDING)
            if WIDE:
                tl.store(places + at, at, mask=inside)
            else:
                k = (k << 32) | at.to(tl.int64)
            tl.store(work + at, k, mask=inside)
        for i in range(0, n):
            k = tl.load(work + i)
            for digit in tl.static_range(DIGITS):
                c = counts + digit * BINS + ((k >> (LOW + digit * DIGIT)) & (BINS - 1))
                tl.store(c, tl.load(c) + 1)
        here = tl.full((), 0, tl.int64)
        some = tl.load(work)
        for digit in tl.static_range(DIGITS):
            c = counts + digit * BINS
            # A digit that all elements share needs no pass.
            if tl.load(c + ((some >> (LOW + digit * DIGIT)) & (BINS - 1))) < n:
                below = tl.load(c + bin)
                tl.store(c + bin, tl.cumsum(below, axis=0) - below)
                there = n - here
                for i in range(0, n):
                    k = tl.load(work + here + i)
                    slot = c + ((k >> (LOW + digit * DIGIT)) & (BINS - 1))
                    to = tl.load(slot)
                    tl.store(slot, to + 1)
                    tl.store(work + there + to, k)
                    if WIDE:
                        tl.store(places + there + to, tl.load(places + here + i))
                here = there
        for start in range(0, n, BLOCK):
            at = start + lane
            inside = at < n
            if WIDE:
                place = tl.load(places + here + at, mask=inside, other=0)
            else:
                place = tl.load(work + here + at, mask=inside, other=0).to(tl.int32)
            tl.store(indices + row * n + at, place.to(indices.dtype.element_ty), mask=inside)
            if VALUES:
                tl.store(out + row * n + at, tl.load(source + place, mask=inside), mask=inside)
