# Collectives between two machines, which are two network name spaces joined by a cable, beside NumPy; and what becomes of
# a group when the cable is cut or a rank on the other machine dies.
from __future__ import annotations

from pathlib import Path

import programs
import pytest
from machines import ADDRESSES, Cable, Ranks

PLACES = {
    "2x1": [0, 1],
    "2x2": [0, 0, 1, 1],
    "2x3": [0, 0, 0, 1, 1, 1],
    "mixed": [0, 1, 0, 1],
    "1+3": [1, 0, 1, 1],
}


def on(
    cable: Cable,
    places: list[int],
    name: str,
    *arguments: object,
    folder: Path,
    timeout: float = 120,
    **variables: str,
) -> list:
    ranks = Ranks(cable, places, f"machine_programs:{name}", *arguments, folder=folder, environment=variables)
    found = ranks.results(timeout)
    for rank, value in enumerate(found):
        assert not (isinstance(value, str) and value.startswith("Traceback")), f"rank {rank}: {value}"
    return found


@pytest.mark.parametrize("shape", ["2x1", "2x2", "1+3"])
def test_every_collective(cable: Cable, shape: str, tmp_path: Path) -> None:
    sizes = [0, 1, 33, 12000]
    found = on(
        cable, PLACES[shape], "every_collective", list(programs.ALL), sizes, folder=tmp_path, timeout=300
    )
    assert min(found) == max(found) > 400


@pytest.mark.slow
@pytest.mark.parametrize("shape", list(PLACES))
def test_every_collective_of_many_sizes(cable: Cable, shape: str, tmp_path: Path) -> None:
    sizes = [0, 1, 33, 1025, 100003, 1 << 20]
    on(cable, PLACES[shape], "every_collective", list(programs.ALL), sizes, folder=tmp_path, timeout=1500)


@pytest.mark.slow
@pytest.mark.parametrize("shape", ["2x1", "2x2"])
def test_of_64_megabytes(cable: Cable, shape: str, tmp_path: Path) -> None:
    on(cable, PLACES[shape], "large", 64, folder=tmp_path, timeout=900, OPENXPU_CARD_MEMORY="3G")


@pytest.mark.parametrize("shape", ["2x2", "mixed", "1+3"])
def test_the_same_bits_everywhere(cable: Cable, shape: str, tmp_path: Path) -> None:
    assert on(cable, PLACES[shape], "same_bits", folder=tmp_path) == [12] * 4


def test_averages_of_halves_do_not_overflow(cable: Cable, tmp_path: Path) -> None:
    assert on(cable, PLACES["1+3"], "halves_do_not_overflow", folder=tmp_path) == [60000.0] * 4


@pytest.mark.parametrize("seed", range(2))
def test_several_groups_at_once(cable: Cable, seed: int, tmp_path: Path) -> None:
    assert on(cable, PLACES["2x2"], "several_groups", seed, folder=tmp_path) == [90] * 4


def test_a_rank_that_ends_delivers_what_it_sent(cable: Cable, tmp_path: Path) -> None:
    assert on(cable, PLACES["2x1"], "sends_before_the_end", folder=tmp_path)[0] == 21_000_000


@pytest.mark.parametrize("how", ["cut", "killed", "stalls"])
@pytest.mark.parametrize("shape", ["2x1", "2x2"])
def test_a_lost_machine_is_named_on_every_rank(cable: Cable, shape: str, how: str, tmp_path: Path) -> None:
    places = PLACES[shape]
    n, limit = len(places), 5
    ranks = Ranks(
        cable, places, "machine_programs:one_machine_is_lost", how, str(tmp_path), 3,
        folder=tmp_path, environment={"OPENXPU_COLLECTIVE_TIMEOUT": str(limit)},
    )  # fmt: skip
    for rank in range(n):
        ranks.wait_for(f"ready-{rank}")
    if how == "cut":
        cable.cut()
    (tmp_path / "go").touch()
    found = ranks.results(60)
    for rank, seen in enumerate(found):
        if how != "cut" and rank == n - 1:
            assert not seen
            continue
        assert isinstance(seen, list), f"rank {rank}: {seen or ranks.log(rank)}"
        [(first, second, took)] = seen
        other = 1 - places[rank]
        if how == "cut":
            # Each side names a rank of the other one.
            lost = [r for r in range(n) if places[r] == other]
            assert any(f"Rank {r} of {n} (at {ADDRESSES[other]})" in first for r in lost), first
        else:
            # Of a rank that stalls others may only hear that those of its machine wait for it.
            late = [n - 1] if how == "killed" or other != 1 else [r for r in range(n) if places[r] == 1]
            assert any(f"Rank {r} of {n}" in first for r in late), first
            assert ("has died" if how == "killed" else "did not come to") in first, first
        assert "all_reduce of 100000 float32 (sum), collective 3" in first, first
        assert "can no longer be used" in second, second
        assert took < limit + 1.5, first


@pytest.mark.parametrize("how", ["size", "large size", "dtype", "kind", "letter"])
def test_ranks_that_disagree(cable: Cable, how: str, tmp_path: Path) -> None:
    found = on(cable, PLACES["2x1"], "disagree", how, folder=tmp_path, OPENXPU_COLLECTIVE_TIMEOUT="5")
    # Each rank finds out by itself, unless the other one has told it before.
    first, second = {
        "size": ("rank 1 called it with another count", "rank 0 called it with another count"),
        "large size": ("rank 1 called it with another count", "rank 0 called it with another count"),
        "dtype": ("rank 1 called all_reduce of int32 (sum)", "rank 0 called all_reduce of float32 (sum)"),
        "kind": ("rank 1 called all_gather of float32", "rank 0 called all_reduce of float32 (sum)"),
        "letter": ("Rank 0 sent more than 5 float32 to rank 1, which receives 5 float32",) * 2,
    }[how]
    assert all(first in text or second in text for text in found), found


def test_a_rank_that_never_comes(cable: Cable, tmp_path: Path) -> None:
    ranks = Ranks(
        cable,
        [0, 1],
        "machine_programs:same_bits",
        folder=tmp_path,
        environment={"OPENXPU_COLLECTIVE_TIMEOUT": "2"},
    )
    ranks.processes[1].kill()
    assert "waited 2 s at 10.77.0.1 for rank 1 to join" in ranks.results(60)[0]
