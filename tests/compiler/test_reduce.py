"""Reductions, normalisations and control flow against NumPy, between guard pages."""

import numpy as np
import pytest
from harness import guarded, launch

RNG = np.random.default_rng(1)


@pytest.mark.parametrize("n", [1, 10, 16, 100, 1000, 1024])
def test_softmax(n):
    x = (RNG.standard_normal((7, n)) * 10).astype("f4")
    out = guarded(np.zeros_like(x))
    launch("kernels_basic:softmax", (7,), guarded(x), out, n, n, BLOCK=1024)
    e = np.exp((x - x.max(1, keepdims=True)).astype("f8"))
    np.testing.assert_allclose(out, e / e.sum(1, keepdims=True), rtol=2e-6, atol=1e-30)


@pytest.mark.parametrize("n", [3, 64, 700])
@pytest.mark.parametrize("dtype", ["f4", "f2", "f8"])
def test_layer_norm(n, dtype):
    x = RNG.standard_normal((5, n)).astype(dtype)
    w, b = (RNG.standard_normal(n).astype(dtype) for _ in range(2))
    out, mean, rstd = guarded(np.zeros_like(x)), np.zeros(5, "f4"), np.zeros(5, "f4")
    launch(
        "kernels_basic:layer_norm",
        (5,),
        guarded(x),
        guarded(w),
        guarded(b),
        out,
        mean,
        rstd,
        n,
        1e-5,
        BLOCK=1024,
    )
    wide = x.astype("f8")
    mu, var = wide.mean(1, keepdims=True), wide.var(1, keepdims=True)
    expected = (wide - mu) / np.sqrt(var + 1e-5) * w.astype("f8") + b.astype("f8")
    np.testing.assert_allclose(
        out.astype("f8"), expected, rtol=2e-3 if dtype == "f2" else 2e-4, atol=2e-3 if dtype == "f2" else 1e-5
    )
    np.testing.assert_allclose(mean, mu[:, 0], atol=1e-5)


@pytest.mark.parametrize("kind", ["sum", "max", "min", "argmax"])
@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize(
    ("m", "n", "bm", "bn"), [(5, 37, 8, 64), (64, 64, 64, 64), (16, 3, 16, 4), (1, 9, 1, 16), (40, 1, 64, 1)]
)
def test_reduce_2d(kind, axis, m, n, bm, bn):
    x = RNG.standard_normal((m, n)).astype("f4")
    expected = getattr(x, kind)(axis)
    out = guarded(np.zeros(expected.shape, "f4"))
    launch("kernels_basic:reduce_2d", (1,), guarded(x), out, m, n, KIND=kind, AXIS=axis, BM=bm, BN=bn)
    np.testing.assert_allclose(out, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("shape", [(4, 8, 16), (2, 2, 2), (16, 1, 32), (8, 32, 4)])
def test_reduce_3d(axis, shape):
    x = RNG.standard_normal(shape).astype("f4")
    expected = x.sum(axis)
    out = guarded(np.zeros(expected.shape, "f4"))
    launch("kernels_basic:reduce_3d", (1,), guarded(x), out, AXIS=axis, A=shape[0], B=shape[1], C=shape[2])
    np.testing.assert_allclose(out, expected, rtol=1e-5, atol=1e-5)


def test_total():
    x = RNG.standard_normal((64, 32)).astype("f4")
    out = np.zeros(2, "f4")
    launch("kernels_basic:total", (1,), guarded(x), out)
    np.testing.assert_allclose(out, [x.sum(), x.max()], rtol=1e-4)


@pytest.mark.parametrize(("m", "n"), [(100, 70), (64, 64), (3, 200), (1, 1)])
def test_column_sums(m, n):
    x = RNG.standard_normal((m, n)).astype("f4")
    out = guarded(np.zeros(n, "f4"))
    launch("kernels_basic:column_sums", (-(-n // 64),), guarded(x), out, m, n, BM=16, BN=64)
    np.testing.assert_allclose(out, x.sum(0), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("n", [5, 64, 1000])
def test_row_loop(n):
    x = RNG.standard_normal((4, n)).astype("f4")
    out = np.zeros(4, "f4")
    launch("kernels_basic:loop_row", (4,), guarded(x), out, n, BLOCK=64)
    np.testing.assert_allclose(out, np.log(np.exp(x.astype("f8")).sum(1)), rtol=1e-5)


@pytest.mark.parametrize(("n", "flag"), [(0, 1), (7, 1), (10, 3), (5, -1)])
def test_control(n, flag):
    x = RNG.standard_normal(16).astype("f4")
    out = np.full(16, 5, "f4")
    launch("kernels_basic:control", (1,), x, out, n, flag, 1.5)
    f = np.float32(1)
    for k in range(n):
        f = f + x[k] if k % 3 == 1 else f * np.float32(1.5)
    v = x * 2 + f if flag > 2 else x - f
    v = v + sum(range(n))
    np.testing.assert_allclose(out, np.full(16, 5) if flag < 0 else v, rtol=1e-5, atol=1e-5)


def test_max_ignores_nan_and_keeps_it_when_all_are():
    x = np.full((5, 37), np.nan, "f4")
    x[1, 3] = -2.0
    out = np.zeros(5, "f4")
    launch("kernels_basic:reduce_2d", (1,), x, out, 5, 37, KIND="max", AXIS=1, BM=8, BN=64)
    assert out[1] == -2.0
