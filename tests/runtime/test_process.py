"""Processes: forks, ends, `openxpu smi`, environment variables, what is left behind."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from openxpu import environment


def python(code: str, env: dict[str, str], timeout: float = 90) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code], env=env, capture_output=True, text=True, timeout=timeout, check=False
    )


FORK = """
import os, sys
import numpy as np
import openxpu
x = openxpu.from_numpy(np.arange(100000.0))
for _ in range(20):
    x = openxpu.from_numpy(x.numpy() + 1)       # the stream's thread and the workers are up
y = openxpu.zeros(1 << 20)
for round in range(3):
    pid = os.fork()
    if pid == 0:
        try:
            try:
                openxpu.zeros(3)
            except openxpu.Error as error:
                assert "fork" in str(error) and "spawn" in str(error), error
            else:
                os._exit(3)
            try:
                x.numpy()
            except openxpu.Error as error:
                assert "fork" in str(error)
            else:
                os._exit(4)
            try:
                y.device.card.current_stream.fill(y.data_ptr(), 0, 4)
            except openxpu.Error:
                pass
            else:
                os._exit(5)
            del y, x                             # releasing is harmless
            openxpu.synchronize()
            sys.exit(0) if round else os._exit(0)   # with and without the interpreter's own clean-up
        except Exception as error:
            print(error, file=sys.stderr)
            os._exit(6)
    assert os.waitpid(pid, 0)[1] == 0
    assert (x.numpy() == np.arange(100000.0) + 20).all()   # the parent goes on
print("fine")
"""


def test_a_forked_child_gets_a_sentence_and_ends_cleanly(python_here: dict[str, str]) -> None:
    result = python(FORK, python_here)
    assert result.stdout == "fine\n", result.stderr
    assert result.stderr == ""


POOL = """
import multiprocessing, sys
import numpy as np
import machine_code, openxpu
from openxpu import _runtime
def square(n):
    return (np.arange(n) ** 2).sum()
if __name__ == "__main__":
    out = openxpu.zeros(64, "i64")
    stream = _runtime.card(0).current_stream
    context = multiprocessing.get_context(sys.argv[1])
    with context.Pool(2) as pool:
        for i in range(50):
            stream.launch(machine_code.spin(), (64, 1, 1), [out.data_ptr(), 10000])
            assert pool.apply(square, (100,)) == 328350
    assert set(out.numpy().tolist()) == {50}
    print("fine")
"""


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_worker_processes_beside_a_busy_card(
    method: str, python_here: dict[str, str], tmp_path: Path
) -> None:
    script = tmp_path / "pool_script.py"
    script.write_text(POOL)
    result = subprocess.run(
        [sys.executable, str(script), method],
        env=python_here,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert result.stdout == "fine\n", result.stderr


BUSY = """
import ctypes, signal, sys, time
import machine_code, openxpu
from openxpu import _runtime
ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # does not outlive the test
kept = openxpu.zeros(50 << 20, "u8")
out = openxpu.zeros(1, "i64")
openxpu.synchronize()
print("ready", flush=True)
end = time.monotonic() + 60
while time.monotonic() < end:
    for _ in range(4):
        _runtime.card(0).current_stream.launch(machine_code.spin(), (1, 1, 1), [out.data_ptr(), 3_000_000])
    openxpu.synchronize()
"""


SMI = [sys.executable, "-m", "openxpu.cli", "smi"]


def smi(env: dict[str, str], *pids: int) -> tuple[dict[str, Any], dict[int, dict[str, Any]]]:
    """What `openxpu smi --json` says, and of these processes; others may use the cards of the machine, too."""
    done = subprocess.run([*SMI, "--json"], env=env, capture_output=True, text=True, timeout=60, check=True)
    cards = json.loads(done.stdout)["cards"]
    return cards[0], {p["pid"]: p for card in cards for p in card["processes"] if p["pid"] in pids}


def test_smi_shows_processes_and_forgets_killed_ones(python_here: dict[str, str]) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", BUSY], env=python_here, stdout=subprocess.PIPE, text=True
    ) as busy:
        try:
            assert busy.stdout is not None
            assert busy.stdout.readline() == "ready\n"
            card, found = smi(python_here, busy.pid)
            process = found[busy.pid]
            assert process["memory_used"] >= 50 << 20
            assert process["memory_peak"] >= process["memory_used"]
            assert card["memory_used"] == sum(p["memory_used"] for p in card["processes"])
            assert process["memory_limit"] >= process["memory_used"]
            assert 20 < process["utilisation"] <= 100
            assert process["groups"] == []
            table = subprocess.run(
                SMI,
                env={**python_here, "COLUMNS": "160"},
                capture_output=True,
                text=True,
                timeout=60,
                check=True,
            )
            assert "xpu:0" in table.stdout
            assert str(busy.pid) in table.stdout
        finally:
            busy.kill()
        busy.wait(20)
    assert smi(python_here, busy.pid)[1] == {}


def test_smi_takes_a_forked_child_for_nothing(python_here: dict[str, str]) -> None:
    """The child has the record's descriptor, and outlives its parent."""
    code = """
import os, sys
import openxpu
kept = openxpu.zeros(10)
openxpu.synchronize()
child = os.fork()
if child == 0:
    sys.stdin.read()
    os._exit(0)
print(child, flush=True)
sys.stdin.read()
"""
    with subprocess.Popen(
        [sys.executable, "-c", code],
        env=python_here,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as parent:
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        assert set(smi(python_here, parent.pid, child)[1]) == {parent.pid}
        parent.kill()
        parent.wait(20)
        assert Path(f"/proc/{child}").exists()
        assert smi(python_here, parent.pid, child)[1] == {}


def test_watch_repeats_until_interrupted(python_here: dict[str, str]) -> None:
    code = (
        "import signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler); "
        "from openxpu.cli import main; sys.exit(main(['smi', '--json', '--watch', '0.3']))"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code], env=python_here, stdout=subprocess.PIPE, text=True
    ) as watch:
        assert watch.stdout is not None
        lines = [watch.stdout.readline() for _ in range(3)]
        watch.send_signal(signal.SIGINT)
        assert watch.wait(20) == 130
    assert all(json.loads(line)["cards"] for line in lines)


def test_nothing_is_left_behind(python_here: dict[str, str]) -> None:
    before = set(os.listdir("/dev/shm"))
    env = {**python_here, "OPENXPU_ARENA": "shared"}
    assert python("import openxpu; openxpu.zeros(1000).numpy()", env).returncode == 0
    killed = subprocess.Popen([sys.executable, "-c", BUSY], env=env, stdout=subprocess.PIPE, text=True)
    assert killed.stdout is not None
    assert killed.stdout.readline() == "ready\n"
    killed.kill()
    killed.wait(20)
    killed.stdout.close()
    assert set(os.listdir("/dev/shm")) - before == set()


@pytest.mark.parametrize(
    ("name", "value", "sentence"),
    [
        ("OPENXPU_CARD_MEMORY", "lots", 'OPENXPU_CARD_MEMORY is "lots"; give a size such as 4G'),
        ("OPENXPU_CARD_MEMORY", "10K", "a card needs at least 1M"),
        ("OPENXPU_CARDS", "zero", 'OPENXPU_CARDS is "zero"; give a whole number from 1 to 64'),
        ("OPENXPU_CARD_THREADS", "0", "OPENXPU_CARD_THREADS"),
        ("OPENXPU_ARENA", "huge", 'give "private" or "shared"'),
        ("OPENXPU_BLOCKING", "yes", "give 0 or 1"),
    ],
)
def test_bad_variables_are_one_sentence(
    name: str, value: str, sentence: str, python_here: dict[str, str]
) -> None:
    result = subprocess.run(
        [sys.executable, "-m", "openxpu.cli", "smi"],
        env={**python_here, name: value}, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert result.returncode == 1
    assert sentence in result.stderr
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize(
    ("text", "size"), [("3000000", 3000000), ("64M", 64 << 20), ("0.5G", 1 << 29), ("2GiB", 2 << 30)]
)
def test_sizes(text: str, size: int, python_here: dict[str, str]) -> None:
    code = "import openxpu; print(openxpu.Device(0).properties['memory_limit'])"
    assert python(code, {**python_here, "OPENXPU_CARD_MEMORY": text}).stdout == f"{size}\n"


def test_several_cards_and_one_thread(python_here: dict[str, str]) -> None:
    code = """
import machine_code, openxpu
from openxpu import _runtime
assert openxpu.device_count() == 3
out = openxpu.zeros(100, "i64", device="xpu:2")
openxpu.Device(2).card.current_stream.launch(machine_code.step(), (100, 1, 1), [out.data_ptr(), 4])
assert (out.numpy() == 4).all() and openxpu.memory_stats(0)["used"] == 0
try:
    openxpu.Device(3)
except openxpu.Error as error:
    print(error)
"""
    env = {**python_here, "OPENXPU_CARDS": "3", "OPENXPU_CARD_THREADS": "1", "OPENXPU_CARD_MEMORY": "64M"}
    result = python(code, env)
    assert "3 cards: xpu:0 to xpu:2" in result.stdout, result.stderr


def test_every_variable_that_is_read_is_documented() -> None:
    import re

    root = Path(environment.__file__).parent.parent
    sources = [*root.glob("openxpu/**/*.py"), *root.glob("csrc/**/*.cc")]
    read = set()
    for path in sources:
        read |= set(re.findall(r"\"(OPENXPU_[A-Z_]+)\"", path.read_text()))
    assert read - {v.name for v in environment.VARIABLES} == set()


def test_python_side_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENXPU_FALLBACK", "warm")
    with pytest.raises(ValueError, match="allow, warn, error"):
        environment.fallback()
    monkeypatch.setenv("OPENXPU_DUMP", "ttir,assembly")
    with pytest.raises(ValueError, match='"assembly"'):
        environment.dump()
    monkeypatch.setenv("OPENXPU_CARD_MEMROY", "1G")
    assert environment.unknown() == ["OPENXPU_CARD_MEMROY"]
    monkeypatch.setenv("OPENXPU_CACHE_DIR", "/somewhere")
    assert environment.cache_dir() == Path("/somewhere")


def test_import_is_light(python_here: dict[str, str]) -> None:
    code = """
import sys
before = set(sys.modules)
import openxpu
heavy = {"triton", "llvmlite", "paddle", "torch", "rich"} & set(sys.modules)
assert not heavy, heavy
"""
    result = python(code, python_here)
    assert result.returncode == 0, result.stderr
