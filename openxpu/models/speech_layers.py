"""Speech: recognition, speakers, synthesis, vocoders, sounds, keywords, separation.

Spectra are [batch, frames, bands] f32, waves [batch, 1, samples] f32. Sources: Amodei 2015 (DeepSpeech2), Gulati 2020
(Conformer), Peng 2022 (Branchformer), Dong 2018 (Speech-Transformer), Kriman 2019 (QuartzNet), Baevski 2020 (wav2vec 2.0),
Radford 2022 (Whisper), Snyder 2018 (x-vectors), Desplanques 2020 (ECAPA-TDNN), Ren 2020 (FastSpeech 2), Shen 2017 (Tacotron 2),
Kong 2020 (HiFi-GAN; PANNs), Yamamoto 2019 (Parallel WaveGAN), Gong 2021
(AST), Zhang 2017 (DS-CNN), Kim 2021 (BC-ResNet), Berg 2021 (KWT), Luo 2018 (Conv-TasNet)."""

from __future__ import annotations

import functools
from typing import Any

import paddle
from paddle import nn
from paddle.nn import functional as F

from openxpu.models.language import Shape
from openxpu.models.language_layers import Embedding, FeedForward, Stack
from openxpu.models.ocr_layers import VisionTransformer, transformer, waves


def conv(
    inputs: int,
    outputs: int,
    kernel: int = 1,
    dilation: int = 1,
    groups: int = 1,
    act: Any = nn.ReLU,
    stride: int = 1,
) -> Any:
    """Convolution over time of the same extent, batch normalisation and activation: [batch, channels, frames]."""
    parts = [
        nn.Conv1D(
            inputs, outputs, kernel, stride, dilation * (kernel - 1) // 2, dilation, groups, bias_attr=False
        ),
        nn.BatchNorm1D(outputs),
    ]
    return nn.Sequential(*parts, *([act()] if act else []))


def turned(x: Any) -> Any:
    return x.transpose([0, 2, 1])


# ---- recognition ---------------------------------------------------------------------------------------


class Quarter(nn.Layer):
    """Two convolutions that halve time and bands, then a projection: [batch, frames / 4, width]."""

    def __init__(self, bands: int, width: int, channels: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2D(1, channels, 3, 2, 1), nn.ReLU(), nn.Conv2D(channels, channels, 3, 2, 1), nn.ReLU()
        )
        self.out = nn.Linear(channels * (bands // 4), width)

    def forward(self, x: Any) -> Any:
        return self.out(self.body(x.unsqueeze(1)).transpose([0, 2, 1, 3]).flatten(2))


class RelativeAttention(nn.Layer):
    """Attention with a part that depends on the distance, as in Transformer-XL (Dai 2019)."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.q, self.k, self.v, self.out = (nn.Linear(width, width) for _ in range(4))
        self.place = nn.Linear(width, width, bias_attr=False)
        self.heads, self.width = heads, width // heads
        self.content_bias, self.place_bias = (self.create_parameter([heads, 1, self.width]) for _ in range(2))

    def split(self, x: Any) -> Any:
        return x.reshape([0, 0, self.heads, self.width]).transpose([0, 2, 1, 3])

    def forward(self, x: Any) -> Any:
        q, k, v = (self.split(f(x)) for f in (self.q, self.k, self.v))
        forth = waves(x)[0]  # distances 0, 1, ...; sines change their sign for the others
        sine, cosine = paddle.chunk(forth, 2, -1)
        back = paddle.concat([-sine, cosine], -1)
        distances = paddle.concat([forth.flip([0]), back[1:]], 0).unsqueeze(0)
        places = self.split(self.place(distances))
        by_place = paddle.matmul(q + self.place_bias, places, transpose_y=True)  # [batch, heads, n, 2 n - 1]
        # Row i wants distances i, ..., i - n + 1: one column more, read as rows one shorter, moves each row by its number.
        moved = F.pad(by_place, [1, 0, 0, 0]).transpose([0, 1, 3, 2])
        count = x.shape[1]
        moved = moved.transpose([0, 1, 3, 2]).reshape([-1, self.heads, 2 * count, count])[:, :, 1:]
        moved = moved.reshape([-1, self.heads, count, 2 * count - 1])[..., :count]
        weights = F.softmax(
            (paddle.matmul(q + self.content_bias, k, transpose_y=True) + moved) * self.width**-0.5, -1
        )
        return self.out(paddle.matmul(weights, v).transpose([0, 2, 1, 3]).flatten(2))


class Conformer(nn.Layer):
    """Half a feed-forward, attention, convolution, half a feed-forward."""

    def __init__(self, width: int, heads: int, kernel: int) -> None:
        super().__init__()
        shape = Shape("encoder", 1, width, 1, heads, 4 * width, activation="silu")
        self.feeds = nn.LayerList([FeedForward(shape), FeedForward(shape)])
        self.attention = RelativeAttention(width, heads)
        self.gated, self.after = nn.Conv1D(width, 2 * width, 1), nn.Conv1D(width, width, 1)
        self.near = conv(width, width, kernel, groups=width, act=nn.Silu)
        self.norms = nn.LayerList([nn.LayerNorm(width) for _ in range(5)])

    def forward(self, x: Any) -> Any:
        x = x + 0.5 * self.feeds[0](self.norms[0](x))
        x = x + self.attention(self.norms[1](x))
        x = x + turned(self.after(self.near(F.glu(self.gated(turned(self.norms[2](x))), 1))))
        x = x + 0.5 * self.feeds[1](self.norms[3](x))
        return self.norms[4](x)


class Branchformer(nn.Layer):
    """Attention and a gated multilayer perceptron with a convolution beside each other, then merged."""

    def __init__(self, width: int, heads: int, inner: int, kernel: int = 31) -> None:
        super().__init__()
        self.attention, self.up, self.down = (
            RelativeAttention(width, heads),
            nn.Linear(width, inner),
            nn.Linear(inner // 2, width),
        )
        self.gate_norm, self.gate = (
            nn.LayerNorm(inner // 2),
            nn.Conv1D(inner // 2, inner // 2, kernel, padding=kernel // 2, groups=inner // 2),
        )
        self.norms, self.merge = (
            nn.LayerList([nn.LayerNorm(width) for _ in range(3)]),
            nn.Linear(2 * width, width),
        )

    def forward(self, x: Any) -> Any:
        one = self.attention(self.norms[0](x))
        left, right = paddle.chunk(F.gelu(self.up(self.norms[1](x))), 2, -1)
        two = self.down(left * turned(self.gate(turned(self.gate_norm(right)))))
        return self.norms[2](x + self.merge(paddle.concat([one, two], -1)))


class Listener(nn.Layer):
    """Spectra to scores of characters for CTC; with a decoder of `writes` layers also of the next character (given: `target`)."""

    def __init__(
        self,
        bands: int,
        width: int,
        blocks: Any,
        classes: int,
        writes: int = 0,
        heads: int = 4,
        add: bool = False,
    ) -> None:
        super().__init__()
        self.into, self.blocks, self.head = Quarter(bands, width, width), blocks, nn.Linear(width, classes)
        self.add, self.writes = add, writes
        if writes:
            self.words, self.guess = nn.Embedding(classes, width), nn.Linear(width, classes)
            self.writer = transformer(width, writes, heads, 2048, True, True, act="relu")

    def forward(self, x: Any, target: Any = None) -> Any:
        x = self.into(x)
        x = self.blocks(x + waves(x) if self.add else x)
        scores = self.head(x)
        if not self.writes:
            return scores
        words = self.words(target)
        return scores, self.guess(self.writer(words + waves(words), x))


def listener(
    kind: str, width: int, layers: int, heads: int, kernel: int, classes: int, writes: int = 0
) -> Any:
    """kind: conformer, branchformer or transformer."""
    if kind == "transformer":
        return Listener(
            80, width, transformer(width, layers, heads, 2048, act="relu"), classes, writes, heads, True
        )
    make: Any = {
        "conformer": lambda: Conformer(width, heads, kernel),
        "branchformer": lambda: Branchformer(width, heads, kernel),
    }[kind]
    return Listener(80, width, nn.Sequential(*(make() for _ in range(layers))), classes, writes, heads)


class DeepSpeech(nn.Layer):
    """Two convolutions over bands and frames, recurrent layers, CTC."""

    def __init__(
        self, cell: str, layers: int, width: int, both: bool, classes: int = 29, bands: int = 161
    ) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2D(1, 32, (11, 41), 2, (5, 20)), nn.BatchNorm2D(32), nn.Hardtanh(0.0, 20.0),
            nn.Conv2D(32, 32, (11, 21), (1, 2), (5, 10)), nn.BatchNorm2D(32), nn.Hardtanh(0.0, 20.0),
        )  # fmt: skip
        inputs = 32 * ((bands + 1) // 2 + 1 >> 1)
        kind = nn.GRU if cell == "gru" else nn.LSTM
        self.rnn = kind(inputs, width, layers, direction="bidirectional" if both else "forward")
        self.norm, self.head = (
            nn.LayerNorm(width * (2 if both else 1)),
            nn.Linear(width * (2 if both else 1), classes),
        )

    def forward(self, x: Any) -> Any:
        x = self.body(x.unsqueeze(1)).transpose([0, 2, 1, 3]).flatten(2)
        return self.head(self.norm(self.rnn(x)[0]))


class Quartz(nn.Layer):
    """A block of QuartzNet: five separable convolutions over time and a projected shortcut."""

    def __init__(self, inputs: int, width: int, kernel: int) -> None:
        super().__init__()
        parts: list[Any] = []
        for index in range(5):
            start = width if index else inputs
            parts += [
                nn.Conv1D(start, start, kernel, padding=kernel // 2, groups=start, bias_attr=False),
                conv(start, width, 1, act=nn.ReLU if index < 4 else None),
            ]
        self.body, self.short = nn.Sequential(*parts), conv(inputs, width, act=None)

    def forward(self, x: Any) -> Any:
        return F.relu(self.body(x) + self.short(x))


class QuartzNet(nn.Layer):
    def __init__(self, repeat: int, classes: int = 29, bands: int = 64) -> None:
        super().__init__()
        parts, width = [conv(bands, 256, 33, stride=2)], 256
        for outputs, kernel in ((256, 33), (256, 39), (512, 51), (512, 63), (512, 75)):
            for _ in range(repeat):
                parts.append(Quartz(width, outputs, kernel))
                width = outputs
        self.body = nn.Sequential(*parts, conv(512, 512, 87), conv(512, 1024), nn.Conv1D(1024, classes, 1))

    def forward(self, x: Any) -> Any:
        return turned(self.body(turned(x)))


class Wav2vec(nn.Layer):
    """wav2vec 2.0, tuned for CTC: seven convolutions on the wave, positions by a convolution, a transformer. `stable`: as the large one."""

    def __init__(self, width: int, layers: int, heads: int, stable: bool, classes: int = 32) -> None:
        super().__init__()
        kernels, strides = (10, 3, 3, 3, 3, 2, 2), (5, 2, 2, 2, 2, 2, 2)
        self.convs = nn.LayerList(
            [
                nn.Conv1D(512 if i else 1, 512, k, s, bias_attr=None if stable else False)
                for i, (k, s) in enumerate(zip(kernels, strides, strict=True))
            ]
        )
        self.norms: Any = nn.LayerList([nn.LayerNorm(512) for _ in kernels]) if stable else None
        self.group: Any = None if stable else nn.GroupNorm(512, 512)
        self.norm, self.into = nn.LayerNorm(512), nn.Linear(512, width)
        self.places = nn.Conv1D(width, width, 128, padding=64, groups=16)
        self.first = nn.LayerNorm(width)
        self.blocks, self.head, self.stable = (
            transformer(width, layers, heads, 4 * width, before=stable),
            nn.Linear(width, classes),
            stable,
        )

    def forward(self, x: Any) -> Any:
        for index, layer in enumerate(self.convs):
            x = layer(x)
            if self.norms is not None:
                x = turned(self.norms[index](turned(x)))
            elif index == 0:
                x = self.group(x)
            x = F.gelu(x)
        x = self.into(self.norm(turned(x)))
        x = x + turned(F.gelu(self.places(turned(x))[:, :, :-1]))
        return self.head(self.blocks(x if self.stable else self.first(x)))


class Whisper(nn.Layer):
    """Spectra [batch, frames, 80] and the tokens before to scores of the next token; the embedding is the head."""

    def __init__(self, width: int, layers: int, heads: int, tokens: int = 51865) -> None:
        super().__init__()
        self.one, self.two = nn.Conv1D(80, width, 3, padding=1), nn.Conv1D(width, width, 3, 2, 1)
        shape = Shape("decoder", tokens, width, layers, heads, 4 * width, before=True, positions=448)
        self.embedding = Embedding(shape)
        self.listen, self.write = Stack(shape, False), Stack(shape, True, True)

    def forward(self, x: Any, target: Any) -> Any:
        x = turned(F.gelu(self.two(F.gelu(self.one(turned(x))))))
        found = self.write(self.embedding(target), self.listen(x + waves(x)))
        return paddle.matmul(found, self.embedding.words.weight, transpose_y=True)


# ---- speakers ------------------------------------------------------------------------------------------


def statistics(x: Any, weights: Any = None) -> Any:
    """Mean and standard deviation over time of [batch, channels, frames]: [batch, 2 channels]."""
    mean = x.mean(-1) if weights is None else (weights * x).sum(-1)
    square = (x**2).mean(-1) if weights is None else (weights * x**2).sum(-1)
    return paddle.concat([mean, (square - mean**2).clip(min=1e-4).sqrt()], 1)


class SeRes2(nn.Layer):
    """ECAPA's block: channels in eight parts, each adds the one before; then squeeze and excitation."""

    def __init__(self, width: int, dilation: int) -> None:
        super().__init__()
        self.before, self.after = conv(width, width), conv(width, width)
        self.parts = nn.LayerList([conv(width // 8, width // 8, 3, dilation) for _ in range(7)])
        self.squeeze = nn.Sequential(nn.Linear(width, 128), nn.ReLU(), nn.Linear(128, width), nn.Sigmoid())

    def forward(self, x: Any) -> Any:
        first, *rest = paddle.chunk(self.before(x), 8, 1)
        found, y = [first], None
        for index, layer in enumerate(self.parts):
            y = layer(rest[index] if y is None else rest[index] + y)
            found.append(y)
        y = self.after(paddle.concat(found, 1))
        return x + y * self.squeeze(y.mean(-1)).unsqueeze(-1)


class Ecapa(nn.Layer):
    def __init__(self, width: int, speakers: int = 1211, bands: int = 80) -> None:
        super().__init__()
        self.stem, self.blocks = conv(bands, width, 5), nn.LayerList([SeRes2(width, d) for d in (2, 3, 4)])
        self.merge = nn.Sequential(nn.Conv1D(3 * width, 1536, 1), nn.ReLU())
        self.attend = nn.Sequential(conv(3 * 1536, 128), nn.Tanh(), nn.Conv1D(128, 1536, 1))
        self.norm, self.embed, self.head = (
            nn.BatchNorm1D(3072),
            nn.Linear(3072, 192),
            nn.Linear(192, speakers),
        )

    def forward(self, x: Any) -> Any:
        x, found = self.stem(turned(x)), []
        for block in self.blocks:
            x = block(x)
            found.append(x)
        x = self.merge(paddle.concat(found, 1))
        whole = statistics(x).unsqueeze(-1) + paddle.zeros_like(x[:, :1])
        weights = F.softmax(self.attend(paddle.concat([x, whole], 1)), -1)
        return self.head(self.embed(self.norm(statistics(x, weights))))


class Xvector(nn.Layer):
    def __init__(self, speakers: int = 1211, bands: int = 24) -> None:
        super().__init__()
        self.body = nn.Sequential(
            conv(bands, 512, 5), conv(512, 512, 3, 2), conv(512, 512, 3, 3), conv(512, 512), conv(512, 1500)
        )
        self.head = nn.Sequential(
            nn.Linear(3000, 512),
            nn.BatchNorm1D(512),
            nn.ReLU(),
            nn.Linear(512, 512),
            nn.BatchNorm1D(512),
            nn.ReLU(),
            nn.Linear(512, speakers),
        )

    def forward(self, x: Any) -> Any:
        return self.head(statistics(self.body(turned(x))))


class SpeakerResNet(nn.Layer):
    """A thin ResNet-34 on the spectrum, statistics over time, an embedding of 256."""

    def __init__(self, speakers: int = 1211, bands: int = 80) -> None:
        super().__init__()
        from openxpu.models import ocr_backbones

        parts, width = [ocr_backbones.conv(1, 32)], 32
        for outputs, depth, stride in ((32, 3, 1), (64, 4, 2), (128, 6, 2), (256, 3, 2)):
            for index in range(depth):
                parts.append(ocr_backbones.Plain(width, outputs, 1 if index else stride))
                width = outputs
        self.body, self.embed, self.head = (
            nn.Sequential(*parts),
            nn.Linear(2 * 256 * (bands // 8), 256),
            nn.Linear(256, speakers),
        )

    def forward(self, x: Any) -> Any:
        return self.head(self.embed(statistics(self.body(turned(x).unsqueeze(1)).flatten(1, 2))))


# ---- synthesis -----------------------------------------------------------------------------------------


class Feed(nn.Layer):
    """FastSpeech's block: attention and two convolutions over time."""

    def __init__(self, width: int, heads: int, inner: int, kernel: int) -> None:
        super().__init__()
        from openxpu.models.language_layers import Attention

        self.attention = Attention(Shape("encoder", 1, width, 1, heads, inner), False)
        self.one, self.two = nn.Conv1D(width, inner, kernel, padding=kernel // 2), nn.Conv1D(inner, width, 1)
        self.norms = nn.LayerList([nn.LayerNorm(width), nn.LayerNorm(width)])

    def forward(self, x: Any) -> Any:
        x = self.norms[0](x + self.attention(x))
        return self.norms[1](x + turned(self.two(F.relu(self.one(turned(x))))))


class Predictor(nn.Layer):
    """A number for each place, by two convolutions."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.convs = nn.LayerList([nn.Conv1D(width, width, 3, padding=1) for _ in range(2)])
        self.norms, self.out = nn.LayerList([nn.LayerNorm(width) for _ in range(2)]), nn.Linear(width, 1)

    def forward(self, x: Any) -> Any:
        for index, layer in enumerate(self.convs):
            x = self.norms[index](turned(F.relu(layer(turned(x)))))
        return self.out(x)


def postnet(bands: int) -> Any:
    return nn.Sequential(
        conv(bands, 512, 5, act=nn.Tanh),
        *(conv(512, 512, 5, act=nn.Tanh) for _ in range(3)),
        conv(512, bands, 5, act=None),
    )


class FastSpeech2(nn.Layer):
    """Phones [batch, length] and how many frames each lasts to spectra; durations, pitch and energy are predicted beside it.

    The durations come with the input, as in training; the longest sample gives the frames."""

    def __init__(self, phones: int = 360, width: int = 256, bands: int = 80) -> None:
        super().__init__()
        self.words = nn.Embedding(phones, width)
        self.encoder = nn.Sequential(*(Feed(width, 2, 1024, 9) for _ in range(4)))
        self.decoder = nn.Sequential(*(Feed(width, 2, 1024, 9) for _ in range(4)))
        self.predict = nn.LayerList([Predictor(width) for _ in range(3)])
        self.pitch, self.energy = nn.Conv1D(1, width, 9, padding=4), nn.Conv1D(1, width, 9, padding=4)
        self.out, self.post = nn.Linear(width, bands), postnet(bands)

    def forward(self, phones: Any, durations: Any) -> Any:
        x = self.words(phones)
        x = self.encoder(x + waves(x))
        length, pitch, energy = (predict(x) for predict in self.predict)
        x = x + turned(self.pitch(turned(pitch))) + turned(self.energy(turned(energy)))
        ends = paddle.cumsum(durations, 1)
        frames = paddle.arange(0, ends[:, -1].max(), dtype="int64").unsqueeze(0).unsqueeze(-1)
        inside = paddle.logical_and(frames < ends.unsqueeze(1), frames >= (ends - durations).unsqueeze(1))
        x = paddle.matmul(inside.astype(x.dtype), x)
        coarse = self.out(self.decoder(x + waves(x)))
        return coarse + turned(self.post(turned(coarse))), coarse, length, pitch, energy


class Tacotron2(nn.Layer):
    """Characters and the frames before (`given`) to spectra and where they end, by location-sensitive attention (Chorowski 2015)."""

    def __init__(self, characters: int = 148, bands: int = 80) -> None:
        super().__init__()
        self.words = nn.Embedding(characters, 512)
        self.convs, self.lstm = (
            nn.Sequential(*(conv(512, 512, 5) for _ in range(3))),
            nn.LSTM(512, 256, direction="bidirectional"),
        )
        self.before = nn.Sequential(
            nn.Linear(bands, 256), nn.ReLU(), nn.Dropout(0.5), nn.Linear(256, 256), nn.ReLU(), nn.Dropout(0.5)
        )
        self.attending, self.writing = nn.LSTMCell(256 + 512, 1024), nn.LSTMCell(1024 + 512, 1024)
        self.keys, self.query = nn.Linear(512, 128, bias_attr=False), nn.Linear(1024, 128, bias_attr=False)
        self.where, self.place, self.score = (
            nn.Conv1D(2, 32, 31, padding=15, bias_attr=False),
            nn.Linear(32, 128, bias_attr=False),
            nn.Linear(128, 1, bias_attr=False),
        )
        self.out, self.stop, self.post = (
            nn.Linear(1024 + 512, bands),
            nn.Linear(1024 + 512, 1),
            postnet(bands),
        )

    def forward(self, characters: Any, given: Any) -> Any:
        memory = self.lstm(turned(self.convs(turned(self.words(characters)))))[0]
        keys, before = self.keys(memory), self.before(given)
        zero = paddle.zeros_like(memory[:, 0])
        wide = paddle.concat([zero, zero], -1)
        seen, weights = zero, paddle.zeros_like(keys[:, :, 0])
        total, attending, writing, found = weights, (wide, wide), (wide, wide), []
        for step in range(given.shape[1]):
            attending = self.attending(paddle.concat([before[:, step], seen], -1), attending)[1]
            place = self.place(turned(self.where(paddle.stack([weights, total], 1))))
            energy = self.score(paddle.tanh(self.query(attending[0]).unsqueeze(1) + keys + place))
            weights = F.softmax(energy.squeeze(-1), -1)
            total = total + weights
            seen = paddle.matmul(weights.unsqueeze(1), memory).squeeze(1)
            writing = self.writing(paddle.concat([attending[0], seen], -1), writing)[1]
            found.append(paddle.concat([writing[0], seen], -1))
        states = paddle.stack(found, 1)
        coarse = self.out(states)
        return coarse + turned(self.post(turned(coarse))), coarse, self.stop(states)


# ---- vocoders ------------------------------------------------------------------------------------------


class Dilated(nn.Layer):
    """HiFi-GAN's residual block: for each dilation one convolution (kind 2) or two (kind 1)."""

    def __init__(self, width: int, kernel: int, dilations: tuple[int, ...], kind: int) -> None:
        super().__init__()

        def layer(dilation: int) -> Any:
            return nn.Conv1D(width, width, kernel, padding=dilation * (kernel - 1) // 2, dilation=dilation)

        self.one = nn.LayerList([layer(d) for d in dilations])
        self.two = nn.LayerList([layer(1) for _ in dilations]) if kind == 1 else None

    def forward(self, x: Any) -> Any:
        for index, layer in enumerate(self.one):
            y = layer(F.leaky_relu(x, 0.1))
            x = x + (y if self.two is None else self.two[index](F.leaky_relu(y, 0.1)))
        return x


class HifiGan(nn.Layer):
    """The generator: spectra [batch, frames, 80] to a wave of 256 samples for each frame."""

    def __init__(
        self,
        width: int,
        rates: tuple[int, ...],
        kernels: tuple[int, ...],
        blocks: tuple[tuple[int, tuple[int, ...]], ...],
        kind: int,
    ) -> None:
        super().__init__()
        self.into, self.ups, self.mixes = nn.Conv1D(80, width, 7, padding=3), nn.LayerList(), nn.LayerList()
        for rate, kernel in zip(rates, kernels, strict=True):
            self.ups.append(nn.Conv1DTranspose(width, width // 2, kernel, rate, (kernel - rate) // 2))
            width //= 2
            self.mixes.append(nn.LayerList([Dilated(width, k, d, kind) for k, d in blocks]))
        self.out = nn.Conv1D(width, 1, 7, padding=3)

    def forward(self, x: Any) -> Any:
        x = self.into(turned(x))
        for index, up in enumerate(self.ups):
            x = up(F.leaky_relu(x, 0.1))
            total = 0.0
            for block in self.mixes[index]:
                total = total + block(x)
            x = total / len(self.mixes[index])
        return paddle.tanh(self.out(F.leaky_relu(x, 0.01)))


class ParallelWaveGan(nn.Layer):
    """Noise and spectra to a wave: thirty gated convolutions in three rounds of dilations 1 to 512."""

    def __init__(self, rates: tuple[int, ...] = (4, 4, 4, 4), bands: int = 80) -> None:
        super().__init__()
        self.rates = rates
        self.smooth = nn.LayerList(
            [nn.Conv2D(1, 1, (1, 2 * r + 1), padding=(0, r), bias_attr=False) for r in rates]
        )
        self.into, self.layers = nn.Conv1D(1, 64, 1), nn.LayerList()
        for index in range(30):
            dilation = 1 << index % 10
            self.layers.append(
                nn.LayerList([
                    nn.Conv1D(64, 128, 3, padding=dilation, dilation=dilation), nn.Conv1D(bands, 128, 1, bias_attr=False),
                    nn.Conv1D(64, 64, 1), nn.Conv1D(64, 64, 1),
                ])
            )  # fmt: skip
        self.out = nn.Sequential(nn.ReLU(), nn.Conv1D(64, 64, 1), nn.ReLU(), nn.Conv1D(64, 1, 1))

    def forward(self, noise: Any, spectra: Any) -> Any:
        known = turned(spectra).unsqueeze(1)
        for index, rate in enumerate(self.rates):
            known = self.smooth[index](F.interpolate(known, scale_factor=[1, rate], mode="nearest"))
        known, x, total = known.squeeze(1), self.into(noise), 0.0
        for layer in self.layers:
            a, b = paddle.chunk(layer[0](x) + layer[1](known), 2, 1)
            y = paddle.tanh(a) * F.sigmoid(b)
            total = total + layer[2](y)
            x = (x + layer[3](y)) * 0.5**0.5
        return self.out(total * 30**-0.5)


# ---- sounds and keywords -------------------------------------------------------------------------------


class Panns(nn.Layer):
    """Log-mel spectra [batch, frames, 64] to logits of 527 sounds. `kernel` 5: one convolution a block (CNN6), 3: two."""

    def __init__(self, widths: tuple[int, ...], kernel: int, sounds: int = 527) -> None:
        super().__init__()
        from openxpu.models import ocr_backbones

        parts, inputs = [], 1
        self.norm = nn.BatchNorm1D(64)
        for index, width in enumerate(widths):
            parts.append(ocr_backbones.conv(inputs, width, kernel))
            if kernel == 3:
                parts.append(ocr_backbones.conv(width, width, 3))
            if index < 5:
                parts.append(nn.AvgPool2D(2, 2))
            inputs = width
        self.body, self.hidden, self.head = (
            nn.Sequential(*parts),
            nn.Linear(inputs, inputs),
            nn.Linear(inputs, sounds),
        )

    def forward(self, x: Any) -> Any:
        x = self.body(turned(self.norm(turned(x))).unsqueeze(1)).mean(3)
        return self.head(F.relu(self.hidden(x.max(2) + x.mean(2))))


class Ast(nn.Layer):
    """A vision transformer on the spectrum in patches of 16 by 16 that overlap by 6; [batch, frames, 128] to 527 sounds."""

    def __init__(self, width: int, heads: int, frames: int) -> None:
        super().__init__()
        self.body = VisionTransformer(
            1, (16, 16 * (((frames - 16) // 10 + 1) * 12)), (16, 16), width, 12, heads, True
        )
        self.body.patches = nn.Conv2D(1, width, 16, 10)
        self.head = nn.Linear(width, 527)

    def forward(self, x: Any) -> Any:
        return self.head(self.body(x.unsqueeze(1))[:, 0])


class Mdtc(nn.Layer):
    """Four stacks of four causal dilated separable convolutions; the stacks' sums give the score of a keyword at each frame."""

    def __init__(self, width: int = 32, words: int = 2, bands: int = 80, kernel: int = 5) -> None:
        super().__init__()
        self.into, self.layers, self.kernel = conv(bands, width), nn.LayerList(), kernel
        for _ in range(4):
            for index in range(4):
                near = nn.Sequential(
                    nn.Conv1D(width, width, kernel, dilation=1 << index, groups=width), nn.BatchNorm1D(width)
                )
                self.layers.append(nn.LayerList([near, conv(width, width), conv(width, width, act=None)]))
        self.head = nn.Linear(width, words)

    def forward(self, x: Any) -> Any:
        x, total = self.into(turned(x)), 0.0
        for index, layer in enumerate(self.layers):
            past = F.pad(x, [(self.kernel - 1) << index % 4, 0], data_format="NCL")
            x = F.relu(x + layer[2](layer[1](layer[0](past))))
            if index % 4 == 3:
                total = total + x
        return self.head(turned(total)).mean(1)


class DsCnn(nn.Layer):
    """MFCC [batch, frames, 10] to keywords: a convolution and separable ones, then the mean."""

    def __init__(self, width: int, layers: int, first: tuple[int, int] = (10, 4), words: int = 12) -> None:
        super().__init__()
        from openxpu.models.ocr_backbones import conv as picture_conv

        parts = [
            nn.Conv2D(1, width, first, (2, 2), "SAME", bias_attr=False),
            nn.BatchNorm2D(width),
            nn.ReLU(),
        ]
        for _ in range(layers):
            parts += [picture_conv(width, width, 3, groups=width), picture_conv(width, width, 1)]
        self.body, self.head = nn.Sequential(*parts), nn.Linear(width, words)

    def forward(self, x: Any) -> Any:
        return self.head(self.body(x.unsqueeze(1)).mean([2, 3]))


class Broadcast(nn.Layer):
    """BC-ResNet's block: bands by a convolution in two dimensions, time in one; its result is added to every band."""

    def __init__(self, inputs: int, width: int, stride: int, dilation: int) -> None:
        super().__init__()
        self.change = inputs != width
        first = (
            [nn.Conv2D(inputs, width, 1, bias_attr=False), nn.BatchNorm2D(width), nn.ReLU()]
            if self.change
            else []
        )
        self.bands = nn.Sequential(
            *first,
            nn.Conv2D(width, width, (3, 1), (stride, 1), (1, 0), groups=width, bias_attr=False),
            nn.BatchNorm2D(width),
        )
        self.time = nn.Sequential(
            nn.Conv2D(width, width, (1, 3), padding=(0, dilation), dilation=(1, dilation), groups=width, bias_attr=False),
            nn.BatchNorm2D(width), nn.Silu(), nn.Conv2D(width, width, 1, bias_attr=False), nn.Dropout(0.1),
        )  # fmt: skip

    def forward(self, x: Any) -> Any:
        y = self.bands(x)
        z = y + self.time(y.mean(2, keepdim=True))
        return F.relu(z if self.change else z + x)


class BcResNet(nn.Layer):
    def __init__(self, scale: int, words: int = 12) -> None:
        super().__init__()
        width = 16 * scale
        parts: list[Any] = [
            nn.Conv2D(1, width, 5, (2, 1), 2, bias_attr=False),
            nn.BatchNorm2D(width),
            nn.ReLU(),
        ]
        for outputs, depth, stride, dilation in ((8, 2, 1, 1), (12, 2, 2, 2), (16, 4, 2, 4), (20, 4, 1, 8)):
            for index in range(depth):
                parts.append(Broadcast(width, outputs * scale, 1 if index else stride, dilation))
                width = outputs * scale
        parts += [
            nn.Conv2D(width, width, (5, 5), padding=(0, 2), groups=width, bias_attr=False),
            nn.Conv2D(width, 32 * scale, 1, bias_attr=False),
            nn.BatchNorm2D(32 * scale),
            nn.ReLU(),
        ]
        self.body, self.head = nn.Sequential(*parts), nn.Linear(32 * scale, words)

    def forward(self, x: Any) -> Any:
        return self.head(self.body(turned(x).unsqueeze(1)).mean([2, 3]))


class Kwt(nn.Layer):
    """Each frame of MFCC [batch, 98, 40] is a token; a token in front gives the keyword."""

    def __init__(self, width: int, heads: int, words: int = 35) -> None:
        super().__init__()
        self.body, self.head = (
            VisionTransformer(1, (98, 40), (1, 40), width, 12, heads, True),
            nn.Linear(width, words),
        )

    def forward(self, x: Any) -> Any:
        return self.head(self.body(x.unsqueeze(1))[:, 0])


# ---- separation ----------------------------------------------------------------------------------------


class Temporal(nn.Layer):
    """Conv-TasNet's block: to 512 channels, a dilated convolution, and back as a residual and a skip."""

    def __init__(self, dilation: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv1D(128, 512, 1), nn.PReLU(), nn.GroupNorm(1, 512),
            nn.Conv1D(512, 512, 3, padding=dilation, dilation=dilation, groups=512), nn.PReLU(), nn.GroupNorm(1, 512),
        )  # fmt: skip
        self.rest, self.skip = nn.Conv1D(512, 128, 1), nn.Conv1D(512, 128, 1)

    def forward(self, x: Any) -> Any:
        y = self.body(x)
        return x + self.rest(y), self.skip(y)


class ConvTasNet(nn.Layer):
    """A wave of two voices [batch, 1, samples] to both, [batch, 2, samples]."""

    def __init__(self) -> None:
        super().__init__()
        self.encode, self.decode = (
            nn.Conv1D(1, 512, 16, 8, bias_attr=False),
            nn.Conv1DTranspose(512, 1, 16, 8, bias_attr=False),
        )
        self.norm, self.into = nn.GroupNorm(1, 512), nn.Conv1D(512, 128, 1)
        self.blocks, self.mask = (
            nn.LayerList([Temporal(1 << i) for _ in range(3) for i in range(8)]),
            nn.Sequential(nn.PReLU(), nn.Conv1D(128, 1024, 1), nn.Sigmoid()),
        )

    def forward(self, x: Any) -> Any:
        code, total = self.encode(x), 0.0
        y = self.into(self.norm(code))
        for block in self.blocks:
            y, skip = block(y)
            total = total + skip
        masks = paddle.chunk(self.mask(total), 2, 1)
        return paddle.concat([self.decode(code * mask) for mask in masks], 1)


# ---- by name -----------------------------------------------------------------------------------------------

CHARACTERS = 4233  # of AISHELL
THREE = ((3, (1, 3, 5)), (7, (1, 3, 5)), (11, (1, 3, 5)))


def builders(frames: int) -> dict[str, Any]:
    """{name: a function without arguments that makes the layer}; `frames`: of the models that know their number."""
    part = functools.partial
    return {
        "deepspeech2-gru": part(DeepSpeech, "gru", 5, 800, True), "deepspeech2-lstm": part(DeepSpeech, "lstm", 5, 800, True),
        "deepspeech2-online": part(DeepSpeech, "lstm", 5, 1024, False),
        "conformer-s": part(listener, "conformer", 144, 16, 4, 31, 1000), "conformer-m": part(listener, "conformer", 256, 16, 4, 31, 1000),
        "conformer-l": part(listener, "conformer", 512, 17, 8, 31, 1000), "conformer-u2": part(listener, "conformer", 256, 12, 4, 15, CHARACTERS, 6),
        "branchformer": part(listener, "branchformer", 256, 24, 4, 2048, CHARACTERS, 6), "transformer-asr": part(listener, "transformer", 256, 12, 4, 0, CHARACTERS, 6),
        "quartznet5x5": part(QuartzNet, 1), "quartznet15x5": part(QuartzNet, 3),
        "wav2vec2-base": part(Wav2vec, 768, 12, 12, False), "wav2vec2-large": part(Wav2vec, 1024, 24, 16, True),
        "whisper-tiny": part(Whisper, 384, 4, 6), "whisper-base": part(Whisper, 512, 6, 8), "whisper-small": part(Whisper, 768, 12, 12),
        "ecapa-tdnn-512": part(Ecapa, 512), "ecapa-tdnn-1024": part(Ecapa, 1024), "x-vector": Xvector, "speaker-resnet34": SpeakerResNet,
        "fastspeech2": FastSpeech2, "tacotron2": Tacotron2,
        "hifigan-v1": part(HifiGan, 512, (8, 8, 2, 2), (16, 16, 4, 4), THREE, 1), "hifigan-v2": part(HifiGan, 128, (8, 8, 2, 2), (16, 16, 4, 4), THREE, 1),
        "hifigan-v3": part(HifiGan, 256, (8, 8, 4), (16, 16, 8), ((3, (1, 2)), (5, (2, 6)), (7, (3, 12))), 2),
        "parallel-wavegan": ParallelWaveGan,
        "panns-cnn6": part(Panns, (64, 128, 256, 512), 5), "panns-cnn10": part(Panns, (64, 128, 256, 512), 3),
        "panns-cnn14": part(Panns, (64, 128, 256, 512, 1024, 2048), 3), "ast-base": part(Ast, 768, 12, frames), "ast-tiny": part(Ast, 192, 3, frames),
        "mdtc": Mdtc, "ds-cnn-s": part(DsCnn, 64, 4), "ds-cnn-m": part(DsCnn, 172, 4), "ds-cnn-l": part(DsCnn, 276, 5),
        "bc-resnet-1": part(BcResNet, 1), "bc-resnet-3": part(BcResNet, 3), "bc-resnet-8": part(BcResNet, 8),
        "kwt-1": part(Kwt, 64, 1), "kwt-2": part(Kwt, 128, 2), "kwt-3": part(Kwt, 192, 3), "conv-tasnet": ConvTasNet,
    }  # fmt: skip
