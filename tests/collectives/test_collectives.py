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
    def files() -> set[str]:  # but for semaphores of whatever else runs on the machine
        return {name for name in os.listdir("/dev/shm") if not name.startswith("sem.mp-")}

    before = files()
    yield
    assert files() <= before


@pytest.mark.parametrize("ranks", [2, 3])
def test_every_collective(ranks):
    found = spawn(programs.every_collective, ranks, list(programs.ALL), [0, 1, 33, 5000], timeout=300)
    assert min(found) == max(found) > 400


@pytest.mark.slow
@pytest.mark.parametrize("dtype", programs.ALL)
@pytest.mark.parametrize("ranks", [2, 3, 4, 8])
def test_every_collective_of_many_sizes(ranks, dtype):
    spawn(programs.every_collective, ranks, [dtype], [0, 1, 33, 1025, 1 << 20], timeout=550)


@pytest.mark.slow
@pytest.mark.parametrize("ranks", [2, 3, 4, 8])
def test_64_megabytes_of_all_ranks(ranks):
    spawn(programs.every_collective, ranks, ["f32"], [(1 << 24) // ranks], timeout=550)


@pytest.mark.slow
def test_large_vectors():
    """64 MB of each rank go past the cache."""
    spawn(programs.every_collective, 2, ["f32"], [1 << 24], timeout=550)


def test_bf16_is_rounded_once():
    assert spawn(programs.bf16, 3) == [3, 3, 3]


@pytest.mark.parametrize("seed", range(3))
def test_interleaved_on_several_groups(seed):
    ids = [unique_id() for _ in range(2)]
    counts = spawn(programs.interleaved, 3, ids, seed, timeout=120)
    assert counts == [counts[0]] * 3
    assert counts[0] >= 150


@pytest.mark.parametrize("ranks", [2, 4])
def test_sizes_where_the_way_changes(ranks):
    """What a cache line carries, what a slot carries, what goes through memory, and what another thread does."""
    kilobytes = [256 * k + d for k in (2, 4, 8, 16, 256) for d in (-1, 0, 1)]
    spawn(programs.every_collective, ranks, ["f32"], [5, 6, 7, *kilobytes], timeout=300)


def test_letters_of_two_streams():
    assert spawn(programs.letters_of_two_streams, 2, timeout=60) == [2, 2]


def test_letters_that_are_read_late():
    spawn(programs.unread_letters, 2, [unique_id() for _ in range(2)], timeout=60)


def test_cards_of_one_process(monkeypatch):
    monkeypatch.setenv("OPENXPU_CARDS", "2")
    spawn(programs.one_process_of_two_cards, 1, timeout=60)


def test_a_wait_can_be_interrupted():
    assert spawn(programs.interrupted, 2, timeout=60)[0] == "interrupted"


def test_unique_ids_are_closed():
    def open_ids() -> int:
        links = (os.path.join("/proc/self/fd", name) for name in os.listdir("/proc/self/fd"))
        return sum("openxpu-communicator" in os.readlink(link) for link in links if os.path.islink(link))

    unique_id()  # closes those that earlier tests have used
    before = open_ids()
    ids = [unique_id() for _ in range(2)]
    assert open_ids() == before + 2
    spawn(programs.interleaved, 2, ids, 7, timeout=120)
    unique_id()
    assert open_ids() == before + 1


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
    assert spawn(programs.wrong_arguments, 1, timeout=60) == [12]
