# Running extremes, products and log-sums.
from __future__ import annotations

import paddle
from conformance.draw import normal, ties, uniform
from conformance.row import ALONG, row

AXES = [{"axis": -1}, {"axis": 0}, {"axis": 1}]
DIMS = [{"dim": -1}, {"dim": 0}]
# The gradient of a log-sum multiplies the rounding of a result that grows with the length.
SHORT = [s for s in ALONG if all(n < 100 for n in s)]

ROWS = [
    row("cummax", paddle.cummax, ties, shapes=ALONG, attrs=[*AXES, {"axis": 0, "dtype": "int32"}], extremes="i", finite=False),
    row("cummin", paddle.cummin, ties, shapes=ALONG, attrs=[*AXES, {"axis": 0, "dtype": "int32"}], extremes="i", finite=False),
    row("cummax", lambda x, **a: paddle.cummax(x, **a)[0], normal, name="cummax_values", shapes=SHORT, attrs=AXES, grad=False),
    row("cumprod", paddle.cumprod, uniform(0.5, 1.5), shapes=SHORT, attrs=DIMS, scale="element", grad_scale="tensor", extremes=""),
    row("cumprod", paddle.cumprod, ties, name="cumprod_zeros", shapes=SHORT, attrs=DIMS, extremes=""),
    row("logcumsumexp", paddle.logcumsumexp, normal, shapes=[(), *SHORT, (3, 1025)], attrs=[{}, *AXES], extremes="", grad_tolerance={"f32": 1000.0, "f64": 3000.0, "f16": 8.0, "bf16": 8.0}),
]  # fmt: skip
