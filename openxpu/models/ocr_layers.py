"""OCR: detectors of text (DB, EAST, PSE, FCE), recognisers of lines (CTC, attention, transformers), classifiers, tables.

Sources: Liao 2020 (DB) and 2022 (DB++), Zhou 2017 (EAST), Wang 2019 (PSE), Zhu 2021 (FCE), Shi 2015 (CRNN), Borisyuk 2018
(Rosetta), Liu 2016 (STAR-Net), Shi 2016 (RARE), Li 2019 (SAR), Sheng 2019 (NRTR), Fang 2021 (ABINet), Atienza 2021 (ViTSTR),
Bautista 2022 (PARSeq), Du 2022 (SVTR), Li 2022 (PP-OCRv3, SLANet)."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import paddle
from paddle import nn
from paddle.nn import functional as F

from openxpu.models import ocr_backbones as backbones
from openxpu.models.language import Shape
from openxpu.models.language_layers import Attention, FeedForward, Stack, places
from openxpu.models.ocr_backbones import Squeeze, conv


def doubled(x: Any, times: int = 2) -> Any:
    return F.interpolate(x, scale_factor=times, mode="nearest")


def transformer(
    width: int,
    layers: int,
    heads: int,
    inner: int,
    causal: bool = False,
    cross: bool = False,
    before: bool = True,
    act: str = "gelu",
) -> Any:
    """Blocks of attention [batch, length, width]; positions are added by who calls."""
    return Stack(
        Shape("encoder", 1, width, layers, heads, inner, before=before, activation=act), causal, cross
    )


class Positions(nn.Layer):
    """Adds a learned table to [batch, length, width]."""

    def __init__(self, length: int, width: int) -> None:
        super().__init__()
        self.table = self.create_parameter(
            [1, length, width], default_initializer=nn.initializer.TruncatedNormal(std=0.02)
        )

    def forward(self, x: Any) -> Any:
        return x + self.table


def waves(x: Any) -> Any:
    """Sines and cosines of the positions of x [batch, length, width] (Vaswani 2017): [1, length, width]."""
    width = x.shape[-1]
    step = paddle.exp(paddle.arange(0, width, 2, dtype="float32") * (-np.log(10000.0) / width))
    angle = places(paddle.ones_like(x[:1, :, 0])).astype("float32").unsqueeze(-1) * step
    return paddle.concat([paddle.sin(angle), paddle.cos(angle)], -1)


# ---- detection -----------------------------------------------------------------------------------------


class Pyramid(nn.Layer):
    """From maps at 1/4 to 1/32 to one of `width` channels at 1/4. `kind`: plain (DB), squeezed (RSE-FPN), large (LK-PAN)."""

    def __init__(self, inputs: Sequence[int], width: int, kind: str = "plain") -> None:
        super().__init__()
        self.kind, part = kind, width // 4
        side = [nn.Conv2D(i, width, 1, bias_attr=False) for i in inputs]
        kernel, middle = (9, part) if kind == "large" else (3, part)
        out: list[Any] = [
            nn.Conv2D(width, middle, kernel, padding=kernel // 2, bias_attr=False) for _ in inputs
        ]
        self.squeezes: Any = None
        if kind == "squeezed":
            self.squeezes = nn.LayerList(
                [*(Squeeze(width) for _ in inputs), *(Squeeze(middle) for _ in inputs)]
            )
        if kind == "large":
            self.down = nn.LayerList([nn.Conv2D(part, part, 3, 2, 1, bias_attr=False) for _ in inputs[1:]])
            self.lateral = nn.LayerList(
                [nn.Conv2D(part, part, 9, padding=4, bias_attr=False) for _ in inputs]
            )
        self.side, self.out = nn.LayerList(side), nn.LayerList(out)

    def _squeezed(self, x: Any, index: int) -> Any:
        return x if self.squeezes is None else x + self.squeezes[index](x)

    def forward(self, maps: Any) -> Any:
        level = [self._squeezed(side(maps[i]), i) for i, side in enumerate(self.side)]
        for i in (2, 1, 0):
            level[i] = level[i] + doubled(level[i + 1])
        level = [self._squeezed(out(level[i]), i + 4) for i, out in enumerate(self.out)]
        if self.kind == "large":
            for i in (1, 2, 3):
                level[i] = level[i] + self.down[i - 1](level[i - 1])
            level = [lateral(level[i]) for i, lateral in enumerate(self.lateral)]
        return paddle.concat([doubled(m, 1 << i) if i else m for i, m in enumerate(level)][::-1], 1)


class ScaleFusion(nn.Layer):
    """DB++: how much each of the four scales counts at each place."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.mix = nn.Conv2D(width, width // 4, 3, padding=1)
        self.channel = nn.Sequential(
            nn.Conv2D(width // 4, width // 16, 1, bias_attr=False),
            nn.ReLU(),
            nn.Conv2D(width // 16, width // 4, 1, bias_attr=False),
        )
        self.place = nn.Sequential(
            nn.Conv2D(1, 1, 3, padding=1, bias_attr=False), nn.ReLU(), nn.Conv2D(1, 1, 1, bias_attr=False)
        )
        self.weigh = nn.Conv2D(width // 4, 4, 1, bias_attr=False)

    def forward(self, x: Any) -> Any:
        mixed = self.mix(x)
        mixed = mixed + F.sigmoid(self.channel(F.adaptive_avg_pool2d(mixed, 1)))
        mixed = mixed + F.sigmoid(self.place(mixed.mean(1, keepdim=True)))
        weights = F.sigmoid(self.weigh(mixed))
        return paddle.concat(
            [part * weights[:, i : i + 1] for i, part in enumerate(paddle.chunk(x, 4, 1))], 1
        )


class Binarisation(nn.Layer):
    """The head of DB: where text is, the threshold, and the soft step between both (k = 50): [batch, 3, height, width]."""

    def __init__(self, width: int, local: bool) -> None:
        super().__init__()

        def branch() -> Any:
            part = width // 4
            return nn.Sequential(
                conv(width, part), nn.Conv2DTranspose(part, part, 2, 2), nn.BatchNorm2D(part), nn.ReLU(),
                nn.Conv2DTranspose(part, 1, 2, 2), nn.Sigmoid(),
            )  # fmt: skip

        self.shrunk, self.threshold = branch(), branch()
        # PP-OCRv4's server: a second look at what the last but one layer saw.
        self.local = (
            nn.Sequential(conv(width // 4 + 1, width // 4), nn.Conv2D(width // 4, 1, 1)) if local else None
        )

    def forward(self, x: Any) -> Any:
        if self.local is None:
            shrunk = self.shrunk(x)
        else:
            inner = doubled(self.shrunk[:4](x))
            base = self.shrunk[4:](self.shrunk[:4](x))
            shrunk = 0.5 * (base + F.sigmoid(self.local(paddle.concat([base, inner], 1))))
        if not self.training:
            return shrunk
        threshold = self.threshold(x)
        return paddle.concat([shrunk, threshold, F.sigmoid(50 * (shrunk - threshold))], 1)


class East(nn.Layer):
    """EAST: scores and the geometry of a quadrangle at a quarter of the extent, [batch, 9, height / 4, width / 4]."""

    def __init__(self, body: Any, large: bool) -> None:
        super().__init__()
        self.body = body
        widths = [128] * 4 if large else [64] * 4
        self.side = nn.LayerList([conv(i, w) for i, w in zip(body.widths, widths, strict=True)])
        self.merge = nn.LayerList([conv(2 * w, w) for w in widths[:3]])
        self.out = nn.Sequential(conv(widths[0], widths[0]), conv(widths[0], 64))
        self.score, self.geometry = nn.Conv2D(64, 1, 1), nn.Conv2D(64, 8, 1)

    def forward(self, x: Any) -> Any:
        maps = self.body(x)
        maps = [side(maps[i]) for i, side in enumerate(self.side)]
        y = maps[3]
        for i in (2, 1, 0):
            y = self.merge[i](paddle.concat([doubled(y), maps[i]], 1))
        y = self.out(y)
        return paddle.concat([F.sigmoid(self.score(y)), (F.sigmoid(self.geometry(y)) - 0.5) * 2], 1)


class Kernels(nn.Layer):
    """PSE: seven kernels of the text, from the whole to the smallest, [batch, 7, height, width]."""

    def __init__(self, body: Any) -> None:
        super().__init__()
        self.body, self.neck = body, Pyramid(body.widths, 1024 if body.widths[-1] > 1000 else 256)
        width = 1024 if body.widths[-1] > 1000 else 256
        self.head = nn.Sequential(conv(width, 256), nn.Conv2D(256, 7, 1))

    def forward(self, x: Any) -> Any:
        return F.interpolate(F.sigmoid(self.head(self.neck(self.body(x)))), scale_factor=4, mode="bilinear")


class Fourier(nn.Layer):
    """FCE: for each of three levels 4 class maps and 22 coefficients of a contour of degree 5."""

    def __init__(self, body: Any) -> None:
        super().__init__()
        self.body = body
        self.side = nn.LayerList([nn.Conv2D(i, 256, 1) for i in body.widths[1:]])
        self.out = nn.LayerList([nn.Conv2D(256, 256, 3, padding=1) for _ in range(3)])
        self.classes, self.contour = nn.Conv2D(256, 4, 3, padding=1), nn.Conv2D(256, 22, 3, padding=1)

    def forward(self, x: Any) -> Any:
        maps = self.body(x)
        maps = [side(maps[i + 1]) for i, side in enumerate(self.side)]
        for i in (1, 0):
            maps[i] = maps[i] + doubled(maps[i + 1])
        maps = [out(maps[i]) for i, out in enumerate(self.out)]
        return [paddle.concat([F.sigmoid(self.classes(m)), self.contour(m)], 1) for m in maps]


# ---- recognition: necks and CTC --------------------------------------------------------------------------


def sequence(x: Any) -> Any:
    """[batch, width, 1, length] to [batch, length, width]."""
    return x.squeeze(2).transpose([0, 2, 1])


class Recurrent(nn.Layer):
    """Two bidirectional LSTM layers."""

    def __init__(self, inputs: int, width: int) -> None:
        super().__init__()
        self.lstm, self.width = nn.LSTM(inputs, width, 2, direction="bidirectional"), 2 * width

    def forward(self, x: Any) -> Any:
        return self.lstm(sequence(x))[0]


class Straight(nn.Layer):
    def __init__(self, inputs: int) -> None:
        super().__init__()
        self.width = inputs

    def forward(self, x: Any) -> Any:
        return sequence(x)


class Mixed(nn.Layer):
    """The neck of PP-OCRv3 and later: two global SVTR blocks between convolutions. `kernel`: (1, 3) in v4."""

    def __init__(
        self, inputs: int, width: int = 120, outputs: int = 64, kernel: int | tuple[int, int] = 3
    ) -> None:
        super().__init__()
        part = max(inputs // 8, 16)
        self.into = nn.Sequential(conv(inputs, part, kernel, act="swish"), conv(part, width, 1, act="swish"))
        self.blocks = transformer(width, 2, 8, 2 * width, act="silu")
        self.back = conv(width, inputs, 1, act="swish")
        self.out = nn.Sequential(
            conv(2 * inputs, part, kernel, act="swish"), conv(part, outputs, 1, act="swish")
        )
        self.width = outputs

    def forward(self, x: Any) -> Any:
        mixed = self.blocks(sequence(self.into(x))).transpose([0, 2, 1]).unsqueeze(2)
        return sequence(self.out(paddle.concat([x, self.back(mixed)], 1)))


class Ctc(nn.Layer):
    """Lines [batch, 3, height, width] to scores of characters at each place [batch, length, classes]; class 0 is the blank."""

    def __init__(self, body: Any, neck: Any, classes: int, middle: int = 0) -> None:
        super().__init__()
        self.body, self.neck = body, neck
        self.head = nn.Sequential(
            *([nn.Linear(neck.width, middle)] if middle else []), nn.Linear(middle or neck.width, classes)
        )

    def forward(self, x: Any) -> Any:
        return self.head(self.neck(self.body(x)))


class Guided(Ctc):
    """PP-OCRv4 and v5: beside CTC a small NRTR decoder reads the same features while it is trained (Li 2022, guided training)."""

    def __init__(self, body: Any, neck: Any, classes: int, inputs: int) -> None:
        super().__init__(body, neck, classes)
        self.into, self.words = nn.Linear(inputs, 384), nn.Embedding(classes, 384)
        self.decoder, self.guide = (
            transformer(384, 4, 12, 1536, True, True, before=False, act="relu"),
            nn.Linear(384, classes),
        )

    def forward(self, x: Any, target: Any = None) -> Any:
        features = self.body(x)
        found = self.head(self.neck(features))
        if not self.training:
            return found
        words = self.words(target)
        return found, self.guide(self.decoder(words + waves(words), self.into(sequence(features))))


class Rectifier(nn.Layer):
    """STAR-Net's thin-plate spline: 20 points on both edges of the line are found, and the line between them is straightened."""

    def __init__(self, points: int = 20, height: int = 32, width: int = 100) -> None:
        super().__init__()
        parts, inputs = [], 3
        for outputs in (64, 128, 256, 512):
            parts += [conv(inputs, outputs), nn.MaxPool2D(2, 2) if outputs < 512 else nn.AdaptiveAvgPool2D(1)]
            inputs = outputs
        half = np.linspace(-1, 1, points // 2)
        wanted = np.concatenate([np.stack([half, np.full_like(half, y)], 1) for y in (-1.0, 1.0)])
        last = nn.Linear(
            256,
            2 * points,
            nn.initializer.Constant(0.0),
            nn.initializer.Assign(wanted.reshape(-1).astype(np.float32)),
        )
        self.find = nn.Sequential(*parts, nn.Flatten(), nn.Linear(512, 256), nn.ReLU(), last)

        # What does not depend on the picture: from points to the grid of the straight line.
        def radial(a: Any, b: Any) -> Any:
            square = ((a[:, None] - b[None]) ** 2).sum(-1)
            return square * np.log(np.maximum(square, 1e-12)) / 2

        n = points
        system = np.zeros((n + 3, n + 3))
        system[:n, 0], system[:n, 1:3], system[:n, 3:] = 1, wanted, radial(wanted, wanted)
        system[n:, 3:] = np.concatenate([wanted.T, np.ones((1, n))])
        y, x = np.meshgrid(
            (np.arange(height) + 0.5) * 2 / height - 1,
            (np.arange(width) + 0.5) * 2 / width - 1,
            indexing="ij",
        )
        grid = np.stack([x.reshape(-1), y.reshape(-1)], 1)
        rows = np.concatenate([np.ones((len(grid), 1)), grid, radial(grid, wanted)], 1)
        self.register_buffer(
            "grid",
            paddle.to_tensor((rows @ np.linalg.inv(system)[:, :n]).astype(np.float32)),
            persistable=True,
        )
        self.points, self.extent = points, (height, width)

    def forward(self, x: Any) -> Any:
        points = self.find(x).reshape([-1, self.points, 2])
        grid = paddle.matmul(self.grid, points).reshape([-1, *self.extent, 2])
        # Paddle's CPU kernel of the gradient crashes for a picture that needs none: it gets one of zero.
        return F.grid_sample(x + 0.0 * points[:1, :1, :1].unsqueeze(-1), grid, align_corners=False)


class SvtrBlock(nn.Layer):
    """Attention over the whole map, or (`mask`) over the neighbourhood of each place; normalised after the sum."""

    def __init__(self, width: int, heads: int, mask: Any) -> None:
        super().__init__()
        shape = Shape("encoder", 1, width, 1, heads, 4 * width)
        self.attention, self.feed = Attention(shape, False), FeedForward(shape)
        self.norm1, self.norm2 = nn.LayerNorm(width, 1e-6), nn.LayerNorm(width, 1e-6)
        self.heads, self.near = heads, mask is not None
        if self.near:
            self.register_buffer("mask", paddle.to_tensor(mask), persistable=True)

    def local(self, x: Any) -> Any:
        own = self.attention
        q, k, v = (f(x).reshape([0, 0, self.heads, own.width]) for f in (own.q, own.k, own.v))
        return own.out(
            F.scaled_dot_product_attention(q, k, v, attn_mask=self.mask).reshape(
                [0, 0, self.heads * own.width]
            )
        )

    def forward(self, x: Any) -> Any:
        x = self.norm1(x + (self.local(x) if self.near else self.attention(x)))
        return self.norm2(x + self.feed(x))


class Svtr(nn.Layer):
    """SVTR on a line of 32 by 100: three stages of local and global mixing, then a pool to 25 places and CTC.

    `sizes`: (widths, depths, heads, number of local blocks, width of the result)."""

    def __init__(
        self, sizes: tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...], int, int], classes: int
    ) -> None:
        super().__init__()
        widths, depths, heads, local, outputs = sizes
        self.embed = nn.Sequential(
            conv(3, widths[0] // 2, 3, 2, act="gelu"), conv(widths[0] // 2, widths[0], 3, 2, act="gelu")
        )
        self.positions = Positions(8 * 25, widths[0])
        stages, merges, number, height = [], [], 0, 8
        for index, (width, depth, head) in enumerate(zip(widths, depths, heads, strict=True)):
            blocks = []
            for _ in range(depth):
                blocks.append(SvtrBlock(width, head, self.window(height, 25) if number < local else None))
                number += 1
            stages.append(nn.Sequential(*blocks))
            if index < 2:
                merges.append(nn.Conv2D(width, widths[index + 1], 3, (2, 1), 1))
                merges.append(nn.LayerNorm(widths[index + 1]))
                height //= 2
        self.stages, self.merges = nn.LayerList(stages), nn.LayerList(merges)
        self.last = nn.Sequential(
            nn.Linear(widths[2], outputs, bias_attr=False),
            nn.Hardswish(),
            nn.Dropout(0.1),
            nn.Linear(outputs, classes),
        )

    @staticmethod
    def window(height: int, width: int) -> Any:
        """-1e9 for each pair of places that are not within 7 by 11: [1, 1, places, places] f32."""
        y, x = (a.reshape(-1) for a in np.meshgrid(np.arange(height), np.arange(width), indexing="ij"))
        near = (abs(y[:, None] - y) <= 3) & (abs(x[:, None] - x) <= 5)
        return np.where(near, 0, -1e9).astype(np.float32)[None, None]

    def forward(self, x: Any) -> Any:
        x = self.positions(self.embed(x).flatten(2).transpose([0, 2, 1]))
        height = 8
        for index, stage in enumerate(self.stages):
            x = stage(x)
            if index < 2:
                picture = x.transpose([0, 2, 1]).reshape([0, x.shape[-1], height, 25])
                x = self.merges[2 * index + 1](
                    self.merges[2 * index](picture).flatten(2).transpose([0, 2, 1])
                )
                height //= 2
        return self.last(x.reshape([0, height, 25, x.shape[-1]]).mean(1))


# ---- recognition: attention and transformers --------------------------------------------------------------


class Reader(nn.Layer):
    """RARE's decoder: additive attention over the places before each character; the characters before are given."""

    def __init__(self, inputs: int, width: int, classes: int) -> None:
        super().__init__()
        self.keys, self.query, self.score = (
            nn.Linear(inputs, width, bias_attr=False),
            nn.Linear(width, width),
            nn.Linear(width, 1, bias_attr=False),
        )
        self.words, self.cell, self.head = (
            nn.Embedding(classes, width),
            nn.GRUCell(inputs + width, width),
            nn.Linear(width, classes),
        )

    def forward(self, memory: Any, target: Any) -> Any:
        keys, words = self.keys(memory), self.words(target)
        state = paddle.zeros_like(words[:, 0])
        found = []
        for step in range(target.shape[1]):
            weights = F.softmax(self.score(paddle.tanh(keys + self.query(state).unsqueeze(1))), 1)
            seen = (weights * memory).sum(1)
            state = self.cell(paddle.concat([seen, words[:, step]], 1), state)[0]
            found.append(self.head(state))
        return paddle.stack(found, 1)


class Rare(nn.Layer):
    def __init__(self, body: Any, classes: int, width: int = 256, rectified: bool = False) -> None:
        super().__init__()
        self.rectify = Rectifier() if rectified else nn.Identity()
        self.body, self.neck = body, Recurrent(body.widths[-1], width // 2)
        self.reader = Reader(width, width, classes)

    def forward(self, x: Any, target: Any) -> Any:
        return self.reader(self.neck(self.body(self.rectify(x))), target)


class Sar(nn.Layer):
    """SAR: an LSTM reads the columns, another one writes, looking at the whole map."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.body = backbones.resnet31()
        self.columns, self.whole = nn.LSTM(512, 512, 2), nn.Linear(512, 512)
        self.words, self.writer = nn.Embedding(classes, 512), nn.LSTM(512, 512, 2)
        self.query, self.keys, self.score = (
            nn.Linear(512, 512),
            nn.Conv2D(512, 512, 3, padding=1),
            nn.Linear(512, 1),
        )
        self.head = nn.Linear(512 * 3, classes)

    def forward(self, x: Any, target: Any) -> Any:
        seen = self.body(x)
        whole = self.whole(self.columns(seen.max(2).transpose([0, 2, 1]))[0][:, -1])
        written = self.writer(paddle.concat([whole.unsqueeze(1), self.words(target)], 1))[0][:, 1:]
        keys, values = (m.flatten(2).transpose([0, 2, 1]) for m in (self.keys(seen), seen))
        weights = self.score(paddle.tanh(keys.unsqueeze(1) + self.query(written).unsqueeze(2))).squeeze(-1)
        glimpses = paddle.matmul(F.softmax(weights, -1), values)
        return self.head(
            paddle.concat([written, glimpses, whole.unsqueeze(1) + paddle.zeros_like(written)], -1)
        )


class Nrtr(nn.Layer):
    """NRTR: two convolutions, then a transformer of 12 layers that reads and 6 that write."""

    def __init__(
        self, classes: int, width: int = 512, reads: int = 12, writes: int = 6, heads: int = 8
    ) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2D(3, 32, 3, 2, 1), nn.ReLU(), nn.BatchNorm2D(32), nn.Conv2D(32, 64, 3, 2, 1), nn.ReLU(), nn.BatchNorm2D(64)
        )  # fmt: skip
        self.into, self.words = nn.Linear(64 * 8, width), nn.Embedding(classes, width)
        self.reader = transformer(width, reads, heads, 4 * width, before=False, act="relu")
        self.writer = transformer(width, writes, heads, 4 * width, True, True, before=False, act="relu")
        self.head = nn.Linear(width, classes)

    def forward(self, x: Any, target: Any) -> Any:
        seen = self.into(self.stem(x).transpose([0, 3, 1, 2]).flatten(2))
        words = self.words(target)
        return self.head(self.writer(words + waves(words), self.reader(seen + waves(seen))))


class Queries(nn.Layer):
    """Attention with the places of the characters as queries (ABINet): [batch, length, width] and the memory that it looks at."""

    def __init__(self, length: int, width: int) -> None:
        super().__init__()
        self.places, self.query = Positions(length, width), nn.Linear(width, width)

    def forward(self, keys: Any, values: Any) -> Any:
        query = self.query(self.places.table)
        weights = F.softmax(paddle.matmul(query, keys, transpose_y=True) * keys.shape[-1] ** -0.5, -1)
        return paddle.matmul(weights, values)


class Cloze(nn.Layer):
    """ABINet's language model: each character from its neighbours on both sides, never from itself."""

    def __init__(self, length: int, width: int, classes: int) -> None:
        super().__init__()
        self.into, self.positions = nn.Linear(classes, width, bias_attr=False), Positions(length, width)
        shape = Shape("encoder", 1, width, 1, 8, 4 * width, activation="relu")
        self.attentions = nn.LayerList([Attention(shape, False, True) for _ in range(4)])
        self.feeds = nn.LayerList([FeedForward(shape) for _ in range(4)])
        self.norms = nn.LayerList([nn.LayerNorm(width) for _ in range(8)])
        self.register_buffer(
            "mask",
            paddle.to_tensor(np.where(np.eye(length), -1e9, 0).astype(np.float32)[None, None]),
            persistable=True,
        )
        self.head = nn.Linear(width, classes)

    def forward(self, scores: Any) -> Any:
        memory = self.positions(self.into(F.softmax(scores, -1).detach()))
        x = self.positions(paddle.zeros_like(memory))
        for i, own in enumerate(self.attentions):
            q, k, v = (
                f(t).reshape([0, 0, 8, own.width]) for f, t in ((own.q, x), (own.k, memory), (own.v, memory))
            )
            seen = F.scaled_dot_product_attention(q, k, v, attn_mask=self.mask).reshape([0, 0, 8 * own.width])
            x = self.norms[2 * i](x + own.out(seen))
            x = self.norms[2 * i + 1](x + self.feeds[i](x))
        return self.head(x), x


class Abinet(nn.Layer):
    """ABINet: vision, language and what both agree on, three times; [batch, 26, classes] of the last agreement, vision and language."""

    def __init__(self, classes: int, rounds: int = 3, width: int = 512, length: int = 26) -> None:
        super().__init__()
        self.body, self.positions, self.units = (
            backbones.resnet45(),
            Positions(8 * 32, width),
            transformer(width, 3, 8, 2048, before=False, act="relu"),
        )
        self.down = nn.LayerList([conv(width if not i else 64, 64, 3, 1 if not i else 2) for i in range(4)])
        self.up = nn.LayerList([conv(64, 64 if i < 3 else width) for i in range(4)])
        self.queries, self.vision = Queries(length, width), nn.Linear(width, classes)
        self.language = Cloze(length, width, classes)
        self.gate, self.both, self.rounds = nn.Linear(2 * width, width), nn.Linear(width, classes), rounds

    def forward(self, x: Any) -> Any:
        seen = self.units(self.positions(self.body(x).flatten(2).transpose([0, 2, 1])))
        keys = seen.transpose([0, 2, 1]).reshape([0, seen.shape[-1], 8, 32])
        held = []
        for part in self.down:
            keys = part(keys)
            held.append(keys)
        for index, part in enumerate(self.up):
            keys = part(keys)
            if index < 3:
                keys = doubled(keys) + held[2 - index]
        found = self.queries(keys.flatten(2).transpose([0, 2, 1]), seen)
        vision = agreed = self.vision(found)
        language = vision
        for _ in range(self.rounds):
            language, read = self.language(agreed)
            gate = F.sigmoid(self.gate(paddle.concat([read, found], -1)))
            agreed = self.both(gate * found + (1 - gate) * read)
        return (agreed, vision, language) if self.training else agreed


class VisionTransformer(nn.Layer):
    """Patches, a token in front where `token`, learned positions, blocks: [batch, patches, width]."""

    def __init__(
        self,
        channels: int,
        extent: tuple[int, int],
        patch: tuple[int, int],
        width: int,
        layers: int,
        heads: int,
        token: bool = False,
    ) -> None:
        super().__init__()
        self.patches = nn.Conv2D(channels, width, patch, patch)
        count = extent[0] // patch[0] * (extent[1] // patch[1])
        self.token = self.create_parameter([1, 1, width]) if token else None
        self.positions, self.blocks = (
            Positions(count + token, width),
            transformer(width, layers, heads, 4 * width),
        )

    def forward(self, x: Any) -> Any:
        x = self.patches(x).flatten(2).transpose([0, 2, 1])
        if self.token is not None:
            x = paddle.concat([self.token + paddle.zeros_like(x[:, :1]), x], 1)
        return self.blocks(self.positions(x))


class VitStr(nn.Layer):
    """ViTSTR: a vision transformer on a grey picture of 224 by 224; its first 25 tokens are the characters."""

    def __init__(self, width: int, heads: int, classes: int) -> None:
        super().__init__()
        self.body, self.head = (
            VisionTransformer(1, (224, 224), (16, 16), width, 12, heads, True),
            nn.Linear(width, classes),
        )

    def forward(self, x: Any) -> Any:
        return self.head(self.body(x)[:, :25])


class Parseq(nn.Layer):
    """PARSeq on a line of 32 by 128: a vision transformer, and one layer in which places look at characters, then at the picture.

    A permutation of the order of reading is drawn for training by the authors; here it is the order of the text."""

    def __init__(self, width: int, heads: int, classes: int, length: int = 8) -> None:
        super().__init__()
        self.body, self.words = (
            VisionTransformer(3, (32, 128), (4, 8), width, 12, heads),
            nn.Embedding(classes, width),
        )
        self.places = Positions(length, width)
        shape = Shape("encoder", 1, width, 1, heads * 2, 4 * width, before=True)
        self.characters, self.picture, self.feed = (
            Attention(shape, True, True),
            Attention(shape, False, True),
            FeedForward(shape),
        )
        self.norms = nn.LayerList([nn.LayerNorm(width) for _ in range(5)])
        self.head = nn.Linear(width, classes)

    def forward(self, x: Any, target: Any) -> Any:
        memory, words = self.body(x), self.words(target) * self.words.weight.shape[1] ** 0.5
        content = self.places(words)
        query = self.places(paddle.zeros_like(words))
        query = query + self.characters(self.norms[0](query), self.norms[1](content))
        query = query + self.picture(self.norms[2](query), memory)
        return self.head(self.norms[4](query + self.feed(self.norms[3](query))))


# ---- classifiers and tables --------------------------------------------------------------------------------


class Classifier(nn.Layer):
    """The mean of the last map, `hidden` features of it, and class scores."""

    def __init__(self, body: Any, classes: int, hidden: int = 0) -> None:
        super().__init__()
        self.body, width = body, body.widths[-1]
        self.hidden = nn.Sequential(nn.Linear(width, hidden), nn.Hardswish()) if hidden else nn.Identity()
        self.head = nn.Linear(hidden or width, classes)

    def forward(self, x: Any) -> Any:
        maps = self.body(x)
        last = maps[-1] if isinstance(maps, list) else maps
        return self.head(self.hidden(last.mean([2, 3])))


class CspPan(nn.Layer):
    """SLANet's neck: four levels of one width, fused downwards and upwards by CSP blocks."""

    def __init__(self, inputs: Sequence[int], width: int = 96) -> None:
        super().__init__()
        self.side = nn.LayerList([conv(i, width, 1, act="hswish") for i in inputs])

        def block() -> Any:
            return nn.Sequential(
                conv(2 * width, width, 1, act="hswish"),
                conv(width, width, 5, groups=width, act="hswish"),
                conv(width, width, 1, act="hswish"),
            )

        self.downward, self.upward = (
            nn.LayerList([block() for _ in range(3)]),
            nn.LayerList([block() for _ in range(3)]),
        )
        self.halve = nn.LayerList([conv(width, width, 5, 2, width, "hswish") for _ in range(3)])
        self.width = width

    def forward(self, maps: Any) -> Any:
        level = [side(maps[i]) for i, side in enumerate(self.side)]
        for i in (2, 1, 0):
            level[i] = self.downward[i](paddle.concat([doubled(level[i + 1]), level[i]], 1))
        for i in (1, 2, 3):
            level[i] = self.upward[i - 1](paddle.concat([self.halve[i - 1](level[i - 1]), level[i]], 1))
        return level[3]


class Table(nn.Layer):
    """SLANet: the tokens of a table's structure [batch, length, 50] and the corners of its cells [batch, length, 8], read step by step."""

    def __init__(self, body: Any, tokens: int = 50, width: int = 256) -> None:
        super().__init__()
        self.body, self.neck = body, CspPan(body.widths)
        self.keys, self.query, self.score = (
            nn.Linear(96, width, bias_attr=False),
            nn.Linear(width, width),
            nn.Linear(width, 1, bias_attr=False),
        )
        self.words, self.cell = nn.Embedding(tokens, tokens), nn.GRUCell(96 + tokens, width)
        self.structure = nn.Sequential(nn.Linear(width, width), nn.Linear(width, tokens))
        self.corners = nn.Sequential(nn.Linear(width, width), nn.Linear(width, 8))

    def forward(self, x: Any, target: Any) -> Any:
        memory = self.neck(self.body(x)).flatten(2).transpose([0, 2, 1])
        keys, words = self.keys(memory), self.words(target)
        state = paddle.zeros_like(keys[:, 0])
        states = []
        for step in range(target.shape[1]):
            weights = F.softmax(self.score(paddle.tanh(keys + self.query(state).unsqueeze(1))), 1)
            state = self.cell(paddle.concat([(weights * memory).sum(1), words[:, step]], 1), state)[0]
            states.append(state)
        found = paddle.stack(states, 1)
        return self.structure(found), F.sigmoid(self.corners(found))


# ---- by name -----------------------------------------------------------------------------------------------

CHINESE, LARGE, ENGLISH = 6625, 18385, 97
DETECTORS = {
    "db-resnet18": ("resnet18", 256, "plain"), "db-resnet50": ("resnet50", 256, "plain"), "db-mobilenetv3": ("mobile", 96, "plain"),
    "db++-resnet50": ("resnet50", 256, "fused"), "ppocrv2-det": ("mobile-bare", 96, "plain"), "ppocrv3-det": ("mobile-bare", 96, "squeezed"),
    "ppocrv4-det-mobile": ("lcnet3", 96, "squeezed"), "ppocrv4-det-server": ("hgnet", 256, "large"), "ppocrv5-det-mobile": ("lcnet3", 96, "squeezed"),
    "ppocrv5-det-server": ("hgnet2", 256, "large"),
}  # fmt: skip
MAPS: dict[str, Callable[[], Any]] = {
    "resnet18": lambda: backbones.ResNetVd(18), "resnet50": lambda: backbones.ResNetVd(50),
    "mobile": lambda: backbones.MobileNetV3("large", 0.5), "mobile-bare": lambda: backbones.MobileNetV3("large", 0.5, squeeze=False),
    "lcnet3": lambda: backbones.LCNet("v3", 0.75), "lcnet": lambda: backbones.LCNet("v1", 1.0),
    "hgnet": lambda: backbones.HGNet("small"), "hgnet2": lambda: backbones.HGNet("b4"),
}  # fmt: skip
LINES: dict[str, Callable[[], Any]] = {
    "resnet34": lambda: backbones.ResNetVd(34, text=True), "mobile": lambda: backbones.MobileNetV3("large", 0.5, text=True),
    "mobile-small": lambda: backbones.MobileNetV3("small", 1.0, text=True, first=False),
    "enhanced": lambda: backbones.lcnet_text("enhanced", 0.5), "lcnet3": lambda: backbones.lcnet_text("v3", 0.95),
    "hgnet": lambda: backbones.HGNet("small", text=True), "hgnet2": lambda: backbones.HGNet("b4", text=True),
}  # fmt: skip
SVTR = {
    "tiny": ((64, 128, 256), (3, 6, 3), (2, 4, 8), 6, 192), "small": ((96, 192, 256), (3, 6, 6), (3, 6, 8), 8, 192),
    "base": ((128, 256, 384), (3, 6, 9), (4, 8, 12), 8, 256), "large": ((192, 256, 512), (3, 9, 9), (6, 8, 16), 10, 384),
}  # fmt: skip


class Db(nn.Layer):
    def __init__(self, body: Any, width: int, neck: str) -> None:
        super().__init__()
        self.body, self.neck = body, Pyramid(body.widths, width, "plain" if neck == "fused" else neck)
        self.fuse = ScaleFusion(width) if neck == "fused" else nn.Identity()
        self.head = Binarisation(width, neck == "large")

    def forward(self, x: Any) -> Any:
        return self.head(self.fuse(self.neck(self.body(x))))


def _crnn(line: str, classes: int, width: int) -> Any:
    body = LINES[line]()
    return Ctc(body, Recurrent(body.widths[-1], width), classes)


def _rosetta(line: str) -> Any:
    body = LINES[line]()
    return Ctc(body, Straight(body.widths[-1]), ENGLISH)


def _starnet(line: str) -> Any:
    return nn.Sequential(Rectifier(), _crnn(line, ENGLISH, 256))


def _ppocr(line: str, classes: int, kernel: int | tuple[int, int], guided: bool) -> Any:
    body = LINES[line]()
    neck = Mixed(body.widths[-1], 120, 64 if not guided else 120, kernel)
    return Guided(body, neck, classes, body.widths[-1]) if guided else Ctc(body, neck, classes)


def _classifier(kind: str, scale: float, classes: int, text: bool) -> Any:
    if kind == "mobile":
        return Classifier(backbones.MobileNetV3("small", scale, text=True), classes)
    strides: tuple[Any, ...] = (1, (2, 1), (2, 1), (2, 1), (2, 1)) if text else (1, 2, 2, 2, 2)
    return Classifier(backbones.LCNet("v1", scale, strides), classes, 1280)


def builders() -> dict[str, Any]:
    """{name: a function without arguments that makes the layer}."""
    part = functools.partial
    found: dict[str, Any] = {
        n: part(lambda b, w, k: Db(MAPS[b](), w, k), b, w, k) for n, (b, w, k) in DETECTORS.items()
    }
    found |= {
        "east-resnet50": lambda: East(MAPS["resnet50"](), True), "east-mobilenetv3": lambda: East(MAPS["mobile"](), False),
        "pse-resnet50": lambda: Kernels(MAPS["resnet50"]()), "pse-mobilenetv3": lambda: Kernels(MAPS["mobile"]()),
        "fce-resnet50": lambda: Fourier(MAPS["resnet50"]()),
    }  # fmt: skip
    for line, label in (("resnet34", "resnet34"), ("mobile", "mobilenetv3")):
        found |= {
            f"crnn-{label}": part(_crnn, line, ENGLISH, 256 if line == "resnet34" else 96),
            f"rosetta-{label}": part(_rosetta, line),
            f"starnet-{label}": part(_starnet, line),
            f"rare-{label}": lambda line=line: Rare(
                LINES[line](), ENGLISH, 256 if line == "resnet34" else 96, True
            ),
        }
    found |= {
        "crnn-mobilenetv3-small": part(_crnn, "mobile-small", ENGLISH, 48),
        "ppocrv2-rec": part(_crnn, "enhanced", CHINESE, 64), "ppocrv3-rec": part(_ppocr, "enhanced", CHINESE, 3, False),
        "ppocrv4-rec-mobile": part(_ppocr, "lcnet3", CHINESE, (1, 3), True), "ppocrv4-rec-server": part(_ppocr, "hgnet", CHINESE, (1, 3), True),
        "ppocrv5-rec-mobile": part(_ppocr, "lcnet3", LARGE, (1, 3), True), "ppocrv5-rec-server": part(_ppocr, "hgnet2", LARGE, (1, 3), True),
        "sar-resnet31": part(Sar, ENGLISH), "nrtr": part(Nrtr, ENGLISH), "abinet": part(Abinet, 37),
        "vitstr-tiny": part(VitStr, 192, 3, ENGLISH), "vitstr-small": part(VitStr, 384, 6, ENGLISH), "vitstr-base": part(VitStr, 768, 12, ENGLISH),
        "parseq-tiny": part(Parseq, 192, 3, ENGLISH), "parseq": part(Parseq, 384, 6, ENGLISH),
    }  # fmt: skip
    found |= {f"svtr-{size}": part(Svtr, sizes, ENGLISH) for size, sizes in SVTR.items()}
    found |= {
        "ppocr-cls-mobile": part(_classifier, "mobile", 0.35, 2, True), "textline-orientation-x0.25": part(_classifier, "lcnet", 0.25, 2, True),
        "textline-orientation-x1.0": part(_classifier, "lcnet", 1.0, 2, True), "doc-orientation-x1.0": part(_classifier, "lcnet", 1.0, 4, False),
        "table-cls-x1.0": part(_classifier, "lcnet", 1.0, 2, False), "slanet": lambda: Table(MAPS["lcnet"]()),
    }  # fmt: skip
    return found
