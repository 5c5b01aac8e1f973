# Random numbers and dropout.
from __future__ import annotations

import paddle
from conformance.row import row
from scipy import stats


def place():
    return paddle.framework._current_expected_place()


ROWS = [
    row("gaussian", lambda mean, std, shape, dtype: paddle._C_ops.gaussian(shape, mean, std, 0, getattr(paddle, dtype), place()),
        attrs=[{"mean": 0.0, "std": 1.0, "shape": [200, 101]}, {"mean": -3.0, "std": 0.5, "shape": [20011]}, {"mean": 1.0, "std": 2.0, "shape": []}, {"mean": 1.0, "std": 2.0, "shape": [0, 3]}],
        typed=True, law=lambda mean, std, shape: stats.norm(mean, std)),
]  # fmt: skip
