# Convolutions.
from __future__ import annotations

import paddle
from conformance.draw import normal
from conformance.row import row
from paddle import _C_ops as ops

F = paddle.nn.functional
STEPS = [
    {},
    {"stride": 2, "padding": 1},
    {"padding": (1, 2), "dilation": 2},
    {"stride": (2, 1), "padding": "SAME"},
]
UP = [{}, {"stride": 2, "padding": 1}, {"stride": 2, "output_padding": 1}, {"dilation": 2}]
MORE = {"scale": "terms", "extremes": "", "grad_tolerance": 4.0}


def depthwise(x, weight, stride=1, padding=0, dilation=1):
    return ops.depthwise_conv2d(
        x, weight, [stride] * 2, [padding] * 2, "EXPLICIT", x.shape[1], [dilation] * 2, "NCHW"
    )


ROWS = [
    row("conv2d", F.conv2d, normal, normal, shapes=[((2, 3, 9, 10), (4, 3, 3, 3)), ((1, 1, 8, 8), (1, 1, 5, 5)), ((3, 17, 12, 13), (33, 17, 3, 3))], attrs=[a | {"bias": None} for a in STEPS],
        cases=[(((2, 4, 9, 9), (6, 2, 3, 3)), {"groups": 2}), (((2, 9, 9, 3), (4, 3, 3, 3)), {"data_format": "NHWC"}), (((2, 5, 7, 7), (8, 5, 1, 1)), {})], **MORE),
    row("depthwise_conv2d", depthwise, normal, normal, shapes=[((2, 5, 9, 10), (5, 1, 3, 3)), ((1, 1, 8, 8), (1, 1, 5, 5)), ((3, 33, 12, 13), (33, 1, 3, 3))], attrs=[{}, {"stride": 2, "padding": 1}, {"padding": 2, "dilation": 2}], **MORE),
    row("conv2d_transpose", F.conv2d_transpose, normal, normal, shapes=[((2, 3, 5, 6), (3, 4, 3, 3)), ((1, 1, 4, 4), (1, 1, 5, 5)), ((3, 17, 7, 8), (17, 33, 3, 3))], attrs=UP, cases=[(((2, 4, 5, 5), (4, 3, 3, 3)), {"groups": 2})], **MORE),
    row("depthwise_conv2d_transpose", lambda x, weight, stride=1, padding=0: ops.depthwise_conv2d_transpose(x, weight, [stride] * 2, [padding] * 2, [], [], "EXPLICIT", x.shape[1], [1, 1], "NCHW"), normal, normal,
        shapes=[((2, 5, 5, 6), (5, 1, 3, 3)), ((3, 33, 7, 8), (33, 1, 3, 3))], attrs=[{}, {"stride": 2, "padding": 1}], **MORE),
]  # fmt: skip
