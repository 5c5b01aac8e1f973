# Cross entropy whose target gets an angular margin, rows of cosines.
"""Source: Deng et al., ArcFace, 2019, with the combined margins: cos(theta) of the target becomes cos(m1 theta + m2) - m3."""

import triton
import triton.language as tl

from openxpu.ops.kernels.elementary import acos


@triton.jit
def scaled(x, start, n, label, m1, m2, m3, scale, ACC: tl.constexpr, BLOCK: tl.constexpr):
    """A block of a row with the target's margin, times the scale; minus infinity behind the end."""
    lane = start + tl.arange(0, BLOCK)
    v = tl.load(x + lane, mask=lane < n, other=0).to(ACC)
    target = tl.cos(m1 * acos(v) + m2) - m3
    v = tl.where(lane == label, target, v) * scale
    return tl.where(lane < n, v, float("-inf"))


@triton.jit
def forward(
    x, labels, softmax, loss, n, m1, m2, m3, scale, ACC: tl.constexpr, BLOCK: tl.constexpr
):  # fmt: skip
    """softmax and loss of one row."""
    row = tl.program_id(0).to(tl.int64)
    x += row * n
    softmax += row * n
    label = tl.load(labels + row).to(tl.int64)
    top = tl.full((), float("-inf"), ACC)
    for start in range(0, n, BLOCK):
        top = tl.maximum(top, tl.max(scaled(x, start, n, label, m1, m2, m3, scale, ACC, BLOCK), axis=0))
    total = tl.full((), 0.0, ACC)
    own = tl.full((), 0.0, ACC)
    for start in range(0, n, BLOCK):
        v = scaled(x, start, n, label, m1, m2, m3, scale, ACC, BLOCK) - top
        total += tl.sum(tl.exp(v), axis=0)
        own += tl.sum(tl.where(start + tl.arange(0, BLOCK) == label, v, 0.0), axis=0)
    for start in range(0, n, BLOCK):
        lane = start + tl.arange(0, BLOCK)
        v = tl.exp(scaled(x, start, n, label, m1, m2, m3, scale, ACC, BLOCK) - top) / total
        tl.store(softmax + lane, v.to(softmax.dtype.element_ty), mask=lane < n)
    tl.store(loss + row, (tl.log(total) - own).to(loss.dtype.element_ty))


@triton.jit
def backward(
    x, labels, softmax, dloss, dx, n, m1, m2, scale, MARGIN: tl.constexpr, ACC: tl.constexpr, BLOCK: tl.constexpr
):  # fmt: skip
    """The gradient of the cosines of BLOCK elements of one row."""
    row = tl.program_id(1).to(tl.int64)
    lane = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    inside = lane < n
    label = tl.load(labels + row).to(tl.int64)
    p = tl.load(softmax + row * n + lane, mask=inside, other=0).to(ACC)
    d = (p - tl.where(lane == label, 1.0, 0.0)) * scale * tl.load(dloss + row).to(ACC)
    if MARGIN:
        v = tl.load(x + row * n + lane, mask=inside, other=0).to(ACC)
        slope = m1 * tl.sin(m1 * acos(v) + m2) / tl.sqrt(tl.maximum(1.0 - v * v, 1e-12))
        d = tl.where(lane == label, d * slope, d)
    tl.store(dx + row * n + lane, d.to(dx.dtype.element_ty), mask=inside)
