"""Who is compared, and how: each peer in its own process, driven in turn, two threads each, medians, ratios.

Two spinning thread pools in one process starve each other, so each peer lives in its own process and the idle
ones sleep on a pipe. Ratios are taken round by round, because the speed of a shared machine drifts.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.metadata
import importlib.util
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

THREADS = 2
OURS = "openxpu"
# For single kernels: results lie in memory that was used before, as preallocated ones do, and no page faults are timed.
# Whole models run with the allocator as it is shipped.
REUSE = {"MALLOC_MMAP_MAX_": "0", "MALLOC_TRIM_THRESHOLD_": str(1 << 40)}
ROOT = Path(__file__).parent.parent


@dataclass(frozen=True)
class Peer:
    """A name that the works know, what it means to a reader, and the environment that makes it so."""

    name: str
    meaning: str
    module: str
    environment: dict[str, str] = field(default_factory=dict)
    rest: float = 0.02  # seconds that its threads spin on after work, in which nobody else is timed

    @property
    def missing(self) -> str | None:
        """Why this peer cannot be had on this machine, as a sentence, or None."""
        if importlib.util.find_spec(self.module) is None:
            return (
                f"The rows of {self.name!r} are left out: the module {self.module!r} is not installed here."
            )
        if (
            "MKL_DEBUG_CPU_TYPE" in self.environment
            and "AuthenticAMD" not in Path("/proc/cpuinfo").read_text()
        ):
            return f"The rows of {self.name!r} are left out: MKL takes its fast path by itself on this processor."
        return None


PEERS = {
    peer.name: peer
    for peer in (
        Peer(OURS, "Paddle on device xpu", "paddle"),
        Peer("paddle", "Paddle on its own CPU device, as shipped", "paddle", rest=0.25),
        Peer("paddle*", "the same with MKL_DEBUG_CPU_TYPE=5", "paddle", {"MKL_DEBUG_CPU_TYPE": "5"}, 0.25),
        Peer("torch", "torch on its CPU device", "torch"),
        Peer("torch channels-last", "torch on its CPU device, channels-last memory", "torch"),
    )
}


class PeerFailed(RuntimeError):
    """A peer's process could not do a work; the message has the peer's own words."""


class Process:
    """The running process of one peer."""

    def __init__(self, peer: Peer, count: int = THREADS, reuse: bool = False) -> None:
        self.peer = peer
        self.log = tempfile.TemporaryFile("w+")  # noqa: SIM115 - lives as long as the process
        threads = str(count)
        # The first openxpu with its native part (built in this tree, or installed), and this folder's benchmarks.
        roots = [path for path in sys.path if any(Path(path, "openxpu").glob("_runtime.*.so"))][:1]
        self.child = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.worker", peer.name],
            cwd=ROOT,
            env={
                **os.environ,
                "PYTHONSAFEPATH": "1",
                "PYTHONPATH": os.pathsep.join([*map(os.path.abspath, roots), str(ROOT)]),
                "OMP_NUM_THREADS": threads,
                "MKL_NUM_THREADS": threads,
                "OPENXPU_CARD_THREADS": threads,
                **(REUSE if reuse else {}),
                **peer.environment,
            },
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.log,
            text=True,
        )

    def ask(self, **order: Any) -> dict[str, Any]:
        assert self.child.stdin is not None
        assert self.child.stdout is not None
        try:
            self.child.stdin.write(json.dumps(order) + "\n")
            self.child.stdin.flush()
            line = self.child.stdout.readline()
        except BrokenPipeError:
            line = ""
        answer: dict[str, Any] = (
            json.loads(line) if line else {"error": f"its process ended ({self.child.wait()})"}
        )
        if "error" in answer:
            self.log.seek(0)
            words = "".join(self.log.readlines()[-12:])
            raise PeerFailed(f"{self.peer.name} could not do {order}: {answer['error']}\n{words}")
        return answer

    def close(self) -> None:
        if self.child.stdin is not None:
            with contextlib.suppress(BrokenPipeError):  # it ended before
                self.child.stdin.close()
        self.child.wait()
        self.log.close()


@dataclass
class Row:
    """What one peer took for one work."""

    peer: str
    milliseconds: float | None
    fastest: float | None = None
    warm_up: float | None = None
    against_ours: float | None = None
    note: str = ""


def compare(
    work: str,
    peers: Sequence[str] = tuple(PEERS),
    options: dict[str, Any] | None = None,
    rounds: int = 7,
    calls: int = 1,
    warm_up: int = 2,
    per_peer: dict[str, dict[str, Any]] | None = None,
) -> list[Row]:
    """Times `work` ("module:function") on the peers in alternating rounds of `calls` calls.

    `against_ours` is the median over the rounds of (peer's time / our time): above 1 OpenXPU is faster.
    A peer that fails or is not installed gives a row with a note and no figure.
    """
    notes: dict[str, str] = {}
    running: dict[str, Process] = {}
    try:
        for name in peers:
            if missing := PEERS[name].missing:
                notes[name] = missing
            else:
                running[name] = Process(PEERS[name])
        return in_turn(running, peers, work, options, rounds, calls, warm_up, per_peer, notes)
    finally:
        for process in running.values():
            process.close()


def in_turn(
    running: dict[str, Process],
    peers: Sequence[str],
    work: str,
    options: dict[str, Any] | None,
    rounds: int,
    calls: int = 1,
    warm_up: int = 2,
    per_peer: dict[str, dict[str, Any]] | None = None,
    notes: dict[str, str] | None = None,
    rest: float | None = None,
) -> list[Row]:
    """What `compare` says, on processes that run already and stay. `rest` replaces each peer's own."""
    notes = dict(notes or {})
    first: dict[str, float] = {}
    samples: dict[str, list[list[float]]] = {}
    for name, process in running.items():
        arguments = {**(options or {}), **(per_peer or {}).get(name, {})}
        try:
            warmed = process.ask(do="build", work=work, options=arguments, warm_up=warm_up)
            first[name], samples[name] = warmed["warm_up"][0], []
        except PeerFailed as failure:
            notes[name] = str(failure).strip()
    for turn in range(rounds):
        order = list(samples) if turn % 2 == 0 else list(reversed(samples))
        for name in order:
            try:
                samples[name].append(running[name].ask(do="run", calls=calls)["seconds"])
            except PeerFailed as failure:
                notes[name] = str(failure).strip()
                del samples[name]
            time.sleep(PEERS[name].rest if rest is None else rest)
    rows = []
    for name in peers:
        if name in notes:
            rows.append(Row(name, None, note=notes[name]))
            continue
        every = [seconds for turn in samples[name] for seconds in turn]
        row = Row(name, 1e3 * statistics.median(every), 1e3 * min(every), 1e3 * first[name])
        if OURS in samples:
            pairs = zip(samples[name], samples[OURS], strict=True)
            row.against_ours = statistics.median(
                statistics.median(a) / statistics.median(b) for a, b in pairs
            )
        rows.append(row)
    return rows


# ---- the machine and the words around the figures --------------------------------------------------


def machine() -> dict[str, Any]:
    """What a reader must know about where the figures come from."""
    text = Path("/proc/cpuinfo").read_text()
    entries = dict(line.split(":", 1) for line in text.split("\n\n")[0].splitlines() if ":" in line)
    entries = {key.strip(): value.strip() for key, value in entries.items()}
    flags = set(entries.get("flags", "").split())
    versions = {}
    for package in ("paddlepaddle", "torch", "triton", "numpy"):
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            versions[package] = None
    return {
        "processor": entries.get("model name", platform.processor()),
        "family_model": f"{entries.get('vendor_id')} {entries.get('cpu family')}/{entries.get('model')}",
        "features": sorted(flags & {"avx2", "avx512f", "avx512_bf16", "avx512_vnni", "amx_bf16", "amx_int8"}),
        "cores": len(os.sched_getaffinity(0)),
        "threads_per_peer": THREADS,
        "load_before": os.getloadavg()[0],
        "python": platform.python_version(),
        "versions": versions,
    }


def describe(here: dict[str, Any]) -> str:
    """The machine in one sentence."""
    versions = ", ".join(f"{name} {version}" for name, version in here["versions"].items() if version)
    features = ", ".join(here["features"])
    return (
        f"{here['processor']} ({here['family_model']}; {features}), {here['cores']} cores, "
        f"{here['threads_per_peer']} threads for each peer, load before the run {here['load_before']:.2f}; "
        f"Python {here['python']}, {versions}."
    )


def show(title: str, rows: Sequence[Row], unit: str = "ms", scale: float = 1.0) -> None:
    """Prints one work's rows."""
    print(f"\n{title}")
    for row in rows:
        if row.milliseconds is None:
            print(f"  {row.peer:<22} {row.note.splitlines()[0]}")
            continue
        ratio = "" if row.against_ours is None else f"   peer / openxpu = {row.against_ours:.2f}"
        fastest = (row.fastest or 0) * scale
        print(f"  {row.peer:<22} {row.milliseconds * scale:10.2f} {unit} (fastest {fastest:.2f}){ratio}")


def options_from(description: str) -> argparse.Namespace:
    """The options that every benchmark has."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--json", action="store_true", help="print the results as JSON")
    parser.add_argument(
        "--quick", action="store_true", help="small sizes and few rounds: does everything run?"
    )
    parser.add_argument(
        "--peers", default=",".join(PEERS), help="comma-separated, out of: " + ", ".join(PEERS)
    )
    return parser.parse_args()


def emit(name: str, works: dict[str, list[Row]], as_json: bool, unit: str = "ms", scale: float = 1.0) -> None:
    """Prints the results of one benchmark file: for people, or as one JSON object."""
    here = machine()
    if as_json:
        rows = {title: [vars(row) for row in found] for title, found in works.items()}
        print(json.dumps({"benchmark": name, "machine": here, "works": rows}))
        return
    print(describe(here))
    for title, found in works.items():
        show(title, found, unit, scale)
