# A rank that dies, leaves, stalls or disagrees: every other rank ends with a sentence, and nothing is left behind.
"""Where a rank's death shows at once, the limit of waits is far above the time that a test is given: a rank that found
out by the limit would fail the test."""

from __future__ import annotations

import json
import multiprocessing
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import faulty
import programs
import pytest

from openxpu import _runtime
from openxpu.collectives import spawn

LONG = "300"  # a limit that no test reaches
SHORT = "10"  # one that is waited for; ranks that start late on a busy machine must not reach it
PATIENCE = 60.0  # what a test waits for its ranks


def wait_until(condition: Callable[[], bool], seconds: float = PATIENCE) -> bool:
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.02)
    return True


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def held() -> set[str]:
    """The files of /dev/shm that some process has open or mapped."""
    found: set[str] = set()
    for process in Path("/proc").glob("[0-9]*"):
        try:
            found |= {os.readlink(fd) for fd in (process / "fd").iterdir()}
            found |= set(re.findall(r"/dev/shm/\S+", (process / "maps").read_text()))
        except OSError:  # it has ended, or is somebody else's
            continue
    return {Path(path).name for path in found if path.startswith("/dev/shm/")}


@pytest.fixture(autouse=True)
def nothing_left(tmp_path: Path) -> Iterator[None]:
    """No new file in /dev/shm without an owner, no child process."""
    before = set(os.listdir("/dev/shm"))
    yield
    # Other programs of the machine make files there, too, and take them away.
    assert wait_until(lambda: not (new := set(os.listdir("/dev/shm")) - before) or not new - held(), 30)
    pids = [json.loads(file.read_text())["pid"] for file in tmp_path.glob("*.json")]
    assert wait_until(lambda: not any(alive(pid) for pid in pids), 10), f"of {pids}, some still run"
    assert not [child for child in multiprocessing.active_children() if child.is_alive()]


def words(folder: Path, rank: int) -> Any:
    return json.loads((folder / f"{rank}.json").read_text())


# ---- before, inside and after a collective ---------------------------------------------------------

GONE = {
    "killed": r"Rank 1 of 3 \(process \d+\) has died",
    "exits": r"Rank 1 of 3 \(process \d+\) has died",
    "returns": r"Rank 1 of 3 has left communicator \w+",
    "stalls": r"Rank 1 of 3 did not come to",
    "stopped": r"Rank 1 of 3 did not come to",
}


@pytest.mark.parametrize("collective", list(faulty.COLLECTIVES))
@pytest.mark.parametrize("size", [300, 300_000], ids=["small", "large"])
def test_a_rank_dies_before_a_collective(
    collective: str, size: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENXPU_COLLECTIVE_TIMEOUT", LONG)
    with pytest.raises(RuntimeError, match="1 of 3 ranks failed\nrank 1: the process died"):
        spawn(faulty.before_a_collective, 3, collective, "killed", size, str(tmp_path), timeout=PATIENCE)
    called = "send" if collective == "receive" else collective
    for rank in (0, 2):
        seen = words(tmp_path, rank)
        assert re.search(GONE["killed"], seen["first"]), seen
        assert re.search(rf"\b({called}|barrier)\b", seen["first"]), seen
        assert "can no longer be used" in seen["second"]


@pytest.mark.parametrize("how", ["exits", "returns", "stalls", "stopped"])
def test_a_rank_does_not_come(how: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    slow = how in ("stalls", "stopped")
    monkeypatch.setenv("OPENXPU_COLLECTIVE_TIMEOUT", SHORT if slow else LONG)
    arguments = (faulty.before_a_collective, 3, "all_reduce", how, 100_000, str(tmp_path))
    if how == "exits":
        with pytest.raises(RuntimeError, match="1 of 3 ranks failed\nrank 1: the process died"):
            spawn(*arguments, timeout=PATIENCE)
    else:
        spawn(*arguments, timeout=PATIENCE)
    for rank in (0, 2):
        seen = words(tmp_path, rank)
        assert re.search(GONE[how], seen["first"]), seen
        assert "all_reduce of 100000 float32" in seen["first"], seen
        assert not slow or f"within {SHORT} s" in seen["first"]
        assert "can no longer be used" in seen["second"]
    if slow:  # the late one learns that it was missed
        late = words(tmp_path, 1)
        assert "Rank 1 of 3 did not come to all_reduce" in late["first"], late
        assert "can no longer be used" in late["second"]


@pytest.mark.parametrize("collective", ["all_reduce", "all_gather", "broadcast"])
def test_a_rank_dies_inside_a_large_copy(
    collective: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENXPU_COLLECTIVE_TIMEOUT", LONG)
    for attempt in range(5):  # on a busy machine the rank can die too late to show anything
        folder = tmp_path / str(attempt)
        folder.mkdir()
        with pytest.raises(RuntimeError, match="1 of 3 ranks failed\nrank 1: the process died"):
            spawn(faulty.inside_a_collective, 3, collective, str(folder), timeout=PATIENCE)
        if (folder / "partly").exists():
            break
    assert (folder / "partly").exists(), "the rank died too late each time"
    for rank in (0, 2):
        seen = words(folder, rank)
        assert re.search(GONE["killed"], seen["first"]), seen
        assert re.search(rf"\b({collective}|barrier)\b", seen["first"]), seen
        assert "can no longer be used" in seen["second"]


def test_a_rank_dies_after_a_collective(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENXPU_COLLECTIVE_TIMEOUT", LONG)
    with pytest.raises(RuntimeError, match="1 of 3 ranks failed\nrank 1: the process died"):
        spawn(faulty.after_a_collective, 3, str(tmp_path), timeout=PATIENCE)
    assert words(tmp_path, 0)["right"]
    assert words(tmp_path, 2)["right"]


@pytest.mark.parametrize("case", list(faulty.DISAGREEMENTS))
def test_ranks_disagree(case: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENXPU_COLLECTIVE_TIMEOUT", LONG)
    for first, second in spawn(faulty.disagree, 3, case, timeout=PATIENCE):
        for expected in faulty.DISAGREEMENTS[case][2:]:
            assert expected in first
        assert "can no longer be used" in second


# ---- set-up: ranks that are started one by one -----------------------------------------------------

RANK = """
import sys
import openxpu
from openxpu.collectives import Group, unique_id
rank, ranks = int(sys.argv[1]), int(sys.argv[2])
openxpu.set_device(rank)
if len(sys.argv) > 3:
    name = bytes.fromhex(sys.argv[3])
else:
    name = unique_id()
    print(name.hex(), flush=True)
try:
    group = Group(name, ranks, rank)
except openxpu.Error as error:
    print(error)
    sys.exit(3)
print("joined", flush=True)
"""


class Started:
    """Ranks of one group as processes of their own, which end with the test."""

    def __init__(self, ranks: int, limit: str = LONG) -> None:
        self.ranks = ranks
        self.environment = {
            **os.environ,
            "OPENXPU_ARENA": "shared",
            "OPENXPU_CARDS": str(ranks),
            "OPENXPU_COLLECTIVE_TIMEOUT": limit,
        }
        self.name = ""
        self.running: dict[int, subprocess.Popen[str]] = {}

    def start(self, rank: int, more: str = "") -> subprocess.Popen[str]:
        command = [sys.executable, "-c", RANK + more, str(rank), str(self.ranks), *filter(None, [self.name])]
        process = self.running[rank] = subprocess.Popen(
            command, env=self.environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        if not self.name:
            assert process.stdout is not None
            self.name = process.stdout.readline().strip()
        return process

    def await_state(self, rank: int, state: str) -> None:
        """Until another process sees the rank in this state, as `openxpu smi` does."""
        pid = self.running[rank].pid
        assert wait_until(
            lambda: any(
                group["state"] == state and group["rank"] == rank
                for process in _runtime.processes()
                if process["pid"] == pid
                for group in process["groups"]
            )
        ), f"rank {rank} was never {state}"

    def kill(self, rank: int) -> int:
        self.running[rank].kill()
        self.running[rank].wait(PATIENCE)
        return self.running[rank].pid

    def said(self, rank: int) -> str:
        text = self.running[rank].communicate(timeout=PATIENCE)[0]
        assert self.running[rank].returncode == 3, text
        return text


@pytest.fixture
def three() -> Iterator[Started]:
    started = Started(3)
    yield started
    for process in started.running.values():
        process.kill()
        process.wait()
        assert process.stdout is not None
        process.stdout.close()


def test_a_rank_dies_while_the_others_join(three: Started) -> None:
    for rank in (0, 1):
        three.start(rank)
    for rank in (0, 1):
        three.await_state(rank, "joining")
    pid = three.kill(1)
    assert f"Rank 1 of 3 (process {pid}) has died; rank 0 waited for it in the set-up" in three.said(0)
    three.start(2)  # too late: the one that made the name is gone
    assert re.search(r"Rank 2 could not reach process \d+, which made the unique id", three.said(2))


def test_a_rank_dies_between_joining_and_the_last_rank(three: Started) -> None:
    for rank in (0, 1):
        three.start(rank)
    for rank in (0, 1):
        three.await_state(rank, "joining")
    three.running[0].send_signal(signal.SIGSTOP)  # it cannot tell rank 2
    try:
        pid = three.kill(1)
        three.start(2)
        assert f"Rank 1 of 3 (process {pid}) has died; rank 2 waited for it in the set-up" in three.said(2)
    finally:
        three.running[0].send_signal(signal.SIGCONT)
    assert f"Rank 1 of 3 (process {pid}) has died" in three.said(0)


def test_the_rank_that_made_the_name_dies(three: Started) -> None:
    for rank in (0, 1):
        three.start(rank)
    for rank in (0, 1):
        three.await_state(rank, "joining")
    pid = three.kill(0)
    assert f"Rank 0 of 3 (process {pid}) has died; rank 1 waited for it in the set-up" in three.said(1)
    three.start(2)
    assert f"Rank 2 could not reach process {pid}, which made the unique id" in three.said(2)


def test_a_rank_is_never_started(three: Started) -> None:
    three.environment["OPENXPU_COLLECTIVE_TIMEOUT"] = SHORT
    for rank in (0, 1):
        three.start(rank)
    for rank in (0, 1):
        assert f"waited {SHORT} s for rank 2 to join" in three.said(rank)


def test_a_forked_child_takes_nothing_from_the_group(three: Started) -> None:
    """It ends with the interpreter's whole clean-up, which destroys the child's copy of the group."""
    more = """
import os
x = openxpu.zeros((1000,))
for turn in range(2):
    group.all_reduce(x)
    openxpu.synchronize()
    if rank == 1 and turn == 0:
        child = os.fork()
        if child == 0:
            sys.exit(0)
        assert os.waitpid(child, 0)[1] == 0
print("done")
"""
    for rank in range(3):
        three.start(rank, more)
    for rank in range(3):
        text = three.running[rank].communicate(timeout=PATIENCE)[0]
        assert (three.running[rank].returncode, text.endswith("done\n")) == (0, True), text


def test_a_waiting_rank_can_be_interrupted(three: Started) -> None:
    more = """
import time
x = openxpu.zeros((1000,))
print("waits", flush=True)
if rank == 1:
    time.sleep(3600)
group.all_reduce(x)
openxpu.synchronize()
"""
    for rank in range(3):
        three.start(rank, more)
    for rank in (0, 2):
        stdout = three.running[rank].stdout
        assert stdout is not None
        assert stdout.readline() == "joined\n"
        assert stdout.readline() == "waits\n"
    time.sleep(0.5)  # into the wait
    for rank in (0, 2):
        three.running[rank].send_signal(signal.SIGINT)
    for rank in (0, 2):
        text = three.running[rank].communicate(timeout=PATIENCE)[0]
        assert "KeyboardInterrupt" in text
        assert three.running[rank].returncode != 0


# ---- spawn -----------------------------------------------------------------------------------------


def test_rank_0_dies_before_it_has_made_the_name() -> None:
    before = set(multiprocessing.active_children())

    def kill() -> None:
        while not (found := set(multiprocessing.active_children()) - before):
            time.sleep(0.001)
        os.kill(min(child.pid or 0 for child in found), signal.SIGKILL)

    killer = threading.Thread(target=kill)
    killer.start()
    try:
        with pytest.raises(RuntimeError, match="rank 0: the process died"):
            spawn(programs.bf16, 3, timeout=PATIENCE)
    finally:
        killer.join()


def test_ranks_go_with_the_program_that_started_them(tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(
        "import sys\nimport faulty\nfrom openxpu.collectives import spawn\n"
        "if __name__ == '__main__':\n    spawn(faulty.endless, 2, sys.argv[1])\n"
    )
    path = os.pathsep.join([str(Path(__file__).parent), *filter(None, sys.path)])
    with subprocess.Popen(
        [sys.executable, str(program), str(tmp_path)], env={**os.environ, "PYTHONPATH": path}
    ) as process:
        try:
            assert wait_until(lambda: (tmp_path / "0.json").exists() and (tmp_path / "1.json").exists())
        finally:
            process.kill()
    pids = [words(tmp_path, rank)["pid"] for rank in range(2)]
    assert wait_until(lambda: not any(alive(pid) for pid in pids), 20), f"of {pids}, some still run"


def test_a_full_dev_shm_does_not_matter(tmp_path: Path) -> None:
    """Card memory, control blocks and records are unnamed files, which no mount limits."""
    program = tmp_path / "program.py"
    program.write_text(
        "import programs\nfrom openxpu.collectives import spawn\n"
        "if __name__ == '__main__':\n"
        "    print(spawn(programs.every_collective, 3, ['f32'], [1, 33, 300001], timeout=100))\n"
    )
    inside = (
        "set -e; mount -t tmpfs -o size=4k none /dev/shm; head -c 4096 /dev/zero > /dev/shm/full; "
        '! head -c 4096 /dev/zero > /dev/shm/more 2>/dev/null; rm -f /dev/shm/more; exec "$0" "$1"'
    )
    unshare = (
        ["unshare", "--mount"] if os.geteuid() == 0 else ["unshare", "--user", "--map-root-user", "--mount"]
    )
    probe = subprocess.run(
        [*unshare, "sh", "-c", "mount -t tmpfs none /dev/shm"], capture_output=True, text=True, check=False
    )
    if probe.returncode != 0:
        pytest.skip(f"this machine does not allow a mount namespace: {probe.stderr.strip()}")
    path = os.pathsep.join([str(Path(__file__).parent), *filter(None, sys.path)])
    done = subprocess.run(
        [*unshare, "sh", "-c", inside, sys.executable, str(program)],
        env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True, timeout=200, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert len(set(json.loads(done.stdout))) == 1
