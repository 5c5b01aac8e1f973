# The fused transformer layers of paddle.incubate.nn against the plain formulas with the same weights, on the card.
from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import paddle
import pytest
from compared import fallen, set_weights

F = paddle.nn.functional
incubate = paddle.incubate.nn


def input_of(*shape: int) -> Any:
    return paddle.to_tensor(
        np.random.default_rng(0).normal(0, 1, shape).astype(np.float32), stop_gradient=False
    )


def same(first: Callable[[Any], Any], second: Callable[[Any], Any], layer: Any, x: Any) -> None:
    """Values, the gradient of x and those of the layer's weights."""
    results = []
    for function in (first, second):
        out = function(x)
        (out**2).sum().backward()
        leaves = [x, *(p for p in layer.parameters() if p.grad is not None)]
        results.append([out.numpy(), *(leaf.grad.numpy() for leaf in leaves)])
        x.clear_grad()
        layer.clear_gradients()
    assert len(results[0]) == len(results[1])
    for ours, theirs in zip(*results, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("before", [False, True])
def test_feedforward(before: bool) -> None:
    layer = incubate.FusedFeedForward(16, 32, dropout_rate=0.0, activation="gelu", normalize_before=before)
    set_weights(layer)

    def plain(x: Any) -> Any:
        names = ("_ln1_scale", "_ln1_bias") if before else ("_ln2_scale", "_ln2_bias")
        scale, bias = (getattr(layer, name) for name in names)
        inside = F.layer_norm(x, [16], scale, bias) if before else x
        hidden = F.gelu(F.linear(inside, layer._linear1_weight, layer._linear1_bias))
        out = x + F.linear(hidden, layer._linear2_weight, layer._linear2_bias)
        return out if before else F.layer_norm(out, [16], scale, bias)

    same(layer, plain, layer, input_of(2, 6, 16))


@pytest.mark.parametrize("before", [False, True])
def test_attention(before: bool) -> None:
    layer = incubate.FusedMultiHeadAttention(
        16, 4, dropout_rate=0.0, attn_dropout_rate=0.0, normalize_before=before
    )
    set_weights(layer)
    mask = paddle.to_tensor(np.triu(np.full((6, 6), -1e4, np.float32), 1).reshape(1, 1, 6, 6))

    def plain(x: Any) -> Any:
        scale, bias = (layer.pre_ln_scale, layer.pre_ln_bias) if before else (layer.ln_scale, layer.ln_bias)
        inside = F.layer_norm(x, [16], scale, bias) if before else x
        qkv = paddle.einsum("bsd,khed->bskhe", inside, layer.qkv_weight) + layer.qkv_bias
        q, k, v = (qkv[:, :, i].transpose([0, 2, 1, 3]) for i in range(3))
        weights = F.softmax(paddle.matmul(q * 0.5, k, transpose_y=True) + mask)
        merged = paddle.matmul(weights, v).transpose([0, 2, 1, 3]).reshape([2, 6, 16])
        out = x + F.linear(merged, layer.linear_weight, layer.linear_bias)
        return out if before else F.layer_norm(out, [16], scale, bias)

    same(lambda x: layer(x, attn_mask=mask), plain, layer, input_of(2, 6, 16))


def test_training_stays_on_the_card() -> None:
    layer = incubate.FusedTransformerEncoderLayer(16, 4, 32, dropout_rate=0.1)

    def step() -> None:
        layer(input_of(2, 6, 16)).sum().backward()

    assert fallen(step) == {}
    assert all(
        p.grad is not None for n, p in layer.named_parameters() if "pre_ln" not in n and "_ln1" not in n
    )


def test_product_with_its_activation() -> None:
    x, weight, bias = input_of(5, 16), input_of(16, 8), input_of(8)
    for name, function in (
        ("relu", F.relu),
        ("gelu", lambda v: F.gelu(v, approximate=True)),
        (None, lambda v: v),
    ):
        out = incubate.functional.fused_linear_activation(x, weight, bias, activation=name)
        np.testing.assert_allclose(out.numpy(), function(x @ weight + bias).numpy(), rtol=1e-5, atol=1e-6)


def test_gradient_of_a_norm_of_rows() -> None:
    """fused_rms_norm_ext, whose gradient is that of rms_norm."""
    x, scale = input_of(3, 4, 33), input_of(33)
    grads = []
    for out in (
        paddle._C_ops.fused_rms_norm_ext(x, scale, 1e-5)[0],
        paddle._C_ops.rms_norm(x, scale, [33], 1e-5)[0],
    ):
        (out**2).sum().backward()
        grads.append([x.grad.numpy(), scale.grad.numpy()])
        x.clear_grad()
        scale.clear_grad()
    for ours, theirs in zip(*grads, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-6)


def test_dropout_and_sum() -> None:
    """fused_dropout_add keeps what its seeds say, and its gradient the same."""
    x, y = input_of(300, 40), input_of(300, 40)
    out, _seeds = paddle._C_ops.fused_dropout_add(x, y, None, 0.25, False, "upscale_in_train", 0, False)
    kept = (out - y).numpy() / x.numpy()
    assert abs((kept < 0.5).mean() - 0.25) < 0.02
    np.testing.assert_allclose(kept[kept > 0.5], 1 / 0.75, rtol=1e-2)
    out.sum().backward()
    np.testing.assert_allclose(x.grad.numpy(), np.where(kept > 0.5, 1 / 0.75, 0), rtol=1e-6)
    assert (y.grad.numpy() == 1).all()
    rest = paddle._C_ops.fused_dropout_add(x, y, None, 0.25, True, "downscale_in_infer", 0, False)[0]
    np.testing.assert_allclose(rest.numpy(), (x * 0.75 + y).numpy(), rtol=1e-5)


def test_layers_in_programs() -> None:
    """A layer that was turned into a program gives what it gives by itself."""
    layer = incubate.FusedTransformerEncoderLayer(16, 4, 32, dropout_rate=0.0)
    set_weights(layer)
    layer.eval()
    x = input_of(2, 6, 16)
    want = layer(x).numpy()
    program = paddle.jit.to_static(layer, full_graph=True)
    np.testing.assert_allclose(program(x).numpy(), want, rtol=1e-5, atol=1e-6)
    assert fallen(lambda: program(x)) == {}
