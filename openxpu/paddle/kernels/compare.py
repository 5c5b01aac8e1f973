# phi kernels of comparisons, logic, bits and selection, mapped to openxpu.ops.compare.

from __future__ import annotations

from typing import Any

from openxpu.ops import compare
from openxpu.ops.plan import PlanBuilder, Tensor
from openxpu.paddle.kernels import phi_kernel
from openxpu.paddle.outputs import required


def _named(kernel: str, function: Any) -> None:
    function.__name__ = function.__qualname__ = kernel
    phi_kernel(function)


def _boolean(b: PlanBuilder, out: Tensor) -> Tensor:
    """The result as bool; an output that shares its memory with an input of another dtype keeps its own."""
    return out if out.dtype == "bool" else required(b, out, "bool")


def _compare(kernel: str, name: str) -> None:
    def forward(b: PlanBuilder, x: Tensor, y: Tensor, out: Tensor) -> None:
        compare.plan_compare(b, x, y, _boolean(b, out), name)

    _named(kernel, forward)


def _compare_raw(kernel: str, name: str) -> None:
    def raw(b: PlanBuilder, x: Tensor, y: Tensor, axis: int, out: Tensor) -> None:
        compare.plan_compare(b, x, y, _boolean(b, out), name, axis)

    _named(kernel, raw)


def _bitwise(name: str) -> None:
    def forward(b: PlanBuilder, x: Tensor, y: Tensor, out: Tensor) -> None:
        compare.plan_bitwise(b, x, y, out, name)

    _named(name, forward)


for _name in compare.COMPARISONS:
    _compare(_name, _name)
    _compare_raw(f"{_name}_raw", _name)
for _name in compare.LOGIC:
    _compare(_name, _name)
for _name in compare.BITS:
    _bitwise(_name)


@phi_kernel
def logical_not(b: PlanBuilder, x: Tensor, out: Tensor) -> None:
    compare.plan_not(b, x, _boolean(b, out), "logical_not")


@phi_kernel
def bitwise_not(b: PlanBuilder, x: Tensor, out: Tensor) -> None:
    compare.plan_not(b, x, out, "bitwise_not")


@phi_kernel
def where(b: PlanBuilder, condition: Tensor, x: Tensor, y: Tensor, out: Tensor) -> None:
    compare.plan_where(b, condition, x, y, out)


@phi_kernel
def where_grad(
    b: PlanBuilder,
    condition: Tensor,
    x: Tensor,
    y: Tensor,
    d: Tensor,
    dx: Tensor | None,
    dy: Tensor | None,
) -> None:
    compare.plan_where_grad(b, condition, d, dx, dy)


@phi_kernel
def isclose(
    b: PlanBuilder, x: Tensor, y: Tensor, rtol: float, atol: float, equal_nan: bool, out: Tensor
) -> None:
    compare.plan_isclose(b, x, y, out, float(rtol), float(atol), equal_nan)
