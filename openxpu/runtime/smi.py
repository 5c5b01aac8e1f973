# `openxpu smi`: cards, memory, utilisation and the processes on them.
from __future__ import annotations

import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from openxpu import _runtime

if TYPE_CHECKING:
    from rich.console import RenderableType

SAMPLE_SECONDS = 0.2


def _command_line(pid: int) -> str:
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace").rstrip("\0").split("\0")
    except OSError:
        return "?"
    words[0] = Path(words[0]).name
    return " ".join(words)


def report(interval: float = SAMPLE_SECONDS) -> dict[str, Any]:
    """What is going on, measured over `interval` seconds.

    {"driver", "cards": [{"card", "name", "architecture", "workers", "memory_limit", "memory_used", "utilisation",
    "processes": [{"pid", "command", "memory_used", "memory_peak", "memory_limit", "utilisation",
    "groups": [{"name", "rank", "ranks", "state"}]}]}]};
    memory in bytes, utilisation in percent of the time in which the card had work; the state of a process's rank in a
    group is "joining", "ready" or "failed". Only processes that this user may look into."""
    before = {(p["pid"], p["card"]): p["busy_ns"] for p in _runtime.processes()}
    start = time.monotonic_ns()
    time.sleep(interval)
    gone = max(time.monotonic_ns() - start, 1)
    cards = []
    for index in range(_runtime.card_count()):
        properties = _runtime.card_properties(index)
        cards.append(
            {
                "card": index,
                "name": properties["name"],
                "architecture": properties["architecture"],
                "workers": properties["workers"],
                "memory_limit": properties["memory_limit"],
                "memory_used": 0,
                "utilisation": 0.0,
                "processes": [],
            }
        )
    for p in sorted(_runtime.processes(), key=lambda p: (p["card"], p["pid"])):
        # A process may have been told of more cards than we were (OPENXPU_CARDS differs).
        while p["card"] >= len(cards):
            cards.append(
                {**cards[0], "card": len(cards), "memory_used": 0, "utilisation": 0.0, "processes": []}
            )
        card = cards[p["card"]]
        busy = p["busy_ns"] - before.get((p["pid"], p["card"]), p["busy_ns"])
        utilisation = round(min(100.0, 100.0 * busy / gone), 1)
        card["memory_used"] += p["used"]
        card["utilisation"] = round(min(100.0, card["utilisation"] + utilisation), 1)
        card["processes"].append(
            {
                "pid": p["pid"],
                "command": _command_line(p["pid"]),
                "memory_used": p["used"],
                "memory_peak": p["peak"],
                "memory_limit": p["limit"],
                "utilisation": utilisation,
                "groups": p["groups"],
            }
        )
    return {"driver": "host", "cards": cards}


def _size(count: int) -> str:
    return f"{count / 2**30:.2f} GiB" if count >= 2**30 else f"{count / 2**20:.1f} MiB"


def waiting(data: dict[str, Any]) -> list[str]:
    """A sentence for each group that is not complete or has failed."""
    groups: dict[tuple[str, int], dict[int, str]] = {}
    for card in data["cards"]:
        for process in card["processes"]:
            for g in process["groups"]:
                groups.setdefault((g["name"], g["ranks"]), {})[g["rank"]] = g["state"]
    sentences = []
    for (name, ranks), states in groups.items():
        missing = ", ".join(str(rank) for rank in range(ranks) if rank not in states)
        failed = ", ".join(str(rank) for rank, state in sorted(states.items()) if state == "failed")
        if failed:
            sentences.append(f"Group {name} has failed; rank {failed} of {ranks} can say why.")
        elif missing and "joining" in states.values():
            sentences.append(f"Group {name} waits for rank {missing} of {ranks} to join.")
        elif missing:
            sentences.append(f"Group {name}: rank {missing} of {ranks} is not to be seen here.")
    return sentences


# The other columns of the processes' table take about this much; the command has the rest.
_FIGURES_WIDTH = 66
_GROUPS_WIDTH = 16
_GROUPS_SHOWN = 4


def _groups(found: list[dict[str, Any]]) -> str:
    lines = [f"{g['name']} {g['rank']}/{g['ranks']}" for g in found[:_GROUPS_SHOWN]]
    more = len(found) - len(lines)
    return "\n".join(lines + [f"and {more} more"] * (more > 0))


def _tables(data: dict[str, Any], width: int) -> RenderableType:
    from rich import box
    from rich.console import Group
    from rich.markup import escape
    from rich.table import Table

    from openxpu import __version__

    cards = Table(
        box=box.ROUNDED, title=f"OpenXPU {__version__}, driver {data['driver']}", title_justify="left"
    )
    for title in ("card", "name", "workers", "memory used / limit", "utilisation"):
        cards.add_column(title, justify="left" if title in ("card", "name") else "right")
    processes = Table(box=box.ROUNDED, title="processes", title_justify="left")
    grouped = any(p["groups"] for card in data["cards"] for p in card["processes"])
    room = max(16, width - _FIGURES_WIDTH - _GROUPS_WIDTH * grouped)
    titles = ("card", "pid", "command", "memory", "peak", "utilisation", "group, rank")
    for title in titles if grouped else titles[:-1]:
        processes.add_column(
            title,
            justify="left" if title in ("card", "command", "group, rank") else "right",
            no_wrap=True,
            overflow="ellipsis",
            max_width=room if title == "command" else None,
        )
    for card in data["cards"]:
        name = f"xpu:{card['card']}"
        cards.add_row(
            name,
            escape(f"{card['name']} ({card['architecture']})"),
            str(card["workers"]),
            f"{_size(card['memory_used'])} / {_size(card['memory_limit'])}",
            f"{card['utilisation']:.0f} %",
        )
        for p in card["processes"]:
            processes.add_row(
                name,
                str(p["pid"]),
                escape(" ".join(p["command"].split())),
                _size(p["memory_used"]),
                _size(p["memory_peak"]),
                f"{p['utilisation']:.0f} %",
                *([_groups(p["groups"])] if grouped else []),
            )
    return Group(cards, processes if processes.row_count else "no processes use the cards", *waiting(data))


def run(as_json: bool = False, watch: float | None = None) -> int:
    """The command. With `watch`, repeats every so many seconds until interrupted."""
    if as_json:
        while True:
            print(json.dumps(report(), indent=None if watch else 2), flush=True)
            if not watch:
                return 0
            time.sleep(max(0.0, watch - SAMPLE_SECONDS))
    from rich.console import Console

    console = Console()
    if not watch:
        console.print(_tables(report(), console.width))
        return 0
    from rich.live import Live

    with Live(
        _tables(report(), console.width), console=console, screen=console.is_terminal, auto_refresh=False
    ) as live:
        while True:
            time.sleep(max(0.0, watch - SAMPLE_SECONDS))
            live.update(_tables(report(), console.width), refresh=True)
