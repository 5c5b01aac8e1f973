# Diagonals, grids and parts on the card against Paddle's CPU kernels.

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import paddle
import pytest
from against_cpu import agree

F = paddle.nn.functional
FLOATS = ["float32", "float64", "float16", "bfloat16"]


def numbers(*shape: int) -> np.ndarray:
    return np.random.default_rng(sum(shape)).standard_normal(shape)


CASES: dict[str, tuple[Callable[..., Any], list[np.ndarray]]] = {
    "diag of a vector": (lambda x: paddle.diag(x, 1), [numbers(5)]),
    "diag of a matrix": (lambda x: paddle.diag(x, -1), [numbers(5, 7)]),
    "diag_embed": (lambda x: paddle.diag_embed(x, -2, 0, 2), [numbers(3, 4)]),
    "trace": (paddle.trace, [numbers(5, 7)]),
    "trace of axes": (lambda x: paddle.trace(x, 1, 2, 0), [numbers(4, 5, 6)]),
    "trace beyond": (lambda x: paddle.trace(x, 9, 0, 1), [numbers(4, 5, 6)]),
    "diagonal": (lambda x: paddle.diagonal(x, 1, 0, 2), [numbers(4, 5, 6)]),
    "meshgrid": (paddle.meshgrid, [numbers(3), numbers(4), numbers(5)]),
    "broadcast_tensors": (
        lambda x, y: paddle.broadcast_tensors([x, y]), [numbers(3, 1, 5), numbers(4, 1)],
    ),
    "fill_diagonal_tensor": (
        lambda x, y: paddle.Tensor.fill_diagonal_tensor(x, y, 1, 0, 2), [numbers(4, 5, 6), numbers(5, 4)],
    ),
}  # fmt: skip


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("name", CASES)
def test_floats(name: str, dtype: str) -> None:
    function, arrays = CASES[name]
    agree(function, *arrays, dtype=dtype, gradients=name != "fill_diagonal_tensor")


@pytest.mark.parametrize("kind", ["i4", "i8"])
@pytest.mark.parametrize("name", CASES)
def test_integers(name: str, kind: str) -> None:
    function, arrays = CASES[name]
    agree(function, *((a * 9).astype(kind) for a in arrays), gradients=False)


@pytest.mark.parametrize("shape", [(5, 5), (9, 4), (4, 9), (13, 3), (3, 3, 3), (1, 1)], ids=str)
@pytest.mark.parametrize("wrap", [False, True])
@pytest.mark.parametrize("offset", [0, 1, -1, 2])
def test_fill_diagonal(shape: Any, wrap: bool, offset: int) -> None:
    if len(shape) > 2 and (offset or wrap):
        pytest.skip("Paddle fills the main diagonal of such tensors only")

    def fill(x: paddle.Tensor) -> paddle.Tensor:
        y = x * 1
        return y.fill_diagonal_(7.5, offset, wrap)

    agree(fill, numbers(*shape), gradients=True)


def test_partial_concat_and_sum() -> None:
    from paddle.incubate.layers import partial_concat, partial_sum

    arrays = [numbers(4, 6), numbers(4, 6) + 1]
    for dtype in ("float32", "float64"):
        agree(lambda x, y: partial_concat([x, y], 1, 3), *arrays, dtype=dtype)
        agree(lambda x, y: partial_concat([x, y], -2, -1), *arrays, dtype=dtype)
        agree(lambda x, y: partial_sum([x, y], 2, -1), *arrays, dtype=dtype)


def test_shard_index_and_is_empty() -> None:
    ids = np.array([[0], [5], [9], [10], [19]])
    for shard in (0, 1):
        agree(lambda x, shard=shard: paddle.shard_index(x, 20, 2, shard, -1), ids, gradients=False)
    agree(paddle.is_empty, numbers(3), gradients=False)
    agree(paddle.is_empty, np.zeros((0, 3)), gradients=False)
    agree(lambda x: paddle.reverse(x, [0, 1]), numbers(3, 4), gradients=False)


def test_empty_tensors() -> None:
    agree(paddle.diag_embed, np.zeros((0, 3)), gradients=False)
    agree(lambda x, y: paddle.broadcast_tensors([x, y]), np.zeros((0, 3)), np.zeros((1, 3)), gradients=False)
