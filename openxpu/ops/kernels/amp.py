# Loss scaling for mixed precision: unscale gradients and look for infinities, move the scale.

import triton
import triton.language as tl


@triton.jit
def unscale(x, scale, out, found, n, ACC: tl.constexpr, BLOCK: tl.constexpr):
    """out = x / *scale; *found, zero at first, becomes 1 when x has an infinity or a NaN. Programs that find one all
    write the same byte, so their order does not matter."""
    first = tl.program_id(0).to(tl.int64) * BLOCK
    offsets = tl.arange(0, BLOCK)
    mask = offsets < tl.minimum(n - first, BLOCK).to(tl.int32)
    v = tl.load(x + first + offsets, mask=mask, other=0).to(ACC)
    v = v * (1.0 / tl.load(scale).to(ACC))
    bad = tl.max((v - v != 0).to(tl.int32), axis=0)
    tl.store(out + first + offsets, v.to(out.dtype.element_ty), mask=mask)
    tl.store(found, bad.to(tl.int8), mask=bad != 0)


@triton.jit
def zero_if(x, found, out, n, BLOCK: tl.constexpr):
    """out = 0 when *found, else x, which may lie there already."""
    first = tl.program_id(0).to(tl.int64) * BLOCK
    offsets = tl.arange(0, BLOCK)
    mask = offsets < tl.minimum(n - first, BLOCK).to(tl.int32)
    if tl.load(found) != 0:
        tl.store(out + first + offsets, tl.zeros([BLOCK], out.dtype.element_ty), mask=mask)
    elif x.to(tl.int64, bitcast=True) != out.to(tl.int64, bitcast=True):
        v = tl.load(x + first + offsets, mask=mask, other=0)
        tl.store(out + first + offsets, v.to(out.dtype.element_ty), mask=mask)


@triton.jit
def move_scale(
    found, scale, good, bad, scale_out, good_out, bad_out, up_every, down_every, up, down, ACC: tl.constexpr
):
    """After `up_every` good steps in a row the scale grows by `up` unless that is infinite; after `down_every` bad ones
    it shrinks by `down`, not below 1."""
    failed = tl.load(found) != 0
    s = tl.load(scale).to(ACC)
    g = tl.load(good)
    f = tl.load(bad)
    g = tl.where(failed, 0, g + 1)
    f = tl.where(failed, f + 1, 0)
    grown = s * up
    grown = tl.where(grown - grown == 0, grown, s)
    shrunk = tl.maximum(s * down, 1.0)
    shrink = failed & (f == down_every)
    grow = (failed == 0) & (g == up_every)
    tl.store(scale_out, tl.where(shrink, shrunk, tl.where(grow, grown, s)).to(scale_out.dtype.element_ty))
    tl.store(good_out, tl.where(grow, 0, g))
    tl.store(bad_out, tl.where(shrink, 0, f))
