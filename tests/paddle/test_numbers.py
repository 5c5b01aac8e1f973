# Tensors of one element become Python numbers, whatever NumPy's version.

from __future__ import annotations

import paddle
import pytest


@pytest.mark.parametrize("device", ["xpu", "cpu"])
@pytest.mark.parametrize("shape", [[], [1], [1, 1]])
def test_one_element(device: str, shape: list[int]) -> None:
    tensor = paddle.full(shape, 2.0, device=device)
    assert float(tensor) == 2.0
    assert int(tensor) == 2
    assert complex(tensor) == 2.0 + 0.0j
    assert [1, 2, 3][tensor.astype("int64")] == 3
    assert float(tensor.astype("bfloat16")) == 2.0


def test_more_elements_are_refused() -> None:
    with pytest.raises(AssertionError, match="only one element"):
        float(paddle.ones([2]))
