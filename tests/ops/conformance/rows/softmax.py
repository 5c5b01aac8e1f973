# Softmax kernels.
from __future__ import annotations

import paddle
from conformance.draw import normal
from conformance.row import ALONG, row

F = paddle.nn.functional
AXES = [{"axis": -1}, {"axis": 0}, {"axis": 1}]

ROWS = [
    row("softmax", F.softmax, normal, shapes=[*ALONG, ()], attrs=AXES, scale=1e-12, inplace=F.softmax_),
    row("log_softmax", F.log_softmax, normal, shapes=[*ALONG, ()], attrs=AXES, extremes=""),
]  # fmt: skip
