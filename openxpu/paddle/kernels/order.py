# phi kernels of what follows from an order or a number, mapped to openxpu.ops.order.

from __future__ import annotations

from openxpu.ops import layout, order
from openxpu.ops.plan import PlanBuilder, Tensor
from openxpu.paddle.kernels import phi_kernel
from openxpu.paddle.outputs import required, unused


@phi_kernel
def kthvalue(
    b: PlanBuilder, x: Tensor, k: int, axis: int, keepdim: bool, out: Tensor, indices: Tensor
) -> None:
    order.plan_kthvalue(b, x, out, required(b, indices, "i64"), k, axis)


@phi_kernel
def kthvalue_grad(
    b: PlanBuilder, x: Tensor, indices: Tensor, dout: Tensor, k: int, axis: int, keepdim: bool, dx: Tensor
) -> None:
    order.plan_pick_grad(b, indices, dout, dx, axis)


@phi_kernel
def mode(b: PlanBuilder, x: Tensor, axis: int, keepdim: bool, out: Tensor, indices: Tensor) -> None:
    order.plan_mode(b, x, out, required(b, indices, "i64"), axis)


@phi_kernel
def mode_grad(
    b: PlanBuilder, x: Tensor, indices: Tensor, dout: Tensor, axis: int, keepdim: bool, dx: Tensor
) -> None:
    order.plan_pick_grad(b, indices, dout, dx, axis)


@phi_kernel
def searchsorted(
    b: PlanBuilder, sequence: Tensor, values: Tensor, out_int32: bool, right: bool, out: Tensor
) -> None:
    order.plan_searchsorted(b, sequence, values, required(b, out, "i32" if out_int32 else "i64"), right)


@phi_kernel
def histogram(
    b: PlanBuilder,
    x: Tensor,
    weight: Tensor | None,
    bins: int,
    least: float,
    most: float,
    density: bool,
    out: Tensor,
) -> None:
    dtype = "i64" if weight is None and not density else "f32"
    order.plan_histogram(b, x, required(b, out, dtype), least, most, weight, density)


@phi_kernel
def bincount(b: PlanBuilder, x: Tensor, weights: Tensor | None, minlength: int, out: Tensor) -> None:
    dtype = "i64" if weights is None else "f32" if weights.dtype == "f32" else "f64"
    order.plan_bincount(b, x, weights, required(b, out, dtype), int(minlength))


@phi_kernel
def multiplex(b: PlanBuilder, inputs: list[Tensor], ids: Tensor, out: Tensor) -> None:
    order.plan_multiplex(b, inputs, ids, out)


@phi_kernel
def multiplex_grad(b: PlanBuilder, ids: Tensor, dout: Tensor, dxs: list[Tensor | None]) -> None:
    order.plan_multiplex_grad(b, ids, dout, dxs)


@phi_kernel
def scatter_nd_add_grad(
    b: PlanBuilder, index: Tensor, updates: Tensor, dout: Tensor, dx: Tensor | None, dupdates: Tensor | None
) -> None:
    if dx is not None:
        layout.plan_copy(b, dout, dx)
    if dupdates is not None:
        layout.plan_gather_nd(b, dout, index, dupdates)


@phi_kernel
def segment_pool(
    b: PlanBuilder, x: Tensor, ids: Tensor, pooltype: str, out: Tensor, sizes: Tensor | None
) -> None:
    if pooltype != "MEAN" or sizes is None:
        unused(b, sizes)
        order.plan_segment_pool(b, x, ids, out, None, pooltype)
    else:
        order.plan_segment_pool(b, x, ids, out, required(b, sizes, x.dtype), pooltype)


@phi_kernel
def segment_pool_grad(
    b: PlanBuilder,
    x: Tensor,
    ids: Tensor,
    out: Tensor,
    sizes: Tensor | None,
    dout: Tensor,
    pooltype: str,
    dx: Tensor,
) -> None:
    order.plan_segment_pool_grad(b, x, ids, out, sizes, dout, dx, pooltype)


@phi_kernel
def median(
    b: PlanBuilder, x: Tensor, axes: list[int], keepdim: bool, mode: str, out: Tensor, indices: Tensor
) -> None:
    order.plan_median(b, x, out, required(b, indices, "i64"), axes, mode == "avg", False)


@phi_kernel
def median_grad(
    b: PlanBuilder,
    x: Tensor,
    median: Tensor,
    indices: Tensor,
    dout: Tensor,
    axes: list[int],
    keepdim: bool,
    mode: str,
    dx: Tensor,
) -> None:
    order.plan_median_grad(b, x, indices, dout, dx, axes, mode == "avg")


@phi_kernel
def nanmedian(
    b: PlanBuilder, x: Tensor, axes: list[int], keepdim: bool, mode: str, out: Tensor, indices: Tensor
) -> None:
    order.plan_median(b, x, out, required(b, indices, "i64"), axes, mode == "avg", True)


@phi_kernel
def nanmedian_grad(
    b: PlanBuilder,
    x: Tensor,
    median: Tensor,
    indices: Tensor,
    dout: Tensor,
    axes: list[int],
    keepdim: bool,
    mode: str,
    dx: Tensor,
) -> None:
    order.plan_median_grad(b, x, indices, dout, dx, axes, mode == "avg")
