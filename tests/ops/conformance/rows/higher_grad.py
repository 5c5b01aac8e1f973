# Gradients of gradients: the call is a gradient, so that its gradient is the second one, or the third. Those that eager mode
# composes of other kernels are in tests/ops/test_higher_grad.py.
from __future__ import annotations

import numpy as np
import paddle
from conformance.draw import nonzero, normal
from conformance.row import row

F = paddle.nn.functional
INSIDE = "takes gradients itself"


def leaves(tensors):
    """Tensors that gradients can be taken by, also where the test itself takes none."""
    for tensor in tensors:
        if tensor.stop_gradient:
            tensor.stop_gradient = False
    return list(tensors)


def gradient(function, count=1):
    """The gradients of function(*x) by its `count` operands for the result's gradient d."""

    def call(*given):
        *x, d = leaves(given)
        found = paddle.grad(function(*x), x[:count], d, create_graph=True, allow_unused=True)
        return [g for g in found if g is not None]

    return call


def second(function, count=1):
    """What the gradient of a gradient gives for the gradient e."""

    def call(*given):
        *x, d, e = leaves(given)
        first = paddle.grad(function(*x), x[:count], d, create_graph=True)
        found = paddle.grad(first[:1], [*x[:count], d], [e], create_graph=True, allow_unused=True)
        return [g for g in found if g is not None]

    return call


def positive(d):
    return d.rng.uniform(0.4, 2, d.shape)


def batch_norm(x, scale, bias, data_format="NCHW"):
    mean, variance = paddle.zeros_like(scale).detach(), paddle.ones_like(scale).detach()
    return F.batch_norm(x, mean, variance, scale, bias, training=True, data_format=data_format)


SHAPES = [(3, 5), (1,), (7, 33), (2, 3, 4)]
COMMON = dict(extremes="", static=INSIDE, inference=INSIDE)
SINGLE = {"f16": "Paddle has no second gradient of it", "bf16": "as f16"}
ONE = {**COMMON, "shapes": SHAPES}
FUNCTIONS = {
    "sin": (paddle.sin, normal), "cos": (paddle.cos, normal), "sigmoid": (F.sigmoid, normal),
    "relu": (F.relu, nonzero), "sqrt": (paddle.sqrt, positive), "rsqrt": (paddle.rsqrt, positive), "square": (paddle.square, normal),
    "elu": (F.elu, nonzero), "celu": (lambda x: F.celu(x, 1.3), nonzero),
    "leaky_relu": (F.leaky_relu, nonzero), "abs": (paddle.abs, nonzero),
}  # fmt: skip


def sigmoid_gradient(x, gradient):
    """Paddle's CPU kernel of sigmoid in c128 has eight digits on some processors. (Ours gets y rounded.)"""
    y = 1 / (1 + np.exp(-x))
    return gradient * np.conj(y * (1 - y))


REFERENCES = {"sigmoid": sigmoid_gradient}
CANCELLING = {"sigmoid": 5}  # 1 - 2y, where y was rounded
PAIRS = [((3, 5), (5,), (3, 5)), ((4, 3), (4, 3), (4, 3)), ((3, 1), (5,), (3, 5)), ((5,), (33, 5), (33, 5))]

ROWS = [
    *(
        row(f"{name}_grad", gradient(function), draw, normal, name=f"{name}_double_grad", grad=(f"{name}_double_grad",), grad_tolerance=CANCELLING.get(name), reference=REFERENCES.get(name), tolerance=2.0 if name in REFERENCES else 1.0, **ONE)
        for name, (function, draw) in FUNCTIONS.items()
    ),
    *(
        row(f"{name}_double_grad", second(FUNCTIONS[name][0]), FUNCTIONS[name][1], normal, normal, name=f"{name}_triple_grad", grad=(f"{name}_triple_grad",), **ONE)
        for name in ("sin", "cos")
    ),
    *(
        row(f"{name}_norm_grad", gradient(function), normal, positive, normal, normal, name=f"{name}_norm_double_grad", without=SINGLE, grad=(f"{name}_norm_double_grad",), shapes=[((4, 3, 5, 7), (3,), (3,), (4, 3, 5, 7)), ((2, 5, 33, 8), (5,), (5,), (2, 5, 33, 8))], layouts=(), grad_tolerance=64, **COMMON)
        for name, function in (("batch", batch_norm), ("instance", lambda x, s, b: F.instance_norm(x, weight=s, bias=b)))
    ),
    row("batch_norm_grad", gradient(lambda x, s, b: batch_norm(x, s, b, "NHWC")), normal, positive, normal, normal, name="batch_norm_double_grad_last", without=SINGLE, grad=("batch_norm_double_grad",), shapes=[((4, 5, 7, 3), (3,), (3,), (4, 5, 7, 3))], layouts=(), grad_tolerance=64, **COMMON),
    row("pow_grad", gradient(lambda x: x**3), positive, normal, name="pow_double_grad", grad=("pow_double_grad",), **ONE),
    row("divide_grad", gradient(paddle.divide, 2), normal, nonzero, normal, name="divide_double_grad", shapes=PAIRS, grad=("divide_double_grad",), **COMMON),
]  # fmt: skip
