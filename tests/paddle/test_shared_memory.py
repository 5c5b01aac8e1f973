# Kernels whose outputs lie in memory that something else has, too: coalesce_tensor and set.

from __future__ import annotations

import numpy as np
import paddle
import pytest
from compared import fallen
from paddle import _C_ops


def coalesce(tensors: list[paddle.Tensor], align: bool, copy: bool, constant: float | None) -> tuple:
    return _C_ops.coalesce_tensor(
        tensors, tensors[0].dtype, copy, constant is not None, False, constant or 0.0, align, -1, -1, [], []
    )


@pytest.mark.parametrize("align", [False, True])
@pytest.mark.parametrize("dtype", ["float32", "float16", "float64", "int64"])
def test_coalesced_tensors_are_parts_of_one_buffer(dtype: str, align: bool) -> None:
    arrays = [np.arange(6).reshape(2, 3) + 1, np.arange(5) + 10, np.array([7])]
    tensors = [paddle.to_tensor(a.astype(dtype)) for a in arrays]

    def run() -> None:
        parts, fused = coalesce(tensors, align, True, None)
        for part, array in zip(parts, arrays, strict=True):
            np.testing.assert_array_equal(part.numpy(), array.astype(dtype))
        if not align:
            np.testing.assert_array_equal(fused.numpy(), np.concatenate([a.ravel() for a in arrays]))
        fused.zero_()  # what happens to the buffer happens to its parts
        for part in parts:
            assert not part.numpy().any()
        parts[1].fill_(3)
        assert (fused == 3).sum().item() == 5

    assert not fallen(run)


def test_coalesced_tensors_are_filled() -> None:
    parts, fused = coalesce([paddle.rand([4]), paddle.rand([3, 2])], False, False, 2.5)
    assert (fused.numpy() == 2.5).all()
    assert parts[1].shape == [3, 2]
    assert (parts[1].numpy() == 2.5).all()


def test_set_takes_the_memory_of_another_tensor() -> None:
    x, source = paddle.zeros([3]), paddle.arange(12, dtype="float32")

    def run() -> None:
        x.set_(source, [2, 3], [6, 2], 0)

    assert not fallen(run)
    np.testing.assert_array_equal(x.numpy(), np.arange(12).reshape(2, 6)[:, ::2])
    source.add_(paddle.ones([12]))
    np.testing.assert_array_equal(x.numpy(), np.arange(12).reshape(2, 6)[:, ::2] + 1)
