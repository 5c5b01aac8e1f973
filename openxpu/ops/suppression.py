# Suppression of overlapping boxes: planners of NMS in its variants, of proposals, and of the levels of a feature pyramid.

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from openxpu.ops.layout import plan_concat, plan_transpose
from openxpu.ops.plan import PlanBuilder, Scalar, Tensor, Unsupported
from openxpu.ops.reduce import power_of_two, real, require_contiguous
from openxpu.ops.run import run
from openxpu.ops.sort import plan_sort_rows

if TYPE_CHECKING:
    from openxpu.runtime import Array

_LANES = 64  # kept boxes that are compared at a time
_BLOCK = 256
_PROGRAMS = 16  # of lists; each has working memory of its own
_ALL = 2**31 - 1


def _check(name: str, boxes: Tensor, *others: Tensor | None) -> None:
    require_contiguous(name, boxes, *others)
    if boxes.dtype not in ("f32", "f64"):
        raise Unsupported(f"{name} computes in f32 or f64, found {boxes.dtype}; cast its inputs.")
    if boxes.shape[-1] != 4:
        raise Unsupported(f"{name} takes boxes of 4 sides; these have {boxes.shape[-1]} (polygons).")
    if boxes.numel >= 2**31:
        raise Unsupported(f"{name} takes less than 2^31 coordinates, found shape {boxes.shape}.")


def plan_nms(b: PlanBuilder, boxes: Tensor, out: Tensor, threshold: float) -> None:
    """out [count] (i64): the boxes [n, 4], best first, that overlap no better kept one by more than the threshold."""
    _check("nms", boxes)
    n = boxes.shape[0]
    dtype = boxes.dtype
    count = b.count()
    kept = b.kept((n,), "i32")
    b.launch(
        "suppression.suppress", 1, boxes, None, kept, b.scratch((4, n), dtype), count.place, n, _ALL, 4, 1,
        real(threshold, dtype), real(1.0, dtype), real(0.0, dtype), cost=n * n, VALID=0, ALL=0, PLAIN=1, BLOCK=_LANES,
    )  # fmt: skip
    b.measure((out, (count,)))
    b.launch("suppression.take_indices", -(-n // _BLOCK), kept, out, count, cost=12 * n, BLOCK=_BLOCK)


# ---- proposals ----


def plan_generate_proposals(
    b: PlanBuilder, scores: Tensor, deltas: Tensor, sizes: Tensor, anchors: Tensor, variances: Tensor, rois: Tensor,
    probs: Tensor, numbers: Tensor | None, before: int, after: int, threshold: float, least: float, eta: float,
    pixel_offset: bool,
) -> None:  # fmt: skip
    """rois [count, 4] and probs [count, 1]: of the `before` best anchors of each image, moved by their deltas, the `after` best
    that are large enough and do not overlap (Ren et al., Faster R-CNN, 2015); numbers [images]: how many each has."""
    require_contiguous("generate_proposals", scores, deltas, sizes, anchors, variances)
    dtype = scores.dtype
    if dtype not in ("f32", "f64"):
        raise Unsupported(f"generate_proposals computes in f32 or f64, found {dtype}.")
    images, per_cell, height, width = scores.shape
    total = per_cell * height * width
    if images == 0 or total == 0:
        raise Unsupported("generate_proposals was called without anchors.")
    n = min(before, total) if before > 0 else total
    count = b.count()
    moved_scores = b.kept((images, height, width, per_cell), dtype)
    plan_transpose(b, scores, moved_scores, (0, 2, 3, 1))
    flat = moved_scores.reshape(images, total)
    moved_deltas = b.scratch((images, height, width, 4 * per_cell), dtype)
    plan_transpose(b, deltas, moved_deltas, (0, 2, 3, 1))
    order = b.kept((images, total), "i32")
    plan_sort_rows(b, flat, None, order, descending=True)
    boxes, valid = b.kept((images, 4, n), dtype), b.scratch((images, n), "i32")
    pixel = real(1.0 if pixel_offset else 0.0, dtype)
    b.launch(
        "suppression.proposals", (-(-n // _BLOCK), images), order, moved_deltas, anchors, variances, sizes, boxes, valid, n,
        total, real(max(least, 1.0), dtype), real(math.log(1000.0 / 16.0), dtype), pixel, cost=200 * images * n,
        CENTRE=int(pixel_offset), BLOCK=_BLOCK,
    )  # fmt: skip
    kept, totals = b.kept((images, n), "i32"), b.kept((images,), "i64")
    limit = after if after > 0 and threshold > 0 else _ALL
    b.launch(
        "suppression.suppress", images, boxes, valid, kept, b.scratch((images, 4, n), dtype), totals, n, limit, 1, n,
        real(threshold, dtype), real(eta, dtype), pixel, cost=images * n * n, VALID=1, ALL=int(threshold <= 0), PLAIN=0,
        BLOCK=_LANES,
    )  # fmt: skip
    places = b.kept((images,), "i64")
    kept_numbers = b.kept((images,), "i32")
    b.launch("suppression.proposal_places", 1, totals, kept_numbers, places, count.place, images)
    b.measure((rois, (count, 4)), (probs, (count, 1)), (numbers, (images,)))
    _copy_numbers(b, numbers, kept_numbers)
    b.launch(
        "suppression.gather_proposals", (-(-n // _BLOCK), images), boxes, _by_order(b, flat, order, n), kept, totals, places,
        rois, probs, n, n, cost=60 * images * n, BLOCK=_BLOCK,
    )  # fmt: skip


def _by_order(b: PlanBuilder, scores: Tensor, order: Tensor, n: int) -> Tensor:
    """The n best scores of each row."""
    rows, total = scores.shape
    out = b.scratch((rows, n), scores.dtype)
    b.launch(
        "suppression.gather_scores", (-(-n // _BLOCK), rows), scores, order, out, n, total, cost=16 * rows * n,
        BLOCK=_BLOCK,
    )  # fmt: skip
    return out


# ---- classes ----


class _Lists:
    """The lists of boxes of a call: one for each image and class. counts: boxes of each image lie one after the other,
    with a box of its own for each class."""

    def __init__(self, boxes: Tensor, scores: Tensor, counts: Tensor | None, top_k: int) -> None:
        self.flat = int(scores.ndim == 2)
        if self.flat:
            if counts is None:
                raise Unsupported(
                    "multiclass_nms3 on scores of 2 dimensions needs rois_num; LoD is not known on the card."
                )
            self.images, self.classes, self.n = counts.numel, scores.shape[1], scores.shape[0]
        else:
            self.images, self.classes, self.n = scores.shape
        self.rows = self.images * self.classes
        self.size = min(self.n, top_k) if top_k > -1 else self.n
        self.limit = top_k if top_k > -1 else _ALL
        self.programs = min(self.rows, _PROGRAMS)
        self.class_block = max(power_of_two(self.classes), 16)

    def candidates(self, b: PlanBuilder, dtype: str) -> tuple[Tensor, Tensor, Tensor]:
        """Working memory: scores, indices and boxes."""
        shape = (self.programs, self.n)
        return b.scratch(shape, dtype), b.scratch(shape, "i32"), b.scratch((*shape, 4), dtype)


def _copy_numbers(b: PlanBuilder, numbers: Tensor | None, kept: Tensor) -> None:
    """Into an output that has its size only when the others have theirs."""
    if numbers is not None:
        b.copy(numbers.view(kept.shape), kept)


def plan_multiclass_nms(
    b: PlanBuilder, boxes: Tensor, scores: Tensor, counts: Tensor | None, out: Tensor, index: Tensor | None,
    numbers: Tensor | None, threshold: float, top_k: int, keep: int, overlap: float, normalized: bool, eta: float,
    background: int,
) -> None:  # fmt: skip
    """out [count, 6]: class, score and box of the `keep` best of each image after greedy suppression in each class; index
    [count, 1]: which box; numbers [images]. boxes [images, n, 4] with scores [images, classes, n], or [n, classes, 4] with
    scores [n, classes] and the images' counts."""
    _check("multiclass_nms3", boxes, scores, counts)
    if index is None:
        raise Unsupported(
            "multiclass_nms3 without an index gives a single -1 when nothing is found; ask for the index."
        )
    lists = _Lists(boxes, scores, counts, top_k)
    dtype = boxes.dtype
    count = b.count()
    places = b.kept((lists.images,), "i64")
    selected = b.kept((lists.rows, lists.size), "i32")
    selected_scores = b.kept((lists.rows, lists.size), dtype)
    taken, totals = b.kept((lists.rows,), "i32"), b.scratch((lists.rows,), "i32")
    kept_numbers = b.kept((lists.images,), "i32")
    numeric: list[Scalar] = [real(v, dtype) for v in (threshold, overlap, eta, 0.0 if normalized else 1.0)]
    b.launch(
        "suppression.suppress_classes", lists.programs, boxes, scores, counts, *lists.candidates(b, dtype),
        b.scratch((lists.programs, lists.n), dtype), selected, selected_scores, totals, lists.rows, lists.programs,
        lists.classes, lists.n, lists.size, lists.limit, background, *numeric, cost=8 * scores.nbytes, FLAT=lists.flat,
        BLOCK=min(_LANES, max(power_of_two(lists.n), 16)),
    )  # fmt: skip
    b.launch(
        "suppression.limit_classes", lists.images, selected_scores, totals, taken, kept_numbers, lists.classes, lists.size, keep,
        cost=lists.images * lists.classes * max(keep, 1), CLASSES=lists.class_block,
    )  # fmt: skip
    b.launch("suppression.image_places", 1, kept_numbers, places, count.place, lists.images)
    b.measure((out, (count, 6)), (index, (count, 1)), (numbers, (lists.images,)))
    _copy_numbers(b, numbers, kept_numbers)
    b.launch(
        "suppression.write_detections", lists.images, boxes, selected_scores, counts, selected, taken, places, out, index,
        lists.classes, lists.n, lists.size, FLAT=lists.flat, BLOCK=_LANES,
    )  # fmt: skip


def plan_matrix_nms(
    b: PlanBuilder, boxes: Tensor, scores: Tensor, out: Tensor, index: Tensor, numbers: Tensor | None, threshold: float,
    top_k: int, keep: int, least: float, gaussian: bool, sigma: float, background: int, normalized: bool,
) -> None:  # fmt: skip
    """out [count, 6]: class, decayed score and box of the `keep` best of each image, best first; index [count, 1]; numbers
    [images]. boxes [images, n, 4], scores [images, classes, n]."""
    _check("matrix_nms", boxes, scores)
    lists = _Lists(boxes, scores, None, top_k)
    dtype = boxes.dtype
    count = b.count()
    places = b.kept((lists.images,), "i64")
    selected = b.kept((lists.rows, lists.size), "i32")
    selected_scores = b.kept((lists.rows, lists.size), dtype)
    totals = b.kept((lists.rows,), "i32")
    kept_numbers = b.kept((lists.images,), "i32")
    numeric: list[Scalar] = [real(v, dtype) for v in (threshold, least, sigma, 0.0 if normalized else 1.0)]
    b.launch(
        "suppression.decay_classes", lists.programs, boxes, scores, None, *lists.candidates(b, dtype),
        *lists.candidates(b, dtype), b.scratch((lists.programs, lists.n), dtype), selected, selected_scores, totals,
        lists.rows, lists.programs, lists.classes, lists.n, lists.size, lists.limit, background, *numeric,
        cost=16 * scores.nbytes, GAUSSIAN=int(gaussian), BLOCK=min(_LANES, max(power_of_two(lists.n), 16)),
    )  # fmt: skip
    b.launch(
        "suppression.limit_images",
        lists.images,
        totals,
        kept_numbers,
        lists.classes,
        keep,
        CLASSES=lists.class_block,
    )
    b.launch("suppression.image_places", 1, kept_numbers, places, count.place, lists.images)
    b.measure((out, (count, 6)), (index, (count, 1)), (numbers, (lists.images,)))
    _copy_numbers(b, numbers, kept_numbers)
    b.launch(
        "suppression.write_best_detections", lists.images, boxes, selected_scores, selected, totals, kept_numbers, places,
        out, index, lists.classes, lists.n, lists.size, cost=lists.rows * max(keep, 100) * 8, BLOCK=_LANES,
    )  # fmt: skip


# ---- levels of a feature pyramid ----


def plan_distribute_proposals(
    b: PlanBuilder, boxes: Tensor, counts: Tensor | None, outs: Sequence[Tensor], numbers: Sequence[Tensor],
    restore: Tensor, low: int, high: int, refer: int, scale: int, pixel_offset: bool,
) -> None:  # fmt: skip
    """outs[level] [count, 4]: the boxes of each level by their size; numbers[level] [images]; restore [n, 1]: where each box
    is among all levels' (Lin et al., Feature Pyramid Networks, 2017)."""
    _check("distribute_fpn_proposals", boxes, counts)
    if counts is None:
        raise Unsupported("distribute_fpn_proposals needs rois_num; LoD is not known on the card.")
    n, dtype = boxes.shape[0], boxes.dtype
    totals = [b.count() for _ in outs]
    levels = b.kept((n,), "i32")
    b.launch(
        "suppression.pyramid_levels", -(-n // _BLOCK), boxes, levels, n, low, high, real(refer, dtype), real(scale, dtype),
        real(1e-6, dtype), real(1.0 if pixel_offset else 0.0, dtype), cost=40 * n, BLOCK=_BLOCK,
    )  # fmt: skip
    kept_numbers: list[Tensor] = []
    for level, total in enumerate(totals):
        kept_numbers.append(b.kept((counts.numel,), "i32"))
        b.launch(
            "suppression.count_level", 1, levels, counts, kept_numbers[-1], total.place, n, counts.numel, level, cost=4 * n,
            BLOCK=_BLOCK,
        )  # fmt: skip
    b.measure(
        (restore, (n, 1)),
        *((out, (total, 4)) for out, total in zip(outs, totals, strict=True)),
        *((number, (counts.numel,)) for number in numbers),
    )
    for number, kept in zip(numbers, kept_numbers, strict=False):
        _copy_numbers(b, number, kept)
    for level, out in enumerate(outs):
        b.launch(
            "suppression.take_level", 1, boxes, levels, out, restore, totals[0].place, n, level, cost=40 * n,
            BLOCK=_BLOCK,
        )  # fmt: skip


def plan_collect_proposals(
    b: PlanBuilder, boxes: Sequence[Tensor], scores: Sequence[Tensor], counts: Sequence[Tensor] | None, out: Tensor,
    numbers: Tensor | None,
) -> None:  # fmt: skip
    """out [n, 4]: the n best boxes of all levels, image by image, and best first; numbers [images]."""
    if not counts:
        raise Unsupported("collect_fpn_proposals needs rois_num; LoD is not known on the card.")
    for level, level_scores, level_counts in zip(boxes, scores, counts, strict=True):
        _check("collect_fpn_proposals", level, level_scores, level_counts)
    n, images = out.shape[0], counts[0].numel
    sizes = [level.shape[0] for level in boxes]
    total = sum(sizes)
    number = numbers if numbers is not None else b.scratch((images,), "i32")
    all_boxes, all_scores = b.scratch((total, 4), out.dtype), b.scratch((1, total), out.dtype)
    ids, order = b.scratch((total,), "i32"), b.scratch((1, total), "i32")
    if total:
        plan_concat(b, boxes, all_boxes, 0)
        plan_concat(b, [s.reshape(1, s.numel) for s in scores], all_scores, 1)
        plan_sort_rows(b, all_scores, None, order, descending=True)
    start = 0
    for size, level_counts in zip(sizes, counts, strict=True):
        b.launch(
            "suppression.image_ids", -(-size // _BLOCK), level_counts, ids.view((size,), offset=start), size, images,
            cost=size * images, BLOCK=_BLOCK,
        )  # fmt: skip
        start += size
    b.launch("suppression.collect_images", 1, all_boxes, ids, order, out, number, n, images, BLOCK=_BLOCK)


# ---- on arrays ----


def nms(boxes: Array, threshold: float) -> Array:
    """Indices (i64) of the boxes [n, 4], best first, that overlap no better kept one by more than the threshold."""
    return run(plan_nms, [boxes], [((), "i64")], threshold)  # type: ignore[no-any-return]
