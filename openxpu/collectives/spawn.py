# Starts the ranks of a group as processes on this machine.
from __future__ import annotations

import contextlib
import multiprocessing
import multiprocessing.connection
import os
import signal
import threading
import traceback
from collections.abc import Callable
from typing import Any, cast


def spawn(function: Callable[..., Any], ranks: int, *arguments: Any, timeout: float = 600.0) -> list[Any]:
    """What function(group, *arguments) returns on each of `ranks` new processes, by rank.

    The function has to be importable; what it returns, picklable. Rank r has card r. Raises RuntimeError with every
    rank's traceback when one fails or dies, and TimeoutError after `timeout` seconds; no process is left then."""
    context = multiprocessing.get_context("spawn")
    before = {name: os.environ.get(name) for name in ("OPENXPU_ARENA", "OPENXPU_CARDS")}
    os.environ["OPENXPU_ARENA"] = "shared"
    os.environ["OPENXPU_CARDS"] = str(max(ranks, int(before["OPENXPU_CARDS"] or 1)))
    pipes, processes = [], []
    try:
        for rank in range(ranks):
            here, there = context.Pipe()
            process = context.Process(
                target=_rank, args=(there, function, ranks, rank, arguments), daemon=True
            )
            process.start()
            there.close()
            pipes.append(here)
            processes.append(process)
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
    try:
        return _collect(pipes, timeout)
    finally:
        for process in processes:
            process.join(5)
            if process.is_alive():
                process.kill()
                process.join()


def _collect(pipes: list[Any], timeout: float) -> list[Any]:
    found: dict[int, Any] = {}
    failures: dict[int, str] = {}
    named = False
    numbers = {id(pipe): rank for rank, pipe in enumerate(pipes)}
    waiting = list(pipes)
    while waiting:
        ready = multiprocessing.connection.wait(waiting, timeout)
        if not ready:
            late = ", ".join(str(numbers[id(p)]) for p in waiting)
            raise TimeoutError(f"rank {late} did not end within {timeout} s")
        for pipe in cast("list[Any]", ready):
            rank = numbers[id(pipe)]
            try:
                kind, value = pipe.recv()
            except (EOFError, ConnectionResetError):
                kind, value = "failed", "the process died"
            if kind == "id" or (rank == 0 and not named):
                named = True
                for other in pipes if kind == "id" else pipes[1:]:
                    with contextlib.suppress(BrokenPipeError):  # it died: its own turn tells
                        other.send(value if kind == "id" else None)
            if kind == "id":
                continue
            waiting.remove(pipe)
            (found if kind == "done" else failures)[rank] = value
    if failures:
        text = "\n".join(f"rank {rank}: {failures[rank]}" for rank in sorted(failures))
        raise RuntimeError(f"{len(failures)} of {len(pipes)} ranks failed\n{text}")
    return [found[rank] for rank in range(len(pipes))]


def _end_with_parent() -> None:
    """Whoever started the rank may be killed, and then nobody else ends it."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os.kill(os.getpid(), signal.SIGKILL)


def _rank(pipe: Any, function: Callable[..., Any], ranks: int, rank: int, arguments: tuple[Any, ...]) -> None:
    threading.Thread(target=_end_with_parent, daemon=True).start()
    try:
        from openxpu.collectives.group import Group, unique_id
        from openxpu.runtime.device import set_device, synchronize

        set_device(rank)
        if rank == 0:
            pipe.send(("id", unique_id()))
        name = pipe.recv()
        if name is None:
            raise RuntimeError("rank 0 failed before it had made the group")
        group = Group(name, ranks, rank)
        value = function(group, *arguments)
        synchronize()
        pipe.send(("done", value))
    except BaseException:
        pipe.send(("failed", traceback.format_exc()))
