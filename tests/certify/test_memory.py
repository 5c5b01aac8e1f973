"""Workers that share a machine's memory: who goes when it runs out, and comes again alone."""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import Any

import pytest

from openxpu.certify import command, memory, report


def test_the_memory_that_is_left_is_a_part_of_all() -> None:
    assert 0.0 < memory.available() <= 1.0


def test_who_came_last_goes_and_comes_again_alone() -> None:
    free = 0.5
    room = memory.Room(lambda: free)
    order: list[str] = []
    again_inside = threading.Event()

    def visit(who: str, alone: bool, stays: threading.Event | None = None) -> threading.Thread:
        def body() -> None:
            with room.place(who, alone):
                order.append(who)
                if stays is not None:
                    again_inside.set()
                    stays.wait(10)
            order.append(f"{who} left")

        thread = threading.Thread(target=body, daemon=True)
        thread.start()
        return thread

    leave = threading.Event()
    with room.place("first", False):
        with room.place("second", False):
            assert not room.too_full("second")
            free = 0.05
            assert room.too_full("second")
            assert not room.too_full("first")
        again = visit("second", True, leave)
        while room._alone is None:
            pass
        third = visit("third", False)
        assert not again_inside.wait(0.2)
        assert order == []
        assert not room.too_full("first")  # nobody else is inside
    assert again_inside.wait(10)
    assert order == ["second"]
    leave.set()
    again.join(10)
    third.join(10)
    assert set(order[1:]) == {"second left", "third", "third left"}


def test_nobody_starts_after_closing() -> None:
    room = memory.Room()
    with room.place("first", False):
        room.close()
        with pytest.raises(memory.Closed), room.place("second", True):
            pass
    with pytest.raises(memory.Closed), room.place("third", False):
        pass


@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="needs two cores")
def test_models_that_had_to_go_are_certified_after_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    monkeypatch.setattr(memory, "LITTLE", 2.0)  # memory is always short
    order = command.Order(names=("dlinear", "gmf"), mode="lite-train-lite-infer", output=tmp_path, jobs=2)
    assert command.run(order, True) == 0, capsys.readouterr()
    found = [command.kept(order, name) for name in order.names]
    assert all(result is not None and report.passed(result) for result in found)
