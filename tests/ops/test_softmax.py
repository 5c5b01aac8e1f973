# Softmax and log-softmax along rows, short rows, long rows and columns, with gradients, against torch in f64.
from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np
import pytest
import torch
from execute import NAMES, execute

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


@pytest.mark.parametrize("name", ["softmax", "log_softmax"])
@pytest.mark.parametrize(
    "dtype", [np.float32, np.float64, np.float16, BF16], ids=["f32", "f64", "f16", "bf16"]
)
@pytest.mark.parametrize(("shape", "axis"), CASES)
def test_softmax(name: str, dtype: Any, shape: tuple[int, ...], axis: int) -> None:
    if np.dtype(dtype) != np.float32 and shape not in ((5, 10), (6, 100), (2, 7, 20)):
        pytest.skip("the dtypes differ only in how they are read and written")
    rng = np.random.default_rng(0)
    x = np.asarray(rng.standard_normal(shape) * 3).astype(dtype)
    dy = np.asarray(rng.standard_normal(shape)).astype(dtype)
    leaf = torch.tensor(x.astype(np.float64), requires_grad=True)
    y = getattr(torch, name)(leaf, axis)
    (result,) = execute(getattr(ops, f"plan_{name}"), [x], [(shape, NAMES[x.dtype])], axis)
    check(result, y.detach())
    saved = torch.tensor(result.astype(np.float64))
    g = torch.tensor(dy.astype(np.float64))
    if name == "softmax":
        expected = saved * (g - (saved * g).sum(axis, keepdim=True))
    else:
        expected = g - saved.exp() * g.sum(axis, keepdim=True)
    (grad,) = execute(getattr(ops, f"plan_{name}_grad"), [result, dy], [(shape, NAMES[x.dtype])], axis)
    check(grad, expected)


def test_infinities() -> None:
    x = np.array([[0.0, -np.inf, 3e38, -3e38], [-np.inf, -np.inf, 1.0, -1e30]], np.float32)
    (result,) = execute(ops.plan_softmax, [x], [(x.shape, "f32")], -1)
    check(result, torch.softmax(torch.tensor(x.astype(np.float64)), -1))
