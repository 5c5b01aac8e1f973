# phi kernels of normalisation, mapped to openxpu.ops.norm.

from __future__ import annotations

from openxpu.ops import norm
from openxpu.ops.layout import plan_copy
from openxpu.ops.plan import PlanBuilder, Tensor, Unsupported
from openxpu.ops.reduce import accumulation_dtype
from openxpu.ops.select import dense
from openxpu.paddle.kernels import phi_kernel
from openxpu.paddle.outputs import required, typed, unused


@phi_kernel
def layer_norm(
    b: PlanBuilder, x: Tensor, scale: Tensor | None, bias: Tensor | None, epsilon: float, begin_norm_axis: int,
    out: Tensor, mean: Tensor | None, variance: Tensor | None,
) -> None:  # fmt: skip
    acc = accumulation_dtype(x.dtype)
    mean, variance = typed(b, mean, acc), typed(b, variance, acc)
    norm.plan_layer_norm(b, x, scale, bias, out, mean, variance, epsilon, begin_norm_axis)


@phi_kernel
def layer_norm_grad(
    b: PlanBuilder, x: Tensor, scale: Tensor | None, bias: Tensor | None, mean: Tensor, variance: Tensor, dout: Tensor,
    epsilon: float, begin_norm_axis: int, dx: Tensor | None, dscale: Tensor | None, dbias: Tensor | None,
) -> None:  # fmt: skip
    norm.plan_layer_norm_grad(b, x, scale, mean, variance, dout, dx, dscale, dbias, epsilon, begin_norm_axis)


def _channels_last(x: Tensor, data_layout: str) -> bool:
    return data_layout not in ("NCHW", "AnyLayout") or x.ndim == 2


@phi_kernel
def batch_norm(
    b: PlanBuilder, x: Tensor, mean: Tensor, variance: Tensor, scale: Tensor | None, bias: Tensor | None,
    is_test: bool, momentum: float, epsilon: float, data_layout: str, use_global_stats: bool,
    trainable_statistics: bool, y: Tensor, mean_out: Tensor, variance_out: Tensor, saved_mean: Tensor,
    saved_variance: Tensor, reserve_space: Tensor | None,
) -> None:  # fmt: skip
    unused(b, reserve_space)
    mean_out, variance_out = required(b, mean_out, mean.dtype), required(b, variance_out, variance.dtype)
    saved_mean, saved_variance = required(b, saved_mean, mean.dtype), required(b, saved_variance, mean.dtype)
    last = _channels_last(x, data_layout)
    if use_global_stats or (is_test and not trainable_statistics):
        norm.plan_batch_norm_fixed(b, x, mean, variance, scale, bias, y, epsilon, last)
        b.copy(mean_out, mean)
        b.copy(variance_out, variance)
        return
    norm.plan_batch_norm(
        b,
        x,
        mean,
        variance,
        scale,
        bias,
        y,
        mean_out,
        variance_out,
        saved_mean,
        saved_variance,
        momentum,
        epsilon,
        last,
    )


@phi_kernel
def batch_norm_infer(
    b: PlanBuilder, x: Tensor, mean: Tensor, variance: Tensor, scale: Tensor, bias: Tensor, momentum: float,
    epsilon: float, data_layout: str, y: Tensor, mean_out: Tensor, variance_out: Tensor,
) -> None:  # fmt: skip
    mean_out, variance_out = required(b, mean_out, mean.dtype), required(b, variance_out, variance.dtype)
    norm.plan_batch_norm_fixed(b, x, mean, variance, scale, bias, y, epsilon, _channels_last(x, data_layout))
    b.copy(mean_out, mean)
    b.copy(variance_out, variance)


@phi_kernel
def batch_norm_grad(
    b: PlanBuilder, x: Tensor, scale: Tensor | None, bias: Tensor | None, mean: Tensor | None, variance: Tensor | None,
    saved_mean: Tensor, saved_variance: Tensor, reserve_space: Tensor | None, dy: Tensor, momentum: float,
    epsilon: float, data_layout: str, is_test: bool, use_global_stats: bool, trainable_statistics: bool,
    dx: Tensor | None, dscale: Tensor | None, dbias: Tensor | None,
) -> None:  # fmt: skip
    fixed = use_global_stats or is_test
    center, spread = (mean, variance) if fixed else (saved_mean, saved_variance)
    if center is None or spread is None:
        raise Unsupported("batch_norm_grad with global statistics needs the running mean and variance.")
    last = _channels_last(x, data_layout)
    norm.plan_batch_norm_grad(b, x, scale, center, spread, dy, dx, dscale, dbias, epsilon, last, fixed)


def _channels_first(x: Tensor, data_layout: str) -> tuple[int, ...] | None:
    """The order of dimensions that makes channels the second one; None: they are."""
    return (0, x.ndim - 1, *range(1, x.ndim - 1)) if data_layout in ("NHWC", "NDHWC") else None


@phi_kernel
def group_norm(
    b: PlanBuilder, x: Tensor, scale: Tensor | None, bias: Tensor | None, epsilon: float, groups: int,
    data_layout: str, y: Tensor, mean: Tensor | None, variance: Tensor | None,
) -> None:  # fmt: skip
    acc = accumulation_dtype(x.dtype)
    order = _channels_first(x, data_layout)
    own = x if order is None else dense(b, x.permute(*order))
    out = y if order is None else b.scratch(own.shape, y.dtype)
    norm.plan_group_norm(
        b, own, scale, bias, out, typed(b, mean, acc), typed(b, variance, acc), groups, epsilon
    )
    if order is not None:
        plan_copy(b, out, y.permute(*order))


@phi_kernel
def group_norm_grad(
    b: PlanBuilder, x: Tensor, scale: Tensor | None, bias: Tensor | None, y: Tensor, mean: Tensor, variance: Tensor,
    dy: Tensor, epsilon: float, groups: int, data_layout: str, dx: Tensor | None, dscale: Tensor | None,
    dbias: Tensor | None,
) -> None:  # fmt: skip
    order = _channels_first(x, data_layout)
    if order is None:
        norm.plan_group_norm_grad(b, x, scale, mean, variance, dy, dx, dscale, dbias, groups, epsilon)
        return
    own, d = (dense(b, t.permute(*order)) for t in (x, dy))
    back = None if dx is None else b.scratch(own.shape, dx.dtype)
    norm.plan_group_norm_grad(b, own, scale, mean, variance, d, back, dscale, dbias, groups, epsilon)
    if back is not None and dx is not None:
        plan_copy(b, back, dx.permute(*order))


@phi_kernel
def instance_norm(
    b: PlanBuilder, x: Tensor, scale: Tensor | None, bias: Tensor | None, epsilon: float, y: Tensor,
    saved_mean: Tensor | None, saved_variance: Tensor | None,
) -> None:  # fmt: skip
    acc = accumulation_dtype(x.dtype)
    mean, factor = typed(b, saved_mean, acc), typed(b, saved_variance, acc)
    norm.plan_group_norm(b, x, scale, bias, y, mean, factor, x.shape[1], epsilon, factor_out=True)


@phi_kernel
def instance_norm_grad(
    b: PlanBuilder, x: Tensor, scale: Tensor | None, bias: Tensor | None, saved_mean: Tensor, saved_variance: Tensor,
    dy: Tensor, epsilon: float, dx: Tensor | None, dscale: Tensor | None, dbias: Tensor | None,
) -> None:  # fmt: skip
    norm.plan_group_norm_grad(
        b, x, scale, saved_mean, saved_variance, dy, dx, dscale, dbias, x.shape[1], epsilon, is_factor=True
    )
