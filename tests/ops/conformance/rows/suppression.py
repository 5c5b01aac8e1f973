# Suppression of boxes, proposals and their levels. Scores differ: which of equal ones comes first is open in Paddle.
from __future__ import annotations

from typing import Any

import numpy as np
from conformance.draw import Draw, uniform
from conformance.row import Input, row
from paddle import _C_ops
from paddle.vision import ops

NO_VIEWS = ("transposed", "strided")


def boxes(d: Draw) -> np.ndarray:
    """Boxes of which many overlap; the few distances that are exact in every dtype keep overlaps away from thresholds."""
    low = d.rng.uniform(0, 60, (*d.shape[:-1], 2))
    return np.concatenate([low, low + d.rng.uniform(5, 40, low.shape)], -1)


def of_every_size(d: Draw) -> np.ndarray:
    low = d.rng.uniform(0, 200, (*d.shape[:-1], 2))
    return np.concatenate([low, low + np.exp(d.rng.uniform(1, 7, low.shape))], -1)


def scores(d: Draw) -> np.ndarray:
    """Different numbers between 0 and 1."""
    count = int(np.prod(d.shape))
    return (d.rng.permutation(count) + 0.5).reshape(d.shape) / max(count, 1)


def counts(which: int) -> Any:
    """How many rows of another input each image has."""
    return lambda d: np.bincount(d.rng.integers(0, d.shape[0], d.shapes[which][0]), minlength=d.shape[0])


def found(**a: Any) -> dict[str, Any]:
    return {
        "score_threshold": 0.1, "nms_top_k": -1, "keep_top_k": -1, "nms_threshold": 0.4, "normalized": True, "nms_eta": 1.0,
        "background_label": -1, **a,
    }  # fmt: skip


def decayed(**a: Any) -> dict[str, Any]:
    return {
        "score_threshold": 0.1, "post_threshold": 0.05, "nms_top_k": -1, "keep_top_k": -1, "return_index": True,
        "background_label": -1, **a,
    }  # fmt: skip


def proposed(**a: Any) -> dict[str, Any]:
    return {
        "pre_nms_top_n": 100, "post_nms_top_n": 20, "nms_thresh": 0.5, "min_size": 3.0, "eta": 1.0, "pixel_offset": False,
        "return_rois_num": True, **a,
    }  # fmt: skip


def distribute(rois: Any, n: Any, **a: Any) -> Any:
    levels, restore, numbers = ops.distribute_fpn_proposals(rois, rois_num=n, **a)
    return [*levels, restore, *numbers]


ROWS = [
    row(
        "nms",
        lambda boxes, **a: _C_ops.nms(boxes, a["threshold"]),
        Input(boxes, grad=False),
        shapes=((200, 4), (1, 4), (1000, 4)),
        attrs=[{"threshold": 0.3}, {"threshold": 0.7}],
        layouts=NO_VIEWS,
        extremes="",
    ),
    row(
        "multiclass_nms3",
        lambda boxes, scores, n, **a: _C_ops.multiclass_nms3(boxes, scores, n, *a.values()),
        Input(boxes, grad=False),
        Input(scores, grad=False),
        Input(counts(0), "i32"),
        shapes=(
            ((3, 150, 4), (3, 5, 150), None), ((1, 1, 4), (1, 1, 1), None), ((2, 700, 4), (2, 3, 700), None),
            ((90, 5, 4), (90, 5), (3,)), ((40, 81, 4), (40, 81), (2,)),
        ),
        attrs=[
            found(nms_top_k=100, keep_top_k=40),
            found(score_threshold=0.5, nms_threshold=0.3, normalized=False, background_label=0),
            found(score_threshold=0.5, nms_top_k=20, keep_top_k=10, nms_threshold=0.7, nms_eta=0.9),
            found(score_threshold=2.0),
        ],
        layouts=NO_VIEWS,
        extremes="",
    ),
    row(
        "matrix_nms",
        ops.matrix_nms,
        Input(boxes, grad=False),
        Input(scores, grad=False),
        shapes=(((3, 150, 4), (3, 5, 150)), ((1, 1, 4), (1, 1, 1)), ((2, 300, 4), (2, 3, 300))),
        attrs=[
            decayed(nms_top_k=100, keep_top_k=40),
            decayed(use_gaussian=True, normalized=False),
            decayed(nms_top_k=20, keep_top_k=10, use_gaussian=True, gaussian_sigma=0.5, background_label=0),
            decayed(score_threshold=2.0),
        ],
        layouts=NO_VIEWS,
        extremes="",
        tolerance=32.0,
    ),
    row(
        "generate_proposals",
        ops.generate_proposals,
        Input(scores, grad=False),
        Input(uniform(-0.4, 0.4), grad=False),
        Input(uniform(60, 90), grad=False),
        Input(boxes, grad=False),
        Input(uniform(0.5, 1), grad=False),
        shapes=(
            ((2, 3, 8, 9), (2, 12, 8, 9), (2, 2), (8, 9, 3, 4), (8, 9, 3, 4)),
            ((1, 1, 1, 1), (1, 4, 1, 1), (1, 2), (1, 1, 1, 4), (1, 1, 1, 4)),
            ((1, 5, 20, 17), (1, 20, 20, 17), (1, 2), (20, 17, 5, 4), (20, 17, 5, 4)),
        ),
        attrs=[
            proposed(),
            proposed(pixel_offset=True),
            proposed(pre_nms_top_n=2000, post_nms_top_n=-1, nms_thresh=0.7, eta=0.9),
            proposed(min_size=1000.0),
        ],
        layouts=NO_VIEWS,
        extremes="",
    ),
    row(
        "distribute_fpn_proposals",
        distribute,
        Input(of_every_size, grad=False),
        Input(counts(0), "i32"),
        shapes=(((50, 4), (3,)), ((1, 4), (1,)), ((1000, 4), (2,))),
        attrs=[
            {"min_level": 2, "max_level": 5, "refer_level": 4, "refer_scale": 224, "pixel_offset": offset}
            for offset in (True, False)
        ],
        layouts=NO_VIEWS,
        extremes="",
    ),
    row(
        "collect_fpn_proposals",
        lambda a, b, x, y, m, n, **attrs: _C_ops.collect_fpn_proposals([a, b], [x, y], [m, n], attrs["limit"]),
        Input(boxes, grad=False),
        Input(boxes, grad=False),
        Input(scores, grad=False),
        Input(lambda d: scores(d) / 1.01, grad=False),
        Input(counts(0), "i32"),
        Input(counts(1), "i32"),
        shapes=(((50, 4), (30, 4), (50, 1), (30, 1), (3,), (3,)), ((400, 4), (1, 4), (400, 1), (1, 1), (2,), (2,))),
        attrs=[{"limit": 40}, {"limit": 1000}],
        layouts=NO_VIEWS,
        extremes="",
    ),
]  # fmt: skip
