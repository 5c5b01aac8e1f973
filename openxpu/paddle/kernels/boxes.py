# phi kernels of detectors' boxes, mapped to openxpu.ops.boxes.

from __future__ import annotations

from collections.abc import Sequence

from openxpu.ops import boxes as ops
from openxpu.ops.plan import PlanBuilder, Tensor
from openxpu.paddle.kernels import phi_kernel
from openxpu.paddle.outputs import required, unused

Ints = Sequence[int]
Floats = Sequence[float]


@phi_kernel
def prior_box(
    b: PlanBuilder, input: Tensor, image: Tensor, min_sizes: Floats, max_sizes: Floats, aspect_ratios: Floats,
    variances: Floats, flip: bool, clip: bool, step_w: float, step_h: float, offset: float,
    min_max_aspect_ratios_order: bool, out: Tensor, var: Tensor,
) -> None:  # fmt: skip
    ops.plan_prior_box(
        b, out, var, (image.shape[2], image.shape[3]), min_sizes, max_sizes, aspect_ratios, variances, flip, clip,
        (step_w, step_h), offset, min_max_aspect_ratios_order,
    )  # fmt: skip


@phi_kernel
def anchor_generator(
    b: PlanBuilder, input: Tensor, anchor_sizes: Floats, aspect_ratios: Floats, variances: Floats, stride: Floats,
    offset: float, anchors: Tensor, variances_out: Tensor,
) -> None:  # fmt: skip
    ops.plan_anchor_generator(
        b, anchors, variances_out, anchor_sizes, aspect_ratios, variances, (stride[0], stride[1]), offset
    )


@phi_kernel
def box_coder(
    b: PlanBuilder, prior_box: Tensor, prior_box_var: Tensor | None, target_box: Tensor, code_type: str,
    box_normalized: bool, axis: int, variance: Floats, output_box: Tensor,
) -> None:  # fmt: skip
    encode = code_type == "encode_center_size"
    ops.plan_box_coder(
        b, prior_box, prior_box_var, target_box, output_box, encode, box_normalized, axis, variance
    )


@phi_kernel
def yolo_box(
    b: PlanBuilder, x: Tensor, img_size: Tensor, anchors: Ints, class_num: int, conf_thresh: float, downsample_ratio: int,
    clip_bbox: bool, scale_x_y: float, iou_aware: bool, iou_aware_factor: float, boxes: Tensor, scores: Tensor,
) -> None:  # fmt: skip
    ops.plan_yolo_box(
        b, x, img_size, required(b, boxes, x.dtype), required(b, scores, x.dtype), anchors, class_num, conf_thresh, downsample_ratio, clip_bbox, scale_x_y, iou_aware,
        iou_aware_factor,
    )  # fmt: skip


@phi_kernel
def yolo_loss(
    b: PlanBuilder, x: Tensor, gt_box: Tensor, gt_label: Tensor, gt_score: Tensor | None, anchors: Ints, anchor_mask: Ints,
    class_num: int, ignore_thresh: float, downsample_ratio: int, use_label_smooth: bool, scale_x_y: float, loss: Tensor,
    objectness_mask: Tensor, gt_match_mask: Tensor,
) -> None:  # fmt: skip
    ops.plan_yolo_loss(
        b, x, gt_box, gt_label, gt_score, required(b, loss, x.dtype), required(b, objectness_mask, x.dtype),
        required(b, gt_match_mask, "i32"), anchors, anchor_mask,
        class_num, ignore_thresh, downsample_ratio, use_label_smooth, scale_x_y,
    )  # fmt: skip


@phi_kernel
def yolo_loss_grad(
    b: PlanBuilder, x: Tensor, gt_box: Tensor, gt_label: Tensor, gt_score: Tensor | None, objectness_mask: Tensor,
    gt_match_mask: Tensor, dloss: Tensor, anchors: Ints, anchor_mask: Ints, class_num: int, ignore_thresh: float,
    downsample_ratio: int, use_label_smooth: bool, scale_x_y: float, dx: Tensor | None, gt_box_grad: Tensor | None,
    gt_label_grad: Tensor | None, gt_score_grad: Tensor | None,
) -> None:  # fmt: skip
    unused(b, gt_box_grad, gt_label_grad, gt_score_grad)
    if dx is not None:
        ops.plan_yolo_loss_grad(
            b, x, gt_box, gt_label, gt_score, objectness_mask, gt_match_mask, dloss, dx, anchors, anchor_mask, class_num,
            downsample_ratio, use_label_smooth,
        )  # fmt: skip
