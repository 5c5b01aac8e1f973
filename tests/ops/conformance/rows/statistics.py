# Variances, sums that skip NaN, norms and distances.
from __future__ import annotations

import numpy as np
import paddle
from conformance.draw import nonzero, normal
from conformance.row import ANY, BROADCAST, Input, row

C = paddle._C_ops
AXES = [{"axis": [], "keepdim": False}, {"axis": [0], "keepdim": False}, {"axis": [-1], "keepdim": True}]
# Rows that repeat one have no deviation, whose rounding is nothing to compare.
LAYOUTS = ("transposed", "strided")
SPREADS = [*AXES, {"axis": [0], "keepdim": False, "correction": 0.0}]
FILLED = [s for s in ANY if s and 0 not in s]
SPREAD = [s for s in FILLED if s not in ((1,), (4, 1, 6))]


def with_nan(d):
    values = nonzero(d)
    return np.where(d.rng.random(d.shape) < 0.3, np.nan, values) if values.dtype.kind == "f" else values


def several(shapes, attrs):
    """A deviation of at least two elements, where it has a gradient."""
    return all(shapes[0][axis] > 1 for axis in attrs["axis"])


# Paddle's Python functions compose these three of other kernels.
def var(x, axis, keepdim, correction=1.0):
    return C.var(x, axis, keepdim, True, correction)


def std(x, axis, keepdim, correction=1.0):
    return C.std(x, axis, keepdim, True, correction)


def nansum(x, axis, keepdim):
    return C.nansum(x, axis, x.dtype, keepdim)


ROWS = [
    row("var", var, normal, shapes=SPREAD, attrs=SPREADS, valid=several, extremes="", layouts=LAYOUTS),
    row("std", std, normal, shapes=SPREAD, attrs=SPREADS, valid=several, extremes="", layouts=LAYOUTS),
    row("variance", lambda x, axis: C.variance(x, axis, False), normal, shapes=FILLED, attrs=[{"axis": [0]}, {"axis": []}], extremes="", layouts=LAYOUTS, grad=False),
    row("nansum", nansum, with_nan, shapes=FILLED, attrs=AXES, scale="terms", extremes="", finite=False),
    row("reduce_as", paddle.reduce_as, normal, Input(normal, grad=False), shapes=[((3, 4, 5), (4, 1)), ((3, 5), (5,)), ((3, 5), (3, 5)), ((0, 5), (5,)), ((33, 65), (1, 65)), ((7, 1), (1,))], scale="terms", extremes="", layouts=("strided",)),
    row("norm", lambda x, axis: C.norm(x, axis, 1e-10, False)[0], normal, shapes=[(3, 5), (7, 33), (2, 3, 4, 5)], attrs=[{"axis": 0}, {"axis": 1}, {"axis": -1}], extremes=""),
    row("dist", paddle.dist, normal, normal, shapes=[s for s in BROADCAST if not any(0 in x for x in s)], attrs=[{"p": 1}, {"p": 2}, {"p": 4}, {"p": float("inf")}, {"p": 0}], grad_tolerance={"f64": 1e4}, extremes="", finite=False),
    row("renorm", paddle.renorm, normal, shapes=[(3, 5), (7, 33), (2, 3, 4)], attrs=[{"p": 2.0, "axis": 0, "max_norm": 1.0}, {"p": 1.0, "axis": 1, "max_norm": 3.0}, {"p": 2.0, "axis": -1, "max_norm": 1e3}, {"p": 4.0, "axis": 1, "max_norm": 0.5}], extremes="", finite=False),
    row("squared_l2_norm", C.squared_l2_norm, normal, name="squared_l2_norm_grad", shapes=FILLED, grad=("squared_l2_norm_grad",), scale="terms", extremes=""),
    row("l1_norm", C.l1_norm, nonzero, reference=lambda x: np.abs(x).sum(), shapes=FILLED, scale="terms", extremes=""),
]  # fmt: skip
