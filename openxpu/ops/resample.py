# Resampling of images to another size (nearest, linear, cubic, antialiased), one axis after the other; with gradients.
"""The positions and weights of an axis depend on sizes alone, so they are tables of the plan. The gradient is the same sum
with the transposed table: every element gathers what it had a part in, in one fixed order."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from openxpu.ops.layout import as_bits, plan_copy
from openxpu.ops.plan import FLOATS, PlanBuilder, Tensor, Unsupported, dtype_constexpr
from openxpu.ops.reduce import accumulation_dtype, power_of_two, require_contiguous
from openxpu.ops.run import run

if TYPE_CHECKING:
    from openxpu.runtime import Array

_SHORT = 16  # inner extents below this are folded into the table
_GATHER = 4  # what an element costs by a gather, in elements read in a row


@dataclass(frozen=True)
class Table:
    """An axis of `extent` resampled: `index` and `weight` [taps, count]; index -1 is no tap, weight None all 1."""

    extent: int
    index: np.ndarray
    weight: np.ndarray | None

    @property
    def taps(self) -> int:
        return int(self.index.shape[0])

    @property
    def count(self) -> int:
        return int(self.index.shape[1])


def ratio_of(extent: int, count: int, align_corners: bool, scale: float) -> np.float32:
    """Source pixels per output pixel, in the f32 arithmetic that decides which pixel is the nearest."""
    if align_corners:
        return np.float32(extent - 1) / np.float32(count - 1) if count > 1 else np.float32(0)
    return np.float32(1.0 / scale) if scale > 0 else np.float32(extent) / np.float32(count)


def nearest(extent: int, count: int, align_corners: bool, scale: float) -> Table:
    position = ratio_of(extent, count, align_corners, scale) * np.arange(count, dtype=np.float32)
    index = np.floor(position.astype(np.float64) + 0.5) if align_corners else np.trunc(position)
    return Table(extent, np.clip(index, 0, extent - 1).astype(np.int32)[None], None)


def linear(
    extent: int, count: int, align_corners: bool, align_mode: int, scale: float, rounding: str = "steps"
) -> Table:
    """Two taps. Where a position is rounded to f32 shows in the weights of f64 images: after each of its "steps", at
    the "end", or "never"."""
    ratio = ratio_of(extent, count, align_corners, scale)
    steps = np.arange(count, dtype=np.float32)
    if align_mode == 0 and not align_corners:
        exact = np.float64(ratio) * (steps.astype(np.float64) + 0.5) - 0.5
        low = np.maximum(np.trunc(exact), 0)
        rounded = ratio * (steps + np.float32(0.5)) - np.float32(0.5) if rounding == "steps" else exact
        position = np.maximum(rounded, 0)
    else:
        position = ratio * steps
        low = np.trunc(position)
    low = np.minimum(low, extent - 1)
    if rounding != "never":
        position = position.astype(np.float32)
    upper = position - low.astype(position.dtype)
    if rounding == "never":
        upper = upper.astype(np.float64)
    index = np.stack([low, np.minimum(low + 1, extent - 1)]).astype(np.int32)
    return Table(extent, index, np.stack([1 - upper, upper]))


def cubic(extent: int, count: int, align_corners: bool, scale: float, rounding: str = "never") -> Table:
    """Four taps with Keys' kernel, a = -0.75; `rounding` as in `linear`. Source: Keys, Cubic convolution interpolation, 1981."""
    ratio = ratio_of(extent, count, align_corners, scale)
    steps = np.arange(count, dtype=np.float64)
    if align_corners:
        position = (ratio * steps.astype(np.float32)).astype(np.float64)
    else:
        position = np.float64(ratio) * (steps + 0.5) - 0.5
    if rounding == "steps" and not align_corners:
        position = (ratio * (steps.astype(np.float32) + np.float32(0.5)) - np.float32(0.5)).astype(np.float64)
    low = np.floor(position.astype(np.float32))
    t = position - low
    a = -0.75
    far = [((a * u - 5 * a) * u + 8 * a) * u - 4 * a for u in (t + 1, 2 - t)]
    near = [((a + 2) * u - (a + 3)) * u * u + 1 for u in (t, 1 - t)]
    index = np.clip(low[None] + np.arange(-1, 3)[:, None], 0, extent - 1).astype(np.int32)
    return Table(extent, index, np.stack([far[0], near[0], near[1], far[1]]))


def antialiased(extent: int, count: int, align_corners: bool, scale: float, filter: str) -> Table:
    """A triangle ("bilinear") or Keys' kernel with a = -0.5 ("bicubic"), as wide as an output pixel."""
    ratio = float(ratio_of(extent, count, align_corners, scale))
    size = {"bilinear": 2, "bicubic": 4}[filter]
    width = max(ratio, 1.0)
    support = size * 0.5 * width
    center = ratio * (np.arange(count) + 0.5)
    first = np.maximum(np.floor(center - support + 0.5), 0).astype(np.int64)
    last = np.minimum(np.floor(center + support + 0.5), extent).astype(np.int64)
    taps = max(int((last - first).max()), 1)
    index = first[None] + np.arange(taps)[:, None]
    u = np.abs((index - center[None] + 0.5) / width)
    if filter == "bilinear":
        weight = np.maximum(1 - u, 0)
    else:
        a = -0.5
        near, far = ((a + 2) * u - (a + 3)) * u * u + 1, (((u - 5) * u + 8) * u - 4) * a
        weight = np.where(u < 1, near, np.where(u < 2, far, 0))
    inside = index < last[None]
    weight = np.where(inside, weight, 0)
    total = weight.sum(0)
    weight = weight / np.where(total == 0, 1, total)
    return Table(extent, np.where(inside, index, -1).astype(np.int32), weight)


def transposed(table: Table) -> Table:
    """For each input the outputs that it has a part in, in ascending order, with its weights in them."""
    taps, count = table.index.shape
    weight = np.ones((taps, count)) if table.weight is None else table.weight.astype(np.float64)
    source, target = table.index.reshape(-1), np.tile(np.arange(count), taps)
    inside = source >= 0
    pair = source[inside].astype(np.int64) * count + target[inside]
    pairs, where = np.unique(pair, return_inverse=True)
    total = np.bincount(where, weight.reshape(-1)[inside], len(pairs))
    rows = pairs // max(count, 1)
    starts = np.searchsorted(rows, np.arange(table.extent))
    rank = np.arange(len(pairs)) - starts[rows]
    depth = max(int(rank.max()) + 1 if len(pairs) else 1, 1)
    index = np.full((depth, table.extent), -1, np.int32)
    index[rank, rows] = pairs % max(count, 1)
    if table.weight is None:
        return Table(count, index, None)
    weights = np.zeros((depth, table.extent))
    weights[rank, rows] = total
    return Table(count, index, weights)


def _padded(table: Table) -> Table:
    """Three taps as four, so that there are few kernels."""
    if table.taps != 3:
        return table
    index = np.concatenate([table.index, np.full((1, table.count), -1, np.int32)])
    weight = table.weight
    if weight is not None:
        weight = np.concatenate([weight, np.zeros((1, table.count))])
    return Table(table.extent, index, weight)


def _plan_axis(b: PlanBuilder, x: Tensor, out: Tensor, axis: int, table: Table, acc: str) -> None:
    """Resamples one axis."""
    outer, inner = math.prod(x.shape[:axis]), math.prod(x.shape[axis + 1 :])
    if 1 < inner < _SHORT:
        lane = np.arange(inner)
        wider = table.index[..., None].astype(np.int64) * inner + lane
        wider = np.where(table.index[..., None] < 0, -1, wider).reshape(table.taps, -1)
        repeated = None if table.weight is None else np.repeat(table.weight, inner, axis=1)
        table, inner = Table(table.extent * inner, wider.astype(np.int32), repeated), 1
    table = _padded(table)
    if table.extent >= 2**31 or table.count * table.taps >= 2**31:
        raise Unsupported(f"resampling of an axis of {table.extent} to {table.count} is beyond 2^31.")
    index = b.constant(table.index.astype(np.int32))
    weight = None
    if table.weight is not None:
        weight = b.constant(table.weight.astype(np.float64 if acc == "f64" else np.float32))
    flags: dict[str, Any] = {
        "TAPS": table.taps if table.taps <= 4 else 0,
        "WEIGHTED": int(weight is not None),
        "HOLES": int((table.index < 0).any()),
        "ACC": dtype_constexpr(acc),
    }
    if inner > 1:
        block = min(1024, power_of_two(inner))
        rows = min(max(2048 // block, 1), power_of_two(table.count))
        grid = (-(-inner // block), -(-table.count // rows), outer)
        b.launch(
            "resample.resample_lines", grid, x, out, index, weight, table.extent, table.count, inner, table.taps,
            cost=out.numel * 4 * table.taps, **flags, ROWS=rows, BLOCK=block,
        )  # fmt: skip
        return
    block = min(1024, max(power_of_two(table.count), 16))
    rows = min(max(2048 // block, 1), power_of_two(outer))
    cells = (-(-table.count // block), -(-outer // rows))
    b.launch(
        "resample.resample_points", cells, x, out, index, weight, outer, table.extent, table.count, table.taps,
        cost=out.numel * 4 * _GATHER * table.taps, **flags, ROWS=rows, BLOCK=block,
    )  # fmt: skip


def _cost(shape: Sequence[int], order: Sequence[tuple[int, Table]]) -> int:
    """Elements touched when the axes are resampled in this order."""
    extents, total = list(shape), 0
    for axis, table in order:
        extents[axis] = table.count
        price = _GATHER if math.prod(extents[axis + 1 :]) < _SHORT else 1
        total += math.prod(extents) * (table.taps * price + 2)
    return total


def plan_resample(b: PlanBuilder, x: Tensor, out: Tensor, tables: dict[int, Table]) -> None:
    """out = x with each axis of `tables` resampled, one after the other in the cheapest order; between two passes
    f32 (f64)."""
    require_contiguous("resampling", x, out)
    if out.numel == 0:
        return
    if x.numel == 0:
        b.zero(out)
        return
    moved = all(
        table.weight is None and table.taps == 1 and table.index.min() >= 0 for table in tables.values()
    )
    if moved:
        x, out = as_bits(x), as_bits(out)
    elif x.dtype not in FLOATS:
        raise Unsupported(f"resampling with weights is for floats, found {x.dtype}.")
    acc = x.dtype if moved else accumulation_dtype(x.dtype)
    order = min(itertools.permutations(tables.items()), key=lambda o: _cost(x.shape, o))
    for position, (axis, table) in enumerate(order):
        shape = (*x.shape[:axis], table.count, *x.shape[axis + 1 :])
        target = out if position == len(order) - 1 else b.scratch(shape, acc)
        _plan_axis(b, x, target, axis, table, acc)
        x = target


@dataclass(frozen=True)
class Interpolation:
    """method: "nearest", "linear", "cubic" or, antialiased, "bilinear" or "bicubic". `scales`: for each axis what was
    asked for, output per input; 0 where a size was asked for."""

    method: str
    align_corners: bool = False
    align_mode: int = 1
    scales: tuple[float, ...] = ()

    def tables(self, extents: Sequence[int], counts: Sequence[int], backward: bool = False) -> list[Table]:
        """A table for each axis. Positions are rounded as Paddle does, who does so differently in some places."""
        scales = self.scales or (0.0,) * len(extents)
        made = []
        for axis, (extent, count, asked) in enumerate(zip(extents, counts, scales, strict=True)):
            # A single output lies at the first pixel.
            first = count == 1 and len(extents) == 2 and self.method in ("linear", "cubic")
            scale = math.inf if first else asked
            if self.method == "nearest":
                made.append(nearest(extent, count, self.align_corners, scale))
            elif self.method == "linear":
                rounding = "steps"
                if not backward and len(extents) == 1:
                    rounding = "never"
                elif not backward and len(extents) == 2 and axis == 0:
                    rounding = "end"
                made.append(linear(extent, count, self.align_corners, self.align_mode, scale, rounding))
            elif self.method == "cubic":
                rounding = "steps" if backward else "never"
                made.append(cubic(extent, count, self.align_corners, scale, rounding))
            else:
                made.append(antialiased(extent, count, self.align_corners, scale, self.method))
        return made


def _axes(ndim: int, channels_last: bool) -> range:
    return range(1, ndim - 1) if channels_last else range(2, ndim)


def plan_interpolate(
    b: PlanBuilder, x: Tensor, out: Tensor, how: Interpolation, channels_last: bool = False
) -> None:
    """x [images, channels, ...] (or channels last) at out's size."""
    if x.shape == out.shape:
        plan_copy(b, x, out)
        return
    axes = _axes(x.ndim, channels_last)
    tables = how.tables([x.shape[d] for d in axes], [out.shape[d] for d in axes])
    plan_resample(b, x, out, dict(zip(axes, tables, strict=True)))


def plan_interpolate_grad(
    b: PlanBuilder, dout: Tensor, dx: Tensor, how: Interpolation, channels_last: bool = False
) -> None:
    if dx.shape == dout.shape:
        plan_copy(b, dout, dx)
        return
    axes = _axes(dx.ndim, channels_last)
    tables = how.tables([dx.shape[d] for d in axes], [dout.shape[d] for d in axes], backward=True)
    plan_resample(b, dout, dx, {d: transposed(table) for d, table in zip(axes, tables, strict=True)})


def interpolate(
    x: Array, size: Sequence[int], method: str = "linear", align_corners: bool = False, align_mode: int = 0
) -> Array:
    """x [images, channels, ...] at another size; method as in Interpolation."""
    how = Interpolation(method, align_corners, align_mode)
    return run(plan_interpolate, [x], [((*x.shape[:2], *size), x.dtype)], how)  # type: ignore[no-any-return]
