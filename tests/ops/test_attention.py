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
TOLERANCE = {"f32": 3e-6, "f16": 4e-3, "bf16": 3e-2}
# batch, queries, keys, heads, heads of keys, depth
CASES = [
    (2, 64, 64, 4, 4, 64), (1, 100, 130, 4, 2, 40), (2, 33, 17, 2, 1, 16), (1, 1, 50, 2, 2, 64), (1, 50, 1, 1, 1, 8),
    (1, 200, 200, 3, 3, 128), (1, 300, 290, 1, 1, 5),
]  # fmt: skip


def plain(q: Any, k: Any, v: Any, causal: bool, scale: float) -> Any:
    """softmax(q @ k.T * scale) @ v, rows that see nothing give zeros."""
    groups = q.shape[2] // k.shape[2]
    q, k, v = (paddle.transpose(t, [0, 2, 1, 3]) for t in (q, k, v))
    k, v = (paddle.repeat_interleave(t, groups, 1) for t in (k, v))
    scores = paddle.matmul(q, k, transpose_y=True) * scale
    if causal:
        m, n = scores.shape[-2:]
        seen = np.arange(n)[None, :] <= np.arange(m)[:, None] + n - m
        scores = paddle.where(paddle.to_tensor(seen), scores, paddle.full_like(scores, -1e30))
        weights = paddle.nn.functional.softmax(scores) * paddle.to_tensor(seen.astype("f8"))
    else:
        weights = paddle.nn.functional.softmax(scores)
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
    [(case, "f4") for case in CASES] + [(case, dtype) for case in CASES[:2] for dtype in ("f2", BF16)],
    ids=str,
)
def test_attention(case: tuple[int, ...], dtype: Any, causal: bool) -> None:
    if INTERPRETED and NAMES[np.dtype(dtype)] == "bf16":
        pytest.skip("the interpreter has no dot of bf16")
    q, k, v, d = data(case, dtype)
    scale = case[-1] ** -0.5
    reference = Reference(lambda *t: plain(*t, causal, scale), q, k, v)
    lse = ((case[0], case[3], case[1]), "f32")
    name = NAMES[q.dtype]
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
        (((1, 4, 2, 8), (1, 4, 2, 8)), "f64", Unsupported, "found f64"),
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
