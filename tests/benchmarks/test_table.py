"""The benchmark page is what its JSON says, and the README cites no figure that the page does not have."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
sys.path.append(str(ROOT))  # last: an installed openxpu goes before the tree's

from benchmarks import peers, table  # noqa: E402

STORED = ROOT / "docs" / "benchmarks.json"


def rows(ours: float | None, **others: float) -> list[dict[str, object]]:
    first = {"peer": "openxpu", "milliseconds": ours, "fastest": ours, "against_ours": 1.0, "note": ""}
    return [first] + [
        {
            "peer": name.replace("_", " "),
            "milliseconds": value,
            "fastest": value,
            "against_ours": value / (ours or 1),
        }
        for name, value in others.items()
    ]


def page(found: list[dict[str, object]]) -> str:
    return table.render({"resnet18": {"machine": peers.machine(), "works": {table.GOALS[0].title: found}}})


def test_a_reached_and_a_missed_goal_are_told_apart() -> None:
    text = page(rows(10.0, paddle=30.0, torch=5.0))
    assert "**3.00x** (goal 2.5x)" in text
    assert "**0.50x** (goal 0.85x, missed)" in text
    assert "not measured (goal 1.4x)" in text


def test_torch_stands_with_its_faster_layout() -> None:
    text = page(rows(10.0, torch=12.0, **{"torch_channels-last": 9.0}))
    assert "**0.90x** (goal 0.85x)" in text


def test_a_peer_that_did_not_run_has_no_figure() -> None:
    text = page(
        [*rows(10.0), {"peer": "torch", "milliseconds": None, "against_ours": None, "note": "not here"}]
    )
    assert "| torch | did not run |" in text


def test_a_kernel_is_one_line_for_both_thread_counts() -> None:
    works = {"softmax, 1 thread": rows(10.0, torch=12.0), "softmax, 2 threads": rows(10.0, torch=9.0)}
    goals = dict.fromkeys(works, 1.0)
    text = table.render({"kernels": {"machine": peers.machine(), "works": works, "goals": goals}})
    assert "| softmax | 10.00 ms | 1.20x | 10.00 ms | 0.90x (missed) | 1x |" in text


@pytest.mark.skipif(not STORED.exists(), reason="no benchmark has been stored yet")
def test_the_stored_page_is_fresh() -> None:
    text = table.render(json.loads(STORED.read_text()))
    assert (ROOT / "docs" / "benchmarks.md").read_text() == text, "run `python -m benchmarks.table --render`"
