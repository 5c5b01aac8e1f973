# phi kernels of functions of one tensor, mapped to openxpu.ops.activation.

from __future__ import annotations

from typing import Any

from openxpu.ops import activation
from openxpu.ops.plan import Dynamic, PlanBuilder, Tensor
from openxpu.paddle.kernels import phi_kernel

# phi kernels (x, parameters..., out) by their name in openxpu.ops.activation.UNARY, where it differs.
FORWARD = {
    name: name
    for name in (
        "sin", "cos", "tan", "asin", "atan", "acos", "sinh", "cosh", "asinh", "acosh", "atanh", "exp", "expm1",
        "reciprocal", "square", "sqrt", "rsqrt", "log", "log2", "log10", "log1p", "floor", "ceil", "negative", "abs",
        "erf", "sign", "trunc", "relu", "tanh", "tanh_shrink", "silu", "softsign", "sigmoid", "logsigmoid",
        "leaky_relu", "mish", "hard_shrink", "softshrink", "elu", "celu", "logit", "hardtanh", "stanh", "softplus",
        "hardsigmoid", "thresholded_relu", "hardswish", "relu6", "selu",
    )
} | {"swish": "silu"}  # fmt: skip
# (x or out, d, parameters..., dx)
GRAD = [
    "sin", "cos", "tan", "asin", "atan", "acos", "sinh", "cosh", "asinh", "acosh", "atanh", "exp", "expm1",
    "reciprocal", "square", "sqrt", "rsqrt", "log", "log2", "log10", "log1p", "abs", "erf", "relu", "tanh",
    "tanh_shrink", "softsign", "sigmoid", "logsigmoid", "leaky_relu", "mish", "hard_shrink", "softshrink", "celu", "logit",
    "hardtanh", "stanh", "softplus", "hardsigmoid", "thresholded_relu", "hardswish", "relu6", "selu", "swish",
]  # fmt: skip
# (d, dx): the gradient is zero
GRAD_ZERO = ("floor", "ceil", "round", "trunc")


def _named(kernel: str, function: Any) -> None:
    function.__name__ = function.__qualname__ = kernel
    phi_kernel(function)


def _forward(kernel: str, name: str) -> None:
    def forward0(b: PlanBuilder, x: Tensor, out: Tensor) -> None:
        activation.plan_unary(b, x, out, name)

    def forward1(b: PlanBuilder, x: Tensor, p: float, out: Tensor) -> None:
        activation.plan_unary(b, x, out, name, p)

    def forward2(b: PlanBuilder, x: Tensor, p: float, q: float, out: Tensor) -> None:
        activation.plan_unary(b, x, out, name, p, q)

    _named(kernel, (forward0, forward1, forward2)[len(activation.UNARY[name].defaults)])


def _grad(kernel: str, name: str) -> None:
    def grad0(b: PlanBuilder, saved: Tensor, d: Tensor, dx: Tensor) -> None:
        activation.plan_unary_grad(b, saved, d, dx, name)

    def grad1(b: PlanBuilder, saved: Tensor, d: Tensor, p: float, dx: Tensor) -> None:
        activation.plan_unary_grad(b, saved, d, dx, name, p)

    def grad2(b: PlanBuilder, saved: Tensor, d: Tensor, p: float, q: float, dx: Tensor) -> None:
        activation.plan_unary_grad(b, saved, d, dx, name, p, q)

    _named(kernel, (grad0, grad1, grad2)[len(activation.UNARY[name].defaults)])


def _grad_zero(kernel: str) -> None:
    def grad(b: PlanBuilder, d: Tensor, dx: Tensor) -> None:
        b.zero(dx)

    _named(kernel, grad)


def _classify(name: str) -> None:
    def classify(b: PlanBuilder, x: Tensor, out: Tensor) -> None:
        activation.plan_classify(b, x, out, name)

    _named(name, classify)


for _kernel, _name in FORWARD.items():
    _forward(_kernel, _name)
for _kernel in GRAD:
    _grad(f"{_kernel}_grad", FORWARD[_kernel])
for _kernel in GRAD_ZERO:
    _grad_zero(f"{_kernel}_grad")
for _kernel in ("isnan", "isinf", "isfinite"):
    _classify(_kernel)


@phi_kernel
def round(b: PlanBuilder, x: Tensor, decimals: int, out: Tensor) -> None:
    activation.plan_round(b, x, out, decimals)


@phi_kernel
def gelu(b: PlanBuilder, x: Tensor, approximate: bool, out: Tensor) -> None:
    activation.plan_unary(b, x, out, "gelu_tanh" if approximate else "gelu")


@phi_kernel
def gelu_grad(b: PlanBuilder, x: Tensor, d: Tensor, approximate: bool, dx: Tensor) -> None:
    activation.plan_unary_grad(b, x, d, dx, "gelu_tanh" if approximate else "gelu")


@phi_kernel
def silu_grad(b: PlanBuilder, x: Tensor, out: Tensor, d: Tensor, dx: Tensor) -> None:
    activation.plan_unary_grad(b, x, d, dx, "silu")


@phi_kernel
def elu_grad(b: PlanBuilder, x: Tensor, out: Tensor, d: Tensor, alpha: float, dx: Tensor) -> None:
    activation.plan_unary_grad(b, x, d, dx, "elu", alpha)


@phi_kernel(dynamic=("low", "high"))
def clip(b: PlanBuilder, x: Tensor, low: Dynamic, high: Dynamic, out: Tensor) -> None:
    activation.plan_unary(b, x, out, "clip", low, high)


@phi_kernel(dynamic=("low", "high"))
def clip_grad(b: PlanBuilder, x: Tensor, d: Tensor, low: Dynamic, high: Dynamic, dx: Tensor) -> None:
    activation.plan_unary_grad(b, x, d, dx, "clip", low, high)
