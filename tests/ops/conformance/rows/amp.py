# Loss scaling.
from __future__ import annotations

from conformance.draw import Input, constant, normal
from conformance.row import row
from paddle import _C_ops as ops

ROWS = [
    row("check_finite_and_unscale", lambda x, y, scale: ops.check_finite_and_unscale_([x, y], scale), normal, normal, Input(constant(4.0), "f32"),
        shapes=[((3, 5), (7,), (1,)), ((33, 65), (4,), (1,)), ((0,), (3,), (1,))], scale="element", layouts=(), extremes=""),
    row("update_loss_scaling", lambda x, found, scale, good, bad, stop: ops.update_loss_scaling_([x], found, scale, good, bad, 3, 2, 2.0, 0.5, stop),
        normal, Input(normal, "bool"), Input(constant(8.0), "f32"), Input(constant(2), "i32"), Input(constant(1), "i32"),
        shapes=[((3, 5), (1,), (1,), (1,), (1,)), ((7, 33), (1,), (1,), (1,), (1,)), ((65,), (1,), (1,), (1,), (1,))], attrs=[{"stop": False}, {"stop": True}], layouts=(), extremes=""),
]  # fmt: skip
