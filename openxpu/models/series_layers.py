"""Forecasting: [batch, past, variables] f32 to [batch, future, variables].

Sources: Bai 2018 (TCN), Oreshkin 2019 (N-BEATS), Challu 2022 (N-HiTS), Salinas 2017 (DeepAR), Lai 2017 (LSTNet), Zhou 2020
(Informer), Wu 2021 (Autoformer) and 2022 (TimesNet), Zeng 2022 (DLinear, NLinear), Li 2023 (RLinear), Nie 2022 (PatchTST),
Liu 2023 (iTransformer) and 2021 (SCINet), Zhang 2023 (Crossformer), Zhang 2022 (LightTS), Chen 2023 (TSMixer), Das 2023 (TiDE)."""

from __future__ import annotations

import functools
import math
from typing import Any

import numpy as np
import paddle
from paddle import nn
from paddle.nn import functional as F

from openxpu.models.ocr_layers import transformer, waves

PAST, FUTURE, VARIABLES = 96, 24, 7


def turned(x: Any) -> Any:
    return x.transpose([0, 2, 1])


class Normalised(nn.Layer):
    """Takes each variable's mean and deviation away before the model and puts them back after it (Kim 2022, without the affine part)."""

    def __init__(self, body: Any) -> None:
        super().__init__()
        self.body = body

    def forward(self, x: Any) -> Any:
        mean = x.mean(1, keepdim=True)
        deviation = (((x - mean) ** 2).mean(1, keepdim=True) + 1e-5).sqrt()
        return self.body((x - mean) / deviation) * deviation + mean


# ---- recurrent and convolutional -------------------------------------------------------------------------


class Recurrent(nn.Layer):
    def __init__(self, kind: str, width: int = 128, layers: int = 2) -> None:
        super().__init__()
        make = {"lstm": nn.LSTM, "gru": nn.GRU}[kind]
        self.rnn, self.head = make(VARIABLES, width, layers), nn.Linear(width, FUTURE * VARIABLES)

    def forward(self, x: Any) -> Any:
        return self.head(self.rnn(x)[0][:, -1]).reshape([-1, FUTURE, VARIABLES])


class DeepAr(nn.Layer):
    """Three LSTM layers of 40; each place gives mean and scale of the next: [batch, past, 2 variables]."""

    def __init__(self, width: int = 40, layers: int = 3) -> None:
        super().__init__()
        self.rnn, self.head = nn.LSTM(VARIABLES, width, layers), nn.Linear(width, 2 * VARIABLES)

    def forward(self, x: Any) -> Any:
        scale = x.abs().mean(1, keepdim=True) + 1.0
        mean, spread = paddle.chunk(self.head(self.rnn(x / scale)[0]), 2, -1)
        return paddle.concat([mean * scale, F.softplus(spread) * scale], -1)


class Past(nn.Layer):
    """A convolution that sees only what was before."""

    def __init__(self, inputs: int, outputs: int, kernel: int, dilation: int) -> None:
        super().__init__()
        self.side, self.conv = dilation * (kernel - 1), nn.Conv1D(inputs, outputs, kernel, dilation=dilation)

    def forward(self, x: Any) -> Any:
        return self.conv(F.pad(x, [self.side, 0], data_format="NCL"))


class TcnBlock(nn.Layer):
    def __init__(self, inputs: int, width: int, kernel: int, dilation: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            Past(inputs, width, kernel, dilation), nn.ReLU(), nn.Dropout(0.2), Past(width, width, kernel, dilation), nn.ReLU(), nn.Dropout(0.2)
        )  # fmt: skip
        self.short = nn.Conv1D(inputs, width, 1) if inputs != width else nn.Identity()

    def forward(self, x: Any) -> Any:
        return F.relu(self.body(x) + self.short(x))


class Tcn(nn.Layer):
    def __init__(self, width: int = 64, layers: int = 5, kernel: int = 3) -> None:
        super().__init__()
        self.body = nn.Sequential(
            *(TcnBlock(width if i else VARIABLES, width, kernel, 1 << i) for i in range(layers))
        )
        self.head = nn.Linear(width, FUTURE * VARIABLES)

    def forward(self, x: Any) -> Any:
        return self.head(self.body(turned(x))[:, :, -1]).reshape([-1, FUTURE, VARIABLES])


class LstNet(nn.Layer):
    """A convolution, a GRU, a GRU over every 24th step, and a linear model of the last steps, summed."""

    def __init__(
        self, width: int = 100, kernel: int = 6, skip: int = 24, skips: int = 5, high: int = 24
    ) -> None:
        super().__init__()
        self.conv, self.skip, self.high = nn.Conv1D(VARIABLES, width, kernel), skip, high
        self.rnn, self.skipped = nn.GRU(width, width), nn.GRU(width, skips)
        self.head, self.linear = nn.Linear(width + skip * skips, FUTURE * VARIABLES), nn.Linear(high, FUTURE)
        self.periods = (PAST - kernel + 1) // skip

    def forward(self, x: Any) -> Any:
        y = F.relu(self.conv(turned(x)))
        last = self.rnn(turned(y))[0][:, -1]
        period = y[:, :, -self.periods * self.skip :].reshape([0, y.shape[1], self.periods, self.skip])
        period = period.transpose([0, 3, 2, 1]).reshape([-1, self.periods, y.shape[1]])
        skipped = self.skipped(period)[0][:, -1]
        both = paddle.concat([last, skipped.reshape([-1, self.skip * skipped.shape[-1]])], -1)
        return self.head(both).reshape([-1, FUTURE, VARIABLES]) + turned(
            self.linear(turned(x)[:, :, -self.high :])
        )


def _odd(x: Any) -> Any:
    """Even and odd steps of [batch, steps, variables], side by side."""
    return x.reshape([0, x.shape[1] // 2, 2, x.shape[2]])


class Interactor(nn.Layer):
    """SCINet: even and odd steps scale and shift each other; `level` more such splits follow on each half."""

    def __init__(self, level: int, inner: int = 1, kernel: int = 5) -> None:
        super().__init__()

        def part() -> Any:
            width, side = VARIABLES * inner, kernel // 2
            return nn.Sequential(
                nn.Pad1D([side, side], "replicate"), nn.Conv1D(VARIABLES, width, kernel), nn.LeakyReLU(), nn.Dropout(0.5),
                nn.Conv1D(width, VARIABLES, 3, padding=1), nn.Tanh(),
            )  # fmt: skip

        self.parts = nn.LayerList([part() for _ in range(4)])
        self.halves = nn.LayerList([Interactor(level - 1), Interactor(level - 1)]) if level else None

    def forward(self, x: Any) -> Any:
        both = _odd(x)
        even, odd = turned(both[:, :, 0]), turned(both[:, :, 1])
        wide_odd, wide_even = odd * paddle.exp(self.parts[0](even)), even * paddle.exp(self.parts[1](odd))
        even, odd = turned(wide_even + self.parts[2](wide_odd)), turned(wide_odd - self.parts[3](wide_even))
        if self.halves is not None:
            even, odd = self.halves[0](even), self.halves[1](odd)
        return paddle.stack([even, odd], 2).flatten(1, 2)


class SciNet(nn.Layer):
    def __init__(self, levels: int = 3) -> None:
        super().__init__()
        self.tree, self.head = Interactor(levels - 1), nn.Conv1D(PAST, FUTURE, 1, bias_attr=False)

    def forward(self, x: Any) -> Any:
        return self.head(self.tree(x) + x)


# ---- linear and perceptrons ------------------------------------------------------------------------------


def moving_mean(x: Any, window: int = 25) -> Any:
    """The mean of `window` steps around each, its ends repeated: [batch, steps, variables]."""
    ends = [x[:, :1].tile([1, window // 2, 1]), x, x[:, -1:].tile([1, window // 2, 1])]
    return turned(F.avg_pool1d(turned(paddle.concat(ends, 1)), window, 1))


class Linear(nn.Layer):
    """kind d: of trend and of the rest (DLinear); n: of the difference from the last (NLinear); plain otherwise."""

    def __init__(self, kind: str = "") -> None:
        super().__init__()
        self.kind, self.one = kind, nn.Linear(PAST, FUTURE)
        self.trend = nn.Linear(PAST, FUTURE) if kind == "d" else None

    def forward(self, x: Any) -> Any:
        if self.trend is not None:
            trend = moving_mean(x)
            return turned(self.one(turned(x - trend)) + self.trend(turned(trend)))
        if self.kind == "n":
            last = x[:, -1:]
            return turned(self.one(turned(x - last))) + last
        return turned(self.one(turned(x)))


def stack(inputs: int, width: int, layers: int) -> Any:
    parts: list[Any] = []
    for index in range(layers):
        parts += [nn.Linear(width if index else inputs, width), nn.ReLU()]
    return nn.Sequential(*parts)


class Beats(nn.Layer):
    """N-BEATS, and N-HiTS where `pools` are given: each block explains part of the past and adds to the future.

    `bases`: of each stack: generic, trend (polynomials of degree 3) or seasonality (Fourier), or a number of points that are
    interpolated linearly."""

    def __init__(self, bases: tuple[Any, ...], width: int, blocks: int, pools: tuple[int, ...] = ()) -> None:
        super().__init__()
        self.bodies, self.heads = nn.LayerList(), nn.LayerList()
        self.kinds: list[Any] = []
        self.pools: list[int] = []
        for index, basis in enumerate(bases):
            pool = pools[index] if pools else 1
            for _ in range(blocks):
                back, forth = self.matrices(basis)
                self.bodies.append(stack(PAST // pool, width, 4 if not pools else 2))
                self.heads.append(
                    nn.LayerList([nn.Linear(width, back.shape[0]), nn.Linear(width, forth.shape[0])])
                )
                number = len(self.kinds)
                if basis == "generic":
                    self.heads[-1].extend([nn.Linear(back.shape[0], PAST), nn.Linear(forth.shape[0], FUTURE)])
                else:
                    self.register_buffer(f"back{number}", paddle.to_tensor(back))
                    self.register_buffer(f"forth{number}", paddle.to_tensor(forth))
                self.kinds.append(basis)
                self.pools.append(pool)

    @staticmethod
    def matrices(basis: Any) -> tuple[Any, Any]:
        """From coefficients to the past and to the future: [coefficients, steps] f32 each."""
        if basis == "generic":
            return np.zeros((32, PAST), np.float32), np.zeros((32, FUTURE), np.float32)
        found = []
        for steps in (PAST, FUTURE):
            at = np.arange(steps) / steps
            if basis == "trend":
                rows = [at**p for p in range(4)]
            elif basis == "seasonality":
                rows = [f(2 * np.pi * k * at) for k in range(FUTURE // 2) for f in (np.cos, np.sin)]
            else:
                count = max(steps // basis, 1)
                rows = [np.interp(at, np.linspace(0, 1, count), np.eye(count)[i]) for i in range(count)]
            found.append(np.stack(rows).astype(np.float32))
        return found[0], found[1]

    def forward(self, x: Any) -> Any:
        x = turned(x)
        rest, total = x, 0.0
        for index, body in enumerate(self.bodies):
            heads, pool = self.heads[index], self.pools[index]
            hidden = body(rest if pool == 1 else F.max_pool1d(rest, pool, pool))
            back, forth = heads[0](hidden), heads[1](hidden)
            if self.kinds[index] == "generic":
                back, forth = heads[2](back), heads[3](forth)
            else:
                back = paddle.matmul(back, getattr(self, f"back{index}"))
                forth = paddle.matmul(forth, getattr(self, f"forth{index}"))
            rest, total = rest - back, total + forth
        return turned(total)


class Residual(nn.Layer):
    """TiDE's block: a perceptron beside a linear map, then normalisation."""

    def __init__(self, inputs: int, inner: int, outputs: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Linear(inputs, inner), nn.ReLU(), nn.Linear(inner, outputs), nn.Dropout(0.3)
        )
        self.short, self.norm = nn.Linear(inputs, outputs), nn.LayerNorm(outputs)

    def forward(self, x: Any) -> Any:
        return self.norm(self.body(x) + self.short(x))


class Tide(nn.Layer):
    def __init__(self, width: int = 256, layers: int = 2, each: int = 8) -> None:
        super().__init__()
        self.encode = nn.Sequential(*(Residual(width if i else PAST, width, width) for i in range(layers)))
        self.decode = nn.Sequential(
            *(Residual(width, width, width if i < layers - 1 else each * FUTURE) for i in range(layers))
        )
        self.step, self.short, self.each = Residual(each, 32, 1), nn.Linear(PAST, FUTURE), each

    def forward(self, x: Any) -> Any:
        x = turned(x)
        steps = self.decode(self.encode(x)).reshape([0, VARIABLES, FUTURE, self.each])
        return turned(self.step(steps).squeeze(-1) + self.short(x))


class Mixer(nn.Layer):
    """TSMixer's block: over time, then over variables."""

    def __init__(self, inner: int) -> None:
        super().__init__()
        self.time = nn.Sequential(nn.Linear(PAST, PAST), nn.ReLU(), nn.Dropout(0.1))
        self.features = nn.Sequential(
            nn.Linear(VARIABLES, inner),
            nn.ReLU(),
            nn.Dropout(0.1),
            nn.Linear(inner, VARIABLES),
            nn.Dropout(0.1),
        )
        self.norms = nn.LayerList([nn.BatchNorm1D(PAST), nn.BatchNorm1D(PAST)])

    def forward(self, x: Any) -> Any:
        x = x + turned(self.time(turned(self.norms[0](x))))
        return x + self.features(self.norms[1](x))


class TsMixer(nn.Layer):
    def __init__(self, layers: int = 4, inner: int = 64) -> None:
        super().__init__()
        self.body, self.head = nn.Sequential(*(Mixer(inner) for _ in range(layers))), nn.Linear(PAST, FUTURE)

    def forward(self, x: Any) -> Any:
        return turned(self.head(turned(self.body(x))))


class Exchange(nn.Layer):
    """LightTS's block: [batch, height, columns] mixed along both and projected to [batch, outputs, columns]."""

    def __init__(self, height: int, inner: int, outputs: int, columns: int) -> None:
        super().__init__()
        self.down = nn.Sequential(nn.Linear(height, inner), nn.LeakyReLU(), nn.Linear(inner, inner // 4))
        self.across, self.short = nn.Linear(columns, columns), nn.Linear(height, outputs)
        self.up = nn.Linear(inner // 4, outputs)

    def forward(self, x: Any) -> Any:
        y = turned(self.down(turned(x)))
        y = turned(y + self.across(y))
        return turned(self.up(y) + self.short(turned(x)))


class LightTs(nn.Layer):
    """Steps in chunks, continuous and interleaved."""

    def __init__(self, chunk: int = 24, width: int = 128) -> None:
        super().__init__()
        count = PAST // chunk
        self.chunk, self.count = chunk, count
        self.near, self.far = (
            Exchange(chunk, width // 4, width // 4, count),
            Exchange(chunk, width // 4, width // 4, count),
        )
        self.one, self.two = nn.Linear(count, 1), nn.Linear(count, 1)
        self.all, self.highway = Exchange(width // 2, width, FUTURE, VARIABLES), nn.Linear(PAST, FUTURE)

    def forward(self, x: Any) -> Any:
        rows = turned(x)
        near = rows.reshape([-1, self.count, self.chunk]).transpose([0, 2, 1])
        far = rows.reshape([-1, self.chunk, self.count])
        found = [
            head(part(y)).squeeze(-1)
            for head, part, y in ((self.one, self.near, near), (self.two, self.far, far))
        ]
        both = paddle.concat(found, -1).reshape([-1, VARIABLES, found[0].shape[-1] * 2])
        return self.all(turned(both)) + turned(self.highway(rows))


# ---- transformers ----------------------------------------------------------------------------------------


class PatchTst(nn.Layer):
    """Each variable by itself, in patches of 16 every 8 steps."""

    def __init__(self, width: int, layers: int, heads: int, inner: int) -> None:
        super().__init__()
        self.count = (PAST - 16) // 8 + 2
        self.into, self.blocks = nn.Linear(16, width), transformer(width, layers, heads, inner, before=False)
        self.places = self.create_parameter([1, self.count, width])
        self.head = nn.Linear(self.count * width, FUTURE)

    def forward(self, x: Any) -> Any:
        rows = turned(x).flatten(0, 1)
        rows = paddle.concat([rows, rows[:, -1:].tile([1, 8])], 1)
        patches = paddle.stack([rows[:, 8 * i : 8 * i + 16] for i in range(self.count)], 1)
        found = self.head(self.blocks(self.into(patches) + self.places).flatten(1))
        return turned(found.reshape([-1, VARIABLES, FUTURE]))


class Inverted(nn.Layer):
    """iTransformer: a token is the whole past of a variable."""

    def __init__(self, width: int, layers: int, heads: int, inner: int) -> None:
        super().__init__()
        self.into, self.blocks, self.head = (
            nn.Linear(PAST, width),
            transformer(width, layers, heads, inner, before=False),
            nn.Linear(width, FUTURE),
        )

    def forward(self, x: Any) -> Any:
        return turned(self.head(self.blocks(self.into(turned(x)))))


class Values(nn.Layer):
    """Steps to `width` features by a circular convolution of three, and their positions."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv = nn.Conv1D(VARIABLES, width, 3, padding=1, padding_mode="circular", bias_attr=False)

    def forward(self, x: Any) -> Any:
        x = turned(self.conv(turned(x)))
        return x + waves(x)


class Vanilla(nn.Layer):
    """The transformer of Vaswani on values: the decoder has the second half of the past and zeros for what is asked."""

    def __init__(self, width: int = 512, heads: int = 8) -> None:
        super().__init__()
        self.past, self.both = Values(width), Values(width)
        self.encoder, self.decoder = (
            transformer(width, 2, heads, 2048, before=False),
            transformer(width, 1, heads, 2048, True, True, before=False),
        )
        self.head = nn.Linear(width, VARIABLES)

    def forward(self, x: Any) -> Any:
        asked = paddle.concat([x[:, PAST // 2 :], paddle.zeros_like(x[:, :FUTURE])], 1)
        return self.head(self.decoder(self.both(asked), self.encoder(self.past(x))))[:, -FUTURE:]


class ProbSparse(nn.Layer):
    """Informer: only the queries whose products differ most from their mean attend, the others get the mean of the values.

    The keys that queries are judged by are drawn at random by the authors; here it is every fourth."""

    def __init__(self, width: int, heads: int, factor: int = 5) -> None:
        super().__init__()
        self.q, self.k, self.v, self.out = (nn.Linear(width, width) for _ in range(4))
        self.heads, self.width, self.factor = heads, width // heads, factor

    def forward(self, x: Any, memory: Any = None) -> Any:
        source = x if memory is None else memory
        q = self.q(x).reshape([0, 0, self.heads, self.width]).transpose([0, 2, 1, 3])
        k, v = (
            f(source).reshape([0, 0, self.heads, self.width]).transpose([0, 2, 1, 3])
            for f in (self.k, self.v)
        )
        length = x.shape[1]
        count = min(length, self.factor * math.ceil(math.log(length)))
        sampled = paddle.matmul(q, k[:, :, ::4], transpose_y=True)
        spread = sampled.max(-1) - sampled.mean(-1)
        chosen = paddle.topk(spread, count, -1)[1]
        one = F.one_hot(chosen, length).astype(q.dtype)  # [batch, heads, count, length]
        scores = paddle.matmul(paddle.matmul(one, q), k, transpose_y=True) * self.width**-0.5
        found = paddle.matmul(F.softmax(scores, -1), v)
        here = one.sum(2).unsqueeze(-1)
        full = (1 - here) * v.mean(2, keepdim=True) + paddle.matmul(one, found, transpose_x=True)
        return self.out(full.transpose([0, 2, 1, 3]).flatten(2))


class AutoCorrelation(nn.Layer):
    """Autoformer: values shifted by the delays at which queries and keys agree most, found by Fourier transforms."""

    def __init__(self, width: int, heads: int, factor: int = 1) -> None:
        super().__init__()
        self.q, self.k, self.v, self.out, self.factor = *(nn.Linear(width, width) for _ in range(4)), factor

    def forward(self, x: Any, memory: Any = None) -> Any:
        source = x if memory is None else memory
        q, k, v = self.q(x), self.k(source), self.v(source)
        length = x.shape[1]
        if source.shape[1] > length:
            k, v = k[:, :length], v[:, :length]
        elif source.shape[1] < length:
            k, v = (paddle.concat([t, paddle.zeros_like(q[:, source.shape[1] :])], 1) for t in (k, v))
        spectrum = paddle.fft.rfft(turned(q.astype("float32"))) * paddle.conj(
            paddle.fft.rfft(turned(k.astype("float32")))
        )
        agreement = paddle.fft.irfft(spectrum, length).mean(1)  # [batch, delays]
        weights, delays = paddle.topk(agreement, max(int(self.factor * math.log(length)), 1), -1)
        weights = F.softmax(weights, -1)
        steps = paddle.arange(length).unsqueeze(0)
        total = 0.0
        for index in range(weights.shape[-1]):
            at = (steps + delays[:, index : index + 1]) % length
            moved = paddle.take_along_axis(
                v, at.unsqueeze(-1).expand([-1, -1, v.shape[-1]]), 1, broadcast=False
            )
            total = total + moved * weights[:, index : index + 1].unsqueeze(-1).astype(v.dtype)
        return self.out(total)


class SeriesBlock(nn.Layer):
    """Attention and feed-forward of Informer and Autoformer; the latter takes the trend away after each part."""

    def __init__(self, attention: Any, cross: Any, width: int, inner: int, trend: bool) -> None:
        super().__init__()
        self.attention, self.cross, self.trend = attention, cross, trend
        self.up, self.down = nn.Linear(width, inner), nn.Linear(inner, width)
        self.norms = nn.LayerList([nn.LayerNorm(width) for _ in range(3)]) if not trend else None
        self.project = (
            nn.Conv1D(width, VARIABLES, 3, padding=1, padding_mode="circular", bias_attr=False)
            if trend and cross is not None
            else None
        )

    def forward(self, x: Any, memory: Any = None) -> Any:
        trends = 0.0
        for index in range(3):
            if index == 0:
                x = x + self.attention(x)
            elif index == 1:
                if self.cross is None:
                    continue
                x = x + self.cross(x, memory)
            else:
                x = x + self.down(F.gelu(self.up(x)))
            if self.norms is not None:
                x = self.norms[index](x)
            else:
                trend = moving_mean(x)
                x, trends = x - trend, trends + trend
        return x if self.project is None else (x, turned(self.project(turned(trends))))


class Informer(nn.Layer):
    """Two encoder layers with a halving convolution between them, one decoder layer."""

    def __init__(self, width: int = 512, heads: int = 8, inner: int = 2048) -> None:
        super().__init__()
        self.past, self.both = Values(width), Values(width)
        self.blocks = nn.LayerList(
            [SeriesBlock(ProbSparse(width, heads), None, width, inner, False) for _ in range(2)]
        )
        self.distil = nn.Sequential(
            nn.Conv1D(width, width, 3, padding=1, padding_mode="circular"),
            nn.BatchNorm1D(width),
            nn.ELU(),
            nn.MaxPool1D(3, 2, 1),
        )
        self.norm, self.decoder = (
            nn.LayerNorm(width),
            transformer(width, 1, heads, inner, True, True, before=False),
        )
        self.head = nn.Linear(width, VARIABLES)

    def forward(self, x: Any) -> Any:
        memory = self.blocks[0](self.past(x))
        memory = self.norm(self.blocks[1](turned(self.distil(turned(memory)))))
        asked = paddle.concat([x[:, PAST // 2 :], paddle.zeros_like(x[:, :FUTURE])], 1)
        return self.head(self.decoder(self.both(asked), memory))[:, -FUTURE:]


class Autoformer(nn.Layer):
    """Two encoder layers and one decoder layer of auto-correlation; trend and season are carried apart."""

    def __init__(self, width: int = 512, heads: int = 8, inner: int = 2048) -> None:
        super().__init__()
        self.past, self.both = Values(width), Values(width)
        self.encoder = nn.LayerList(
            [SeriesBlock(AutoCorrelation(width, heads), None, width, inner, True) for _ in range(2)]
        )
        self.decoder = SeriesBlock(
            AutoCorrelation(width, heads), AutoCorrelation(width, heads), width, inner, True
        )
        self.head = nn.Linear(width, VARIABLES)

    def forward(self, x: Any) -> Any:
        trend = moving_mean(x)
        season = paddle.concat([(x - trend)[:, PAST // 2 :], paddle.zeros_like(x[:, :FUTURE])], 1)
        mean = x.mean(1, keepdim=True).tile([1, FUTURE, 1])
        memory = self.past(x)
        for block in self.encoder:
            memory = block(memory)
        found, more = self.decoder(self.both(season), memory)
        return (self.head(found) + more)[:, -FUTURE:] + paddle.concat([trend[:, PAST // 2 :], mean], 1)[
            :, -FUTURE:
        ]


class Inception(nn.Layer):
    """Six convolutions of 1, 3, ... 11, averaged."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.convs = nn.LayerList([nn.Conv2D(inputs, outputs, 2 * i + 1, padding=i) for i in range(6)])

    def forward(self, x: Any) -> Any:
        return paddle.stack([layer(x) for layer in self.convs], -1).mean(-1)


class TimesBlock(nn.Layer):
    """The series folded at its strongest periods into pictures.

    The authors look for the periods in each batch; a saved program needs fixed ones, so here they are `periods`, and the weights
    are still the amplitudes at them."""

    def __init__(self, width: int, inner: int, periods: tuple[int, ...]) -> None:
        super().__init__()
        self.periods, self.body = (
            periods,
            nn.Sequential(Inception(width, inner), nn.GELU(), Inception(inner, width)),
        )

    def forward(self, x: Any) -> Any:
        length, width = x.shape[1], x.shape[2]
        amplitudes = paddle.abs(paddle.fft.rfft(turned(x.astype("float32")))).mean(1)
        weights = F.softmax(paddle.stack([amplitudes[:, length // p] for p in self.periods], -1), -1).astype(
            x.dtype
        )
        total = x
        for index, period in enumerate(self.periods):
            picture = turned(x).reshape([0, width, length // period, period])
            total = total + turned(self.body(picture).flatten(2)) * weights[:, index : index + 1].unsqueeze(
                -1
            )
        return total


class TimesNet(nn.Layer):
    def __init__(self, width: int = 32, inner: int = 32, layers: int = 2) -> None:
        super().__init__()
        self.values, self.longer, self.head = (
            Values(width),
            nn.Linear(PAST, PAST + FUTURE),
            nn.Linear(width, VARIABLES),
        )
        self.blocks = nn.LayerList([TimesBlock(width, inner, (60, 24, 12, 8, 6)) for _ in range(layers)])
        self.norm = nn.LayerNorm(width)

    def forward(self, x: Any) -> Any:
        x = turned(self.longer(turned(self.values(x))))
        for block in self.blocks:
            x = self.norm(block(x))
        return self.head(x)[:, -FUTURE:]


class Attend(nn.Layer):
    """Attention to a memory, feed-forward; normalised after each (Crossformer)."""

    def __init__(self, width: int, heads: int, inner: int) -> None:
        super().__init__()
        from openxpu.models.language import Shape
        from openxpu.models.language_layers import Attention, FeedForward

        shape = Shape("encoder", 1, width, 1, heads, inner)
        self.attention, self.feed = Attention(shape, False, True), FeedForward(shape)
        self.norms = nn.LayerList([nn.LayerNorm(width), nn.LayerNorm(width)])

    def forward(self, x: Any, memory: Any) -> Any:
        x = self.norms[0](x + self.attention(x, memory))
        return self.norms[1](x + self.feed(x))


class TwoStage(nn.Layer):
    """Attention over time, then over variables by way of ten routers: [batch, variables, segments, width]."""

    def __init__(self, width: int, heads: int, inner: int, segments: int, routers: int = 10) -> None:
        super().__init__()
        self.time, self.gather, self.spread = (Attend(width, heads, inner) for _ in range(3))
        self.routers = self.create_parameter([1, segments, routers, width])

    def forward(self, x: Any) -> Any:
        segments, width = x.shape[2], x.shape[3]
        rows = x.flatten(0, 1)
        rows = self.time(rows, rows).reshape([-1, VARIABLES, segments, width])
        columns = rows.transpose([0, 2, 1, 3])
        routers = (self.routers + paddle.zeros_like(columns[:, :, :1])).flatten(0, 1)
        columns = columns.flatten(0, 1)
        columns = self.spread(columns, self.gather(routers, columns))
        return columns.reshape([-1, segments, VARIABLES, width]).transpose([0, 2, 1, 3])


class Crossformer(nn.Layer):
    """Segments of 12 steps; three scales, each merges two segments; the decoder's scales add their forecasts."""

    def __init__(
        self, width: int = 64, heads: int = 4, inner: int = 128, segment: int = 12, scales: int = 3
    ) -> None:
        super().__init__()
        count, asked = PAST // segment, FUTURE // segment
        self.segment, self.into = segment, nn.Linear(segment, width)
        self.places, self.asked = (
            self.create_parameter([1, VARIABLES, count, width]),
            self.create_parameter([1, VARIABLES, asked, width]),
        )
        self.norm = nn.LayerNorm(width)
        self.merge = nn.LayerList([nn.Linear(2 * width, width) for _ in range(scales - 1)])
        self.encode = nn.LayerList([TwoStage(width, heads, inner, count >> i) for i in range(scales)])
        self.decode = nn.LayerList([TwoStage(width, heads, inner, asked) for _ in range(scales + 1)])
        self.look = nn.LayerList([Attend(width, heads, inner) for _ in range(scales + 1)])
        self.heads = nn.LayerList([nn.Linear(width, segment) for _ in range(scales + 1)])

    def forward(self, x: Any) -> Any:
        count, asked = PAST // self.segment, FUTURE // self.segment
        x = self.norm(self.into(turned(x).reshape([0, VARIABLES, count, self.segment])) + self.places)
        width, memories = x.shape[-1], [x]
        for index, stage in enumerate(self.encode):
            if index:
                x = self.merge[index - 1](x.reshape([0, VARIABLES, count >> index, 2 * width]))
            x = stage(x)
            memories.append(x)
        y, total = self.asked + paddle.zeros_like(x[:, :, :1]), 0.0
        for index, memory in enumerate(memories):
            rows = self.look[index](self.decode[index](y).flatten(0, 1), memory.flatten(0, 1))
            y = rows.reshape([-1, VARIABLES, asked, width])
            total = total + self.heads[index](y).reshape([0, VARIABLES, FUTURE])
        return turned(total)


def builders() -> dict[str, Any]:
    """{name: a function without arguments that makes the layer}."""
    part = functools.partial
    return {
        "ts-lstm": part(Recurrent, "lstm"), "ts-gru": part(Recurrent, "gru"), "deepar": DeepAr, "tcn": Tcn, "lstnet": LstNet, "scinet": SciNet,
        "linear": Linear, "dlinear": part(Linear, "d"), "nlinear": part(Linear, "n"), "rlinear": lambda: Normalised(Linear()),
        "n-beats-generic": part(Beats, ("generic",) * 30, 512, 1), "n-beats-interpretable": part(Beats, ("trend", "seasonality"), 256, 3),
        "n-hits": part(Beats, (8, 4, 1), 512, 1, (8, 4, 1)), "tide": Tide, "tsmixer": lambda: Normalised(TsMixer()), "lightts": LightTs,
        "patchtst": lambda: Normalised(PatchTst(128, 3, 16, 256)), "itransformer": lambda: Normalised(Inverted(512, 3, 8, 512)),
        "ts-transformer": Vanilla, "informer": Informer, "autoformer": Autoformer, "timesnet": lambda: Normalised(TimesNet()), "crossformer": Crossformer,
    }  # fmt: skip
