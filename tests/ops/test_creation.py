# Fills, ranges, triangles, one-hot rows and conversions against NumPy.
from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np
import pytest
from execute import execute
from interpret import NUMPY

from openxpu.ops import creation as ops
from openxpu.ops.plan import Dynamic

DTYPES = ["f32", "f64", "f16", "bf16", "bool", "u8", "i8", "i16", "i32", "i64"]


@pytest.mark.parametrize("dtype", DTYPES)
def test_full(dtype: str) -> None:
    for shape in ((), (3, 1001), (0, 4)):
        got = execute(ops.plan_full, [], [(shape, dtype)], Dynamic(0), dynamic=(3,))[0]
        np.testing.assert_array_equal(got, np.full(shape, 3).astype(NUMPY[dtype]))
        got = execute(ops.plan_full, [], [(shape, dtype)], 0)[0]
        np.testing.assert_array_equal(got, np.zeros(shape, NUMPY[dtype]))


def test_full_with_tensor() -> None:
    got = execute(ops.plan_full_with_tensor, [np.array([2.5], "f4")], [((70,), "bf16")])[0]
    np.testing.assert_array_equal(got.astype("f4"), np.full(70, 2.5))


CAST_PAIRS = [
    ("f32", "bf16"), ("bf16", "f32"), ("f32", "f16"), ("f16", "f32"), ("f32", "i64"), ("i64", "f32"), ("f32", "bool"),
    ("bool", "f32"), ("i32", "i64"), ("i64", "i32"), ("f64", "f32"), ("f32", "f64"), ("u8", "f32"), ("f32", "u8"),
    ("bf16", "f16"), ("f64", "bf16"), ("i8", "i32"), ("u8", "i64"), ("i64", "bool"), ("bool", "i64"), ("f32", "i32"),
]  # fmt: skip


def check_cast(source: str, target: str) -> None:
    rng = np.random.default_rng(0)
    x = rng.uniform(0 if "u8" in (source, target) else -100, 100, 999)
    x[::7] = 0
    x = x.astype(NUMPY[source])
    with np.errstate(all="ignore"):
        want = x.astype("f4").astype(NUMPY[target]) if "bf16" in (source, target) else x.astype(NUMPY[target])
    got = execute(ops.plan_cast, [x], [(x.shape, target)])[0]
    np.testing.assert_array_equal(got.astype("f8"), want.astype("f8"))


@pytest.mark.parametrize(("source", "target"), CAST_PAIRS)
def test_cast(source: str, target: str) -> None:
    check_cast(source, target)


@pytest.mark.slow
@pytest.mark.parametrize("source", DTYPES)
@pytest.mark.parametrize("target", DTYPES)
def test_cast_all(source: str, target: str) -> None:
    check_cast(source, target)


def test_cast_bf16_rounds_to_even_and_keeps_specials() -> None:
    x = np.array([1.00390625, 1.01171875, np.inf, -np.inf, np.nan, 3.4e38, 1e-40, -0.0], "f4")
    got = execute(ops.plan_cast, [x], [(x.shape, "bf16")])[0]
    np.testing.assert_array_equal(got.astype("f4"), x.astype(ml_dtypes.bfloat16).astype("f4"))


def test_assign_value() -> None:
    for dtype, numbers in (
        ("f32", (1.5, -2.0, 3.25)),
        ("bf16", (1.5, 2.0, 3.0)),
        ("i64", (2**40, -1, 0)),
        ("bool", (1, 0, 1)),
    ):
        got = execute(ops.plan_assign_value, [], [((3,), dtype)], numbers)[0]
        np.testing.assert_array_equal(got, np.array(numbers).astype(NUMPY[dtype]))


@pytest.mark.parametrize("dtype", ["f32", "f64", "i32", "i64"])
def test_arange(dtype: str) -> None:
    want = np.arange(3, 7000, 2).astype(NUMPY[dtype])
    np.testing.assert_array_equal(execute(ops.plan_arange, [], [(want.shape, dtype)], 3, 2)[0], want)
    start, step = np.array([3], NUMPY[dtype]), np.array([2], NUMPY[dtype])
    np.testing.assert_array_equal(
        execute(ops.plan_arange_tensor, [start, step], [(want.shape, dtype)])[0], want
    )


def test_linspace() -> None:
    for n in (1, 2, 50):
        limits = [np.array([-1.5], "f4"), np.array([4.0], "f4")]
        got = execute(ops.plan_linspace, limits, [((n,), "f32")])[0]
        np.testing.assert_allclose(got, np.linspace(-1.5, 4, n), rtol=1e-6, atol=1e-7)


def test_eye() -> None:
    for shape in ((5, 5), (3, 70), (70, 3)):
        np.testing.assert_array_equal(execute(ops.plan_eye, [], [(shape, "f32")])[0], np.eye(*shape))


@pytest.mark.parametrize("dtype", ["f4", "i8", "?"])
def test_triangles(dtype: Any) -> None:
    x = np.random.default_rng(0).integers(0, 2, (3, 20, 33)).astype(dtype)
    kind = {"f4": "f32", "i8": "i64", "?": "bool"}[dtype]
    for diagonal in (0, 3, -4, 100):
        got = execute(ops.plan_triangle, [x], [(x.shape, kind)], diagonal, True)[0]
        np.testing.assert_array_equal(got, np.tril(x, diagonal))
        got = execute(ops.plan_triangle, [x], [(x.shape, kind)], diagonal, False)[0]
        np.testing.assert_array_equal(got, np.triu(x, diagonal))


def test_one_hot_gives_zero_rows_out_of_range() -> None:
    ids = np.array([[0, 3, -1], [9, 10, 2]], "i8")
    want = np.zeros((2, 3, 10), "f4")
    for place, target in np.ndenumerate(ids):
        if 0 <= target < 10:
            want[(*place, target)] = 1
    np.testing.assert_array_equal(execute(ops.plan_one_hot, [ids], [((2, 3, 10), "f32")])[0], want)


def test_diag() -> None:
    v = np.arange(1, 5, dtype="f4")
    for offset in (0, 2, -1):
        n = 4 + abs(offset)
        got = execute(ops.plan_diag, [v], [((n, n), "f32")], offset, 0.0)[0]
        np.testing.assert_array_equal(got, np.diag(v, offset))
        m = np.arange(20, dtype="f4").reshape(4, 5)
        want = np.diag(m, offset)
        np.testing.assert_array_equal(
            execute(ops.plan_diag, [m], [(want.shape, "f32")], offset, 0.0)[0], want
        )
