# phi kernels that move data, mapped to openxpu.ops.layout.

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from openxpu.ops import compare, creation, layout
from openxpu.ops.plan import PlanBuilder, Tensor
from openxpu.paddle.kernels import phi_kernel
from openxpu.paddle.outputs import typed, unused

Ints = Sequence[int]


@phi_kernel
def contiguous(b: PlanBuilder, x: Tensor, out: Tensor) -> None:
    layout.plan_contiguous(b, x, out)


@phi_kernel
def strided_copy(b: PlanBuilder, x: Tensor, dims: Ints, strides: Ints, offset: int, out: Tensor) -> None:
    unused(b, out)  # a view of memory that exists; csrc/paddle/output_sizes.cc has given it its strides
    layout.plan_copy(b, x, out)


@phi_kernel
def transpose(b: PlanBuilder, x: Tensor, axes: Ints, out: Tensor) -> None:
    layout.plan_transpose(b, x, out, axes)


@phi_kernel
def transpose_grad(b: PlanBuilder, d: Tensor, axes: Ints, dx: Tensor) -> None:
    layout.plan_transpose_grad(b, d, dx, axes)


@phi_kernel
def concat(b: PlanBuilder, x: Sequence[Tensor], axis: int, out: Tensor) -> None:
    layout.plan_concat(b, x, out, axis)


@phi_kernel
def concat_grad(
    b: PlanBuilder, x: Sequence[Tensor], d: Tensor, axis: int, dx: Sequence[Tensor | None]
) -> None:
    layout.plan_concat_grad(b, x, d, dx, axis)


@phi_kernel
def split(b: PlanBuilder, x: Tensor, sections: Ints, axis: int, out: Sequence[Tensor | None]) -> None:
    layout.plan_split(b, x, out, axis)


@phi_kernel
def split_with_num(b: PlanBuilder, x: Tensor, num: int, axis: int, out: Sequence[Tensor | None]) -> None:
    layout.plan_split(b, x, out, axis)


@phi_kernel
def slice(
    b: PlanBuilder,
    x: Tensor,
    axes: Ints,
    starts: Ints,
    ends: Ints,
    infer_flags: Ints,
    decrease: Ints,
    out: Tensor,
) -> None:
    layout.plan_slice(b, x, out, axes, starts, ends)


@phi_kernel
def slice_grad(
    b: PlanBuilder,
    x: Tensor,
    d: Tensor,
    axes: Ints,
    starts: Ints,
    ends: Ints,
    infer_flags: Ints,
    decrease: Ints,
    dx: Tensor,
) -> None:
    layout.plan_slice_grad(b, d, dx, axes, starts, ends)


@phi_kernel
def strided_slice(
    b: PlanBuilder, x: Tensor, axes: Ints, starts: Ints, ends: Ints, steps: Ints, out: Tensor
) -> None:
    layout.plan_slice(b, x, out, axes, starts, ends, steps)


@phi_kernel
def strided_slice_grad(
    b: PlanBuilder, x: Tensor, d: Tensor, axes: Ints, starts: Ints, ends: Ints, steps: Ints, dx: Tensor
) -> None:
    layout.plan_slice_grad(b, d, dx, axes, starts, ends, steps)


@phi_kernel
def strided_slice_raw(
    b: PlanBuilder,
    x: Tensor,
    axes: Ints,
    starts: Ints,
    ends: Ints,
    steps: Ints,
    infer_flags: Ints,
    decrease: Ints,
    out: Tensor,
) -> None:
    layout.plan_slice(b, x, out, axes, starts, ends, steps)


@phi_kernel
def strided_slice_raw_grad(
    b: PlanBuilder,
    x: Tensor,
    d: Tensor,
    axes: Ints,
    starts: Ints,
    ends: Ints,
    steps: Ints,
    infer_flags: Ints,
    decrease: Ints,
    dx: Tensor,
) -> None:
    layout.plan_slice_grad(b, d, dx, axes, starts, ends, steps)


@phi_kernel
def stack(b: PlanBuilder, x: Sequence[Tensor], axis: int, out: Tensor) -> None:
    layout.plan_stack(b, x, out, axis)


@phi_kernel
def stack_grad(b: PlanBuilder, d: Tensor, axis: int, dx: Sequence[Tensor | None]) -> None:
    layout.plan_unstack(b, d, dx, axis)


@phi_kernel
def unstack(b: PlanBuilder, x: Tensor, axis: int, num: int, outs: Sequence[Tensor | None]) -> None:
    layout.plan_unstack(b, x, outs, axis)


@phi_kernel
def unstack_grad(b: PlanBuilder, d: Sequence[Tensor], axis: int, dx: Tensor) -> None:
    layout.plan_stack(b, d, dx, axis)


@phi_kernel
def unbind(b: PlanBuilder, x: Tensor, axis: int, outs: Sequence[Tensor | None]) -> None:
    layout.plan_unstack(b, x, outs, axis)


@phi_kernel
def expand(b: PlanBuilder, x: Tensor, shape: Ints, out: Tensor) -> None:
    layout.plan_expand(b, x, out)


@phi_kernel
def expand_grad(b: PlanBuilder, x: Tensor, d: Tensor, shape: Ints, dx: Tensor) -> None:
    layout.plan_expand_grad(b, d, dx)


@phi_kernel
def expand_as(b: PlanBuilder, x: Tensor, y: Tensor | None, shape: Ints, out: Tensor) -> None:
    layout.plan_expand(b, x, out)


@phi_kernel
def expand_as_grad(b: PlanBuilder, x: Tensor, d: Tensor, shape: Ints, dx: Tensor) -> None:
    layout.plan_expand_grad(b, d, dx)


@phi_kernel
def tile(b: PlanBuilder, x: Tensor, repeats: Ints, out: Tensor) -> None:
    layout.plan_tile(b, x, out)


@phi_kernel
def tile_grad(b: PlanBuilder, x: Tensor, d: Tensor, repeats: Ints, dx: Tensor) -> None:
    layout.plan_tile_grad(b, d, dx)


def _pairs(paddings: Ints) -> list[tuple[int, int]]:
    return list(zip(paddings[::2], paddings[1::2], strict=True))


@phi_kernel
def pad(b: PlanBuilder, x: Tensor, paddings: Ints, value: float, out: Tensor) -> None:
    layout.plan_pad(b, x, out, _pairs(paddings), "constant", value)


@phi_kernel
def pad_grad(b: PlanBuilder, d: Tensor, paddings: Ints, value: float, dx: Tensor) -> None:
    layout.plan_pad_grad(b, d, dx, _pairs(paddings), "constant")


def _pad3d(paddings: Ints, data_format: str) -> list[tuple[int, int]]:
    """(left, right, top, bottom, front, back) as pairs for each dimension."""
    width, height, depth = _pairs(paddings)
    inner = [depth, height, width]
    return [(0, 0), *inner, (0, 0)] if data_format == "NDHWC" else [(0, 0), (0, 0), *inner]


@phi_kernel
def pad3d(
    b: PlanBuilder, x: Tensor, paddings: Ints, mode: str, value: float, data_format: str, out: Tensor
) -> None:
    layout.plan_pad(b, x, out, _pad3d(paddings, data_format), mode, value)


@phi_kernel
def pad3d_grad(
    b: PlanBuilder,
    x: Tensor,
    d: Tensor,
    paddings: Ints,
    mode: str,
    value: float,
    data_format: str,
    dx: Tensor,
) -> None:
    layout.plan_pad_grad(b, d, dx, _pad3d(paddings, data_format), mode)


@phi_kernel
def flip(b: PlanBuilder, x: Tensor, axes: Ints, out: Tensor) -> None:
    layout.plan_flip(b, x, out, axes)


@phi_kernel
def roll(b: PlanBuilder, x: Tensor, shifts: Ints, axes: Ints, out: Tensor) -> None:
    layout.plan_roll(b, x, out, shifts, axes)


@phi_kernel
def roll_grad(b: PlanBuilder, x: Tensor, d: Tensor, shifts: Ints, axes: Ints, dx: Tensor) -> None:
    layout.plan_roll(b, d, dx, [-shift for shift in shifts], axes)


@phi_kernel
def gather(b: PlanBuilder, x: Tensor, index: Tensor, axis: int, out: Tensor) -> None:
    layout.plan_gather(b, x, index, out, axis)


@phi_kernel
def gather_grad(b: PlanBuilder, x: Tensor, index: Tensor, d: Tensor, axis: int, dx: Tensor) -> None:
    layout.plan_gather_grad(b, index, d, dx, axis)


@phi_kernel
def gather_nd(b: PlanBuilder, x: Tensor, index: Tensor, out: Tensor) -> None:
    layout.plan_gather_nd(b, x, index, out)


@phi_kernel
def gather_nd_grad(b: PlanBuilder, x: Tensor, index: Tensor, d: Tensor, dx: Tensor) -> None:
    layout.plan_gather_nd_grad(b, index, d, dx)


@phi_kernel
def index_select(b: PlanBuilder, x: Tensor, index: Tensor, axis: int, out: Tensor) -> None:
    layout.plan_gather(b, x, index, out, axis)


@phi_kernel
def index_select_grad(b: PlanBuilder, x: Tensor, index: Tensor, d: Tensor, axis: int, dx: Tensor) -> None:
    layout.plan_gather_grad(b, index, d, dx, axis)


@phi_kernel
def index_add(b: PlanBuilder, x: Tensor, index: Tensor, value: Tensor, axis: int, out: Tensor) -> None:
    layout.plan_copy(b, x, out)
    layout.plan_scatter_rows(b, value, index, out, layout.normalize(axis, x.ndim), add=True)


@phi_kernel
def index_add_grad(
    b: PlanBuilder,
    index: Tensor,
    value: Tensor,
    d: Tensor,
    axis: int,
    dx: Tensor | None,
    dvalue: Tensor | None,
) -> None:
    if dx is not None:
        layout.plan_copy(b, d, dx)
    if dvalue is not None:
        layout.plan_gather(b, d, index, dvalue, axis)


@phi_kernel
def index_sample(b: PlanBuilder, x: Tensor, index: Tensor, out: Tensor) -> None:
    layout.plan_take_along_axis(b, x, index, out, 1)


@phi_kernel
def index_sample_grad(b: PlanBuilder, x: Tensor, index: Tensor, d: Tensor, dx: Tensor) -> None:
    layout.plan_take_along_axis_grad(b, index, d, dx, 1)


@phi_kernel
def scatter(b: PlanBuilder, x: Tensor, index: Tensor, updates: Tensor, overwrite: bool, out: Tensor) -> None:
    layout.plan_scatter(b, x, index, updates, out, overwrite)


@phi_kernel
def scatter_grad(
    b: PlanBuilder,
    index: Tensor,
    updates: Tensor,
    d: Tensor,
    overwrite: bool,
    dx: Tensor | None,
    dupdates: Tensor | None,
) -> None:
    layout.plan_scatter_grad(b, index, d, dx, dupdates)


@phi_kernel
def scatter_nd_add(b: PlanBuilder, x: Tensor, index: Tensor, updates: Tensor, out: Tensor) -> None:
    layout.plan_scatter_nd_add(b, x, index, updates, out)


@phi_kernel
def take_along_axis(b: PlanBuilder, x: Tensor, index: Tensor, axis: int, out: Tensor) -> None:
    layout.plan_take_along_axis(b, x, index, out, axis)


@phi_kernel
def take_along_axis_grad(b: PlanBuilder, x: Tensor, index: Tensor, d: Tensor, axis: int, dx: Tensor) -> None:
    layout.plan_take_along_axis_grad(b, index, d, dx, axis)


@phi_kernel
def put_along_axis(
    b: PlanBuilder,
    x: Tensor,
    index: Tensor,
    value: Tensor,
    axis: int,
    reduce: str,
    include_self: bool,
    out: Tensor,
) -> None:
    layout.plan_put_along_axis(b, x, index, value, out, axis, reduce, include_self)


@phi_kernel
def put_along_axis_grad(
    b: PlanBuilder,
    x: Tensor,
    index: Tensor,
    value: Tensor,
    out: Tensor,
    d: Tensor,
    axis: int,
    reduce: str,
    include_self: bool,
    dx: Tensor | None,
    dvalue: Tensor | None,
) -> None:
    # Paddle describes dvalue by the indices, dtype included.
    layout.plan_put_along_axis_grad(
        b, x, index, value, out, d, dx, typed(b, dvalue, d.dtype), axis, reduce, include_self
    )


@phi_kernel
def set_value(
    b: PlanBuilder,
    x: Tensor,
    starts: Ints,
    ends: Ints,
    steps: Ints,
    axes: Ints,
    decrease: Ints,
    none: Ints,
    shape: Ints,
    values: Sequence[Any],
    out: Tensor,
) -> None:
    value = b.scratch(tuple(shape), out.dtype)
    creation.plan_assign_value(b, value, values)
    layout.plan_set_value(b, x, value, out, axes, starts, ends, steps, decrease, none)


@phi_kernel
def set_value_with_tensor(
    b: PlanBuilder,
    x: Tensor,
    value: Tensor,
    starts: Ints,
    ends: Ints,
    steps: Ints,
    axes: Ints,
    decrease: Ints,
    none: Ints,
    out: Tensor,
) -> None:
    layout.plan_set_value(b, x, value, out, axes, starts, ends, steps, decrease, none)


@phi_kernel
def set_value_grad(
    b: PlanBuilder,
    d: Tensor,
    starts: Ints,
    ends: Ints,
    steps: Ints,
    axes: Ints,
    decrease: Ints,
    none: Ints,
    dx: Tensor | None,
    dvalue: Tensor | None,
) -> None:
    layout.plan_set_value_grad(b, d, dx, dvalue, axes, starts, ends, steps, decrease, none)


@phi_kernel
def set_value_with_scalar_grad(
    b: PlanBuilder,
    d: Tensor,
    starts: Ints,
    ends: Ints,
    steps: Ints,
    axes: Ints,
    decrease: Ints,
    none: Ints,
    dx: Tensor | None,
) -> None:
    layout.plan_set_value_grad(b, d, dx, None, axes, starts, ends, steps, decrease, none)


@phi_kernel
def cumsum(
    b: PlanBuilder, x: Tensor, axis: int, flatten: bool, exclusive: bool, reverse: bool, out: Tensor
) -> None:
    if flatten or x.ndim == 0:
        x, out, axis = x.reshape(x.numel), out.reshape(out.numel), 0
    layout.plan_cumsum(b, x, out, axis, exclusive, reverse)


@phi_kernel
def cumsum_grad(
    b: PlanBuilder, x: Tensor, d: Tensor, axis: int, flatten: bool, exclusive: bool, reverse: bool, dx: Tensor
) -> None:
    if flatten or x.ndim == 0:
        d, dx, axis = d.reshape(d.numel), dx.reshape(dx.numel), 0
    layout.plan_cumsum(b, d, dx, axis, exclusive, not reverse)


@phi_kernel
def masked_fill(b: PlanBuilder, x: Tensor, mask: Tensor, value: Tensor, out: Tensor) -> None:
    compare.plan_where(b, mask, value, x, out)


@phi_kernel
def masked_fill_grad(
    b: PlanBuilder,
    x: Tensor,
    mask: Tensor,
    value: Tensor,
    d: Tensor,
    dx: Tensor | None,
    dvalue: Tensor | None,
) -> None:
    compare.plan_where_grad(b, mask, d, dvalue, dx)
