# What goes to and comes from the places of maxima.
import triton
import triton.language as tl


@triton.jit
def put_places(x, index, out, points, pixels):
    """out[plane, index[plane, p]] = x[plane, p] with x [planes, points]. A program owns a plane and takes its elements in
    order, so the last of equal places wins."""
    plane = tl.program_id(0).to(tl.int64)
    x += plane * points
    index += plane * points
    out += plane * pixels
    for p in range(0, points):
        at = tl.load(index + p).to(tl.int64)
        inside = (at >= 0) & (at < pixels)
        tl.device_assert(inside, "unpool: an index lies outside the image")
        tl.store(out + at, tl.load(x + p), mask=inside)


@triton.jit
def take_places(x, index, out, points, pixels, BLOCK: tl.constexpr):
    """out[plane, p] = x[plane, index[plane, p]]: program (block of p, plane)."""
    plane = tl.program_id(1).to(tl.int64)
    p = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    mask = p < points
    at = tl.load(index + plane * points + p, mask=mask, other=0)
    inside = (at >= 0) & (at < pixels)
    tl.device_assert(inside, "unpool: an index lies outside the image")
    v = tl.load(x + plane * pixels + at, mask=mask & inside, other=0)
    tl.store(out + plane * points + p, v, mask=mask)
