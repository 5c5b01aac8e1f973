# Pooling, channels first and last, with gradients, against torch.
from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from execute import execute

from openxpu.ops import pool as ops


def draw(seed: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def close(result: np.ndarray, expected: Any) -> None:
    np.testing.assert_allclose(result, np.asarray(expected), rtol=1e-5, atol=1e-5)


WINDOWS = [((3, 3), (2, 2), (1, 1)), ((2, 2), (2, 2), (0, 0)), ((3, 2), (1, 2), (1, 0))]


@pytest.mark.parametrize("last", [False, True], ids=["channels_first", "channels_last"])
@pytest.mark.parametrize("kind", ["max", "avg", "avg_padded"])
@pytest.mark.parametrize(("window", "stride", "padding"), WINDOWS)
def test_pool(window: Any, stride: Any, padding: Any, kind: str, last: bool) -> None:
    x = np.round(draw(0, 2, 3, 9, 8) * 2)  # with ties: the first maximum gets the gradient
    leaf = torch.tensor(x, requires_grad=True)
    if kind == "max":
        y = F.max_pool2d(leaf, window, stride, padding)
    else:
        y = F.avg_pool2d(leaf, window, stride, padding, count_include_pad=kind == "avg_padded")
    dy = draw(1, *y.shape)
    y.backward(torch.tensor(dy))
    order = (lambda a: np.ascontiguousarray(np.moveaxis(a, 1, -1))) if last else np.ascontiguousarray
    out = tuple(y.shape[2:])
    pooling = ops.resolve(
        "max" if kind == "max" else "avg", (9, 8), out, window, stride, padding, kind == "avg"
    )
    wanted, grad = order(y.detach().numpy()), order(leaf.grad.numpy())
    (result,) = execute(ops.plan_pool2d, [order(x)], [(wanted.shape, "f32")], pooling, last)
    close(result, wanted)
    (result,) = execute(
        ops.plan_pool2d_grad, [order(x), result, order(dy)], [(grad.shape, "f32")], pooling, last
    )
    close(result, grad)


def test_max_pool_with_index() -> None:
    x = draw(0, 2, 3, 9, 8)
    leaf = torch.tensor(x, requires_grad=True)
    y, index = F.max_pool2d(leaf, 3, 2, 1, return_indices=True)
    dy = draw(1, *y.shape)
    y.backward(torch.tensor(dy))
    pooling = ops.resolve("max", (9, 8), tuple(y.shape[2:]), (3, 3), (2, 2), (1, 1))

    def forward(b: Any, x: Any, out: Any, index: Any, pooling: Any) -> None:
        ops.plan_pool2d(b, x, out, pooling, index=index)

    def backward(b: Any, index: Any, dout: Any, dx: Any, pooling: Any) -> None:
        ops.plan_pool2d_grad(b, None, None, dout, dx, pooling, index=index)

    result, where = execute(forward, [x], [(tuple(y.shape), "f32"), (tuple(y.shape), "i32")], pooling)
    close(result, y.detach())
    np.testing.assert_array_equal(where, index)
    close(execute(backward, [where, dy], [(x.shape, "f32")], pooling)[0], leaf.grad)


@pytest.mark.parametrize("out", [(1, 1), (3, 4), (2, 3), (9, 8)])
def test_adaptive(out: tuple[int, int]) -> None:
    x = draw(0, 2, 3, 9, 8)
    for kind in ("avg", "max"):
        leaf = torch.tensor(x, requires_grad=True)
        y = getattr(F, f"adaptive_{kind}_pool2d")(leaf, out)
        dy = draw(1, *y.shape)
        y.backward(torch.tensor(dy))
        pooling = ops.resolve(kind, (9, 8), out, (0, 0), (1, 1), (0, 0), True, True)
        (result,) = execute(ops.plan_pool2d, [x], [(tuple(y.shape), "f32")], pooling)
        close(result, y.detach())
        (grad,) = execute(ops.plan_pool2d_grad, [x, result, dy], [(x.shape, "f32")], pooling)
        close(grad, leaf.grad)
