# Special functions, against SciPy.
from __future__ import annotations

import numpy as np
import paddle
from conformance.draw import uniform
from conformance.row import BROADCAST, row
from scipy import special


def signed(d):
    """Both signs, away from the poles at the negative integers."""
    whole = d.rng.integers(-6, 12, d.shape)
    return whole + d.rng.uniform(0.1, 0.9, d.shape)


def polygamma(x, n):
    """SciPy's for positive numbers; below zero reflected by mpmath, which is slow."""
    if n == 0:
        return special.digamma(x)
    import mpmath

    below = np.vectorize(lambda v: float(mpmath.psi(n, v)), otypes=[float])
    safe = np.where(x > 0, x, 1.0)
    return np.where(
        x > 0, special.polygamma(n, safe), below(np.where(x > 0, 1.0, x)) if x.size < 100 else np.nan
    )


def positive_beyond_100(d):
    return signed(d) if np.prod(d.shapes[0]) < 100 else d.rng.uniform(0.05, 30, d.shape)


ROWS = [
    row("erfinv", paddle.erfinv, uniform(-0.999, 0.999), reference=special.erfinv, extremes="f", scale="element"),
    row("digamma", paddle.digamma, signed, reference=special.digamma, extremes="", scale="tensor"),
    row("lgamma", paddle.lgamma, signed, extremes="f", scale="tensor"),
    row("gammaln", paddle.gammaln, uniform(0.05, 30), reference=special.gammaln, extremes="", scale="tensor"),
    row("polygamma", paddle.polygamma, positive_beyond_100, attrs=[{"n": 1}, {"n": 2}, {"n": 5}], reference=polygamma, tolerance=2, extremes="", scale="element", grad_scale="element"),
    row("gammaincc", paddle.gammaincc, uniform(0.05, 30), uniform(0.05, 40), shapes=BROADCAST, reference=special.gammaincc, tolerance={"f64": 400}, extremes="", scale=1e-3, grad=False),
    row("i0", paddle.i0, uniform(-7, 7), reference=special.i0, extremes="", scale="element"),
    row("i0e", paddle.i0e, uniform(-30, 30), grad=False, reference=special.i0e, extremes="f", scale="element"),
    # The gradient subtracts the rounded result, which is nearly all of it for large x.
    row("i0e", paddle.i0e, uniform(-2, 2), name="i0e_grad", reference=special.i0e, extremes="", grad_tolerance=8, scale="element"),
    row("i1", paddle.i1, uniform(-7, 7), reference=special.i1, extremes="", scale="element"),
    row("i1e", paddle.i1e, uniform(-30, 30), grad=False, reference=special.i1e, extremes="f", scale="element"),
    # The gradient subtracts the rounded result, which is nearly all of it for large x.
    row("i1e", paddle.i1e, uniform(-2, 2), name="i1e_grad", reference=special.i1e, extremes="", grad_tolerance=8, scale="element"),
]  # fmt: skip
