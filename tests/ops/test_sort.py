# Sorting of rows against NumPy: every key width, the digits' edges, elements of the same order.
from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from execute import INTERPRETED, NAMES, execute

from openxpu.ops import sort as ops

DTYPES = [np.float32, np.float64, np.float16, np.int32, np.int64, np.uint8, np.int16, np.int8, np.bool_]


def values(shape: Any, dtype: Any) -> np.ndarray:
    x = (np.random.default_rng(0).standard_normal(shape) * 20).round().astype(dtype)
    if np.issubdtype(dtype, np.floating):
        special = [np.nan, -np.nan, np.inf, -np.inf, -0.0, 0.0]
        x.flat[: len(special)] = special
    elif dtype != np.bool_:
        x.flat[:2] = np.iinfo(dtype).max, np.iinfo(dtype).min
    return x


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("descending", [False, True])
@pytest.mark.parametrize(("shape", "axis"), [((7,), 0), ((3, 50), 1), ((3, 50), 0), ((2, 300, 4), 1)])
def test_order(shape: Any, axis: int, descending: bool, dtype: Any) -> None:
    if INTERPRETED and np.prod(shape) > 200:
        pytest.skip("the interpreter takes an element at a time")
    x = values(shape, dtype)
    # NaN last; of equal elements the first one first, also from the largest down.
    order = (
        x.shape[axis]
        - 1
        - np.flip(np.argsort(np.flip(x, axis), axis=axis, kind="stable"), axis)
    ) if descending else np.argsort(x, axis=axis, kind="stable")  # fmt: skip
    got, indices = execute(ops.plan_argsort, [x], [(shape, NAMES[x.dtype]), (shape, "i64")], axis, descending)
    np.testing.assert_array_equal(indices, order)
    np.testing.assert_array_equal(got, np.take_along_axis(x, order, axis))
    if np.issubdtype(dtype, np.floating):
        np.testing.assert_array_equal(np.signbit(got), np.signbit(np.take_along_axis(x, order, axis)))


@pytest.mark.skipif(INTERPRETED, reason="the interpreter takes an element at a time")
@pytest.mark.parametrize("dtype", [np.float32, np.int64, np.float64, np.int32])
@pytest.mark.parametrize("n", [8191, 8192, 70001])
def test_long_rows(n: int, dtype: Any) -> None:
    """Both digit widths, and more rows than programs."""
    rows = 70 if n == 8191 else 2
    raw = np.random.default_rng(n).integers(0, 256, (rows, n * np.dtype(dtype).itemsize), np.uint8)
    x = raw.view(dtype)
    got, indices = execute(ops.plan_argsort, [x], [(x.shape, NAMES[x.dtype]), (x.shape, "i64")], 1, False)
    np.testing.assert_array_equal(indices, np.argsort(x, axis=1, kind="stable"))
    np.testing.assert_array_equal(got, np.sort(x, axis=1, kind="stable"))


@pytest.mark.skipif(INTERPRETED, reason="the public functions run on a card")
def test_public_functions() -> None:
    from openxpu.runtime import from_numpy, to_numpy

    x = values((4, 33), np.float32)
    value, index = ops.sort(from_numpy(x), axis=0, descending=True)
    np.testing.assert_array_equal(to_numpy(value), np.take_along_axis(x, to_numpy(index), 0))
    np.testing.assert_array_equal(to_numpy(ops.argsort(from_numpy(x))), np.argsort(x, axis=-1, kind="stable"))
