# Random distributions of Paddle on the card: goodness of fit against SciPy, the same numbers from the same seed.
from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import paddle
import pytest
from compared import fallen
from scipy import stats

N = 30000
LEAST = 1e-4  # p-value; the seeds are fixed, so a test that passes keeps passing


@pytest.fixture(autouse=True)
def on_the_card(paddle_xpu: Any) -> None:
    paddle.set_device("xpu")
    paddle.seed(7)


def draw(function: Callable[[], Any]) -> np.ndarray:
    """The numbers, which nothing drew on the CPU, and which the same seed gives again."""
    results: list[np.ndarray] = []
    for _ in range(2):
        paddle.seed(11)
        fell = fallen(lambda: results.append(function().astype("float64").numpy()))
        assert set(fell) <= {"broadcast_tensors"}
    np.testing.assert_array_equal(results[0], results[1])
    return results[0]


def fits_discrete(x: np.ndarray, distribution: Any) -> bool:
    """A chi-squared test over the values that are expected five times and more, the tails put together."""
    values = np.arange(x.min(), x.max() + 1)
    expected = distribution.pmf(values) * x.size
    inner = values[expected >= 5]
    low, high = inner[0], inner[-1]
    seen = np.array([(x == v).sum() for v in inner])
    wanted = distribution.pmf(inner) * x.size
    seen[0], seen[-1] = (x <= low).sum(), (x >= high).sum()
    wanted[0], wanted[-1] = distribution.cdf(low) * x.size, distribution.sf(high - 1) * x.size
    return float(stats.chisquare(seen, wanted * seen.sum() / wanted.sum()).pvalue) > LEAST


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("rate", [0.5, 3.0])
def test_exponential(rate: float, dtype: str) -> None:
    x = draw(lambda: paddle.zeros([N], dtype).exponential_(rate))
    assert stats.kstest(x, stats.expon(scale=1 / rate).cdf).pvalue > LEAST


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("alpha", [0.2, 1.0, 1.5, 40.0])
def test_standard_gamma(alpha: float, dtype: str) -> None:
    x = draw(lambda: paddle.standard_gamma(paddle.full([N], alpha, dtype)))
    assert stats.kstest(x, stats.gamma(alpha).cdf).pvalue > LEAST


def test_dirichlet() -> None:
    alpha = [0.5, 2.0, 5.0]
    x = draw(lambda: paddle.distribution.Dirichlet(paddle.to_tensor(alpha)).sample([N]))
    np.testing.assert_allclose(x.sum(-1), 1, rtol=1e-5)
    for i, a in enumerate(alpha):
        assert stats.kstest(x[:, i], stats.beta(a, sum(alpha) - a).cdf).pvalue > LEAST


@pytest.mark.parametrize("rate", [0.3, 4.0, 9.9, 10.0, 30.0, 2000.0])
def test_poisson(rate: float) -> None:
    x = draw(lambda: paddle.poisson(paddle.full([N], rate)))
    assert fits_discrete(x, stats.poisson(rate))


def test_poisson_of_zero_and_of_mixed_rates() -> None:
    rates = np.tile(np.array([0.0, 1.0, 100.0], np.float32), 999)
    x = draw(lambda: paddle.poisson(paddle.to_tensor(rates))).reshape(-1, 3)
    assert (x[:, 0] == 0).all()
    assert abs(x[:, 1].mean() - 1) < 0.15
    assert abs(x[:, 2].mean() - 100) < 2


@pytest.mark.parametrize(("count", "probability"), [(1, 0.3), (20, 0.1), (50, 0.5), (50, 0.9), (1000, 0.37)])
def test_binomial(count: int, probability: float) -> None:
    x = draw(lambda: paddle.binomial(paddle.full([N], count, "int64"), paddle.full([N], probability)))
    assert fits_discrete(x, stats.binom(count, probability))


def test_binomial_at_its_ends() -> None:
    count = paddle.to_tensor([0, 5, 5, 300, 300])
    probability = paddle.to_tensor([0.5, 0.0, 1.0, 0.0, 1.0])
    assert paddle.binomial(count, probability).tolist() == [0, 0, 5, 0, 300]


@pytest.mark.parametrize("shape", [[0, 3], [1], [2, 3, 5]])
def test_shapes(shape: list[int]) -> None:
    ones = paddle.ones(shape)
    assert paddle.poisson(ones).shape == shape
    assert paddle.standard_gamma(ones).shape == shape
    assert paddle.zeros(shape).exponential_().shape == shape
