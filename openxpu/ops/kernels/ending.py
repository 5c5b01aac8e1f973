# Activations that end a convolution or a product, inside its kernel: one shape for all, f(x, first, second).

import triton

from openxpu.ops.kernels import activation
from openxpu.ops.kernels.elementary import sigmoid as logistic
from openxpu.ops.kernels.elementary import tanh as hyperbolic


@triton.jit
def identity(x, first, second):
    return x


@triton.jit
def relu(x, first, second):
    return activation.relu(x)


@triton.jit
def relu6(x, first, second):
    return activation.relu6(x)


@triton.jit
def leaky_relu(x, first, second):
    return activation.leaky_relu(x, first.to(x.dtype))


@triton.jit
def hardswish(x, first, second):
    return activation.hardswish(x)


@triton.jit
def hardsigmoid(x, first, second):
    return activation.hardsigmoid(x, first.to(x.dtype), second.to(x.dtype))


@triton.jit
def silu(x, first, second):
    return activation.silu(x)


@triton.jit
def sigmoid(x, first, second):
    return logistic(x)


@triton.jit
def tanh(x, first, second):
    return hyperbolic(x)


@triton.jit
def gelu(x, first, second):
    return activation.gelu(x)


@triton.jit
def gelu_tanh(x, first, second):
    return activation.gelu_tanh(x)


@triton.jit
def elu(x, first, second):
    return activation.elu(x, first.to(x.dtype))
