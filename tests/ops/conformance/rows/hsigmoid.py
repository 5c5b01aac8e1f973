# Hierarchical sigmoid: the complete tree, and one that is given by tables.
from __future__ import annotations

from typing import Any

import numpy as np
import paddle
from conformance.draw import Draw, below, normal
from conformance.row import Input, row

F = paddle.nn.functional
CLASSES = below(lambda d: d.attrs["num_classes"])


def ways(d: Draw) -> np.ndarray:
    """Nodes of each sample's way, with ends of different lengths."""
    nodes = d.rng.integers(0, d.shapes[2][0], d.shape)
    ends = d.rng.integers(1, d.shape[1] + 1, (d.shape[0], 1))
    return np.where(np.arange(d.shape[1])[None, :] < ends, nodes, -1)


def decisions(d: Draw) -> np.ndarray:
    return d.rng.integers(0, 2, d.shape)


def call(x: Any, label: Any, w: Any, bias: Any, path: Any = None, code: Any = None, **attrs: Any) -> Any:
    return F.hsigmoid_loss(x, label, attrs["num_classes"], w, bias, path, code)


# The loss of a sure decision is exp(-score), whose relative error is the absolute one of the score.
WIDE = {"f32": 64.0, "f64": 256.0}

ROWS = [
    row("hsigmoid_loss", call, normal, Input(CLASSES, "i64"), normal, normal, shapes=[], extremes="", layouts=("transposed", "strided"), tolerance=WIDE, grad_tolerance={"f16": 4.0, "bf16": 4.0, "f32": 64.0, "f64": 1024.0},
        cases=[(((4, 8), (4, 1), (5, 8), (5, 1)), {"num_classes": 6}), (((17, 33), (17, 1), (99, 33), (99, 1)), {"num_classes": 100}), (((3, 5), (3, 1), (7, 5), None), {"num_classes": 8}), (((1, 300), (1, 1), (1, 300), (1, 1)), {"num_classes": 2})]),
    row("hsigmoid_loss", call, normal, Input(CLASSES, "i64"), normal, normal, Input(ways, "i64"), Input(decisions, "i64"), name="hsigmoid_loss_tables", shapes=[], extremes="", layouts=("transposed",), tolerance=WIDE, grad_tolerance={"f16": 4.0, "bf16": 4.0, "f32": 64.0, "f64": 1024.0},
        cases=[(((4, 8), (4, 1), (6, 8), (6, 1), (4, 3), (4, 3)), {"num_classes": 6})]),
]  # fmt: skip
