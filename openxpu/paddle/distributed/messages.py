# Batches of messages between ranks: all sends before all receives.
"""Paddle hands a batch over message by message and relies on its library to begin them together. Cards do one after the
other, and a send waits for nobody; so a ring of ranks whose batches begin with a receive would stand still, but for the
order. Messages of one pair and direction keep theirs."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from openxpu.paddle.naming import replace_everywhere


def _sends_first(original: Callable[..., Any], sends: Callable[[], Any]) -> Callable[..., Any]:
    @functools.wraps(original)
    def call(messages: list[Any]) -> Any:
        send = sends()
        return original(sorted(messages, key=lambda message: message.op != send))

    return call


def patch_batches(module: Any) -> None:
    """After paddle.distributed.communication.batch_isend_irecv."""
    original = module.batch_isend_irecv
    replace_everywhere("batch_isend_irecv", original, _sends_first(original, lambda: module.dist.isend))


def patch_pipeline(module: Any) -> None:
    """After the pipeline's p2p_communication."""
    original = module.batch_send_recv_on_calc_stream
    module.batch_send_recv_on_calc_stream = _sends_first(original, lambda: module._send_on_calc_stream)
