"""Generators and discriminators: DCGAN, WGAN-GP, Pix2Pix, CycleGAN, SRGAN.

Sources: Radford 2015 (DCGAN), Gulrajani 2017 (WGAN-GP), Isola 2016 (Pix2Pix, PatchGAN), Zhu 2017 (CycleGAN), Ledig 2016 (SRGAN)."""

from __future__ import annotations

from typing import Any

import paddle
from paddle import nn
from paddle.nn import functional as F


def dcgan_generator(noise: int = 100, width: int = 64, channels: int = 3) -> Any:
    """Noise [batch, noise, 1, 1] to pictures [batch, channels, 64, 64] in -1..1."""
    layers: list[Any] = [
        nn.Conv2DTranspose(noise, width * 8, 4, 1, 0, bias_attr=False),
        nn.BatchNorm2D(width * 8),
        nn.ReLU(),
    ]
    for factor in (4, 2, 1):
        layers += [nn.Conv2DTranspose(width * factor * 2, width * factor, 4, 2, 1, bias_attr=False)]
        layers += [nn.BatchNorm2D(width * factor), nn.ReLU()]
    return nn.Sequential(*layers, nn.Conv2DTranspose(width, channels, 4, 2, 1, bias_attr=False), nn.Tanh())


def dcgan_discriminator(width: int = 64, channels: int = 3) -> Any:
    """Pictures [batch, channels, 64, 64] to one score each [batch, 1, 1, 1]."""
    layers: list[Any] = [nn.Conv2D(channels, width, 4, 2, 1, bias_attr=False), nn.LeakyReLU(0.2)]
    for factor in (1, 2, 4):
        layers += [nn.Conv2D(width * factor, width * factor * 2, 4, 2, 1, bias_attr=False)]
        layers += [nn.BatchNorm2D(width * factor * 2), nn.LeakyReLU(0.2)]
    return nn.Sequential(*layers, nn.Conv2D(width * 8, 1, 4, 1, 0, bias_attr=False))


# ---- WGAN-GP: residual networks of 32 x 32 ---------------------------------------------------------------


class WganBlock(nn.Layer):
    """Two convolutions beside a short cut; `scale`: 2 doubles the extents, -2 halves them."""

    def __init__(self, inputs: int, outputs: int, scale: int, norm: bool) -> None:
        super().__init__()
        self.scale = scale
        self.first, self.second = (
            nn.Conv2D(inputs, outputs, 3, padding=1),
            nn.Conv2D(outputs, outputs, 3, padding=1),
        )
        self.short = nn.Conv2D(inputs, outputs, 1) if inputs != outputs or scale != 1 else None
        self.norms = nn.LayerList([nn.BatchNorm2D(inputs), nn.BatchNorm2D(outputs)] if norm else [])

    def scaled(self, x: Any) -> Any:
        if self.scale == 2:
            return F.interpolate(x, scale_factor=2, mode="nearest")
        return F.avg_pool2d(x, 2) if self.scale == -2 else x

    def forward(self, x: Any) -> Any:
        y = F.relu(self.norms[0](x) if len(self.norms) else x)
        y = self.first(self.scaled(y) if self.scale == 2 else y)
        y = self.second(F.relu(self.norms[1](y) if len(self.norms) else y))
        y = self.scaled(y) if self.scale == -2 else y
        short = self.scaled(x)
        return y + (short if self.short is None else self.short(short))


class WganGenerator(nn.Layer):
    """Noise [batch, 128] to pictures [batch, 3, 32, 32] in -1..1."""

    def __init__(self, width: int = 128) -> None:
        super().__init__()
        self.width, self.start = width, nn.Linear(128, width * 16)
        self.blocks = nn.Sequential(*(WganBlock(width, width, 2, True) for _ in range(3)))
        self.end = nn.Sequential(
            nn.BatchNorm2D(width), nn.ReLU(), nn.Conv2D(width, 3, 3, padding=1), nn.Tanh()
        )

    def forward(self, noise: Any) -> Any:
        return self.end(self.blocks(self.start(noise).reshape([-1, self.width, 4, 4])))


class WganCritic(nn.Layer):
    """Pictures [batch, 3, 32, 32] to one score each [batch, 1]."""

    def __init__(self, width: int = 128) -> None:
        super().__init__()
        sizes = ((3, -2), (width, -2), (width, 1), (width, 1))
        self.blocks = nn.Sequential(*(WganBlock(inputs, width, scale, False) for inputs, scale in sizes))
        self.end = nn.Linear(width, 1)

    def forward(self, x: Any) -> Any:
        return self.end(F.relu(self.blocks(x)).mean([2, 3]))


# ---- pictures to pictures --------------------------------------------------------------------------------


class UNetLevel(nn.Layer):
    """One level of Pix2Pix's U-Net around the levels below it."""

    def __init__(self, outer: int, inner: int, below: Any, inputs: int | None = None) -> None:
        super().__init__()
        outermost, innermost = inputs is not None, below is None
        down: list[Any] = [nn.Conv2D(inputs or outer, inner, 4, 2, 1, bias_attr=None if outermost else False)]
        if not outermost:
            down.insert(0, nn.LeakyReLU(0.2))
        if not outermost and not innermost:
            down.append(nn.BatchNorm2D(inner))
        up: list[Any] = [nn.ReLU(), nn.Conv2DTranspose(inner if innermost else inner * 2, outer, 4, 2, 1)]
        up.append(nn.Tanh() if outermost else nn.BatchNorm2D(outer))
        self.outermost, self.down, self.below, self.up = (
            outermost,
            nn.Sequential(*down),
            below,
            nn.Sequential(*up),
        )

    def forward(self, x: Any) -> Any:
        y = self.down(x)
        y = self.up(y if self.below is None else self.below(y))
        return y if self.outermost else paddle.concat([x, y], 1)


def pix2pix_generator(levels: int = 8, width: int = 64) -> Any:
    """Pictures [batch, 3, 2^levels, 2^levels] to pictures of the same extents in -1..1."""
    level = UNetLevel(width * 8, width * 8, None)
    for _ in range(levels - 5):
        level = UNetLevel(width * 8, width * 8, level)
    for factor in (4, 2, 1):
        level = UNetLevel(width * factor, width * factor * 2, level)
    return UNetLevel(3, width, level, 3)


def patch_discriminator(channels: int = 6, width: int = 64, layers: int = 3) -> Any:
    """Pairs of pictures [batch, channels, height, width] to a score of each patch."""
    parts: list[Any] = [nn.Conv2D(channels, width, 4, 2, 1), nn.LeakyReLU(0.2)]
    inputs = width
    for level in range(1, layers + 1):
        outputs = width * min(2**level, 8)
        parts += [nn.Conv2D(inputs, outputs, 4, 1 if level == layers else 2, 1, bias_attr=False)]
        parts += [nn.BatchNorm2D(outputs), nn.LeakyReLU(0.2)]
        inputs = outputs
    return nn.Sequential(*parts, nn.Conv2D(inputs, 1, 4, 1, 1))


class CycleBlock(nn.Layer):
    def __init__(self, width: int) -> None:
        super().__init__()
        half = (nn.Pad2D(1, "reflect"), nn.Conv2D(width, width, 3), nn.InstanceNorm2D(width))
        other = (nn.Pad2D(1, "reflect"), nn.Conv2D(width, width, 3), nn.InstanceNorm2D(width))
        self.body = nn.Sequential(*half, nn.ReLU(), *other)

    def forward(self, x: Any) -> Any:
        return x + self.body(x)


def cyclegan_generator(blocks: int = 9, width: int = 64) -> Any:
    """Pictures [batch, 3, height, width] to pictures of the same extents in -1..1; extents are multiples of 4."""
    layers: list[Any] = [nn.Pad2D(3, "reflect"), nn.Conv2D(3, width, 7), nn.InstanceNorm2D(width), nn.ReLU()]
    for factor in (1, 2):
        layers += [
            nn.Conv2D(width * factor, width * factor * 2, 3, 2, 1),
            nn.InstanceNorm2D(width * factor * 2),
            nn.ReLU(),
        ]
    layers += [CycleBlock(width * 4) for _ in range(blocks)]
    for factor in (2, 1):
        layers += [nn.Conv2DTranspose(width * factor * 2, width * factor, 3, 2, 1, 1)]
        layers += [nn.InstanceNorm2D(width * factor), nn.ReLU()]
    return nn.Sequential(*layers, nn.Pad2D(3, "reflect"), nn.Conv2D(width, 3, 7), nn.Tanh())


class SrganDiscriminator(nn.Layer):
    """Pictures [batch, 3, size, size] to one score each [batch, 1]; size is a multiple of 16."""

    def __init__(self, size: int = 96, width: int = 64) -> None:
        super().__init__()
        layers: list[Any] = [nn.Conv2D(3, width, 3, padding=1), nn.LeakyReLU(0.2)]
        inputs = width
        for outputs, stride in ((1, 2), (2, 1), (2, 2), (4, 1), (4, 2), (8, 1), (8, 2)):
            layers += [
                nn.Conv2D(inputs, width * outputs, 3, stride, 1),
                nn.BatchNorm2D(width * outputs),
                nn.LeakyReLU(0.2),
            ]
            inputs = width * outputs
        self.features = nn.Sequential(*layers)
        last = width * 8 * (size // 16) ** 2
        self.head = nn.Sequential(nn.Linear(last, 1024), nn.LeakyReLU(0.2), nn.Linear(1024, 1))

    def forward(self, x: Any) -> Any:
        return self.head(self.features(x).flatten(1))
