# Normalisations.
from __future__ import annotations

from dataclasses import replace

import paddle
from conformance.draw import Input, normal, uniform
from conformance.row import row

F = paddle.nn.functional
POSITIVE = uniform(0.5, 2)
WIDE = {"draw": normal, "dtype": "f32"}
IMAGES = [(2, 4, 5, 6), (3, 8, 7, 9), (1, 2, 33, 17), (5, 6)]
MORE = {"extremes": "", "tolerance": 2.0, "grad_tolerance": 8.0}


def channels(shape, axis=1, count=4):
    return (shape, *((shape[axis],),) * count)


def batch_norm(x, mean, variance, weight, bias, training, **attrs):
    """The output, and the running statistics that it leaves behind."""
    return F.batch_norm(x, mean, variance, weight, bias, training=training, **attrs), mean, variance


STATISTICS = (
    Input(normal, "f32", grad=False, views=False),
    Input(POSITIVE, "f32", grad=False, views=False),
    Input(POSITIVE, "f32"),
    Input(normal, "f32"),
)

ROWS = [
    row("layer_norm", lambda x, w, b, axes: F.layer_norm(x, x.shape[axes:], w, b), normal, normal, normal,
        cases=[(((3, 7), (7,), (7,)), {"axes": 1}), (((7, 33), (33,), (33,)), {"axes": 1}), (((2, 3, 5), (15,), (15,)), {"axes": 1}), (((2, 3, 4, 5), (5,), (5,)), {"axes": 3}), (((33, 1025), (1025,), (1025,)), {"axes": 1}), (((4, 6), None, None), {"axes": 1})], shapes=[],
        valid=lambda s, a: True, **MORE),
    row("batch_norm", batch_norm, normal, *STATISTICS, shapes=[channels(s) for s in IMAGES], attrs=[{"training": True}, {"training": True, "momentum": 0.7, "epsilon": 1e-3}, {"training": False}],
        cases=[(channels((2, 5, 6, 4), 3), {"training": True, "data_format": "NHWC"})], dtypes=("f32", "f16", "bf16"), static="its statistics are changed in place", layouts=("strided",), **MORE),
    # Beside f64 the statistics are f64.
    row("batch_norm", batch_norm, normal, *(replace(given, dtype=None) for given in STATISTICS), shapes=[channels(s) for s in IMAGES], attrs=[{"training": True}, {"training": True, "momentum": 0.7, "epsilon": 1e-3}, {"training": False}],
        cases=[(channels((2, 5, 6, 4), 3), {"training": True, "data_format": "NHWC"})], name="batch_norm_f64", dtypes=("f64",), static="its statistics are changed in place", layouts=("strided",), **MORE),
    row("group_norm", lambda x, w, b, groups: F.group_norm(x, groups, 1e-5, w, b), normal, normal, normal, shapes=[channels(s, 1, 2) for s in [(2, 4, 5, 6), (3, 8, 7, 9), (1, 2, 33, 17)]], attrs=[{"groups": 2}, {"groups": 1}], **MORE),
    row("group_norm", lambda x, w, b, groups: F.group_norm(x, groups, 1e-5, w, b, data_format="NHWC"), normal, normal, normal, name="group_norm_last", shapes=[((2, 5, 6, 4), (4,), (4,)), ((3, 7, 9, 8), (8,), (8,)), ((1, 33, 17, 2), (2,), (2,))], attrs=[{"groups": 2}, {"groups": 1}], **MORE),
    row("instance_norm", lambda x, w, b: F.instance_norm(x, weight=w, bias=b), normal, Input(normal, "f32"), Input(normal, "f32"), shapes=[channels(s, 1, 2) for s in [(2, 4, 5, 6), (3, 8, 7, 9), (1, 2, 33, 17)]], **MORE),
]  # fmt: skip
