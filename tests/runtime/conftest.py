"""Environment for the processes that run-time tests start."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest


@pytest.fixture
def python_here() -> dict[str, str]:
    """An environment in which a child finds this folder's modules."""
    path = os.pathsep.join([str(Path(__file__).parent), *[p for p in sys.path if p]])
    return {**os.environ, "PYTHONPATH": path}
