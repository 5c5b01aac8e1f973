"""Detectors: one-stage ones over a grid of places, Faster / Mask / Cascade R-CNN, DETR, and CenterNet's and pose heads.

Sources: Redmon 2018 (YOLOv3), Liu 2016 (SSD), Lin 2017 (RetinaNet), Tian 2019 (FCOS), Ge 2021 (YOLOX), Xu 2022 (PP-YOLOE), Yu 2021
(PicoDet), Ren 2015, He 2017, Cai 2018 (R-CNN), Carion 2020 (DETR), Zhou 2019 (CenterNet), Xiao 2018 (simple baselines)."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import paddle
from paddle import nn
from paddle.nn import functional as F
from paddle.vision import ops

from openxpu.models import detection_backbones as parts
from openxpu.models.detection_backbones import ConvNorm
from openxpu.models.detection_priors import Grid, corners, ratios

CLASSES = 80
RARE = -math.log(99.0)  # a score of 0.01: most places have no object


def rare(outputs: int, inputs: int, size: int, groups: int = 1) -> Any:
    """The convolution that scores places; it begins with a low score everywhere."""
    bias, weight = nn.initializer.Constant(RARE), nn.initializer.Normal(std=0.01)
    return nn.Conv2D(
        inputs, outputs, size, padding=size // 2, groups=groups, weight_attr=weight, bias_attr=bias
    )


def listed(x: Any, values: int) -> Any:
    """A map [batch, anchors * values, height, width] as [batch, height * width * anchors, values]."""
    batch, _, height, width = x.shape
    x = x.reshape([batch, -1, values, height * width])
    return x.transpose([0, 3, 1, 2]).reshape([batch, -1, values])


class OneStage(nn.Layer):
    """`backbone`, `neck` and a head for each level -> scores [batch, places, channels] and boxes.

    In training: scores before the sigmoid, and what `grid.kind` says of each place [batch, places, 4]. Else: probabilities, and
    boxes (left, top, right, bottom) in pixels. The heads give (scores, boxes) maps; `bins` > 1: each side is a distribution over so
    many distances (Li 2020). `last`: the last score says whether there is an object at all, and the others are weighed with it."""

    def __init__(
        self,
        backbone: Any,
        neck: Any,
        heads: list[Any],
        grid: Grid,
        channels: int,
        bins: int = 1,
        last: bool = False,
    ) -> None:
        super().__init__()
        self.backbone, self.neck, self.heads = backbone, neck, nn.LayerList(heads)
        self.kind, self.size, self.channels, self.bins, self.last = grid.kind, grid.size, channels, bins, last
        for name, value in zip(("places", "steps"), grid.boxes()):
            self.register_buffer(name, paddle.to_tensor(value), persistable=False)
        self.register_buffer("distances", paddle.arange(bins, dtype="float32"), persistable=False)

    def boxes(self, said: Any) -> Any:
        centre, extent = self.places[:, :2], self.places[:, 2:]
        if self.kind == "distance":
            return paddle.concat(
                [centre - said[..., :2] * self.steps, centre + said[..., 2:] * self.steps], -1
            )
        if self.kind == "centre":
            centre, half = centre + said[..., :2] * self.steps, said[..., 2:] * self.steps / 2
        else:
            centre, half = (
                centre + said[..., :2] * extent,
                extent * paddle.exp(paddle.clip(said[..., 2:], max=4.0)) / 2,
            )
        return paddle.concat([centre - half, centre + half], -1)

    def forward(self, image: Any) -> Any:
        scores, said = [], []
        for head, x in zip(self.heads, self.neck(self.backbone(image))):
            score, box = head(x)
            scores.append(listed(score, self.channels))
            said.append(listed(box, 4 * self.bins))
        found, where = paddle.concat(scores, 1), paddle.concat(said, 1)
        if self.bins > 1:
            share = F.softmax(where.reshape([where.shape[0], -1, 4, self.bins]), -1)
            where = (share * self.distances.astype(share.dtype)).sum(-1)
        if self.training:
            return found, where
        found = F.sigmoid(found)
        return (found[..., :-1] * found[..., -1:] if self.last else found), self.boxes(where)


# ---- heads: a map to (scores, boxes) ---------------------------------------------------------------------


class Plain(nn.Layer):
    """One convolution each (SSD), after a depth-wise one (SSDLite)."""

    def __init__(self, inputs: int, anchors: int, channels: int, lite: bool = False) -> None:
        super().__init__()
        depth = [ConvNorm(inputs, inputs, 3, 1, "relu", inputs) for _ in range(2)] if lite else []
        size = 1 if lite else 3
        self.before = nn.LayerList(depth)
        self.score, self.box = (
            rare(anchors * channels, inputs, size),
            nn.Conv2D(inputs, anchors * 4, size, padding=size // 2),
        )

    def forward(self, x: Any) -> Any:
        a, b = (layer(x) for layer in self.before) if len(self.before) else (x, x)
        return self.score(a), self.box(b)


class Yolo(nn.Layer):
    """One 1 x 1 convolution for boxes, object and classes of 3 anchors."""

    def __init__(self, inputs: int) -> None:
        super().__init__()
        self.score, self.box = rare(3 * (CLASSES + 1), inputs, 1), nn.Conv2D(inputs, 12, 1)

    def forward(self, x: Any) -> Any:
        return self.score(x), self.box(x)


class Towers(nn.Layer):
    """Four convolutions for the scores and four for the boxes, the same ones on every level (RetinaNet, FCOS).

    `centred`: GroupNorm, one more score that says how central a place is, and boxes that are positive."""

    def __init__(self, anchors: int, centred: bool) -> None:
        super().__init__()

        def tower() -> Any:
            layers: list[Any] = []
            for _ in range(4):
                layers.append(nn.Conv2D(256, 256, 3, padding=1, weight_attr=nn.initializer.Normal(std=0.02)))
                layers += [nn.GroupNorm(32, 256), nn.ReLU()] if centred else [nn.ReLU()]
            return nn.Sequential(*layers)

        self.scores, self.boxes, self.score = tower(), tower(), rare(anchors * CLASSES, 256, 3)
        self.box = nn.Conv2D(256, anchors * 4, 3, padding=1, weight_attr=nn.initializer.Normal(std=0.01))
        self.centre = rare(1, 256, 3) if centred else None

    def forward(self, x: Any) -> Any:
        score, y = self.score(self.scores(x)), self.boxes(x)
        if self.centre is None:
            return score, self.box(y)
        return paddle.concat([score, self.centre(y)], 1), F.relu(self.box(y) + 1.0)


class Level(nn.Layer):
    """A head that all levels share, with this level's own scale of the boxes."""

    def __init__(self, shared: Any, scaled: bool) -> None:
        super().__init__()
        self.shared = shared
        self.scale = (
            self.create_parameter([1], default_initializer=nn.initializer.Constant(1.0)) if scaled else None
        )

    def forward(self, x: Any) -> Any:
        score, box = self.shared(x)
        return score, box if self.scale is None else box * self.scale


class Decoupled(nn.Layer):
    """YOLOX: two convolutions for the classes, two for box and object."""

    def __init__(self, inputs: int, width: int) -> None:
        super().__init__()
        self.start = ConvNorm(inputs, width, 1, 1, "swish")
        self.classes, self.boxes = (
            nn.Sequential(ConvNorm(width, width, 3, 1, "swish"), ConvNorm(width, width, 3, 1, "swish"))
            for _ in range(2)
        )
        self.score, self.object, self.box = rare(CLASSES, width, 1), rare(1, width, 1), nn.Conv2D(width, 4, 1)

    def forward(self, x: Any) -> Any:
        x = self.start(x)
        y = self.boxes(x)
        box = self.box(y)
        box = paddle.concat([box[:, :2], paddle.exp(paddle.clip(box[:, 2:], max=4.0))], 1)
        return paddle.concat([self.score(self.classes(x)), self.object(y)], 1), box


class EfficientTask(nn.Layer):
    """PP-YOLOE: the map's mean weighs the channels, for classes and for boxes apart."""

    def __init__(self, inputs: int, bins: int) -> None:
        super().__init__()
        self.weigh = nn.LayerList([nn.Conv2D(inputs, inputs, 1) for _ in range(2)])
        self.conv = nn.LayerList([ConvNorm(inputs, inputs, 1, 1, "swish") for _ in range(2)])
        self.score, self.box = rare(CLASSES, inputs, 3), nn.Conv2D(inputs, 4 * bins, 3, padding=1)

    def forward(self, x: Any) -> Any:
        mean = F.adaptive_avg_pool2d(x, 1)
        a, b = (conv(x * F.sigmoid(weigh(mean))) for weigh, conv in zip(self.weigh, self.conv))
        return self.score(a + x), self.box(b)


class Pico(nn.Layer):
    """PicoDet: depth-wise convolutions, whose channels the map's mean weighs; classes and boxes from the same map."""

    def __init__(self, width: int, count: int, bins: int) -> None:
        super().__init__()
        self.convs = nn.Sequential(*(parts.DepthPoint(width, width, 5) for _ in range(count)))
        self.weigh, self.joined = nn.Conv2D(width, width, 1), ConvNorm(width, width, 1, 1, "hardswish")
        self.score, self.box = rare(CLASSES, width, 1), nn.Conv2D(width, 4 * bins, 1)

    def forward(self, x: Any) -> Any:
        x = self.convs(x)
        x = self.joined(x * F.sigmoid(self.weigh(F.adaptive_avg_pool2d(x, 1))))
        return self.score(x), self.box(x)


class Points(nn.Layer):
    """CenterNet: a map of centres for each class, and shift and extents of the box there."""

    def __init__(self, inputs: int = 64) -> None:
        super().__init__()
        self.score = nn.Sequential(nn.Conv2D(inputs, 64, 3, padding=1), nn.ReLU(), rare(CLASSES, 64, 1))
        self.shift, self.extent = (
            nn.Sequential(nn.Conv2D(inputs, 64, 3, padding=1), nn.ReLU(), nn.Conv2D(64, 2, 1))
            for _ in range(2)
        )

    def forward(self, x: Any) -> Any:
        return self.score(x), paddle.concat([self.shift(x), self.extent(x)], 1)


def enlarged(inputs: int, widths: tuple[int, ...]) -> Any:
    """The last map, twice as large after each transposed convolution."""
    layers: list[Any] = []
    for width in widths:
        layers += [
            nn.Conv2DTranspose(inputs, width, 4, 2, 1, bias_attr=False),
            nn.BatchNorm2D(width),
            nn.ReLU(),
        ]
        inputs = width
    return nn.Sequential(*layers)


class Last(nn.Layer):
    """`body` on the last map alone; a list of one map."""

    def __init__(self, body: Any) -> None:
        super().__init__()
        self.body = body

    def forward(self, maps: Any) -> Any:
        return [self.body(maps[-1])]


class SsdExtras(nn.Layer):
    """Further, smaller maps of SSD after those of the backbone; `lite`: depth-wise, as SSDLite has them."""

    def __init__(self, inputs: int, sizes: tuple[tuple[int, int, int, int], ...], lite: bool = False) -> None:
        super().__init__()
        self.steps = nn.LayerList()
        for mid, outputs, stride, padding in sizes:
            narrow = ConvNorm(inputs, mid, 1, 1, "relu")
            conv = nn.Conv2D(mid, mid if lite else outputs, 3, stride, padding, groups=mid if lite else 1)
            last = [ConvNorm(mid, outputs, 1, 1, "relu")] if lite else []
            self.steps.append(nn.Sequential(narrow, conv, nn.ReLU(), *last))
            inputs = outputs

    def forward(self, maps: Any) -> Any:
        found = list(maps)
        for step in self.steps:
            found.append(step(found[-1]))
        return found


class SsdVgg(nn.Layer):
    """VGG-16 to conv4_3, and to the convolutions that took the place of its linear layers: maps of 38 and 19 at 300 pixels."""

    channels = (512, 1024)

    def __init__(self) -> None:
        super().__init__()
        layers: list[Any] = []
        inputs = 3
        for count, width in ((2, 64), (2, 128), (3, 256), (3, 512)):
            if inputs != 3:
                layers.append(nn.MaxPool2D(2, 2, ceil_mode=True))
            for _ in range(count):
                layers += [nn.Conv2D(inputs, width, 3, padding=1), nn.ReLU()]
                inputs = width
        self.first, rest = nn.Sequential(*layers), [nn.MaxPool2D(2, 2, ceil_mode=True)]
        for _ in range(3):
            rest += [nn.Conv2D(512, 512, 3, padding=1), nn.ReLU()]
        rest += [
            nn.MaxPool2D(3, 1, 1),
            nn.Conv2D(512, 1024, 3, padding=6, dilation=6),
            nn.ReLU(),
            nn.Conv2D(1024, 1024, 1),
            nn.ReLU(),
        ]
        self.rest = nn.Sequential(*rest)
        self.scale = self.create_parameter([1, 512, 1, 1], default_initializer=nn.initializer.Constant(20.0))

    def forward(self, x: Any) -> Any:
        x = self.first(x)
        return [x / (x * x).sum(1, keepdim=True).clip(1e-10).sqrt() * self.scale, self.rest(x)]


# ---- R-CNN -----------------------------------------------------------------------------------------------


class Regions(nn.Layer):
    """RoIAlign of boxes [count, 4] of a batch, each on the level of the pyramid that fits its size (Lin 2017)."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.size = size

    def forward(self, maps: Any, boxes: Any, counts: Any) -> Any:
        levels, restore, numbers = ops.distribute_fpn_proposals(boxes, 2, 5, 4, 224, rois_num=counts)
        found = [
            ops.roi_align(x, part, number, self.size, 1 / stride, aligned=True)
            for x, part, number, stride in zip(maps, levels, numbers, (4, 8, 16, 32))
        ]
        return paddle.gather(paddle.concat(found), restore.flatten())


def moved(boxes: Any, deltas: Any, weights: tuple[float, ...], limit: int) -> Any:
    """Boxes [count, 4] shifted and scaled by deltas [count, 4] / weights, inside the picture."""
    extent = boxes[:, 2:] - boxes[:, :2]
    centre = boxes[:, :2] + extent / 2 + deltas[:, :2] / weights[0] * extent
    half = extent * paddle.exp(paddle.clip(deltas[:, 2:] / weights[2], max=4.0)) / 2
    return paddle.concat([centre - half, centre + half], 1).clip(0, limit)


class BoxHead(nn.Layer):
    """Two linear layers; class scores with the background last, and deltas for each class or for all."""

    def __init__(self, boxes: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Flatten(), nn.Linear(256 * 49, 1024), nn.ReLU(), nn.Linear(1024, 1024), nn.ReLU()
        )
        self.score = nn.Linear(1024, CLASSES + 1, weight_attr=nn.initializer.Normal(std=0.01))
        self.delta = nn.Linear(1024, 4 * boxes, weight_attr=nn.initializer.Normal(std=0.001))

    def forward(self, x: Any) -> Any:
        x = self.body(x)
        return self.score(x), self.delta(x)


class TwoStage(nn.Layer):
    """Faster R-CNN over an FPN; `masks`: Mask R-CNN; `stages` 3: Cascade R-CNN.

    In training: called with the sample's own regions [batch, regions, 4]; gives scores and deltas of the places [batch, places, 1
    or 4], class scores and deltas of the regions by stage, and masks. Else: called with the picture alone; its proposals give class
    probabilities [regions, classes + 1], boxes [regions, 4 or 4 * classes] and masks [regions, classes, 28, 28]."""

    def __init__(self, depth: int, size: int, masks: bool = False, stages: int = 1) -> None:
        super().__init__()
        self.backbone = parts.resnet(depth)
        self.neck, self.size, self.cascade = parts.FPN(self.backbone.channels, "pool"), size, stages > 1
        grid = rcnn_grid(size)
        boxes, _ = grid.boxes()
        # As a picture of one column, because the levels are proposed from together.
        anchors = corners(boxes).reshape(-1, 1, 3, 4).astype(np.float32)
        self.register_buffer("anchors", paddle.to_tensor(anchors), persistable=False)
        normal = nn.initializer.Normal(std=0.01)
        self.rpn = nn.Conv2D(256, 256, 3, padding=1, weight_attr=normal)
        self.score = nn.Conv2D(256, 3, 1, weight_attr=normal)
        self.delta = nn.Conv2D(256, 12, 1, weight_attr=normal)
        self.regions, self.mask_regions = Regions(7), Regions(14) if masks else None
        self.heads = nn.LayerList([BoxHead(1 if self.cascade else CLASSES) for _ in range(stages)])
        if masks:
            layers: list[Any] = []
            for _ in range(4):
                layers += [nn.Conv2D(256, 256, 3, padding=1), nn.ReLU()]
            self.mask = nn.Sequential(
                *layers, nn.Conv2DTranspose(256, 256, 2, 2), nn.ReLU(), nn.Conv2D(256, CLASSES, 1)
            )

    def proposed(self, scores: list[Any], deltas: list[Any], batch: Any) -> Any:
        """The 48 best boxes of each picture after one suppression over all levels, and how many each picture has."""
        score, delta = (
            paddle.concat([x.flatten(2) for x in maps], 2).unsqueeze(-1) for maps in (scores, deltas)
        )
        limit = paddle.full([1, 2], float(self.size)).expand([batch, 2])
        # Scores only rank here, and before the sigmoid none of them are alike.
        found, _, counts = ops.generate_proposals(
            score, delta, limit, self.anchors, paddle.ones_like(self.anchors), 1000, 48, 0.7, 1e-3, 1.0, return_rois_num=True
        )  # fmt: skip
        return found, counts

    def forward(self, image: Any, regions: Any = None) -> Any:
        maps = self.neck(self.backbone(image))
        hidden = [F.relu(self.rpn(x)) for x in maps]
        scores, deltas = [self.score(x) for x in hidden], [self.delta(x) for x in hidden]
        if regions is None:
            boxes, counts = self.proposed(scores, deltas, image.shape[0])
        else:
            boxes = regions.reshape([-1, 4])
            counts = paddle.full([regions.shape[0]], regions.shape[1], "int32")
        stages = []
        for number, head in enumerate(self.heads):
            weights = (10.0 * (number + 1),) * 2 + (5.0 * (number + 1),) * 2
            score, delta = head(self.regions(maps[:4], boxes, counts))
            stages.append((score, delta))
            if self.cascade and number + 1 < len(self.heads):
                boxes = moved(boxes, delta.astype("float32").detach(), weights, self.size)
        masks = None if self.mask_regions is None else self.mask(self.mask_regions(maps[:4], boxes, counts))
        if self.training:
            places = (
                paddle.concat([listed(s, 1) for s in scores], 1),
                paddle.concat([listed(d, 4) for d in deltas], 1),
            )
            return [
                *places,
                *(value for stage in stages for value in stage),
                *([] if masks is None else [masks]),
            ]
        chance = sum(F.softmax(score, -1) for score, _ in stages) / len(stages)
        last = stages[-1][1].reshape([-1, 4])
        repeated = boxes if self.cascade else paddle.repeat_interleave(boxes, CLASSES, 0)
        found = moved(repeated, last, weights, self.size)
        return [chance, found, *([] if masks is None else [F.sigmoid(masks)])]


def rcnn_grid(size: int) -> Grid:
    strides = (4, 8, 16, 32, 64)
    return Grid(size, strides, ratios(strides, (8.0,)))


# ---- DETR ------------------------------------------------------------------------------------------------


class Attending(nn.Layer):
    """A layer of DETR's encoder (or decoder): places are added to queries and keys, not to values."""

    def __init__(self, width: int, heads: int, inner: int, crosses: bool) -> None:
        super().__init__()
        self.own = nn.MultiHeadAttention(width, heads)
        self.other = nn.MultiHeadAttention(width, heads) if crosses else None
        self.wide, self.narrow = nn.Linear(width, inner), nn.Linear(inner, width)
        self.norms = nn.LayerList([nn.LayerNorm(width) for _ in range(3 if crosses else 2)])

    def forward(self, x: Any, places: Any, memory: Any = None, memory_places: Any = None) -> Any:
        q = x + places
        x = self.norms[0](x + self.own(q, q, x))
        if self.other is not None:
            x = self.norms[1](x + self.other(x + places, memory + memory_places, memory))
        return self.norms[-1](x + self.narrow(F.relu(self.wide(x))))


class DETR(nn.Layer):
    """Pictures to class scores [batch, 100, classes + 1] and boxes (centre x, centre y, width, height) in 0..1 [batch, 100, 4]."""

    def __init__(self, depth: int, size: int, width: int = 256, queries: int = 100) -> None:
        from openxpu.models.diffusion_layers import grid_positions

        super().__init__()
        self.backbone = parts.resnet(depth, 1)
        self.narrow = nn.Conv2D(self.backbone.channels[-1], width, 1)
        self.encoder = nn.LayerList([Attending(width, 8, 2048, False) for _ in range(6)])
        self.decoder = nn.LayerList([Attending(width, 8, 2048, True) for _ in range(6)])
        self.queries, self.norm = nn.Embedding(queries, width), nn.LayerNorm(width)
        self.register_buffer("places", paddle.to_tensor(grid_positions(width, size // 32)), persistable=False)
        self.score = nn.Linear(width, CLASSES + 1)
        self.box = nn.Sequential(
            nn.Linear(width, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU(), nn.Linear(width, 4)
        )

    def forward(self, image: Any) -> Any:
        memory = self.narrow(self.backbone(image)[-1]).flatten(2).transpose([0, 2, 1])
        for layer in self.encoder:
            memory = layer(memory, self.places)
        asked = self.queries.weight.unsqueeze(0)
        x = paddle.zeros_like(asked).expand([image.shape[0], -1, -1])
        for layer in self.decoder:
            x = layer(x, asked, memory, self.places)
        x = self.norm(x)
        return self.score(x), F.sigmoid(self.box(x))


class Pose(nn.Layer):
    """Heat maps [batch, 17, height / 4, width / 4] of the joints of a body, from the last map of a ResNet (simple baselines)."""

    def __init__(self, depth: int) -> None:
        super().__init__()
        self.backbone = parts.resnet(depth, 1)
        self.up, self.head = enlarged(self.backbone.channels[-1], (256, 256, 256)), nn.Conv2D(256, 17, 1)

    def forward(self, image: Any) -> Any:
        return self.head(self.up(self.backbone(image)[-1]))
