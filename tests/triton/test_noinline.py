"""Functions that are called: noinline on numbers, several results, nested calls, recursion through constants."""

import numpy as np
import triton
import triton.language as tl

import openxpu


@triton.jit(noinline=True)
def twice_plus(x, y):
    return x * 2 + y


@triton.jit(noinline=True)
def ordered(x, y):
    if x < y:
        return x, y
    return y, x


@triton.jit(noinline=True)
def minimum_and_maximum(x, y):
    low, high = ordered(x, y)
    return twice_plus(low, 0.0), high


@triton.jit
def power(x, N: tl.constexpr):
    if N == 1:
        return x
    else:
        return x * power(x, N - 1)


@triton.jit
def call_kernel(x, out, n, BLOCK: tl.constexpr):
    i = tl.arange(0, BLOCK)
    v = tl.load(x + i, mask=i < n, other=1.0)
    low, high = minimum_and_maximum(tl.load(x), tl.load(x + 1))
    for _ in range(2):
        low = twice_plus(low, high)
    tl.store(out + i, v * low + power(v, 3), mask=i < n)


def test_calls(random):
    x = random.random(64, "f4")
    out = openxpu.empty(64)
    for _ in range(3):
        call_kernel[(1,)](openxpu.from_numpy(x), out, 64, BLOCK=64)
    low, high = 2 * min(x[:2]), max(x[:2])
    for _ in range(2):
        low = low * 2 + high
    np.testing.assert_allclose(out.numpy(), x * low + x**3, rtol=1e-6)
