# Sorting kernels.
from __future__ import annotations

import paddle
from conformance.draw import distinct, ties
from conformance.row import ALONG, row

ORDERS = [
    {"axis": -1},
    {"axis": 0, "descending": True},
    {"axis": 1},
    {"axis": -1, "descending": True, "stable": True},
]
STABLE = [{**attrs, "stable": True} for attrs in ORDERS]

ROWS = [
    row("argsort", paddle.sort, distinct, shapes=[(), *ALONG], attrs=ORDERS),
    # Equal elements keep their order, which Paddle promises of a stable sort.
    row(
        "argsort", paddle.argsort, ties, name="argsort_indices", shapes=[(), *ALONG], attrs=STABLE, grad=False
    ),
]
