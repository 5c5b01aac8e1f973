# Reductions.
from __future__ import annotations

import paddle
from conformance.draw import normal
from conformance.row import ALONG, row

ROWS = [
    row("sum", lambda x, axis, keepdim: paddle.sum(x, axis, keepdim=keepdim), normal, shapes=[*ALONG, ()], scale="terms",
        attrs=[{"axis": -1, "keepdim": False}, {"axis": None, "keepdim": False}, {"axis": [0, -1], "keepdim": True}, {"axis": 0, "keepdim": False}],
        valid=lambda shapes, a: a["axis"] != [0, -1] or len(shapes[0]) > 1),
]  # fmt: skip
