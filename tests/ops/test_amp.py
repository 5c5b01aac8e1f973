# Loss scaling: unscale, detect what is not finite, move the scale.
from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from execute import execute

from openxpu.ops import amp as ops


@pytest.mark.parametrize("bad", [None, np.inf, -np.inf, np.nan])
def test_unscale(bad: float | None) -> None:
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal(5000).astype(np.float32), rng.standard_normal(30).astype(np.float32)
    if bad is not None:
        y[29] = bad

    def plan(b: Any, x: Any, y: Any, scale: Any, x_out: Any, y_out: Any, found: Any) -> None:
        ops.plan_check_finite_and_unscale(b, [x, y], scale, [x_out, y_out], found)

    scale = np.array([4.0], np.float32)
    out = execute(plan, [x, y, scale], [((5000,), "f32"), ((30,), "f32"), ((1,), "bool")])
    np.testing.assert_array_equal(out[0], x / 4)
    np.testing.assert_array_equal(out[1], y / 4)
    assert out[2][0] == (bad is not None)


@pytest.mark.parametrize(
    ("found", "good", "bad", "expected"),
    [
        (False, 1, 0, (8.0, 0, 0)),
        (False, 0, 1, (4.0, 1, 0)),
        (True, 1, 0, (4.0, 0, 1)),
        (True, 1, 1, (2.0, 0, 0)),
    ],
)
def test_scale_moves(found: bool, good: int, bad: int, expected: tuple[float, int, int]) -> None:
    x = np.arange(30, dtype=np.float32)

    def plan(b: Any, x: Any, f: Any, s: Any, g: Any, n: Any, xo: Any, so: Any, go: Any, no: Any) -> None:
        ops.plan_update_loss_scaling(b, [x], f, s, g, n, [xo], so, go, no, 2, 2, 2.0, 0.5)

    inputs = [
        x,
        np.array([found]),
        np.array([4.0], np.float32),
        np.array([good], np.int32),
        np.array([bad], np.int32),
    ]
    out = execute(plan, inputs, [((30,), "f32"), ((1,), "f32"), ((1,), "i32"), ((1,), "i32")])
    np.testing.assert_array_equal(out[0], x * (not found))
    assert (out[1][0], out[2][0], out[3][0]) == expected


@pytest.mark.parametrize("found", [False, True])
def test_gradients_that_lie_in_place(found: bool) -> None:
    x = np.arange(30, dtype=np.float32)

    def plan(b: Any, x: Any, found: Any, scale: Any, good: Any, bad: Any, out: Any, *moved: Any) -> None:
        b.copy(out, x)
        ops.plan_update_loss_scaling(b, [out], found, scale, good, bad, [out], *moved, 2, 2, 2.0, 0.5)

    one = np.ones(1, np.int32)
    arguments = [x, np.array([found]), np.array([4.0], np.float32), one, one]
    out = execute(plan, arguments, [((30,), "f32"), ((1,), "f32"), ((1,), "i32"), ((1,), "i32")])
    np.testing.assert_array_equal(out[0], 0 * x if found else x)
