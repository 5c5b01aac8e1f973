# Paddle's attention functions on the card: the flash kernels where they mean what the CPU's composition means, and beyond.

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import paddle
import pytest
from compared import fallen, on_both

F = paddle.nn.functional
flash = F.flash_attention
MASK = np.where(np.tril(np.ones((7, 7))), 0.0, -1e4).astype(np.float32).reshape(1, 1, 7, 7)
FUNCTIONS: dict[str, Callable[[Any, Any, Any], Any]] = {
    "scaled_dot_product": F.scaled_dot_product_attention,
    "causal": lambda q, k, v: F.scaled_dot_product_attention(q, k, v, is_causal=True),
    "with a mask": lambda q, k, v: F.scaled_dot_product_attention(q, k, v, attn_mask=paddle.to_tensor(MASK)),
    "with a mask of bools": lambda q, k, v: F.scaled_dot_product_attention(
        q, k, v, attn_mask=paddle.to_tensor(MASK == 0)
    ),
    "with a flat mask": lambda q, k, v: F.scaled_dot_product_attention(
        q, k, v, attn_mask=paddle.to_tensor(MASK[0, 0])
    ),
    "with a scale": lambda q, k, v: F.scaled_dot_product_attention(q, k, v, scale=0.7),
    "causal from the first key": lambda q, k, v: F.scaled_dot_product_attention(q[:, :4], k, v, is_causal=True),
    "one head of keys": lambda q, k, v: F.scaled_dot_product_attention(q, k[:, :, :1], v[:, :, :1]),
    "flash_attention": lambda q, k, v: flash.flash_attention(q, k, v, causal=True)[0],
}  # fmt: skip


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", FUNCTIONS)
def test_values_and_gradients(name: str, dtype: str) -> None:
    def attend() -> list[np.ndarray]:
        rng = np.random.default_rng(0)
        tensors = [
            paddle.to_tensor(rng.normal(0, 1, (2, 7, 4, 8)), dtype=dtype, stop_gradient=False)
            for _ in range(3)
        ]
        with paddle.amp.auto_cast(False):
            out = FUNCTIONS[name](*tensors)
        (out**2).sum().backward()
        return [out.numpy(), *[t.grad.numpy() for t in tensors]]

    if dtype == "float64" and name.startswith("with a") and "scale" not in name:
        pytest.skip("the mask is of float32, which Paddle's composition does not add to float64")
    card, cpu = on_both(attend)
    for ours, theirs in zip(card, cpu, strict=True):
        tolerance = 1e-4 if dtype == "float32" else 1e-9
        np.testing.assert_allclose(ours, theirs, rtol=tolerance, atol=tolerance / 10)
    assert fallen(attend) == {}


def tensor(shape: tuple[int, ...], seed: int = 0) -> Any:
    rng = np.random.default_rng(seed)
    return paddle.to_tensor(rng.normal(0, 1, shape).astype(np.float32), stop_gradient=False)


def test_a_mask_that_learns() -> None:
    """A bias of positions is a parameter: flash attention has no gradient for it."""

    def attend() -> np.ndarray:
        q, mask = tensor((1, 6, 2, 8)), tensor((1, 2, 6, 6), 1)
        (F.scaled_dot_product_attention(q, q, q, attn_mask=mask) ** 2).sum().backward()
        return np.asarray(mask.grad.numpy())

    card, cpu = on_both(attend)
    np.testing.assert_allclose(card, cpu, rtol=1e-4, atol=1e-5)


def test_packed_is_as_padded() -> None:
    q = tensor((50, 4, 8))
    starts = paddle.to_tensor([0, 20, 50], dtype="int32")
    out, _ = flash.flash_attn_unpadded(q, q, q, starts, starts, 30, 30, 8**-0.5, causal=True)
    (out**2).sum().backward()
    packed, q.grad = q.grad.numpy(), None
    parts = [
        flash.flash_attention(q[a:b].unsqueeze(0), *[q[a:b].unsqueeze(0)] * 2, causal=True)[0]
        for a, b in ((0, 20), (20, 50))
    ]
    np.testing.assert_allclose(out.numpy(), paddle.concat(parts, 1)[0].numpy(), rtol=1e-5, atol=1e-6)
    sum((part**2).sum() for part in parts).backward()
    np.testing.assert_allclose(packed, q.grad.numpy(), rtol=1e-4, atol=1e-5)


def test_window() -> None:
    q = tensor((2, 40, 4, 8))
    out = flash.flashmask_attention(q, q, q, causal=True, window_size=5)
    rows = np.arange(40)
    seen = (rows[None, :] <= rows[:, None]) & (rows[None, :] >= rows[:, None] - 5)
    want = F.scaled_dot_product_attention(q, q, q, attn_mask=paddle.to_tensor(seen.reshape(1, 1, 40, 40)))
    np.testing.assert_allclose(out.numpy(), want.numpy(), rtol=1e-5, atol=1e-6)
    out.sum().backward()
    first, q.grad = q.grad.numpy(), None
    want.sum().backward()
    np.testing.assert_allclose(first, q.grad.numpy(), rtol=1e-4, atol=1e-5)


def test_dropout_comes_from_the_seed() -> None:
    q = tensor((1, 40, 2, 8))

    def attend(fixed: Any = None) -> Any:
        return paddle._C_ops.flash_attn(q, q, q, fixed, None, 0.5, False, True, False, "")

    paddle.seed(3)
    out, weights, _, seeds = attend()
    other = attend()[0]
    assert not np.array_equal(out.numpy(), other.numpy())
    paddle.seed(3)
    assert np.array_equal(out.numpy(), attend()[0].numpy())
    assert np.array_equal(out.numpy(), attend(seeds)[0].numpy())
    w = weights.numpy()[:, :, :40, :40]
    assert abs((w == 0).mean() - 0.5) < 0.05
    np.testing.assert_allclose(out.numpy(), np.einsum("bhmn,bnhd->bmhd", w, q.numpy()), rtol=1e-4, atol=1e-5)
    out = paddle._C_ops.flash_attn(q, q, q, None, None, 0.5, False, True, True, "")[0]
    np.testing.assert_allclose(
        out.numpy(), F.scaled_dot_product_attention(q, q, q).numpy(), rtol=1e-5, atol=1e-6
    )


def test_transformers_stay_on_the_card() -> None:
    def step() -> None:
        x = tensor((2, 10, 64))
        layer = paddle.nn.TransformerEncoderLayer(64, 4, 128, 0.1)
        paddle.nn.TransformerEncoder(layer, 2)(x, paddle.zeros([2, 1, 10, 10])).sum().backward()
        model = paddle.nn.Transformer(64, 4, 1, 1, 128)
        model(x, x, None, model.generate_square_subsequent_mask(10)).sum().backward()
        paddle.nn.MultiHeadAttention(64, 4)(x, x, x).sum().backward()

    assert fallen(step) == {}


@pytest.mark.parametrize("causal", [False, True])
def test_sequences_that_end_early(causal: bool) -> None:
    """variable_length_memory_efficient_attention: [batch, heads, rows, depth], two keys of a cache in front."""
    rng = np.random.default_rng(0)
    q, k = rng.standard_normal((2, 4, 12, 16)), rng.standard_normal((2, 2, 20, 16))
    mask = rng.standard_normal((2, 1, 12, 25))
    rows, keys = np.array([[12], [5]], "i4"), np.array([[17], [9]], "i4")
    tensors = [paddle.to_tensor(x.astype("f4")) for x in (q, k, k)]
    out = paddle.incubate.nn.functional.variable_length_memory_efficient_attention(
        *tensors, *map(paddle.to_tensor, (rows, keys)), paddle.to_tensor(mask.astype("f4")), 0.3, causal, 2
    ).numpy()
    heads = np.repeat(k, 2, 1)
    scores = np.einsum("bhmd,bhnd->bhmn", q, heads) * 0.3 + mask[..., :20]
    for i, (m, n) in enumerate(((12, 19), (5, 11))):
        s = scores[i, :, :m, :n]
        if causal:
            s = np.where(np.arange(n)[None] <= np.arange(m)[:, None] + n - m, s, -np.inf)
        weights = np.exp(s) / np.exp(s).sum(-1, keepdims=True)
        np.testing.assert_allclose(out[i, :, :m], weights @ heads[i, :, :n], rtol=1e-4, atol=1e-5)
        assert (out[i, :, m:] == 0).all()


def test_packed_in_one_tensor() -> None:
    """self_dp_attention, which only programs have."""
    x = np.random.default_rng(0).normal(0, 1, (2, 40, 3, 4, 16)).astype(np.float32)

    def attend() -> np.ndarray:
        paddle.enable_static()
        program = paddle.static.Program()
        with paddle.static.program_guard(program):
            out = paddle._C_ops.self_dp_attention(paddle.static.data("x", x.shape), 0.25, 4)
        place = paddle.CPUPlace() if paddle.get_device() == "cpu" else paddle.CustomPlace("xpu", 0)
        (result,) = paddle.static.Executor(place).run(program, {"x": x}, [out])
        paddle.disable_static()
        return np.asarray(result)

    card, cpu = on_both(attend)
    np.testing.assert_allclose(card, cpu, rtol=1e-4, atol=1e-5)
    assert fallen(attend) == {}


def test_longest_sequences() -> None:
    lengths = (paddle.to_tensor(row, dtype="int32") for row in ([3, 9, 2], [0, 0, 7]))
    longest = paddle.incubate.nn.functional.blha_get_max_len(*lengths, paddle.ones([3]))
    assert [int(t.numpy()[0]) for t in longest] == [9, 7]


def test_queries_keys_and_values_in_one_tensor() -> None:
    packed = tensor((2, 9, 3, 4, 16))
    apart = [packed[:, :, i].detach() for i in range(3)]
    for part in apart:
        part.stop_gradient = False
    out = flash.flash_attn_qkvpacked(packed, causal=True)[0]
    want = flash.flash_attention(*apart, causal=True)[0]
    np.testing.assert_array_equal(out.numpy(), want.numpy())
    (out**2).sum().backward()
    (want**2).sum().backward()
    for i, part in enumerate(apart):
        np.testing.assert_allclose(packed.grad.numpy()[:, :, i], part.grad.numpy(), rtol=1e-5, atol=1e-6)


def test_fused_dot_product_attention() -> None:
    parts = [tensor((2, 9, 4, 16), i) for i in range(3)]
    mask = tensor((2, 4, 9, 9), 3).detach()
    fused = paddle.incubate.nn.functional.fused_dot_product_attention

    def both(first: Any, second: Any) -> None:
        results = []
        for out in (first(), second()):
            (out**2).sum().backward()
            results.append([out.numpy(), *[part.grad.numpy() for part in parts]])
            for part in parts:
                part.clear_grad()
        for ours, theirs in zip(*results, strict=True):
            np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-5)

    both(lambda: fused(*parts, mask), lambda: F.scaled_dot_product_attention(*parts, mask))
    both(
        lambda: fused(*parts, is_causal=True), lambda: F.scaled_dot_product_attention(*parts, is_causal=True)
    )
    both(lambda: fused(*parts, scaling_factor=0.5), lambda: F.scaled_dot_product_attention(*parts, scale=0.5))


@pytest.mark.parametrize("kind", ["bias", "lower triangle", "scale", "blocks", "causal blocks"])
def test_memory_efficient_attention(kind: str) -> None:
    from paddle.incubate.nn import attn_bias
    from paddle.incubate.nn.memory_efficient_attention import memory_efficient_attention

    packed = kind.endswith("blocks")
    parts = [tensor((1, 18, 4, 16) if packed else (2, 9, 4, 16), i) for i in range(3)]
    bias = tensor((2, 4, 9, 9), 3).detach()
    blocks = attn_bias.BlockDiagonalMask.from_seqlens([5, 13])

    def efficient() -> Any:
        if kind == "scale":
            return memory_efficient_attention(*parts, scale=0.3)
        masks = {
            "bias": bias, "lower triangle": attn_bias.LowerTriangularMask(), "blocks": blocks,
            "causal blocks": blocks.make_causal(),
        }  # fmt: skip
        return memory_efficient_attention(*parts, masks[kind])

    def plain() -> Any:
        if packed:
            pieces = [[part[:, a:b] for part in parts] for a, b in ((0, 5), (5, 18))]
            causal = kind != "blocks"
            return paddle.concat([F.scaled_dot_product_attention(*p, is_causal=causal) for p in pieces], 1)
        return F.scaled_dot_product_attention(
            *parts, attn_mask=bias if kind == "bias" else None, is_causal=kind == "lower triangle",
            scale=0.3 if kind == "scale" else None,
        )  # fmt: skip

    results = []
    for function in (efficient, plain):
        out = function()
        (out**2).sum().backward()
        results.append([out.numpy(), *[part.grad.numpy() for part in parts]])
        for part in parts:
            part.clear_grad()
    for ours, theirs in zip(*results, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-5)
