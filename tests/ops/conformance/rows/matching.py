# Matching.
from __future__ import annotations

from conformance.draw import distinct
from conformance.row import Input, row
from paddle import _C_ops

ROWS = [
    row(
        "bipartite_match",
        lambda x, **a: _C_ops.bipartite_match(x, a["kind"], a["threshold"]),
        Input(distinct, grad=False),
        shapes=((3, 5), (7, 3), (1, 1), (40, 333), (150, 70)),
        attrs=[
            {"kind": "bipartite", "threshold": 0.5},
            {"kind": "per_prediction", "threshold": 0.5},
            {"kind": "per_prediction", "threshold": -1.0},
        ],
        extremes="",
        layouts=("transposed", "strided"),
    ),
]  # fmt: skip
