# What no eager call of Paddle reaches: plans against NumPy and SciPy.
from __future__ import annotations

import numpy as np
from execute import execute
from scipy import special as scipy_special

from openxpu.ops import arithmetic, special


def test_soft_relu() -> None:
    rng = np.random.default_rng(0)
    x, d = rng.uniform(-6, 6, (33, 65)), rng.standard_normal((33, 65))
    want = np.log1p(np.exp(np.clip(x, -4, 4)))
    (out,) = execute(arithmetic.plan_soft_relu, [x], [(x.shape, "f64")], 4.0)
    np.testing.assert_allclose(out, want, rtol=1e-14)
    (dx,) = execute(arithmetic.plan_soft_relu_grad, [x, out, d], [(x.shape, "f64")], 4.0)
    np.testing.assert_allclose(dx, np.where(np.abs(x) < 4, d / (1 + np.exp(-x)), 0), rtol=1e-12)


def test_gradient_of_the_incomplete_gamma_function() -> None:
    rng = np.random.default_rng(0)
    a, x, d = rng.uniform(0.1, 40, 5000), rng.uniform(0.1, 50, 5000), rng.standard_normal(5000)

    def plan(b, *tensors):  # type: ignore[no-untyped-def]
        special.plan_special_grad(b, tensors[:3], tensors[3], "gammaincc")

    (dx,) = execute(plan, [a, x, d], [(x.shape, "f64")])
    want = -d * np.exp((a - 1) * np.log(x) - x - scipy_special.gammaln(a))
    np.testing.assert_allclose(dx, want, rtol=1e-11, atol=1e-300)


def test_logarithm_of_gamma_in_f32() -> None:
    """Also where it is near zero: at one and two, and between the poles."""
    rng = np.random.default_rng(0)
    x = np.concatenate(
        [
            rng.uniform(-60, 60, 20000),
            rng.uniform(-5, 3, 20000),
            10 ** rng.uniform(-40, 36, 5000),
            1 + rng.uniform(-1e-6, 1e-6, 100),
        ]
    ).astype("f4")
    (out,) = execute(lambda b, x, out: special.plan_special(b, [x], out, "lgamma"), [x], [(x.shape, "f32")])
    want = scipy_special.gammaln(x.astype("f8"))
    assert (np.abs(out - want) <= 0.51 * np.spacing(np.abs(want).astype("f4"))).all()
    edges = np.array([0, -0.0, -1, -7, -1e30, np.inf, -np.inf, np.nan], "f4")
    (out,) = execute(lambda b, x, out: special.plan_special(b, [x], out, "lgamma"), [edges], [((8,), "f32")])
    np.testing.assert_array_equal(out, [np.inf] * 7 + [np.nan])
