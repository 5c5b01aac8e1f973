"""What a certification does about models that are hard to compare: statistics of a random start, dropping, CPU programs that end."""

from __future__ import annotations

import json
import math
import weakref
from pathlib import Path
from typing import Any

import numpy as np
import paddle
import pytest

from openxpu.certify import stages
from openxpu.models import Model
from openxpu.models.registry import Batch, Data


class Grows(paddle.nn.Layer):
    """Values of a random start are so large that a sine of them is nothing but their rounding."""

    def __init__(self, normalised: bool = True) -> None:
        super().__init__()
        self.linear = paddle.nn.Linear(512, 64)
        self.norm = paddle.nn.BatchNorm1D(64) if normalised else paddle.nn.Identity()

    def forward(self, x: Any) -> Any:
        return paddle.sin(self.norm(self.linear(x) * 1e6))


def model_of(layer: Any) -> Model:
    def make(batch: int, seed: int) -> Batch:
        return {"x": np.random.default_rng(seed).normal(0, 1, (batch, 512)).astype(np.float32)}

    return Model("grows", "classification", "test", layer, Data(make, ("x",), lambda found, _: found.mean()))


def test_a_model_that_amplifies_rounding_gets_statistics_of_its_batch(
    tmp_path: Path, paddle_xpu: Any
) -> None:
    run = stages.Run(model_of(Grows), 8, 1, tmp_path)
    found = stages.forward(run)
    assert found["difference"] <= stages.FORWARD < found["unsettled_difference"]
    assert np.abs(run.weights["norm._mean"]).max() > 1e3
    run = stages.Run(model_of(lambda: Grows(normalised=False)), 8, 1, tmp_path)
    found = stages.forward(run)
    assert stages.FORWARD < found["difference"] <= stages.AMPLIFIED * found["moved_by_rounding"]


def test_what_rounding_does_not_explain_is_named(
    tmp_path: Path, paddle_xpu: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = paddle.nn.functional.linear

    def wrong(x: Any, **others: Any) -> Any:
        return original(x=x, **others) * (1.0 if x.place.is_cpu_place() else 1.01)

    monkeypatch.setattr(paddle.nn.functional, "linear", wrong)
    run = stages.Run(model_of(lambda: paddle.nn.Linear(512, 4)), 2, 1, tmp_path)
    with pytest.raises(stages.StageFailed, match=r"differ by 0\.0.* allowed"):
        stages.forward(run)


class Chooses(paddle.nn.Layer):
    """A sine of rounding, of a convolution whose normalisation a predictor folds into the filter."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm = paddle.nn.Conv2D(8, 8, 3, bias_attr=False), paddle.nn.BatchNorm2D(8)

    def forward(self, x: Any) -> Any:
        return paddle.sin(self.norm(self.conv(x.reshape([-1, 8, 8, 8]))) * 1e6)


def test_a_choice_that_follows_rounding_may_be_another_in_a_predictor(
    tmp_path: Path, paddle_xpu: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = stages.Run(model_of(Chooses), 2, 1, tmp_path)
    batch = run.data.make(2, 1)
    with stages.device("cpu"):
        run.weights = stages._kept(run, stages.built(run))
        weights = run.weights["norm._variance"]
        weights[:] = np.random.default_rng(1).uniform(0.5, 2.0, weights.shape)
    run.outputs = stages.eager(run, batch, "xpu")
    stages.export(run)
    found = stages.infer(run)
    assert stages.INFERENCE < found["difference"] <= stages.AMPLIFIED * found["moved_by_rounding"]
    served = stages._served
    monkeypatch.setattr(stages, "_served", lambda *given: [part + 0.5 for part in served(*given)])
    with pytest.raises(stages.StageFailed, match="without passes too"):
        stages.infer(run)


@pytest.mark.parametrize("affine", [True, False], ids=["with scale", "without"])
def test_programs_that_end_paddle_in_onednn_are_known(affine: bool, tmp_path: Path) -> None:
    attr = None if affine else False
    norm = paddle.nn.BatchNorm1D(8, weight_attr=attr, bias_attr=attr)
    norm.eval()
    paddle.jit.save(norm, str(tmp_path / "model"), input_spec=[paddle.static.InputSpec([-1, 8], "float32")])
    assert stages._ends_onednn(json.loads((tmp_path / "model.json").read_text())) is not affine


class Drops(paddle.nn.Layer):
    """Drops without a layer for it, as the blocks of EfficientNet and paddle.nn.MultiHeadAttention do."""

    def __init__(self) -> None:
        super().__init__()
        self.drop_connect_rate = 0.5
        self.layers = paddle.nn.Sequential(paddle.nn.Linear(512, 8), paddle.nn.Dropout(0.5))
        self.attention = paddle.nn.MultiHeadAttention(8, 2, dropout=0.5)

    def forward(self, x: Any) -> Any:
        x = self.attention(self.layers(x)[None])
        return paddle.nn.functional.dropout(x, self.drop_connect_rate, training=self.training)


def test_nothing_is_dropped(tmp_path: Path) -> None:
    run = stages.Run(model_of(Drops), 8, 1, tmp_path)
    layer = stages.built(run)
    batch = stages.tensors(run.data.make(8, 1))
    one, other = (stages.called(layer, run, batch).numpy() for _ in range(2))
    np.testing.assert_array_equal(one, other)
    assert (one != 0).all()


def test_large_weights_lie_in_files(tmp_path: Path) -> None:
    run = stages.Run(model_of(lambda: paddle.nn.Linear(512, 9000)), 2, 1, tmp_path)
    layer = stages.built(run)
    weights = stages._kept(run, layer)
    assert isinstance(weights["weight"], np.memmap)
    assert not isinstance(weights["bias"], np.memmap)
    run.weights = weights
    np.testing.assert_array_equal(stages.built(run).weight.numpy(), layer.weight.numpy())
    assert weights["weight"].any()


def test_what_was_trained_before_is_gone(tmp_path: Path) -> None:
    made: list[Any] = []

    def remembered() -> Any:
        layer = paddle.nn.Sequential(paddle.nn.Linear(512, 8), paddle.nn.ReLU(), paddle.nn.Linear(8, 4))
        made.append(weakref.ref(layer[0].weight))
        assert [m for m in made if m() is not None] == made[-1:]
        return layer

    run = stages.Run(model_of(remembered), 2, 1, tmp_path)
    for _ in range(2):
        stages.trained(run, "cpu")
    assert len(made) == 2


FALLING, FLAT, JUMPING = [2.0, 1.8, 1.81, 1.5], [2.0, 2.0, 1.99, 1.99], [2.0, 1.5, 1.7, 1.9]


@pytest.mark.parametrize(
    ("curves", "chosen"),
    [
        ({(1.0, 1): FALLING}, (1.0, 1)),
        ({(1.0, 1): FLAT, (4.0, 1): FALLING}, (4.0, 1)),
        ({(1.0, 1): FLAT, (4.0, 1): JUMPING}, (4.0, 1)),
        ({(1.0, 1): JUMPING, (0.25, 1): FALLING}, (0.25, 1)),
        ({(1.0, 1): JUMPING, (0.25, 2): FALLING}, (0.25, 2)),  # batch normalisations of two values
        ({(1.0, 1): JUMPING, (0.25, 2): JUMPING}, (1.0, 1)),
        ({(1.0, 1): [2.0, 3.0, math.nan, math.nan], (0.0625, 1): FALLING}, (0.0625, 1)),
        ({(1.0, 1): [-1.0, -1.01, -1.0, -1.2]}, (1.0, 1)),
    ],
)
def test_training_takes_the_rate_and_batch_that_learn_without_a_jump(
    curves: dict[tuple[float, int], list[float]],
    chosen: tuple[float, int],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    run = stages.Run(model_of(Grows), 2, 1, tmp_path)
    monkeypatch.setattr(stages, "trained", lambda run, where: (curves.get((run.rate, run.more), FLAT), 0.1))
    losses, _ = stages._learned(run)
    assert (run.rate, run.more) == chosen
    assert losses == curves[chosen]


def test_a_model_that_learns_at_no_rate_is_told_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    run = stages.Run(model_of(Grows), 2, 1, tmp_path)
    monkeypatch.setattr(stages, "trained", lambda run, where: (FLAT, 0.1))
    with pytest.raises(stages.StageFailed, match=r"on the CPU either: 2 to 1\.99"):
        stages._learned(run)
