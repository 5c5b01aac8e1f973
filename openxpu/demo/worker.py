"""One training of the demo in a process of its own: `python -m openxpu.demo.worker '{"part": ...}'`.

Every device gets a fresh process, so neither its thread pool nor its memory disturbs the other's timing.
Events go to the parent as JSON lines on the file descriptor named in the order.
"""

from __future__ import annotations

import dataclasses
import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TextIO

import numpy as np
import paddle

from openxpu.demo import digits, text


@dataclasses.dataclass(frozen=True)
class Order:
    """What the parent wants done. `events` is the number of an open file descriptor."""

    part: str
    device: str
    output: str
    quick: bool
    events: int


def faster_thread_count(data: digits.Digits, recipe: digits.Recipe) -> int:
    """Paddle's CPU device starts with one thread. Tries all cores too and keeps what is faster here."""
    cores = len(os.sched_getaffinity(0))
    best = (float("inf"), 1)
    for threads in sorted({1, cores}):
        paddle.base.core.set_num_threads(threads)
        model, optimizer, _ = digits.build(recipe)
        for step, (images, labels) in enumerate(digits.batches(data, recipe, 0)):
            start = time.perf_counter()
            digits.train_step(model, optimizer, images, labels).item()
            if step > 0:  # the first step pays for preparations
                best = min(best, (time.perf_counter() - start, threads))
            if step == 3:
                break
    paddle.base.core.set_num_threads(best[1])
    return best[1]


def run_digits(order: Order, say: Callable[..., None]) -> dict[str, Any]:
    recipe = digits.Recipe.quick() if order.quick else digits.Recipe()
    data = digits.load_digits()
    threads = None
    if order.device == "cpu":
        threads = 1 if order.quick else faster_thread_count(data, recipe)
    trained = digits.train(
        data, recipe, lambda step, steps, loss: say("step", step=step, steps=steps, loss=loss)
    )
    say("stage", text="exporting and serving")
    answers = digits.logits(trained.model, data.test_images)
    path = digits.export(trained.model, Path(order.output) / f"digits-{order.device}")
    start = time.perf_counter()
    served = digits.serve(path, order.device, data.test_images)
    return {
        "recipe": dataclasses.asdict(recipe),
        "threads": threads,
        "accuracy": trained.accuracy,
        "held_out_images": len(data.test_labels),
        "warm_up_seconds": trained.warm_up_seconds,
        "train_seconds": trained.train_seconds,
        "images_per_second": trained.images_per_second,
        "losses": trained.losses,
        "exported": str(path),
        "serve_seconds": time.perf_counter() - start,
        "served_equal": int((served.argmax(1) == answers.argmax(1)).sum()),
        "served_largest_difference": float(np.abs(served - answers).max()),
        "served_accuracy": float((served.argmax(1) == data.test_labels).mean()),
    }


def run_text(order: Order, say: Callable[..., None]) -> dict[str, Any]:
    recipe = text.Recipe.quick() if order.quick else text.Recipe()
    trained = text.train(recipe, lambda step, steps, loss: say("step", step=step, steps=steps, loss=loss))
    return {"recipe": dataclasses.asdict(recipe), **dataclasses.asdict(trained)}


def counters(device: str) -> dict[str, Any]:
    """Which kernels ran on the card and which fell back to the CPU; empty on Paddle's own devices."""
    if device == "cpu":
        return {}
    import openxpu.paddle

    return {
        "native_calls": dict(openxpu.paddle.native_calls()),
        "fallbacks": dict(openxpu.paddle.fallbacks()),
    }


def main(order: Order, events: TextIO) -> None:
    def say(event: str, **fields: Any) -> None:
        events.write(json.dumps({"event": event, **fields}) + "\n")
        events.flush()

    paddle.set_device(order.device)
    say("stage", text="preparing (the first run compiles kernels)" if order.device != "cpu" else "preparing")
    result = run_digits(order, say) if order.part == "digits" else run_text(order, say)
    say("result", **result, **counters(order.device))


if __name__ == "__main__":
    order = Order(**json.loads(sys.argv[1]))
    with os.fdopen(order.events, "w") as events:
        main(order, events)
