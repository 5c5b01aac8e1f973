# Kernels that move elements: transposing tiles, gathers, scatters, running sums.
import triton
import triton.language as tl

from openxpu.ops.kernels.pointwise import whole_quotient


@triton.jit
def transpose_tiles(
    x, out, table, p_extent, q_extent, p_tiles, q_tiles, xq, outp,
    OUTER: tl.constexpr, BP: tl.constexpr, BQ: tl.constexpr,
):  # fmt: skip
    """Dimension p is dense in x, q is dense in out: each program moves one tile of BQ x BP, both sides by whole lines.

    `table` holds for each outer dimension, innermost first: extent, stride of x, stride of out."""
    program = tl.program_id(0).to(tl.int64)
    p = (program % p_tiles) * BP
    rest = program // p_tiles
    q = (rest % q_tiles) * BQ
    rest = rest // q_tiles
    ox = p + q * xq
    oo = q + p * outp
    for d in tl.static_range(OUTER):
        index = rest
        if d < OUTER - 1:
            extent = tl.load(table + 3 * d)
            index = rest % extent
            rest = rest // extent
        ox += index * tl.load(table + 3 * d + 1)
        oo += index * tl.load(table + 3 * d + 2)
    lp = tl.arange(0, BP)
    lq = tl.arange(0, BQ)
    in_p = lp < p_extent - p
    in_q = lq < q_extent - q
    tile = tl.load(x + ox + (lq[:, None] * xq + lp[None, :]), mask=in_q[:, None] & in_p[None, :])
    tl.store(
        out + oo + (lp[:, None] * outp + lq[None, :]), tl.trans(tile), mask=in_p[:, None] & in_q[None, :]
    )


@triton.jit
def gather_rows(x, index, out, count, extent, inner, count_each, BLOCK: tl.constexpr):
    """out[o, i, :] = x[o, index[i], :] with x [outer, extent, inner]. A negative index counts from the end."""
    outer = tl.program_id(1).to(tl.int64)
    first = tl.program_id(0).to(tl.int64) * count_each
    last = tl.minimum(first + count_each, count)
    lane = tl.arange(0, BLOCK)
    for i in range(first, last):
        row = tl.load(index + i).to(tl.int64)
        row = tl.where(row < 0, row + extent, row)
        source = x + (outer * extent + row) * inner
        target = out + (outer * count + i) * inner
        for col in range(0, inner, BLOCK):
            mask = lane < inner - col
            tl.store(target + col + lane, tl.load(source + col + lane, mask=mask), mask=mask)


@triton.jit
def scatter_rows(
    updates,
    index,
    out,
    count,
    extent,
    inner,
    cols_each,
    ADD: tl.constexpr,
    ACC: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """out[o, index[i], :] = or += updates[o, i, :]. A program owns a range of columns and takes the rows in
    order, so sums have one fixed order and the last of equal indices wins."""
    outer = tl.program_id(1).to(tl.int64)
    begin = tl.program_id(0).to(tl.int64) * cols_each
    end = tl.minimum(begin + cols_each, inner)
    lane = tl.arange(0, BLOCK)
    for i in range(0, count):
        row = tl.load(index + i).to(tl.int64)
        row = tl.where(row < 0, row + extent, row)
        source = updates + (outer * count + i) * inner
        target = out + (outer * extent + row) * inner
        for col in range(begin, end, BLOCK):
            mask = lane < end - col
            value = tl.load(source + col + lane, mask=mask)
            if ADD:
                value = value.to(ACC) + tl.load(target + col + lane, mask=mask).to(ACC)
            tl.store(target + col + lane, value.to(out.dtype.element_ty), mask=mask)


@triton.jit
def zero_rows(index, out, count, extent, inner, cols_each, BLOCK: tl.constexpr):
    """out[index[i], :] = 0."""
    begin = tl.program_id(0).to(tl.int64) * cols_each
    end = tl.minimum(begin + cols_each, inner)
    lane = tl.arange(0, BLOCK)
    for i in range(0, count):
        row = tl.load(index + i).to(tl.int64)
        row = tl.where(row < 0, row + extent, row)
        for col in range(begin, end, BLOCK):
            zero = tl.zeros([BLOCK], dtype=tl.int32).to(out.dtype.element_ty)
            tl.store(out + row * inner + col + lane, zero, mask=lane < end - col)


@triton.jit
def flatten_index(index, out, table, n, depth, BLOCK: tl.constexpr):
    """out[i] = the row number which index[i, :] of `depth` coordinates names; `table` has extents, then strides."""
    start = tl.program_id(0).to(tl.int64) * BLOCK
    lane = start + tl.arange(0, BLOCK)
    mask = lane < n
    total = lane * 0
    for d in range(0, depth):
        coordinate = tl.load(index + lane * depth + d, mask=mask).to(tl.int64)
        extent = tl.load(table + d)
        coordinate = tl.where(coordinate < 0, coordinate + extent, coordinate)
        total += coordinate * tl.load(table + depth + d)
    tl.store(out + lane, total, mask=mask)


@triton.jit
def take_along(
    x, index, out, table, n, x_extent, step, DIMS: tl.constexpr, SMALL: tl.constexpr, BLOCK: tl.constexpr
):
    """out[i] = x[its place in the other dimensions + index[i] * step]. `table` holds for each dimension, innermost first:
    extent, multiplier and shift of the division by it, stride of x (0: that of the index)."""
    start = tl.program_id(0).to(tl.int64) * BLOCK
    lane = start + tl.arange(0, BLOCK)
    mask = lane < n
    row = tl.load(index + lane, mask=mask, other=0).to(tl.int64)
    place = tl.where(row < 0, row + x_extent, row) * step
    rest = lane
    for d in tl.static_range(DIMS):
        position = rest
        if d < DIMS - 1:
            extent = tl.load(table + 4 * d)
            rest = whole_quotient(rest, extent, tl.load(table + 4 * d + 1), tl.load(table + 4 * d + 2), SMALL)
            position = position - rest * extent
        place += position * tl.load(table + 4 * d + 3)
    tl.store(out + lane, tl.load(x + place, mask=mask), mask=mask)


@triton.jit
def put_along(
    values, index, out, count, x_extent, extent, inner,
    MODE: tl.constexpr, SCALAR: tl.constexpr, ACC: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """out[o, index[o, i, c], c] = (or +=, *=) values[o, i, c]. A lane owns one (o, c) and takes i in order."""
    lane = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    mask = lane < count
    outer = lane // inner
    col = lane % inner
    for i in range(0, extent):
        place = (outer * extent + i) * inner + col
        row = tl.load(index + place, mask=mask, other=0).to(tl.int64)
        row = tl.where(row < 0, row + x_extent, row)
        target = out + (outer * x_extent + row) * inner + col
        if MODE == "zero":
            value = tl.zeros([BLOCK], dtype=tl.int32)
        elif SCALAR:
            value = tl.load(values + lane * 0, mask=mask)
        else:
            value = tl.load(values + place, mask=mask)
        if MODE == "add":
            value = value.to(ACC) + tl.load(target, mask=mask).to(ACC)
        elif MODE == "multiply":
            value = value.to(ACC) * tl.load(target, mask=mask).to(ACC)
        elif MODE == "amin":
            value = tl.minimum(value.to(ACC), tl.load(target, mask=mask).to(ACC))
        elif MODE == "amax":
            value = tl.maximum(value.to(ACC), tl.load(target, mask=mask).to(ACC))
        tl.store(target, value.to(out.dtype.element_ty), mask=mask)


@triton.jit
def put_along_rows(
    values,
    index,
    out,
    rows,
    x_extent,
    extent,
    each,
    MODE: tl.constexpr,
    SCALAR: tl.constexpr,
    ACC: tl.constexpr,
):
    """put_along where inner is 1: rows one after the other, which read what lies side by side."""
    first = tl.program_id(0).to(tl.int64) * each
    for o in range(first, tl.minimum(first + each, rows)):
        for i in range(0, extent):
            row = tl.load(index + o * extent + i).to(tl.int64)
            row = tl.where(row < 0, row + x_extent, row)
            target = out + o * x_extent + row
            if MODE == "zero":
                value = tl.full((), 0, tl.int32)
            elif SCALAR:
                value = tl.load(values)
            else:
                value = tl.load(values + o * extent + i)
            if MODE == "add":
                value = value.to(ACC) + tl.load(target).to(ACC)
            elif MODE == "multiply":
                value = value.to(ACC) * tl.load(target).to(ACC)
            elif MODE == "amin":
                value = tl.minimum(value.to(ACC), tl.load(target).to(ACC))
            elif MODE == "amax":
                value = tl.maximum(value.to(ACC), tl.load(target).to(ACC))
            tl.store(target, value.to(out.dtype.element_ty))


@triton.jit
def running_sums(
    x, out, base, mask, extent, inner,
    EXCLUSIVE: tl.constexpr, REVERSE: tl.constexpr, ACC: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """`extent` steps of `inner` from each lane's place in `base`."""
    total = tl.zeros([BLOCK], dtype=ACC)
    for i in range(0, extent):
        step = i
        if REVERSE:
            step = extent - 1 - i
        place = base + step * inner
        value = tl.load(x + place, mask=mask).to(ACC)
        if EXCLUSIVE:
            tl.store(out + place, total.to(out.dtype.element_ty), mask=mask)
            total += value
        else:
            total += value
            tl.store(out + place, total.to(out.dtype.element_ty), mask=mask)


@triton.jit
def cumsum(
    x, out, count, extent, inner,
    EXCLUSIVE: tl.constexpr, REVERSE: tl.constexpr, ACC: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Running sums along the middle of [outer, extent, inner]. A lane owns one (outer, inner)."""
    lane = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    mask = lane < count
    base = (lane // inner) * extent * inner + lane % inner
    running_sums(x, out, base, mask, extent, inner, EXCLUSIVE, REVERSE, ACC, BLOCK)


@triton.jit
def cumsum_rows(
    x, out, extent, EXCLUSIVE: tl.constexpr, REVERSE: tl.constexpr, ACC: tl.constexpr, BLOCK: tl.constexpr
):
    """Running sums along rows, one row a program, a block at a time."""
    row = tl.program_id(0).to(tl.int64) * extent
    x += row
    out += row
    lane = tl.arange(0, BLOCK)
    carry = tl.zeros((), dtype=ACC)
    if EXCLUSIVE:
        tl.store(out + (extent - 1 if REVERSE else 0), carry.to(out.dtype.element_ty))
    for start in range(0, extent, BLOCK):
        at = (extent - BLOCK - start if REVERSE else start) + lane
        inside = at >= 0 if REVERSE else at < extent
        total = tl.cumsum(tl.load(x + at, mask=inside, other=0).to(ACC), axis=0, reverse=REVERSE) + carry
        # The sum of all so far stands at the end that the sums run to.
        carry = tl.sum(tl.where(lane == (0 if REVERSE else BLOCK - 1), total, tl.zeros_like(total)), axis=0)
        if EXCLUSIVE:
            at += -1 if REVERSE else 1
            inside = inside & ((at >= 0) if REVERSE else (at < extent))
        tl.store(out + at, total.to(out.dtype.element_ty), mask=inside)


@triton.jit
def cumsum_columns(
    x, out, extent, inner,
    EXCLUSIVE: tl.constexpr, REVERSE: tl.constexpr, ACC: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Running sums along the middle of [outer, extent, inner], a block of columns a program."""
    column = tl.program_id(0).to(tl.int64) * BLOCK
    lane = tl.arange(0, BLOCK)
    mask = lane < inner - column
    base = tl.program_id(1).to(tl.int64) * extent * inner + column + lane
    running_sums(x, out, base, mask, extent, inner, EXCLUSIVE, REVERSE, ACC, BLOCK)


@triton.jit
def mean(total, count):
    """total / count, where there was something to count; of integers the largest integer below."""
    wide = total
    if total.dtype == tl.float16 or total.dtype == tl.bfloat16:
        wide = total.to(tl.float32)
    n = tl.where(count > 0, count, 1).to(wide.dtype)
    if wide.dtype.is_floating():
        return wide / n
    else:
        return wide // n - ((wide % n != 0) & (wide < 0)).to(wide.dtype)


@triton.jit
def same(a, b):
    return ((a == b) | ((a != a) & (b != b))).to(tl.int32)


@triton.jit
def where_same(d, a, b):
    return tl.where((a == b) | ((a != a) & (b != b)), d, tl.zeros_like(d))


@triton.jit
def quotient(a, b):
    if a.dtype == tl.float16 or a.dtype == tl.bfloat16:
        return a.to(tl.float32) / b.to(tl.float32)
    elif a.dtype.is_floating():
        return a / b
    else:
        return a // tl.where(b == 0, 1, b)


@triton.jit
def others(product, factor, touched):
    """What a factor is multiplied with; one where nothing was."""
    q = quotient(product, factor)
    return tl.where(touched != 0, q, tl.full(q.shape, 1, q.dtype))


@triton.jit
def by_others(d, factor, product):
    """The gradient of a factor."""
    if d.dtype == tl.float16 or d.dtype == tl.bfloat16:
        return quotient(d.to(tl.float32) * product.to(tl.float32), factor.to(tl.float32))
    else:
        return quotient(d * product, factor)
