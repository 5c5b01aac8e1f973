# phi kernels of variances, sums that skip NaN and sums to a shape, mapped to openxpu.ops.statistics.

from __future__ import annotations

from collections.abc import Sequence

from openxpu.ops import statistics
from openxpu.ops.plan import PlanBuilder, Tensor
from openxpu.ops.reduce import normalize_axes
from openxpu.paddle.kernels import phi_kernel

Axes = Sequence[int]


@phi_kernel
def var(
    b: PlanBuilder, x: Tensor, axis: Axes, keepdim: bool, unbiased: bool, correction: float, out: Tensor
) -> None:
    statistics.plan_variance(b, x, out, normalize_axes(axis, x.ndim), correction)


@phi_kernel
def var_grad(
    b: PlanBuilder,
    x: Tensor,
    d: Tensor,
    axis: Axes,
    keepdim: bool,
    unbiased: bool,
    correction: float,
    dx: Tensor,
) -> None:
    statistics.plan_variance_grad(b, x, d, dx, normalize_axes(axis, x.ndim), correction)


@phi_kernel
def std(
    b: PlanBuilder, x: Tensor, axis: Axes, keepdim: bool, unbiased: bool, correction: float, out: Tensor
) -> None:
    statistics.plan_variance(b, x, out, normalize_axes(axis, x.ndim), correction, root=True)


@phi_kernel
def std_grad(
    b: PlanBuilder,
    x: Tensor,
    out: Tensor,
    d: Tensor,
    axis: Axes,
    keepdim: bool,
    unbiased: bool,
    correction: float,
    dx: Tensor,
) -> None:
    statistics.plan_variance_grad(b, x, d, dx, normalize_axes(axis, x.ndim), correction, out)


@phi_kernel
def variance(b: PlanBuilder, x: Tensor, dims: Axes, keep_dim: bool, out: Tensor) -> None:
    statistics.plan_variance(b, x, out, normalize_axes(dims, x.ndim), 0.0)


@phi_kernel
def nansum(b: PlanBuilder, x: Tensor, dims: Axes, out_dtype: str | None, keep_dim: bool, out: Tensor) -> None:
    statistics.plan_nansum(b, x, out, normalize_axes(dims, x.ndim))


@phi_kernel
def nansum_grad(
    b: PlanBuilder, x: Tensor, d: Tensor, dims: Axes, keep_dim: bool, reduce_all: bool, dx: Tensor
) -> None:
    statistics.plan_nansum_grad(b, x, d, dx, normalize_axes(dims, x.ndim, reduce_all))


@phi_kernel
def reduce_as(b: PlanBuilder, x: Tensor, target: Tensor, out: Tensor) -> None:
    statistics.plan_reduce_as(b, x, out)


@phi_kernel
def reduce_as_grad(b: PlanBuilder, x: Tensor, target: Tensor, d: Tensor, dx: Tensor) -> None:
    statistics.plan_reduce_as_grad(b, d, dx)
