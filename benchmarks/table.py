"""Runs the benchmarks and writes docs/benchmarks.json and, from it, docs/benchmarks.md, which the README cites.

`python -m benchmarks.table` runs all; `--only resnet18,startup` renews a part and keeps the rest;
`--render` only writes the page again from the JSON.
"""

from __future__ import annotations

import argparse
import importlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmarks import peers

DOCS = Path(__file__).parent.parent / "docs"
PARTS = ("resnet18", "transformer", "matmul", "conv", "kernels", "compile_time", "eager_overhead", "startup")
TORCHES = ("torch", "torch channels-last")


@dataclass(frozen=True)
class Goal:
    """What a work should reach: the least (peer's time / OpenXPU's time) for each peer it names."""

    title: str
    paddle: float | None = None
    paddle_fast: float | None = None
    torch: float | None = None


GOALS = (
    Goal("ResNet-18 training step, batch 8 at 224, f32", 2.5, 1.4, 0.85),
    Goal("ResNet-18 eager inference, batch 8 at 224, f32", 2.5, 1.3, 0.8),
    Goal("Transformer training step, 6 layers, d=512, batch 8 x 128, AdamW, f32", 3.0, 1.4, 0.9),
    Goal(
        "Transformer training step, 6 layers, d=512, batch 8 x 128, AdamW: openxpu bf16 AMP, torch f32",
        torch=1.4,
    ),
    Goal("Matrix product 512 f32", 3.0, 1.0, 1.0),
    Goal("Matrix product 1024 f32", 3.0, 1.0, 1.0),
    Goal("Matrix product 2048 f32", 3.0, 1.0, 1.0),
)


def run(part: str, quick: bool) -> dict[str, Any]:
    """One part's results with the machine they were taken on."""
    module = importlib.import_module(f"benchmarks.{part}")
    here = peers.machine()
    if part == "startup":
        starts = module.measure(quick)
        return {"machine": here, "starts": [asdict(start) for start in starts], "added": module.added(starts)}
    if part == "compile_time":
        return {"machine": here, "compilations": [asdict(c) for c in module.measure(quick)]}
    works = module.measure(list(peers.PEERS), quick)
    if part == "kernels":
        rows = {title: [vars(row) for row in found] for title, found in works.items()}
        return {"machine": here, "works": rows, "goals": module.goals()}
    return {"machine": here, "works": {title: [vars(row) for row in rows] for title, rows in works.items()}}


def ratio(rows: list[dict[str, Any]], names: tuple[str, ...]) -> float | None:
    """The ratio against the fastest of the named peers, or None where none of them was measured."""
    found = [row["against_ours"] for row in rows if row["peer"] in names and row["against_ours"] is not None]
    return min(found) if found else None


def cell(measured: float | None, goal: float | None) -> str:
    if measured is None:
        return "" if goal is None else f"not measured (goal {goal:g}x)"
    if goal is None:
        return f"{measured:.2f}x"
    return f"**{measured:.2f}x** (goal {goal:g}x{'' if measured >= goal else ', missed'})"


def time_of(row: dict[str, Any], small: bool) -> str:
    return f"{row['milliseconds'] * 1e3:.2f} us" if small else f"{row['milliseconds']:.2f} ms"


def kernel_lines(found: dict[str, Any]) -> list[str]:
    """One line a kernel: OpenXPU's time and the ratio against torch, on one thread and on two."""
    lines = [
        "Card arrays without Paddle, against torch's CPU operators; outputs are preallocated.",
        "",
        "| kernel | 1 thread | torch / OpenXPU | 2 threads | torch / OpenXPU | goal |",
        "|---|---|---|---|---|---|",
    ]
    kernels = list(dict.fromkeys(title.rsplit(", ", 1)[0] for title in found["works"]))
    for kernel in kernels:
        cells, least = [], 0.0
        for threads in ("1 thread", "2 threads"):
            title = f"{kernel}, {threads}"
            rows = {row["peer"]: row for row in found["works"].get(title, [])}
            least = found["goals"].get(title, least)
            ours, measured = rows.get(peers.OURS), ratio(list(rows.values()), TORCHES)
            if ours is None or ours["milliseconds"] is None:
                cells += ["did not run", ""]
                continue
            cells.append(time_of(ours, ours["milliseconds"] < 0.1))
            missed = measured is not None and measured < least
            cells.append("" if measured is None else f"{measured:.2f}x{' (missed)' if missed else ''}")
        lines.append(f"| {kernel} | {' | '.join(cells)} | {least:g}x |")
    return [*lines, ""]


def compilation_lines(found: list[dict[str, Any]]) -> list[str]:
    """One line a kernel: milliseconds until it can be launched, compiled and from the cache."""
    lines = ["Milliseconds until a kernel can be launched, once LLVM is loaded.", ""]
    lines += ["| kernel | first compilation | goal | from the cache | goal |", "|---|---|---|---|---|"]
    for c in found:
        cells = []
        for value, goal, digits in ((c["first"], c["goal"], 0), (c["cached"], c["cached_goal"], 2)):
            cells += [f"{value:.{digits}f} ms{'' if value <= goal else ' (missed)'}", f"{goal:g} ms"]
        lines.append(f"| {c['kernel']} | {' | '.join(cells)} |")
    return [*lines, ""]


def render(results: dict[str, Any]) -> str:
    """The page docs/benchmarks.md. Pure: the same results give the same page, and a test holds it to that."""
    works = {title: rows for part in results.values() for title, rows in part.get("works", {}).items()}
    lines = [
        "# Benchmarks",
        "",
        "Written by `python -m benchmarks.table`; do not edit. Every ratio is *peer's time / OpenXPU's time* from",
        "one run: above 1x, OpenXPU is faster. Every peer runs in a process of its own, driven in turn, with two",
        "threads; a figure is the median over the rounds. `paddle` is Paddle on its own CPU device as installed,",
        "`paddle*` the same with `MKL_DEBUG_CPU_TYPE=5`, which matters on AMD processors; torch stands with its",
        "faster memory layout. Shared machines are noisy: take a difference of 10 % for nothing.",
        "",
    ]
    measured_goals = [goal for goal in GOALS if goal.title in works]
    if measured_goals:
        lines += [
            "| work | OpenXPU | against paddle | against paddle* | against torch |",
            "|---|---|---|---|---|",
        ]
        for goal in measured_goals:
            rows = works[goal.title]
            ours = next(row for row in rows if row["peer"] == peers.OURS)
            if ours["milliseconds"] is None:
                lines.append(f"| {goal.title} | did not run | | | |")
                continue
            cells = (
                cell(ratio(rows, ("paddle",)), goal.paddle),
                cell(ratio(rows, ("paddle*",)), goal.paddle_fast),
                cell(ratio(rows, TORCHES), goal.torch),
            )
            lines.append(f"| {goal.title} | {time_of(ours, False)} | {' | '.join(cells)} |")
        lines.append("")
    for part, found in results.items():
        lines += [
            f"## {part}",
            "",
            f"`python -m benchmarks.{part}` on {peers.describe(found['machine'])}",
            "",
        ]
        if "starts" in found:
            lines += [
                "| start | import | first result | resident memory | compilers imported |",
                "|---|---|---|---|---|",
            ]
            for start in found["starts"]:
                lines.append(
                    f"| {start['what']} | {start['import_seconds']:.2f} s | {start['first_result_seconds']:.2f} s "
                    f"| {start['resident_mib']:.0f} MiB | {', '.join(start['compilers_imported']) or 'none'} |"
                )
            added = found["added"]
            lines += [
                "",
                f"The plug-in adds {added['import_seconds']:.2f} s and {added['import_mib']:.0f} MiB to the import, and "
                f"{added['first_result_seconds']:.2f} s and {added['first_result_mib']:.0f} MiB up to the first results.",
                "",
            ]
            continue
        if "compilations" in found:
            lines += compilation_lines(found["compilations"])
            continue
        if "goals" in found:
            lines += kernel_lines(found)
            continue
        lines += ["| work | peer | median | fastest | peer / OpenXPU |", "|---|---|---|---|---|"]
        for title, rows in found["works"].items():
            for row in rows:
                if row["milliseconds"] is None:
                    lines.append(f"| {title} | {row['peer']} | did not run | | |")
                    continue
                small = row["milliseconds"] < 0.1
                fastest = time_of({"milliseconds": row["fastest"]}, small)
                against = "" if row["against_ours"] is None else f"{row['against_ours']:.2f}x"
                lines.append(f"| {title} | {row['peer']} | {time_of(row, small)} | {fastest} | {against} |")
        lines.append("")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--only", default=",".join(PARTS), help="comma-separated parts, out of: " + ", ".join(PARTS)
    )
    parser.add_argument(
        "--quick", action="store_true", help="small sizes; prints the page and writes nothing"
    )
    parser.add_argument(
        "--render", action="store_true", help="write the page from the JSON without measuring"
    )
    parser.add_argument("--json", action="store_true", help="print the results as JSON too")
    given = parser.parse_args()
    stored = DOCS / "benchmarks.json"
    results: dict[str, Any] = {}
    if stored.exists() and not given.quick:
        results = json.loads(stored.read_text())
    if not given.render:
        for part in given.only.split(","):
            results[part] = run(part, given.quick)
    if given.quick:
        print(render(results))
    else:
        ordered = {part: results[part] for part in PARTS if part in results}
        stored.write_text(json.dumps(ordered, indent=1) + "\n")
        (DOCS / "benchmarks.md").write_text(render(ordered))
    if given.json:
        print(json.dumps(results))


if __name__ == "__main__":
    main()
