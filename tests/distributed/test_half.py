# Training in f16 with scaled gradients, each way to split it, against one card.
from __future__ import annotations

import functools
import sys
import tempfile
from pathlib import Path
from types import ModuleType

import pytest
from launch import SCRIPTS, losses, on_cards, run

SCRIPT = SCRIPTS / "half.py"
TOLERANCE = 1e-3


@functools.cache
def on_one_card(level: str) -> list[float]:
    with tempfile.TemporaryDirectory() as folder:
        found = losses(run([sys.executable, str(SCRIPT), "data", level], 1, 150, Path(folder)))
    assert len(found) == 10
    return found


@pytest.mark.slow
@pytest.mark.parametrize(
    ("way", "level"),
    [
        ("data", "O1"), ("tensor", "O1"), ("pipeline", "O1"), ("os_g", "O1"), ("p_g_os", "O1"), ("data", "O2"),
        ("os_g", "O2"), ("p_g_os", "O2"), ("os_g-offload", "O2"), ("p_g_os-offload", "O2"),
    ],
)  # fmt: skip
def test_losses_of_one_card(paddle_xpu: ModuleType, way: str, level: str) -> None:
    found = losses(on_cards(SCRIPT, 2, way, level)[0])
    assert found == pytest.approx(on_one_card(level), abs=TOLERANCE)
