"""Super-resolution: SRCNN, FSRCNN, ESPCN, VDSR, SRResNet, EDSR, RCAN, RDN, IMDN and the RRDB network of ESRGAN.

Sources: Dong 2014 and 2016, Shi 2016, Kim 2016, Ledig 2016, Lim 2017, Zhang 2018 (both), Hui 2019, Wang 2018. Pictures
[batch, channels, height, width] become [batch, channels, factor * height, factor * width]."""

from __future__ import annotations

from typing import Any

import paddle
from paddle import nn
from paddle.nn import functional as F


def conv(inputs: int, outputs: int, size: int = 3) -> Any:
    """A convolution that starts small: up to hundreds of blocks are added up, and nothing normalises them."""
    bound = (inputs * size * size) ** -0.5
    return nn.Conv2D(
        inputs, outputs, size, padding=size // 2, weight_attr=nn.initializer.Uniform(-bound, bound)
    )


def shuffled(width: int, factor: int, activation: Any = None) -> Any:
    """Up by `factor` (2, 3 or 4) with convolutions whose channels become points."""
    steps = [2, 2] if factor == 4 else [factor]
    layers: list[Any] = []
    for step in steps:
        layers += [conv(width, width * step * step), nn.PixelShuffle(step)]
        if activation is not None:
            layers.append(activation())
    return nn.Sequential(*layers)


class Enlarged(nn.Layer):
    """A network after the picture was enlarged (SRCNN), with VDSR's sum around it on request."""

    def __init__(self, factor: int, body: Any, around: bool) -> None:
        super().__init__()
        self.factor, self.body, self.around = factor, body, around

    def forward(self, x: Any) -> Any:
        x = F.interpolate(x, scale_factor=self.factor, mode="bicubic")
        return x + self.body(x) if self.around else self.body(x)


def srcnn(factor: int = 2) -> Any:
    body = nn.Sequential(conv(1, 64, 9), nn.ReLU(), conv(64, 32, 5), nn.ReLU(), conv(32, 1, 5))
    return Enlarged(factor, body, False)


def vdsr(factor: int = 2, depth: int = 20) -> Any:
    layers: list[Any] = [conv(1, 64), nn.ReLU()]
    for _ in range(depth - 2):
        layers += [conv(64, 64), nn.ReLU()]
    return Enlarged(factor, nn.Sequential(*layers, conv(64, 1)), True)


def fsrcnn(factor: int = 2, width: int = 56, narrow: int = 12, maps: int = 4) -> Any:
    layers: list[Any] = [conv(1, width, 5), nn.PReLU(width), conv(width, narrow, 1), nn.PReLU(narrow)]
    for _ in range(maps):
        layers += [conv(narrow, narrow), nn.PReLU(narrow)]
    layers += [conv(narrow, width, 1), nn.PReLU(width)]
    return nn.Sequential(*layers, nn.Conv2DTranspose(width, 1, 9, factor, 4, factor - 1))


def espcn(factor: int = 2) -> Any:
    return nn.Sequential(
        conv(1, 64, 5), nn.Tanh(), conv(64, 32), nn.Tanh(), conv(32, factor**2), nn.PixelShuffle(factor)
    )


class Attention(nn.Layer):
    """Weights the channels by what their means say (RCAN)."""

    def __init__(self, width: int, reduction: int = 16) -> None:
        super().__init__()
        self.gate = nn.Sequential(
            nn.AdaptiveAvgPool2D(1), nn.Conv2D(width, width // reduction, 1), nn.ReLU(),
            nn.Conv2D(width // reduction, width, 1), nn.Sigmoid(),
        )  # fmt: skip

    def forward(self, x: Any) -> Any:
        return x * self.gate(x)


class Residual(nn.Layer):
    """x + scale * body(x)"""

    def __init__(self, *layers: Any, scale: float = 1.0) -> None:
        super().__init__()
        self.body, self.scale = nn.Sequential(*layers), scale

    def forward(self, x: Any) -> Any:
        return x + self.body(x) * self.scale if self.scale != 1 else x + self.body(x)


def srresnet(factor: int = 4, blocks: int = 16, width: int = 64) -> Any:
    def block() -> Any:
        return Residual(
            conv(width, width), nn.BatchNorm2D(width), nn.PReLU(), conv(width, width), nn.BatchNorm2D(width)
        )

    body = Residual(*(block() for _ in range(blocks)), conv(width, width), nn.BatchNorm2D(width))
    return nn.Sequential(
        conv(3, width, 9), nn.PReLU(), body, shuffled(width, factor, nn.PReLU), conv(width, 3, 9)
    )


def edsr(factor: int = 2, blocks: int = 16, width: int = 64, scale: float = 1.0) -> Any:
    def block() -> Any:
        return Residual(conv(width, width), nn.ReLU(), conv(width, width), scale=scale)

    body = Residual(*(block() for _ in range(blocks)), conv(width, width))
    return nn.Sequential(conv(3, width), body, shuffled(width, factor), conv(width, 3))


def rcan(factor: int = 2, groups: int = 10, blocks: int = 20, width: int = 64) -> Any:
    def block() -> Any:
        return Residual(conv(width, width), nn.ReLU(), conv(width, width), Attention(width))

    def group() -> Any:
        return Residual(*(block() for _ in range(blocks)), conv(width, width))

    body = Residual(*(group() for _ in range(groups)), conv(width, width))
    return nn.Sequential(conv(3, width), body, shuffled(width, factor), conv(width, 3))


class Dense(nn.Layer):
    """Convolutions that see all results before them, then one that joins them (RDN, RRDB); the sum is around it."""

    def __init__(
        self, width: int, growth: int, layers: int, last: int, activation: Any, scale: float = 1.0
    ) -> None:
        super().__init__()
        self.parts = nn.LayerList([conv(width + i * growth, growth) for i in range(layers)])
        self.last, self.activation, self.scale = conv(width + layers * growth, width, last), activation, scale

    def forward(self, x: Any) -> Any:
        seen = x
        for part in self.parts:
            seen = paddle.concat([seen, self.activation(part(seen))], 1)
        return x + self.last(seen) * self.scale


class RDN(nn.Layer):
    def __init__(self, factor: int = 2, blocks: int = 16, layers: int = 8, width: int = 64) -> None:
        super().__init__()
        self.first, self.second = conv(3, width), conv(width, width)
        self.blocks = nn.LayerList([Dense(width, width, layers, 1, nn.ReLU()) for _ in range(blocks)])
        self.joined = nn.Sequential(conv(width * blocks, width, 1), conv(width, width))
        self.end = nn.Sequential(shuffled(width, factor), conv(width, 3))

    def forward(self, x: Any) -> Any:
        start = self.first(x)
        y, seen = self.second(start), []
        for block in self.blocks:
            y = block(y)
            seen.append(y)
        return self.end(self.joined(paddle.concat(seen, 1)) + start)


class RRDBNet(nn.Layer):
    """ESRGAN's generator; up by 4."""

    def __init__(self, blocks: int = 23, width: int = 64, growth: int = 32) -> None:
        super().__init__()

        def dense() -> Any:
            return Dense(width, growth, 4, 3, nn.LeakyReLU(0.2), 0.2)

        trunk = (Residual(dense(), dense(), dense(), scale=0.2) for _ in range(blocks))
        self.first, self.body = conv(3, width), Residual(*trunk, conv(width, width))
        self.up = nn.LayerList([conv(width, width), conv(width, width)])
        self.end = nn.Sequential(conv(width, width), nn.LeakyReLU(0.2), conv(width, 3))

    def forward(self, x: Any) -> Any:
        y = self.body(self.first(x))
        for up in self.up:
            y = F.leaky_relu(up(F.interpolate(y, scale_factor=2, mode="nearest")), 0.2)
        return self.end(y)


class Distilled(nn.Layer):
    """IMDN's block: a quarter of the channels leaves after each convolution; contrast weights what is left."""

    def __init__(self, width: int) -> None:
        super().__init__()
        keep = width // 4
        self.keep, self.rest = keep, width - keep
        self.first, self.middle = (
            conv(width, width),
            nn.LayerList([conv(self.rest, width), conv(self.rest, width)]),
        )
        self.last, self.joined = conv(self.rest, keep), conv(keep * 4, width, 1)
        self.gate = nn.Sequential(
            nn.Conv2D(width, width // 16, 1), nn.ReLU(), nn.Conv2D(width // 16, width, 1), nn.Sigmoid()
        )

    def forward(self, x: Any) -> Any:
        kept, y = [], F.leaky_relu(self.first(x), 0.05)
        for part in self.middle:
            out, y = paddle.split(y, [self.keep, self.rest], 1)
            kept.append(out)
            y = F.leaky_relu(part(y), 0.05)
        out, y = paddle.split(y, [self.keep, self.rest], 1)
        y = paddle.concat([*kept, out, self.last(y)], 1)
        mean = y.mean([2, 3], keepdim=True)
        contrast = paddle.sqrt(((y - mean) ** 2).mean([2, 3], keepdim=True) + 1e-8) + mean
        return self.joined(y * self.gate(contrast)) + x


class IMDN(nn.Layer):
    def __init__(self, factor: int = 2, blocks: int = 6, width: int = 64) -> None:
        super().__init__()
        self.first, self.blocks = conv(3, width), nn.LayerList([Distilled(width) for _ in range(blocks)])
        self.joined = nn.Sequential(conv(width * blocks, width, 1), nn.LeakyReLU(0.05), conv(width, width))
        self.end = nn.Sequential(conv(width, 3 * factor**2), nn.PixelShuffle(factor))

    def forward(self, x: Any) -> Any:
        start = self.first(x)
        y, seen = start, []
        for block in self.blocks:
            y = block(y)
            seen.append(y)
        return self.end(self.joined(paddle.concat(seen, 1)) + start)
