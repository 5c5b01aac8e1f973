# Pooling over windows, channels first (planes) and channels last (pixels), forward and backward.
"""A window of output (oh, ow) starts at oh * sh - ph, ow * sw - pw and has KH x KW taps; with TABLE (adaptive pooling
with unequal windows) starts and ends come from tables [2, OH] and [2, OW], and KH x KW is the largest window. KIND is
"max", "avg" (divided by the taps inside the image), or "avg_padded" (by the taps inside the padded image)."""

import triton
import triton.language as tl


@triton.jit
def window(o, table, extent, out_extent, stride, pad, inside, TABLE: tl.constexpr, K: tl.constexpr):
    """Start, end and length for the divisor of the windows `o` in one dimension."""
    if TABLE:
        start = tl.load(table + o, mask=inside, other=0)
        end = tl.load(table + out_extent + o, mask=inside, other=0)
        padded = end - start
    else:
        start = o * stride - pad
        end = tl.minimum(start + K, extent)
        padded = tl.minimum(start + K, extent + pad) - start
    return start, end, padded


@triton.jit
def pool_planes(
    x, out, index, table_h, table_w, height, width, out_height, out_width, sh, sw, ph, pw,
    KIND: tl.constexpr, TABLE: tl.constexpr, INDEX: tl.constexpr, KH: tl.constexpr, KW: tl.constexpr,
    ACC: tl.constexpr, ROWS: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """x [planes, height, width]: program (block of output columns, block of output rows, plane). INDEX: `index` gets
    where in the plane each maximum was found."""
    plane = tl.program_id(2).to(tl.int64)
    x += plane * height * width
    oh = tl.program_id(1) * ROWS + tl.arange(0, ROWS)
    ow = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    rows = oh < out_height
    columns = ow < out_width
    h0, h1, hn = window(oh, table_h, height, out_height, sh, ph, rows, TABLE, KH)
    w0, w1, wn = window(ow, table_w, width, out_width, sw, pw, columns, TABLE, KW)
    if KIND == "max":
        acc = tl.full((ROWS, BLOCK), float("-inf"), ACC)
    else:
        acc = tl.zeros((ROWS, BLOCK), ACC)
    where = tl.zeros((ROWS, BLOCK), tl.int32)
    for kh in tl.static_range(KH):
        h = h0 + kh
        row = rows & (h >= 0) & (h < h1)
        for kw in tl.static_range(KW):
            w = w0 + kw
            mask = row[:, None] & (columns & (w >= 0) & (w < w1))[None, :]
            at = (h * width)[:, None] + w[None, :]
            if KIND == "max":
                v = tl.load(x + at, mask=mask, other=float("-inf")).to(ACC)
                if INDEX:
                    if kh + kw == 0:
                        where = tl.where(mask, at, where)
                    else:
                        where = tl.where(mask & (v > acc), at, where)
                acc = tl.maximum(acc, v)
            else:
                acc += tl.load(x + at, mask=mask, other=0).to(ACC)
    if KIND == "avg":
        taps = (h1 - tl.maximum(h0, 0))[:, None] * (w1 - tl.maximum(w0, 0))[None, :]
        acc = acc / taps.to(ACC)
    elif KIND == "avg_padded":
        acc = acc / (hn[:, None] * wn[None, :]).to(ACC)
    to = (oh * out_width)[:, None] + ow[None, :]
    inside = rows[:, None] & columns[None, :]
    tl.store(out + plane * out_height * out_width + to, acc.to(out.dtype.element_ty), mask=inside)
    if INDEX:
        tl.store(index + plane * out_height * out_width + to, where.to(index.dtype.element_ty), mask=inside)


@triton.jit
def pool_grad_planes(
    x, out, index, dout, dx, table_h, table_w, height, width, out_height, out_width, sh, sw, ph, pw,
    KIND: tl.constexpr, TABLE: tl.constexpr, INDEX: tl.constexpr, KH: tl.constexpr, KW: tl.constexpr,
    ACC: tl.constexpr, ROWS: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """dx was zeroed. One plane a program: for one tap the windows of a tile touch different pixels, so each tap adds
    its share tile by tile. "max" without INDEX gives to the first maximum of a window."""
    plane = tl.program_id(0).to(tl.int64)
    dx += plane * height * width
    if KIND == "max" and not INDEX:
        x += plane * height * width
    cells = plane * out_height * out_width
    for first_row in range(0, out_height, ROWS):
        oh = first_row + tl.arange(0, ROWS)
        rows = oh < out_height
        h0, h1, hn = window(oh, table_h, height, out_height, sh, ph, rows, TABLE, KH)
        for first_column in range(0, out_width, BLOCK):
            ow = first_column + tl.arange(0, BLOCK)
            columns = ow < out_width
            w0, w1, wn = window(ow, table_w, width, out_width, sw, pw, columns, TABLE, KW)
            inside = rows[:, None] & columns[None, :]
            cell = cells + (oh * out_width)[:, None] + ow[None, :]
            g = tl.load(dout + cell, mask=inside, other=0).to(ACC)
            if KIND == "avg":
                taps = (h1 - tl.maximum(h0, 0))[:, None] * (w1 - tl.maximum(w0, 0))[None, :]
                g = g / taps.to(ACC)
            elif KIND == "avg_padded":
                g = g / (hn[:, None] * wn[None, :]).to(ACC)
            elif INDEX:
                found = tl.load(index + cell, mask=inside, other=-1).to(tl.int32)
            else:
                top = tl.load(out + cell, mask=inside, other=0)
                open_ = inside
            for kh in tl.static_range(KH):
                h = h0 + kh
                row = rows & (h >= 0) & (h < h1)
                for kw in tl.static_range(KW):
                    w = w0 + kw
                    mask = row[:, None] & (columns & (w >= 0) & (w < w1))[None, :]
                    at = (h * width)[:, None] + w[None, :]
                    if KIND == "max":
                        if INDEX:
                            mask = mask & (found == at)
                        else:
                            mask = mask & open_
                            mask = mask & (tl.load(x + at, mask=mask, other=0) == top)
                            open_ = open_ & ~mask
                    old = tl.load(dx + at, mask=mask, other=0)
                    tl.store(dx + at, (old.to(ACC) + g).to(dx.dtype.element_ty), mask=mask)


@triton.jit
def pool_pixels(
    x, out, table_h, table_w, channels, height, width, out_height, out_width, sh, sw, ph, pw,
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
    h0, h1, hn = window(oh, table_h, height, out_height, sh, ph, oh >= 0, TABLE, KH)
    w0, w1, wn = window(ow, table_w, width, out_width, sw, pw, columns, TABLE, KW)
    if KIND == "max":
        acc = tl.full((ROWS, BLOCK), float("-inf"), ACC)
    else:
        acc = tl.zeros((ROWS, BLOCK), ACC)
    for kh in tl.static_range(KH):
        h = h0 + kh
        last = tl.where((h >= 0) & (h < h1), w1, 0)
        for kw in tl.static_range(KW):
            w = w0 + kw
            mask = (columns & (w >= 0) & (w < last))[:, None] & lanes[None, :]
            at = ((h * width + w) * channels)[:, None] + c[None, :]
            if KIND == "max":
                acc = tl.maximum(acc, tl.load(x + at, mask=mask, other=float("-inf")).to(ACC))
            else:
                acc += tl.load(x + at, mask=mask, other=0).to(ACC)
    if KIND == "avg":
        taps = (h1 - tl.maximum(h0, 0)) * (w1 - tl.maximum(w0, 0))
        acc = acc / taps.to(ACC)[:, None]
    elif KIND == "avg_padded":
        acc = acc / (hn * wn).to(ACC)[:, None]
    to = cell.to(tl.int64) * out_width * channels + (ow * channels)[:, None] + c[None, :]
    tl.store(out + to, acc.to(out.dtype.element_ty), mask=columns[:, None] & lanes[None, :])


@triton.jit
def pool_grad_pixels(
    x, out, dout, dx, table_h, table_w, channels, height, width, out_height, out_width, sh, sw, ph, pw,
    KIND: tl.constexpr, TABLE: tl.constexpr, KH: tl.constexpr, KW: tl.constexpr,
    ACC: tl.constexpr, ROWS: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """dx was zeroed. One block of channels of one image a program."""
    image = tl.program_id(1).to(tl.int64)
    c = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    lanes = c < channels
    x += image * height * width * channels
    dx += image * height * width * channels
    cells = image * out_height * out_width * channels
    for oh in range(0, out_height):
        h0, h1, hn = window(oh, table_h, height, out_height, sh, ph, oh >= 0, TABLE, KH)
        for first_column in range(0, out_width, ROWS):
            ow = first_column + tl.arange(0, ROWS)
            columns = ow < out_width
            w0, w1, wn = window(ow, table_w, width, out_width, sw, pw, columns, TABLE, KW)
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
            for kh in tl.static_range(KH):
                h = h0 + kh
                last = tl.where((h >= 0) & (h < h1), w1, 0)
                for kw in tl.static_range(KW):
                    w = w0 + kw
                    mask = (columns & (w >= 0) & (w < last))[:, None] & lanes[None, :]
                    at = ((h * width + w) * channels)[:, None] + c[None, :]
                    if KIND == "max":
                        mask = mask & open_
                        mask = mask & (tl.load(x + at, mask=mask, other=0) == top)
                        open_ = open_ & ~mask
                    old = tl.load(dx + at, mask=mask, other=0)
                    tl.store(dx + at, (old.to(ACC) + g).to(dx.dtype.element_ty), mask=mask)
