# Checkpoints of several cards: another split goes on from them, and so does a training of which a rank was killed.
from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import ModuleType

import pytest
from launch import EXAMPLES, descendants, end, environment, losses, run
from test_examples import TOLERANCE, on_one_card

SCRIPT = EXAMPLES / "resume.py"


def command(cards: int, folder: Path, *arguments: str) -> list[str]:
    launcher = ["-m", "paddle.distributed.launch", "--devices", ",".join(map(str, range(cards)))]
    launcher += ["--log_dir", str(folder / "log")]
    return [
        sys.executable, *(launcher if cards > 1 else []), str(SCRIPT), str(folder / "checkpoints"), *arguments
    ]  # fmt: skip


def train(cards: int, folder: Path, *arguments: str) -> list[float]:
    for log in folder.glob("log/*"):
        log.unlink()
    output = run(command(cards, folder, *arguments), cards, 60 + 20 * cards, folder)
    return losses((folder / "log" / "workerlog.0").read_text() if cards > 1 else output)


WAYS = {
    "one": (1, []),
    "data2": (2, []),
    "tensor2": (2, ["--tensor", "2"]),
    "data2-tensor2": (4, ["--tensor", "2"]),
}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("data2", "tensor2"), ("tensor2", "data2"), ("tensor2", "one"), ("one", "tensor2"), ("data2-tensor2", "tensor2"),
        ("data2", "data2-tensor2"),
    ],
)  # fmt: skip
def test_goes_on_at_another_split(paddle_xpu: ModuleType, tmp_path: Path, before: str, after: str) -> None:
    cards, arguments = WAYS[before]
    first = train(cards, tmp_path, *arguments, "--until", "4")
    cards, arguments = WAYS[after]
    second = train(cards, tmp_path, *arguments)
    assert len(second) == 6
    assert first + second == pytest.approx(on_one_card(), abs=TOLERANCE)


@pytest.mark.slow
def test_goes_on_after_a_rank_was_killed(paddle_xpu: ModuleType, tmp_path: Path) -> None:
    process = subprocess.Popen(
        command(2, tmp_path), cwd=tmp_path, env=environment(2), start_new_session=True, stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )  # fmt: skip
    latest = tmp_path / "checkpoints" / "latest"
    try:
        limit = time.monotonic() + 100
        while not latest.exists():
            assert process.poll() is None, "the training ended without a checkpoint"
            assert time.monotonic() < limit, "no checkpoint came"
            time.sleep(0.05)
        scripts = [pid for pid in descendants(process.pid) if str(SCRIPT).encode() in cmdline(pid)]
        os.kill(scripts[-1], signal.SIGKILL)
        assert process.wait(timeout=100) != 0
    finally:
        end(process)
    start = int(latest.read_text().removeprefix("step"))
    assert start < 10, "the training was done before a rank could be killed"
    found = train(2, tmp_path)
    assert found == pytest.approx(on_one_card()[start:], abs=TOLERANCE)


def cmdline(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""
