"""The process of one peer: builds a work and times calls of it when told, sleeps on its pipe otherwise."""

from __future__ import annotations

import importlib
import json
import os
import sys
import time
import traceback
from collections.abc import Callable
from typing import Any


def build(work: str, peer: str, options: dict[str, Any]) -> Callable[[], float | None]:
    """`work` is "module:function"; the function gets the peer's name and the options and returns one call."""
    module, function = work.split(":")
    call: Callable[[], float | None] = getattr(importlib.import_module(module), function)(peer, **options)
    return call


def timed(call: Callable[[], float | None]) -> float:
    """Seconds of one call; a call that measures a part of itself returns the seconds of that part."""
    start = time.perf_counter()
    own = call()
    return time.perf_counter() - start if own is None else own


def main() -> None:
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what frameworks print must not get between the answers
    peer = sys.argv[1]
    call: Callable[[], float | None] | None = None
    for line in sys.stdin:
        order = json.loads(line)
        try:
            if order["do"] == "build":
                call = None
                call = build(order["work"], peer, order["options"])
                answer: dict[str, Any] = {"warm_up": [timed(call) for _ in range(order["warm_up"])]}
            else:
                assert call is not None, "run came before build"
                answer = {"seconds": [timed(call) for _ in range(order["calls"])]}
        except Exception as error:
            traceback.print_exc()
            answer = {"error": f"{type(error).__name__}: {error}"}
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


if __name__ == "__main__":
    main()
