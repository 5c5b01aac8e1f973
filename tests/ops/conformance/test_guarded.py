# No kernel touches what lies beyond its tensors.
from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from conformance.tables import ROWS

GUARDED = {
    "OPENXPU_GUARD": "1",
    "OPENXPU_BLOCKING": "1",  # the call that faults is the last one
    "OPENXPU_CARD_MEMORY": "8G",
    "FLAGS_free_idle_chunk": "1",
}


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_no_row_leaves_its_tensors(paddle_xpu: Any) -> None:
    """The sample cases of every row, forward and backward, with every tensor before a page without access."""
    first, ended, raised = 0, [], []
    while first < len(ROWS):
        done = subprocess.run(
            [sys.executable, str(Path(__file__).with_name("guarded.py")), str(first)],
            env={**os.environ, **GUARDED},
            capture_output=True,
            text=True,
            timeout=1500,
            check=False,
        )
        lines = done.stdout.splitlines()
        assert lines, done.stderr[-2000:]
        raised += [
            line for line in done.stderr.splitlines() if line.partition(":")[0] in {r.name for r in ROWS}
        ]
        if lines[-1] == "done":
            break
        number, name = lines[-1].split()
        ended.append(f"{name} (exit {done.returncode})")
        first = int(number) + 1
    assert ended == []
    assert raised == []


def test_a_write_beyond_is_noticed() -> None:
    """The guard works: one byte past a block ends the process, the last byte does not."""
    script = (
        "import ctypes, sys\n"
        "from openxpu import _runtime\n"
        "address = _runtime.card(0).allocate(1001)\n"
        "ctypes.memset(address, 7, 1001)\n"
        "print('inside', flush=True)\n"
        "ctypes.memset(address + 1001, 7, 1)\n"
        "print('beyond', flush=True)\n"
    )
    for guard, lines in (("1", ["inside"]), ("0", ["inside", "beyond"])):
        done = subprocess.run(
            [sys.executable, "-c", script],
            env={**os.environ, "OPENXPU_GUARD": guard},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.stdout.splitlines() == lines, done.stderr
        assert (done.returncode == 0) == (guard == "0")
