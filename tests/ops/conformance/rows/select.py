# Outputs whose size depends on values.
from __future__ import annotations

import paddle
from conformance.draw import below, normal, ties
from conformance.row import ANY, Input, row

MASKED = [
    ((3, 5), (3, 5)),
    ((7, 33), (33,)),
    ((5,), (4, 5)),
    ((0, 3), (0, 3)),
    ((20011,), (20011,)),
    ((2, 3, 4), (2, 1, 1)),
    ((), ()),
]
SIZED = [s for s in ANY if 0 not in s]
REPEATED = [
    ((3, 5), (3,), 0),
    ((3, 5), (5,), -1),
    ((2, 3, 4), (3,), 1),
    ((700,), (700,), 0),
    ((4, 33, 20), (33,), 1),
]
OUTPUTS = {"return_index": True, "return_inverse": True, "return_counts": True}

ROWS = [
    row("nonzero", paddle.nonzero, ties, shapes=ANY, extremes="f"),
    row("masked_select", paddle.masked_select, normal, Input(normal, "bool"), shapes=MASKED),
    row("unique", paddle.unique, ties, shapes=SIZED, attrs=[{}, OUTPUTS, {"return_counts": True}, {"return_inverse": True, "dtype": "int32"}], extremes="i"),
    row("unique_consecutive", paddle.unique_consecutive, ties, shapes=SIZED, attrs=[{}, {"return_inverse": True, "return_counts": True}, {"return_counts": True, "dtype": "int32"}], extremes="i"),
    row("unique", paddle.unique, Input(below(3)), name="unique_slices", shapes=[(7, 2), (33, 3), (2, 9), (3, 4, 2), (300, 2)], attrs=[{"axis": 0}, {"axis": 1}, {"axis": -1, "return_inverse": True, "return_counts": True}, {"axis": 0, "return_index": True}], valid=lambda s, a: "return_index" not in a or s[0][0] < 16, extremes=""),
    row("unique_consecutive", paddle.unique_consecutive, Input(below(2)), name="unique_consecutive_slices", shapes=[(7, 2), (33, 3), (2, 9), (3, 4, 2), (300, 2)], attrs=[{"axis": 0}, {"axis": -1, "return_inverse": True, "return_counts": True}, {"axis": 1, "return_counts": True, "dtype": "int32"}], extremes=""),
    row("repeat_interleave", paddle.repeat_interleave, normal, shapes=[(3, 5), (7,), (2, 3, 4), (33, 65), (2, 0, 3)], attrs=[{"repeats": 1, "axis": 0}, {"repeats": 3, "axis": -1}, {"repeats": 2, "axis": 1}, {"repeats": 3}]),
    row("repeat_interleave_with_tensor_index", paddle.repeat_interleave, normal, Input(below(4), "i32"), shapes=[], cases=[((s, n), {"axis": a}) for s, n, a in REPEATED]),
    row("repeat_interleave_with_tensor_index", paddle.repeat_interleave, normal, Input(below(4), "i64"), name="repeat_by_i64", shapes=[], cases=[((s, n), {"axis": a}) for s, n, a in REPEATED]),
]  # fmt: skip
