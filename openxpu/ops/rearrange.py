# Grids, common shapes, parts of rows one after the other or summed, shards of ids: planners.

from __future__ import annotations

from collections.abc import Sequence

from openxpu.ops.elementwise import plan_add_n
from openxpu.ops.layout import normalize, part, plan_copy, plan_expand_grad
from openxpu.ops.plan import PlanBuilder, Tensor
from openxpu.ops.pointwise import plan_map


def _along(x: Tensor, axis: int, ndim: int) -> Tensor:
    """A vector (or a number) as a tensor that extends along one axis only."""
    return x.reshape(*(x.numel if d == axis else 1 for d in range(ndim)))


def plan_meshgrid(b: PlanBuilder, inputs: Sequence[Tensor], outs: Sequence[Tensor]) -> None:
    """outs[i][..., p, ...] = inputs[i][p], p at place i."""
    for axis, (x, out) in enumerate(zip(inputs, outs, strict=True)):
        plan_copy(b, _along(x, axis, len(inputs)), out)


def plan_meshgrid_grad(b: PlanBuilder, ds: Sequence[Tensor], dxs: Sequence[Tensor | None]) -> None:
    for axis, (d, dx) in enumerate(zip(ds, dxs, strict=True)):
        if dx is not None:
            plan_expand_grad(b, d, _along(dx, axis, len(ds)))


def plan_broadcast_tensors(b: PlanBuilder, inputs: Sequence[Tensor], outs: Sequence[Tensor]) -> None:
    """Each input repeated to the common shape."""
    for x, out in zip(inputs, outs, strict=True):
        plan_copy(b, x, out)


def plan_broadcast_tensors_grad(b: PlanBuilder, ds: Sequence[Tensor], dxs: Sequence[Tensor | None]) -> None:
    for d, dx in zip(ds, dxs, strict=True):
        if dx is not None:
            plan_expand_grad(b, d, dx)


def _columns(x: Tensor, start: int, length: int) -> Tensor:
    """`length` columns of a matrix from `start` on; length -1: all that follow."""
    start = normalize(start, x.shape[1])
    return part(x, 1, start, x.shape[1] - start if length < 0 else length)


def plan_partial_concat(
    b: PlanBuilder, inputs: Sequence[Tensor], out: Tensor, start: int, length: int
) -> None:
    """The same columns of each matrix, side by side."""
    at = 0
    for x in inputs:
        columns = _columns(x, start, length)
        plan_copy(b, columns, part(out, 1, at, columns.shape[1]))
        at += columns.shape[1]


def plan_partial_concat_grad(
    b: PlanBuilder, d: Tensor, dxs: Sequence[Tensor | None], start: int, length: int
) -> None:
    each = d.shape[1] // len(dxs)
    for i, dx in enumerate(dxs):
        if dx is not None:
            b.zero(dx)
            plan_copy(b, part(d, 1, i * each, each), _columns(dx, start, length))


def plan_partial_sum(b: PlanBuilder, inputs: Sequence[Tensor], out: Tensor, start: int, length: int) -> None:
    """The sum of the same columns of each matrix."""
    plan_add_n(b, [_columns(x, start, length) for x in inputs], out)


def plan_partial_sum_grad(
    b: PlanBuilder, d: Tensor, dxs: Sequence[Tensor | None], start: int, length: int
) -> None:
    for dx in dxs:
        if dx is not None:
            b.zero(dx)
            plan_copy(b, d, _columns(dx, start, length))


def plan_shard_index(
    b: PlanBuilder, ids: Tensor, out: Tensor, count: int, shards: int, shard: int, ignored: int
) -> None:
    """Ids 0..count in `shards` equal runs: the place in run number `shard`, or `ignored`."""
    plan_map(b, "rearrange.shard_index", [ids], out, [-(-count // shards), shard, ignored])
