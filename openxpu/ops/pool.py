# Pooling planners: max and average over windows, global and adaptive, channels first and last, with gradients.

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from openxpu.ops.layout import plan_copy
from openxpu.ops.plan import I64, PlanBuilder, Tensor, Unsupported, dtype_constexpr
from openxpu.ops.reduce import accumulation_dtype, plan_mean, plan_mean_grad, power_of_two, require_contiguous
from openxpu.ops.run import run

if TYPE_CHECKING:
    from openxpu.runtime import Array

_UNROLLED = (
    49  # windows of up to so many taps have their own kernel, which is faster and takes longer to compile
)
_FEW = 64  # windows of a plane that one lane takes, when there are planes enough
_PLANES = 64  # planes of a program then
_Edges = tuple[tuple[int, ...], tuple[int, ...]]
Numbers = tuple[int, ...]


@dataclass(frozen=True)
class Pooling:
    """What a pooling does: `window`, `stride` and `padding` (of the start) in each dimension."""

    kind: str
    window: Numbers
    stride: Numbers
    padding: Numbers
    table: tuple[_Edges, ...] | None  # starts and ends of windows that are not all alike


def _edges(extent: int, parts: int) -> _Edges:
    """Starts and ends of adaptive windows."""
    return (
        tuple(o * extent // parts for o in range(parts)),
        tuple(-(-(o + 1) * extent // parts) for o in range(parts)),
    )


def _for_each(values: Sequence[int], rank: int) -> Numbers:
    return (tuple(values) * rank)[:rank]


def resolve(
    kind: str,
    extents: Numbers,
    out_extents: Numbers,
    window: Sequence[int],
    stride: Sequence[int],
    padding: Sequence[int],
    exclusive: bool = True,
    adaptive: bool = False,
    global_pooling: bool = False,
    algorithm: str = "EXPLICIT",
) -> Pooling:
    """Paddle's attributes as one Pooling. padding: one number for each dimension, or (before, after) of each."""
    rank = len(extents)
    if global_pooling:
        return Pooling(kind, extents, (1,) * rank, (0,) * rank, None)
    if adaptive:
        if all(e % o == 0 for e, o in zip(extents, out_extents, strict=True)):
            step = tuple(e // o for e, o in zip(extents, out_extents, strict=True))
            return Pooling(kind, step, step, (0,) * rank, None)
        tables = tuple(_edges(e, o) for e, o in zip(extents, out_extents, strict=True))
        longest = tuple(max(end - start for start, end in zip(*edges, strict=True)) for edges in tables)
        return Pooling(kind, longest, (1,) * rank, (0,) * rank, tables)
    sides, steps = _for_each(window, rank), _for_each(stride, rank)
    if algorithm == "SAME":
        before = tuple(
            max((-(-e // s) - 1) * s + k - e, 0) // 2 for e, s, k in zip(extents, steps, sides, strict=True)
        )
    elif algorithm == "VALID":
        before = (0,) * rank
    elif len(padding) == 2 * rank:
        before = tuple(padding[::2])
    else:
        before = _for_each(padding, rank)
    if kind == "avg" and not exclusive:
        kind = "avg_padded"
    return Pooling(kind, sides, steps, before, None)


def _arguments(b: PlanBuilder, pooling: Pooling) -> tuple[list[Tensor | None], dict[str, object]]:
    """The tables of window edges, and the constexprs that say how to use them."""
    if pooling.table is None:
        return [None] * len(pooling.window), {"KIND": pooling.kind, "TABLE": 0}
    repeated = any(len(set(starts)) < len(starts) for starts, _ in pooling.table)
    tables: list[Tensor | None] = [b.constant(np.array(edges, np.int32)) for edges in pooling.table]
    return tables, {"KIND": pooling.kind, "TABLE": 2 if repeated else 1}


def _whole(pooling: Pooling, extents: Numbers, out_extents: Numbers) -> bool:
    """One window that is the whole image."""
    return (
        pooling.kind != "max"
        and math.prod(out_extents) == 1
        and pooling.window == extents
        and not any(pooling.padding)
    )


def _sides(x: Tensor, channels_last: bool) -> tuple[int, int, Numbers]:
    """(images, channels, extents)."""
    if x.ndim not in (4, 5):
        raise Unsupported(f"pooling takes 4 or 5 dimensions, found shape {x.shape}.")
    if channels_last:
        return x.shape[0], x.shape[-1], x.shape[1:-1]
    return x.shape[0], x.shape[1], x.shape[2:]


def extents_of(x: Tensor, channels_last: bool) -> Numbers:
    """Height and width, after the depth of volumes."""
    return _sides(x, channels_last)[2]


def _numbers(pooling: Pooling, extents: Numbers, out_extents: Numbers) -> list[int]:
    """The numbers that the kernels take."""
    return [*extents, *out_extents, *pooling.stride, *pooling.padding, *pooling.window]


def _deep(numbers: Sequence[Any], filling: Any) -> tuple[Any, ...]:
    """An image as a volume of one slice."""
    return (filling,) * (3 - len(numbers)) + tuple(numbers)


def _plane_numbers(pooling: Pooling, extents: Numbers, out_extents: Numbers) -> list[int]:
    one = Pooling("", _deep(pooling.window, 1), _deep(pooling.stride, 1), _deep(pooling.padding, 0), None)
    return _numbers(one, _deep(extents, 1), _deep(out_extents, 1))


def _channels_first(b: PlanBuilder, x: Tensor | None) -> Tensor | None:
    """A copy of x [images, ..., channels] with the channels in front."""
    if x is None:
        return None
    view = x.permute(0, x.ndim - 1, *range(1, x.ndim - 1))
    out = b.scratch(view.shape, x.dtype)
    plan_copy(b, view, out)
    return out


def lanes_are_planes(planes: int, out_extents: Sequence[int]) -> bool:
    """Whether planes are so small and so many that each is best left to one lane."""
    return math.prod(out_extents) <= _FEW and planes >= 4 * _PLANES


def plan_pool(
    b: PlanBuilder,
    x: Tensor,
    out: Tensor,
    pooling: Pooling,
    channels_last: bool = False,
    index: Tensor | None = None,
) -> None:
    """Pools windows of x, images or volumes. `index` (channels first, max) gets the place in its plane of each maximum."""
    require_contiguous("pooling", x, out, index)
    images, channels, extents = _sides(x, channels_last)
    out_extents = extents_of(out, channels_last)
    if out.numel == 0:
        return
    if _whole(pooling, extents, out_extents):
        plan_mean(b, x, out, tuple(range(1, x.ndim - 1) if channels_last else range(2, x.ndim)))
        return
    if channels_last and index is not None:
        raise Unsupported("max pooling with indices is for channels first.")
    if channels_last and len(extents) == 3:
        moved = b.scratch((images, channels, *out_extents), out.dtype)
        plan_pool(b, _channels_first(b, x) or x, moved, pooling)
        plan_copy(b, moved.permute(0, 2, 3, 4, 1), out)
        return
    tables, flags = _arguments(b, pooling)
    acc = accumulation_dtype(x.dtype)
    unrolled = pooling.window[-2:] if math.prod(pooling.window[-2:]) <= _UNROLLED else (0, 0)
    last_flags = {"KH": unrolled[0], "KW": unrolled[1], "ACC": dtype_constexpr(acc)}
    cost = x.nbytes + out.nbytes * math.prod(pooling.window)
    if channels_last:
        block = min(256, max(power_of_two(channels), 16))
        rows = min(max(1024 // block, 1), power_of_two(out_extents[1]))
        grid = (-(-channels // block), -(-out_extents[1] // rows), images * out_extents[0])
        b.launch(
            "pool.pool_pixels", grid, x, out, *tables, channels, *_numbers(pooling, extents, out_extents),
            cost=cost, **flags, **last_flags, ROWS=rows, BLOCK=block,
        )  # fmt: skip
        return
    if lanes_are_planes(images * channels, out_extents):
        b.launch(
            "pool.pool_lanes", -(-images * channels // _PLANES), x, out, index, *_deep(tables, None), images * channels,
            *_plane_numbers(pooling, extents, out_extents), cost=2 * cost, **flags, INDEX=int(index is not None),
            DEEP=len(extents) == 3, ACC=dtype_constexpr(acc), BLOCK=_PLANES,
        )  # fmt: skip
        return
    block = min(256, max(power_of_two(out_extents[-1]), 16))
    rows = min(max(1024 // block, 1), power_of_two(out_extents[-2]))
    slices = math.prod(out_extents[:-2])
    grid = (-(-out_extents[-1] // block), -(-out_extents[-2] // rows), images * channels * slices)
    b.launch(
        "pool.pool_planes", grid, x, out, index, *_deep(tables, None), *_plane_numbers(pooling, extents, out_extents),
        cost=cost, **flags, INDEX=int(index is not None), DEEP=len(extents) == 3, **last_flags, ROWS=rows, BLOCK=block,
    )  # fmt: skip


def plan_pool_grad(
    b: PlanBuilder,
    x: Tensor | None,
    out: Tensor | None,
    dout: Tensor,
    dx: Tensor,
    pooling: Pooling,
    channels_last: bool = False,
    index: Tensor | None = None,
) -> None:
    """dx of plan_pool; "max" needs x and out, or index."""
    require_contiguous("the gradient of pooling", x, out, dout, dx, index)
    images, channels, extents = _sides(dx, channels_last)
    out_extents = extents_of(dout, channels_last)
    if dx.numel == 0:
        return
    if _whole(pooling, extents, out_extents):
        plan_mean_grad(b, dout, dx, tuple(range(1, dx.ndim - 1) if channels_last else range(2, dx.ndim)))
        return
    if channels_last and index is not None:
        raise Unsupported("max pooling with indices is for channels first.")
    if channels_last and len(extents) == 3:
        moved = b.scratch((images, channels, *extents), dx.dtype)
        used = (x, out) if pooling.kind == "max" else (None, None)
        first = [_channels_first(b, t) for t in (*used, dout)]
        plan_pool_grad(b, first[0], first[1], first[2] or dout, moved, pooling)
        plan_copy(b, moved.permute(0, 2, 3, 4, 1), dx)
        return
    tables, flags = _arguments(b, pooling)
    acc = dtype_constexpr(accumulation_dtype(dx.dtype))
    total = dx if dx.dtype in ("f32", "f64") else b.scratch(dx.shape, "f32")
    b.zero(total)
    cost = (total.nbytes + 2 * dout.nbytes) * max(math.prod(pooling.window) // 2, 1)
    if channels_last:
        block = min(64, max(power_of_two(channels), 16))
        rows = min(max(1024 // block, 1), power_of_two(out_extents[1]))
        grid = (-(-channels // block), images)
        b.launch(
            "pool.pool_grad_pixels", grid, x, out, dout, total, *tables, channels,
            *_numbers(pooling, extents, out_extents), cost=cost, **flags, ACC=acc, ROWS=rows, BLOCK=block,
        )  # fmt: skip
    elif lanes_are_planes(images * channels, out_extents):
        b.launch(
            "pool.pool_grad_lanes", -(-images * channels // _PLANES), x, out, index, dout, total, *_deep(tables, None),
            images * channels, *_plane_numbers(pooling, extents, out_extents), cost=2 * cost, **flags,
            INDEX=int(index is not None), DEEP=len(extents) == 3, ACC=acc, BLOCK=_PLANES,
        )  # fmt: skip
    else:
        block = min(256, max(power_of_two(out_extents[-1]), 16))
        rows = min(max(1024 // block, 1), power_of_two(out_extents[-2]))
        b.launch(
            "pool.pool_grad_planes", images * channels, x, out, index, dout, total, *_deep(tables, None),
            *_plane_numbers(pooling, extents, out_extents), cost=cost, **flags, INDEX=int(index is not None),
            DEEP=len(extents) == 3, ACC=acc, ROWS=rows, BLOCK=block,
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
    return run(plan_pool, [x], [((*x.shape[:2], *out), x.dtype)], pooling)  # type: ignore[no-any-return]


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
