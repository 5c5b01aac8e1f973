# Variances and deviations, sums that skip NaN, sums to a shape; norms and distances. Planners and public functions.
from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from openxpu.ops.layout import plan_copy
from openxpu.ops.plan import FLOATS, PlanBuilder, Tensor
from openxpu.ops.pointwise import (
    broadcast_shape,
    broadcast_strides,
    compute_dtype,
    plan_map,
    plan_map_reduced,
)
from openxpu.ops.reduce import (
    Axes,
    normalize_axes,
    plan_mean,
    plan_norm,
    plan_norm_grad,
    plan_reduce,
    plan_sum,
)
from openxpu.ops.run import run

if TYPE_CHECKING:
    from openxpu.runtime import Array


def _kept(shape: Sequence[int], axes: Sequence[int]) -> tuple[int, ...]:
    return tuple(1 if d in axes else extent for d, extent in enumerate(shape))


def _dense(b: PlanBuilder, x: Tensor) -> Tensor:
    if x.contiguous:
        return x
    out = b.scratch(x.shape, x.dtype)
    plan_copy(b, x, out)
    return out


def plan_variance(
    b: PlanBuilder, x: Tensor, out: Tensor, axes: Sequence[int], correction: float, root: bool = False
) -> None:
    """The sum of squared distances from the mean over count - correction; with `root` its square root. Two passes, so that a large
    mean costs no digits."""
    x = _dense(b, x)
    compute, kept = compute_dtype(x.dtype), _kept(x.shape, axes)
    count = math.prod(x.shape[axis] for axis in axes)
    mean, centred = b.scratch(kept, compute), b.scratch(x.shape, compute)
    plan_mean(b, x, mean, axes)
    plan_map(b, "elementwise.subtract", [x, mean], centred)
    divisor = count - correction
    scale = 1.0 / divisor if divisor > 0 else math.nan if x.numel == 0 or divisor == 0 else 1.0 / divisor
    target = b.scratch(kept, compute) if root else out
    plan_reduce(b, centred, target, axes, "sum", pre="square", post="scale", scale=scale)
    if root:
        plan_map(b, "activation.sqrt", [target.view(out.shape)], out)


def plan_variance_grad(
    b: PlanBuilder,
    x: Tensor,
    d: Tensor,
    dx: Tensor,
    axes: Sequence[int],
    correction: float,
    out: Tensor | None = None,
) -> None:
    """With `out`, the standard deviation, its gradient; else that of the variance."""
    if dx.numel == 0:
        return
    x = _dense(b, x)
    compute, kept = compute_dtype(x.dtype), _kept(x.shape, axes)
    count = math.prod(x.shape[axis] for axis in axes)
    mean = b.scratch(kept, compute)
    plan_mean(b, x, mean, axes)
    d = d.reshape(*kept)
    if out is not None:
        half = b.scratch(kept, compute)
        plan_map(b, "statistics.over_root", [out.reshape(*kept), d], half)
        d = half
    divisor = count - correction
    plan_map(b, "statistics.spread_grad", [x, mean, d], dx, [2.0 / divisor if divisor else math.inf])


def plan_nansum(b: PlanBuilder, x: Tensor, out: Tensor, axes: Sequence[int]) -> None:
    """The sum of what is a number."""
    if x.dtype in FLOATS:
        clean = b.scratch(x.shape, x.dtype)
        plan_map(b, "statistics.without_nan", [x], clean)
        x = clean
    plan_sum(b, _dense(b, x), out, axes)


def plan_nansum_grad(b: PlanBuilder, x: Tensor, d: Tensor, dx: Tensor, axes: Sequence[int]) -> None:
    d = d.reshape(*_kept(x.shape, axes))
    if x.dtype in FLOATS:
        plan_map(b, "statistics.where_number", [x, d], dx)
    else:
        plan_map(b, "elementwise.first", [d], dx)


def plan_reduce_as(b: PlanBuilder, x: Tensor, out: Tensor) -> None:
    """The sum over the dimensions in which out's shape, trailing dimensions aligned, is broadcast to x's."""
    lead = x.ndim - out.ndim
    own = (1,) * lead + out.shape
    axes = tuple(d for d in range(x.ndim) if own[d] == 1 and x.shape[d] != 1)
    if axes:
        plan_sum(b, _dense(b, x), out.view(own), axes)
    else:
        plan_map(b, "elementwise.first", [x], out.view(x.shape), compute=None)


def plan_reduce_as_grad(b: PlanBuilder, d: Tensor, dx: Tensor) -> None:
    if dx.numel:
        plan_copy(b, d.view(dx.shape, broadcast_strides(d, dx.shape)), dx)


def plan_unit(b: PlanBuilder, x: Tensor, out: Tensor, norm: Tensor, axis: int, epsilon: float) -> None:
    """out = x / norm with norm = sqrt(sum x^2 + epsilon) along one axis."""
    squares = b.scratch(norm.shape, compute_dtype(x.dtype))
    plan_reduce(b, _dense(b, x), squares, (axis % x.ndim,), "sum", pre="square")
    plan_map(b, "statistics.root", [squares], squares, [epsilon])
    plan_map(b, "elementwise.first", [squares], norm)
    plan_map(b, "elementwise.divide", [x, squares], out)


def plan_unit_grad(b: PlanBuilder, x: Tensor, norm: Tensor, d: Tensor, dx: Tensor, axis: int) -> None:
    """(d - x sum(x d) / norm^2) / norm."""
    compute = compute_dtype(x.dtype)
    product, share = b.scratch(x.shape, compute), b.scratch(norm.shape, compute)
    plan_map(b, "elementwise.multiply", [x, d], product)
    plan_sum(b, product, share, (axis % x.ndim,))
    plan_map(b, "statistics.unit_grad", [x, norm, share], product)
    plan_map(b, "elementwise.subtract", [d, product], product)
    plan_map(b, "elementwise.divide", [product, norm], dx)


def plan_dist(b: PlanBuilder, x: Tensor, y: Tensor, out: Tensor, order: float) -> None:
    """The norm of x - y over everything."""
    shape = broadcast_shape(x.shape, y.shape)
    difference = b.scratch(shape, compute_dtype(x.dtype))
    plan_map(b, "elementwise.subtract", [x, y], difference)
    plan_norm(b, difference, out, range(len(shape)), order)


def plan_dist_grad(
    b: PlanBuilder,
    x: Tensor,
    y: Tensor,
    out: Tensor,
    d: Tensor,
    dx: Tensor | None,
    dy: Tensor | None,
    order: float,
) -> None:
    shape = broadcast_shape(x.shape, y.shape)
    compute = compute_dtype(x.dtype)
    difference, slope = b.scratch(shape, compute), b.scratch(shape, compute)
    plan_map(b, "elementwise.subtract", [x, y], difference)
    if out.dtype != compute:  # the largest distance is compared with the norm, which must not be rounded
        out = b.scratch(out.shape, compute)
        plan_norm(b, difference, out, range(len(shape)), order)
    plan_norm_grad(b, difference, out, d, slope, tuple(range(len(shape))), order, 1e-12)
    for function, target in (("first", dx), ("negative", dy)):
        if target is not None:
            plan_map_reduced(b, f"elementwise.{function}", [slope], shape, target)


def _slices(x: Tensor, axis: int) -> tuple[int, tuple[int, ...], tuple[int, ...]]:
    axis %= x.ndim
    rest = tuple(d for d in range(x.ndim) if d != axis)
    return axis, rest, _kept(x.shape, rest)


def plan_renorm(b: PlanBuilder, x: Tensor, out: Tensor, order: float, axis: int, limit: float) -> None:
    """Slices along `axis` brought down to the norm `limit` where theirs is above."""
    if x.numel == 0:
        return
    axis, rest, kept = _slices(x, axis)
    norms = b.scratch(kept, compute_dtype(x.dtype))
    plan_norm(b, _dense(b, x), norms, rest, order)
    plan_map(b, "statistics.limited", [x, norms], out, [limit])


def plan_renorm_grad(
    b: PlanBuilder, x: Tensor, d: Tensor, dx: Tensor, order: float, axis: int, limit: float
) -> None:
    """Where the norm N is above the limit L: d L / N - L sum(x d) N^(-1 - p) |x|^(p - 1) sign x."""
    if x.numel == 0:
        return
    axis, rest, kept = _slices(x, axis)
    compute = compute_dtype(x.dtype)
    norms, share = b.scratch(kept, compute), b.scratch(kept, compute)
    product = b.scratch(x.shape, compute)
    plan_norm(b, _dense(b, x), norms, rest, order)
    plan_map(b, "elementwise.multiply", [x, d], product)
    plan_sum(b, product, share, rest)
    plan_map(b, "statistics.limit_share", [norms, share], share, [limit, order])
    slope = b.scratch(x.shape, compute)
    plan_map(b, "statistics.power_slope", [x], slope, [order])
    plan_map(b, "elementwise.multiply", [slope, share], slope)
    plan_map(b, "statistics.limited", [d, norms], product, [limit])
    plan_map(b, "elementwise.add", [product, slope], dx)


def plan_squared_norm_grad(b: PlanBuilder, x: Tensor, d: Tensor, dx: Tensor) -> None:
    plan_map(b, "statistics.twice_times", [x, _one(x, d)], dx)


def plan_l1_norm(b: PlanBuilder, x: Tensor, out: Tensor) -> None:
    """The sum of |x| over everything."""
    plan_norm(b, _dense(b, x), out, range(x.ndim), 1.0)


def plan_l1_norm_grad(b: PlanBuilder, x: Tensor, d: Tensor, dx: Tensor) -> None:
    plan_map(b, "statistics.sign_times", [x, _one(x, d)], dx)


def _one(x: Tensor, d: Tensor) -> Tensor:
    """The gradient of one number, which Paddle gives the shape (1,), beside a 0-d tensor."""
    return d if x.ndim else d.view(())


def var(x: Array, axis: Axes = None, correction: float = 1.0) -> Array:
    """The variance over `axis`: squared distances from the mean over count - correction."""
    axes = normalize_axes(axis, len(x.shape))
    shape = tuple(extent for d, extent in enumerate(x.shape) if d not in axes)
    return run(plan_variance, [x], [(shape, x.dtype)], axes, correction)  # type: ignore[no-any-return]


def dist(x: Array, y: Array, order: float = 2.0) -> Array:
    """The norm of x - y over everything."""
    return run(plan_dist, [x, y], [((), x.dtype)], float(order))  # type: ignore[no-any-return]
