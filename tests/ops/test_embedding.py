# Embedding look-up and gradient against NumPy.
from __future__ import annotations

import numpy as np
import pytest
from execute import execute

from openxpu.ops import embedding as ops


@pytest.mark.parametrize("padding", [-1, 2])
@pytest.mark.parametrize(("n", "id_dtype"), [(40, np.int64), (1100, np.int32), (3, np.int64)])
def test_embedding(n: int, id_dtype: type, padding: int) -> None:
    rng = np.random.default_rng(0)
    weight = rng.standard_normal((9, n)).astype(np.float32)
    ids = rng.integers(0, 9, (3, 5)).astype(id_dtype)
    dout = rng.standard_normal((3, 5, n)).astype(np.float32)
    expected, total = weight[ids], np.zeros((9, n))
    np.add.at(total, ids, dout)
    expected[ids == padding] = 0
    if padding >= 0:
        total[padding] = 0
    (result,) = execute(ops.plan_embedding, [ids, weight], [((3, 5, n), "f32")], padding)
    np.testing.assert_array_equal(result, expected)
    (result,) = execute(ops.plan_embedding_grad, [ids, dout], [((9, n), "f32")], padding)
    np.testing.assert_allclose(result, total, rtol=1e-5, atol=1e-5)
    (result,) = execute(ops.plan_embedding_grad, [ids, dout], [((9, n), "bf16")], padding)
    np.testing.assert_allclose(result.astype(np.float32), total, rtol=1e-2, atol=1e-2)
