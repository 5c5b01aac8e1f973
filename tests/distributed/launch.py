# Starts a script on several cards with Paddle's launcher and returns what the ranks printed; nothing survives it.
from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

EXAMPLES = Path(__file__).parent.parent.parent / "examples" / "distributed"
SCRIPTS = Path(__file__).parent / "scripts"


def descendants(root: int) -> list[int]:
    """Processes below this one: the launcher puts each rank into a process group of its own."""
    children: dict[int, list[int]] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        children.setdefault(int(fields[1]), []).append(int(stat.parent.name))
    found, waiting = [], [root]
    while waiting:
        below = children.get(waiting.pop(), [])
        found += below
        waiting += below
    return found


def end(process: subprocess.Popen[str]) -> None:
    """Kills a process, its group and everything that it started."""
    for pid in [*descendants(process.pid), process.pid]:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue
    process.wait()


def environment(cards: int) -> dict[str, str]:
    """That of a program on a machine with so many cards."""
    found = {
        **os.environ, "OPENXPU_CARDS": str(cards), "OPENXPU_CARD_THREADS": "1",
        "OPENXPU_COLLECTIVE_TIMEOUT": "40", "GLOG_minloglevel": "2", "PYTHONWARNINGS": "ignore", "OMP_NUM_THREADS": "1",
    }  # fmt: skip
    # A script finds its neighbours: PYTHONSAFEPATH would hide its folder.
    for name in ("PYTHONSAFEPATH", "PADDLE_MASTER", "MASTER_ADDR", "MASTER_PORT"):
        found.pop(name, None)
    return found


def run(command: list[str], cards: int, seconds: float, folder: Path) -> str:
    """The output of a command on a machine with so many cards; fails with the ranks' logs when it fails or hangs."""
    process = subprocess.Popen(
        command, cwd=folder, env=environment(cards), text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        start_new_session=True,
    )  # fmt: skip
    try:
        output = process.communicate(timeout=seconds)[0]
    except subprocess.TimeoutExpired:
        end(process)
        raise AssertionError(f"{command} was not done in {seconds} s.\n{logs(folder)}") from None
    finally:
        end(process)
    assert process.returncode == 0, (
        f"{command} ended with {process.returncode}.\n{output[-3000:]}\n{logs(folder)}"
    )
    return output


def logs(folder: Path) -> str:
    """The last lines of every rank's log."""
    parts = [f"{file.name}:\n{file.read_text()[-2500:]}" for file in sorted(folder.glob("log/workerlog.*"))]
    return "\n".join(parts)


def on_cards(script: Path, cards: int, *arguments: str, seconds: float = 150) -> list[str]:
    """What each rank printed: the text of every rank's log."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        devices = ",".join(str(card) for card in range(cards))
        launcher = ["-m", "paddle.distributed.launch", "--devices", devices, "--log_dir", str(folder / "log")]
        run([sys.executable, *launcher, str(script), *arguments], cards, seconds, folder)
        return [(folder / "log" / f"workerlog.{rank}").read_text() for rank in range(cards)]


def losses(text: str) -> list[float]:
    """The losses that an example printed, one a step."""
    return [float(loss) for loss in re.findall(r"^step \d+ loss (\S+)$", text, re.MULTILINE)]
