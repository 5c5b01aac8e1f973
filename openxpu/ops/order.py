# Planners of what follows from an order or a number: k-th values, modes, searches, histograms, choices, segments.

from __future__ import annotations

import math
from collections.abc import Sequence

from openxpu.ops.layout import normalize, plan_copy
from openxpu.ops.plan import F64, FLOATS, I64, PlanBuilder, Tensor, Unsupported, dtype_constexpr
from openxpu.ops.pointwise import compute_dtype, plan_map
from openxpu.ops.reduce import plan_max, plan_min, power_of_two
from openxpu.ops.search import plan_topk_grad
from openxpu.ops.select import dense
from openxpu.ops.sort import plan_argsort

_BLOCK = 1024


def _kept_dims(tensor: Tensor, like: Tensor, axis: int) -> Tensor:
    """A result along `axis` of `like` with that axis kept, of extent 1."""
    return tensor.reshape(*like.shape[:axis], 1, *like.shape[axis + 1 :])


def _sorted(b: PlanBuilder, x: Tensor, axis: int) -> tuple[Tensor, Tensor]:
    values, places = b.scratch(x.shape, x.dtype), b.scratch(x.shape, "i64")
    plan_argsort(b, x, values, places, axis)
    return values, places


def plan_kthvalue(b: PlanBuilder, x: Tensor, out: Tensor, indices: Tensor, k: int, axis: int) -> None:
    """The k-th smallest along `axis` and where it is: of equal ones in their order."""
    if not x.numel:
        return
    if x.ndim == 0:
        x, axis = x.reshape(1), 0
    axis = normalize(axis, x.ndim)
    for whole, result in zip(_sorted(b, x, axis), (out, indices), strict=True):
        offset = (k - 1) * whole.strides[axis]
        shape = (*x.shape[:axis], 1, *x.shape[axis + 1 :])
        plan_copy(b, whole.view(shape, whole.strides, offset), _kept_dims(result, x, axis))


def plan_mode(b: PlanBuilder, x: Tensor, out: Tensor, indices: Tensor, axis: int) -> None:
    """The most frequent along `axis`, of equally frequent ones the smallest, and the last place where it is."""
    if not x.numel:
        return
    if x.ndim == 0:
        x, axis = x.reshape(1), 0
    axis = normalize(axis, x.ndim)
    order = [d for d in range(x.ndim) if d != axis] + [axis]
    values, places = _sorted(b, dense(b, x.permute(*order)), -1)
    n = x.shape[axis]
    b.launch("order.mode_rows", x.numel // n, values, places, out, indices, n, cost=8 * x.numel)


def plan_pick_grad(b: PlanBuilder, indices: Tensor, d: Tensor, dx: Tensor, axis: int) -> None:
    """d, which has one place along `axis`, put to where its index says; zero elsewhere."""
    if dx.ndim == 0:
        plan_copy(b, d.reshape(), dx)
    elif dx.numel:
        axis = normalize(axis, dx.ndim)
        plan_topk_grad(
            b, _kept_dims(dense(b, indices), dx, axis), _kept_dims(dense(b, d), dx, axis), dx, axis
        )


def _reduced_last(x: Tensor, axes: Sequence[int]) -> tuple[Tensor, int]:
    """x with the reduced dimensions last, and how many elements they have; all of them when none is named."""
    reduced = sorted({normalize(axis, x.ndim) for axis in axes}) if axes and x.ndim else list(range(x.ndim))
    order = [d for d in range(x.ndim) if d not in reduced] + reduced
    return x.permute(*order), math.prod(x.shape[d] for d in reduced)


def plan_median(
    b: PlanBuilder, x: Tensor, out: Tensor, indices: Tensor, axes: Sequence[int], mean: bool, skip_nan: bool
) -> None:
    """The median over `axes`: of an even number of elements the mean of the middle two, or the lower of them; `indices`
    says where in the reduced elements they are."""
    view, n = _reduced_last(x, axes)
    if not out.numel:
        return
    if not x.numel:
        raise Unsupported("the median of nothing is not planned.")
    rows = x.numel // n
    values, places = _sorted(b, dense(b, view).reshape(rows, n), -1)
    acc = dtype_constexpr(compute_dtype(x.dtype) if x.dtype in FLOATS else "f64")
    b.launch(
        "order.median_rows", rows, values, places, out, indices, n, cost=16 * rows,
        NAN="skipped" if skip_nan else "kept", MEAN=int(mean), ACC=acc,
    )  # fmt: skip


def plan_median_grad(
    b: PlanBuilder, x: Tensor, indices: Tensor, d: Tensor, dx: Tensor, axes: Sequence[int], mean: bool
) -> None:
    view, n = _reduced_last(dx, axes)
    if not dx.numel:
        return
    rows = dx.numel // n
    whole = dx if view.contiguous else b.scratch(view.shape, dx.dtype)
    b.zero(whole)
    acc = dtype_constexpr(compute_dtype(dx.dtype) if dx.dtype in FLOATS else "f64")
    b.launch(
        "order.median_grad_rows", rows, dense(b, _reduced_last(x, axes)[0]), dense(b, indices), dense(b, d), whole, n,
        cost=4 * x.nbytes, MEAN=int(mean), ACC=acc, BLOCK=min(1024, max(16, power_of_two(n))),
    )  # fmt: skip
    if whole is not dx:
        plan_copy(b, whole, view)


def plan_searchsorted(
    b: PlanBuilder, sequence: Tensor, values: Tensor, out: Tensor, right: bool = False
) -> None:
    """Where each value would stand in the last dimension of `sequence`, which is sorted (one row for all, or one for each
    row of values): before equal ones, or after them."""
    if not values.numel:
        return
    n = sequence.shape[-1]
    m = values.shape[-1] if values.ndim else 1
    rows = sequence.numel // n if n else 1
    b.launch(
        "order.search", -(-values.numel // _BLOCK), dense(b, sequence), dense(b, values), out, values.numel, n, m, rows,
        n.bit_length(), cost=8 * n.bit_length() * values.nbytes, RIGHT=int(right), BLOCK=_BLOCK,
    )  # fmt: skip


def plan_histogram(
    b: PlanBuilder,
    x: Tensor,
    out: Tensor,
    low: float,
    high: float,
    weights: Tensor | None = None,
    density: bool = False,
) -> None:
    """How many of x lie in each of as many equal parts of [low, high] as out has elements; of all of x when low is high. With
    weights the sums of these; as a density (out in f32) divided by the sum of all and the width of a part."""
    if not x.numel:
        b.zero(out)
        return
    x = dense(b, x).reshape(x.numel)
    found = low == high
    least = most = None
    if found:
        least, most = b.scratch((), x.dtype), b.scratch((), x.dtype)
        plan_min(b, x, least, (0,))
        plan_max(b, x, most, (0,))
    acc = x.dtype if x.dtype in FLOATS else "i64"
    bounds = [F64(low), F64(high)] if acc != "i64" else [I64(int(low)), I64(int(high))]
    n, bins = x.numel, out.numel
    number = b.scratch((n,), "i32")
    counts = b.scratch((bins + 1,), out.dtype)  # the last for what lies outside
    b.launch(
        "order.histogram_bins", -(-n // _BLOCK), x, least, most, number, n, I64(bins), *bounds,
        cost=4 * x.nbytes, FOUND=int(found), ACC=dtype_constexpr(acc), BLOCK=_BLOCK,
    )  # fmt: skip
    b.launch(
        "order.bincount", 1, number, None if weights is None else dense(b, weights), counts, n, I64(bins + 1),
        cost=8 * n, WEIGHTED=int(weights is not None), BLOCK=_BLOCK,
    )  # fmt: skip
    if density:
        b.launch(
            "order.density", 1, counts, least, most, out, I64(bins), *bounds, cost=8 * bins,
            FOUND=int(found), ACC=dtype_constexpr(acc), BLOCK=_BLOCK,
        )  # fmt: skip
    else:
        b.copy(out, counts.view((bins,)))


def plan_bincount(b: PlanBuilder, x: Tensor, weights: Tensor | None, out: Tensor, least: int = 0) -> None:
    """out[v] = how often v occurs in x, or the sum of its weights in their order, for v up to the largest, at least `least`."""
    size = b.count()
    x = dense(b, x, kept=True)
    block = min(_BLOCK, max(16, power_of_two(x.numel)))
    b.launch("order.bincount_size", 1, x, size.place, x.numel, I64(least), cost=2 * x.nbytes, BLOCK=block)
    b.measure((out, (size,)))
    if weights is not None:
        weights = dense(b, weights)
    b.launch(
        "order.bincount", 1, x, weights, out, x.numel, size, cost=8 * x.numel,
        WEIGHTED=int(weights is not None), BLOCK=_BLOCK,
    )  # fmt: skip


def _by_row(ids: Tensor, like: Tensor) -> Tensor:
    return ids.reshape(like.shape[0], *(1,) * (like.ndim - 1))


def plan_multiplex(b: PlanBuilder, inputs: Sequence[Tensor], ids: Tensor, out: Tensor) -> None:
    """Row i of the ids[i]-th input."""
    plan_copy(b, inputs[0], out)
    for k, x in enumerate(inputs[1:], 1):
        plan_map(b, "order.chosen", [_by_row(ids, out), x, out], out, [k], compute=None)


def plan_multiplex_grad(b: PlanBuilder, ids: Tensor, d: Tensor, dxs: Sequence[Tensor | None]) -> None:
    for k, dx in enumerate(dxs):
        if dx is not None:
            plan_map(b, "order.chosen_grad", [_by_row(ids, d), d], dx, [k], compute=None)


_POOLS = {"SUM": "sum", "MEAN": "mean", "MAX": "max", "MIN": "min"}


def _pool(name: str) -> str:
    if name not in _POOLS:
        raise Unsupported(f"segments are pooled by {', '.join(_POOLS)}, not by {name}.")
    return _POOLS[name]


def _pool_acc(x: Tensor) -> str:
    return dtype_constexpr(compute_dtype(x.dtype) if x.dtype in FLOATS else "i64")


def plan_segment_pool(
    b: PlanBuilder, x: Tensor, ids: Tensor, out: Tensor, sizes: Tensor | None, how: str
) -> None:
    """The rows of x with one id (they ascend) as one row: their sum, mean (with the numbers of rows in `sizes`), maximum or
    minimum. As many rows as the last id says; zeros for ids that do not occur."""
    op = _pool(how)
    n = ids.numel
    if not n:
        raise Unsupported("segments of nothing have no size.")
    width = math.prod(x.shape[1:])
    count = b.count()
    x, ids = dense(b, x, kept=True), dense(b, ids, kept=True)
    b.launch("order.last_plus_one", 1, ids, count.place, n)
    b.measure((out, (count, *x.shape[1:])), (sizes, (count, 1)))
    if op == "mean" and x.dtype not in FLOATS:
        raise Unsupported("means of integers are not planned.")
    block = min(256, max(16, power_of_two(width)))
    b.launch(
        "order.segment_pool", -(-width // block), x, ids, out, sizes, n, width, cost=3 * x.nbytes,
        OP=op, ACC=_pool_acc(x), BLOCK=block,
    )  # fmt: skip


def plan_segment_pool_grad(
    b: PlanBuilder,
    x: Tensor,
    ids: Tensor,
    out: Tensor,
    sizes: Tensor | None,
    d: Tensor,
    dx: Tensor,
    how: str,
) -> None:
    op = _pool(how)
    width = math.prod(x.shape[1:])
    if not dx.numel:
        return
    each = max(1, 16384 // max(width, 1))
    b.launch(
        "order.segment_pool_grad", -(-ids.numel // each), dense(b, x), dense(b, ids), dense(b, out), sizes, dense(b, d), dx,
        ids.numel, width, each, cost=4 * x.nbytes, OP=op, ACC=_pool_acc(x),
        BLOCK=min(1024, max(16, power_of_two(width))),
    )  # fmt: skip
