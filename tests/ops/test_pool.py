# Pooling, channels first and last, with gradients, against Paddle in f64.
from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np
import paddle.nn.functional as F
import pytest
from execute import NAMES, execute
from reference import Reference

from openxpu.ops import pool as ops

BF16 = np.dtype(ml_dtypes.bfloat16)


def draw(seed: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def close(result: np.ndarray, expected: np.ndarray, tolerance: float = 1e-5) -> None:
    assert result.shape == expected.shape
    np.testing.assert_allclose(result.astype(np.float64), expected, rtol=tolerance, atol=tolerance)


def run(
    x: np.ndarray, reference: Reference, pooling: ops.Pooling, last: bool = False, tolerance: float = 1e-5
) -> None:
    """Result and gradient of one pooling; Paddle's is channels first."""
    order = (lambda a: np.ascontiguousarray(np.moveaxis(a, 1, -1))) if last else np.ascontiguousarray
    kind = NAMES[x.dtype]
    wanted, dy = order(reference.value), draw(1, *reference.shape).astype(x.dtype)
    (result,) = execute(ops.plan_pool, [order(x)], [(wanted.shape, kind)], pooling, last)
    close(result, wanted, tolerance)
    inputs, source = [order(x), result, order(dy)], order(x)
    (grad,) = execute(ops.plan_pool_grad, inputs, [(source.shape, kind)], pooling, last)
    close(grad, order(reference.gradient(dy)), tolerance)


def pool(kind: str, window: Any, stride: Any, padding: Any) -> Any:
    """Paddle's function of one tensor."""
    if kind == "max":
        return lambda x: F.max_pool2d(x, window, stride, padding)
    return lambda x: F.avg_pool2d(x, window, stride, padding, exclusive=kind == "avg")


def resolved(kind: str, x: np.ndarray, reference: Reference, window: Any, stride: Any, padding: Any) -> Any:
    name = "max" if kind == "max" else "avg"
    return ops.resolve(name, x.shape[2:], reference.shape[2:], window, stride, padding, kind == "avg")


# the last two: a window that is not unrolled, and one as large as the padded image
WINDOWS = [
    ((3, 3), (2, 2), (1, 1)), ((2, 2), (2, 2), (0, 0)), ((3, 2), (1, 2), (1, 0)), ((8, 7), (1, 1), (4, 3)),
    ((9, 8), (1, 1), (0, 0)),
]  # fmt: skip


@pytest.mark.parametrize("last", [False, True], ids=["channels_first", "channels_last"])
@pytest.mark.parametrize("kind", ["max", "avg", "avg_padded"])
@pytest.mark.parametrize(("window", "stride", "padding"), WINDOWS)
def test_pool(window: Any, stride: Any, padding: Any, kind: str, last: bool) -> None:
    x = np.round(draw(0, 2, 3, 9, 8) * 2)  # with ties: the first maximum gets the gradient
    reference = Reference(pool(kind, window, stride, padding), x)
    run(x, reference, resolved(kind, x, reference, window, stride, padding), last)


@pytest.mark.parametrize("last", [False, True], ids=["channels_first", "channels_last"])
@pytest.mark.parametrize("kind", ["max", "avg"])
@pytest.mark.parametrize("dtype", [np.float64, np.float16, BF16], ids=["f64", "f16", "bf16"])
def test_dtypes(dtype: Any, kind: str, last: bool) -> None:
    # Windows of 1, 2 and 4 pixels: Paddle divides gradients by an f32 number of pixels.
    x = draw(0, 2, 3, 10, 8).astype(dtype)
    reference = Reference(pool(kind, (2, 2), (2, 2), (1, 1)), x)
    tolerance = {"f64": 1e-12, "f16": 2e-3, "bf16": 1e-2}[NAMES[x.dtype]]
    run(x, reference, resolved(kind, x, reference, (2, 2), (2, 2), (1, 1)), last, tolerance)


@pytest.mark.parametrize("shape", [(1, 1, 1, 1), (1, 2, 70, 300), (3, 40, 5, 5)], ids=str)
@pytest.mark.parametrize("kind", ["max", "avg"])
def test_sizes(kind: str, shape: tuple[int, ...]) -> None:
    x = draw(0, *shape)
    reference = Reference(pool(kind, (3, 3), (1, 1), (1, 1)), x)
    for last in (False, True):
        run(x, reference, resolved(kind, x, reference, (3, 3), (1, 1), (1, 1)), last)


def test_no_images() -> None:
    pooling = ops.resolve("max", (9, 8), (4, 4), (3, 3), (2, 2), (0, 0))
    x, y = np.zeros((0, 3, 9, 8), np.float32), np.zeros((0, 3, 4, 4), np.float32)
    assert execute(ops.plan_pool, [x], [(y.shape, "f32")], pooling)[0].shape == y.shape
    assert execute(ops.plan_pool_grad, [x, y, y], [(x.shape, "f32")], pooling)[0].shape == x.shape


@pytest.mark.parametrize("last", [False, True], ids=["channels_first", "channels_last"])
def test_nan_and_minus_infinity(last: bool) -> None:
    """A NaN is not lost among numbers, whichever comes first."""
    x = np.full((1, 1, 2, 6), -np.inf, np.float32)
    x[0, 0, :, 2:4] = [[np.nan, 1], [2, 3]]
    x[0, 0, :, 4:6] = [[2, 3], [4, np.nan]]
    pooling = ops.resolve("max", (2, 6), (1, 3), (2, 2), (2, 2), (0, 0))
    order = (lambda a: np.ascontiguousarray(np.moveaxis(a, 1, -1))) if last else np.ascontiguousarray
    want = order(np.array([-np.inf, np.nan, np.nan], np.float32).reshape(1, 1, 1, 3))
    (result,) = execute(ops.plan_pool, [order(x)], [(want.shape, "f32")], pooling, last)
    np.testing.assert_array_equal(result, want)


@pytest.mark.parametrize("window", [3, 8])
def test_max_pool_with_index(window: int) -> None:
    x = np.round(draw(0, 2, 3, 9, 8) * 2)
    padding = window // 2
    places = Reference(lambda x: F.max_pool2d(x, window, 2, padding, return_mask=True)[1], x).value
    reference = Reference(lambda x: F.max_pool2d(x, window, 2, padding, return_mask=True)[0], x)
    dy = draw(1, *reference.shape)
    pooling = resolved("max", x, reference, (window, window), (2, 2), (padding, padding))

    def forward(b: Any, x: Any, out: Any, index: Any, pooling: Any) -> None:
        ops.plan_pool(b, x, out, pooling, index=index)

    def backward(b: Any, index: Any, dout: Any, dx: Any, pooling: Any) -> None:
        ops.plan_pool_grad(b, None, None, dout, dx, pooling, index=index)

    result, where = execute(forward, [x], [(reference.shape, "f32"), (reference.shape, "i32")], pooling)
    close(result, reference.value)
    np.testing.assert_array_equal(where, places)
    close(execute(backward, [where, dy], [(x.shape, "f32")], pooling)[0], reference.gradient(dy))


@pytest.mark.parametrize("last", [False, True], ids=["channels_first", "channels_last"])
@pytest.mark.parametrize("kind", ["avg", "max"])
@pytest.mark.parametrize(
    "out", [(1, 1), (3, 4), (2, 3), (9, 8), (5, 20), (11, 3)]
)  # the last two: more than there are
@pytest.mark.parametrize("channels", [3, 150])  # 300 planes are enough for one lane each
def test_adaptive(channels: int, out: tuple[int, int], kind: str, last: bool) -> None:
    x = draw(0, 2, channels, 9, 8)
    reference = Reference(lambda x: getattr(F, f"adaptive_{kind}_pool2d")(x, out), x)
    pooling = ops.resolve(kind, (9, 8), out, (0, 0), (1, 1), (0, 0), True, True)
    run(x, reference, pooling, last)
