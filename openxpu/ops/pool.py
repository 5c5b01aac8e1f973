# Pooling planners: max and average over windows, global and adaptive, channels first and last, with gradients.

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from openxpu.ops.plan import I64, PlanBuilder, Tensor, Unsupported, dtype_constexpr
from openxpu.ops.reduce import accumulation_dtype, plan_mean, plan_mean_grad, power_of_two, require_contiguous
from openxpu.ops.run import run

if TYPE_CHECKING:
    from openxpu.runtime import Array

_UNROLLED = (
    49  # windows of up to so many taps have their own kernel, which is faster and takes longer to compile
)
_Edges = tuple[tuple[int, ...], tuple[int, ...]]


@dataclass(frozen=True)
class Pooling:
    """What a pooling does: `window`, `stride` and `padding` (of the start) in rows and columns."""

    kind: str
    window: tuple[int, int]
    stride: tuple[int, int]
    padding: tuple[int, int]
    table: tuple[_Edges, _Edges] | None  # starts and ends of windows that are not all alike


def _edges(extent: int, parts: int) -> _Edges:
    """Starts and ends of adaptive windows."""
    return (
        tuple(o * extent // parts for o in range(parts)),
        tuple(-(-(o + 1) * extent // parts) for o in range(parts)),
    )


def resolve(
    kind: str,
    extents: tuple[int, int],
    out_extents: tuple[int, int],
    window: Sequence[int],
    stride: Sequence[int],
    padding: Sequence[int],
    exclusive: bool = True,
    adaptive: bool = False,
    global_pooling: bool = False,
    algorithm: str = "EXPLICIT",
) -> Pooling:
    """Paddle's attributes as one Pooling. padding: (rows, columns) or (top, bottom, left, right)."""
    if global_pooling:
        return Pooling(kind, extents, (1, 1), (0, 0), None)
    if adaptive:
        if extents[0] % out_extents[0] == 0 and extents[1] % out_extents[1] == 0:
            step = (extents[0] // out_extents[0], extents[1] // out_extents[1])
            return Pooling(kind, step, step, (0, 0), None)
        tables = _edges(extents[0], out_extents[0]), _edges(extents[1], out_extents[1])
        height, width = (max(end - start for start, end in zip(*edges, strict=True)) for edges in tables)
        return Pooling(kind, (height, width), (1, 1), (0, 0), tables)
    height, width = (*window, *window)[:2]
    down, right = (*stride, *stride)[:2]
    if algorithm == "SAME":
        needed = [
            max((-(-e // s) - 1) * s + k - e, 0)
            for e, s, k in zip(extents, (down, right), (height, width), strict=True)
        ]
        top, left = needed[0] // 2, needed[1] // 2
    elif algorithm == "VALID":
        top = left = 0
    elif len(padding) == 4:
        top, left = padding[0], padding[2]
    else:
        top, left = (*padding, *padding)[:2]
    if kind == "avg" and not exclusive:
        kind = "avg_padded"
    return Pooling(kind, (height, width), (down, right), (top, left), None)


def _arguments(
    b: PlanBuilder, pooling: Pooling
) -> tuple[tuple[Tensor | None, Tensor | None], dict[str, object]]:
    """The tables of window edges, and the constexprs that say how to use them."""
    if pooling.table is None:
        return (None, None), {"KIND": pooling.kind, "TABLE": 0}
    repeated = any(len(set(starts)) < len(starts) for starts, _ in pooling.table)
    rows, columns = (b.constant(np.array(edges, np.int32)) for edges in pooling.table)
    return (rows, columns), {"KIND": pooling.kind, "TABLE": 2 if repeated else 1}


def _whole(pooling: Pooling, extents: tuple[int, int], out_extents: tuple[int, int]) -> bool:
    """One window that is the whole image."""
    return (
        pooling.kind != "max"
        and out_extents == (1, 1)
        and pooling.window == extents
        and pooling.padding == (0, 0)
    )


def _sides(x: Tensor, channels_last: bool) -> tuple[int, int, tuple[int, int]]:
    """(images, channels, (height, width))."""
    if x.ndim != 4:
        raise Unsupported(f"2-D pooling takes 4 dimensions, found shape {x.shape}.")
    if channels_last:
        return x.shape[0], x.shape[3], (x.shape[1], x.shape[2])
    return x.shape[0], x.shape[1], (x.shape[2], x.shape[3])


def extents_of(x: Tensor, channels_last: bool) -> tuple[int, int]:
    """Height and width."""
    return _sides(x, channels_last)[2]


def plan_pool2d(
    b: PlanBuilder,
    x: Tensor,
    out: Tensor,
    pooling: Pooling,
    channels_last: bool = False,
    index: Tensor | None = None,
) -> None:
    """Pools windows of x. `index` (channels first, max) gets the place in its plane of each maximum."""
    require_contiguous("pool2d", x, out, index)
    images, channels, extents = _sides(x, channels_last)
    out_extents = extents_of(out, channels_last)
    if out.numel == 0:
        return
    if _whole(pooling, extents, out_extents):
        plan_mean(b, x, out, (1, 2) if channels_last else (2, 3))
        return
    (table_h, table_w), flags = _arguments(b, pooling)
    acc = accumulation_dtype(x.dtype)
    unrolled = pooling.window if math.prod(pooling.window) <= _UNROLLED else (0, 0)
    last_flags = {"KH": unrolled[0], "KW": unrolled[1], "ACC": dtype_constexpr(acc)}
    numbers = (*extents, *out_extents, *pooling.stride, *pooling.padding, *pooling.window)
    cost = x.nbytes + out.nbytes * math.prod(pooling.window)
    if channels_last:
        if index is not None:
            raise Unsupported("max_pool2d_with_index is for channels first.")
        block = min(256, max(power_of_two(channels), 16))
        rows = min(max(1024 // block, 1), power_of_two(out_extents[1]))
        grid = (-(-channels // block), -(-out_extents[1] // rows), images * out_extents[0])
        b.launch(
            "pool.pool_pixels", grid, x, out, table_h, table_w, channels, *numbers,
            cost=cost, **flags, **last_flags, ROWS=rows, BLOCK=block,
        )  # fmt: skip
        return
    block = min(256, max(power_of_two(out_extents[1]), 16))
    rows = min(max(1024 // block, 1), power_of_two(out_extents[0]))
    grid = (-(-out_extents[1] // block), -(-out_extents[0] // rows), images * channels)
    b.launch(
        "pool.pool_planes", grid, x, out, index, table_h, table_w, *numbers,
        cost=cost, **flags, INDEX=int(index is not None), **last_flags, ROWS=rows, BLOCK=block,
    )  # fmt: skip


def plan_pool2d_grad(
    b: PlanBuilder,
    x: Tensor | None,
    out: Tensor | None,
    dout: Tensor,
    dx: Tensor,
    pooling: Pooling,
    channels_last: bool = False,
    index: Tensor | None = None,
) -> None:
    """dx of plan_pool2d; "max" needs x and out, or index."""
    require_contiguous("pool2d_grad", x, out, dout, dx, index)
    images, channels, extents = _sides(dx, channels_last)
    out_extents = extents_of(dout, channels_last)
    if dx.numel == 0:
        return
    if _whole(pooling, extents, out_extents):
        plan_mean_grad(b, dout, dx, (1, 2) if channels_last else (2, 3))
        return
    (table_h, table_w), flags = _arguments(b, pooling)
    acc = dtype_constexpr(accumulation_dtype(dx.dtype))
    total = dx if dx.dtype in ("f32", "f64") else b.scratch(dx.shape, "f32")
    b.zero(total)
    numbers = (*extents, *out_extents, *pooling.stride, *pooling.padding, *pooling.window)
    cost = (total.nbytes + 2 * dout.nbytes) * max(math.prod(pooling.window) // 2, 1)
    if channels_last:
        if index is not None:
            raise Unsupported("max_pool2d_with_index is for channels first.")
        block = min(64, max(power_of_two(channels), 16))
        rows = min(max(1024 // block, 1), power_of_two(out_extents[1]))
        grid = (-(-channels // block), images)
        b.launch(
            "pool.pool_grad_pixels", grid, x, out, dout, total, table_h, table_w, channels, *numbers,
            cost=cost, **flags, ACC=acc, ROWS=rows, BLOCK=block,
        )  # fmt: skip
    else:
        block = min(256, max(power_of_two(out_extents[1]), 16))
        rows = min(max(1024 // block, 1), power_of_two(out_extents[0]))
        b.launch(
            "pool.pool_grad_planes", images * channels, x, out, index, dout, total, table_h, table_w, *numbers,
            cost=cost, **flags, INDEX=int(index is not None), ACC=acc, ROWS=rows, BLOCK=block,
        )  # fmt: skip
    if total is not dx:
        size = min(4096, power_of_two(dx.numel))
        b.launch(
            "embedding.narrow", -(-dx.numel // size), total, dx, I64(dx.numel), cost=2 * dx.nbytes, BLOCK=size
        )


# ---- on arrays ----


def _pool(
    kind: str,
    x: Array,
    window: Sequence[int],
    stride: Sequence[int] | None,
    padding: Sequence[int],
    exclusive: bool,
) -> Array:
    stride = tuple(window if stride is None else stride)
    sides = (x.shape[2], x.shape[3])
    out = tuple((e + 2 * p - k) // s + 1 for e, p, k, s in zip(sides, padding, window, stride, strict=True))
    pooling = resolve(kind, sides, (out[0], out[1]), tuple(window), stride, tuple(padding), exclusive)
    return run(plan_pool2d, [x], [((*x.shape[:2], *out), x.dtype)], pooling)  # type: ignore[no-any-return]


def max_pool2d(
    x: Array, window: Sequence[int], stride: Sequence[int] | None = None, padding: Sequence[int] = (0, 0)
) -> Array:
    """The greatest element of each window of x [images, channels, height, width]."""
    return _pool("max", x, window, stride, padding, True)


def avg_pool2d(
    x: Array,
    window: Sequence[int],
    stride: Sequence[int] | None = None,
    padding: Sequence[int] = (0, 0),
    exclusive: bool = True,
) -> Array:
    """The mean of each window; `exclusive`: of the elements that are not padding."""
    return _pool("avg", x, window, stride, padding, exclusive)
