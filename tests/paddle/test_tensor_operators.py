# Paddle's tensor operators on xpu against cpu, values and gradients, and that none of them fell back.
from __future__ import annotations

from collections.abc import Callable
from types import ModuleType
from typing import Any

import numpy as np
import pytest

Operator = Callable[[ModuleType, Any], Any]

# name: (shape, function of paddle and a tensor; whatever else it needs it makes on the same device)
DIFFERENTIABLE: dict[str, tuple[tuple[int, ...], Operator]] = {
    "add_bias": ((4, 5, 6), lambda p, x: x + p.linspace(0, 1, 6)),
    "multiply_channels": ((2, 3, 4, 4), lambda p, x: x * x.mean([0, 2, 3], keepdim=True)),
    "divide": ((4, 5), lambda p, x: x / (x.abs() + 1.0).sum(0)),
    "divide_scalar": ((4, 5), lambda p, x: (x / 3.0) * (x.astype("float64") / 7.0).astype("float32")),
    "subtract_scalar": ((4, 5), lambda p, x: 1.0 - x * 2.0 - 3.0),
    "maximum": ((4, 5), lambda p, x: p.maximum(x, p.zeros([5]) + 0.1)),
    "pow": ((4, 5), lambda p, x: x**2 + (x.abs() + 0.1) ** 0.5 + p.pow(x.abs() + 1.0, 1.7)),
    "power_of_tensor": ((4, 5), lambda p, x: p.pow(x.abs() + 0.5, x)),
    "add_n": ((4, 5), lambda p, x: p.add_n([x, x * 2.0, x * x, x])),
    "clip": ((4, 50), lambda p, x: p.clip(x, -0.5, 0.7)),
    "activations": (
        (4, 50),
        lambda p, x: sum(
            getattr(p.nn.functional, name)(x)
            for name in (
                "relu", "relu6", "gelu", "silu", "sigmoid", "tanh", "hardswish", "hardsigmoid", "elu", "selu", "softplus",
                "softsign", "mish", "log_sigmoid", "leaky_relu", "swish", "hardtanh",
            )
        ),
    ),
    "mathematics": (
        (4, 50),
        lambda p, x: sum(
            getattr(p, name)(x.abs() * 0.3 + 0.1)
            for name in (
                "exp", "log", "log2", "log10", "log1p", "expm1", "sqrt", "rsqrt", "square", "sin", "cos", "tan", "asin",
                "acos", "atan", "sinh", "cosh", "erf", "reciprocal", "abs",
            )
        ),
    ),
    "transpose": ((3, 4, 5), lambda p, x: x.transpose([2, 0, 1]) * p.arange(4, dtype="float32")),
    "heads": ((2, 8, 12), lambda p, x: x.reshape([2, 8, 3, 4]).transpose([0, 2, 1, 3]).flatten(2) * 2.0),
    "concat": ((3, 4), lambda p, x: p.concat([x, x * 2.0, x[:, :1]], axis=1)),
    "split": ((3, 12), lambda p, x: sum((i + 1.0) * t for i, t in enumerate(p.split(x, 3, axis=1)))),
    "split_sections": ((3, 12), lambda p, x: p.split(x, [2, 4, -1], axis=1)[1] * 2.0),
    "stack": ((3, 4), lambda p, x: p.stack([x, x * x], axis=1)),
    "unbind": ((3, 4), lambda p, x: p.unbind(x, 0)[1] * p.unbind(x, 0)[2]),
    "slice": ((6, 7, 8), lambda p, x: x[1:5, :, 3] * 2.0),
    "strided_slice": ((6, 7, 8), lambda p, x: x[::2, 6:0:-2] * 2.0),
    "squeeze": ((3, 1, 4), lambda p, x: x.squeeze(1).unsqueeze(0) * 2.0),
    "expand": ((3, 1, 4), lambda p, x: x.expand([2, 3, 5, 4]) * 2.0),
    "expand_as": ((1, 4), lambda p, x: p.expand_as(x, p.zeros([3, 4])) * 2.0),
    "tile": ((3, 4), lambda p, x: p.tile(x, [2, 3]) * 2.0),
    "pad": ((2, 3, 4, 5), lambda p, x: p.nn.functional.pad(x, [1, 2, 3, 1], value=0.5)),
    "pad_reflect": ((2, 3, 4, 5), lambda p, x: p.nn.functional.pad(x, [1, 2, 3, 1], mode="reflect")),
    "gather": ((7, 4), lambda p, x: p.gather(x, p.to_tensor([1, 1, 5]))),
    "gather_nd": ((7, 4), lambda p, x: p.gather_nd(x, p.to_tensor([[1, 2], [1, 2], [6, 0]]))),
    "index_select": ((7, 4), lambda p, x: p.index_select(x, p.to_tensor([3, 0]), axis=1)),
    "scatter": ((7, 4), lambda p, x: p.scatter(x, p.to_tensor([3, 0]), x[:2] * 2.0)),
    "take_along_axis": ((3, 4), lambda p, x: p.take_along_axis(x, p.to_tensor([[0, 3], [1, 1], [2, 0]]), 1)),
    "where": ((5, 6), lambda p, x: p.where(x > 0.0, x * 2.0, x * 3.0)),
    "masked_fill": ((5, 6), lambda p, x: p.masked_fill(x, x > 0.0, 3.0)),
    "flip_roll": ((5, 6), lambda p, x: p.roll(p.flip(x, [1]), 2, 0)),
    "cumsum": ((5, 6), lambda p, x: p.cumsum(x, axis=1)),
    "tril": ((5, 6), lambda p, x: p.tril(x) + 2.0 * p.triu(x, 1)),
    "cast": ((5, 6), lambda p, x: x.astype("bfloat16").astype("float32")),
    "dropout_in_test": ((5, 6), lambda p, x: p.nn.functional.dropout(x, 0.4, training=False)),
}  # fmt: skip


def set_items(p: ModuleType, x: Any) -> Any:
    y = x.clone()
    y[1:3, ::2] = 7.0
    y[0] = x[1] * 2.0
    return y


PLAIN: dict[str, Operator] = {
    "compare": lambda p, x: (
        (x > 0.0).astype("int32") + (x <= p.ones([6])).astype("int32") + (x == x).astype("int32")
    ),
    "logic": lambda p, x: p.logical_and(x > 0.0, p.logical_not(x > 0.5)),
    "bits": lambda p, x: (p.arange(6) & p.full([6], 3, "int64")) | (p.arange(6) ^ p.ones([6], "int64")),
    "rounding": lambda p, x: p.floor(x * 9) + p.ceil(x * 9) + p.round(x * 9) + p.trunc(x * 9) + p.sign(x),
    "integers": lambda p, x: (p.arange(1, 7) * 7) // 2 + (p.arange(1, 7) * 7) % 4 - p.arange(6),
    "finite": lambda p, x: p.isfinite(x / 0.0) | p.isnan(x) | p.isinf(x),
    "full": lambda p, x: p.full([3, 4], 2.5) + p.zeros([4]) + p.ones_like(x)[:3, :4],
    "eye": lambda p, x: p.eye(4, 6) + p.diag(p.ones([6]))[:4],
    "linspace": lambda p, x: p.linspace(-1, 5, 13),
    "one_hot": lambda p, x: p.nn.functional.one_hot(p.to_tensor([0, 5, 2]), 7),
    "set_item": set_items,
    "casts": lambda p, x: (x * 10).astype("int64").astype("float16").astype("bool"),
    "assign": lambda p, x: p.assign(x.T.clone()),
}


def on(
    p: ModuleType, device: str, shape: tuple[int, ...], function: Operator, gradient: bool
) -> list[np.ndarray]:
    p.set_device(device)
    x = p.to_tensor(
        np.random.default_rng(0).uniform(-1, 1, shape).astype("float32"), stop_gradient=not gradient
    )
    out = function(p, x)
    if not gradient:
        return [out.numpy()]
    weight = np.random.default_rng(1).uniform(-1, 1, out.shape).astype("float32")
    (out * p.to_tensor(weight)).sum().backward()
    return [out.numpy(), x.grad.numpy()]


def compare(p: ModuleType, shape: tuple[int, ...], function: Operator, gradient: bool) -> None:
    import openxpu.paddle

    on(p, "xpu", shape, function, gradient)
    before = dict(openxpu.paddle.fallbacks())
    got = on(p, "xpu", shape, function, gradient)
    after = openxpu.paddle.fallbacks()
    fell = {
        name: count - before.get(name, 0) for name, count in after.items() if count != before.get(name, 0)
    }
    for ours, theirs in zip(got, on(p, "cpu", shape, function, gradient), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=2e-5, atol=2e-5)
    assert not fell


@pytest.mark.parametrize("name", DIFFERENTIABLE)
def test_values_and_gradients(paddle_xpu: ModuleType, name: str) -> None:
    shape, function = DIFFERENTIABLE[name]
    compare(paddle_xpu, shape, function, True)


@pytest.mark.parametrize("name", PLAIN)
def test_values(paddle_xpu: ModuleType, name: str) -> None:
    compare(paddle_xpu, (5, 6), PLAIN[name], False)


def test_random_follows_the_seed(paddle_xpu: ModuleType) -> None:
    p = paddle_xpu

    def draw() -> list[np.ndarray]:
        p.seed(5)
        x = p.ones([50, 60])
        return [
            p.rand([40]).numpy(), p.randn([40]).numpy(), p.randint(0, 9, [40]).numpy(), p.randperm(40).numpy(),
            p.nn.functional.dropout(x, 0.5).numpy(), p.bernoulli(x * 0.5).numpy(),
        ]  # fmt: skip

    first, second = draw(), draw()
    for a, b in zip(first, second, strict=True):
        np.testing.assert_array_equal(a, b)
    assert not np.array_equal(p.rand([40]).numpy(), p.rand([40]).numpy())
    assert abs((first[4] != 0).mean() - 0.5) < 0.05


def test_dropout_gradient_is_its_mask(paddle_xpu: ModuleType) -> None:
    p = paddle_xpu
    x = p.ones([64, 64])
    x.stop_gradient = False
    y = p.nn.functional.dropout(x, 0.25)
    y.sum().backward()
    np.testing.assert_allclose(x.grad.numpy(), y.numpy(), rtol=1e-6)
