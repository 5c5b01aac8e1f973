# Random numbers: Philox against its published test vectors, distributions by statistics, dropout by its mask.
from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from execute import execute

from openxpu.ops import random as ops

N = 40000


def fits(x: np.ndarray, distribution: Any) -> bool:
    """Whether a Kolmogorov-Smirnov test lets the sample pass for the distribution (a name of scipy.stats or its cdf)."""
    from scipy import stats

    return float(stats.kstest(x, distribution).pvalue) > 1e-3


def philox(counter: int, key: int) -> list[int]:
    """Philox 4x32-10 in plain Python integers."""
    c = [counter & 0xFFFFFFFF, counter >> 32, 0, 0]
    k = [key & 0xFFFFFFFF, key >> 32]
    for _ in range(10):
        first, second = 0xD2511F53 * c[0], 0xCD9E8D57 * c[2]
        c = [
            (second >> 32) ^ c[1] ^ k[0],
            second & 0xFFFFFFFF,
            (first >> 32) ^ c[3] ^ k[1],
            first & 0xFFFFFFFF,
        ]
        k = [(k[0] + 0x9E3779B9) & 0xFFFFFFFF, (k[1] + 0xBB67AE85) & 0xFFFFFFFF]
    return c


def test_the_reference_meets_the_published_vector() -> None:
    assert philox(0, 0) == [0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8]


def test_uniform_is_philox() -> None:
    got = execute(ops.plan_uniform, [], [((1024,), "f32")], 0.0, 1.0, 42)[0]
    for counter in (0, 1, 255):
        want = [(word >> 8) * 2.0**-24 for word in philox(counter, 42)]
        np.testing.assert_array_equal(got[[counter, 256 + counter, 512 + counter, 768 + counter]], want)


@pytest.mark.parametrize("dtype", ["f32", "f64", "f16", "bf16"])
def test_uniform(dtype: str) -> None:
    x = execute(ops.plan_uniform, [], [((N,), dtype)], -2.0, 3.0, 7)[0].astype("f8")
    assert x.min() >= -2
    assert x.max() <= 3
    assert fits((x + 2) / 5, "uniform") or dtype in ("f16", "bf16")
    assert abs(x.mean() - 0.5) < 0.03


@pytest.mark.parametrize("dtype", ["f32", "f64", "bf16"])
def test_gaussian(dtype: str) -> None:
    x = (execute(ops.plan_gaussian, [], [((N,), dtype)], 1.0, 2.0, 7)[0].astype("f8") - 1) / 2
    assert fits(x, "norm") or dtype == "bf16"
    assert abs(np.corrcoef(x[:-1], x[1:])[0, 1]) < 0.02


def test_truncated_gaussian() -> None:
    x = execute(ops.plan_truncated_gaussian, [], [((N,), "f32")], 1.0, 2.0, -2.0, 2.0, 7)[0].astype("f8")
    assert x.min() >= -3
    assert x.max() <= 5
    from scipy import stats

    assert fits((x - 1) / 2, stats.truncnorm(-2, 2).cdf)


def test_randint() -> None:
    for low, high in ((0, 10), (-5, 2**40)):
        x = execute(ops.plan_randint, [], [((N,), "i64")], low, high, 7)[0]
        assert x.min() >= low
        assert x.max() < high
        if high != 10:
            assert fits((x - low) / (high - low), "uniform")
    assert set(np.unique(execute(ops.plan_randint, [], [((N,), "i32")], 0, 10, 7)[0])) == set(range(10))


def test_bernoulli() -> None:
    p = np.repeat(np.array([0.0, 0.3, 1.0], "f4"), N // 4)
    x = execute(ops.plan_bernoulli, [p], [(p.shape, "f32")], 3)[0].reshape(3, -1)
    assert x[0].sum() == 0
    assert x[2].all()
    assert abs(x[1].mean() - 0.3) < 0.02


def test_randperm() -> None:
    for n in (0, 1, 2, 1000):
        x = execute(ops.plan_randperm, [], [((n,), "i64")], 5)[0]
        np.testing.assert_array_equal(np.sort(x), np.arange(n))
    assert (x != np.arange(1000)).mean() > 0.9


@pytest.mark.parametrize("upscale", [True, False])
def test_dropout(upscale: bool) -> None:
    x = np.random.default_rng(0).uniform(1, 2, (100, 333)).astype("f4")
    out, mask = execute(ops.plan_dropout, [x], [(x.shape, "f32"), (x.shape, "u8")], 0.3, True, upscale, 9)
    assert set(np.unique(mask)) == {0, 1}
    assert abs(mask.mean() - 0.7) < 0.02
    scale = np.float32(1 / 0.7) if upscale else np.float32(1)
    np.testing.assert_allclose(out, x * mask * scale, rtol=1e-6)
    d = np.ones_like(x)
    got = execute(ops.plan_dropout_grad, [mask, d], [(x.shape, "f32")], 0.3, True, upscale)[0]
    np.testing.assert_allclose(got, mask * scale, rtol=1e-6)
    out, mask = execute(ops.plan_dropout, [x], [(x.shape, "f32"), (x.shape, "u8")], 0.3, False, upscale, 9)
    np.testing.assert_allclose(out, x if upscale else x * np.float32(0.7), rtol=1e-6)


def test_dropout_of_whole_channels() -> None:
    x = np.ones((8, 30, 9), "f4")
    out, mask = execute(ops.plan_dropout, [x], [(x.shape, "f32"), ((8, 30, 1), "u8")], 0.5, True, True, 9)
    np.testing.assert_allclose(out, np.broadcast_to(mask * 2.0, x.shape))
    assert 0.3 < mask.mean() < 0.7
