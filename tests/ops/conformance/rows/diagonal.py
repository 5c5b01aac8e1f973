# Diagonals.
from __future__ import annotations

import paddle
from conformance.draw import normal
from conformance.row import row
from paddle import _C_ops as ops

MATRICES = [(3, 5), (7, 33), (1, 1), (2, 3, 4), (5, 1, 6), (0, 3), (2, 3, 4, 5), (33, 65)]
AXES = [
    {"offset": 0, "axis1": 0, "axis2": 1},
    {"offset": 1, "axis1": -1, "axis2": 0},
    {"offset": -2, "axis1": 0, "axis2": 1},
    {"offset": 99, "axis1": 1, "axis2": 0},
]


def filled(x, value, offset, wrap):
    y = paddle.assign(x)
    return ops.fill_diagonal(y, value, offset, wrap)


ROWS = [
    row("diag_embed", paddle.diag_embed, normal, shapes=[(3, 4), (7,), (2, 3, 4), (0, 3), (2, 33)], without={"c64": "Paddle's CPU has no such kernel", "c128": "Paddle's CPU has no such kernel"},
        attrs=[{"offset": 0, "dim1": -2, "dim2": -1}, {"offset": 2, "dim1": 0, "dim2": -1}, {"offset": -1, "dim1": -1, "dim2": 0}]),
    row("diag", paddle.diag, normal, name="diag_grad", shapes=[(5,), (1,), (33,), (5, 7), (33, 20)], attrs=[{"offset": 0}, {"offset": 2}, {"offset": -3}], grad=["diag_grad"], extremes=""),
    row("trace", paddle.trace, normal, shapes=MATRICES, attrs=AXES, scale="terms", extremes=""),
    row("fill_diagonal", filled, normal, shapes=[(5, 5), (9, 4), (4, 9), (13, 3), (1, 1)], finite=False,
        attrs=[{"value": 7.0, "offset": 0, "wrap": False}, {"value": 1.0, "offset": 1, "wrap": True}, {"value": 1.0, "offset": -2, "wrap": True}, {"value": 0.0, "offset": 2, "wrap": False}], cases=[((3, 3, 3), {"value": 2.0, "offset": 0, "wrap": False})]),
    row("fill_diagonal_tensor", lambda x, y, **a: ops.fill_diagonal_tensor(paddle.assign(x), y, *a.values()), normal, normal,
        shapes=[((4, 5), (4,)), ((5, 3), (3,)), ((1, 1), (1,))], attrs=[{"offset": 0, "dim1": 0, "dim2": 1}], finite=False, grad=["fill_diagonal_tensor_grad"],
        cases=[(((4, 5, 6), (5, 4)), {"offset": 1, "dim1": 0, "dim2": 2}), (((4, 5, 6), (6, 3)), {"offset": -1, "dim1": 0, "dim2": 1})]),
]  # fmt: skip
