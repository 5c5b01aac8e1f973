# Boxes of detectors: planners of prior boxes, anchors, box coding, YOLO's boxes and loss.

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from openxpu.ops.plan import PlanBuilder, Scalar, Tensor, Unsupported
from openxpu.ops.reduce import power_of_two, real, require_contiguous

_BLOCK = 1024
Floats = Sequence[float]


def _require_float(name: str, x: Tensor) -> None:
    if x.dtype not in ("f32", "f64"):
        raise Unsupported(f"{name} computes in f32 or f64, found {x.dtype}; cast its inputs.")


def _numpy(dtype: str) -> type[np.floating]:
    return np.float64 if dtype == "f64" else np.float32


# ---- grids of boxes ----


def _plan_grid(
    b: PlanBuilder, boxes: Tensor, variances: Tensor, halves: np.ndarray, values: Floats, steps: Floats, shifts: Floats,
    extents: Floats, clip: bool,
) -> None:  # fmt: skip
    """steps, shifts and extents along the width, then the height."""
    dtype = _numpy(boxes.dtype)
    count = 4 * len(halves)
    half = halves.astype(dtype)
    table = np.empty((3, count), dtype)
    table[0] = np.concatenate([-half, half], 1).ravel()
    table[1] = np.tile(np.array(extents, dtype), count // 2)
    table[2] = np.tile(np.asarray(values, np.float32).astype(dtype), len(halves))
    numbers = [real(float(v), boxes.dtype) for v in (*steps, *shifts)]
    cells = boxes.numel // count
    block = min(_BLOCK, max(power_of_two(count), 16))
    rows = max(_BLOCK // block, 1)
    b.launch(
        "boxes.box_grid", (-(-count // block), -(-cells // rows)), b.constant(table), boxes, variances, count,
        cells, boxes.shape[1], *numbers, cost=4 * boxes.nbytes, CLIP=int(clip), ROWS=rows, BLOCK=block,
    )  # fmt: skip


def aspect_ratios_of(ratios: Floats, flip: bool) -> list[float]:
    """1, then each new ratio (and its inverse)."""
    found = [1.0]
    for ratio in ratios:
        if all(abs(ratio - other) >= 1e-6 for other in found):
            found += [float(np.float32(ratio)), *([float(np.float32(1) / np.float32(ratio))] if flip else [])]
    return found


def plan_prior_box(
    b: PlanBuilder, boxes: Tensor, variances: Tensor, image: tuple[int, int], min_sizes: Floats, max_sizes: Floats,
    aspect_ratios: Floats, values: Floats, flip: bool, clip: bool, steps: tuple[float, float], offset: float,
    min_max_order: bool,
) -> None:  # fmt: skip
    """boxes [height, width, priors, 4] in units of an image of (height, width) (Liu et al., SSD, 2016); steps: (width, height)."""
    require_contiguous("prior_box", boxes, variances)
    _require_float("prior_box", boxes)
    if boxes.numel == 0:
        return
    halves: list[tuple[float, float]] = []
    for i, size in enumerate(np.asarray(min_sizes, np.float32)):
        square = [(float(np.sqrt(size * np.float32(max_sizes[i]))) / 2,) * 2] if max_sizes else []
        shaped = [
            (float(size * np.sqrt(np.float32(ratio))) / 2, float(size / np.sqrt(np.float32(ratio))) / 2)
            for ratio in aspect_ratios_of(aspect_ratios, flip)
            if not (min_max_order and abs(ratio - 1) < 1e-6)
        ]
        halves += [(float(size) / 2,) * 2, *square, *shaped] if min_max_order else [*shaped, *square]
    height, width = boxes.shape[:2]
    if steps[0] == 0 or steps[1] == 0:
        dtype = _numpy(boxes.dtype)
        steps = float(dtype(image[1]) / dtype(width)), float(dtype(image[0]) / dtype(height))
    shifts = [offset * step for step in steps]
    _plan_grid(b, boxes, variances, np.array(halves), values, steps, shifts, (image[1], image[0]), clip)


def plan_anchor_generator(
    b: PlanBuilder, anchors: Tensor, variances: Tensor, sizes: Floats, aspect_ratios: Floats, values: Floats,
    stride: tuple[float, float], offset: float,
) -> None:  # fmt: skip
    """anchors [height, width, ratios * sizes, 4] in pixels (Ren et al., Faster R-CNN, 2015); stride: (width, height)."""
    require_contiguous("anchor_generator", anchors, variances)
    _require_float("anchor_generator", anchors)
    if anchors.numel == 0:
        return
    dtype = _numpy(anchors.dtype)
    across, down = dtype(stride[0]), dtype(stride[1])
    halves = []
    for ratio in np.asarray(aspect_ratios, np.float32).astype(dtype):
        base_w = np.floor(np.sqrt(across * down / ratio) + dtype(0.5))
        base_h = np.floor(base_w * ratio + dtype(0.5))
        for size in np.asarray(sizes, np.float32).astype(dtype):
            halves.append((0.5 * (size / across * base_w - 1), 0.5 * (size / down * base_h - 1)))
    shifts = [offset * (step - 1) for step in stride]
    _plan_grid(b, anchors, variances, np.array(halves), values, stride, shifts, (1, 1), False)


# ---- coding ----


def plan_box_coder(
    b: PlanBuilder, priors: Tensor, prior_variances: Tensor | None, targets: Tensor, out: Tensor, encode: bool,
    normalized: bool, axis: int, variances: Floats,
) -> None:  # fmt: skip
    """out [rows, columns, 4]: boxes as offsets from prior boxes, or back (Girshick et al., R-CNN, 2014). Boxes that are not
    normalized contain their last pixel."""
    require_contiguous("box_coder", priors, prior_variances, targets, out)
    _require_float("box_coder", out)
    if out.numel == 0:
        return
    rows, columns, _ = out.shape
    values = [real(float(v), out.dtype) for v in (variances or (1.0, 1.0, 1.0, 1.0))]
    block = min(256, max(power_of_two(columns), 16))
    b.launch(
        "boxes.box_coder", (-(-columns // block), rows), priors, prior_variances, targets, out, columns,
        real(0.0 if normalized else 1.0, out.dtype), *values, cost=8 * out.nbytes, ENCODE=int(encode), AXIS=axis,
        VARIANCE=2 if prior_variances is not None else 1, BLOCK=block,
    )  # fmt: skip


# ---- YOLO ----


def plan_yolo_box(
    b: PlanBuilder, x: Tensor, sizes: Tensor, boxes: Tensor, scores: Tensor, anchors: Sequence[int], classes: int,
    threshold: float, ratio: int, clip: bool, scale: float, iou_aware: bool, iou_share: float,
) -> None:  # fmt: skip
    """Boxes and scores of the predictions x of one scale (Redmon and Farhadi, YOLOv3, 2018)."""
    require_contiguous("yolo_box", x, sizes, boxes, scores)
    _require_float("yolo_box", x)
    if x.numel == 0 or sizes.numel == 0:
        b.zero(boxes)
        b.zero(scores)
        return
    images, _, height, width = x.shape
    per_cell = len(anchors) // 2
    total = images * per_cell * height * width
    flat = height * width < 16 and total < 2**31
    block = 256 if flat else min(256, max(power_of_two(height * width), 16))
    grid = (-(-total // block),) if flat else (-(-height * width // block), per_cell, images)
    numbers = [real(float(v), x.dtype) for v in (threshold, scale, -0.5 * (scale - 1), iou_share)]
    b.launch(
        "boxes.yolo_box", grid, x, sizes, b.constant(np.array(anchors, np.int32)),
        boxes, scores, per_cell, classes, height, width, ratio, *numbers, total, cost=16 * x.nbytes, CLIP=int(clip),
        IOU=int(iou_aware), FLAT=int(flat), BLOCK=block,
    )  # fmt: skip


def _yolo(
    b: PlanBuilder, x: Tensor, truth: Tensor, anchors: Sequence[int], anchor_mask: Sequence[int], classes: int,
    ratio: int, smooth: bool,
) -> tuple[Tensor, Tensor, tuple[Scalar, ...], tuple[Scalar, ...]]:  # fmt: skip
    """Tables of anchors, the extents of the problem, and what a class is to be and not to be."""
    weight = min(1.0 / classes, 1.0 / 40) if smooth else 0.0
    numbers = (len(anchor_mask), classes, x.shape[2], x.shape[3], truth.shape[1], ratio * x.shape[2])
    labels = (real(1.0 - weight, x.dtype), real(weight, x.dtype))
    return (
        b.constant(np.array(anchors, np.int32)),
        b.constant(np.array(anchor_mask, np.int32)),
        numbers,
        labels,
    )


def _blocks(cells: int, classes: int) -> tuple[int, int]:
    return min(256, max(power_of_two(cells), 16)), min(128, max(power_of_two(classes), 16))


def plan_yolo_loss(
    b: PlanBuilder, x: Tensor, truth: Tensor, labels: Tensor, scores: Tensor | None, loss: Tensor, objectness: Tensor,
    match: Tensor, anchors: Sequence[int], anchor_mask: Sequence[int], classes: int, threshold: float, ratio: int,
    smooth: bool, scale: float,
) -> None:  # fmt: skip
    """loss [images] of predictions x against true boxes [images, boxes, 4]; objectness and match are for the gradient."""
    require_contiguous("yolo_loss", x, truth, labels, scores, loss, objectness, match)
    _require_float("yolo_loss", x)
    if x.numel == 0:
        return
    table, chosen, numbers, values = _yolo(b, x, truth, anchors, anchor_mask, classes, ratio, smooth)
    images, _, height, width = x.shape
    block, class_block = _blocks(height * width, classes)
    b.launch(
        "boxes.yolo_ignored", (-(-height * width // block), len(anchor_mask), images), x, truth, table, chosen, objectness,
        *numbers, real(scale, x.dtype), real(-0.5 * (scale - 1), x.dtype), real(threshold, x.dtype),
        cost=20 * objectness.numel * truth.shape[1], BLOCK=block,
    )  # fmt: skip
    b.launch(
        "boxes.yolo_loss", images, x, truth, labels, scores, table, chosen, objectness, match, loss, len(anchors) // 2,
        *numbers, *values, cost=20 * objectness.numel + truth.numel * (classes + 8 * len(anchors)),
        SCORES=int(scores is not None), CLASSES=class_block, BLOCK=block,
    )  # fmt: skip


def plan_yolo_loss_grad(
    b: PlanBuilder, x: Tensor, truth: Tensor, labels: Tensor, scores: Tensor | None, objectness: Tensor, match: Tensor,
    dloss: Tensor, dx: Tensor, anchors: Sequence[int], anchor_mask: Sequence[int], classes: int, ratio: int, smooth: bool,
) -> None:  # fmt: skip
    """dx of plan_yolo_loss."""
    require_contiguous("yolo_loss_grad", x, truth, labels, scores, objectness, match, dloss, dx)
    _require_float("yolo_loss_grad", x)
    if x.numel == 0:
        return
    table, chosen, numbers, values = _yolo(b, x, truth, anchors, anchor_mask, classes, ratio, smooth)
    images, _, height, width = x.shape
    block, class_block = _blocks(height * width, classes)
    b.launch(
        "boxes.yolo_objectness_grad", (-(-height * width // block), len(anchor_mask), images), x, objectness, dloss, dx,
        len(anchor_mask), classes, height * width, cost=2 * dx.nbytes, BLOCK=block,
    )  # fmt: skip
    b.launch(
        "boxes.yolo_match_grad", images, x, truth, labels, scores, table, chosen, match, dloss, dx, *numbers, *values,
        cost=8 * truth.numel * classes, SCORES=int(scores is not None), CLASSES=class_block,
    )  # fmt: skip
