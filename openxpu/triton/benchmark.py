# Timing of kernels: what triton.autotune and triton.testing.do_bench ask a driver for.
from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from openxpu.runtime import current_device


def _synchronize() -> None:
    current_device().synchronize()


def _quantile(times: Sequence[float], at: float) -> float:
    return float(np.quantile(np.asarray(times), at))


def benchmark(
    kernel_call: Callable[[], Any],
    *,
    quantiles: Sequence[float] = (0.5,),
    warmup: float = 5.0,
    rep: float = 50.0,
    **ignored: Any,
) -> list[float]:
    """Milliseconds of a call at these quantiles, waiting for the card after each call.

    warmup, rep: milliseconds to spend; a call runs three times at least, and at most a thousand times."""
    kernel_call()
    _synchronize()
    times: list[float] = []
    warm, spent = 0.0, 0.0
    while len(times) < 3 or (spent < rep and len(times) < 1000):
        start = time.perf_counter()
        kernel_call()
        _synchronize()
        took = (time.perf_counter() - start) * 1e3
        if warm + took <= warmup:
            warm += took
            continue
        warm = warmup
        times.append(took)
        spent += took
    return [_quantile(times, at) for at in quantiles]


class Event:
    """A time on the clock of the host, taken when the card is idle: right for every stream and kind of argument."""

    def __init__(self, enable_timing: bool = True) -> None:
        self._at: float | None = None

    def record(self, stream: Any = None) -> None:
        _synchronize()
        self._at = time.perf_counter()

    def synchronize(self) -> None:
        _synchronize()

    def elapsed_time(self, end: Event) -> float:
        """Milliseconds from this event to `end`."""
        if self._at is None or end._at is None:
            raise RuntimeError("The time between two events was asked for, but one was never recorded.")
        return (end._at - self._at) * 1e3


class DeviceInterface:
    """The part of torch.cuda that triton.testing uses."""

    Event = Event

    @staticmethod
    def synchronize(device: Any = None) -> None:
        _synchronize()

    @staticmethod
    def current_device() -> int:
        return current_device().id
