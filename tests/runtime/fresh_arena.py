"""What the allocator does with an arena that nobody has used yet; test_memory runs it in processes of its own."""

from __future__ import annotations

import random

from openxpu import _runtime


def freed_blocks_are_reused_and_join() -> None:
    card = _runtime.card(0)
    largest = card.memory_stats()["largest_free"]
    blocks = [card.allocate(1 << 20) for _ in range(64)]
    order = blocks[:]
    random.Random(1).shuffle(order)
    for address in order:
        card.release(address)
    assert card.memory_stats()["largest_free"] == largest
    again = card.allocate(60 << 20)
    assert min(blocks) <= again <= max(blocks)
    card.release(again)


def best_fit_takes_the_smallest_block_that_holds() -> None:
    card = _runtime.card(0)
    sizes = [1 << 20, 3 << 20, 2 << 20]
    holes, guards = [], []
    for n in sizes:
        holes.append(card.allocate(n))
        guards.append(card.allocate(256))
    for address in holes:
        card.release(address)
    got = card.allocate((2 << 20) - 1000)
    assert got == holes[2]
    card.release(got)
    for address in guards:
        card.release(address)
