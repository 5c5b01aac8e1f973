"""Recommendation: click rates from 13 numbers and 26 categories (as in Criteo), from a history, several tasks, and what comes next.

Sources: Rendle 2010 (FM), Juan 2016 (FFM), Cheng 2016 (Wide & Deep), Guo 2017 (DeepFM), Wang 2017 (DCN) and 2020 (DCN-v2), Lian
2018 (xDeepFM), Song 2018 (AutoInt), He 2017 (NFM; NCF), Xiao 2017 (AFM), Qu 2016 (PNN), Naumov 2019 (DLRM), Huang 2019
(FiBiNET), Zhou 2017 (DIN) and 2018 (DIEN), Ma 2018 (MMoE; ESMM), Tang 2020 (PLE), Huang 2013 (DSSM), Covington 2016 (YouTube),
Hidasi 2015 (GRU4Rec), Kang 2018 (SASRec), Sun 2019 (BERT4Rec), Tang 2018 (Caser)."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import numpy as np
import paddle
from paddle import nn
from paddle.nn import functional as F

from openxpu.models.ocr_layers import transformer
from openxpu.models.recommendation import CATEGORIES, FIELDS, ITEMS, NUMBERS, PAST


def perceptron(inputs: int, widths: Sequence[int], act: Any = nn.ReLU, last: int = 0) -> Any:
    """Layers of these widths, each activated, and a linear one to `last` where that is given."""
    parts: list[Any] = []
    for width in widths:
        parts += [nn.Linear(inputs, width), act()]
        inputs = width
    return nn.Sequential(*parts, *([nn.Linear(inputs, last)] if last else []))


def small(count: int, width: int, deviation: float = 0.05) -> Any:
    return nn.Embedding(
        count, width, weight_attr=paddle.ParamAttr(initializer=nn.initializer.Normal(0.0, deviation))
    )


class Fields(nn.Layer):
    """Numbers [batch, 13] and categories [batch, 26] to vectors [batch, 39, width] and to the linear part [batch, 1]."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.table, self.first = small(FIELDS * CATEGORIES, width), small(FIELDS * CATEGORIES, 1)
        self.numbers = self.create_parameter(
            [NUMBERS, width], default_initializer=nn.initializer.Normal(0.0, 0.05)
        )
        self.linear = nn.Linear(NUMBERS, 1)
        self.register_buffer(
            "offsets", paddle.to_tensor((np.arange(FIELDS) * CATEGORIES)[None].astype(np.int64))
        )

    def forward(self, numbers: Any, categories: Any) -> tuple[Any, Any]:
        rows = categories + self.offsets  # one table for all fields
        vectors = paddle.concat([numbers.unsqueeze(-1) * self.numbers, self.table(rows)], 1)
        return vectors, self.linear(numbers) + self.first(rows).sum(1)


def crossed(vectors: Any) -> Any:
    """Half of (the square of the sum less the sum of the squares): all pairs of fields at once, [batch, width]."""
    total = vectors.sum(1)
    return 0.5 * (total * total - (vectors * vectors).sum(1))


def pairs(count: int) -> tuple[list[int], list[int]]:
    return [i for i in range(count) for _ in range(i + 1, count)], [
        j for i in range(count) for j in range(i + 1, count)
    ]


class Pairs(nn.Layer):
    """Both members of every pair of fields: [batch, pairs, width] twice."""

    def __init__(self, count: int) -> None:
        super().__init__()
        for name, index in zip(("left", "right"), pairs(count), strict=True):
            self.register_buffer(name, paddle.to_tensor(np.array(index, np.int64)))

    def forward(self, vectors: Any) -> tuple[Any, Any]:
        return paddle.gather(vectors, self.left, 1), paddle.gather(vectors, self.right, 1)


# ---- how fields meet -----------------------------------------------------------------------------------


class Cross(nn.Layer):
    """DCN: x0 (x w) + b + x; `matrix` (v2): x0 * (W x + b) + x; `experts`: W of low rank, several of them gated (DCN-Mix)."""

    def __init__(self, width: int, layers: int, matrix: bool, experts: int = 0, rank: int = 32) -> None:
        super().__init__()
        self.experts = experts
        if experts:
            self.down = nn.LayerList(
                [
                    nn.LayerList([nn.Linear(width, rank, bias_attr=False) for _ in range(experts)])
                    for _ in range(layers)
                ]
            )
            self.middle = nn.LayerList(
                [
                    nn.LayerList([nn.Linear(rank, rank, bias_attr=False) for _ in range(experts)])
                    for _ in range(layers)
                ]
            )
            self.up = nn.LayerList(
                [nn.LayerList([nn.Linear(rank, width) for _ in range(experts)]) for _ in range(layers)]
            )
            self.gate = nn.Linear(width, experts)
        elif matrix:
            self.layers = nn.LayerList([nn.Linear(width, width) for _ in range(layers)])
        else:
            self.layers = nn.LayerList([nn.Linear(width, 1, bias_attr=False) for _ in range(layers)])
            self.biases = nn.ParameterList(
                [self.create_parameter([width], is_bias=True) for _ in range(layers)]
            )
        self.matrix = matrix

    def forward(self, first: Any) -> Any:
        x = first
        if self.experts:
            for down, middle, up in zip(self.down, self.middle, self.up):  # noqa: B905 (Paddle's compiler knows no strict)
                gates, total = F.softmax(self.gate(x), -1), 0.0
                for index in range(self.experts):
                    seen = paddle.tanh(middle[index](paddle.tanh(down[index](x))))
                    total = total + gates[:, index : index + 1] * up[index](seen)
                x = first * total + x
            return x
        for index, layer in enumerate(self.layers):
            x = first * layer(x) + x if self.matrix else first * layer(x) + self.biases[index] + x
        return x


class Compressed(nn.Layer):
    """xDeepFM: outer products of fields along the width, compressed by a convolution, layer after layer."""

    def __init__(self, fields: int, widths: Sequence[int]) -> None:
        super().__init__()
        self.layers, before = nn.LayerList(), fields
        for width in widths:
            self.layers.append(nn.Conv1D(fields * before, width, 1))
            before = width // 2
        self.head = nn.Linear(sum(w // 2 for w in widths[:-1]) + widths[-1], 1)
        self.count = len(widths)

    def forward(self, first: Any) -> Any:
        x, found = first, []
        for index, layer in enumerate(self.layers):
            products = (first.unsqueeze(2) * x.unsqueeze(1)).flatten(1, 2)
            y = F.relu(layer(products))
            if index < self.count - 1:
                kept, x = paddle.chunk(y, 2, 1)
            else:
                kept = y
            found.append(kept.sum(-1))
        return self.head(paddle.concat(found, 1))


class Interacting(nn.Layer):
    """AutoInt's layer: attention among fields with a linear shortcut."""

    def __init__(self, inputs: int, width: int = 32, heads: int = 2) -> None:
        super().__init__()
        self.q, self.k, self.v, self.short = (
            nn.Linear(inputs, width * heads, bias_attr=False) for _ in range(4)
        )
        self.heads, self.width = heads, width

    def forward(self, x: Any) -> Any:
        q, k, v = (
            f(x).reshape([0, 0, self.heads, self.width]).transpose([0, 2, 1, 3])
            for f in (self.q, self.k, self.v)
        )
        found = paddle.matmul(F.softmax(paddle.matmul(q, k, transpose_y=True), -1), v)
        return F.relu(found.transpose([0, 2, 1, 3]).flatten(2) + self.short(x))


class Clicks(nn.Layer):
    """Numbers and categories to the logit of a click [batch, 1]. `kind` is the name of the model."""

    def __init__(self, kind: str, width: int = 16, deep: tuple[int, ...] = (400, 400, 400)) -> None:
        super().__init__()
        self.kind, self.fields = kind, Fields(width)
        fields = FIELDS + NUMBERS
        whole, count = fields * width, fields * (fields - 1) // 2
        if kind in ("wide-deep", "deepfm", "xdeepfm", "autoint-plus", "fnn"):
            self.deep = perceptron(whole, deep, last=1)
        if kind == "xdeepfm":
            self.compressed = Compressed(fields, (200, 200, 200))
        if kind in ("autoint", "autoint-plus"):
            self.attend = nn.Sequential(Interacting(width), Interacting(64), Interacting(64))
            self.head = nn.Linear(64 * fields, 1)
        if kind in ("dcn", "dcn-v2", "dcn-mix"):
            self.cross = Cross(whole, 3, kind == "dcn-v2", 4 if kind == "dcn-mix" else 0)
            self.deep, self.head = perceptron(whole, deep), nn.Linear(whole + deep[-1], 1)
        if kind == "nfm":
            self.norm, self.deep = nn.BatchNorm1D(width), perceptron(width, deep, last=1)
        if kind in ("afm", "ipnn", "opnn", "fibinet"):
            self.pairs = Pairs(fields)
        if kind == "afm":
            self.attend, self.head = (
                nn.Sequential(nn.Linear(width, 16), nn.ReLU(), nn.Linear(16, 1, bias_attr=False)),
                nn.Linear(width, 1, bias_attr=False),
            )
        if kind in ("ipnn", "opnn"):
            if kind == "opnn":
                self.kernel = self.create_parameter([1, count, width, width])
            self.deep = perceptron(whole + count, deep, last=1)
        if kind == "fibinet":
            self.squeeze = nn.Sequential(
                nn.Linear(fields, fields // 3), nn.ReLU(), nn.Linear(fields // 3, fields), nn.ReLU()
            )
            self.bilinear = nn.LayerList([nn.Linear(width, width, bias_attr=False) for _ in range(2)])
            self.deep = perceptron(2 * count * width, deep, last=1)

    def forward(self, numbers: Any, categories: Any) -> Any:
        x, linear = self.fields(numbers, categories)
        kind, rows = self.kind, x.flatten(1)
        if kind == "lr":
            return linear
        if kind == "fm":
            return linear + crossed(x).sum(1, keepdim=True)
        if kind == "fnn":
            return self.deep(rows)
        if kind == "wide-deep":
            return linear + self.deep(rows)
        if kind == "deepfm":
            return linear + crossed(x).sum(1, keepdim=True) + self.deep(rows)
        if kind == "xdeepfm":
            return linear + self.compressed(x) + self.deep(rows)
        if kind in ("autoint", "autoint-plus"):
            found = self.head(self.attend(x).flatten(1))
            return found + self.deep(rows) if kind == "autoint-plus" else found
        if kind in ("dcn", "dcn-v2", "dcn-mix"):
            return self.head(paddle.concat([self.cross(rows), self.deep(rows)], -1))
        if kind == "nfm":
            return linear + self.deep(self.norm(crossed(x)))
        left, right = self.pairs(x)
        if kind == "afm":
            products = left * right
            return linear + self.head((F.softmax(self.attend(products), 1) * products).sum(1))
        if kind == "ipnn":
            return self.deep(paddle.concat([rows, (left * right).sum(-1)], -1))
        if kind == "opnn":
            outer = paddle.matmul(left.unsqueeze(2), self.kernel).squeeze(2)
            return self.deep(paddle.concat([rows, (outer * right).sum(-1)], -1))
        weighed = self.pairs(x * self.squeeze(x.mean(-1)).unsqueeze(-1))
        found = [self.bilinear[0](left) * right, self.bilinear[1](weighed[0]) * weighed[1]]
        return linear + self.deep(paddle.concat(found, 1).flatten(1))


class FieldAware(nn.Layer):
    """FFM: each category has a vector for every other field."""

    def __init__(self, width: int = 4) -> None:
        super().__init__()
        self.fields = Fields(1)
        self.table, self.width = small(FIELDS * CATEGORIES, FIELDS * width), width
        self.pairs = pairs(FIELDS)
        for name, index in zip(("left", "right"), pairs(FIELDS), strict=True):
            other = pairs(FIELDS)[1 if name == "left" else 0]
            self.register_buffer(name, paddle.to_tensor(np.array(index) * FIELDS + np.array(other)))

    def forward(self, numbers: Any, categories: Any) -> Any:
        linear = self.fields(numbers, categories)[1]
        rows = self.table(categories + self.fields.offsets).reshape([0, FIELDS * FIELDS, self.width])
        return linear + (paddle.gather(rows, self.left, 1) * paddle.gather(rows, self.right, 1)).sum(
            [1, 2]
        ).unsqueeze(-1)


class Dlrm(nn.Layer):
    """Numbers through a perceptron to one more vector, products of all pairs, a perceptron on top."""

    def __init__(self, width: int, bottom: tuple[int, ...], top: tuple[int, ...]) -> None:
        super().__init__()
        self.table, self.bottom = small(FIELDS * CATEGORIES, width), perceptron(NUMBERS, (*bottom, width))
        self.pairs, self.top = Pairs(FIELDS + 1), perceptron(width + (FIELDS + 1) * FIELDS // 2, top, last=1)
        self.register_buffer(
            "offsets", paddle.to_tensor((np.arange(FIELDS) * CATEGORIES)[None].astype(np.int64))
        )

    def forward(self, numbers: Any, categories: Any) -> Any:
        dense = self.bottom(numbers)
        left, right = self.pairs(
            paddle.concat([dense.unsqueeze(1), self.table(categories + self.offsets)], 1)
        )
        return self.top(paddle.concat([dense, (left * right).sum(-1)], -1))


# ---- several tasks -------------------------------------------------------------------------------------


class Shared(nn.Layer):
    """Click and purchase: [batch, 2] logits. kind: bottom (one body), mmoe (gated experts), ple (shared and own experts), esmm."""

    def __init__(self, kind: str, width: int = 16) -> None:
        super().__init__()
        self.kind, self.fields = kind, Fields(width)
        whole, tasks = (FIELDS + NUMBERS) * width, 2
        if kind == "bottom":
            self.body = perceptron(whole, (256, 128))
        if kind == "mmoe":
            self.experts = nn.LayerList([perceptron(whole, (256, 128)) for _ in range(8)])
            self.gates = nn.LayerList([nn.Linear(whole, 8) for _ in range(tasks)])
        if kind == "ple":
            self.levels = nn.LayerList(
                [
                    nn.LayerList([perceptron(whole if not level else 128, (128,)) for _ in range(9)])
                    for level in range(2)
                ]
            )
            self.gates = nn.LayerList(
                [
                    nn.LayerList(
                        [nn.Linear(whole if not level else 128, 9 if g == 2 else 6) for g in range(3)]
                    )
                    for level in range(2)
                ]
            )
        self.towers = nn.LayerList(
            [perceptron(whole if kind == "esmm" else 128, (64, 32), last=1) for _ in range(tasks)]
        )

    @staticmethod
    def gated(gate: Any, x: Any, experts: list[Any]) -> Any:
        weights = F.softmax(gate(x), -1)
        total = 0.0
        for index, expert in enumerate(experts):
            total = total + weights[:, index : index + 1] * expert
        return total

    def forward(self, numbers: Any, categories: Any) -> Any:
        x = self.fields(numbers, categories)[0].flatten(1)
        if self.kind == "bottom":
            body = self.body(x)
            given = [body, body]
        elif self.kind == "mmoe":
            experts = [expert(x) for expert in self.experts]
            given = [self.gated(gate, x, experts) for gate in self.gates]
        elif self.kind == "ple":  # three experts of each task and three that are shared
            given = [x, x, x]
            for level in range(2):
                made = [layer(given[index // 3]) for index, layer in enumerate(self.levels[level])]
                gates = self.gates[level]
                own = [
                    self.gated(gates[t], given[t], [*made[3 * t : 3 * t + 3], *made[6:]]) for t in range(2)
                ]
                given = [*own, self.gated(gates[2], given[2], made)]
        else:
            given = [x, x]
        click, buy = self.towers[0](given[0]), self.towers[1](given[1])
        if self.kind == "esmm":  # what is bought was clicked: the chances multiply
            chance = F.sigmoid(click) * F.sigmoid(buy)
            buy = paddle.log(chance + 1e-6) - paddle.log(1 - chance + 1e-6)
        return paddle.concat([click, buy], -1)


# ---- histories -----------------------------------------------------------------------------------------


class Dice(nn.Layer):
    """DIN's activation: between both slopes by where a value lies in its batch."""

    def __init__(self, width: int) -> None:
        super().__init__()
        # Scale and shift stay 1 and 0; without them Paddle's CPU inference crashes.
        fixed = paddle.ParamAttr(trainable=False)
        self.norm = nn.BatchNorm1D(width, weight_attr=fixed, bias_attr=fixed)
        self.slope = self.create_parameter([width], is_bias=True)

    def forward(self, x: Any) -> Any:
        part = F.sigmoid(self.norm(x))
        return part * x + (1 - part) * self.slope * x


class Interest(nn.Layer):
    """DIN: how much each item of the history matters for the one that is offered. DIEN: interests evolve in GRUs on the way to it."""

    def __init__(self, evolves: bool, width: int = 32) -> None:
        super().__init__()
        self.items, self.evolves = small(ITEMS, width), evolves
        self.attend = nn.Sequential(
            nn.Linear(4 * width, 80), nn.Sigmoid(), nn.Linear(80, 40), nn.Sigmoid(), nn.Linear(40, 1)
        )
        self.one, self.two, self.head = nn.Linear(3 * width, 200), nn.Linear(200, 80), nn.Linear(80, 1)
        self.acts = nn.LayerList([Dice(200), Dice(80)])
        if evolves:
            self.interest, self.gates, self.new = (
                nn.GRU(width, width),
                nn.Linear(2 * width, 2 * width),
                nn.Linear(2 * width, width),
            )

    def forward(self, history: Any, item: Any) -> Any:
        past, item = self.items(history), self.items(item)
        states = self.interest(past)[0] if self.evolves else past
        wide = item + paddle.zeros_like(states)
        scores = self.attend(paddle.concat([states, wide, states - wide, states * wide], -1))
        if self.evolves:  # a GRU whose update gate is scaled by attention
            weights = F.softmax(scores, 1)
            interest = paddle.zeros_like(states[:, 0])
            for step in range(PAST):
                update, reset = paddle.chunk(
                    F.sigmoid(self.gates(paddle.concat([states[:, step], interest], -1))), 2, -1
                )
                new = paddle.tanh(self.new(paddle.concat([states[:, step], reset * interest], -1)))
                update = update * weights[:, step]
                interest = (1 - update) * interest + update * new
        else:
            interest = (scores * states).sum(1)
        x = paddle.concat([interest, item[:, 0], interest * item[:, 0]], -1)
        return self.head(self.acts[1](self.two(self.acts[0](self.one(x)))))


class Collaborative(nn.Layer):
    """NCF: a product of user and item beside a perceptron on both. kind: gmf, mlp or both (NeuMF)."""

    def __init__(self, kind: str, width: int = 32) -> None:
        super().__init__()
        self.kind = kind
        self.users, self.items = small(ITEMS, width, 0.3), small(ITEMS, width, 0.3)
        self.deep_users, self.deep_items = small(ITEMS, 2 * width), small(ITEMS, 2 * width)
        self.deep = perceptron(4 * width, (2 * width, width, width // 2))
        self.head = nn.Linear({"gmf": width, "mlp": width // 2, "both": width + width // 2}[kind], 1)

    def forward(self, user: Any, item: Any) -> Any:
        user, item = user[:, 0], item[:, 0]
        product = self.users(user) * self.items(item)
        deep = self.deep(paddle.concat([self.deep_users(user), self.deep_items(item)], -1))
        return self.head({"gmf": product, "mlp": deep}.get(self.kind, paddle.concat([product, deep], -1)))


class Towers(nn.Layer):
    """Two towers: what a user did and an item, each to a vector of length one; their product, sharpened, for each pair in the batch."""

    def __init__(self, widths: tuple[int, ...] = (300, 300, 128), width: int = 64) -> None:
        super().__init__()
        self.items, self.left, self.right = (
            small(ITEMS, width),
            perceptron(width, widths, nn.Tanh),
            perceptron(width, widths, nn.Tanh),
        )

    def forward(self, history: Any, item: Any) -> Any:
        left, right = self.left(self.items(history).mean(1)), self.right(self.items(item[:, 0]))
        return paddle.matmul(F.normalize(left, axis=-1), F.normalize(right, axis=-1), transpose_y=True) * 20


class Following(nn.Layer):
    """A history [batch, length] to scores of the item that comes next, at each place: GRU4Rec, SASRec, BERT4Rec; at the end: Caser, YouTube."""

    def __init__(self, kind: str, width: int = 64, layers: int = 2, heads: int = 2) -> None:
        super().__init__()
        self.kind, self.items = kind, small(ITEMS, width)
        if kind == "gru":
            self.body = nn.GRU(width, width)
        elif kind == "youtube":
            self.body = perceptron(width, (256, 128, width))
        elif kind == "caser":
            self.across = nn.LayerList([nn.Conv2D(1, 16, (h, width)) for h in (2, 3, 4)])
            self.along, self.body = (
                nn.Conv2D(1, 4, (PAST, 1)),
                nn.Sequential(nn.Linear(48 + 4 * width, width), nn.ReLU()),
            )
        else:
            self.places = self.create_parameter([1, PAST, width])
            self.body = transformer(
                width,
                layers,
                heads,
                4 * width if kind == "bert" else width,
                kind == "sas",
                act="gelu" if kind == "bert" else "relu",
                before=kind == "sas",
            )

    def forward(self, history: Any) -> Any:
        x = self.items(history)
        if self.kind == "gru":
            x = self.body(x)[0]
        elif self.kind == "youtube":
            x = self.body(x.mean(1, keepdim=True))
        elif self.kind == "caser":
            picture = x.unsqueeze(1)
            across = [F.relu(layer(picture).squeeze(-1)).max(-1) for layer in self.across]
            x = self.body(paddle.concat([*across, self.along(picture).flatten(1)], -1)).unsqueeze(1)
        else:
            x = self.body(x + self.places)
        return paddle.matmul(x, self.items.weight, transpose_y=True)


def builders() -> dict[str, Any]:
    """{name: a function without arguments that makes the layer}."""
    part = functools.partial
    kinds = (
        "lr fm fnn wide-deep deepfm xdeepfm autoint autoint-plus dcn dcn-v2 dcn-mix nfm afm ipnn opnn fibinet"
    )
    return {
        **{kind: part(Clicks, kind) for kind in kinds.split()},
        "ffm": FieldAware, "dlrm-small": part(Dlrm, 16, (512, 256, 64), (512, 256)), "dlrm": part(Dlrm, 128, (512, 256), (1024, 1024, 512, 256)),
        "shared-bottom": part(Shared, "bottom"), "mmoe": part(Shared, "mmoe"), "ple": part(Shared, "ple"), "esmm": part(Shared, "esmm"),
        "din": part(Interest, False), "dien": part(Interest, True), "gmf": part(Collaborative, "gmf"), "ncf-mlp": part(Collaborative, "mlp"),
        "neumf": part(Collaborative, "both"), "dssm": Towers, "gru4rec": part(Following, "gru"), "sasrec": part(Following, "sas"),
        "bert4rec": part(Following, "bert"), "caser": part(Following, "caser"), "youtube-dnn": part(Following, "youtube"),
    }  # fmt: skip
