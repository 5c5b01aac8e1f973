# Each way to split the example GPT over cards gives the losses of one card.
from __future__ import annotations

import functools
import sys
import tempfile
from pathlib import Path
from types import ModuleType

import pytest
from launch import EXAMPLES, losses, on_cards, run

TOLERANCE = 1e-5


@functools.cache
def on_one_card(layers: int = 4) -> list[float]:
    command = [sys.executable, str(EXAMPLES / "data_parallel.py")]
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setenv("GPT_LAYERS", str(layers))
        found = losses(run(command, 1, 120, Path(folder)))
    assert len(found) == 10
    return found


def degrees(data: int, sharding: int, tensor: int, pipeline: int) -> list[str]:
    names = ("--data", "--sharding", "--tensor", "--pipeline")
    return [
        text
        for name, n in zip(names, (data, sharding, tensor, pipeline), strict=True)
        for text in (name, str(n))
    ]


@pytest.mark.parametrize(
    ("script", "arguments", "cards"),
    [
        pytest.param("data_parallel.py", [], 2, id="data2"),
        pytest.param("tensor_parallel.py", [], 2, id="tensor2"),
        pytest.param("pipeline.py", [], 2, id="pipeline2"),
        pytest.param("sequence_parallel.py", [], 2, id="sequence2"),
        pytest.param("auto_parallel.py", ["2"], 2, id="auto-tensor2"),
        pytest.param("auto_parallel.py", ["1"], 2, id="auto-data2", marks=pytest.mark.slow),
        pytest.param("auto_parallel.py", ["2"], 4, id="auto-data2-tensor2", marks=pytest.mark.slow),
        pytest.param("auto_program.py", ["2"], 2, id="auto-program-tensor2"),
        pytest.param("auto_program.py", ["2"], 4, id="auto-program-data2-tensor2", marks=pytest.mark.slow),
        pytest.param("data_parallel.py", [], 4, id="data4", marks=pytest.mark.slow),
        pytest.param("tensor_parallel.py", [], 4, id="tensor4", marks=pytest.mark.slow),
        pytest.param("pipeline.py", [], 3, id="pipeline3", marks=pytest.mark.slow),
        pytest.param("sharding.py", ["os"], 2, id="sharding2-stage1", marks=pytest.mark.slow),
        pytest.param("sharding.py", ["os_g"], 2, id="sharding2-stage2", marks=pytest.mark.slow),
        pytest.param("sharding.py", ["p_g_os"], 2, id="sharding2-stage3", marks=pytest.mark.slow),
        pytest.param("hybrid.py", degrees(1, 1, 2, 2), 4, id="tensor2-pipeline2", marks=pytest.mark.slow),
        pytest.param("hybrid.py", degrees(2, 1, 1, 2), 4, id="data2-pipeline2", marks=pytest.mark.slow),
        pytest.param(
            "hybrid.py",
            degrees(2, 2, 2, 2),
            16,
            id="data2-sharding2-tensor2-pipeline2",
            marks=pytest.mark.slow,
        ),
    ],
)
def test_losses_of_one_card(paddle_xpu: ModuleType, script: str, arguments: list[str], cards: int) -> None:
    found = losses(on_cards(EXAMPLES / script, cards, *arguments, seconds=60 + 20 * cards)[0])
    assert found == pytest.approx(on_one_card(), abs=TOLERANCE)


@pytest.mark.slow
def test_interleaved_pipeline(paddle_xpu: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = on_one_card(layers=6)
    monkeypatch.setenv("GPT_LAYERS", "6")
    found = losses(on_cards(EXAMPLES / "pipeline.py", 4, "2")[0])
    assert found == pytest.approx(wanted, abs=TOLERANCE)


def test_ranks_that_the_program_spawns(paddle_xpu: ModuleType) -> None:
    with tempfile.TemporaryDirectory() as folder:
        text = run([sys.executable, str(EXAMPLES / "spawn.py")], 2, 120, Path(folder))
    assert losses(text) == pytest.approx(on_one_card(), abs=TOLERANCE)
