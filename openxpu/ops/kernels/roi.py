# Regions of interest: aligned, maximum and position-sensitive average pooling of boxes, forward and backward.
"""x is [images, channels, height, width], boxes [regions, 4] as (left, top, right, bottom), those of one image after the
other: `starts` [images + 1] says where each image's begin. Lanes are channels. LAST: the images lie channels last, which makes
every access one of neighbours. Backward, a program owns some channels of one image and goes through the regions of that
image in order, so that sums have one order and no two programs meet."""

import triton
import triton.language as tl


@triton.jit
def region_starts(counts, starts, images, regions):
    """starts [images + 1] from how many regions each image has. One program."""
    start = tl.full((), 0, tl.int64)
    for i in range(0, images):
        tl.store(starts + i, tl.minimum(start, regions).to(tl.int32))
        start += tl.load(counts + i).to(tl.int64)
    tl.store(starts + images, tl.minimum(start, regions).to(tl.int32))


@triton.jit
def image_of(starts, images, region):
    """The image of a region."""
    low = tl.full((), 0, tl.int32)
    high = low + images - 1
    while low < high:
        middle = (low + high) // 2
        if tl.load(starts + middle + 1) > region:
            high = middle
        else:
            low = middle + 1
    return low.to(tl.int64)


@triton.jit
def rounded(v):
    """To the nearest integer, halves away from zero."""
    a = tl.abs(v)
    whole = tl.floor(a)
    whole = tl.where(a - whole >= 0.5, whole + 1, whole)
    return tl.where(v < 0, -whole, whole)


@triton.jit
def aligned_side(low, high, scale, offset, parts, ratio, ALIGNED: tl.constexpr):
    """Start, bin size and samples per bin of a region along one side."""
    start = low * scale - offset
    extent = high * scale - offset - start
    if not ALIGNED:
        extent = tl.maximum(extent, 1.0)
    samples = tl.where(ratio > 0, ratio, tl.ceil(extent / parts).to(tl.int32))
    return start, extent / parts, samples


@triton.jit
def corners(at, extent):
    """The two pixels around a coordinate inside the image and the share of the second."""
    at = tl.maximum(at, 0.0)
    low = at.to(tl.int32)
    last = low >= extent - 1
    low = tl.where(last, extent - 1, low)
    high = tl.where(last, low, low + 1)
    return low, high, tl.where(last, 0.0, at - low.to(at.dtype))


@triton.jit
def roi_align(
    x, boxes, starts, out, images, channels, height, width, rows, columns, scale, offset, ratio,
    ALIGNED: tl.constexpr, LAST: tl.constexpr, ACC: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """The mean of bilinear samples of each bin: program (block of channels, region)."""
    region = tl.program_id(1)
    c = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    mask = c < channels
    x += image_of(starts, images, region) * channels * height * width
    if LAST:
        lane = c
        step = channels
    else:
        lane = c * (height * width)
        step = 1
    boxes += region.to(tl.int64) * 4
    left = tl.load(boxes).to(ACC)
    top = tl.load(boxes + 1).to(ACC)
    right = tl.load(boxes + 2).to(ACC)
    bottom = tl.load(boxes + 3).to(ACC)
    y0, bin_h, samples_h = aligned_side(top, bottom, scale, offset, rows, ratio, ALIGNED)
    x0, bin_w, samples_w = aligned_side(left, right, scale, offset, columns, ratio, ALIGNED)
    out += (region.to(tl.int64) * channels + c) * (rows * columns)
    count = tl.maximum(samples_h * samples_w, 1).to(ACC)
    for i in range(0, rows):
        for j in range(0, columns):
            acc = tl.zeros((BLOCK,), ACC)
            for iy in range(0, samples_h):
                y = y0 + bin_h * (i + (iy + 0.5) / samples_h.to(ACC))
                if (y >= -1.0) & (y <= height):
                    y1, y2, ly = corners(y, height)
                    for ix in range(0, samples_w):
                        at = x0 + bin_w * (j + (ix + 0.5) / samples_w.to(ACC))
                        if (at >= -1.0) & (at <= width):
                            x1, x2, lx = corners(at, width)
                            v11 = tl.load(x + (y1 * width + x1) * step + lane, mask=mask, other=0).to(ACC)
                            v12 = tl.load(x + (y1 * width + x2) * step + lane, mask=mask, other=0).to(ACC)
                            v21 = tl.load(x + (y2 * width + x1) * step + lane, mask=mask, other=0).to(ACC)
                            v22 = tl.load(x + (y2 * width + x2) * step + lane, mask=mask, other=0).to(ACC)
                            acc += (
                                (1 - ly) * (1 - lx) * v11
                                + (1 - ly) * lx * v12
                                + ly * (1 - lx) * v21
                                + ly * lx * v22
                            )
            tl.store(out + (i * columns + j), (acc / count).to(out.dtype.element_ty), mask=mask)


@triton.jit
def roi_align_grad(
    boxes, starts, dout, dx, channels, height, width, rows, columns, scale, offset, ratio,
    ALIGNED: tl.constexpr, ACC: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """dx [images, height, width, channels] was zeroed: program (block of channels, image)."""
    image = tl.program_id(1)
    c = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    mask = c < channels
    dx += image.to(tl.int64) * channels * height * width
    for region in range(tl.load(starts + image), tl.load(starts + image + 1)):
        box = boxes + tl.cast(region, tl.int64) * 4
        left = tl.load(box).to(ACC)
        top = tl.load(box + 1).to(ACC)
        right = tl.load(box + 2).to(ACC)
        bottom = tl.load(box + 3).to(ACC)
        y0, bin_h, samples_h = aligned_side(top, bottom, scale, offset, rows, ratio, ALIGNED)
        x0, bin_w, samples_w = aligned_side(left, right, scale, offset, columns, ratio, ALIGNED)
        source = dout + (tl.cast(region, tl.int64) * channels + c) * (rows * columns)
        count = tl.maximum(samples_h * samples_w, 1).to(ACC)
        for i in range(0, rows):
            for j in range(0, columns):
                g = tl.load(source + (i * columns + j), mask=mask, other=0).to(ACC) / count
                for iy in range(0, samples_h):
                    y = y0 + bin_h * (i + (iy + 0.5) / samples_h.to(ACC))
                    if (y >= -1.0) & (y <= height):
                        y1, y2, ly = corners(y, height)
                        for ix in range(0, samples_w):
                            at = x0 + bin_w * (j + (ix + 0.5) / samples_w.to(ACC))
                            if (at >= -1.0) & (at <= width):
                                x1, x2, lx = corners(at, width)
                                p11 = dx + (y1 * width + x1) * channels + c
                                tl.store(
                                    p11, tl.load(p11, mask=mask, other=0) + (1 - ly) * (1 - lx) * g, mask=mask
                                )
                                p12 = dx + (y1 * width + x2) * channels + c
                                tl.store(p12, tl.load(p12, mask=mask, other=0) + (1 - ly) * lx * g, mask=mask)
                                p21 = dx + (y2 * width + x1) * channels + c
                                tl.store(p21, tl.load(p21, mask=mask, other=0) + ly * (1 - lx) * g, mask=mask)
                                p22 = dx + (y2 * width + x2) * channels + c
                                tl.store(p22, tl.load(p22, mask=mask, other=0) + ly * lx * g, mask=mask)


@triton.jit
def clipped_bin(low, high, scale, parts, i, extent, KIND: tl.constexpr):
    """Start and end of bin i of a region along one side, inside the image."""
    if KIND == "max":
        start = rounded(low * scale).to(tl.int32)
        size = tl.maximum(rounded(high * scale).to(tl.int32) - start + 1, 1).to(tl.float32) / parts.to(
            tl.float32
        )
        first = tl.floor(i * size).to(tl.int32) + start
        end = tl.ceil((i + 1) * size).to(tl.int32) + start
    else:
        start = rounded(low) * scale
        size = tl.maximum((rounded(high) + 1.0) * scale - start, 0.1) / parts
        first = tl.floor(i * size + start).to(tl.int32)
        end = tl.ceil((i + 1) * size + start).to(tl.int32)
    return tl.minimum(tl.maximum(first, 0), extent), tl.minimum(tl.maximum(end, 0), extent)


@triton.jit
def roi_pool(
    x, boxes, starts, out, index, images, channels, planes, height, width, rows, columns, scale, lowest,
    KIND: tl.constexpr, LAST: tl.constexpr, ACC: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """KIND "max": the greatest element of each bin and where in its plane it is; "mean": the mean, bin i of channel c from
    plane c * bins + i of the `planes` of an image. Empty bins give 0. Program (block of channels, region)."""
    region = tl.program_id(1)
    c = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    mask = c < channels
    x += image_of(starts, images, region) * planes * height * width
    boxes += region.to(tl.int64) * 4
    left = tl.load(boxes).to(ACC)
    top = tl.load(boxes + 1).to(ACC)
    right = tl.load(boxes + 2).to(ACC)
    bottom = tl.load(boxes + 3).to(ACC)
    bins = rows * columns
    to = (region.to(tl.int64) * channels + c) * bins
    for i in range(0, rows):
        h0, h1 = clipped_bin(top, bottom, scale, rows, i, height, KIND)
        for j in range(0, columns):
            w0, w1 = clipped_bin(left, right, scale, columns, j, width, KIND)
            some = (h1 > h0) & (w1 > w0)
            if KIND == "max":
                lane = c
                acc = tl.zeros((BLOCK,), ACC) + tl.where(some, tl.cast(lowest, ACC), 0.0)
            else:
                lane = c * bins + (i * columns + j)
                acc = tl.zeros((BLOCK,), ACC)
            if not LAST:
                lane = lane * (height * width)
                step = 1
            else:
                step = planes
            where = tl.full((BLOCK,), -1, tl.int32)
            for h in range(h0, h1):
                for w in range(w0, w1):
                    at = h * width + w
                    v = tl.load(x + at * step + lane, mask=mask, other=0).to(ACC)
                    if KIND == "max":
                        better = v > acc
                        acc = tl.where(better, v, acc)
                        where = tl.where(better, at, where)
                    else:
                        acc += v
            if KIND == "max":
                tl.store(index + to + (i * columns + j), where.to(index.dtype.element_ty), mask=mask)
            else:
                acc = acc / tl.where(some, (h1 - h0) * (w1 - w0), 1).to(ACC)
            tl.store(out + to + (i * columns + j), acc.to(out.dtype.element_ty), mask=mask)


@triton.jit
def roi_pool_grad(
    boxes, starts, index, dout, dx, channels, planes, height, width, rows, columns, scale,
    KIND: tl.constexpr, ACC: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """dx (in ACC) was zeroed: program (block of channels, image)."""
    image = tl.program_id(1)
    c = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    mask = c < channels
    dx += image.to(tl.int64) * planes * height * width
    bins = rows * columns
    for region in range(tl.load(starts + image), tl.load(starts + image + 1)):
        source = (tl.cast(region, tl.int64) * channels + c) * bins
        if KIND == "max":
            for i in range(0, bins):
                at = tl.load(index + source + i, mask=mask, other=-1).to(tl.int32)
                found = mask & (at >= 0)
                g = tl.load(dout + source + i, mask=found, other=0).to(ACC)
                to = dx + c * (height * width) + at
                tl.store(to, tl.load(to, mask=found, other=0) + g, mask=found)
        else:
            box = boxes + tl.cast(region, tl.int64) * 4
            left = tl.load(box).to(ACC)
            top = tl.load(box + 1).to(ACC)
            right = tl.load(box + 2).to(ACC)
            bottom = tl.load(box + 3).to(ACC)
            for i in range(0, rows):
                h0, h1 = clipped_bin(top, bottom, scale, rows, i, height, KIND)
                for j in range(0, columns):
                    w0, w1 = clipped_bin(left, right, scale, columns, j, width, KIND)
                    area = tl.maximum((h1 - h0) * (w1 - w0), 1).to(ACC)
                    g = tl.load(dout + source + (i * columns + j), mask=mask, other=0).to(ACC) / area
                    plane = dx + (c * bins + (i * columns + j)) * (height * width)
                    for h in range(h0, h1):
                        for w in range(w0, w1):
                            to = plane + (h * width + w)
                            tl.store(to, tl.load(to, mask=mask, other=0) + g, mask=mask)
