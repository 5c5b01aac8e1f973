"""The machine's memory, which the workers of a certification share."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

LITTLE = 0.1  # of the machine's memory: below it the system would soon end a process of its own choice
LOOK = 0.5  # seconds from one look at the memory to the next


def available() -> float:
    """The part of the machine's memory that processes may still take; 1 where Linux does not tell."""
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
    except OSError:
        return 1.0
    sizes = {name: float(rest.split()[0]) for name, _, rest in (line.partition(":") for line in lines)}
    return sizes.get("MemAvailable", 1.0) / max(sizes.get("MemTotal", 1.0), 1.0)


class Closed(Exception):
    """Nobody starts any more."""


class Room:
    """Who is at work, side by side or alone. When memory runs out, the one that came last has to go, and comes again alone."""

    def __init__(self, free: Callable[[], float] = available) -> None:
        self._free = free
        self._changed = threading.Condition()
        self._inside: list[str] = []
        self._alone: str | None = None  # who waits for an empty room, or is alone in it
        self._closed = False

    @contextmanager
    def place(self, who: str, alone: bool) -> Iterator[None]:
        """Waits for a place: `alone`, until the room is empty, and nobody follows. Raises Closed."""
        with self._changed:
            self._wait(lambda: self._alone is None)
            if alone:
                self._alone = who
                self._wait(lambda: not self._inside)
            self._inside.append(who)
        try:
            yield
        finally:
            with self._changed:
                self._inside.remove(who)
                if self._alone == who:
                    self._alone = None
                self._changed.notify_all()

    def _wait(self, until: Callable[[], bool]) -> None:
        self._changed.wait_for(lambda: self._closed or until())
        if self._closed:
            raise Closed

    def too_full(self, who: str) -> bool:
        """Whether memory is short and `who` is the one to go."""
        with self._changed:
            return len(self._inside) > 1 and self._inside[-1] == who and self._free() < LITTLE

    def close(self) -> None:
        with self._changed:
            self._closed = True
            self._changed.notify_all()
