"""The layers of the language models, in Paddle's own operators, so that every device has them."""

from __future__ import annotations

import math
from typing import Any

import paddle
from paddle import nn
from paddle.nn import functional as F

from openxpu.models.language import CLASSES, Shape


class RMSNorm(nn.Layer):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.weight = self.create_parameter([width], default_initializer=nn.initializer.Constant(1.0))

    def forward(self, x: Any) -> Any:
        # Spelt out: Paddle's CPU device, the reference, has no rms_norm.
        mean = (x.astype("float32") ** 2).mean(-1, keepdim=True)
        return (x * paddle.rsqrt(mean + 1e-6).astype(x.dtype)) * self.weight


def norm(shape: Shape, width: int) -> Any:
    return (
        RMSNorm(width)
        if shape.norm == "rms"
        else nn.LayerNorm(width, epsilon=1e-12 if not shape.before else 1e-5)
    )


def linear(inputs: int, outputs: int, bias: bool) -> Any:
    return nn.Linear(inputs, outputs, bias_attr=None if bias else False)


def places(ids: Any) -> Any:
    """0, 1, 2, ... along the second axis of ids [batch, length], whose length a saved program does not know."""
    ones = paddle.ones_like(ids)
    return paddle.cumsum(ones, 1) - ones


def rotated(x: Any, base: float, part: float) -> Any:
    """x [batch, length, heads, width]: each pair of the first `part` of the width turned by its position (Su 2021)."""
    width = int(x.shape[-1] * part) // 2 * 2
    turning, rest = (x, None) if width == x.shape[-1] else (x[..., :width], x[..., width:])
    step = paddle.arange(0, width, 2, dtype="float32")
    angle = places(x[:1, :, 0, 0]).astype("float32").unsqueeze(-1) * paddle.exp(
        step * (-math.log(base) / width)
    )
    angle = paddle.concat([angle, angle], -1).unsqueeze(2).astype(x.dtype)
    half = width // 2
    other = paddle.concat([-turning[..., half:], turning[..., :half]], -1)
    turned = turning * paddle.cos(angle) + other * paddle.sin(angle)
    return turned if rest is None else paddle.concat([turned, rest], -1)


class Attention(nn.Layer):
    def __init__(self, shape: Shape, causal: bool, cross: bool = False) -> None:
        super().__init__()
        self.shape, self.causal, self.cross = shape, causal, cross
        self.width = shape.head_width or shape.width // shape.heads
        self.key_heads = shape.key_heads or shape.heads
        bias = shape.bias if shape.qkv_bias is None else shape.qkv_bias
        self.q = linear(shape.width, shape.heads * self.width, bias)
        if shape.relative:  # its products are not scaled, its first queries are
            small = nn.initializer.Normal(0.0, (shape.width * self.width) ** -0.5)
            self.q = nn.Linear(
                shape.width, shape.heads * self.width, paddle.ParamAttr(initializer=small), False
            )
        self.k = linear(shape.width, self.key_heads * self.width, bias)
        self.v = linear(shape.width, self.key_heads * self.width, bias)
        self.out = linear(shape.heads * self.width, shape.width, shape.bias)
        if shape.norm_heads:
            self.q_norm, self.k_norm = RMSNorm(self.width), RMSNorm(self.width)
        if shape.relative and not cross:
            self.relative = nn.Embedding(shape.relative, shape.heads)

    def bias(self, x: Any) -> Any:
        """T5's learned bias by distance, in buckets that grow logarithmically: [1, heads, queries, keys]."""
        place = places(x[0:1, :, 0]).astype("int64")
        distance = place - place.transpose([1, 0])
        buckets = self.shape.relative
        if self.causal:
            base, distance = paddle.zeros_like(distance), paddle.clip(-distance, min=0)
        else:
            buckets //= 2
            base, distance = (distance > 0).astype("int64") * buckets, paddle.abs(distance)
        exact = buckets // 2
        far = paddle.log(paddle.clip(distance, min=1).astype("float32") / exact) / math.log(128 / exact)
        far = paddle.clip(exact + (far * (buckets - exact)).astype("int64"), max=buckets - 1)
        bucket = base + paddle.where(distance < exact, distance, far)
        return self.relative(bucket).transpose([2, 0, 1]).unsqueeze(0)

    def forward(self, x: Any, memory: Any = None) -> Any:
        source = x if memory is None else memory
        q = self.q(x).reshape([0, 0, self.shape.heads, self.width])
        k = self.k(source).reshape([0, 0, self.key_heads, self.width])
        v = self.v(source).reshape([0, 0, self.key_heads, self.width])
        if self.shape.norm_heads:
            q, k = self.q_norm(q), self.k_norm(k)
        if not self.shape.positions and not self.shape.relative:
            q = rotated(q, self.shape.rotary_base, self.shape.rotary_part)
            k = rotated(k, self.shape.rotary_base, self.shape.rotary_part)
        if self.key_heads != self.shape.heads:
            times = self.shape.heads // self.key_heads
            k, v = (paddle.repeat_interleave(t, times, 2) for t in (k, v))
        mask, scale = None, 1.0
        if self.shape.relative:  # T5 does not scale its products
            scale = math.sqrt(self.width)
            if not self.cross:
                mask = self.bias(x)
                if self.causal:
                    mask = mask + paddle.triu(paddle.full_like(mask, -1e9), 1)
        found = F.scaled_dot_product_attention(
            q * scale,
            k,
            v,
            attn_mask=mask,
            is_causal=self.causal and mask is None,
            training=self.training,
        )
        return self.out(found.reshape([0, 0, self.shape.heads * self.width]))


class FeedForward(nn.Layer):
    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.up = linear(shape.width, shape.inner, shape.bias)
        self.down = linear(shape.inner, shape.width, shape.bias)
        self.gate = linear(shape.width, shape.inner, shape.bias) if shape.gated else None
        self.act = getattr(F, shape.activation)

    def forward(self, x: Any) -> Any:
        inner = self.act(self.up(x)) if self.gate is None else self.act(self.gate(x)) * self.up(x)
        return self.down(inner)


class Block(nn.Layer):
    def __init__(self, shape: Shape, causal: bool, cross: bool = False) -> None:
        super().__init__()
        self.shape = shape
        self.attention, self.feed = Attention(shape, causal), FeedForward(shape)
        self.norm1, self.norm2 = norm(shape, shape.width), norm(shape, shape.width)
        self.cross: Any = Attention(shape, False, True) if cross else None
        self.norm3: Any = norm(shape, shape.width) if cross else None

    def forward(self, x: Any, memory: Any = None) -> Any:
        if self.shape.parallel:
            return x + self.attention(self.norm1(x)) + self.feed(self.norm2(x))
        if self.shape.before:
            x = x + self.attention(self.norm1(x))
            if self.cross is not None:
                x = x + self.cross(self.norm3(x), memory)
            return x + self.feed(self.norm2(x))
        x = self.norm1(x + self.attention(x))
        if self.cross is not None:
            x = self.norm3(x + self.cross(x, memory))
        return self.norm2(x + self.feed(x))


class Embedding(nn.Layer):
    def __init__(self, shape: Shape) -> None:
        super().__init__()
        narrow = shape.embedding or shape.width
        small = paddle.ParamAttr(initializer=nn.initializer.Normal(0.0, 1.0 if shape.relative else 0.02))
        self.words = nn.Embedding(shape.vocabulary, narrow, weight_attr=small)
        self.places = nn.Embedding(shape.positions, narrow) if shape.positions else None
        self.types = nn.Embedding(shape.types, narrow) if shape.types else None
        self.norm = None if shape.before else norm(shape, narrow)
        self.wide = nn.Linear(narrow, shape.width) if narrow != shape.width else None

    def forward(self, ids: Any) -> Any:
        x = self.words(ids)
        if self.places is not None:
            x = x + self.places(places(ids))
        if self.types is not None:
            x = x + self.types(paddle.zeros_like(ids))
        if self.norm is not None:
            x = self.norm(x)
        return x if self.wide is None else self.wide(x)


class Stack(nn.Layer):
    def __init__(self, shape: Shape, causal: bool, cross: bool = False) -> None:
        super().__init__()
        count = 1 if shape.shared else shape.layers
        self.repeat = shape.layers if shape.shared else 1
        self.blocks = nn.LayerList([Block(shape, causal, cross) for _ in range(count)])
        self.norm = norm(shape, shape.width) if shape.before else None

    def forward(self, x: Any, memory: Any = None) -> Any:
        for _ in range(self.repeat):
            for block in self.blocks:
                x = block(x, memory)
        return x if self.norm is None else self.norm(x)


class Encoder(nn.Layer):
    """Token numbers [batch, length] i64 to class scores [batch, CLASSES]."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.embedding, self.stack = Embedding(shape), Stack(shape, False)
        self.pool, self.head = nn.Linear(shape.width, shape.width), nn.Linear(shape.width, CLASSES)

    def forward(self, ids: Any) -> Any:
        return self.head(paddle.tanh(self.pool(self.stack(self.embedding(ids))[:, 0])))


class Decoder(nn.Layer):
    """Token numbers [batch, length] i64 to scores of the next token [batch, length, vocabulary]; the embedding is the head."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.embedding, self.stack = Embedding(shape), Stack(shape, True)

    def forward(self, ids: Any) -> Any:
        x = self.stack(self.embedding(ids))
        if self.embedding.wide is not None:
            x = paddle.matmul(x, self.embedding.wide.weight, transpose_y=True)
        return paddle.matmul(x, self.embedding.words.weight, transpose_y=True)


class Both(nn.Layer):
    """Source and target token numbers to scores of the next target token."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.embedding = Embedding(shape)
        self.encoder, self.decoder = Stack(shape, False), Stack(shape, True, True)

    def forward(self, ids: Any, target: Any) -> Any:
        memory = self.encoder(self.embedding(ids))
        x = self.decoder(self.embedding(target), memory) * (self.embedding.words.weight.shape[1] ** -0.5)
        return paddle.matmul(x, self.embedding.words.weight, transpose_y=True)


KINDS = {"encoder": Encoder, "decoder": Decoder, "both": Both}
