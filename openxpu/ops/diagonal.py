# Diagonals as views: taken, put into a matrix of zeros, filled, summed.

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from openxpu.ops.creation import plan_full
from openxpu.ops.layout import normalize, plan_copy
from openxpu.ops.plan import PlanBuilder, Tensor
from openxpu.ops.reduce import plan_sum
from openxpu.ops.run import run

if TYPE_CHECKING:
    from openxpu.runtime import Array


def diagonal_view(x: Tensor, offset: int = 0, axis1: int = 0, axis2: int = 1) -> Tensor:
    """The diagonal x[i, i + offset] of two axes, as the last dimension behind those that stay."""
    axis1, axis2 = normalize(axis1, x.ndim), normalize(axis2, x.ndim)
    if axis1 == axis2:
        raise ValueError(f"a diagonal lies in two different axes, axis {axis1} was given twice")
    rows, columns = x.shape[axis1], x.shape[axis2]
    n = max(0, min(rows + min(offset, 0), columns - max(offset, 0)))
    first = (max(offset, 0) * x.strides[axis2] + max(-offset, 0) * x.strides[axis1]) if n else 0
    kept = [d for d in range(x.ndim) if d not in (axis1, axis2)]
    return x.view(
        (*(x.shape[d] for d in kept), n),
        (*(x.strides[d] for d in kept), x.strides[axis1] + x.strides[axis2]),
        first,
    )


def plan_diagonal(b: PlanBuilder, x: Tensor, out: Tensor, offset: int, axis1: int, axis2: int) -> None:
    """The diagonal of two axes, as the last dimension."""
    plan_copy(b, diagonal_view(x, offset, axis1, axis2), out)


def plan_diagonal_put(b: PlanBuilder, d: Tensor, out: Tensor, offset: int, axis1: int, axis2: int) -> None:
    """d, or d repeated, on a diagonal of zeros: the gradient of `plan_diagonal` and of a trace."""
    b.zero(out)
    plan_copy(b, d, diagonal_view(out, offset, axis1, axis2))


def plan_trace(b: PlanBuilder, x: Tensor, out: Tensor, offset: int, axis1: int, axis2: int) -> None:
    """The sum of a diagonal; 16-bit floats are summed in f32."""
    view = diagonal_view(x, offset, axis1, axis2)
    line = b.scratch(view.shape, view.dtype)
    plan_copy(b, view, line)
    plan_sum(b, line, out, (view.ndim - 1,))


def plan_trace_grad(b: PlanBuilder, d: Tensor, dx: Tensor, offset: int, axis1: int, axis2: int) -> None:
    kept = diagonal_view(dx, offset, axis1, axis2).shape[:-1]
    plan_diagonal_put(b, d.reshape(*kept, 1), dx, offset, axis1, axis2)


def _filled(x: Tensor, offset: int, wrap: bool) -> Iterator[Tensor]:
    """The elements that fill_diagonal writes: every (sum of strides)-th of the flat tensor, moved by `offset` along the
    last row, as long as that stays in the row; without `wrap` only those of the leading square."""
    if x.numel == 0:
        return
    flat = x.reshape(x.numel)
    columns = x.shape[1]
    step = sum(x.strides)
    size = x.numel if wrap else min(x.numel, columns * columns)
    count = -(-size // step)
    if (
        x.ndim > 2
    ):  # equal extents: (columns ** ndim - 1) / (columns - 1) is 1 modulo columns, as for a matrix
        count = min(count, columns)
    low, high = max(0, -offset), min(columns, columns - offset)
    whole, rest = divmod(count, columns)
    for periods, first, end in ((whole, 0, high), (1, whole * columns, min(high, rest))):
        if periods and end > low:
            yield flat.view((periods, end - low), (columns * step, step), (first + low) * step + offset)


def plan_fill_diagonal(
    b: PlanBuilder, x: Tensor, out: Tensor, value: float, offset: int = 0, wrap: bool = False
) -> None:
    """out = x with `value` on the diagonal of all its dimensions. `wrap`: it goes on below the square of a tall matrix.
    With value 0 also the gradient."""
    plan_copy(b, x, out)
    for region in _filled(out, offset, wrap):
        plan_full(b, region, value)


def plan_fill_diagonal_tensor(
    b: PlanBuilder, x: Tensor, y: Tensor | None, out: Tensor, offset: int, axis1: int, axis2: int
) -> None:
    """out = x with the diagonal of two axes replaced by y (None: by zero, the gradient)."""
    plan_copy(b, x, out)
    view = diagonal_view(out, offset, axis1, axis2)
    if y is None:
        y = b.scratch((1,), out.dtype)
        b.zero(y)
    plan_copy(b, y, view)


def plan_diag_grad(b: PlanBuilder, d: Tensor, dx: Tensor, offset: int) -> None:
    """Of a vector put onto a diagonal: that diagonal of d. Of a matrix's diagonal: d on it."""
    if dx.ndim < 2:
        plan_copy(b, diagonal_view(d, offset), dx.reshape(dx.numel))
    else:
        plan_diagonal_put(b, d, dx, offset, 0, 1)


def _without(shape: Sequence[int], axis1: int, axis2: int) -> tuple[int, ...]:
    dropped = {normalize(axis1, len(shape)), normalize(axis2, len(shape))}
    return tuple(extent for d, extent in enumerate(shape) if d not in dropped)


def trace(x: Array, offset: int = 0, axis1: int = 0, axis2: int = 1) -> Array:
    """The sum of a diagonal."""
    out = (_without(x.shape, axis1, axis2), x.dtype)
    return run(plan_trace, [x], [out], offset, axis1, axis2)  # type: ignore[no-any-return]


def diagonal(x: Array, offset: int = 0, axis1: int = 0, axis2: int = 1) -> Array:
    """The diagonal of two axes, as the last dimension."""
    n = diagonal_view(Tensor.argument(0, x.shape, x.dtype), offset, axis1, axis2).shape[-1]
    out = ((*_without(x.shape, axis1, axis2), n), x.dtype)
    return run(plan_diagonal, [x], [out], offset, axis1, axis2)  # type: ignore[no-any-return]
