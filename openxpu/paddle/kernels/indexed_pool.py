# phi kernels of unpooling, mapped to openxpu.ops.indexed_pool.

from __future__ import annotations

from collections.abc import Sequence

from openxpu.ops import indexed_pool
from openxpu.ops.plan import PlanBuilder, Tensor
from openxpu.paddle.kernels import phi_kernel

Ints = Sequence[int]


@phi_kernel(name="unpool")
@phi_kernel(name="unpool3d")
def unpool(
    b: PlanBuilder, x: Tensor, indices: Tensor, ksize: Ints, strides: Ints, paddings: Ints, output_size: Ints,
    data_format: str, out: Tensor,
) -> None:  # fmt: skip
    indexed_pool.plan_unpool(b, x, indices, out)


@phi_kernel(name="unpool_grad")
@phi_kernel(name="unpool3d_grad")
def unpool_grad(
    b: PlanBuilder, x: Tensor, indices: Tensor, out: Tensor, out_grad: Tensor, ksize: Ints, strides: Ints,
    paddings: Ints, output_size: Ints, data_format: str, x_grad: Tensor,
) -> None:  # fmt: skip
    indexed_pool.plan_unpool_grad(b, indices, out_grad, x_grad)
