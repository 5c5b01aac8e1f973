# Pooling by a power mean without its division, (sum of x^p)^(1/p) over windows, forward and backward.
import triton
import triton.language as tl

from openxpu.ops.kernels.elementwise import pow as power


@triton.jit
def raised(v, order, ORDER: tl.constexpr):
    """v to the power of `order`, by products where ORDER > 0 says that it is a small integer."""
    if ORDER > 0:
        result = v
        for _ in tl.static_range(ORDER - 1):
            result = result * v
    else:
        result = power(v, order + v * 0)
    return result


@triton.jit
def lp_pool(
    x, out, height, width, rows, columns, sh, sw, ph, pw, kh, kw, order,
    ORDER: tl.constexpr, ACC: tl.constexpr, ROWS: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """x [planes, height, width], out [planes, rows, columns]: program (block of columns, block of rows, plane)."""
    plane = tl.program_id(2).to(tl.int64)
    x += plane * height * width
    oh = tl.program_id(1) * ROWS + tl.arange(0, ROWS)
    ow = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    total = tl.zeros((ROWS, BLOCK), ACC)
    for i in range(0, kh):
        h = oh * sh - ph + i
        row = (oh < rows) & (h >= 0) & (h < height)
        for j in range(0, kw):
            w = ow * sw - pw + j
            mask = row[:, None] & ((ow < columns) & (w >= 0) & (w < width))[None, :]
            v = tl.load(x + (h * width)[:, None] + w[None, :], mask=mask, other=0).to(ACC)
            total += tl.where(mask, raised(v, order, ORDER), 0.0)
    if ORDER == 2:
        value = tl.sqrt(total)
    else:
        value = power(total, 1 / order + total * 0)
    to = plane * rows * columns + (oh * columns)[:, None] + ow[None, :]
    tl.store(out + to, value.to(out.dtype.element_ty), mask=(oh < rows)[:, None] & (ow < columns)[None, :])


@triton.jit
def lp_pool_grad(
    x, out, dout, dx, height, width, rows, columns, sh, sw, ph, pw, kh, kw, order,
    ORDER: tl.constexpr, ACC: tl.constexpr, ROWS: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """dx (in ACC) was zeroed. One plane a program: for one tap the windows of a tile touch different pixels."""
    plane = tl.program_id(0).to(tl.int64)
    x += plane * height * width
    dx += plane * height * width
    cells = plane * rows * columns
    for first_row in range(0, rows, ROWS):
        oh = first_row + tl.arange(0, ROWS)
        for first_column in range(0, columns, BLOCK):
            ow = first_column + tl.arange(0, BLOCK)
            inside = (oh < rows)[:, None] & (ow < columns)[None, :]
            cell = cells + (oh * columns)[:, None] + ow[None, :]
            g = tl.load(dout + cell, mask=inside, other=0).to(ACC)
            y = tl.load(out + cell, mask=inside, other=1).to(ACC)
            for i in range(0, kh):
                h = oh * sh - ph + i
                row = (oh < rows) & (h >= 0) & (h < height)
                for j in range(0, kw):
                    w = ow * sw - pw + j
                    mask = row[:, None] & ((ow < columns) & (w >= 0) & (w < width))[None, :]
                    at = (h * width)[:, None] + w[None, :]
                    ratio = tl.load(x + at, mask=mask, other=0).to(ACC) / y
                    share = g * raised(ratio, order - 1, ORDER - 1)
                    tl.store(dx + at, tl.load(dx + at, mask=mask, other=0) + share, mask=mask)
