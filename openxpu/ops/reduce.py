# Reductions over any axes (sum, mean, max, min, prod, any, all, logsumexp, norms) and their gradients: planners.
"""A reduction is brought into runs of kept and reduced dimensions. Each pass reduces the innermost reduced run, as
rows (the run is last) or columns (it is not); long rows and columns are cut into parts which a further pass
combines, always in the same order: results do not depend on the number of workers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from openxpu.ops.plan import F64, FLOATS, I64, PARTS, PlanBuilder, Tensor, Unsupported, dtype_constexpr

Axes = int | Sequence[int] | None

_ROW_TILE = 2048
_ROW_CHUNK = 1 << 16  # elements of one row that one program reduces
_COLUMN_TILE = 512
_COLUMN_CHUNK_BYTES = 1 << 17  # of one tile of columns that one program reduces
_SHORT_ROW = 128
_SIDE_BY_SIDE = 256  # elements of short rows that make one, so that there are columns enough
_RANGES = {"u8": (0, 255), "i8": (-(2**7), 2**7 - 1), "i16": (-(2**15), 2**15 - 1)}
_RANGES |= {"i32": (-(2**31), 2**31 - 1), "i64": (-(2**63), 2**63 - 1)}


def power_of_two(n: int) -> int:
    """The least power of two that is not below n."""
    return 1 << max(n - 1, 0).bit_length()


def accumulation_dtype(dtype: str) -> str:
    """f64 for f64, f32 for the other floats, i64 for integers and bool."""
    return dtype if dtype == "f64" else "f32" if dtype in FLOATS else "i64"


def real(value: float, acc: str) -> float | F64:
    """A float argument of a kernel that computes in `acc`."""
    return F64(value) if acc == "f64" else float(value)


def require_contiguous(name: str, *tensors: Tensor | None) -> None:
    for tensor in tensors:
        if tensor is not None and not tensor.contiguous:
            raise Unsupported(
                f"{name} needs contiguous tensors, found strides {tensor.strides} for {tensor.shape}."
            )


def normalize_axes(axes: Axes, ndim: int, reduce_all: bool = False) -> tuple[int, ...]:
    """Sorted non-negative axes; None, an empty list and `reduce_all` mean every axis."""
    if isinstance(axes, int):
        axes = (axes,)
    if reduce_all or axes is None or len(axes) == 0:
        return tuple(range(ndim))
    for axis in axes:
        if not -max(ndim, 1) <= axis < max(ndim, 1):
            raise ValueError(f"axis {axis} is out of range for {ndim} dimensions")
    return tuple(sorted({axis % ndim for axis in axes})) if ndim else ()


def runs(shape: Sequence[int], axes: Sequence[int]) -> list[tuple[int, bool]]:
    """(extent, reduced) of merged neighbours, without extents of 1."""
    merged: list[tuple[int, bool]] = []
    for dimension, extent in enumerate(shape):
        reduced = dimension in axes
        if extent == 1:
            continue
        if merged and merged[-1][1] == reduced:
            merged[-1] = (merged[-1][0] * extent, reduced)
        else:
            merged.append((extent, reduced))
    return merged


def plan_reduce(
    b: PlanBuilder,
    x: Tensor,
    out: Tensor,
    axes: Sequence[int],
    op: str,
    pre: str = "none",
    post: str = "none",
    scale: float = 1.0,
    p: float = 0.0,
) -> None:
    """out = post(reduce(pre(x))) over sorted non-negative `axes`. op, pre and post are those of kernels/reduce.py;
    `out` is written in the memory order of the kept dimensions."""
    require_contiguous("a reduction", x, out)
    if x.dtype in PARTS:
        if op != "sum" or pre != "none" or post not in ("none", "scale"):
            raise Unsupported(f"{op} of complex numbers is not planned, only sums and means are.")
        if x.ndim - 1 in axes and runs(x.shape, axes)[-1:] < [(_SIDE_BY_SIDE, True)]:
            from openxpu.ops.pointwise import plan_map

            # The parts of neighbours do not lie side by side: each part is summed by itself.
            sums = [b.scratch(out.shape, PARTS[out.dtype]) for _ in range(2)]
            for total, function in zip(sums, ("complex.first", "complex.imag"), strict=True):
                part = b.scratch(x.shape, PARTS[x.dtype])
                plan_map(b, function, [x], part)
                plan_reduce(b, part, total, axes, op, pre, post, scale, p)
            plan_map(b, "complex.pair", sums, out)
            return
        x, out = x.parts, out.parts
    acc = accumulation_dtype(x.dtype)
    if pre == "nonzero":
        acc = "i32"
    elif acc == "i64" and op in ("max", "min"):
        acc = x.dtype if x.dtype in _RANGES else "i32"
    elif acc == "i64" and (out.dtype in FLOATS or post != "none"):
        acc = "f64" if out.dtype == "f64" else "f32"
    identity: Any
    if op in ("sum", "prod"):
        identity = 0 if op == "sum" else 1
    elif op == "lse" or acc in FLOATS:
        identity = float("-inf") if op in ("max", "lse") else float("inf")
    else:
        identity = _RANGES[acc][0 if op == "max" else 1]
    if acc in FLOATS:
        identity = float(identity)
    if out.numel == 0:
        return
    pattern = [(0, True)] if x.numel == 0 else runs(x.shape, axes)
    if x.numel == 0 and out.numel != 1:
        pattern = [(out.numel, False), (0, True)]
    if not any(reduced for _, reduced in pattern):
        pattern.append((1, True))
    first = True

    def launch(
        source: Tensor, target: Tensor, outer: int, n: int, inner: int, parts: int, chunk: int, last: bool,
        size: int,
    ) -> None:  # fmt: skip
        nonlocal first
        constexprs = {
            "OP": op, "PRE": pre if first else "none", "POST": post if last else "none",
            "ACC": dtype_constexpr(acc), "IDENTITY": identity,
        }  # fmt: skip
        scalars = (real(p, acc), real(scale, acc))
        cost = source.nbytes + target.nbytes
        if inner > 1:
            block = min(_COLUMN_TILE, max(power_of_two(inner), 16))
            grid: tuple[int, ...] = (-(-inner // block), parts, outer)
            b.launch(
                "reduce.reduce_columns",
                grid,
                source,
                target,
                n,
                inner,
                chunk,
                I64(size),
                *scalars,
                cost=cost,
                **constexprs,
                RAGGED=int(size != n * inner),
                BLOCK=block,
            )
        elif n <= _SHORT_ROW and parts == 1 and outer > 1:
            block = power_of_two(max(n, 1))
            rows = min(max(_ROW_TILE // block, 1), power_of_two(outer))
            b.launch(
                "reduce.reduce_short_rows",
                -(-outer // rows),
                source,
                target,
                outer,
                n,
                *scalars,
                cost=cost,
                **constexprs,
                ROWS=rows,
                BLOCK=block,
            )
        else:
            block = min(_ROW_TILE, max(power_of_two(min(n, chunk)), 16))
            b.launch(
                "reduce.reduce_rows",
                (parts, outer),
                source,
                target,
                n,
                chunk,
                *scalars,
                cost=cost,
                **constexprs,
                BLOCK=block,
            )
        first = False

    source = x
    while True:
        position = max(i for i, (_, reduced) in enumerate(pattern) if reduced)
        outer = math.prod(extent for extent, _ in pattern[:position])
        inner = math.prod(extent for extent, _ in pattern[position + 1 :])
        n = pattern[position][0]
        final = sum(reduced for _, reduced in pattern) == 1
        size = n * inner
        folded = _SIDE_BY_SIDE // inner if 1 < inner <= _SIDE_BY_SIDE // 4 else 1
        if n < 2 * folded:
            folded = 1
        n, inner = -(-n // folded), inner * folded
        if inner > 1:
            block = min(_COLUMN_TILE, power_of_two(inner))
            chunk = max(_COLUMN_CHUNK_BYTES // (block * source.itemsize), 32)
            tiles = outer * -(-inner // block)
        else:
            chunk, tiles = _ROW_CHUNK, outer
        parts = -(-n // chunk) if n and tiles < 64 else 1
        if parts == 1:
            chunk = max(n, 1)
        last = final and parts == folded == 1
        target = out if last else b.scratch((outer, parts, inner), acc)
        launch(source, target, outer, n, inner, parts, chunk, last, size)
        if last:
            return
        if parts * folded > 1:
            pattern[position] = (parts * folded, True)
        else:
            del pattern[position]
            pattern = _merge(pattern)
        source = target


def _merge(pattern: list[tuple[int, bool]]) -> list[tuple[int, bool]]:
    merged: list[tuple[int, bool]] = []
    for extent, reduced in pattern:
        if merged and merged[-1][1] == reduced:
            merged[-1] = (merged[-1][0] * extent, reduced)
        else:
            merged.append((extent, reduced))
    return merged


def plan_sum(b: PlanBuilder, x: Tensor, out: Tensor, axis: Sequence[int]) -> None:
    plan_reduce(b, x, out, axis, "sum", pre="nonzero" if x.dtype == "bool" and out.dtype == "i32" else "none")


def plan_mean(b: PlanBuilder, x: Tensor, out: Tensor, axis: Sequence[int]) -> None:
    count = math.prod(x.shape[a] for a in axis)
    plan_reduce(b, x, out, axis, "sum", post="scale", scale=1.0 / count if count else math.nan)


def _plan_order(b: PlanBuilder, x: Tensor, out: Tensor, axis: Sequence[int], op: str) -> None:
    if x.numel == 0 and out.numel:
        raise ValueError(f"{op} over no elements (shape {x.shape}, axes {tuple(axis)}) has no value")
    plan_reduce(b, x, out, axis, op)


def plan_max(b: PlanBuilder, x: Tensor, out: Tensor, axis: Sequence[int]) -> None:
    _plan_order(b, x, out, axis, "max")


def plan_min(b: PlanBuilder, x: Tensor, out: Tensor, axis: Sequence[int]) -> None:
    _plan_order(b, x, out, axis, "min")


def plan_prod(b: PlanBuilder, x: Tensor, out: Tensor, axis: Sequence[int]) -> None:
    plan_reduce(b, x, out, axis, "prod")


def plan_any(b: PlanBuilder, x: Tensor, out: Tensor, axis: Sequence[int]) -> None:
    plan_reduce(b, x, out, axis, "max" if x.numel else "sum", pre="nonzero")


def plan_all(b: PlanBuilder, x: Tensor, out: Tensor, axis: Sequence[int]) -> None:
    plan_reduce(b, x, out, axis, "min" if x.numel else "prod", pre="nonzero")


def plan_logsumexp(b: PlanBuilder, x: Tensor, out: Tensor, axis: Sequence[int]) -> None:
    plan_reduce(b, x, out, axis, "lse")


def plan_norm(b: PlanBuilder, x: Tensor, out: Tensor, axis: Sequence[int], order: float) -> None:
    """(sum |x|^order)^(1/order); order inf, -inf: the largest, smallest |x|; 0: how many are not zero."""
    if order == 0:
        scratch = b.scratch(out.shape, "i32")
        plan_reduce(b, x, scratch, axis, "sum", pre="nonzero")
        plan_reduce(b, scratch, out, (), "sum", post="scale")
    elif math.isinf(order):
        plan_reduce(b, x, out, axis, "max" if order > 0 else "min", pre="abs")
    elif order == 1:
        plan_reduce(b, x, out, axis, "sum", pre="abs")
    elif order == 2:
        plan_reduce(b, x, out, axis, "sum", pre="square", post="sqrt")
    else:
        plan_reduce(b, x, out, axis, "sum", pre="power", post="power", p=order, scale=1.0 / order)


def plan_squared_norm(b: PlanBuilder, x: Tensor, out: Tensor) -> None:
    """out = sum of x^2 over everything."""
    plan_reduce(b, x, out, range(x.ndim), "sum", pre="square")


def plan_reduce_grad(
    b: PlanBuilder,
    dx: Tensor,
    dy: Tensor,
    axes: Sequence[int],
    mode: str,
    x: Tensor | None = None,
    y: Tensor | None = None,
    count: Tensor | None = None,
    scale: float = 1.0,
    p: float = 0.0,
) -> None:
    """dx[i] from dy (and y) of the cell that element i was reduced into; `mode` as in kernels/reduce.py."""
    require_contiguous("the gradient of a reduction", dx, dy, x, y)
    if dx.dtype in PARTS and mode == "scale":
        dx, dy = dx.parts, dy.parts
    if dx.numel == 0:
        return
    acc = accumulation_dtype(dx.dtype)
    if acc == "i64" and mode == "scale" and scale != 1.0:
        acc = "f64"
    pattern = runs(dx.shape, axes)
    if not pattern:
        pattern = [(1, False)]
    if len(pattern) == 1:
        pattern.insert(0, (1, not pattern[0][1]))
    if len(pattern) > 4:
        raise Unsupported(
            f"the gradient of a reduction of {dx.shape} over {tuple(axes)} alternates too often."
        )
    strides: list[int] = []
    step = 1
    for extent, reduced in reversed(pattern):
        strides.insert(0, 0 if reduced else step)
        step *= 1 if reduced else extent
    extents = [1] * (4 - len(pattern)) + [extent for extent, _ in pattern]
    strides = [0] * (4 - len(pattern)) + strides
    d0, d1, d2, d3 = extents
    if pattern[-1][1]:  # the row address of dy counts in the third dimension, whose stride is then 1
        assert strides[2] == 1 or d2 == 1
    block = min(1024, max(power_of_two(d3), 16))
    rows = min(max(1024 // block, 1), power_of_two(d2))
    grid = (-(-d3 // block), -(-d2 // rows), d0 * d1)
    b.launch(
        "reduce.reduce_grad", grid,
        x, y, dy, count, dx, d1, d2, d3, strides[0], strides[1], real(p, acc), real(scale, acc),
        cost=dx.nbytes * (1 if x is None else 2),
        MODE=mode, LAST_REDUCED=int(pattern[-1][1]), ACC=dtype_constexpr(acc), ROWS=rows, BLOCK=block,
    )  # fmt: skip


def plan_sum_grad(b: PlanBuilder, dy: Tensor, dx: Tensor, axis: Sequence[int]) -> None:
    plan_reduce_grad(b, dx, dy, axis, "scale")


def plan_mean_grad(b: PlanBuilder, dy: Tensor, dx: Tensor, axis: Sequence[int]) -> None:
    plan_reduce_grad(b, dx, dy, axis, "scale", scale=1.0 / max(math.prod(dx.shape[a] for a in axis), 1))


def plan_order_grad(
    b: PlanBuilder, x: Tensor, y: Tensor, dy: Tensor, dx: Tensor, axis: Sequence[int]
) -> None:
    """max, min, amax and amin: elements that equal the result share the gradient."""
    acc = accumulation_dtype(x.dtype)
    matches = b.scratch(x.shape, acc)
    plan_reduce_grad(b, matches, dy, axis, "match", x, y)
    count = b.scratch(y.shape, acc)
    plan_reduce(b, matches, count, axis, "sum")
    plan_reduce_grad(b, dx, dy, axis, "share", x, y, count)


def plan_prod_grad(b: PlanBuilder, x: Tensor, y: Tensor, dy: Tensor, dx: Tensor, axis: Sequence[int]) -> None:
    """dy * y / x, as in Paddle: not a number where x is zero."""
    plan_reduce_grad(b, dx, dy, axis, "prod", x, y)


def plan_logsumexp_grad(
    b: PlanBuilder, x: Tensor, y: Tensor, dy: Tensor, dx: Tensor, axis: Sequence[int]
) -> None:
    plan_reduce_grad(b, dx, dy, axis, "lse", x, y)


def plan_norm_grad(
    b: PlanBuilder,
    x: Tensor,
    y: Tensor,
    dy: Tensor,
    dx: Tensor,
    axis: Sequence[int],
    order: float,
    epsilon: float,
) -> None:
    """Gradient of plan_norm; epsilon keeps the division by the norm from being one by zero."""
    if order == 0:
        b.zero(dx)
    elif math.isinf(order):
        plan_reduce_grad(b, dx, dy, axis, "top", x, y)
    else:
        mode = {1.0: "norm1", 2.0: "norm2"}.get(float(order), "norm")
        plan_reduce_grad(b, dx, dy, axis, mode, x, y, scale=epsilon, p=order)
