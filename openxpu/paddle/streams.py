# Paddle's streams as streams of the run time.
from __future__ import annotations

from typing import Any

from openxpu import _runtime


def current_stream(card: int) -> _runtime.Stream:
    """The stream on which Paddle enqueues this thread's work on a card."""
    from paddle.base import core

    # What paddle.device.current_stream asks, without the microseconds that it spends on parsing names.
    native: Any = core
    return _runtime.stream_at(native._get_current_custom_device_stream("xpu", card).raw_stream)
