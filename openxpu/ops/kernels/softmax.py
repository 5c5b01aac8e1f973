# Softmax and log-softmax, forward and backward, along rows (last axis) and along columns (any other axis).

import triton
import triton.language as tl


@triton.jit
def widen(x):
    """The type to compute in: f64 for f64, f32 for everything else."""
    if x.dtype == tl.float64:
        return x
    else:
        return x.to(tl.float32)


@triton.jit
def softmax_rows(x, out, n, LOG: tl.constexpr, STREAM: tl.constexpr, BLOCK: tl.constexpr):
    """One row of n <= BLOCK elements a program."""
    start = tl.program_id(0).to(tl.int64) * n
    offsets = tl.arange(0, BLOCK)
    mask = offsets < n
    v = widen(tl.load(x + start + offsets, mask=mask, other=float("-inf")))
    v = v - tl.max(v, axis=0)
    e = tl.exp(v)
    total = tl.sum(e, axis=0)
    if LOG:
        v = v - tl.log(total)
    else:
        v = e * (1.0 / total)
    modifier: tl.constexpr = ".cs" if STREAM else ""
    tl.store(out + start + offsets, v.to(out.dtype.element_ty), mask=mask, cache_modifier=modifier)


@triton.jit
def softmax_short_rows(x, out, rows, n, LOG: tl.constexpr, ROWS: tl.constexpr, BLOCK: tl.constexpr):
    """ROWS rows of n <= BLOCK elements a program, for rows too short to fill the lanes by themselves."""
    first = tl.program_id(0).to(tl.int64) * ROWS
    r = tl.arange(0, ROWS)
    c = tl.arange(0, BLOCK)
    mask = (r < tl.minimum(rows - first, ROWS).to(tl.int32))[:, None] & (c < n)[None, :]
    at = first * n + (r * n)[:, None] + c[None, :]
    v = widen(tl.load(x + at, mask=mask, other=float("-inf")))
    v = v - tl.max(v, axis=1)[:, None]
    e = tl.exp(v)
    total = tl.sum(e, axis=1)
    if LOG:
        v = v - tl.log(total)[:, None]
    else:
        v = e * (1.0 / total)[:, None]
    tl.store(out + at, v.to(out.dtype.element_ty), mask=mask)


@triton.jit
def row_statistics(x, n, ACC: tl.constexpr, BLOCK: tl.constexpr):
    """Maximum, and sum of exp(x - maximum), of a row that is longer than a tile."""
    offsets = tl.arange(0, BLOCK)
    top = tl.full((), float("-inf"), ACC)
    for start in range(0, n, BLOCK):
        v = tl.load(x + start + offsets, mask=offsets < n - start, other=float("-inf")).to(ACC)
        top = tl.maximum(top, tl.max(v, axis=0))
    total = tl.full((), 0.0, ACC)
    for start in range(0, n, BLOCK):
        v = tl.load(x + start + offsets, mask=offsets < n - start, other=float("-inf")).to(ACC)
        total += tl.sum(tl.exp(v - top), axis=0)
    return top, total


@triton.jit
def softmax_long_rows(x, out, n, LOG: tl.constexpr, ACC: tl.constexpr, BLOCK: tl.constexpr):
    """One row a program, in tiles of BLOCK: maximum, sum, then the result."""
    row = tl.program_id(0).to(tl.int64) * n
    x += row
    out += row
    top, total = row_statistics(x, n, ACC, BLOCK)
    shift = tl.log(total)
    factor = 1.0 / total
    offsets = tl.arange(0, BLOCK)
    for start in range(0, n, BLOCK):
        mask = offsets < n - start
        v = tl.load(x + start + offsets, mask=mask, other=0).to(ACC)
        if LOG:
            v = (v - top) - shift  # not v - (top + shift): a large top would take the digits of shift
        else:
            v = tl.exp(v - top) * factor
        tl.store(out + start + offsets, v.to(out.dtype.element_ty), mask=mask)


@triton.jit
def softmax_columns(x, out, n, inner, LOG: tl.constexpr, ACC: tl.constexpr, BLOCK: tl.constexpr):
    """[outer, n, inner] along n: program (columns, outer) walks down BLOCK columns three times."""
    first = tl.program_id(0) * BLOCK
    start = tl.program_id(1).to(tl.int64) * n * inner + first
    x += start
    out += start
    offsets = tl.arange(0, BLOCK)
    mask = offsets < inner - first
    top = tl.full((BLOCK,), float("-inf"), ACC)
    at = tl.full((), 0, tl.int64)
    for _i in range(0, n):
        v = tl.load(x + at + offsets, mask=mask, other=0).to(ACC)
        top = tl.maximum(top, v)
        at += inner
    total = tl.full((BLOCK,), 0.0, ACC)
    at = tl.full((), 0, tl.int64)
    for _i in range(0, n):
        v = tl.load(x + at + offsets, mask=mask, other=0).to(ACC)
        total += tl.exp(v - top)
        at += inner
    shift = tl.log(total)
    factor = 1.0 / total
    at = tl.full((), 0, tl.int64)
    for _i in range(0, n):
        v = tl.load(x + at + offsets, mask=mask, other=0).to(ACC)
        if LOG:
            v = (v - top) - shift  # not v - (top + shift): a large top would take the digits of shift
        else:
            v = tl.exp(v - top) * factor
        tl.store(out + at + offsets, v.to(out.dtype.element_ty), mask=mask)
        at += inner


@triton.jit
def softmax_grad_rows(y, dy, dx, n, LOG: tl.constexpr, STREAM: tl.constexpr, BLOCK: tl.constexpr):
    """dx = y * (dy - sum(y * dy)), or dy - exp(y) * sum(dy) when y are logarithms; one row a program."""
    start = tl.program_id(0).to(tl.int64) * n
    offsets = tl.arange(0, BLOCK)
    mask = offsets < n
    v = widen(tl.load(y + start + offsets, mask=mask, other=0))
    g = widen(tl.load(dy + start + offsets, mask=mask, other=0))
    if LOG:
        v = g - tl.exp(v) * tl.sum(g, axis=0)
    else:
        v = v * (g - tl.sum(v * g, axis=0))
    modifier: tl.constexpr = ".cs" if STREAM else ""
    tl.store(dx + start + offsets, v.to(dx.dtype.element_ty), mask=mask, cache_modifier=modifier)


@triton.jit
def softmax_grad_short_rows(y, dy, dx, rows, n, LOG: tl.constexpr, ROWS: tl.constexpr, BLOCK: tl.constexpr):
    first = tl.program_id(0).to(tl.int64) * ROWS
    r = tl.arange(0, ROWS)
    c = tl.arange(0, BLOCK)
    mask = (r < tl.minimum(rows - first, ROWS).to(tl.int32))[:, None] & (c < n)[None, :]
    at = first * n + (r * n)[:, None] + c[None, :]
    v = widen(tl.load(y + at, mask=mask, other=0))
    g = widen(tl.load(dy + at, mask=mask, other=0))
    if LOG:
        v = g - tl.exp(v) * tl.sum(g, axis=1)[:, None]
    else:
        v = v * (g - tl.sum(v * g, axis=1)[:, None])
    tl.store(dx + at, v.to(dx.dtype.element_ty), mask=mask)


@triton.jit
def softmax_grad_long_rows(y, dy, dx, n, LOG: tl.constexpr, ACC: tl.constexpr, BLOCK: tl.constexpr):
    row = tl.program_id(0).to(tl.int64) * n
    y += row
    dy += row
    dx += row
    offsets = tl.arange(0, BLOCK)
    total = tl.full((), 0.0, ACC)
    for start in range(0, n, BLOCK):
        mask = offsets < n - start
        g = tl.load(dy + start + offsets, mask=mask, other=0).to(ACC)
        if not LOG:
            g = g * tl.load(y + start + offsets, mask=mask, other=0).to(ACC)
        total += tl.sum(g, axis=0)
    for start in range(0, n, BLOCK):
        mask = offsets < n - start
        v = tl.load(y + start + offsets, mask=mask, other=0).to(ACC)
        g = tl.load(dy + start + offsets, mask=mask, other=0).to(ACC)
        if LOG:
            v = g - tl.exp(v) * total
        else:
            v = v * (g - total)
        tl.store(dx + start + offsets, v.to(dx.dtype.element_ty), mask=mask)


@triton.jit
def softmax_grad_columns(y, dy, dx, n, inner, LOG: tl.constexpr, ACC: tl.constexpr, BLOCK: tl.constexpr):
    first = tl.program_id(0) * BLOCK
    start = tl.program_id(1).to(tl.int64) * n * inner + first
    y += start
    dy += start
    dx += start
    offsets = tl.arange(0, BLOCK)
    mask = offsets < inner - first
    total = tl.full((BLOCK,), 0.0, ACC)
    at = tl.full((), 0, tl.int64)
    for _i in range(0, n):
        g = tl.load(dy + at + offsets, mask=mask, other=0).to(ACC)
        if not LOG:
            g = g * tl.load(y + at + offsets, mask=mask, other=0).to(ACC)
        total += g
        at += inner
    at = tl.full((), 0, tl.int64)
    for _i in range(0, n):
        v = tl.load(y + at + offsets, mask=mask, other=0).to(ACC)
        g = tl.load(dy + at + offsets, mask=mask, other=0).to(ACC)
        if LOG:
            v = g - tl.exp(v) * total
        else:
            v = v * (g - total)
        tl.store(dx + at + offsets, v.to(dx.dtype.element_ty), mask=mask)
        at += inner
