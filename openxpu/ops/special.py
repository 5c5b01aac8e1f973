# Special functions and their gradients: gamma and its relatives, inverse error function, Bessel functions. Planners.
from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from openxpu.ops.plan import PlanBuilder, Tensor
from openxpu.ops.pointwise import broadcast_shape, plan_map
from openxpu.ops.run import run

if TYPE_CHECKING:
    from openxpu.runtime import Array

# name: (function, function of its gradient) in kernels/special.py
SPECIAL = {
    "erfinv": ("erfinv", "erfinv_grad_out"),
    "lgamma": ("lgamma", "lgamma_grad"),
    "gammaln": ("lgamma", "lgamma_grad"),
    "i0": ("i0", "i0_grad"),
    "i0e": ("i0e", "i0e_grad"),
    "i1": ("i1", "i1_grad"),
    "i1e": ("i1e", "i1e_grad"),
    "gammaincc": ("gammaincc", "gammaincc_grad"),
}
_EFFORT = 40


def _compute(name: str) -> str:
    """In f64 whatever the dtype: the incomplete gamma function sums what is nearly one."""
    return "f64" if name == "gammaincc" else ""


def plan_special(b: PlanBuilder, inputs: Sequence[Tensor], out: Tensor, name: str) -> None:
    """out = name(*inputs)."""
    function, effort, together = SPECIAL[name][0], _EFFORT, 0
    if name == "gammaincc":
        function, effort, together = function if out.dtype == "f64" else "gammaincc_of_f32", 20 * _EFFORT, 16
    plan_map(b, f"special.{function}", inputs, out, compute=_compute(name), effort=effort, together=together)


def plan_special_grad(b: PlanBuilder, saved: Sequence[Tensor], dx: Tensor, name: str) -> None:
    """The gradient from the tensors that the function in the table takes: operands or result, then the gradient of
    the result."""
    plan_map(b, f"special.{SPECIAL[name][1]}", saved, dx, compute=_compute(name), effort=_EFFORT)


def _orders(order: int) -> list[float]:
    """What the kernels take for the derivative number `order` of digamma."""
    sign = -1.0 if order % 2 == 0 else 1.0
    size = float(math.factorial(order)) if order <= 170 else math.inf
    return [order + 1.0, sign * size, sign]


def plan_polygamma(b: PlanBuilder, x: Tensor, out: Tensor, order: int) -> None:
    """The derivative number `order` of digamma; 0 is digamma itself."""
    if order == 0:
        plan_map(b, "special.digamma", [x], out, effort=_EFFORT)
    else:
        plan_map(b, "special.polygamma", [x], out, _orders(order), effort=_EFFORT)


def plan_polygamma_grad(b: PlanBuilder, x: Tensor, d: Tensor, dx: Tensor, order: int) -> None:
    plan_map(b, "special.polygamma_grad", [x, d], dx, _orders(order + 1), effort=_EFFORT)


def polygamma(x: Array, order: int) -> Array:
    """The derivative number `order` >= 0 of digamma, the logarithmic derivative of the gamma function."""
    return run(plan_polygamma, [x], [(x.shape, x.dtype)], order)  # type: ignore[no-any-return]


def digamma(x: Array) -> Array:
    """The logarithmic derivative of the gamma function."""
    return polygamma(x, 0)


def _plan_one(b: PlanBuilder, x: Tensor, out: Tensor, name: str) -> None:
    plan_special(b, [x], out, name)


def _plan_two(b: PlanBuilder, x: Tensor, y: Tensor, out: Tensor, name: str) -> None:
    plan_special(b, [x, y], out, name)


def erfinv(x: Array) -> Array:
    """The inverse of erf."""
    return run(_plan_one, [x], [(x.shape, x.dtype)], "erfinv")  # type: ignore[no-any-return]


def lgamma(x: Array) -> Array:
    """log |gamma(x)|."""
    return run(_plan_one, [x], [(x.shape, x.dtype)], "lgamma")  # type: ignore[no-any-return]


def i0(x: Array) -> Array:
    """The modified Bessel function of the first kind, order 0."""
    return run(_plan_one, [x], [(x.shape, x.dtype)], "i0")  # type: ignore[no-any-return]


def i1(x: Array) -> Array:
    """The modified Bessel function of the first kind, order 1."""
    return run(_plan_one, [x], [(x.shape, x.dtype)], "i1")  # type: ignore[no-any-return]


def i0e(x: Array) -> Array:
    """exp(-|x|) i0(x)."""
    return run(_plan_one, [x], [(x.shape, x.dtype)], "i0e")  # type: ignore[no-any-return]


def i1e(x: Array) -> Array:
    """exp(-|x|) i1(x)."""
    return run(_plan_one, [x], [(x.shape, x.dtype)], "i1e")  # type: ignore[no-any-return]


def gammaincc(a: Array, x: Array) -> Array:
    """The upper incomplete gamma function over gamma(a)."""
    shape = broadcast_shape(a.shape, x.shape)
    return run(_plan_two, [a, x], [(shape, x.dtype)], "gammaincc")  # type: ignore[no-any-return]
