# Functions of one tensor (mathematics and activations) and their gradients, for plan_map.
"""Gradients take x (or out, where the name ends in _out) and d, the gradient of the result."""

import triton
import triton.language as tl

from openxpu.ops.kernels import elementary
from openxpu.ops.kernels.elementary import expm1, log1p, sigmoid, tanh

# ---- mathematics ----


@triton.jit
def exp(x):
    return tl.exp(x)


@triton.jit
def log(x):
    return tl.log(x)


@triton.jit
def log2(x):
    return tl.log2(x)


@triton.jit
def log10(x):
    return tl.log(x) * 0.43429448190325182765


@triton.jit
def sqrt(x):
    return tl.sqrt(x)


@triton.jit
def rsqrt(x):
    return tl.rsqrt(x)


@triton.jit
def abs(x):
    return tl.abs(x)


@triton.jit
def square(x):
    return x * x


@triton.jit
def reciprocal(x):
    return 1.0 / x


@triton.jit
def negative(x):
    return -x


@triton.jit
def sin(x):
    return tl.sin(x)


@triton.jit
def cos(x):
    return tl.cos(x)


@triton.jit
def erf(x):
    return tl.erf(x)


@triton.jit
def floor(x):
    return tl.floor(x)


@triton.jit
def ceil(x):
    return tl.ceil(x)


@triton.jit
def round(x):
    """Halves to the even neighbour."""
    size = tl.abs(x)
    whole = tl.floor(size)
    rest = size - whole
    odd = whole - 2.0 * tl.floor(whole * 0.5)
    whole = tl.where((rest > 0.5) | ((rest == 0.5) & (odd != 0.0)), whole + 1.0, whole)
    return tl.where(x < 0, -whole, whole)


@triton.jit
def round_decimals(x, factor):
    return round(x * factor) / factor


@triton.jit
def sign(x):
    return tl.where(x == x, (x > 0).to(x.dtype) - (x < 0).to(x.dtype), x)


@triton.jit
def isnan(x):
    return x != x


@triton.jit
def isinf(x):
    return tl.abs(x) == float("inf")


@triton.jit
def isfinite(x):
    return tl.abs(x) < float("inf")


@triton.jit
def constant_false(x):
    return x != x


@triton.jit
def constant_true(x):
    return x == x


@triton.jit
def clip(x, low, high):
    """Lets NaN through."""
    low = low.to(x.dtype)
    high = high.to(x.dtype)
    return tl.where(x < low, low, tl.where(x > high, high, x))


@triton.jit
def logit(x, eps):
    """With eps > 0 x is held within [eps, 1 - eps]; else outside of [0, 1] is NaN."""
    held = tl.where(x < eps, eps, tl.where(x > 1.0 - eps, 1.0 - eps, x))
    x = tl.where(eps > 0, held, x)
    return tl.log(x / (1.0 - x))


# ---- activations ----


@triton.jit
def relu(x):
    return tl.where(x > 0, x, 0)


@triton.jit
def relu6(x):
    return tl.where(x < 0, 0, tl.where(x > 6, 6, x))


@triton.jit
def leaky_relu(x, alpha):
    return tl.where(x < 0, x * alpha, x)


@triton.jit
def thresholded_relu(x, threshold, value):
    return tl.where(x > threshold, x, value)


@triton.jit
def gelu(x):
    return 0.5 * x * (1.0 + tl.erf(x * 0.70710678118654752440))


@triton.jit
def gelu_tanh(x):
    inner = 0.79788456080286535588 * x * (1.0 + 0.044715 * x * x)
    return 0.5 * x * (1.0 + tanh(inner))


@triton.jit
def silu(x):
    return x * sigmoid(x)


@triton.jit
def logsigmoid(x):
    return tl.where(x < 0, x, 0.0) - log1p(tl.exp(-tl.abs(x)))


@triton.jit
def hardswish(x):
    inner = x + 3.0
    return x * tl.where(inner < 0, 0.0, tl.where(inner > 6.0, 6.0, inner)) * 0.16666666666666666667


@triton.jit
def hardsigmoid(x, slope, offset):
    inner = x * slope + offset
    return tl.where(inner < 0, 0.0, tl.where(inner > 1.0, 1.0, inner))


@triton.jit
def elu(x, alpha):
    return tl.where(x < 0, alpha * expm1(x), x)


@triton.jit
def celu(x, alpha):
    return tl.where(x < 0, alpha * expm1(x / alpha), x)


@triton.jit
def selu(x, scale, alpha):
    return scale * tl.where(x < 0, alpha * expm1(x), x)


@triton.jit
def softplus(x, beta, threshold):
    inner = x * beta
    return tl.where(inner > threshold, x, log1p(tl.exp(inner)) / beta)


@triton.jit
def softsign(x):
    return x / (1.0 + tl.abs(x))


@triton.jit
def softshrink(x, threshold):
    return tl.where(x > threshold, x - threshold, tl.where(x < -threshold, x + threshold, x * 0.0))


@triton.jit
def hard_shrink(x, threshold):
    return tl.where((x < threshold) & (x > -threshold), 0.0, x)


@triton.jit
def hard_shrink_grad(x, d, threshold):
    return tl.where((x < threshold) & (x > -threshold), 0.0, d)


@triton.jit
def tanh_shrink(x):
    return x - tanh(x)


@triton.jit
def stanh(x, a, b):
    return b * tanh(a * x)


@triton.jit
def _tanh_softplus(x):
    """tanh(log(1 + exp(x))) without a logarithm."""
    e = tl.exp(tl.where(x > 20.0, 20.0, x))
    n = e * (e + 2.0)
    return n / (n + 2.0)


@triton.jit
def mish(x, threshold):
    return x * _tanh_softplus(x)


# ---- gradients of mathematics ----


@triton.jit
def exp_grad_out(out, d):
    return d * out


@triton.jit
def expm1_grad_out(out, d):
    return d * (out + 1.0)


@triton.jit
def log_grad(x, d):
    return d / x


@triton.jit
def log2_grad(x, d):
    return d / (x * 0.69314718055994530942)


@triton.jit
def log10_grad(x, d):
    return d / (x * 2.30258509299404568402)


@triton.jit
def log1p_grad(x, d):
    return d / (1.0 + x)


@triton.jit
def sqrt_grad_out(out, d):
    return d * 0.5 / out


@triton.jit
def rsqrt_grad_out(out, d):
    return d * -0.5 * out * out * out


@triton.jit
def abs_grad(x, d):
    return d * sign(x)


@triton.jit
def square_grad(x, d):
    return d * 2 * x


@triton.jit
def reciprocal_grad_out(out, d):
    return -d * out * out


@triton.jit
def sin_grad(x, d):
    return d * tl.cos(x)


@triton.jit
def cos_grad(x, d):
    return -d * tl.sin(x)


@triton.jit
def tan_grad(x, d):
    c = tl.cos(x)
    return d / (c * c)


@triton.jit
def asin_grad(x, d):
    return d / tl.sqrt(1.0 - x * x)


@triton.jit
def acos_grad(x, d):
    return -d / tl.sqrt(1.0 - x * x)


@triton.jit
def atan_grad(x, d):
    return d / (1.0 + x * x)


@triton.jit
def sinh_grad(x, d):
    return d * elementary.cosh(x)


@triton.jit
def cosh_grad(x, d):
    return d * elementary.sinh(x)


@triton.jit
def asinh_grad(x, d):
    return d / tl.sqrt(x * x + 1.0)


@triton.jit
def acosh_grad(x, d):
    return d / tl.sqrt(x * x - 1.0)


@triton.jit
def atanh_grad(x, d):
    return d / (1.0 - x * x)


@triton.jit
def erf_grad(x, d):
    return d * 1.12837916709551257390 * tl.exp(-x * x)


@triton.jit
def clip_grad(x, d, low, high):
    """The bounds belong to the inside, as in Paddle (hardtanh's do not)."""
    return tl.where((x >= low.to(x.dtype)) & (x <= high.to(x.dtype)), d, 0)


@triton.jit
def logit_grad(x, d, eps):
    outside = (x < eps) | (x > 1.0 - eps)
    return tl.where(outside, 0.0, d / (x * (1.0 - x)))


# ---- gradients of activations ----


@triton.jit
def relu_grad_out(out, d):
    return tl.where(out > 0, d, 0)


@triton.jit
def relu6_grad_out(out, d):
    return tl.where((out > 0) & (out < 6), d, 0)


@triton.jit
def leaky_relu_grad(x, d, alpha):
    return tl.where(x < 0, d * alpha, d)


@triton.jit
def thresholded_relu_grad(x, d, threshold, value):
    return tl.where(x > threshold, d, 0.0)


@triton.jit
def sigmoid_grad_out(out, d):
    return d * out * (1.0 - out)


@triton.jit
def tanh_grad_out(out, d):
    return d * (1.0 - out * out)


@triton.jit
def gelu_grad(x, d):
    below = 0.5 * (1.0 + tl.erf(x * 0.70710678118654752440))
    density = 0.39894228040143267794 * tl.exp(-0.5 * x * x)
    return d * (below + x * density)


@triton.jit
def gelu_tanh_grad(x, d):
    inner = 0.79788456080286535588 * x * (1.0 + 0.044715 * x * x)
    t = tanh(inner)
    slope = 0.79788456080286535588 * (1.0 + 0.134145 * x * x)
    return d * (0.5 * (1.0 + t) + 0.5 * x * (1.0 - t * t) * slope)


@triton.jit
def silu_grad(x, d):
    s = sigmoid(x)
    return d * s * (1.0 + x * (1.0 - s))


@triton.jit
def logsigmoid_grad(x, d):
    return d * sigmoid(-x)


@triton.jit
def hardswish_grad(x, d):
    inner = tl.where(x < 3.0, d * (x * 0.33333333333333333333 + 0.5), d)
    return tl.where(x <= -3.0, 0.0, inner)


@triton.jit
def hardsigmoid_grad_out(out, d, slope, offset):
    return tl.where((out > 0) & (out < 1.0), d * slope, 0.0)


@triton.jit
def hardtanh_grad(x, d, low, high):
    return tl.where((x > low) & (x < high), d, 0.0)


@triton.jit
def elu_grad(x, d, alpha):
    return tl.where(x > 0, d, d * alpha * tl.exp(x))


@triton.jit
def celu_grad(x, d, alpha):
    return tl.where(x > 0, d, d * tl.exp(x / alpha))


@triton.jit
def selu_grad_out(out, d, scale, alpha):
    return tl.where(out > 0, d * scale, d * (out + scale * alpha))


@triton.jit
def softplus_grad(x, d, beta, threshold):
    return tl.where(x * beta > threshold, d, d * sigmoid(x * beta))


@triton.jit
def softsign_grad(x, d):
    r = 1.0 + tl.abs(x)
    return d / (r * r)


@triton.jit
def softshrink_grad(x, d, threshold):
    return tl.where((x > threshold) | (x < -threshold), d, 0.0)


@triton.jit
def tanh_shrink_grad(x, d):
    t = tanh(x)
    return d * t * t


@triton.jit
def stanh_grad(x, d, a, b):
    t = tanh(a * x)
    return d * a * b * (1.0 - t * t)


@triton.jit
def mish_grad(x, d, threshold):
    t = _tanh_softplus(x)
    return d * (t + x * (1.0 - t * t) * sigmoid(x))
