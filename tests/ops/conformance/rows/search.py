# Search kernels.
from __future__ import annotations

import paddle
from conformance.draw import Input, below, distinct, normal, ties
from conformance.row import ALONG, row, something_along
from paddle import _C_ops as ops

BEST = [{"axis": -1}, {"axis": 0, "keepdim": True}, {"axis": None}, {"axis": 1, "dtype": "int32"}]
K_BEST = [
    {"k": 1, "axis": -1},
    {"k": 3, "axis": -1},
    {"k": 2, "axis": 0, "largest": False},
    {"k": 5, "axis": 1},
]


def enough(shapes, attrs):
    rank = len(shapes[0])
    return -rank <= attrs["axis"] < rank and shapes[0][attrs["axis"]] >= attrs["k"]


ROWS = [
    row("argmax", paddle.argmax, ties, shapes=ALONG, attrs=BEST, valid=something_along),
    row("argmin", paddle.argmin, ties, shapes=ALONG, attrs=BEST, valid=something_along),
    row("accuracy", lambda x, indices, label: ops.accuracy(x, indices, label), normal, Input(below(5), "i64"), Input(below(5), "i64"), shapes=[((7, 2), (7, 2), (7, 1)), ((300, 3), (300, 3), (300, 1)), ((1, 1), (1, 1), (1, 1))], extremes="", layouts=()),
    # Which of equal values comes first is open: the indices are compared where there are none, the values everywhere.
    row("topk", paddle.topk, distinct, shapes=ALONG, attrs=K_BEST, valid=enough, extremes=""),
    row("topk", lambda x, **a: paddle.topk(x, **a)[0], ties, name="topk_values", shapes=ALONG, attrs=K_BEST, valid=enough, grad=False),
]  # fmt: skip
