# Ranks that go wrong in the tests of faults; what the others saw is left in a folder.
from __future__ import annotations

import contextlib
import ctypes
import json
import os
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

import openxpu
from openxpu.collectives import Group

COLLECTIVES: dict[str, Callable[[Group, openxpu.Array], object]] = {
    "all_reduce": lambda g, x: g.all_reduce(x),
    "reduce": lambda g, x: g.reduce(x),
    "broadcast": lambda g, x: g.broadcast(x),
    "all_gather": lambda g, x: g.all_gather(x),
    "reduce_scatter": lambda g, x: g.reduce_scatter(x.view((g.ranks, x.size // g.ranks))),
    "all_to_all": lambda g, x: g.all_to_all([x] * g.ranks, [openxpu.empty(x.shape) for _ in range(g.ranks)]),
    "barrier": lambda g, _: g.barrier(),
    "receive": lambda g, x: g.receive(openxpu.empty(x.shape), 1),
}


def failure_of(call: Callable[[], object]) -> str:
    try:
        call()
        openxpu.synchronize()
    except openxpu.Error as error:
        with contextlib.suppress(openxpu.Error):
            openxpu.synchronize()  # where a later call refused first, the stream still has the failure
        return str(error)
    return "no failure"


def leave_word(folder: str, group: Group, **what: Any) -> None:
    """Whole or not at all: others wait for the file."""
    unfinished = Path(folder, f"{group.rank}.unfinished")
    unfinished.write_text(json.dumps({"pid": os.getpid(), **what}))
    unfinished.rename(Path(folder, f"{group.rank}.json"))


def await_words(folder: str, *ranks: int) -> None:
    while not all(Path(folder, f"{rank}.json").exists() for rank in ranks):
        time.sleep(0.02)


def stop(how: str, group: Group, folder: str) -> None:
    """Rank 1 ceases to take part; returns, if it does, when the others have given up."""
    if how == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
    elif how == "exits":
        os._exit(0)
    elif how == "stopped":  # alive, and not even the run time's threads run
        os.kill(os.getpid(), signal.SIGSTOP)
    elif how == "stalls":
        await_words(folder, *(rank for rank in range(group.ranks) if rank != 1))


def before_a_collective(group: Group, collective: str, how: str, size: int, folder: str) -> None:
    """Rank 1 stops before a collective that the others enter. Not every collective has to wait for every rank, so a
    barrier follows it."""
    x = openxpu.zeros((size,))
    group.all_reduce(x)
    openxpu.synchronize()

    def calls() -> None:
        COLLECTIVES[collective](group, x)
        openxpu.synchronize()
        group.barrier()

    if group.rank == 1:
        Path(folder, "stopping").write_text(str(os.getpid()))
        stop(how, group, folder)
        if how != "returns":
            leave_word(folder, group, first=failure_of(calls), second=failure_of(calls))
        return
    leave_word(folder, group, first=failure_of(calls), second=failure_of(calls))
    if how == "stopped" and group.rank == 0:
        await_words(folder, 2)
        os.kill(int(Path(folder, "stopping").read_text()), signal.SIGCONT)


def inside_a_collective(group: Group, collective: str, folder: str) -> None:
    """Rank 1 dies when a part of its result is there and another part is not."""
    count = (48 << 20) // 4
    ones = openxpu.from_numpy(np.ones(count, "f4"))
    out = openxpu.zeros((group.ranks, count) if collective == "all_gather" else (count,))
    openxpu.synchronize()
    group.barrier()
    openxpu.synchronize()
    if group.rank == 1:
        seen = (ctypes.c_float * out.size).from_address(out.data_ptr())
        places = [out.size * k // 61 for k in range(61)] + [out.size - 1]

        def watch() -> None:
            while not any(seen[place] for place in places):
                pass
            whole = all(seen[place] for place in places)
            Path(folder, "whole" if whole else "partly").touch()
            os.kill(os.getpid(), signal.SIGKILL)

        threading.Thread(target=watch, daemon=True).start()

    def calls() -> None:
        if collective == "all_reduce":
            group.all_reduce(ones, out=out)
        elif collective == "all_gather":
            group.all_gather(ones, out=out)
        else:
            group.broadcast(ones if group.rank == 0 else out)
        openxpu.synchronize()
        group.barrier()

    leave_word(folder, group, first=failure_of(calls), second=failure_of(calls))


def after_a_collective(group: Group, folder: str) -> None:
    """Rank 1 dies when all have their result, and nothing more is asked of it."""
    out = group.all_reduce(openxpu.from_numpy(np.ones(1 << 20, "f4")))
    openxpu.synchronize()
    if group.rank == 1:
        await_words(folder, 0, 2)
        os.kill(os.getpid(), signal.SIGKILL)
    leave_word(folder, group, right=bool((out.numpy() == group.ranks).all()))


DISAGREEMENTS: dict[str, tuple[Callable[[Group], object], Callable[[Group], object], str, str]] = {
    # what rank 1 calls, what the others call; the words of both
    "operation": (
        lambda g: g.all_reduce(openxpu.zeros((9,)), "max"),
        lambda g: g.all_reduce(openxpu.zeros((9,))),
        "all_reduce of 9 float32 (max)",
        "all_reduce of 9 float32 (sum)",
    ),
    "root": (
        lambda g: g.broadcast(openxpu.zeros((9,)), 2),
        lambda g: g.broadcast(openxpu.zeros((9,)), 0),
        "broadcast of 9 float32, root 2",
        "broadcast of 9 float32, root 0",
    ),
    "a small and a large size": (
        lambda g: g.all_reduce(openxpu.zeros((1 << 20,))),
        lambda g: g.all_reduce(openxpu.zeros((2,))),
        "all_reduce of 1048576 float32 (sum)",
        "all_reduce of 2 float32 (sum)",
    ),
    "nothing and something": (
        lambda g: g.all_gather(openxpu.zeros((0,))),
        lambda g: g.all_gather(openxpu.zeros((5,))),
        "all_gather of 0 float32",
        "all_gather of 5 float32",
    ),
    "dtypes of one size": (
        lambda g: g.reduce_scatter(openxpu.zeros((3, 7), "i32")),
        lambda g: g.reduce_scatter(openxpu.zeros((3, 7))),
        "reduce_scatter of 7 int32 (sum)",
        "reduce_scatter of 7 float32 (sum)",
    ),
    "order": (
        lambda g: (g.barrier(), g.all_reduce(openxpu.zeros((4,)))),
        lambda g: (g.all_reduce(openxpu.zeros((4,))), g.barrier()),
        "barrier",
        "all_reduce of 4 float32 (sum)",
    ),
    "parts": (
        lambda g: g.all_to_all([openxpu.zeros((4,))] * 3, [openxpu.zeros((n,)) for n in (4, 4, 4)]),
        lambda g: g.all_to_all(
            [openxpu.zeros((n,)) for n in (4, 5, 4)], [openxpu.zeros((4,)) for _ in range(3)]
        ),
        "sends 5 elements to rank 1",
        "which expects 4",
    ),
}


def disagree(group: Group, case: str) -> tuple[str, str]:
    first, others, _, _ = DISAGREEMENTS[case]
    call = first if group.rank == 1 else others
    seen = failure_of(lambda: (call(group), openxpu.synchronize(), group.barrier()))
    return seen, failure_of(group.barrier)


def endless(group: Group, folder: str) -> None:
    leave_word(folder, group)
    while True:
        group.barrier()
        openxpu.synchronize()
