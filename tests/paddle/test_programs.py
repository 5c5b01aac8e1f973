# Programs instead of eager calls: paddle.jit.to_static in training, jit.save and jit.load.

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import paddle
import pytest
from compared import fallen, on_both, set_weights


class Classifier(paddle.nn.Layer):
    def __init__(self) -> None:
        super().__init__()
        self.convolution = paddle.nn.Conv2D(1, 4, 3, padding=1)
        self.norm = paddle.nn.BatchNorm2D(4)
        self.linear = paddle.nn.Linear(64, 5)
        for layer in (self.convolution, self.linear):
            set_weights(layer, scale=0.2)

    def forward(self, x: paddle.Tensor, twice: bool = False) -> paddle.Tensor:
        x = paddle.nn.functional.relu(self.norm(self.convolution(x)))
        x = paddle.nn.functional.max_pool2d(x, 2)
        if twice:  # a branch of Python
            x = x + x
        x = self.linear(x.flatten(1))
        if x.mean() > 100.0:  # a branch on a value of the card
            x = x * 0.0
        return x


def batch(seed: int = 0, size: int = 6) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    return rng.normal(0, 1, (size, 1, 8, 8)).astype(np.float32), rng.integers(0, 5, size)


def train(full_graph: bool | None) -> list[float]:
    model = Classifier()
    if full_graph is not None:
        model = paddle.jit.to_static(model, full_graph=full_graph)
    optimizer = paddle.optimizer.Adam(0.01, parameters=model.parameters())
    losses = []
    for step in range(5):
        x, y = batch(step % 2)
        loss = paddle.nn.functional.cross_entropy(model(paddle.to_tensor(x)), paddle.to_tensor(y))
        loss.backward()
        optimizer.step()
        optimizer.clear_grad()
        losses.append(loss.item())
    return losses


@pytest.mark.parametrize("full_graph", [True, False], ids=["whole graph", "with breaks"])
def test_training_equals_eager_and_cpu(full_graph: bool) -> None:
    card, cpu = on_both(lambda: train(full_graph))
    np.testing.assert_allclose(card, cpu, rtol=1e-4)
    np.testing.assert_allclose(card, train(None), rtol=1e-5)
    assert card[-1] < card[0]


def test_training_runs_natively() -> None:
    assert fallen(lambda: train(True)) == {}


def test_other_batch_sizes_and_arguments() -> None:
    model = Classifier()
    model.eval()
    static = paddle.jit.to_static(model, full_graph=True)
    for size in (1, 6, 3):
        x = paddle.to_tensor(batch(0, size)[0])
        np.testing.assert_allclose(static(x).numpy(), model.forward(x).numpy(), rtol=1e-5, atol=1e-6)
    x = paddle.to_tensor(batch()[0])
    assert not np.allclose(static(x, True).numpy(), static(x).numpy())


@pytest.mark.parametrize("saved_on", ["xpu", "cpu"])
def test_saved_programs_give_the_same(saved_on: str, tmp_path: Path) -> None:
    paddle.set_device(saved_on)
    model = Classifier()
    model(paddle.to_tensor(batch()[0]))  # running statistics
    model.eval()
    x = batch(1)[0]
    expected = model(paddle.to_tensor(x)).numpy()
    spec = [paddle.static.InputSpec([None, 1, 8, 8], "float32", "x")]
    path = str(tmp_path / "model")
    paddle.jit.save(model, path, input_spec=spec)

    def load_and_run() -> Any:
        loaded = paddle.jit.load(path)
        loaded.eval()
        out = loaded(paddle.to_tensor(x))
        assert out.place.is_custom_place() == (paddle.get_device() != "cpu")
        return out.numpy()

    for got in on_both(load_and_run):
        np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-6)
    assert fallen(load_and_run) == {}


def test_a_loaded_program_can_be_trained_further(tmp_path: Path) -> None:
    path = str(tmp_path / "model")
    spec = [paddle.static.InputSpec([None, 1, 8, 8], "float32", "x")]
    paddle.jit.save(paddle.jit.to_static(Classifier(), input_spec=spec, full_graph=True), path)

    def tune() -> list[float]:
        loaded = paddle.jit.load(path)
        loaded.train()
        optimizer = paddle.optimizer.SGD(0.1, parameters=loaded.parameters())
        losses = []
        for _ in range(4):
            x, y = batch()
            loss = paddle.nn.functional.cross_entropy(loaded(paddle.to_tensor(x)), paddle.to_tensor(y))
            loss.backward()
            optimizer.step()
            optimizer.clear_grad()
            losses.append(loss.item())
        return losses

    card, cpu = on_both(tune)
    np.testing.assert_allclose(card, cpu, rtol=1e-4)
    assert card[-1] < card[0]


class Cut(paddle.nn.Layer):
    """Slices whose ends and steps come from the extents of an input."""

    def forward(self, x: paddle.Tensor) -> tuple[paddle.Tensor, ...]:
        n = paddle.shape(x)[0]
        half = n // 2
        return x[:half], x[half:], x[-half:, 1], x[half], x[n:half:-2], x[n:], x[half : half - n]


@pytest.mark.parametrize("rows", [5, 4, 1])
def test_slices_whose_ends_are_computed(rows: int) -> None:
    x = np.arange(rows * 3, dtype=np.float32).reshape(rows, 3)
    spec = [paddle.static.InputSpec([None, 3])]

    def cut() -> list[np.ndarray]:
        model = paddle.jit.to_static(Cut(), input_spec=spec, full_graph=True)
        return [t.numpy() for t in model(paddle.to_tensor(x))]

    card, cpu = on_both(cut)
    for a, b in zip(card, cpu, strict=True):
        np.testing.assert_array_equal(a, b)


class Gathered(paddle.nn.Layer):
    """Gathers along an axis that is not the first: in a program the axis is a tensor, which shape inference does not read."""

    def __init__(self, axis: int) -> None:
        super().__init__()
        self.axis = axis

    def forward(self, x: paddle.Tensor, index: paddle.Tensor) -> paddle.Tensor:
        return paddle.gather(x, index, self.axis) * 2.0


@pytest.mark.parametrize("axis", [0, 1, 2, -1])
def test_a_saved_program_gathers_along_any_axis(axis: int, tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    x, index = rng.normal(0, 1, (3, 4, 5)).astype(np.float32), np.array([2, 0, 1, 1, 2, 0, 2], np.int64)
    paddle.set_device("xpu")
    try:
        specs = [paddle.static.InputSpec([None, 4, 5]), paddle.static.InputSpec([7], "int64")]
        paddle.jit.save(Gathered(axis), str(tmp_path / "model"), input_spec=specs)
        found = paddle.jit.load(str(tmp_path / "model"))(paddle.to_tensor(x), paddle.to_tensor(index)).numpy()
    finally:
        paddle.set_device("cpu")
    np.testing.assert_array_equal(found, np.take(x, index, axis) * 2)
