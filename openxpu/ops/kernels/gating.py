# Gated and randomised activations, for plan_map.
import triton
import triton.language as tl

from openxpu.ops.kernels.elementary import sigmoid


@triton.jit
def swiglu(x, y):
    return x * sigmoid(x) * y


@triton.jit
def swiglu_grad_x(x, y, d):
    s = sigmoid(x)
    return d * y * s * (1.0 + x * (1.0 - s))


@triton.jit
def swiglu_grad_y(x, d):
    return d * x * sigmoid(x)


@triton.jit
def rrelu_noise(x, u, low, high):
    """The slopes: drawn from u in [0, 1) below zero, one above."""
    return tl.where(x < 0, low + (high - low) * u, 1.0)


@triton.jit
def rrelu_fixed(x, slope):
    return tl.where(x < 0, slope, 1.0)


@triton.jit
def gumbel(x, u, temperature):
    """x with Gumbel noise from u in (0, 1), over the temperature."""
    return (x - tl.log(-tl.log(u))) / temperature


@triton.jit
def same(x, y):
    return tl.where(x == y, 1.0, 0.0)
