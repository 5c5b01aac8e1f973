"""A two-layer LSTM classifier: the same losses as on Paddle's CPU device; what falls back is counted."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import training


def classifier(paddle: ModuleType) -> Any:
    class Classifier(paddle.nn.Layer):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.lstm = paddle.nn.LSTM(12, 24, num_layers=2)
            self.head = paddle.nn.Linear(24, 5)

        def forward(self, x: Any) -> Any:
            states, _ = self.lstm(x)
            return self.head(states[:, -1])

    return Classifier


def test_twenty_steps_like_the_cpu(paddle_xpu: ModuleType) -> None:
    import openxpu.paddle

    batches = training.sequences(20, 16, 10, 12)
    make = classifier(paddle_xpu)
    weights = training.initial_weights(make)

    def adam(parameters: list[Any]) -> Any:
        return paddle_xpu.optimizer.Adam(3e-3, parameters=parameters)

    cpu, _ = training.train("cpu", make, weights, batches, adam)
    fallbacks, native = dict(openxpu.paddle.fallbacks()), dict(openxpu.paddle.native_calls())
    card, _ = training.train("xpu", make, weights, batches, adam)
    training.assert_same_losses(card, cpu)
    for kernel in ("rnn", "rnn_grad"):
        fell = openxpu.paddle.fallbacks().get(kernel, 0) - fallbacks.get(kernel, 0)
        ran = openxpu.paddle.native_calls().get(kernel, 0) - native.get(kernel, 0)
        assert fell + ran == 20, (
            f"{kernel} ran 20 times, {ran} were counted as native and {fell} as fallbacks"
        )
