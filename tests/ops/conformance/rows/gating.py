# Gated and randomised activations.
from __future__ import annotations

import numpy as np
import paddle
from conformance.draw import normal
from conformance.row import row

F = paddle.nn.functional


def one_of_each(outputs, arrays, attrs):
    """Rows of a hard sample hold a single 1."""
    out = outputs[0].astype(np.float64)
    assert ((out == 0) | (out == 1)).all(), "neither 0 nor 1"
    assert (out.sum(attrs["axis"]) == 1).all(), "not one 1 in each row"


def slopes(outputs, arrays, attrs):
    """What was positive stays, what was negative is scaled by a slope of the range."""
    x, out = arrays[0].astype(np.float64), outputs[0].astype(np.float64)
    assert (out[x >= 0] == x[x >= 0]).all()
    ratio = out[x < 0] / x[x < 0]
    slack = 1e-2 if arrays[0].dtype.itemsize == 2 else 1e-6
    assert ((ratio > 0.1 - slack) & (ratio < 0.4 + slack)).all(), ratio


def seeded(function):
    """The same numbers are drawn for the same input."""

    def call(x, **attrs):
        paddle.seed(7)
        return function(x, **attrs)

    return call


ROWS = [
    row("swiglu", F.swiglu, normal, normal, shapes=[(3, 5), (1,), (7, 33), (2, 0, 3), (2, 3, 4, 5), (20011,)], extremes=""),
    row("swiglu", F.swiglu, normal, name="swiglu_halves", shapes=[(3, 6), (2,), (7, 34), (2, 0, 4), (33, 1024)], extremes=""),
    row("rrelu", lambda x: F.rrelu(x, 0.1, 0.4, training=False), normal, name="rrelu_fixed", extremes=""),
    row("rrelu", seeded(lambda x: F.rrelu(x, 0.1, 0.4)), normal, check=slopes, extremes="", grad=False, layouts=(), static="draws"),
    row("gumbel_softmax", seeded(lambda x, axis: F.gumbel_softmax(x, hard=True, axis=axis)), normal, check=one_of_each, shapes=[(5, 7), (3, 33), (200, 4)], attrs=[{"axis": -1}, {"axis": 0}], extremes="", grad=False, layouts=(), static="draws"),
]  # fmt: skip
