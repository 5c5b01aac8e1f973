"""Detectors that need no suite: YOLOv3, YOLOX, PP-YOLOE, PicoDet, SSD, RetinaNet, FCOS, CenterNet, Faster / Mask / Cascade R-CNN, DETR.

Architectures and shapes are those published; weights are random. Training is simplified: which place, region or query belongs to which
object is fixed by the sample (openxpu/models/detection_priors.py) and not found anew in each step, and the losses are cross-entropy of
the scores and the absolute difference of the boxes. Suppression of double boxes is left to whoever serves the result."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from openxpu.models.detection_priors import Grid, assigned, corners, overlaps, ratios, squares
from openxpu.models.registry import Batch, Data, Model

CLASSES = 80  # of COCO
REGIONS = 16  # of each picture, for two-stage detectors

# ---- data ------------------------------------------------------------------------------------------------


def scene(rng: np.random.Generator, size: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A picture [3, size, size] f32 of noise with two or three rectangles, their corners [n, 4] and classes [n]."""
    count = int(rng.integers(2, 4))
    centre, extent = rng.uniform(0.3, 0.7, (count, 2)) * size, rng.uniform(0.2, 0.5, (count, 2)) * size
    boxes = np.clip(corners(np.concatenate([centre, extent], 1)), 0, size - 1)
    classes = rng.integers(0, CLASSES, count)
    image = rng.normal(0, 0.2, (3, size, size))
    for (left, top, right, bottom), kind in zip(boxes.astype(int), classes, strict=True):
        image[:, top : bottom + 1, left : right + 1] += np.array([1, kind / CLASSES * 2 - 1, -1])[
            :, None, None
        ]
    return image.astype(np.float32), boxes, classes


def scenes(rng: np.random.Generator, grid: Grid, count: int) -> Iterator[tuple[np.ndarray, ...]]:
    """Pictures with their boxes and classes, and which box each place of the grid has, with what to say of it."""
    for _ in range(count):
        image, boxes, classes = scene(rng, grid.size)
        yield image, boxes, classes, *assigned(grid, boxes)


def on_grid(grid: Grid, channels: int, last: bool = False) -> Any:
    """make(batch, seed): pictures, and for each place its scores [places, channels], what to say of it [places, 4], and whether it has
    an object [places, 1]. `last`: the last score is that of any object."""

    def make(batch: int, seed: int) -> Batch:
        rng = np.random.default_rng(seed)
        rows = []
        for image, _, classes, owner, said in scenes(rng, grid, batch):
            taken = owner >= 0
            scores = np.zeros((len(owner), channels), np.float32)
            scores[taken, classes[owner[taken]]] = 1
            if last:
                scores[taken, -1] = 1
            rows.append((image, scores, said, taken[:, None].astype(np.float32)))
        return dict(
            zip(("image", "scores", "said", "taken"), map(np.stack, zip(*rows, strict=True)), strict=True)
        )

    return make


def grid_loss(outputs: Any, batch: Batch) -> Any:
    """Cross-entropy of all scores and the absolute difference of the boxes of places with an object, for each such place."""
    import paddle

    scores, said = outputs[0].astype("float32"), outputs[1].astype("float32")
    count = batch["taken"].sum()
    entropy = paddle.nn.functional.binary_cross_entropy_with_logits(scores, batch["scores"], reduction="sum")
    return (entropy + ((said - batch["said"]).abs() * batch["taken"]).sum()) / count


def with_regions(grid: Grid, masks: bool, weights: tuple[float, ...]) -> Any:
    """on_grid, and regions about the objects [regions, 4], their classes, deltas and masks [regions, 28, 28]."""

    def make(batch: int, seed: int) -> Batch:
        rng = np.random.default_rng(seed)
        rows = []
        for image, boxes, classes, owner, said in scenes(rng, grid, batch):
            which = np.arange(REGIONS) % len(boxes)
            shaken = boxes[which] + rng.normal(0, 0.06 * grid.size, (REGIONS, 4))
            regions = np.sort(np.clip(shaken, 0, grid.size).reshape(-1, 2, 2), 1).reshape(-1, 4) + np.array(
                [0, 0, 1, 1]
            )
            share = overlaps(regions, boxes)
            which = share.argmax(1)
            kinds = np.where(share.max(1) >= 0.5, classes[which], CLASSES)
            wanted, extent = boxes[which], regions[:, 2:] - regions[:, :2]
            shift = (
                ((wanted[:, :2] + wanted[:, 2:]) - (regions[:, :2] + regions[:, 2:]))
                / 2
                / extent
                * weights[0]
            )
            scale = np.log((wanted[:, 2:] - wanted[:, :2]) / extent) * weights[2]
            places = regions[:, None, :2] + (np.arange(28) + 0.5)[None, :, None] / 28 * extent[:, None]
            inside = (places >= wanted[:, None, :2]) & (places <= wanted[:, None, 2:])
            row: dict[str, Any] = {
                "image": image, "regions": regions, "taken": (owner >= 0)[:, None], "said": said, "kinds": kinds,
                "deltas": np.concatenate([shift, scale], 1),
            }  # fmt: skip
            if masks:
                row["masks"] = inside[:, :, None, 1] & inside[:, None, :, 0]
            rows.append(row)
        made = {name: np.stack([row[name] for row in rows]) for name in rows[0]}
        return {
            name: value.astype(np.int64 if name == "kinds" else np.float32) for name, value in made.items()
        }

    return make


def region_loss(outputs: Any, batch: Batch) -> Any:
    """Places as in grid_loss; regions: cross-entropy of the class, absolute difference of its deltas, cross-entropy of its mask."""
    import paddle
    from paddle.nn import functional as F

    found = [o.astype("float32") for o in outputs]
    kinds, deltas = batch["kinds"].flatten(), batch["deltas"].reshape([-1, 4])
    objects = (kinds < CLASSES).astype("float32")
    count = objects.sum() + 1.0
    loss = F.binary_cross_entropy_with_logits(found[0], batch["taken"])
    loss = loss + ((found[1] - batch["said"]).abs() * batch["taken"]).sum() / batch["taken"].sum()
    masks = found.pop() if "masks" in batch else None
    chosen = F.one_hot(paddle.clip(kinds, max=CLASSES - 1), CLASSES)
    for score, delta in zip(found[2::2], found[3::2], strict=True):
        loss = loss + F.cross_entropy(score, kinds)
        said = (
            delta if delta.shape[1] == 4 else (delta.reshape([-1, CLASSES, 4]) * chosen.unsqueeze(-1)).sum(1)
        )
        loss = loss + ((said - deltas).abs().sum(1) * objects).sum() / count
    if masks is not None:
        own = (masks * chosen.unsqueeze(-1).unsqueeze(-1)).sum(1)
        apart = F.binary_cross_entropy_with_logits(own, batch["masks"].reshape(own.shape), reduction="none")
        loss = loss + (apart.mean([1, 2]) * objects).sum() / count
    return loss


def asked(size: int, queries: int) -> Any:
    """make(batch, seed): pictures, and for each query a class and a box in 0..1; the first queries have the objects."""

    def make(batch: int, seed: int) -> Batch:
        rng = np.random.default_rng(seed)
        rows = []
        for _ in range(batch):
            image, boxes, classes = scene(rng, size)
            kinds, wanted = np.full(queries, CLASSES), np.zeros((queries, 4))
            kinds[: len(boxes)] = classes
            wanted[: len(boxes)] = (
                np.concatenate([(boxes[:, :2] + boxes[:, 2:]) / 2, boxes[:, 2:] - boxes[:, :2]], 1) / size
            )
            rows.append((image, kinds.astype(np.int64), wanted.astype(np.float32)))
        return dict(zip(("image", "kinds", "boxes"), map(np.stack, zip(*rows, strict=True)), strict=True))

    return make


def query_loss(outputs: Any, batch: Batch) -> Any:
    """Cross-entropy of the classes, a tenth for queries without an object, and the absolute difference of the boxes."""
    import paddle

    scores, boxes = outputs[0].astype("float32"), outputs[1].astype("float32")
    kinds = batch["kinds"]
    objects = (kinds < CLASSES).astype("float32")
    entropy = paddle.nn.functional.cross_entropy(scores, kinds, reduction="none").reshape(kinds.shape)
    apart = (boxes - batch["boxes"]).abs().sum(-1) * objects
    weight = objects * 0.9 + 0.1
    return (entropy * weight).sum() / weight.sum() + 5 * apart.sum() / objects.sum()


def joints(size: int) -> Any:
    """make(batch, seed): pictures and heat maps of 17 joints [17, size / 4, size / 4], a bell around each."""

    def make(batch: int, seed: int) -> Batch:
        rng = np.random.default_rng(seed)
        places = rng.uniform(0.1, 0.9, (batch, 17, 2, 1, 1)) * (size // 4)
        y, x = np.mgrid[0 : size // 4, 0 : size // 4]
        maps = np.exp(-((x - places[:, :, 0]) ** 2 + (y - places[:, :, 1]) ** 2) / 8)
        image = np.stack([scene(rng, size)[0] for _ in range(batch)])
        return {"image": image, "maps": maps.astype(np.float32)}

    return make


def map_loss(outputs: Any, batch: Batch) -> Any:
    return ((outputs.astype("float32") - batch["maps"]) ** 2).mean()


def image_only(make: Any, loss: Any, other: tuple[str, ...] = ()) -> Data:
    return Data(make, ("image", *other), loss, {"image": (0,)}, served=("image",) if other else ())


# ---- models ----------------------------------------------------------------------------------------------

_YOLO = Grid(
    128, (32, 16, 8), (((116, 90), (156, 198), (373, 326)), ((30, 61), (62, 45), (59, 119)), ((10, 13), (16, 30), (33, 23))),
)  # fmt: skip
_FPN_STRIDES = (8, 16, 32, 64, 128)
_RETINA = Grid(128, _FPN_STRIDES, ratios(_FPN_STRIDES, (4.0, 4 * 2 ** (1 / 3), 4 * 2 ** (2 / 3))))
_FCOS = Grid(128, _FPN_STRIDES, squares(_FPN_STRIDES, 8), "distance")
_ETASK = Grid(128, (32, 16, 8), squares((32, 16, 8), 5), "distance")
_PICO = Grid(128, (8, 16, 32, 64), squares((8, 16, 32, 64), 5), "distance")
_YOLOX = Grid(128, (8, 16, 32), squares((8, 16, 32), 5), "centre")
_CENTER = Grid(128, (4,), squares((4,), 10), "centre")


def _ssd_grid(size: int, extents: tuple[int, ...], strides: tuple[int, ...], counts: tuple[int, ...]) -> Grid:
    """SSD's boxes: a square, a larger one, and two or four of other shapes, growing from 0.2 to 0.9 of the picture."""
    scales = [size * s for s in np.linspace(0.2, 0.95, len(extents) + 1)]
    anchors = []
    for low, high, count in zip(scales, scales[1:], counts, strict=False):
        shapes = [(low, low), ((low * high) ** 0.5,) * 2]
        for ratio in (2, 3)[: (count - 2) // 2]:
            shapes += [(low * ratio**0.5, low / ratio**0.5), (low / ratio**0.5, low * ratio**0.5)]
        anchors.append(tuple(shapes))
    return Grid(size, strides, tuple(anchors), extents=extents)


_SSD_VGG = _ssd_grid(300, (38, 19, 10, 5, 3, 1), (8, 16, 32, 64, 100, 300), (4, 6, 6, 6, 4, 4))
_SSD_MOBILE = _ssd_grid(300, (19, 10, 5, 3, 2, 1), (16, 32, 64, 100, 150, 300), (4, 6, 6, 6, 6, 6))
_SSD_LITE = _ssd_grid(320, (20, 10, 5, 3, 2, 1), (16, 32, 64, 107, 160, 320), (6, 6, 6, 6, 6, 6))


def yolov3(backbone: str) -> Any:
    from openxpu.models import detection_backbones as parts
    from openxpu.models.detection_layers import OneStage, Yolo

    body = {"darknet53": parts.darknet53, "mobilenet_v1": parts.mobilenet_v1}.get(backbone)
    made = (
        body() if body else parts.mobilenet_v3("large") if backbone == "mobilenet_v3" else parts.resnet(34, 3)
    )
    neck = parts.YoloNeck(made.channels)
    return OneStage(made, neck, [Yolo(c) for c in neck.channels], _YOLO, CLASSES + 1, last=True)


def retinanet(depth: int) -> Any:
    from openxpu.models.detection_backbones import FPN, resnet
    from openxpu.models.detection_layers import Level, OneStage, Towers

    body, shared = resnet(depth, 3), Towers(9, False)
    return OneStage(
        body, FPN(body.channels, "conv"), [Level(shared, False) for _ in range(5)], _RETINA, CLASSES
    )


def fcos(depth: int) -> Any:
    from openxpu.models.detection_backbones import FPN, resnet
    from openxpu.models.detection_layers import Level, OneStage, Towers

    body, shared = resnet(depth, 3), Towers(1, True)
    return OneStage(
        body,
        FPN(body.channels, "conv"),
        [Level(shared, True) for _ in range(5)],
        _FCOS,
        CLASSES + 1,
        last=True,
    )


def ppyoloe(depth: float, width: float) -> Any:
    from openxpu.models.detection_backbones import CspPan, csp_rep_resnet
    from openxpu.models.detection_layers import EfficientTask, OneStage

    body = csp_rep_resnet(depth, width)
    neck = CspPan(body.channels, depth, width)
    return OneStage(body, neck, [EfficientTask(c, 17) for c in neck.channels], _ETASK, CLASSES, 17)


def picodet(scale: float, width: int, count: int) -> Any:
    from openxpu.models.detection_backbones import PicoNeck, lcnet
    from openxpu.models.detection_layers import OneStage, Pico

    body = lcnet(scale)
    return OneStage(
        body, PicoNeck(body.channels, width), [Pico(width, count, 8) for _ in range(4)], _PICO, CLASSES, 8
    )


def yolox(depth: float, width: float) -> Any:
    from openxpu.models.detection_backbones import YoloxNeck, csp_darknet
    from openxpu.models.detection_layers import Decoupled, OneStage

    body = csp_darknet(depth, width)
    heads = [Decoupled(c, int(256 * width)) for c in body.channels]
    return OneStage(body, YoloxNeck(body.channels, depth), heads, _YOLOX, CLASSES + 1, last=True)


def centernet(depth: int) -> Any:
    from openxpu.models.detection_backbones import resnet
    from openxpu.models.detection_layers import Last, OneStage, Points, enlarged

    body = resnet(depth, 1)
    return OneStage(body, Last(enlarged(body.channels[-1], (256, 128, 64))), [Points()], _CENTER, CLASSES)


def ssd(backbone: str) -> Any:
    from openxpu.models import detection_backbones as parts
    from openxpu.models.detection_layers import OneStage, Plain, SsdExtras, SsdVgg

    lite, grid = backbone.startswith("mobilenet_v3"), _SSD_MOBILE
    if backbone == "vgg16":
        body, grid, extras = (
            SsdVgg(),
            _SSD_VGG,
            ((256, 512, 2, 1), (128, 256, 2, 1), (128, 256, 1, 0), (128, 256, 1, 0)),
        )
    elif lite:
        body, grid = parts.mobilenet_v3(backbone.rpartition("_")[2], 2), _SSD_LITE
        extras = ((256, 512, 2, 1), (128, 256, 2, 1), (128, 256, 2, 1), (64, 128, 2, 1))
    else:
        body, extras = (
            parts.mobilenet_v1(2),
            ((256, 512, 2, 1), (128, 256, 2, 1), (128, 256, 2, 1), (64, 128, 2, 1)),
        )
    channels = (*body.channels, *(e[1] for e in extras))
    heads = [Plain(c, len(a), CLASSES, lite) for c, a in zip(channels, grid.anchors, strict=True)]
    return OneStage(body, SsdExtras(body.channels[-1], extras, lite), heads, grid, CLASSES)


def two_stage(depth: int, masks: bool = False, stages: int = 1) -> Any:
    from openxpu.models.detection_layers import TwoStage

    return TwoStage(depth, 128, masks, stages)


def detr(depth: int) -> Any:
    from openxpu.models.detection_layers import DETR

    return DETR(depth, 128)


def pose(depth: int) -> Any:
    from openxpu.models.detection_layers import Pose

    return Pose(depth)


def models() -> list[Model]:
    strides = (4, 8, 16, 32, 64)
    rcnn = Grid(128, strides, ratios(strides, (8.0,)))
    wide, narrow = (10.0, 10.0, 5.0, 5.0), (30.0, 30.0, 15.0, 15.0)
    found: list[tuple[str, Any, Data]] = []

    def dense(name: str, build: Any, grid: Grid, last: bool = False) -> None:
        found.append((name, build, image_only(on_grid(grid, CLASSES + last, last), grid_loss)))

    for backbone in ("darknet53", "mobilenet_v1", "mobilenet_v3", "resnet34"):
        dense(f"yolov3-{backbone}", functools.partial(yolov3, backbone), _YOLO, True)
    for size, shape in {"s": (0.33, 0.5), "m": (0.67, 0.75), "l": (1.0, 1.0), "x": (1.33, 1.25)}.items():
        dense(f"pp-yoloe-{size}", functools.partial(ppyoloe, *shape), _ETASK)
        dense(f"yolox-{size}", functools.partial(yolox, *shape), _YOLOX, True)
    dense("yolox-tiny", functools.partial(yolox, 0.33, 0.375), _YOLOX, True)
    for size, (scale, width, count) in {
        "xs": (0.35, 96, 2),
        "s": (0.75, 96, 2),
        "m": (1.5, 128, 4),
        "l": (2.0, 160, 4),
    }.items():
        dense(f"picodet-{size}", functools.partial(picodet, scale, width, count), _PICO)
    for depth in (18, 50):
        dense(f"centernet-resnet{depth}", functools.partial(centernet, depth), _CENTER)
    for depth in (50, 101):
        dense(f"retinanet-resnet{depth}", functools.partial(retinanet, depth), _RETINA)
        dense(f"fcos-resnet{depth}", functools.partial(fcos, depth), _FCOS, True)
        for kind, masks, stages in (("faster", False, 1), ("mask", True, 1), ("cascade", False, 3)):
            make = with_regions(replace(rcnn), masks, narrow if stages > 1 else wide)
            data = image_only(make, region_loss, ("regions",))
            found.append(
                (f"{kind}-rcnn-resnet{depth}-fpn", functools.partial(two_stage, depth, masks, stages), data)
            )
        found.append(
            (f"detr-resnet{depth}", functools.partial(detr, depth), image_only(asked(128, 100), query_loss))
        )
        found.append(
            (
                f"simple-baseline-resnet{depth}",
                functools.partial(pose, depth),
                image_only(joints(128), map_loss),
            )
        )
    dense("ssd-vgg16", functools.partial(ssd, "vgg16"), _SSD_VGG)
    dense("ssd-mobilenet_v1", functools.partial(ssd, "mobilenet_v1"), _SSD_MOBILE)
    for size in ("small", "large"):
        dense(f"ssdlite-mobilenet_v3_{size}", functools.partial(ssd, f"mobilenet_v3_{size}"), _SSD_LITE)
    listed = ("yolov3", "pp-yoloe", "ssd", "mask-rcnn", "faster-rcnn", "picodet")
    return [
        Model(name, "detection", "OpenXPU", build, data, learning_rate=1e-3, listed=name.startswith(listed))
        for name, build, data in found
    ]
