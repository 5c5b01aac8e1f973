# Connectionist temporal classification (Graves et al., 2006): loss and gradient, alignment.
"""Logits are [time, batch, classes]. State s of a label of length n is blank when even, letter s // 2 when odd: 2 n + 1
states. Products of thousands of probabilities are kept as pairs m 2^e with m from 1 to 2, or 0: a sum then costs some shifts
where logarithms would cost four functions, and no digits are lost to the size of a logarithm."""

import triton
import triton.language as tl

NOTHING = tl.constexpr(-(2**30))  # the exponent of 0


@triton.jit
def power_of_two(k, ACC: tl.constexpr):
    """2^k; 0 below the least normal number."""
    if tl.float64 == ACC:
        return (tl.maximum(k + 1023, 0).to(tl.int64) << 52).to(tl.float64, bitcast=True)
    else:
        return (tl.maximum(k + 127, 0) << 23).to(tl.float32, bitcast=True)


@triton.jit
def pair(v, e, ACC: tl.constexpr):
    """v 2^e with v brought into [1, 2); 0, infinity and NaN stay."""
    if tl.float64 == ACC:
        bits = v.to(tl.int64, bitcast=True)
        own = ((bits >> 52) - 1023).to(tl.int32)
        m = ((bits & 0xFFFFFFFFFFFFF) | (1023 << 52)).to(tl.float64, bitcast=True)
    else:
        bits = v.to(tl.int32, bitcast=True)
        own = (bits >> 23) - 127
        m = ((bits & 0x7FFFFF) | (127 << 23)).to(tl.float32, bitcast=True)
    usual = (v > 0) & (v < float("inf"))
    return tl.where(usual, m, v), tl.where(usual, tl.maximum(e + own, NOTHING), NOTHING)


@triton.jit
def probability(log_p, ACC: tl.constexpr):
    """exp(log_p) as a pair."""
    x = log_p * tl.full((), 1.4426950408889634, ACC)
    whole = tl.floor(tl.maximum(x, -1048576.0))
    return tl.where(x < -1048576.0, 0.0, tl.exp2(x - whole)), whole.to(tl.int32)


@triton.jit
def sum_of_three(am, ae, bm, be, cm, ce, ACC: tl.constexpr):
    top = tl.maximum(tl.maximum(ae, be), ce)
    v = am * power_of_two(ae - top, ACC) + bm * power_of_two(be - top, ACC) + cm * power_of_two(ce - top, ACC)
    return v, top


@triton.jit
def states_of(labels, n, blank, letters, s, DISTANCE: tl.constexpr):
    """Of states s: which exist, their symbols, and whether a path leads from or to the state two before or behind them."""
    mask = s < 2 * n + 1
    letter = mask & (s % 2 == 1)
    symbol = tl.where(letter, tl.load(labels + s // 2, mask=letter, other=0), blank)
    jumps = letter & (s + DISTANCE >= 0) & (s + DISTANCE < 2 * n + 1)
    jumps = jumps & (tl.load(labels + s // 2 + DISTANCE // 2, mask=jumps, other=0) != symbol)
    return mask, symbol, jumps


@triton.jit
def ctc_forward(
    log_p, labels, lengths, label_lengths, paths, powers, time, batch, classes, letters, blank, ACC: tl.constexpr, BLOCK: tl.constexpr
):  # fmt: skip
    """paths and powers [batch, time, states]: the sum over all paths that reach a state from the start, its own probability
    included. One sequence a program."""
    i = tl.program_id(0)
    length = tl.minimum(tl.load(lengths + i).to(tl.int32), time)
    n = tl.minimum(tl.load(label_lengths + i).to(tl.int32), letters)
    width = 2 * letters + 1
    s = tl.arange(0, BLOCK)
    mask, symbol, jumps = states_of(labels + tl.cast(i, tl.int64) * letters, n, blank, letters, s, -2)
    paths += tl.cast(i, tl.int64) * time * width
    powers += tl.cast(i, tl.int64) * time * width
    log_p += tl.cast(i, tl.int64) * classes
    for t in range(0, length):
        pm, pe = probability(
            tl.load(log_p + tl.cast(t, tl.int64) * batch * classes + symbol, mask=mask, other=0), ACC
        )
        row = tl.cast(t, tl.int64) * width
        if t == 0:
            m, e = pair(tl.where(s < 2, pm, 0.0), pe, ACC)
            tl.store(paths + row + s, m, mask=mask)
            tl.store(powers + row + s, e, mask=mask)
        else:
            last = row - width + s
            v, top = sum_of_three(
                tl.load(paths + last, mask=mask, other=0), tl.load(powers + last, mask=mask, other=NOTHING),
                tl.load(paths + last - 1, mask=mask & (s >= 1), other=0),
                tl.load(powers + last - 1, mask=mask & (s >= 1), other=NOTHING),
                tl.load(paths + last - 2, mask=jumps, other=0), tl.load(powers + last - 2, mask=jumps, other=NOTHING),
                ACC,
            )  # fmt: skip
            m, e = pair(v * pm, top + pe, ACC)
            tl.store(paths + row + s, m, mask=mask)
            tl.store(powers + row + s, e, mask=mask)


@triton.jit
def ctc_backward(
    log_p, labels, lengths, label_lengths, paths, powers, line, line_powers, loss, time, batch, classes, letters, blank,
    ACC: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """The loss; paths become the share of all paths that is in a state at a time. A label without a path costs nothing and
    has no shares. line [batch, 2, states] is workspace: what goes on from the states to the end. One sequence a program."""
    i = tl.program_id(0)
    length = tl.minimum(tl.load(lengths + i).to(tl.int32), time)
    n = tl.minimum(tl.load(label_lengths + i).to(tl.int32), letters)
    width = 2 * letters + 1
    s = tl.arange(0, BLOCK)
    mask, symbol, jumps = states_of(labels + tl.cast(i, tl.int64) * letters, n, blank, letters, s, 2)
    paths += tl.cast(i, tl.int64) * time * width
    powers += tl.cast(i, tl.int64) * time * width
    log_p += tl.cast(i, tl.int64) * classes
    line += tl.cast(i, tl.int64) * 2 * width
    line_powers += tl.cast(i, tl.int64) * 2 * width
    # All paths end in one of the last two states.
    end = (length - 1).to(tl.int64) * width + 2 * n
    some = length > 0
    more = some & (n > 0)
    am = tl.load(paths + end, mask=some, other=0)
    ae = tl.load(powers + end, mask=some, other=NOTHING)
    bm = tl.load(paths + end - 1, mask=more, other=0)
    be = tl.load(powers + end - 1, mask=more, other=NOTHING)
    whole, whole_power = sum_of_three(am, ae, bm, be, bm * 0, NOTHING, ACC)
    possible = ~(whole == 0)
    least = tl.log(tl.where(possible, whole, 1.0)) + whole_power.to(ACC) * tl.full(
        (), 0.6931471805599453, ACC
    )
    tl.store(loss + i, tl.where(possible, -least, 0.0))
    share = tl.where(possible, 1 / tl.where(possible, whole, 1.0), 0.0)
    for k in range(0, length):
        t = length - 1 - k
        row = tl.cast(t, tl.int64) * width + s
        own = (t % 2) * width + s
        other = width - (t % 2) * width + s
        later = k > 0
        v, top = sum_of_three(
            tl.load(line + other, mask=mask & later, other=0), tl.load(line_powers + other, mask=mask & later, other=NOTHING),
            tl.load(line + other + 1, mask=(s < 2 * n) & later, other=0),
            tl.load(line_powers + other + 1, mask=(s < 2 * n) & later, other=NOTHING),
            tl.load(line + other + 2, mask=jumps & later, other=0),
            tl.load(line_powers + other + 2, mask=jumps & later, other=NOTHING),
            ACC,
        )  # fmt: skip
        v = tl.where(later, v, tl.where(s >= 2 * n - 1, 1.0, 0.0).to(ACC))
        top = tl.where(later, top, 0)
        pm, pe = probability(
            tl.load(log_p + tl.cast(t, tl.int64) * batch * classes + symbol, mask=mask, other=0), ACC
        )
        power = tl.load(powers + row, mask=mask, other=NOTHING) + top - whole_power
        here = tl.load(paths + row, mask=mask, other=0) * v * power_of_two(tl.minimum(power, 100), ACC)
        tl.store(paths + row, here * share, mask=mask)
        m, e = pair(v * pm, top + pe, ACC)
        tl.store(line + own, m, mask=mask)
        tl.store(line_powers + own, e, mask=mask)


@triton.jit
def ctc_grad(
    log_p, labels, lengths, label_lengths, paths, loss, grad, time, batch, classes, letters, blank,
    TIME: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """The gradient for the logits: probabilities less what the paths through each symbol have of the whole. Nothing where the
    loss is 0: of a label without a path, or one that is certain. Program (block of TIME steps, sequence)."""
    i = tl.program_id(1)
    first = tl.program_id(0) * TIME
    length = tl.minimum(tl.load(lengths + i).to(tl.int32), time)
    n = tl.minimum(tl.load(label_lengths + i).to(tl.int32), letters)
    width = 2 * letters + 1
    possible = tl.load(loss + i) != 0
    c = tl.arange(0, BLOCK)
    for t in range(first, tl.minimum(first + TIME, time)):
        at = (tl.cast(t, tl.int64) * batch + i) * classes
        live = possible & (t < length)
        for k in range(0, classes, BLOCK):
            inside = k + c < classes
            v = tl.exp(tl.load(log_p + at + k + c, mask=inside & live, other=float("-inf")))
            tl.store(grad + at + k + c, v, mask=inside)
    t = first + tl.arange(0, TIME)
    live = (t < length) & possible
    to = grad + (t.to(tl.int64) * batch + i) * classes
    shares = paths + (tl.cast(i, tl.int64) * time + t) * width
    between = tl.load(shares, mask=live, other=0)
    for s in range(0, n):
        between += tl.load(shares + 2 * s + 2, mask=live, other=0)
        at = to + tl.load(labels + tl.cast(i, tl.int64) * letters + s)
        g = tl.load(at, mask=live, other=0) - tl.load(shares + 2 * s + 1, mask=live, other=0)
        tl.store(at, g, mask=live)
    tl.store(to + blank, tl.load(to + blank, mask=live, other=0) - between, mask=live)


@triton.jit
def ctc_scale(grad, dloss, lengths, dlogits, batch, classes, BY_TIME: tl.constexpr, BLOCK: tl.constexpr):
    """dlogits = grad * dloss of its sequence, over the sequence's length with BY_TIME: program (block of classes, row)."""
    row = tl.program_id(1).to(tl.int64)
    i = row % batch
    d = tl.load(dloss + i)
    if BY_TIME:
        d = d / tl.load(lengths + i).to(d.dtype)
    c = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    mask = c < classes
    at = row * classes + c
    tl.store(dlogits + at, tl.load(grad + at, mask=mask, other=0) * d, mask=mask)


@triton.jit
def plus(a, b):
    return a + b


@triton.jit
def ctc_align(x, lengths, out, out_lengths, width, blank, padding, MERGE: tl.constexpr, BLOCK: tl.constexpr):
    """Each row without blanks and, with MERGE, without repetitions; the rest is padding. One row a program."""
    row = tl.program_id(0).to(tl.int64)
    x += row * width
    out += row * width
    length = tl.minimum(tl.load(lengths + row), width).to(tl.int32)
    offsets = tl.arange(0, BLOCK)
    count = tl.full((), 0, tl.int32)
    for first in range(0, width, BLOCK):
        at = first + offsets
        mask = at < length
        v = tl.load(x + at, mask=mask, other=0)
        kept = mask & (v != blank)
        if MERGE:
            before = tl.load(x + at - 1, mask=mask & (at > 0), other=0)
            kept = kept & ~((v == before) & (at > 0))
            kept = kept & ~((at == 0) & (v == -1))
        place = tl.associative_scan(kept.to(tl.int32), 0, plus)
        tl.store(out + count + place - 1, v, mask=kept)
        count += tl.sum(kept.to(tl.int32), axis=0)
    tl.store(out_lengths + row, count.to(out_lengths.dtype.element_ty))
    for first in range(0, width, BLOCK):
        at = first + offsets
        fill = tl.zeros((BLOCK,), tl.int32) + padding
        tl.store(out + at, fill.to(out.dtype.element_ty), mask=(at >= count) & (at < width))
