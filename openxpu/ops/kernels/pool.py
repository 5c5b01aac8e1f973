# Pooling over windows, channels first (planes, volumes) and channels last (pixels), forward and backward.
"""A window of output (oh, ow) starts at oh * sh - ph, ow * sw - pw and has kh x kw taps. With TABLE (adaptive pooling
with unequal windows) starts and ends come from tables [2, OH] and [2, OW], and kh x kw is the largest window; TABLE is 2
when windows start at the same place. KIND is "max", "avg" (divided by the taps inside the image), or "avg_padded" (by
the taps inside the padded image). NaN wins a "max".
Volumes have the same in a third dimension in front (depth, DEEP); without DEEP an image is one slice.

Forward, KH x KW are kh x kw in windows small enough to be unrolled, else 0. Backward is never unrolled: every tap
writes to memory that the next one reads, so there is nothing to gain."""

import triton
import triton.language as tl


@triton.jit
def window(o, table, extent, out_extent, stride, pad, k, inside, TABLE: tl.constexpr):
    """Start, end and length for the divisor of the windows `o` in one dimension."""
    if TABLE:
        start = tl.load(table + o, mask=inside, other=0)
        end = tl.load(table + out_extent + o, mask=inside, other=0)
        padded = end - start
    else:
        start = o * stride - pad
        end = tl.minimum(start + k, extent)
        padded = tl.minimum(start + k, extent + pad) - start
    return start, end, padded


@triton.jit
def larger(acc, v):
    """Where v takes the place of acc."""
    return (v > acc) | (v != v)


@triton.jit
def edges_of(o, table, extent, out_extent, stride, pad, k, TABLE: tl.constexpr):
    """Start, end inside the image, and length for the divisor of window number `o` in one dimension."""
    if TABLE:
        start = tl.load(table + o)
        end = tl.load(table + out_extent + o)
        padded = end - start
    else:
        start = o * stride - pad
        padded = tl.minimum(start + k, extent + pad) - start
        end = tl.minimum(start + k, extent)
        start = tl.maximum(start, 0)
    return start, end, padded


@triton.jit
def pool_lanes(
    x, out, index, table_d, table_h, table_w, planes, depth, height, width, out_depth, out_height, out_width, sd, sh, sw,
    pd, ph, pw, kd, kh, kw, KIND: tl.constexpr, TABLE: tl.constexpr, INDEX: tl.constexpr, DEEP: tl.constexpr,
    ACC: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """pool_planes for planes of few windows: each lane has a plane. KIND "below": "max" that passes over NaN and begins
    at the lowest number."""
    first = tl.program_id(0).to(tl.int64) * BLOCK
    lane = tl.arange(0, BLOCK)
    mask = lane < planes - first
    pixels = depth * height * width
    points = out_depth * out_height * out_width
    x += first * pixels
    out += first * points
    if INDEX:
        index += first * points
    for od in range(0, out_depth):
        d0, d1, dn = edges_of(od, table_d, depth, out_depth, sd, pd, kd, TABLE if DEEP else 0)
        for oh in range(0, out_height):
            h0, h1, hn = edges_of(oh, table_h, height, out_height, sh, ph, kh, TABLE)
            for ow in range(0, out_width):
                w0, w1, wn = edges_of(ow, table_w, width, out_width, sw, pw, kw, TABLE)
                if KIND == "max":
                    acc = tl.full((BLOCK,), float("-inf"), ACC)
                elif KIND == "below":
                    acc = tl.full((BLOCK,), -3.4028234663852886e38, ACC)
                else:
                    acc = tl.zeros((BLOCK,), ACC)
                where = tl.full((BLOCK,), -1, tl.int32)
                for d in range(d0, d1):
                    for h in range(h0, h1):
                        for w in range(w0, w1):
                            at = (d * height + h) * width + w
                            v = tl.load(x + at + lane * pixels, mask=mask, other=0).to(ACC)
                            if KIND == "max":
                                better = larger(acc, v)
                                if INDEX:
                                    where = tl.where(better | (where < 0), at, where)
                                acc = tl.where(better, v, acc)
                            elif KIND == "below":
                                better = acc < v
                                where = tl.where(better, at, where)
                                acc = tl.where(better, v, acc)
                            else:
                                acc += v
                if KIND == "avg":
                    acc = acc / ((d1 - d0) * (h1 - h0) * (w1 - w0)).to(ACC)
                elif KIND == "avg_padded":
                    acc = acc / (dn * hn * wn).to(ACC)
                to = (od * out_height + oh) * out_width + ow
                tl.store(out + to + lane * points, acc.to(out.dtype.element_ty), mask=mask)
                if INDEX:
                    tl.store(index + to + lane * points, where.to(index.dtype.element_ty), mask=mask)


@triton.jit
def pool_grad_lanes(
    x, out, index, dout, dx, table_d, table_h, table_w, planes, depth, height, width, out_depth, out_height, out_width, sd,
    sh, sw, pd, ph, pw, kd, kh, kw, KIND: tl.constexpr, TABLE: tl.constexpr, INDEX: tl.constexpr, DEEP: tl.constexpr,
    ACC: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """pool_grad_planes for planes of few windows: each lane has a plane, so it takes the windows in order."""
    first = tl.program_id(0).to(tl.int64) * BLOCK
    lane = tl.arange(0, BLOCK)
    mask = lane < planes - first
    pixels = depth * height * width
    points = out_depth * out_height * out_width
    dout += first * points
    dx += first * pixels
    if KIND == "max":
        if INDEX:
            index += first * points
        else:
            x += first * pixels
            out += first * points
    for od in range(0, out_depth):
        d0, d1, dn = edges_of(od, table_d, depth, out_depth, sd, pd, kd, TABLE if DEEP else 0)
        for oh in range(0, out_height):
            h0, h1, hn = edges_of(oh, table_h, height, out_height, sh, ph, kh, TABLE)
            for ow in range(0, out_width):
                w0, w1, wn = edges_of(ow, table_w, width, out_width, sw, pw, kw, TABLE)
                cell = (od * out_height + oh) * out_width + ow
                g = tl.load(dout + cell + lane * points, mask=mask, other=0).to(ACC)
                if KIND == "avg":
                    g = g / ((d1 - d0) * (h1 - h0) * (w1 - w0)).to(ACC)
                elif KIND == "avg_padded":
                    g = g / (dn * hn * wn).to(ACC)
                elif not INDEX:
                    top = tl.load(out + cell + lane * points, mask=mask, other=0)
                if INDEX:
                    to = tl.load(index + cell + lane * points, mask=mask, other=-1).to(tl.int32)
                    found = mask & (to >= 0) & (to < pixels)
                    to = dx + lane * pixels + to
                    tl.store(to, tl.load(to, mask=found, other=0) + g, mask=found)
                else:
                    where = tl.full((BLOCK,), -1, tl.int32)
                    for d in range(d0, d1):
                        for h in range(h0, h1):
                            for w in range(w0, w1):
                                at = (d * height + h) * width + w
                                if KIND == "max":
                                    same = tl.load(x + at + lane * pixels, mask=mask, other=0) == top
                                    where = tl.where(same & (where < 0), at, where)
                                else:
                                    to = dx + at + lane * pixels
                                    tl.store(to, tl.load(to, mask=mask, other=0) + g, mask=mask)
                    if KIND == "max":
                        found = mask & (where >= 0)
                        to = dx + lane * pixels + where
                        tl.store(to, tl.load(to, mask=found, other=0) + g, mask=found)


@triton.jit
def plane_tap(
    x, acc, where, first, h, w, h1, w1, rows, columns, width, KIND: tl.constexpr, INDEX: tl.constexpr
):
    """One tap of the windows of a tile: rows h, columns w of the slice that starts at `first`."""
    mask = (rows & (h >= 0) & (h < h1))[:, None] & (columns & (w >= 0) & (w < w1))[None, :]
    at = first + (h * width)[:, None] + w[None, :]
    if KIND == "max":
        v = tl.load(x + at, mask=mask, other=float("-inf")).to(acc.dtype)
        better = larger(acc, v)
        if INDEX:
            where = tl.where(mask & (better | (where < 0)), at, where)
        acc = tl.where(better, v, acc)
    else:
        acc += tl.load(x + at, mask=mask, other=0).to(acc.dtype)
    return acc, where


@triton.jit
def pool_planes(
    x, out, index, table_d, table_h, table_w, depth, height, width, out_depth, out_height, out_width, sd, sh, sw,
    pd, ph, pw, kd, kh, kw, KIND: tl.constexpr, TABLE: tl.constexpr, INDEX: tl.constexpr, DEEP: tl.constexpr,
    KH: tl.constexpr, KW: tl.constexpr, ACC: tl.constexpr, ROWS: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """x [planes, depth, height, width]: program (block of output columns, block of output rows, plane and output slice).
    INDEX: `index` gets where in the plane each maximum was found."""
    od = tl.program_id(2) % out_depth
    plane = (tl.program_id(2) // out_depth).to(tl.int64)
    x += plane * depth * height * width
    oh = tl.program_id(1) * ROWS + tl.arange(0, ROWS)
    ow = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    rows = oh < out_height
    columns = ow < out_width
    h0, h1, hn = window(oh, table_h, height, out_height, sh, ph, kh, rows, TABLE)
    w0, w1, wn = window(ow, table_w, width, out_width, sw, pw, kw, columns, TABLE)
    if KIND == "max":
        acc = tl.full((ROWS, BLOCK), float("-inf"), ACC)
    else:
        acc = tl.zeros((ROWS, BLOCK), ACC)
    where = tl.full((ROWS, BLOCK), -1, tl.int32)
    taps = 1
    padded = 1
    begin = 0
    end = 1
    if DEEP:
        d0, d1, dn = window(od, table_d, depth, out_depth, sd, pd, kd, od >= 0, TABLE)
        begin = tl.maximum(d0, 0)
        end = d1
        taps = d1 - begin
        padded = dn
    for d in range(begin, end):
        first = d * height * width
        if KH > 0:
            for i in tl.static_range(KH):
                for j in tl.static_range(KW):
                    acc, where = plane_tap(
                        x, acc, where, first, h0 + i, w0 + j, h1, w1, rows, columns, width, KIND, INDEX
                    )
        else:
            for i in range(0, kh):
                for j in range(0, kw):
                    acc, where = plane_tap(
                        x, acc, where, first, h0 + i, w0 + j, h1, w1, rows, columns, width, KIND, INDEX
                    )
    if KIND == "avg":
        inner = (h1 - tl.maximum(h0, 0))[:, None] * (w1 - tl.maximum(w0, 0))[None, :]
        acc = acc / (taps * inner).to(ACC)
    elif KIND == "avg_padded":
        acc = acc / (padded * hn[:, None] * wn[None, :]).to(ACC)
    to = tl.program_id(2).to(tl.int64) * out_height * out_width + (oh * out_width)[:, None] + ow[None, :]
    inside = rows[:, None] & columns[None, :]
    tl.store(out + to, acc.to(out.dtype.element_ty), mask=inside)
    if INDEX:
        tl.store(index + to, where.to(index.dtype.element_ty), mask=inside)


@triton.jit
def pool_grad_planes(
    x, out, index, dout, dx, table_d, table_h, table_w, depth, height, width, out_depth, out_height, out_width, sd, sh, sw,
    pd, ph, pw, kd, kh, kw, KIND: tl.constexpr, TABLE: tl.constexpr, INDEX: tl.constexpr, DEEP: tl.constexpr,
    ACC: tl.constexpr, ROWS: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """dx (in ACC) was zeroed. One plane a program: for one tap the windows of a tile touch different pixels (but for
    TABLE 2), so each tap adds its share tile by tile. "max" without INDEX gives to the first maximum of a window."""
    plane = tl.program_id(0).to(tl.int64)
    dx += plane * depth * height * width
    if KIND == "max" and not INDEX:
        x += plane * depth * height * width
    for od in range(0, out_depth):
        cells = (plane * out_depth + od) * out_height * out_width
        taps = 1
        padded = 1
        begin = 0
        end = 1
        if DEEP:
            d0, d1, dn = window(od, table_d, depth, out_depth, sd, pd, kd, od >= 0, TABLE)
            begin = tl.maximum(d0, 0)
            end = d1
            taps = d1 - begin
            padded = dn
        for first_row in range(0, out_height, ROWS):
            oh = first_row + tl.arange(0, ROWS)
            rows = oh < out_height
            h0, h1, hn = window(oh, table_h, height, out_height, sh, ph, kh, rows, TABLE)
            for first_column in range(0, out_width, BLOCK):
                ow = first_column + tl.arange(0, BLOCK)
                columns = ow < out_width
                w0, w1, wn = window(ow, table_w, width, out_width, sw, pw, kw, columns, TABLE)
                inside = rows[:, None] & columns[None, :]
                cell = cells + (oh * out_width)[:, None] + ow[None, :]
                g = tl.load(dout + cell, mask=inside, other=0).to(ACC)
                open_ = inside
                if KIND == "avg":
                    inner = (h1 - tl.maximum(h0, 0))[:, None] * (w1 - tl.maximum(w0, 0))[None, :]
                    g = g / (taps * inner).to(ACC)
                elif KIND == "avg_padded":
                    g = g / (padded * hn[:, None] * wn[None, :]).to(ACC)
                elif INDEX:
                    found = tl.load(index + cell, mask=inside, other=-1).to(tl.int32)
                else:
                    top = tl.load(out + cell, mask=inside, other=0)
                for d in range(begin, end):
                    first = d * height * width
                    for i in range(0, kh):
                        h = h0 + i
                        row = rows & (h >= 0) & (h < h1)
                        for j in range(0, kw):
                            w = w0 + j
                            mask = row[:, None] & (columns & (w >= 0) & (w < w1))[None, :]
                            at = first + (h * width)[:, None] + w[None, :]
                            if KIND == "max":
                                if INDEX:
                                    mask = mask & (found == at)
                                else:
                                    mask = mask & open_
                                    mask = mask & (tl.load(x + at, mask=mask, other=0) == top)
                                    open_ = open_ & ~mask
                            if TABLE == 2:
                                tl.atomic_add(dx + at, g, mask=mask)
                            else:
                                tl.store(dx + at, tl.load(dx + at, mask=mask, other=0) + g, mask=mask)


@triton.jit
def pixel_tap(x, acc, h, w, last, columns, lanes, c, width, channels, KIND: tl.constexpr):
    mask = (columns & (w >= 0) & (w < last))[:, None] & lanes[None, :]
    at = ((h * width + w) * channels)[:, None] + c[None, :]
    if KIND == "max":
        v = tl.load(x + at, mask=mask, other=float("-inf")).to(acc.dtype)
        acc = tl.where(larger(acc, v), v, acc)
    else:
        acc += tl.load(x + at, mask=mask, other=0).to(acc.dtype)
    return acc


@triton.jit
def pool_pixels(
    x, out, table_h, table_w, channels, height, width, out_height, out_width, sh, sw, ph, pw, kh, kw,
    KIND: tl.constexpr, TABLE: tl.constexpr, KH: tl.constexpr, KW: tl.constexpr,
    ACC: tl.constexpr, ROWS: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """x [images, height, width, channels]: program (block of channels, block of output columns, image and output row)."""
    cell = tl.program_id(2)
    oh = cell % out_height
    image = (cell // out_height).to(tl.int64)
    x += image * height * width * channels
    ow = tl.program_id(1) * ROWS + tl.arange(0, ROWS)
    c = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    columns = ow < out_width
    lanes = c < channels
    h0, h1, hn = window(oh, table_h, height, out_height, sh, ph, kh, oh >= 0, TABLE)
    w0, w1, wn = window(ow, table_w, width, out_width, sw, pw, kw, columns, TABLE)
    if KIND == "max":
        acc = tl.full((ROWS, BLOCK), float("-inf"), ACC)
    else:
        acc = tl.zeros((ROWS, BLOCK), ACC)
    if KH > 0:
        for i in tl.static_range(KH):
            last = tl.where((h0 + i >= 0) & (h0 + i < h1), w1, 0)
            for j in tl.static_range(KW):
                acc = pixel_tap(x, acc, h0 + i, w0 + j, last, columns, lanes, c, width, channels, KIND)
    else:
        for i in range(0, kh):
            last = tl.where((h0 + i >= 0) & (h0 + i < h1), w1, 0)
            for j in range(0, kw):
                acc = pixel_tap(x, acc, h0 + i, w0 + j, last, columns, lanes, c, width, channels, KIND)
    if KIND == "avg":
        taps = (h1 - tl.maximum(h0, 0)) * (w1 - tl.maximum(w0, 0))
        acc = acc / taps.to(ACC)[:, None]
    elif KIND == "avg_padded":
        acc = acc / (hn * wn).to(ACC)[:, None]
    to = cell.to(tl.int64) * out_width * channels + (ow * channels)[:, None] + c[None, :]
    tl.store(out + to, acc.to(out.dtype.element_ty), mask=columns[:, None] & lanes[None, :])


@triton.jit
def pool_grad_pixels(
    x, out, dout, dx, table_h, table_w, channels, height, width, out_height, out_width, sh, sw, ph, pw, kh, kw,
    KIND: tl.constexpr, TABLE: tl.constexpr,
    ACC: tl.constexpr, ROWS: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """dx (in ACC) was zeroed. One block of channels of one image a program."""
    image = tl.program_id(1).to(tl.int64)
    c = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    lanes = c < channels
    x += image * height * width * channels
    dx += image * height * width * channels
    cells = image * out_height * out_width * channels
    for oh in range(0, out_height):
        h0, h1, hn = window(oh, table_h, height, out_height, sh, ph, kh, oh >= 0, TABLE)
        for first_column in range(0, out_width, ROWS):
            ow = first_column + tl.arange(0, ROWS)
            columns = ow < out_width
            w0, w1, wn = window(ow, table_w, width, out_width, sw, pw, kw, columns, TABLE)
            inside = columns[:, None] & lanes[None, :]
            cell = cells + ((oh * out_width + ow) * channels)[:, None] + c[None, :]
            g = tl.load(dout + cell, mask=inside, other=0).to(ACC)
            if KIND == "avg":
                g = g / ((h1 - tl.maximum(h0, 0)) * (w1 - tl.maximum(w0, 0))).to(ACC)[:, None]
            elif KIND == "avg_padded":
                g = g / (hn * wn).to(ACC)[:, None]
            else:
                top = tl.load(out + cell, mask=inside, other=0)
                open_ = inside
            for i in range(0, kh):
                h = h0 + i
                last = tl.where((h >= 0) & (h < h1), w1, 0)
                for j in range(0, kw):
                    w = w0 + j
                    mask = (columns & (w >= 0) & (w < last))[:, None] & lanes[None, :]
                    at = ((h * width + w) * channels)[:, None] + c[None, :]
                    if KIND == "max":
                        mask = mask & open_
                        mask = mask & (tl.load(x + at, mask=mask, other=0) == top)
                        open_ = open_ & ~mask
                    if TABLE == 2:
                        tl.atomic_add(dx + at, g, mask=mask)
                    else:
                        tl.store(dx + at, tl.load(dx + at, mask=mask, other=0) + g, mask=mask)
