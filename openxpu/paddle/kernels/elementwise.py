# phi kernels of two-operand arithmetic, scaling and powers, mapped to openxpu.ops.elementwise.

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from openxpu.ops import elementwise
from openxpu.ops.plan import Dynamic, PlanBuilder, Tensor
from openxpu.paddle.kernels import phi_kernel

# phi kernel: name in openxpu.ops.elementwise.BINARY
BINARY = {
    "add": "add", "subtract": "subtract", "multiply": "multiply", "divide": "divide", "grad_add": "add",
    "maximum": "maximum", "minimum": "minimum", "fmax": "fmax", "fmin": "fmin", "remainder": "remainder",
    "floor_divide": "floor_divide", "trunc_divide": "trunc_divide", "elementwise_pow": "pow",
    "heaviside": "heaviside", "copysign": "copysign",
}  # fmt: skip
RAW = (
    "add",
    "subtract",
    "multiply",
    "divide",
    "maximum",
    "minimum",
    "remainder",
    "floor_divide",
    "elementwise_pow",
)
GRAD_WITH_AXIS = ("add", "subtract", "multiply")
GRAD = ("maximum", "minimum", "fmax", "fmin", "remainder", "elementwise_pow", "heaviside")


def _named(kernel: str, function: Any) -> None:
    function.__name__ = function.__qualname__ = kernel
    phi_kernel(function)


def _forward(kernel: str, name: str) -> None:
    def forward(b: PlanBuilder, x: Tensor, y: Tensor, out: Tensor) -> None:
        elementwise.plan_binary(b, x, y, out, name)

    _named(kernel, forward)


def _raw(kernel: str, name: str) -> None:
    def raw(b: PlanBuilder, x: Tensor, y: Tensor, axis: int, out: Tensor) -> None:
        elementwise.plan_binary(b, x, y, out, name, axis)

    _named(kernel, raw)


def _grad_with_axis(kernel: str, name: str) -> None:
    def grad(
        b: PlanBuilder, x: Tensor, y: Tensor, d: Tensor, axis: int, dx: Tensor | None, dy: Tensor | None
    ) -> None:
        elementwise.plan_binary_grad(b, x, y, None, d, dx, dy, name, axis)

    _named(kernel, grad)


def _grad(kernel: str, name: str) -> None:
    def grad(b: PlanBuilder, x: Tensor, y: Tensor, d: Tensor, dx: Tensor | None, dy: Tensor | None) -> None:
        elementwise.plan_binary_grad(b, x, y, None, d, dx, dy, name)

    _named(kernel, grad)


for _kernel, _name in BINARY.items():
    _forward(_kernel, _name)
for _kernel in RAW:
    _raw(f"{_kernel}_raw", BINARY[_kernel])
for _kernel in GRAD_WITH_AXIS:
    _grad_with_axis(f"{_kernel}_grad", BINARY[_kernel])
for _kernel in GRAD:
    _grad(f"{_kernel}_grad", BINARY[_kernel])


@phi_kernel
def divide_grad(
    b: PlanBuilder,
    x: Tensor,
    y: Tensor,
    out: Tensor,
    d: Tensor,
    axis: int,
    dx: Tensor | None,
    dy: Tensor | None,
) -> None:
    elementwise.plan_binary_grad(b, x, y, out, d, dx, dy, "divide", axis)


@phi_kernel
def add_n(b: PlanBuilder, x: Sequence[Tensor], out: Tensor) -> None:
    elementwise.plan_add_n(b, x, out)


@phi_kernel(dynamic=("scale", "bias"))
def scale(
    b: PlanBuilder, x: Tensor, scale: Dynamic, bias: Dynamic, bias_after_scale: bool, out: Tensor
) -> None:
    elementwise.plan_scale(b, x, out, scale, bias, bias_after_scale)


@phi_kernel(dynamic=("scale",))
def div_scale(b: PlanBuilder, x: Tensor, scale: Dynamic, out: Tensor) -> None:
    elementwise.plan_divide_scalar(b, x, out, scale)


@phi_kernel(dynamic=("value",))
def increment(b: PlanBuilder, x: Tensor, value: Dynamic, out: Tensor) -> None:
    elementwise.plan_add_scalar(b, x, out, value)


@phi_kernel
def pow(b: PlanBuilder, x: Tensor, factor: float, out: Tensor) -> None:
    elementwise.plan_pow_scalar(b, x, out, factor)


@phi_kernel
def pow_grad(b: PlanBuilder, x: Tensor, d: Tensor, factor: float, dx: Tensor) -> None:
    elementwise.plan_pow_scalar_grad(b, x, d, dx, factor)


@phi_kernel
def lerp(b: PlanBuilder, x: Tensor, y: Tensor, weight: Tensor, out: Tensor) -> None:
    elementwise.plan_lerp(b, x, y, weight, out)
