# phi kernels of softmax, mapped to openxpu.ops.softmax.

from __future__ import annotations

from openxpu.ops import softmax as ops
from openxpu.ops.plan import PlanBuilder, Tensor
from openxpu.paddle.kernels import phi_kernel


@phi_kernel
def softmax(b: PlanBuilder, x: Tensor, axis: int, out: Tensor) -> None:
    ops.plan_softmax(b, x, out, axis)


@phi_kernel
def softmax_grad(b: PlanBuilder, out: Tensor, dout: Tensor, axis: int, dx: Tensor) -> None:
    ops.plan_softmax_grad(b, out, dout, dx, axis)


@phi_kernel
def log_softmax(b: PlanBuilder, x: Tensor, axis: int, out: Tensor) -> None:
    ops.plan_log_softmax(b, x, out, axis)


@phi_kernel
def log_softmax_grad(b: PlanBuilder, out: Tensor, dout: Tensor, axis: int, dx: Tensor) -> None:
    ops.plan_log_softmax_grad(b, out, dout, dx, axis)
