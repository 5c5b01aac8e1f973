# Boxes of detectors.
from __future__ import annotations

from typing import Any

import numpy as np
from conformance.draw import Draw, below, normal, uniform
from conformance.row import Input, row
from paddle import _C_ops
from paddle.vision import ops

ANCHORS = [10, 13, 16, 30, 33, 23, 30, 61, 62, 45, 59, 119, 116, 90, 156, 198, 373, 326]


def corners(d: Draw) -> np.ndarray:
    """(left, top, right, bottom)."""
    low = d.rng.uniform(0, 50, (*d.shape[:-1], 2))
    return np.concatenate([low, low + d.rng.uniform(3, 40, low.shape)], -1)


def truth(d: Draw) -> np.ndarray:
    """Centres and sides in units of the image; some boxes are empty."""
    sides = d.rng.uniform(0.02, 0.5, (*d.shape[:-1], 2)) * (d.rng.random((*d.shape[:-1], 1)) < 0.8)
    return np.concatenate([d.rng.uniform(0.05, 0.95, sides.shape), sides], -1)


def decode(prior: Any, variances: Any, target: Any, **a: Any) -> Any:
    return ops.box_coder(prior, variances, target, **a)


def yolo_loss(x: Any, box: Any, label: Any, score: Any, **a: Any) -> Any:
    return ops.yolo_loss(x, box, label, gt_score=score, class_num=7, downsample_ratio=32, **a)


YOLO_SHAPES = (
    ((2, 36, 9, 9), (2, 6, 4), (2, 6), (2, 6)), ((1, 36, 5, 5), (1, 1, 4), (1, 1), None), ((3, 36, 19, 19), (3, 40, 4), (3, 40), None),
)  # fmt: skip
PRIOR = {"min_sizes": [10.0, 30.0], "variance": [0.1, 0.1, 0.2, 0.2], "aspect_ratios": [2.0, 3.0, 1.0]}

ROWS = [
    row(
        "prior_box",
        ops.prior_box,
        Input(grad=False),
        Input(grad=False),
        shapes=(
            ((2, 3, 7, 9), (2, 3, 70, 95)),
            ((1, 1, 1, 1), (1, 3, 20, 20)),
            ((1, 2, 33, 20), (1, 3, 300, 300)),
        ),
        attrs=[
            {**PRIOR, "flip": True, "clip": True},
            {**PRIOR, "max_sizes": [20.0, 50.0], "flip": True, "min_max_aspect_ratios_order": True},
            {**PRIOR, "max_sizes": [20.0, 50.0], "steps": [8.0, 9.0], "offset": 0.25},
        ],
        extremes="",
    ),
    row(
        "box_coder",
        lambda prior, variances, target, **a: ops.box_coder(
            prior, variances, target, "encode_center_size", **a
        ),
        Input(corners, grad=False),
        Input(uniform(0.1, 0.3), grad=False),
        Input(corners, grad=False),
        name="box_coder encoding",
        shapes=(((37, 4), (37, 4), (11, 4)), ((1, 4), (1, 4), (1, 4)), ((1000, 4), (1000, 4), (3, 4))),
        attrs=[{"box_normalized": True}, {"box_normalized": False}],
        tolerance=16.0,  # differences of coordinates cancel
        extremes="",
    ),
    row(
        "box_coder",
        lambda prior, target, **a: ops.box_coder(
            prior, [0.1, 0.1, 0.2, 0.2], target, "encode_center_size", **a
        ),
        Input(corners, grad=False),
        Input(corners, grad=False),
        name="box_coder encoding with shared variances",
        shapes=(((37, 4), (11, 4)),),
        attrs=[{"box_normalized": True}, {"box_normalized": False}],
        tolerance=16.0,  # differences of coordinates cancel
        extremes="",
    ),
    row(
        "box_coder",
        lambda prior, variances, target, **a: ops.box_coder(
            prior, variances, target, "decode_center_size", **a
        ),
        Input(corners, grad=False),
        Input(uniform(0.1, 0.3), grad=False),
        Input(grad=False),
        name="box_coder decoding",
        shapes=(((11, 4), (11, 4), (11, 11, 4)), ((1, 4), (1, 4), (1, 1, 4))),
        cases=[
            (((70, 4), (70, 4), (3, 70, 4)), {"axis": 0, "box_normalized": True}),
            (((3, 4), (3, 4), (3, 70, 4)), {"axis": 1, "box_normalized": False}),
        ],
        attrs=[
            {"axis": axis, "box_normalized": normalized} for axis in (0, 1) for normalized in (True, False)
        ],
        valid=lambda shapes, attrs: True,
        extremes="",
    ),
    row(
        "box_coder",
        lambda prior, target, **a: _C_ops.box_coder(prior, None, target, "decode_center_size", True, 0, []),
        Input(corners, grad=False),
        Input(grad=False),
        name="box_coder decoding without variances",
        shapes=(((11, 4), (5, 11, 4)),),
        extremes="",
    ),
    row(
        "yolo_box",
        lambda x, size, **a: ops.yolo_box(x, size, ANCHORS[:6], 7, downsample_ratio=32, **a),
        Input(grad=False),
        Input(lambda d: d.rng.integers(100, 700, d.shape), "i32"),
        shapes=(((2, 36, 7, 9), (2, 2)), ((1, 36, 1, 1), (1, 2)), ((3, 36, 19, 20), (3, 2))),
        attrs=[
            {"conf_thresh": 0.4, "clip_bbox": True, "scale_x_y": 1.2},
            {"conf_thresh": 0.01, "clip_bbox": False},
        ],
        cases=[
            (
                ((2, 39, 7, 9), (2, 2)),
                {"conf_thresh": 0.3, "iou_aware": True, "iou_aware_factor": 0.4},
            )
        ],
        extremes="",
        tolerance=4.0,
    ),
    row(
        "yolo_loss",
        yolo_loss,
        normal,
        Input(truth, grad=False),
        Input(below(7), "i32"),
        Input(uniform(0.3, 1), grad=False),
        shapes=YOLO_SHAPES,
        attrs=[
            {
                "anchors": ANCHORS,
                "anchor_mask": mask,
                "ignore_thresh": 0.5,
                "use_label_smooth": smooth,
                "scale_x_y": 1.1,
            }
            for mask, smooth in (([0, 1, 2], True), ([3, 4, 5], False), ([6, 7, 8], True))
        ],
        extremes="",
        tolerance=8.0,
    ),
]
