# Parts of complex numbers, which Paddle serves as views outside of programs: plans against NumPy.
from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from execute import execute

from openxpu.ops import complex as ops

PARTS = {"c64": "f32", "c128": "f64"}


def numbers(shape: Any, dtype: str) -> np.ndarray:
    rng = np.random.default_rng(0)
    values = rng.standard_normal(shape) + 1j * rng.standard_normal(shape)
    return values.astype({"c64": np.complex64, "c128": np.complex128}[dtype])


def pairs(x: np.ndarray) -> np.ndarray:
    return np.stack([x.real, x.imag], -1)


@pytest.mark.parametrize("dtype", ["c64", "c128"])
@pytest.mark.parametrize("shape", [(), (7,), (3, 5), (2, 0, 3), (33, 65), (5000,)])
def test_parts(shape: Any, dtype: str) -> None:
    x, part = numbers(shape, dtype), PARTS[dtype]
    for given in (x, np.asarray(x.T) if x.ndim == 2 else x):
        np.testing.assert_array_equal(execute(ops.plan_real, [given], [(given.shape, part)])[0], given.real)
        np.testing.assert_array_equal(execute(ops.plan_imag, [given], [(given.shape, part)])[0], given.imag)
        got = execute(ops.plan_as_real, [given], [((*given.shape, 2), part)])[0]
        np.testing.assert_array_equal(got, pairs(given))
    back = execute(ops.plan_as_complex, [pairs(x)], [(shape, dtype)])[0]
    np.testing.assert_array_equal(back, x)


@pytest.mark.parametrize("dtype", ["c64", "c128"])
def test_gradients_of_parts(dtype: str) -> None:
    d = numbers((33, 5), dtype).real.copy()
    np.testing.assert_array_equal(execute(ops.plan_real_grad, [d], [(d.shape, dtype)])[0], d + 0j)
    np.testing.assert_array_equal(execute(ops.plan_imag_grad, [d], [(d.shape, dtype)])[0], 1j * d)
