# Pooling that goes by the places of maxima: unpooling, fractional max pooling; with gradients.

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from openxpu.ops.layout import as_bits
from openxpu.ops.plan import PlanBuilder, Tensor, Unsupported, dtype_constexpr
from openxpu.ops.pointwise import plan_map
from openxpu.ops.pool import lanes_are_planes
from openxpu.ops.reduce import accumulation_dtype, power_of_two, require_contiguous


def _put(b: PlanBuilder, x: Tensor, index: Tensor, out: Tensor, add: bool) -> None:
    """Each plane's elements of x go to the places `index` in the plane of out."""
    planes = x.shape[0] * x.shape[1]
    points, pixels = math.prod(x.shape[2:]), math.prod(out.shape[2:])
    if x.numel and out.numel:
        b.launch(
            "indexed_pool.put_places", planes, x, index, out, points, pixels,
            cost=8 * x.nbytes, ADD=int(add), ACC=dtype_constexpr(out.dtype),
        )  # fmt: skip


def plan_unpool(b: PlanBuilder, x: Tensor, index: Tensor, out: Tensor) -> None:
    """out is zero but for x, whose elements go to the places `index` in their planes; of equal places the last wins."""
    require_contiguous("unpool", x, index, out)
    b.zero(out)
    _put(b, as_bits(x), index, as_bits(out), False)


def plan_unpool_grad(b: PlanBuilder, index: Tensor, d: Tensor, dx: Tensor) -> None:
    require_contiguous("unpool_grad", index, d, dx)
    points, pixels = math.prod(dx.shape[2:]), math.prod(d.shape[2:])
    block = min(1024, max(power_of_two(points), 16))
    if dx.numel:
        b.launch(
            "indexed_pool.take_places", (-(-points // block), dx.shape[0] * dx.shape[1]), as_bits(d), index, as_bits(dx),
            points, pixels, cost=8 * dx.nbytes, BLOCK=block,
        )  # fmt: skip


def _fractional_edges(extent: int, count: int, window: int, u: float) -> np.ndarray:
    """Starts and ends [2, count] of pseudo-random windows; window 0: each ends where the next begins. Source: Graham,
    Fractional max-pooling, 2014."""
    alpha = np.float32(extent - window) / np.float32(count - (1 if window > 0 else 0) or 1)
    if window == 0:
        base = extent // count
        most = min(
            np.float32(base + 2) / alpha - 1, np.float32(extent + 1 - base) / alpha - np.float32(count - 1)
        )
        shift = np.float32(np.float32(u) * np.float32(most))
    else:
        shift = np.float32(u)
    steps = np.arange(count, dtype=np.float32)
    before = int(shift * alpha)
    start = ((steps + shift) * alpha).astype(np.int64) - before
    end = start + window if window else ((steps + 1 + shift) * alpha).astype(np.int64) - before
    return np.stack([np.maximum(start, 0), np.minimum(end, extent)]).astype(np.int32)


def plan_fractional_max_pool(
    b: PlanBuilder, x: Tensor, out: Tensor, index: Tensor, window: Sequence[int], u: float
) -> None:
    """The maxima of windows placed by `u` between 0 and 1, and their places. x [images, channels, (depth,) height, width]."""
    require_contiguous("fractional_max_pool", x, out, index)
    if u == 0:
        raise Unsupported("fractional max pooling with windows drawn at random; give random_u.")
    if out.numel == 0:
        return
    rank = x.ndim - 2
    extents = [1] * (3 - rank) + list(x.shape[2:])
    counts = [1] * (3 - rank) + list(out.shape[2:])
    windows = [1] * (3 - rank) + [*window, *window][:rank]
    tables, longest = [], []
    for extent, count, size in zip(extents, counts, windows, strict=True):
        table = (
            np.array([[0], [1]], np.int32)
            if extent == count == 1
            else _fractional_edges(extent, count, size, u)
        )
        tables.append(b.constant(table))
        longest.append(max(int((table[1] - table[0]).max()), 1))
    points = math.prod(counts)
    planes = x.shape[0] * x.shape[1]
    if lanes_are_planes(planes, counts):
        b.launch(
            "pool.pool_lanes", -(-planes // 64), x, out, index, *tables, planes, *extents, *counts, *[1] * 3, *[0] * 3,
            *longest, cost=out.numel * math.prod(longest) * 16, KIND="below", TABLE=1, INDEX=1, DEEP=1,
            ACC=dtype_constexpr(accumulation_dtype(x.dtype)), BLOCK=64,
        )  # fmt: skip
        return
    block = min(512, max(power_of_two(points), 16))
    b.launch(
        "indexed_pool.max_pool_table", (-(-points // block), x.shape[0] * x.shape[1]), x, out, index, *tables,
        *extents, *counts, *longest, cost=out.numel * math.prod(longest) * 16,
        ACC=dtype_constexpr(accumulation_dtype(x.dtype)), BLOCK=block,
    )  # fmt: skip


def plan_index_pool_grad(b: PlanBuilder, index: Tensor, d: Tensor, dx: Tensor) -> None:
    """Gradients added up at the places of the maxima, in the order of the windows."""
    require_contiguous("fractional_max_pool_grad", index, d, dx)
    acc = accumulation_dtype(dx.dtype)
    total = dx if dx.dtype == acc else b.scratch(dx.shape, acc)
    b.zero(total)
    planes, counts = dx.shape[0] * dx.shape[1], d.shape[2:]
    if d.numel and lanes_are_planes(planes, counts):
        sizes = [1] * (5 - dx.ndim)
        b.launch(
            "pool.pool_grad_lanes", -(-planes // 64), None, None, index, d, total, None, None, None, planes, *sizes,
            *dx.shape[2:], *sizes, *counts, *[1] * 3, *[0] * 3, *[1] * 3, cost=8 * d.nbytes, KIND="max", TABLE=0, INDEX=1, DEEP=0,
            ACC=dtype_constexpr(acc), BLOCK=64,
        )  # fmt: skip
    else:
        _put(b, d, index, total, True)
    if total is not dx:
        plan_map(b, "elementwise.first", [total], dx, compute=None)
