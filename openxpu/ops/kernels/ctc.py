# Connectionist temporal classification (Graves et al., 2006): loss and gradient in log space, alignment.
"""Logits are [time, batch, classes]. State s of a label of length n is blank when even, letter s // 2 when odd: 2 n + 1
states. `paths` [2, batch, time, states] holds the logarithm of the sum over all paths that reach a state from the start,
and over all that go on from it to the end, both with the state's own probability."""

import triton
import triton.language as tl


@triton.jit
def ctc_paths(
    log_p, labels, lengths, label_lengths, paths, time, batch, classes, letters, blank, none, ACC: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Program (sequence, direction). From the end to the start, states and steps are counted from behind."""
    i = tl.program_id(0)
    backward = tl.program_id(1)
    length = tl.minimum(tl.load(lengths + i).to(tl.int32), time)
    n = tl.minimum(tl.load(label_lengths + i).to(tl.int32), letters)
    states = 2 * n + 1
    width = 2 * letters + 1
    s = tl.arange(0, BLOCK)
    mask = s < states
    state = tl.where(backward > 0, states - 1 - s, s)
    letter = mask & (s % 2 == 1)
    at = labels + tl.cast(i, tl.int64) * letters
    symbol = tl.load(at + state // 2, mask=letter, other=0)
    symbol = tl.where(letter, symbol, blank)
    before = tl.where(backward > 0, state // 2 + 1, state // 2 - 1)
    jumps = letter & (s >= 2)
    jumps = jumps & (tl.load(at + before, mask=jumps, other=0) != symbol)
    paths += (tl.cast(backward, tl.int64) * batch + i) * time * width
    out = paths + state
    # Neighbours in the direction of the paths.
    step = tl.where(backward > 0, 1, -1)
    for k in range(0, length):
        t = tl.where(backward > 0, length - 1 - k, k)
        p = tl.load(log_p + (tl.cast(t, tl.int64) * batch + i) * classes + symbol, mask=mask, other=0)
        row = tl.cast(t, tl.int64) * width
        last = row + step * width
        later = k > 0
        a = tl.load(out + last, mask=mask & later, other=float("-inf"))
        b = tl.load(out + last + step, mask=mask & later & (s >= 1), other=float("-inf"))
        c = tl.load(out + last + 2 * step, mask=jumps & later, other=float("-inf"))
        top = tl.maximum(tl.maximum(a, b), c)
        base = tl.where(top > tl.cast(none, ACC), top, 0.0)
        total = base + tl.log(tl.exp(a - base) + tl.exp(b - base) + tl.exp(c - base))
        total = tl.where(top > tl.cast(none, ACC), total, float("-inf"))
        start = tl.where(s < 2, 0.0, float("-inf")).to(ACC)
        tl.store(out + row, tl.where(later, total, start) + p, mask=mask)


@triton.jit
def ctc_grad(
    log_p, labels, lengths, label_lengths, paths, loss, grad, time, batch, classes, letters, blank, none,
    ACC: tl.constexpr, TIME: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """The loss, and its gradient for the logits: probabilities less what the paths through each symbol have of the whole.
    Program (block of TIME steps, sequence); a label without a path costs nothing."""
    i = tl.program_id(1)
    first = tl.program_id(0) * TIME
    length = tl.minimum(tl.load(lengths + i).to(tl.int32), time)
    n = tl.minimum(tl.load(label_lengths + i).to(tl.int32), letters)
    width = 2 * letters + 1
    half = tl.cast(batch, tl.int64) * time * width
    paths += tl.cast(i, tl.int64) * time * width
    # All paths end in one of the last two states.
    end = paths + (length - 1).to(tl.int64) * width + 2 * n
    some = length > 0
    a = tl.load(end, mask=some, other=float("-inf"))
    b = tl.load(end - 1, mask=some & (n > 0), other=float("-inf"))
    top = tl.maximum(a, b)
    possible = top > tl.cast(none, ACC)
    base = tl.where(possible, top, 0.0)
    whole = base + tl.log(tl.where(possible, tl.exp(a - base) + tl.exp(b - base), 1.0))
    if first == 0:
        tl.store(loss + i, tl.where(possible, -whole, 0.0))
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
    at = (t.to(tl.int64) * batch + i) * classes
    line = paths + t.to(tl.int64) * width
    for s in range(0, 2 * n + 1):
        symbol = tl.full((), 0, tl.int32) + blank
        if s % 2 == 1:
            symbol = tl.load(labels + tl.cast(i, tl.int64) * letters + s // 2).to(tl.int32)
        p = tl.load(log_p + at + symbol, mask=live, other=0)
        share = tl.load(line + s, mask=live, other=float("-inf")) + tl.load(
            line + half + s, mask=live, other=float("-inf")
        )
        g = tl.load(grad + at + symbol, mask=live, other=0) - tl.exp(share - p - whole)
        tl.store(grad + at + symbol, g, mask=live)


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
