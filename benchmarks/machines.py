"""Collectives between two machines: OpenXPU beside Gloo (in torch) over one cable, by size.

The machines are two network name spaces of this one, joined by a veth pair, so that both peers pay for the same TCP. Each
peer's ranks are started once and sleep between orders; the peers take turns. Needs root, `ip` (iproute2), UCX and torch."""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import statistics
import subprocess
import sys
import tempfile
from multiprocessing.connection import Connection
from typing import Any

from benchmarks import collectives, peers

sys.path.insert(0, str(peers.ROOT / "tests" / "collectives"))
from machines import ADDRESSES, Cable, two_machines

SIZES = (8, 1 << 10, 1 << 14, 1 << 17, 1 << 20, 1 << 23, 1 << 26)
MAKERS = {peers.OURS: collectives._ours, "gloo": collectives._gloo}


class MachineRanks(collectives.PythonRanks):
    """Ranks of one peer, the first half of them on the first machine."""

    def __init__(self, cable: Cable, name: str, ranks: int, folder: str) -> None:
        self.pipes, self.processes = [], []
        for rank in range(ranks):
            machine = 2 * rank // ranks
            here, there = multiprocessing.Pipe()
            environment = {
                **os.environ, "OPENXPU_ARENA": "shared", "OPENXPU_CARDS": str(ranks), "OPENXPU_CARD_MEMORY": "2G",
                "OPENXPU_ADDRESS": ADDRESSES[machine], "GLOO_SOCKET_IFNAME": cable.interfaces[machine],
                "OMP_NUM_THREADS": "1",
            }  # fmt: skip
            arguments = [name, str(ranks), str(rank), f"{folder}/rendezvous-{name}", str(there.fileno())]
            command = [sys.executable, "-m", "benchmarks.machines", "--serve", *arguments]
            process = subprocess.Popen(
                cable.inside(machine, command), env=environment, pass_fds=[there.fileno()], cwd=peers.ROOT
            )
            there.close()
            self.pipes.append(here)
            self.processes.append(process)
        if name == peers.OURS:
            _, identity = self.pipes[0].recv()
            for pipe in self.pipes:
                pipe.send(identity)
        self._answers()

    def close(self) -> None:
        for pipe in self.pipes:
            pipe.send(None)
        for process in self.processes:
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def measure(ranks: int, sizes: list[int], rounds: int) -> list[dict[str, Any]]:
    rows = []
    with two_machines() as cable, tempfile.TemporaryDirectory() as folder:
        running = {name: MachineRanks(cable, name, ranks, folder) for name in MAKERS}
        try:
            for operation in collectives.OPERATIONS:
                for size in sizes:
                    samples: dict[str, list[float]] = {name: [] for name in running}
                    repeats = {
                        name: max(1, min(500, int(0.1 / max(peer.seconds(operation, size, 2), 1e-6))))
                        for name, peer in running.items()
                    }
                    for turn in range(rounds):
                        for name in list(running)[:: 1 if turn % 2 == 0 else -1]:
                            samples[name].append(running[name].seconds(operation, size, repeats[name]))
                    ours, theirs = samples[peers.OURS], samples["gloo"]
                    rows.append(
                        {
                            "ranks": ranks,
                            "operation": operation,
                            "bytes": size,
                            "microseconds": 1e6 * statistics.median(ours),
                            "gloo": statistics.median(b / a for a, b in zip(ours, theirs, strict=True)),
                        }
                    )
        finally:
            for peer in running.values():
                peer.close()
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="print the results as JSON")
    parser.add_argument("--ranks", default="2,4", help="on both machines together")
    parser.add_argument("--limit", type=int, default=1 << 26, help="bytes of the largest size")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--serve", nargs=5, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        name, ranks, rank, rendezvous, pipe = options.serve
        collectives._serve(Connection(int(pipe)), MAKERS[name], int(ranks), int(rank), rendezvous)
        return
    sizes = [s for s in SIZES if s <= options.limit]
    rows = [row for ranks in options.ranks.split(",") for row in measure(int(ranks), sizes, options.rounds)]
    if options.json:
        json.dump({"machine": peers.machine(), "works": rows}, sys.stdout)
        return
    print(peers.describe(peers.machine()))
    for row in rows:
        speed = row["bytes"] / row["microseconds"] / 1e3
        print(
            f"{row['ranks']} ranks  {row['operation']:15} {row['bytes']:>9} B {row['microseconds']:11.1f} us"
            f" {speed:7.3f} GB/s  gloo {row['gloo']:6.2f}x"
        )


if __name__ == "__main__":
    main()
