"""The work of models, beside what their publications say and what can be computed by hand."""

from __future__ import annotations

import numpy as np
import pytest

from openxpu import models
from openxpu.models import flops


def f32(*shape: int) -> np.ndarray:
    return np.zeros(shape, np.float32)


def test_resnet50_has_the_published_work() -> None:
    paddle = pytest.importorskip("paddle")
    found = flops.count(paddle.vision.models.resnet50(), [f32(1, 3, 224, 224)])
    # He 2015 says 3.8, with the stride in the first convolution of a block; in the second one it is 4.1.
    assert found.multiply_adds == pytest.approx(4.09e9, rel=0.01)
    assert found.parameters == pytest.approx(25.6e6, rel=0.01)
    small = flops.count(paddle.vision.models.mobilenet_v2(), [f32(1, 3, 224, 224)])
    assert small.multiply_adds == pytest.approx(300e6, rel=0.03)  # Sandler 2018
    assert small.by_operator["depthwise_conv2d"] > 0


def test_a_transformer_by_hand() -> None:
    model = models.find(["bert-mini"])[0]
    width, inner, layers, length, classes = 256, 1024, 4, 24, 5
    projections = layers * length * (4 * width * width + 2 * width * inner)
    attention = layers * 2 * length * length * width
    head = width * width + width * classes
    assert flops.of(model).multiply_adds == projections + attention + head


def test_recurrent_transposed_and_einsum_by_hand() -> None:
    paddle = pytest.importorskip("paddle")
    lstm = paddle.nn.LSTM(7, 5, 2, direction="bidirectional")
    per_step = 2 * 4 * 5 * (7 + 5) + 2 * 4 * 5 * (10 + 5)
    assert flops.count(lstm, [f32(3, 11, 7)]).multiply_adds == 3 * 11 * per_step
    up = paddle.nn.Conv2DTranspose(6, 4, 3, 2)
    assert flops.count(up, [f32(2, 6, 5, 5)]).multiply_adds == 2 * 6 * 25 * 4 * 9
    grouped = paddle.nn.Conv1D(8, 12, 3, padding=1, groups=4)
    assert flops.count(grouped, [f32(2, 8, 10)]).multiply_adds == 2 * 12 * 10 * 2 * 3

    class Einsum(paddle.nn.Layer):  # type: ignore[misc]
        def forward(self, x: object, y: object) -> object:
            return paddle.einsum("bhnd,bhmd->bhnm", x, y)

    assert flops.count(Einsum(), [f32(2, 3, 4, 5), f32(2, 3, 6, 5)]).multiply_adds == 2 * 3 * 4 * 6 * 5


def test_a_loop_that_values_decide_is_refused() -> None:
    paddle = pytest.importorskip("paddle")

    class Until(paddle.nn.Layer):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.linear = paddle.nn.Linear(4, 4)

        def forward(self, x: object) -> object:
            while paddle.mean(x) < 10:
                x = self.linear(x) + 20
            return x

    with pytest.raises(ValueError, match="loop whose length"):
        flops.count(Until(), [f32(1, 4)])
