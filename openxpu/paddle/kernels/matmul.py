# phi kernels of matrix products, mapped to openxpu.ops.matmul.

from __future__ import annotations

from openxpu.ops import matmul as ops
from openxpu.ops.plan import PlanBuilder, Tensor
from openxpu.paddle.kernels import phi_kernel


@phi_kernel
def matmul(b: PlanBuilder, x: Tensor, y: Tensor, transpose_x: bool, transpose_y: bool, out: Tensor) -> None:
    ops.plan_matmul(b, x, y, out, transpose_x, transpose_y)


@phi_kernel
def matmul_grad(
    b: PlanBuilder,
    x: Tensor,
    y: Tensor,
    dout: Tensor,
    transpose_x: bool,
    transpose_y: bool,
    dx: Tensor | None,
    dy: Tensor | None,
) -> None:
    ops.plan_matmul_grad(b, x, y, dout, dx, dy, transpose_x, transpose_y)


@phi_kernel
def matmul_with_flatten(
    b: PlanBuilder, x: Tensor, y: Tensor, x_num_col_dims: int, y_num_col_dims: int, out: Tensor
) -> None:
    ops.plan_matmul_with_flatten(b, x, y, out, x_num_col_dims, y_num_col_dims)


@phi_kernel
def matmul_with_flatten_grad(
    b: PlanBuilder,
    x: Tensor,
    y: Tensor,
    dout: Tensor,
    x_num_col_dims: int,
    y_num_col_dims: int,
    dx: Tensor | None,
    dy: Tensor | None,
) -> None:
    ops.plan_matmul_with_flatten_grad(b, x, y, dout, dx, dy, x_num_col_dims, y_num_col_dims)


@phi_kernel
def bmm(b: PlanBuilder, x: Tensor, y: Tensor, out: Tensor) -> None:
    ops.plan_matmul(b, x, y, out)


@phi_kernel
def bmm_grad(
    b: PlanBuilder, x: Tensor, y: Tensor, dout: Tensor, dx: Tensor | None, dy: Tensor | None
) -> None:
    ops.plan_matmul_grad(b, x, y, dout, dx, dy)


@phi_kernel
def mv(b: PlanBuilder, x: Tensor, vec: Tensor, out: Tensor) -> None:
    ops.plan_matmul(b, x, vec, out)


@phi_kernel
def mv_grad(
    b: PlanBuilder, x: Tensor, vec: Tensor, dout: Tensor, dx: Tensor | None, dvec: Tensor | None
) -> None:
    ops.plan_matmul_grad(b, x, vec, dout, dx, dvec)


@phi_kernel
def dot(b: PlanBuilder, x: Tensor, y: Tensor, out: Tensor) -> None:
    ops.plan_dot(b, x, y, out)


@phi_kernel
def dot_grad(
    b: PlanBuilder, x: Tensor, y: Tensor, dout: Tensor, dx: Tensor | None, dy: Tensor | None
) -> None:
    ops.plan_dot_grad(b, x, y, dout, dx, dy)


@phi_kernel
def addmm(
    b: PlanBuilder, addend: Tensor, x: Tensor, y: Tensor, beta: float, alpha: float, out: Tensor
) -> None:
    ops.plan_addmm(b, addend, x, y, out, beta, alpha)


@phi_kernel
def addmm_grad(
    b: PlanBuilder,
    addend: Tensor,
    x: Tensor,
    y: Tensor,
    dout: Tensor,
    alpha: float,
    beta: float,
    daddend: Tensor | None,
    dx: Tensor | None,
    dy: Tensor | None,
) -> None:
    ops.plan_addmm_grad(b, addend, x, y, dout, daddend, dx, dy, alpha, beta)
