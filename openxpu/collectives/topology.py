# How fast the ranks of a group reach each other, pair by pair, and how fast the cards of one process do.
from __future__ import annotations

import itertools
import time
from collections.abc import Callable
from dataclasses import dataclass

from openxpu import _runtime
from openxpu.collectives.group import Group
from openxpu.runtime.array import Array, empty, zeros
from openxpu.runtime.device import Device, device_count, synchronize

MESSAGE = 4 << 20  # bytes, where the card's memory allows
MESSAGES = 4  # under way at one time
ROUNDS = 5
ROUND_TRIPS = 30


@dataclass(frozen=True)
class Link:
    """What goes from rank (or card) `source` to `target`."""

    source: int
    target: int
    path: str  # "self", "process", "memory"
    bandwidth: float  # bytes in a second
    latency: float  # seconds until 8 bytes are there


def measure(group: Group, tell: Callable[[int], None] = lambda done: None) -> list[Link]:
    """The links from this rank to all others, as `send` and `receive` have them; every rank of the group calls it.

    Pairs take turns, so that none disturbs another; `tell` hears how many are done. Raises LaunchError when a rank
    does not take part."""
    pairs = list(itertools.combinations(range(group.ranks), 2))
    links: list[Link] = []
    token = zeros((1,), "i64")
    message = empty((min(MESSAGE, group.device.properties["memory_limit"] // (8 * MESSAGES)),), "u8")
    for k, pair in enumerate(pairs):
        if group.rank not in pair:
            continue
        if k and pairs[k - 1][1] != group.rank:
            group.receive(token, pairs[k - 1][1])
            synchronize(group.device)
        for source, target in (pair, pair[::-1]):
            bandwidth, latency = _link(group, source, target, token, message)
            if source == group.rank:
                links.append(Link(source, target, group.path(target), bandwidth, latency))
        if group.rank == pair[1]:
            for waiting in pairs[k + 1] if k + 1 < len(pairs) else ():
                if waiting != group.rank:
                    group.send(token, waiting)
            synchronize(group.device)
            tell(k + 1)
    return links


def _link(group: Group, source: int, target: int, token: Array, message: Array) -> tuple[float, float]:
    """(bytes a second, seconds) of the link, as its source sees them."""
    first, peer = group.rank == source, target if group.rank == source else source

    def exchange() -> None:
        for mine in (first, not first):
            if mine:
                group.send(token, peer)
            else:
                group.receive(token, peer)
        synchronize(group.device)

    def stream() -> None:
        for _ in range(MESSAGES):
            if first:
                group.send(message, peer)
            else:
                group.receive(message, peer)
        exchange()

    def seconds(call: Callable[[], None], calls: int) -> float:
        begin = time.perf_counter()
        for _ in range(calls):
            call()
        return (time.perf_counter() - begin) / calls

    exchange()
    stream()  # pages are touched
    latency = min(seconds(exchange, ROUND_TRIPS) for _ in range(ROUNDS)) / 2
    return MESSAGES * message.size / min(seconds(stream, 1) for _ in range(ROUNDS)), latency


def within_process(tell: Callable[[int], None] = lambda done: None) -> list[Link]:
    """The links between all cards of this process, and within each: copies on the target's stream."""
    devices = [Device(index) for index in range(device_count())]
    size = min(MESSAGE, devices[0].properties["memory_limit"] // 8)
    sources = [zeros((size,), "u8", device) for device in devices]
    targets = [zeros((size,), "u8", device) for device in devices]
    links: list[Link] = []
    for source, target in itertools.product(sources, targets):
        stream = target.device.card.current_stream

        def seconds(
            nbytes: int, a: int = source.data_ptr(), b: int = target.data_ptr(), s: _runtime.Stream = stream
        ) -> float:
            begin = time.perf_counter()
            s.copy(b, a, nbytes, "d2d")
            s.synchronize()
            return time.perf_counter() - begin

        bandwidth = size / min(seconds(size) for _ in range(ROUNDS + 1))
        latency = min(seconds(8) for _ in range(ROUNDS * ROUND_TRIPS))
        one, other = source.device.id, target.device.id
        links.append(Link(one, other, "self" if one == other else "process", bandwidth, latency))
        tell(len(links))
    return links
