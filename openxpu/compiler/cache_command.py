"""`openxpu cache`: where compiled kernels lie, how many they are, what they take; and their removal."""

from __future__ import annotations

import json
import time

from openxpu import environment
from openxpu.compiler import eviction


def size_text(nbytes: int) -> str:
    """ "512 B", "3.4 MiB"."""
    size, units = float(nbytes), ["B", "KiB", "MiB", "GiB", "TiB"]
    while size >= 1024 and len(units) > 1:
        size, units = size / 1024, units[1:]
    return f"{size:.0f} {units[0]}" if units[0] == "B" else f"{size:.1f} {units[0]}"


def show(as_json: bool) -> int:
    """Prints the state of the cache; returns the exit code. Raises ValueError for a bad OPENXPU_CACHE_LIMIT."""
    folder, limit = environment.cache_dir(), environment.cache_limit()
    found = eviction.listing(folder)
    oldest = min((entry.used for entry in found.entries), default=None)
    if as_json:
        state = {
            "folder": str(folder),
            "entries": len(found.entries),
            "bytes": found.nbytes,
            "limit_bytes": limit,  # 0: none
            "least_recent_use": oldest,  # seconds since 1970, or null
            "unfinished": len(found.unfinished),
        }
        print(json.dumps(state, indent=2))
        return 0
    print(f"folder    {folder}")
    print(f"kernels   {len(found.entries)}")
    allowed = f"of {size_text(limit)}" if limit else "without a limit"
    print(f"size      {size_text(found.nbytes)} {allowed} (OPENXPU_CACHE_LIMIT)")
    if oldest is not None:
        print(f"oldest    used {time.strftime('%Y-%m-%d %H:%M', time.localtime(oldest))}")
    if found.unfinished:
        print(f"writing   {len(found.unfinished)} files; those of killed processes go within a day")
    return 0


def clear(as_json: bool) -> int:
    """Removes all kernels; returns the exit code. Processes that have loaded theirs go on undisturbed."""
    folder = environment.cache_dir()
    removed = eviction.clear(folder)
    if as_json:
        state = {"folder": str(folder), "removed": len(removed.entries), "bytes": removed.nbytes}
        print(json.dumps(state, indent=2))
    else:
        print(f"Removed {len(removed.entries)} kernels, {size_text(removed.nbytes)}, from {folder}.")
    return 0
