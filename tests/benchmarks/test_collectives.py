# The table of collectives is the one that its stored figures give.
from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
sys.path.append(str(ROOT))  # last: an installed openxpu goes before the tree's

from benchmarks import collectives  # noqa: E402

DOCS = ROOT / "docs"


def test_the_page_shows_the_stored_figures():
    stored = DOCS / "collectives.json"
    if not stored.exists():
        pytest.skip("docs/collectives.json is not there; `python -m benchmarks.collectives --write` makes it")
    _, _, rest = (DOCS / "distributed.md").read_text().partition(collectives.MARKS[0])
    shown, _, _ = rest.partition(collectives.MARKS[1])
    assert shown.strip() == collectives.render(json.loads(stored.read_text())).strip(), (
        "run `python -m benchmarks.collectives --render`"
    )


def test_what_has_to_be_moved():
    """Every rank reads and writes each byte once; of a reduce_scatter it writes its part alone."""
    assert collectives.moved("all_reduce", 1000, 4) == 8000
    assert collectives.moved("reduce_scatter", 1000, 4) == 5000
    assert collectives.moved("broadcast", 1000, 4) == 6000
