# Functions of one tensor.
from __future__ import annotations

import paddle
from conformance.draw import normal
from conformance.row import row

ROWS = [
    row("tanh", paddle.tanh, normal, scale="element", inplace=paddle.tanh_),
    row("abs", paddle.abs, normal, scale="element"),
]  # fmt: skip
