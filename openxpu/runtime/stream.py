# Streams and events: order between pieces of work, and time.
from __future__ import annotations

from types import TracebackType

from openxpu import _runtime
from openxpu.runtime.device import Device, as_device


class Event:
    """A point in a stream's queue. `record` marks it, `wait` lets another stream wait for it."""

    __slots__ = ("native",)

    def __init__(self) -> None:
        self.native = _runtime.Event()

    def record(self, stream: Stream | None = None) -> None:
        """Marks the end of the work that the stream has now (default: the current stream)."""
        (stream or current_stream()).native.record(self.native)

    def wait(self, stream: Stream | None = None) -> None:
        """Lets a stream's later work wait for this event's latest record, as of now."""
        (stream or current_stream()).native.wait(self.native)

    def query(self) -> bool:
        """True when the latest record was reached, or there was none."""
        return self.native.query()

    def synchronize(self) -> None:
        """Waits for the latest record."""
        self.native.synchronize()

    def elapsed_time(self, end: Event) -> float:
        """Milliseconds from this event's record to `end`'s. Raises `openxpu.Error` while one is pending."""
        return end.native.elapsed_ms(self.native)


class Stream:
    """An in-order queue of work on a card. As a context manager: the current stream of this thread."""

    __slots__ = ("_outer", "device", "native")

    def __init__(
        self, device: Device | int | str | None = None, *, native: _runtime.Stream | None = None
    ) -> None:
        self.device = as_device(device)
        self.native = _runtime.Stream(self.device.card) if native is None else native
        self._outer: list[_runtime.Stream] = []

    def synchronize(self) -> None:
        """Waits for the stream's work. Raises LaunchError for the first launch that failed since the last wait."""
        self.native.synchronize()

    def query(self) -> bool:
        """True when all work is done."""
        return self.native.query()

    def record_event(self, event: Event | None = None) -> Event:
        """Records an event (a new one by default) and returns it."""
        event = Event() if event is None else event
        event.record(self)
        return event

    def wait_event(self, event: Event) -> None:
        """Later work on this stream waits for the event."""
        event.wait(self)

    def wait_stream(self, other: Stream) -> None:
        """Later work on this stream waits for what the other stream has now."""
        self.wait_event(other.record_event())

    def __enter__(self) -> Stream:
        self._outer.append(self.device.card.current_stream)
        self.device.card.set_current_stream(self.native)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.device.card.set_current_stream(self._outer.pop())


def current_stream(device: Device | int | str | None = None) -> Stream:
    """The stream on which this thread's work on a card is enqueued."""
    device = as_device(device)
    return Stream(device, native=device.card.current_stream)
