# phi kernels of grids, common shapes, parts of rows and shards, mapped to openxpu.ops.rearrange.

from __future__ import annotations

from collections.abc import Sequence

from openxpu.ops import rearrange as ops
from openxpu.ops.creation import plan_full
from openxpu.ops.plan import PlanBuilder, Tensor
from openxpu.paddle.kernels import phi_kernel
from openxpu.paddle.outputs import required

Tensors = Sequence[Tensor]
Gradients = Sequence[Tensor | None]


@phi_kernel
def meshgrid(b: PlanBuilder, x: Tensors, out: Tensors) -> None:
    ops.plan_meshgrid(b, x, out)


@phi_kernel
def meshgrid_grad(b: PlanBuilder, x: Tensors, d: Tensors, dx: Gradients) -> None:
    ops.plan_meshgrid_grad(b, d, dx)


@phi_kernel
def broadcast_tensors(b: PlanBuilder, x: Tensors, out: Tensors) -> None:
    ops.plan_broadcast_tensors(b, x, out)


@phi_kernel
def broadcast_tensors_grad(b: PlanBuilder, x: Tensors, d: Tensors, dx: Gradients) -> None:
    ops.plan_broadcast_tensors_grad(b, d, dx)


@phi_kernel
def partial_concat(b: PlanBuilder, x: Tensors, start: int, length: int, out: Tensor) -> None:
    ops.plan_partial_concat(b, x, out, start, length)


@phi_kernel
def partial_concat_grad(
    b: PlanBuilder, x: Tensors, d: Tensor, start: int, length: int, dx: Gradients
) -> None:
    ops.plan_partial_concat_grad(b, d, dx, start, length)


@phi_kernel
def partial_sum(b: PlanBuilder, x: Tensors, start: int, length: int, out: Tensor) -> None:
    ops.plan_partial_sum(b, x, out, start, length)


@phi_kernel
def partial_sum_grad(b: PlanBuilder, x: Tensors, d: Tensor, start: int, length: int, dx: Gradients) -> None:
    ops.plan_partial_sum_grad(b, d, dx, start, length)


@phi_kernel
def shard_index(
    b: PlanBuilder, x: Tensor, index_num: int, nshards: int, shard_id: int, ignore_value: int, out: Tensor
) -> None:
    ops.plan_shard_index(b, x, out, index_num, nshards, shard_id, ignore_value)


@phi_kernel
def is_empty(b: PlanBuilder, x: Tensor, out: Tensor) -> None:
    plan_full(b, required(b, out, "bool"), float(x.numel == 0))
