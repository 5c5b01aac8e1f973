# Planners of messages on graphs: rows of nodes and of edges combined along edges, and where they arrive; gradients.
"""Edge k leads from node source[k] to node target[k]. Arrivals are combined in the order of the edges."""

from __future__ import annotations

import math

from openxpu.ops.layout import plan_gather, plan_gather_grad
from openxpu.ops.plan import I64, PlanBuilder, Tensor, Unsupported
from openxpu.ops.pointwise import plan_map, plan_map_reduced
from openxpu.ops.reduce import power_of_two
from openxpu.ops.select import dense

_MESSAGES = {"ADD": "add", "MUL": "mul"}
_HOW = {"SUM": "sum", "MEAN": "mean", "MAX": "max", "MIN": "min"}
_OPERATIONS = {"add": "elementwise.add", "mul": "elementwise.multiply"}


def _named(table: dict[str, str], name: str) -> str:
    if name not in table:
        raise Unsupported(f"messages are combined by {', '.join(table)}, not by {name}.")
    return table[name]


def _received(
    b: PlanBuilder,
    x: Tensor,
    y: Tensor | None,
    source: Tensor,
    target: Tensor,
    out: Tensor,
    message: str,
    how: str,
) -> None:
    """out [nodes, ...] from x [nodes, ...] in the shape of a message; y has this shape, too, or one number for an edge."""
    b.zero(out)
    edges, width = source.numel, math.prod(out.shape[1:])
    if not edges or not width:
        return
    block = min(1024, max(16, power_of_two(width)))
    programs = -(-width // block)
    arrived = None
    if how in ("max", "min"):
        arrived = b.scratch((out.shape[0], programs), "i32")
        b.zero(arrived)
    wide = y is not None and y.numel != edges
    b.launch(
        "messages.receive", programs, x, y, source, target, arrived, out, edges, width,
        I64(width if wide else 1), cost=6 * edges * width * x.itemsize,
        MESSAGE=message, HOW=how, YS=int(wide), BLOCK=block,
    )  # fmt: skip


def plan_receive(
    b: PlanBuilder,
    x: Tensor,
    y: Tensor | None,
    source: Tensor,
    target: Tensor,
    out: Tensor,
    counts: Tensor | None,
    message: str,
    how: str,
) -> None:
    """Row n of out is the sum, mean, maximum or minimum of x[source[k]] (with y[k] added, or multiplied) over the edges k
    that lead to n; zero without any. `counts` (i32): how many lead to each, for a mean."""
    how = _named(_HOW, how)
    shape = out.shape[1:]
    x = dense(b, _ranked(x, len(shape)), (x.shape[0], *shape))
    if y is not None:
        message = _named(_MESSAGES, message)
        y = dense(b, y) if y.numel == source.numel else dense(b, _ranked(y, len(shape)), (y.shape[0], *shape))
    _received(b, x, y, source, target, out, message, "sum" if how == "mean" else how)
    if how == "mean":
        counts = b.scratch((out.shape[0],), "i32") if counts is None else counts
        n = target.numel
        b.launch(
            "order.bincount",
            1,
            target,
            None,
            counts,
            n,
            I64(out.shape[0]),
            cost=8 * n,
            WEIGHTED=0,
            BLOCK=1024,
        )
        if out.numel:
            plan_map(b, "messages.mean", [out, _by_row(counts, out)], out, compute=None)


def plan_receive_grad(
    b: PlanBuilder,
    x: Tensor,
    y: Tensor | None,
    source: Tensor,
    target: Tensor,
    out: Tensor | None,
    counts: Tensor | None,
    d: Tensor,
    message: str,
    how: str,
    dx: Tensor | None,
    dy: Tensor | None,
) -> None:
    """What arrived goes back along its edge, of a mean a part of it; an extreme to all messages that are as large."""
    how = _named(_HOW, how)
    if how == "mean" and counts is not None and d.numel:
        share = b.scratch(d.shape, d.dtype)
        plan_map(b, "messages.mean", [d, _by_row(counts, d)], share, compute=None)
        d = share
    if y is None and dx is not None and how in ("sum", "mean"):
        _received(b, dense(b, d), None, target, source, dx, "copy", "sum")
        return
    back = _at(b, d, target)
    if how in ("max", "min") and out is not None:
        sent = _at(b, x, source)
        if y is not None:
            sum_ = b.scratch(back.shape, d.dtype)
            edge = _ranked(y, d.ndim - 1)
            plan_map(b, _OPERATIONS[_named(_MESSAGES, message)], [_ranked(sent, d.ndim - 1), edge], sum_)
            sent = sum_
        plan_map(b, "messages.chosen", [back, sent, _at(b, out, target)], back, compute=None)
    if dx is not None:
        _node_grad(b, back, y, message, source, dx)
    if dy is not None:
        other = _at(b, x, source) if message == "MUL" else None
        _edge_grad(b, back, other, dy)


def _edge_grad(b: PlanBuilder, back: Tensor, other: Tensor | None, de: Tensor) -> None:
    """The gradient of one side of a message, of what the message is multiplied by; summed where it was broadcast."""
    target = _ranked(de, back.ndim - 1)
    if other is None:
        plan_map_reduced(b, "elementwise.first", [back], back.shape, target)
    else:
        plan_map_reduced(b, "elementwise.multiply", [back, _ranked(other, back.ndim - 1)], back.shape, target)


def _node_grad(
    b: PlanBuilder, back: Tensor, other: Tensor | None, message: str, index: Tensor, dx: Tensor
) -> None:
    """The same of nodes: the sum over the edges at each."""
    rows = b.scratch((index.numel, *dx.shape[1:]), dx.dtype)
    _edge_grad(b, back, other if message == "MUL" else None, rows)
    plan_gather_grad(b, index, rows, dx)


def plan_send(
    b: PlanBuilder, x: Tensor, y: Tensor, source: Tensor, target: Tensor, out: Tensor, message: str
) -> None:
    """out[k] = x[source[k]] + or * y[target[k]]."""
    function = _OPERATIONS[_named(_MESSAGES, message)]
    rank = out.ndim - 1
    plan_map(b, function, [_ranked(_at(b, x, source), rank), _ranked(_at(b, y, target), rank)], out)


def plan_send_grad(
    b: PlanBuilder,
    x: Tensor,
    y: Tensor,
    source: Tensor,
    target: Tensor,
    d: Tensor,
    message: str,
    dx: Tensor | None,
    dy: Tensor | None,
) -> None:
    _named(_MESSAGES, message)
    for own, mine, other, theirs in ((dx, source, y, target), (dy, target, x, source)):
        if own is not None:
            _node_grad(
                b, dense(b, d), _at(b, other, theirs) if message == "MUL" else None, message, mine, own
            )


def _ranked(x: Tensor, rank: int) -> Tensor:
    """The rows with `rank` dimensions, ones first."""
    ones = rank - (x.ndim - 1)
    if ones <= 0:
        return x
    return x.view((x.shape[0], *(1,) * ones, *x.shape[1:]), (x.strides[0], *(0,) * ones, *x.strides[1:]))


def _by_row(counts: Tensor, like: Tensor) -> Tensor:
    return counts.reshape(counts.numel, *(1,) * (like.ndim - 1))


def _at(b: PlanBuilder, x: Tensor, index: Tensor) -> Tensor:
    """The rows of x that the index names."""
    rows = b.scratch((index.numel, *x.shape[1:]), x.dtype)
    plan_gather(b, dense(b, x), index, rows)
    return rows
