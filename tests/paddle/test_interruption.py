# Ctrl-C and a kill in the middle of training: nothing stays in /dev/shm, no process, no record of the card.

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

TRAINING = """
import ctypes, os, signal
import numpy as np
import paddle

ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # does not outlive the test
signal.signal(signal.SIGINT, signal.default_int_handler)  # shells ignore it in background jobs
paddle.set_device("xpu")

class Numbers(paddle.io.Dataset):
    def __getitem__(self, index):
        return np.full([64], index, "float32"), np.int64(index % 4)

    def __len__(self):
        return 1 << 20

model = paddle.nn.Linear(64, 4)
optimizer = paddle.optimizer.SGD(1e-6, parameters=model.parameters())
loader = paddle.io.DataLoader(Numbers(), batch_size=16, num_workers=WORKERS)
for step, (x, y) in enumerate(loader):
    loss = paddle.nn.functional.cross_entropy(model(x), y)
    loss.backward()
    optimizer.step()
    optimizer.clear_grad()
    if step == 5:
        print("training", flush=True)
"""


def descendants(pid: int) -> set[int]:
    """The processes that a process has started, and theirs."""
    found = set()
    for file in Path(f"/proc/{pid}/task").glob("*/children"):
        with contextlib.suppress(OSError):  # threads come and go
            for child in file.read_text().split():
                found |= {int(child)} | descendants(int(child))
    return found


def gone(pids: set[int]) -> bool:
    def alive(pid: int) -> bool:
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except OSError:
            return False
        return state != "Z"

    return not any(alive(pid) for pid in pids)


def wait_until(condition: Callable[[], bool], seconds: float = 60) -> bool:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.1)
    return False


def shared_memory(pids: set[int]) -> list[str]:
    """What these processes have in /dev/shm, by Paddle's names and ours."""
    return [name for name in os.listdir("/dev/shm") if any(str(pid) in name.split("_") for pid in pids)]


# sign, loader workers, arena, to the whole process group as a terminal's Ctrl-C (when all are
# killed, nobody is left who could tidy up)
CASES = [
    *((sign, 0, arena, False) for sign in (signal.SIGINT, signal.SIGKILL) for arena in ("private", "shared")),
    *((sign, 2, "private", False) for sign in (signal.SIGINT, signal.SIGTERM, signal.SIGKILL)),
    (signal.SIGINT, 2, "private", True),
]


@pytest.mark.parametrize(
    ("sign", "workers", "arena", "group"),
    CASES,
    ids=["-".join([sign.name, str(n), arena, "group"[: 5 * group]]) for sign, n, arena, group in CASES],
)
def test_nothing_is_left(sign: signal.Signals, workers: int, arena: str, group: bool) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", TRAINING.replace("WORKERS", str(workers))],
        env={**os.environ, "OPENXPU_ARENA": arena}, start_new_session=True,
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
    )  # fmt: skip
    children: set[int] = set()
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "training\n"
        children = descendants(process.pid)
        assert len(children) >= workers
        if group:  # as a terminal's Ctrl-C does
            os.killpg(process.pid, sign)
        else:
            process.send_signal(sign)
        assert process.wait(60) != 0
        assert wait_until(lambda: gone(children)), f"processes {children} still run"
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        process.stdout and process.stdout.close()
    everyone = children | {process.pid}
    assert wait_until(lambda: not shared_memory(everyone), 10), f"left in /dev/shm: {shared_memory(everyone)}"
