# phi kernels of gated and randomised activations, mapped to openxpu.ops.gating.

from __future__ import annotations

from openxpu.ops import gating
from openxpu.ops.plan import PlanBuilder, Tensor
from openxpu.ops.pointwise import plan_map
from openxpu.ops.softmax import plan_softmax_grad
from openxpu.paddle.kernels import phi_kernel


@phi_kernel
def swiglu(b: PlanBuilder, x: Tensor, y: Tensor | None, out: Tensor) -> None:
    gating.plan_swiglu(b, x, y, out)


@phi_kernel
def swiglu_grad(
    b: PlanBuilder, x: Tensor, y: Tensor | None, d: Tensor, dx: Tensor | None, dy: Tensor | None
) -> None:
    gating.plan_swiglu_grad(b, x, y, d, dx, dy)


@phi_kernel
def rrelu(
    b: PlanBuilder, x: Tensor, lower: float, upper: float, is_test: bool, out: Tensor, noise: Tensor
) -> None:
    gating.plan_rrelu(b, x, out, noise, lower, upper, is_test)


@phi_kernel
def rrelu_grad(b: PlanBuilder, x: Tensor, noise: Tensor, d: Tensor, dx: Tensor) -> None:
    plan_map(b, "elementwise.multiply", [d, noise], dx)


@phi_kernel
def gumbel_softmax(b: PlanBuilder, x: Tensor, temperature: float, hard: bool, axis: int, out: Tensor) -> None:
    gating.plan_gumbel_softmax(b, x, out, temperature, hard, axis)


@phi_kernel
def gumbel_softmax_grad(b: PlanBuilder, out: Tensor, d: Tensor, axis: int, dx: Tensor) -> None:
    plan_softmax_grad(b, out, d, dx, axis)
