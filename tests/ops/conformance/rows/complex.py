# Complex numbers: their parts, and arithmetic of pairs.
from __future__ import annotations

import numpy as np
import paddle
from conformance.draw import nonzero, normal
from conformance.row import ANY, BROADCAST, row

PAIRS = ("c64", "c128")


def away(d):
    """Complex numbers away from zero."""
    return nonzero(d) + 1j * nonzero(d)


def small(d):
    """Away from the poles of 1 / (1 + exp(-x))."""
    return 0.4 * normal(d)


NO_COMPLEX = "Paddle Inference has no complex tensors"
COMMON = dict(dtypes=PAIRS, extremes="", finite=False, inference=NO_COMPLEX)

F = paddle.nn.functional
# Away from the branch points, where gradients have no limit.
FUNCTIONS = dict.fromkeys(
    ("sin", "cos", "tan", "sinh", "cosh", "tanh", "expm1", "log1p"), normal
) | dict.fromkeys(("asin", "acos", "atan", "asinh", "acosh", "atanh", "sqrt", "log", "log2", "log10"), away)

ROWS = [
    row("complex", paddle.complex, normal, normal, shapes=BROADCAST, extremes="", static="takes gradients of complex results", inference=NO_COMPLEX, finite=False),
    row("conj", paddle.conj, normal, extremes="", inference=NO_COMPLEX, finite=False, grad=("conj",)),
    row("angle", paddle.angle, normal, extremes="", inference=NO_COMPLEX, finite=False),
    row("add", paddle.add, normal, normal, name="add_complex", shapes=BROADCAST, **COMMON),
    row("subtract", paddle.subtract, normal, normal, name="subtract_complex", shapes=BROADCAST, **COMMON),
    row("multiply", paddle.multiply, normal, normal, name="multiply_complex", shapes=BROADCAST, **COMMON),
    row("divide", paddle.divide, normal, away, name="divide_complex", shapes=BROADCAST, **COMMON),
    row("scale", lambda x: paddle.scale(x, 2.5, 0.5), normal, name="scale_complex", **COMMON),
    row("div_scale", lambda x: x / 2.5, normal, name="div_scale_complex", static="a program scales", **COMMON),
    row("abs", paddle.abs, away, name="abs_complex", **COMMON),
    row("exp", paddle.exp, normal, name="exp_complex", reference=np.exp, **COMMON),
    row("square", paddle.square, normal, name="square_complex", **COMMON),
    row("reciprocal", paddle.reciprocal, away, name="reciprocal_complex", **COMMON),
    row("sigmoid", F.sigmoid, small, name="sigmoid_complex", reference=lambda x: 1 / (1 + np.exp(-x)), **COMMON),  # Paddle's exp counts in c64
    row("silu", F.silu, small, name="silu_complex", reference=lambda x: x / (1 + np.exp(-x)), **COMMON),
    *(row(name, getattr(F, name, None) or getattr(paddle, name), draw, name=f"{name}_complex", **COMMON) for name, draw in FUNCTIONS.items()),
    row("sum", paddle.sum, normal, name="sum_complex", scale=1000.0, attrs=[{"axis": None}, {"axis": 0}, {"axis": -1}], **COMMON),
    row("mean", paddle.mean, normal, name="mean_complex", scale=1.0, attrs=[{"axis": None}, {"axis": 0}, {"axis": -1}], shapes=[s for s in ANY if 0 not in s], **COMMON),
    row("cast", lambda x: paddle.cast(x, "complex64" if x.dtype == paddle.complex128 else "complex128"), normal, inference=NO_COMPLEX, name="cast_complex", dtypes=("f32", "f64", "i32", "i64", "c64", "c128"), extremes="", finite=False, grad=False),
    row("matmul", paddle.matmul, normal, normal, name="matmul_complex", shapes=[((3, 5), (5, 4)), ((7,), (7,)), ((2, 3, 5), (5, 4)), ((2, 1, 3, 5), (1, 4, 5, 6)), ((65, 33), (33, 17))], **COMMON),
]  # fmt: skip
