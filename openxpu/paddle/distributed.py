# What Paddle refuses on custom devices and groups of cards can do: averages, empty tensors, SyncBatchNorm.
"""Paddle's process group for custom devices knows sums, products, minima and maxima. An average is the sum of parts that
were divided beforehand (as Paddle itself does where a collective library has no average), and nothing has to be exchanged
for a tensor without elements. Both are put around the group's methods, which every function of paddle.distributed calls."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from openxpu.paddle import after_import


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


def _patch_groups(module: Any) -> None:
    """After paddle.distributed.collective: the class of process groups, and a version that Paddle asks for averages."""
    core = module.core
    for name, source in _REDUCTIONS.items():
        method = getattr(core.ProcessGroup, name, None)
        if method is not None:
            setattr(core.ProcessGroup, name, _average(method, source))
    if not hasattr(core, "nccl_version"):
        core.nccl_version = lambda: 0  # "no average in the library": Paddle divides beforehand


@functools.cache
def _sum_over_cards() -> Any:
    """The sum over all ranks, whose gradient is the sum of their gradients."""
    import paddle
    from paddle import distributed

    class Sum(paddle.autograd.PyLayer):
        @staticmethod
        def forward(context: Any, x: Any) -> Any:
            total = x.clone()
            distributed.all_reduce(total)
            return total

        @staticmethod
        def backward(context: Any, grad: Any) -> Any:
            total = grad.clone()
            distributed.all_reduce(total)
            return total

    return Sum.apply


def _normalize(layer: Any, x: Any) -> Any:
    """Training with the statistics of all ranks' rows, as a row of operators that have gradients."""
    import paddle

    channel = 1 if layer._data_format == "NCHW" else x.ndim - 1
    axes = [i for i in range(x.ndim) if i != channel]
    shape = [-1 if i == channel else 1 for i in range(x.ndim)]
    wide = x if x.dtype == paddle.float64 else x.astype("float32")
    rows = paddle.full([1], x.size // x.shape[channel], wide.dtype)
    sums = _sum_over_cards()(paddle.concat([wide.sum(axes), rows]))
    count = sums[-1].detach()
    mean = sums[:-1] / count
    centred = wide - mean.reshape(shape)
    variance = _sum_over_cards()((centred * centred).sum(axes)) / count
    with paddle.no_grad():
        for running, now in ((layer._mean, mean), (layer._variance, variance)):
            running.set_value(running * layer._momentum + now.astype(running.dtype) * (1 - layer._momentum))
    out = centred * (variance + layer._epsilon).rsqrt().reshape(shape)
    out = out * layer.weight.astype(wide.dtype).reshape(shape) + layer.bias.astype(wide.dtype).reshape(shape)
    return out.astype(x.dtype)


def _patch_norm(module: Any) -> None:
    """Paddle's operator for SyncBatchNorm exchanges its sums through NCCL."""
    original = module.SyncBatchNorm.forward

    @functools.wraps(original)
    def forward(self: Any, x: Any) -> Any:
        import paddle
        from paddle import distributed

        several = self.training and paddle.in_dynamic_mode() and distributed.is_initialized()
        if not several or distributed.get_world_size() == 1 or not x.place.is_custom_place():
            return original(self, x)
        self._check_data_format()
        return _normalize(self, x)

    module.SyncBatchNorm.forward = forward


def install() -> None:
    """Patches what is there already and waits for the rest."""
    after_import.install(
        {"paddle.distributed.collective": _patch_groups, "paddle.nn.layer.norm": _patch_norm}
    )
