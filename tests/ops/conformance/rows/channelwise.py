# A parameter for each channel, maxout.
from __future__ import annotations

import paddle
from conformance.draw import distinct, normal
from conformance.row import row

F = paddle.nn.functional
SHAPES = [(2, 3, 5, 7), (1, 1, 1, 1), (3, 33, 2, 9), (2, 4, 65), (4, 5), (1, 6, 40, 301)]
CHANNELS = [(s, (s[1],)) for s in SHAPES]


def prelu(x, alpha, data_format="NCHW"):
    return F.prelu(x, alpha, data_format)


def element(x, alpha):
    return paddle._C_ops.prelu(x, alpha, "NCHW", "element")


def affine(x, scale, bias, layout):
    return paddle._C_ops.affine_channel(x, scale, bias, layout)


ROWS = [
    row("prelu", prelu, normal, normal, shapes=CHANNELS, layouts=("transposed", "strided"), grad_scale="terms"),
    row("prelu", prelu, normal, normal, name="prelu_all", shapes=[(s, (1,)) for s in SHAPES], layouts=("transposed", "strided"), grad_scale="terms"),
    row("prelu", prelu, normal, normal, name="prelu_last", shapes=[((2, 5, 7, 3), (3,)), ((3, 2, 9, 33), (33,)), ((2, 65, 4), (4,))],
        attrs=[{"data_format": "NHWC"}], layouts=("strided",), grad_scale="terms"),
    row("prelu", element, normal, normal, name="prelu_element", shapes=[(s, (1, *s[1:])) for s in SHAPES], layouts=("strided",), grad_scale="terms"),
    row("affine_channel", affine, normal, normal, normal, grad_scale="terms", layouts=("transposed", "strided"), extremes="",  # a fused product does not overflow
        cases=[*((((s), (s[1],), (s[1],)), {"layout": "NCHW"}) for s in SHAPES if len(s) == 4), (((2, 5, 7, 3), (3,), (3,)), {"layout": "NHWC"}), (((3, 2, 9, 33), (33,), (33,)), {"layout": "NHWC"})], shapes=[]),
    row("maxout", F.maxout, distinct, shapes=[(2, 6, 5, 7), (3, 12, 1, 9), (1, 6, 40, 61)], attrs=[{"groups": 2}, {"groups": 3, "axis": 1}, {"groups": 6}]),
    row("maxout", F.maxout, distinct, name="maxout_last", shapes=[(2, 5, 7, 6), (3, 1, 9, 12)], attrs=[{"groups": 2, "axis": -1}, {"groups": 3, "axis": 3}]),
]  # fmt: skip
