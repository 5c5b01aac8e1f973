# Planners of running extremes, products and log-sums along an axis, and their gradients.

from __future__ import annotations

import math

from openxpu.ops.layout import normalize, plan_take_along_axis_grad
from openxpu.ops.plan import FLOATS, PlanBuilder, Tensor, dtype_constexpr
from openxpu.ops.pointwise import compute_dtype, plan_map
from openxpu.ops.select import dense


def _lanes(
    b: PlanBuilder, kernel: str, tensors: list[Tensor], like: Tensor, axis: int, **flags: int | str
) -> None:
    """Launches a kernel of running.py over the lines along `axis`."""
    if not like.numel:
        return
    axis = normalize(axis, like.ndim)
    outer, extent, inner = 1, 1, 1
    if like.ndim:
        outer, extent, inner = (
            math.prod(like.shape[:axis]),
            like.shape[axis],
            math.prod(like.shape[axis + 1 :]),
        )
    lanes = outer * inner
    columns = inner >= 16
    if columns:
        block = 256 if inner >= 256 else 64 if inner >= 64 else 16
        grid: tuple[int, ...] = (-(-inner // block), outer)
    else:
        block = 16  # each lane reads a line of the cache of its own
        grid = (-(-lanes // block),)
    b.launch(
        f"running.{kernel}", grid, *tensors, lanes, extent, inner,
        cost=16 * like.nbytes, **flags, COLUMNS=int(columns), BLOCK=block,
    )  # fmt: skip


def _acc(x: Tensor) -> str:
    return dtype_constexpr(compute_dtype(x.dtype) if x.dtype in FLOATS else "i64")


def plan_running_extreme(
    b: PlanBuilder, x: Tensor, out: Tensor, indices: Tensor, axis: int, largest: bool
) -> None:
    """The largest (smallest) along `axis` so far, and where it is: of equal ones the last; a NaN stays."""
    if x.numel and x.ndim and normalize(axis, x.ndim) == x.ndim - 1:
        n = x.shape[-1]
        b.launch(
            "running.extremes_rows", x.numel // n, dense(b, x), out, indices, n, cost=16 * x.nbytes,
            LARGEST=int(largest), ACC=_acc(x), BLOCK=128 if n > 64 else 64,
        )  # fmt: skip
        return
    _lanes(b, "extremes", [dense(b, x), out, indices], x, axis, LARGEST=int(largest), ACC=_acc(x))


def plan_running_extreme_grad(b: PlanBuilder, indices: Tensor, d: Tensor, dx: Tensor, axis: int) -> None:
    if dx.numel:
        shape = dx.shape or (1,)
        plan_take_along_axis_grad(
            b, dense(b, indices).reshape(*shape), dense(b, d).reshape(*shape), dx.reshape(*shape), axis
        )


def plan_cumprod(b: PlanBuilder, x: Tensor, out: Tensor, axis: int) -> None:
    """Running products along `axis`; 16-bit floats are multiplied in f32."""
    _lanes(b, "products", [dense(b, x), out], x, axis, ACC=_acc(x))


def plan_cumprod_grad(b: PlanBuilder, x: Tensor, d: Tensor, dx: Tensor, axis: int) -> None:
    acc = compute_dtype(x.dtype) if x.dtype in FLOATS else "i64"
    result = dx if dx.dtype == acc else b.scratch(dx.shape, acc)
    _lanes(b, "products_grad", [dense(b, x), dense(b, d), result], x, axis, ACC=_acc(x))
    if result is not dx:
        plan_map(b, "elementwise.first", [result], dx, compute=None)


def plan_logcumsumexp(b: PlanBuilder, x: Tensor, out: Tensor, axis: int, reverse: bool = False) -> None:
    """log of the running sum of exp(x) along `axis`."""
    _lanes(b, "log_sums", [dense(b, x), out], x, axis, REVERSE=int(reverse), ACC=_acc(x))


def plan_logcumsumexp_grad(
    b: PlanBuilder, x: Tensor, out: Tensor, d: Tensor, dx: Tensor, axis: int, reverse: bool = False
) -> None:
    if x.dtype in ("f16", "bf16"):  # out was rounded, and its error would be multiplied
        out = b.scratch(x.shape, "f32")
        plan_logcumsumexp(b, x, out, axis, reverse)
    tensors = [dense(b, x), dense(b, out), dense(b, d), dx]
    _lanes(b, "log_sums_grad", tensors, x, axis, REVERSE=int(reverse), ACC=_acc(x))
