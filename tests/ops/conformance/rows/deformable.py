# Deformable convolution.
from __future__ import annotations

from typing import Any

import numpy as np
from conformance.draw import Draw, normal, uniform
from conformance.row import Input, row
from paddle.vision import ops


def offsets(d: Draw) -> np.ndarray:
    """Multiples of an eighth that are no whole numbers, at which the derivative jumps; every dtype has them."""
    whole = d.rng.integers(-2, 3, d.shape)
    return whole + d.rng.integers(1, 8, d.shape) / 8


def call(x: Any, offset: Any, weight: Any, mask: Any, **a: Any) -> Any:
    return ops.deform_conv2d(x, offset, weight, mask=mask, **a)


def shapes(
    n: int, c: int, h: int, w: int, filters: int, k: int, masked: bool, **a: int
) -> tuple[Any, dict[str, int]]:
    """Shapes of the inputs that go with the attributes."""
    out = [(e + 2 * a["padding"] - a["dilation"] * (k - 1) - 1) // a["stride"] + 1 for e in (h, w)]
    points = a["deformable_groups"] * k * k
    mask = (n, points, *out) if masked else None
    return ((n, c, h, w), (n, 2 * points, *out), (filters, c // a["groups"], k, k), mask), a


def of(
    stride: int = 1, padding: int = 1, dilation: int = 1, sets: int = 1, groups: int = 1
) -> dict[str, int]:
    return {
        "stride": stride, "padding": padding, "dilation": dilation, "deformable_groups": sets, "groups": groups
    }  # fmt: skip


ROWS = [
    row(
        "deformable_conv",
        call,
        normal,
        Input(offsets),
        normal,
        Input(uniform(0, 1)),
        shapes=(),
        cases=[
            shapes(2, 6, 9, 11, 4, 3, True, **of()),
            shapes(2, 6, 9, 11, 4, 3, False, **of()),
            shapes(3, 12, 9, 7, 8, 3, True, **of(stride=2, sets=2, groups=4)),
            shapes(1, 20, 9, 7, 8, 3, False, **of(padding=2, dilation=2, sets=4, groups=2)),
            shapes(1, 140, 7, 8, 6, 1, True, **of(padding=0)),
            shapes(1, 256, 44, 48, 4, 3, True, **of()),  # columns in pieces
            shapes(7, 64, 33, 37, 4, 3, True, **of()),  # whole images in pieces
            shapes(0, 6, 9, 11, 4, 3, True, **of()),
        ],
        extremes="",
        tolerance={"f32": 32.0, "f64": 128.0, "f16": 4.0, "bf16": 4.0},  # sums of thousands of samples
        grad_tolerance={"f32": 100.0, "f64": 300.0, "f16": 16.0, "bf16": 16.0},
    ),
]
