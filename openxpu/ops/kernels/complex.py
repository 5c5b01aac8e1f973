# Complex numbers: kernels that apply one function to every element, and the functions. An element is a pair (real, imaginary).
"""`flat` and `gathered` do for pairs what those of pointwise.py do for numbers. Operands and result are stored as pairs of
floats side by side, or as single floats. Gradients follow Paddle: the gradient of w = f(z) is d times conj(f'(z))."""

import triton
import triton.language as tl

from openxpu.ops.kernels.elementary import _libm2
from openxpu.ops.kernels.pointwise import apply, whole_quotient


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
def load(pointer, offsets, mask, PAIR: tl.constexpr, COMPUTE: tl.constexpr):
    if PAIR:
        real, imaginary = load_pair(pointer, offsets, mask)
        real = real.to(COMPUTE)
        imaginary = imaginary.to(COMPUTE)
    else:
        real = tl.load(pointer + offsets, mask=mask, other=0).to(COMPUTE)
        imaginary = real * 0
    return (real, imaginary)


@triton.jit
def store(pointer, offsets, value, mask, PAIR: tl.constexpr):
    if PAIR:
        store_pair(pointer, offsets, value[0], value[1], mask)
    else:
        tl.store(pointer + offsets, value[0].to(pointer.dtype.element_ty), mask=mask)


@triton.jit
def flat(
    x, y, z, out, n, a, b, c,
    FN: tl.constexpr, INPUTS: tl.constexpr, SCALARS: tl.constexpr, COMPUTE: tl.constexpr,
    XP: tl.constexpr, YP: tl.constexpr, ZP: tl.constexpr, OP: tl.constexpr,
    XS: tl.constexpr, YS: tl.constexpr, ZS: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """One dimension without gaps. XS, YS, ZS: 1, or 0 for an input that is one element. XP, YP, ZP, OP: whether it
    holds pairs."""
    lane = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    mask = lane < n
    xv = load(x, lane * XS, mask, XP, COMPUTE)
    yv = xv
    zv = xv
    if INPUTS > 1:
        yv = load(y, lane * YS, mask, YP, COMPUTE)
    if INPUTS > 2:
        zv = load(z, lane * ZS, mask, ZP, COMPUTE)
    store(out, lane, apply(FN, INPUTS, SCALARS, xv, yv, zv, a, b, c), mask, OP)


@triton.jit
def gathered(
    x, y, z, out, table, n, a, b, c,
    FN: tl.constexpr, INPUTS: tl.constexpr, SCALARS: tl.constexpr, COMPUTE: tl.constexpr,
    XP: tl.constexpr, YP: tl.constexpr, ZP: tl.constexpr, OP: tl.constexpr,
    DIMS: tl.constexpr, SMALL: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Any strides. `table` holds for each dimension, innermost first: extent, multiplier and shift of the division by it
    (SMALL: used where n is below 2^31), strides of x, y, z, out."""
    lane = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    mask = lane < n
    rest = lane
    ox = lane * 0
    oy = lane * 0
    oz = lane * 0
    oo = lane * 0
    for d in tl.static_range(DIMS):
        index = rest
        if d < DIMS - 1:
            extent = tl.load(table + 7 * d)
            quotient = whole_quotient(
                rest, extent, tl.load(table + 7 * d + 1), tl.load(table + 7 * d + 2), SMALL
            )
            index = rest - quotient * extent
            rest = quotient
        ox += index * tl.load(table + 7 * d + 3)
        oo += index * tl.load(table + 7 * d + 6)
        if INPUTS > 1:
            oy += index * tl.load(table + 7 * d + 4)
        if INPUTS > 2:
            oz += index * tl.load(table + 7 * d + 5)
    xv = load(x, ox, mask, XP, COMPUTE)
    yv = xv
    zv = xv
    if INPUTS > 1:
        yv = load(y, oy, mask, YP, COMPUTE)
    if INPUTS > 2:
        zv = load(z, oz, mask, ZP, COMPUTE)
    store(out, oo, apply(FN, INPUTS, SCALARS, xv, yv, zv, a, b, c), mask, OP)


# ---- functions: their names are those of the functions of real numbers ----


@triton.jit
def first(x):
    return x


@triton.jit
def negative(x):
    return (-x[0], -x[1])


@triton.jit
def conj(x):
    return (x[0], -x[1])


@triton.jit
def times_i(x):
    return (-x[1], x[0])


@triton.jit
def nonzero(x):
    return ((x[0] != 0) | (x[1] != 0), x[1])


@triton.jit
def imag(x):
    return (x[1], x[0])


@triton.jit
def imag_grad(d):
    """The imaginary number of a real d."""
    return (d[0] * 0, d[0])


@triton.jit
def pair(x, y):
    """x + iy of real x and y."""
    return (x[0], y[0])


@triton.jit
def add(x, y):
    return (x[0] + y[0], x[1] + y[1])


@triton.jit
def add3(x, y, z):
    return (x[0] + y[0] + z[0], x[1] + y[1] + z[1])


@triton.jit
def subtract(x, y):
    return (x[0] - y[0], x[1] - y[1])


@triton.jit
def multiply(x, y):
    return (x[0] * y[0] - x[1] * y[1], x[0] * y[1] + x[1] * y[0])


@triton.jit
def divide(x, y):
    """Smith's division: scaled by the larger part of y, so that squares do not overflow. Source: Smith, Algorithm 116
    (1962)."""
    wide = tl.abs(y[0]) >= tl.abs(y[1])
    large = tl.where(wide, y[0], y[1])
    small = tl.where(wide, y[1], y[0])
    ratio = tl.where(large == 0, 0.0, small / tl.where(large == 0, 1.0, large))
    scale = large + small * ratio
    real = tl.where(wide, x[0] + x[1] * ratio, x[0] * ratio + x[1])
    imaginary = tl.where(wide, x[1] - x[0] * ratio, x[1] * ratio - x[0])
    return (real / scale, imaginary / scale)


@triton.jit
def scale_bias(x, a, b):
    return (x[0] * a.to(x[0].dtype) + b.to(x[0].dtype), x[1] * a.to(x[0].dtype))


@triton.jit
def bias_scale(x, a, b):
    return ((x[0] + b.to(x[0].dtype)) * a.to(x[0].dtype), x[1] * a.to(x[0].dtype))


@triton.jit
def divide_number(x, a, b):
    """x / (a + ib)."""
    return divide(
        x, (tl.where(x[0] == x[0], a, a).to(x[0].dtype), tl.where(x[0] == x[0], b, b).to(x[0].dtype))
    )


@triton.jit
def divide_scalar(x, a):
    return (x[0] / a.to(x[0].dtype), x[1] / a.to(x[0].dtype))


@triton.jit
def square(x):
    return multiply(x, x)


@triton.jit
def reciprocal(x):
    return divide((x[0] * 0 + 1.0, x[1] * 0), x)


@triton.jit
def exp(x):
    size = tl.exp(x[0])
    turned = x[1] != 0
    return (size * tl.cos(x[1]), tl.where(turned, size * tl.sin(x[1]), x[1]))


@triton.jit
def size(x):
    """|x| without overflow of the squares."""
    return _libm2("hypot", x[0], x[1])


@triton.jit
def abs(x):
    return (size(x), x[1])


@triton.jit
def angle(x):
    return (_libm2("atan2", x[1], x[0]), x[1])


# ---- gradients ----


@triton.jit
def multiply_grad(y, d):
    return multiply(conj(y), d)


@triton.jit
def divide_grad_x(y, d):
    return divide(d, conj(y))


@triton.jit
def divide_grad_y(out, y, d):
    return negative(multiply(d, conj(divide(out, y))))


@triton.jit
def exp_grad_out(out, d):
    return multiply(conj(out), d)


@triton.jit
def square_grad(x, d):
    value = multiply(conj(x), d)
    return (2.0 * value[0], 2.0 * value[1])


@triton.jit
def reciprocal_grad_out(out, d):
    return negative(multiply(d, conj(multiply(out, out))))


@triton.jit
def abs_grad(x, d):
    """Of a real d; zero at zero."""
    r = size(x)
    share = tl.where(r == 0, 0.0, d[0] / tl.where(r == 0, 1.0, r))
    return (share * x[0], share * x[1])


@triton.jit
def angle_grad(x, d):
    """Of a real d; zero at zero."""
    r = x[0] * x[0] + x[1] * x[1]
    share = tl.where(r == 0, 0.0, d[0] / tl.where(r == 0, 1.0, r))
    return (-x[1] * share, x[0] * share)


# ---- real numbers ----


@triton.jit
def real_angle(x):
    """Pi below zero (and of -0.0 nothing: it is not below), else zero; NaN stays."""
    return tl.where(x < 0, 3.14159265358979323846, x * 0.0)
