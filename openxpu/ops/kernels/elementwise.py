# Functions of two tensors, and of a tensor and numbers, that plan_map applies to every element.
import triton
import triton.language as tl

from openxpu.ops.kernels.elementary import fmod, power


@triton.jit
def first(x):
    return x


@triton.jit
def negative(x):
    return -x


@triton.jit
def add(x, y):
    return x + y


@triton.jit
def add3(x, y, z):
    return x + y + z


@triton.jit
def subtract(x, y):
    return x - y


@triton.jit
def multiply(x, y):
    return x * y


@triton.jit
def divide(x, y):
    """Floats divide; integers divide towards zero."""
    if x.dtype.is_floating():
        value = x / y
    else:
        value = _quotient(x, y)
    return value


@triton.jit
def _quotient(x, y):
    """Integer quotient towards zero that never traps: x / 0 is 0, and -1 (the lowest number / -1) wraps. Lanes
    beyond the tensor's end divide too."""
    if x.dtype.is_int_signed():
        value = x // tl.where((y == 0) | (y == -1), 1, y)
        value = tl.where(y == -1, -x, value)
    else:
        value = x // tl.where(y == 0, 1, y)
    return tl.where(y == 0, 0, value).to(x.dtype)


@triton.jit
def floor_divide(x, y):
    """Towards minus infinity."""
    if x.dtype.is_floating():
        value = tl.floor(x / y)
    elif x.dtype.is_int_signed():
        q = _quotient(x, y)
        inexact = (q * y != x) & (y != 0)
        value = tl.where(inexact & ((x < 0) != (y < 0)), q - 1, q).to(x.dtype)
    else:
        value = _quotient(x, y)
    return value


@triton.jit
def trunc_divide(x, y):
    if x.dtype.is_floating():
        q = x / y
        value = tl.where(q < 0, tl.ceil(q), tl.floor(q))
    else:
        value = _quotient(x, y)
    return value


@triton.jit
def remainder(x, y):
    """With the sign of y."""
    if x.dtype.is_floating():
        r = fmod(x, y)
        value = tl.where((r != 0) & ((r < 0) != (y < 0)), r + y, r)
    else:
        value = (x - floor_divide(x, y) * y).to(x.dtype)
    return value


@triton.jit
def maximum(x, y):
    """NaN when either is NaN."""
    if x.dtype.is_floating():
        value = tl.where((x > y) | (x != x), x, y)
    else:
        value = tl.where(x > y, x, y)
    return value


@triton.jit
def minimum(x, y):
    if x.dtype.is_floating():
        value = tl.where((x < y) | (x != x), x, y)
    else:
        value = tl.where(x < y, x, y)
    return value


@triton.jit
def fmax(x, y):
    """The other one when one is NaN."""
    return tl.where((x >= y) | (y != y), x, y)


@triton.jit
def fmin(x, y):
    return tl.where((x <= y) | (y != y), x, y)


@triton.jit
def pow(x, y):
    if x.dtype.is_floating():
        value = power(x, y)
    else:
        wide = power(x.to(tl.float64), y.to(tl.float64))
        value = tl.where(wide < 0, tl.ceil(wide - 0.5), tl.floor(wide + 0.5)).to(x.dtype)
    return value


@triton.jit
def heaviside(x, y):
    return tl.where(x == 0, y, tl.where(x > 0, 1.0, 0.0).to(y.dtype))


@triton.jit
def copysign(x, y):
    """The size of x with the sign bit of y, so that -0.0 and NaN count."""
    size = tl.abs(x)
    if x.dtype == tl.float64:
        negative_y = y.to(tl.int64, bitcast=True) < 0
    else:
        negative_y = y.to(tl.int32, bitcast=True) < 0
    return tl.where(negative_y, -size, size)


# ---- gradients: x, y are the operands, d the gradient of the result ----


@triton.jit
def multiply_grad(y, d):
    return y * d


@triton.jit
def divide_grad_x(y, d):
    return d / y


@triton.jit
def divide_grad_y(out, y, d):
    return -d * out / y


@triton.jit
def _half(d):
    if d.dtype.is_floating():
        value = d * 0.5
    else:
        value = d // 2
    return value


@triton.jit
def greater_grad(x, y, d):
    """Equal operands share the gradient."""
    return tl.where(x > y, d, tl.where(x == y, _half(d), 0))


@triton.jit
def less_grad(x, y, d):
    return tl.where(x < y, d, tl.where(x == y, _half(d), 0))


@triton.jit
def fmax_grad_x(x, y, d):
    return tl.where((x >= y) | (y != y), d, 0)


@triton.jit
def fmax_grad_y(x, y, d):
    return tl.where((x >= y) | (y != y), 0, d)


@triton.jit
def fmin_grad_x(x, y, d):
    return tl.where((x <= y) | (y != y), d, 0)


@triton.jit
def fmin_grad_y(x, y, d):
    return tl.where((x <= y) | (y != y), 0, d)


@triton.jit
def pow_grad_x(x, y, d):
    return d * y * power(x, y - 1.0)


@triton.jit
def pow_grad_y(x, y, d):
    return d * tl.log(x) * power(x, y)


@triton.jit
def remainder_grad_y(x, y, d):
    return -d * tl.floor(x / y)


@triton.jit
def heaviside_grad_y(x, d):
    return tl.where(x == 0, d, 0)


# ---- a tensor and numbers ----


@triton.jit
def scale_bias(x, a, b):
    return x * a.to(x.dtype) + b.to(x.dtype)


@triton.jit
def bias_scale(x, a, b):
    return (x + b.to(x.dtype)) * a.to(x.dtype)


@triton.jit
def multiply_scalar(x, a):
    return x * a.to(x.dtype)


@triton.jit
def divide_scalar(x, a):
    return x / a.to(x.dtype)


@triton.jit
def add_scalar(x, a):
    return x + a.to(x.dtype)


@triton.jit
def pow_scalar(x, a):
    return pow(x, a.to(x.dtype))


@triton.jit
def pow_integer(x, a):
    """An integer to the power 0 <= a < 64, which wraps."""
    exponent = a.to(tl.int32)
    base = x
    result = x * 0 + 1
    for _ in tl.static_range(6):
        result = tl.where((exponent & 1) != 0, result * base, result)
        base = base * base
        exponent = exponent >> 1
    return result


@triton.jit
def pow_scalar_grad(x, d, a):
    return d * a * power(x, a - 1.0)


@triton.jit
def lerp(x, y, w):
    return x + w * (y - x)
