# phi kernels of running extremes, products and log-sums, mapped to openxpu.ops.running.

from __future__ import annotations

from openxpu.ops import running
from openxpu.ops.plan import PlanBuilder, Tensor, Unsupported
from openxpu.paddle.kernels import phi_kernel
from openxpu.paddle.outputs import required


@phi_kernel
def cummax(b: PlanBuilder, x: Tensor, axis: int, dtype: str, out: Tensor, indices: Tensor) -> None:
    running.plan_running_extreme(b, x, out, required(b, indices, dtype), axis, True)


@phi_kernel
def cummin(b: PlanBuilder, x: Tensor, axis: int, dtype: str, out: Tensor, indices: Tensor) -> None:
    running.plan_running_extreme(b, x, out, required(b, indices, dtype), axis, False)


@phi_kernel
def cummax_grad(
    b: PlanBuilder, x: Tensor, indices: Tensor, dout: Tensor, axis: int, dtype: str, dx: Tensor
) -> None:
    running.plan_running_extreme_grad(b, indices, dout, dx, axis)


@phi_kernel
def cummin_grad(
    b: PlanBuilder, x: Tensor, indices: Tensor, dout: Tensor, axis: int, dtype: str, dx: Tensor
) -> None:
    running.plan_running_extreme_grad(b, indices, dout, dx, axis)


def _forward(exclusive: bool, reverse: bool = False) -> None:
    if exclusive or reverse:
        raise Unsupported("running products and log-sums are planned with each element in its own result.")


@phi_kernel
def cumprod(b: PlanBuilder, x: Tensor, dim: int, exclusive: bool, reverse: bool, out: Tensor) -> None:
    _forward(exclusive, reverse)
    running.plan_cumprod(b, x, out, dim)


@phi_kernel
def cumprod_grad(
    b: PlanBuilder, x: Tensor, out: Tensor, dout: Tensor, dim: int, exclusive: bool, reverse: bool, dx: Tensor
) -> None:
    _forward(exclusive, reverse)
    running.plan_cumprod_grad(b, x, dout, dx, dim)


def _flat(x: Tensor, axis: int, flatten: bool) -> tuple[Tensor, int]:
    return (x.reshape(x.numel), 0) if flatten else (x, axis)


@phi_kernel
def logcumsumexp(
    b: PlanBuilder, x: Tensor, axis: int, flatten: bool, exclusive: bool, reverse: bool, out: Tensor
) -> None:
    _forward(exclusive)
    x, axis = _flat(x, axis, flatten)
    running.plan_logcumsumexp(b, x, out, axis, reverse)


@phi_kernel
def logcumsumexp_grad(
    b: PlanBuilder,
    x: Tensor,
    out: Tensor,
    dout: Tensor,
    axis: int,
    flatten: bool,
    exclusive: bool,
    reverse: bool,
    dx: Tensor,
) -> None:
    _forward(exclusive)
    x, axis = _flat(x, axis, flatten)
    running.plan_logcumsumexp_grad(b, x, out, dout, dx, axis, reverse)
