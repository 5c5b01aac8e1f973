# Pooling of volumes: windows, adaptive and global, channels first and last, with indices.
from __future__ import annotations

import paddle
from conformance.draw import distinct, normal
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

ROWS = [
    row("pool3d", F.max_pool3d, distinct, name="max_pool3d", shapes=[], cases=[*WINDOWS, *LAST], extremes="", layouts=("transposed", "strided")),
    row("pool3d", F.avg_pool3d, normal, name="avg_pool3d", tolerance=AVERAGED, grad_tolerance=DIVIDED, shapes=[], cases=[*WINDOWS, *LAST, ((V,), {"kernel_size": 3, "padding": 1, "exclusive": False})], extremes="", layouts=("transposed", "strided")),
    row("pool3d", F.adaptive_avg_pool3d, normal, name="adaptive_avg_pool3d", tolerance=AVERAGED, grad_tolerance=DIVIDED, shapes=[], cases=[*ADAPTIVE, (((2, 5, 6, 7, 3),), {"output_size": [2, 4, 3], "data_format": "NDHWC"})], extremes=""),
    row("max_pool3d_with_index", F.adaptive_max_pool3d, distinct, name="adaptive_max_pool3d", shapes=[], cases=ADAPTIVE, extremes=""),
    row("max_pool3d_with_index", lambda x, **attrs: F.max_pool3d(x, return_mask=True, **attrs), distinct, name="max_pool3d_with_mask", shapes=[], cases=WINDOWS, extremes=""),
]  # fmt: skip
