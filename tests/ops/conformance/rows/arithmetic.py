# Arithmetic of pairs beside the four operations.
from __future__ import annotations

import numpy as np
import paddle
from conformance.draw import nonzero, normal, ties, uniform
from conformance.row import BROADCAST, Input, row

C = paddle._C_ops


def shifts(d):
    return d.rng.integers(0 if d.dtype == "u8" else -2, 70, d.shape)


def labels(d):
    return d.rng.integers(0, 2, d.shape)


def all_close(x, y, **attrs):
    return np.array(np.allclose(x, y, equal_nan=attrs.get("equal_nan", False)))


def neighbours(outputs, arrays, attrs):
    np.testing.assert_array_equal(outputs[0], np.nextafter(*arrays))


ROWS = [
    row("atan2", paddle.atan2, nonzero, nonzero, shapes=BROADCAST, reference=np.arctan2, scale="element", extremes=""),
    row("copysign", paddle.copysign, nonzero, nonzero, name="copysign_grad", shapes=BROADCAST, extremes=""),
    row("nextafter", paddle.nextafter, normal, normal, shapes=BROADCAST, check=neighbours),
    row("bitwise_left_shift", paddle.bitwise_left_shift, normal, shifts, shapes=BROADCAST, attrs=[{"is_arithmetic": True}, {"is_arithmetic": False}]),
    row("bitwise_right_shift", paddle.bitwise_right_shift, normal, shifts, shapes=BROADCAST, attrs=[{"is_arithmetic": True}, {"is_arithmetic": False}]),
    row("lerp", paddle.lerp, normal, normal, Input(uniform(0, 1), grad=False), name="lerp_grad", shapes=[((3, 5),) * 3, ((3, 1), (5,), (1,)), ((), (), ()), ((0, 3),) * 3, ((20011,),) * 3], extremes=""),
    row("rint", C.rint, normal, reference=np.rint, finite=False),
    row("hinge_loss", C.hinge_loss, normal, Input(labels, grad=False), reference=lambda x, y: np.maximum(1 - x * (2 * y - 1), 0), shapes=[(3, 1), (33, 1), (20011, 1), (1, 1)], extremes=""),
    row("equal_all", paddle.equal_all, ties, ties, shapes=[(1,), (2, 1), (7, 33), ((3,), (4,)), (0, 3), ()], extremes="", reference=lambda x, y: np.array(np.array_equal(x, y)), layouts=("strided",)),
    row("allclose", paddle.allclose, ties, ties, shapes=[(1,), (2, 1), (7, 33), ()], attrs=[{}, {"equal_nan": True}], reference=all_close),
]  # fmt: skip
