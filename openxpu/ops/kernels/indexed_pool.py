# Max pooling over windows of unequal places; what goes to and comes from the places of maxima.
import triton
import triton.language as tl


@triton.jit
def edges(table, o, count, mask):
    """Start and end of windows."""
    return tl.load(table + o, mask=mask, other=0), tl.load(table + count + o, mask=mask, other=0)


@triton.jit
def max_pool_table(
    x, out, index, table_d, table_h, table_w, depth, height, width, out_depth, out_height, out_width, kd, kh, kw,
    ACC: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """x [planes, depth, height, width]; windows start and end by tables [2, extent]; kd x kh x kw is the largest.
    Program (block of windows, plane)."""
    plane = tl.program_id(1).to(tl.int64)
    x += plane * depth * height * width
    points = out_depth * out_height * out_width
    p = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    mask = p < points
    line = p // out_width
    w0, w1 = edges(table_w, p - line * out_width, out_width, mask)
    h0, h1 = edges(table_h, line % out_height, out_height, mask)
    d0, d1 = edges(table_d, line // out_height, out_depth, mask)
    top = tl.full((BLOCK,), -3.4028234663852886e38, ACC)
    where = tl.full((BLOCK,), -1, tl.int32)
    for i in range(0, kd):
        for j in range(0, kh):
            for k in range(0, kw):
                inside = mask & (d0 + i < d1) & (h0 + j < h1) & (w0 + k < w1)
                at = ((d0 + i) * height + h0 + j) * width + w0 + k
                v = tl.load(x + at, mask=inside, other=float("-inf")).to(ACC)
                better = top < v
                top = tl.where(better, v, top)
                where = tl.where(better, at, where)
    to = plane * points + p
    tl.store(out + to, top.to(out.dtype.element_ty), mask=mask)
    tl.store(index + to, where.to(index.dtype.element_ty), mask=mask)


@triton.jit
def put_places(x, index, out, points, pixels, ADD: tl.constexpr, ACC: tl.constexpr):
    """out[plane, index[plane, p]] = or += x[plane, p] with x [planes, points]. A program owns a plane and takes its elements
    in order, so sums have one fixed order and the last of equal places wins."""
    plane = tl.program_id(0).to(tl.int64)
    x += plane * points
    index += plane * points
    out += plane * pixels
    for p in range(0, points):
        at = tl.load(index + p).to(tl.int64)
        inside = (at >= 0) & (at < pixels)
        if not ADD:  # where all of a window was NaN there is no place
            tl.device_assert(inside, "unpool: an index lies outside the image")
        v = tl.load(x + p).to(ACC)
        if ADD:
            v += tl.load(out + at, mask=inside, other=0)
        tl.store(out + at, v, mask=inside)


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
