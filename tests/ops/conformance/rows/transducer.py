# Sequence transducers.
from __future__ import annotations

import numpy as np
import paddle
from conformance.draw import Draw
from conformance.row import Input, row

F = paddle.nn.functional


def log_probabilities(d: Draw) -> np.ndarray:
    x = 2 * d.rng.standard_normal(d.shape)
    return x - np.log(np.exp(x).sum(-1, keepdims=True))


def symbols(d: Draw) -> np.ndarray:
    """Letters without the blank, which is the first or the last class."""
    first = int(d.attrs["blank"] == 0)
    return d.rng.integers(first, first + d.shapes[0][3] - 1, d.shape)


def lengths(axis: int) -> object:
    """The first is that of the axis, as the kernel of Paddle wants one to be."""

    def generate(d: Draw) -> np.ndarray:
        most = d.shapes[0][1] if axis == 1 else d.shapes[1][1]
        drawn = d.rng.integers(1, most + 1, d.shape)
        drawn[0] = most
        return drawn

    return generate


ROWS = [
    row(
        "warprnnt",
        lambda x, label, n, m, **a: F.rnnt_loss(x, label, n, m, reduction="none", **a),
        Input(log_probabilities),
        Input(symbols, "i32"),
        Input(lengths(1), "i32"),
        Input(lengths(2), "i32"),
        shapes=(
            ((3, 7, 5, 6), (3, 4), (3,), (3,)), ((1, 1, 2, 6), (1, 1), (1,), (1,)), ((2, 40, 21, 6), (2, 20), (2,), (2,)),
            ((5, 5, 3, 6), (5, 2), (5,), (5,)),
        ),
        attrs=[
            {"blank": 0, "fastemit_lambda": 0.0}, {"blank": 5, "fastemit_lambda": 0.0}, {"blank": 0, "fastemit_lambda": 0.25},
        ],
        extremes="",
        finite=False,  # the gradient with FastEmit is none of the loss
        layouts=("transposed", "strided"),
        tolerance={"f32": 64.0, "f64": 256.0},
        grad_scale=1.0,  # probabilities
        grad_tolerance={"f32": 1000.0, "f64": 4000.0},
    ),
]  # fmt: skip
