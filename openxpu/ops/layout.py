# Data movement: strided copies, transpose, concat, split, slices, padding, gather and scatter; planners and functions.
"""Nearly everything here is a copy between two views. `plan_copy` chooses how: bytes, rows, or tiles that are
turned over so that both sides are read and written by whole lines."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from openxpu.ops.creation import plan_arange, plan_full
from openxpu.ops.plan import FLOATS, NUMPY_NAMES, PlanBuilder, Tensor, Unsupported, dtype_constexpr
from openxpu.ops.pointwise import (
    broadcast_strides,
    collapse,
    compute_dtype,
    division,
    plan_map,
    plan_patterned,
)
from openxpu.ops.reduce import power_of_two
from openxpu.ops.run import run

if TYPE_CHECKING:
    from openxpu.runtime import Array

_BITS = {1: "u8", 2: "i16", 4: "i32", 8: "i64"}
_TILE = 64
_ROW_ELEMENTS = 16384
_FEW = 512


def as_bits(tensor: Tensor) -> Tensor:
    """The tensor as integers of its size, so that one kernel moves every dtype; complex128 as pairs of i64."""
    if tensor.dtype == "c128":
        shape, strides = (*tensor.shape, 2), (*(2 * stride for stride in tensor.strides), 1)
        return Tensor(shape, "i64", strides, tensor.slot)
    return tensor.reinterpret(_BITS[tensor.itemsize])


def plan_copy(b: PlanBuilder, x: Tensor, out: Tensor) -> None:
    """out = x where both have the same dtype and x broadcasts to out's shape; any strides on both sides, but what
    is read must not be written."""
    if x.dtype != out.dtype:
        raise ValueError(f"plan_copy moves {x.dtype} to {x.dtype}, not to {out.dtype}; plan_cast converts")
    if out.numel == 0:
        return
    if x.shape != out.shape:
        x = x.view(out.shape, broadcast_strides(x, out.shape))
    if x.contiguous and out.contiguous:
        b.copy(out, x)
        return
    x, out = as_bits(x), as_bits(out)
    order = sorted(range(out.ndim), key=lambda d: -abs(out.strides[d]))
    x, out = x.permute(*order), out.permute(*order)
    extents, (xs, os) = collapse(out.shape, [x.strides, out.strides])
    dense = next((d for d, stride in enumerate(xs) if stride == 1), None)
    last = len(extents) - 1
    if not extents or dense in (None, last) or os[-1] != 1 or xs[-1] == 0 or extents[dense] < 4:
        plan_map(b, "elementwise.first", [x.view(extents, xs)], out.view(extents, os), compute=None)
        return
    p, q = extents[dense], extents[-1]
    few = min(p, 4 * _TILE) * min(q, 4 * _TILE) < _FEW < out.numel  # a program would move too little
    if few and plan_patterned(b, "elementwise.first", [x], out, extents, [xs, os], cost=4 * out.nbytes):
        return
    outer = [
        (extent, own_x, own_out)
        for d, (extent, own_x, own_out) in enumerate(zip(extents, xs, os, strict=True))
        if d not in (dense, last)
    ][::-1]
    bp = next(size for size in (4, 16, _TILE) if size >= p or size == _TILE)
    bq = next(size for size in (4, 16, _TILE) if size >= q or size == _TILE)
    # A narrow tile is made long, so that a program still moves some thousands of elements.
    if bp < 16:
        bq = _TILE * 4 if q >= _TILE * 4 else bq
    if bq < 16:
        bp = _TILE * 4 if p >= _TILE * 4 else bp
    if any(stride * out.itemsize % 1024 == 0 for stride in (xs[-1], os[dense])) and bp >= 16 and bq >= 16:
        # Lines at such a distance fall into the same sets of the cache: no more of them than it has ways.
        bp, bq = (16 if out.nbytes <= 1 << 23 else min(bp, _TILE)), 16
    p_tiles, q_tiles = -(-p // bp), -(-q // bq)
    table = b.constant(np.array(outer, np.int64)) if outer else None
    programs = p_tiles * q_tiles * math.prod(extent for extent, *_ in outer)
    b.launch(
        "layout.transpose_tiles", programs, x, out, table, p, q, p_tiles, q_tiles, xs[-1], os[dense],
        cost=4 * out.nbytes, OUTER=len(outer), BP=bp, BQ=bq,
    )  # fmt: skip


def plan_contiguous(b: PlanBuilder, x: Tensor, out: Tensor) -> None:
    """A strided view written without gaps."""
    plan_copy(b, x, out)


def normalize(axis: int, ndim: int) -> int:
    """A non-negative axis."""
    if not -max(ndim, 1) <= axis < max(ndim, 1):
        raise ValueError(f"axis {axis} is out of range for {ndim} dimensions")
    return axis % ndim if ndim else 0


# ---- transpose, concat, split, stack ----


def plan_transpose(b: PlanBuilder, x: Tensor, out: Tensor, axes: Sequence[int]) -> None:
    """out[...] = x with dimensions in the order `axes`."""
    plan_copy(b, x.permute(*(normalize(axis, x.ndim) for axis in axes)), out)


def plan_transpose_grad(b: PlanBuilder, d: Tensor, dx: Tensor, axes: Sequence[int]) -> None:
    inverse = [0] * d.ndim
    for position, axis in enumerate(axes):
        inverse[normalize(axis, d.ndim)] = position
    plan_copy(b, d.permute(*inverse), dx)


def part(tensor: Tensor, axis: int, start: int, length: int, step: int = 1) -> Tensor:
    """The view of `length` positions from `start` along `axis`."""
    shape = (*tensor.shape[:axis], length, *tensor.shape[axis + 1 :])
    strides = (*tensor.strides[:axis], tensor.strides[axis] * step, *tensor.strides[axis + 1 :])
    return tensor.view(shape, strides, start * tensor.strides[axis] if length else 0)


def _without(tensor: Tensor, axis: int, position: int) -> Tensor:
    """The view at one position of `axis`, which goes."""
    shape = (*tensor.shape[:axis], *tensor.shape[axis + 1 :])
    strides = (*tensor.strides[:axis], *tensor.strides[axis + 1 :])
    return tensor.view(shape, strides, position * tensor.strides[axis])


def plan_concat(b: PlanBuilder, inputs: Sequence[Tensor], out: Tensor, axis: int) -> None:
    """Tensors one after the other along `axis`. Inputs of shape (0,) are passed over, as Paddle does."""
    axis = normalize(axis, out.ndim)
    start = 0
    for x in inputs:
        if x.shape == (0,) and out.ndim != 1:
            continue
        plan_copy(b, x, part(out, axis, start, x.shape[axis]))
        start += x.shape[axis]


def plan_split(b: PlanBuilder, x: Tensor, outs: Sequence[Tensor | None], axis: int) -> None:
    """Consecutive parts of x along `axis`, each as long as its output (all of one length where outputs are absent)."""
    axis = normalize(axis, x.ndim)
    start = 0
    for out in outs:
        if out is None:
            start += x.shape[axis] // len(outs)
            continue
        plan_copy(b, part(x, axis, start, out.shape[axis]), out)
        start += out.shape[axis]


def plan_concat_grad(
    b: PlanBuilder, inputs: Sequence[Tensor], d: Tensor, dxs: Sequence[Tensor | None], axis: int
) -> None:
    axis = normalize(axis, d.ndim)
    start = 0
    for x, dx in zip(inputs, dxs, strict=True):
        if x.shape == (0,) and d.ndim != 1:
            continue
        if dx is not None:
            plan_copy(b, part(d, axis, start, x.shape[axis]), dx)
        start += x.shape[axis]


def plan_stack(b: PlanBuilder, inputs: Sequence[Tensor], out: Tensor, axis: int) -> None:
    """Tensors of one shape along a new axis."""
    axis = normalize(axis, out.ndim)
    for position, x in enumerate(inputs):
        plan_copy(b, x, _without(out, axis, position))


def plan_unstack(b: PlanBuilder, x: Tensor, outs: Sequence[Tensor | None], axis: int) -> None:
    """The positions of `axis` as tensors of their own."""
    axis = normalize(axis, x.ndim)
    for position, out in enumerate(outs):
        if out is not None:
            plan_copy(b, _without(x, axis, position), out)


# ---- slices ----


def slice_view(
    x: Tensor,
    axes: Sequence[int],
    starts: Sequence[int],
    ends: Sequence[int],
    steps: Sequence[int] | None = None,
) -> Tensor:
    """x[start:end:step] along each of `axes`, with Python's rules for negative and too large numbers."""
    for i, given in enumerate(axes):
        axis = normalize(given, x.ndim)
        step = steps[i] if steps is not None else 1
        extent = x.shape[axis]
        start, end = starts[i], ends[i]
        if step < 0 and end < -extent:  # one before the first element, which Python writes as None
            end = -extent - 1
        positions = range(*slice(start, end, step).indices(extent))
        x = part(x, axis, positions.start if positions else 0, len(positions), step)
    return x


def plan_slice(
    b: PlanBuilder,
    x: Tensor,
    out: Tensor,
    axes: Sequence[int],
    starts: Sequence[int],
    ends: Sequence[int],
    steps: Sequence[int] | None = None,
) -> None:
    """A slice of x; out may lack dimensions of extent 1."""
    view = slice_view(x, axes, starts, ends, steps)
    plan_copy(b, view, _shaped(out, view.shape))


def plan_slice_grad(
    b: PlanBuilder,
    d: Tensor,
    dx: Tensor,
    axes: Sequence[int],
    starts: Sequence[int],
    ends: Sequence[int],
    steps: Sequence[int] | None = None,
) -> None:
    """The gradient put where the slice was taken from, zero elsewhere."""
    view = slice_view(dx, axes, starts, ends, steps)
    if view.numel != dx.numel:
        b.zero(dx)
    plan_copy(b, _shaped(d, view.shape), view)


def _shaped(tensor: Tensor, shape: Sequence[int]) -> Tensor:
    """A contiguous tensor under a shape that differs in extents of 1."""
    return tensor if tensor.shape == tuple(shape) else tensor.reshape(*shape)


def plan_set_value(
    b: PlanBuilder,
    x: Tensor,
    value: Tensor,
    out: Tensor,
    axes: Sequence[int],
    starts: Sequence[int],
    ends: Sequence[int],
    steps: Sequence[int],
    decrease_axes: Sequence[int] = (),
    none_axes: Sequence[int] = (),
) -> None:
    """out = x with a slice of it replaced by `value`, which is broadcast."""
    plan_copy(b, x, out)
    view = _indexed(slice_view(out, axes, starts, ends, steps), decrease_axes, none_axes)
    value = _squeezed_to(value, view.ndim)
    if value.dtype != view.dtype:
        plan_map(b, "elementwise.first", [value], view, compute=None)
    else:
        plan_copy(b, value, view)


def plan_set_value_grad(
    b: PlanBuilder,
    d: Tensor,
    dx: Tensor | None,
    dvalue: Tensor | None,
    axes: Sequence[int],
    starts: Sequence[int],
    ends: Sequence[int],
    steps: Sequence[int],
    decrease_axes: Sequence[int] = (),
    none_axes: Sequence[int] = (),
) -> None:
    """dx is d with the slice zeroed; dvalue the slice of d, summed where value was broadcast."""
    if dx is not None:
        plan_copy(b, d, dx)
        region = slice_view(dx, axes, starts, ends, steps)
        if region.contiguous:
            b.zero(region)
        else:
            zero = b.scratch((1,), dx.dtype)
            b.zero(zero)
            plan_copy(b, zero, region)
    if dvalue is not None:
        from openxpu.ops.pointwise import plan_map_reduced

        view = _indexed(slice_view(d, axes, starts, ends, steps), decrease_axes, none_axes)
        target = _squeezed_to(dvalue, view.ndim)
        if target.shape == view.shape:
            plan_copy(b, view, target)
        else:
            plan_map_reduced(b, "elementwise.first", [view], view.shape, target)


def _indexed(view: Tensor, decrease_axes: Sequence[int], none_axes: Sequence[int]) -> Tensor:
    """Drops the dimensions that were indexed by a number, then adds those of None."""
    kept = [d for d in range(view.ndim) if d not in decrease_axes]
    shape, strides = [view.shape[d] for d in kept], [view.strides[d] for d in kept]
    for axis in sorted(none_axes):
        shape.insert(axis, 1)
        strides.insert(axis, 0)
    return view.view(shape, strides)


def _squeezed_to(value: Tensor, ndim: int) -> Tensor:
    """Leading extents of 1 beyond `ndim` dimensions dropped."""
    while value.ndim > ndim and value.shape[0] == 1:
        value = value.view(value.shape[1:], value.strides[1:])
    return value


# ---- repetition, padding, reordering ----


def plan_expand(b: PlanBuilder, x: Tensor, out: Tensor) -> None:
    """x repeated along extents of 1 and new leading dimensions."""
    plan_copy(b, x, out)


def plan_expand_grad(b: PlanBuilder, d: Tensor, dx: Tensor) -> None:
    from openxpu.ops.pointwise import plan_map_reduced

    if d.shape == dx.shape:
        plan_copy(b, d, dx)
    else:
        plan_map_reduced(b, "elementwise.first", [d], d.shape, dx)


def _tiled(out: Tensor, x_shape: Sequence[int]) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """out's shape as (repeats, extent) pairs, and the pairs' x shape with 1 for the repeats."""
    own = (1,) * (out.ndim - len(x_shape)) + tuple(x_shape)
    pairs, source = [], []
    for extent, have in zip(out.shape, own, strict=True):
        pairs += [extent // max(have, 1), have]
        source += [1, have]
    return tuple(pairs), tuple(source)


def plan_tile(b: PlanBuilder, x: Tensor, out: Tensor) -> None:
    """x repeated along every dimension until it fills out."""
    pairs, source = _tiled(out, x.shape)
    plan_copy(b, x.reshape(*source), out.reshape(*pairs))


def plan_tile_grad(b: PlanBuilder, d: Tensor, dx: Tensor) -> None:
    pairs, source = _tiled(d, dx.shape)
    plan_expand_grad(b, d.reshape(*pairs), dx.reshape(*source))


def plan_flip(b: PlanBuilder, x: Tensor, out: Tensor, axes: Sequence[int]) -> None:
    """Dimensions backwards."""
    for axis in {normalize(axis, x.ndim) for axis in axes}:
        if x.shape[axis]:
            x = part(x, axis, x.shape[axis] - 1, x.shape[axis], -1)
    plan_copy(b, x, out)


def plan_roll(b: PlanBuilder, x: Tensor, out: Tensor, shifts: Sequence[int], axes: Sequence[int]) -> None:
    """Positions moved on by `shifts`, those beyond the end come in at the start. Without axes, of the flat tensor."""
    if out.numel == 0:
        return
    if not axes:
        x, out, axes = x.reshape(x.numel), out.reshape(out.numel), (0,)
    total: dict[int, int] = {}
    for shift, given in zip(shifts, axes, strict=True):
        axis = normalize(given, x.ndim)
        total[axis] = (total.get(axis, 0) + shift) % x.shape[axis]
    pieces = [(x, out)]
    for axis, shift in total.items():
        if shift == 0:
            continue
        extent = x.shape[axis]
        pieces = [
            (part(source, axis, start, length), part(target, axis, to, length))
            for source, target in pieces
            for start, to, length in ((0, shift, extent - shift), (extent - shift, 0, shift))
        ]
    for source, target in pieces:
        plan_copy(b, source, target)


Padding = Sequence[tuple[int, int]]


def plan_pad(b: PlanBuilder, x: Tensor, out: Tensor, padding: Padding, mode: str, value: float = 0.0) -> None:
    """Pads each dimension by (before, after); negative numbers crop. mode: constant, reflect, replicate, circular."""
    source, target = x, out
    for axis, (before, after) in enumerate(padding):
        crop, crop_end = max(-before, 0), max(-after, 0)
        source = part(source, axis, crop, max(x.shape[axis] - crop - crop_end, 0))
        target = part(target, axis, max(before, 0), source.shape[axis])
    if mode == "constant":
        if target.numel != out.numel:
            plan_full(b, out, value)
        plan_copy(b, source, target)
        return
    plan_copy(b, source, target)
    low = [max(before, 0) for before, _ in padding]
    length = list(target.shape)
    for axis, (before, after) in enumerate(padding):
        low[axis], length[axis] = 0, out.shape[axis]
        whole = _region(out, low, length)
        for to, count, start, step in _borders(mode, target.shape[axis], max(before, 0), max(after, 0)):
            if count:
                plan_copy(b, part(whole, axis, start, count, step), part(whole, axis, to, count))


def plan_pad_grad(b: PlanBuilder, d: Tensor, dx: Tensor, padding: Padding, mode: str) -> None:
    """The gradient of what was padded: the inner part, plus what the borders were copied from."""
    if mode == "constant":
        source, target = d, dx
        for axis, (before, after) in enumerate(padding):
            crop, crop_end = max(-before, 0), max(-after, 0)
            target = part(target, axis, crop, max(dx.shape[axis] - crop - crop_end, 0))
            source = part(source, axis, max(before, 0), target.shape[axis])
        if target.numel != dx.numel:
            b.zero(dx)
        plan_copy(b, source, target)
        return
    total = b.scratch(d.shape, compute_dtype(d.dtype))
    plan_map(b, "elementwise.first", [d], total, compute=None)
    whole = total
    for axis in reversed(range(d.ndim)):
        before, after = (max(pad, 0) for pad in padding[axis])
        extent = dx.shape[axis]
        for to, length, start, step in _borders(mode, extent, before, after):
            for i in range(length) if step == 0 else (0,) if length else ():
                count = 1 if step == 0 else length
                source = part(whole, axis, to + i, count)
                target = part(whole, axis, start, count, step or 1)
                plan_map(b, "elementwise.add", [target, source], target)
        whole = part(whole, axis, before, extent)
    plan_map(b, "elementwise.first", [whole], dx, compute=None)


def _region(tensor: Tensor, low: Sequence[int], length: Sequence[int]) -> Tensor:
    """The box of `length` from `low`."""
    offset = sum(start * stride for start, stride in zip(low, tensor.strides, strict=True))
    return tensor.view(length, tensor.strides, offset)


def _borders(mode: str, extent: int, before: int, after: int) -> list[tuple[int, int, int, int]]:
    """(to, length, from, step) of the border on each side, positions in the padded dimension."""
    if mode == "reflect":
        return [(0, before, 2 * before, -1), (before + extent, after, before + extent - 2, -1)]
    if mode == "replicate":
        return [(0, before, before, 0), (before + extent, after, before + extent - 1, 0)]
    if mode == "circular":
        return [(0, before, extent, 1), (before + extent, after, before, 1)]
    raise Unsupported(f"Padding mode {mode} is not known; constant, reflect, replicate and circular are.")


# ---- gather and scatter ----


def _fold(x: Tensor, axis: int) -> tuple[int, int, int]:
    """(outer, extent, inner) around an axis."""
    return math.prod(x.shape[:axis]), x.shape[axis], math.prod(x.shape[axis + 1 :])


def _lane_block(n: int) -> int:
    return 1024 if n >= 1024 else 256 if n >= 256 else 64 if n >= 64 else 16


def plan_gather(b: PlanBuilder, x: Tensor, index: Tensor, out: Tensor, axis: int = 0) -> None:
    """out[..., i, ...] = x[..., index[i], ...] along `axis`."""
    if out.numel == 0:
        return
    axis = normalize(axis, x.ndim)
    outer, extent, inner = _fold(x, axis)
    count = index.numel
    each = max(1, _ROW_ELEMENTS // max(inner, 1))
    bits = as_bits(x)
    if x.dtype == "c128":
        inner *= 2
    b.launch(
        "layout.gather_rows", (-(-count // each), outer), bits, index, as_bits(out), count, extent, inner, each,
        cost=2 * out.nbytes, BLOCK=_lane_block(inner),
    )  # fmt: skip


def _accumulation(dtype: str) -> str:
    return dtype_constexpr("f32" if dtype in ("f16", "bf16") else "i32" if dtype == "bool" else dtype)


def plan_scatter_rows(
    b: PlanBuilder, updates: Tensor, index: Tensor, out: Tensor, axis: int, add: bool
) -> None:
    """out[..., index[i], ...] = or += updates[..., i, ...]; equal indices in their order."""
    if updates.numel == 0:
        return
    outer, extent, inner = _fold(out, axis)
    block = _lane_block(inner)
    each = max(block, -(-inner // 16 // block) * block)
    b.launch(
        "layout.scatter_rows", (-(-inner // each), outer), updates, index, out, index.numel, extent, inner, each,
        cost=3 * updates.nbytes, ADD=add, ACC=_accumulation(out.dtype), BLOCK=block,
    )  # fmt: skip


def plan_gather_grad(b: PlanBuilder, index: Tensor, d: Tensor, dx: Tensor, axis: int = 0) -> None:
    """Sums d into the positions it was gathered from, in one fixed order; 16-bit floats are summed in f32."""
    axis = normalize(axis, dx.ndim)
    if dx.dtype in ("f16", "bf16"):
        total = b.scratch(dx.shape, "f32")
        b.zero(total)
        plan_scatter_rows(b, d, index, total, axis, add=True)
        plan_map(b, "elementwise.first", [total], dx, compute=None)
        return
    b.zero(dx)
    plan_scatter_rows(b, d, index, dx, axis, add=True)


def plan_scatter(
    b: PlanBuilder, x: Tensor, index: Tensor, updates: Tensor, out: Tensor, overwrite: bool
) -> None:
    """out = x with rows index[i] replaced by updates[i] (the last of equal ones stays), or, without overwrite, with the
    sum of the updates of each index in place of the row."""
    plan_copy(b, x, out)
    if updates.numel == 0:
        return
    inner = math.prod(out.shape[1:])
    if not overwrite:
        block = _lane_block(inner)
        each = max(block, -(-inner // 16 // block) * block)
        b.launch(
            "layout.zero_rows", -(-inner // each), index, out, index.numel, out.shape[0], inner, each,
            cost=updates.nbytes, BLOCK=block,
        )  # fmt: skip
    plan_scatter_rows(b, updates, index, out, 0, add=not overwrite)


def plan_scatter_grad(
    b: PlanBuilder, index: Tensor, d: Tensor, dx: Tensor | None, dupdates: Tensor | None
) -> None:
    """dx is d with the scattered rows zeroed; dupdates the rows of d."""
    if dx is not None:
        plan_copy(b, d, dx)
        inner = math.prod(dx.shape[1:])
        if index.numel and inner:
            block = _lane_block(inner)
            each = max(block, -(-inner // 16 // block) * block)
            b.launch(
                "layout.zero_rows", -(-inner // each), index, dx, index.numel, dx.shape[0], inner, each,
                cost=dx.nbytes, BLOCK=block,
            )  # fmt: skip
    if dupdates is not None:
        plan_gather(b, d, index, dupdates, 0)


def _flat_index(b: PlanBuilder, index: Tensor, extents: Sequence[int]) -> Tensor:
    """Row numbers (i64) from coordinates along index's last dimension."""
    depth = index.shape[-1]
    n = math.prod(index.shape[:-1])
    strides = [math.prod(extents[d + 1 :]) for d in range(depth)]
    rows = b.scratch((n,), "i64")
    table = b.constant(np.array([*extents, *strides], np.int64))
    b.launch("layout.flatten_index", -(-n // 1024), index, rows, table, n, depth, cost=16 * n, BLOCK=1024)
    return rows


def plan_gather_nd(b: PlanBuilder, x: Tensor, index: Tensor, out: Tensor) -> None:
    """out[i, :] = x[index[i, 0], index[i, 1], ..., :]."""
    depth = index.shape[-1]
    if out.numel == 0:
        return
    if depth == 0:
        plan_copy(b, x, out)
        return
    rows = _flat_index(b, index, x.shape[:depth])
    plan_gather(b, x.reshape(math.prod(x.shape[:depth]), *x.shape[depth:]), rows, out, 0)


def plan_gather_nd_grad(b: PlanBuilder, index: Tensor, d: Tensor, dx: Tensor) -> None:
    depth = index.shape[-1]
    if depth == 0 or d.numel == 0:
        b.zero(dx)
        if d.numel and depth == 0:
            plan_expand_grad(b, d, dx)
        return
    rows = _flat_index(b, index, dx.shape[:depth])
    plan_gather_grad(b, rows, d, dx.reshape(math.prod(dx.shape[:depth]), *dx.shape[depth:]), 0)


def plan_scatter_nd_add(b: PlanBuilder, x: Tensor, index: Tensor, updates: Tensor, out: Tensor) -> None:
    """out = x; out[index[i, 0], ..., :] += updates[i, :]."""
    depth = index.shape[-1]
    if depth == 0:
        raise Unsupported("scatter_nd_add needs an index with at least one coordinate.")
    plan_copy(b, x, out)
    if updates.numel:
        rows = _flat_index(b, index, out.shape[:depth])
        plan_scatter_rows(
            b, updates, rows, out.reshape(math.prod(out.shape[:depth]), *out.shape[depth:]), 0, add=True
        )


def plan_take_along_axis(b: PlanBuilder, x: Tensor, index: Tensor, out: Tensor, axis: int) -> None:
    """out[..., i, ...] = x[..., index[..., i, ...], ...]; index and x agree but along `axis`."""
    axis = normalize(axis, x.ndim)
    if out.numel == 0:
        return
    view = _cut(x, index, axis) if index.ndim == x.ndim else x
    _agree("take_along_axis", view, index, axis)
    strides = [0 if d == axis else stride for d, stride in enumerate(view.strides)]
    extents, (own,) = collapse(index.shape, [strides])
    small = out.numel < 2**31
    dims = zip(reversed(extents), reversed(own), strict=True)
    table = [[extent, *(division(extent) if small else (0, 0)), stride] for extent, stride in dims]
    block = _lane_block(out.numel)
    b.launch(
        "layout.take_along", -(-out.numel // block), as_bits(x), index, as_bits(out),
        b.constant(np.array(table, np.int64)) if table else None, out.numel, x.shape[axis], view.strides[axis],
        cost=8 * out.nbytes, DIMS=len(table), SMALL=small, BLOCK=block,
    )  # fmt: skip


def _cut(x: Tensor, index: Tensor, axis: int) -> Tensor:
    """The part of x that an index, which is smaller in dimensions other than `axis`, has places for."""
    shape = tuple(
        n if d == axis else min(n, m) for d, (n, m) in enumerate(zip(x.shape, index.shape, strict=True))
    )
    return x if shape == x.shape else x.view(shape, x.strides)


def _cut_copy(b: PlanBuilder, x: Tensor, index: Tensor, axis: int) -> Tensor:
    """The same without gaps."""
    view = _cut(x, index, axis) if index.ndim == x.ndim else x
    if view is x:
        return x
    copy = b.scratch(view.shape, x.dtype)
    plan_copy(b, view, copy)
    return copy


def _agree(name: str, x: Tensor, index: Tensor, axis: int) -> None:
    if x.shape[:axis] != index.shape[:axis] or x.shape[axis + 1 :] != index.shape[axis + 1 :]:
        raise Unsupported(
            f"{name} is planned for an index that agrees with the tensor in all dimensions but axis {axis}, "
            f"found {index.shape} and {x.shape}."
        )


def plan_put_along(
    b: PlanBuilder, values: Tensor | None, index: Tensor, out: Tensor, axis: int, mode: str
) -> None:
    """Writes values into out (mode assign), adds, multiplies, or zeroes (mode zero) the positions; in order."""
    if index.numel == 0:
        return
    _agree("put_along_axis", out, index, axis)
    outer, extent, inner = _fold(out, axis)
    lanes = outer * inner
    if inner == 1:
        each = max(1, 4096 // index.shape[axis])
        b.launch(
            "layout.put_along_rows", -(-outer // each), values, index, out, outer, extent, index.shape[axis], each,
            cost=16 * index.nbytes, MODE=mode, SCALAR=values is not None and values.numel == 1, ACC=_accumulation(out.dtype),
        )  # fmt: skip
        return
    block = _lane_block(lanes) if lanes < 1024 else 256
    b.launch(
        "layout.put_along", -(-lanes // block), values, index, out, lanes, extent, index.shape[axis], inner,
        cost=16 * index.nbytes, MODE=mode, SCALAR=values is not None and values.numel == 1, ACC=_accumulation(out.dtype), BLOCK=block,
    )  # fmt: skip


def plan_put_along_axis(
    b: PlanBuilder,
    x: Tensor,
    index: Tensor,
    values: Tensor,
    out: Tensor,
    axis: int,
    reduce: str,
    include_self: bool,
) -> None:
    """out = x with values at index along `axis`, or combined with what is there, or, without include_self, with each other;
    reduce: assign, add, multiply (or mul), amin, amax, mean."""
    mode = _REDUCED.get(reduce, "")
    if not mode:
        raise Unsupported(f"put_along_axis with reduce {reduce} is not planned.")
    if index.ndim != x.ndim:
        raise Unsupported(f"put_along_axis needs an index of {x.ndim} dimensions, found {index.ndim}.")
    own = _cut_copy(b, x, index, normalize(axis, x.ndim))
    if own is not x:
        result = b.scratch(own.shape, out.dtype)
        plan_put_along_axis(b, own, index, values, result, axis, reduce, include_self)
        plan_copy(b, x, out)
        plan_copy(b, result, _cut(out, index, normalize(axis, x.ndim)))
        return
    if values.shape != index.shape and values.numel != 1:
        raise Unsupported(
            f"put_along_axis needs values of the index's shape {index.shape}, found {values.shape}."
        )
    axis = normalize(axis, x.ndim)
    narrow = out.dtype in ("f16", "bf16") and reduce not in ("assign", "amin", "amax")
    total = b.scratch(out.shape, "f32") if narrow else out
    if narrow:
        plan_map(b, "elementwise.first", [x], total, compute=None)
    else:
        plan_copy(b, x, total)
    if reduce != "assign" and not include_self:
        plan_put_along(b, b.constant(_neutral(mode, total.dtype)), index, total, axis, "assign")
    plan_put_along(b, values, index, total, axis, mode)
    if reduce == "mean" and out.numel:
        counts = _put_counts(b, index, out, axis, include_self)
        plan_map(b, "layout.mean", [total, counts], out, compute=None)
    elif narrow:
        plan_map(b, "elementwise.first", [total], out, compute=None)


_REDUCED = {
    "assign": "assign", "add": "add", "mean": "add", "multiply": "multiply", "mul": "multiply",
    "amin": "amin", "amax": "amax",
}  # fmt: skip


def _neutral(mode: str, dtype: str) -> np.ndarray:
    """What changes nothing when it is combined."""
    kind = np.dtype({v: k for k, v in NUMPY_NAMES.items() if v != "bf16"}.get(dtype, "float32"))  # put in f32
    if mode in ("add", "multiply"):
        return np.full((1,), int(mode == "multiply"), kind)
    if kind.kind == "f":
        return np.full((1,), np.inf if mode == "amin" else -np.inf, kind)
    return np.full((1,), np.iinfo(kind).max if mode == "amin" else np.iinfo(kind).min, kind)


def _put_counts(b: PlanBuilder, index: Tensor, x: Tensor, axis: int, include_self: bool) -> Tensor:
    """How many values each element of x is the mean of; zero where none was put and the element does not count itself."""
    counts = b.scratch(x.shape, "i32")
    if include_self:
        plan_copy(b, b.constant(np.ones((1,), np.int32)).view((1,) * x.ndim), counts)
    else:
        b.zero(counts)
    plan_put_along(b, b.constant(np.ones((1,), np.int32)), index, counts, axis, "add")
    return counts


def plan_take_along_axis_grad(b: PlanBuilder, index: Tensor, d: Tensor, dx: Tensor, axis: int) -> None:
    axis = normalize(axis, dx.ndim)
    region = _cut(dx, index, axis) if index.ndim == dx.ndim else dx
    if region is not dx:
        part_ = b.scratch(region.shape, dx.dtype)
        plan_take_along_axis_grad(b, index, d, part_, axis)
        b.zero(dx)
        plan_copy(b, part_, region)
        return
    if dx.dtype in ("f16", "bf16"):
        total = b.scratch(dx.shape, "f32")
        b.zero(total)
        plan_put_along(b, d, index, total, axis, "add")
        plan_map(b, "elementwise.first", [total], dx, compute=None)
        return
    b.zero(dx)
    plan_put_along(b, d, index, dx, axis, "add")


def plan_put_along_axis_grad(
    b: PlanBuilder,
    x: Tensor,
    index: Tensor,
    values: Tensor,
    out: Tensor,
    d: Tensor,
    dx: Tensor | None,
    dvalues: Tensor | None,
    axis: int,
    reduce: str,
    include_self: bool,
) -> None:
    """Of a sum both get d, of a mean its part, of a product d times the other factors, of an extreme what is as large
    shares it (x, too, where it does not count itself). Of equal places the last value was assigned. dx is zero where x
    did not take part."""
    mode = _REDUCED.get(reduce, "")
    if not mode:
        raise Unsupported(f"The gradient of put_along_axis with reduce {reduce} is not planned.")
    axis = normalize(axis, d.ndim)
    if not d.numel:
        return
    own = _cut_copy(b, d, index, axis)
    if own is not d:
        back = None if dx is None else b.scratch(own.shape, dx.dtype)
        cut = (_cut_copy(b, t, index, axis) for t in (x, out))
        plan_put_along_axis_grad(
            b, next(cut), index, values, next(cut), own, back, dvalues, axis, reduce, include_self
        )
        if dx is not None and back is not None:
            plan_copy(b, d, dx)
            plan_copy(b, back, _cut(dx, index, axis))
        return
    counts = None  # what d is divided by
    if reduce == "mean":
        counts = _put_counts(b, index, d, axis, include_self)
    elif mode in ("amin", "amax"):
        counts = b.scratch(d.shape, "i32")
        plan_map(b, "layout.same", [x, out], counts, compute=None)
        same = b.scratch(index.shape, "i32")
        kept = b.scratch(index.shape, out.dtype)
        plan_take_along_axis(b, out, index, kept, axis)
        plan_map(b, "layout.same", [_spread(values, index), kept], same, compute=None)
        plan_put_along(b, same, index, counts, axis, "add")
    share = d
    if counts is not None:
        share = b.scratch(d.shape, d.dtype)
        plan_map(b, "layout.mean", [d, counts], share, compute=None)
    if dx is not None:
        if reduce == "assign" or not include_self:
            plan_copy(b, d, dx)
            plan_put_along(b, None, index, dx, axis, "zero")
        elif mode == "multiply":
            touched = b.scratch(d.shape, "i32")
            b.zero(touched)
            plan_put_along(b, b.constant(np.ones((1,), np.int32)), index, touched, axis, "assign")
            factor = b.scratch(d.shape, d.dtype)
            plan_map(b, "layout.others", [out, x, touched], factor, compute=None)
            plan_map(b, "elementwise.multiply", [d, factor], dx)
        elif mode in ("amin", "amax"):
            plan_map(b, "layout.where_same", [share, x, out], dx, compute=None)
        else:
            plan_copy(b, share, dx)
    if dvalues is None or not index.numel:
        return
    plan_take_along_axis(b, share, index, dvalues, axis)
    if mode == "add":
        return
    if reduce == "assign":
        # Who came last: each place takes the number of its value, which only one of them has.
        numbers, places = b.scratch(index.shape, "i32"), b.scratch(d.shape, "i32")
        plan_arange(b, numbers, 0, 1)
        plan_put_along(b, numbers, index, places, axis, "assign")
        last = b.scratch(index.shape, "i32")
        plan_take_along_axis(b, places, index, last, axis)
        plan_map(b, "layout.where_same", [dvalues, numbers, last], dvalues, compute=None)
        return
    kept = b.scratch(index.shape, out.dtype)
    plan_take_along_axis(b, out, index, kept, axis)
    function = "layout.by_others" if mode == "multiply" else "layout.where_same"
    plan_map(b, function, [dvalues, _spread(values, index), kept], dvalues, compute=None)


def _spread(values: Tensor, index: Tensor) -> Tensor:
    """One number as the values of all places."""
    return values.reshape(*(1,) * index.ndim) if values.numel == 1 else values


def plan_cumsum(
    b: PlanBuilder, x: Tensor, out: Tensor, axis: int, exclusive: bool = False, reverse: bool = False
) -> None:
    """Running sums along `axis`; 16-bit floats are summed in f32."""
    if out.numel == 0:
        return
    axis = normalize(axis, x.ndim)
    outer, extent, inner = _fold(x, axis) if x.ndim else (1, 1, 1)
    lanes = outer * inner
    block = 256 if lanes >= 1024 else 16
    accumulate = compute_dtype(out.dtype) if out.dtype in FLOATS else "i64"
    flags = {"EXCLUSIVE": exclusive, "REVERSE": reverse, "ACC": dtype_constexpr(accumulate)}
    if inner == 1 and extent >= 32:
        block = min(1024, power_of_two(extent))
        b.launch("layout.cumsum_rows", outer, x, out, extent, cost=4 * x.nbytes, **flags, BLOCK=block)
    elif inner >= 16:
        block = min(256, power_of_two(inner))
        grid = (-(-inner // block), outer)
        b.launch(
            "layout.cumsum_columns", grid, x, out, extent, inner, cost=4 * x.nbytes, **flags, BLOCK=block
        )
    else:
        b.launch(
            "layout.cumsum", -(-lanes // block), x, out, lanes, extent, inner, cost=8 * x.nbytes,
            **flags, BLOCK=block,
        )  # fmt: skip


# ---- public functions ----


def contiguous(x: Array) -> Array:
    """x without gaps between its elements."""
    return run(plan_contiguous, [x], [(x.shape, x.dtype)])  # type: ignore[no-any-return]


def transpose(x: Array, axes: Sequence[int] | None = None) -> Array:
    """Dimensions in the order `axes` (default: reversed)."""
    axes = (
        tuple(range(len(x.shape)))[::-1] if axes is None else tuple(normalize(a, len(x.shape)) for a in axes)
    )
    return run(plan_transpose, [x], [(tuple(x.shape[a] for a in axes), x.dtype)], axes)  # type: ignore[no-any-return]


def concat(inputs: Sequence[Array], axis: int = 0) -> Array:
    """Arrays one after the other along `axis`."""
    first = inputs[0]
    axis = normalize(axis, len(first.shape))
    total = sum(x.shape[axis] for x in inputs)
    shape = (*first.shape[:axis], total, *first.shape[axis + 1 :])
    return run(plan_concat, [list(inputs)], [(shape, first.dtype)], axis)  # type: ignore[no-any-return]


def stack(inputs: Sequence[Array], axis: int = 0) -> Array:
    """Arrays of one shape along a new axis."""
    first = inputs[0]
    axis = normalize(axis, len(first.shape) + 1)
    shape = (*first.shape[:axis], len(inputs), *first.shape[axis:])
    return run(plan_stack, [list(inputs)], [(shape, first.dtype)], axis)  # type: ignore[no-any-return]


def gather(x: Array, index: Array, axis: int = 0) -> Array:
    """x at the positions `index` (one dimension) along `axis`."""
    axis = normalize(axis, len(x.shape))
    shape = (*x.shape[:axis], *index.shape, *x.shape[axis + 1 :])
    return run(plan_gather, [x, index], [(shape, x.dtype)], axis)  # type: ignore[no-any-return]


def tile(x: Array, repeats: Sequence[int]) -> Array:
    """x repeated along every dimension."""
    ndim = max(len(repeats), len(x.shape))
    full = (1,) * (ndim - len(x.shape)) + tuple(x.shape)
    times = (1,) * (ndim - len(repeats)) + tuple(repeats)
    shape = tuple(extent * count for extent, count in zip(full, times, strict=True))
    return run(plan_tile, [x], [(shape, x.dtype)])  # type: ignore[no-any-return]


def flip(x: Array, axes: Sequence[int]) -> Array:
    """Dimensions backwards."""
    return run(plan_flip, [x], [(x.shape, x.dtype)], tuple(axes))  # type: ignore[no-any-return]


def pad(x: Array, padding: Padding, mode: str = "constant", value: float = 0.0) -> Array:
    """Each dimension padded by (before, after)."""
    shape = tuple(extent + before + after for extent, (before, after) in zip(x.shape, padding, strict=True))
    pairs = tuple((before, after) for before, after in padding)
    return run(plan_pad, [x], [(shape, x.dtype)], pairs, mode, value)  # type: ignore[no-any-return]


def cumsum(x: Array, axis: int = -1) -> Array:
    """Running sums along `axis`."""
    return run(plan_cumsum, [x], [(x.shape, x.dtype)], axis)  # type: ignore[no-any-return]
