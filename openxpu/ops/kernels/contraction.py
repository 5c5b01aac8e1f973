# The cross product of vectors of three.
import triton
import triton.language as tl


@triton.jit
def cross(x, y, out, outer, inner, COMPUTE: tl.constexpr, ROWS: tl.constexpr, BLOCK: tl.constexpr):
    """out = x cross y along the middle of [outer, 3, inner]. ROWS 0: inner is 1, and lanes are vectors."""
    if ROWS == 0:
        lane = tl.program_id(1).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
        mask = lane < outer
        at = lane * 3
    else:
        first = tl.program_id(1).to(tl.int64) * ROWS
        column = tl.program_id(0) * BLOCK
        row = tl.arange(0, ROWS)
        lane = tl.arange(0, BLOCK)
        mask = (row < outer - first)[:, None] & (lane < inner - column)[None, :]
        at = first * 3 * inner + column + (row * 3 * inner)[:, None] + lane[None, :]
    x0 = tl.load(x + at, mask=mask).to(COMPUTE)
    x1 = tl.load(x + at + inner, mask=mask).to(COMPUTE)
    x2 = tl.load(x + at + 2 * inner, mask=mask).to(COMPUTE)
    y0 = tl.load(y + at, mask=mask).to(COMPUTE)
    y1 = tl.load(y + at + inner, mask=mask).to(COMPUTE)
    y2 = tl.load(y + at + 2 * inner, mask=mask).to(COMPUTE)
    stored = out.dtype.element_ty
    tl.store(out + at, (x1 * y2 - x2 * y1).to(stored), mask=mask)
    tl.store(out + at + inner, (x2 * y0 - x0 * y2).to(stored), mask=mask)
    tl.store(out + at + 2 * inner, (x0 * y1 - x1 * y0).to(stored), mask=mask)
