# Coordinates of triangles of a matrix.
import triton
import triton.language as tl


@triton.jit
def _below(z, cols):
    """The sum of min(a, cols) over 1 <= a <= z."""
    z = tl.maximum(z, 0)
    inside = tl.minimum(z, cols)
    return inside * (inside + 1) // 2 + (z - inside) * cols


@triton.jit
def triangle_indices(out, n, cols, offset, LOWER: tl.constexpr, BLOCK: tl.constexpr):
    """Program i writes the coordinates of row i to out[2, n]."""
    row = tl.program_id(0).to(tl.int64)
    if LOWER:
        begin = row * 0
        end = tl.minimum(tl.maximum(row + offset + 1, 0), cols)
        start = _below(row + offset, cols) - _below(row * 0 + offset, cols)
    else:
        begin = tl.minimum(tl.maximum(row + offset, 0), cols)
        end = row * 0 + cols
        start = row * cols - (_below(row - 1 + offset, cols) - _below(row * 0 + offset - 1, cols))
    lane = tl.arange(0, BLOCK)
    for first in range(begin, end, BLOCK):
        column = first + lane
        mask = column < end
        place = start + column - begin
        tl.store(out + place, (lane * 0 + row).to(out.dtype.element_ty), mask=mask)
        tl.store(out + n + place, column.to(out.dtype.element_ty), mask=mask)
