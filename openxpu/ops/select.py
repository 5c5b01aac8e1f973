# Planners of outputs whose size depends on values: nonzero, masked selection, unique elements, repetition by counts.
"""Each counts first. The counts are measured, which gives the outputs their sizes; a second stage fills them."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from openxpu.ops.layout import as_bits, normalize, plan_copy
from openxpu.ops.plan import I64, Count, PlanBuilder, Tensor, Unsupported, dtype_constexpr
from openxpu.ops.pointwise import broadcast_shape, compute_dtype, plan_map_reduced
from openxpu.ops.reduce import power_of_two
from openxpu.ops.run import run
from openxpu.ops.sort import plan_sort_rows

if TYPE_CHECKING:
    from openxpu.runtime import Array

_BLOCK = 1024
_EACH = 16384  # elements of a program
_MANY_PAIRS = 4  # of sorted runs, from which each is merged by one program


class Selection:
    """Which of the elements of x are kept: those that are not zero ("nonzero"), or differ from the one before ("heads").
    Counted when it is made, with the sum in `total`; the methods write what is kept to its place."""

    def __init__(
        self,
        b: PlanBuilder,
        x: Tensor,
        kind: str,
        total: Tensor,
        memory: Callable[[Sequence[int], str], Tensor] | None = None,
    ) -> None:
        self.b, self.x, self.kind, self.n = b, x, kind, x.numel
        self.each = max(_EACH, -(-self.n // 4096 // _BLOCK) * _BLOCK)
        self.programs = -(-self.n // self.each)
        self.before = (memory or b.kept)((self.programs,), "i64")
        b.launch(
            "select.count_kept", self.programs, x, self.before, self.n, self.each,
            cost=2 * x.nbytes, KIND=kind, BLOCK=_BLOCK,
        )  # fmt: skip
        plan_running_counts(b, self.before, self.before, total)

    def _launch(self, ref: str, *arguments: Tensor | None, **constexprs: int | str) -> None:
        self.b.launch(
            f"select.{ref}", self.programs, self.x, self.before, *arguments, self.n, self.each,
            cost=16 * self.n, **constexprs, BLOCK=_BLOCK,
        )  # fmt: skip

    def keep(self, values: Tensor, out: Tensor) -> None:
        """The kept ones of `values`, one after the other."""
        self._launch("keep", as_bits(values), as_bits(out), KIND=self.kind, POSITIONS=0)

    def positions(self, out: Tensor) -> None:
        self._launch("keep", None, out, KIND=self.kind, POSITIONS=1)

    def spread(self, values: Tensor, out: Tensor) -> None:
        """out is the next of `values` where an element is kept, and zero elsewhere."""
        self._launch("spread", as_bits(values), as_bits(out), KIND=self.kind)

    def coordinates(self, shape: tuple[int, ...], out: Tensor) -> None:
        """The positions as rows of indices into `shape`."""
        table = self.b.constant(np.array(shape, np.int64))
        self._launch("coordinates", out, table, RANK=len(shape))

    def members(self, order: Tensor | None, inverse: Tensor) -> None:
        """For each element (sorted by `order`) the number of its run."""
        self._launch("group_members", order, inverse, ORDERED=int(order is not None))


def plan_running_counts(b: PlanBuilder, counts: Tensor, before: Tensor, total: Tensor) -> None:
    """before[i] = sum of counts[:i] (i64), and the sum of all."""
    n = counts.numel
    if n == 0:
        b.zero(total)
        return
    block = min(_BLOCK, max(power_of_two(n), 16))
    b.launch("select.running_counts", 1, counts, before, total, n, cost=16 * n, BLOCK=block)


def dense(b: PlanBuilder, x: Tensor, shape: Sequence[int] | None = None, kept: bool = False) -> Tensor:
    """x without gaps, broadcast to `shape`: itself, or a copy."""
    shape = x.shape if shape is None else tuple(shape)
    if x.shape == shape and x.contiguous:
        return x
    copy = (b.kept if kept else b.scratch)(shape, x.dtype)
    plan_copy(b, x, copy)
    return copy


def plan_nonzero(b: PlanBuilder, x: Tensor, out: Tensor) -> None:
    """out [count, rank] (i64): the indices of the elements that are not zero, in order."""
    count = b.count()
    selection = Selection(b, dense(b, x, kept=True), "nonzero", count.place)
    b.measure((out, (count, x.ndim)))
    if x.ndim:
        selection.coordinates(x.shape, out)


def plan_masked_select(b: PlanBuilder, x: Tensor, mask: Tensor, out: Tensor) -> None:
    """The elements of x where mask is true, in order; both are broadcast."""
    shape = broadcast_shape(x.shape, mask.shape)
    count = b.count()
    selection = Selection(b, dense(b, mask, shape, kept=True), "nonzero", count.place)
    b.measure((out, (count,)))
    if selection.n:
        selection.keep(dense(b, x, shape), out)


def plan_masked_select_grad(b: PlanBuilder, mask: Tensor, d: Tensor, dx: Tensor) -> None:
    """d put back to where mask is true, zero elsewhere; summed where x was broadcast."""
    shape = broadcast_shape(dx.shape, mask.shape)
    if math.prod(shape) == 0:
        b.zero(dx)
        return
    whole = dx if dx.shape == shape and dx.contiguous else b.scratch(shape, dx.dtype)
    _local_selection(b, dense(b, mask, shape)).spread(d, whole)
    if whole is not dx:
        plan_map_reduced(b, "elementwise.first", [whole], shape, dx)


def _local_selection(b: PlanBuilder, x: Tensor) -> Selection:
    """For an operator of one stage: the counts need not be kept."""
    return Selection(b, x, "nonzero", b.scratch((), "i64"), b.scratch)


def plan_unique(
    b: PlanBuilder,
    x: Tensor,
    out: Tensor,
    indices: Tensor | None,
    inverse: Tensor | None,
    counts: Tensor | None,
) -> None:
    """The different elements of x in order; where each stands first, which of them each element is, how often each
    occurs. Every NaN is different from all others."""
    count = b.count()
    n = x.numel
    index = next((t.dtype for t in (indices, inverse) if t is not None), "i32")
    values, order = b.kept((1, n), x.dtype), b.kept((1, n), index)
    if n:
        plan_sort_rows(b, dense(b, x).reshape(1, n), values, order)
    _plan_runs(b, values.reshape(n), order.reshape(n), count, out, indices, inverse, counts)


def plan_unique_consecutive(
    b: PlanBuilder, x: Tensor, out: Tensor, inverse: Tensor | None, counts: Tensor | None
) -> None:
    """One element of each run of equal elements of x, flattened; which run each lies in, how long each is."""
    count = b.count()
    _plan_runs(b, dense(b, x, kept=True).reshape(x.numel), None, count, out, None, inverse, counts)


def plan_unique_slices(
    b: PlanBuilder,
    x: Tensor,
    out: Tensor,
    indices: Tensor | None,
    inverse: Tensor | None,
    counts: Tensor | None,
    axis: int,
    consecutive: bool,
) -> None:
    """The different slices of x at the positions of `axis`: in order, or, consecutive, one of each run of equal ones. Slices
    compare as Paddle's do, as rows of x with `axis` and the first dimension exchanged."""
    count = b.count()
    axis = normalize(axis, x.ndim)
    outer, n, inner = _fold(x, axis)
    width = outer * inner
    if not width:
        raise Unsupported("different slices without elements are not planned.")
    exchanged = list(range(x.ndim))
    exchanged[0], exchanged[axis] = axis, 0
    x = dense(b, x, kept=True)
    rows = dense(b, x.permute(*exchanged))
    each = max(1, _EACH // 64 // max(1, min(width, 64)))
    order = None
    if not consecutive:
        order = _sorted_rows(b, rows, n, width, each)
    flags, groups = b.scratch((n,), "i64"), b.kept((n,), "i64")
    b.launch(
        "select.changes", -(-n // each), rows, order, flags, n, I64(width), each, cost=4 * x.nbytes,
        ORDERED=int(order is not None),
    )  # fmt: skip
    plan_running_counts(b, flags, groups, b.scratch((), "i64"))
    runs = Selection(b, groups, "heads", count.place)
    b.measure(
        (out, (*x.shape[:axis], count, *x.shape[axis + 1 :])),
        (indices, (count,)),
        (inverse, (n,)),
        (counts, (count,)),
    )
    if not n:
        return
    picked = b.scratch((n,), "i64")
    if order is None:
        runs.positions(picked)
    else:
        runs.keep(order, picked)
    each = max(1, _EACH // max(inner, 64))
    block = min(_BLOCK, max(power_of_two(inner), 16))
    b.launch(
        "select.pick_rows", (-(-n // each), outer), as_bits(x), picked, as_bits(out), n, inner, each, count,
        cost=2 * x.nbytes, BLOCK=block,
    )  # fmt: skip
    if indices is not None:
        b.launch("select.first_counted", -(-n // _BLOCK), picked, indices, count, cost=16 * n, BLOCK=_BLOCK)
    _plan_members(b, runs, order, count, inverse, counts)


def _sorted_rows(b: PlanBuilder, rows: Tensor, n: int, width: int, each: int) -> Tensor:
    """The order in which the rows ascend, kept; equal rows in their order."""
    from openxpu.ops.creation import plan_arange

    order, other = b.kept((n,), "i64"), b.kept((n,), "i64")
    plan_arange(b, order, 0, 1)
    run = 1
    while run < n:
        pairs = -(-n // (2 * run))
        if pairs >= _MANY_PAIRS:
            share = -(-pairs // _MANY_PAIRS)
            b.launch(
                "select.merge_pairs", -(-pairs // share), rows, order, other, I64(n), I64(run), I64(width), share,
                cost=64 * n,
            )  # fmt: skip
        else:
            b.launch(
                "select.merge_rows", -(-n // each), rows, order, other, I64(n), I64(run), I64(width), each,
                cost=64 * n * run.bit_length(),
            )  # fmt: skip
        order, other = other, order
        run *= 2
    return order


def _plan_runs(
    b: PlanBuilder,
    values: Tensor,
    order: Tensor | None,
    count: Count,
    out: Tensor,
    indices: Tensor | None,
    inverse: Tensor | None,
    counts: Tensor | None,
) -> None:
    runs = Selection(b, values, "heads", count.place)
    b.measure((out, (count,)), (indices, (count,)), (inverse, (runs.n,)), (counts, (count,)))
    if not runs.n:
        return
    runs.keep(values, out)
    if indices is not None and order is not None:
        runs.keep(order, indices)
    _plan_members(b, runs, order, count, inverse, counts)


def _plan_members(
    b: PlanBuilder,
    runs: Selection,
    order: Tensor | None,
    count: Count,
    inverse: Tensor | None,
    counts: Tensor | None,
) -> None:
    """Which run each element lies in, and how long each is."""
    if inverse is not None:
        runs.members(order, inverse)
    if counts is not None:
        heads = b.scratch((runs.n,), "i64")
        runs.positions(heads)
        b.launch(
            "select.run_lengths", -(-runs.n // _BLOCK), heads, counts, runs.n, count,
            cost=16 * runs.n, BLOCK=_BLOCK,
        )  # fmt: skip


# ---- repetition ----


def _fold(x: Tensor, axis: int) -> tuple[int, int, int]:
    return math.prod(x.shape[:axis]), x.shape[axis], math.prod(x.shape[axis + 1 :])


def plan_repeat(b: PlanBuilder, x: Tensor, repeats: Tensor, out: Tensor, axis: int) -> None:
    """Each position of `axis` as often as `repeats` (integers, one for each) says."""
    axis = normalize(axis, x.ndim)
    outer, n, inner = _fold(x, axis)
    _one_for_each(repeats, n, axis)
    total = b.count()
    starts = b.kept((n,), "i64")
    plan_running_counts(b, repeats, starts, total.place)
    x = dense(b, x, kept=True)
    b.measure((out, (*x.shape[:axis], total, *x.shape[axis + 1 :])))
    if x.numel:
        each = max(1, _EACH // max(inner, 64))
        block = min(_BLOCK, max(power_of_two(inner), 16))
        b.launch(
            "select.repeat_rows", (-(-n // each), outer), as_bits(x), starts, repeats, as_bits(out), n, inner, each,
            total, cost=8 * x.nbytes, BLOCK=block,
        )  # fmt: skip


def _one_for_each(repeats: Tensor, n: int, axis: int) -> None:
    if repeats.numel != n:
        raise ValueError(
            f"repeats needs a number for each of the {n} positions of axis {axis}, found {repeats.numel}"
        )


def plan_repeat_grad(b: PlanBuilder, repeats: Tensor, d: Tensor, dx: Tensor, axis: int) -> None:
    """dx sums d over the repetitions of each position."""
    axis = normalize(axis, dx.ndim)
    outer, n, inner = _fold(dx, axis)
    _one_for_each(repeats, n, axis)
    if dx.numel == 0:
        return
    starts, total = b.scratch((n,), "i64"), b.scratch((), "i64")
    plan_running_counts(b, repeats, starts, total)
    block = min(_BLOCK, max(power_of_two(inner), 16))
    b.launch(
        "select.sum_repeats", (-(-inner // block), n, outer), dense(b, d), starts, repeats, dx, n, inner,
        d.shape[axis], cost=4 * d.nbytes, ACC=dtype_constexpr(compute_dtype(dx.dtype)), BLOCK=block,
    )  # fmt: skip


def plan_repeat_each(b: PlanBuilder, x: Tensor, out: Tensor, repeats: int, axis: int) -> None:
    """Every position of `axis` as often as the number `repeats` says."""
    axis = normalize(axis, x.ndim)
    split = (*x.shape[: axis + 1], repeats, *x.shape[axis + 1 :])
    strides = (*x.strides[: axis + 1], 0, *x.strides[axis + 1 :])
    plan_copy(b, x.view(split, strides), out.reshape(*split))


def plan_repeat_each_grad(b: PlanBuilder, d: Tensor, dx: Tensor, repeats: int, axis: int) -> None:
    axis = normalize(axis, dx.ndim)
    split = (*dx.shape[: axis + 1], repeats, *dx.shape[axis + 1 :])
    target = dx.reshape(*dx.shape[: axis + 1], 1, *dx.shape[axis + 1 :])
    plan_map_reduced(b, "elementwise.first", [dense(b, d).reshape(*split)], split, target)


# ---- public functions ----


def nonzero(x: Array) -> Array:
    """[count, rank] (i64): the indices of the elements of x that are not zero, in order."""
    return run(plan_nonzero, [x], [((), "i64")])  # type: ignore[no-any-return]


def masked_select(x: Array, mask: Array) -> Array:
    """The elements of x where mask is true, in order; both are broadcast."""
    return run(plan_masked_select, [x, mask], [((), x.dtype)])  # type: ignore[no-any-return]


def unique(x: Array) -> tuple[Array, Array, Array, Array]:
    """(different elements of x in order, where each stands first, which of them each element is, how often each
    occurs), the last three in i64."""
    return run(plan_unique, [x], [((), x.dtype), *[((), "i64")] * 3])  # type: ignore[no-any-return]
