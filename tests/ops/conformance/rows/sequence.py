# Sequences.
from __future__ import annotations

import numpy as np
import paddle
from conformance.draw import Draw, Generator, below
from conformance.row import Input, row
from paddle import _C_ops

F = paddle.nn.functional


def up_to(which: int, axis: int, lowest: int = 0) -> Generator:
    """Lengths up to that of an axis of another input."""
    return lambda d: d.rng.integers(lowest, d.shapes[which][axis] + 1, d.shape)


def full(which: int, axis: int) -> Generator:
    """Lengths of which one is that of the axis."""

    def generate(d: Draw) -> np.ndarray:
        lengths = up_to(which, axis)(d)
        lengths.reshape(-1)[:1] = d.shapes[which][axis]
        return lengths

    return generate


ROWS = [
    row(
        "viterbi_decode",
        paddle.text.viterbi_decode,
        Input(grad=False),
        Input(grad=False),
        Input(up_to(0, 1, 1), "i64"),
        shapes=(((4, 9, 7), (7, 7), (4,)), ((1, 1, 3), (3, 3), (1,)), ((3, 70, 33), (33, 33), (3,)), ((2, 5, 300), (300, 300), (2,))),
        attrs=[{"include_bos_eos_tag": True}, {"include_bos_eos_tag": False}],
        extremes="",
    ),
    row(
        "crf_decoding",
        _C_ops.crf_decoding,
        Input(grad=False),
        Input(grad=False),
        Input(below(4), "i64"),
        Input(full(0, 1), "i64"),
        shapes=(
            ((4, 9, 7), (9, 7), (4, 9), (4,)), ((4, 9, 7), (9, 7), None, (4,)), ((1, 1, 3), (5, 3), (1, 1), (1,)),
            ((3, 40, 33), (35, 33), None, (3,)),
        ),
        extremes="",
    ),
    row(
        "gather_tree",
        F.gather_tree,
        below(50),
        below(lambda d: d.shape[2]),
        shapes=((6, 3, 4), (1, 1, 1), (20, 70, 5)),
        extremes="",
        layouts=("transposed", "strided"),
    ),
    row(
        "edit_distance",
        lambda x, y, m, n, **a: _C_ops.edit_distance(x, y, m, n, a["normalized"]),
        Input(below(4), "i64"),
        Input(below(4), "i64"),
        Input(up_to(0, 1), "i64"),
        Input(up_to(1, 1, 1), "i64"),
        shapes=(((5, 9), (5, 12), (5,), (5,)), ((1, 1), (1, 1), (1,), (1,)), ((7, 70), (7, 33), (7,), (7,))),
        attrs=[{"normalized": True}, {"normalized": False}],
        extremes="",
    ),
    row(
        "sequence_mask_scalar",
        F.sequence_mask,
        below(9, -1),
        shapes=((2, 3), (7,), (1,), (300,)),
        attrs=[{"maxlen": 7}, {"maxlen": None}, {"maxlen": 1000, "dtype": "float32"}, {"maxlen": 5, "dtype": "bool"}],
        extremes="",
    ),
]  # fmt: skip
