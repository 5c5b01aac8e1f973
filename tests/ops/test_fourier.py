# Fourier transforms of every kind of length against NumPy.
from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from execute import execute

from openxpu.ops import fourier as ops

# One pass, several, awkward primes, two levels, three levels.
LENGTHS = [
    1,
    2,
    3,
    4,
    5,
    6,
    7,
    8,
    11,
    12,
    13,
    16,
    30,
    49,
    64,
    97,
    100,
    105,
    128,
    210,
    211,
    512,
    1000,
    1024,
    2048,
    4096,
    6000,
]


def numbers(shape: Any, dtype: str) -> np.ndarray:
    rng = np.random.default_rng(0)
    values = rng.standard_normal(shape) + 1j * rng.standard_normal(shape)
    return values.astype(np.complex64 if dtype == "c64" else np.complex128)


def close(got: np.ndarray, want: np.ndarray) -> None:
    assert got.shape == want.shape
    eps = np.finfo(got.dtype).eps
    size = np.sqrt(np.mean(np.abs(want) ** 2)) if want.size else 1
    np.testing.assert_array_less(np.abs(got - want), 40 * eps * size + 1e-30)


@pytest.mark.parametrize("dtype", ["c64", "c128"])
@pytest.mark.parametrize("n", LENGTHS)
def test_complex(n: int, dtype: str) -> None:
    for shape, axis in (((n,), 0), ((20, n), 1), ((3, n, 9), 1), ((3, n, 2), 1)):
        x = numbers(shape, dtype)
        got = execute(ops.plan_fft_c2c, [x], [(shape, dtype)], (axis,), "none", True)[0]
        close(got, np.fft.fft(x, axis=axis))
    back = execute(ops.plan_fft_c2c, [x], [(shape, dtype)], (axis,), "by_n", False)[0]
    close(back, np.fft.ifft(x, axis=axis))


@pytest.mark.parametrize(("real", "dtype"), [("f32", "c64"), ("f64", "c128")])
@pytest.mark.parametrize("n", LENGTHS)
def test_real(n: int, real: str, dtype: str) -> None:
    for shape, axis in (((n,), 0), ((37, n), 1), ((3, n, 9), 1), ((3, n, 2), 1)):
        x = numbers(shape, dtype).real.copy()
        half = list(shape)
        half[axis] = n // 2 + 1
        got = execute(ops.plan_fft_r2c, [x], [(half, dtype)], (axis,), "by_sqrt_n", True)[0]
        close(got, np.fft.rfft(x, axis=axis, norm="ortho"))
        whole = execute(ops.plan_fft_r2c, [x], [(shape, dtype)], (axis,), "none", False)[0]
        close(whole, np.fft.fft(x, axis=axis).conj())
        spectrum = numbers(half, dtype)
        got = execute(ops.plan_fft_c2r, [spectrum], [(shape, real)], (axis,), "by_n", False)[0]
        close(got, np.fft.irfft(spectrum, n, axis=axis))


@pytest.mark.slow
@pytest.mark.parametrize("n", [2**20, 2**21, 3 * 2**18, 1009 * 2, 65537])
def test_long(n: int) -> None:
    x = numbers((n,), "c128")
    close(execute(ops.plan_fft_c2c, [x], [((n,), "c128")], (0,), "none", True)[0], np.fft.fft(x))
