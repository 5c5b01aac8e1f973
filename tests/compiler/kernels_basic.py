"""Kernels for the compiler's tests: element-wise, masks, reductions, loops."""

import triton
import triton.language as tl
from triton.language.extra import libdevice


@triton.jit
def add(x, y, out, n, BLOCK: tl.constexpr):
    offs = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    mask = offs < n
    a = tl.load(x + offs, mask=mask)
    b = tl.load(y + offs, mask=mask)
    tl.store(out + offs, a + b, mask=mask)


@triton.jit
def softmax(x, out, stride, n, BLOCK: tl.constexpr):
    row = tl.program_id(0).to(tl.int64)
    offs = tl.arange(0, BLOCK)
    mask = offs < n
    a = tl.load(x + row * stride + offs, mask=mask, other=-float("inf"))
    e = tl.exp(a - tl.max(a, 0))
    tl.store(out + row * stride + offs, e / tl.sum(e, 0), mask=mask)


@triton.jit
def alias(p, q, n, BLOCK: tl.constexpr):
    offs = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    v = tl.load(p + offs, mask=offs < n)
    tl.store(p + offs, v + 1, mask=offs < n)
    tl.store(q + offs, v, mask=offs < n)


@triton.jit
def shift(p, n, BLOCK: tl.constexpr):
    offs = tl.arange(0, BLOCK)
    v = tl.load(p + offs, mask=offs < n)
    tl.store(p + offs + 1, v, mask=offs < n)


@triton.jit
def layer_norm(x, w, b, out, mean_out, rstd_out, n, eps, BLOCK: tl.constexpr):
    row = tl.program_id(0).to(tl.int64)
    offs = tl.arange(0, BLOCK)
    mask = offs < n
    a = tl.load(x + row * n + offs, mask=mask, other=0.0).to(tl.float32)
    mean = tl.sum(a, 0) / n
    d = tl.where(mask, a - mean, 0.0)
    rstd = 1.0 / tl.sqrt(tl.sum(d * d, 0) / n + eps)
    tl.store(mean_out + row, mean)
    tl.store(rstd_out + row, rstd)
    g = tl.load(w + offs, mask=mask).to(tl.float32)
    h = tl.load(b + offs, mask=mask).to(tl.float32)
    tl.store(out + row * n + offs, (d * rstd * g + h).to(out.dtype.element_ty), mask=mask)


@triton.jit
def broadcast_2d(x, y, out, m, n, sx, BM: tl.constexpr, BN: tl.constexpr):
    rows = tl.program_id(1) * BM + tl.arange(0, BM)
    cols = tl.program_id(0) * BN + tl.arange(0, BN)
    mask = (rows < m)[:, None] & (cols < n)[None, :]
    a = tl.load(x + rows[:, None] * sx + cols[None, :], mask=mask, other=0.0)
    b = tl.load(y + cols, mask=cols < n, other=0.0)
    tl.store(out + rows[:, None] * n + cols[None, :], a * b[None, :] + rows[:, None], mask=mask)


@triton.jit
def strided_3d(x, out, s0, s1, s2, A: tl.constexpr, B: tl.constexpr, C: tl.constexpr):
    i = tl.arange(0, A)[:, None, None]
    j = tl.arange(0, B)[None, :, None]
    k = tl.arange(0, C)[None, None, :]
    v = tl.load(x + i * s0 + j * s1 + k * s2)
    tl.store(out + (i * B + j) * C + k, v * 2)


@triton.jit
def reduce_2d(x, out, m, n, KIND: tl.constexpr, AXIS: tl.constexpr, BM: tl.constexpr, BN: tl.constexpr):
    rows = tl.arange(0, BM)
    cols = tl.arange(0, BN)
    mask = (rows < m)[:, None] & (cols < n)[None, :]
    fill: tl.constexpr = (
        float("-inf") if KIND == "max" or KIND == "argmax" else (float("inf") if KIND == "min" else 0.0)
    )
    v = tl.load(x + rows[:, None] * n + cols[None, :], mask=mask, other=fill)
    if KIND == "sum":
        r = tl.sum(v, AXIS)
    elif KIND == "max":
        r = tl.max(v, AXIS)
    elif KIND == "min":
        r = tl.min(v, AXIS)
    else:
        r = tl.argmax(v, AXIS).to(tl.float32)
    if AXIS == 0:
        tl.store(out + cols, r, mask=cols < n)
    else:
        tl.store(out + rows, r, mask=rows < m)


@triton.jit
def reduce_3d(x, out, AXIS: tl.constexpr, A: tl.constexpr, B: tl.constexpr, C: tl.constexpr):
    i = tl.arange(0, A)[:, None, None]
    j = tl.arange(0, B)[None, :, None]
    k = tl.arange(0, C)[None, None, :]
    v = tl.load(x + (i * B + j) * C + k)
    r = tl.sum(v, AXIS)
    if AXIS == 0:
        tl.store(out + tl.arange(0, B)[:, None] * C + tl.arange(0, C)[None, :], r)
    elif AXIS == 1:
        tl.store(out + tl.arange(0, A)[:, None] * C + tl.arange(0, C)[None, :], r)
    else:
        tl.store(out + tl.arange(0, A)[:, None] * B + tl.arange(0, B)[None, :], r)


@triton.jit
def total(x, out):
    v = tl.load(x + tl.arange(0, 64)[:, None] * 32 + tl.arange(0, 32)[None, :])
    tl.store(out, tl.sum(v))
    tl.store(out + 1, tl.max(v))


@triton.jit
def column_sums(x, out, m, n, BM: tl.constexpr, BN: tl.constexpr):
    cols = tl.program_id(0) * BN + tl.arange(0, BN)
    acc = tl.zeros((BN,), dtype=tl.float32)
    for start in range(0, m, BM):
        rows = start + tl.arange(0, BM)
        mask = (rows < m)[:, None] & (cols < n)[None, :]
        v = tl.load(x + rows[:, None] * n + cols[None, :], mask=mask, other=0.0)
        acc += tl.sum(v, 0)
    tl.store(out + cols, acc, mask=cols < n)


@triton.jit
def loop_row(x, out, n, BLOCK: tl.constexpr):
    """Softmax statistics over a long row, block by block, with pointers that the loop moves."""
    row = tl.program_id(0)
    ptr = x + row * n + tl.arange(0, BLOCK)
    best = tl.full((BLOCK,), float("-inf"), tl.float32)
    total = tl.zeros((BLOCK,), tl.float32)
    for start in range(0, n, BLOCK):
        v = tl.load(ptr, mask=start + tl.arange(0, BLOCK) < n, other=float("-inf"))
        new = tl.maximum(best, v)
        total = total * tl.exp(tl.where(best == new, 0.0, best - new)) + tl.where(
            v == float("-inf"), 0.0, tl.exp(v - new)
        )
        best = new
        ptr += BLOCK
    m = tl.max(best, 0)
    s = tl.sum(total * tl.exp(best - m), 0)
    tl.store(out + row, m + tl.log(s))


@triton.jit
def control(x, out, n, flag, scale):
    if flag < 0:
        return
    k = 0
    f = 1.0
    while k < n:
        if k % 3 == 1:
            f += tl.load(x + k)
        else:
            f *= scale
        k += 1
    v = tl.load(x + tl.arange(0, 16))
    if flag > 2:
        v = v * 2 + f
    else:
        v = v - f
    for i in range(n):
        v += i
    tl.store(out + tl.arange(0, 16), v)


@triton.jit
def cast(x, out, n, BLOCK: tl.constexpr):
    offs = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    v = tl.load(x + offs, mask=offs < n)
    tl.store(out + offs, v.to(out.dtype.element_ty), mask=offs < n)


@triton.jit
def flat_2d(x, out, n, BM: tl.constexpr, BN: tl.constexpr):
    offs = tl.program_id(0) * BM * BN + tl.arange(0, BM)[:, None] * BN + tl.arange(0, BN)[None, :]
    v = tl.load(x + offs, mask=offs < n, other=0.0)
    tl.store(out + offs, v + 1, mask=offs < n)


@triton.jit
def divmod_index(x, out, n, w, BLOCK: tl.constexpr):
    offs = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    i = offs // w
    j = offs % w
    v = tl.load(x + j * (n // w) + i, mask=offs < n)
    tl.store(out + offs, v, mask=offs < n)


@triton.jit
def adam(p, g, m, v, lr, b1, b2, eps, n, BLOCK: tl.constexpr):
    offs = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    mask = offs < n
    w = tl.load(p + offs, mask=mask)
    d = tl.load(g + offs, mask=mask)
    a = tl.load(m + offs, mask=mask)
    s = tl.load(v + offs, mask=mask)
    a = b1 * a + (1 - b1) * d
    s = b2 * s + (1 - b2) * d * d
    tl.store(m + offs, a, mask=mask)
    tl.store(v + offs, s, mask=mask)
    tl.store(p + offs, w - lr * a / (tl.sqrt(s) + eps), mask=mask)


@triton.jit
def double(x):
    return x * 2


@triton.jit
def apply_function(x, out, n, BLOCK: tl.constexpr, FN: tl.constexpr, TO: tl.constexpr):
    offs = tl.arange(0, BLOCK)
    v = tl.load(x + offs, mask=offs < n)
    tl.store(out + offs, FN(v).to(TO), mask=offs < n)


@triton.jit
def checked(x, n, BLOCK: tl.constexpr):
    offs = tl.arange(0, BLOCK)
    v = tl.load(x + offs, mask=offs < n, other=0)
    tl.device_assert(v >= 0, "negative index")
    tl.device_assert(n < 1000, "n too large")


@triton.jit
def unary(x, out, n, BLOCK: tl.constexpr, NAME: tl.constexpr):
    offs = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    mask = offs < n
    v = tl.load(x + offs, mask=mask)
    if NAME == "exp":
        r = tl.exp(v)
    elif NAME == "exp2":
        r = tl.exp2(v)
    elif NAME == "log":
        r = tl.log(v)
    elif NAME == "log2":
        r = tl.log2(v)
    elif NAME == "tanh":
        r = libdevice.tanh(v)
    elif NAME == "erf":
        r = tl.erf(v)
    elif NAME == "sin":
        r = tl.sin(v)
    elif NAME == "cos":
        r = tl.cos(v)
    elif NAME == "rsqrt":
        r = tl.rsqrt(v)
    elif NAME == "sqrt":
        r = tl.sqrt(v)
    elif NAME == "expm1":
        r = libdevice.expm1(v)
    elif NAME == "log1p":
        r = libdevice.log1p(v)
    elif NAME == "sigmoid":
        r = tl.sigmoid(v)
    elif NAME == "floor":
        r = tl.floor(v)
    elif NAME == "ceil":
        r = tl.ceil(v)
    elif NAME == "abs":
        r = tl.abs(v)
    elif NAME == "tan":
        r = libdevice.tan(v)
    elif NAME == "rint":
        r = libdevice.rint(v)
    tl.store(out + offs, r, mask=mask)
