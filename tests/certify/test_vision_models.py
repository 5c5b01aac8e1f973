"""Detection, segmentation and generation models: their data, their boxes, and a small one of each file on the card."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import numpy as np
import paddle
import pytest

from openxpu import models
from openxpu.certify import stages
from openxpu.models import Model, detection, generation, segmentation_data
from openxpu.models.detection_priors import Grid, assigned, corners, overlaps, squares
from openxpu.paddle import counters

PLAIN = [
    "yolov3", "yolox", "pp-yoloe", "picodet", "ssd", "retinanet", "fcos", "centernet", "faster-rcnn", "mask-rcnn", "cascade-rcnn",
    "detr", "simple-baseline",
]  # fmt: skip


# ---- the library -----------------------------------------------------------------------------------------


def test_detectors_need_no_suite() -> None:
    own = [m for m in models.find(tasks=["detection"]) if m.source == "OpenXPU"]
    assert all(m.missing is None for m in own)
    assert [family for family in PLAIN if not any(m.name.startswith(family) for m in own)] == []
    for task, least in (("detection", 50), ("segmentation", 70), ("generation", 70)):
        assert len(models.find(tasks=[task])) >= least


def test_samples_are_the_same_for_a_seed_and_follow_the_batch() -> None:
    for model in models.find(tasks=["detection", "segmentation", "generation"]):
        if model.source not in ("OpenXPU", "PaddleSeg", "PaddleDetection") or "rcnn" in model.name:
            continue
        one, two = model.data.make(2, 3), model.data.make(2, 3)
        assert set(model.data.inputs) | set(model.data.asked) <= set(one)
        assert all(np.array_equal(one[name], two[name]) for name in one)
        assert all(value.shape[0] == 2 and value.dtype != np.float64 for value in one.values()), model.name


# ---- boxes -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["anchor", "distance", "centre"])
def test_what_is_said_of_a_place_gives_its_object_back(kind: str) -> None:
    """`assigned` encodes and OneStage.boxes decodes."""
    from openxpu.models.detection_layers import OneStage

    grid = Grid(64, (8, 16), squares((8, 16), 4), kind)
    objects = np.array([[5, 7, 40, 50], [30, 10, 60, 33]], np.float64)
    owner, said = assigned(grid, objects)
    assert set(owner) == {-1, 0, 1}
    layer = OneStage(paddle.nn.Identity(), paddle.nn.Identity(), [], grid, 1)
    found = layer.boxes(paddle.to_tensor(said)[None]).numpy()[0]
    np.testing.assert_allclose(found[owner >= 0], objects[owner[owner >= 0]], atol=1e-3)


def test_overlaps() -> None:
    boxes = corners(np.array([[5.0, 5, 10, 10], [10, 5, 10, 10], [50, 50, 2, 2]]))
    np.testing.assert_allclose(overlaps(boxes, boxes)[0], [1, 1 / 3, 0])


# ---- on the card -----------------------------------------------------------------------------------------


def _tiny(layer: str, arguments: dict[str, Any], data: Any, file: str) -> Model:
    build = functools.partial(generation.build, file, layer, arguments)
    return Model(f"tiny {layer}", "generation", "test", build, data, learning_rate=1e-2)


def _tiny_detector() -> Any:
    from openxpu.models.detection_backbones import ConvNorm, Staged
    from openxpu.models.detection_layers import OneStage, Plain

    steps = [ConvNorm(3, 8, 3, 2), ConvNorm(8, 16, 3, 2), ConvNorm(16, 16, 3, 2)]
    return OneStage(
        Staged(steps, (16, 16)), paddle.nn.Identity(), [Plain(16, 1, 80) for _ in range(2)], TINY_GRID, 80
    )


def _tiny_segmenter() -> Any:
    conv = paddle.nn.Conv2D
    return paddle.nn.Sequential(conv(3, 8, 3, 2, 1), paddle.nn.ReLU(), conv(8, segmentation_data.CLASSES, 1))


TINY_GRID = Grid(32, (4, 8), squares((4, 8), 4), "distance")
TINY = [
    *models.find(["dcgan-discriminator", "vae-mlp", "fsrcnn-x2"]),
    _tiny("DiT", {"width": 64, "layers": 1, "heads": 2, "patch": 8}, generation.noised(4, 32, True), "diffusion_layers"),
    _tiny("VQVAE", {"width": 16, "inner": 8, "codes": 16, "depth": 8}, generation.encoded(3, 16, (), generation.quantised), "autoencoder_layers"),
    Model("tiny detector", "detection", "test", _tiny_detector, detection.image_only(detection.on_grid(TINY_GRID, 80), detection.grid_loss)),
    Model("tiny segmenter", "segmentation", "test", _tiny_segmenter, segmentation_data.scene_data(32), learning_rate=1e-1),
]  # fmt: skip


@pytest.mark.parametrize("model", TINY, ids=lambda m: m.name)
def test_small_models_do_on_the_card_what_they_do_on_the_cpu(
    model: Model, tmp_path: Path, paddle_xpu: Any
) -> None:
    run = stages.Run(model, 2, 1, tmp_path)
    counters.reset_counters()
    assert stages.forward(run)["difference"] <= stages.FORWARD
    assert stages.training(run)["difference"] <= stages.LOSSES
    assert counters.fallbacks() == {}


SUITES = ["paddleseg/fastscnn", "paddledet/yolox_nano"]
WHOLE = [
    "picodet-xs",
    "pp-yoloe-s",
    "faster-rcnn-resnet50-fpn",
    "mask-rcnn-resnet50-fpn",
    "detr-resnet50",
    "ssdlite-mobilenet_v3_small",
    "ddpm-unet-cifar10",
    "srresnet-x4",
]


@pytest.mark.slow
@pytest.mark.parametrize("name", WHOLE + SUITES)
def test_whole_models(name: str, tmp_path: Path, paddle_xpu: Any) -> None:
    (model,) = models.find([name])
    if model.missing:
        pytest.skip(model.missing)
    run = stages.Run(model, 2, 1, tmp_path)
    for stage in ("forward", "training", "amp", "export", "infer", "sizes"):
        stages.STAGES[stage](run)
