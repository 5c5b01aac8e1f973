# Arithmetic of two tensors with broadcasting, sums, scaling, powers.
from __future__ import annotations

from typing import Any

import numpy as np
import paddle
from conformance.draw import nonzero, normal, ties, uniform
from conformance.row import BROADCAST, Row, row
from paddle import _C_ops as ops
from paddle import _legacy_C_ops as legacy

SAME = [
    ((3, 5),) * 2,
    ((7, 33),) * 2,
    ((),) * 2,
    ((0,),) * 2,
    ((2, 0, 3),) * 2,
    ((4, 1, 6),) * 2,
    ((33, 65),) * 2,
    ((20011,),) * 2,
]
# x of rank 2 or more, y placed at an axis: what only old programs say.
PLACED = [((3, 5), (3,)), ((2, 3, 4), (3,)), ((2, 3, 4), (2, 3)), ((2, 3, 4), (2,)), ((17, 65), (17,))]
OLD = "only old programs have it"


def binary(kernel: str, call: Any, x: Any = normal, y: Any = normal, **more: Any) -> Row:
    return row(kernel, call, x, y, **{"shapes": BROADCAST, "scale": "element", **more})


def raw(kernel: str, call: Any, y: Any = normal) -> Row:
    """The kernel of old programs: y is broadcast from axis 0 or 1 on."""
    attrs = [{"axis": 0}, {"axis": 1}]
    return row(f"{kernel}_raw", lambda x, y, axis: call(x, y, "axis", axis), normal, y, shapes=PLACED, attrs=attrs,
               valid=lambda s, a: s[0][a["axis"]:][:len(s[1])] == s[1], reference=_placed(kernel), static=OLD, extremes="", scale="element")  # fmt: skip


def _placed(kernel: str) -> Any:
    function = {"add": np.add, "subtract": np.subtract, "multiply": np.multiply, "divide": _divide, "maximum": np.maximum, "minimum": np.minimum, "remainder": np.mod, "floor_divide": np.floor_divide, "elementwise_pow": np.power}[kernel]  # fmt: skip

    def reference(x: np.ndarray, y: np.ndarray, axis: int) -> np.ndarray:
        return function(x, y.reshape(y.shape + (1,) * (x.ndim - axis - y.ndim)))

    return reference


def _divide(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return x / y if x.dtype.kind == "f" else np.trunc(x / y).astype(x.dtype)


ROWS = [
    binary("add", paddle.add, inplace=lambda x, y: x.add_(y)),
    binary("subtract", paddle.subtract, inplace=lambda x, y: x.subtract_(y)),
    binary("multiply", paddle.multiply, inplace=lambda x, y: x.multiply_(y)),
    binary("divide", paddle.divide, y=nonzero, extremes="f"),
    binary("maximum", paddle.maximum, ties, ties, finite=False),
    binary("minimum", paddle.minimum, ties, ties, finite=False),
    binary("fmax", paddle.fmax, ties, ties, finite=False, special=np.fmax),
    binary("fmin", paddle.fmin, ties, ties, finite=False, special=np.fmin),
    binary("remainder", paddle.remainder, y=nonzero, extremes="", finite=False),
    binary("floor_divide", paddle.floor_divide, y=nonzero, extremes="", inplace=lambda x, y: x.floor_divide_(y)),
    binary("trunc_divide", ops.trunc_divide, y=nonzero, extremes=""),
    binary("elementwise_pow", paddle.pow, uniform(0.2, 3), uniform(0, 4), extremes="f"),
    binary("heaviside", paddle.heaviside, ties, finite=False),
    binary("copysign", paddle.copysign, shapes=SAME),
    raw("add", legacy.elementwise_add),
    raw("subtract", legacy.elementwise_sub),
    raw("multiply", legacy.elementwise_mul),
    raw("divide", legacy.elementwise_div, nonzero),
    raw("maximum", legacy.elementwise_max),
    raw("minimum", legacy.elementwise_min),
    raw("remainder", legacy.elementwise_mod, nonzero),
    raw("floor_divide", legacy.elementwise_floordiv, nonzero),
    raw("elementwise_pow", legacy.elementwise_pow, uniform(0, 3)),
    binary("grad_add", legacy.grad_add, shapes=SAME, static=OLD),
    row("add_n", lambda x, y, z: paddle.add_n([x, y, z]), normal, normal, normal, grad=("scale",), also=(), extremes=""),
    row("scale", paddle.scale, normal, attrs=[{"scale": 2.0, "bias": 1.0}, {"scale": -3.0, "bias": 2.0, "bias_after_scale": False}, {}], scale="element", grad=("scale",), inplace=lambda x, **a: x.scale_(**a)),
    row("div_scale", lambda x, y: x / y, normal, attrs=[{"y": 3.0}], scale="element", grad=("div_scale",), in_program=("scale",)),
    row("increment", lambda x, value: paddle.increment(x, value), normal, shapes=[(1,)], attrs=[{"value": 2}, {"value": -1}], layouts=(), inference="Paddle increments in place"),
    row("pow", lambda x, y: paddle.pow(x, y), uniform(0.2, 3), attrs=[{"y": 2}, {"y": 3}, {"y": 0}, {"y": 1}], scale="element", grad_scale=0.1, special=lambda x, y: np.power(x, y)),
    # Paddle's CPU kernel has the exponent in 32 bits.
    row("pow", lambda x, y: paddle.pow(x, y), uniform(0.2, 3), name="pow_fraction", tolerance={"f64": 1e10}, grad_tolerance={"f64": 1e10}, attrs=[{"y": 0.5}, {"y": -1.7}], dtypes=("f32", "f64", "f16", "bf16"), scale="element", special=lambda x, y: np.sqrt(x) if y == 0.5 else np.power(x, y)),
    row("lerp", paddle.lerp, normal, normal, normal, shapes=[((3, 5),) * 3, ((4, 3),) * 3, ((),) * 3, ((0,),) * 3, ((3, 1), (5,), (3, 5)), ((33, 65),) * 3, ((20011,),) * 3], grad=False, extremes=""),
]  # fmt: skip
