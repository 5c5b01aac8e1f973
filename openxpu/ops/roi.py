# Regions of interest: planners of roi_align, roi_pool and psroi_pool with their gradients.

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from openxpu.ops.creation import plan_cast
from openxpu.ops.layout import plan_transpose
from openxpu.ops.plan import F64, PlanBuilder, Tensor, Unsupported, dtype_constexpr
from openxpu.ops.reduce import accumulation_dtype, power_of_two, real, require_contiguous
from openxpu.ops.run import run

if TYPE_CHECKING:
    from openxpu.runtime import Array

_PLANE = 2**31  # offsets inside one image are 32-bit


def _starts(
    b: PlanBuilder, name: str, x: Tensor, boxes: Tensor, counts: Tensor | None, *others: Tensor | None
) -> Tensor:
    """Where each image's boxes begin, when the call is one that the kernels can do."""
    if counts is None:
        raise Unsupported(f"{name} needs boxes_num; boxes with LoD are not known on the card.")
    images = x.shape[0]
    if x.ndim != 4 or x.numel // max(images, 1) >= _PLANE:
        raise Unsupported(f"{name} takes 4 dimensions and images below 2^31 elements, found shape {x.shape}.")
    if counts.numel != images:
        raise ValueError(f"{name}: {counts.numel} counts of boxes for a batch of {images} images.")
    require_contiguous(name, x, boxes, counts, *others)
    starts = b.scratch((images + 1,), "i32")
    b.launch("roi.region_starts", 1, counts, starts, images, boxes.shape[0], cost=12 * images)
    return starts


def _block(channels: int) -> int:
    return min(128, max(power_of_two(channels), 16))


def _channels_last(b: PlanBuilder, x: Tensor, reads: int) -> tuple[Tensor, int]:
    """x with neighbouring channels where so many reads are worth moving it, and whether it was."""
    if reads < 2 * x.numel or x.shape[1] < 8:
        return x, 0
    n, c, h, w = x.shape
    moved = b.scratch((n, h, w, c), x.dtype)
    plan_transpose(b, x, moved, (0, 2, 3, 1))
    return moved, 1


def plan_roi_align(
    b: PlanBuilder, x: Tensor, boxes: Tensor, counts: Tensor | None, out: Tensor, scale: float, ratio: int,
    aligned: bool,
) -> None:  # fmt: skip
    """out [regions, channels, rows, columns]: means of bilinear samples in the bins of each box, `ratio` of them along
    each side of a bin, or as many as a bin has pixels (He et al., Mask R-CNN, 2017)."""
    starts = _starts(b, "roi_align", x, boxes, counts, out)
    images, channels, height, width = x.shape
    regions, _, rows, columns = out.shape
    samples = max(ratio, 1) ** 2 if ratio > 0 else 4
    x, last = _channels_last(b, x, 4 * samples * out.numel)
    acc = accumulation_dtype(x.dtype)
    block = _block(channels)
    b.launch(
        "roi.roi_align", (-(-channels // block), regions), x, boxes, starts, out, images, channels, height, width, rows,
        columns, real(scale, acc), real(0.5 if aligned else 0.0, acc), ratio, cost=16 * samples * out.numel,
        ALIGNED=int(aligned), LAST=last, ACC=dtype_constexpr(acc), BLOCK=block,
    )  # fmt: skip


def plan_roi_align_grad(
    b: PlanBuilder, boxes: Tensor, counts: Tensor | None, dout: Tensor, dx: Tensor, scale: float, ratio: int,
    aligned: bool,
) -> None:  # fmt: skip
    """dx of plan_roi_align."""
    starts = _starts(b, "roi_align_grad", dx, boxes, counts, dout)
    images, channels, height, width = dx.shape
    rows, columns = dout.shape[2:]
    acc = accumulation_dtype(dx.dtype)
    total = b.scratch((images, height, width, channels), acc)
    b.zero(total)
    samples = max(ratio, 1) ** 2 if ratio > 0 else 4
    block = min(_block(channels), max(power_of_two(-(-channels * images // 8)), 16))
    b.launch(
        "roi.roi_align_grad", (-(-channels // block), images), boxes, starts, dout, total, channels, height,
        width, rows, columns, real(scale, acc), real(0.5 if aligned else 0.0, acc), ratio,
        cost=32 * samples * dout.numel, ALIGNED=int(aligned), ACC=dtype_constexpr(acc), BLOCK=block,
    )  # fmt: skip
    if acc != dx.dtype:
        narrow = b.scratch(total.shape, dx.dtype)
        plan_cast(b, total, narrow)
        total = narrow
    plan_transpose(b, total, dx, (0, 3, 1, 2))


def plan_roi_pool(
    b: PlanBuilder, x: Tensor, boxes: Tensor, counts: Tensor | None, out: Tensor, index: Tensor | None, scale: float,
) -> None:  # fmt: skip
    """out [regions, channels, rows, columns]: the greatest element of each bin of each box, and in `index` where in its
    plane it is (Girshick, Fast R-CNN, 2015). Without `index`: position-sensitive means, each channel and bin from a plane
    of its own (Dai et al., R-FCN, 2016)."""
    name = "psroi_pool" if index is None else "roi_pool"
    starts = _starts(b, name, x, boxes, counts, out, index)
    images, planes, height, width = x.shape
    regions, channels, rows, columns = out.shape
    if index is None and planes != channels * rows * columns:
        raise ValueError(f"psroi_pool: {planes} channels are not {channels} x {rows} x {columns}.")
    reads = 4 * out.numel
    x, last = _channels_last(b, x, reads) if index is not None else (x, 0)
    acc = accumulation_dtype(x.dtype)
    lowest = F64(np.finfo(np.float64).min) if acc == "f64" else float(np.finfo(np.float32).min)
    if x.dtype == "f16":
        lowest = float(np.finfo(np.float16).min)
    block = _block(channels)
    b.launch(
        "roi.roi_pool", (-(-channels // block), regions), x, boxes, starts, out, index, images, channels, planes, height,
        width, rows, columns, real(scale, acc), lowest, cost=4 * reads, KIND="mean" if index is None else "max",
        LAST=last, ACC=dtype_constexpr(acc), BLOCK=block,
    )  # fmt: skip


def plan_roi_pool_grad(
    b: PlanBuilder, boxes: Tensor, counts: Tensor | None, index: Tensor | None, dout: Tensor, dx: Tensor, scale: float,
) -> None:  # fmt: skip
    """dx of plan_roi_pool: with `index` of the greatest elements, without of the means."""
    starts = _starts(b, "roi_pool_grad", dx, boxes, counts, index, dout)
    images, planes, height, width = dx.shape
    channels, rows, columns = dout.shape[1:]
    acc = accumulation_dtype(dx.dtype)
    total = dx if acc == dx.dtype else b.scratch(dx.shape, acc)
    b.zero(total)
    # One scattered sum after the other from a plane that stays in the cache, or lanes of planes with the same bins.
    block = (
        1 if index is not None else min(_block(channels), max(power_of_two(-(-channels * images // 8)), 16))
    )
    b.launch(
        "roi.roi_pool_grad", (-(-channels // block), images), boxes, starts, index, dout, total, channels,
        planes, height, width, rows, columns, real(scale, acc), cost=16 * dout.numel,
        KIND="mean" if index is None else "max", ACC=dtype_constexpr(acc), BLOCK=block,
    )  # fmt: skip
    if total is not dx:
        plan_cast(b, total, dx)


# ---- on arrays ----


def roi_align(
    x: Array,
    boxes: Array,
    counts: Array,
    size: tuple[int, int],
    scale: float = 1.0,
    ratio: int = -1,
    aligned: bool = True,
) -> Array:
    """Means of bilinear samples of x [images, channels, height, width] in `size` bins of each box [regions, 4]; counts [images]:
    how many boxes each image has. See plan_roi_align."""
    out = (boxes.shape[0], x.shape[1], *size)
    return run(plan_roi_align, [x, boxes, counts], [(out, x.dtype)], scale, ratio, aligned)  # type: ignore[no-any-return]
