"""Networks of diffusion models: the U-Net of DDPM and of latent diffusion, DiT and U-ViT.

Sources: Ho 2020 (DDPM), Rombach 2022 (latent diffusion), Peebles 2022 (DiT), Bao 2022 (U-ViT)."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import paddle
from paddle import nn
from paddle.nn import functional as F


def group_norm(width: int) -> Any:
    return nn.GroupNorm(32, width, epsilon=1e-6)


def times(steps: Any, width: int) -> Any:
    """Steps [batch] i64 as sines and cosines [batch, width] of falling frequencies."""
    half = width // 2
    frequencies = paddle.exp(paddle.arange(half, dtype="float32") * (-math.log(10000.0) / half))
    angles = steps.astype("float32").unsqueeze(1) * frequencies.unsqueeze(0)
    return paddle.concat([paddle.cos(angles), paddle.sin(angles)], 1)


class ResidualBlock(nn.Layer):
    """Two convolutions, each after GroupNorm and SiLU; `time`: the width of what tells the step, 0 for none."""

    def __init__(self, inputs: int, outputs: int, time: int = 0) -> None:
        super().__init__()
        self.first = nn.Sequential(group_norm(inputs), nn.Silu(), nn.Conv2D(inputs, outputs, 3, padding=1))
        self.second = nn.Sequential(group_norm(outputs), nn.Silu(), nn.Conv2D(outputs, outputs, 3, padding=1))
        self.time = nn.Linear(time, outputs) if time else None
        self.short = nn.Conv2D(inputs, outputs, 1) if inputs != outputs else None

    def forward(self, x: Any, time: Any = None) -> Any:
        y = self.first(x)
        if self.time is not None:
            y = y + self.time(F.silu(time)).unsqueeze(-1).unsqueeze(-1)
        return self.second(y) + (x if self.short is None else self.short(x))


def attended(joined: Any, heads: int) -> Any:
    """Attention of queries, keys and values [batch, length, 3 * width], by heads: [batch, length, width]."""
    query, key, value = paddle.chunk(joined, 3, -1)

    def parted(x: Any) -> Any:
        return x.reshape([x.shape[0], -1, heads, x.shape[-1] // heads])

    found = F.scaled_dot_product_attention(parted(query), parted(key), parted(value))
    return found.reshape([found.shape[0], -1, query.shape[-1]])


class AttentionBlock(nn.Layer):
    """Each point of [batch, width, height, width] attends to all."""

    def __init__(self, width: int, heads: int = 1) -> None:
        super().__init__()
        self.heads, self.norm = heads, group_norm(width)
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)

    def forward(self, x: Any) -> Any:
        flat = self.norm(x).flatten(2).transpose([0, 2, 1])
        found = self.out(attended(self.qkv(flat), self.heads))
        return x + found.transpose([0, 2, 1]).reshape(x.shape)


class Downsample(nn.Layer):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv = nn.Conv2D(width, width, 3, 2, 1)

    def forward(self, x: Any) -> Any:
        return self.conv(x)


class Upsample(nn.Layer):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv = nn.Conv2D(width, width, 3, padding=1)

    def forward(self, x: Any) -> Any:
        return self.conv(F.interpolate(x, scale_factor=2, mode="nearest"))


class DiffusionUNet(nn.Layer):
    """A noisy picture [batch, channels, size, size] and its step [batch] i64 to the noise in it.

    `factors`: widths of the levels; `attention`: on which levels points attend to each other; `heads`: width of a head, 0 for one."""

    def __init__(
        self,
        width: int = 128,
        factors: tuple[int, ...] = (1, 2, 2, 2),
        blocks: int = 2,
        attention: tuple[int, ...] = (1,),
        channels: int = 3,
        head: int = 0,
    ) -> None:
        super().__init__()
        time = width * 4
        self.width = width
        self.time = nn.Sequential(nn.Linear(width, time), nn.Silu(), nn.Linear(time, time))
        self.start = nn.Conv2D(channels, width, 3, padding=1)

        def attending(level: int, wide: int) -> Any:
            return AttentionBlock(wide, wide // head if head else 1) if level in attention else nn.Identity()

        self.down, self.up = nn.LayerList(), nn.LayerList()
        kept, top = [width], width
        for level, factor in enumerate(factors):
            for _ in range(blocks):
                self.down.append(
                    nn.LayerList([ResidualBlock(top, width * factor, time), attending(level, width * factor)])
                )
                top = width * factor
                kept.append(top)
            if level + 1 < len(factors):
                self.down.append(nn.LayerList([Downsample(top)]))
                kept.append(top)
        middle = AttentionBlock(top, top // head if head else 1)
        self.middle = nn.LayerList([ResidualBlock(top, top, time), middle, ResidualBlock(top, top, time)])
        for level, factor in reversed(list(enumerate(factors))):
            for _ in range(blocks + 1):
                self.up.append(
                    nn.LayerList(
                        [
                            ResidualBlock(top + kept.pop(), width * factor, time),
                            attending(level, width * factor),
                        ]
                    )
                )
                top = width * factor
            if level:
                self.up.append(nn.LayerList([Upsample(top)]))
        self.end = nn.Sequential(group_norm(top), nn.Silu(), nn.Conv2D(top, channels, 3, padding=1))

    def forward(self, x: Any, steps: Any) -> Any:
        time = self.time(times(steps, self.width))
        y = self.start(x)
        kept = [y]
        for part in self.down:
            y = part[0](y) if len(part) == 1 else part[1](part[0](y, time))
            kept.append(y)
        y = self.middle[2](self.middle[1](self.middle[0](y, time)), time)
        for part in self.up:
            y = part[0](y) if len(part) == 1 else part[1](part[0](paddle.concat([y, kept.pop()], 1), time))
        return self.end(y)


# ---- transformers ----------------------------------------------------------------------------------------


def grid_positions(width: int, side: int) -> np.ndarray:
    """Sines and cosines of the places of a side x side grid, [1, side * side, width] f32."""
    quarter = width // 4
    frequencies = 1.0 / 10000 ** (np.arange(quarter) / quarter)
    places = np.stack(np.meshgrid(np.arange(side), np.arange(side)), -1).reshape(-1, 2)
    angles = places[:, :, None] * frequencies
    return (
        np.concatenate([np.sin(angles), np.cos(angles)], -1).reshape(1, side * side, width).astype(np.float32)
    )


class DiTBlock(nn.Layer):
    """Attention and a feed-forward, each shifted, scaled and gated by the condition (adaLN-Zero)."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norms = nn.LayerList(
            [nn.LayerNorm(width, 1e-6, weight_attr=False, bias_attr=False) for _ in range(2)]
        )
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.wide, self.narrow = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)
        self.condition = nn.Linear(width, 6 * width)

    def forward(self, x: Any, condition: Any) -> Any:
        parts = paddle.chunk(self.condition(F.silu(condition)).unsqueeze(1), 6, -1)
        y = self.norms[0](x) * (1 + parts[1]) + parts[0]
        x = x + parts[2] * self.out(attended(self.qkv(y), self.heads))
        y = self.norms[1](x) * (1 + parts[4]) + parts[3]
        return x + parts[5] * self.narrow(F.gelu(self.wide(y), approximate=True))


class DiT(nn.Layer):
    """Noisy latents [batch, 4, side, side], step [batch] i64 and class [batch] i64 to noise and variance [batch, 8, side, side].

    Gates start at random and not at zero as published, so that a model that has not learnt is more than the identity."""

    def __init__(
        self, width: int, layers: int, heads: int, patch: int, side: int = 32, classes: int = 1000
    ) -> None:
        super().__init__()
        self.patch, self.side = patch, side // patch
        self.patches = nn.Conv2D(4, width, patch, patch)
        self.register_buffer("places", paddle.to_tensor(grid_positions(width, self.side)))
        self.time = nn.Sequential(nn.Linear(256, width), nn.Silu(), nn.Linear(width, width))
        self.label = nn.Embedding(classes + 1, width)
        self.blocks = nn.LayerList([DiTBlock(width, heads) for _ in range(layers)])
        self.norm = nn.LayerNorm(width, 1e-6, weight_attr=False, bias_attr=False)
        self.condition, self.end = nn.Linear(width, 2 * width), nn.Linear(width, patch * patch * 8)

    def forward(self, x: Any, steps: Any, label: Any) -> Any:
        y = self.patches(x).flatten(2).transpose([0, 2, 1]) + self.places
        condition = self.time(times(steps, 256)) + self.label(label)
        for block in self.blocks:
            y = block(y, condition)
        shift, scale = paddle.chunk(self.condition(F.silu(condition)).unsqueeze(1), 2, -1)
        y = self.end(self.norm(y) * (1 + scale) + shift)
        y = y.reshape([-1, self.side, self.side, self.patch, self.patch, 8]).transpose([0, 5, 1, 3, 2, 4])
        return y.reshape([-1, 8, self.side * self.patch, self.side * self.patch])


class UViTBlock(nn.Layer):
    def __init__(self, width: int, heads: int, joins: bool) -> None:
        super().__init__()
        self.heads, self.join = heads, nn.Linear(2 * width, width) if joins else None
        self.norms = nn.LayerList([nn.LayerNorm(width), nn.LayerNorm(width)])
        self.qkv, self.out = nn.Linear(width, 3 * width, bias_attr=False), nn.Linear(width, width)
        self.wide, self.narrow = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x: Any, kept: Any = None) -> Any:
        if self.join is not None:
            x = self.join(paddle.concat([x, kept], -1))
        x = x + self.out(attended(self.qkv(self.norms[0](x)), self.heads))
        return x + self.narrow(F.gelu(self.wide(self.norms[1](x))))


class UViT(nn.Layer):
    """A noisy picture [batch, channels, size, size] and its step [batch] i64 to the noise in it; the step is a token too."""

    def __init__(self, width: int, layers: int, heads: int, patch: int, size: int, channels: int) -> None:
        super().__init__()
        self.patch, self.side, self.channels, self.width = patch, size // patch, channels, width
        self.patches = nn.Conv2D(channels, width, patch, patch)
        normal = nn.initializer.Normal(std=0.02)
        self.places = self.create_parameter([1, self.side**2 + 1, width], default_initializer=normal)
        half = layers // 2
        self.down = nn.LayerList([UViTBlock(width, heads, False) for _ in range(half)])
        self.middle = UViTBlock(width, heads, False)
        self.up = nn.LayerList([UViTBlock(width, heads, True) for _ in range(half)])
        self.norm, self.end = nn.LayerNorm(width), nn.Linear(width, patch * patch * channels)
        self.last = nn.Conv2D(channels, channels, 3, padding=1)

    def forward(self, x: Any, steps: Any) -> Any:
        y = self.patches(x).flatten(2).transpose([0, 2, 1])
        y = paddle.concat([times(steps, self.width).unsqueeze(1), y], 1) + self.places
        kept = []
        for block in self.down:
            y = block(y)
            kept.append(y)
        y = self.middle(y)
        for block in self.up:
            y = block(y, kept.pop())
        y = self.end(self.norm(y))[:, 1:]
        y = y.reshape([-1, self.side, self.side, self.patch, self.patch, self.channels]).transpose(
            [0, 5, 1, 3, 2, 4]
        )
        return self.last(y.reshape([-1, self.channels, self.side * self.patch, self.side * self.patch]))
