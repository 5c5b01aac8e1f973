# Random numbers from the counter-based generator Philox 4x32-10: the same key and counter give the same numbers.
"""Each counter gives four 32-bit words. A program takes BLOCK counters and writes four runs of BLOCK elements.
Source: Salmon, Moraes, Dror, Shaw, Parallel random numbers: as easy as 1, 2, 3, 2011."""

import triton
import triton.language as tl


@triton.jit
def words(seed, offset, counter):
    """Four independent 32-bit words for each counter."""
    return tl.randint4x(seed, offset + counter)


@triton.jit
def unit(word):
    """A word as f32 in [0, 1)."""
    return (word.to(tl.uint32, bitcast=True) >> 8).to(tl.int32).to(tl.float32) * 5.9604644775390625e-8


@triton.jit
def above_zero(word):
    """A word as f32 in (0, 1]."""
    return ((word.to(tl.uint32, bitcast=True) >> 8).to(tl.int32).to(tl.float32) + 1.0) * 5.9604644775390625e-8


@triton.jit
def unit64(high, low):
    """Two words as f64 in [0, 1)."""
    h = (high.to(tl.uint32, bitcast=True) >> 5).to(tl.int32).to(tl.float64)
    w = (low.to(tl.uint32, bitcast=True) >> 6).to(tl.int32).to(tl.float64)
    return (h * 67108864.0 + w) * 1.1102230246251565404e-16


@triton.jit
def store(out, start, n, value, BLOCK: tl.constexpr):
    lane = tl.arange(0, BLOCK)
    tl.store(out + start + lane, value.to(out.dtype.element_ty), mask=lane < n - start)


@triton.jit
def uniform(out, n, low, high, seed, offset, BLOCK: tl.constexpr):
    """[low, high) in f32, also for 16-bit outputs; rounding up to `high` is prevented."""
    program = tl.program_id(0).to(tl.int64)
    a, b, c, d = words(seed, offset, program * BLOCK + tl.arange(0, BLOCK))
    start = program * (4 * BLOCK)
    span = high - low
    store(out, start, n, low + unit(a) * span, BLOCK)
    store(out, start + BLOCK, n, low + unit(b) * span, BLOCK)
    store(out, start + 2 * BLOCK, n, low + unit(c) * span, BLOCK)
    store(out, start + 3 * BLOCK, n, low + unit(d) * span, BLOCK)


@triton.jit
def uniform64(out, n, low, high, seed, offset, BLOCK: tl.constexpr):
    """[low, high) in f64: two elements for each counter."""
    program = tl.program_id(0).to(tl.int64)
    a, b, c, d = words(seed, offset, program * BLOCK + tl.arange(0, BLOCK))
    start = program * (2 * BLOCK)
    span = high - low
    store(out, start, n, low + unit64(a, b) * span, BLOCK)
    store(out, start + BLOCK, n, low + unit64(c, d) * span, BLOCK)


@triton.jit
def gaussian(out, n, mean, std, seed, offset, BLOCK: tl.constexpr):
    """Normal numbers. Source: Box and Muller, A note on the generation of random normal deviates, 1958."""
    program = tl.program_id(0).to(tl.int64)
    a, b, c, d = words(seed, offset, program * BLOCK + tl.arange(0, BLOCK))
    start = program * (4 * BLOCK)
    r1 = tl.sqrt(-2.0 * tl.log(above_zero(a))) * std
    t1 = unit(b) * 6.28318530717958647693
    r2 = tl.sqrt(-2.0 * tl.log(above_zero(c))) * std
    t2 = unit(d) * 6.28318530717958647693
    store(out, start, n, mean + r1 * tl.cos(t1), BLOCK)
    store(out, start + BLOCK, n, mean + r1 * tl.sin(t1), BLOCK)
    store(out, start + 2 * BLOCK, n, mean + r2 * tl.cos(t2), BLOCK)
    store(out, start + 3 * BLOCK, n, mean + r2 * tl.sin(t2), BLOCK)


@triton.jit
def erfinv(x):
    """Source: Giles, Approximating the erfinv function, 2010 (single precision)."""
    w = -tl.log((1.0 - x) * (1.0 + x))
    v = w - 2.5
    p = 2.81022636e-08
    p = 3.43273939e-07 + p * v
    p = -3.5233877e-06 + p * v
    p = -4.39150654e-06 + p * v
    p = 0.00021858087 + p * v
    p = -0.00125372503 + p * v
    p = -0.00417768164 + p * v
    p = 0.246640727 + p * v
    p = 1.50140941 + p * v
    s = tl.sqrt(tl.where(w < 5.0, 5.0, w)) - 3.0
    q = -0.000200214257
    q = 0.000100950558 + q * s
    q = 0.00134934322 + q * s
    q = -0.00367342844 + q * s
    q = 0.00573950773 + q * s
    q = -0.0076224613 + q * s
    q = 0.00943887047 + q * s
    q = 1.00167406 + q * s
    q = 2.83297682 + q * s
    return tl.where(w < 5.0, p, q) * x


@triton.jit
def truncated(word, mean, std, low, high, low_cdf, span):
    """Normal within [mean + low * std, mean + high * std] by inverting the distribution function."""
    u = low_cdf + (unit(word) + 2.98023223876953125e-8) * span
    x = 2.0 * u - 1.0
    x = tl.where(x > 0.99999994, 0.99999994, tl.where(x < -0.99999994, -0.99999994, x))
    z = erfinv(x) * 1.41421356237309504880
    z = tl.where(z < low, low, tl.where(z > high, high, z))
    return mean + z * std


@triton.jit
def truncated_gaussian(out, n, mean, std, low, high, low_cdf, span, seed, offset, BLOCK: tl.constexpr):
    """low and high in standard deviations; low_cdf and span: the distribution function at low, and its growth to high."""
    program = tl.program_id(0).to(tl.int64)
    a, b, c, d = words(seed, offset, program * BLOCK + tl.arange(0, BLOCK))
    start = program * (4 * BLOCK)
    store(out, start, n, truncated(a, mean, std, low, high, low_cdf, span), BLOCK)
    store(out, start + BLOCK, n, truncated(b, mean, std, low, high, low_cdf, span), BLOCK)
    store(out, start + 2 * BLOCK, n, truncated(c, mean, std, low, high, low_cdf, span), BLOCK)
    store(out, start + 3 * BLOCK, n, truncated(d, mean, std, low, high, low_cdf, span), BLOCK)


@triton.jit
def below(word, span):
    """An integer in [0, span), span < 2^32, by the high half of a product."""
    wide = word.to(tl.uint32, bitcast=True).to(tl.int64) & 0xFFFFFFFF
    return (wide * span) >> 32


@triton.jit
def randint(out, n, low, span, seed, offset, BLOCK: tl.constexpr):
    """Integers in [low, low + span), span < 2^31."""
    program = tl.program_id(0).to(tl.int64)
    a, b, c, d = words(seed, offset, program * BLOCK + tl.arange(0, BLOCK))
    start = program * (4 * BLOCK)
    store(out, start, n, low + below(a, span), BLOCK)
    store(out, start + BLOCK, n, low + below(b, span), BLOCK)
    store(out, start + 2 * BLOCK, n, low + below(c, span), BLOCK)
    store(out, start + 3 * BLOCK, n, low + below(d, span), BLOCK)


@triton.jit
def randint64(out, n, low, span, seed, offset, BLOCK: tl.constexpr):
    """Integers in [low, low + span) for any span below 2^63."""
    program = tl.program_id(0).to(tl.int64)
    a, b, c, d = words(seed, offset, program * BLOCK + tl.arange(0, BLOCK))
    start = program * (2 * BLOCK)
    first = ((a.to(tl.int64) << 32) | (b.to(tl.int64) & 0xFFFFFFFF)) & 0x7FFFFFFFFFFFFFFF
    second = ((c.to(tl.int64) << 32) | (d.to(tl.int64) & 0xFFFFFFFF)) & 0x7FFFFFFFFFFFFFFF
    store(out, start, n, low + first % span, BLOCK)
    store(out, start + BLOCK, n, low + second % span, BLOCK)


@triton.jit
def _draw(x, out, start, n, word, BLOCK: tl.constexpr):
    lane = tl.arange(0, BLOCK)
    mask = lane < n - start
    p = tl.load(x + start + lane, mask=mask).to(tl.float32)
    tl.store(out + start + lane, (unit(word) < p).to(tl.int32).to(out.dtype.element_ty), mask=mask)


@triton.jit
def bernoulli(x, out, n, seed, offset, BLOCK: tl.constexpr):
    """1 with probability x."""
    program = tl.program_id(0).to(tl.int64)
    a, b, c, d = words(seed, offset, program * BLOCK + tl.arange(0, BLOCK))
    start = program * (4 * BLOCK)
    _draw(x, out, start, n, a, BLOCK)
    _draw(x, out, start + BLOCK, n, b, BLOCK)
    _draw(x, out, start + 2 * BLOCK, n, c, BLOCK)
    _draw(x, out, start + 3 * BLOCK, n, d, BLOCK)


@triton.jit
def _drop(
    x,
    out,
    mask_out,
    start,
    n,
    word,
    p,
    scale,
    MASK_ONLY: tl.constexpr,
    COMPUTE: tl.constexpr,
    BLOCK: tl.constexpr,
):
    lane = tl.arange(0, BLOCK)
    mask = lane < n - start
    keep = unit(word) >= p
    tl.store(mask_out + start + lane, keep.to(tl.int32).to(mask_out.dtype.element_ty), mask=mask)
    if not MASK_ONLY:
        value = tl.load(x + start + lane, mask=mask).to(COMPUTE)
        value = tl.where(keep, value * scale.to(COMPUTE), 0.0)
        tl.store(out + start + lane, value.to(out.dtype.element_ty), mask=mask)


@triton.jit
def dropout(
    x, out, mask_out, n, p, scale, seed, offset,
    MASK_ONLY: tl.constexpr, COMPUTE: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Keeps each element with probability 1 - p, times `scale`; mask_out has 1 for what was kept."""
    program = tl.program_id(0).to(tl.int64)
    a, b, c, d = words(seed, offset, program * BLOCK + tl.arange(0, BLOCK))
    start = program * (4 * BLOCK)
    _drop(x, out, mask_out, start, n, a, p, scale, MASK_ONLY, COMPUTE, BLOCK)
    _drop(x, out, mask_out, start + BLOCK, n, b, p, scale, MASK_ONLY, COMPUTE, BLOCK)
    _drop(x, out, mask_out, start + 2 * BLOCK, n, c, p, scale, MASK_ONLY, COMPUTE, BLOCK)
    _drop(x, out, mask_out, start + 3 * BLOCK, n, d, p, scale, MASK_ONLY, COMPUTE, BLOCK)


@triton.jit
def masked_scale(x, mask, a):
    """x * a where the mask is set, else 0."""
    return tl.where(mask != 0, x * a.to(x.dtype), 0.0)


@triton.jit
def shuffle(out, n, seed, offset):
    """Puts a sequence into random order, in one program. Source: Durstenfeld, Algorithm 235: random permutation, 1964."""
    for k in range(0, n - 1):
        i = n - 1 - k
        a, b, _, _ = words(seed, offset, i.to(tl.int64))
        wide = ((a.to(tl.int64) << 32) | (b.to(tl.int64) & 0xFFFFFFFF)) & 0x7FFFFFFFFFFFFFFF
        j = wide % (i + 1)
        here = tl.load(out + i)
        there = tl.load(out + j)
        tl.store(out + i, there)
        tl.store(out + j, here)
