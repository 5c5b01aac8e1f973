# Random numbers of given distributions, by inversion and by rejection; one counter of the generator a lane and attempt.
"""A lane that was refused tries again with the counter `lanes` further on, so that the numbers do not depend on how the
work is split. Attempts are bounded by ATTEMPTS, which is never reached in practice: each is accepted with probability
0.7 and more."""

import triton
import triton.language as tl

from .random import above_zero, store, unit, unit64, words


@triton.jit
def exponential(out, n, rate, seed, offset, BLOCK: tl.constexpr):
    """-log(u) / rate with u in (0, 1]."""
    program = tl.program_id(0).to(tl.int64)
    a, b, c, d = words(seed, offset, program * BLOCK + tl.arange(0, BLOCK))
    start = program * (4 * BLOCK)
    store(out, start, n, -tl.log(above_zero(a)) / rate, BLOCK)
    store(out, start + BLOCK, n, -tl.log(above_zero(b)) / rate, BLOCK)
    store(out, start + 2 * BLOCK, n, -tl.log(above_zero(c)) / rate, BLOCK)
    store(out, start + 3 * BLOCK, n, -tl.log(above_zero(d)) / rate, BLOCK)


@triton.jit
def gamma(alpha, out, n, lanes, seed, offset, ACC: tl.constexpr, ATTEMPTS: tl.constexpr, BLOCK: tl.constexpr):
    """Gamma numbers of shape alpha and scale 1. Source: Marsaglia and Tsang, A simple method for generating gamma variables,
    2000; below a shape of 1 with the boost of their section 6."""
    lane = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    mask = lane < n
    shape = tl.load(alpha + lane, mask=mask, other=1.0).to(ACC)
    _, _, _, boost = words(seed, offset, lane)
    small = shape < 1.0
    d = tl.where(small, shape + 1.0, shape) - 1.0 / 3.0
    c = 1.0 / tl.sqrt(9.0 * d)
    value = d
    pending = mask & (shape > 0.0)
    attempt = 0
    while (attempt < ATTEMPTS) & (tl.max(pending.to(tl.int32), 0) != 0):
        a, b, u, _ = words(seed, offset, lane + attempt.to(tl.int64) * lanes)
        x = (tl.sqrt(-2.0 * tl.log(above_zero(a))) * tl.cos(unit(b) * 6.28318530717958647693)).to(ACC)
        cube = 1.0 + c * x
        v = cube * cube * cube
        positive = v > 0.0
        v = tl.where(positive, v, 1.0)
        uniform = above_zero(u).to(ACC)
        accepted = positive & (tl.log(uniform) < 0.5 * x * x + d - d * v + d * tl.log(v))
        value = tl.where(pending & accepted, d * v, value)
        pending = pending & (accepted == 0)
        attempt += 1
    power = tl.exp(tl.log(above_zero(boost).to(ACC)) / tl.where(small, shape, 1.0))
    value = tl.where(small, value * power, value)
    value = tl.where(shape > 0.0, value, tl.where(shape == 0.0, 0.0, float("nan")))
    tl.store(out + lane, value.to(out.dtype.element_ty), mask=mask)


@triton.jit
def log_factorial(k):
    """log(k!) in f64 for whole k >= 0: Stirling's series, moved 8 up."""
    x = k + 1.0
    low = x * (x + 1.0) * (x + 2.0) * (x + 3.0) * (x + 4.0) * (x + 5.0) * (x + 6.0) * (x + 7.0)
    large = k > 1.0e6  # where the move changes nothing and its product would overflow
    low = tl.where(large, 1.0, low)
    z = tl.where(large, x, x + 8.0)
    r = 1.0 / z
    r2 = r * r
    tail = r * (1.0 / 12.0 - r2 * (1.0 / 360.0 - r2 * (1.0 / 1260.0 - r2 / 1680.0)))
    return (z - 0.5) * tl.log(z) - z + 0.91893853320467274178 + tail - tl.log(low)


@triton.jit
def poisson(rate, out, n, lanes, seed, offset, ATTEMPTS: tl.constexpr, BLOCK: tl.constexpr):
    """Poisson numbers. Below a rate of 10 by inversion; above by transformed rejection, Hoermann, The transformed
    rejection method for generating Poisson random variables, 1993 (algorithm PTRS)."""
    lane = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    mask = lane < n
    mean = tl.load(rate + lane, mask=mask, other=0.0).to(tl.float64)
    small = mean < 10.0
    a, b, _, _ = words(seed, offset, lane)
    # Inversion: add up probabilities until they pass u.
    m = tl.where(small, mean, 1.0)
    u = unit64(a, b)
    term = tl.exp(-m)
    below = term
    k = tl.zeros((BLOCK,), tl.float64)
    more = mask & small & (u >= below)
    step = 0
    while (step < 200) & (tl.max(more.to(tl.int32), 0) != 0):
        k = tl.where(more, k + 1.0, k)
        term = tl.where(more, term * m / tl.where(k > 0.0, k, 1.0), term)
        below = below + tl.where(more, term, 0.0)
        more = more & (u >= below)
        step += 1
    # Transformed rejection.
    m = tl.where(small, 10.0, mean)
    root = tl.sqrt(m)
    bb = 0.931 + 2.53 * root
    aa = -0.059 + 0.02483 * bb
    inverse = 1.1239 + 1.1328 / (bb - 3.4)
    certain = 0.9277 - 3.6224 / (bb - 2.0)
    log_mean = tl.log(m)
    pending = mask & (small == 0)
    attempt = 0
    while (attempt < ATTEMPTS) & (tl.max(pending.to(tl.int32), 0) != 0):
        w0, w1, w2, w3 = words(seed, offset, lane + attempt.to(tl.int64) * lanes)
        x = unit64(w0, w1) - 0.5
        v = 1.0 - unit64(w2, w3)
        s = 0.5 - tl.abs(x)
        guess = tl.floor((2.0 * aa / s + bb) * x + m + 0.43)
        safe = tl.where(guess > 0.0, guess, 0.0)
        quick = (s >= 0.07) & (v <= certain)
        possible = (guess >= 0.0) & ((s >= 0.013) | (v <= s))
        left = tl.log(v * inverse / (aa / (s * s) + bb))
        slow = possible & (left <= safe * log_mean - m - log_factorial(safe))
        accepted = quick | slow
        k = tl.where(pending & accepted, safe, k)
        pending = pending & (accepted == 0)
        attempt += 1
    tl.store(out + lane, k.to(out.dtype.element_ty), mask=mask)


@triton.jit
def binomial(count, probability, out, n, lanes, seed, offset, ATTEMPTS: tl.constexpr, BLOCK: tl.constexpr):
    """Binomial numbers. With a mean below 10 by inversion; above by transformed rejection, Hoermann, The generation of
    binomial random variates, 1993 (algorithm BTRS). Probabilities above 1/2 are mirrored."""
    lane = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    mask = lane < n
    trials = tl.load(count + lane, mask=mask, other=0).to(tl.float64)
    given = tl.load(probability + lane, mask=mask, other=0.0).to(tl.float64)
    mirrored = given > 0.5
    p = tl.where(mirrored, 1.0 - given, given)
    small = trials * p < 10.0
    a, b, _, _ = words(seed, offset, lane)
    odds = p / (1.0 - p)
    u = unit64(a, b)
    term = tl.exp(tl.where(small, trials, 0.0) * tl.log(1.0 - p))
    below = term
    k = tl.zeros((BLOCK,), tl.float64)
    more = mask & small & (u >= below) & (trials > 0.0)
    step = 0
    while (step < 200) & (tl.max(more.to(tl.int32), 0) != 0):
        k = tl.where(more, k + 1.0, k)
        term = tl.where(more, term * odds * (trials - k + 1.0) / tl.where(k > 0.0, k, 1.0), term)
        below = below + tl.where(more, term, 0.0)
        more = more & (u >= below) & (k < trials)
        step += 1
    t = tl.where(small, 100.0, trials)
    q = tl.where(small, 0.5, p)
    spread = tl.sqrt(t * q * (1.0 - q))
    bb = 1.15 + 2.53 * spread
    aa = -0.0873 + 0.0248 * bb + 0.01 * q
    center = t * q + 0.5
    certain = 0.92 - 4.2 / bb
    scale = (2.83 + 5.1 / bb) * spread
    ratio = q / (1.0 - q)
    mode = tl.floor((t + 1.0) * q)
    log_ratio = tl.log(ratio)
    level = log_factorial(mode) + log_factorial(t - mode)
    pending = mask & (small == 0)
    attempt = 0
    while (attempt < ATTEMPTS) & (tl.max(pending.to(tl.int32), 0) != 0):
        w0, w1, w2, w3 = words(seed, offset, lane + attempt.to(tl.int64) * lanes)
        x = unit64(w0, w1) - 0.5
        v = 1.0 - unit64(w2, w3)
        s = 0.5 - tl.abs(x)
        guess = tl.floor((2.0 * aa / s + bb) * x + center)
        possible = (guess >= 0.0) & (guess <= t)
        safe = tl.where(possible, guess, mode)
        quick = possible & (s >= 0.07) & (v <= certain)
        left = tl.log(v * scale / (aa / (s * s) + bb))
        right = level - log_factorial(safe) - log_factorial(t - safe) + (safe - mode) * log_ratio
        accepted = quick | (possible & (left <= right))
        k = tl.where(pending & accepted, safe, k)
        pending = pending & (accepted == 0)
        attempt += 1
    k = tl.where(mirrored, trials - k, k)
    tl.store(out + lane, k.to(out.dtype.element_ty), mask=mask)
