# `openxpu topo`: by what path the cards reach each other, and how fast; measured.
from __future__ import annotations

import json
import multiprocessing
import sys
import threading
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import TYPE_CHECKING, Any

from openxpu import _runtime
from openxpu.collectives import topology
from openxpu.collectives.spawn import spawn

if TYPE_CHECKING:
    from rich.table import Table

    from openxpu.collectives.group import Group

PATHS = {
    "self": ("SELF", "the card's own memory: a copy from one place to another"),
    "process": ("PROC", "cards of one process: one address space, copied directly"),
    "memory": ("MAP", "ranks of one machine: each maps the other's card memory, and copies directly"),
    "network": ("NET", "ranks of several machines: through the network"),
}


def _between(group: Group, told: Connection) -> list[topology.Link]:
    return topology.measure(group, told.send)


def _within(_: Group, told: Connection) -> list[topology.Link]:
    return topology.within_process(told.send)


def report(progress: Callable[[int, int], None] = lambda done, total: None) -> dict[str, Any]:
    """{"cards": [{"card", "name", "workers", "memory_limit"}], "links": [{"source", "target", "path", "bandwidth",
    "latency"}]}, in bytes a second and seconds; the path is a key of PATHS. `progress` hears of measurements done.

    Raises openxpu.Error for a variable that cannot be understood, RuntimeError when a rank fails."""
    count = _runtime.card_count()
    pairs = count * (count - 1) // 2
    links: list[topology.Link] = []
    done = 0
    for program, ranks in ((_within, 1), (_between, count)):
        if ranks == 1 and program is _between:
            break
        here, there = multiprocessing.get_context("spawn").Pipe(duplex=False)

        def listen(here: Connection = here, before: int = done) -> None:
            try:
                while True:
                    progress(before + here.recv(), count * count + pairs)
            except EOFError:
                pass

        listener = threading.Thread(target=listen, daemon=True)
        listener.start()
        try:
            links += [link for found in spawn(program, ranks, there) for link in found]
        finally:
            there.close()
            listener.join()
            here.close()
        done += count * count
    properties = [_runtime.card_properties(index) for index in range(count)]
    keys = ("name", "workers", "memory_limit")
    return {
        "cards": [{"card": index, **{key: p[key] for key in keys}} for index, p in enumerate(properties)],
        "links": [vars(link) for link in links],
    }


def _matrix(count: int, cells: dict[tuple[int, int], str]) -> Table:
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD)
    table.add_column("from \\ to")
    for target in range(count):
        table.add_column(f"xpu:{target}", justify="right", no_wrap=True)
    for source in range(count):
        table.add_row(f"xpu:{source}", *(cells.get((source, target), "") for target in range(count)))
    return table


def _print(data: dict[str, Any]) -> None:
    from rich.console import Console

    cards, links = data["cards"], data["links"]
    count = len(cards)
    # A table that is wider than the terminal wraps there; cut cells would be of no use.
    console = Console(width=max(Console().width, 14 + 9 * count), highlight=False)
    best = {(link["source"], link["target"]): PATHS[link["path"]][0] for link in links}  # ranks come last
    used = dict.fromkeys(link["path"] for link in links)
    console.print(
        f"{count} of {cards[0]['name']}, {cards[0]['workers']} workers each; the path between ranks"
    )
    console.print(_matrix(count, best))
    for kind, unit, scale, digits in (
        ("bandwidth", "GB/s", 1e-9, 2),
        ("latency", "us until 8 bytes are there", 1e6, 1),
    ):
        for title, paths in (
            ("one process", ("self", "process")),
            ("one rank a card", ("memory", "network")),
        ):
            cells = {
                (link["source"], link["target"]): f"{link[kind] * scale:.{digits}f}"
                for link in links
                if link["path"] in paths
            }
            if cells:
                console.print(f"{kind}, {unit}: {title}")
                console.print(_matrix(count, cells))
    for path in used:
        console.print(f"{PATHS[path][0]:5} {PATHS[path][1]}")
    if count == 1:
        console.print("There is one card; OPENXPU_CARDS shows more.")


def run(as_json: bool = False) -> int:
    """The command; returns the exit code."""
    from rich.console import Console
    from rich.progress import Progress

    with Progress(
        console=Console(stderr=True), transient=True, disable=as_json or not sys.stderr.isatty()
    ) as bar:
        task = bar.add_task("measuring", total=None)
        data = report(lambda done, total: bar.update(task, completed=done, total=total))
    if as_json:
        print(json.dumps(data, indent=2))
    else:
        _print(data)
    return 0
