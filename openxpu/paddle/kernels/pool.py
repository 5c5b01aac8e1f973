# phi kernels of pooling, mapped to openxpu.ops.pool.

from __future__ import annotations

from collections.abc import Sequence

from openxpu.ops import pool
from openxpu.ops.plan import PlanBuilder, Tensor
from openxpu.paddle.kernels import phi_kernel
from openxpu.paddle.outputs import required

Ints = Sequence[int]


def _resolve(
    x: Tensor, out: Tensor, kernel_size: Ints, strides: Ints, paddings: Ints, exclusive: bool, data_format: str,
    pooling_type: str, global_pooling: bool, adaptive: bool, padding_algorithm: str,
) -> tuple[pool.Pooling, bool]:  # fmt: skip
    last = data_format in ("NHWC", "NDHWC")
    sizes = pool.extents_of(x, last), pool.extents_of(out, last)
    pooling = pool.resolve(
        pooling_type,
        *sizes,
        kernel_size,
        strides,
        paddings,
        exclusive,
        adaptive,
        global_pooling,
        padding_algorithm,
    )
    return pooling, last


@phi_kernel(name="pool3d")
@phi_kernel
def pool2d(
    b: PlanBuilder, x: Tensor, kernel_size: Ints, strides: Ints, paddings: Ints, ceil_mode: bool, exclusive: bool,
    data_format: str, pooling_type: str, global_pooling: bool, adaptive: bool, padding_algorithm: str, out: Tensor,
) -> None:  # fmt: skip
    pooling, last = _resolve(
        x, out, kernel_size, strides, paddings, exclusive, data_format, pooling_type, global_pooling, adaptive,
        padding_algorithm,
    )  # fmt: skip
    pool.plan_pool(b, x, out, pooling, last)


@phi_kernel(name="pool3d_grad")
@phi_kernel
def pool2d_grad(
    b: PlanBuilder, x: Tensor, out: Tensor, dout: Tensor, kernel_size: Ints, strides: Ints, paddings: Ints,
    ceil_mode: bool, exclusive: bool, data_format: str, pooling_type: str, global_pooling: bool, adaptive: bool,
    padding_algorithm: str, dx: Tensor,
) -> None:  # fmt: skip
    pooling, last = _resolve(
        x, out, kernel_size, strides, paddings, exclusive, data_format, pooling_type, global_pooling, adaptive,
        padding_algorithm,
    )  # fmt: skip
    pool.plan_pool_grad(b, x, out, dout, dx, pooling, last)


def _resolve_with_index(
    x: Tensor,
    out: Tensor,
    kernel_size: Ints,
    strides: Ints,
    paddings: Ints,
    global_pooling: bool,
    adaptive: bool,
) -> pool.Pooling:
    sizes = pool.extents_of(x, False), pool.extents_of(out, False)
    return pool.resolve("max", *sizes, kernel_size, strides, paddings, True, adaptive, global_pooling)


@phi_kernel(name="max_pool3d_with_index")
@phi_kernel
def max_pool2d_with_index(
    b: PlanBuilder, x: Tensor, kernel_size: Ints, strides: Ints, paddings: Ints, global_pooling: bool, adaptive: bool,
    ceil_mode: bool, out: Tensor, mask: Tensor,
) -> None:  # fmt: skip
    pooling = _resolve_with_index(x, out, kernel_size, strides, paddings, global_pooling, adaptive)
    pool.plan_pool(b, x, out, pooling, index=required(b, mask, "i32"))


@phi_kernel(name="max_pool3d_with_index_grad")
@phi_kernel
def max_pool2d_with_index_grad(
    b: PlanBuilder, x: Tensor, mask: Tensor, dout: Tensor, kernel_size: Ints, strides: Ints, paddings: Ints,
    global_pooling: bool, adaptive: bool, ceil_mode: bool, dx: Tensor,
) -> None:  # fmt: skip
    pooling = _resolve_with_index(x, dout, kernel_size, strides, paddings, global_pooling, adaptive)
    pool.plan_pool_grad(b, None, None, dout, dx, pooling, index=mask)
