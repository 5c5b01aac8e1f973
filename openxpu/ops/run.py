# Runs plan functions on device arrays: signature -> plan cache -> replay.
"""`run(plan_softmax, [x], [(x.shape, x.dtype)], -1)` allocates the outputs on the card of the first input, finds or makes
the plan for these shapes, dtypes, strides and attributes, and enqueues it on the card's current stream."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from openxpu.ops.plan import Dynamic, PlanBuilder, Tensor

if TYPE_CHECKING:
    from openxpu.runtime import Array

Inputs = Sequence["Array | Sequence[Array] | None"]
_LIMIT = 4096  # plans kept; the oldest go first
_plans: dict[Any, Any] = {}
_lock = threading.Lock()


def _key(array: Array) -> tuple[Any, ...]:
    return (array.shape, array.dtype, array.strides)


def run(
    plan: Callable[..., Any],
    inputs: Inputs,
    outputs: Sequence[tuple[Sequence[int], str] | Array | None],
    *attributes: Any,
    dynamic: Sequence[int | float] = (),
    device: Any = None,
) -> Any:
    """Calls plan(b, *inputs, *outputs, *attributes) once per signature and replays what it planned.

    An output is a (shape, dtype) to allocate, an Array to write into, or None. Attributes are part of the signature and
    must be hashable; what changes from call to call goes into `dynamic` and stands as `Dynamic(k)` among the attributes.
    An output that the plan measures (PlanBuilder.measure) is given with any shape. Returns the outputs: one Array, or a tuple of them."""
    from openxpu import runtime

    arrays: list[Array] = []
    signature: list[Any] = [plan]

    def take(value: Any) -> None:
        if value is None:
            signature.append(None)
        elif isinstance(value, list | tuple):
            signature.append(len(value))
            for item in value:
                take(item)
        else:
            arrays.append(value)
            signature.append(_key(value))

    for value in inputs:
        take(value)
    if device is None and arrays:
        device = arrays[0].device
    results: list[Any] = []
    for out in outputs:
        target = runtime.empty(*out, device=device) if isinstance(out, tuple) else out
        results.append(target)
        take(target)
    key = (*signature, attributes)
    ready = _plans.get(key)
    if ready is None:
        ready = _make(plan, [*inputs, *results], attributes)
        with _lock:
            if len(_plans) >= _LIMIT:
                _plans.pop(next(iter(_plans)))
            _plans[key] = ready
    if ready.measure is not None:
        return _run_stages(ready, arrays, results, list(dynamic), device)
    runtime.replay(ready, arrays, list(dynamic), device=device)
    return results[0] if len(results) == 1 else tuple(results)


def _run_stages(ready: Any, arrays: list[Array], results: list[Any], dynamic: list[Any], device: Any) -> Any:
    """Outputs whose size depends on values: what a stage has counted gives them their sizes in the next one."""
    from openxpu import runtime

    nbytes, count, _ = ready.measure
    kept = runtime.empty((nbytes // 8 + 1,), "i64", device=device)
    counts = [0] * count
    stage = ready
    while True:
        runtime.replay(stage, arrays, dynamic, device=device, kept=kept, counts=counts)
        if stage.measure is None:
            break
        stage = stage.measure[2]
        counts = [int(number) for number in runtime.to_numpy(kept.view((count,), (1,)))]
        for index, array in enumerate(arrays):
            extents = stage.measured_extents(index)
            if extents is not None:
                shape = tuple(extent if extent >= 0 else counts[-1 - extent] for extent in extents)
                arrays[index] = runtime.empty(shape, array.dtype, device=device)
                results[next(i for i, result in enumerate(results) if result is array)] = arrays[index]
    return results[0] if len(results) == 1 else tuple(results)


def _make(plan: Callable[..., Any], values: Sequence[Any], attributes: Sequence[Any]) -> Any:
    """The native plan of one signature."""
    count = 0

    def describe(value: Any) -> Any:
        nonlocal count
        if value is None:
            return None
        if isinstance(value, list | tuple):
            return [describe(item) for item in value]
        count += 1
        return Tensor.argument(count - 1, value.shape, value.dtype, value.strides)

    builder = PlanBuilder(plan.__name__.removeprefix("plan_"))
    plan(builder, *[describe(value) for value in values], *attributes)
    return builder.finish()


def clear() -> None:
    """Forgets every plan."""
    with _lock:
        _plans.clear()


__all__ = ["Dynamic", "clear", "run"]
