# Pooling by a power mean without its division; with its gradient.

from __future__ import annotations

from typing import Any

from openxpu.ops.layout import plan_copy
from openxpu.ops.plan import PlanBuilder, Tensor, Unsupported, dtype_constexpr
from openxpu.ops.pointwise import plan_map
from openxpu.ops.pool import Pooling
from openxpu.ops.reduce import accumulation_dtype, power_of_two, real, require_contiguous


def _launch(
    b: PlanBuilder,
    kernel: str,
    tensors: list[Tensor],
    pixels: Tensor,
    cells: Tensor,
    pooling: Pooling,
    order: float,
) -> None:
    """One of the two kernels: over blocks of `cells` forward, over planes backward."""
    if pooling.table is not None:
        raise Unsupported("lp_pool2d with windows that are not all alike.")
    acc = accumulation_dtype(pixels.dtype)
    images, channels, rows, columns = cells.shape
    block = min(256, max(power_of_two(columns), 16))
    tile_rows = min(max(1024 // block, 1), power_of_two(rows))
    planes = images * channels
    grid = planes if kernel == "lp_pool_grad" else (-(-columns // block), -(-rows // tile_rows), planes)
    numbers: list[Any] = [
        *pixels.shape[2:],
        rows,
        columns,
        *pooling.stride,
        *pooling.padding,
        *pooling.window,
    ]
    taps = pooling.window[0] * pooling.window[1]
    b.launch(
        f"lp_pool.{kernel}", grid, *tensors, *numbers, real(order, acc), cost=cells.numel * taps * 8,
        ORDER=int(order) if order in (2, 3, 4) else 0, ACC=dtype_constexpr(acc), ROWS=tile_rows, BLOCK=block,
    )  # fmt: skip


def _first(b: PlanBuilder, t: Tensor, channels_last: bool) -> Tensor:
    """Channels in front of the pixels."""
    if not channels_last:
        return t
    view = t.permute(0, 3, 1, 2)
    copy = b.scratch(view.shape, t.dtype)
    plan_copy(b, view, copy)
    return copy


def plan_lp_pool2d(
    b: PlanBuilder, x: Tensor, out: Tensor, pooling: Pooling, order: float, channels_last: bool = False
) -> None:
    """(sum of x^order)^(1 / order) over each window."""
    require_contiguous("lp_pool2d", x, out)
    if out.numel == 0:
        return
    x = _first(b, x, channels_last)
    view = out.permute(0, 3, 1, 2) if channels_last else out
    target = b.scratch(view.shape, out.dtype) if channels_last else out
    _launch(b, "lp_pool", [x, target], x, target, pooling, order)
    if channels_last:
        plan_copy(b, target, view)


def plan_lp_pool2d_grad(
    b: PlanBuilder, x: Tensor, out: Tensor, d: Tensor, dx: Tensor, pooling: Pooling, order: float,
    channels_last: bool = False,
) -> None:  # fmt: skip
    require_contiguous("lp_pool2d_grad", x, out, d, dx)
    if dx.numel == 0:
        return
    x, out, d = (_first(b, t, channels_last) for t in (x, out, d))
    acc = accumulation_dtype(x.dtype)
    direct = dx.dtype == acc and not channels_last
    total = dx if direct else b.scratch(x.shape, acc)
    b.zero(total)
    if d.numel:
        _launch(b, "lp_pool_grad", [x, out, d, total], x, out, pooling, order)
    if not direct:
        view = dx.permute(0, 3, 1, 2) if channels_last else dx
        plan_map(b, "elementwise.first", [total], view, compute=None)
