# Attention. Paddle's CPU device has no flash attention: the reference is the formula.
from __future__ import annotations

import itertools

import numpy as np
import paddle
from conformance.draw import normal
from conformance.row import Input, row

ops = paddle._C_ops
FREE = Input(normal, grad=False)


def attention(q, k, v, causal=False, bias=None, scale=None, seen=None):
    """[batch, rows, heads, depth]; rows that see nothing give zeros."""
    q, k, v = (t.transpose(0, 2, 1, 3) for t in (q, k, v))
    k, v = (np.repeat(t, q.shape[1] // t.shape[1], 1) for t in (k, v))
    s = q @ k.swapaxes(2, 3) * (q.shape[3] ** -0.5 if scale is None else scale)
    s = s if bias is None else s + bias
    m, n = s.shape[2:]
    if causal:
        s = np.where(np.arange(n) <= np.arange(m)[:, None] + n - m, s, -np.inf)
    if seen is not None:
        s = np.where(seen, s, -np.inf)
    top = s.max(-1, keepdims=True)
    e = np.exp(s - np.where(np.isinf(top), 0, top))
    total = e.sum(-1, keepdims=True)
    return (e / np.where(total == 0, 1, total) @ v).transpose(0, 2, 1, 3)


def flash(q, k, v, bias=None, causal=False):
    return ops.flash_attn(q, k, v, None, bias, 0.0, causal, False, False, "")[0]


def starts(d):
    total = d.shapes[0][0]
    return np.array([0, total // 3, total // 3, total])


def unpadded(q, k, v, cu, causal=False):
    return ops.flash_attn_unpadded(
        q, k, v, cu, cu, None, None, q.shape[0], q.shape[0], 0.3, 0.0, causal, False, False, ""
    )[0]


def unpadded_definition(q, k, v, cu, causal=False):
    out = np.zeros_like(q)
    for a, b in itertools.pairwise(cu):
        if b > a:
            out[a:b] = attention(
                q[None, a:b], k[None, a:b], v[None, a:b], causal, scale=float(np.float32(0.3))
            )[0]
    return out


def bounds(d):
    """For each key the first row that does not see it any more, below the diagonal."""
    n = d.shape[2]
    low = d.rng.integers(np.arange(n) + 1, n + 1, d.shape[:3])
    return (
        low[..., None]
        if d.shape[3] == 1
        else np.stack([low, d.rng.integers(0, np.arange(n) + 1, d.shape[:3])], -1)
    )


def flashmask(q, k, v, rows, causal=True):
    return ops.flashmask_attention(q, k, v, rows, None, 0.0, causal, False, False, "")[0]


def flashmask_definition(q, k, v, rows, causal=True):
    row_number = np.arange(q.shape[1])[:, None]
    hidden = row_number >= rows[:, :, None, :, 0]
    if not causal:
        hidden = hidden | (row_number < rows[:, :, None, :, 1])
    return attention(q, k, v, causal, seen=np.repeat(~hidden, q.shape[2] // rows.shape[1], 1))


def reduced(q, k):
    lse = ops.flash_attn(q, k, k, None, None, 0.0, False, False, False, "")[2]
    return ops.calc_reduced_attn_scores(q, k, lse)


def reduced_definition(q, k):
    k = np.repeat(k, q.shape[2] // k.shape[2], 2)
    s = np.einsum("bmhd,bnhd->bhmn", q, k) * q.shape[3] ** -0.5
    e = np.exp(s - s.max(-1, keepdims=True))
    return (e / e.sum(-1, keepdims=True)).sum(2, keepdims=True)


A, B = (2, 33, 4, 24), (2, 50, 2, 24)
SIZES = [
    (A, A, A, None),
    (A, B, B, None),
    ((1, 130, 2, 64),) * 3 + (None,),
    ((2, 1, 4, 8), (2, 7, 1, 8), (2, 7, 1, 8), None),
    ((1, 5, 1, 200),) * 3 + (None,),
]
LOOSE = {"f32": 40.0, "f64": 64.0, "f16": 6.0, "bf16": 6.0}

ROWS = [
    row("flash_attn", flash, normal, normal, normal, FREE, shapes=[*SIZES, (A, B, B, (2, 1, 33, 50)), (A, B, B, (1, 4, 33, 50)), ((0, 3, 2, 8),) * 3 + (None,)],
        attrs=[{}, {"causal": True}], valid=lambda s, a: not (a and s[3]), reference=lambda q, k, v, bias=None, causal=False: attention(q, k, v, causal, bias),
        extremes="", tolerance=LOOSE),
    row("flash_attn_unpadded", unpadded, normal, normal, normal, Input(starts, "i32"), shapes=[((50, 4, 24), (50, 2, 24), (50, 2, 24), (4,)), ((7, 1, 8),) * 3 + ((4,),)],
        attrs=[{}, {"causal": True}], reference=unpadded_definition, extremes="", tolerance=LOOSE, layouts=("strided",)),
    row("flashmask_attention", flashmask, normal, normal, normal, Input(bounds, "i32"), shapes=[((2, 40, 4, 24), (2, 40, 2, 24), (2, 40, 2, 24), (2, 1, 40, 1))],
        attrs=[{"causal": True}], cases=[(((2, 40, 4, 24), (2, 40, 2, 24), (2, 40, 2, 24), (2, 2, 40, 2)), {"causal": False})],
        reference=flashmask_definition, extremes="", tolerance=LOOSE, layouts=()),
    row("calc_reduced_attn_scores", reduced, FREE, FREE, shapes=[(A, B), (A, A)], also=["flash_attn"], reference=reduced_definition, extremes="", tolerance=LOOSE, grad=False),
]  # fmt: skip
