# Batch normalisation over all cards, of which there is one.
from __future__ import annotations

from typing import Any

import numpy as np
import paddle
from conformance.draw import normal, uniform
from conformance.row import Input, row


def call(x: Any, scale: Any, bias: Any) -> Any:
    mean, variance = paddle.zeros_like(scale), paddle.ones_like(scale)
    return paddle._C_ops.sync_batch_norm_(
        x, mean, variance, scale, bias, False, 0.9, 1e-5, "NCHW", False, False
    )[0]


def reference(x: Any, scale: Any, bias: Any) -> Any:
    axes = (0, *range(2, x.ndim))
    shape = [1, -1, *[1] * (x.ndim - 2)]
    y = (x - x.mean(axes, keepdims=True)) / np.sqrt(x.var(axes, keepdims=True) + float(np.float32(1e-5)))
    return y * scale.reshape(shape) + bias.reshape(shape)


SHAPES = [((2, 3, 4, 5), (3,), (3,)), ((4, 6), (6,), (6,)), ((3, 2, 17, 33), (2,), (2,))]
VARIABLES = "its running statistics are variables of the layer"

ROWS = [
    row("sync_batch_norm", call, normal, uniform(0.5, 2.0), normal, shapes=SHAPES, dtypes=("f32", "f64"), reference=reference, extremes="", tolerance=16.0, layouts=(), static=VARIABLES, inference=VARIABLES),
    row("sync_batch_norm", call, normal, Input(uniform(0.5, 2.0), "f32"), Input(normal, "f32"), name="sync_batch_norm_narrow", shapes=SHAPES, dtypes=("f16", "bf16"), reference=reference, extremes="", layouts=(), static=VARIABLES, inference=VARIABLES),
]  # fmt: skip
