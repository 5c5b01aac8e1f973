# phi kernels of sorting, mapped to openxpu.ops.sort.

from __future__ import annotations

from openxpu.ops import sort
from openxpu.ops.plan import PlanBuilder, Tensor
from openxpu.paddle.kernels import phi_kernel
from openxpu.paddle.outputs import required


@phi_kernel
def argsort(
    b: PlanBuilder, x: Tensor, axis: int, descending: bool, stable: bool, out: Tensor, indices: Tensor
) -> None:
    sort.plan_argsort(b, x, out, required(b, indices, "i64"), axis, descending)


@phi_kernel
def argsort_grad(
    b: PlanBuilder,
    indices: Tensor,
    x: Tensor,
    dout: Tensor,
    axis: int,
    descending: bool,
    stable: bool,
    dx: Tensor,
) -> None:
    sort.plan_argsort_grad(b, indices, dout, dx, axis)
