# Flash attention and its gradients against the plain formula on Paddle's CPU in f64.
from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np
import paddle
import pytest
from execute import INTERPRETED, NAMES, execute
from reference import Reference

from openxpu.ops import attention as ops
from openxpu.ops.plan import Tensor, Unsupported

BF16 = np.dtype(ml_dtypes.bfloat16)
TOLERANCE = {"f64": 1e-12, "f32": 3e-6, "f16": 4e-3, "bf16": 3e-2}
# batch, queries, keys, heads, heads of keys, depth
CASES = [
    (2, 64, 64, 4, 4, 64), (1, 100, 130, 4, 2, 40), (2, 33, 17, 2, 1, 16), (1, 1, 50, 2, 2, 64), (1, 50, 1, 1, 1, 8),
    (1, 200, 200, 3, 3, 128), (1, 300, 290, 1, 1, 5),
]  # fmt: skip


def plain(
    q: Any, k: Any, v: Any, causal: bool, scale: float, bias: Any = None, seen: Any = None, kept: Any = None
) -> Any:
    """softmax(q @ k.T * scale + bias) @ v, rows that see nothing give zeros. `seen`: scores that count; `kept`: what the
    weights are multiplied by."""
    groups = q.shape[2] // k.shape[2]
    q, k, v = (paddle.transpose(t, [0, 2, 1, 3]) for t in (q, k, v))
    k, v = (paddle.repeat_interleave(t, groups, 1) for t in (k, v))
    scores = paddle.matmul(q, k, transpose_y=True) * scale
    if bias is not None:
        scores = scores + paddle.to_tensor(bias.astype("f8"))
    m, n = scores.shape[-2:]
    if causal:
        diagonal = np.arange(n)[None, :] <= np.arange(m)[:, None] + n - m
        seen = diagonal if seen is None else seen & diagonal
    if seen is not None:
        seen = np.broadcast_to(seen, scores.shape)
        scores = paddle.where(paddle.to_tensor(seen), scores, paddle.full_like(scores, -1e30))
        weights = paddle.nn.functional.softmax(scores) * paddle.to_tensor(seen.astype("f8"))
    else:
        weights = paddle.nn.functional.softmax(scores)
    if kept is not None:
        weights = weights * paddle.to_tensor(kept)
    return paddle.transpose(paddle.matmul(weights, v), [0, 2, 1, 3])


def data(case: tuple[int, ...], dtype: Any) -> list[np.ndarray]:
    batch, m, n, heads, own, depth = case
    rng = np.random.default_rng(sum(case))
    shapes = [
        (batch, m, heads, depth),
        (batch, n, own, depth),
        (batch, n, own, depth),
        (batch, m, heads, depth),
    ]
    return [rng.standard_normal(shape).astype(dtype) for shape in shapes]


def check(got: np.ndarray, want: np.ndarray) -> None:
    tolerance = TOLERANCE[NAMES[got.dtype]]
    np.testing.assert_allclose(
        got.astype("f8"), want, rtol=tolerance, atol=tolerance * max(1.0, abs(want).max())
    )


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize(
    ("case", "dtype"),
    [(case, "f4") for case in CASES] + [(case, dtype) for case in CASES[:2] for dtype in ("f2", BF16, "f8")],
    ids=str,
)
def test_attention(case: tuple[int, ...], dtype: Any, causal: bool) -> None:
    if INTERPRETED and NAMES[np.dtype(dtype)] == "bf16":
        pytest.skip("the interpreter has no dot of bf16")
    q, k, v, d = data(case, dtype)
    scale = case[-1] ** -0.5
    reference = Reference(lambda *t: plain(*t, causal, scale), q, k, v)
    name = NAMES[q.dtype]
    lse = ((case[0], case[3], case[1]), "f64" if name == "f64" else "f32")
    out, log = execute(ops.plan_flash_attention, [q, k, v], [(q.shape, name), lse], scale, causal)
    check(out, reference.value)
    grads = execute(
        ops.plan_flash_attention_grad,
        [q, k, v, out, log, d],
        [(t.shape, name) for t in (q, k, v)],
        scale,
        causal,
    )
    for got, want in zip(grads, reference.gradients(d), strict=True):
        check(got, want)


def test_heads_that_lie_before_rows() -> None:
    """[batch, heads, rows, depth] in memory is the same call on a permuted view."""
    q, k, v, _ = (np.ascontiguousarray(t.transpose(0, 2, 1, 3)) for t in data((2, 40, 40, 3, 3, 32), "f4"))
    views = [t.transpose(0, 2, 1, 3) for t in (q, k, v)]
    out, _ = execute(
        ops.plan_flash_attention, views, [(views[0].shape, "f32"), ((2, 3, 40), "f32")], 0.2, True
    )
    check(out, Reference(lambda *t: plain(*t, True, 0.2), *views).value)


def test_large_scores_do_not_overflow() -> None:
    q, k, v, _ = data((1, 20, 20, 1, 1, 16), "f4")
    out, log = execute(
        ops.plan_flash_attention, [q * 1e4, k, v], [(q.shape, "f32"), ((1, 1, 20), "f32")], 1.0, False
    )
    check(out, Reference(lambda *t: plain(*t, False, 1.0), q * 1e4, k, v).value)
    assert np.isfinite(log).all()


def test_no_rows() -> None:
    q = np.zeros((2, 0, 2, 8), "f4")
    k = np.zeros((2, 5, 2, 8), "f4")
    execute(ops.plan_flash_attention, [q, k, k], [(q.shape, "f32"), ((2, 2, 0), "f32")], 1.0, False)
    grads = execute(
        ops.plan_flash_attention_grad,
        [q, k, k, q, np.zeros((2, 2, 0), "f4"), q],
        [(t.shape, "f32") for t in (q, k, k)],
        1.0,
        False,
    )
    assert all((grad == 0).all() for grad in grads)


@pytest.mark.parametrize(
    ("shapes", "dtype", "error", "words"),
    [
        (((1, 4, 3, 8), (1, 4, 2, 8)), "f32", ValueError, "3 heads of queries cannot share 2"),
        (((1, 4, 8), (1, 4, 8)), "f32", ValueError, "takes q"),
        (((1, 4, 2, 8), (1, 4, 2, 8)), "i32", Unsupported, "found i32"),
        (((1, 4, 2, 512), (1, 4, 2, 512)), "f32", Unsupported, "at most 256"),
    ],
)
def test_what_is_refused(shapes: Any, dtype: str, error: type, words: str) -> None:
    from openxpu.ops.plan import PlanBuilder, contiguous_strides

    q, k, v = (
        Tensor.argument(i, shape, dtype, contiguous_strides(shape))
        for i, shape in enumerate((shapes[0], shapes[1], shapes[1]))
    )
    with pytest.raises(error, match=words):
        ops.plan_flash_attention(PlanBuilder("test"), q, k, v, q, q, 1.0, False)


def both(case: tuple[int, ...], causal: bool, masked: Any, dtype: str = "f4", **reference: Any) -> None:
    """Values and gradients under a mask. `masked(plan, tensors...)` puts what the mask holds in front of the plan's own."""
    q, k, v, d = data(case, dtype)
    scale = case[-1] ** -0.5
    want = Reference(lambda *t: plain(*t, causal, scale, **reference), q, k, v)
    forward, extra = masked(ops.plan_flash_attention)
    lse = ((case[0], case[3], case[1]), "f32")
    out, log = execute(forward, [*extra, q, k, v], [(q.shape, NAMES[q.dtype]), lse], scale, causal)
    check(out, want.value)
    backward, extra = masked(ops.plan_flash_attention_grad)
    grads = [(t.shape, NAMES[q.dtype]) for t in (q, k, v)]
    for got, exact in zip(
        execute(backward, [*extra, q, k, v, out, log, d], grads, scale, causal),
        want.gradients(d),
        strict=True,
    ):
        check(got, exact)


@pytest.mark.parametrize("shape", [(2, 3, 70, 50), (1, 1, 70, 50), (2, 1, 1, 50), (2, 1, 70, 1)], ids=str)
def test_added_mask(shape: tuple[int, ...]) -> None:
    rng = np.random.default_rng(5)
    bias = np.where(rng.random(shape) < 0.3, -np.inf, rng.standard_normal(shape)).astype("f4")
    bias[..., 0] = 0.5  # every row sees something

    def masked(plan: Any) -> Any:
        return lambda b, bias, *t: plan(b, *t, ops.Mask(bias=bias)), [bias]

    both((2, 70, 50, 3, 3, 24), False, masked, bias=bias)


@pytest.mark.parametrize(
    ("causal", "ranges", "heads"), [(True, 1, 1), (True, 2, 2), (False, 2, 4), (False, 4, 1)]
)
def test_mask_by_rows(causal: bool, ranges: int, heads: int) -> None:
    """Wang et al., FlashMask, 2024, table of mask types."""
    n = 90
    rng = np.random.default_rng(ranges)
    column = np.arange(n)
    low = rng.integers(column + 1, n + 1, (2, heads, n))
    parts = [low]
    row = np.arange(n)[:, None]
    if ranges == 1:
        hidden = row >= low[:, :, None]
    elif causal:
        end = rng.integers(low, n + 1)
        parts.append(end)
        hidden = (row >= low[:, :, None]) & (row < end[:, :, None])
    elif ranges == 2:
        above = rng.integers(0, column + 1, (2, heads, n))
        parts.append(above)
        hidden = (row >= low[:, :, None]) | (row < above[:, :, None])
    else:
        end = rng.integers(low, n + 1)
        start = rng.integers(0, column + 1, (2, heads, n))
        stop = rng.integers(start, column + 1)
        parts += [end, start, stop]
        below = (row >= low[:, :, None]) & (row < end[:, :, None])
        hidden = below | ((row >= start[:, :, None]) & (row < stop[:, :, None]))
    bounds = np.stack(parts, -1).astype("i4")
    hidden = np.repeat(hidden, 4 // heads, 1)

    def masked(plan: Any) -> Any:
        return lambda b, bounds, *t: plan(b, *t, ops.Mask(bounds=bounds)), [bounds]

    both((2, n, n, 4, 2, 16), causal, masked, seen=~hidden)


@pytest.mark.parametrize("causal", [False, True])
def test_packed_sequences(causal: bool) -> None:
    """Each sequence is attention of its own; an empty one and rows behind the last change nothing."""
    lengths_q, lengths_k = [30, 0, 1, 71], [45, 5, 20, 71]
    starts = [np.concatenate([[0], np.cumsum(lengths)]).astype("i4") for lengths in (lengths_q, lengths_k)]
    rng = np.random.default_rng(7)
    q, k, v, d = (
        rng.standard_normal((rows, heads, 24)).astype("f4")
        for rows, heads in ((104, 4), (145, 2), (145, 2), (104, 4))
    )

    def packed(plan: Any) -> Any:
        return lambda b, qs, ks, *t: plan(b, *t, packed=ops.Packed(qs, ks, 71, 71))

    out, log = execute(
        packed(ops.plan_flash_attention),
        [*starts, q, k, v],
        [(q.shape, "f32"), ((4, 104), "f32")],
        0.3,
        causal,
    )
    grads = execute(
        packed(ops.plan_flash_attention_grad), [*starts, q, k, v, np.nan_to_num(out), log, d],
        [(t.shape, "f32") for t in (q, k, v)], 0.3, causal,
    )  # fmt: skip
    for i in range(4):
        rows, keys = slice(*starts[0][i : i + 2]), slice(*starts[1][i : i + 2])
        if rows.start == rows.stop:
            continue
        want = Reference(lambda *t: plain(*t, causal, 0.3), q[None, rows], k[None, keys], v[None, keys])
        check(out[rows], want.value[0])
        for got, exact, part in zip(grads, want.gradients(d[None, rows]), (rows, keys, keys), strict=True):
            check(got[part], exact[0])
    assert (grads[1][141:] == 0).all()


def test_dropped_weights() -> None:
    """The weights say what was dropped; result and gradients are those of these weights."""
    case = (2, 70, 100, 2, 1, 16)
    q, k, v, _ = data(case, "f4")
    seeds = np.array([11, 7], "i8")

    def weights(b: Any, seeds: Any, q: Any, k: Any, v: Any, out: Any, log: Any, w: Any) -> None:
        mask = ops.Mask(seeds=seeds, drop=0.25)
        ops.plan_flash_attention(b, q, k, v, out, log, 0.25, False, mask)
        ops.plan_attention_weights(b, q, k, log, w, 0.25, False, mask)

    shapes = [(q.shape, "f32"), ((2, 2, 70), "f32"), ((2, 2, 70, 100), "f32")]
    _, _, w = execute(weights, [seeds, q, k, v], shapes)
    dropped = w == 0
    assert abs(dropped.mean() - 0.25) < 0.01
    assert not (dropped[0, 0] == dropped[1, 1]).all()
    kept = np.where(dropped, 0.0, 1 / 0.75)

    def masked(plan: Any) -> Any:
        return lambda b, seeds, *t: plan(b, *t, ops.Mask(seeds=seeds, drop=0.25)), [seeds]

    both(case, False, masked, kept=kept)
    again = execute(weights, [seeds, q, k, v], shapes)[2]
    assert (again == w).all()
    other = execute(weights, [np.array([12, 7], "i8"), q, k, v], shapes)[2]
    assert not (other == w).all()


def test_sums_of_weights() -> None:
    q, k, v, _ = data((2, 70, 100, 4, 2, 16), "f4")

    def summed(b: Any, q: Any, k: Any, v: Any, out: Any, log: Any, sums: Any) -> None:
        ops.plan_flash_attention(b, q, k, v, out, log, 0.25, False)
        ops.plan_attention_weights(b, q, k, log, sums, 0.25, False, summed=True)

    shapes = [(q.shape, "f32"), ((2, 4, 70), "f32"), ((2, 4, 1, 100), "f32")]
    _, log, sums = execute(summed, [q, k, v], shapes)
    s = np.einsum("bmhd,bnhd->bhmn", q.astype("f8"), np.repeat(k, 2, 2)) * 0.25
    np.testing.assert_allclose(log, np.log(np.exp(s).sum(-1)), rtol=1e-5)
    w = np.exp(s) / np.exp(s).sum(-1, keepdims=True)
    np.testing.assert_allclose(sums, w.sum(2, keepdims=True), rtol=1e-5)
