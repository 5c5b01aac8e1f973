# phi kernels of reductions, mapped to openxpu.ops.reduce.

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from openxpu.ops import reduce
from openxpu.ops.plan import PlanBuilder, Tensor
from openxpu.ops.reduce import normalize_axes
from openxpu.paddle.kernels import phi_kernel
from openxpu.paddle.outputs import required

Axes = Sequence[int]
Plan = Callable[[PlanBuilder, Tensor, Tensor, Sequence[int]], Any]


def _reduce(b: PlanBuilder, plan: Plan, x: Tensor, dims: Axes, out: Tensor, reduce_all: bool = False) -> None:
    plan(b, x, out, normalize_axes(dims, x.ndim, reduce_all))


@phi_kernel
def sum(b: PlanBuilder, x: Tensor, dims: Axes, out_dtype: str | None, keep_dim: bool, out: Tensor) -> None:
    _reduce(b, reduce.plan_sum, x, dims, out)


@phi_kernel
def sum_raw(
    b: PlanBuilder,
    x: Tensor,
    dims: Axes,
    keep_dim: bool,
    reduce_all: bool,
    out_dtype: str | None,
    out: Tensor,
) -> None:
    _reduce(b, reduce.plan_sum, x, dims, out, reduce_all)


@phi_kernel
def mean(b: PlanBuilder, x: Tensor, dims: Axes, keep_dim: bool, out: Tensor) -> None:
    _reduce(b, reduce.plan_mean, x, dims, out)


@phi_kernel
def mean_raw(b: PlanBuilder, x: Tensor, dims: Axes, keep_dim: bool, reduce_all: bool, out: Tensor) -> None:
    _reduce(b, reduce.plan_mean, x, dims, out, reduce_all)


@phi_kernel
def mean_all(b: PlanBuilder, x: Tensor, out: Tensor) -> None:
    _reduce(b, reduce.plan_mean, x, (), out)


@phi_kernel
def mean_all_grad(b: PlanBuilder, x: Tensor, dy: Tensor, dx: Tensor) -> None:
    reduce.plan_mean_grad(b, dy, dx, normalize_axes((), x.ndim))


@phi_kernel
def max(b: PlanBuilder, x: Tensor, dims: Axes, keep_dim: bool, out: Tensor) -> None:
    _reduce(b, reduce.plan_max, x, dims, out)


@phi_kernel
def max_raw(b: PlanBuilder, x: Tensor, dims: Axes, keep_dim: bool, reduce_all: bool, out: Tensor) -> None:
    _reduce(b, reduce.plan_max, x, dims, out, reduce_all)


@phi_kernel
def min(b: PlanBuilder, x: Tensor, dims: Axes, keep_dim: bool, out: Tensor) -> None:
    _reduce(b, reduce.plan_min, x, dims, out)


@phi_kernel
def min_raw(b: PlanBuilder, x: Tensor, dims: Axes, keep_dim: bool, reduce_all: bool, out: Tensor) -> None:
    _reduce(b, reduce.plan_min, x, dims, out, reduce_all)


@phi_kernel
def amax(b: PlanBuilder, x: Tensor, dims: Axes, keep_dim: bool, out: Tensor) -> None:
    _reduce(b, reduce.plan_max, x, dims, out)


@phi_kernel
def amax_raw(b: PlanBuilder, x: Tensor, dims: Axes, keep_dim: bool, reduce_all: bool, out: Tensor) -> None:
    _reduce(b, reduce.plan_max, x, dims, out, reduce_all)


@phi_kernel
def amin(b: PlanBuilder, x: Tensor, dims: Axes, keep_dim: bool, out: Tensor) -> None:
    _reduce(b, reduce.plan_min, x, dims, out)


@phi_kernel
def amin_raw(b: PlanBuilder, x: Tensor, dims: Axes, keep_dim: bool, reduce_all: bool, out: Tensor) -> None:
    _reduce(b, reduce.plan_min, x, dims, out, reduce_all)


@phi_kernel
def prod(b: PlanBuilder, x: Tensor, dims: Axes, keep_dim: bool, reduce_all: bool, out: Tensor) -> None:
    _reduce(b, reduce.plan_prod, x, dims, out, reduce_all)


@phi_kernel
def prod_infer(b: PlanBuilder, x: Tensor, dims: Axes, keep_dim: bool, out: Tensor) -> None:
    _reduce(b, reduce.plan_prod, x, dims, out)


@phi_kernel
def any(b: PlanBuilder, x: Tensor, dims: Axes, keep_dim: bool, out: Tensor) -> None:
    _reduce(b, reduce.plan_any, x, dims, required(b, out, "bool"))


@phi_kernel
def any_raw(b: PlanBuilder, x: Tensor, dims: Axes, keep_dim: bool, reduce_all: bool, out: Tensor) -> None:
    _reduce(b, reduce.plan_any, x, dims, required(b, out, "bool"), reduce_all)


@phi_kernel
def all(b: PlanBuilder, x: Tensor, dims: Axes, keep_dim: bool, out: Tensor) -> None:
    _reduce(b, reduce.plan_all, x, dims, required(b, out, "bool"))


@phi_kernel
def all_raw(b: PlanBuilder, x: Tensor, dims: Axes, keep_dim: bool, reduce_all: bool, out: Tensor) -> None:
    _reduce(b, reduce.plan_all, x, dims, required(b, out, "bool"), reduce_all)


@phi_kernel
def logsumexp(b: PlanBuilder, x: Tensor, axis: Axes, keepdim: bool, reduce_all: bool, out: Tensor) -> None:
    _reduce(b, reduce.plan_logsumexp, x, axis, out, reduce_all)


@phi_kernel
def sum_grad(
    b: PlanBuilder, x: Tensor, dy: Tensor, dims: Axes, keep_dim: bool, reduce_all: bool, dx: Tensor
) -> None:
    reduce.plan_sum_grad(b, dy, dx, normalize_axes(dims, dx.ndim, reduce_all))


@phi_kernel
def mean_grad(
    b: PlanBuilder, x: Tensor, dy: Tensor, dims: Axes, keep_dim: bool, reduce_all: bool, dx: Tensor
) -> None:
    reduce.plan_mean_grad(b, dy, dx, normalize_axes(dims, dx.ndim, reduce_all))


@phi_kernel
def max_grad(
    b: PlanBuilder, x: Tensor, y: Tensor, dy: Tensor, dims: Axes, keep_dim: bool, reduce_all: bool, dx: Tensor
) -> None:
    reduce.plan_order_grad(b, x, y, dy, dx, normalize_axes(dims, x.ndim, reduce_all))


@phi_kernel
def min_grad(
    b: PlanBuilder, x: Tensor, y: Tensor, dy: Tensor, dims: Axes, keep_dim: bool, reduce_all: bool, dx: Tensor
) -> None:
    reduce.plan_order_grad(b, x, y, dy, dx, normalize_axes(dims, x.ndim, reduce_all))


@phi_kernel
def amax_grad(
    b: PlanBuilder, x: Tensor, y: Tensor, dy: Tensor, dims: Axes, keep_dim: bool, reduce_all: bool, dx: Tensor
) -> None:
    reduce.plan_order_grad(b, x, y, dy, dx, normalize_axes(dims, x.ndim, reduce_all))


@phi_kernel
def amin_grad(
    b: PlanBuilder, x: Tensor, y: Tensor, dy: Tensor, dims: Axes, keep_dim: bool, reduce_all: bool, dx: Tensor
) -> None:
    reduce.plan_order_grad(b, x, y, dy, dx, normalize_axes(dims, x.ndim, reduce_all))


@phi_kernel
def prod_grad(
    b: PlanBuilder, x: Tensor, y: Tensor, dy: Tensor, dims: Axes, keep_dim: bool, reduce_all: bool, dx: Tensor
) -> None:
    reduce.plan_prod_grad(b, x, y, dy, dx, normalize_axes(dims, x.ndim, reduce_all))


@phi_kernel
def logsumexp_grad(
    b: PlanBuilder, x: Tensor, y: Tensor, dy: Tensor, axis: Axes, keepdim: bool, reduce_all: bool, dx: Tensor
) -> None:
    reduce.plan_logsumexp_grad(b, x, y, dy, dx, normalize_axes(axis, x.ndim, reduce_all))


# ---- norms ----


@phi_kernel
def squared_l2_norm(b: PlanBuilder, x: Tensor, out: Tensor) -> None:
    reduce.plan_squared_norm(b, x, out)


@phi_kernel
def p_norm(
    b: PlanBuilder,
    x: Tensor,
    porder: float,
    axis: int,
    epsilon: float,
    keepdim: bool,
    asvector: bool,
    out: Tensor,
) -> None:
    reduce.plan_norm(b, x, out, normalize_axes(axis, x.ndim, asvector), porder)


@phi_kernel
def p_norm_grad(
    b: PlanBuilder, x: Tensor, y: Tensor, dy: Tensor, porder: float, axis: int, epsilon: float, keepdim: bool,
    asvector: bool, dx: Tensor,
) -> None:  # fmt: skip
    epsilon = 0.0 if math.isinf(porder) else epsilon
    reduce.plan_norm_grad(b, x, y, dy, dx, normalize_axes(axis, x.ndim, asvector), porder, epsilon)


@phi_kernel
def frobenius_norm(
    b: PlanBuilder, x: Tensor, axis: Axes, keep_dim: bool, reduce_all: bool, out: Tensor
) -> None:
    reduce.plan_norm(b, x, out, normalize_axes(axis, x.ndim, reduce_all), 2.0)


@phi_kernel
def frobenius_norm_grad(
    b: PlanBuilder, x: Tensor, y: Tensor, dy: Tensor, axis: Axes, keep_dim: bool, reduce_all: bool, dx: Tensor
) -> None:
    reduce.plan_norm_grad(b, x, y, dy, dx, normalize_axes(axis, x.ndim, reduce_all), 2.0, 0.0)
