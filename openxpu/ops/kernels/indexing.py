# Kernels of indexing by tensors: elements are read from, written to and added at offsets that were computed first.
"""A problem is [others..., n, inner]: n offsets in bytes (`base`), each for a run of `inner` elements, or, FLAT, for one
element. `table` holds for each other dimension, innermost first: extent, stride on the indexed side, stride on the other."""

import triton
import triton.language as tl


@triton.jit
def first_offset(index, extent, stride, start):
    """Where index i of a dimension begins, in bytes; a negative one counts from the end."""
    return start + (index + tl.where(index < 0, extent, 0)) * stride


@triton.jit
def next_offset(index, base, extent, stride):
    return base + (index + tl.where(index < 0, extent, 0)) * stride


@triton.jit
def plus(a, b):
    """a + b, or, of bools, whether one of them is true."""
    if a.dtype == tl.int1:
        return a | b
    else:
        return a + b


@triton.jit
def others(table, program, OTHERS: tl.constexpr):
    """Both sides' offsets of the program's place in the other dimensions."""
    indexed = program * 0
    other = program * 0
    rest = program
    for d in tl.static_range(OTHERS):
        index = rest
        if d < OTHERS - 1:
            extent = tl.load(table + 3 * d)
            index = rest % extent
            rest = rest // extent
        indexed += index * tl.load(table + 3 * d + 1)
        other += index * tl.load(table + 3 * d + 2)
    return indexed, other


@triton.jit
def get_at(
    x, base, out, table, n, inner, xs, outn, each,
    SHIFT: tl.constexpr, OTHERS: tl.constexpr, FLAT: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """out[..., k, c] = x[..., base[k], c]: program (range of k, place in the others)."""
    ox, oo = others(table, tl.program_id(1).to(tl.int64), OTHERS)
    x += ox
    out += oo
    first = tl.program_id(0).to(tl.int64) * each
    last = tl.minimum(first + each, n)
    lane = tl.arange(0, BLOCK)
    if FLAT:
        for start in range(first, last, BLOCK):
            at = start + lane
            mask = at < last
            source = tl.load(base + at, mask=mask, other=0) >> SHIFT
            tl.store(out + at * outn, tl.load(x + source, mask=mask), mask=mask)
    else:
        for k in range(first, last):
            source = x + (tl.load(base + k) >> SHIFT)
            target = out + k * outn
            for col in range(0, inner, BLOCK):
                mask = lane < inner - col
                tl.store(target + col + lane, tl.load(source + (col + lane) * xs, mask=mask), mask=mask)


@triton.jit
def put_at(
    out, base, values, table, n, inner, os, valuesn, vs, each,
    ADD: tl.constexpr, SHIFT: tl.constexpr, OTHERS: tl.constexpr, FLAT: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """out[..., base[k], c] = or += values[..., k, c]: program (range of c, place in the others). A program owns its places and
    takes k in order, so the last of equal offsets stays, and sums have one order."""
    oo, ov = others(table, tl.program_id(1).to(tl.int64), OTHERS)
    out += oo
    values += ov
    lane = tl.arange(0, BLOCK)
    if FLAT:
        if ADD:
            for k in range(0, n):
                target = out + (tl.load(base + k) >> SHIFT)
                v = tl.load(values + k.to(tl.int64) * valuesn).to(out.dtype.element_ty)
                tl.store(target, plus(tl.load(target), v))
        else:
            for start in range(0, n, BLOCK):
                at = start + lane
                mask = at < n
                target = tl.load(base + at, mask=mask, other=0) >> SHIFT
                tl.store(out + target, tl.load(values + at.to(tl.int64) * valuesn, mask=mask), mask=mask)
    else:
        begin = tl.program_id(0).to(tl.int64) * each
        end = tl.minimum(begin + each, inner)
        for k in range(0, n):
            target = out + (tl.load(base + k) >> SHIFT)
            source = values + k.to(tl.int64) * valuesn
            for col in range(begin, end, BLOCK):
                c = col + lane
                mask = c < end
                v = tl.load(source + c * vs, mask=mask).to(out.dtype.element_ty)
                if ADD:
                    v = plus(v, tl.load(target + c * os, mask=mask))
                tl.store(target + c * os, v, mask=mask)
