"""Backbones and necks of the detectors: each gives its maps by stride, and their channels as `channels`.

Sources: Redmon 2018 (DarkNet-53), Liu 2016 (SSD), Lin 2017 (FPN), Ge 2021 (YOLOX), Xu 2022 (PP-YOLOE), Yu 2021 (PicoDet), Cui 2021
(LCNet). ResNet, VGG and MobileNet are those of paddle.vision."""

from __future__ import annotations

import importlib
from typing import Any

import paddle
from paddle import nn
from paddle.nn import functional as F

ACTIVATIONS = {
    "leaky": lambda x: F.leaky_relu(x, 0.1),
    "swish": F.silu,
    "hardswish": F.hardswish,
    "relu": F.relu,
    "": lambda x: x,
}


class ConvNorm(nn.Layer):
    """Convolution, batch norm, activation."""

    def __init__(
        self, inputs: int, outputs: int, size: int = 1, stride: int = 1, act: str = "leaky", groups: int = 1
    ) -> None:
        super().__init__()
        self.conv = nn.Conv2D(inputs, outputs, size, stride, size // 2, groups=groups, bias_attr=False)
        self.norm, self.act = nn.BatchNorm2D(outputs), ACTIVATIONS[act]

    def forward(self, x: Any) -> Any:
        return self.act(self.norm(self.conv(x)))


class Staged(nn.Layer):
    """Stages one after the other; the maps of the last ones are the result."""

    def __init__(self, stages: list[Any], channels: tuple[int, ...]) -> None:
        super().__init__()
        self.stages, self.channels = nn.LayerList(stages), channels

    def forward(self, x: Any) -> Any:
        found = []
        for stage in self.stages:
            x = stage(x)
            found.append(x)
        return found[-len(self.channels) :]


def resnet(depth: int, levels: int = 4) -> Any:
    """The maps of the last `levels` stages of ResNet: strides up to 32."""
    model = getattr(importlib.import_module("paddle.vision.models"), f"resnet{depth}")()
    stem = nn.Sequential(model.conv1, model.bn1, model.relu, model.maxpool)
    widths = (64, 128, 256, 512) if depth < 50 else (256, 512, 1024, 2048)
    return Staged(
        [nn.Sequential(stem, model.layer1), model.layer2, model.layer3, model.layer4], widths[-levels:]
    )


def mobilenet_v3(size: str, levels: int = 3) -> Any:
    """MobileNetV3 without its last convolution: maps of strides 8, 16, 32 (or the last of them)."""
    model = getattr(importlib.import_module("paddle.vision.models"), f"mobilenet_v3_{size}")()
    blocks = list(model.blocks.children())
    cuts, channels = {"large": ((6, 12), (40, 112, 160)), "small": ((3, 8), (24, 48, 96))}[size]
    stages = [
        nn.Sequential(model.conv, *blocks[: cuts[0]]),
        nn.Sequential(*blocks[slice(*cuts)]),
        nn.Sequential(*blocks[cuts[1] :]),
    ]
    return Staged(stages, channels[-levels:])


def mobilenet_v1(levels: int = 3) -> Any:
    """MobileNetV1: maps of strides 8, 16, 32 (or the last of them)."""
    model = importlib.import_module("paddle.vision.models").mobilenet_v1()
    blocks = list(model.dwsl)
    stages = [
        nn.Sequential(model.conv1, *blocks[:5]),
        nn.Sequential(*blocks[5:11]),
        nn.Sequential(*blocks[11:]),
    ]
    return Staged(stages, (256, 512, 1024)[-levels:])


class DarkBlock(nn.Layer):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.body = nn.Sequential(ConvNorm(width, width // 2), ConvNorm(width // 2, width, 3))

    def forward(self, x: Any) -> Any:
        return x + self.body(x)


def darknet53() -> Any:
    stages, inputs = [], 32
    for count in (1, 2, 8, 8, 4):
        start = [ConvNorm(3, 32, 3)] if inputs == 32 else []
        stages.append(
            nn.Sequential(
                *start, ConvNorm(inputs, inputs * 2, 3, 2), *(DarkBlock(inputs * 2) for _ in range(count))
            )
        )
        inputs *= 2
    return Staged(stages, (256, 512, 1024))


class FPN(nn.Layer):
    """A pyramid of `width` channels; `extra`: "pool" for one more level, "conv" for two more from convolutions of the last."""

    def __init__(self, channels: tuple[int, ...], extra: str, width: int = 256) -> None:
        super().__init__()
        self.lateral = nn.LayerList([nn.Conv2D(c, width, 1) for c in channels])
        self.smooth = nn.LayerList([nn.Conv2D(width, width, 3, padding=1) for _ in channels])
        self.extra = extra
        self.more = nn.LayerList(
            [nn.Conv2D(width, width, 3, 2, 1) for _ in range(2 if extra == "conv" else 0)]
        )

    def forward(self, maps: Any) -> Any:
        found = [part(x) for part, x in zip(self.lateral, maps)]
        for level in range(len(found) - 1, 0, -1):
            found[level - 1] = found[level - 1] + F.interpolate(found[level], scale_factor=2, mode="nearest")
        found = [part(x) for part, x in zip(self.smooth, found)]
        if self.extra == "pool":
            found.append(F.max_pool2d(found[-1], 1, 2))
        for i, part in enumerate(self.more):
            found.append(part(F.relu(found[-1]) if i else found[-1]))
        return found


class YoloNeck(nn.Layer):
    """YOLOv3's blocks from the coarsest map to the finest; gives its maps in that order."""

    def __init__(self, channels: tuple[int, ...]) -> None:
        super().__init__()
        self.routes, self.tips, self.steps = nn.LayerList(), nn.LayerList(), nn.LayerList()
        inputs = 0
        for i, (c, width) in enumerate(zip(reversed(channels), (512, 256, 128))):
            convs = [ConvNorm(c + inputs, width), ConvNorm(width, width * 2, 3), ConvNorm(width * 2, width)]
            self.routes.append(
                nn.Sequential(*convs, ConvNorm(width, width * 2, 3), ConvNorm(width * 2, width))
            )
            self.tips.append(ConvNorm(width, width * 2, 3))
            if i < 2:
                self.steps.append(ConvNorm(width, width // 2))
            inputs = width // 2
        self.channels = (1024, 512, 256)

    def forward(self, maps: Any) -> Any:
        found, above = [], None
        for i, x in enumerate(reversed(maps)):
            y = self.routes[i](x if above is None else paddle.concat([above, x], 1))
            found.append(self.tips[i](y))
            if i < 2:
                above = F.interpolate(self.steps[i](y), scale_factor=2, mode="nearest")
        return found


# ---- YOLOX -----------------------------------------------------------------------------------------------


class CspBottleneck(nn.Layer):
    def __init__(self, width: int, short: bool) -> None:
        super().__init__()
        self.short, self.body = (
            short,
            nn.Sequential(ConvNorm(width, width, 1, 1, "swish"), ConvNorm(width, width, 3, 1, "swish")),
        )

    def forward(self, x: Any) -> Any:
        return x + self.body(x) if self.short else self.body(x)


class Csp(nn.Layer):
    """Half of the channels through bottlenecks, half past them."""

    def __init__(self, inputs: int, outputs: int, count: int, short: bool = True) -> None:
        super().__init__()
        half = outputs // 2
        self.left, self.right = ConvNorm(inputs, half, 1, 1, "swish"), ConvNorm(inputs, half, 1, 1, "swish")
        self.blocks = nn.Sequential(*(CspBottleneck(half, short) for _ in range(count)))
        self.joined = ConvNorm(outputs, outputs, 1, 1, "swish")

    def forward(self, x: Any) -> Any:
        return self.joined(paddle.concat([self.blocks(self.left(x)), self.right(x)], 1))


class Pyramid(nn.Layer):
    """Spatial pyramid pooling: the map beside its maxima over three windows."""

    def __init__(
        self, inputs: int, inner: int, outputs: int, act: str = "swish", before: bool = True
    ) -> None:
        super().__init__()
        self.first = ConvNorm(inputs, inner, 1, 1, act) if before else None
        self.last = ConvNorm(inner * 4, outputs, 1, 1, act)

    def forward(self, x: Any) -> Any:
        x = x if self.first is None else self.first(x)
        return self.last(paddle.concat([x, *(F.max_pool2d(x, k, 1, k // 2) for k in (5, 9, 13))], 1))


class Focus(nn.Layer):
    """Each 2 x 2 points to channels, then a convolution."""

    def __init__(self, outputs: int) -> None:
        super().__init__()
        self.conv = ConvNorm(12, outputs, 3, 1, "swish")

    def forward(self, x: Any) -> Any:
        return self.conv(F.pixel_unshuffle(x, 2))


def csp_darknet(depth: float, width: float) -> Any:
    c = [int(64 * 2**i * width) for i in range(5)]
    n = [max(round(k * depth), 1) for k in (3, 9, 9, 3)]

    def stage(i: int, *before: Any, short: bool = True) -> Any:
        return nn.Sequential(
            ConvNorm(c[i], c[i + 1], 3, 2, "swish"), *before, Csp(c[i + 1], c[i + 1], n[i], short)
        )

    first = nn.Sequential(Focus(c[0]), stage(0))
    return Staged(
        [first, stage(1), stage(2), stage(3, Pyramid(c[4], c[4] // 2, c[4]), short=False)], tuple(c[2:])
    )


class YoloxNeck(nn.Layer):
    """Down and up again; maps of strides 8, 16, 32."""

    def __init__(self, channels: tuple[int, ...], depth: float) -> None:
        super().__init__()
        low, mid, high = channels
        n = max(round(3 * depth), 1)
        self.channels = channels
        self.narrow = nn.LayerList([ConvNorm(high, mid, 1, 1, "swish"), ConvNorm(mid, low, 1, 1, "swish")])
        self.down = nn.LayerList([Csp(mid * 2, mid, n, False), Csp(low * 2, low, n, False)])
        self.step = nn.LayerList([ConvNorm(low, low, 3, 2, "swish"), ConvNorm(mid, mid, 3, 2, "swish")])
        self.up = nn.LayerList([Csp(low * 2, mid, n, False), Csp(mid * 2, high, n, False)])

    def forward(self, maps: Any) -> Any:
        low, mid, high = maps
        a = self.narrow[0](high)
        b = self.narrow[1](
            self.down[0](paddle.concat([F.interpolate(a, scale_factor=2, mode="nearest"), mid], 1))
        )
        fine = self.down[1](paddle.concat([F.interpolate(b, scale_factor=2, mode="nearest"), low], 1))
        middle = self.up[0](paddle.concat([self.step[0](fine), b], 1))
        return [fine, middle, self.up[1](paddle.concat([self.step[1](middle), a], 1))]


# ---- PP-YOLOE --------------------------------------------------------------------------------------------


class RepBlock(nn.Layer):
    """A 3 x 3 convolution, then a 3 x 3 beside a 1 x 1 (RepVGG)."""

    def __init__(self, width: int, short: bool) -> None:
        super().__init__()
        self.short, self.first = short, ConvNorm(width, width, 3, 1, "swish")
        self.large, self.small = ConvNorm(width, width, 3, 1, ""), ConvNorm(width, width, 1, 1, "")

    def forward(self, x: Any) -> Any:
        y = self.first(x)
        y = F.silu(self.large(y) + self.small(y))
        return x + y if self.short else y


class Squeeze(nn.Layer):
    """Effective squeeze and excitation: one linear step."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.weigh = nn.Conv2D(width, width, 1)

    def forward(self, x: Any) -> Any:
        return x * F.hardsigmoid(self.weigh(x.mean([2, 3], keepdim=True)))


class RepStage(nn.Layer):
    """CSP with RepBlocks; `stride` 2 of the backbone's stages, which also weigh their channels."""

    def __init__(self, inputs: int, outputs: int, count: int, stride: int, pyramid: bool = False) -> None:
        super().__init__()
        mid = (inputs + outputs) // 2 if stride == 2 else outputs
        self.start = ConvNorm(inputs, mid, 3, 2, "swish") if stride == 2 else nn.Identity()
        given, half = mid if stride == 2 else inputs, mid // 2
        self.left, self.right = ConvNorm(given, half, 1, 1, "swish"), ConvNorm(given, half, 1, 1, "swish")
        blocks: list[Any] = [RepBlock(half, stride == 2) for _ in range(count)]
        if pyramid:
            blocks.insert((count - 1) // 2 + 1, Pyramid(half, half, half, before=False))
        self.blocks = nn.Sequential(*blocks)
        self.weigh = Squeeze(half * 2) if stride == 2 else nn.Identity()
        self.joined = ConvNorm(half * 2, outputs, 1, 1, "swish")

    def forward(self, x: Any) -> Any:
        x = self.start(x)
        return self.joined(self.weigh(paddle.concat([self.left(x), self.blocks(self.right(x))], 1)))


def csp_rep_resnet(depth: float, width: float) -> Any:
    c = [max(round(64 * 2**i * width), 1) for i in range(5)]
    n = [max(round(k * depth), 1) for k in (3, 6, 6, 3)]
    stem = (
        ConvNorm(3, c[0] // 2, 3, 2, "swish"),
        ConvNorm(c[0] // 2, c[0] // 2, 3, 1, "swish"),
        ConvNorm(c[0] // 2, c[0], 3, 1, "swish"),
    )
    stages = [RepStage(c[i], c[i + 1], n[i], 2) for i in range(4)]
    return Staged([nn.Sequential(*stem, stages[0]), *stages[1:]], tuple(c[2:]))


class CspPan(nn.Layer):
    """PP-YOLOE's neck; maps of strides 32, 16, 8."""

    def __init__(self, channels: tuple[int, ...], depth: float, width: float) -> None:
        super().__init__()
        out = tuple(round(c * width) for c in (768, 384, 192))
        n = max(round(3 * depth), 1)
        self.down, self.route = nn.LayerList(), nn.LayerList()
        before = 0
        for i, inputs in enumerate(reversed(channels)):
            self.down.append(RepStage(inputs + before, out[i], n, 1, pyramid=i == 0))
            before = out[i] // 2
            if i < 2:
                self.route.append(ConvNorm(out[i], before, 1, 1, "swish"))
        self.step = nn.LayerList([ConvNorm(out[i + 1], out[i + 1], 3, 2, "swish") for i in (1, 0)])
        self.up = nn.LayerList([RepStage(out[i] + out[i + 1], out[i], n, 1) for i in (1, 0)])
        self.channels = out

    def forward(self, maps: Any) -> Any:
        found, above = [], None
        for i, x in enumerate(reversed(maps)):
            y = self.down[i](x if above is None else paddle.concat([above, x], 1))
            found.append(y)
            if i < 2:
                above = F.interpolate(self.route[i](y), scale_factor=2, mode="nearest")
        middle = self.up[0](paddle.concat([self.step[0](found[2]), found[1]], 1))
        coarse = self.up[1](paddle.concat([self.step[1](middle), found[0]], 1))
        return [coarse, middle, found[2]]


# ---- PicoDet ---------------------------------------------------------------------------------------------


class DepthPoint(nn.Layer):
    """A convolution of each channel by itself, then one of each point; `weigh`: squeeze and excitation between them."""

    def __init__(self, inputs: int, outputs: int, size: int, stride: int = 1, weigh: bool = False) -> None:
        super().__init__()
        self.depth = ConvNorm(inputs, inputs, size, stride, "hardswish", inputs)
        squeeze = (
            nn.AdaptiveAvgPool2D(1),
            nn.Conv2D(inputs, inputs // 4, 1),
            nn.ReLU(),
            nn.Conv2D(inputs // 4, inputs, 1),
            nn.Hardsigmoid(),
        )
        self.weigh = nn.Sequential(*squeeze) if weigh else None
        self.point = ConvNorm(inputs, outputs, 1, 1, "hardswish")

    def forward(self, x: Any) -> Any:
        x = self.depth(x)
        return self.point(x if self.weigh is None else x * self.weigh(x))


_LCNET = (
    ((3, 32, 1),), ((3, 64, 2), (3, 64, 1)), ((3, 128, 2), (3, 128, 1)), ((3, 256, 2), *((5, 256, 1),) * 5), ((5, 512, 2), (5, 512, 1)),
)  # fmt: skip


def lcnet(scale: float) -> Any:
    def scaled(c: int) -> int:
        return max(int(c * scale + 8) // 16 * 16, 16)

    inputs = scaled(16)
    stages: list[Any] = []
    for number, blocks in enumerate(_LCNET):
        parts: list[Any] = [] if stages else [ConvNorm(3, inputs, 3, 2, "hardswish")]
        for size, outputs, stride in blocks:
            parts.append(DepthPoint(inputs, scaled(outputs), size, stride, number == 4))
            inputs = scaled(outputs)
        stages.append(nn.Sequential(*parts))
    return Staged(stages, tuple(scaled(c) for c in (128, 256, 512)))


class PicoCsp(nn.Layer):
    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        half = outputs // 2
        self.left, self.right = (
            ConvNorm(inputs, half, 1, 1, "hardswish"),
            ConvNorm(inputs, half, 1, 1, "hardswish"),
        )
        self.body = nn.Sequential(ConvNorm(half, half, 1, 1, "hardswish"), DepthPoint(half, half, 5))
        self.joined = ConvNorm(outputs, outputs, 1, 1, "hardswish")

    def forward(self, x: Any) -> Any:
        return self.joined(paddle.concat([self.body(self.left(x)), self.right(x)], 1))


class PicoNeck(nn.Layer):
    """Down, up, and one level more; maps of strides 8, 16, 32, 64."""

    def __init__(self, channels: tuple[int, ...], width: int) -> None:
        super().__init__()
        self.channels = (width,) * 4
        self.narrow = nn.LayerList([ConvNorm(c, width, 1, 1, "hardswish") for c in channels])
        self.down = nn.LayerList([PicoCsp(width * 2, width) for _ in range(2)])
        self.step = nn.LayerList([DepthPoint(width, width, 5, 2) for _ in range(2)])
        self.up = nn.LayerList([PicoCsp(width * 2, width) for _ in range(2)])
        self.top = nn.LayerList([DepthPoint(width, width, 5, 2) for _ in range(2)])

    def forward(self, maps: Any) -> Any:
        low, mid, high = (part(x) for part, x in zip(self.narrow, maps))
        b = self.down[0](paddle.concat([F.interpolate(high, scale_factor=2, mode="nearest"), mid], 1))
        fine = self.down[1](paddle.concat([F.interpolate(b, scale_factor=2, mode="nearest"), low], 1))
        middle = self.up[0](paddle.concat([self.step[0](fine), b], 1))
        coarse = self.up[1](paddle.concat([self.step[1](middle), high], 1))
        return [fine, middle, coarse, self.top[0](high) + self.top[1](coarse)]
