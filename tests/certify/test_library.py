"""Models of OCR, speech, time series and recommendation: a small one of each file always, all of them when slow tests run."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from openxpu import models
from openxpu.certify import cards, stages
from openxpu.models.registry import Model

TASKS = ("ocr", "speech", "time-series", "recommendation")
OURS = [m for m in models.find(tasks=TASKS) if m.source == "OpenXPU"]
SMALL = ("crnn-mobilenetv3-small", "kwt-1", "dlinear", "deepfm")


def run_of(name: str, folder: Path, batch: int = 2) -> stages.Run:
    return stages.Run(models.find([name])[0], batch, 1, folder)


@pytest.mark.parametrize("name", SMALL)
def test_a_small_model_of_each_kind(name: str, paddle_xpu: ModuleType, tmp_path: Path) -> None:
    run = run_of(name, tmp_path)
    assert stages.forward(run)["difference"] <= stages.FORWARD
    assert stages.training(run)["difference"] <= stages.LOSSES


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("model", OURS, ids=lambda m: m.name)
def test_every_model(model: Model, paddle_xpu: ModuleType, tmp_path: Path) -> None:
    run = run_of(model.name, tmp_path)
    for name in stages.MODES["all"]:
        stages.STAGES[name](run)


@pytest.mark.parametrize("model", OURS, ids=lambda m: m.name)
def test_batches(model: Model) -> None:
    """They are the same for the same seed, others for another; what may change does, nothing else."""
    one, again, other = (model.data.make(2, seed) for seed in (1, 1, 2))
    assert set(model.data.inputs) <= set(one)
    assert set(model.data.asked) <= set(model.data.inputs)
    for name, array in one.items():
        np.testing.assert_array_equal(array, again[name])
    assert any(not np.array_equal(one[name], other[name]) for name in model.data.inputs)
    if model.data.other is not None:
        changed = model.data.other(2, 1)
        for name in model.data.asked:
            free = model.data.dynamic.get(name, (0,))
            assert [n for i, n in enumerate(changed[name].shape) if i not in free] == [
                n for i, n in enumerate(one[name].shape) if i not in free
            ]
        assert any(changed[name].shape != one[name].shape for name in model.data.asked)


def test_two_cards_give_the_losses_of_one(paddle_xpu: ModuleType, tmp_path: Path) -> None:
    found = cards.multi_card(run_of("lenet", tmp_path))
    assert found["difference"] < 1e-5
    assert found["losses"][-1] < found["losses"][0]


def test_a_batch_that_cannot_be_cut() -> None:
    with pytest.raises(stages.StageFailed, match="give --batch 2"):
        cards.parts({"x": np.zeros((3, 2))}, 2)
    one, two = cards.parts({"x": np.arange(4), "note": "same"}, 2)
    assert one["x"].tolist() == [0, 1]
    assert two["x"].tolist() == [2, 3]
    assert one["note"] == two["note"] == "same"
