# phi kernels of norms and distances, mapped to openxpu.ops.statistics.

from __future__ import annotations

from openxpu.ops import statistics
from openxpu.ops.plan import PlanBuilder, Tensor
from openxpu.ops.pointwise import compute_dtype
from openxpu.paddle.kernels import phi_kernel
from openxpu.paddle.outputs import unused


@phi_kernel
def dist(b: PlanBuilder, x: Tensor, y: Tensor, p: float, out: Tensor) -> None:
    statistics.plan_dist(b, x, y, out, p)


@phi_kernel
def dist_grad(
    b: PlanBuilder,
    x: Tensor,
    y: Tensor,
    out: Tensor,
    d: Tensor,
    p: float,
    dx: Tensor | None,
    dy: Tensor | None,
) -> None:
    statistics.plan_dist_grad(b, x, y, out, d, dx, dy, p)


@phi_kernel
def norm(
    b: PlanBuilder, x: Tensor, axis: int, epsilon: float, is_test: bool, out: Tensor, norm: Tensor | None
) -> None:
    if is_test or norm is None:
        unused(b, norm)
        kept = tuple(1 if d == axis % x.ndim else extent for d, extent in enumerate(x.shape))
        norm = b.scratch(kept, compute_dtype(x.dtype))
    statistics.plan_unit(b, x, out, norm, axis, epsilon)


@phi_kernel
def norm_grad(
    b: PlanBuilder,
    x: Tensor,
    norm: Tensor,
    d: Tensor,
    axis: int,
    epsilon: float,
    is_test: bool,
    dx: Tensor,
) -> None:
    statistics.plan_unit_grad(b, x, norm, d, dx, axis)


@phi_kernel
def renorm(b: PlanBuilder, x: Tensor, p: float, axis: int, max_norm: float, out: Tensor) -> None:
    statistics.plan_renorm(b, x, out, p, axis, max_norm)


@phi_kernel
def renorm_grad(
    b: PlanBuilder, x: Tensor, d: Tensor, p: float, axis: int, max_norm: float, dx: Tensor
) -> None:
    statistics.plan_renorm_grad(b, x, d, dx, p, axis, max_norm)


@phi_kernel
def squared_l2_norm_grad(b: PlanBuilder, x: Tensor, d: Tensor, dx: Tensor | None) -> None:
    if dx is not None:
        statistics.plan_squared_norm_grad(b, x, d, dx)


@phi_kernel
def l1_norm(b: PlanBuilder, x: Tensor, out: Tensor) -> None:
    statistics.plan_l1_norm(b, x, out)


@phi_kernel
def l1_norm_grad(b: PlanBuilder, x: Tensor, d: Tensor, dx: Tensor) -> None:
    statistics.plan_l1_norm_grad(b, x, d, dx)
