"""Keeps the kernel cache below OPENXPU_CACHE_LIMIT: what was used longest ago goes first.

A hit sets its file's modification time, so that order of time is order of use. What the files add up to stands in one
small file, the *ledger*, which every process updates under a lock after it stored an image: the folder is listed only
when the sum passes the limit, and once a day, which also corrects the sum and removes what killed processes left half
written. Eviction goes down to nine tenths of the limit, so that it is rare.

Removing an image hurts nobody: a process reads it whole before it loads it, and whoever comes later compiles again.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from openxpu import environment
from openxpu.compiler import image

LEDGER = "ledger"  # text: bytes, time of the last listing
_RECOUNT_SECONDS = 24 * 3600.0
_ABANDONED_SECONDS = 3600.0  # no image takes so long to write
_LOCK_SECONDS = 5.0


@dataclass(frozen=True)
class Entry:
    path: Path
    nbytes: int
    used: float  # seconds since 1970


@dataclass(frozen=True)
class Listing:
    """What lies in the cache."""

    entries: list[Entry]
    unfinished: list[Entry]  # being written, or left by a process that was killed

    @property
    def nbytes(self) -> int:
        return sum(entry.nbytes for entry in self.entries)


def listing(folder: Path) -> Listing:
    """Every image below the folder. Looks at each file: for eviction and for people."""
    entries: list[Entry] = []
    unfinished: list[Entry] = []
    with contextlib.suppress(OSError):
        for shelf in os.scandir(folder):
            with contextlib.suppress(OSError):
                if not shelf.is_dir(follow_symlinks=False) or len(shelf.name) != 2:
                    continue
                for file in os.scandir(shelf.path):
                    with contextlib.suppress(OSError):  # gone meanwhile
                        found = file.stat(follow_symlinks=False)
                        entry = Entry(Path(file.path), found.st_size, found.st_mtime)
                        if file.name.endswith(".oxk"):
                            entries.append(entry)
                        elif file.name.endswith(".part"):
                            unfinished.append(entry)
    return Listing(entries, unfinished)


def touch(path: Path) -> None:
    """An image was used just now."""
    with contextlib.suppress(OSError):  # a cache that belongs to someone else
        os.utime(path)


def store(folder: Path, path: Path, made: image.Image) -> None:
    """Write an image below the folder, then evict others when all are more than the limit allows.

    Raises OSError when the folder cannot be written, ValueError for an OPENXPU_CACHE_LIMIT that is no size."""
    limit = environment.cache_limit()
    added = image.write(path, made)
    with _locked(folder) as ledger:
        if ledger is None:  # the next listing counts it
            return
        total, listed = _read(ledger)
        total += added
        now = time.time()
        if (limit and total > limit) or not 0 <= now - listed < _RECOUNT_SECONDS:
            total, listed = _evict(folder, limit, path), now
        _write(ledger, total, listed)


def clear(folder: Path) -> Listing:
    """Remove every image, and what is half written and old; returns what was removed."""
    with _locked(folder, create=False) as ledger:
        found = listing(folder)
        now = time.time()
        abandoned = [entry for entry in found.unfinished if now - entry.used > _ABANDONED_SECONDS]
        for entry in (*found.entries, *abandoned):
            entry.path.unlink(missing_ok=True)
        if ledger is not None:
            _write(ledger, 0, now)
    return Listing(found.entries, abandoned)


def _evict(folder: Path, limit: int, keep: Path) -> int:
    """Bring the folder down to nine tenths of the limit if it is above it; returns the bytes that are left."""
    found = listing(folder)
    now = time.time()
    for entry in found.unfinished:
        if now - entry.used > _ABANDONED_SECONDS:
            _remove(entry)
    total = found.nbytes
    if not limit or total <= limit:
        return total
    for entry in sorted(found.entries, key=lambda entry: entry.used):
        if total <= limit - limit // 10:
            break
        if entry.path != keep and _remove(entry):
            total -= entry.nbytes
    return total


def _remove(entry: Entry) -> bool:
    try:
        entry.path.unlink(missing_ok=True)
    except OSError:
        return False
    return True


@contextlib.contextmanager
def _locked(folder: Path, create: bool = True) -> Iterator[int | None]:
    """The ledger, open and locked against other processes and threads; None when it cannot be had in time."""
    try:
        ledger = os.open(folder / LEDGER, os.O_RDWR | os.O_CLOEXEC | (os.O_CREAT if create else 0), 0o666)
    except OSError:
        yield None
        return
    try:
        end = time.monotonic() + _LOCK_SECONDS
        while True:
            try:
                fcntl.flock(ledger, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except OSError:  # held, maybe by a process that was stopped; or a file system without locks
                if time.monotonic() > end:
                    yield None
                    return
                time.sleep(0.002)
        try:
            yield ledger
        finally:
            fcntl.flock(ledger, fcntl.LOCK_UN)  # closing would leave it to a child that was forked meanwhile
    finally:
        os.close(ledger)


def _read(ledger: int) -> tuple[int, float]:
    """(bytes, time of the last listing); (0, 0.0), which asks for a listing, for a new or damaged ledger."""
    try:
        total, listed = os.pread(ledger, 100, 0).split()
        return int(total), float(listed)
    except ValueError:
        return 0, 0.0


def _write(ledger: int, total: int, listed: float) -> None:
    text = f"{total} {int(listed)}\n".encode().ljust(64)
    os.pwrite(ledger, text, 0)
    os.ftruncate(ledger, len(text))
