# Runs one plan function on NumPy arrays: compiled, on a card, or in the Triton interpreter.
"""`execute(plan_add, [x, y], [(shape, "f32")])` returns the outputs as NumPy arrays. OPENXPU_TEST_BACKEND=interpreter runs
the same tests without the compiler, which shows whether a failure is the planner's and kernel's, or the compiler's."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from interpret import NAMES, interpret, junk

INTERPRETED = os.environ.get("OPENXPU_TEST_BACKEND") == "interpreter"


def execute(
    plan: Callable[..., Any],
    inputs: Sequence[Any],
    outputs: Sequence[tuple[Sequence[int], str] | np.ndarray | None],
    *attributes: Any,
    dynamic: Sequence[int | float] = (),
) -> list[Any]:
    """The outputs of plan(b, *inputs, *outputs, *attributes). An output that is one of the input arrays is in place."""
    if INTERPRETED:
        # What the plan does in place must not reach the caller's arrays, as on a card.
        copies = {id(out): out.copy() for out in outputs if isinstance(out, np.ndarray)}

        def own(value: Any) -> Any:
            return [own(v) for v in value] if isinstance(value, list) else copies.get(id(value), value)

        return interpret(
            plan, [own(v) for v in inputs], [own(out) for out in outputs], *attributes, dynamic=dynamic
        )
    from openxpu.ops.run import run
    from openxpu.runtime import from_numpy, to_numpy

    sent: dict[int, Any] = {}

    def send(value: Any) -> Any:
        if value is None:
            return None
        if isinstance(value, list):
            return [send(item) for item in value]
        if id(value) not in sent:
            owner = (
                value if value.flags.c_contiguous or not isinstance(value.base, np.ndarray) else value.base
            )
            array = from_numpy(owner)
            if owner is not value:  # the card sees the same view of the same memory
                offset = (value.ctypes.data - owner.ctypes.data) // value.itemsize
                array = array.view(
                    value.shape, [stride // value.itemsize for stride in value.strides], offset
                )
            sent[id(value)] = array
        return sent[id(value)]

    arrays = [send(value) for value in inputs]
    targets = [
        None if out is None else send(out) if isinstance(out, np.ndarray) else from_numpy(junk(*out))
        for out in outputs
    ]
    run(plan, arrays, targets, *attributes, dynamic=dynamic)
    return [None if target is None else to_numpy(target) for target in targets]


__all__ = ["INTERPRETED", "NAMES", "execute"]
