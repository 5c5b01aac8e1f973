# Two machines as two network name spaces that a veth cable joins, and ranks that run in them.
from __future__ import annotations

import importlib
import os
import pickle
import subprocess
import sys
import time
import traceback
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

ADDRESSES = ("10.77.0.1", "10.77.0.2")


def ip(*words: str) -> str:
    return subprocess.run(["ip", *words], check=True, capture_output=True, text=True, timeout=20).stdout


class Cable:
    """Names of the two name spaces, and of the interface that each has."""

    def __init__(self) -> None:
        mark = uuid.uuid4().hex[:6]
        self.spaces = (f"oxp-{mark}-0", f"oxp-{mark}-1")
        self.interfaces = (f"v{mark}0", f"v{mark}1")

    def inside(self, machine: int, command: Sequence[str]) -> list[str]:
        return ["ip", "netns", "exec", self.spaces[machine], *command]

    def cut(self) -> None:
        ip("-n", self.spaces[1], "link", "set", self.interfaces[1], "down")


@contextmanager
def two_machines() -> Iterator[Cable]:
    """Raises OSError or CalledProcessError where the system does not let us make name spaces."""
    cable = Cable()
    try:
        for space in cable.spaces:
            ip("netns", "add", space)
        ip("link", "add", cable.interfaces[0], "netns", cable.spaces[0], "type", "veth",
           "peer", "name", cable.interfaces[1], "netns", cable.spaces[1])  # fmt: skip
        for space, interface, address in zip(cable.spaces, cable.interfaces, ADDRESSES, strict=True):
            ip("-n", space, "addr", "add", f"{address}/24", "dev", interface)
            ip("-n", space, "link", "set", interface, "up")
            ip("-n", space, "link", "set", "lo", "up")
        # The system notices a moment later that the cable is in.
        for space, interface in zip(cable.spaces, cable.interfaces, strict=True):
            end = time.monotonic() + 20
            while "state UP" not in ip("-n", space, "link", "show", "dev", interface):
                assert time.monotonic() < end, f"{interface} did not come up"
                time.sleep(0.02)
        yield cable
    finally:
        for space in cable.spaces:
            subprocess.run(["ip", "netns", "del", space], check=False, capture_output=True, timeout=20)


class Ranks:
    """`name` of `programs` (or of a `module:name`) on every rank; `places[r]` is the machine of rank r."""

    def __init__(
        self,
        cable: Cable,
        places: Sequence[int],
        name: str,
        *arguments: Any,
        folder: Path,
        environment: dict[str, str] | None = None,
    ) -> None:
        self.folder, self.processes = folder, []
        cards = {machine: 0 for machine in places}
        for rank, machine in enumerate(places):
            order = folder / f"order-{rank}"
            order.write_bytes(
                pickle.dumps((rank, len(places), cards[machine], ADDRESSES[machine], name, arguments))
            )
            cards[machine] += 1
            # A rank's card is its number on its machine.
            variables = {
                **os.environ, "OPENXPU_ARENA": "shared", "OPENXPU_CARDS": str(places.count(machine)),
                "OPENXPU_CARD_THREADS": "1", "OPENXPU_CARD_MEMORY": "1G", "RANK_ADDRESS": ADDRESSES[machine],
                **(environment or {}),
            }  # fmt: skip
            with (folder / f"log-{rank}").open("wb") as log:
                command = cable.inside(machine, [sys.executable, __file__, str(order)])
                self.processes.append(
                    subprocess.Popen(command, env=variables, stdout=log, stderr=subprocess.STDOUT)
                )

    def results(self, timeout: float) -> list[Any]:
        """What each rank returned, or the exception's text; None for a rank that was killed. No process is left."""
        end = time.monotonic() + timeout
        try:
            for rank, process in enumerate(self.processes):
                try:
                    process.wait(max(0.1, end - time.monotonic()))
                except subprocess.TimeoutExpired:
                    raise AssertionError(
                        f"rank {rank} did not end within {timeout} s: {self.log(rank)}"
                    ) from None
        finally:
            for process in self.processes:
                process.kill()
                process.wait()
        found = [self.folder / f"result-{rank}" for rank in range(len(self.processes))]
        return [pickle.loads(file.read_bytes()) if file.exists() else None for file in found]

    def log(self, rank: int) -> str:
        return (self.folder / f"log-{rank}").read_text(errors="replace")[-3000:]

    def wait_for(self, file: str, timeout: float = 60) -> None:
        end = time.monotonic() + timeout
        while not (self.folder / file).exists():
            assert time.monotonic() < end, f"{file} did not come: {self.log(0)}"
            time.sleep(0.02)


def _rank(order: Path) -> None:
    folder = order.parent
    rank, ranks, card, address, name, arguments = pickle.loads(order.read_bytes())
    try:
        from openxpu.collectives import Group, unique_id
        from openxpu.runtime.device import set_device, synchronize

        set_device(card)
        shared = folder / "id"
        if rank == 0:
            (folder / "id.part").write_bytes(unique_id(address))
            (folder / "id.part").rename(shared)
        while not shared.exists():
            time.sleep(0.01)
        group = Group(shared.read_bytes(), ranks, rank)
        module, _, function = name.rpartition(":")
        value = getattr(importlib.import_module(module or "programs"), function)(group, *arguments)
        synchronize()
    except BaseException:
        value = traceback.format_exc()
    (folder / f"result-{rank}").write_bytes(pickle.dumps(value))


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parent))
    _rank(Path(sys.argv[1]))
