"""The backbones of the OCR models: MobileNetV3, ResNet-vd, PP-LCNet (v1, v3), PP-HGNet (v1, v2), ResNet31 and ResNet45.

Each has `widths`, the channels of its results. As a detector's backbone it returns four maps, at 1/4, 1/8, 1/16 and 1/32; as a
recogniser's (`text=True`) one map that is 1 high: text keeps its width where its height shrinks. Sources: Howard 2019
(MobileNetV3), He 2018 (the vd changes), Cui 2021 (PP-LCNet), Li 2022 (PP-OCRv3), the PP-OCRv4 report 2023 (PP-LCNetV3, PP-HGNet)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import paddle
from paddle import nn
from paddle.nn import functional as F

Stride = int | tuple[int, int]
ACTIVATIONS = {
    "relu": nn.ReLU,
    "hswish": nn.Hardswish,
    "swish": nn.Swish,
    "gelu": nn.GELU,
    "leaky": nn.LeakyReLU,
}


def rounded(width: float, divisor: int = 8) -> int:
    """The next width that divides evenly, at most a tenth below what was asked for."""
    found = max(divisor, int(width + divisor / 2) // divisor * divisor)
    return found + divisor if found < 0.9 * width else found


def conv(
    inputs: int,
    outputs: int,
    kernel: int | tuple[int, int] = 3,
    stride: Stride = 1,
    groups: int = 1,
    act: str = "relu",
) -> Any:
    """Convolution of the same extent, batch normalisation and, where one is named, activation."""
    sides = (kernel, kernel) if isinstance(kernel, int) else kernel
    padding = [(side - 1) // 2 for side in sides]
    parts = [
        nn.Conv2D(inputs, outputs, kernel, stride, padding, groups=groups, bias_attr=False),
        nn.BatchNorm2D(outputs),
    ]
    return nn.Sequential(*parts, *([ACTIVATIONS[act]()] if act else []))


def levels(stages: Any, x: Any) -> list[Any]:
    """The results of stages that follow each other, largest first."""
    found = []
    for stage in stages:
        x = stage(x)
        found.append(x)
    return found


class Squeeze(nn.Layer):
    """Squeeze and excitation (Hu 2018)."""

    def __init__(self, width: int, part: int = 4) -> None:
        super().__init__()
        self.down, self.up = nn.Conv2D(width, width // part, 1), nn.Conv2D(width // part, width, 1)

    def forward(self, x: Any) -> Any:
        scale = F.relu(self.down(F.adaptive_avg_pool2d(x, 1)))
        return x * F.hardsigmoid(self.up(scale), slope=0.2, offset=0.5)


# ---- MobileNetV3 ---------------------------------------------------------------------------------------

# kernel, inner, outputs, squeeze, activation, whether it halves
MOBILE = {
    "large": (
        (3, 16, 16, 0, "relu", 0), (3, 64, 24, 0, "relu", 1), (3, 72, 24, 0, "relu", 0), (5, 72, 40, 1, "relu", 1),
        (5, 120, 40, 1, "relu", 0), (5, 120, 40, 1, "relu", 0), (3, 240, 80, 0, "hswish", 1), (3, 200, 80, 0, "hswish", 0),
        (3, 184, 80, 0, "hswish", 0), (3, 184, 80, 0, "hswish", 0), (3, 480, 112, 1, "hswish", 0),
        (3, 672, 112, 1, "hswish", 0), (5, 672, 160, 1, "hswish", 1), (5, 960, 160, 1, "hswish", 0),
        (5, 960, 160, 1, "hswish", 0),
    ),
    "small": (
        (3, 16, 16, 1, "relu", 1), (3, 72, 24, 0, "relu", 1), (3, 88, 24, 0, "relu", 0), (5, 96, 40, 1, "hswish", 1),
        (5, 240, 40, 1, "hswish", 0), (5, 240, 40, 1, "hswish", 0), (5, 120, 48, 1, "hswish", 0),
        (5, 144, 48, 1, "hswish", 0), (5, 288, 96, 1, "hswish", 1), (5, 576, 96, 1, "hswish", 0),
        (5, 576, 96, 1, "hswish", 0),
    ),
}  # fmt: skip


class Inverted(nn.Layer):
    def __init__(
        self, inputs: int, kernel: int, inner: int, outputs: int, squeeze: int, act: str, stride: Stride
    ) -> None:
        super().__init__()
        self.same = inputs == outputs and stride == 1
        self.body = nn.Sequential(
            conv(inputs, inner, 1, act=act),
            conv(inner, inner, kernel, stride, inner, act),
            *([Squeeze(inner)] if squeeze else []),
            conv(inner, outputs, 1, act=""),
        )

    def forward(self, x: Any) -> Any:
        return x + self.body(x) if self.same else self.body(x)


class MobileNetV3(nn.Layer):
    """`size`: large or small. `text`: for lines of text 32 high; `first`: whether the first block halves their height too."""

    def __init__(
        self, size: str, scale: float, text: bool = False, squeeze: bool = True, first: bool = True
    ) -> None:
        super().__init__()
        width = rounded(16 * scale)
        blocks, stages = [conv(3, width, 3, 2, act="hswish")], []
        self.widths: list[int] = []
        for index, (kernel, inner, outputs, squeezed, act, halves) in enumerate(MOBILE[size]):
            stride: Stride = 2 if halves else 1
            if text:  # the block of 80 channels keeps both extents, the others the width
                stride = (2, 1) if halves and outputs != 80 and (first or index) else 1
            elif halves and index > (2 if size == "large" else 0):
                stages.append(nn.Sequential(*blocks))
                self.widths.append(width)
                blocks = []
            blocks.append(
                Inverted(
                    width,
                    kernel,
                    rounded(inner * scale),
                    rounded(outputs * scale),
                    squeezed * squeeze,
                    act,
                    stride,
                )
            )
            width = rounded(outputs * scale)
        last = rounded((960 if size == "large" else 576) * scale)
        blocks.append(conv(width, last, 1, act="hswish"))
        if text:
            blocks.append(nn.MaxPool2D(2, 2))
        self.stages = nn.LayerList([*stages, nn.Sequential(*blocks)])
        self.widths.append(last)
        self.text = text

    def forward(self, x: Any) -> Any:
        found = []
        for stage in self.stages:
            x = stage(x)
            found.append(x)
        return x if self.text else found


# ---- ResNet-vd -----------------------------------------------------------------------------------------


class Residual(nn.Layer):
    """A basic or a bottleneck block; vd halves its shortcut by an average pool before the projection."""

    def __init__(self, inputs: int, width: int, stride: Stride, bottleneck: bool) -> None:
        super().__init__()
        outputs = width * 4 if bottleneck else width
        if bottleneck:
            parts = [conv(inputs, width, 1), conv(width, width, 3, stride), conv(width, outputs, 1, act="")]
        else:
            parts = [conv(inputs, width, 3, stride), conv(width, outputs, 3, act="")]
        self.body = nn.Sequential(*parts)
        pool = [] if stride == 1 else [nn.AvgPool2D(stride, stride, ceil_mode=True)]
        self.short = (
            nn.Sequential(*pool, conv(inputs, outputs, 1, act="")) if pool or inputs != outputs else None
        )

    def forward(self, x: Any) -> Any:
        return F.relu(self.body(x) + (x if self.short is None else self.short(x)))


class ResNetVd(nn.Layer):
    def __init__(self, layers: int, text: bool = False) -> None:
        super().__init__()
        bottleneck = layers >= 50
        depths = {18: (2, 2, 2, 2), 34: (3, 4, 6, 3), 50: (3, 4, 6, 3), 101: (3, 4, 23, 3)}[layers]
        self.stem = nn.Sequential(
            conv(3, 32, 3, 1 if text else 2), conv(32, 32), conv(32, 64), nn.MaxPool2D(3, 2, 1)
        )
        width, stages = 64, []
        self.widths: list[int] = []
        for stage, depth in enumerate(depths):
            blocks = []
            for block in range(depth):
                stride: Stride = 1 if block or not stage else (2, 1) if text else 2
                blocks.append(Residual(width, 64 << stage, stride, bottleneck))
                width = (64 << stage) * (4 if bottleneck else 1)
            stages.append(nn.Sequential(*blocks))
            self.widths.append(width)
        self.stages, self.text = nn.LayerList(stages), text

    def forward(self, x: Any) -> Any:
        found = levels(self.stages, self.stem(x))
        return F.max_pool2d(found[-1], 2, 2) if self.text else found


# ---- PP-LCNet ------------------------------------------------------------------------------------------

# kernel, outputs, squeeze, of each block of the stages; the first of a stage has its stride.
LCNET = (
    ((3, 32, 0),),
    ((3, 64, 0), (3, 64, 0)),
    ((3, 128, 0), (3, 128, 0)),
    ((3, 256, 0), *((5, 256, 0),) * 5),
    ((5, 512, 1), (5, 512, 1)),
)
LCNET3 = (
    *LCNET[:3],
    ((3, 256, 0), *((5, 256, 0),) * 4),
    ((5, 512, 1), (5, 512, 1), (5, 512, 0), (5, 512, 0)),
)
# MobileNetV1 of PP-OCRv2's and v3's recognisers: LCNet's blocks, wider, with the large kernels late.
ENHANCED = (
    ((3, 64, 0),),
    ((3, 128, 0), (3, 128, 0)),
    ((3, 256, 0), (3, 256, 0)),
    ((3, 512, 0), *((5, 512, 0),) * 5),
    ((5, 1024, 1), (5, 1024, 1)),
)


def separable(inputs: int, kernel: int, outputs: int, squeeze: int, stride: Stride) -> Any:
    return nn.Sequential(
        conv(inputs, inputs, kernel, stride, inputs, "hswish"),
        *([Squeeze(inputs)] if squeeze else []),
        conv(inputs, outputs, 1, act="hswish"),
    )


class Affine(nn.Layer):
    """A scale and a shift that are learned, one each for the whole map."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = self.create_parameter([1], default_initializer=nn.initializer.Constant(1.0))
        self.shift = self.create_parameter([1], default_initializer=nn.initializer.Constant(0.0))

    def forward(self, x: Any) -> Any:
        return self.scale * x + self.shift


class Branches(nn.Layer):
    """PP-LCNetV3's layer as it is trained: four convolutions, a pointwise one and the identity, summed, scaled and activated."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: Stride, groups: int) -> None:
        super().__init__()
        self.many = nn.LayerList([conv(inputs, outputs, kernel, stride, groups, "") for _ in range(4)])
        self.point = conv(inputs, outputs, 1, stride, groups, "") if kernel > 1 else None
        self.same = nn.BatchNorm2D(inputs) if inputs == outputs and stride == 1 else None
        self.scaled = Affine()
        self.act = nn.Sequential(nn.Hardswish(), Affine()) if stride != 2 else None

    def forward(self, x: Any) -> Any:
        found = self.many[0](x)
        for branch in (*self.many[1:], self.point, self.same):
            if branch is not None:
                found = found + branch(x)
        found = self.scaled(found)
        return found if self.act is None else self.act(found)


def branched(inputs: int, kernel: int, outputs: int, squeeze: int, stride: Stride) -> Any:
    return nn.Sequential(
        Branches(inputs, inputs, kernel, stride, inputs),
        *([Squeeze(inputs)] if squeeze else []),
        Branches(inputs, outputs, 1, 1, 1),
    )


class LCNet(nn.Layer):
    """`kind`: v1, v3 or enhanced. `strides`: of the stages; the last two of a recogniser may differ block by block."""

    def __init__(
        self,
        kind: str,
        scale: float,
        strides: Sequence[Stride] = (1, 2, 2, 2, 2),
        inner: dict[tuple[int, int], Stride] | None = None,
    ) -> None:
        super().__init__()
        table, block = {
            "v1": (LCNET, separable),
            "v3": (LCNET3, branched),
            "enhanced": (ENHANCED, separable),
        }[kind]
        width = rounded((32 if kind == "enhanced" else 16) * scale)
        self.stem = conv(3, width, 3, 2, act="" if kind == "v3" else "hswish")
        stages, self.widths = [], []
        for number, (rows, stride) in enumerate(zip(table, strides, strict=True)):
            blocks = []
            for index, (kernel, outputs, squeeze) in enumerate(rows):
                own: Stride = (inner or {}).get((number, index), 1 if index else stride)
                blocks.append(block(width, kernel, rounded(outputs * scale), squeeze, own))
                width = rounded(outputs * scale)
            stages.append(nn.Sequential(*blocks))
            self.widths.append(width)
        self.stages, self.text = nn.LayerList(stages), inner is not None
        self.widths = self.widths[1:]

    def forward(self, x: Any) -> Any:
        x, found = self.stem(x), []
        for stage in self.stages:
            x = stage(x)
            found.append(x)
        return x if self.text else found[1:]


class Pooled(nn.Layer):
    """A recogniser's backbone and the pool that makes its map 1 high."""

    def __init__(self, body: Any, pool: Any) -> None:
        super().__init__()
        self.body, self.pool, self.widths = body, pool, body.widths

    def forward(self, x: Any) -> Any:
        return self.pool(self.body(x))


def lcnet_text(kind: str, scale: float) -> Any:
    """LCNet for lines of text: the enhanced one 32 high, v3 48 high."""
    if kind == "enhanced":
        body = LCNet(kind, scale, (1, 1, (2, 1), (2, 1), (2, 1)), {})
        return Pooled(body, nn.MaxPool2D(2, 2))
    body = LCNet(kind, scale, (1, 1, (2, 1), (1, 2), (2, 1)), {(4, 2): (2, 1)})
    return Pooled(body, nn.AvgPool2D((3, 2), (3, 2)))


# ---- PP-HGNet ------------------------------------------------------------------------------------------

# inputs, inner, outputs, blocks, light, kernel of each stage
HGNET = {
    "small": (
        (128, 128, 256, 1, 0, 3),
        (256, 160, 512, 1, 0, 3),
        (512, 192, 768, 2, 0, 3),
        (768, 224, 1024, 1, 0, 3),
    ),
    "b4": (
        (48, 48, 128, 1, 0, 3),
        (128, 96, 512, 1, 0, 3),
        (512, 192, 1024, 3, 1, 5),
        (1024, 384, 2048, 1, 1, 5),
    ),
}
HGNET_STEM = {"small": (64, 64, 128), "b4": (32, 32, 48)}


class HGBlock(nn.Layer):
    """Six convolutions one after the other; all that they give is put side by side and aggregated (v1 weighs its channels)."""

    def __init__(
        self, inputs: int, inner: int, outputs: int, light: int, kernel: int, same: bool, v2: bool
    ) -> None:
        super().__init__()
        self.same = same
        layers = []
        for index in range(6):
            start = inner if index else inputs
            if light:
                layers.append(
                    nn.Sequential(conv(start, inner, 1, act=""), conv(inner, inner, kernel, groups=inner))
                )
            else:
                layers.append(conv(start, inner, kernel))
        self.layers = nn.LayerList(layers)
        total = inputs + 6 * inner
        middle = outputs // 2 if v2 else outputs
        self.gather = nn.Sequential(conv(total, middle, 1), *([conv(middle, outputs, 1)] if v2 else []))
        self.weigh = None if v2 else nn.Conv2D(outputs, outputs, 1)

    def forward(self, x: Any) -> Any:
        found, y = [x], x
        for layer in self.layers:
            y = layer(y)
            found.append(y)
        y = self.gather(paddle.concat(found, 1))
        if self.weigh is not None:
            y = y * F.sigmoid(self.weigh(F.adaptive_avg_pool2d(y, 1)))
        return x + y if self.same else y


class HGNet(nn.Layer):
    """`size`: small (v1) or b4 (v2)."""

    def __init__(self, size: str, text: bool = False) -> None:
        super().__init__()
        v2 = size == "b4"
        first, second, third = HGNET_STEM[size]
        self.stem = nn.Sequential(
            conv(3, first, 3, 2), conv(first, second), conv(second, third),
            *([] if text else [nn.MaxPool2D(3, 2, 1)]),
        )  # fmt: skip
        strides: tuple[Stride, ...] = ((2, 1), (1, 2), (2, 1), (2, 1)) if text else (1, 2, 2, 2)
        if text and not v2:
            strides = ((2, 1), (2, 1), (1, 2), (2, 1))
        stages, self.widths = [], []
        for (inputs, inner, outputs, blocks, light, kernel), stride in zip(HGNET[size], strides, strict=True):
            parts = [] if stride == 1 else [conv(inputs, inputs, 3, stride, inputs, "")]
            for index in range(blocks):
                parts.append(
                    HGBlock(outputs if index else inputs, inner, outputs, light, kernel, bool(index), v2)
                )
            stages.append(nn.Sequential(*parts))
            self.widths.append(outputs)
        self.stages, self.text = nn.LayerList(stages), text

    def forward(self, x: Any) -> Any:
        found = levels(self.stages, self.stem(x))
        return F.avg_pool2d(found[-1], (3, 2), (3, 2)) if self.text else found


# ---- ResNet31 and ResNet45, of SAR and ABINet -------------------------------------------------------------


class Plain(nn.Layer):
    def __init__(self, inputs: int, width: int, stride: Stride = 1, first: int = 3) -> None:
        super().__init__()
        self.body = nn.Sequential(
            conv(inputs, width, first, stride if first == 1 else 1),
            conv(width, width, 3, 1 if first == 1 else stride, act=""),
        )
        self.short = conv(inputs, width, 1, stride, act="") if inputs != width or stride != 1 else None

    def forward(self, x: Any) -> Any:
        return F.relu(self.body(x) + (x if self.short is None else self.short(x)))


def resnet45() -> Any:
    """A line 32 high to 512 channels, 8 high and a quarter wide."""
    parts, width = [conv(3, 32)], 32
    for outputs, depth, stride in ((32, 3, 2), (64, 4, 1), (128, 6, 2), (256, 6, 1), (512, 3, 1)):
        for index in range(depth):
            parts.append(Plain(width, outputs, 1 if index else stride, 1))
            width = outputs
    return nn.Sequential(*parts)


def resnet31() -> Any:
    """A line 48 high to 512 channels, 6 high and a quarter wide."""
    parts, width = [conv(3, 64), conv(64, 128), nn.MaxPool2D(2, 2)], 128
    for outputs, depth, pool in ((256, 1, 2), (256, 2, (2, 1)), (512, 5, 0), (512, 3, 0)):
        for _ in range(depth):
            parts.append(Plain(width, outputs))
            width = outputs
        parts += [conv(width, width), *([nn.MaxPool2D(pool, pool)] if pool else [])]
    return nn.Sequential(*parts)
