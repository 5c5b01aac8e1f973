# Triton kernels of the matrix product: tiles, partial products over a split k, matrix times vector, vector products.
"""Operands are read where they lie, whatever their strides: a constexpr says which dimension is contiguous, the back end
packs what does not suit its micro-kernel. Batches are two nested dimensions with strides of their own, so that
broadcasting is a stride of zero."""

import triton
import triton.language as tl


@triton.jit
def product(
    a,
    b,
    c,
    addend,
    m_size,
    n_size,
    k_size,
    k_part,
    a_row,
    a_col,
    b_row,
    b_col,
    c_row,
    addend_row,
    addend_col,
    inner,
    a_outer,
    a_inner,
    b_outer,
    b_inner,
    c_outer,
    c_inner,
    addend_outer,
    addend_inner,
    c_part,
    alpha,
    beta,
    first,
    second,
    A_UNIT: tl.constexpr,
    B_UNIT: tl.constexpr,
    SCALE: tl.constexpr,
    ADD: tl.constexpr,
    ACTIVATION: tl.constexpr,
    PARTS: tl.constexpr,
    M_FIRST: tl.constexpr,
    ACC: tl.constexpr,
    PRECISION: tl.constexpr,
    BM: tl.constexpr,
    BN: tl.constexpr,
    BK: tl.constexpr,
    ROWS_OF_B: tl.constexpr,
):
    """One BM x BN tile of c = ACTIVATION(alpha * (a @ b) + beta * addend). A_UNIT: 0 when the rows of a are contiguous, 1 when its columns are,
    2 when neither; B_UNIT likewise for b. PARTS > 1: part p of k, k_part long, goes to c + p * c_part. ROWS_OF_B: b is read row by row,
    that many at a time, as suits few rows of a: reading b is all there is to do then, and memory gives whole lines faster."""
    if M_FIRST:
        m_start = tl.program_id(0) * BM
        n_start = tl.program_id(1) * BN
    else:
        m_start = tl.program_id(1) * BM
        n_start = tl.program_id(0) * BN
    z = tl.program_id(2)
    k_begin = 0
    k_end = k_size
    if PARTS > 1:
        part = z % PARTS
        z = z // PARTS
        k_begin = part * k_part
        k_end = tl.minimum(k_begin + k_part, k_size)
        c += part.to(tl.int64) * c_part
    outer = (z // inner).to(tl.int64)
    within = (z % inner).to(tl.int64)
    a += outer * a_outer + within * a_inner
    b += outer * b_outer + within * b_inner
    c += outer * c_outer + within * c_inner
    m = m_start + tl.arange(0, BM)
    n = n_start + tl.arange(0, BN)
    rows = m.to(tl.int64)
    columns = n.to(tl.int64)
    acc = tl.zeros((BM, BN), dtype=ACC)
    if ROWS_OF_B:
        a += rows * a_row
        for first_k in range(k_begin, k_end, BK):  # sums of sums, which round less
            last_k = tl.minimum(first_k + BK, k_end)
            sums = tl.zeros((BM, BN), dtype=ACC)
            whole = last_k - (last_k - first_k) % ROWS_OF_B
            for k_start in range(first_k, whole, ROWS_OF_B):
                for i in tl.static_range(ROWS_OF_B):
                    k = (k_start + i).to(tl.int64)
                    x = tl.load(a + k * a_col, mask=m < m_size, other=0).to(ACC)
                    y = tl.load(b + k * b_row + n, mask=n < n_size, other=0).to(ACC)
                    sums += x[:, None] * y[None, :]
            for k_start in range(whole, last_k):
                k = k_start.to(tl.int64)
                x = tl.load(a + k * a_col, mask=m < m_size, other=0).to(ACC)
                y = tl.load(b + k * b_row + n, mask=n < n_size, other=0).to(ACC)
                sums += x[:, None] * y[None, :]
            acc += sums
    else:
        for k_start in range(k_begin, k_end, BK):
            k = k_start + tl.arange(0, BK)
            wide = k.to(tl.int64)
            if A_UNIT == 0:
                a_offsets = (rows * a_row)[:, None] + k[None, :]
            elif A_UNIT == 1:
                a_offsets = m[:, None] + (wide * a_col)[None, :]
            else:
                a_offsets = (rows * a_row)[:, None] + (wide * a_col)[None, :]
            if B_UNIT == 0:
                b_offsets = (wide * b_row)[:, None] + n[None, :]
            elif B_UNIT == 1:
                b_offsets = k[:, None] + (columns * b_col)[None, :]
            else:
                b_offsets = (wide * b_row)[:, None] + (columns * b_col)[None, :]
            x = tl.load(a + a_offsets, mask=(m < m_size)[:, None] & (k < k_end)[None, :], other=0)
            y = tl.load(b + b_offsets, mask=(k < k_end)[:, None] & (n < n_size)[None, :], other=0)
            acc = tl.dot(x, y, acc, input_precision=PRECISION, out_dtype=ACC)
    mask = (m < m_size)[:, None] & (n < n_size)[None, :]
    value = acc
    if SCALE:
        value = value * alpha
    if ADD:
        addend += outer * addend_outer + within * addend_inner
        if ADD == 1:
            offsets = (rows * addend_row)[:, None] + n[None, :]
        else:
            offsets = (rows * addend_row)[:, None] + (columns * addend_col)[None, :]
        value += tl.load(addend + offsets, mask=mask, other=0).to(ACC) * beta
    value = ACTIVATION(value, first, second)
    tl.store(c + (rows * c_row)[:, None] + n[None, :], value.to(c.dtype.element_ty), mask=mask)


@triton.jit
def sum_parts(
    parts,
    c,
    addend,
    m_size,
    n_size,
    c_row,
    c_batch,
    addend_row,
    addend_col,
    addend_batch,
    part_size,
    alpha,
    beta,
    first,
    second,
    PARTS: tl.constexpr,
    SCALE: tl.constexpr,
    ADD: tl.constexpr,
    ACTIVATION: tl.constexpr,
    BN: tl.constexpr,
):
    """Row program_id(1) of batch program_id(2): c = ACTIVATION(alpha * (sum over the parts, in order) + beta * addend)."""
    n = tl.program_id(0) * BN + tl.arange(0, BN)
    m = tl.program_id(1).to(tl.int64)
    z = tl.program_id(2).to(tl.int64)
    mask = n < n_size
    parts += (z * m_size + m) * n_size
    total = tl.load(parts + n, mask=mask, other=0)
    for part in range(1, PARTS):
        total += tl.load(parts + part.to(tl.int64) * part_size + n, mask=mask, other=0)
    if SCALE:
        total = total * alpha
    if ADD:
        at = addend + z * addend_batch + m * addend_row
        if ADD == 1:
            total += tl.load(at + n, mask=mask, other=0).to(total.dtype) * beta
        else:
            total += tl.load(at + n.to(tl.int64) * addend_col, mask=mask, other=0).to(total.dtype) * beta
    total = ACTIVATION(total, first, second)
    tl.store(c + z * c_batch + m * c_row + n, total.to(c.dtype.element_ty), mask=mask)


@triton.jit
def dot_rows(x, y, out, n, ACC: tl.constexpr, BLOCK: tl.constexpr):
    """out[row] = sum of x[row, :] * y[row, :]."""
    start = tl.program_id(0).to(tl.int64) * n
    lanes = tl.arange(0, BLOCK)
    acc = tl.zeros((BLOCK,), dtype=ACC)
    for first in range(0, n, BLOCK):
        mask = lanes < n - first
        u = tl.load(x + start + first + lanes, mask=mask, other=0).to(ACC)
        v = tl.load(y + start + first + lanes, mask=mask, other=0).to(ACC)
        acc += u * v
    tl.store(out + tl.program_id(0), tl.sum(acc, axis=0).to(out.dtype.element_ty))


@triton.jit
def dot_rows_grad(y, dout, dx, n, ACC: tl.constexpr, BLOCK: tl.constexpr):
    """dx[row, :] = dout[row] * y[row, :]."""
    row = tl.program_id(1)
    first = tl.program_id(0) * BLOCK
    start = row.to(tl.int64) * n + first
    lanes = tl.arange(0, BLOCK)
    mask = lanes < n - first
    v = tl.load(y + start + lanes, mask=mask, other=0).to(ACC) * tl.load(dout + row).to(ACC)
    tl.store(dx + start + lanes, v.to(dx.dtype.element_ty), mask=mask)
