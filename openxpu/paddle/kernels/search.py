# phi kernels of searches along an axis, mapped to openxpu.ops.search.

from __future__ import annotations

from openxpu.ops import search
from openxpu.ops.plan import PlanBuilder, Tensor
from openxpu.paddle.kernels import phi_kernel
from openxpu.paddle.outputs import required


@phi_kernel
def argmax(
    b: PlanBuilder, x: Tensor, axis: int, keepdims: bool, flatten: bool, dtype: str | None, out: Tensor
) -> None:
    out = required(b, out, dtype or "i64")
    search.plan_arg_best(b, x, out, None if flatten else int(axis), True)


@phi_kernel
def argmin(
    b: PlanBuilder, x: Tensor, axis: int, keepdims: bool, flatten: bool, dtype: str | None, out: Tensor
) -> None:
    out = required(b, out, dtype or "i64")
    search.plan_arg_best(b, x, out, None if flatten else int(axis), False)


@phi_kernel
def topk(
    b: PlanBuilder, x: Tensor, k: int, axis: int, largest: bool, sorted: bool, out: Tensor, indices: Tensor
) -> None:
    search.plan_topk(b, x, out, required(b, indices, "i64"), int(k), axis, largest)


@phi_kernel
def topk_grad(
    b: PlanBuilder,
    x: Tensor,
    indices: Tensor,
    dout: Tensor,
    k: int,
    axis: int,
    largest: bool,
    sorted: bool,
    dx: Tensor,
) -> None:
    search.plan_topk_grad(b, indices, dout, dx, axis)


@phi_kernel
def accuracy(
    b: PlanBuilder,
    out: Tensor,
    indices: Tensor,
    label: Tensor,
    accuracy: Tensor,
    correct: Tensor,
    total: Tensor,
) -> None:
    search.plan_accuracy(b, indices, label, accuracy, required(b, correct, "i32"), required(b, total, "i32"))
