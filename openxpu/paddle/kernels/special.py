# phi kernels of special functions, mapped to openxpu.ops.special.

from __future__ import annotations

from typing import Any

from openxpu.ops import special
from openxpu.ops.plan import PlanBuilder, Tensor
from openxpu.paddle.kernels import phi_kernel


def _named(kernel: str, function: Any) -> None:
    function.__name__ = function.__qualname__ = kernel
    phi_kernel(function)


def _forward(name: str) -> None:
    def forward(b: PlanBuilder, x: Tensor, out: Tensor) -> None:
        special.plan_special(b, [x], out, name)

    _named(name, forward)


def _grad(name: str, with_result: bool) -> None:
    def grad(b: PlanBuilder, saved: Tensor, d: Tensor, dx: Tensor) -> None:
        special.plan_special_grad(b, [saved, d], dx, name)

    def grad_of_both(b: PlanBuilder, x: Tensor, out: Tensor, d: Tensor, dx: Tensor) -> None:
        special.plan_special_grad(b, [x, out, d], dx, name)

    _named(f"{name}_grad", grad_of_both if with_result else grad)


for _name in ("erfinv", "lgamma", "gammaln", "i0", "i0e", "i1", "i1e"):
    _forward(_name)
    _grad(_name, _name in ("i0e", "i1", "i1e"))


@phi_kernel
def digamma(b: PlanBuilder, x: Tensor, out: Tensor) -> None:
    special.plan_polygamma(b, x, out, 0)


@phi_kernel
def digamma_grad(b: PlanBuilder, x: Tensor, d: Tensor, dx: Tensor) -> None:
    special.plan_polygamma_grad(b, x, d, dx, 0)


@phi_kernel
def polygamma(b: PlanBuilder, x: Tensor, n: int, out: Tensor) -> None:
    special.plan_polygamma(b, x, out, n)


@phi_kernel
def polygamma_grad(b: PlanBuilder, x: Tensor, d: Tensor, n: int, dx: Tensor) -> None:
    special.plan_polygamma_grad(b, x, d, dx, n)


@phi_kernel
def gammaincc(b: PlanBuilder, x: Tensor, y: Tensor, out: Tensor) -> None:
    special.plan_special(b, [x, y], out, "gammaincc")


@phi_kernel
def gammaincc_grad(b: PlanBuilder, x: Tensor, y: Tensor, d: Tensor, dy: Tensor) -> None:
    special.plan_special_grad(b, [x, y, d], dy, "gammaincc")
