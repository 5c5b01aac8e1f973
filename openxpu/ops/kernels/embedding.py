# Embedding look-up and its dense gradient.

import triton
import triton.language as tl


@triton.jit
def embedding_rows(ids, weight, out, rows, n, padding, HAS_PADDING: tl.constexpr, BLOCK: tl.constexpr):
    """out[i] = weight[ids[i]], zeros for the padding id: program (block of columns, i)."""
    first = tl.program_id(0) * BLOCK
    i = tl.program_id(1)
    wanted = tl.load(ids + i).to(tl.int64)
    tl.device_assert((wanted >= 0) & (wanted < rows), "embedding: an id lies outside the table")
    offsets = tl.arange(0, BLOCK)
    mask = offsets < n - first
    known = (wanted >= 0) & (wanted < rows)
    if HAS_PADDING:
        known = known & (wanted != padding)
    count = tl.where(known, n - first, 0)
    v = tl.load(weight + tl.where(known, wanted, 0) * n + first + offsets, mask=offsets < count, other=0)
    tl.store(out + i.to(tl.int64) * n + first + offsets, v, mask=mask)


@triton.jit
def embedding_grad_columns(
    ids, dout, dweight, count, rows, n, padding, HAS_PADDING: tl.constexpr, BLOCK: tl.constexpr
):
    """dweight[ids[i]] += dout[i], into zeroed f32 or f64: one program has a block of columns and goes through all ids
    in order, so equal ids add up in a fixed order and no two programs meet."""
    first = tl.program_id(0) * BLOCK
    offsets = tl.arange(0, BLOCK)
    left = n - first
    for i in range(0, count):
        wanted = tl.load(ids + i).to(tl.int64)
        known = (wanted >= 0) & (wanted < rows)
        if HAS_PADDING:
            known = known & (wanted != padding)
        mask = offsets < tl.where(known, left, 0)
        to = dweight + tl.where(known, wanted, 0) * n + first + offsets
        g = tl.load(dout + tl.cast(i, tl.int64) * n + first + offsets, mask=mask, other=0).to(
            dweight.dtype.element_ty
        )
        tl.store(to, tl.load(to, mask=mask, other=0) + g, mask=mask)


@triton.jit
def narrow(x, out, n, BLOCK: tl.constexpr):
    """out = x in out's type."""
    first = tl.program_id(0).to(tl.int64) * BLOCK
    offsets = tl.arange(0, BLOCK)
    mask = offsets < tl.minimum(n - first, BLOCK).to(tl.int32)
    tl.store(
        out + first + offsets,
        tl.load(x + first + offsets, mask=mask, other=0).to(out.dtype.element_ty),
        mask=mask,
    )
