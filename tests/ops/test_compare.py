# Comparisons, logic, bits and selection against NumPy.
from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np
import pytest
from execute import NAMES, execute

from openxpu.ops import compare as ops

BF16 = np.dtype(ml_dtypes.bfloat16)
NUMPY_NAMES = {
    "less_than": "less", "greater_than": "greater", "bitwise_not": "invert"
}  # fmt: skip


def reference(name: str) -> Any:
    return getattr(np, NUMPY_NAMES.get(name, name))


def operands(dtype: Any, shapes: Any = ((4, 1, 33), (5, 1))) -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    low = 0 if np.dtype(dtype).kind in "ub" else -2
    return [rng.integers(low, 3, shape).astype(dtype) for shape in shapes]


@pytest.mark.parametrize("dtype", ["f4", BF16, "i4", "u1", "?", "f8", "i8"], ids=str)
@pytest.mark.parametrize("name", ops.COMPARISONS + ops.LOGIC)
def test_compare(name: str, dtype: Any) -> None:
    x, y = operands(dtype)
    got = execute(ops.plan_compare, [x, y], [((4, 5, 33), "bool")], name)[0]
    np.testing.assert_array_equal(got, reference(name)(x, y))


def test_nan_compares_unequal() -> None:
    x = np.array([np.nan, 1, np.nan, np.inf], "f4")
    y = np.array([np.nan, np.nan, 1, np.inf], "f4")
    for name in ops.COMPARISONS:
        got = execute(ops.plan_compare, [x, y], [((4,), "bool")], name)[0]
        np.testing.assert_array_equal(got, reference(name)(x, y))


@pytest.mark.parametrize("dtype", ["i4", "u1", "?", "i8", "i2"], ids=str)
@pytest.mark.parametrize("name", ops.BITS)
def test_bits(name: str, dtype: Any) -> None:
    x, y = operands(dtype)
    got = execute(ops.plan_bitwise, [x, y], [((4, 5, 33), NAMES[x.dtype])], name)[0]
    np.testing.assert_array_equal(got, reference(name)(x, y))


@pytest.mark.parametrize("dtype", ["i4", "u1", "?"], ids=str)
def test_not(dtype: Any) -> None:
    x = operands(dtype)[0]
    got = execute(ops.plan_not, [x], [(x.shape, NAMES[x.dtype])], "bitwise_not")[0]
    np.testing.assert_array_equal(got, ~x)
    got = execute(ops.plan_not, [x], [(x.shape, "bool")], "logical_not")[0]
    np.testing.assert_array_equal(got, np.logical_not(x))


@pytest.mark.parametrize("dtype", ["f4", BF16, "i8", "?", "f2"], ids=str)
def test_where(dtype: Any) -> None:
    x, y = operands(dtype)
    condition = np.random.default_rng(1).integers(0, 2, (4, 5, 1)).astype(bool)
    got = execute(ops.plan_where, [condition, x, y], [((4, 5, 33), NAMES[x.dtype])])[0]
    np.testing.assert_array_equal(got, np.where(condition, x, y))


@pytest.mark.parametrize("dtype", ["f4", BF16], ids=str)
def test_where_grad(dtype: Any) -> None:
    rng = np.random.default_rng(2)
    condition = rng.integers(0, 2, (4, 5, 33)).astype(bool)
    d = rng.integers(-4, 5, (4, 5, 33)).astype(dtype)
    kind = NAMES[d.dtype]
    dx, dy = execute(ops.plan_where_grad, [condition, d], [((4, 5, 33), kind), ((5, 1), kind)])
    np.testing.assert_array_equal(dx, np.where(condition, d, np.zeros_like(d)))
    want = np.where(condition, 0, d.astype("f8")).sum((0, 2))[:, None]
    np.testing.assert_allclose(dy.astype("f8"), want, rtol=1e-2 if dtype == BF16 else 1e-6)


def test_isclose() -> None:
    x = np.array([1, 1, np.nan, np.inf, 1, 100], "f4")
    y = np.array([1.00001, 1.1, np.nan, np.inf, np.inf, 100.0005], "f4")
    for equal_nan in (False, True):
        got = execute(ops.plan_isclose, [x, y], [((6,), "bool")], 1e-5, 1e-8, equal_nan)[0]
        np.testing.assert_array_equal(got, np.isclose(x, y, 1e-5, 1e-8, equal_nan))
