# Quantization: rounding by a scale, scales that follow what is seen, products with weights in 8 and 4 bits.
import triton
import triton.language as tl

from openxpu.ops.kernels.softmax import widen


@triton.jit
def round_away(x):
    """To the nearest integer, halves away from zero."""
    size = tl.abs(x)
    whole = tl.floor(size)
    whole += tl.where(size - whole >= 0.5, 1.0, 0.0)
    return tl.where(x < 0, -whole, whole)


@triton.jit
def round_even(x):
    """To the nearest integer, halves to the even one."""
    whole = tl.floor(x)
    rest = x - whole
    odd = whole - 2.0 * tl.floor(whole * 0.5)
    up = (rest > 0.5) | ((rest == 0.5) & (odd != 0))
    return whole + tl.where(up, 1.0, 0.0)


@triton.jit
def reciprocal(s):
    """1 / s, finite for a scale of zero."""
    return tl.where(s <= 1e-30, 1.0 / (s + 1e-6), 1.0 / s)


@triton.jit
def quantize_away(x, s, bins):
    """x / s in [-1, 1] on `bins` steps to each side, halves away from zero."""
    v = tl.where(x > s, s, tl.where(x < -s, -s, x))
    return round_away(bins.to(x.dtype) * reciprocal(s) * v)


@triton.jit
def quantize_even(x, s, bins):
    """The same with halves to the even step, and one more step below."""
    bins = bins.to(x.dtype)
    v = round_even(bins * reciprocal(s) * x)
    return tl.where(v > bins, bins, tl.where(v < -bins - 1, -bins - 1, v))


@triton.jit
def simulate_away(x, s, bins):
    """What x is after quantization and back."""
    return quantize_away(x, s, bins) * s / bins.to(x.dtype)


@triton.jit
def simulate_even(x, s, bins):
    return quantize_even(x, s, bins) * s / bins.to(x.dtype)


@triton.jit
def to_i8_away(x, factor, largest, smallest):
    v = round_away(x * factor.to(x.dtype))
    v = tl.where(v > largest, largest, tl.where(v < smallest, smallest, v))
    return v.to(tl.int32)


@triton.jit
def to_i8_even(x, factor, largest, smallest):
    v = round_even(x * factor.to(x.dtype))
    v = tl.where(v > largest, largest, tl.where(v < smallest, smallest, v))
    return v.to(tl.int32)


@triton.jit
def weight_step(x, s, largest):
    """The integer in [-largest - 1, largest] that is x in steps of s."""
    v = round_away(tl.where(s == 0, 0.0, x / s))
    largest = largest.to(x.dtype)
    return tl.where(v > largest, largest, tl.where(v < -largest - 1, -largest - 1, v)).to(tl.int32)


@triton.jit
def pack(low, high):
    """Two 4-bit integers in one byte."""
    byte = (low.to(tl.int32) & 15) | ((high.to(tl.int32) & 15) << 4)
    return tl.where(byte > 127, byte - 256, byte)


@triton.jit
def low_half(x):
    """The lower 4 bits of a byte, with sign."""
    return (x.to(tl.int32) << 28) >> 28


@triton.jit
def high_half(x):
    return x.to(tl.int32) >> 4


@triton.jit
def low_times(x, s):
    s = widen(s)
    return low_half(x).to(s.dtype) * s


@triton.jit
def high_times(x, s):
    s = widen(s)
    return high_half(x).to(s.dtype) * s


@triton.jit
def times(x, s):
    s = widen(s)
    return x.to(s.dtype) * s


@triton.jit
def times_over(x, s, a):
    """x * s / a, in the type of s."""
    return x.to(s.dtype) * s / a.to(s.dtype)


@triton.jit
def times_over_two(x, s, t, a):
    return x.to(s.dtype) * s * t / a.to(s.dtype)


@triton.jit
def moving_average(current, accum, state, accum_out, state_out, scale_out, rate):
    """The largest magnitude, averaged with weights that fall by `rate` at each step."""
    total = tl.load(accum) * rate + tl.load(current)
    count = tl.load(state) * rate + 1.0
    tl.store(accum_out, total.to(accum_out.dtype.element_ty))
    tl.store(state_out, count.to(state_out.dtype.element_ty))
    tl.store(scale_out, (total / count).to(scale_out.dtype.element_ty))


@triton.jit
def windowed(current, last, step, scales, scale_out, window, BLOCK: tl.constexpr):
    """The largest magnitude of the last `window` steps, whose magnitudes are in `scales`."""
    at = tl.load(step)
    slot = at % window
    seen = tl.load(current)
    removed = tl.load(scales + slot)
    tl.store(scales + slot, seen)
    top = tl.load(last)
    lost = (seen <= top) & (tl.abs(removed - top) < 1e-6)
    size = tl.minimum(at, window)
    best = tl.full((), 0.0, tl.float32)
    if lost:
        for start in range(0, size, BLOCK):
            lane = start + tl.arange(0, BLOCK)
            best = tl.maximum(
                best, tl.max(tl.load(scales + lane, mask=lane < size, other=0).to(tl.float32), axis=0)
            )
    result = tl.where(lost, best.to(top.dtype), tl.maximum(top, seen))
    tl.store(scale_out, result)


@triton.jit
def few_rows(
    x, weight, scale, bias, out, rows, n, k, group,
    GROUPS: tl.constexpr, BITS: tl.constexpr, BIAS: tl.constexpr, ACC: tl.constexpr, BN: tl.constexpr, BK: tl.constexpr,
):  # fmt: skip
    """x [rows, k] @ weight^T for few rows: a program reads its BN rows of the weight [n, k] (4 bits: [n / 2, k], neighbours
    in a byte) once for each row of x. scale [n], or [k / group, n]."""
    first = tl.program_id(0) * BN
    o = first + tl.arange(0, BN)
    inside = o < n
    line = o.to(tl.int64) if BITS == 8 else (o // 2).to(tl.int64)
    for row in range(0, rows):
        acc = tl.zeros([BN], ACC)
        for start in range(0, k, BK):
            j = start + tl.arange(0, BK)
            w = tl.load(
                weight + line[:, None] * k + j[None, :], mask=inside[:, None] & (j < k)[None, :], other=0
            )
            if BITS == 4:
                w = tl.where((o % 2 == 0)[:, None], low_half(w), high_half(w))
            v = tl.load(x + row * k + j, mask=j < k, other=0).to(ACC)
            part = tl.sum(w.to(ACC) * v[None, :], axis=1)
            if GROUPS:
                s = tl.load(scale + (start // group).to(tl.int64) * n + o, mask=inside, other=0)
                part = part * s.to(ACC)
            acc += part
        if not GROUPS:
            acc = acc * tl.load(scale + o, mask=inside, other=0).to(ACC)
        if BIAS:
            acc += tl.load(bias + o, mask=inside, other=0).to(ACC)
        tl.store(out + row.to(tl.int64) * n + o, acc.to(out.dtype.element_ty), mask=inside)
