# Search planners: arg-max and arg-min, the k best and their gradient, accuracy.

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from openxpu.ops.plan import F64, FLOATS, I64, PlanBuilder, Tensor, Unsupported, dtype_constexpr
from openxpu.ops.reduce import power_of_two, require_contiguous
from openxpu.ops.run import run
from openxpu.ops.softmax import COLUMN_TILE, split_axis

if TYPE_CHECKING:
    from openxpu.runtime import Array

_SELECTED = 1024  # of more elements than these, a selection one after the other does not pay
_INTEGER_RANGES = {"u8": (0, 255), "i8": (-(2**7), 2**7 - 1), "i16": (-(2**15), 2**15 - 1)}
_INTEGER_RANGES |= {"i32": (-(2**31), 2**31 - 1), "i64": (-(2**63), 2**63 - 1)}


def _compare_in(x: Tensor, largest: bool) -> tuple[str, float | F64 | I64]:
    """The dtype to compare in, and a value in it that no other loses to."""
    if x.dtype in FLOATS:
        worst = -math.inf if largest else math.inf
        return ("f64", F64(worst)) if x.dtype == "f64" else ("f32", worst)
    if x.dtype not in _INTEGER_RANGES:
        raise Unsupported(f"a search along an axis compares floats or integers, found {x.dtype}.")
    kind = "i64" if x.dtype == "i64" else "i32"
    low, high = _INTEGER_RANGES[kind]
    return kind, I64(low if largest else high)


def plan_arg_best(b: PlanBuilder, x: Tensor, out: Tensor, axis: int | None, largest: bool) -> None:
    """Index of the largest (or smallest) element along `axis`, over everything when that is None."""
    require_contiguous("argmax", x, out)
    if x.numel == 0:
        if out.numel:
            raise ValueError(f"argmax over no elements, shape {x.shape}")
        return
    outer, n, inner = (1, x.numel, 1) if axis is None else split_axis(x, axis)
    acc, worst = _compare_in(x, largest)
    flags = {"LARGEST": int(largest), "ACC": dtype_constexpr(acc)}
    if inner > 1:
        block = min(COLUMN_TILE, max(power_of_two(inner), 16))
        grid = (-(-inner // block), outer)
        b.launch(
            "search.arg_best_columns", grid, x, out, n, inner, worst, cost=x.nbytes, **flags, BLOCK=block
        )
    else:
        block = min(2048, max(power_of_two(n), 16))
        b.launch("search.arg_best_rows", outer, x, out, n, worst, cost=2 * x.nbytes, **flags, BLOCK=block)


def plan_topk(
    b: PlanBuilder, x: Tensor, values: Tensor, indices: Tensor, k: int, axis: int = -1, largest: bool = True
) -> None:
    """The k largest (smallest) along `axis`, best first, and where they were."""
    require_contiguous("topk", x, values, indices)
    outer, n, inner = split_axis(x, axis)
    if not 0 < k <= max(n, 1):
        raise ValueError(f"topk of {k} elements from {n}")
    if x.numel == 0:
        return
    if k > _SELECTED:
        _plan_sorted_topk(b, x, values, indices, k, axis, largest)
        return
    acc, _ = _compare_in(x, largest)
    kind = "i64" if acc in ("f64", "i64") else "i32"
    low, high = _INTEGER_RANGES[kind]
    bounds = (I64(low), I64(high)) if largest else (I64(high), I64(low))
    flags = {"LARGEST": int(largest), "ACC": dtype_constexpr(acc), "KEY": dtype_constexpr(kind)}
    cost = k * x.nbytes
    if inner > 1:
        block = min(COLUMN_TILE, max(power_of_two(inner), 16))
        grid = (-(-inner // block), outer)
        b.launch(
            "search.top_columns",
            grid,
            x,
            values,
            indices,
            n,
            inner,
            k,
            *bounds,
            cost=cost,
            **flags,
            BLOCK=block,
        )
    else:
        # Most blocks have nothing to give; from the others one element after the other is taken.
        block = min(256, max(power_of_two(n), 16))
        tile = max(power_of_two(k), 16)
        b.launch(
            "search.top_rows", outer, x, values, indices, n, k, *bounds, cost=8 * x.nbytes, **flags,
            BLOCK=block, K=tile,
        )  # fmt: skip


def _plan_sorted_topk(
    b: PlanBuilder, x: Tensor, values: Tensor, indices: Tensor, k: int, axis: int, largest: bool
) -> None:
    """Everything is sorted, and the first k are taken."""
    from openxpu.ops.layout import normalize, part, plan_copy
    from openxpu.ops.sort import plan_argsort

    axis = normalize(axis, x.ndim)
    whole = b.scratch(x.shape, x.dtype), b.scratch(x.shape, "i64")
    plan_argsort(b, x, *whole, axis, largest)
    for source, result in zip(whole, (values, indices), strict=True):
        plan_copy(b, part(source, axis, 0, k), result)


def plan_topk_grad(b: PlanBuilder, indices: Tensor, dout: Tensor, dx: Tensor, axis: int = -1) -> None:
    """dx is dout where the k best were, and zero elsewhere."""
    require_contiguous("topk_grad", indices, dout, dx)
    outer, n, inner = split_axis(dx, axis)
    k = split_axis(indices, axis)[1]
    b.zero(dx)
    if inner == 1:  # the k indices of a row are the lanes
        block = min(1024, max(power_of_two(k), 16))
        b.launch(
            "search.top_grad_rows",
            (-(-k // block), outer),
            indices,
            dout,
            dx,
            n,
            k,
            cost=3 * dout.nbytes,
            BLOCK=block,
        )
        return
    block = min(1024, max(power_of_two(inner), 16))
    grid = (-(-inner // block), outer)
    b.launch("search.top_grad", grid, indices, dout, dx, n, k, inner, cost=3 * dout.nbytes, BLOCK=block)


def plan_accuracy(
    b: PlanBuilder, indices: Tensor, label: Tensor, accuracy: Tensor, correct: Tensor, total: Tensor
) -> None:
    """Share of rows of indices [rows, k] which contain their label."""
    require_contiguous("accuracy", indices, label)
    rows, k = indices.shape
    if rows == 0:
        for out in (accuracy, correct, total):
            b.zero(out)
        return
    block = power_of_two(k)
    height = max(min(1024 // block, power_of_two(rows)), 1)
    b.launch(
        "search.accuracy",
        1,
        indices,
        label,
        accuracy,
        correct,
        total,
        rows,
        k,
        cost=indices.nbytes,
        ROWS=height,
        BLOCK=block,
    )


# ---- on arrays ----


def _arg_best(x: Array, axis: int | None, keepdims: bool, largest: bool) -> Array:
    n = len(x.shape)
    axes = range(n) if axis is None else (axis % max(n, 1),)
    shape = tuple(1 if i in axes else extent for i, extent in enumerate(x.shape) if keepdims or i not in axes)
    return run(plan_arg_best, [x], [(shape, "i64")], axis, largest)  # type: ignore[no-any-return]


def argmax(x: Array, axis: int | None = None, keepdims: bool = False) -> Array:
    """Index of the first greatest element along `axis` (None: of the flattened array)."""
    return _arg_best(x, axis, keepdims, True)


def argmin(x: Array, axis: int | None = None, keepdims: bool = False) -> Array:
    """Index of the first least element along `axis`."""
    return _arg_best(x, axis, keepdims, False)


def topk(x: Array, k: int, axis: int = -1, largest: bool = True) -> tuple[Array, Array]:
    """(values, indices) of the k greatest (least) elements along `axis`, best first."""
    axis %= max(len(x.shape), 1)
    shape = tuple(k if i == axis else extent for i, extent in enumerate(x.shape))
    return run(plan_topk, [x], [(shape, x.dtype), (shape, "i64")], k, axis, largest)  # type: ignore[no-any-return]
