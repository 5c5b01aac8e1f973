# Kernels of separable resampling: along one axis every output is a weighted sum of a few inputs, which a table names.
"""Tables `index` and `weight` are [taps, count]: output o is the sum over k of weight[k, o] * x[index[k, o]]. An index
of -1 is no tap (HOLES says that there are such). Without WEIGHTED all weights are 1, and nothing is computed when there
is one tap. TAPS: their number where the loop over them is unrolled, else 0."""

import triton
import triton.language as tl


@triton.jit
def line_tap(
    x, acc, index, weight, at, o, rows, lane, lanes, inner, WEIGHTED: tl.constexpr, HOLES: tl.constexpr
):
    i = tl.load(index + at + o, mask=rows, other=-1)
    mask = rows[:, None] & lanes[None, :]
    if HOLES:
        mask = mask & (i >= 0)[:, None]
    v = tl.load(x + (i.to(tl.int64) * inner)[:, None] + lane[None, :], mask=mask, other=0).to(acc.dtype)
    if WEIGHTED:
        v = v * tl.load(weight + at + o, mask=rows, other=0)[:, None]
    return acc + v


@triton.jit
def resample_lines(
    x, out, index, weight, extent, count, inner, taps,
    TAPS: tl.constexpr, WEIGHTED: tl.constexpr, HOLES: tl.constexpr, ACC: tl.constexpr,
    ROWS: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """x [outer, extent, inner], out [outer, count, inner]: program (block of inner, block of outputs, outer index)."""
    outer = tl.program_id(2).to(tl.int64)
    x += outer * extent * inner
    out += outer * count * inner
    o = tl.program_id(1) * ROWS + tl.arange(0, ROWS)
    lane = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    rows = o < count
    lanes = lane < inner
    acc = tl.zeros((ROWS, BLOCK), ACC)
    if TAPS > 0:
        for k in tl.static_range(TAPS):
            acc = line_tap(x, acc, index, weight, k * count, o, rows, lane, lanes, inner, WEIGHTED, HOLES)
    else:
        for k in range(0, taps):
            acc = line_tap(x, acc, index, weight, k * count, o, rows, lane, lanes, inner, WEIGHTED, HOLES)
    to = (o.to(tl.int64) * inner)[:, None] + lane[None, :]
    tl.store(out + to, acc.to(out.dtype.element_ty), mask=rows[:, None] & lanes[None, :])


@triton.jit
def point_tap(
    x, acc, index, weight, at, row, rows, o, lanes, extent, WEIGHTED: tl.constexpr, HOLES: tl.constexpr
):
    i = tl.load(index + at + o, mask=lanes, other=-1)
    mask = rows[:, None] & lanes[None, :]
    if HOLES:
        mask = mask & (i >= 0)[None, :]
    v = tl.load(x + (row * extent)[:, None] + i[None, :], mask=mask, other=0).to(acc.dtype)
    if WEIGHTED:
        v = v * tl.load(weight + at + o, mask=lanes, other=0)[None, :]
    return acc + v


@triton.jit
def resample_points(
    x, out, index, weight, outer, extent, count, taps,
    TAPS: tl.constexpr, WEIGHTED: tl.constexpr, HOLES: tl.constexpr, ACC: tl.constexpr,
    ROWS: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """x [outer, extent], out [outer, count]: program (block of outputs, block of outer indices)."""
    o = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    row = tl.program_id(1).to(tl.int64) * ROWS + tl.arange(0, ROWS)
    lanes = o < count
    rows = row < outer
    acc = tl.zeros((ROWS, BLOCK), ACC)
    if TAPS > 0:
        for k in tl.static_range(TAPS):
            acc = point_tap(x, acc, index, weight, k * count, row, rows, o, lanes, extent, WEIGHTED, HOLES)
    else:
        for k in range(0, taps):
            acc = point_tap(x, acc, index, weight, k * count, row, rows, o, lanes, extent, WEIGHTED, HOLES)
    to = (row * count)[:, None] + o[None, :]
    tl.store(out + to, acc.to(out.dtype.element_ty), mask=rows[:, None] & lanes[None, :])
