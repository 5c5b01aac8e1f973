# Functions of elements in spectral normalisation.
import triton
import triton.language as tl


@triton.jit
def normalized(v, square, eps):
    """v by its length, from the square of the length."""
    return v / (tl.sqrt(square) + eps)


@triton.jit
def gradient(d, uv, total, sigma):
    return d * (1 - uv * total) / sigma


@triton.jit
def spectral_norm_grad(d, u, v, total, sigma, out, rows, columns, ACC: tl.constexpr, BLOCK: tl.constexpr):
    """Program (block of columns, row): out = d * (1 - u v^T total) / sigma, with total and sigma of one element."""
    row = tl.program_id(1).to(tl.int64)
    lane = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    mask = lane < columns
    uv = tl.load(u + row) * tl.load(v + lane, mask=mask, other=0)
    g = tl.load(d + row * columns + lane, mask=mask, other=0).to(ACC)
    g = gradient(g, uv, tl.load(total), tl.load(sigma))
    tl.store(out + row * columns + lane, g, mask=mask)
