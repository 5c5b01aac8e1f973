"""Cards share the machine fairly: memory, processors, and what one takes is not missing at another."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any

import pytest


def shares(env: dict[str, str], code: str, **variables: str) -> Any:
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**env, **variables}, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


PROPERTIES = """
import json, openxpu
print(json.dumps([openxpu.Device(i).properties for i in range(openxpu.device_count())]))
"""


@pytest.mark.parametrize("cards", [1, 3, 8, 64])
def test_equal_parts_of_memory_and_processors(cards: int, python_here: dict[str, str]) -> None:
    for name in ("OPENXPU_CARD_MEMORY", "OPENXPU_CARD_THREADS"):
        python_here.pop(name, None)
    found = shares(python_here, PROPERTIES, OPENXPU_CARDS=str(cards))
    assert len(found) == cards
    (memory,), (workers,) = {p["memory_limit"] for p in found}, {p["workers"] for p in found}
    machine = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    assert cards * memory <= machine * 3 // 4
    processors = len(os.sched_getaffinity(0))
    assert workers == max(1, processors // cards)
    assert workers == 1 or cards * workers <= processors


THREADS = """
import json, os
import machine_code, openxpu
cards = [openxpu.Device(i) for i in range(openxpu.device_count())]
outs = [openxpu.zeros(1 << 14, "i64", card) for card in cards]
for card, out in zip(cards, outs):
    card.card.current_stream.launch(machine_code.step(), (1 << 14, 1, 1), [out.data_ptr(), 4])
for card, out in zip(cards, outs):
    assert (out.numpy() == 4).all()
names = [open(f"/proc/self/task/{task}/comm").read().strip() for task in os.listdir("/proc/self/task")]
print(json.dumps([names.count("openxpu-worker"), names.count("openxpu-stream")]))
"""


@pytest.mark.parametrize(("processors", "cards", "helpers"), [(2, 8, 0), (2, 2, 0), (2, 1, 1)])
def test_cards_have_no_more_threads_than_their_share(
    processors: int, cards: int, helpers: int, python_here: dict[str, str]
) -> None:
    """A card's stream works with its workers: one thread fewer than workers is started for each card."""
    allowed = sorted(os.sched_getaffinity(0))[:processors]
    if len(allowed) < processors:
        pytest.skip(f"this test takes {processors} processors, and has {len(allowed)}")
    python_here.pop("OPENXPU_CARD_THREADS", None)
    code = f"import os; os.sched_setaffinity(0, {allowed})\n" + THREADS
    workers, streams = shares(python_here, code, OPENXPU_CARDS=str(cards))
    assert workers == helpers * cards
    assert streams <= cards


LIMITS = """
import json, openxpu
kept, refused = [], 0
for i in range(openxpu.device_count()):
    limit = openxpu.memory_stats(i)["limit"]
    kept.append(openxpu.empty((limit - (1 << 20),), "u8", i))
    try:
        openxpu.empty((2 << 20,), "u8", i)
    except openxpu.OutOfMemory as error:
        refused += f"xpu:{i}" in str(error)
print(json.dumps([len(kept), refused]))
"""


def test_a_full_card_takes_nothing_from_the_others(python_here: dict[str, str]) -> None:
    assert shares(python_here, LIMITS, OPENXPU_CARDS="8") == [8, 8]
