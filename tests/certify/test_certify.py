"""`openxpu certify` and `openxpu models`: what holds is certified, what does not is named, and what was done is not done again."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from openxpu import models
from openxpu.certify import report, stages, user
from openxpu.certify.command import Order, known

HERE = Path(__file__).parent
COMMAND = (sys.executable, "-c", "import sys; from openxpu.cli import main; sys.exit(main(sys.argv[1:]))")


def certify(folder: Path, *arguments: str) -> tuple[int, list[dict[str, Any]], str]:
    """Exit code, results and messages of the command."""
    done = subprocess.run(
        [*COMMAND, "certify", "--json", "--output", str(folder), *arguments],
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(HERE), *sys.path])},
        capture_output=True,
        text=True,
        timeout=500,
        check=False,
    )
    return done.returncode, json.loads(done.stdout) if done.stdout.strip() else [], done.stderr


def test_a_small_model_passes_every_stage_and_is_not_tried_again(tmp_path: Path) -> None:
    status, (result,), _ = certify(tmp_path, "lenet")
    assert status == 0, report.first_error(result)
    assert set(result["stages"]) == {"forward", "training", "amp", "export", "infer"}
    assert report.passed(result)
    assert result["fallbacks"] == {}
    assert result["native_calls"] > 100
    assert result["stages"]["forward"]["parameters"] == 61610
    losses = result["stages"]["training"]["losses"]
    assert len(losses) == stages.STEPS
    assert losses[-1] < losses[0]
    before = (tmp_path / "lenet.json").stat().st_mtime_ns
    status, (again,), _ = certify(tmp_path, "lenet")
    assert status == 0
    assert again["stages"] == result["stages"]
    assert (tmp_path / "lenet.json").stat().st_mtime_ns == before
    assert known(Order(names=("lenet",), output=tmp_path), "lenet") is not None
    assert known(Order(names=("lenet",), output=tmp_path, batch=3), "lenet") is None
    page = (tmp_path / "models.html").read_text()
    assert "lenet" in page
    assert "<svg" in page
    assert "| lenet |" in (tmp_path / "models.md").read_text()
    assert (
        f"Measured on {result['processor']} with {result['cores']} core"
        in (tmp_path / "models.md").read_text()
    )
    assert not list(tmp_path.glob("*.part"))


def test_an_interrupted_run_reports_and_goes_on(tmp_path: Path) -> None:
    names = ["dlinear", "deepfm", "din"]
    assert certify(tmp_path, "din")[0] == 0
    child = subprocess.Popen(
        [*COMMAND, "certify", "--json", "--output", str(tmp_path), *names],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip
    try:
        limit = time.monotonic() + 300
        while not (tmp_path / "deepfm.log").exists():  # dlinear is done, deepfm at work
            assert child.poll() is None
            assert time.monotonic() < limit
            time.sleep(0.05)
        os.killpg(child.pid, signal.SIGINT)
        output, errors = child.communicate(timeout=120)
    finally:
        child.kill()
    assert child.returncode == 130, errors
    assert "goes on" in errors
    # din, which an earlier run finished, is in the report as well.
    assert [r["model"] for r in json.loads(output)] == ["dlinear", "din"]
    assert "| dlinear |" in (tmp_path / "models.md").read_text()
    assert "interrupted; models that were not reached: 1" in (tmp_path / "models.md").read_text()
    before = (tmp_path / "dlinear.json").stat().st_mtime_ns
    status, results, errors = certify(tmp_path, *names)
    assert status == 0, errors
    assert [report.passed(r) for r in results] == [True] * 3
    assert (tmp_path / "dlinear.json").stat().st_mtime_ns == before
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "models.json").write_text((tmp_path / "models.json").read_text())
    status, moved, errors = certify(elsewhere, *names)
    assert status == 0, errors
    assert [r["stages"] for r in moved] == [r["stages"] for r in results]
    assert not list(elsewhere.glob("*.log"))  # nothing was tried again


def test_no_worker_outlives_the_command(tmp_path: Path) -> None:
    child = subprocess.Popen(
        [*COMMAND, "certify", "--output", str(tmp_path), "resnet18"],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip

    def workers() -> list[str]:
        found = subprocess.run(
            ["pgrep", "-f", f"certify.worker.*{tmp_path}"], capture_output=True, text=True, check=False
        )
        return found.stdout.split()

    limit = time.monotonic() + 120
    try:
        while not workers() or not (tmp_path / "resnet18.log").stat().st_size:  # it has begun to load Paddle
            assert time.monotonic() < limit
            time.sleep(0.1)
    finally:
        child.kill()
        child.wait()
    limit = time.monotonic() + 3  # the model would take longer
    while workers():
        assert time.monotonic() < limit
        time.sleep(0.1)


def test_what_does_not_hold_is_named_and_the_rest_goes_on(tmp_path: Path) -> None:
    names = [f"broken:{name}" for name in ("differs", "learns_nothing", "ends", "good")]
    status, found, _ = certify(tmp_path, *names, "--input", "2x8", "--mode", "lite-train-lite-infer")
    assert status == 1
    by_name = {result["model"].partition(":")[2]: result for result in found}
    wrong = by_name["differs"]["stages"]["forward"]
    assert not wrong["passed"]
    assert "2 (Wrong)" in wrong["error"]
    assert "Not tried" in by_name["differs"]["stages"]["infer"]["error"]
    assert "does not fall" in by_name["learns_nothing"]["stages"]["training"]["error"]
    assert "status 7" in by_name["ends"]["stages"]["process"]["error"]
    assert report.passed(by_name["good"])
    assert report.summary(found).startswith("4 models, 4 tried, 1 certified")


def test_names_that_nothing_has(tmp_path: Path) -> None:
    status, found, words = certify(tmp_path, "resnet51")
    assert (status, found) == (2, [])
    assert "No model is called resnet51; near are resnet50" in words
    status, found, words = certify(tmp_path, "broken:good", "--input", "2,8")
    assert (status, found) == (2, [])
    assert "--input 2,8 is no shape" in words


def test_the_library() -> None:
    every = models.models()
    assert len({m.name for m in every}) == len(every) >= 400
    assert [m.name for m in models.find(["RESNET1?"])] == ["resnet18"]
    with pytest.raises(LookupError, match="There is no task"):
        models.find(tasks=["cooking"])
    absent = [m for m in every if m.missing]
    assert all(f"pip install {m.install}" in str(m.missing) for m in absent)


def test_shapes_and_differences() -> None:
    assert user.shapes_of(["1x3x4", "2x5:i64"]) == [((1, 3, 4), np.float32), ((2, 5), np.int64)]
    one = np.ones(3, np.float32)
    assert stages.difference([one], [one]) == 0
    assert stages.difference([one], [one * 2]) == pytest.approx(0.5)
    assert stages.difference([one], [one, one]) == np.inf
    assert stages.difference([np.array([1, np.nan], np.float32)], [np.array([1, 2], np.float32)]) == np.inf


def test_models_side_by_side_and_cores_that_are_not_there(tmp_path: Path) -> None:
    cores = len(os.sched_getaffinity(0))
    jobs = min(2, cores)
    names = ["broken:good", "broken:learns_nothing"]
    status, found, _ = certify(
        tmp_path, *names, "--input", "2x8", "--mode", "whole-infer", "--jobs", str(jobs)
    )
    assert status == 0
    assert [result["model"] for result in found] == names
    status, _, said = certify(tmp_path, "lenet", "--jobs", str(cores + 1))
    assert status == 2
    assert f"offers 1 to {cores}" in said


def test_twenty_models_of_all_tasks(tmp_path: Path) -> None:
    """What `openxpu certify --smoke` certifies: every stage holds, and nothing falls back to the CPU."""
    assert len(models.SMOKE) == 20
    jobs = min(2, len(os.sched_getaffinity(0)))
    status, found, _ = certify(tmp_path, "--smoke", "--jobs", str(jobs))
    assert status == 0, [f"{r['model']}: {report.first_error(r)}" for r in found if not report.passed(r)]
    assert {r["model"]: r["fallbacks"] for r in found if r["fallbacks"]} == {}
