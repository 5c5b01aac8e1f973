# Derivatives of first to third order of functions of one tensor, in terms of what their gradients keep: x, or out (o_...).
import triton
import triton.language as tl

from openxpu.ops.kernels.elementary import power, sigmoid


@triton.jit
def sine(x):
    return tl.sin(x)


@triton.jit
def cosine(x):
    return tl.cos(x)


@triton.jit
def minus_sine(x):
    return -tl.sin(x)


@triton.jit
def minus_cosine(x):
    return -tl.cos(x)


@triton.jit
def constant(x, value):
    return tl.where(x == x, value, value)


@triton.jit
def times(x, value):
    return x * value


@triton.jit
def o_tanh(o):
    return 1.0 - o * o


@triton.jit
def o_sigmoid(o):
    return (1.0 - o) * o


@triton.jit
def o_sigmoid2(o):
    return 1.0 - 2.0 * o


@triton.jit
def over(o, value):
    return value / o


@triton.jit
def o_rsqrt(o):
    return -0.5 * o * o * o


@triton.jit
def positive(x):
    return tl.where(x > 0, 1.0, 0.0)


@triton.jit
def minus_inverse_square(x):
    return -1.0 / (x * x)


@triton.jit
def sign(x):
    return tl.where(x > 0, 1.0, tl.where(x < 0, -1.0, 0.0))


@triton.jit
def leaky_relu(x, alpha):
    return tl.where(x > 0, 1.0, alpha)


@triton.jit
def elu(x, alpha):
    return tl.where(x > 0, 1.0, alpha * tl.exp(x))


@triton.jit
def elu2(x, alpha):
    return tl.where(x > 0, 0.0, alpha * tl.exp(x))


@triton.jit
def celu(x, alpha):
    return tl.where(x > 0, 1.0, tl.exp(x / alpha))


@triton.jit
def celu2(x, alpha):
    return tl.where(x > 0, 0.0, tl.exp(x / alpha) / alpha)


@triton.jit
def softplus(x, beta, threshold):
    return tl.where(x * beta > threshold, 1.0, sigmoid(x * beta))


@triton.jit
def softplus2(x, beta, threshold):
    s = sigmoid(x * beta)
    return tl.where(x * beta > threshold, 0.0, beta * s * (1.0 - s))


@triton.jit
def scaled_power(x, factor, exponent):
    """factor x ^ exponent; nothing where the factor is zero."""
    return tl.where(factor == 0, 0.0, factor * power(x, exponent + x * 0.0))
