# Functions of complex numbers, which are pairs (real, imaginary), for the kernels of pointwise.py.
"""Real operands have an imaginary part of zero; of a real result the first counts. Gradients follow Paddle: the gradient of
w = f(z) is d times conj(f'(z))."""

import triton
import triton.language as tl

from openxpu.ops.kernels.elementary import _libm2
from openxpu.ops.kernels.elementary import asinh as asinh_real
from openxpu.ops.kernels.elementary import cosh as cosh_real
from openxpu.ops.kernels.elementary import expm1 as expm1_real
from openxpu.ops.kernels.elementary import log1p as log1p_real
from openxpu.ops.kernels.elementary import sinh as sinh_real

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


@triton.jit
def by_minus_i(x):
    return (x[1], -x[0])


@triton.jit
def logarithm_of_size(x):
    """log |x|; near one by the distance of its square from one, which would cancel otherwise."""
    wide = tl.maximum(tl.abs(x[0]), tl.abs(x[1]))
    thin = tl.minimum(tl.abs(x[0]), tl.abs(x[1]))
    near = 0.5 * log1p_real((wide - 1.0) * (wide + 1.0) + thin * thin)
    return tl.where((wide > 0.5) & (wide < 2.0), near, tl.log(size(x)))


@triton.jit
def log(x):
    return (logarithm_of_size(x), _libm2("atan2", x[1], x[0]))


@triton.jit
def log2(x):
    value = log(x)
    return (value[0] * 1.4426950408889634, value[1] * 1.4426950408889634)


@triton.jit
def log10(x):
    value = log(x)
    return (value[0] * 0.4342944819032518, value[1] * 0.4342944819032518)


@triton.jit
def log1p(x):
    real = 0.5 * log1p_real(x[0] * (2.0 + x[0]) + x[1] * x[1])
    far = tl.log(size((1.0 + x[0], x[1])))
    small = tl.maximum(tl.abs(x[0]), tl.abs(x[1])) < 0.25
    return (tl.where(small, real, far), _libm2("atan2", x[1], 1.0 + x[0]))


@triton.jit
def expm1(x):
    half = tl.sin(0.5 * x[1])
    return (expm1_real(x[0]) * tl.cos(x[1]) - 2.0 * half * half, tl.exp(x[0]) * tl.sin(x[1]))


@triton.jit
def sqrt(x):
    """The root with a real part that is not negative."""
    wide = tl.maximum(tl.abs(x[0]), tl.abs(x[1]))
    root = tl.sqrt(0.5 * (tl.abs(x[0]) + size(x)))
    other = tl.where(wide == 0, x[1], 0.5 * tl.abs(x[1]) / tl.where(root == 0, 1.0, root))
    right = x[0] >= 0
    sized = tl.where(right, other, root)
    return (tl.where(right, root, other), tl.where(x[1] < 0, -tl.abs(sized), tl.abs(sized)))


@triton.jit
def sin(x):
    return (tl.sin(x[0]) * cosh_real(x[1]), tl.cos(x[0]) * sinh_real(x[1]))


@triton.jit
def cos(x):
    return (tl.cos(x[0]) * cosh_real(x[1]), -tl.sin(x[0]) * sinh_real(x[1]))


@triton.jit
def sinh(x):
    return (sinh_real(x[0]) * tl.cos(x[1]), cosh_real(x[0]) * tl.sin(x[1]))


@triton.jit
def cosh(x):
    return (cosh_real(x[0]) * tl.cos(x[1]), sinh_real(x[0]) * tl.sin(x[1]))


@triton.jit
def tanh(x):
    """Of sinh of the real part and sine and cosine of the other; far out, where their squares overflow, by its limit."""
    sine = tl.sin(x[1])
    cosine = tl.cos(x[1])
    far = tl.abs(x[0]) > 20.0
    s = sinh_real(tl.where(far, 0.0, x[0]))
    below = s * s + cosine * cosine
    below = tl.where(below == 0, 1.0, below)
    sign = tl.where(x[0] < 0, -1.0, 1.0)
    real = tl.where(far, sign, s * tl.sqrt(1.0 + s * s) / below)
    return (real, tl.where(far, 4.0 * sine * cosine * tl.exp(-2.0 * tl.abs(x[0])), sine * cosine / below))


@triton.jit
def tan(x):
    return by_minus_i(tanh(times_i(x)))


@triton.jit
def roots(x):
    """The roots of 1 - x and of 1 + x. Source of the inverse functions: Kahan, Branch cuts for complex elementary functions
    (1987)."""
    return sqrt((1.0 - x[0], -x[1])), sqrt((1.0 + x[0], x[1]))


@triton.jit
def asin(x):
    low, high = roots(x)
    product = multiply(low, high)
    turned = multiply(conj(low), high)
    return (_libm2("atan2", x[0], product[0]), asinh_real(turned[1]))


@triton.jit
def acos(x):
    low, high = roots(x)
    turned = multiply(conj(high), low)
    return (2.0 * _libm2("atan2", low[0], high[0]), asinh_real(turned[1]))


@triton.jit
def asinh(x):
    return by_minus_i(asin(times_i(x)))


@triton.jit
def acosh(x):
    low = sqrt((x[0] - 1.0, x[1]))
    high = sqrt((x[0] + 1.0, x[1]))
    turned = multiply(conj(low), high)
    return (asinh_real(turned[0]), 2.0 * _libm2("atan2", low[1], high[0]))


@triton.jit
def atanh(x):
    away = 1.0 - x[0]
    real = 0.25 * log1p_real(4.0 * x[0] / (away * away + x[1] * x[1]))
    return (real, 0.5 * _libm2("atan2", 2.0 * x[1], away * (1.0 + x[0]) - x[1] * x[1]))


@triton.jit
def atan(x):
    return by_minus_i(atanh(times_i(x)))


@triton.jit
def sigmoid(x):
    value = exp(negative(x))
    return reciprocal((1.0 + value[0], value[1]))


@triton.jit
def silu(x):
    return multiply(x, sigmoid(x))


# ---- gradients ----


@triton.jit
def from_one(x, sign: tl.constexpr):
    """1 + x or 1 - x."""
    if sign > 0:
        value = (1.0 + x[0], x[1])
    else:
        value = (1.0 - x[0], -x[1])
    return value


@triton.jit
def along(slope, d):
    """d times the conjugate of a derivative."""
    return multiply(conj(slope), d)


@triton.jit
def against(slope, d):
    """d divided by the conjugate of what a derivative is the inverse of."""
    return divide(d, conj(slope))


@triton.jit
def log_grad(x, d):
    return against(x, d)


@triton.jit
def log2_grad(x, d):
    return against((x[0] * 0.6931471805599453, x[1] * 0.6931471805599453), d)


@triton.jit
def log10_grad(x, d):
    return against((x[0] * 2.302585092994046, x[1] * 2.302585092994046), d)


@triton.jit
def log1p_grad(x, d):
    return against(from_one(x, 1), d)


@triton.jit
def expm1_grad_out(out, d):
    return along(from_one(out, 1), d)


@triton.jit
def sqrt_grad_out(out, d):
    return against((2.0 * out[0], 2.0 * out[1]), d)


@triton.jit
def sin_grad(x, d):
    return along(cos(x), d)


@triton.jit
def cos_grad(x, d):
    return negative(along(sin(x), d))


@triton.jit
def tan_grad(x, d):
    return along(from_one(square(tan(x)), 1), d)


@triton.jit
def sinh_grad(x, d):
    return along(cosh(x), d)


@triton.jit
def cosh_grad(x, d):
    return along(sinh(x), d)


@triton.jit
def tanh_grad_out(out, d):
    return along(from_one(square(out), -1), d)


@triton.jit
def asin_grad(x, d):
    return against(sqrt(from_one(square(x), -1)), d)


@triton.jit
def acos_grad(x, d):
    return negative(asin_grad(x, d))


@triton.jit
def atan_grad(x, d):
    return against(from_one(square(x), 1), d)


@triton.jit
def asinh_grad(x, d):
    return against(sqrt(from_one(square(x), 1)), d)


@triton.jit
def acosh_grad(x, d):
    return against(sqrt(negative(from_one(square(x), -1))), d)


@triton.jit
def atanh_grad(x, d):
    return against(from_one(square(x), -1), d)


@triton.jit
def sigmoid_grad_out(out, d):
    return along(multiply(out, from_one(out, -1)), d)


@triton.jit
def silu_grad(x, d):
    part = sigmoid(x)
    return along(multiply(part, from_one(multiply(x, from_one(part, -1)), 1)), d)


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
