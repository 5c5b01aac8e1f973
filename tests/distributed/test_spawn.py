# paddle.distributed.spawn on cards: a failing rank ends all, and nothing outlives the program.
from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import ModuleType

import pytest
from launch import SCRIPTS, descendants, end, environment

SCRIPT = str(SCRIPTS / "spawned.py")


def spawn(what: str, cards: int = 2) -> subprocess.CompletedProcess[str]:
    process = subprocess.Popen(
        [sys.executable, SCRIPT, what], env=environment(cards), text=True, start_new_session=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    try:
        output = process.communicate(timeout=100)[0]
    finally:
        end(process)
    return subprocess.CompletedProcess(process.args, process.returncode, output)


def said(output: str) -> list[str]:
    """What the ranks printed. They share one pipe, so two of them can stand in one line, newline and all after."""
    return sorted(re.findall(r"rank \d on xpu:\d has \d\.\d", output))


def test_exchanges(paddle_xpu: ModuleType) -> None:
    done = spawn("sum")
    assert done.returncode == 0, done.stdout
    assert said(done.stdout) == ["rank 0 on xpu:0 has 3.0", "rank 1 on xpu:1 has 3.0"]


def test_on_the_cards_asked_for(paddle_xpu: ModuleType) -> None:
    done = spawn("last cards", cards=4)
    assert done.returncode == 0, done.stdout
    assert said(done.stdout) == ["rank 0 on xpu:2 has 3.0", "rank 1 on xpu:3 has 3.0"]


@pytest.mark.parametrize("what", ["raises", "dies"])
def test_a_failing_rank_ends_all(paddle_xpu: ModuleType, what: str) -> None:
    done = spawn(what)
    assert done.returncode != 0
    # Paddle shows the error of the rank that it sees end first: the failing one, or rank 0, which names it.
    own = "rank 1 has no data" if what == "raises" else "Process 1 terminated with signal SIGKILL"
    assert own in done.stdout or "Rank 1 of 2 has left communicator" in done.stdout, done.stdout


def test_too_few_cards(paddle_xpu: ModuleType) -> None:
    done = spawn("sum", cards=1)
    assert "set OPENXPU_CARDS to show more" in done.stdout, done.stdout


def test_ranks_end_with_the_program(paddle_xpu: ModuleType) -> None:
    process = subprocess.Popen(
        [sys.executable, SCRIPT, "waits"], env=environment(2), text=True, start_new_session=True, stdout=subprocess.PIPE
    )  # fmt: skip
    assert process.stdout is not None
    try:
        for line in process.stdout:
            if "rank 0 on" in line:  # the ranks can share a line
                break
        ranks = descendants(process.pid)
        assert ranks
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        limit = time.monotonic() + 30
        while any(Path(f"/proc/{pid}").exists() for pid in ranks):
            assert time.monotonic() < limit, f"processes {ranks} are still there"
            time.sleep(0.2)
    finally:
        end(process)
