# Reductions and norms.
from __future__ import annotations

from typing import Any

import paddle
from conformance.draw import normal, ties, uniform
from conformance.row import ALONG, Row, row
from paddle import _C_ops as ops
from paddle import _legacy_C_ops as legacy

SHAPES = [*ALONG, ()]
AXES = [
    {"axis": -1, "keepdim": False},
    {"axis": None, "keepdim": False},
    {"axis": [0, -1], "keepdim": True},
    {"axis": 0, "keepdim": False},
    {"axis": 1, "keepdim": True},
]

# Gradients of norms divide by the norm and an epsilon of 1e-12.
EPSILON = {"f64": 1e5}


def fits(shapes: Any, attrs: dict[str, Any]) -> bool:
    """The axes exist and are different ones."""
    axis, rank = attrs["axis"], max(len(shapes[0]), 1)
    if isinstance(axis, list):
        return len(shapes[0]) > 1
    return axis is None or -rank <= axis < rank


def not_empty(shapes: Any, attrs: dict[str, Any]) -> bool:
    """And something is left to choose from."""
    return fits(shapes, attrs) and 0 not in shapes[0]


def reduction(kernel: str, call: Any, draw: Any = normal, **more: Any) -> Row:
    return row(
        kernel,
        lambda x, axis, keepdim: call(x, axis, keepdim=keepdim),
        draw,
        **{"shapes": SHAPES, "attrs": AXES, "valid": fits, **more},
    )


def raw(kernel: str, draw: Any = normal, **more: Any) -> Row:
    """The kernel of old programs, which say whether they reduce everything."""
    call = getattr(legacy, f"reduce_{kernel}")
    return row(f"{kernel}_raw", lambda x, keepdim: call(x, "dim", list(range(x.ndim)), "keep_dim", keepdim, "reduce_all", True), draw,
               **{"shapes": [(3, 5), (7, 33), (7,), (2, 3, 4, 5), (33, 65), (20011,)], "attrs": [{"keepdim": False}, {"keepdim": True}], "static": "only old programs have it", **more})  # fmt: skip


ROWS = [
    reduction("sum", paddle.sum, scale="terms"),
    reduction("mean", paddle.mean, scale="terms", valid=not_empty),
    reduction("max", paddle.max, ties, valid=not_empty, finite=False),
    reduction("min", paddle.min, ties, valid=not_empty, finite=False),
    reduction("amax", paddle.amax, ties, valid=not_empty, finite=False),
    reduction("amin", paddle.amin, ties, valid=not_empty, finite=False),
    reduction("prod", paddle.prod, uniform(0.7, 1.3), extremes="", tolerance={"f64": 256.0}),
    reduction("any", paddle.any, ties),
    reduction("all", paddle.all, uniform(0, 1)),
    reduction("logsumexp", paddle.logsumexp, valid=not_empty),
    raw("sum", scale="terms"),
    raw("mean", scale="terms"),
    raw("max"),
    raw("min"),
    raw("amax"),
    raw("amin"),
    raw("any"),
    raw("all"),
    row("mean_all", ops.mean_all, normal, shapes=[(3, 5), (7, 33), (), (1,), (2, 3, 4, 5), (33, 65), (20011,)], scale="terms"),
    row("squared_l2_norm", ops.squared_l2_norm, normal, shapes=[(3, 5), (7, 33), (), (1,), (2, 3, 4, 5), (33, 65), (20011,)], extremes=""),
    row("p_norm", lambda x, **a: paddle.linalg.norm(x, **a), normal, shapes=ALONG,
        attrs=[{"p": 2, "axis": -1}, {"p": 1, "axis": 0}, {"p": 3, "axis": 1, "keepdim": True}, {"p": float("inf"), "axis": -1}, {"p": float("-inf"), "axis": 0}, {"p": 0, "axis": -1}],
        valid=lambda s, a: 0 not in s[0] and -len(s[0]) <= a["axis"] < len(s[0]), extremes="", finite=False, grad_tolerance={"f64": 1e9}, tolerance={"f64": 1e9}),  # Paddle's CPU kernel takes 1 / p in 32 bits
    row("frobenius_norm", lambda x, **a: paddle.linalg.norm(x, p="fro", **a), normal, shapes=[(3, 7), (5, 33), (4, 1), (2, 5, 3), (2, 3, 4, 5), (33, 65), (3, 1025)],
        attrs=[{"axis": [-2, -1]}, {"axis": [0, 1], "keepdim": True}], extremes="", grad_tolerance=EPSILON),
]  # fmt: skip
