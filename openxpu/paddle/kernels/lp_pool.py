# phi kernels of pooling by powers, mapped to openxpu.ops.lp_pool.

from __future__ import annotations

from collections.abc import Sequence

from openxpu.ops import pool
from openxpu.ops.lp_pool import plan_lp_pool2d, plan_lp_pool2d_grad
from openxpu.ops.plan import PlanBuilder, Tensor
from openxpu.paddle.kernels import phi_kernel

Ints = Sequence[int]


@phi_kernel
def lp_pool2d(
    b: PlanBuilder, x: Tensor, kernel_size: Ints, strides: Ints, paddings: Ints, ceil_mode: bool, exclusive: bool,
    data_format: str, pooling_type: str, global_pooling: bool, adaptive: bool, padding_algorithm: str,
    norm_type: float, out: Tensor,
) -> None:  # fmt: skip
    last = data_format == "NHWC"
    sizes = pool.extents_of(x, last), pool.extents_of(out, last)
    pooling = pool.resolve(
        "lp", *sizes, kernel_size, strides, paddings, exclusive, adaptive, global_pooling, padding_algorithm
    )
    plan_lp_pool2d(b, x, out, pooling, norm_type, last)


@phi_kernel
def lp_pool2d_grad(
    b: PlanBuilder, x: Tensor, out: Tensor, dout: Tensor, kernel_size: Ints, strides: Ints, paddings: Ints,
    ceil_mode: bool, exclusive: bool, data_format: str, pooling_type: str, global_pooling: bool, adaptive: bool,
    padding_algorithm: str, norm_type: float, dx: Tensor,
) -> None:  # fmt: skip
    last = data_format == "NHWC"
    sizes = pool.extents_of(x, last), pool.extents_of(out, last)
    pooling = pool.resolve(
        "lp", *sizes, kernel_size, strides, paddings, exclusive, adaptive, global_pooling, padding_algorithm
    )
    plan_lp_pool2d_grad(b, x, out, dout, dx, pooling, norm_type, last)
