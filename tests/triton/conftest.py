"""Registers the back end where it is not installed; Triton's own cache lies below build/."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

os.environ.setdefault(
    "TRITON_CACHE_DIR", str(Path(__file__).parent.parent.parent / "build" / "test-kernels" / "triton")
)

import openxpu
import openxpu.triton

openxpu.triton.register()


@pytest.fixture
def on_card() -> Callable[..., Any]:
    """Copies a NumPy array onto the card."""
    return openxpu.from_numpy


@pytest.fixture
def random() -> np.random.Generator:
    return np.random.default_rng(11)
