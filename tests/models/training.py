"""Trains one model on a device from given weights on given data; the tests compare the losses."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import paddle

Weights = dict[str, np.ndarray]
Batch = tuple[np.ndarray, np.ndarray]


@contextmanager
def device(name: str) -> Iterator[None]:
    """Makes `name` Paddle's current device and puts the CPU back afterwards."""
    paddle.set_device(name)
    try:
        yield
    finally:
        paddle.set_device("cpu")


def initial_weights(make_model: Callable[[], paddle.nn.Layer], seed: int = 3) -> Weights:
    """Weights and buffers of a fresh model, made once on the CPU: every device starts from the same."""
    with device("cpu"):
        paddle.seed(seed)
        return {name: value.numpy().copy() for name, value in make_model().state_dict().items()}


def train(
    where: str,
    make_model: Callable[[], paddle.nn.Layer],
    weights: Weights,
    batches: Iterable[Batch],
    make_optimizer: Callable[[list[Any]], paddle.optimizer.Optimizer],
) -> tuple[list[float], paddle.nn.Layer]:
    """One optimizer step for each batch of (inputs, class labels). Returns the losses and the model."""
    with device(where):
        model = make_model()
        model.set_state_dict(weights)
        model.train()
        optimizer = make_optimizer(model.parameters())
        losses = []
        for inputs, labels in batches:
            loss = paddle.nn.functional.cross_entropy(
                model(paddle.to_tensor(inputs)), paddle.to_tensor(labels)
            )
            loss.backward()
            optimizer.step()
            optimizer.clear_grad()
            losses.append(float(loss.item()))
        return losses, model


def pictures(steps: int, batch: int, size: int, classes: int = 10, seed: int = 5) -> list[Batch]:
    """Noisy pictures of one smooth pattern per class: [batch, 3, size, size] f32 and [batch] i64."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:size, 0:size] / size
    waves = rng.uniform(1, 5, (classes, 3, 2))
    patterns = np.stack([[np.sin(6.3 * (a * y + b * x)) for a, b in wave] for wave in waves])
    made = []
    for _ in range(steps):
        labels = rng.integers(0, classes, batch)
        noise = rng.normal(0, 0.5, (batch, 3, size, size))
        made.append(((patterns[labels] + noise).astype(np.float32), labels.astype(np.int64)))
    return made


def sequences(
    steps: int, batch: int, length: int, width: int, classes: int = 5, seed: int = 5
) -> list[Batch]:
    """Noisy walks whose mean direction tells the class: [batch, length, width] f32 and [batch] i64."""
    rng = np.random.default_rng(seed)
    directions = rng.normal(0, 1, (classes, width))
    made = []
    for _ in range(steps):
        labels = rng.integers(0, classes, batch)
        noise = rng.normal(0, 1, (batch, length, width))
        made.append(((0.4 * directions[labels][:, None] + noise).astype(np.float32), labels.astype(np.int64)))
    return made


def assert_same_losses(card: list[float], cpu: list[float], relative: float = 1e-4) -> None:
    """The issue's measure: equal within `relative`, step by step, and the model did learn something."""
    np.testing.assert_allclose(card, cpu, rtol=relative, atol=0)
    assert np.mean(cpu[-3:]) < 0.95 * np.mean(cpu[:3]), (
        f"The model did not learn, the test shows nothing: {cpu}"
    )
