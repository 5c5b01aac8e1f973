# Collectives between processes, beside NumPy; and what becomes of a group when a rank fails.
from __future__ import annotations

import json
import os
import re

import programs
import pytest

from openxpu.collectives import spawn, unique_id


@pytest.fixture(autouse=True)
def nothing_left():
    before = set(os.listdir("/dev/shm"))
    yield
    assert set(os.listdir("/dev/shm")) <= before


@pytest.mark.parametrize("ranks", [2, 3])
def test_every_collective(ranks):
    found = spawn(programs.every_collective, ranks, list(programs.ALL), [0, 1, 33, 5000], timeout=300)
    assert min(found) == max(found) > 400


@pytest.mark.slow
@pytest.mark.parametrize("ranks", [2, 3, 4, 8])
def test_every_collective_of_many_sizes(ranks):
    spawn(programs.every_collective, ranks, list(programs.ALL), [0, 1, 33, 1025, 1 << 20], timeout=900)
    spawn(programs.every_collective, ranks, ["f32"], [(1 << 24) // ranks], timeout=900)


def test_bf16_is_rounded_once():
    assert spawn(programs.bf16, 3) == [3, 3, 3]


@pytest.mark.parametrize("seed", range(3))
def test_interleaved_on_several_groups(seed):
    ids = [unique_id() for _ in range(2)]
    assert spawn(programs.interleaved, 3, ids, seed, timeout=120) == [120] * 3


@pytest.mark.parametrize("how", ["killed", "leaves", "stalls"])
def test_a_rank_that_stops_is_named(how, monkeypatch, tmp_path):
    monkeypatch.setenv("OPENXPU_COLLECTIVE_TIMEOUT", "3")
    if how == "stalls":
        spawn(programs.one_stops, 3, how, str(tmp_path), timeout=60)
    else:
        with pytest.raises(RuntimeError, match="1 of 3 ranks failed\nrank 1: the process died"):
            spawn(programs.one_stops, 3, how, str(tmp_path), timeout=60)
    for rank in ("0", "2"):
        first, second, took = json.loads((tmp_path / rank).read_text())
        if how == "stalls":
            assert "Rank 1 of 3 did not come to all_reduce of 100000 float32" in first
            assert took > 2.5
        else:
            assert re.search(r"Rank 1 of 3 \(process \d+\) has died", first), first
            assert "all_reduce of 100000 float32" in first
        assert took < 6
        assert "can no longer be used" in second


@pytest.mark.parametrize("how", ["size", "dtype", "kind", "letter"])
def test_ranks_that_disagree(how, monkeypatch):
    monkeypatch.setenv("OPENXPU_COLLECTIVE_TIMEOUT", "5")
    first, second = spawn(programs.disagree, 2, how, timeout=60)
    expected = {
        "size": "rank 0 called all_reduce of 1000 float32 (sum), rank 1 called all_reduce of 999 float32 (sum)",
        "dtype": "rank 1 called all_reduce of 1000 int32 (sum)",
        "kind": "rank 1 called broadcast of 1000 float32, root 0",
        "letter": "Rank 0 sent 1000 float32 to rank 1, which receives 5 float32",
    }[how]
    assert expected in first
    assert expected in second


def test_a_rank_that_never_joins(monkeypatch):
    monkeypatch.setenv("OPENXPU_COLLECTIVE_TIMEOUT", "1")
    import subprocess
    import sys

    script = "from openxpu.collectives import *; Group(unique_id(), 3, 0)"
    done = subprocess.run(
        [sys.executable, "-c", script], check=False, capture_output=True, text=True, timeout=60
    )
    assert "waited 1 s for rank 1, 2 to join" in done.stderr


def test_wrong_arguments():
    # In a process of its own: a card's memory would lie between the compiler's tests and their code.
    assert spawn(programs.wrong_arguments, 1, timeout=60) == [7]
