# Quantization that only programs have, and weights in few bits as a model uses them.

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import paddle
import pytest
from compared import fallen, on_both
from paddle.nn.quant import weight_dequantize, weight_only_linear, weight_quantize

ops = paddle._C_ops
X = np.random.default_rng(0).normal(0, 1, (4, 6, 8)).astype(np.float32)
ONE = {name: np.array([value], np.float32) for name, value in (("s", 1.5), ("z", 0), ("a", 2), ("t", 3))}
SIX = np.random.default_rng(1).uniform(1, 2, 6).astype(np.float32)


def program(call: Callable[..., Any], *inputs: np.ndarray) -> list[np.ndarray]:
    """What `call` gives in a program on the current device."""
    paddle.enable_static()
    built = paddle.static.Program()
    with paddle.static.program_guard(built):
        names = [f"x{i}" for i in range(len(inputs))]
        data = [
            paddle.static.data(name, x.shape, str(x.dtype)) for name, x in zip(names, inputs, strict=True)
        ]
        outs = call(*data)
    place = paddle.CPUPlace() if paddle.get_device() == "cpu" else paddle.CustomPlace("xpu", 0)
    outs = [out for out in outs if isinstance(out, paddle.pir.Value) and out.initialized()]
    results = paddle.static.Executor(place).run(built, dict(zip(names, inputs, strict=True)), outs)
    paddle.disable_static()
    return [np.asarray(r) for r in results]


def quantize(test: bool, axis: int, observe: bool = False) -> Callable[..., Any]:
    def call(x: Any, s: Any, z: Any, a: Any, t: Any) -> Any:
        out = ops.quantize_linear(x, s, z, a, t, axis, 8, -128, 127, 0, test, observe)
        return [out[0]] if test else [out[0], out[3]] if axis >= 0 else list(out)

    return call


def dequantize(axis: int) -> Callable[..., Any]:
    return lambda x, s, z, a, t: [ops.dequantize_linear(x, s, z, a, t, axis, 8, -128, 127, 0, True, False)[0]]


def scales(test: bool) -> Callable[..., Any]:
    def call(x: Any, a: Any, t: Any) -> Any:
        out = ops.moving_average_abs_max_scale(x, a, t, 0.9, test)
        return [out[0]] if test else list(out)

    return call


CASES = {
    "quantize_linear": (quantize(True, -1), X, *ONE.values()),
    "quantize_linear in training": (quantize(False, -1), X, *ONE.values()),
    "quantize_linear that only looks": (quantize(False, -1, True), X, *ONE.values()),
    "quantize_linear by channel": (quantize(True, 1), X, SIX, SIX * 0, ONE["a"], ONE["t"]),
    "dequantize_linear": (dequantize(-1), X * 30, *ONE.values()),
    "dequantize_linear by channel": (dequantize(1), X * 30, SIX, SIX * 0, ONE["a"], ONE["t"]),
    "moving_average_abs_max_scale": (scales(False), X, ONE["a"], ONE["t"]),
    "moving_average_abs_max_scale at rest": (scales(True), X, ONE["a"], ONE["t"]),
}


@pytest.mark.parametrize("name", CASES)
def test_in_programs(name: str) -> None:
    call, *inputs = CASES[name]
    card, cpu = on_both(lambda: program(call, *inputs))
    for ours, theirs in zip(card, cpu, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-6)
    assert fallen(lambda: program(call, *inputs)) == {}


@pytest.mark.parametrize("algo", ["weight_only_int8", "weight_only_int4"])
def test_weights_in_few_bits(algo: str) -> None:
    """A layer quantizes its weights, multiplies with them and sends a gradient back, on the card."""
    rng = np.random.default_rng(0)
    weight = paddle.to_tensor(rng.normal(0, 1, (64, 32)).astype(np.float32))
    x = paddle.to_tensor(rng.normal(0, 1, (3, 64)).astype(np.float32), stop_gradient=False)

    def step() -> None:
        q, scale = weight_quantize(weight, algo)
        back = weight_dequantize(q, scale, algo)
        step_size = np.abs(weight.numpy()).max(0) / (127 if algo.endswith("8") else 7)
        assert (np.abs(back.numpy() - weight.numpy()) <= step_size * 0.5001).all()
        out = weight_only_linear(x, q, None, scale, algo.removeprefix("weight_only_"))
        np.testing.assert_allclose(out.numpy(), x.numpy() @ back.numpy(), rtol=1e-4, atol=1e-4)
        out.sum().backward()
        np.testing.assert_allclose(x.grad.numpy(), np.tile(back.numpy().sum(1), (3, 1)), rtol=1e-4, atol=1e-4)
        x.clear_grad()

    assert fallen(step) == {}


def test_a_graphics_processors_order_is_refused() -> None:
    with pytest.raises(Exception, match="order in which that graphics processor keeps quantized weights"):
        weight_quantize(paddle.ones([64, 32]), "weight_only_int8", 80)


def rounded(x: np.ndarray, scale: float, even: bool) -> np.ndarray:
    """Into [-127, 127], in steps of 1 / (127 * scale)."""
    v = x.astype(np.float64) * scale * 127
    v = np.rint(v) if even else np.sign(v) * np.floor(np.abs(v) + 0.5)
    return np.clip(v, -127, 127)


def close(got: Any, want: np.ndarray) -> None:
    """Integers that differ by one step at most where the last bit of the result decides."""
    assert got.dtype == paddle.int8
    off = np.abs(got.numpy().astype(int) - want)
    assert off.max() <= 1
    assert (off != 0).mean() < 0.01


@pytest.mark.parametrize("even", [True, False])
def test_norms_that_end_in_8_bits(even: bool) -> None:
    rng = np.random.default_rng(0)
    x, other, weight, shift = (rng.standard_normal(s).astype("f4") for s in ((6, 33), (6, 33), 33, 33))
    tensors = [paddle.to_tensor(v) for v in (x, weight, shift)]
    functional = paddle.incubate.nn.functional
    rounding = {
        "quant_scale": 0.3,
        "quant_round_type": 0 if even else 1,
        "quant_max_bound": 127.0,
        "quant_min_bound": -127.0,
    }
    total = x + other
    rms = total / np.sqrt((total**2).mean(1, keepdims=True) + 1e-5) * weight + shift
    out = functional.fused_rms_norm(*tensors, 1e-5, 1, None, paddle.to_tensor(other), **rounding)
    close(out[0], rounded(rms, 0.3, even))
    np.testing.assert_allclose(out[1].numpy(), total, rtol=1e-6)
    normal = (total - total.mean(1, keepdims=True)) / np.sqrt(
        total.var(1, keepdims=True) + 1e-5
    ) * weight + shift
    out = functional.fused_layer_norm(*tensors, 1e-5, 1.0, 1, None, paddle.to_tensor(other), **rounding)
    close(out[0], rounded(normal, 0.3, even))


@pytest.mark.parametrize("name", ["gelu", "swiglu"])
def test_activation_between_integers(name: str) -> None:
    """fused_bias_act from the sums of an 8-bit product to the next one's operand."""
    from scipy import special

    rng = np.random.default_rng(0)
    sums = rng.integers(-3000, 3000, (5, 16)).astype("i4")
    factors, bias = rng.uniform(5e-4, 1e-3, 16).astype("f4"), rng.standard_normal(16).astype("f4")
    width = 8 if name == "swiglu" else 16
    shift, smooth = rng.standard_normal(width).astype("f4"), rng.uniform(0.5, 1, width).astype("f4")
    x = sums * factors.astype("f8") + bias
    if name == "gelu":
        y = 0.5 * x * (1 + special.erf(x / np.sqrt(2)))
    else:
        y = x[:, :8] * special.expit(x[:, :8]) * x[:, 8:]
    act = paddle.incubate.nn.functional.fused_bias_act
    given = [paddle.to_tensor(v) for v in (sums, bias, factors)]
    out = act(*given, act_method=name, compute_dtype="fp32")
    np.testing.assert_allclose(out.numpy(), y, rtol=1e-5, atol=1e-6)
    out = act(
        *given, paddle.to_tensor(shift), paddle.to_tensor(smooth), act_method=name, compute_dtype="fp32", quant_scale=0.4,
        quant_round_type=0, quant_max_bound=127.0, quant_min_bound=-127.0,
    )  # fmt: skip
    close(out, rounded((y + shift) * smooth, 0.4, True))
