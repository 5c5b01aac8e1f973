# Paddle's streams as streams of the run time. Imports Paddle: only for who has a Paddle tensor in hand.
from __future__ import annotations

from typing import Any

from paddle.base import core

from openxpu import _runtime

_native: Any = core


def current_stream(card: int) -> _runtime.Stream:
    """The stream on which Paddle enqueues this thread's work on a card."""
    # What paddle.device.current_stream asks, without the microseconds that it spends on parsing names.
    return _runtime.stream_at(_native._get_current_custom_device_stream("xpu", card).raw_stream)


def stream_of(*addresses: int) -> _runtime.Stream:
    """Paddle's current stream of the card that holds the first of these addresses which is on a card; without one,
    OpenXPU's own current stream."""
    for address in addresses:
        card = _runtime.card_at(address)
        if card >= 0:
            return current_stream(card)
    from openxpu.runtime import current_device

    return current_device().card.current_stream
