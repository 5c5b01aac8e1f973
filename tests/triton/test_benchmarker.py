"""What triton.testing and autotune time with: plausible numbers, in order; nothing is said about speed."""

import triton
import triton.testing
from triton.runtime import driver

import openxpu


def test_own_benchmarker():
    calls = []
    low, middle, high = driver.active.get_benchmarker()(
        lambda: calls.append(1), quantiles=(0.2, 0.5, 0.8), rep=2
    )
    assert 0 <= low <= middle <= high
    assert len(calls) > 3


def test_do_bench():
    x = openxpu.zeros(1000)
    milliseconds = triton.testing.do_bench(x.numpy, warmup=1, rep=2)
    assert milliseconds > 0
    assert len(triton.testing.do_bench(x.numpy, warmup=1, rep=2, quantiles=[0.5, 0.2, 0.8])) == 3
