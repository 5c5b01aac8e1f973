# Softmax and log-softmax along rows, short rows, long rows and columns, with gradients, against Paddle in f64.
from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np
import paddle.nn.functional as F
import pytest
from execute import INTERPRETED, NAMES, execute
from reference import Reference
from scipy import special

from openxpu.ops import softmax as ops

BF16 = np.dtype(ml_dtypes.bfloat16)
CASES = [
    ((3, 7), -1), ((5, 10), 1), ((6, 100), -1), ((3, 129), 1), ((2, 9000), -1), ((5, 3), 0), ((2, 7, 20), 1),
    ((2, 3, 300), 1), ((4, 1), -1), ((), -1), ((0, 5), -1),
]  # fmt: skip
TOLERANCE = {"f32": 1e-5, "f64": 1e-12, "f16": 2e-3, "bf16": 2e-2}


def check(result: np.ndarray, expected: Any) -> None:
    tolerance = TOLERANCE[NAMES[result.dtype]]
    np.testing.assert_allclose(
        result.astype(np.float64), np.asarray(expected), rtol=tolerance, atol=tolerance
    )


# Every shape in f32; the other dtypes differ only in how they are read and written.
RUNS = [(case, np.float32) for case in CASES] + [
    (case, dtype) for case in (CASES[1], CASES[2], CASES[6]) for dtype in (np.float64, np.float16, BF16)
]


@pytest.mark.parametrize("name", ["softmax", "log_softmax"])
@pytest.mark.parametrize(
    ("case", "dtype"), RUNS, ids=lambda v: str(v) if isinstance(v, tuple) else np.dtype(v).name
)
def test_softmax(name: str, case: tuple[tuple[int, ...], int], dtype: Any) -> None:
    shape, axis = case
    if INTERPRETED and shape == ():
        pytest.skip("the interpreter cannot reduce a tile of one element")
    rng = np.random.default_rng(0)
    x = np.asarray(rng.standard_normal(shape) * 3).astype(dtype)
    dy = np.asarray(rng.standard_normal(shape)).astype(dtype)
    function = getattr(F, name)
    (result,) = execute(getattr(ops, f"plan_{name}"), [x], [(shape, NAMES[x.dtype])], axis)
    check(result, Reference(lambda x: function(x, axis), x).value)
    (grad,) = execute(getattr(ops, f"plan_{name}_grad"), [result, dy], [(shape, NAMES[x.dtype])], axis)
    if not x.size:  # Paddle has no gradient of nothing
        assert grad.shape == shape
        return
    # The gradient starts from the rounded result, so the reference starts from an x that has it.
    saved = result.astype(np.float64)
    if name == "softmax":
        with np.errstate(divide="ignore"):  # what f16 rounded to 0
            saved = np.log(saved)
    check(grad, Reference(lambda x: function(x, axis), saved).gradient(dy))


@pytest.mark.parametrize("name", ["softmax", "log_softmax"])
def test_infinities(name: str) -> None:
    x = np.array([[0.0, -np.inf, 3e38, -3e38], [-np.inf, -np.inf, 1.0, -1e30]], np.float32)
    (result,) = execute(getattr(ops, f"plan_{name}"), [x], [(x.shape, "f32")], -1)
    with np.errstate(over="ignore"):
        check(result, getattr(special, name)(x.astype(np.float64), axis=-1).astype(np.float32))


@pytest.mark.parametrize(("shape", "axis"), [((3, 7), -1), ((3, 100), -1), ((2, 9000), -1), ((2, 50, 20), 1)])
def test_log_softmax_far_from_zero(shape: tuple[int, ...], axis: int) -> None:
    """Logarithms do not depend on what is added to x, here far more than they are."""
    x = np.random.default_rng(0).integers(-3, 4, shape).astype(np.float32) + 2**20
    (result,) = execute(ops.plan_log_softmax, [x], [(shape, "f32")], axis)
    check(result, special.log_softmax(x.astype(np.float64), axis))


@pytest.mark.parametrize("n", [4, 40, 9000])
def test_nan_and_rows_of_minus_infinity_are_nan(n: int) -> None:
    x = np.zeros((3, n), np.float32)
    x[0, n // 2] = np.nan
    x[1] = -np.inf
    for plan in (ops.plan_softmax, ops.plan_log_softmax):
        (result,) = execute(plan, [x], [(x.shape, "f32")], -1)
        assert np.isnan(result[:2]).all()
        assert np.isfinite(result[2]).all()
