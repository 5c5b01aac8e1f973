# Parallel training beyond the examples, on two cards, against one card.
from __future__ import annotations

import re
from types import ModuleType

import pytest
from launch import SCRIPTS, on_cards

CASES = re.findall(r"^@case\ndef (\w+)", (SCRIPTS / "layers.py").read_text(), re.MULTILINE)


@pytest.fixture(scope="module")
def two_ranks(paddle_xpu: ModuleType) -> list[str]:
    return on_cards(SCRIPTS / "layers.py", 2, seconds=150)


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_on_two_cards(two_ranks: list[str], name: str) -> None:
    for text in two_ranks:
        assert re.search(rf"^passed {name}$", text, re.MULTILINE), text[text.find(f"failed {name}:") :][:3000]


@pytest.mark.slow
def test_nothing_falls_back(two_ranks: list[str]) -> None:
    for text in two_ranks:
        assert re.search(r"^fallbacks \{\}$", text, re.MULTILINE), text[-1000:]
