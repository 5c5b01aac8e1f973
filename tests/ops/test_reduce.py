# Reductions over every pattern of axes against NumPy, and their gradients against Paddle in f64.
from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np
import paddle
import pytest
from execute import NAMES, execute
from reference import Reference

from openxpu.ops import reduce as ops

BF16 = np.dtype(ml_dtypes.bfloat16)
# rows, columns, all, outer and inner together, alternating, cut into parts, extents of 1, no dimension
CASES = [
    ((5, 7), (1,)), ((5, 7), (0,)), ((5, 7), (0, 1)), ((3, 4, 50), (0, 2)), ((3, 4, 5), (1,)), ((6, 300), (1,)),
    ((70000,), (0,)), ((600, 33), (0,)), ((3, 1, 4), (1,)), ((), ()), ((2, 3, 2, 3), (0, 2)), ((2, 3, 2, 3), (1, 3)),
    ((2, 1000, 3), (1,)), ((40001, 2), (0,)), ((70, 300, 7), (0, 1)),  # short rows side by side
]  # fmt: skip
NUMPY = {"sum": np.sum, "mean": np.mean, "max": np.max, "min": np.min, "prod": np.prod}


def draw(rng: np.random.Generator, shape: Any, dtype: Any = np.float32) -> np.ndarray:
    return np.asarray(rng.standard_normal(shape)).astype(dtype).reshape(shape)


def kept(shape: tuple[int, ...], axes: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(extent for i, extent in enumerate(shape) if i not in axes)


@pytest.mark.parametrize("name", sorted(NUMPY))
@pytest.mark.parametrize(("shape", "axes"), CASES)
def test_reduce(name: str, shape: Any, axes: Any) -> None:
    rng = np.random.default_rng(0)
    x = draw(rng, shape) if name != "prod" else np.exp(draw(rng, shape) / 100)  # products that f32 can hold
    x = np.asarray(x, np.float32)
    (result,) = execute(getattr(ops, f"plan_{name}"), [x], [(kept(shape, axes), "f32")], axes)
    expected = NUMPY[name](x.astype(np.float64), axis=axes)
    np.testing.assert_allclose(result, expected, rtol=1e-4, atol=1e-4 * np.abs(expected).max())


@pytest.mark.parametrize(
    "dtype", [np.float64, np.float16, BF16, np.int32, np.int64], ids=lambda d: np.dtype(d).name
)
@pytest.mark.parametrize("axes", [(0,), (1,), (0, 1)])
def test_dtypes(dtype: Any, axes: tuple[int, ...]) -> None:
    rng = np.random.default_rng(1)
    x = rng.integers(-8, 9, (20, 70)).astype(dtype)
    wide = x.astype(np.float64)
    shape = kept(x.shape, axes)
    own = NAMES[x.dtype]
    (total,) = execute(ops.plan_sum, [x], [(shape, "i64" if x.dtype.kind == "i" else "f32")], axes)
    assert (total == wide.sum(axes)).all()
    for name in ("max", "min"):
        (result,) = execute(getattr(ops, f"plan_{name}"), [x], [(shape, own)], axes)
        assert (result.astype(np.float64) == NUMPY[name](wide, axis=axes)).all()


@pytest.mark.parametrize("name", ["max", "min", "sum", "logsumexp", "norm"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64, BF16], ids=["f32", "f64", "bf16"])
@pytest.mark.parametrize(("shape", "axes"), [CASES[i] for i in (0, 1, 3, 5, 6, 7)])
def test_nan_is_not_lost(shape: Any, axes: Any, dtype: Any, name: str) -> None:
    x = draw(np.random.default_rng(6), shape, dtype)
    x.flat[[1, -1]] = np.nan
    own = "f32" if x.dtype == BF16 else NAMES[x.dtype]
    order = (np.inf,) if name == "norm" else ()
    (result,) = execute(getattr(ops, f"plan_{name}"), [x], [(kept(shape, axes), own)], axes, *order)
    np.testing.assert_array_equal(np.isnan(result), np.isnan(x.astype(np.float64).sum(axes)))


@pytest.mark.parametrize(("shape", "axes"), [((5, 70), (1,)), ((40, 33), (0,)), ((6, 7), (0, 1))])
def test_any_all(shape: Any, axes: Any) -> None:
    rng = np.random.default_rng(2)
    for share in (0.02, 0.5, 0.98):
        x = rng.random(shape) < share
        assert (execute(ops.plan_any, [x], [(kept(shape, axes), "bool")], axes)[0] == x.any(axes)).all()
        assert (execute(ops.plan_all, [x], [(kept(shape, axes), "bool")], axes)[0] == x.all(axes)).all()


def test_no_elements() -> None:
    x = np.zeros((0, 3), np.float32)
    assert (execute(ops.plan_sum, [x], [((3,), "f32")], (0,))[0] == 0).all()
    assert (execute(ops.plan_prod, [x], [((3,), "f32")], (0,))[0] == 1).all()
    assert np.isnan(execute(ops.plan_mean, [x], [((3,), "f32")], (0,))[0]).all()
    assert not execute(ops.plan_any, [x], [((3,), "bool")], (0,))[0].any()
    assert execute(ops.plan_all, [x], [((3,), "bool")], (0,))[0].all()
    with pytest.raises(ValueError, match="no elements"):
        execute(ops.plan_max, [x], [((3,), "f32")], (0,))


@pytest.mark.parametrize(("shape", "axes"), CASES)
def test_logsumexp(shape: Any, axes: Any) -> None:
    rng = np.random.default_rng(3)
    x, out = draw(rng, shape) * 20, kept(shape, axes)
    x = np.asarray(x, np.float32)
    reference = Reference(lambda x: paddle.logsumexp(x, axes or None), x)
    dy = draw(rng, out)
    (result,) = execute(ops.plan_logsumexp, [x], [(out, "f32")], axes)
    np.testing.assert_allclose(result, reference.value, rtol=1e-5, atol=1e-5)
    (grad,) = execute(ops.plan_logsumexp_grad, [x, result, dy], [(shape, "f32")], axes)
    np.testing.assert_allclose(grad, reference.gradient(dy), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("order", [0.0, 1.0, 2.0, 3.0, np.inf, -np.inf])
@pytest.mark.parametrize(("shape", "axes"), [((5, 70), (1,)), ((40, 33), (0,)), ((3, 4, 5), (0, 2))])
def test_norm(order: float, shape: Any, axes: Any) -> None:
    rng = np.random.default_rng(4)
    x, out = draw(rng, shape), kept(shape, axes)
    x.flat[3] = 0
    reference = Reference(lambda x: paddle.linalg.vector_norm(x, order, axis=axes), x)
    (result,) = execute(ops.plan_norm, [x], [(out, "f32")], axes, order)
    np.testing.assert_allclose(result, reference.value, rtol=1e-5)
    dy = draw(rng, out)
    (grad,) = execute(ops.plan_norm_grad, [x, result, dy], [(shape, "f32")], axes, order, 0.0)
    if order == 0:
        assert (grad == 0).all()
        return
    np.testing.assert_allclose(grad, reference.gradient(dy), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("shape", "axes"), CASES)
def test_gradients(shape: Any, axes: Any) -> None:
    rng = np.random.default_rng(5)
    x, dy = np.round(draw(rng, shape) * 2), draw(rng, kept(shape, axes))
    x = np.asarray(x, np.float32)
    full = np.broadcast_to(np.expand_dims(dy, axes), shape)
    (result,) = execute(ops.plan_sum_grad, [dy], [(shape, "f32")], axes)
    np.testing.assert_array_equal(result, full)
    (result,) = execute(ops.plan_mean_grad, [dy], [(shape, "f32")], axes)
    np.testing.assert_allclose(result, full / max(x.size // max(dy.size, 1), 1), rtol=1e-6)
    y = np.asarray(x.max(axes), np.float32)
    same = x == np.expand_dims(y, axes)
    (result,) = execute(ops.plan_order_grad, [x, y, dy], [(shape, "f32")], axes)
    np.testing.assert_allclose(result, full * same / same.sum(axes, keepdims=True), rtol=1e-5)


def test_results_do_not_depend_on_magnitude_of_the_mean() -> None:
    x = np.full((1 << 18,), 0.1, np.float32)
    (result,) = execute(ops.plan_sum, [x], [((), "f32")], (0,))
    np.testing.assert_allclose(result, x.astype(np.float64).sum(), rtol=1e-6)


@pytest.mark.parametrize(("shape", "axes"), CASES[:6])
def test_gradient_of_prod(shape: Any, axes: Any) -> None:
    rng = np.random.default_rng(6)
    x = np.exp(draw(rng, shape) / 100) * rng.choice([-1, 1], shape).astype(np.float32)
    reference = Reference(lambda x: paddle.prod(x, list(axes)), x)
    dy = draw(rng, kept(shape, axes))
    y = reference.value.astype(np.float32)
    (result,) = execute(ops.plan_prod_grad, [x, y, dy], [(shape, "f32")], axes)
    np.testing.assert_allclose(result, reference.gradient(dy), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("shape", [(), (7,), (300, 40), (70000,)], ids=str)
def test_squared_norm(shape: Any) -> None:
    x = draw(np.random.default_rng(7), shape)
    (result,) = execute(ops.plan_squared_norm, [x], [((), "f32")])
    np.testing.assert_allclose(result, np.square(x.astype(np.float64)).sum(), rtol=1e-6)
