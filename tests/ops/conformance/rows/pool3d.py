# Pooling of volumes: windows, adaptive and global, channels first and last, with indices; its inverse; pooling of powers.
from __future__ import annotations

import numpy as np
import paddle
from conformance.draw import Draw, distinct, normal, uniform
from conformance.row import row

F = paddle.nn.functional
V = (2, 3, 5, 6, 7)
WINDOWS = [
    ((V,), {"kernel_size": 2}),
    ((V,), {"kernel_size": [3, 2, 3], "stride": [1, 2, 2], "padding": [1, 0, 1]}),
    ((V,), {"kernel_size": 3, "stride": 2, "padding": 1, "ceil_mode": True}),
    (((1, 2, 9, 8, 33),), {"kernel_size": 3, "stride": 2, "padding": 1}),
    (((1, 1, 8, 9, 9),), {"kernel_size": 8, "stride": 1}),
]
LAST = [
    (((2, 5, 6, 7, 3),), {"kernel_size": 3, "stride": 2, "padding": 1, "data_format": "NDHWC"}),
]
ADAPTIVE = [
    ((V,), {"output_size": 1}),
    ((V,), {"output_size": [5, 3, 7]}),
    ((V,), {"output_size": [2, 4, 3]}),
    ((V,), {"output_size": [7, 8, 9]}),
]
# Paddle's CPU kernel divides the gradient by a float also in f64.
DIVIDED = {"f64": 1e9}
AVERAGED = {"f32": 16.0}
# Its powers are of floats in f64 too; the gradient starts from rounded outputs.
LP = {"f64": 1e10, "f32": 16.0}
LP_GRAD = {"f64": 1e10, "f32": 64.0, "f16": 6.0, "bf16": 6.0}


def places(d: Draw) -> np.ndarray:
    """Where the maxima of windows of two lie: anywhere in each, no place twice."""
    extents = d.shape[2:]
    window = [
        2 * np.arange(n).reshape([-1 if i == k else 1 for i in range(len(extents))])
        for k, n in enumerate(extents)
    ]
    at = np.zeros(d.shape, np.int64)
    for first, extent in zip(window, extents, strict=True):
        at = at * (2 * extent) + first + d.rng.integers(0, 2, d.shape)
    return at


ROWS = [
    row("pool3d", F.max_pool3d, distinct, name="max_pool3d", shapes=[], cases=[*WINDOWS, *LAST], extremes="", layouts=("transposed", "strided")),
    row("pool3d", F.avg_pool3d, normal, name="avg_pool3d", tolerance=AVERAGED, grad_tolerance=DIVIDED, shapes=[], cases=[*WINDOWS, *LAST, ((V,), {"kernel_size": 3, "padding": 1, "exclusive": False})], extremes="", layouts=("transposed", "strided")),
    row("pool3d", F.adaptive_avg_pool3d, normal, name="adaptive_avg_pool3d", tolerance=AVERAGED, grad_tolerance=DIVIDED, shapes=[], cases=[*ADAPTIVE, (((2, 5, 6, 7, 3),), {"output_size": [2, 4, 3], "data_format": "NDHWC"})], extremes=""),
    row("max_pool3d_with_index", F.adaptive_max_pool3d, distinct, name="adaptive_max_pool3d", shapes=[], cases=ADAPTIVE, extremes=""),
    row("max_pool3d_with_index", lambda x, **attrs: F.max_pool3d(x, return_mask=True, **attrs), distinct, name="max_pool3d_with_mask", shapes=[], cases=WINDOWS, extremes=""),
    row("lp_pool2d", F.lp_pool2d, uniform(0.2, 2.0), shapes=[], extremes="", tolerance=LP, grad_tolerance=LP_GRAD, cases=[
        (((2, 3, 6, 7),), {"norm_type": 2.0, "kernel_size": 2}), (((1, 2, 9, 8),), {"norm_type": 3.0, "kernel_size": 3, "stride": 2, "padding": 1, "ceil_mode": True}),
        (((2, 6, 7, 3),), {"norm_type": 1.0, "kernel_size": 2, "data_format": "NHWC"})]),
    row("fractional_max_pool2d", F.fractional_max_pool2d, distinct, shapes=[], extremes="", cases=[
        (((2, 3, 9, 11),), {"output_size": [4, 5], "random_u": 0.3}), (((1, 2, 9, 8),), {"output_size": 3, "kernel_size": 2, "random_u": 0.7}), (((1, 2, 33, 40),), {"output_size": [17, 9], "random_u": 0.9}),
        (((2, 1, 7, 7),), {"output_size": 6, "random_u": 0.1})]),
    row("fractional_max_pool3d", F.fractional_max_pool3d, distinct, shapes=[], extremes="", cases=[(((2, 3, 5, 9, 7),), {"output_size": [2, 4, 3], "random_u": 0.3}), (((1, 2, 6, 9, 8),), {"output_size": 3, "kernel_size": 2, "random_u": 0.6})]),
]  # fmt: skip
