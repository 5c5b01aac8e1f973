# Whether a sample follows a distribution: mean, variance, and the shape as a whole.
from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np
from conformance.dtypes import NUMPY
from scipy import stats

# One wrong alarm in a million; seeds are fixed, so a sample that passes once passes always.
LIMIT = 1e-6


def follows(sample: np.ndarray, law: Any, dtype: str) -> str:
    """An objection in words, or "" when nothing speaks against `sample` being drawn from `law` and rounded to `dtype`."""
    n = sample.size
    if not np.isfinite(sample).all():
        return "there are numbers which are not finite"
    mean, variance = (float(v) for v in law.stats("mv"))
    kurtosis = float(law.stats("k")) if np.isfinite(law.stats("k")) else 0.0
    rounding = float(ml_dtypes.finfo(NUMPY[dtype]).eps) if dtype in ("f16", "bf16", "f32", "f64") else 0.0
    slack = rounding * (abs(mean) + variance**0.5)
    sigma = (variance / n) ** 0.5
    if abs(sample.mean() - mean) > 5 * sigma + slack:
        return f"the mean of {n} numbers is {sample.mean():.6g}, expected {mean:.6g} +- {sigma:.2g}"
    spread = variance * (max(kurtosis + 2, 36 / n) / n) ** 0.5
    if abs(sample.var() - variance) > 6 * spread + 4 * slack * (abs(mean) + variance**0.5):
        return f"the variance of {n} numbers is {sample.var():.6g}, expected {variance:.6g} +- {spread:.2g}"
    if hasattr(law.dist, "pmf"):
        values, counts = np.unique(sample, return_counts=True)
        wanted = law.pmf(values) * n
        if abs(wanted.sum() - n) > 1e-6 * n + 6 * n**0.5:
            return f"values {values[:8]} ... make up only {wanted.sum() / n:.3g} of the distribution"
        many = wanted >= 5
        if many.sum() < 2:
            return ""
        observed, expected = counts[many], wanted[many]
        p = stats.chisquare(observed, expected * observed.sum() / expected.sum()).pvalue
    else:
        # Rounded samples have ties, which the statistic does not know: spread them over what they were rounded from.
        rng = np.random.default_rng(0)
        if rounding > 1e-4:
            sample = sample * (1 + rounding * (rng.random(n) - 0.5))
        p = stats.kstest(sample, law.cdf).pvalue
    return "" if p > LIMIT else f"the distribution of {n} numbers is another one (p = {p:.2g})"
