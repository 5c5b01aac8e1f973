"""Dots, attention, transposes, scans, atomics, random numbers and other whole-tile operations, between guard pages."""

import numpy as np
import pytest
from harness import guarded, launch

RNG = np.random.default_rng(2)


@pytest.mark.parametrize(("m", "n", "k"), [(64, 64, 64), (50, 70, 33), (130, 20, 100)])
def test_matmul(m, n, k):
    a, b = RNG.standard_normal((m, k)).astype("f4"), RNG.standard_normal((k, n)).astype("f4")
    c = guarded(np.zeros((m, n), "f4"))
    grid = (-(-m // 64), -(-n // 64))
    launch("kernels_language:matmul", grid, guarded(a), guarded(b), c, m, n, k, BM=64, BN=64, BK=32)
    np.testing.assert_allclose(c, np.maximum(a @ b, 0), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("trans", [False, True])
def test_matmul_through_a_table(trans):
    m, k, p = 20, 70, 45
    w, x = RNG.standard_normal((m, k)).astype("f4"), RNG.standard_normal(400).astype("f4")
    table = RNG.integers(0, 400 - p + 1, k).astype("i4")
    table[::7] = -1
    y = guarded(np.zeros((p, m) if trans else (m, p), "f4"))
    launch(
        "kernels_language:matmul_tables",
        (1,),
        guarded(w),
        guarded(x),
        guarded(table),
        y,
        m,
        k,
        p,
        BM=32,
        BN=64,
        BK=32,
        TRANS=trans,
    )
    rows = np.stack([x[t : t + p] if t >= 0 else np.zeros(p, "f4") for t in table])
    np.testing.assert_allclose(y, (w @ rows).T if trans else w @ rows, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("n", [64, 100])
def test_attention(n):
    q, k, v = (RNG.standard_normal((n, 32)).astype("f4") for _ in range(3))
    out = guarded(np.zeros((n, 32), "f4"))
    launch(
        "kernels_language:attention",
        (-(-n // 32),),
        guarded(q),
        guarded(k),
        guarded(v),
        out,
        n,
        0.2,
        BM=32,
        BN=64,
        D=32,
    )
    s = (q.astype("f8") @ k.T.astype("f8")) * 0.2
    p = np.exp(s - s.max(1, keepdims=True))
    np.testing.assert_allclose(out, p / p.sum(1, keepdims=True) @ v, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("m", "n"), [(64, 64), (100, 37), (1, 5)])
@pytest.mark.parametrize("dtype", ["f4", "f2", "i1"])
def test_transpose(m, n, dtype):
    x = (RNG.standard_normal((m, n)) * 20).astype(dtype)
    out = guarded(np.zeros((n, m), dtype))
    launch("kernels_language:transpose", (-(-m // 32), -(-n // 64)), guarded(x), out, m, n, BM=32, BN=64)
    np.testing.assert_array_equal(out, x.T)


@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("reverse", [False, True])
def test_cumsum(axis, reverse):
    x = RNG.standard_normal((8, 32)).astype("f4")
    out = np.zeros_like(x)
    launch("kernels_language:scans", (1,), x, out, AXIS=axis, REVERSE=reverse, M=8, N=32)
    expected = np.flip(np.cumsum(np.flip(x, axis), axis), axis) if reverse else np.cumsum(x, axis)
    np.testing.assert_allclose(out, expected, rtol=1e-5, atol=1e-5)


def test_atomics():
    n = 500
    index, value = RNG.integers(0, 40, n).astype("i4"), RNG.standard_normal(n).astype("f4")
    out, counts = np.zeros(40, "f4"), np.zeros(101, "i4")
    launch("kernels_language:scatter_add", (4,), guarded(index), guarded(value), out, counts, n, BLOCK=128)
    np.testing.assert_allclose(out, np.bincount(index, value, 40), rtol=1e-4, atol=1e-4)
    np.testing.assert_array_equal(counts[:40], np.bincount(index, minlength=40))
    assert counts[100] == n


def _philox(counter, seed):
    c0, c1, c2, c3 = counter, np.zeros_like(counter), np.zeros_like(counter), np.zeros_like(counter)
    k0, k1 = np.uint64(seed & 0xFFFFFFFF), np.uint64(seed >> 32)
    low = np.uint64(0xFFFFFFFF)
    for _ in range(10):
        a, b = np.uint64(0xD2511F53) * c0, np.uint64(0xCD9E8D57) * c2
        c0, c2 = (b >> np.uint64(32)) ^ c1 ^ k0, (a >> np.uint64(32)) ^ c3 ^ k1
        c1, c3 = b & low, a & low
        k0, k1 = (k0 + np.uint64(0x9E3779B9)) & low, (k1 + np.uint64(0xBB67AE85)) & low
    return c0


def test_random():
    out = np.zeros(300, "f4")
    launch("kernels_language:random", (3,), 1234, out, 300, BLOCK=128)
    bits = _philox(np.arange(300, dtype=np.uint64), 1234).astype(np.uint32).view(np.int32)
    bits = np.where(bits < 0, -bits - 1, bits)
    np.testing.assert_allclose(out, bits * np.float32(4.6566127342e-10), rtol=1e-6)


def test_pieces():
    n = 32
    x = RNG.random(n).astype("f4") * 4 - 0.3
    x[0] = 0.1
    out = np.zeros(8 * n, "f4")
    launch("kernels_language:pieces", (1,), guarded(x), out, N=n)
    np.testing.assert_allclose(out[:n], x * 3, rtol=1e-6)
    np.testing.assert_array_equal(out[n : 3 * n], np.stack([x, x * 2], 1).ravel())
    np.testing.assert_array_equal(out[3 * n : 4 * n], x[::-1])
    np.testing.assert_array_equal(out[4 * n : 5 * n], np.roll(x, -3))
    np.testing.assert_array_equal(out[5 * n : 6 * n], np.sort(x))
    whole = (x * 4).astype(int)
    np.testing.assert_array_equal(out[6 * n : 6 * n + 16], [(whole == i).sum() for i in range(16)])
    np.testing.assert_array_equal(out[7 * n :], x.reshape(-1, 4).T.ravel())


def test_calls():
    out = np.zeros(2, "f4")
    launch("kernels_language:calls", (1,), np.array([5.0], "f4"), out)
    np.testing.assert_array_equal(out, [8, 15])


def test_padded_max():
    h, w = 9, 13
    x = RNG.standard_normal((h, w)).astype("f4")
    out = guarded(np.zeros((h, w), "f4"))
    launch("kernels_language:padded_max", (2,), guarded(x), out, h, w, h, w, BLOCK=64)
    padded = np.pad(x, 1, constant_values=-np.inf)
    expected = np.max([padded[i : i + h, j : j + w] for i in range(3) for j in range(3)], 0)
    np.testing.assert_array_equal(out, expected)


def test_while_with_tiles():
    x = RNG.standard_normal(64).astype("f4")
    out = np.zeros_like(x)
    launch("kernels_language:while_tiles", (1,), x, out, 5, BLOCK=64)
    v = x
    for step in range(5):
        v = v * np.float32(0.5) + 1 if step % 2 == 0 else v - np.float32(0.25)
    np.testing.assert_allclose(out, v, rtol=1e-6)


@pytest.mark.parametrize(("m", "n"), [(16, 32), (1, 4), (8, 2)])
@pytest.mark.parametrize("dtype", ["f4", "i4", "f2"])
def test_split_into_halves(m, n, dtype):
    x = (RNG.standard_normal((m, n)) * 9).astype(dtype)
    out = guarded(np.zeros(3 * m * n // 2, dtype))
    launch("kernels_language:halves", (1,), guarded(x), out, M=m, N=n)
    expected = [x[:, : n // 2], x[:, n // 2 :], x[:, ::2] - x[:, 1::2]]
    np.testing.assert_array_equal(out, np.concatenate([e.ravel() for e in expected]))
