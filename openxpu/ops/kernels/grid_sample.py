# Kernels that sample images and volumes at positions from a grid, and their gradients; affine grids.
"""Images are [depth, height, width] planes (depth 1 where DIMS is 2), positions x, y(, z) from -1 to 1. PADDING is "zeros",
"border" or "reflection"; NEAREST takes the nearest pixel instead of weighting 2^DIMS corners."""

import triton
import triton.language as tl


@triton.jit
def locate(g, extent, ALIGN: tl.constexpr, PADDING: tl.constexpr):
    """A coordinate in pixels, and its derivative by the grid's."""
    top = (extent - 1).to(g.dtype)
    if ALIGN:
        factor = top * 0.5 + g * 0
        p = (g + 1) * (top * 0.5)
        span = top * 2
        low = p
    else:
        factor = (top + 1) * 0.5 + g * 0
        p = (g + 1) * ((top + 1) * 0.5) - 0.5
        span = (top + 1) * 2
        low = p + 0.5
    if PADDING == "border":
        q = tl.minimum(tl.maximum(p, 0.0), top)
        factor = tl.where(q == p, factor, 0.0)
        p = q
    elif PADDING == "reflection":
        distance = tl.abs(low)
        extra = distance - tl.floor(distance / span) * span
        flip = extra > span - extra
        factor = tl.where((low < 0) == flip, factor, -factor)
        q = tl.minimum(extra, span - extra)
        if ALIGN:
            p = tl.where(top == 0, 0.0, q)
        else:
            q = q - 0.5
            p = tl.minimum(tl.maximum(q, 0.0), top)
            factor = tl.where(p == q, factor, 0.0)
    return p, factor


@triton.jit
def side(p, bit: tl.constexpr, extent, NEAREST: tl.constexpr):
    """The pixel on one side of a coordinate: its number, its weight, the weight's derivative, whether it exists."""
    if NEAREST:
        pixel = tl.where(p < 0, -tl.floor(0.5 - p), tl.floor(p + 0.5))
        weight = p * 0 + 1
        slope = p * 0
    else:
        pixel = tl.floor(p) + bit
        if bit == 0:
            weight = pixel + 1 - p
            slope = p * 0 - 1
        else:
            weight = p - (pixel - 1)
            slope = p * 0 + 1
    inside = (pixel >= 0) & (pixel <= (extent - 1).to(p.dtype))
    return tl.where(inside, pixel, 0.0).to(tl.int32), weight, slope, inside


@triton.jit
def corner(
    px, py, pz, TAP: tl.constexpr, depth, height, width, DIMS: tl.constexpr, NEAREST: tl.constexpr
):  # fmt: skip
    """Of one corner: where it is, whether it exists, weights and slopes of x, y and z."""
    ix, wx, sx, inside = side(px, TAP % 2, width, NEAREST)
    iy, wy, sy, in_y = side(py, (TAP // 2) % 2, height, NEAREST)
    at = iy * width + ix
    inside = inside & in_y
    wz = wx * 0 + 1
    sz = wx * 0
    if DIMS == 3:
        iz, wz, sz, in_z = side(pz, TAP // 4, depth, NEAREST)
        at += iz * (height * width)
        inside = inside & in_z
    return at, inside, wx, wy, wz, sx, sy, sz


@triton.jit
def coordinates(
    grid, at, mask, depth, height, width, DIMS: tl.constexpr, ALIGN: tl.constexpr, PADDING: tl.constexpr,
    ACC: tl.constexpr,
):  # fmt: skip
    """Positions in pixels of grid points `at`, and their derivatives."""
    px, fx = locate(tl.load(grid + at * DIMS, mask=mask, other=0).to(ACC), width, ALIGN, PADDING)
    py, fy = locate(tl.load(grid + at * DIMS + 1, mask=mask, other=0).to(ACC), height, ALIGN, PADDING)
    pz = px
    fz = fx
    if DIMS == 3:
        pz, fz = locate(tl.load(grid + at * DIMS + 2, mask=mask, other=0).to(ACC), depth, ALIGN, PADDING)
    return px, py, pz, fx, fy, fz


@triton.jit
def grid_sample(
    x, grid, out, channels, each, points, depth, height, width,
    DIMS: tl.constexpr, NEAREST: tl.constexpr, ALIGN: tl.constexpr, PADDING: tl.constexpr,
    ACC: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Program (block of points, `each` channels, image)."""
    image = tl.program_id(2).to(tl.int64)
    first = tl.program_id(1) * each
    last = tl.minimum(first + each, channels)
    p = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    mask = p < points
    px, py, pz, _fx, _fy, _fz = coordinates(
        grid + image * points * DIMS, p, mask, depth, height, width, DIMS, ALIGN, PADDING, ACC
    )
    plane = depth * height * width
    for c in range(first, last):
        source = x + (image * channels + c) * plane
        acc = tl.zeros((BLOCK,), ACC)
        for tap in tl.static_range(1 if NEAREST else 2**DIMS):
            at, inside, wx, wy, wz, _sx, _sy, _sz = corner(
                px, py, pz, tap, depth, height, width, DIMS, NEAREST
            )
            acc += tl.load(source + at, mask=mask & inside, other=0).to(ACC) * (wx * wy * wz)
        tl.store(out + (image * channels + c) * points + p, acc.to(out.dtype.element_ty), mask=mask)


@triton.jit
def grid_sample_grad_grid(
    x, grid, dout, dgrid, channels, points, depth, height, width,
    DIMS: tl.constexpr, ALIGN: tl.constexpr, PADDING: tl.constexpr, ACC: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Program (block of points, image): sums over the channels in their order."""
    image = tl.program_id(1).to(tl.int64)
    p = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    mask = p < points
    px, py, pz, fx, fy, fz = coordinates(
        grid + image * points * DIMS, p, mask, depth, height, width, DIMS, ALIGN, PADDING, ACC
    )
    plane = depth * height * width
    gx = tl.zeros((BLOCK,), ACC)
    gy = tl.zeros((BLOCK,), ACC)
    gz = tl.zeros((BLOCK,), ACC)
    for c in range(0, channels):
        source = x + (image * channels + c) * plane
        d = tl.load(dout + (image * channels + c) * points + p, mask=mask, other=0).to(ACC)
        for tap in tl.static_range(2**DIMS):
            at, inside, wx, wy, wz, sx, sy, sz = corner(px, py, pz, tap, depth, height, width, DIMS, False)
            v = tl.load(source + at, mask=mask & inside, other=0).to(ACC) * d
            gx += v * (sx * wy * wz)
            gy += v * (wx * sy * wz)
            if DIMS == 3:
                gz += v * (wx * wy * sz)
    to = dgrid + (image * points + p) * DIMS
    tl.store(to, (gx * fx).to(dgrid.dtype.element_ty), mask=mask)
    tl.store(to + 1, (gy * fy).to(dgrid.dtype.element_ty), mask=mask)
    if DIMS == 3:
        tl.store(to + 2, (gz * fz).to(dgrid.dtype.element_ty), mask=mask)


@triton.jit
def grid_sample_grad_x(
    grid, dout, dx, channels, points, depth, height, width,
    DIMS: tl.constexpr, NEAREST: tl.constexpr, ALIGN: tl.constexpr, PADDING: tl.constexpr,
    ACC: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """dout [images, points, channels], dx [images, pixels, channels] (in ACC, zeroed). Program (block of channels, image):
    takes the points in order, so that sums have one fixed order."""
    image = tl.program_id(1).to(tl.int64)
    lane = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    lanes = lane < channels
    target = dx + image * depth * height * width * channels + lane
    source = dout + image * points * channels + lane
    for p in range(0, points):
        px, py, pz, _fx, _fy, _fz = coordinates(
            grid + image * points * DIMS, p, True, depth, height, width, DIMS, ALIGN, PADDING, ACC
        )
        d = tl.load(source + p.to(tl.int64) * channels, mask=lanes, other=0).to(ACC)
        for tap in tl.static_range(1 if NEAREST else 2**DIMS):
            at, inside, wx, wy, wz, _sx, _sy, _sz = corner(
                px, py, pz, tap, depth, height, width, DIMS, NEAREST
            )
            to = target + at.to(tl.int64) * channels
            here = lanes & inside
            tl.store(to, tl.load(to, mask=here, other=0) + d * (wx * wy * wz), mask=here)


@triton.jit
def affine_grid(
    theta, out, depth, height, width, z0, z1, y0, y1, x0, x1,
    DIMS: tl.constexpr, ACC: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """theta [images, DIMS, DIMS + 1], out [images, depth, height, width, DIMS]; x0, x1 are start and step of a row's
    positions. Program (block of points, image)."""
    image = tl.program_id(1).to(tl.int64)
    p = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    mask = p < depth * height * width
    line = p // width
    x = x0 + (p - line * width).to(ACC) * x1
    y = y0 + (line % height).to(ACC) * y1
    z = z0 + (line // height).to(ACC) * z1
    theta += image * DIMS * (DIMS + 1)
    out += image * depth * height * width * DIMS
    for k in tl.static_range(DIMS):
        row = theta + k * (DIMS + 1)
        v = tl.load(row).to(ACC) * x + tl.load(row + 1).to(ACC) * y
        if DIMS == 3:
            v += tl.load(row + 2).to(ACC) * z
        v += tl.load(row + DIMS).to(ACC)
        tl.store(out + p * DIMS + k, v.to(out.dtype.element_ty), mask=mask)


@triton.jit
def affine_grid_grad(
    d, dtheta, depth, height, width, z0, z1, y0, y1, x0, x1,
    DIMS: tl.constexpr, ACC: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """One element of dtheta [images, DIMS, DIMS + 1] a program: the sum over all points."""
    element = tl.program_id(0)
    j = element % (DIMS + 1)
    k = (element // (DIMS + 1)) % DIMS
    points = depth * height * width
    d += (element // (DIMS * (DIMS + 1))).to(tl.int64) * points * DIMS + k
    acc = tl.zeros((BLOCK,), ACC)
    for first in range(0, points, BLOCK):
        p = first + tl.arange(0, BLOCK)
        line = p // width
        position = tl.full((BLOCK,), 1, ACC)
        if j == 0:
            position = x0 + (p - line * width).to(ACC) * x1
        elif j == 1:
            position = y0 + (line % height).to(ACC) * y1
        elif j < DIMS:
            position = z0 + (line // height).to(ACC) * z1
        acc += tl.load(d + p * DIMS, mask=p < points, other=0).to(ACC) * position
    tl.store(dtheta + element, tl.sum(acc, 0).to(dtheta.dtype.element_ty))
