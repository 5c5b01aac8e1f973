# Optimizer steps against their formulas in f64, with and without master weights; clipping by norm.
from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np
import pytest
from execute import execute

from openxpu.ops import optimizer as ops

BF16 = np.dtype(ml_dtypes.bfloat16)
RATE = np.array([0.1], np.float32)


def draw(seed: int, n: int) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(n).astype(np.float32)


def close(result: Any, expected: Any, tolerance: float = 1e-5) -> None:
    np.testing.assert_allclose(np.asarray(result, np.float64), expected, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("n", [1, 100, 5000])
@pytest.mark.parametrize("half", [False, True], ids=["f32", "bf16 with master"])
def test_momentum(n: int, half: bool) -> None:
    master, grad, velocity = draw(0, n), draw(1, n), draw(2, n)
    param = master.astype(BF16) if half else master.copy()

    def plan(b: Any, p: Any, g: Any, v: Any, rate: Any, m: Any, p_out: Any, v_out: Any, m_out: Any) -> None:
        ops.plan_momentum(b, p, g, v, rate, m, p_out, v_out, m_out, 0.9, True, 0.01)

    inputs = [param, grad.astype(BF16) if half else grad, velocity, RATE, master if half else None]
    out = execute(plan, inputs, [param, velocity, master if half else None])
    g = inputs[1].astype(np.float64) + 0.01 * master
    v = 0.9 * velocity.astype(np.float64) + g
    wanted = master - 0.1 * (g + 0.9 * v)
    close(out[1], v)
    close(out[2] if half else out[0], wanted)
    if half:
        close(out[0], wanted, 1e-2)


@pytest.mark.parametrize("n", [1, 100, 5000])
@pytest.mark.parametrize("skip", [None, False, True])
def test_adamw(n: int, skip: bool | None) -> None:
    p, g, m1, m2 = draw(0, n), draw(1, n), draw(2, n), np.abs(draw(3, n))
    b1, b2 = np.array([0.9**3], np.float32), np.array([0.99**3], np.float32)
    flag = None if skip is None else np.array([skip])

    def plan(b: Any, p: Any, g: Any, r: Any, m1: Any, m2: Any, b1: Any, b2: Any, s: Any, *outs: Any) -> None:
        po, o1, o2, q1, q2 = outs
        state = (p, g, r, m1, m2, None, b1, b2, None, s, po, o1, o2, None, q1, q2, None)
        ops.plan_adam(b, *state, 0.9, 0.99, 1e-8, 1.0, 0.01)

    out = execute(plan, [p, g, RATE, m1, m2, b1, b2, flag], [p, m1, m2, b1, b2])
    if skip:
        for result, before in zip(out, (p, m1, m2, b1, b2), strict=True):
            np.testing.assert_array_equal(result, before)
        return
    n1, n2 = 0.9 * m1 + 0.1 * g, 0.99 * m2 + 0.01 * g * g
    step = (n1 / (1 - b1)) / (np.sqrt(n2 / (1 - b2)) + 1e-8)
    close(out[0], p * (1 - 0.1 * 0.01) - 0.1 * step, 1e-4)
    close(out[1], n1)
    close(out[2], n2)
    close(out[3], b1 * 0.9)
    close(out[4], b2 * 0.99)


def test_sgd_and_the_others() -> None:
    p, g, a, c = draw(0, 50), draw(1, 50), np.abs(draw(2, 50)), np.abs(draw(3, 50))

    def sgd(b: Any, p: Any, r: Any, g: Any, out: Any) -> None:
        ops.plan_sgd(b, p, r, g, None, out, None)

    def adagrad(b: Any, p: Any, g: Any, m: Any, r: Any, out: Any, mo: Any) -> None:
        ops.plan_adagrad(b, p, g, m, r, None, out, mo, None, 1e-6)

    def rmsprop(b: Any, p: Any, s: Any, g: Any, m: Any, r: Any, out: Any, mo: Any, so: Any) -> None:
        ops.plan_rmsprop(b, p, s, g, m, r, None, None, out, mo, so, None, None, 1e-6, 0.95, 0.9, False)

    def adadelta(b: Any, p: Any, g: Any, s: Any, u: Any, r: Any, out: Any, so: Any, uo: Any) -> None:
        ops.plan_adadelta(b, p, g, s, u, r, None, out, so, uo, None, 0.95, 1e-6)

    def adamax(
        b: Any, p: Any, g: Any, r: Any, m: Any, u: Any, power: Any, out: Any, mo: Any, uo: Any
    ) -> None:
        ops.plan_adamax(b, p, g, r, m, u, power, None, out, mo, uo, None, 0.9, 0.99, 1e-8)

    full = ((50,), "f32")
    close(execute(sgd, [p, RATE, g], [full])[0], p - 0.1 * g)
    out = execute(adagrad, [p, g, a, RATE], [full, full])
    close(out[1], a + g * g)
    close(out[0], p - 0.1 * g / (np.sqrt(a + g * g) + 1e-6))
    out = execute(rmsprop, [p, a, g, c, RATE], [full] * 3)
    square = 0.95 * a + 0.05 * g * g
    moment = 0.9 * c + 0.1 * g / np.sqrt(square + 1e-6)
    close(out[0], p - moment)
    close(out[1], moment)
    close(out[2], square)
    out = execute(adadelta, [p, g, a, c, RATE], [full] * 3)
    update = -np.sqrt((c + 1e-6) / (square + 1e-6)) * g
    close(out[0], p + 0.1 * update)
    close(out[2], 0.95 * c + 0.05 * update * update)
    power = np.array([0.9**3], np.float32)
    out = execute(adamax, [p, g, RATE, a, c, power], [full] * 3)
    moment, peak = 0.9 * a + 0.1 * g, np.maximum(np.abs(g), 0.99 * c + 1e-8)
    close(out[0], p - 0.1 / (1 - power) * moment / peak)
    close(out[1], moment)
    close(out[2], peak)


@pytest.mark.parametrize("limit", [1.0, 1000.0])
def test_clip_by_norm(limit: float) -> None:
    x = draw(0, 300)
    norm = np.linalg.norm(x)
    close(execute(ops.plan_clip_by_norm, [x], [((300,), "f32")], limit)[0], x * min(1.0, limit / norm))


def test_decayed_adagrad() -> None:
    p, g, a = draw(0, 50), draw(1, 50), np.abs(draw(2, 50))

    def plan(b: Any, p: Any, g: Any, m: Any, r: Any, out: Any, mo: Any) -> None:
        ops.plan_decayed_adagrad(b, p, g, m, r, out, mo, 0.9, 1e-6)

    out = execute(plan, [p, g, a, RATE], [((50,), "f32")] * 2)
    moment = 0.9 * a + 0.1 * g * g
    close(out[1], moment)
    close(out[0], p - 0.1 * g / (np.sqrt(moment) + 1e-6))


@pytest.mark.parametrize("limit", [0.5, 1e4])
@pytest.mark.parametrize("sizes", [(1,), (100, 5000, 3), tuple(range(1, 140))], ids=len)
def test_clip_factor(sizes: tuple[int, ...], limit: float) -> None:
    grads = [draw(i, n) for i, n in enumerate(sizes)]

    def plan(b: Any, *tensors: Any) -> None:
        *given, norm, factor = tensors
        b.copy(factor, ops.plan_clip_factor(b, given, norm, limit))

    norm, factor = execute(plan, grads, [np.zeros(1, np.float32), np.zeros(1, np.float32)])
    wanted = np.sqrt(sum((g.astype(np.float64) ** 2).sum() for g in grads))
    close(norm, [wanted])
    close(factor, [min(1.0, limit / wanted)])


def test_momentum_with_a_factor() -> None:
    p, g, v, factor = draw(0, 100), draw(1, 100), draw(2, 100), np.array([0.25], np.float32)

    def plan(b: Any, p: Any, g: Any, v: Any, rate: Any, f: Any, p_out: Any, v_out: Any) -> None:
        ops.plan_momentum(b, p, g, v, rate, None, p_out, v_out, None, 0.9, factor=f)

    moved, velocity = execute(plan, [p, g, v, RATE, factor], [p, v])
    wanted = 0.9 * v.astype(np.float64) + 0.25 * g
    close(velocity, wanted)
    close(moved, p - 0.1 * wanted)
