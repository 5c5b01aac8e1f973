# Deformable convolution: bilinear samples of the image as a matrix, and what flows back through them.
"""Images lie channels last, so that lanes are neighbouring channels and a sample's place is scalar arithmetic. The matrix is
[groups, pixels, taps, channels of a group]: `pixels` output pixels from `first` on, counted through all images. Channels
go in segments of S that lie in one group and have one set of offsets. offset is [images, sets * taps * 2, out_height,
out_width] (down, right), mask [images, sets * taps, out_height, out_width] (Zhu et al., Deformable ConvNets v2, 2019)."""

import triton
import triton.language as tl


@triton.jit
def place(
    offset, mask, pixel, cells, tap, taps, sets, which, height, width, out_width, kw, sh, sw, ph, pw, dh, dw,
    MASK: tl.constexpr, ACC: tl.constexpr,
):  # fmt: skip
    """Where a tap of an output pixel samples: row, column, modulation, whether it lies in the image, and its place in mask."""
    image = pixel // cells
    cell = pixel % cells
    at = ((image * sets + which) * taps + tap) * cells + cell
    down = tl.load(offset + 2 * at - cell).to(ACC)
    right = tl.load(offset + 2 * at - cell + cells).to(ACC)
    h = ((cell // out_width) * sh - ph + (tap // kw) * dh).to(ACC) + down
    w = ((cell % out_width) * sw - pw + (tap % kw) * dw).to(ACC) + right
    scale = tl.full((), 1.0, ACC)
    if MASK:
        scale = tl.load(mask + at).to(ACC)
    return h, w, scale, (h > -1) & (w > -1) & (h < height) & (w < width), at


@triton.jit
def deformable_columns(
    x, offset, mask, out, first, pixels, channels, group, segment, cells, taps, sets, height, width, out_width, kw,
    sh, sw, ph, pw, dh, dw, PIXELS: tl.constexpr, MASK: tl.constexpr, ACC: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """The matrix: program (block of PIXELS pixels, segment of channels)."""
    start = tl.program_id(1) * segment
    which = start // (channels // sets)
    out += tl.cast(start // group, tl.int64) * pixels * taps * group + start % group
    x += start
    lanes = tl.arange(0, BLOCK)
    p0 = tl.program_id(0) * PIXELS
    for p in range(p0, tl.minimum(p0 + PIXELS, pixels)):
        pixel = first + p
        for tap in range(0, taps):
            h, w, scale, inside, _ = place(
                offset, mask, pixel, cells, tap, taps, sets, which, height, width, out_width, kw, sh, sw, ph, pw, dh, dw,
                MASK, ACC,
            )  # fmt: skip
            to = out + (tl.cast(p, tl.int64) * taps + tap) * group
            h1 = tl.floor(h)
            w1 = tl.floor(w)
            lh = h - h1
            lw = w - w1
            row = h1.to(tl.int32)
            column = w1.to(tl.int32)
            up = inside & (row >= 0)
            down = inside & (row < height - 1)
            left = column >= 0
            right = column < width - 1
            source = x + (((pixel // cells) * height + row) * width + column) * channels
            for c0 in range(0, segment, BLOCK):
                c = c0 + lanes
                m = c < segment
                below = source + width * channels
                v11 = tl.load(source + c, mask=m & up & left, other=0).to(ACC)
                v12 = tl.load(source + channels + c, mask=m & up & right, other=0).to(ACC)
                v21 = tl.load(below + c, mask=m & down & left, other=0).to(ACC)
                v22 = tl.load(below + channels + c, mask=m & down & right, other=0).to(ACC)
                v = (1 - lh) * ((1 - lw) * v11 + lw * v12) + lh * ((1 - lw) * v21 + lw * v22)
                tl.store(to + c, (v * scale).to(out.dtype.element_ty), mask=m)


@triton.jit
def deformable_image_grad(
    offset, mask, columns, dx, first, pixels, channels, group, segment, cells, taps, sets, height, width, out_width,
    kw, sh, sw, ph, pw, dh, dw, MASK: tl.constexpr, ACC: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Adds the gradient of the matrix to dx: program (part of a segment, segment, image) owns some channels of an image and
    goes through the pixels in order."""
    start = tl.program_id(1) * segment
    which = start // (channels // sets)
    image = tl.program_id(2).to(tl.int64) + first // cells
    columns += tl.cast(start // group, tl.int64) * pixels * taps * group + start % group
    dx += image * height * width * channels + start
    c = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    m = c < segment
    low = tl.maximum(image * cells, first)
    high = tl.minimum((image + 1) * cells, first + pixels)
    for p in range((low - first).to(tl.int32), (high - first).to(tl.int32)):
        pixel = first + p
        for tap in range(0, taps):
            h, w, scale, inside, _ = place(
                offset, mask, pixel, cells, tap, taps, sets, which, height, width, out_width, kw, sh, sw, ph, pw, dh, dw,
                MASK, ACC,
            )  # fmt: skip
            if inside:
                g = (
                    tl.load(columns + (tl.cast(p, tl.int64) * taps + tap) * group + c, mask=m, other=0).to(
                        ACC
                    )
                    * scale
                )
                h1 = tl.floor(h)
                w1 = tl.floor(w)
                lh = h - h1
                lw = w - w1
                row = h1.to(tl.int32)
                column = w1.to(tl.int32)
                up = row >= 0
                down = row < height - 1
                left = column >= 0
                right = column < width - 1
                to = dx + (tl.cast(row, tl.int64) * width + column) * channels
                below = to + width * channels
                m11 = m & up & left
                tl.store(to + c, tl.load(to + c, mask=m11, other=0) + (1 - lh) * (1 - lw) * g, mask=m11)
                m12 = m & up & right
                to += channels
                tl.store(to + c, tl.load(to + c, mask=m12, other=0) + (1 - lh) * lw * g, mask=m12)
                m21 = m & down & left
                tl.store(below + c, tl.load(below + c, mask=m21, other=0) + lh * (1 - lw) * g, mask=m21)
                m22 = m & down & right
                below += channels
                tl.store(below + c, tl.load(below + c, mask=m22, other=0) + lh * lw * g, mask=m22)


@triton.jit
def deformable_place_grad(
    x, offset, mask, columns, doffset, dmask, first, pixels, channels, group, segment, cells, taps, sets, height, width,
    out_width, kw, sh, sw, ph, pw, dh, dw,
    PIXELS: tl.constexpr, MASK: tl.constexpr, GRAD: tl.constexpr, ACC: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Gradients of offsets (GRAD 1), mask (GRAD 2), or both (GRAD 3): program (block of PIXELS pixels, set)."""
    which = tl.program_id(1)
    own = channels // sets
    lanes = tl.arange(0, BLOCK)
    p0 = tl.program_id(0) * PIXELS
    for p in range(p0, tl.minimum(p0 + PIXELS, pixels)):
        pixel = first + p
        cell = pixel % cells
        for tap in range(0, taps):
            h, w, scale, inside, at = place(
                offset, mask, pixel, cells, tap, taps, sets, which, height, width, out_width, kw, sh, sw, ph, pw, dh, dw,
                MASK, ACC,
            )  # fmt: skip
            h1 = tl.floor(h)
            w1 = tl.floor(w)
            lh = h - h1
            lw = w - w1
            row = h1.to(tl.int32)
            column = w1.to(tl.int32)
            up = inside & (row >= 0)
            down = inside & (row < height - 1)
            left = column >= 0
            right = column < width - 1
            source = x + (((pixel // cells) * height + row) * width + column) * channels
            s11 = tl.zeros((BLOCK,), ACC)
            s12 = tl.zeros((BLOCK,), ACC)
            s21 = tl.zeros((BLOCK,), ACC)
            s22 = tl.zeros((BLOCK,), ACC)
            for start in range(which * own, (which + 1) * own, segment):
                line = columns + tl.cast(start // group, tl.int64) * pixels * taps * group + start % group
                line += (tl.cast(p, tl.int64) * taps + tap) * group
                for c0 in range(0, segment, BLOCK):
                    c = c0 + lanes
                    m = c < segment
                    here = source + start
                    below = here + width * channels
                    g = tl.load(line + c, mask=m & inside, other=0).to(ACC)
                    s11 += g * tl.load(here + c, mask=m & up & left, other=0).to(ACC)
                    s12 += g * tl.load(here + channels + c, mask=m & up & right, other=0).to(ACC)
                    s21 += g * tl.load(below + c, mask=m & down & left, other=0).to(ACC)
                    s22 += g * tl.load(below + channels + c, mask=m & down & right, other=0).to(ACC)
            t11 = tl.sum(s11, axis=0)
            t12 = tl.sum(s12, axis=0)
            t21 = tl.sum(s21, axis=0)
            t22 = tl.sum(s22, axis=0)
            if GRAD & 1:
                by_row = (1 - lw) * (t21 - t11) + lw * (t22 - t12)
                by_column = (1 - lh) * (t12 - t11) + lh * (t22 - t21)
                tl.store(
                    doffset + 2 * at - cell,
                    (tl.where(inside, by_row, 0.0) * scale).to(doffset.dtype.element_ty),
                )
                tl.store(
                    doffset + 2 * at - cell + cells,
                    (tl.where(inside, by_column, 0.0) * scale).to(doffset.dtype.element_ty),
                )
            if GRAD & 2:
                v = (1 - lh) * ((1 - lw) * t11 + lw * t12) + lh * ((1 - lw) * t21 + lw * t22)
                tl.store(dmask + at, tl.where(inside, v, 0.0).to(dmask.dtype.element_ty))
