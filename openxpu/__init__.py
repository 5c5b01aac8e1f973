# The public face of OpenXPU: cards, arrays, streams and events; operators and Paddle on demand.
"""OpenXPU: an open accelerator stack for PaddlePaddle.

    import openxpu
    x = openxpu.from_numpy(numpy_array)        # onto the card
    y = openxpu.ops.softmax.softmax(x)         # Triton kernels, run asynchronously
    openxpu.to_numpy(y)

`openxpu.ops` and `openxpu.paddle` are imported when they are first used."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from openxpu.runtime import (
    Array,
    Device,
    Error,
    Event,
    LaunchError,
    OutOfMemory,
    Stream,
    current_device,
    current_stream,
    device_count,
    empty,
    empty_cache,
    from_dlpack,
    from_numpy,
    manual_seed,
    memory_stats,
    set_device,
    synchronize,
    to_numpy,
    zeros,
)

if TYPE_CHECKING:
    from openxpu import compiler, ops, paddle, runtime

__version__ = "0.1.0"

__all__ = [
    "Array",
    "Device",
    "Error",
    "Event",
    "LaunchError",
    "OutOfMemory",
    "Stream",
    "__version__",
    "compiler",
    "current_device",
    "current_stream",
    "device_count",
    "empty",
    "empty_cache",
    "from_dlpack",
    "from_numpy",
    "manual_seed",
    "memory_stats",
    "ops",
    "paddle",
    "runtime",
    "set_device",
    "synchronize",
    "to_numpy",
    "zeros",
]

_ROOMS = ("ops", "paddle", "compiler", "environment", "triton")


def __getattr__(name: str) -> Any:
    if name in _ROOMS:
        return importlib.import_module(f"openxpu.{name}")
    raise AttributeError(f"module 'openxpu' has no attribute {name!r}")
