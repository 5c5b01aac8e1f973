# Connectionist temporal classification.
from __future__ import annotations

import numpy as np
import paddle
from conformance.draw import Draw, below
from conformance.row import Input, row
from paddle import _C_ops

F = paddle.nn.functional


def lengths(d: Draw) -> np.ndarray:
    """Of logits [time, batch, classes]: some too short for their label."""
    return d.rng.integers(1, d.shapes[0][0] + 1, d.shape)


def letters(d: Draw) -> np.ndarray:
    """Some labels are empty, but not all: Paddle's CPU kernel divides by their sum."""
    return np.append(d.rng.integers(0, d.shapes[1][1] + 1, d.shape[0] - 1), 1)


def symbols(d: Draw) -> np.ndarray:
    """Labels without the blank, which is the first or the last class."""
    first = int(d.attrs["blank"] == 0)
    return d.rng.integers(first, first + min(d.shapes[0][2] - 1, 4), d.shape)


ROWS = [
    row(
        "warpctc",
        lambda x, label, n, m, **a: F.ctc_loss(x, label, n, m, reduction="none", **a),
        Input(),
        Input(symbols, "i32"),
        Input(lengths, "i64"),
        Input(letters, "i64"),
        shapes=(
            ((17, 5, 11), (5, 6), (5,), (5,)), ((1, 1, 11), (1, 1), (1,), (1,)), ((40, 3, 11), (3, 20), (3,), (3,)),
            ((33, 40, 11), (40, 3), (40,), (40,)),
        ),
        attrs=[{"blank": 0}, {"blank": 10}, {"blank": 0, "norm_by_times": True}],
        cases=[(((20, 2, 1300), (2, 7), (2,), (2,)), {"blank": 0})],
        extremes="",
        layouts=("transposed", "strided"),
        tolerance={"f32": 64.0, "f64": 256.0},
        grad_scale=1.0,  # differences of probabilities
        grad_tolerance={"f32": 1000.0, "f64": 4000.0},
    ),
    row(
        "ctc_align",
        lambda x, n, **a: _C_ops.ctc_align(x, n, a["blank"], a["merge"], a["padding"]),
        below(4),
        Input(lambda d: d.rng.integers(0, d.shapes[0][1] + 1, d.shape)),
        shapes=(((4, 9), (4, 1)), ((1, 1), (1, 1)), ((3, 1100), (3, 1))),
        attrs=[
            {"blank": 0, "merge": True, "padding": 0},
            {"blank": 2, "merge": False, "padding": 7},
        ],
        extremes="",
    ),
]  # fmt: skip
