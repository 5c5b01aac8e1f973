"""Operations that move elements, on every dtype, against Triton's interpreter: reshapes, joins, gathers, sorts, histograms."""

import math

import numpy as np
import pytest
from harness import guarded, launch
from interpreter import interpret
from values import DTYPES, FLOATS, FP8, INTS, sample
from written import kernel

# name -> (expression of v [M, N] and w [M * N], shape of the result)
MOVES = {
    "trans": ("tl.trans(v)", "N, M"), "permute": ("tl.permute(v, (1, 0))", "N, M"), "member": ("v.T", "N, M"),
    "reshape": ("tl.reshape(v, (M * 2, N // 2))", "M * 2, N // 2"), "view": ("v.reshape(N, M)", "N, M"),
    "ravel": ("tl.ravel(v)", "M * N"), "split rows": ("tl.reshape(w, (2, M, N // 2))", "2, M, N // 2"),
    "reshape a transpose": ("tl.reshape(tl.trans(v), (M, N))", "M, N"),
    "permute 3-d": ("tl.permute(tl.reshape(w, (2, M, N // 2)), (2, 0, 1))", "N // 2, 2, M"),
    "join": ("tl.join(v, v)", "M, N, 2"), "join two": ("tl.join(w, tl.flip(w))", "M * N, 2"),
    "split left": ("tl.split(tl.reshape(v, (M, N // 2, 2)))[0]", "M, N // 2"),
    "split right": ("tl.split(tl.reshape(v, (M, N // 2, 2)))[1]", "M, N // 2"),
    "interleave": ("tl.interleave(v, v)", "M, N * 2"), "cat": ("tl.cat(w, tl.flip(w), can_reorder=True)", "2 * M * N"),
    "cat along 0": ("tl.cat(v, tl.flip(v, 1), dim=0)", "2 * M, N"), "cat along 1": ("tl.cat(v, tl.flip(v, 0), dim=1)", "M, 2 * N"),
    "flip": ("tl.flip(v, 1)", "M, N"), "flip rows": ("tl.flip(v, 0)", "M, N"),
    "expand": ("tl.expand_dims(v, (0, 3))", "1, M, N, 1"), "index": ("w[None, :, None]", "1, M * N, 1"),
    "broadcast": ("tl.broadcast_to(w[None, :], (4, M * N))", "4, M * N"),
    "squeeze": ("tl.squeeze(tl.expand_dims(v, 1), 1)", "M, N"), "zeros_like": ("tl.zeros_like(v)", "M, N"),
    "full": ("tl.full((M, N), 1, v.dtype)", "M, N"),
    "gather": ("tl.gather(v, (tl.arange(0, M)[:, None] * 3 + tl.arange(0, N)[None, :] * 5) % N, 1)", "M, N"),
    "gather rows": ("tl.gather(v, (tl.arange(0, M)[:, None] * 3 + tl.arange(0, N)[None, :] * 5) % M, 0)", "M, N"),
    "gather less": ("tl.gather(w, tl.arange(0, 4) * 2 + 1, 0)", "4"),
    "where": ("tl.where((tl.arange(0, N) % 3 == 0)[None, :], v, tl.flip(v, 1))", "M, N"),
}  # fmt: skip
ORDERED = {
    "sort": ("tl.sort(v)", "M, N"), "sort down": ("tl.sort(v, descending=True)", "M, N"), "sort all": ("tl.sort(w)", "M * N"),
    "topk": ("tl.topk(v, 4)", "M, 4"), "topk 1": ("tl.topk(w, 1)", "1"), "topk least": ("tl.topk(v, 2, descending=False)", "M, 2"),
}  # fmt: skip
SOURCE = """
@triton.jit
def kernel(x, out, M: tl.constexpr, N: tl.constexpr, R: tl.constexpr):
    w = tl.load(x + tl.arange(0, M * N))
    v = tl.load(x + tl.arange(0, M)[:, None] * N + tl.arange(0, N)[None, :])
    r = RESULT
    tl.static_assert(r.shape == (SHAPE,))
    tl.store(out + tl.arange(0, R), tl.reshape(r, (R,)))
"""


def check(result: str, shape: str, x: np.ndarray) -> None:
    m, n = x.shape
    size = math.prod(eval(f"[{shape}]", {"M": m, "N": n}))
    ref = kernel(SOURCE.replace("RESULT", result).replace("SHAPE", shape))
    out = np.zeros(size, x.dtype)
    plain = np.dtype(f"u{x.dtype.itemsize}") if x.dtype.kind == "V" else x.dtype
    if x.dtype.name in ("bfloat16", "float8_e4m3fn", "float8_e5m2"):  # the interpreter moves their bits
        plain = np.dtype(f"u{x.dtype.itemsize}")
    y = x.view(plain)
    if "full" in result and plain is not x.dtype:
        expected = np.ones(size, x.dtype)
    else:
        expected = interpret(ref, (1,), y, out.view(plain), M=m, N=n, R=size)[1].view(x.dtype)
    launch(ref, (1,), guarded(x), found := guarded(out), M=m, N=n, R=size)
    np.testing.assert_array_equal(found.view(f"u{x.dtype.itemsize}"), expected.view(f"u{x.dtype.itemsize}"))


@pytest.mark.parametrize("name", MOVES)
@pytest.mark.parametrize("dtype", ["bool", *INTS, *FLOATS, *FP8])
def test_moves(name, dtype):
    result, shape = MOVES[name]
    for m, n in ((4, 16), (1, 8), (16, 2)) if dtype in ("f32", "i32") else ((4, 16),):
        if "gather less" in name and m * n < 8:
            continue
        check(result, shape, sample(dtype, m * n, 6, special=False).reshape(m, n))


@pytest.mark.parametrize("name", ORDERED)
@pytest.mark.parametrize("dtype", ["bool", *INTS, *FLOATS, *FP8])
def test_order(name, dtype):
    result, shape = ORDERED[name]
    for m, n in ((4, 16), (1, 8), (2, 64)) if dtype in ("f32", "i32") else ((4, 16),):
        x = sample(dtype, m * n, 7, special=dtype in INTS).reshape(m, n)
        if dtype != "bf16" and dtype not in FP8:
            check(result, shape, x)
            continue
        size = math.prod(eval(f"[{shape}]", {"M": m, "N": n}))
        ref = kernel(SOURCE.replace("RESULT", result).replace("SHAPE", shape))
        expected = interpret(ref, (1,), x.astype("f4"), np.zeros(size, "f4"), M=m, N=n, R=size)[1]
        launch(ref, (1,), x, out := np.zeros(size, x.dtype), M=m, N=n, R=size)
        np.testing.assert_array_equal(out.astype("f4"), expected)


HISTOGRAM = """
@triton.jit
def kernel(x, out, n, BLOCK: tl.constexpr, BINS: tl.constexpr, MASKED: tl.constexpr):
    offs = tl.arange(0, BLOCK)
    v = tl.load(x + offs, mask=offs < n, other=0)
    if MASKED:
        h = tl.histogram(v, BINS, mask=offs < n)
    else:
        h = tl.histogram(v, BINS)
    tl.store(out + tl.arange(0, BINS), h)
"""


@pytest.mark.parametrize("dtype", ["i32", "u32"])
@pytest.mark.parametrize(("n", "bins"), [(1, 1), (100, 16), (128, 4), (77, 64)])
def test_histogram(dtype, n, bins):
    x = np.random.default_rng(8).integers(0, bins, n).astype(DTYPES[dtype])
    for masked in (False, True):
        out = guarded(np.zeros(bins, "i4"))
        launch(kernel(HISTOGRAM), (1,), guarded(x), out, n, BLOCK=128, BINS=bins, MASKED=masked)
        expected = np.bincount(x.astype("i8"), minlength=bins)
        expected[0] += 0 if masked else 128 - n
        np.testing.assert_array_equal(out, expected)


def test_histogram_leaves_out_what_no_bin_has():
    x = np.array([0, 3, -1, 4, 100, 3, -(2**31), 2], "i4")
    launch(kernel(HISTOGRAM), (1,), x, out := np.zeros(4, "i4"), 8, BLOCK=8, BINS=4, MASKED=False)
    np.testing.assert_array_equal(out, [1, 0, 1, 2])
