# Two-operand arithmetic: every function against NumPy in every shape class, gradients against Paddle in f64.
from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np
import paddle
import pytest
from execute import NAMES, execute
from reference import Reference

from openxpu.ops import elementwise as ops
from openxpu.ops.plan import Dynamic

BF16 = np.dtype(ml_dtypes.bfloat16)

# (x, y): one line, scalars, rows, columns, inner and outer broadcast, short inner dimension, empty
SHAPES = [
    ((40,), (40,)), ((), ()), ((3, 5, 7), (3, 5, 7)), ((1000, 37), (1000, 37)), ((20, 300), ()), ((2, 3, 40), (40,)),
    ((2, 3, 40), (3, 1)), ((5, 33, 49), (33, 1)), ((2, 3, 4), (2, 1, 4)), ((4, 1, 3), (1, 5, 3)), ((0, 3), (3,)),
    ((2, 3, 2, 1, 6, 7), (1, 3, 1, 4, 1, 7)), ((3, 20000), (3, 1)), ((64, 20), (1, 20)), ((4000, 5), (5,)), ((4000, 5), (4000, 1)),
]  # fmt: skip


def values(rng: np.random.Generator, shape: Any, dtype: Any) -> np.ndarray:
    """Numbers from 1 to 9 of either sign, exact in every dtype."""
    dtype = np.dtype(dtype)
    numbers = rng.integers(1, 10, shape)
    if dtype.kind != "u":
        numbers = numbers * rng.choice([-1, 1], shape)
    return np.asarray(numbers).astype(dtype)


def reference(name: str, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    wide = np.float64 if x.dtype.kind not in "iu" else x.dtype
    a, b = x.astype(wide), y.astype(wide)
    if name == "divide" and x.dtype.kind in "iu":
        return np.trunc(a.astype(np.float64) / b.astype(np.float64)).astype(x.dtype)
    if name == "trunc_divide":
        return np.trunc(a.astype(np.float64) / b.astype(np.float64))
    return np.asarray(getattr(np, {"pow": "power"}.get(name, name))(a, b))


FUNCTIONS = [
    "add",
    "subtract",
    "multiply",
    "divide",
    "maximum",
    "minimum",
    "fmax",
    "fmin",
    "floor_divide",
    "remainder",
]


def check(got: np.ndarray, want: np.ndarray, dtype: Any, tolerance: float | None = None) -> None:
    dtype = np.dtype(dtype)
    if tolerance is None:
        tolerance = {BF16: 8e-3, np.dtype("f2"): 1e-3, np.dtype("f4"): 3e-7}.get(dtype, 0)
    np.testing.assert_allclose(
        got.astype(np.float64), np.asarray(want, np.float64), rtol=tolerance, atol=tolerance * 1e-2
    )


@pytest.mark.parametrize("shapes", SHAPES, ids=str)
def test_shapes(shapes: Any) -> None:
    rng = np.random.default_rng(0)
    x, y = (values(rng, shape, "f4") for shape in shapes)
    out = np.broadcast_shapes(*shapes)
    check(execute(ops.plan_binary, [x, y], [(out, "f32")], "subtract")[0], x - y, "f4")
    if x.shape != y.shape:
        check(execute(ops.plan_binary, [y, x], [(out, "f32")], "subtract")[0], y - x, "f4")


@pytest.mark.parametrize("dtype", ["f4", "f8", "f2", BF16, "i4", "i8", "u1", "i1", "i2"], ids=str)
@pytest.mark.parametrize("name", FUNCTIONS)
def test_functions(name: str, dtype: Any) -> None:
    rng = np.random.default_rng(1)
    x, y = values(rng, (3, 50), dtype), values(rng, (3, 50), dtype)
    got = execute(ops.plan_binary, [x, y], [(x.shape, NAMES[x.dtype])], name)[0]
    check(got, reference(name, x, y), dtype)


def test_pow() -> None:
    rng = np.random.default_rng(2)
    x, y = rng.uniform(0.1, 5, 200).astype("f4"), rng.uniform(-3, 3, 200).astype("f4")
    check(execute(ops.plan_binary, [x, y], [((200,), "f32")], "pow")[0], x.astype("f8") ** y, "f4", 2e-6)
    for factor in (2.0, 0.5, -1.0, 3.0, 1.7):
        got = execute(ops.plan_pow_scalar, [x], [((200,), "f32")], factor)[0]
        check(got, x.astype("f8") ** factor, "f4", 2e-6)
    i, j = rng.integers(-4, 5, 100).astype("i4"), rng.integers(0, 6, 100).astype("i4")
    np.testing.assert_array_equal(execute(ops.plan_binary, [i, j], [((100,), "i32")], "pow")[0], i**j)


def test_special_values() -> None:
    inf, nan = np.inf, np.nan
    x = np.array([inf, -inf, nan, 1, nan, 0, -0.0, inf], "f4")
    y = np.array([-inf, -inf, 1, nan, nan, -0.0, 0, 1], "f4")
    for name in ("add", "multiply", "maximum", "minimum", "fmax", "fmin", "divide"):
        with np.errstate(all="ignore"):
            want = getattr(np, name)(x, y)
        np.testing.assert_array_equal(execute(ops.plan_binary, [x, y], [((8,), "f32")], name)[0], want)


def test_integer_division_does_not_trap() -> None:
    low = np.iinfo("i4").min
    x, y = np.array([low, 7, low, -7], "i4"), np.array([-1, 0, 0, 2], "i4")
    got = execute(ops.plan_binary, [x, y], [((4,), "i32")], "floor_divide")[0]
    np.testing.assert_array_equal(got, [low, 0, 0, -4])


def test_in_place() -> None:
    x = np.arange(5000, dtype="f4")
    y = np.full(5000, 2, "f4")
    got = execute(ops.plan_binary, [x, y], [x.copy()], "multiply")[0]
    check(got, np.arange(5000) * 2, "f4")


def test_axis() -> None:
    rng = np.random.default_rng(3)
    x, y = values(rng, (2, 3, 4), "f4"), values(rng, (3,), "f4")
    check(execute(ops.plan_binary, [x, y], [((2, 3, 4), "f32")], "add", 1)[0], x + y[:, None], "f4")


@pytest.mark.parametrize("dtype", ["f4", BF16], ids=str)
@pytest.mark.parametrize("shapes", [SHAPES[i] for i in (0, 2, 4, 5, 6, 7, 9)], ids=str)
@pytest.mark.parametrize(
    "name", ["add", "subtract", "multiply", "divide", "maximum", "minimum", "fmax", "pow"]
)
def test_gradients(name: str, shapes: Any, dtype: Any) -> None:
    rng = np.random.default_rng(4)
    x, y = (np.asarray(rng.uniform(0.5, 2, shape)).astype(dtype) for shape in shapes)
    out = np.broadcast_shapes(*shapes)
    d = np.asarray(rng.uniform(-1, 1, out)).astype(dtype)
    wanted = Reference(getattr(paddle, name), x, y).gradients(d)
    kind = NAMES[x.dtype]
    dx, dy = execute(ops.plan_binary_grad, [x, y, None, d], [(x.shape, kind), (y.shape, kind)], name)
    for got, want in zip((dx, dy), wanted, strict=True):
        assert got.shape == want.shape
        scale = np.abs(want).max() + 1
        tolerance = 2e-2 if dtype == BF16 else 2e-5
        assert np.abs(got.astype("f8") - want).max() <= tolerance * scale


@pytest.mark.parametrize("name", ["maximum", "minimum", "fmax", "fmin"])
def test_gradients_of_ties_and_nan(name: str) -> None:
    x = np.array([1, 2, 3, np.nan, 1, np.nan, np.inf], "f4")
    y = np.array([1, 1, 4, 1, np.nan, np.nan, np.inf], "f4")
    d = np.arange(1, 8, dtype="f4")
    got = execute(ops.plan_binary_grad, [x, y, None, d], [(x.shape, "f32"), (y.shape, "f32")], name)
    for mine, want in zip(got, Reference(getattr(paddle, name), x, y).gradients(d), strict=True):
        np.testing.assert_array_equal(mine, want)


def test_add_n() -> None:
    rng = np.random.default_rng(5)
    for count in (1, 2, 3, 6):
        xs = [values(rng, (77,), BF16) for _ in range(count)]
        want = sum(x.astype("f8") for x in xs)
        check(execute(ops.plan_add_n, [xs], [((77,), "bf16")])[0], want, BF16)


def test_scale() -> None:
    x = np.arange(-20, 20, dtype="f4")
    got = execute(ops.plan_scale, [x], [((40,), "f32")], Dynamic(0), Dynamic(1), True, dynamic=(0.5, 3.0))[0]
    check(got, x * 0.5 + 3, "f4")
    got = execute(ops.plan_scale, [x], [((40,), "f32")], Dynamic(0), Dynamic(1), False, dynamic=(0.5, 3.0))[0]
    check(got, (x + 3) * 0.5, "f4")
    i = np.arange(10, dtype="i8")
    got = execute(ops.plan_scale, [i], [((10,), "i64")], Dynamic(0), Dynamic(1), True, dynamic=(3, 1))[0]
    np.testing.assert_array_equal(got, i * 3 + 1)


@pytest.mark.parametrize("dtype", ["f4", "f8", BF16, "i4", "i8"], ids=str)
def test_with_a_scalar(dtype: Any) -> None:
    x = values(np.random.default_rng(6), (3, 50), dtype)
    kind, wide = NAMES[x.dtype], x.astype("f8")
    for plan, want in (
        (ops.plan_add_scalar, wide + 3),
        (ops.plan_multiply_scalar, wide * 3),
        (ops.plan_divide_scalar, wide / 4 if x.dtype.kind != "i" else np.trunc(wide / 4)),
    ):
        value = 4 if plan is ops.plan_divide_scalar else 3
        check(execute(plan, [x], [(x.shape, kind)], value)[0], want, dtype)


@pytest.mark.parametrize("factor", [0.0, 1.0, 2.0, 3.0, 0.5, -1.0, -0.5, 1.7])
def test_gradient_of_pow_by_a_scalar(factor: float) -> None:
    rng = np.random.default_rng(7)
    x, d = rng.uniform(0.1, 5, 200).astype("f4"), rng.uniform(-1, 1, 200).astype("f4")
    want = Reference(lambda x: paddle.pow(x, factor), x).gradient(d)
    got = execute(ops.plan_pow_scalar_grad, [x, d], [((200,), "f32")], factor)[0]
    np.testing.assert_allclose(got, want, rtol=5e-6, atol=1e-6)


@pytest.mark.parametrize("shape", [(), (1,), (3, 1), (3, 50)], ids=str)
def test_lerp(shape: Any) -> None:
    rng = np.random.default_rng(8)
    x, y = (rng.uniform(-1, 1, (3, 50)).astype("f4") for _ in "xy")
    weight = np.asarray(rng.uniform(0, 1, shape), "f4")
    got = execute(ops.plan_lerp, [x, y, weight], [((3, 50), "f32")])[0]
    np.testing.assert_allclose(got, Reference(paddle.lerp, x, y, weight).value, rtol=1e-6, atol=1e-6)
