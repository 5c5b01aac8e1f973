# The places of cards: by number, and by the names that programs write.

from __future__ import annotations

import os
import re
from typing import Any

_NAME = re.compile(r"xpu(?::(\d+))?", re.IGNORECASE)


def card_place(index: int) -> Any:
    """CustomPlace of a card; an error naming the cards that exist when there is none of this number."""
    from paddle.base import core

    count = core.get_custom_device_count("xpu")
    if not 0 <= index < count:
        cards = ", ".join(f"xpu:{i}" for i in range(count)) or "none"
        raise ValueError(
            f"Device xpu:{index} was asked for, but this machine has these cards: {cards}. "
            f"Set OPENXPU_CARDS to show more, or choose one of them."
        )
    return core.CustomPlace("xpu", index)


def named_place(name: Any) -> Any:
    """The place for "xpu" or "xpu:<n>", else None."""
    match = _NAME.fullmatch(name) if isinstance(name, str) else None
    if match is None:
        return None
    if match[1] is not None:
        return card_place(int(match[1]))
    return card_place(int(os.environ.get("FLAGS_selected_xpus", "0").split(",")[0] or 0))  # noqa: SIM112
