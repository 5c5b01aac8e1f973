"""A transformer encoder: the same losses on the card as on Paddle's CPU device, and bf16 mixed precision."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import numpy as np
import pytest
import training


def encoder(paddle: ModuleType, width: int, heads: int, inner: int, layers: int, activation: str) -> Any:
    class Classifier(paddle.nn.Layer):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            super().__init__()
            layer = paddle.nn.TransformerEncoderLayer(width, heads, inner, dropout=0.0, activation=activation)
            self.encoder = paddle.nn.TransformerEncoder(layer, layers)
            self.head = paddle.nn.Linear(width, 5)

        def forward(self, x: Any) -> Any:
            return self.head(self.encoder(x).mean(axis=1))

    return Classifier


def adamw(paddle: ModuleType, rate: float) -> Any:
    def make(parameters: list[Any]) -> Any:
        clip = paddle.nn.ClipGradByGlobalNorm(1.0)
        return paddle.optimizer.AdamW(rate, parameters=parameters, weight_decay=0.01, grad_clip=clip)

    return make


@pytest.mark.parametrize(
    ("batch", "length", "sizes", "rate"),
    [
        pytest.param(8, 24, (48, 4, 96, 2, "gelu"), 1e-3, id="small"),
        pytest.param(8, 128, (512, 8, 2048, 6, "relu"), 1e-5, id="full", marks=pytest.mark.slow),
    ],
)
def test_twenty_steps_like_the_cpu(
    paddle_xpu: ModuleType, batch: int, length: int, sizes: tuple[Any, ...], rate: float
) -> None:
    import openxpu.paddle

    batches = training.sequences(20, batch, length, sizes[0])
    make = encoder(paddle_xpu, *sizes)
    weights = training.initial_weights(make)
    cpu, _ = training.train("cpu", make, weights, batches, adamw(paddle_xpu, rate))
    before = openxpu.paddle.fallbacks()
    card, _ = training.train("xpu", make, weights, batches, adamw(paddle_xpu, rate))
    training.assert_same_losses(card, cpu)
    assert openxpu.paddle.fallbacks() == before, "an operator of the transformer fell back to the CPU"


def test_bf16_mixed_precision_learns_like_f32(paddle_xpu: ModuleType) -> None:
    paddle = paddle_xpu
    batches = training.sequences(12, 8, 24, 48)
    make = encoder(paddle, 48, 4, 96, 2, "gelu")
    weights = training.initial_weights(make)
    reference, _ = training.train("xpu", make, weights, batches, adamw(paddle, 1e-3))
    losses = []
    with training.device("xpu"):
        model = make()
        model.set_state_dict(weights)
        optimizer = adamw(paddle, 1e-3)(model.parameters())
        for inputs, labels in batches:
            with paddle.amp.auto_cast(level="O1", dtype="bfloat16"):
                answers = model(paddle.to_tensor(inputs))
                loss = paddle.nn.functional.cross_entropy(answers, paddle.to_tensor(labels))
            loss.backward()
            optimizer.step()
            optimizer.clear_grad()
            losses.append(float(loss.astype("float32").item()))
    assert losses != reference, "bf16 gave exactly the f32 losses: it was not on"
    np.testing.assert_allclose(losses, reference, rtol=0.05)
