# Arithmetic of two tensors with broadcasting.
from __future__ import annotations

import paddle
from conformance.draw import nonzero, normal
from conformance.row import BROADCAST, row

ROWS = [
    row("add", paddle.add, normal, normal, shapes=BROADCAST, scale="element", inplace=lambda x, y: x.add_(y)),
    row("divide", paddle.divide, normal, nonzero, shapes=BROADCAST, scale="element", extremes="f"),
]  # fmt: skip
