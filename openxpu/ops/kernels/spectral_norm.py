# Spectral normalisation: what its products leave over.

import triton
import triton.language as tl


@triton.jit
def unit_vector(x, out, n, epsilon, BLOCK: tl.constexpr):
    """out = x / (|x| + epsilon), in one program."""
    squares = tl.zeros((BLOCK,), x.dtype.element_ty)
    for start in range(0, n, BLOCK):
        i = start + tl.arange(0, BLOCK)
        v = tl.load(x + i, mask=i < n, other=0)
        squares += v * v
    size = tl.sqrt(tl.sum(squares, axis=0)) + epsilon
    for start in range(0, n, BLOCK):
        i = start + tl.arange(0, BLOCK)
        tl.store(out + i, tl.load(x + i, mask=i < n, other=0) / size, mask=i < n)


@triton.jit
def weight_gradient(d, u, v, total, sigma, dw, columns, BLOCK: tl.constexpr):
    """dw = d * (1 - u v^T * total) / sigma, Paddle's gradient; program (block of columns, row)."""
    row = tl.program_id(1)
    i = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    mask = i < columns
    at = row.to(tl.int64) * columns + i
    scale = tl.load(u + row) * tl.load(total)
    value = tl.load(d + at, mask=mask, other=0) * (1 - tl.load(v + i, mask=mask, other=0) * scale)
    tl.store(dw + at, value / tl.load(sigma), mask=mask)
