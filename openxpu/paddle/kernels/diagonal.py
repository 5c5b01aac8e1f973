# phi kernels of diagonals, mapped to openxpu.ops.diagonal.

from __future__ import annotations

from openxpu.ops import diagonal as ops
from openxpu.ops.plan import PlanBuilder, Tensor
from openxpu.paddle.kernels import phi_kernel


@phi_kernel
def diagonal(b: PlanBuilder, x: Tensor, offset: int, axis1: int, axis2: int, out: Tensor) -> None:
    ops.plan_diagonal(b, x, out, offset, axis1, axis2)


@phi_kernel
def diagonal_grad(
    b: PlanBuilder, x: Tensor, d: Tensor, offset: int, axis1: int, axis2: int, dx: Tensor
) -> None:
    ops.plan_diagonal_put(b, d, dx, offset, axis1, axis2)


@phi_kernel
def diag_grad(b: PlanBuilder, x: Tensor, d: Tensor, offset: int, dx: Tensor) -> None:
    ops.plan_diag_grad(b, d, dx, offset)


@phi_kernel
def diag_embed(b: PlanBuilder, x: Tensor, offset: int, axis1: int, axis2: int, out: Tensor) -> None:
    ops.plan_diagonal_put(b, x, out, offset, axis1, axis2)


@phi_kernel
def trace(b: PlanBuilder, x: Tensor, offset: int, axis1: int, axis2: int, out: Tensor) -> None:
    ops.plan_trace(b, x, out, offset, axis1, axis2)


@phi_kernel
def trace_grad(b: PlanBuilder, x: Tensor, d: Tensor, offset: int, axis1: int, axis2: int, dx: Tensor) -> None:
    ops.plan_trace_grad(b, d, dx, offset, axis1, axis2)


@phi_kernel
def fill_diagonal(b: PlanBuilder, x: Tensor, value: float, offset: int, wrap: bool, out: Tensor) -> None:
    ops.plan_fill_diagonal(b, x, out, value, offset, wrap)


@phi_kernel
def fill_diagonal_grad(b: PlanBuilder, d: Tensor, value: float, offset: int, wrap: bool, dx: Tensor) -> None:
    ops.plan_fill_diagonal(b, d, dx, 0.0, offset, wrap)


@phi_kernel
def fill_diagonal_tensor(
    b: PlanBuilder, x: Tensor, y: Tensor, offset: int, axis1: int, axis2: int, out: Tensor
) -> None:
    ops.plan_fill_diagonal_tensor(b, x, y, out, offset, axis1, axis2)


@phi_kernel
def fill_diagonal_tensor_grad(
    b: PlanBuilder, d: Tensor, offset: int, axis1: int, axis2: int, dx: Tensor
) -> None:
    ops.plan_fill_diagonal_tensor(b, d, None, dx, offset, axis1, axis2)
