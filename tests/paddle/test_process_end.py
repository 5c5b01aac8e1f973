"""A process that has loaded the plug-in ends as it was told to, in whichever order the packages are imported."""

from __future__ import annotations

import subprocess
import sys
from types import ModuleType

import pytest


@pytest.mark.parametrize("order", ["openxpu, paddle", "paddle, openxpu"])
def test_a_process_ends_well(order: str, paddle_xpu: ModuleType) -> None:
    program = f"import {order}; assert paddle.device.get_all_custom_device_type() == ['xpu']"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
