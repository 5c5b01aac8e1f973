"""`openxpu demo --quick`: all runs on the card, nothing falls back, served equals trained."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from openxpu.demo import command, digits, text


@pytest.fixture(scope="module")
def demo(paddle_xpu: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> tuple[dict, Path]:
    output = tmp_path_factory.mktemp("demo")
    arguments = ["demo", "--quick", "--json", "--output", str(output)]
    run = subprocess.run(
        [sys.executable, "-m", "openxpu.cli", *arguments], capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, f"{run.stdout}\n{run.stderr}"
    return json.loads(run.stdout), output


def test_served_predictions_equal_the_trained_models(demo: tuple[dict, Path]) -> None:
    card = demo[0]["digits"]["xpu"]
    assert card["served_equal"] == card["held_out_images"] == digits.HELD_OUT
    assert card["served_largest_difference"] < 1e-4


def test_nothing_falls_back_and_much_is_native(demo: tuple[dict, Path]) -> None:
    for part in (demo[0]["digits"]["xpu"], demo[0]["text"]["xpu"]):
        assert part["fallbacks"] == {}
        assert sum(part["native_calls"].values()) > 500
    assert {"conv2d", "conv2d_grad", "batch_norm"} <= set(demo[0]["digits"]["xpu"]["native_calls"])


def test_both_devices_learn_the_same(demo: tuple[dict, Path]) -> None:
    card, cpu = demo[0]["digits"]["xpu"]["losses"], demo[0]["digits"]["cpu"]["losses"]
    assert len(card) == len(cpu)
    assert card[0] == pytest.approx(cpu[0], rel=1e-4)
    assert card[-1] < 0.6 * card[0]


def test_it_leaves_the_picture_the_results_and_the_model(demo: tuple[dict, Path]) -> None:
    output = demo[1]
    assert (output / "loss-curves.png").read_bytes().startswith(b"\x89PNG")
    assert json.loads((output / "results.json").read_text())["digits"].keys() == {"xpu", "cpu"}
    assert list((output / "digits-xpu").glob("digits.pdiparams"))


def test_the_gpt_writes_what_was_asked(demo: tuple[dict, Path]) -> None:
    sample = demo[0]["text"]["xpu"]["sample"]
    assert sample.startswith("def ")
    assert len(sample) == len("def ") + text.Recipe.quick().sample


def test_a_failing_part_is_told_with_its_log(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    code = command.run(output=tmp_path, quick=True, skip_gpt=True, no_cpu=True, device="abacus")
    assert code == 1
    told = capfd.readouterr().err
    assert "The demo stopped." in told
    assert "abacus" in told


def test_the_split_is_fixed_and_disjoint() -> None:
    data, again = digits.load_digits(), digits.load_digits()
    assert (data.test_images == again.test_images).all()
    assert len(data.test_labels) + len(data.train_labels) == 1797
    train = {image.tobytes() for image in data.train_images}
    assert sum(image.tobytes() in train for image in data.test_images) == 0


def test_every_character_has_a_number() -> None:
    codes = text.encode("def f():\n  return 'é'")
    assert codes.max() == len(text.ALPHABET) - 1
    assert (codes >= 0).all()
