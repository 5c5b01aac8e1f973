# Softmax and log-softmax over any axis, and their gradients: planners.

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from openxpu.ops.plan import PlanBuilder, Tensor, dtype_constexpr, streams
from openxpu.ops.reduce import accumulation_dtype, power_of_two, require_contiguous
from openxpu.ops.run import run

if TYPE_CHECKING:
    from openxpu.runtime import Array

ROW_TILE = 8192  # the longest row that is held as one tile
SHORT_ROW = 64
COLUMN_TILE = 256


def split_axis(x: Tensor, axis: int) -> tuple[int, int, int]:
    """(outer, n, inner) around `axis`."""
    if not -max(x.ndim, 1) <= axis < max(x.ndim, 1):
        raise ValueError(f"axis {axis} is out of range for {x.ndim} dimensions")
    if x.ndim == 0:
        return 1, 1, 1
    axis %= x.ndim
    return math.prod(x.shape[:axis]), x.shape[axis], math.prod(x.shape[axis + 1 :])


def _plan(
    b: PlanBuilder, kernel: str, tensors: tuple[Tensor, ...], axis: int, log: bool, passes: int
) -> None:
    x = tensors[0]
    require_contiguous("softmax", *tensors)
    if x.numel == 0:
        return
    outer, n, inner = split_axis(x, axis)
    acc = dtype_constexpr(accumulation_dtype(x.dtype))
    cost = passes * x.nbytes
    flag = int(log)
    if inner > 1:
        block = min(COLUMN_TILE, max(power_of_two(inner), 16))
        grid = (-(-inner // block), outer)
        b.launch(
            f"softmax.{kernel}_columns", grid, *tensors, n, inner, cost=cost, LOG=flag, ACC=acc, BLOCK=block
        )
    elif n <= SHORT_ROW:
        block = power_of_two(n)
        rows = min(max(1024 // block, 1), power_of_two(outer))
        b.launch(
            f"softmax.{kernel}_short_rows",
            -(-outer // rows),
            *tensors,
            outer,
            n,
            cost=cost,
            LOG=flag,
            ROWS=rows,
            BLOCK=block,
        )
    elif n <= ROW_TILE:
        stream = int(streams(tensors[-1]))
        b.launch(
            f"softmax.{kernel}_rows",
            outer,
            *tensors,
            n,
            cost=cost,
            LOG=flag,
            STREAM=stream,
            BLOCK=power_of_two(n),
        )
    else:
        b.launch(f"softmax.{kernel}_long_rows", outer, *tensors, n, cost=cost, LOG=flag, ACC=acc, BLOCK=2048)


def plan_softmax(b: PlanBuilder, x: Tensor, out: Tensor, axis: int = -1) -> None:
    _plan(b, "softmax", (x, out), axis, False, 4)


def plan_log_softmax(b: PlanBuilder, x: Tensor, out: Tensor, axis: int = -1) -> None:
    _plan(b, "softmax", (x, out), axis, True, 4)


def plan_softmax_grad(b: PlanBuilder, y: Tensor, dy: Tensor, dx: Tensor, axis: int = -1) -> None:
    _plan(b, "softmax_grad", (y, dy, dx), axis, False, 4)


def plan_log_softmax_grad(b: PlanBuilder, y: Tensor, dy: Tensor, dx: Tensor, axis: int = -1) -> None:
    """`y` is the result of the forward pass: logarithms."""
    _plan(b, "softmax_grad", (y, dy, dx), axis, True, 4)


# ---- on arrays ----


def softmax(x: Array, axis: int = -1) -> Array:
    """exp(x) / sum(exp(x)) along `axis`."""
    return run(plan_softmax, [x], [(x.shape, x.dtype)], axis)  # type: ignore[no-any-return]


def log_softmax(x: Array, axis: int = -1) -> Array:
    """x - log(sum(exp(x))) along `axis`."""
    return run(plan_log_softmax, [x], [(x.shape, x.dtype)], axis)  # type: ignore[no-any-return]
