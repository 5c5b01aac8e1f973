# Sequences of indices.
from __future__ import annotations

import paddle
from conformance.row import row

TRIANGLES = [
    {"row": r, "col": c, "offset": o}
    for r, c in ((4, 5), (5, 4), (1, 1), (300, 301), (3, 70))
    for o in (-5, -2, 0, 1, 4)
]


def some(shapes, attrs):
    """Paddle's CPU kernel is refused where there is nothing in the triangle."""
    return attrs["offset"] > -attrs["row"] and attrs["offset"] < attrs["col"]


ROWS = [
    row("tril_indices", paddle.tril_indices, attrs=TRIANGLES, valid=some, typed=True),
    row("triu_indices", paddle.triu_indices, attrs=TRIANGLES, valid=some, typed=True),
]  # fmt: skip
