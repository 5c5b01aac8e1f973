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
