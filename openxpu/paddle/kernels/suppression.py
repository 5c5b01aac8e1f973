# phi kernels of the suppression of boxes, mapped to openxpu.ops.suppression.

from __future__ import annotations

from collections.abc import Sequence

from openxpu.ops import suppression
from openxpu.ops.plan import PlanBuilder, Tensor
from openxpu.paddle.kernels import phi_kernel
from openxpu.paddle.outputs import required, typed


@phi_kernel
def nms(b: PlanBuilder, boxes: Tensor, threshold: float, out: Tensor) -> None:
    suppression.plan_nms(b, boxes, required(b, out, "i64"), threshold)


@phi_kernel
def multiclass_nms3(
    b: PlanBuilder, boxes: Tensor, scores: Tensor, rois_num: Tensor | None, score_threshold: float, nms_top_k: int,
    keep_top_k: int, nms_threshold: float, normalized: bool, nms_eta: float, background_label: int, out: Tensor,
    index: Tensor | None, nms_rois_num: Tensor | None,
) -> None:  # fmt: skip
    suppression.plan_multiclass_nms(
        b, boxes, scores, rois_num, required(b, out, boxes.dtype), typed(b, index, "i32"), typed(b, nms_rois_num, "i32"),
        score_threshold, nms_top_k, keep_top_k, nms_threshold, normalized, nms_eta, background_label,
    )  # fmt: skip


@phi_kernel
def matrix_nms(
    b: PlanBuilder, boxes: Tensor, scores: Tensor, score_threshold: float, nms_top_k: int, keep_top_k: int,
    post_threshold: float, use_gaussian: bool, gaussian_sigma: float, background_label: int, normalized: bool, out: Tensor,
    index: Tensor, roisnum: Tensor | None,
) -> None:  # fmt: skip
    suppression.plan_matrix_nms(
        b, boxes, scores, required(b, out, boxes.dtype), required(b, index, "i32"), typed(b, roisnum, "i32"),
        score_threshold, nms_top_k, keep_top_k, post_threshold, use_gaussian, gaussian_sigma, background_label, normalized,
    )  # fmt: skip


@phi_kernel
def generate_proposals(
    b: PlanBuilder, scores: Tensor, bbox_deltas: Tensor, im_shape: Tensor, anchors: Tensor, variances: Tensor,
    pre_nms_top_n: int, post_nms_top_n: int, nms_thresh: float, min_size: float, eta: float, pixel_offset: bool,
    rpn_rois: Tensor, rpn_roi_probs: Tensor, rpn_rois_num: Tensor | None,
) -> None:  # fmt: skip
    suppression.plan_generate_proposals(
        b, scores, bbox_deltas, im_shape, anchors, variances, required(b, rpn_rois, scores.dtype),
        required(b, rpn_roi_probs, scores.dtype), typed(b, rpn_rois_num, "i32"), pre_nms_top_n, post_nms_top_n, nms_thresh,
        min_size, eta, pixel_offset,
    )  # fmt: skip


@phi_kernel
def distribute_fpn_proposals(
    b: PlanBuilder, fpn_rois: Tensor, rois_num: Tensor | None, min_level: int, max_level: int, refer_level: int,
    refer_scale: int, pixel_offset: bool, multi_fpn_rois: Sequence[Tensor], multi_level_rois_num: Sequence[Tensor],
    restore_index: Tensor,
) -> None:  # fmt: skip
    outs = [required(b, out, fpn_rois.dtype) for out in multi_fpn_rois]
    numbers = [required(b, out, "i32") for out in multi_level_rois_num]
    suppression.plan_distribute_proposals(
        b, fpn_rois, rois_num, outs, numbers, required(b, restore_index, "i32"), min_level, max_level, refer_level,
        refer_scale, pixel_offset,
    )  # fmt: skip


@phi_kernel
def collect_fpn_proposals(
    b: PlanBuilder, rois: Sequence[Tensor], scores: Sequence[Tensor], rois_num: Sequence[Tensor] | None, post_nms_topn: int,
    fpn_rois: Tensor, rois_num_out: Tensor | None,
) -> None:  # fmt: skip
    out, numbers = required(b, fpn_rois, rois[0].dtype), typed(b, rois_num_out, "i32")
    suppression.plan_collect_proposals(b, rois, scores, rois_num, out, numbers)
