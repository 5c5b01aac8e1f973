# The loss of sequence transducers and its gradient, in log space (Graves, 2012; FastEmit: Yu et al., 2021).
"""log_p is [batch, time, letters + 1, classes]: what is emitted after u letters at step t, the blank to go on to the next step, a
letter to stay. paths [2, batch, time, letters + 1] holds the logarithm of the sum over all ways from the start to (t, u), and
from (t, u) to the end."""

import triton
import triton.language as tl


@triton.jit
def both(a, b, none, ACC: tl.constexpr):
    """log(exp(a) + exp(b))"""
    top = tl.maximum(a, b)
    base = tl.where(top > tl.cast(none, ACC), top, 0.0)
    total = base + tl.log(tl.exp(a - base) + tl.exp(b - base))
    return tl.where(top > tl.cast(none, ACC), total, float("-inf"))


@triton.jit
def transducer_paths(
    log_p,
    labels,
    lengths,
    label_lengths,
    paths,
    time,
    batch,
    classes,
    letters,
    blank,
    none,
    ACC: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """Program (sequence, direction): one diagonal of the lattice after the other, lanes along it."""
    i = tl.program_id(0)
    width = letters + 1
    steps = tl.minimum(tl.load(lengths + i).to(tl.int32), time)
    n = tl.minimum(tl.load(label_lengths + i).to(tl.int32), letters)
    u = tl.arange(0, BLOCK)
    lattice = tl.cast(i, tl.int64) * time * width
    log_p += lattice * classes
    own = tl.load(labels + tl.cast(i, tl.int64) * letters + u, mask=u < n, other=0)
    before = tl.load(labels + tl.cast(i, tl.int64) * letters + u - 1, mask=(u > 0) & (u <= n), other=0)
    if tl.program_id(1) == 0:
        out = paths + lattice
        for d in range(0, steps + n):
            t = d - u
            m = (u <= n) & (t >= 0) & (t < steps)
            at = t.to(tl.int64) * width + u
            up = m & (t > 0)
            left = m & (u > 0)
            a = tl.load(out + at - width, mask=up, other=float("-inf"))
            a += tl.load(log_p + (at - width) * classes + blank, mask=up, other=0)
            b = tl.load(out + at - 1, mask=left, other=float("-inf"))
            b += tl.load(log_p + (at - 1) * classes + before, mask=left, other=0)
            tl.store(out + at, tl.where((t == 0) & (u == 0), 0.0, both(a, b, none, ACC)), mask=m)
    else:
        out = paths + tl.cast(batch, tl.int64) * time * width + lattice
        for k in range(0, steps + n):
            t = steps + n - 1 - k - u
            m = (u <= n) & (t >= 0) & (t < steps)
            at = t.to(tl.int64) * width + u
            down = m & (t < steps - 1)
            right = m & (u < n)
            p = tl.load(log_p + at * classes + blank, mask=m, other=0)
            a = tl.load(out + at + width, mask=down, other=float("-inf")) + p
            b = tl.load(out + at + 1, mask=right, other=float("-inf"))
            b += tl.load(log_p + at * classes + own, mask=right, other=0)
            tl.store(out + at, tl.where((t == steps - 1) & (u == n), p, both(a, b, none, ACC)), mask=m)


@triton.jit
def transducer_grad(
    log_p, labels, lengths, label_lengths, paths, loss, grad, time, batch, classes, letters, blank, early, none,
    ACC: tl.constexpr, TIME: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """The loss, and its gradient for log_p, which was zeroed: less the share of all ways that use an emission; letters count
    `early` times. Program (TIME steps, sequence)."""
    i = tl.program_id(1)
    width = letters + 1
    steps = tl.minimum(tl.load(lengths + i).to(tl.int32), time)
    n = tl.minimum(tl.load(label_lengths + i).to(tl.int32), letters)
    lattice = tl.cast(i, tl.int64) * time * width
    ways = paths + lattice
    rest = ways + tl.cast(batch, tl.int64) * time * width
    log_p += lattice * classes
    grad += lattice * classes
    whole = tl.load(rest, mask=steps > 0, other=float("-inf"))
    first = tl.program_id(0) * TIME
    if first == 0:
        tl.store(loss + i, -whole)
    base = tl.where(whole > tl.cast(none, ACC), whole, 0.0)
    for t in range(first, tl.minimum(first + TIME, steps)):
        for start in range(0, n + 1, BLOCK):
            u = start + tl.arange(0, BLOCK)
            m = u <= n
            at = tl.cast(t, tl.int64) * width + u
            here = tl.load(ways + at, mask=m, other=float("-inf")) - base
            p = tl.load(log_p + at * classes + blank, mask=m, other=0)
            after = tl.load(rest + at + width, mask=m & (t < steps - 1), other=float("-inf"))
            after = tl.where((t == steps - 1) & (u == n), 0.0, after)
            tl.store(grad + at * classes + blank, -tl.exp(here + p + after), mask=m)
            m = u < n
            letter = tl.load(labels + tl.cast(i, tl.int64) * letters + u, mask=m, other=0)
            p = tl.load(log_p + at * classes + letter, mask=m, other=0)
            after = tl.load(rest + at + 1, mask=m, other=float("-inf"))
            tl.store(grad + at * classes + letter, -early * tl.exp(here + p + after), mask=m)
