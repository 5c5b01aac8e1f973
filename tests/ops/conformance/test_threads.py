# The same bits whatever the number of workers.
from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_workers_do_not_show(paddle_xpu: Any) -> None:
    """The largest case of every row, forward and backward, with one worker and with three."""

    def digests(workers: str) -> dict[str, str]:
        done = subprocess.run(
            [sys.executable, str(Path(__file__).with_name("digests.py"))],
            env={**os.environ, "OPENXPU_CARD_THREADS": workers},
            capture_output=True,
            text=True,
            timeout=600,
            check=False,
        )
        assert done.returncode == 0, done.stderr[-2000:]
        found: dict[str, str] = json.loads(done.stdout.splitlines()[-1])
        return found

    one, three = digests("1"), digests("3")
    assert len(one) > 200
    assert [name for name in one if one[name] != three[name]] == []
