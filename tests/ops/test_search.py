# Arg-max, arg-min, top k and accuracy against NumPy.
from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np
import paddle
import pytest
from execute import INTERPRETED, NAMES, execute
from reference import Reference

from openxpu.ops import search as ops

BF16 = np.dtype(ml_dtypes.bfloat16)


def ties(shape: Any, dtype: Any) -> np.ndarray:
    return np.round(np.random.default_rng(0).standard_normal(shape) * 3).astype(dtype)


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int32, np.int64])
@pytest.mark.parametrize(
    ("shape", "axis"), [((3, 50), 1), ((3, 50), 0), ((3, 50), None), ((2, 5000), 1), ((2, 3, 4), 1)]
)
def test_arg_best(shape: Any, axis: int | None, dtype: Any) -> None:
    x = ties(shape, dtype)
    out = () if axis is None else tuple(np.delete(shape, axis))
    assert (execute(ops.plan_arg_best, [x], [(out, "i64")], axis, True)[0] == x.argmax(axis)).all()
    assert (execute(ops.plan_arg_best, [x], [(out, "i64")], axis, False)[0] == x.argmin(axis)).all()


@pytest.mark.parametrize("largest", [True, False])
@pytest.mark.parametrize(
    ("shape", "axis", "k"), [((3, 50), 1, 4), ((3, 50), 0, 2), ((2, 5000), 1, 5), ((4, 6), 1, 6)]
)
@pytest.mark.parametrize("dtype", [np.float32, np.int64])
def test_topk(shape: Any, axis: int, k: int, largest: bool, dtype: Any) -> None:
    x = ties(shape, dtype)
    if dtype == np.float32:
        x.flat[1] = -np.inf
    expected = np.argsort(-x if largest else x, axis=axis, kind="stable").take(range(k), axis)
    out = expected.shape
    values, indices = execute(ops.plan_topk, [x], [(out, NAMES[x.dtype]), (out, "i64")], k, axis, largest)
    np.testing.assert_array_equal(indices, expected)
    np.testing.assert_array_equal(values, np.take_along_axis(x, expected, axis))
    dout = np.random.default_rng(1).standard_normal(out).astype(np.float32)
    wanted = np.zeros(shape, np.float32)
    np.put_along_axis(wanted, expected, dout, axis)
    np.testing.assert_array_equal(
        execute(ops.plan_topk_grad, [indices, dout], [(shape, "f32")], axis)[0], wanted
    )


@pytest.mark.parametrize("largest", [True, False])
@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("dtype", [np.float32, np.float64, BF16], ids=["f32", "f64", "bf16"])
def test_special_values(dtype: Any, axis: int, largest: bool) -> None:
    """NaN is larger than every number among the k best, and never the arg-max or arg-min, as in Paddle."""
    inf, nan = np.inf, np.nan
    x = np.array([[1, nan, -inf, 3, inf, -2], [nan, -1, 5, nan, 2, -inf], [nan, nan, 7, nan, nan, nan]])
    x = np.ascontiguousarray(x if axis else x.T).astype(dtype)
    wide = x.astype(np.float64)
    for k in (1, 3, 6):
        out = (3, k) if axis else (k, 3)
        got, indices = execute(ops.plan_topk, [x], [(out, NAMES[x.dtype]), (out, "i64")], k, axis, largest)
        want = Reference(lambda x, k=k: paddle.topk(x, k, axis, largest)[0], x).value
        np.testing.assert_array_equal(got.astype(np.float64), want)
        np.testing.assert_array_equal(np.take_along_axis(wide, indices, axis), want)
        assert (np.diff(np.sort(indices, axis), axis=axis) > 0).all()
    best = np.nanargmax if largest else np.nanargmin
    np.testing.assert_array_equal(
        execute(ops.plan_arg_best, [x], [((3,), "i64")], axis, largest)[0], best(wide, axis)
    )


@pytest.mark.skipif(INTERPRETED, reason="the interpreter takes an element at a time")
@pytest.mark.parametrize("largest", [True, False])
@pytest.mark.parametrize(("shape", "axis"), [((2, 5000), 1), ((3000, 3), 0)])
def test_topk_of_many(shape: Any, axis: int, largest: bool) -> None:
    x = ties(shape, np.float32)
    k = 1500
    expected = np.argsort(-x if largest else x, axis=axis, kind="stable").take(range(k), axis)
    out = expected.shape
    values, indices = execute(ops.plan_topk, [x], [(out, "f32"), (out, "i64")], k, axis, largest)
    np.testing.assert_array_equal(indices, expected)
    np.testing.assert_array_equal(values, np.take_along_axis(x, expected, axis))


@pytest.mark.parametrize("largest", [True, False])
def test_topk_of_extremes(largest: bool) -> None:
    low, high = np.iinfo("i8").min, np.iinfo("i8").max
    for x in (np.array([[0, low, high, low, high]]), np.array([[-0.0, 0.0, -1e-45, 1e-45, 0.0]], np.float32)):
        want = np.argsort(-x.astype(np.longdouble) if largest else x, axis=1, kind="stable")
        got = execute(ops.plan_topk, [x], [((1, 5), NAMES[x.dtype]), ((1, 5), "i64")], 5, 1, largest)
        np.testing.assert_array_equal(got[1], want)
        np.testing.assert_array_equal(got[0], np.take_along_axis(x, want, 1))


@pytest.mark.parametrize(("rows", "k"), [(10, 2), (1, 1), (3000, 5)])
def test_accuracy(rows: int, k: int) -> None:
    rng = np.random.default_rng(0)
    guesses, label = rng.integers(0, 9, (rows, k)), rng.integers(0, 9, (rows, 1))
    right = int((guesses == label).any(1).sum())
    share, correct, total = execute(
        ops.plan_accuracy, [guesses, label], [((), "f32"), ((), "i32"), ((), "i32")]
    )
    assert (correct, total) == (right, rows)
    assert abs(float(share) - right / rows) < 1e-6
