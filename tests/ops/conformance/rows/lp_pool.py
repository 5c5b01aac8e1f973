# Pooling by powers.
from __future__ import annotations

import paddle
from conformance.draw import normal, uniform
from conformance.row import row

F = paddle.nn.functional
SHAPES = [(2, 3, 7, 9), (1, 17, 6, 33), (1, 2, 40, 61)]
WINDOWS = [
    {"kernel_size": 2},
    {"kernel_size": 3, "stride": 2, "padding": 1},
    {"kernel_size": [2, 3], "stride": 1, "ceil_mode": True},
]
# Paddle takes powers in f32, whatever the dtype.
WIDE = {"f64": 2e10}


def square(x, **a):
    return F.lp_pool2d(x, 2.0, **a)


def last(x, **a):
    return F.lp_pool2d(x, 2.0, data_format="NHWC", **a)


def cube(x, **a):
    return F.lp_pool2d(x, 3.0, **a)


def fraction(x, **a):
    return F.lp_pool2d(x, 1.5, **a)


ROWS = [
    row("lp_pool2d", square, normal, shapes=SHAPES, attrs=WINDOWS, extremes="", tolerance=WIDE, finite=False),
    row("lp_pool2d", last, normal, name="lp_pool2d_last", shapes=SHAPES, attrs=WINDOWS[:2], extremes="", tolerance=WIDE, finite=False),
    row("lp_pool2d", cube, uniform(0.1, 3), name="lp_pool2d_cube", shapes=SHAPES, attrs=WINDOWS, extremes="", tolerance=WIDE, finite=False),
    row("lp_pool2d", fraction, uniform(0.1, 3), name="lp_pool2d_fraction", shapes=SHAPES, attrs=WINDOWS, extremes="", tolerance=WIDE, finite=False),
]  # fmt: skip
