# `openxpu topo` and `openxpu smi`, seen from outside.
from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import faulty
import pytest

from openxpu.runtime import smi

COMMAND = [sys.executable, "-m", "openxpu.cli"]


def run(*words: str, code: int = 0, **variables: str) -> str:
    done = subprocess.run(
        [*COMMAND, *words],
        env={**os.environ, "COLUMNS": "160", **variables}, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == code, done.stderr
    return done.stdout if code == 0 else done.stderr


def test_topo_measures_every_pair() -> None:
    data = json.loads(run("topo", "--json", OPENXPU_CARDS="3"))
    assert [card["card"] for card in data["cards"]] == [0, 1, 2]
    kinds = sorted((k["source"], k["target"], k["path"]) for k in data["links"])
    one = [(a, b, "self" if a == b else "process") for a in range(3) for b in range(3)]
    ranks = [(a, b, "memory") for a in range(3) for b in range(3) if a != b]
    assert kinds == sorted(one + ranks)
    # No machine is so slow or so fast: a unit that is wrong would show.
    assert all(1e7 < k["bandwidth"] < 1e13 for k in data["links"])
    assert all(1e-8 < k["latency"] < 1 for k in data["links"])


def test_topo_shows_a_table_and_a_legend() -> None:
    text = run("topo", OPENXPU_CARDS="2")
    assert [line.split() for line in text.splitlines() if line.strip().startswith("xpu:")][:2] == [
        ["xpu:0", "SELF", "MAP"],
        ["xpu:1", "MAP", "SELF"],
    ]
    for words in ("GB/s", "us until", "SELF ", "PROC ", "MAP ", "2 of "):
        assert words in text


def test_topo_of_one_card_and_of_small_ones() -> None:
    assert "OPENXPU_CARDS shows more" in run("topo", OPENXPU_CARDS="1")
    data = json.loads(run("topo", "--json", OPENXPU_CARDS="2", OPENXPU_CARD_MEMORY="2M"))
    assert len(data["links"]) == 6


def test_topo_says_what_is_wrong() -> None:
    text = run("topo", code=1, OPENXPU_CARDS="many")
    assert text == 'openxpu: OPENXPU_CARDS is "many"; give a whole number from 1 to 64.\n'
    text = run("topo", code=1, OPENXPU_CARDS="2", OPENXPU_COLLECTIVE_TIMEOUT="soon")
    assert "OPENXPU_COLLECTIVE_TIMEOUT" in text
    assert "Traceback" not in text


def found(pids: list[int]) -> dict[int, dict[str, Any]]:
    cards = json.loads(run("smi", "--json", OPENXPU_CARDS="2"))["cards"]
    return {
        p["pid"]: {"card": card["card"], **p} for card in cards for p in card["processes"] if p["pid"] in pids
    }


def test_smi_shows_the_ranks_of_a_group(tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(
        "import sys\nimport faulty\nfrom openxpu.collectives import spawn\n"
        "if __name__ == '__main__':\n    spawn(faulty.endless, 2, sys.argv[1])\n"
    )
    path = os.pathsep.join([str(Path(faulty.__file__).parent), *filter(None, sys.path)])
    with subprocess.Popen(
        [sys.executable, str(program), str(tmp_path)],
        env={**os.environ, "PYTHONPATH": path}, stderr=subprocess.DEVNULL,
    ) as parent:  # fmt: skip
        try:
            files = [tmp_path / f"{rank}.json" for rank in range(2)]
            end = time.monotonic() + 60
            while not all(file.exists() for file in files) and time.monotonic() < end:
                time.sleep(0.05)
            pids = [json.loads(file.read_text())["pid"] for file in files]
            ranks = found(pids)
            assert [ranks[pid]["card"] for pid in pids] == [0, 1]
            groups = [ranks[pid]["groups"] for pid in pids]
            assert [[(g["rank"], g["ranks"], g["state"]) for g in one] for one in groups] == [
                [(0, 2, "ready")],
                [(1, 2, "ready")],
            ]
            name = groups[0][0]["name"]
            assert groups[1][0]["name"] == name
            assert all(ranks[pid]["memory_limit"] > 0 for pid in pids)
            table = run("smi", OPENXPU_CARDS="2")
            assert f"{name} 0/2" in table
            assert f"{name} 1/2" in table
            os.kill(pids[1], signal.SIGKILL)
            parent.wait(60)
            assert found(pids) == {}
        finally:
            parent.kill()


@pytest.mark.parametrize(
    ("states", "sentence"),
    [
        ({0: "ready", 1: "ready", 2: "ready"}, []),
        ({0: "joining", 2: "joining"}, ["Group ab waits for rank 1 of 3 to join."]),
        ({0: "failed", 1: "ready", 2: "failed"}, ["Group ab has failed; rank 0, 2 of 3 can say why."]),
        ({0: "ready"}, ["Group ab: rank 1, 2 of 3 is not to be seen here."]),
    ],
)
def test_incomplete_groups_have_a_sentence(states: dict[int, str], sentence: list[str]) -> None:
    groups = [{"name": "ab", "rank": rank, "ranks": 3, "state": state} for rank, state in states.items()]
    assert smi.waiting({"cards": [{"processes": [{"groups": [g]} for g in groups]}]}) == sentence
