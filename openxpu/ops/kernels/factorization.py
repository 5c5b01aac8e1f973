# Factors of matrices, one program a matrix: LU and QR panels, Cholesky blocks, triangular solves and what goes with them.
"""A panel is a few columns of a matrix that a planner takes apart by blocks; what is left of the matrix is updated by
matrix products. LU and QR work on the transposed matrix (`w[column * ld + row]`), so that columns are contiguous."""

import triton
import triton.language as tl


@triton.jit
def lu_panel(w, pivots, infos, m, first, last, ld, stride, steps, BLOCK: tl.constexpr):
    """Columns first..last of an m-row matrix: partial pivoting, rows swapped within the panel only. `pivots` get row
    numbers from 1, `infos` the number of the first zero pivot."""
    matrix = tl.program_id(0).to(tl.int64)
    base = w + matrix * stride
    pivots += matrix * steps
    lane = tl.arange(0, BLOCK)
    failed = tl.load(infos + matrix)
    for j in range(first, last):
        column = base + j * ld
        top = tl.abs(tl.load(column + j))
        place = j
        for start in range(j + 1, m, BLOCK):
            at = start + lane
            size = tl.abs(tl.load(column + at, mask=at < m, other=0.0))
            best = tl.max(size, axis=0)
            if best > top:
                top = best
                place = start + tl.argmax(size, axis=0)
        tl.store(pivots + j, place + 1)
        if place != j:
            for c in range(first, last):
                mine = tl.load(base + c * ld + j)
                other = tl.load(base + c * ld + place)
                tl.store(base + c * ld + j, other)
                tl.store(base + c * ld + place, mine)
        pivot = tl.load(column + j)
        if pivot == 0.0:
            if failed == 0:
                failed = j + 1
        else:
            for start in range(j + 1, m, BLOCK):
                at = start + lane
                mask = at < m
                tl.store(column + at, tl.load(column + at, mask=mask) / pivot, mask=mask)
            for c in range(j + 1, last):
                other_column = base + c * ld
                factor = tl.load(other_column + j)
                for start in range(j + 1, m, BLOCK):
                    at = start + lane
                    mask = at < m
                    below = tl.load(other_column + at, mask=mask) - factor * tl.load(column + at, mask=mask)
                    tl.store(other_column + at, below, mask=mask)
    tl.store(infos + matrix, failed)


@triton.jit
def lu_columns(w, pivots, n, first, last, ld, stride, steps, each, BLOCK: tl.constexpr):
    """The panel's swaps on the other columns; those right of it are also multiplied by the inverse of its unit lower
    triangle, at most BLOCK wide."""
    matrix = tl.program_id(1).to(tl.int64)
    base = w + matrix * stride
    pivots += matrix * steps
    begin = tl.program_id(0) * each
    lane = tl.arange(0, BLOCK)
    width = last - first
    for c in range(begin, tl.minimum(begin + each, n)):
        column = base + c * ld
        if (c < first) | (c >= last):
            for j in range(first, last):
                place = tl.load(pivots + j) - 1
                mine = tl.load(column + j)
                other = tl.load(column + place)
                tl.store(column + j, other)
                tl.store(column + place, mine)
            if c >= last:
                for j in range(0, width - 1):
                    factor = tl.load(column + first + j)
                    mask = (lane > j) & (lane < width)
                    lower = tl.load(base + (first + j) * ld + first + lane, mask=mask)
                    at = column + first + lane
                    tl.store(at, tl.load(at, mask=mask) - factor * lower, mask=mask)


@triton.jit
def regular(infos, count, BLOCK: tl.constexpr):
    """Fails where a factorization met a pivot of zero."""
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    info = tl.load(infos + at, mask=at < count, other=0)
    tl.device_assert(info == 0, "the matrix is not invertible")


@triton.jit
def swap_rows(x, pivots, n, columns, stride, row, steps, BACKWARD: tl.constexpr, BLOCK: tl.constexpr):
    """The swaps of an LU factorization on the rows of x, in their order or back."""
    matrix = tl.program_id(1).to(tl.int64)
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    mask = at < columns
    x += matrix * stride
    pivots += matrix * steps
    for step in range(0, n):
        j = step
        if BACKWARD:
            j = n - 1 - step
        place = tl.load(pivots + j) - 1
        if place != j:
            mine = tl.load(x + j * row + at, mask=mask)
            other = tl.load(x + place * row + at, mask=mask)
            tl.store(x + j * row + at, other, mask=mask)
            tl.store(x + place * row + at, mine, mask=mask)


@triton.jit
def triangular_block(
    t, x, n, columns, t_stride, t_row, t_column, x_stride, x_row,
    UPPER: tl.constexpr, UNIT: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """x = the inverse of a small triangle times x. A program owns BLOCK columns of one x."""
    matrix = tl.program_id(1).to(tl.int64)
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    mask = at < columns
    t += matrix * t_stride
    x += matrix * x_stride
    for step in range(0, n):
        i = step
        if UPPER:
            i = n - 1 - step
        total = tl.load(x + i * x_row + at, mask=mask)
        for s in range(0, step):
            j = s
            if UPPER:
                j = n - 1 - s
            total -= tl.load(t + i * t_row + j * t_column) * tl.load(x + j * x_row + at, mask=mask)
        if not UNIT:
            total /= tl.load(t + i * (t_row + t_column))
        tl.store(x + i * x_row + at, total, mask=mask)


@triton.jit
def cholesky_block(w, n, stride, ld, BLOCK: tl.constexpr):
    """The upper factor of a small matrix, n <= BLOCK, in place of its upper triangle."""
    w += tl.program_id(0).to(tl.int64) * stride
    lane = tl.arange(0, BLOCK)
    for i in range(0, n):
        pivot = tl.load(w + i * ld + i)
        tl.device_assert(pivot > 0.0, "cholesky: a leading minor of the matrix is not positive definite")
        mask = (lane >= i) & (lane < n)
        row = tl.load(w + i * ld + lane, mask=mask, other=0.0) / tl.sqrt(pivot)
        tl.store(w + i * ld + lane, row, mask=mask)
        for r in range(i + 1, n):
            factor = tl.load(w + i * ld + r)
            below = (lane >= r) & (lane < n)
            at = w + r * ld + lane
            own = tl.load(w + i * ld + lane, mask=below)
            tl.store(at, tl.load(at, mask=below) - factor * own, mask=below)


@triton.jit
def determinant(w, pivots, sign, logarithm, product, n, ld, stride, steps, LOGARITHM: tl.constexpr):
    """Of the product of a factored matrix: the diagonal's product, or its sign and the logarithm of its size."""
    matrix = tl.program_id(0).to(tl.int64)
    w += matrix * stride
    pivots += matrix * steps
    total = tl.load(w) * 0.0
    value = total + 1.0
    for i in range(0, n):
        pivot = tl.load(w + i * (ld + 1))
        if tl.load(pivots + i) != i + 1:
            value = -value
        if LOGARITHM:
            total += tl.log(tl.abs(pivot))
            if pivot < 0.0:
                value = -value
            if pivot == 0.0:
                value = value * 0.0
        else:
            value *= pivot
    if LOGARITHM:
        tl.store(sign + matrix, value)
        tl.store(logarithm + matrix, total)
    else:
        tl.store(product + matrix, value)


@triton.jit
def permutation(pivots, out, m, steps, stride):
    """Row numbers after the swaps of an LU factorization, and with them the matrix that undoes the swaps: one where
    `out[row, place]` says that row `row` of the product came from `place` of the factors."""
    matrix = tl.program_id(0).to(tl.int64)
    pivots += matrix * steps
    out += matrix * stride
    for i in range(0, m):
        tl.store(out + i, i)
    for j in range(0, steps):
        place = tl.load(pivots + j) - 1
        mine = tl.load(out + j)
        other = tl.load(out + place)
        tl.store(out + j, other)
        tl.store(out + place, mine)


@triton.jit
def permutation_matrix(order, out, m):
    """Zeros become the permutation matrix with a one at [order[place], place]."""
    matrix = tl.program_id(0).to(tl.int64)
    order += matrix * m
    out += matrix * m * m
    for place in range(0, m):
        row = tl.load(order + place)
        tl.store(out + row * m + place, (row * 0 + 1).to(out.dtype.element_ty))


@triton.jit
def half_sum(x, y):
    """Half of x + y, in that order of operations."""
    return 0.5 * (x + y)


# ---- Householder ----


@triton.jit
def scale_matrix(
    w, restore, size, LOW: tl.constexpr, HIGH: tl.constexpr, DOWN: tl.constexpr, UP: tl.constexpr, BLOCK: tl.constexpr
):  # fmt: skip
    """A matrix whose largest element is above HIGH or below LOW is multiplied by DOWN or UP (powers of two, DOWN = 1 / UP), so
    that sums of squares neither overflow nor vanish; `restore` gets what undoes it."""
    matrix = tl.program_id(0).to(tl.int64)
    w += matrix * size
    lane = tl.arange(0, BLOCK)
    stored = w.dtype.element_ty
    top = tl.full((), 0.0, stored)
    for start in range(0, size, BLOCK):
        at = start + lane
        top = tl.maximum(top, tl.max(tl.abs(tl.load(w + at, mask=at < size, other=0.0)), axis=0))
    factor = tl.full((), 1.0, stored)
    back = factor
    if top > tl.full((), HIGH, stored):
        factor = tl.full((), DOWN, stored)
        back = tl.full((), UP, stored)
    if (top < tl.full((), LOW, stored)) & (top > 0.0):
        factor = tl.full((), UP, stored)
        back = tl.full((), DOWN, stored)
    tl.store(restore + matrix, back)
    if factor != 1.0:
        for start in range(0, size, BLOCK):
            at = start + lane
            tl.store(w + at, tl.load(w + at, mask=at < size) * factor, mask=at < size)


@triton.jit
def qr_panel(w, tau, m, first, last, ld, stride, steps, BLOCK: tl.constexpr):
    """Columns first..last of an m-row matrix: reflectors below the diagonal, whose first elements are one and are not
    stored, and the triangle on and above it. The panel's own columns only."""
    matrix = tl.program_id(0).to(tl.int64)
    base = w + matrix * stride
    tau += matrix * steps
    lane = tl.arange(0, BLOCK)
    for j in range(first, last):
        column = base + j * ld
        alpha = tl.load(column + j)
        squares = alpha * 0.0
        for start in range(j + 1, m, BLOCK):
            at = start + lane
            x = tl.load(column + at, mask=at < m, other=0.0)
            squares += tl.sum(x * x, axis=0)
        factor = squares
        if squares != 0.0:
            beta = tl.sqrt(alpha * alpha + squares)
            if alpha >= 0.0:
                beta = -beta
            factor = (beta - alpha) / beta
            scale = 1.0 / (alpha - beta)
            for start in range(j + 1, m, BLOCK):
                at = start + lane
                mask = at < m
                tl.store(column + at, tl.load(column + at, mask=mask) * scale, mask=mask)
            tl.store(column + j, beta)
            for c in range(j + 1, last):
                other_column = base + c * ld
                head = tl.load(other_column + j)
                total = head
                for start in range(j + 1, m, BLOCK):
                    at = start + lane
                    mask = at < m
                    v = tl.load(column + at, mask=mask, other=0.0)
                    total += tl.sum(v * tl.load(other_column + at, mask=mask, other=0.0), axis=0)
                total *= factor
                tl.store(other_column + j, head - total)
                for start in range(j + 1, m, BLOCK):
                    at = start + lane
                    mask = at < m
                    v = tl.load(column + at, mask=mask, other=0.0)
                    tl.store(other_column + at, tl.load(other_column + at, mask=mask) - total * v, mask=mask)
        tl.store(tau + j, factor)


@triton.jit
def reflectors(w, v, length, ld, stride, v_stride, BLOCK: tl.constexpr):
    """Row k of v: k zeros, a one, and what stands below the diagonal of column k."""
    matrix = tl.program_id(1).to(tl.int64)
    k = tl.program_id(0)
    w += matrix * stride + k.to(tl.int64) * ld
    v += matrix * v_stride + k.to(tl.int64) * length
    for start in range(0, length, BLOCK):
        at = start + tl.arange(0, BLOCK)
        x = tl.load(w + at, mask=(at > k) & (at < length), other=0.0)
        tl.store(v + at, tl.where(at == k, 1.0, x), mask=at < length)


@triton.jit
def compact_reflectors(gram, tau, t, n, tau_stride, t_stride, BLOCK: tl.constexpr):
    """The upper triangle t with H_0 H_1 ... = 1 - V t V^T, from V^T V and the scalars of the reflectors; it is stored
    transposed, n <= BLOCK. Source: Schreiber and Van Loan, A storage-efficient WY representation, 1989."""
    matrix = tl.program_id(0).to(tl.int64)
    gram += matrix * n * n
    tau += matrix * tau_stride
    t += matrix * t_stride
    lane = tl.arange(0, BLOCK)
    mask = lane < n
    for j in range(0, n):
        factor = tl.load(tau + j)
        total = tl.load(gram + lane, mask=mask, other=0.0) * 0.0
        for k in range(0, j):
            total += tl.load(gram + k * n + j) * tl.load(t + k * n + lane, mask=mask, other=0.0)
        total = tl.where(lane == j, factor, tl.where(lane < j, -factor * total, 0.0))
        tl.store(t + j * n + lane, total, mask=mask)
