# Parallel training beyond the examples, on two cards, against one card: each script's cases.
from __future__ import annotations

import functools
import re
from types import ModuleType

import pytest
from launch import SCRIPTS, on_cards

SCRIPT_NAMES = ("layers", "experts", "auto_parallel", "programs")
CASES = [
    (script, name)
    for script in SCRIPT_NAMES
    for name in re.findall(r"^@case\ndef (\w+)", (SCRIPTS / f"{script}.py").read_text(), re.MULTILINE)
]


@functools.cache
def ranks(script: str, cards: int = 2) -> list[str]:
    return on_cards(SCRIPTS / f"{script}.py", cards, seconds=150)


@pytest.mark.slow
@pytest.mark.parametrize(("script", "name"), CASES)
def test_on_two_cards(paddle_xpu: ModuleType, script: str, name: str) -> None:
    for text in ranks(script):
        assert re.search(rf"^passed {name}$", text, re.MULTILINE), text[text.find(f"failed {name}:") :][:3000]


@pytest.mark.slow
@pytest.mark.parametrize("script", SCRIPT_NAMES)
def test_nothing_falls_back(paddle_xpu: ModuleType, script: str) -> None:
    for text in ranks(script):
        assert re.search(r"^fallbacks \{\}$", text, re.MULTILINE), text[-1000:]


@pytest.mark.slow
@pytest.mark.parametrize("script", ["experts", "auto_parallel", "programs"])
def test_on_four_cards(paddle_xpu: ModuleType, script: str) -> None:
    for text in ranks(script, 4):
        assert "failed" not in text, text[text.find("failed") :][:3000]
        assert "fallbacks" in text
