# Dimensions of one element that come and go, copies of views: memory is moved as it is.
from __future__ import annotations

from typing import Any

import paddle
from conformance.draw import normal
from conformance.row import Row, row
from paddle import _legacy_C_ops as legacy

SHAPES = [(3, 1, 5), (1, 7, 1), (1, 1, 1), (1, 0, 3), (2, 1, 3), (33, 1, 65), (1, 20011, 1)]
OLD = "only old programs have it"
WHOLE = ("bool", "i8", "u8", "i16", "i32", "i64", "f32", "f64", "f16", "bf16", "c64", "c128")


def old(kernel: str, call: Any, axes: list[Any]) -> Row:
    """The kernel of old programs, with a second output that remembers the shape."""
    return row(kernel, lambda x, axes: call(x, "axes", axes)[0], normal, shapes=SHAPES, attrs=[{"axes": a} for a in axes],
               valid=lambda s, a: call is legacy.unsqueeze2 or all(s[0][i] == 1 for i in a["axes"]), static=OLD, extremes="")  # fmt: skip


ROWS = [
    row("squeeze", paddle.squeeze, normal, shapes=SHAPES, attrs=[{"axis": 1}, {"axis": 0}, {"axis": [0, -1]}, {"axis": None}], view=True, extremes=""),
    row("unsqueeze", paddle.unsqueeze, normal, shapes=SHAPES, attrs=[{"axis": 1}, {"axis": 0}, {"axis": [0, -1]}], view=True, extremes="", valid=lambda s, a: True),
    old("squeeze_with_xshape", legacy.squeeze2, [[1], [0], [0, -1]]),
    old("unsqueeze_with_xshape", legacy.unsqueeze2, [[1], [0], [0, -1]]),
]  # fmt: skip
