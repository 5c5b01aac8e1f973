# What Paddle's process groups refuse on custom devices: averages, and tensors without elements.
"""Paddle's process group for custom devices knows sums, products, minima and maxima. An average is the sum of parts that
were divided beforehand (as Paddle itself does where a collective library has no average), and nothing has to be exchanged
for a tensor without elements. Both are put around the group's methods, which every function of paddle.distributed calls."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any


class _Done:
    """The task of a collective that had nothing to do."""

    def is_completed(self) -> bool:
        return True

    def is_sync(self) -> bool:
        return True

    def wait(self, timeout: Any = None) -> bool:
        return True

    def synchronize(self) -> None:
        pass


def _parts(tensors: Any) -> list[Any]:
    return list(tensors) if isinstance(tensors, (list, tuple)) else [tensors]


def _average(method: Callable[..., Any], source: int) -> Callable[..., Any]:
    """The group's method with averages: `source` is the place of the argument that holds the values to reduce."""

    @functools.wraps(method)
    def call(group: Any, *arguments: Any, **keywords: Any) -> Any:
        from paddle.base import core

        values = _parts(arguments[source]) if len(arguments) > source else []
        if values and all(value.size == 0 for value in values):
            return _Done()
        average = core.ReduceOp.AVG
        if keywords.get("op") == average:
            keywords["op"] = core.ReduceOp.SUM
        elif average in arguments:
            arguments = tuple(core.ReduceOp.SUM if a is average or a == average else a for a in arguments)
        else:
            return method(group, *arguments, **keywords)
        scaled = [value.scale(1.0 / group.size()) for value in values]
        # Where the argument is the result as well (all_reduce, reduce), its values become the scaled ones.
        if source == 0:
            for value, part in zip(values, scaled, strict=True):
                value.copy_(part, False)
            return method(group, *arguments, **keywords)
        listed = isinstance(arguments[source], (list, tuple))
        given = (*arguments[:source], scaled if listed else scaled[0], *arguments[source + 1 :])
        return method(group, *given, **keywords)

    return call


_REDUCTIONS = {
    "all_reduce": 0, "all_reduce_on_calc_stream": 0, "reduce": 0, "reduce_on_calc_stream": 0,
    "reduce_scatter": 1, "reduce_scatter_on_calc_stream": 1,
    "reduce_scatter_tensor": 1, "reduce_scatter_tensor_on_calc_stream": 1,
}  # fmt: skip


def patch(module: Any) -> None:
    """After paddle.distributed.collective: the class of process groups, and a version that Paddle asks for averages."""
    core = module.core
    for name, source in _REDUCTIONS.items():
        method = getattr(core.ProcessGroup, name, None)
        if method is not None:
            setattr(core.ProcessGroup, name, _average(method, source))
    if not hasattr(core, "nccl_version"):
        core.nccl_version = lambda: 0  # "no average in the library": Paddle divides beforehand
