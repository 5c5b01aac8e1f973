# paddle.distributed.spawn on cards: its ranks join a group of cards, and none of them outlives the program.
"""Paddle tells the ranks that it spawns which cards they have, but not that cards are what they talk over; without that,
each of them looks for a processor's group of its own."""

from __future__ import annotations

import functools
import os
import signal
import threading
from typing import Any

from openxpu.paddle import loader_workers

_SELECTED = "FLAGS_selected_xpus"
_BACKEND = {"PADDLE_DISTRI_BACKEND": "xccl", "PADDLE_XCCL_BACKEND": "xpu"}


def _cards(ranks: int, options: dict[str, Any]) -> str:
    """The numbers of the ranks' cards: those of the option xpus, else the selected ones, else the first."""
    from paddle.base import core

    there = [str(card) for card in range(core.get_custom_device_count("xpu"))]
    asked = options.get("xpus") or os.environ.get(_SELECTED) or ",".join(there)
    cards = [card.strip() for card in str(asked).split(",")]
    missing = [card for card in cards if card not in there]
    if missing or len(cards) < ranks or (options.get("xpus") and len(cards) != ranks):
        raise ValueError(
            f"paddle.distributed.spawn was asked for {ranks} ranks on the cards {','.join(cards)}, and this machine shows "
            f"{','.join(there)}. Give each rank a card of its own (nprocs, xpus), or set OPENXPU_CARDS to show more."
        )
    return ",".join(cards[:ranks])


def _on_cards() -> bool:
    from paddle.device import get_device

    return str(get_device()).split(":")[0] == "xpu"


def patch(module: Any) -> None:
    """After paddle.distributed.spawn: environments of the ranks, the defaults for cards, and how a rank ends."""
    environments, backend, ranks, wrapper = (
        module._get_subprocess_env_list,
        module._get_default_backend,
        module._get_default_nprocs,
        module._func_wrapper,
    )

    @functools.wraps(environments)
    def subprocess_environments(nprocs: int, options: dict[str, Any]) -> list[dict[str, str]]:
        if options.get("backend", "auto") == "auto":
            options["backend"] = module._get_default_backend()
        if options["backend"] != "xccl":
            return list(environments(nprocs, options))
        before = os.environ.get(_SELECTED)
        os.environ[_SELECTED] = _cards(nprocs, options)
        try:
            return [{**rank, **_BACKEND} for rank in environments(nprocs, options)]
        finally:
            if before is None:
                del os.environ[_SELECTED]
            else:
                os.environ[_SELECTED] = before

    @functools.wraps(backend)
    def default_backend() -> str:
        return "xccl" if _on_cards() else str(backend())

    @functools.wraps(ranks)
    def default_ranks() -> int:
        return int(module.core.get_custom_device_count("xpu")) if _on_cards() else int(ranks())

    @functools.wraps(wrapper)
    def run(*arguments: Any) -> Any:
        # Paddle's handler takes stock of the process before it ends it, and may wait for a lock of the interrupted thread.
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        threading.Thread(target=loader_workers.end_with, args=(os.getppid(),), daemon=True).start()
        return wrapper(*arguments)

    module._get_subprocess_env_list = subprocess_environments
    module._get_default_backend = default_backend
    module._get_default_nprocs = default_ranks
    module._func_wrapper = run
