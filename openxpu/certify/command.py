"""`openxpu certify`: models one after the other, each in a process of its own; resumes, shows progress, writes reports."""

from __future__ import annotations

import concurrent.futures
import contextlib
import hashlib
import json
import os
import queue
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import openxpu
from openxpu.certify import memory, report
from openxpu.models import Model, find

LIMIT = 1800  # seconds of one model


@dataclass(frozen=True)
class Order:
    """What is asked for. `inputs`: shapes of a user's own model."""

    names: tuple[str, ...] = ()
    tasks: tuple[str, ...] = ()
    inputs: tuple[str, ...] = ()
    mode: str = "all"
    batch: int = 2
    seed: int = 1
    output: Path = Path("certification")
    again: bool = False
    jobs: int = 1  # models at a time, each on its share of the cores


def key(order: Order, name: str) -> str:
    """Results of the same key are the same: the model, the stages, the version of OpenXPU and of Paddle."""
    import importlib.metadata

    material = [name, order.mode, order.batch, order.seed, order.inputs, openxpu.__version__]
    material.append(importlib.metadata.version("paddlepaddle"))
    return hashlib.sha256(json.dumps(material).encode()).hexdigest()[:16]


def result_file(order: Order, name: str) -> Path:
    return order.output / f"{name.replace('/', '_').replace(':', '_')}.json"


def kept(order: Order, name: str) -> dict[str, Any] | None:
    """What an earlier run found, if it was asked for the same."""
    try:
        found: dict[str, Any] = json.loads(result_file(order, name).read_text())
    except (OSError, ValueError):
        return None
    return found if found.get("key") == key(order, name) else None


def unpack(order: Order) -> None:
    """Results that lie only in the folder's models.json, as of a run elsewhere, become files of their own again."""
    try:
        results = json.loads((order.output / "models.json").read_text())
    except (OSError, ValueError):
        return
    for found in results:
        target = result_file(order, found["model"])
        if "key" in found and not target.exists():
            report.keep(target, json.dumps(found, indent=1))


def known(order: Order, name: str) -> dict[str, Any] | None:
    """The same, if all of it held: it is not tried again."""
    found = kept(order, name)
    return found if found is not None and report.passed(found) else None


def shares(jobs: int) -> list[list[int]]:
    """The cores that each of `jobs` workers gets. Raises ValueError when there are fewer cores than workers."""
    cores = sorted(os.sched_getaffinity(0))
    if not 1 <= jobs <= len(cores):
        raise ValueError(
            f"--jobs {jobs} was asked for; this machine offers 1 to {len(cores)}, one for each core."
        )
    return [cores[job * len(cores) // jobs : (job + 1) * len(cores) // jobs] for job in range(jobs)]


def certified(
    order: Order, name: str, model: Model | None, cores: Sequence[int], room: memory.Room
) -> dict[str, Any]:
    """Runs one model's worker on these cores. What ends without a result is a result too."""
    from openxpu.certify.stages import MODES

    if model is not None and model.missing:
        return {
            "model": name,
            "task": model.task,
            "source": model.source,
            "stages": {},
            "skipped": model.missing,
        }
    target = result_file(order, name)
    target.unlink(missing_ok=True)
    ask = {
        "model": name,
        "input": list(order.inputs),
        "stages": list(MODES[order.mode]),
        "batch": order.batch,
        "seed": order.seed,
        "result": str(target.resolve()),
        "key": key(order, name),
        "cores": list(cores),
    }
    root = str(Path(openxpu.__file__).parent.parent)
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(p for p in (root, os.environ.get("PYTHONPATH")) if p),
    }
    log = target.with_suffix(".log")

    def ended() -> int | None:
        """The worker's status; None where it took too long."""
        for alone in (False, True):
            with room.place(name, alone), log.open("w") as output:
                child = subprocess.Popen(
                    [sys.executable, "-m", "openxpu.certify.worker", json.dumps(ask)],
                    env=environment, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT,
                )  # fmt: skip
                limit = time.monotonic() + LIMIT
                try:
                    while time.monotonic() < limit and not room.too_full(name):
                        with contextlib.suppress(subprocess.TimeoutExpired):
                            return child.wait(memory.LOOK)
                finally:
                    child.kill()
                    child.wait()
                if time.monotonic() >= limit:
                    break
        return None

    status = ended()
    if target.exists():
        found: dict[str, Any] = json.loads(target.read_text())
        return found
    words = "It took too long." if status is None else f"Its process ended with status {status}."
    task, source = (model.task, model.source) if model else ("", "yours")
    failure = {"passed": False, "error": f"{words} Its output is in {log}."}
    return {"model": name, "task": task, "source": source, "stages": {"process": failure}}


def run(order: Order, as_json: bool) -> int:
    """Certifies and prints a table; 1 when a model that was tried failed."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    try:
        parts = shares(order.jobs)
        if order.inputs:
            from openxpu.certify import user

            user.shapes_of(order.inputs)
            chosen: list[tuple[str, Model | None]] = [(name, None) for name in order.names]
        else:
            chosen = [(m.name, m) for m in find(order.names, order.tasks)]
    except (LookupError, ValueError) as error:
        print(f"openxpu: {error}", file=sys.stderr)
        return 2
    order.output.mkdir(parents=True, exist_ok=True)
    unpack(order)
    room = memory.Room()
    free: queue.SimpleQueue[list[int]] = queue.SimpleQueue()
    for cores in parts:
        free.put(cores)

    def settled(name: str, model: Model | None) -> dict[str, Any]:
        found = None if order.again else known(order, name)
        if found is None:
            cores, begin = free.get(), time.perf_counter()
            try:
                found = certified(order, name, model, cores, room)
            finally:
                free.put(cores)
            found["seconds"] = round(time.perf_counter() - begin, 1)
        return found

    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    workers = concurrent.futures.ThreadPoolExecutor(order.jobs)
    results: list[dict[str, Any]] = []
    interrupted = False
    try:
        with Progress(*columns, console=console, transient=True) as progress:
            task = progress.add_task("", total=len(chosen))
            waiting = [workers.submit(settled, name, model) for name, model in chosen]
            for (name, _), future in zip(chosen, waiting, strict=True):
                progress.update(task, description=name)
                results.append(future.result())
                progress.advance(task)
    except KeyboardInterrupt:
        interrupted = True
        room.close()
        print(
            "openxpu: interrupted. The same command goes on with the models that are missing.",
            file=sys.stderr,
        )
    finally:
        workers.shutdown(cancel_futures=True)
    if interrupted:  # also what others of the --jobs, and earlier runs, have finished
        rest = [kept(order, name) for name, _ in chosen[len(results) :]]
        results += [found for found in rest if found is not None]
    report.write(results, order.output, len(chosen) - len(results))
    if as_json:
        print(json.dumps(results, indent=1))
    else:
        Console(width=None if sys.stdout.isatty() else 180).print(report.table(results))
        print(report.summary(results))
        print(f"Reports: {order.output / 'models.md'}, {order.output / 'models.html'}")
    if interrupted:
        return 130
    return int(any(not report.passed(r) and "skipped" not in r for r in results))


def modes() -> Sequence[str]:
    from openxpu.certify.stages import MODES

    return tuple(MODES)
