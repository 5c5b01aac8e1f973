# Kernels that put sliding windows back into the images they were taken from.
import triton
import triton.language as tl


@triton.jit
def fold_planes(
    x, out, height, width, rows, columns, sh, sw, ph, pw, dh, dw, kh, kw,
    ACC: tl.constexpr, ROWS: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """x [planes, kh, kw, rows, columns], out [planes, height, width] (in ACC, zeroed). One plane a program: for one tap
    the windows touch different pixels, so each tap adds its share tile by tile."""
    plane = tl.program_id(0).to(tl.int64)
    x += plane * kh * kw * rows * columns
    out += plane * height * width
    for i in range(0, kh):
        for j in range(0, kw):
            tap = x + (i * kw + j).to(tl.int64) * rows * columns
            for first_row in range(0, rows, ROWS):
                oh = first_row + tl.arange(0, ROWS)
                h = oh * sh - ph + i * dh
                row = (oh < rows) & (h >= 0) & (h < height)
                for first_column in range(0, columns, BLOCK):
                    ow = first_column + tl.arange(0, BLOCK)
                    w = ow * sw - pw + j * dw
                    mask = row[:, None] & ((ow < columns) & (w >= 0) & (w < width))[None, :]
                    v = tl.load(tap + (oh * columns)[:, None] + ow[None, :], mask=mask, other=0).to(ACC)
                    at = out + (h * width)[:, None] + w[None, :]
                    tl.store(at, tl.load(at, mask=mask, other=0) + v, mask=mask)


@triton.jit
def fold_dense(
    x, out, height, width, rows, columns, ph, pw, dh, dw,
    KH: tl.constexpr, KW: tl.constexpr, ACC: tl.constexpr, ROWS: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """The same for windows at every pixel: each pixel gathers. Program (block of columns, block of rows, plane)."""
    plane = tl.program_id(2).to(tl.int64)
    x += plane * KH * KW * rows * columns
    h = tl.program_id(1) * ROWS + tl.arange(0, ROWS)
    w = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    acc = tl.zeros((ROWS, BLOCK), ACC)
    for i in tl.static_range(KH):
        oh = h + ph - i * dh
        row = (oh >= 0) & (oh < rows) & (h < height)
        for j in tl.static_range(KW):
            ow = w + pw - j * dw
            mask = row[:, None] & ((ow >= 0) & (ow < columns) & (w < width))[None, :]
            acc += tl.load(x + (oh * columns)[:, None] + ow[None, :], mask=mask, other=0).to(ACC)
            x += rows * columns
    to = plane * height * width + (h * width)[:, None] + w[None, :]
    tl.store(out + to, acc.to(out.dtype.element_ty), mask=(h < height)[:, None] & (w < width)[None, :])
