# Matrix products and their gradients against NumPy in f64 (exact integers for i8).

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np
import pytest
from execute import INTERPRETED, execute

from openxpu.ops import matmul as ops
from openxpu.ops.plan import PlanBuilder, Tensor, Unsupported

DTYPES: dict[str, Any] = {"f32": np.float32, "f64": np.float64, "f16": np.float16, "bf16": ml_dtypes.bfloat16}
TOLERANCE = {"f32": 2e-6, "f64": 1e-14, "f16": 1e-3, "bf16": 8e-3}

# shapes of x and y (before the transposes), transpose_x, transpose_y
SMALL = [
    ((5, 7), (7, 3), False, False),
    ((7, 5), (7, 3), True, False),
    ((5, 7), (3, 7), False, True),
    ((7, 5), (3, 7), True, True),
    ((1, 1), (1, 1), False, False),
    ((1, 40), (40, 33), False, False),
    ((33, 40), (40, 1), False, False),
    ((17, 33), (33, 65), False, False),
    ((6,), (6,), False, False),
    ((6,), (6, 4), False, False),
    ((4, 6), (6,), False, False),
    ((2, 3, 4, 6), (6,), False, False),
    ((6,), (2, 3, 6, 5), False, False),
    ((3, 4, 6), (6, 5), False, False),
    ((3, 6, 4), (6, 5), True, False),
    ((3, 4, 6), (5, 6), False, True),
    ((4, 6), (3, 6, 5), False, False),
    ((2, 3, 4, 6), (2, 3, 6, 5), False, False),
    ((2, 1, 4, 6), (1, 3, 6, 5), False, False),
    ((2, 1, 3, 4, 6), (1, 4, 1, 5, 6), False, True),
    ((2, 1, 3, 6, 4), (4, 1, 5, 6), True, True),
    ((3, 1, 6), (3, 6, 5), False, False),
    ((0, 4), (4, 3), False, False),
    ((4, 0), (0, 3), False, False),
    ((0, 4, 3), (0, 3, 2), False, False),
]
LARGER = [
    ((70, 130), (130, 90), False, False),
    ((130, 70), (90, 130), True, True),
    ((300, 257), (257, 140), False, False),
    ((8, 3000), (3000, 10), False, False),
    ((2, 70), (2, 600), True, False),
    ((9, 37), (9, 1100), True, False),
    ((16, 128, 64), (16, 128, 64), False, True),
    ((16, 128, 128), (16, 128, 64), True, False),
]


def values(shape: tuple[int, ...], dtype: str, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype(DTYPES[dtype])


def product(x: np.ndarray, y: np.ndarray, transpose_x: bool, transpose_y: bool) -> np.ndarray:
    x, y = x.astype(np.float64), y.astype(np.float64)
    if transpose_x and x.ndim > 1:
        x = np.swapaxes(x, -1, -2)
    if transpose_y and y.ndim > 1:
        y = np.swapaxes(y, -1, -2)
    return np.asarray(x @ y)


def close(actual: np.ndarray, expected: np.ndarray, dtype: str, terms: int) -> None:
    """Relative to the size of a sum of `terms` products of standard normal numbers."""
    scale = max(terms, 1) ** 0.5
    difference = np.abs(actual.astype(np.float64) - expected)
    assert actual.shape == expected.shape
    if expected.size:
        assert (difference <= TOLERANCE[dtype] * (4 * scale + np.abs(expected))).all(), difference.max()


def check_matmul(case: Any, dtype: str) -> None:
    shape_x, shape_y, tx, ty = case
    x, y = values(shape_x, dtype, 1), values(shape_y, dtype, 2)
    expected = product(x, y, tx, ty)
    (out,) = execute(ops.plan_matmul, [x, y], [(expected.shape, dtype)], tx, ty)
    terms = shape_x[-2] if tx and len(shape_x) > 1 else shape_x[-1]
    close(out, expected, dtype, terms)


def reduced(gradient: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    extra = gradient.ndim - len(shape)
    gradient = gradient.sum(axis=tuple(range(extra)))
    axes = tuple(i for i, extent in enumerate(shape) if extent == 1)
    return gradient.sum(axis=axes, keepdims=True)


def gradients(
    x: np.ndarray, y: np.ndarray, g: np.ndarray, tx: bool, ty: bool
) -> tuple[np.ndarray, np.ndarray]:
    """By the definition, in f64."""
    u, v, w = (t.astype(np.float64) for t in (x, y, g))
    if y.ndim == 1:
        v, w = v[:, None], w[..., None]
    elif ty:
        v = np.swapaxes(v, -1, -2)
    if x.ndim == 1:
        u, w = u[None, :], w[..., None, :]
    elif tx:
        u = np.swapaxes(u, -1, -2)
    du, dv = w @ np.swapaxes(v, -1, -2), np.swapaxes(u, -1, -2) @ w
    if x.ndim == 1:
        du = du.sum(axis=tuple(range(du.ndim - 2)))[0]
    elif tx:
        du = np.swapaxes(du, -1, -2)
    if y.ndim == 1:
        dv = dv.sum(axis=tuple(range(dv.ndim - 2)))[:, 0]
    elif ty:
        dv = np.swapaxes(dv, -1, -2)
    return reduced(du, x.shape), reduced(dv, y.shape)


def check_grad(case: Any, dtype: str) -> None:
    shape_x, shape_y, tx, ty = case
    x, y = values(shape_x, dtype, 1), values(shape_y, dtype, 2)
    g = values(product(x, y, tx, ty).shape, dtype, 3)
    expected = gradients(x, y, g, tx, ty)

    def plan(
        b: PlanBuilder, x: Tensor, y: Tensor, g: Tensor, dx: Tensor, dy: Tensor, tx: bool, ty: bool
    ) -> None:
        ops.plan_matmul_grad(b, x, y, g, dx, dy, tx, ty)

    dx, dy = execute(plan, [x, y, g], [(x.shape, dtype), (y.shape, dtype)], tx, ty)
    terms = max(1, g.size) if g.size else 1
    close(dx, expected[0], dtype, terms)
    close(dy, expected[1], dtype, terms)


@pytest.mark.parametrize("case", SMALL, ids=str)
def test_matmul(case: Any) -> None:
    check_matmul(case, "f32")


@pytest.mark.parametrize("dtype", ["f64", "f16", "bf16"])
@pytest.mark.parametrize("case", [SMALL[0], SMALL[3], SMALL[7], SMALL[20], LARGER[0]], ids=str)
def test_matmul_types(case: Any, dtype: str) -> None:
    check_matmul(case, dtype)


@pytest.mark.skipif(INTERPRETED, reason="slow in the interpreter")
@pytest.mark.parametrize("case", LARGER, ids=str)
def test_matmul_larger(case: Any) -> None:
    check_matmul(case, "f32")


@pytest.mark.skipif(INTERPRETED, reason="slow in the interpreter")
@pytest.mark.parametrize("dtype", ["f32", "bf16"])
@pytest.mark.parametrize(
    ("rows", "k", "n"), [(1, 1030, 600), (2, 519, 513), (3, 2100, 260), (4, 257, 1031), (7, 1030, 1030)]
)
def test_few_rows_times_a_matrix_past_the_cache(rows: int, k: int, n: int, dtype: str) -> None:
    x, y = values((rows, k), dtype, 1), values((k, n), dtype, 2)
    (out,) = execute(ops.plan_matmul, [x, y], [((rows, n), dtype)], False, False)
    close(out, product(x, y, False, False), dtype, k)
    bias = values((n,), dtype, 3)
    (out,) = execute(ops.plan_addmm, [bias, x, y], [((rows, n), dtype)], 0.5, -2.0)
    expected = 0.5 * bias.astype(np.float64) - 2.0 * product(x, y, False, False)
    close(out, np.broadcast_to(expected, (rows, n)), dtype, 4 * k)


@pytest.mark.parametrize("case", SMALL, ids=str)
def test_matmul_grad(case: Any) -> None:
    check_grad(case, "f32")


@pytest.mark.parametrize("dtype", ["f64", "f16", "bf16"])
@pytest.mark.parametrize("case", [SMALL[3], SMALL[13], SMALL[19]], ids=str)
def test_matmul_grad_types(case: Any, dtype: str) -> None:
    check_grad(case, dtype)


def test_integers_are_exact() -> None:
    rng = np.random.default_rng(5)
    x, y = (rng.integers(-128, 128, shape, dtype=np.int8) for shape in ((37, 150), (150, 21)))
    (out,) = execute(ops.plan_matmul, [x, y], [((37, 21), "i32")])
    np.testing.assert_array_equal(out, x.astype(np.int32) @ y.astype(np.int32))


@pytest.mark.parametrize("addend", [(9, 12), (12,), (1, 12), (9, 1), (1, 1)], ids=str)
def test_addmm(addend: tuple[int, ...]) -> None:
    c, x, y = values(addend, "f32", 1), values((9, 20), "f32", 2), values((20, 12), "f32", 3)
    (out,) = execute(ops.plan_addmm, [c, x, y], [((9, 12), "f32")], 0.5, -2.0)
    expected = np.broadcast_to(0.5 * c.astype(np.float64), (9, 12)) - 2.0 * product(x, y, False, False)
    close(out, expected, "f32", 80)


@pytest.mark.parametrize("addend", [(9, 12), (12,), (9, 1)], ids=str)
def test_addmm_grad(addend: tuple[int, ...]) -> None:
    c, x, y = values(addend, "f32", 1), values((9, 20), "f32", 2), values((20, 12), "f32", 3)
    g = values((9, 12), "f32", 4)
    outs = [(addend, "f32"), ((9, 20), "f32"), ((20, 12), "f32")]
    dc, dx, dy = execute(ops.plan_addmm_grad, [c, x, y, g], outs, -2.0, 0.5)
    close(dc, 0.5 * reduced(g.astype(np.float64), addend).reshape(addend), "f32", 12)
    close(dx, -2.0 * product(g, y, False, True), "f32", 80)
    close(dy, -2.0 * product(x, g, True, False), "f32", 80)


@pytest.mark.parametrize("shape", [(1,), (37,), (5, 37), (3, 2000)], ids=str)
def test_dot(shape: tuple[int, ...]) -> None:
    x, y = values(shape, "f32", 1), values(shape, "f32", 2)
    (out,) = execute(ops.plan_dot, [x, y], [(shape[:-1], "f32")])
    close(out, (x.astype(np.float64) * y).sum(-1), "f32", shape[-1])
    g = values(shape[:-1], "f32", 3)
    dx, dy = execute(ops.plan_dot_grad, [x, y, g], [(shape, "f32"), (shape, "f32")])
    np.testing.assert_allclose(dx, g[..., None] * y, rtol=1e-6)
    np.testing.assert_allclose(dy, g[..., None] * x, rtol=1e-6)


def test_outer_and_flatten() -> None:
    x, y = values((7,), "f32", 1), values((20,), "f32", 2)
    (out,) = execute(ops.plan_outer, [x, y], [((7, 20), "f32")])
    np.testing.assert_allclose(out, np.outer(x, y), rtol=1e-6)
    x, y = values((3, 2, 4, 5), "f32", 1), values((4, 5, 2, 3), "f32", 2)
    (out,) = execute(ops.plan_matmul_with_flatten, [x, y], [((3, 2, 2, 3), "f32")], 2, 2)
    close(out, np.tensordot(x.astype(np.float64), y.astype(np.float64), 2), "f32", 20)


def test_split_k_is_planned_for_long_sums() -> None:
    b = PlanBuilder("matmul")
    x, y, out = (Tensor.argument(i, s, "f32") for i, s in enumerate([(64, 1 << 16), (1 << 16, 64), (64, 64)]))
    ops.plan_product(b, x, y, out)
    assert [step.ref for step in b.steps] == ["matmul.product", "matmul.sum_parts"]  # type: ignore[union-attr]
    assert b.steps[0].grid[2] > 1  # type: ignore[union-attr]


def test_split_k() -> None:
    x, y = values((3, 6000), "f32", 1), values((6000, 190), "f32", 2)
    (out,) = execute(ops.plan_matmul, [x, y], [((3, 190), "f32")])
    close(out, product(x, y, False, False), "f32", 6000)


def test_mixed_types_are_refused() -> None:
    x, y, out = (Tensor.argument(i, (4, 4), d) for i, d in enumerate(["f32", "f64", "f32"]))
    with pytest.raises(Unsupported, match="f32 and f64"):
        ops.plan_matmul(PlanBuilder("matmul"), x, y, out)
    bad = Tensor.argument(1, (5, 4), "f32")
    with pytest.raises(ValueError, match="inner extents 4 and 5"):
        ops.plan_matmul(PlanBuilder("matmul"), x, bad, out)
