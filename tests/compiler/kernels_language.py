"""Kernels for the compiler's tests: dots, whole-tile operations, atomics, random numbers, calls."""

import triton
import triton.language as tl


@triton.jit
def matmul(a, b, c, m, n, k, BM: tl.constexpr, BN: tl.constexpr, BK: tl.constexpr):
    rm = tl.program_id(0) * BM + tl.arange(0, BM)
    rn = tl.program_id(1) * BN + tl.arange(0, BN)
    rk = tl.arange(0, BK)
    acc = tl.zeros((BM, BN), dtype=tl.float32)
    ap = a + rm[:, None] * k + rk[None, :]
    bp = b + rk[:, None] * n + rn[None, :]
    for start in range(0, k, BK):
        av = tl.load(ap, mask=(rm[:, None] < m) & (start + rk[None, :] < k), other=0.0)
        bv = tl.load(bp, mask=(start + rk[:, None] < k) & (rn[None, :] < n), other=0.0)
        acc += tl.dot(av, bv)
        ap += BK
        bp += BK * n
    mask = (rm[:, None] < m) & (rn[None, :] < n)
    tl.store(c + rm[:, None] * n + rn[None, :], tl.maximum(acc, 0.0).to(c.dtype.element_ty), mask=mask)


@triton.jit
def matmul_tables(
    w, x, table, y, m, k, p, BM: tl.constexpr, BN: tl.constexpr, BK: tl.constexpr, TRANS: tl.constexpr
):
    """The rows of the second factor lie where a table says, some of them masked off."""
    rm = tl.arange(0, BM)
    rn = tl.arange(0, BN)
    acc = tl.zeros((BM, BN), dtype=tl.float32)
    for start in range(0, k, BK):
        rk = start + tl.arange(0, BK)
        off = tl.load(table + rk, mask=rk < k, other=-1)
        good = (off >= 0)[:, None] & (rn < p)[None, :]
        av = tl.load(w + rm[:, None] * k + rk[None, :], mask=(rm < m)[:, None] & (rk < k)[None, :], other=0.0)
        bv = tl.load(x + off[:, None] + rn[None, :], mask=good, other=0.0)
        acc = tl.dot(av, bv, acc)
    if TRANS:
        tl.store(y + rn[:, None] * m + rm[None, :], tl.trans(acc), mask=(rn < p)[:, None] & (rm < m)[None, :])
    else:
        tl.store(y + rm[:, None] * p + rn[None, :], acc, mask=(rm < m)[:, None] & (rn < p)[None, :])


@triton.jit
def attention(q, k, v, out, n, scale, BM: tl.constexpr, BN: tl.constexpr, D: tl.constexpr):
    rm = tl.program_id(0) * BM + tl.arange(0, BM)
    rd = tl.arange(0, D)
    qv = tl.load(q + rm[:, None] * D + rd[None, :], mask=rm[:, None] < n, other=0.0)
    best = tl.full((BM,), float("-inf"), tl.float32)
    total = tl.zeros((BM,), tl.float32)
    acc = tl.zeros((BM, D), tl.float32)
    for start in range(0, n, BN):
        rn = start + tl.arange(0, BN)
        kv = tl.load(k + rn[:, None] * D + rd[None, :], mask=rn[:, None] < n, other=0.0)
        s = tl.dot(qv, tl.trans(kv)) * scale
        s = tl.where((rn < n)[None, :], s, float("-inf"))
        new = tl.maximum(best, tl.max(s, 1))
        p = tl.exp(s - new[:, None])
        alpha = tl.exp(best - new)
        total = total * alpha + tl.sum(p, 1)
        vv = tl.load(v + rn[:, None] * D + rd[None, :], mask=rn[:, None] < n, other=0.0)
        acc = acc * alpha[:, None] + tl.dot(p, vv)
        best = new
    tl.store(out + rm[:, None] * D + rd[None, :], acc / total[:, None], mask=rm[:, None] < n)


@triton.jit
def transpose(x, out, m, n, BM: tl.constexpr, BN: tl.constexpr):
    rm = tl.program_id(0) * BM + tl.arange(0, BM)
    rn = tl.program_id(1) * BN + tl.arange(0, BN)
    v = tl.load(x + rm[:, None] * n + rn[None, :], mask=(rm[:, None] < m) & (rn[None, :] < n))
    tl.store(out + rn[:, None] * m + rm[None, :], tl.trans(v), mask=(rn[:, None] < n) & (rm[None, :] < m))


@triton.jit
def _weighted(a, b):
    return a * 2 + b


@triton.jit
def scans(x, out, AXIS: tl.constexpr, REVERSE: tl.constexpr, M: tl.constexpr, N: tl.constexpr):
    offs = tl.arange(0, M)[:, None] * N + tl.arange(0, N)[None, :]
    tl.store(out + offs, tl.cumsum(tl.load(x + offs), AXIS, reverse=REVERSE))


@triton.jit
def scatter_add(index, value, out, counts, n, BLOCK: tl.constexpr):
    offs = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    mask = offs < n
    i = tl.load(index + offs, mask=mask, other=0)
    tl.atomic_add(out + i, tl.load(value + offs, mask=mask, other=0.0), mask=mask)
    tl.atomic_add(counts + i, 1, mask=mask)
    tl.atomic_max(counts + 100, n)


@triton.jit
def random(seed, out, n, BLOCK: tl.constexpr):
    offs = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    tl.store(out + offs, tl.rand(seed, offs), mask=offs < n)


@triton.jit
def pieces(x, out, N: tl.constexpr):
    offs = tl.arange(0, N)
    v = tl.load(x + offs)
    joined = tl.join(v, v * 2)
    a, b = tl.split(joined)
    tl.store(out + offs, a + b)
    tl.store(out + N + tl.arange(0, 2 * N), tl.reshape(joined, (2 * N,)))
    tl.store(out + 3 * N + offs, tl.flip(v, 0))
    tl.store(out + 4 * N + offs, tl.gather(v, (offs + 3) % N, 0))
    tl.store(out + 5 * N + offs, tl.sort(v))
    tl.store(out + 6 * N + tl.arange(0, 16), tl.histogram((v * 4).to(tl.int32), 16).to(tl.float32))
    tl.store(out + 7 * N + offs, tl.reshape(tl.trans(tl.reshape(v, (N // 4, 4))), (N,)))


@triton.jit(noinline=True)
def _twice(x, y):
    return x + y, x * y


@triton.jit
def calls(x, out):
    a, b = _twice(tl.load(x), 3.0)
    tl.store(out, a)
    tl.store(out + 1, b)


@triton.jit
def padded_max(x, out, h, w, oh, ow, BLOCK: tl.constexpr):
    """3x3 max pooling with padding 1: masks that are no prefixes, carried tiles."""
    offs = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    i = offs // ow
    j = offs % ow
    best = tl.full((BLOCK,), float("-inf"), tl.float32)
    for di in range(3):
        for dj in range(3):
            r = i - 1 + di
            c = j - 1 + dj
            good = (r >= 0) & (r < h) & (c >= 0) & (c < w) & (offs < oh * ow)
            best = tl.maximum(best, tl.load(x + r * w + c, mask=good, other=float("-inf")))
    tl.store(out + offs, best, mask=offs < oh * ow)


@triton.jit
def while_tiles(x, out, n, BLOCK: tl.constexpr):
    offs = tl.arange(0, BLOCK)
    v = tl.load(x + offs)
    steps = 0
    while steps < n:
        if steps % 2 == 0:
            v = v * 0.5 + 1.0
        else:
            v = tl.reshape(v, (BLOCK,)) - 0.25
        steps += 1
    tl.store(out + offs, v)


@triton.jit
def halves(x, out, M: tl.constexpr, N: tl.constexpr):
    """The left and the right half of a tile, then pairs of neighbours."""
    at = tl.arange(0, M)[:, None] * N + tl.arange(0, N)[None, :]
    half = tl.arange(0, M)[:, None] * (N // 2) + tl.arange(0, N // 2)[None, :]
    v = tl.load(x + at)
    left, right = tl.split(tl.permute(tl.reshape(v, (M, 2, N // 2)), (0, 2, 1)))
    tl.store(out + half, left)
    tl.store(out + M * N // 2 + half, right)
    even, odd = tl.split(tl.reshape(v, (M, N // 2, 2)))
    tl.store(out + M * N + half, even - odd)
