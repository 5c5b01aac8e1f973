"""tl.dot and tl.dot_scaled as kernels write them: dtypes, transposed operands, batches, accumulators, precisions."""

import ml_dtypes
import numpy as np
import pytest
from harness import guarded, launch
from values import DTYPES, TRITON
from written import kernel

SOURCE = """
@triton.jit
def kernel(a, b, c, M: tl.constexpr, N: tl.constexpr, K: tl.constexpr, TA: tl.constexpr, TB: tl.constexpr):
    m = tl.arange(0, M)
    n = tl.arange(0, N)
    k = tl.arange(0, K)
    if TA:
        x = tl.trans(tl.load(a + k[:, None] * M + m[None, :]))
    else:
        x = tl.load(a + m[:, None] * K + k[None, :])
    if TB:
        y = tl.trans(tl.load(b + n[:, None] * K + k[None, :]))
    else:
        y = tl.load(b + k[:, None] * N + n[None, :])
    at = c + m[:, None] * N + n[None, :]
    tl.store(at, DOT)
"""
CASES = {
    "i8": "i32", "f8e4m3": "f32", "f8e5m2": "f32", "f16": "f32", "bf16": "f32", "f32": "f32", "f64": "f64",
}  # fmt: skip


def operands(dtype, m, n, k, seed=0):
    rng = np.random.default_rng(seed)
    if dtype == "i8":
        return tuple(rng.integers(-99, 99, s).astype(DTYPES[dtype]) for s in ((m, k), (k, n)))
    return tuple(rng.standard_normal(s).astype(DTYPES[dtype]) for s in ((m, k), (k, n)))


def check(dtype, dot, out, shape, ta=False, tb=False, start=None, tolerance=1e-5):
    m, n, k = shape
    a, b = operands(dtype, m, n, k)
    c = guarded(np.zeros((m, n), DTYPES[out]) if start is None else start)
    placed = guarded(np.ascontiguousarray(a.T if ta else a)), guarded(np.ascontiguousarray(b.T if tb else b))
    launch(kernel(SOURCE.replace("DOT", dot)), (1,), *placed, c, M=m, N=n, K=k, TA=ta, TB=tb)
    expected = a.astype("f8") @ b.astype("f8") + (0 if start is None else start.astype("f8"))
    np.testing.assert_allclose(c.astype("f8"), expected, rtol=tolerance, atol=tolerance * 10)


@pytest.mark.parametrize("dtype", CASES)
@pytest.mark.parametrize(("ta", "tb"), [(False, False), (True, False), (False, True), (True, True)])
def test_operand_orders(dtype, ta, tb):
    for shape in ((16, 16, 16), (32, 64, 16), (1, 16, 32), (64, 8, 128)):
        check(dtype, "tl.dot(x, y)", CASES[dtype], shape, ta, tb)


@pytest.mark.parametrize("precision", ["ieee", "tf32", "tf32x3", "bf16x3", "bf16x6"])
def test_input_precision_is_at_least_what_was_asked(precision):
    check("f32", f"tl.dot(x, y, input_precision='{precision}')", "f32", (32, 32, 64))


@pytest.mark.parametrize(
    ("dtype", "out"),
    [("f16", "f16"), ("f16", "f32"), ("f8e4m3", "f16"), ("i8", "i32"), ("f32", "f32"), ("f8e5m2", "f32")],
)
def test_out_dtype(dtype, out):
    check(
        dtype,
        f"tl.dot(x, y, out_dtype={TRITON[out]})",
        out,
        (16, 32, 16),
        tolerance=2e-3 if out == "f16" else 1e-5,
    )


@pytest.mark.parametrize("dtype", CASES)
def test_accumulator(dtype):
    out = CASES[dtype]
    start = (np.arange(32 * 16).reshape(32, 16) % 7).astype(DTYPES[out])
    check(dtype, "tl.dot(x, y, tl.load(at))", out, (32, 16, 32), start=start)
    check(dtype, "tl.dot(x, y, acc=tl.load(at))", out, (32, 16, 32), start=start)


def test_f16_accumulator():
    start = (np.arange(32 * 16).reshape(32, 16) % 7).astype("f2")
    check(
        "f16",
        "tl.dot(x, y, tl.load(at), out_dtype=tl.float16)",
        "f16",
        (32, 16, 32),
        start=start,
        tolerance=3e-3,
    )


COMPUTED = "tl.dot(tl.maximum(x, 0).to(x.dtype), (y + y).to(y.dtype)) + tl.dot(x, y)"


@pytest.mark.parametrize("dtype", ["i8", "f16", "bf16", "f32", "f64"])
def test_computed_operands(dtype):
    a, b = operands(dtype, 32, 16, 32)
    if dtype == "i8":
        a, b = a // 2, b // 2
    c = np.zeros((32, 16), DTYPES[CASES[dtype]])
    launch(kernel(SOURCE.replace("DOT", COMPUTED)), (1,), a, b, c, M=32, N=16, K=32, TA=False, TB=False)
    x, y = a.astype("f8"), b.astype("f8")
    np.testing.assert_allclose(c, np.maximum(x, 0) @ (y + y) + x @ y, rtol=1e-4, atol=1e-3)


BATCHED = """
@triton.jit
def kernel(a, b, c, B: tl.constexpr, M: tl.constexpr, N: tl.constexpr, K: tl.constexpr, ORDER: tl.constexpr):
    i = tl.arange(0, B)[:, None, None]
    m = tl.arange(0, M)
    n = tl.arange(0, N)
    k = tl.arange(0, K)
    x = tl.load(a + (i * M + m[None, :, None]) * K + k[None, None, :])
    if ORDER == 0:
        y = tl.load(b + (i * K + k[None, :, None]) * N + n[None, None, :])
    else:
        y = tl.permute(tl.load(b + (i * N + n[None, :, None]) * K + k[None, None, :]), (0, 2, 1))
    tl.store(c + (i * M + m[None, :, None]) * N + n[None, None, :], tl.dot(x, y))
"""


@pytest.mark.parametrize("dtype", CASES)
@pytest.mark.parametrize("order", [0, 1])
def test_batches(dtype, order):
    for batch, m, n, k in ((2, 16, 16, 16), (4, 8, 32, 16), (1, 16, 16, 32)):
        pairs = [operands(dtype, m, n, k, seed) for seed in range(batch)]
        a, b = np.stack([p[0] for p in pairs]), np.stack([p[1] for p in pairs])
        c = guarded(np.zeros((batch, m, n), DTYPES[CASES[dtype]]))
        placed = np.ascontiguousarray(b.transpose(0, 2, 1)) if order else b
        launch(kernel(BATCHED), (1,), guarded(a), guarded(placed), c, B=batch, M=m, N=n, K=k, ORDER=order)
        np.testing.assert_allclose(c, a.astype("f8") @ b.astype("f8"), rtol=1e-4, atol=1e-3)


SCALED = """
@triton.jit
def kernel(a, sa, b, sb, c, M: tl.constexpr, N: tl.constexpr, K: tl.constexpr, FA: tl.constexpr, FB: tl.constexpr,
           SCALE_A: tl.constexpr, SCALE_B: tl.constexpr, PA: tl.constexpr, PB: tl.constexpr, ACC: tl.constexpr):
    m = tl.arange(0, M)
    n = tl.arange(0, N)
    ka = tl.arange(0, K // PA)
    kb = tl.arange(0, K // PB)
    g = tl.arange(0, K // 32)
    x = tl.load(a + m[:, None] * (K // PA) + ka[None, :])
    y = tl.load(b + kb[:, None] * N + n[None, :])
    if SCALE_A:
        s = tl.load(sa + m[:, None] * (K // 32) + g[None, :])
    else:
        s = None
    if SCALE_B:
        t = tl.load(sb + n[:, None] * (K // 32) + g[None, :])
    else:
        t = None
    at = c + m[:, None] * N + n[None, :]
    if ACC:
        r = tl.dot_scaled(x, s, FA, y, t, FB, acc=tl.load(at))
    else:
        r = tl.dot_scaled(x, s, FA, y, t, FB)
    tl.store(at, r)
"""
E2M1 = np.array([0, 0.5, 1, 1.5, 2, 3, 4, 6, -0.0, -0.5, -1, -1.5, -2, -3, -4, -6])
FORMATS = {
    "e2m1": None,
    "e4m3": ml_dtypes.float8_e4m3fn,
    "e5m2": ml_dtypes.float8_e5m2,
    "fp16": np.float16,
    "bf16": ml_dtypes.bfloat16,
}


def factor(form, rows, columns, rng):
    """(what lies in memory, the numbers); two fp4 numbers lie in one byte along the columns, the first one low."""
    if form == "e2m1":
        codes = rng.integers(0, 16, (rows, columns)).astype("u1")
        return codes[:, ::2] | codes[:, 1::2] << 4, E2M1[codes]
    values = rng.standard_normal((rows, columns)).astype(FORMATS[form])
    raw = values.view("u1") if form in ("e4m3", "e5m2") else values
    return raw, values.astype("f8")


@pytest.mark.parametrize(
    ("fa", "fb"),
    [
        ("e4m3", "e4m3"),
        ("e5m2", "e4m3"),
        ("e2m1", "e2m1"),
        ("e2m1", "bf16"),
        ("fp16", "e4m3"),
        ("bf16", "e2m1"),
        ("bf16", "bf16"),
    ],
)
@pytest.mark.parametrize("acc", [False, True])
def test_dot_scaled(fa, fb, acc):
    m, n, k = 16, 32, 64
    rng = np.random.default_rng(2)
    (a, x), (b, y) = factor(fa, m, k, rng), factor(fb, n, k, rng)
    sa, sb = (rng.integers(120, 134, (rows, k // 32)).astype("u1") for rows in (m, n))
    scale_a, scale_b = fa not in ("fp16", "bf16"), fb not in ("fp16", "bf16")
    if scale_a:
        x = x * np.repeat(np.ldexp(1.0, sa.astype("i4") - 127), 32, 1)
    if scale_b:
        y = y * np.repeat(np.ldexp(1.0, sb.astype("i4") - 127), 32, 1)
    c = guarded(np.ones((m, n), "f4"))
    named = {
        "SCALE_A": scale_a,
        "SCALE_B": scale_b,
        "PA": 2 if fa == "e2m1" else 1,
        "PB": 2 if fb == "e2m1" else 1,
    }
    launch(
        kernel(SCALED),
        (1,),
        guarded(a),
        sa,
        guarded(np.ascontiguousarray(b.T)),
        sb,
        c,
        M=m,
        N=n,
        K=k,
        FA=fa,
        FB=fb,
        ACC=acc,
        **named,
    )
    np.testing.assert_allclose(c, x @ y.T + acc, rtol=1e-4, atol=1e-4)
