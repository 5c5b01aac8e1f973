# Cross entropy with angular margins, which Paddle's CPU device lacks: the reference is the definition (Deng et al., ArcFace, 2019).
from __future__ import annotations

import numpy as np
import paddle
from conformance.draw import below, uniform
from conformance.row import Input, row


def call(x, label, **attrs):
    return paddle.nn.functional.margin_cross_entropy(x, label, reduction=None, group=False, **attrs)


def definition(x, label, margin1=1.0, margin2=0.5, margin3=0.0, scale=64.0):
    margin1, margin2, margin3, scale = (float(np.float32(v)) for v in (margin1, margin2, margin3, scale))
    rows = np.arange(len(x))
    label = label.reshape(-1)
    z = x.copy()
    z[rows, label] = np.cos(margin1 * np.arccos(x[rows, label]) + margin2) - margin3
    z = z * scale
    z = z - z.max(1, keepdims=True)
    return (np.log(np.exp(z).sum(1)) - z[rows, label])[:, None]


ROWS = [
    row("margin_cross_entropy", call, uniform(-0.9, 0.9), Input(below(lambda d: d.shapes[0][1]), "i64"),
        shapes=[((4, 7), (4, 1)), ((3, 65), (3,)), ((2, 5003), (2, 1)), ((1, 1), (1, 1))],
        attrs=[{"scale": 8.0}, {"margin1": 1.0, "margin2": 0.0, "margin3": 0.35, "scale": 8.0}, {"margin1": 1.35, "margin2": 0.1, "scale": 16.0}],
        reference=definition, extremes="", tolerance=4, grad_tolerance=16, without={"f16": "Paddle's function casts it to float32"}),
]  # fmt: skip
