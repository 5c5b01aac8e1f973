"""Detectors of PaddleDetection: its registered classes, with the arguments of its published configurations.

Its wheel has the classes and not the configurations, so `FAMILIES` has what they say, and `GALLERY` what differs by name. Normalisation
learns (published fine-tuning freezes it, which random weights do not survive), and no blocks are dropped. Training is the suite's own,
its assigners and losses; scores and boxes are compared before suppression. Its SSD, TOOD and R-CNN do not train with Paddle
3.3.1, and the branches of PP-YOLOE+ are no programs that Paddle Inference 3.3.1 can load."""

from __future__ import annotations

import copy
import functools
import importlib
from typing import Any

import numpy as np

from openxpu.models.detection import CLASSES, scene
from openxpu.models.registry import Batch, Data, Model

Configuration = dict[str, Any]
OBJECTS = 3  # of each picture, filled up with empty boxes

_ANCHORS = [[10, 13], [16, 30], [33, 23], [30, 61], [62, 45], [59, 119], [116, 90], [156, 198], [373, 326]]
_MASKS = [[6, 7, 8], [3, 4, 5], [0, 1, 2]]
_YOLO_LOSS = {"ignore_thresh": 0.7, "downsample": [32, 16, 8], "label_smooth": False}
_RESNET = {"depth": 50, "norm_type": "bn", "freeze_at": -1, "freeze_norm": False, "num_stages": 4}
_LEVELS = {
    "out_channel": 256,
    "spatial_scales": [0.125, 0.0625, 0.03125],
    "extra_stage": 2,
    "has_extra_convs": True,
    "use_c5": False,
}
_STATIC, _ALIGNED = (
    {"name": "ATSSAssigner", "topk": 9},
    {"name": "TaskAlignedAssigner", "topk": 13, "alpha": 1.0, "beta": 6.0},
)


FAMILIES: dict[str, Configuration] = {
    "ppyoloe": {
        "architecture": "YOLOv3",
        "YOLOv3": {"backbone": "CSPResNet", "neck": "CustomCSPPAN", "yolo_head": "PPYOLOEHead", "post_process": None},
        "CSPResNet": {"layers": [3, 6, 6, 3], "channels": [64, 128, 256, 512, 1024], "return_idx": [1, 2, 3], "use_large_stem": True},
        "CustomCSPPAN": {"out_channels": [768, 384, 192], "stage_num": 1, "block_num": 3, "act": "swish", "spp": True},
        "PPYOLOEHead": {
            "fpn_strides": [32, 16, 8], "grid_cell_scale": 5.0, "grid_cell_offset": 0.5, "static_assigner_epoch": 30, "exclude_nms": True,
            "use_varifocal_loss": True, "loss_weight": {"class": 1.0, "iou": 2.5, "dfl": 0.5}, "static_assigner": _STATIC, "assigner": _ALIGNED,
        },
    },
    "picodet": {
        "architecture": "PicoDet",
        "PicoDet": {"backbone": "LCNet", "neck": "LCPAN", "head": "PicoHeadV2"},
        "LCNet": {"scale": 1.5, "feature_maps": [3, 4, 5]},
        "LCPAN": {"out_channels": 128, "use_depthwise": True, "num_features": 4, "spatial_scales": [0.125, 0.0625, 0.03125]},
        "PicoHeadV2": {
            "conv_feat": {"name": "PicoFeat", "feat_in": 128, "feat_out": 128, "num_convs": 4, "num_fpn_stride": 4, "norm_type": "bn", "share_cls_reg": True, "use_se": True},
            "fpn_stride": [8, 16, 32, 64], "feat_in_chan": 128, "prior_prob": 0.01, "reg_max": 7, "cell_offset": 0.5, "grid_cell_scale": 5.0,
            "static_assigner_epoch": 100, "use_align_head": True, "static_assigner": {**_STATIC, "force_gt_matching": False}, "assigner": _ALIGNED,
            "loss_class": {"name": "VarifocalLoss", "use_sigmoid": False, "iou_weighted": True, "loss_weight": 1.0},
            "loss_dfl": {"name": "DistributionFocalLoss", "loss_weight": 0.5}, "loss_bbox": {"name": "GIoULoss", "loss_weight": 2.5},
        },
    },
    "yolox": {
        "architecture": "YOLOX", "act": "silu",
        "YOLOX": {"backbone": "CSPDarkNet", "neck": "YOLOCSPPAN", "head": "YOLOXHead", "size_stride": 32, "size_range": [4, 4]},
        "CSPDarkNet": {"arch": "X", "return_idx": [2, 3, 4], "depthwise": False},
        "YOLOCSPPAN": {"depthwise": False},
        "YOLOXHead": {
            "l1_epoch": 285, "depthwise": False, "loss_weight": {"cls": 1.0, "obj": 1.0, "iou": 5.0, "l1": 1.0},
            "assigner": {"name": "SimOTAAssigner", "candidate_topk": 10, "use_vfl": False}, "exclude_nms": True,
        },
    },
    "yolov3": {
        "architecture": "YOLOv3",
        "YOLOv3": {"backbone": "DarkNet", "neck": "YOLOv3FPN", "yolo_head": "YOLOv3Head", "post_process": None},
        "DarkNet": {"depth": 53, "return_idx": [2, 3, 4]},
        "MobileNet": {"scale": 1, "feature_maps": [4, 6, 13], "with_extra_blocks": False, "extra_block_filters": []},
        "MobileNetV3": {"model_name": "large", "scale": 1.0, "with_extra_blocks": False, "extra_block_filters": [], "feature_maps": [7, 13, 16]},
        "ResNet": {**_RESNET, "return_idx": [1, 2, 3]},
        "YOLOv3Head": {"anchors": _ANCHORS, "anchor_masks": _MASKS, "loss": "YOLOv3Loss"}, "YOLOv3Loss": _YOLO_LOSS,
    },
    "ppyolo": {
        "architecture": "YOLOv3",
        "YOLOv3": {"backbone": "ResNet", "neck": "PPYOLOFPN", "yolo_head": "YOLOv3Head", "post_process": None},
        "ResNet": {**_RESNET, "variant": "d", "return_idx": [1, 2, 3], "dcn_v2_stages": [3], "norm_decay": 0.0},
        "PPYOLOFPN": {"coord_conv": True, "drop_block": False, "spp": True},
        "PPYOLOPAN": {"drop_block": False, "spp": True},
        "YOLOv3Head": {"anchors": _ANCHORS, "anchor_masks": _MASKS, "loss": "YOLOv3Loss", "iou_aware": True, "iou_aware_factor": 0.4},
        "YOLOv3Loss": {**_YOLO_LOSS, "scale_x_y": 1.05, "iou_loss": "IouLoss", "iou_aware_loss": "IouAwareLoss"},
        "IouLoss": {"loss_weight": 2.5, "loss_square": True}, "IouAwareLoss": {"loss_weight": 1.0},
    },
    "retinanet": {
        "architecture": "RetinaNet", "RetinaNet": {"backbone": "ResNet", "neck": "FPN", "head": "RetinaHead"},
        "ResNet": {**_RESNET, "variant": "b", "return_idx": [1, 2, 3]}, "FPN": _LEVELS,
        "RetinaHead": {
            "conv_feat": {"name": "RetinaFeat", "feat_in": 256, "feat_out": 256, "num_convs": 4, "norm_type": None, "use_dcn": False},
            "anchor_generator": {"name": "RetinaAnchorGenerator", "octave_base_scale": 4, "scales_per_octave": 3, "aspect_ratios": [0.5, 1.0, 2.0], "strides": [8.0, 16.0, 32.0, 64.0, 128.0]},
            "bbox_assigner": {"name": "MaxIoUAssigner", "positive_overlap": 0.5, "negative_overlap": 0.4, "allow_low_quality": True},
            "loss_class": {"name": "FocalLoss", "gamma": 2.0, "alpha": 0.25, "loss_weight": 1.0}, "loss_bbox": {"name": "SmoothL1Loss", "beta": 0.0, "loss_weight": 1.0},
        },
    },
}  # fmt: skip

_R101 = {"ResNet": {"depth": 101}}


def _scaled(depth: float, width: float) -> Configuration:
    return {"depth_mult": depth, "width_mult": width}


def _pico(scale: float, width: int, count: int) -> Configuration:
    feat = {"feat_in": width, "feat_out": width, "num_convs": count}
    return {
        "LCNet": {"scale": scale},
        "LCPAN": {"out_channels": width},
        "PicoHeadV2": {"conv_feat": feat, "feat_in_chan": width},
    }


_SIZES = {"s": (0.33, 0.5), "m": (0.67, 0.75), "l": (1.0, 1.0), "x": (1.33, 1.25)}
# name: (family, what differs, size of pictures)
GALLERY: dict[str, tuple[str, Configuration, int]] = {
    **{f"ppyoloe_crn_{size}": ("ppyoloe", _scaled(*shape), 128) for size, shape in _SIZES.items()},
    "picodet_xs": ("picodet", _pico(0.35, 96, 2), 192),
    "picodet_s": ("picodet", _pico(0.75, 96, 2), 192),
    "picodet_m": ("picodet", _pico(1.5, 128, 4), 192),
    "picodet_l": ("picodet", _pico(2.0, 160, 4), 192),
    "yolox_nano": ("yolox", {**_scaled(0.33, 0.25), "CSPDarkNet": {"depthwise": True}, "YOLOCSPPAN": {"depthwise": True}, "YOLOXHead": {"depthwise": True}}, 128),
    "yolox_tiny": ("yolox", _scaled(0.33, 0.375), 128),
    **{f"yolox_{size}": ("yolox", _scaled(*shape), 128) for size, shape in _SIZES.items()},
    "yolov3_darknet53": ("yolov3", {}, 128),
    "yolov3_mobilenet_v1": ("yolov3", {"YOLOv3": {"backbone": "MobileNet"}}, 128),
    "yolov3_mobilenet_v3_large": ("yolov3", {"YOLOv3": {"backbone": "MobileNetV3"}}, 128),
    "yolov3_r34": ("yolov3", {"YOLOv3": {"backbone": "ResNet"}, "ResNet": {"depth": 34}}, 128),
    "ppyolo_r50vd_dcn": ("ppyolo", {}, 128),
    "ppyolov2_r50vd_dcn": ("ppyolo", {"YOLOv3": {"neck": "PPYOLOPAN"}}, 128),
    "ppyolov2_r101vd_dcn": ("ppyolo", {"YOLOv3": {"neck": "PPYOLOPAN"}, **_R101}, 128),
    "retinanet_r50_fpn": ("retinanet", {}, 128),
    "retinanet_r101_fpn": ("retinanet", _R101, 128),
}  # fmt: skip
LISTED = {
    "ppyoloe_crn_s",
    "ppyoloe_crn_l",
    "yolov3_darknet53",
    "yolov3_mobilenet_v1",
    "ppyolo_r50vd_dcn",
    "ppyolov2_r50vd_dcn",
    "picodet_l",
}


# ---- data ------------------------------------------------------------------------------------------------


def _yolo_targets(boxes: np.ndarray, classes: np.ndarray, size: int) -> list[np.ndarray]:
    """What YOLOv3's loss compares each level with: [3, 6 + CLASSES, side, side]; boxes are (centre, extent) in 0..1."""
    anchors = np.array(_ANCHORS) / size
    found = [np.zeros((3, 6 + CLASSES, size // s, size // s), np.float32) for s in (32, 16, 8)]
    for (x, y, w, h), kind in zip(boxes, classes, strict=True):
        shared = np.minimum(anchors, [w, h]).prod(1)
        best = int((shared / (anchors.prod(1) + w * h - shared)).argmax())
        level = next(i for i, mask in enumerate(_MASKS) if best in mask)
        side = found[level].shape[-1]
        column, row = int(x * side), int(y * side)
        cell = found[level][_MASKS[level].index(best), :, row, column]
        cell[:6] = (
            x * side - column,
            y * side - row,
            np.log(w / anchors[best, 0]),
            np.log(h / anchors[best, 1]),
            2 - w * h,
            1,
        )
        cell[6 + kind] = 1
    return found


def make(family: str, size: int, batch: int, seed: int) -> Batch:
    """Pictures with rectangles, as the suite's readers give them."""
    rng = np.random.default_rng(seed)
    rows = []
    for _ in range(batch):
        image, boxes, classes = scene(rng, size)
        own, kinds = np.zeros((OBJECTS, 4), np.float32), np.zeros((OBJECTS, 1), np.int64)
        used = np.zeros((OBJECTS, 1), np.float32)
        own[: len(boxes)], kinds[: len(boxes), 0], used[: len(boxes)] = boxes, classes, 1
        row: dict[str, np.ndarray] = {"image": image, "gt_bbox": own, "gt_class": kinds, "pad_gt_mask": used}
        if family in ("yolov3", "ppyolo"):
            share = np.concatenate([(own[:, :2] + own[:, 2:]) / 2, own[:, 2:] - own[:, :2]], 1) / size
            targets = _yolo_targets(share[: len(boxes)], classes, size)
            row.update(gt_bbox=share.astype(np.float32), gt_score=used)
            row.update({f"target{i}": target for i, target in enumerate(targets)})
        rows.append(row)
    return {name: np.stack([row[name] for row in rows]) for name in rows[0]}


def summed(outputs: Any, _: Batch) -> Any:
    """The suite's own loss."""
    return outputs["loss"].astype("float32").sum()


# ---- models ----------------------------------------------------------------------------------------------


def _merged(base: Any, other: Any) -> Any:
    if not isinstance(base, dict) or not isinstance(other, dict):
        return other
    return {**base, **{name: _merged(base.get(name), value) for name, value in other.items()}}


@functools.cache
def _defaults() -> dict[str, Any]:
    """What the suite's registry says before any configuration, which it keeps for all later ones."""
    importlib.import_module("ppdet.modeling")
    workspace = importlib.import_module("ppdet.core.workspace")
    return {
        name: dict(value) if isinstance(value, dict) else value
        for name, value in workspace.global_config.items()
    }


def build(family: str, other: Configuration, size: int) -> Any:
    """The suite's model of this family as a layer of tensors: see openxpu/models/paddledet_layers.py."""
    from openxpu.models.paddledet_layers import Suite

    defaults, workspace = _defaults(), importlib.import_module("ppdet.core.workspace")
    known = workspace.global_config
    for name in [n for n in known if n not in defaults]:
        del known[name]
    for name, value in defaults.items():
        if isinstance(known[name], dict):
            known[name].clear()
            known[name].update(value)
    configuration = copy.deepcopy(
        _merged({"num_classes": CLASSES, "norm_type": "bn", **FAMILIES[family]}, other)
    )
    workspace.merge_config(configuration)
    names = sorted(make(family, size, 1, 0))
    return Suite(workspace.create(configuration["architecture"]), tuple(n for n in names if n != "image"))


def models() -> list[Model]:
    found = []
    for name, (family, other, size) in GALLERY.items():
        data = functools.partial(make, family, size)
        targets = tuple(n for n in sorted(data(1, 0)) if n != "image")
        found.append(
            Model(
                f"paddledet/{name}",
                "detection",
                "PaddleDetection",
                functools.partial(build, family, other, size),
                Data(data, ("image", *targets), summed, {"image": (0,)}, served=("image",)),
                requires="ppdet",
                install="paddledet==2.6.0",
                learning_rate=2e-3 if family == "picodet" else 1e-3,
                listed=name in LISTED,
            )
        )
    return found
