# Losses and their gradients against Paddle in f64.
from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np
import paddle
import paddle.nn.functional as F
import pytest
from execute import NAMES, execute
from reference import Reference
from scipy import special

from openxpu.ops import loss as ops

BF16 = np.dtype(ml_dtypes.bfloat16)


def draw(seed: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def close(result: np.ndarray, expected: np.ndarray, tolerance: float = 1e-4) -> None:
    assert result.shape == expected.shape
    np.testing.assert_allclose(result.astype(np.float64), expected, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("soft", [False, True], ids=["hard", "soft"])
@pytest.mark.parametrize(("shape", "axis"), [((4, 11), -1), ((6, 100), 1), ((2, 5, 6), 1), ((2, 8300), -1)])
def test_cross_entropy(shape: tuple[int, ...], axis: int, soft: bool) -> None:
    rng = np.random.default_rng(0)
    axis %= len(shape)
    row = tuple(1 if i == axis else extent for i, extent in enumerate(shape))
    x, dloss = draw(1, *shape) * 3, draw(2, *row)
    if soft:
        label = rng.random(shape).astype(np.float32)
        label /= label.sum(axis, keepdims=True)
    else:
        label = rng.integers(0, shape[axis], row)
        label.flat[0] = -100
    hard_or_soft = label.astype(np.float64) if soft else label
    reference = Reference(
        lambda x: F.cross_entropy(
            x, paddle.to_tensor(hard_or_soft), soft_label=soft, ignore_index=-100, axis=axis, reduction="none"
        ),
        x,
    )
    outputs = [(shape, "f32"), (row, "f32")]
    probabilities, loss = execute(ops.plan_cross_entropy, [x, label], outputs, soft, axis, -100)
    close(loss, reference.value)
    close(probabilities, special.softmax(x.astype(np.float64), axis))
    (grad,) = execute(
        ops.plan_cross_entropy_grad, [label, probabilities, dloss], [(shape, "f32")], soft, axis, -100
    )
    close(grad, reference.gradient(dloss))


@pytest.mark.parametrize("labels", [np.int32, np.int64])
@pytest.mark.parametrize("dtype", [np.float64, np.float16, BF16], ids=["f64", "f16", "bf16"])
@pytest.mark.parametrize(("shape", "axis"), [((6, 40), 1), ((2, 5, 6), 1), ((2, 8300), 1)])
def test_cross_entropy_dtypes(shape: tuple[int, ...], axis: int, dtype: Any, labels: Any) -> None:
    row = tuple(1 if i == axis else extent for i, extent in enumerate(shape))
    x, dloss = (draw(1, *shape) * 3).astype(dtype), draw(2, *row).astype(dtype)
    label = np.random.default_rng(0).integers(0, shape[axis], row).astype(labels)
    reference = Reference(
        lambda x: F.cross_entropy(x, paddle.to_tensor(label), axis=axis, reduction="none"), x
    )
    own = NAMES[x.dtype]
    tolerance = {"f64": 1e-12, "f16": 2e-3, "bf16": 2e-2}[own]
    probabilities, loss = execute(
        ops.plan_cross_entropy, [x, label], [(shape, own), (row, own)], False, axis, -100
    )
    close(loss, reference.value, tolerance)
    (grad,) = execute(
        ops.plan_cross_entropy_grad, [label, probabilities, dloss], [(shape, own)], False, axis, -100
    )
    close(grad, reference.gradient(dloss), tolerance)


@pytest.mark.parametrize(("shape", "axis"), [((3, 100), 1), ((2, 9000), 1), ((2, 50, 20), 1)])
@pytest.mark.parametrize("soft", [False, True], ids=["hard", "soft"])
def test_cross_entropy_far_from_zero(shape: tuple[int, ...], axis: int, soft: bool) -> None:
    """The loss does not depend on what is added to the logits, here far more than they are."""
    row = tuple(1 if i == axis else extent for i, extent in enumerate(shape))
    rng = np.random.default_rng(0)
    x = rng.integers(-3, 4, shape).astype(np.float32) + 2**20
    label = rng.integers(0, shape[axis], row)
    share = np.zeros(shape, np.float32)
    np.put_along_axis(share, label, 1, axis)
    outputs = [(shape, "f32"), (row, "f32")]
    _, loss = execute(ops.plan_cross_entropy, [x, share if soft else label], outputs, soft, axis, -100)
    logs = special.log_softmax(x.astype(np.float64), axis)
    close(loss, -np.take_along_axis(logs, label, axis), 1e-5)


ELEMENTWISE = {
    "bce": lambda x, t: F.binary_cross_entropy(x, t, reduction="none"),
    "sigmoid": lambda x, t: F.binary_cross_entropy_with_logits(x, t, reduction="none"),
    "huber": lambda x, t: F.smooth_l1_loss(x, t, reduction="none", delta=0.5),
    "kldiv": lambda x, t: F.kl_div(x, t, reduction="none"),
    "kldiv_log": lambda x, t: F.kl_div(x, t, reduction="none", log_target=True),
}


@pytest.mark.parametrize("kind", sorted(ELEMENTWISE))
def test_elementwise_loss(kind: str) -> None:
    rng = np.random.default_rng(0)
    x, dout = draw(1, 7, 5), draw(2, 7, 5)
    label = rng.random((7, 5)).astype(np.float32) * 0.9 + 0.05
    if kind == "bce":
        x = rng.random((7, 5)).astype(np.float32) * 0.9 + 0.05
    if kind == "kldiv_log":
        label = np.log(label)
    reference = Reference(lambda x: ELEMENTWISE[kind](x, paddle.to_tensor(label.astype(np.float64))), x)
    full = (x.shape, "f32")

    def forward(b: Any, x: Any, label: Any, out: Any, second: Any) -> None:
        ops.plan_elementwise_loss(b, x, label, out, kind, second=second, p=0.5)

    def backward(b: Any, x: Any, label: Any, dout: Any, dx: Any) -> None:
        p = 1e-12 if kind == "bce" else 0.5
        ops.plan_elementwise_loss_grad(b, x, None if kind == "huber" else label, dout, dx, kind, p=p)

    result, second = execute(forward, [x, label], [full, full])
    close(result, reference.value)
    saved = second if kind == "huber" else x
    close(execute(backward, [saved, label, dout], [full])[0], reference.gradient(dout))


@pytest.mark.parametrize("log_target", [False, True])
@pytest.mark.parametrize("reduction", ["none", "mean", "sum", "batchmean"])
def test_kldiv(reduction: str, log_target: bool) -> None:
    rng = np.random.default_rng(0)
    x, label = draw(1, 7, 5), rng.random((7, 5)).astype(np.float32) * 0.9 + 0.05
    if log_target:
        label = np.log(label)
    reference = Reference(
        lambda x: F.kl_div(x, paddle.to_tensor(label.astype(np.float64)), reduction, log_target), x
    )
    (result,) = execute(ops.plan_kldiv, [x, label], [(reference.shape, "f32")], reduction, log_target)
    close(result, reference.value)
    dout = np.asarray(draw(2, *reference.shape), np.float32)
    (grad,) = execute(ops.plan_kldiv_grad, [x, label, dout], [(x.shape, "f32")], reduction, log_target)
    close(grad, reference.gradient(dout))


@pytest.mark.parametrize("reduction", ["none", "mean", "sum"])
def test_nll_loss(reduction: str) -> None:
    rng = np.random.default_rng(0)
    x, label, weight = draw(1, 4, 6, 3), rng.integers(0, 6, (4, 3)), rng.random(6).astype(np.float32)
    label[0, 0] = -100
    reference = Reference(
        lambda x: F.nll_loss(
            x, paddle.to_tensor(label), paddle.to_tensor(weight.astype(np.float64)), reduction=reduction
        ),
        x,
    )
    outputs = [(reference.shape, "f32"), ((1,), "f32")]
    result, total = execute(ops.plan_nll_loss, [x, label, weight], outputs, -100, reduction)
    close(result, reference.value)
    dout = np.asarray(draw(2, *reference.shape), np.float32)
    inputs = [x, label, weight, total, dout]
    (grad,) = execute(ops.plan_nll_loss_grad, inputs, [(x.shape, "f32")], -100, reduction)
    close(grad, reference.gradient(dout))


def test_label_smooth() -> None:
    label, prior = np.eye(5, dtype=np.float32), np.linspace(0, 0.4, 5).astype(np.float32)
    close(execute(ops.plan_label_smooth, [label, None], [(label.shape, "f32")], 0.1)[0], label * 0.9 + 0.02)
    close(
        execute(ops.plan_label_smooth, [label, prior], [(label.shape, "f32")], 0.1)[0],
        label * 0.9 + 0.1 * prior,
    )
