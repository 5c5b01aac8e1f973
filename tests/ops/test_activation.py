# Functions of one tensor: one table of (name, reference, inputs, parameters), values and gradients against Paddle in f64.
from __future__ import annotations

from collections.abc import Callable
from typing import Any

import ml_dtypes
import numpy as np
import paddle
import paddle.nn.functional as F
import pytest
from execute import NAMES, execute
from reference import Reference
from scipy import special

from openxpu.ops import activation as ops

BF16 = np.dtype(ml_dtypes.bfloat16)
# Paddle keeps attributes in f32: those that are not exact there come as the f32 number.
TENTH, SIXTH, STEEP = (float(np.float32(v)) for v in (0.1, 1 / 6, 0.7))

# name: (reference, lowest, highest input, parameters)
TABLE: dict[str, tuple[Callable[[Any], Any], float, float, tuple[float, ...]]] = {
    "exp": (paddle.exp, -20, 20, ()),
    "expm1": (paddle.expm1, -4, 4, ()),
    "log": (paddle.log, 1e-3, 50, ()),
    "log2": (paddle.log2, 1e-3, 50, ()),
    "log10": (paddle.log10, 1e-3, 50, ()),
    "log1p": (paddle.log1p, -0.9, 4, ()),
    "sqrt": (paddle.sqrt, 0.01, 50, ()),
    "rsqrt": (paddle.rsqrt, 0.01, 50, ()),
    "abs": (paddle.abs, -4, 4, ()),
    "square": (paddle.square, -4, 4, ()),
    "reciprocal": (paddle.reciprocal, 0.1, 4, ()),
    "negative": (paddle.neg, -4, 4, ()),
    "sin": (paddle.sin, -20, 20, ()),
    "cos": (paddle.cos, -20, 20, ()),
    "tan": (paddle.tan, -1.5, 1.5, ()),
    "asin": (paddle.asin, -0.99, 0.99, ()),
    "acos": (paddle.acos, -0.99, 0.99, ()),
    "atan": (paddle.atan, -4, 4, ()),
    "sinh": (paddle.sinh, -4, 4, ()),
    "cosh": (paddle.cosh, -4, 4, ()),
    "asinh": (paddle.asinh, -4, 4, ()),
    "acosh": (paddle.acosh, 1.1, 4, ()),
    "atanh": (paddle.atanh, -0.95, 0.95, ()),
    "erf": (paddle.erf, -4, 4, ()),
    "floor": (paddle.floor, -4, 4, ()),
    "ceil": (paddle.ceil, -4, 4, ()),
    "trunc": (paddle.trunc, -4, 4, ()),
    "sign": (paddle.sign, -4, 4, ()),
    "logit": (paddle.logit, 0.01, 0.99, ()),
    "relu": (F.relu, -4, 4, ()),
    "relu6": (F.relu6, -4, 9, ()),
    "leaky_relu": (lambda x: F.leaky_relu(x, TENTH), -4, 4, (TENTH,)),
    "thresholded_relu": (lambda x: F.thresholded_relu(x, 1.0, 0.5), -4, 4, (1.0, 0.5)),
    "sigmoid": (F.sigmoid, -20, 20, ()),
    "tanh": (paddle.tanh, -9, 9, ()),
    "gelu": (F.gelu, -5, 5, ()),
    "gelu_tanh": (lambda x: F.gelu(x, approximate=True), -5, 5, ()),
    "silu": (F.silu, -9, 9, ()),
    "logsigmoid": (F.log_sigmoid, -20, 20, ()),
    "hardswish": (F.hardswish, -5, 5, ()),
    "hardsigmoid": (lambda x: F.hardsigmoid(x, SIXTH, 0.5), -5, 5, (SIXTH, 0.5)),
    "hardtanh": (lambda x: F.hardtanh(x, -1.0, 2.0), -4, 4, (-1.0, 2.0)),
    "clip": (lambda x: paddle.clip(x, -1.0, 2.0), -4, 4, (-1.0, 2.0)),
    "elu": (lambda x: F.elu(x, STEEP), -4, 4, (STEEP,)),
    "celu": (lambda x: F.celu(x, STEEP), -4, 4, (STEEP,)),
    "selu": (lambda x: F.selu(x, 1.0625, 1.625), -4, 4, (1.0625, 1.625)),
    "softplus": (lambda x: F.softplus(x, 2.0, 15.0), -9, 9, (2.0, 15.0)),
    "softsign": (F.softsign, -4, 4, ()),
    "softshrink": (lambda x: F.softshrink(x, 0.25), -2, 2, (0.25,)),
    "hard_shrink": (lambda x: F.hardshrink(x, 0.25), -2, 2, (0.25,)),
    "tanh_shrink": (F.tanhshrink, -4, 4, ()),
    "stanh": (lambda x: paddle.stanh(x, 0.625, 1.75), -4, 4, (0.625, 1.75)),
    "mish": (F.mish, -9, 25, (20.0,)),
}


def test_table_is_complete() -> None:
    assert set(TABLE) | {"round"} == set(ops.UNARY)


def samples(name: str, dtype: Any) -> np.ndarray:
    _, low, high, _ = TABLE[name]
    if np.dtype(dtype) == np.float16:
        high = min(high, 10)  # exp(20) is beyond f16
    return np.random.default_rng(0).uniform(low, high, 777).astype(dtype)


def agree(got: np.ndarray, want: np.ndarray, dtype: Any) -> None:
    tolerance = {BF16: 1e-2, np.dtype("f2"): 2e-3, np.dtype("f4"): 4e-6, np.dtype("f8"): 1e-12}[
        np.dtype(dtype)
    ]
    np.testing.assert_allclose(got.astype("f8"), want, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("name", TABLE)
def test_f32(name: str) -> None:
    run_row(name, np.dtype("f4"))


@pytest.mark.parametrize("name", ["gelu", "tanh", "exp", "silu", "relu"])
@pytest.mark.parametrize("dtype", ["f8", "f2", BF16], ids=str)
def test_dtypes(name: str, dtype: Any) -> None:
    run_row(name, np.dtype(dtype))


@pytest.mark.slow
@pytest.mark.parametrize("name", TABLE)
@pytest.mark.parametrize("dtype", ["f8", "f2", BF16], ids=str)
def test_all_dtypes(name: str, dtype: Any) -> None:
    run_row(name, np.dtype(dtype))


def run_row(name: str, dtype: np.dtype[Any]) -> None:
    function, _, _, parameters = TABLE[name]
    row = ops.UNARY[name]
    x = samples(name, dtype)
    kind = NAMES[x.dtype]
    reference = Reference(function, x)
    want = reference.value
    got = execute(ops.plan_unary, [x], [(x.shape, kind)], name, *parameters)[0]
    agree(got, want, dtype)
    if row.grad is None:
        return
    d = np.random.default_rng(1).uniform(-1, 1, x.shape).astype(dtype)
    saved = x if row.saved == "x" else want.astype(dtype)
    dx = execute(ops.plan_unary_grad, [saved, d], [(x.shape, kind)], name, *parameters)[0]
    gradient = reference.gradient(d)
    scale = max(1.0, float(np.abs(gradient).max()))
    tolerance = {BF16: 3e-2, np.dtype("f2"): 1e-2, np.dtype("f4"): 1e-5, np.dtype("f8"): 1e-11}[dtype]
    error = np.abs(dx.astype("f8") - gradient)
    if row.saved == "out" and dtype.itemsize == 2:
        # The saved result was rounded: near the bounds of sigmoid and tanh the slope depends on what was lost.
        assert np.median(error) <= tolerance * scale
    else:
        assert error.max() <= tolerance * scale


# SciPy's and NumPy's functions, which follow C99 at the edges.
SPECIAL: dict[str, Callable[[Any], Any]] = {
    "exp": np.exp,
    "expm1": np.expm1,
    "log": np.log,
    "log1p": np.log1p,
    "sqrt": np.sqrt,
    "tanh": np.tanh,
    "sigmoid": special.expit,
    "relu": lambda x: np.fmax(x, 0),  # as in Paddle
    "silu": lambda x: x * special.expit(x),
    "gelu": lambda x: x * special.ndtr(x),
}


@pytest.mark.parametrize("name", SPECIAL)
def test_special_values(name: str) -> None:
    x = np.array([np.inf, -np.inf, np.nan, 0.0, -0.0, 1e-30, -1e30, 1e30, 1e-42], "f4")
    if name in ("silu", "gelu"):  # infinity times zero is NaN or 0, as the formula goes
        x = x[2:]
    with np.errstate(all="ignore"):
        want = SPECIAL[name](x.astype("f8")).astype("f4")
    got = execute(ops.plan_unary, [x], [(x.shape, "f32")], name)[0]
    np.testing.assert_allclose(got, want, rtol=1e-6, atol=1e-37)


def test_clip_lets_the_gradient_of_its_bounds_through() -> None:
    x = np.array([-1, 2, 0, -1.5, 2.5, np.nan], "f4")
    d = np.arange(1, 7, dtype="f4")
    for name, function in (("clip", paddle.clip), ("hardtanh", F.hardtanh)):
        want = Reference(lambda x, function=function: function(x, -1.0, 2.0), x).gradient(d)
        got = execute(ops.plan_unary_grad, [x, d], [(x.shape, "f32")], name, -1.0, 2.0)[0]
        np.testing.assert_array_equal(got, want, name)


def test_overflow_of_f16() -> None:
    x = np.array([11, 11.1, -20, 20], "f2")
    with np.errstate(over="ignore"):
        want = np.exp(x.astype("f8")).astype("f2")
    assert np.isinf(want[1:]).any()
    got = execute(ops.plan_unary, [x], [(x.shape, "f16")], "exp")[0]
    np.testing.assert_allclose(got, want, rtol=2e-3)


@pytest.mark.parametrize("shape", [(), (0,), (3, 0, 5), (1,), (1025,), (3, 5, 7)], ids=str)
def test_shapes(shape: tuple[int, ...]) -> None:
    x, d = (np.asarray(np.random.default_rng(i).uniform(-3, 3, shape), "f4") for i in (0, 1))
    reference = Reference(F.silu, x)
    agree(execute(ops.plan_unary, [x], [(shape, "f32")], "silu")[0], reference.value, "f4")
    if x.size:  # Paddle has no gradient of nothing
        dx = execute(ops.plan_unary_grad, [x, d], [(shape, "f32")], "silu")[0]
        np.testing.assert_allclose(dx, reference.gradient(d), rtol=1e-5, atol=1e-5)


def test_strided() -> None:
    base = np.random.default_rng(0).uniform(-3, 3, (12, 20, 34)).astype("f4")
    for x in (base[::2], base[:, 3:17, ::3], base[::-1, :, 1], base.T, base[5]):
        got = execute(ops.plan_unary, [x], [(x.shape, "f32")], "tanh")[0]
        np.testing.assert_allclose(got, np.tanh(x.astype("f8")), rtol=1e-6)


def test_round() -> None:
    x = np.array([0.5, 1.5, 2.5, -0.5, -1.5, 0.49999997, 2.4, -2.6, 1e9, np.nan], "f4")
    want = np.array([0, 2, 2, 0, -2, 0, 2, -3, 1e9, np.nan], "f4")
    np.testing.assert_array_equal(execute(ops.plan_round, [x], [(x.shape, "f32")], 0)[0], want)
    got = execute(ops.plan_round, [x], [(x.shape, "f32")], 1)[0]
    np.testing.assert_allclose(got[6:8], [2.4, -2.6], rtol=1e-6)


@pytest.mark.parametrize("name", ["isnan", "isinf", "isfinite"])
@pytest.mark.parametrize("dtype", ["f4", "f8", BF16, "i4"], ids=str)
def test_classify(name: str, dtype: Any) -> None:
    x = np.array([1, 2, 0] if dtype == "i4" else [np.inf, -np.inf, np.nan, 0, 3e38, -1]).astype(dtype)
    got = execute(ops.plan_classify, [x], [(x.shape, "bool")], name)[0]
    np.testing.assert_array_equal(got, getattr(np, name)(x.astype("f8")))


@pytest.mark.parametrize("name", ["abs", "square", "relu", "clip", "sign", "floor", "negative"])
def test_integers(name: str) -> None:
    x = np.arange(-20, 20, dtype="i8")
    parameters = (-3, 5) if name == "clip" else ()
    want = (
        np.clip(x, -3, 5) if name == "clip" else np.maximum(x, 0) if name == "relu" else getattr(np, name)(x)
    )
    np.testing.assert_array_equal(
        execute(ops.plan_unary, [x], [(x.shape, "i64")], name, *parameters)[0], want
    )
