# phi kernels of unpooling and fractional max pooling, mapped to openxpu.ops.indexed_pool.

from __future__ import annotations

from collections.abc import Sequence

from openxpu.ops import indexed_pool
from openxpu.ops.plan import PlanBuilder, Tensor
from openxpu.paddle.kernels import phi_kernel
from openxpu.paddle.outputs import required

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


@phi_kernel(name="fractional_max_pool2d")
@phi_kernel(name="fractional_max_pool3d")
def fractional_max_pool(
    b: PlanBuilder, x: Tensor, output_size: Ints, kernel_size: Ints, random_u: float, return_mask: bool, out: Tensor,
    mask: Tensor,
) -> None:  # fmt: skip
    indexed_pool.plan_fractional_max_pool(b, x, out, required(b, mask, "i32"), kernel_size, random_u)


@phi_kernel(name="fractional_max_pool2d_grad")
@phi_kernel(name="fractional_max_pool3d_grad")
def fractional_max_pool_grad(
    b: PlanBuilder, x: Tensor, mask: Tensor, out_grad: Tensor, output_size: Ints, kernel_size: Ints, random_u: float,
    return_mask: bool, x_grad: Tensor,
) -> None:  # fmt: skip
    indexed_pool.plan_index_pool_grad(b, mask, out_grad, x_grad)
