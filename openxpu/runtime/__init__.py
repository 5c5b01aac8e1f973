# The run time's Python face: cards, arrays, streams, events.
"""Names are re-exported by `openxpu`. Work is asynchronous: it is enqueued on the current stream of a card, and
`synchronize` or reading an array on the host waits for it."""

from __future__ import annotations

from openxpu._runtime import Error, LaunchError, OutOfMemory
from openxpu.runtime.array import (
    Array,
    empty,
    from_dlpack,
    from_numpy,
    replay,
    to_numpy,
    zeros,
)
from openxpu.runtime.device import (
    Device,
    current_device,
    device_count,
    empty_cache,
    manual_seed,
    memory_stats,
    set_device,
    synchronize,
)
from openxpu.runtime.stream import Event, Stream, current_stream

__all__ = [
    "Array",
    "Device",
    "Error",
    "Event",
    "LaunchError",
    "OutOfMemory",
    "Stream",
    "current_device",
    "current_stream",
    "device_count",
    "empty",
    "empty_cache",
    "from_dlpack",
    "from_numpy",
    "manual_seed",
    "memory_stats",
    "replay",
    "set_device",
    "synchronize",
    "to_numpy",
    "zeros",
]
