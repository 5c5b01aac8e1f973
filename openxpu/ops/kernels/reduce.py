# Reduction kernels over rows and columns, and the gradients that spread a reduced value back over its inputs.
"""OP is "sum", "max", "min", "prod" or "lse" (log of the sum of exponentials). PRE is applied to each element as it
is read ("none", "square", "abs", "nonzero", "power" with exponent p), POST to each result ("none", "scale" by
`scale`, "sqrt", "power" with exponent `scale`). Everything is accumulated in ACC."""

import triton
import triton.language as tl


@triton.jit
def multiply(a, b):
    return a * b


@triton.jit
def maximum(a, b):
    """NaN when either is NaN."""
    return tl.maximum(a, b, propagate_nan=tl.PropagateNan.ALL)


@triton.jit
def minimum(a, b):
    return tl.minimum(a, b, propagate_nan=tl.PropagateNan.ALL)


@triton.jit
def power(x, p):
    """x ** p for x >= 0, with 0 ** p = 0 for p > 0 and 0 ** 0 = 1."""
    return tl.where(x == 0, tl.where(p == 0, x + 1, x), tl.exp2(p * tl.log2(tl.where(x == 0, x + 1, x))))


@triton.jit
def prepare(v, p, PRE: tl.constexpr, ACC: tl.constexpr):
    """An element as it enters the reduction."""
    if PRE == "nonzero":
        return (v != 0).to(ACC)
    v = v.to(ACC)
    if PRE == "square":
        v = v * v
    elif PRE == "abs":
        v = tl.abs(v)
    elif PRE == "power":
        v = power(tl.abs(v), p)
    return v


@triton.jit
def element(pointer, mask, p, OP: tl.constexpr, PRE: tl.constexpr, ACC: tl.constexpr, IDENTITY: tl.constexpr):
    """Elements as they enter the reduction, those that are masked as its identity."""
    if PRE == "none" and pointer.dtype.scalar.element_ty.is_floating():
        v = tl.load(pointer, mask=mask, other=IDENTITY).to(ACC)
    else:
        v = prepare(tl.load(pointer, mask=mask, other=0), p, PRE, ACC)
        if OP != "sum" or PRE == "power":
            v = tl.where(mask, v, IDENTITY)
    return v


@triton.jit
def conclude(v, scale, POST: tl.constexpr):
    """A result as it leaves the last stage."""
    if POST == "scale":
        v = v * scale
    elif POST == "sqrt":
        v = tl.sqrt(v)
    elif POST == "power":
        v = power(v, scale)
    return v


@triton.jit
def combine(a, b, OP: tl.constexpr):
    if OP == "sum":
        return a + b
    elif OP == "max":
        return maximum(a, b)
    elif OP == "min":
        return minimum(a, b)
    else:
        return a * b


@triton.jit
def fold(v, AXIS: tl.constexpr, OP: tl.constexpr):
    """Reduces one axis of a tile."""
    if OP == "sum":
        return tl.sum(v, axis=AXIS)
    elif OP == "max":
        return tl.reduce(v, AXIS, maximum)
    elif OP == "min":
        return tl.reduce(v, AXIS, minimum)
    else:
        return tl.reduce(v, AXIS, multiply)


@triton.jit
def finite_or_zero(m):
    """A maximum to subtract: where everything was -inf, subtracting it would give NaN."""
    return tl.where(m == float("-inf"), 0.0, m)


@triton.jit
def reduce_rows(
    x, out, n, chunk, p, scale,
    OP: tl.constexpr, PRE: tl.constexpr, POST: tl.constexpr, ACC: tl.constexpr, IDENTITY: tl.constexpr,
    BLOCK: tl.constexpr,
):  # fmt: skip
    """[rows, n] -> [rows, parts]: program (part, row) reduces `chunk` elements of its row."""
    part = tl.program_id(0)
    row = tl.program_id(1)
    first = part.to(tl.int64) * chunk
    x += row.to(tl.int64) * n + first
    count = tl.minimum(n - first, chunk).to(tl.int32)
    offsets = tl.arange(0, BLOCK)
    acc = tl.full((), IDENTITY, ACC)
    if OP == "lse":
        total = tl.full((), 0.0, ACC)
        for start in range(0, count, BLOCK):
            mask = start + offsets < count
            v = tl.load(x + start + offsets, mask=mask, other=float("-inf")).to(ACC)
            top = tl.maximum(acc, tl.max(v, axis=0))
            base = finite_or_zero(top)
            total = total * tl.exp(acc - base) + tl.sum(tl.exp(v - base), axis=0)
            acc = top
        acc = finite_or_zero(acc) + tl.log(total)
    else:
        for start in range(0, count, BLOCK):
            mask = start + offsets < count
            v = element(x + start + offsets, mask, p, OP, PRE, ACC, IDENTITY)
            acc = combine(acc, fold(v, 0, OP), OP)
    acc = conclude(acc, scale, POST)
    tl.store(out + row.to(tl.int64) * tl.num_programs(0) + part, acc.to(out.dtype.element_ty))


@triton.jit
def reduce_short_rows(
    x, out, rows, n, p, scale,
    OP: tl.constexpr, PRE: tl.constexpr, POST: tl.constexpr, ACC: tl.constexpr, IDENTITY: tl.constexpr,
    ROWS: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """[rows, n] -> [rows] for n <= BLOCK: ROWS rows in one tile."""
    first = tl.program_id(0).to(tl.int64) * ROWS
    left = tl.minimum(rows - first, ROWS).to(tl.int32)
    r = tl.arange(0, ROWS)
    c = tl.arange(0, BLOCK)
    mask = (r < left)[:, None] & (c < n)[None, :]
    tile = x + first * n + (r * n)[:, None] + c[None, :]
    if OP == "lse":
        v = tl.load(tile, mask=mask, other=float("-inf")).to(ACC)
        base = finite_or_zero(tl.max(v, axis=1))
        acc = base + tl.log(tl.sum(tl.exp(v - base[:, None]), axis=1))
    else:
        v = element(tile, mask, p, OP, PRE, ACC, IDENTITY)
        acc = fold(v, 1, OP)
    acc = conclude(acc, scale, POST)
    tl.store(out + first + r, acc.to(out.dtype.element_ty), mask=r < left)


@triton.jit
def reduce_columns(
    x, out, n, inner, chunk, size, p, scale,
    OP: tl.constexpr, PRE: tl.constexpr, POST: tl.constexpr, ACC: tl.constexpr, IDENTITY: tl.constexpr,
    RAGGED: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """[outer, n, inner] -> [outer, parts, inner]: program (columns, part, outer) walks down `chunk` rows. RAGGED: only `size`
    elements lie in each outer index, and the last row is shorter."""
    first_column = tl.program_id(0) * BLOCK
    part = tl.program_id(1)
    outer = tl.program_id(2).to(tl.int64)
    first = part * chunk
    count = tl.minimum(n - first, chunk)
    offsets = tl.arange(0, BLOCK)
    mask = offsets < inner - first_column
    start = first.to(tl.int64) * inner + first_column
    x += outer * size + start
    acc = tl.full((BLOCK,), IDENTITY, ACC)
    at = tl.full((), 0, tl.int64)
    if OP == "lse":
        total = tl.full((BLOCK,), 0.0, ACC)
        for _i in range(0, count):
            here = mask
            if RAGGED:
                here = mask & (offsets < size - start - at)
            v = tl.load(x + at + offsets, mask=here, other=float("-inf")).to(ACC)
            top = tl.maximum(acc, v)
            base = finite_or_zero(top)
            total = total * tl.exp(acc - base) + tl.exp(v - base)
            acc = top
            at += inner
        acc = finite_or_zero(acc) + tl.log(total)
    else:
        for _i in range(0, count):
            here = mask
            if RAGGED:
                here = mask & (offsets < size - start - at)
            v = prepare(tl.load(x + at + offsets, mask=here, other=0), p, PRE, ACC)
            if RAGGED and OP != "sum":
                v = tl.where(here, v, IDENTITY)
            acc = combine(acc, v, OP)
            at += inner
    acc = conclude(acc, scale, POST)
    out += (outer * tl.num_programs(1) + part) * inner + first_column
    tl.store(out + offsets, acc.to(out.dtype.element_ty), mask=mask)


@triton.jit
def reduce_grad(
    x, y, dy, count, dx, d1, d2, d3, s0, s1, p, scale,
    MODE: tl.constexpr, LAST_REDUCED: tl.constexpr, ACC: tl.constexpr, ROWS: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """dx [d0, d1, d2, d3] from dy, which has no extent where dimensions were reduced (stride 0 there; s0 and s1 are
    its strides in the first two). Of the last two dimensions exactly one is reduced. Program (block of d3, block of
    d2, d0 * d1). MODE says what an element gets: "scale": dy * scale; "equal": dy where x == y; "share": the same
    divided by `count`; "match": 1 where x == y; "prod", "lse", "norm" (p-norm), "top" (norms of order inf): the gradients of those."""
    c0 = tl.program_id(0) * BLOCK
    r0 = tl.program_id(1) * ROWS
    outer = tl.program_id(2)
    r = tl.arange(0, ROWS)
    c = tl.arange(0, BLOCK)
    rmask = r < d2 - r0
    cmask = c < d3 - c0
    mask = rmask[:, None] & cmask[None, :]
    base = (outer.to(tl.int64) * d2 + r0) * d3 + c0
    at = (r * d3)[:, None] + c[None, :]
    reduced = (outer // d1).to(tl.int64) * s0 + (outer % d1).to(tl.int64) * s1
    if LAST_REDUCED:
        g = tl.load(dy + reduced + r0 + r, mask=rmask, other=0).to(ACC)[:, None]
    else:
        g = tl.load(dy + reduced + c0 + c, mask=cmask, other=0).to(ACC)[None, :]
    if MODE == "scale":
        v = tl.broadcast_to(g * scale, (ROWS, BLOCK))
    else:
        e = tl.load(x + base + at, mask=mask, other=0).to(ACC)
        if LAST_REDUCED:
            t = tl.load(y + reduced + r0 + r, mask=rmask, other=0).to(ACC)[:, None]
        else:
            t = tl.load(y + reduced + c0 + c, mask=cmask, other=0).to(ACC)[None, :]
        if MODE == "equal":
            v = tl.where(e == t, g, 0)
        elif MODE == "match":
            v = tl.where(e == t, g * 0 + 1, 0)
        elif MODE == "share":
            if LAST_REDUCED:
                k = tl.load(count + reduced + r0 + r, mask=rmask, other=1).to(ACC)[:, None]
            else:
                k = tl.load(count + reduced + c0 + c, mask=cmask, other=1).to(ACC)[None, :]
            v = tl.where(e == t, g / k, 0)
        elif MODE == "prod":
            v = g * t / e
        elif MODE == "lse":
            v = g * tl.exp(e - t)
        elif MODE == "top":
            v = tl.where(tl.abs(e) == t, tl.where(e < 0, -g, tl.where(e > 0, g, 0.0)), 0.0)
        else:
            a = tl.abs(e)
            sign = tl.where(e < 0, -1.0, tl.where(e > 0, 1.0, 0.0))
            if MODE == "norm1":
                v = sign * g
            elif MODE == "norm2":
                v = g * (e / (t + scale))
            else:
                v = sign * power(a, p - 1) * g / (power(t, p - 1) + scale)
    tl.store(dx + base + at, v.to(dx.dtype.element_ty), mask=mask)
