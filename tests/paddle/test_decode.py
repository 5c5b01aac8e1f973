# One token against a cache of keys and values: masked_multihead_attention, which Paddle's CPU device lacks.
from __future__ import annotations

from typing import Any

import numpy as np
import paddle
import pytest
from compared import fallen

BATCH, DEPTH, PLACES, LENGTH = 2, 32, 50, 37


def turned(v: Any, rotary: Any, segments: int, halves: bool) -> Any:
    """Su et al., RoFormer, 2021: pairs are neighbours, or lie half a segment apart."""
    if rotary is None:
        return v
    c, s = (table.reshape(BATCH, 1, DEPTH) for table in rotary)
    other = np.empty_like(v)
    if halves:
        for part in np.split(np.arange(DEPTH), segments):
            first, second = np.split(part, 2)
            other[..., first], other[..., second] = -v[..., second], v[..., first]
        return v * c + other * s
    other[..., 0::2], other[..., 1::2] = -v[..., 1::2], v[..., 0::2]
    return v * np.repeat(c[..., 0::2], 2, -1) + other * np.repeat(s[..., 0::2], 2, -1)


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
@pytest.mark.parametrize(
    ("heads", "own", "halves", "segments", "own_lengths"),
    [(4, 4, False, 1, False), (4, 4, True, 1, True), (4, 2, True, 2, True), (4, 1, False, 0, False)],
)
def test_one_token(dtype: str, heads: int, own: int, halves: bool, segments: int, own_lengths: bool) -> None:
    rng = np.random.default_rng(0)

    def tensor(shape: tuple[int, ...], to: str = dtype) -> tuple[Any, np.ndarray]:
        made = paddle.to_tensor(rng.standard_normal(shape).astype(np.float32)).astype(to)
        return made, made.astype("float32").numpy().astype(np.float64)

    x, x64 = tensor((BATCH, (heads + 2 * own) * DEPTH))
    cache, cache64 = tensor((2, BATCH, own, PLACES, DEPTH))
    bias, bias64 = tensor((heads + 2 * own, DEPTH))
    mask, mask64 = tensor((BATCH, 1, 1, LENGTH + 1))
    rotary, rotary64 = tensor((2, BATCH, 1, 1, DEPTH), "float32")
    lengths = [11, 36] if own_lengths else [LENGTH, LENGTH]
    width = 16 // (4 if dtype == "float32" else 2)

    def keys(stored: np.ndarray) -> np.ndarray:
        """The keys' part of a cache as [batch, heads, places, depth]."""
        apart = stored.reshape(BATCH, own, DEPTH // width, PLACES, width)
        return apart.transpose(0, 1, 3, 2, 4).reshape(BATCH, own, PLACES, DEPTH)

    token = x64.reshape(BATCH, heads + 2 * own, DEPTH) + bias64
    angles = rotary64 if segments else None
    q, k = (
        turned(token[:, part], angles, segments, halves) for part in (slice(heads), slice(heads, heads + own))
    )
    want_k, want_v = keys(cache64[0]).copy(), cache64[1].copy()
    want = np.zeros((BATCH, heads, DEPTH))
    for i, n in enumerate(lengths):
        want_k[i, :, n], want_v[i, :, n] = k[i], token[i, heads + own :]
        for h in range(heads):
            g = h // (heads // own)
            score = want_k[i, g, : n + 1] @ q[i, h] / DEPTH**0.5 + mask64[i, 0, 0, : n + 1]
            weight = np.exp(score - score.max())
            want[i, h] = weight / weight.sum() @ want_v[i, g, : n + 1]

    def step() -> Any:
        return paddle.incubate.nn.functional.masked_multihead_attention(
            x, cache, bias, mask, rotary_tensor=rotary if segments else None, rotary_emb_dims=segments,
            sequence_lengths=paddle.to_tensor(np.array(lengths, "i4").reshape(BATCH, 1)) if own_lengths else None,
            use_neox_rotary_style=halves,
        )[0]  # fmt: skip

    tolerance = {"float32": 2e-6, "float16": 4e-3, "bfloat16": 3e-2}[dtype]

    def check(got: Any, exact: np.ndarray) -> None:
        np.testing.assert_allclose(got, exact, rtol=tolerance, atol=tolerance * 2)

    check(step().astype("float32").numpy().reshape(want.shape), want)
    stored = cache.astype("float32").numpy()
    check(keys(stored[0]), want_k)
    check(stored[1], want_v)
    assert fallen(step) == {}


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
@pytest.mark.parametrize(
    ("heads", "own", "halves", "rope"), [(4, 4, False, True), (4, 2, True, True), (4, 1, False, False)]
)
def test_blocks(dtype: str, heads: int, own: int, halves: bool, rope: bool) -> None:
    """Two sequences of new tokens, then one more token for each and a third sequence, as a server does it: block_multihead_attention."""
    rng = np.random.default_rng(0)
    block, blocks, depth = 8, 12, DEPTH
    tables = np.array([[3, 7, 1, 0], [5, 2, 9, 4], [11, 6, 8, 10]], "i4")
    caches = [paddle.zeros([blocks, own, block, depth], dtype) for _ in range(2)]
    angles = rng.uniform(0, 6, (32, depth // 2))
    table = np.stack([np.cos(angles), np.sin(angles)]).astype("f4").astype("f8")
    given = np.concatenate([table, table], -1) if halves else table
    rope_emb = paddle.to_tensor(given.reshape(2, 1, 32, 1, -1).astype("f4")) if rope else None
    bias = paddle.to_tensor(rng.standard_normal((heads + 2 * own) * depth).astype("f4")).astype(dtype)
    history: list[list[np.ndarray]] = [[], [], []]
    tolerance = {"float32": 2e-6, "float16": 4e-3, "bfloat16": 3e-2}[dtype]

    def turn(v: np.ndarray, place: int) -> np.ndarray:
        if not rope:
            return v
        c, s = table[:, place]
        first, second = (v[:, : depth // 2], v[:, depth // 2 :]) if halves else (v[:, 0::2], v[:, 1::2])
        pairs = first * c - second * s, second * c + first * s
        return np.concatenate(pairs, -1) if halves else np.stack(pairs, -1).reshape(v.shape)

    for encoder, decoder in (([11, 3, 0], [0, 0, 0]), ([0, 0, 5], [11, 3, 0]), ([0, 0, 0], [12, 4, 5])):
        counts = [e or int(d > 0) for e, d in zip(encoder, decoder, strict=True)]
        starts = np.concatenate([[0], np.cumsum(counts)])
        x = paddle.to_tensor(
            rng.standard_normal((starts[-1], (heads + 2 * own) * depth)).astype("f4")
        ).astype(dtype)
        x64 = (x.astype("float32").numpy().astype("f8") + bias.astype("float32").numpy()).reshape(
            starts[-1], -1, depth
        )
        ints = [paddle.to_tensor(np.array(v, "i4").reshape(3, 1)) for v in (encoder, decoder, counts)]
        cu = paddle.to_tensor(starts.astype("i4"))
        zeros = paddle.zeros([starts[-1]], "int32")

        def step(x: Any = x, ints: Any = ints, zeros: Any = zeros, cu: Any = cu) -> Any:
            return paddle.incubate.nn.functional.block_multihead_attention(
                x, *caches, *ints, zeros, zeros, cu, cu, paddle.to_tensor(tables), rope_emb=rope_emb, qkv_bias=bias,
                max_seq_len=32, block_size=block, use_neox_style=halves,
            )[0]  # fmt: skip

        got = step().astype("float32").numpy().reshape(starts[-1], heads, depth)
        for i in range(3):
            for t in range(counts[i]):
                token, place = x64[starts[i] + t], decoder[i] + t
                turned_qk = turn(token[: heads + own], place)
                history[i].append(np.concatenate([turned_qk[heads:], token[heads + own :]]))
                past = np.stack(history[i])
                for h in range(heads):
                    g = h // (heads // own)
                    score = past[:, g] @ turned_qk[h] / depth**0.5
                    weight = np.exp(score - score.max())
                    want = weight / weight.sum() @ past[:, own + g]
                    np.testing.assert_allclose(
                        got[starts[i] + t, h], want, rtol=tolerance, atol=2 * tolerance
                    )
        assert fallen(step) == {}
