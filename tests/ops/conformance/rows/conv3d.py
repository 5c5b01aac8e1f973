# Convolutions of volumes, and the second gradients of convolutions.
from __future__ import annotations

from typing import Any

import paddle
from conformance.draw import normal
from conformance.row import row

F = paddle.nn.functional
VOLUMES = [
    (((2, 4, 5, 6, 7), (6, 4, 3, 3, 3)), {"padding": 1}),
    (((1, 3, 7, 9, 8), (5, 3, 3, 2, 3)), {"stride": 2, "padding": [1, 0, 1]}),
    (((2, 3, 6, 7, 9), (4, 3, 2, 3, 2)), {"stride": [2, 1, 3], "dilation": [1, 2, 2]}),
    (((2, 6, 4, 5, 6), (4, 3, 3, 3, 3)), {"groups": 2, "padding": [1, 2, 0, 1, 2, 1]}),
    (((3, 8, 4, 4, 4), (5, 8, 1, 1, 1)), {}),
    (((2, 4, 3, 5, 5), (5, 4, 1, 3, 3)), {"padding": [0, 1, 1]}),
    (((2, 4, 6, 3, 5), (5, 4, 3, 1, 1)), {"padding": [1, 0, 0], "stride": [2, 1, 1]}),
    (((2, 4, 5, 3, 5), (8, 1, 3, 3, 3)), {"groups": 4, "padding": 1}),
    (((1, 2, 3, 4, 5), (3, 2, 2, 2, 2)), {"padding": "SAME"}),
    (((1, 2, 3, 4, 5), (3, 2, 2, 2, 2)), {"padding": "VALID"}),
    (((1, 2, 3, 4, 5), (3, 2, 5, 3, 3)), {"padding": 2, "stride": 4}),
    (((2, 5, 6, 7, 4), (6, 4, 3, 3, 3)), {"padding": 1, "stride": 2, "data_format": "NDHWC"}),
]
TRANSPOSED = [
    (((2, 4, 3, 4, 5), (4, 3, 2, 2, 2)), {"stride": 2}),
    (((1, 4, 3, 4, 5), (4, 3, 3, 3, 3)), {"stride": [1, 2, 3], "padding": 1, "output_padding": [0, 1, 2]}),
    (((2, 4, 3, 4, 3), (4, 3, 3, 2, 3)), {"dilation": 2, "padding": [1, 0, 2]}),
    (((2, 4, 3, 3, 4), (4, 2, 3, 3, 3)), {"groups": 2, "padding": 1}),
    (((2, 3, 3, 4, 4), (4, 3, 2, 2, 2)), {"stride": 2, "data_format": "NDHWC"}),
]


def gradients(conv: Any) -> Any:
    """The gradients of a convolution, whose own gradients are what the row is about."""

    def call(x: Any, w: Any, dy: Any, **attrs: Any) -> Any:
        for tensor in (x, w, dy):
            tensor.stop_gradient = False
        return paddle.grad(conv(x, w, **attrs), [x, w], dy, create_graph=True)

    return call


SECOND = "programs take no gradients of a gradient"

ROWS = [
    row("conv3d", F.conv3d, normal, normal, shapes=[], cases=VOLUMES, scale="terms", extremes="", layouts=("transposed", "strided")),
    row("conv3d_transpose", F.conv3d_transpose, normal, normal, shapes=[], cases=TRANSPOSED, scale="terms", extremes="", layouts=("transposed", "strided")),
    row("conv2d_grad", gradients(F.conv2d), normal, normal, normal, name="conv2d_double_grad", shapes=[], grad=["conv2d_double_grad"], scale="terms", extremes="",
        layouts=("transposed",), static=SECOND, inference=SECOND, cases=[
            (((2, 4, 6, 7), (6, 2, 3, 3), (2, 6, 3, 4)), {"padding": 1, "stride": 2, "groups": 2}), (((1, 3, 5, 5), (4, 3, 3, 2), (1, 4, 3, 4)), {})]),
    row("conv3d_grad", gradients(F.conv3d), normal, normal, normal, name="conv3d_double_grad", shapes=[], grad=["conv3d_double_grad"], scale="terms", extremes="",
        layouts=("transposed",), static=SECOND, inference=SECOND, cases=[(((2, 2, 4, 5, 6), (3, 2, 3, 3, 3), (2, 3, 4, 5, 6)), {"padding": 1})]),
]  # fmt: skip
