# Rotary position embedding: pairs of elements turned by an angle that grows with the position.
"""Source: Su et al., RoFormer, 2021. A pair is two neighbours (PAIRS), or one element of each half."""

import triton
import triton.language as tl


@triton.jit
def turned(first, second, sin_first, sin_second, cos_first, cos_second, GRAD: tl.constexpr):
    """The pair turned by its angles; GRAD: by the transpose of that matrix."""
    if GRAD:
        a = first * cos_first + second * sin_second
        b = second * cos_second - first * sin_first
    else:
        a = first * cos_first - second * sin_first
        b = second * cos_second + first * sin_second
    return a, b


@triton.jit
def rotate(
    x, out, sin, cos, positions, seq, heads, half, log_base, x_batch, x_seq, x_head, o_batch, o_seq, o_head,
    GRAD: tl.constexpr, PAIRS: tl.constexpr, TABLE: tl.constexpr, POSITIONS: tl.constexpr, ACC: tl.constexpr,
    HEADS: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """A program turns all heads at one place of one sequence. sin and cos are [places, 2 * half], or come from the base:
    angle = position * base^(-i / half)."""
    batch = (tl.program_id(0) // seq).to(tl.int64)
    place = (tl.program_id(0) % seq).to(tl.int64)
    x += batch * x_batch + place * x_seq
    out += batch * o_batch + place * o_seq
    position = place
    if POSITIONS:
        position = tl.load(positions + batch * seq + place)
    i = tl.arange(0, BLOCK)
    inside = i < half
    if PAIRS:
        first = 2 * i
        second = 2 * i + 1
    else:
        first = i
        second = i + half
    if TABLE:
        row = position * 2 * half
        sin_first = tl.load(sin + row + first, mask=inside, other=0).to(ACC)
        sin_second = tl.load(sin + row + second, mask=inside, other=0).to(ACC)
        cos_first = tl.load(cos + row + first, mask=inside, other=0).to(ACC)
        cos_second = tl.load(cos + row + second, mask=inside, other=0).to(ACC)
    else:
        angle = position.to(ACC) * tl.exp(-log_base * i.to(ACC) / half)
        sin_first = tl.sin(angle)
        cos_first = tl.cos(angle)
        sin_second = sin_first
        cos_second = cos_first
    for start in range(0, heads, HEADS):
        h = start + tl.arange(0, HEADS)
        mask = (h < heads)[:, None] & inside[None, :]
        at = h.to(tl.int64)[:, None]
        a = tl.load(x + at * x_head + first[None, :], mask=mask, other=0).to(ACC)
        b = tl.load(x + at * x_head + second[None, :], mask=mask, other=0).to(ACC)
        a, b = turned(
            a, b, sin_first[None, :], sin_second[None, :], cos_first[None, :], cos_second[None, :], GRAD
        )
        tl.store(out + at * o_head + first[None, :], a.to(out.dtype.element_ty), mask=mask)
        tl.store(out + at * o_head + second[None, :], b.to(out.dtype.element_ty), mask=mask)
