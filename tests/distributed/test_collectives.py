# Every collective of paddle.distributed on two cards, in each dtype, against NumPy.
from __future__ import annotations

import re
from types import ModuleType

import pytest
from launch import SCRIPTS, on_cards

SOURCE = (SCRIPTS / "collectives.py").read_text()
CASES = re.findall(r"^@case\ndef (\w+)", SOURCE, re.MULTILINE)


@pytest.fixture(scope="module")
def two_ranks(paddle_xpu: ModuleType) -> list[str]:
    return on_cards(SCRIPTS / "collectives.py", 2, seconds=120)


@pytest.mark.parametrize("name", CASES)
def test_on_two_cards(two_ranks: list[str], name: str) -> None:
    for text in two_ranks:
        assert re.search(rf"^passed {name}$", text, re.MULTILINE), text[text.find(f"failed {name}:") :][:3000]


@pytest.mark.slow
@pytest.mark.parametrize("cards", [3, 4])
def test_on_several_cards(paddle_xpu: ModuleType, cards: int) -> None:
    for text in on_cards(SCRIPTS / "collectives.py", cards, seconds=200):
        assert re.findall(r"^passed (\w+)$", text, re.MULTILINE) == CASES, text[-6000:]
