# The loss that is its input.
from __future__ import annotations

import paddle
from conformance.draw import normal
from conformance.row import ALONG, row

ROWS = [
    row("identity_loss", paddle.incubate.identity_loss, normal, shapes=[s for s in ALONG if 0 not in s], attrs=[{"reduction": "sum"}, {"reduction": "mean"}, {"reduction": "none"}], scale="terms"),
]  # fmt: skip
