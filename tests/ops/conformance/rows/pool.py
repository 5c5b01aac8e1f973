# Pooling.
from __future__ import annotations

import paddle
from conformance.draw import distinct, normal
from conformance.row import row

F = paddle.nn.functional
# Paddle's CPU kernel divides f64 gradients by 32-bit areas.
AREAS = {"f64": 1e10}
IMAGES = [(2, 3, 8, 9), (1, 1, 7, 7), (3, 5, 13, 17), (2, 33, 9, 9), (1, 2, 64, 65)]
MAX = [
    {"kernel_size": 2},
    {"kernel_size": 3, "stride": 2, "padding": 1},
    {"kernel_size": (2, 3), "stride": (1, 2), "padding": (0, 1)},
    {"kernel_size": 3, "stride": 2, "ceil_mode": True},
]

ROWS = [
    row("pool2d", lambda x, **a: F.avg_pool2d(x, **a), normal, shapes=IMAGES, attrs=[*MAX, {"kernel_size": 3, "padding": 1, "exclusive": False}, {"kernel_size": 2, "divisor_override": 3}], extremes="", grad_tolerance=AREAS),
    row("pool2d", lambda x, **a: F.max_pool2d(x, **a), distinct, name="pool2d_max", shapes=IMAGES, attrs=MAX, extremes=""),
    row("pool2d", lambda x, size: F.adaptive_avg_pool2d(x, size), normal, name="pool2d_adaptive", scale="terms", shapes=IMAGES, attrs=[{"size": 1}, {"size": (3, 2)}, {"size": 5}], extremes="", grad_tolerance=AREAS),
    row("pool2d", lambda x, **a: F.avg_pool2d(x, data_format="NHWC", **a), normal, name="pool2d_nhwc", shapes=[(2, 8, 9, 3), (1, 7, 7, 1), (3, 13, 17, 5)], attrs=MAX[:3], extremes="", grad_tolerance=AREAS),
    row("max_pool2d_with_index", lambda x, **a: F.max_pool2d(x, return_mask=True, **a), distinct, shapes=IMAGES, attrs=MAX[:3], extremes=""),
    row("max_pool2d_with_index", lambda x, size: F.adaptive_max_pool2d(x, size, return_mask=True), distinct, name="max_pool2d_with_index_adaptive", shapes=IMAGES, attrs=[{"size": 1}, {"size": (3, 2)}], extremes=""),
]  # fmt: skip
