# phi kernels of regions of interest, mapped to openxpu.ops.roi.

from __future__ import annotations

from openxpu.ops import roi
from openxpu.ops.plan import PlanBuilder, Tensor
from openxpu.paddle.kernels import phi_kernel
from openxpu.paddle.outputs import required


@phi_kernel
def roi_align(
    b: PlanBuilder, x: Tensor, boxes: Tensor, boxes_num: Tensor | None, pooled_height: int, pooled_width: int,
    spatial_scale: float, sampling_ratio: int, aligned: bool, out: Tensor,
) -> None:  # fmt: skip
    roi.plan_roi_align(b, x, boxes, boxes_num, out, spatial_scale, sampling_ratio, aligned)


@phi_kernel
def roi_align_grad(
    b: PlanBuilder, x: Tensor, boxes: Tensor, boxes_num: Tensor | None, dout: Tensor, pooled_height: int,
    pooled_width: int, spatial_scale: float, sampling_ratio: int, aligned: bool, dx: Tensor | None,
) -> None:  # fmt: skip
    if dx is not None:
        roi.plan_roi_align_grad(b, boxes, boxes_num, dout, dx, spatial_scale, sampling_ratio, aligned)


@phi_kernel
def roi_pool(
    b: PlanBuilder, x: Tensor, boxes: Tensor, boxes_num: Tensor | None, pooled_height: int, pooled_width: int,
    spatial_scale: float, out: Tensor, arg_max: Tensor,
) -> None:  # fmt: skip
    roi.plan_roi_pool(b, x, boxes, boxes_num, out, required(b, arg_max, "i64"), spatial_scale)


@phi_kernel
def roi_pool_grad(
    b: PlanBuilder, x: Tensor, boxes: Tensor, boxes_num: Tensor | None, arg_max: Tensor, dout: Tensor,
    pooled_height: int, pooled_width: int, spatial_scale: float, dx: Tensor | None,
) -> None:  # fmt: skip
    if dx is not None:
        roi.plan_roi_pool_grad(b, boxes, boxes_num, arg_max, dout, dx, spatial_scale)


@phi_kernel
def psroi_pool(
    b: PlanBuilder, x: Tensor, rois: Tensor, rois_num: Tensor | None, pooled_height: int, pooled_width: int,
    output_channels: int, spatial_scale: float, out: Tensor,
) -> None:  # fmt: skip
    roi.plan_roi_pool(b, x, rois, rois_num, out, None, spatial_scale)


@phi_kernel
def psroi_pool_grad(
    b: PlanBuilder, x: Tensor, rois: Tensor, rois_num: Tensor | None, dout: Tensor, pooled_height: int,
    pooled_width: int, output_channels: int, spatial_scale: float, dx: Tensor | None,
) -> None:  # fmt: skip
    if dx is not None:
        roi.plan_roi_pool_grad(b, rois, rois_num, None, dout, dx, spatial_scale)
