# Fixtures of the Paddle tests: every one of them needs the device xpu, some a process of their own.

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from types import ModuleType

import pytest


@pytest.fixture(autouse=True)
def card(paddle_xpu: ModuleType) -> Iterator[None]:
    """Each test starts on the card, in dynamic mode."""
    paddle_xpu.disable_static()
    paddle_xpu.set_device("xpu")
    yield
    paddle_xpu.disable_static()
    paddle_xpu.set_device("xpu")


@pytest.fixture(scope="session")
def run_program() -> Callable[..., subprocess.CompletedProcess[str]]:
    """Runs a Python program in a process of its own, with extra environment variables."""

    def run(program: str, timeout: float = 240, **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-c", program],
            env={**os.environ, **environment},
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )

    return run
