# Operators with a parameter for each channel (PReLU, affine channel), maxout; with gradients.

from __future__ import annotations

import math

from openxpu.ops.creation import plan_full
from openxpu.ops.layout import normalize
from openxpu.ops.norm import plan_batch_norm_grad
from openxpu.ops.plan import PlanBuilder, Tensor, Unsupported, dtype_constexpr
from openxpu.ops.pointwise import plan_map, plan_map_reduced
from openxpu.ops.reduce import accumulation_dtype, power_of_two, require_contiguous

_SHORT_PLANE = 64  # pixels


def _per_channel(values: Tensor, ndim: int, axis: int) -> Tensor:
    """One number for each channel as a tensor of `ndim` dimensions."""
    shape = [1] * ndim
    shape[axis] = values.numel
    return values.reshape(*shape)


def _slopes(alpha: Tensor, x: Tensor, mode: str, channels_last: bool) -> Tensor:
    """PReLU's alpha as a tensor that broadcasts to x."""
    if mode == "all":
        return alpha.reshape(*(1,) * x.ndim)
    if mode == "channel":
        return _per_channel(alpha, x.ndim, x.ndim - 1 if channels_last else 1)
    if mode == "element":
        return alpha.reshape(1, *x.shape[1:])
    raise Unsupported(f"prelu has the modes all, channel and element, found {mode!r}.")


def plan_prelu(
    b: PlanBuilder, x: Tensor, alpha: Tensor, out: Tensor, mode: str, channels_last: bool = False
) -> None:
    """x where it is positive, alpha * x elsewhere. Source: He et al., Delving deep into rectifiers, 2015."""
    plan_map(b, "channelwise.prelu", [x, _slopes(alpha, x, mode, channels_last)], out)


def plan_prelu_grad(
    b: PlanBuilder, x: Tensor, alpha: Tensor, d: Tensor, dx: Tensor | None, dalpha: Tensor | None, mode: str,
    channels_last: bool = False,
) -> None:  # fmt: skip
    if dx is not None:
        plan_map(b, "channelwise.prelu_grad_x", [x, _slopes(alpha, x, mode, channels_last), d], dx)
    if dalpha is not None:
        target = _slopes(dalpha, x, mode, channels_last)
        plan_map_reduced(b, "channelwise.prelu_grad_alpha", [x, d], x.shape, target)


def plan_affine_channel(
    b: PlanBuilder, x: Tensor, scale: Tensor, bias: Tensor, out: Tensor, channels_last: bool = False
) -> None:
    """x * scale + bias, with a scale and a bias for each channel."""
    axis = x.ndim - 1 if channels_last else 1
    operands = [x, _per_channel(scale, x.ndim, axis), _per_channel(bias, x.ndim, axis)]
    plan_map(b, "channelwise.scale_shift", operands, out)


def plan_affine_channel_grad(
    b: PlanBuilder, x: Tensor, scale: Tensor, d: Tensor, dx: Tensor | None, dscale: Tensor | None,
    dbias: Tensor | None, channels_last: bool = False,
) -> None:  # fmt: skip
    """That of a batch norm whose statistics are fixed at 0 and 1, or, where a channel's planes are too short to be walked
    one by one, a product and two sums."""
    axis = x.ndim - 1 if channels_last else 1
    if math.prod(x.shape[axis + 1 :]) < _SHORT_PLANE:
        for out, function, inputs in ((dscale, "multiply", [x, d]), (dbias, "first", [d])):
            if out is not None:
                plan_map_reduced(
                    b, f"elementwise.{function}", inputs, x.shape, _per_channel(out, x.ndim, axis)
                )
        if dx is not None:  # may be d
            plan_map(b, "elementwise.multiply", [d, _per_channel(scale, x.ndim, axis)], dx)
        return
    mean, variance = b.scratch(scale.shape, scale.dtype), b.scratch(scale.shape, scale.dtype)
    b.zero(mean)
    plan_full(b, variance, 1.0)
    plan_batch_norm_grad(b, x, scale, mean, variance, d, dx, dscale, dbias, 0.0, channels_last, fixed=True)


def _groups(out: Tensor, groups: int, axis: int) -> tuple[tuple[int, int], list[int], dict[str, int]]:
    """Grid, numbers and tiles of the kernels."""
    axis = normalize(axis, out.ndim)
    cells, inner = math.prod(out.shape[: axis + 1]), math.prod(out.shape[axis + 1 :])
    block = min(1024, max(power_of_two(inner), 1))
    rows = min(max(1024 // block, 1), power_of_two(cells))
    tiles = {"GROUPS": groups if inner == 1 and groups <= 8 else 0, "ROWS": rows, "BLOCK": block}
    return (-(-inner // block), -(-cells // rows)), [cells, inner, groups], tiles


def plan_maxout(b: PlanBuilder, x: Tensor, out: Tensor, groups: int, axis: int = 1) -> None:
    """The largest of each `groups` neighbouring channels. Source: Goodfellow et al., Maxout networks, 2013."""
    require_contiguous("maxout", x, out)
    if out.numel == 0:
        return
    grid, numbers, tiles = _groups(out, groups, axis)
    acc = dtype_constexpr(accumulation_dtype(x.dtype))
    b.launch("channelwise.maxout", grid, x, out, *numbers, cost=2 * x.nbytes, ACC=acc, **tiles)


def plan_maxout_grad(
    b: PlanBuilder, x: Tensor, out: Tensor, d: Tensor, dx: Tensor, groups: int, axis: int = 1
) -> None:
    require_contiguous("maxout_grad", x, out, d, dx)
    if dx.numel == 0:
        return
    grid, numbers, tiles = _groups(out, groups, axis)
    b.launch("channelwise.maxout_grad", grid, x, out, d, dx, *numbers, cost=3 * x.nbytes, **tiles)
