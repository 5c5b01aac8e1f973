# Pooling that goes by the places of maxima: unpooling, fractional max pooling; with gradients.

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from openxpu.ops.layout import as_bits, plan_put_along, plan_take_along_axis
from openxpu.ops.plan import PlanBuilder, Tensor, Unsupported, dtype_constexpr
from openxpu.ops.reduce import accumulation_dtype, power_of_two, require_contiguous


def _planes(t: Tensor) -> Tensor:
    """[images, channels, ...] as [planes, pixels]."""
    return t.reshape(t.shape[0] * t.shape[1], math.prod(t.shape[2:]))


def plan_unpool(b: PlanBuilder, x: Tensor, index: Tensor, out: Tensor) -> None:
    """out is zero but for x, whose elements go to the places `index` in their planes; of equal places the last wins."""
    require_contiguous("unpool", x, index, out)
    b.zero(out)
    if x.numel and out.numel:
        plan_put_along(b, as_bits(_planes(x)), _planes(index), as_bits(_planes(out)), 1, "assign")


def plan_unpool_grad(b: PlanBuilder, index: Tensor, d: Tensor, dx: Tensor) -> None:
    require_contiguous("unpool_grad", index, d, dx)
    if dx.numel:
        plan_take_along_axis(b, _planes(d), _planes(index), _planes(dx), 1)


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
    block = min(512, max(power_of_two(points), 16))
    b.launch(
        "indexed_pool.max_pool_table", (-(-points // block), x.shape[0] * x.shape[1]), x, out, index, *tables,
        *extents, *counts, *longest, cost=out.numel * math.prod(longest) * 16,
        ACC=dtype_constexpr(accumulation_dtype(x.dtype)), BLOCK=block,
    )  # fmt: skip


def plan_index_pool_grad(b: PlanBuilder, index: Tensor, d: Tensor, dx: Tensor) -> None:
    """Gradients added up at the places of the maxima, in the order of the windows."""
    require_contiguous("fractional_max_pool_grad", index, d, dx)
    b.zero(dx)
    if d.numel and dx.numel:
        plan_put_along(b, _planes(d), _planes(index), _planes(dx), 1, "add")
