"""Profiles of kernels on the card: time on the stream, GB/s, GFLOP/s and the share of what the machine can do."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, field
from types import TracebackType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from openxpu.compiler.ceiling import Ceiling
    from openxpu.compiler.figures import Totals

_loaded: dict[int, dict[str, Any]] = {}  # entry address of a kernel -> its image's metadata
_MOVES = {"copy": 2, "fill": 1}  # the card's own commands: how often they touch each byte


def remember(entry: int, metadata: dict[str, Any]) -> None:
    """Says what the kernel at an entry address is. Whoever loads an image calls it; code stays until the process ends."""
    _loaded[entry] = metadata


@dataclass
class KernelProfile:
    """All launches of one kernel in a profile. Times in seconds; bytes and flops of all launches together.

    `known`: the figures of its image were there. `exact`: nothing of them had to be guessed (openxpu.compiler.figures
    says what is counted and how); otherwise `notes` says what was.
    """

    name: str
    launches: int = 0
    seconds: float = 0.0
    load_bytes: float = 0.0
    store_bytes: float = 0.0
    flops: float = 0.0  # those of dots included
    dot_flops: float = 0.0
    known: bool = True
    exact: bool = True
    notes: list[str] = field(default_factory=list)

    @property
    def mean_seconds(self) -> float:
        return self.seconds / self.launches

    @property
    def bytes(self) -> float:
        return self.load_bytes + self.store_bytes

    @property
    def bandwidth(self) -> float:
        """Bytes a second, loads and stores of the programs together, from memory or cache."""
        return self.bytes / self.seconds if self.seconds else 0.0

    @property
    def flop_rate(self) -> float:
        return self.flops / self.seconds if self.seconds else 0.0


class Profile:
    """What the cards of this process ran between the two ends of a `with`.

    `kernels` is there after the block: one KernelProfile for each name, the longest first, copies and fills among them.
    """

    def __init__(self) -> None:
        self.kernels: list[KernelProfile] = []
        self.elapsed_seconds = 0.0
        self._begin = 0

    # --- taking -----------------------------------------------------------------------------------

    def __enter__(self) -> Profile:
        from openxpu import _runtime

        _synchronize()
        _runtime.trace_start()
        self._begin = time.monotonic_ns()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        from openxpu import _runtime

        try:
            _synchronize()
        finally:
            self.elapsed_seconds = (time.monotonic_ns() - self._begin) * 1e-9
            self._collect(_runtime.trace_stop())

    def _collect(self, records: list[Any]) -> None:
        found: dict[str, KernelProfile] = {}
        totals: dict[Any, Totals | None] = {}
        for name, _, _, begin, end, size, entry, grid, args in records:
            if not entry and name not in _MOVES:
                continue  # functions of the host
            row = found.setdefault(name, KernelProfile(name))
            row.launches += 1
            row.seconds += (end - begin) * 1e-9
            if not entry:
                row.store_bytes += size
                row.load_bytes += size * (_MOVES[name] - 1)
                continue
            self._add(row, _totals(entry, grid, args, totals))
            for note in _loaded.get(entry, {}).get("figures", {}).get("notes", ()):
                if note not in row.notes:
                    row.notes.append(note)
        self.kernels = sorted(found.values(), key=lambda row: -row.seconds)

    @staticmethod
    def _add(row: KernelProfile, totals: Totals | None) -> None:
        if totals is None:
            row.known = row.exact = False
            return
        row.load_bytes += totals.load_bytes
        row.store_bytes += totals.store_bytes
        row.flops += totals.all_flops
        row.dot_flops += sum(totals.dot_flops.values())
        row.exact &= totals.exact

    # --- showing ----------------------------------------------------------------------------------

    def measured(self) -> Ceiling:
        """The machine's ceiling (openxpu.compiler.ceiling), measured when it is first wanted in a process."""
        from openxpu.compiler.ceiling import ceiling

        return ceiling()

    def data(self) -> dict[str, Any]:
        """{"elapsed_seconds", "ceiling": {"bandwidth", "flops"}, "kernels": [{"name", "launches", "seconds",
        "mean_seconds", "load_bytes", "store_bytes", "flops", "dot_flops", "bandwidth", "flop_rate", "share", "bound",
        "known", "exact", "notes"}]}. bandwidth in bytes/s, flop_rate in flop/s; share: the roofline's time by the
        measured one, None where the figures are unknown; above 1 where data came from a cache, or where a dot uses
        instructions of narrower types than f32. bound: "memory" or "compute"."""
        roof = self.measured() if self.kernels else None
        rows = []
        for k in self.kernels:
            assert roof is not None
            known = k.known and k.seconds > 0 and (k.bytes > 0 or k.flops > 0)
            rows.append(
                {
                    "name": k.name,
                    "launches": k.launches,
                    "seconds": k.seconds,
                    "mean_seconds": k.mean_seconds,
                    "load_bytes": k.load_bytes,
                    "store_bytes": k.store_bytes,
                    "flops": k.flops,
                    "dot_flops": k.dot_flops,
                    "bandwidth": k.bandwidth,
                    "flop_rate": k.flop_rate,
                    "share": roof.seconds(k.bytes, k.flops) / k.seconds if known else None,
                    "bound": ("memory" if k.bytes / roof.bandwidth >= k.flops / roof.flops else "compute")
                    if known
                    else None,
                    "known": k.known,
                    "exact": k.exact,
                    "notes": k.notes,
                }
            )
        limits = None if roof is None else {"bandwidth": roof.bandwidth, "flops": roof.flops}
        return {"elapsed_seconds": self.elapsed_seconds, "ceiling": limits, "kernels": rows}

    def json(self) -> str:
        """`data` as JSON text."""
        return json.dumps(self.data(), indent=2)

    def table(self, width: int | None = None) -> str:
        """A table as text, one line for each kernel. "~" marks figures that are not exact, "?" those not known."""
        import io

        from rich import box
        from rich.console import Console
        from rich.table import Table

        data = self.data()
        if not data["kernels"]:
            return "No kernel ran while the profile was taken."
        table = Table(box=box.SIMPLE_HEAD)
        table.add_column("kernel", overflow="fold")
        for column in ("launches", "total ms", "mean us", "GB/s", "GFLOP/s", "of ceiling", "bound"):
            table.add_column(column, justify="right", no_wrap=True)
        for row in data["kernels"]:
            mark = "" if row["exact"] else "~"
            rates = [f"{mark}{row['bandwidth'] / 1e9:.2f}", f"{mark}{row['flop_rate'] / 1e9:.2f}"]
            share = "?" if row["share"] is None else f"{mark}{100 * row['share']:.0f} %"
            table.add_row(
                row["name"],
                str(row["launches"]),
                f"{1e3 * row['seconds']:.3f}",
                f"{1e6 * row['mean_seconds']:.1f}",
                *(rates if row["known"] else ["?", "?"]),
                share,
                row["bound"] or "",
            )
        out = io.StringIO()
        Console(file=out, width=width or 120, color_system=None).print(table)
        busy = sum(row["seconds"] for row in data["kernels"])
        roof = data["ceiling"]
        lines = [line.rstrip() for line in out.getvalue().splitlines()]
        lines.append(
            f"{1e3 * busy:.3f} ms of work in {1e3 * self.elapsed_seconds:.3f} ms; ceiling of this machine: "
            f"{roof['bandwidth'] / 1e9:.1f} GB/s copied, {roof['flops'] / 1e9:.0f} GFLOP/s of f32 FMA"
        )
        for row in data["kernels"]:
            lines += [f"~ {row['name']}: {note}" for note in row["notes"]]
        return "\n".join(lines).strip("\n")

    def __str__(self) -> str:
        return self.table()


def profile() -> Profile:
    """A profile of what the cards run in a `with` block.

        with openxpu.compiler.profile() as p:
            ...                      # Paddle operators, openxpu.ops, kernel[grid](...)
        print(p)                     # or p.table(), p.json(), p.data(), p.kernels

    Each launch is timed on its stream, from the moment a worker takes it up until its last program has ended; enqueuing
    costs the caller nothing more when no profile is taken. GB/s and GFLOP/s are the programs' loads, stores and
    operations (openxpu.compiler.figures) by that time. "of ceiling" is the roofline model's share: the larger of
    bytes by measured copy bandwidth and flops by measured f32 FMA peak, divided by the time. The ceiling is measured on
    all workers of the current card, once per process, when a table or data is first asked for.

    The block waits for all cards at both ends. Raises openxpu.Error when another profile (Paddle's included) is under way.
    """
    return Profile()


def _synchronize() -> None:
    from openxpu import _runtime

    for card in range(_runtime.card_count()):
        _runtime.card(card).synchronize()


def _totals(
    entry: int, grid: tuple[int, int, int], args: Any, seen: dict[Any, Totals | None]
) -> Totals | None:
    """The figures of one launch; launches that differ in nothing that matters are evaluated once."""
    from openxpu.compiler import figures

    known = _loaded.get(entry, {}).get("figures")
    if known is None:
        return None
    used = known.get("_used")
    if used is None:
        used = known["_used"] = figures.arguments_used(known)
    key = (entry, tuple(grid), *(args[i] for i in used))
    if key not in seen:
        signed = [a - (1 << 64) if a >> 63 else a for a in args]
        seen[key] = figures.evaluate(known, grid, signed)
    return seen[key]


__all__ = ["KernelProfile", "Profile", "profile", "remember"]
