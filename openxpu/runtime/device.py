# Cards as Python sees them: count, properties, memory, the current card.
from __future__ import annotations

import threading
from typing import Any

from openxpu import _runtime

_local = threading.local()


class Device:
    """A card of this machine: `Device(0)`, `Device("xpu")` or `Device("xpu:0")`.

    Raises `openxpu.Error` naming the cards that exist, and `ValueError` for text that names no card."""

    __slots__ = ("card", "id")

    def __init__(self, device: Device | int | str | None = None) -> None:
        if device is None:
            device = current_device()
        if isinstance(device, Device):
            index = device.id
        elif isinstance(device, str):
            kind, _, number = device.partition(":")
            if kind != "xpu" or (number and not number.isdecimal()):
                raise ValueError(f'"{device}" names no card; cards are called "xpu", "xpu:0", "xpu:1", ...')
            index = int(number) if number else 0
        else:
            index = int(device)
        self.id: int = index
        self.card: _runtime.Card = _runtime.card(index)

    @property
    def name(self) -> str:
        """What a person calls the chip."""
        return str(self.properties["name"])

    @property
    def properties(self) -> dict[str, Any]:
        """name, architecture, driver, workers, memory_limit (bytes), l1_bytes, l2_bytes, l3_bytes, shared_memory."""
        return _runtime.card_properties(self.id)

    def synchronize(self) -> None:
        """Waits for all work on the card. Raises LaunchError for the first launch that failed since the last wait."""
        self.card.synchronize()

    def memory_stats(self) -> dict[str, int]:
        """Bytes: limit, used, peak, reserved (pages in hand), largest_free, workspace; counts: live, allocations."""
        return self.card.memory_stats()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Device) and other.id == self.id

    def __hash__(self) -> int:
        return hash(("xpu", self.id))

    def __str__(self) -> str:
        return f"xpu:{self.id}"

    def __repr__(self) -> str:
        return f'Device("xpu:{self.id}")'


def device_count() -> int:
    """How many cards this machine shows (OPENXPU_CARDS, default 1)."""
    return _runtime.card_count()


def current_device() -> Device:
    """The card on which this thread allocates unless told otherwise; card 0 at first."""
    device: Device | None = getattr(_local, "device", None)
    if device is None:
        device = _local.device = Device(0)
    return device


def set_device(device: Device | int | str) -> None:
    """Makes a card the current one of this thread."""
    _local.device = Device(device)


def as_device(device: Device | int | str | None) -> Device:
    """The device itself, the one that is named, or the current one."""
    if isinstance(device, Device):
        return device
    return current_device() if device is None else Device(device)


def synchronize(device: Device | int | str | None = None) -> None:
    """Waits for all work on a card (default: the current one)."""
    as_device(device).synchronize()


def memory_stats(device: Device | int | str | None = None) -> dict[str, int]:
    """Allocator statistics of a card; see Device.memory_stats."""
    return as_device(device).memory_stats()


def empty_cache(device: Device | int | str | None = None) -> None:
    """Waits for the card, then gives the pages of its free memory back to the system."""
    as_device(device).card.trim()


def manual_seed(seed: int, device: Device | int | str | None = None) -> None:
    """Sets the key of the card's Philox generator and its counter to 0."""
    as_device(device).card.set_seed(seed & 0xFFFFFFFFFFFFFFFF)
