# Layer, batch and group norm, rms norm, with gradients, against Paddle in f64.
from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np
import paddle
import paddle.nn.functional as F
import pytest
from execute import NAMES, execute
from reference import Reference

from openxpu.ops import norm as ops

BF16 = np.dtype(ml_dtypes.bfloat16)


def draw(seed: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def close(result: np.ndarray, expected: Any, tolerance: float = 1e-4) -> None:
    np.testing.assert_allclose(result.astype(np.float64), expected, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize(("rows", "n"), [(3, 7), (40, 33), (6, 100), (300, 64), (2, 17000)])
def test_layer_norm(rows: int, n: int) -> None:
    x, scale, bias, dy = draw(0, rows, n) * 2 + 5, draw(1, n), draw(2, n), draw(3, rows, n)
    reference = Reference(lambda x, scale, bias: F.layer_norm(x, (n,), scale, bias, 1e-5), x, scale, bias)
    shape, row, column = ((rows, n), "f32"), ((rows,), "f32"), ((n,), "f32")
    result, mean, variance = execute(ops.plan_layer_norm, [x, scale, bias], [shape, row, row], 1e-5, 1)
    close(result, reference.value)
    close(mean, x.astype(np.float64).mean(1))
    close(variance, x.astype(np.float64).var(1))
    grads = execute(
        ops.plan_layer_norm_grad, [x, scale, mean, variance, dy], [shape, column, column], 1e-5, 1
    )
    for grad, wanted in zip(grads, reference.gradients(dy), strict=True):
        close(grad, wanted)


@pytest.mark.parametrize("dtype", [np.float64, np.float16, BF16], ids=["f64", "f16", "bf16"])
def test_layer_norm_dtypes(dtype: Any) -> None:
    x = (draw(0, 5, 100) * 2 + 5).astype(dtype)
    result, _, _ = execute(
        ops.plan_layer_norm, [x, None, None], [(x.shape, NAMES[x.dtype]), None, None], 1e-5, 1
    )
    expected = Reference(lambda x: F.layer_norm(x, (100,), epsilon=1e-5), x).value
    close(result, expected, {"f64": 1e-9, "f16": 4e-3, "bf16": 4e-2}[NAMES[x.dtype]])


def test_rms_norm() -> None:
    x, scale, dy = draw(0, 6, 100), draw(1, 100), draw(3, 6, 100)
    # Paddle has no rms_norm for the CPU.
    reference = Reference(
        lambda x, scale: x * paddle.rsqrt(x.square().mean(-1, keepdim=True) + 1e-6) * scale, x, scale
    )
    result, factor = execute(ops.plan_rms_norm, [x, scale], [(x.shape, "f32"), ((6,), "f32")], 1e-6, 1)
    close(result, reference.value)
    dx, dscale = execute(
        ops.plan_rms_norm_grad, [x, scale, factor, dy], [(x.shape, "f32"), ((100,), "f32")], 1
    )
    wanted = reference.gradients(dy)
    close(dx, wanted[0])
    close(dscale, wanted[1])


# planes below, at and above a tile, one pixel, one row
SHAPES = [(3, 4, 5, 7), (2, 3, 40, 30), (40, 4, 2, 3), (6, 5), (300, 20), (2, 3, 1, 2)]


@pytest.mark.parametrize("fixed", [False, True], ids=["training", "inference"])
@pytest.mark.parametrize("last", [False, True], ids=["channels_first", "channels_last"])
@pytest.mark.parametrize("shape", SHAPES)
def test_batch_norm(shape: tuple[int, ...], last: bool, fixed: bool) -> None:
    channels = shape[-1] if last else shape[1]
    x, dy = draw(0, *shape) * 2 + 5, draw(1, *shape)
    scale, bias, mean = draw(2, channels), draw(3, channels), draw(4, channels)
    variance = np.random.default_rng(5).random(channels).astype(np.float32) + 0.5

    def normalise(x: Any, scale: Any, bias: Any) -> Any:
        running = [paddle.to_tensor(v.astype(np.float64)) for v in (mean, variance)]
        # Paddle's channels come last for 2 dimensions in either format, and NHWC exists for 4.
        form = "NHWC" if last and x.ndim == 4 else "NCHW"
        return F.batch_norm(x, *running, scale, bias, not fixed, 0.9, 1e-5, form)

    reference = Reference(normalise, x, scale, bias)
    full, row = (shape, "f32"), ((channels,), "f32")
    if fixed:
        (result,) = execute(ops.plan_batch_norm_fixed, [x, mean, variance, scale, bias], [full], 1e-5, last)
        saved = (mean, variance)
    else:
        outputs = [full, row, row, row, row]
        result, mean_out, variance_out, *saved = execute(
            ops.plan_batch_norm, [x, mean, variance, scale, bias], outputs, 0.9, 1e-5, last
        )
        axes = tuple(i for i in range(x.ndim) if i != (x.ndim - 1 if last else 1))
        wide = x.astype(np.float64)
        close(mean_out, mean * 0.9 + wide.mean(axes) * 0.1)
        close(variance_out, variance * 0.9 + wide.var(axes) * 0.1)
        close(saved[0], wide.mean(axes))
        close(saved[1], 1 / np.sqrt(wide.var(axes) + 1e-5))
    close(result, reference.value)
    grads = execute(ops.plan_batch_norm_grad, [x, scale, *saved, dy], [full, row, row], 1e-5, last, fixed)
    for grad, wanted, tolerance in zip(grads, reference.gradients(dy), (1e-4, 3e-4, 3e-4), strict=True):
        close(grad, wanted, tolerance)


@pytest.mark.parametrize("last", [False, True])
def test_batch_norm_far_from_zero(last: bool) -> None:
    """A mean a thousand times the deviation: sums of squares without a shift would lose every digit."""
    shape = (4, 50, 30, 3) if last else (4, 3, 50, 30)
    x = draw(0, *shape) + 1000
    x[0, 0, 0] = 990  # the sample that a naive shift would take
    row = ((3,), "f32")
    zero = np.zeros(3, np.float32)
    out = execute(
        ops.plan_batch_norm, [x, zero, zero, None, None], [(shape, "f32"), row, row, row, row], 0.0, 0.0, last
    )
    axes = (0, 1, 2) if last else (0, 2, 3)
    np.testing.assert_allclose(out[2], x.astype(np.float64).var(axes), rtol=1e-3)


@pytest.mark.parametrize("groups", [1, 2, 6])
def test_group_norm(groups: int) -> None:
    x, dy, scale, bias = draw(0, 2, 6, 5, 5) + 3, draw(1, 2, 6, 5, 5), draw(2, 6), draw(3, 6)
    reference = Reference(lambda x, scale, bias: F.group_norm(x, groups, 1e-5, scale, bias), x, scale, bias)
    full, cell, row = (x.shape, "f32"), ((2, groups), "f32"), ((6,), "f32")
    result, mean, variance = execute(ops.plan_group_norm, [x, scale, bias], [full, cell, cell], groups, 1e-5)
    close(result, reference.value)
    grads = execute(ops.plan_group_norm_grad, [x, scale, mean, variance, dy], [full, row, row], groups, 1e-5)
    for grad, wanted in zip(grads, reference.gradients(dy), strict=True):
        close(grad, wanted)


@pytest.mark.parametrize("dtype", [np.float64, np.float16, BF16], ids=["f64", "f16", "bf16"])
@pytest.mark.parametrize("kind", ["layer", "batch", "batch_last", "group"])
def test_gradients_in_dtypes(kind: str, dtype: Any) -> None:
    """Data in `dtype`; scale, bias and statistics of 16-bit data are in f32."""
    shape = {"layer": (9, 100), "batch_last": (3, 6, 5, 8)}.get(kind, (3, 8, 6, 5))
    x, dy = (draw(0, *shape) * 2 + 1).astype(dtype), draw(1, *shape).astype(dtype)
    own, wide = NAMES[x.dtype], "f64" if dtype == np.float64 else "f32"
    channels = 100 if kind == "layer" else 8
    scale, bias = (draw(seed, channels).astype(wide.replace("f", "float")) for seed in (2, 3))
    full, row = (shape, own), ((channels,), wide)
    if kind == "layer":
        reference = Reference(lambda *t: F.layer_norm(t[0], (100,), t[1], t[2], 1e-5), x, scale, bias)
        result, *saved = execute(
            ops.plan_layer_norm, [x, scale, bias], [full, ((9,), wide), ((9,), wide)], 1e-5, 1
        )
        grads = execute(ops.plan_layer_norm_grad, [x, scale, *saved, dy], [full, row, row], 1e-5, 1)
    elif kind == "group":
        reference = Reference(lambda *t: F.group_norm(t[0], 2, 1e-5, t[1], t[2]), x, scale, bias)
        cell = ((3, 2), wide)
        result, *saved = execute(ops.plan_group_norm, [x, scale, bias], [full, cell, cell], 2, 1e-5)
        grads = execute(ops.plan_group_norm_grad, [x, scale, *saved, dy], [full, row, row], 2, 1e-5)
    else:
        last = kind == "batch_last"
        running = np.zeros(8, scale.dtype)

        def normalise(x: Any, scale: Any, bias: Any) -> Any:
            statistics = [paddle.zeros([8], "float64") for _ in range(2)]
            return F.batch_norm(x, *statistics, scale, bias, True, 0.9, 1e-5, "NHWC" if last else "NCHW")

        reference = Reference(normalise, x, scale, bias)
        result, _, _, *saved = execute(
            ops.plan_batch_norm,
            [x, running, running, scale, bias],
            [full, row, row, row, row],
            0.9,
            1e-5,
            last,
        )
        grads = execute(ops.plan_batch_norm_grad, [x, scale, *saved, dy], [full, row, row], 1e-5, last, False)
    tolerance = {"f64": 1e-9, "f16": 5e-3, "bf16": 4e-2}[own]
    close(result, reference.value, tolerance)
    for grad, wanted in zip(grads, reference.gradients(dy), strict=True):
        close(grad, wanted, tolerance)
