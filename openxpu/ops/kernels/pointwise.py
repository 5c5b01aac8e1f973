# Kernels that apply one function to every element, for any function of up to three tensors and three scalars.
import triton
import triton.language as tl


@triton.jit
def apply(FN: tl.constexpr, INPUTS: tl.constexpr, SCALARS: tl.constexpr, x, y, z, a, b, c):
    """FN of the first INPUTS of x, y, z and the first SCALARS of a, b, c."""
    if INPUTS == 1:
        if SCALARS == 0:
            value = FN(x)
        elif SCALARS == 1:
            value = FN(x, a)
        elif SCALARS == 2:
            value = FN(x, a, b)
        else:
            value = FN(x, a, b, c)
    elif INPUTS == 2:
        if SCALARS == 0:
            value = FN(x, y)
        elif SCALARS == 1:
            value = FN(x, y, a)
        elif SCALARS == 2:
            value = FN(x, y, a, b)
        else:
            value = FN(x, y, a, b, c)
    elif SCALARS == 0:
        value = FN(x, y, z)
    elif SCALARS == 1:
        value = FN(x, y, z, a)
    else:
        value = FN(x, y, z, a, b)
    return value


@triton.jit
def load_pair(pointer, offsets, mask):
    """Complex numbers at `offsets`: as whole words of 64 bits, or as two reals each."""
    if pointer.dtype.element_ty == tl.int64:
        word = tl.load(pointer + offsets, mask=mask, other=0)
        real = word.to(tl.int32).to(tl.float32, bitcast=True)
        imaginary = (word >> 32).to(tl.int32).to(tl.float32, bitcast=True)
    else:
        real = tl.load(pointer + 2 * offsets, mask=mask, other=0)
        imaginary = tl.load(pointer + 2 * offsets + 1, mask=mask, other=0)
    return real, imaginary


@triton.jit
def store_pair(pointer, offsets, real, imaginary, mask):
    if pointer.dtype.element_ty == tl.int64:
        low = real.to(tl.float32).to(tl.int32, bitcast=True).to(tl.int64) & 0xFFFFFFFF
        high = imaginary.to(tl.float32).to(tl.int32, bitcast=True).to(tl.int64) << 32
        tl.store(pointer + offsets, low | high, mask=mask)
    else:
        tl.store(pointer + 2 * offsets, real.to(pointer.dtype.element_ty), mask=mask)
        tl.store(pointer + 2 * offsets + 1, imaginary.to(pointer.dtype.element_ty), mask=mask)


@triton.jit
def at(pointer, offset, PAIR: tl.constexpr):
    """The pointer moved by so many elements, of which a pair of reals has two places."""
    if PAIR and pointer.dtype.element_ty != tl.int64:
        moved = pointer + 2 * offset
    else:
        moved = pointer + offset
    return moved


@triton.jit
def load(pointer, base, offsets, mask, COMPUTE: tl.constexpr, PAIRS: tl.constexpr, OPERAND: tl.constexpr):
    """Values in the dtype of the computation; None keeps what is stored. Where one of the tensors is complex (PAIRS: bit i
    for operand i, 3 for the result), all values are (real, imaginary)."""
    here = at(pointer, base, PAIRS >> OPERAND & 1)
    if PAIRS >> OPERAND & 1:
        real, imaginary = load_pair(here, offsets, mask)
        value = (real.to(COMPUTE), imaginary.to(COMPUTE))
    elif PAIRS:
        real = tl.load(here + offsets, mask=mask, other=0).to(COMPUTE)
        value = (real, real * 0)
    else:
        value = tl.load(here + offsets, mask=mask)
        if COMPUTE is not None:
            value = value.to(COMPUTE)
    return value


@triton.jit
def store(pointer, base, offsets, value, mask, PAIRS: tl.constexpr, STREAM: tl.constexpr = 0):
    here = at(pointer, base, PAIRS >> 3 & 1)
    if PAIRS >> 3 & 1:
        store_pair(here, offsets, value[0], value[1], mask)
    else:
        if PAIRS:
            number = value[0]
        else:
            number = value
        modifier: tl.constexpr = ".cs" if STREAM else ""
        tl.store(here + offsets, number.to(pointer.dtype.element_ty), mask=mask, cache_modifier=modifier)


@triton.jit
def flat(
    x, y, z, out, n, a, b, c,
    FN: tl.constexpr, INPUTS: tl.constexpr, SCALARS: tl.constexpr, COMPUTE: tl.constexpr,
    PAIRS: tl.constexpr, XS: tl.constexpr, YS: tl.constexpr, ZS: tl.constexpr, STREAM: tl.constexpr,
    BLOCK: tl.constexpr,
):  # fmt: skip
    """One dimension without gaps. XS, YS, ZS: 1, or 0 for an input that is one element."""
    start = tl.program_id(0).to(tl.int64) * BLOCK
    lane = tl.arange(0, BLOCK)
    mask = lane < n - start
    xv = load(x, start * XS, lane * XS, mask, COMPUTE, PAIRS, 0)
    yv = xv
    zv = xv
    if INPUTS > 1:
        yv = load(y, start * YS, lane * YS, mask, COMPUTE, PAIRS, 1)
    if INPUTS > 2:
        zv = load(z, start * ZS, lane * ZS, mask, COMPUTE, PAIRS, 2)
    value = apply(FN, INPUTS, SCALARS, xv, yv, zv, a, b, c)
    store(out, start, lane, value, mask, PAIRS, STREAM)


@triton.jit
def strided(
    x, y, z, out, table, rows, cols, chunks, within, rows_each, cols_each, xr, yr, zr, outr, xs, ys, zs, outs, a, b, c,
    FN: tl.constexpr, INPUTS: tl.constexpr, SCALARS: tl.constexpr, COMPUTE: tl.constexpr,
    PAIRS: tl.constexpr, XS: tl.constexpr, YS: tl.constexpr, ZS: tl.constexpr, OS: tl.constexpr,
    OUTER: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Any strides. A program takes a chunk of rows of one outer index, and a range of columns; the `within` indices that lie
    inside the rows' dimension come one after the other, so that a chunk is done before the next one begins.

    xr.. are the strides of rows, XS.. those of columns when they are 0 or 1 (None: the runtime strides xs..).
    `table` holds for each of the OUTER further dimensions, innermost first: extent, stride of x, of y, of z, of out."""
    program = tl.program_id(0).to(tl.int64)
    rest = program // (chunks * within)
    program -= rest * (chunks * within)
    chunk = program // within
    rest = rest * within + program - chunk * within
    first = chunk * rows_each
    last = tl.minimum(first + rows_each, rows)
    begin = tl.program_id(1).to(tl.int64) * cols_each
    end = tl.minimum(begin + cols_each, cols)
    lane = tl.arange(0, BLOCK)
    sx = xs if XS is None else XS
    sy = ys if YS is None else YS
    sz = zs if ZS is None else ZS
    so = outs if OS is None else OS
    ox = begin * sx
    oy = begin * sy
    oz = begin * sz
    oo = begin * so
    for d in tl.static_range(OUTER):
        index = rest
        if d < OUTER - 1:
            extent = tl.load(table + 5 * d)
            quotient = rest // extent
            index = rest - quotient * extent
            rest = quotient
        ox += index * tl.load(table + 5 * d + 1)
        oo += index * tl.load(table + 5 * d + 4)
        if INPUTS > 1:
            oy += index * tl.load(table + 5 * d + 2)
        if INPUTS > 2:
            oz += index * tl.load(table + 5 * d + 3)
    for row in range(first, last):
        for col in range(0, end - begin, BLOCK):
            mask = lane < end - begin - col
            xv = load(x, ox + row * xr + col * sx, lane * sx, mask, COMPUTE, PAIRS, 0)
            yv = xv
            zv = xv
            if INPUTS > 1:
                yv = load(y, oy + row * yr + col * sy, lane * sy, mask, COMPUTE, PAIRS, 1)
            if INPUTS > 2:
                zv = load(z, oz + row * zr + col * sz, lane * sz, mask, COMPUTE, PAIRS, 2)
            value = apply(FN, INPUTS, SCALARS, xv, yv, zv, a, b, c)
            store(out, oo + row * outr + col * so, lane * so, value, mask, PAIRS)


@triton.jit
def whole_quotient(n, divisor, multiplier, shift, SMALL: tl.constexpr):
    """n // divisor; SMALL: by the multiplier and shift that the planner's `division` found, exact below 2^31."""
    if SMALL:
        return (n * multiplier) >> shift
    else:
        return n // divisor


@triton.jit
def gathered(
    x, y, z, out, table, n, a, b, c,
    FN: tl.constexpr, INPUTS: tl.constexpr, SCALARS: tl.constexpr, COMPUTE: tl.constexpr,
    PAIRS: tl.constexpr, DIMS: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Any strides when the inner dimension is short: every lane finds its own offsets.

    `table` holds for each dimension, innermost first: extent, multiplier and shift of the division by it (exact
    below 2^31), strides of x, y, z, out."""
    start = tl.program_id(0) * BLOCK
    lane = start + tl.arange(0, BLOCK)
    mask = lane < n
    rest = lane
    ox = lane * 0
    oy = lane * 0
    oz = lane * 0
    oo = lane * 0
    for d in tl.static_range(DIMS):
        index = rest
        if d < DIMS - 1:
            extent = tl.load(table + 7 * d).to(tl.int32)
            multiplier = tl.load(table + 7 * d + 1)
            shift = tl.load(table + 7 * d + 2)
            quotient = ((rest.to(tl.int64) * multiplier) >> shift).to(tl.int32)
            index = rest - quotient * extent
            rest = quotient
        ox += index * tl.load(table + 7 * d + 3).to(tl.int32)
        oo += index * tl.load(table + 7 * d + 6).to(tl.int32)
        if INPUTS > 1:
            oy += index * tl.load(table + 7 * d + 4).to(tl.int32)
        if INPUTS > 2:
            oz += index * tl.load(table + 7 * d + 5).to(tl.int32)
    xv = load(x, 0, ox, mask, COMPUTE, PAIRS, 0)
    yv = xv
    zv = xv
    if INPUTS > 1:
        yv = load(y, 0, oy, mask, COMPUTE, PAIRS, 1)
    if INPUTS > 2:
        zv = load(z, 0, oz, mask, COMPUTE, PAIRS, 2)
    value = apply(FN, INPUTS, SCALARS, xv, yv, zv, a, b, c)
    store(out, 0, oo, value, mask, PAIRS)


@triton.jit
def at_pattern(pattern, lane, mask, STEP: tl.constexpr):
    """Offsets of a block: 1: without gaps, 0: one element, None: from the table."""
    if STEP is None:
        offsets = tl.load(pattern + lane, mask=mask, other=0)
    else:
        offsets = lane * STEP
    return offsets


@triton.jit
def patterned(
    x, y, z, out, px, py, pz, po, table, extent, chunks, each, inner, xr, yr, zr, outr, a, b, c,
    FN: tl.constexpr, INPUTS: tl.constexpr, SCALARS: tl.constexpr, COMPUTE: tl.constexpr,
    PAIRS: tl.constexpr, XS: tl.constexpr, YS: tl.constexpr, ZS: tl.constexpr, OS: tl.constexpr,
    OUTER: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Any strides: a program takes `each` of `extent` steps of one dimension with the `inner` elements below each, whose
    offsets px, py, pz, po are the same in all programs. `table` is that of `strided`."""
    program = tl.program_id(0).to(tl.int64)
    rest = program // chunks
    first = (program - rest * chunks) * each
    lane = tl.arange(0, BLOCK)
    mask = lane < tl.minimum(each, extent - first) * inner
    ox = first * xr
    oy = first * yr
    oz = first * zr
    oo = first * outr
    for d in tl.static_range(OUTER):
        index = rest
        if d < OUTER - 1:
            size = tl.load(table + 5 * d)
            quotient = rest // size
            index = rest - quotient * size
            rest = quotient
        ox += index * tl.load(table + 5 * d + 1)
        oo += index * tl.load(table + 5 * d + 4)
        if INPUTS > 1:
            oy += index * tl.load(table + 5 * d + 2)
        if INPUTS > 2:
            oz += index * tl.load(table + 5 * d + 3)
    xv = load(x, ox, at_pattern(px, lane, mask, XS), mask, COMPUTE, PAIRS, 0)
    yv = xv
    zv = xv
    if INPUTS > 1:
        yv = load(y, oy, at_pattern(py, lane, mask, YS), mask, COMPUTE, PAIRS, 1)
    if INPUTS > 2:
        zv = load(z, oz, at_pattern(pz, lane, mask, ZS), mask, COMPUTE, PAIRS, 2)
    value = apply(FN, INPUTS, SCALARS, xv, yv, zv, a, b, c)
    store(out, oo, at_pattern(po, lane, mask, OS), value, mask, PAIRS)
