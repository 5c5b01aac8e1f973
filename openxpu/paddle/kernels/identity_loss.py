# phi kernels of the loss that is its input, mapped to openxpu.ops.reduce.

from __future__ import annotations

from openxpu.ops.layout import plan_copy
from openxpu.ops.plan import PlanBuilder, Tensor
from openxpu.ops.reduce import plan_mean, plan_mean_grad, plan_sum, plan_sum_grad
from openxpu.paddle.kernels import phi_kernel


@phi_kernel
def identity_loss(b: PlanBuilder, x: Tensor, reduction: int, out: Tensor) -> None:
    """reduction: 0 sum, 1 mean, 2 none."""
    axes = tuple(range(x.ndim))
    if reduction == 0:
        plan_sum(b, x, out, axes)
    elif reduction == 1:
        plan_mean(b, x, out, axes)
    else:
        plan_copy(b, x, out)


@phi_kernel
def identity_loss_grad(b: PlanBuilder, x: Tensor, out_grad: Tensor, reduction: int, x_grad: Tensor) -> None:
    axes = tuple(range(x.ndim))
    if reduction == 0:
        plan_sum_grad(b, out_grad, x_grad, axes)
    elif reduction == 1:
        plan_mean_grad(b, out_grad, x_grad, axes)
    else:
        plan_copy(b, out_grad, x_grad)
