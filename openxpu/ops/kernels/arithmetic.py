# Functions of two or three tensors beside the four operations: angles, neighbours, shifts, losses; and their gradients.
import triton
import triton.language as tl

from openxpu.ops.kernels.elementary import _libm, _libm2, log1p


@triton.jit
def atan2(y, x):
    """The angle of the point (x, y)."""
    return _libm2("atan2", y, x)


@triton.jit
def nextafter(x, y):
    """The next number after x towards y."""
    return _libm2("nextafter", x, y)


@triton.jit
def rint(x):
    """Halves to even."""
    return _libm("rint", x)


@triton.jit
def shift_left(x, y):
    """Bits moved up; counts that are negative or not below the width leave nothing."""
    wide = y.to(tl.int64)
    bits: tl.constexpr = x.dtype.primitive_bitwidth
    inside = (wide >= 0) & (wide < bits)
    return tl.where(inside, x << tl.where(inside, y, 0).to(x.dtype), 0).to(x.dtype)


@triton.jit
def shift_right(x, y):
    """Bits moved down, filled with the sign."""
    wide = y.to(tl.int64)
    bits: tl.constexpr = x.dtype.primitive_bitwidth
    inside = (wide >= 0) & (wide < bits)
    rest = tl.where(x < 0, -1, 0) if x.dtype.is_int_signed() else x * 0
    return tl.where(inside, x >> tl.where(inside, y, 0).to(x.dtype), rest).to(x.dtype)


@triton.jit
def shift_right_logical(x, y):
    """Bits moved down, filled with zeros."""
    wide = y.to(tl.int64)
    bits: tl.constexpr = x.dtype.primitive_bitwidth
    inside = (wide >= 0) & (wide < bits)
    u = x
    if bits == 8:
        u = x.to(tl.uint8, bitcast=True)
    elif bits == 16:
        u = x.to(tl.uint16, bitcast=True)
    elif bits == 32:
        u = x.to(tl.uint32, bitcast=True)
    else:
        u = x.to(tl.uint64, bitcast=True)
    u = tl.where(inside, u >> tl.where(inside, y, 0).to(u.dtype), 0).to(u.dtype)
    return u.to(x.dtype, bitcast=True)


@triton.jit
def hinge_loss(x, y):
    """Of a logit x and a label y of 0 or 1."""
    loss = 1.0 - x * (2.0 * y - 1.0)
    return tl.where(loss > 0, loss, 0.0)


@triton.jit
def soft_relu(x, threshold):
    """log(1 + exp(x)), with x held within the threshold."""
    held = tl.where(x < -threshold, -threshold, tl.where(x > threshold, threshold, x))
    return tl.where(held > 0, held, 0.0) + log1p(tl.exp(-tl.abs(held)))


# ---- gradients ----


@triton.jit
def atan2_grad_y(y, x, d):
    return d * x / (x * x + y * y)


@triton.jit
def atan2_grad_x(y, x, d):
    return -d * y / (x * x + y * y)


@triton.jit
def copysign_grad(x, y, d):
    """d with the sign with which x was multiplied; zero where x is."""
    if x.dtype == tl.float64:
        flipped = (x.to(tl.int64, bitcast=True) < 0) != (y.to(tl.int64, bitcast=True) < 0)
    else:
        flipped = (x.to(tl.int32, bitcast=True) < 0) != (y.to(tl.int32, bitcast=True) < 0)
    return tl.where(x == 0, 0.0, tl.where(flipped, -d, d))


@triton.jit
def lerp_grad_x(w, d):
    return (1.0 - w) * d


@triton.jit
def hinge_loss_grad(x, y, d):
    sign = 2.0 * y - 1.0
    return tl.where(1.0 - x * sign > 0, -d * sign, 0.0)


@triton.jit
def soft_relu_grad(x, out, d, threshold):
    inside = (x > -threshold) & (x < threshold)
    return tl.where(inside, d * (1.0 - tl.exp(-out)), 0.0)
