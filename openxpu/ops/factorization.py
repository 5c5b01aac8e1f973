# LU, Cholesky and QR factors in batches, triangular solves, and what follows from them: solve, inverse, determinants.
"""A factorization goes block by block: a panel of columns by one program for each matrix (kernels/factorization.py), then
the rest of the matrix by matrix products. Up to a panel's width there is nothing but the panel. LU and QR factors
lie in a workspace as transposed matrices (`Factors`)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from openxpu.ops.compare import plan_where
from openxpu.ops.creation import plan_full, plan_triangle
from openxpu.ops.diagonal import diagonal_view
from openxpu.ops.layout import part, plan_copy
from openxpu.ops.matmul import plan_product
from openxpu.ops.plan import PlanBuilder, Tensor
from openxpu.ops.pointwise import plan_map
from openxpu.ops.reduce import plan_sum, power_of_two

PANEL = 32  # columns of a panel, when the matrix has more than SMALL
SMALL = 64  # columns up to which a matrix is one panel
LANES = 64  # columns of a right side that one program solves for


def transposed(t: Tensor) -> Tensor:
    return t.permute(*range(t.ndim - 2), t.ndim - 1, t.ndim - 2)


def box(t: Tensor, rows: slice, columns: slice) -> Tensor:
    """Rows and columns start:stop of the last two dimensions."""
    r0, r1, _ = rows.indices(t.shape[-2])
    c0, c1, _ = columns.indices(t.shape[-1])
    return part(part(t, t.ndim - 2, r0, max(r1 - r0, 0)), t.ndim - 1, c0, max(c1 - c0, 0))


def batched(t: Tensor) -> Tensor:
    """A contiguous tensor as [matrices, rows, columns]."""
    return t.reshape(math.prod(t.shape[:-2]), *t.shape[-2:])


def blocks(n: int) -> list[tuple[int, int]]:
    """First and last column of each panel."""
    if n <= SMALL:
        return [(0, n)] if n else []
    width = PANEL if n < 512 else 2 * PANEL
    return [(first, min(first + width, n)) for first in range(0, n, width)]


def line(n: int) -> int:
    """Lanes for loops along columns of n elements."""
    return min(max(power_of_two(n), 16), 1024)


# ---- triangular systems ----


def plan_triangular(b: PlanBuilder, t: Tensor, x: Tensor, upper: bool, unit: bool) -> None:
    """x[m] = the inverse of the triangle in t[m] times x[m], in place; the rows of x are contiguous."""
    matrices, n, columns = x.shape
    if x.numel == 0:
        return
    lanes = min(LANES, max(power_of_two(columns), 16))
    ranges = blocks(n)
    for first, last in reversed(ranges) if upper else ranges:
        own = part(x, 1, first, last - first)
        known = slice(last, n) if upper else slice(0, first)
        if known.start < known.stop:
            left = box(t, slice(first, last), known)
            plan_product(b, left, part(x, 1, known.start, known.stop - known.start), own, own, -1.0, 1.0)
        b.launch(
            "factorization.triangular_block", (-(-columns // lanes), matrices),
            box(t, slice(first, last), slice(first, last)), own, last - first, columns,
            t.strides[0] if t.shape[0] > 1 else 0, t.strides[1], t.strides[2], x.strides[0], x.strides[1],
            cost=(last - first) ** 2 * columns * matrices * x.itemsize, UPPER=upper, UNIT=unit, BLOCK=lanes,
        )  # fmt: skip


def broadcast_batch(b: PlanBuilder, t: Tensor, batch: Sequence[int]) -> Tensor:
    """t as [matrices, rows, columns] of a broadcast batch: a view where one stride steps through it, else a copy."""
    if math.prod(t.shape[:-2]) == 1:
        return t.view((math.prod(batch), *t.shape[-2:]), (0, *t.strides[-2:]))
    if t.shape[:-2] == tuple(batch) and t.contiguous:
        return batched(t)
    full = b.scratch((*batch, *t.shape[-2:]), t.dtype)
    plan_copy(b, t, full)
    return batched(full)


def plan_triangular_solve(
    b: PlanBuilder, t: Tensor, y: Tensor, out: Tensor, upper: bool, transpose: bool, unit: bool
) -> None:
    """out = the inverse of a triangle (or of its transpose) times y; batches are broadcast."""
    plan_copy(b, y, out)
    triangle = broadcast_batch(b, t, out.shape[:-2])
    if transpose:
        triangle, upper = transposed(triangle), not upper
    plan_triangular(b, triangle, batched(out), upper, unit)


def plan_reduced(b: PlanBuilder, total: Tensor, out: Tensor) -> None:
    """out = total, summed over the batches in which out was broadcast."""
    shape = (1,) * (total.ndim - out.ndim) + out.shape
    axes = tuple(d for d in range(total.ndim) if shape[d] == 1 and total.shape[d] != 1)
    if axes:
        plan_sum(b, total, out, axes)
    else:
        plan_copy(b, total, out.reshape(*total.shape))


def _masked(b: PlanBuilder, x: Tensor, upper: bool, unit: bool) -> None:
    """Keeps one triangle, without the diagonal when that is all ones."""
    plan_triangle(b, x, x, (1 if upper else -1) if unit else 0, not upper)


def plan_triangular_solve_grad(
    b: PlanBuilder,
    t: Tensor,
    out: Tensor,
    d: Tensor,
    dt: Tensor | None,
    dy: Tensor | None,
    upper: bool,
    transpose: bool,
    unit: bool,
) -> None:
    """dy = op(t)^-T d, dt = the triangle of -dy out^T, transposed where t was."""
    dy_full = b.scratch(out.shape, out.dtype)
    plan_triangular_solve(b, t, d, dy_full, upper, not transpose, unit)
    if dy is not None:
        plan_reduced(b, dy_full, dy)
    if dt is not None:
        full = b.scratch((*out.shape[:-2], *t.shape[-2:]), out.dtype)
        pair = (out, dy_full) if transpose else (dy_full, out)
        plan_product(b, pair[0], transposed(pair[1]), full, None, -1.0)
        _masked(b, full, upper, unit)
        plan_reduced(b, full, dt)


# ---- LU ----


@dataclass(frozen=True)
class Factors:
    """L and U of `rows` x `columns` matrices with swapped rows, in w[matrix, column, row]; pivots count from 1."""

    w: Tensor
    pivots: Tensor
    infos: Tensor

    @property
    def matrix(self) -> Tensor:
        """The factors as [matrices, rows, columns]."""
        return transposed(self.w)


def plan_factors(
    b: PlanBuilder, x: Tensor, pivots: Tensor | None = None, infos: Tensor | None = None
) -> Factors:
    """The LU factors of x[..., m, n] with partial pivoting."""
    matrices, (m, n) = math.prod(x.shape[:-2]), x.shape[-2:]
    steps = min(m, n)
    full = b.scratch((*x.shape[:-2], n, m), x.dtype)
    plan_copy(b, transposed(x), full)
    w = full.reshape(matrices, n, m)
    pivots = b.scratch((matrices, steps), "i32") if pivots is None else pivots.reshape(matrices, steps)
    infos = b.scratch((matrices,), "i32") if infos is None else infos.reshape(matrices)
    b.zero(infos)
    factors = Factors(w, pivots, infos)
    if w.numel == 0:
        return factors
    for first, last in blocks(steps):
        b.launch(
            "factorization.lu_panel", matrices, w, pivots, infos, m, first, last, m, m * n, steps,
            cost=matrices * (m - first) * (last - first) ** 2 * 8, BLOCK=line(m - first),
        )  # fmt: skip
        if last - first == n:
            break
        each = max(8, -(-n // 16))
        b.launch(
            "factorization.lu_columns", (-(-n // each), matrices), w, pivots, n, first, last, m, m * n, steps, each,
            cost=matrices * n * (last - first) ** 2 * 8, BLOCK=power_of_two(last - first),
        )  # fmt: skip
        if last < n and last < m:
            rest = box(w, slice(last, n), slice(last, m))
            above = box(w, slice(last, n), slice(first, last))
            left = box(w, slice(first, last), slice(last, m))
            plan_product(b, above, left, rest, rest, -1.0, 1.0)
    return factors


def plan_lu(b: PlanBuilder, x: Tensor, out: Tensor, pivots: Tensor, infos: Tensor) -> None:
    """Both factors in one matrix, the row swaps (from 1), and the number of the first zero pivot or 0."""
    factors = plan_factors(b, x, pivots, infos)
    plan_copy(b, factors.matrix, batched(out))


def plan_swaps(b: PlanBuilder, pivots: Tensor, x: Tensor, backward: bool = False) -> None:
    """The row swaps of a factorization on x[matrix], whose rows are contiguous."""
    matrices, _, columns = x.shape
    block = min(256, max(power_of_two(columns), 16))
    if x.numel:
        b.launch(
            "factorization.swap_rows", (-(-columns // block), matrices), x, pivots, pivots.shape[-1], columns,
            x.strides[0], x.strides[1], pivots.shape[-1], cost=4 * x.nbytes, BACKWARD=backward, BLOCK=block,
        )  # fmt: skip


def plan_factored_solve(
    b: PlanBuilder, lu: Tensor, pivots: Tensor, x: Tensor, transpose: bool = False
) -> None:
    """x[m] = the inverse of the factored matrix (or of its transpose) times x[m], in place."""
    if transpose:
        plan_triangular(b, transposed(lu), x, False, False)
        plan_triangular(b, transposed(lu), x, True, True)
        plan_swaps(b, pivots, x, backward=True)
    else:
        plan_swaps(b, pivots, x)
        plan_triangular(b, lu, x, False, True)
        plan_triangular(b, lu, x, True, False)


def plan_regular(b: PlanBuilder, factors: Factors) -> None:
    """The call fails, when its results are waited for, if one of the matrices has no inverse."""
    count = factors.w.shape[0]
    b.launch("factorization.regular", -(-count // 256), factors.infos, count, cost=4 * count, BLOCK=256)


def plan_solve(b: PlanBuilder, a: Tensor, y: Tensor, out: Tensor, transpose: bool = False) -> None:
    """out = a^-1 y (or a^-T y) for matrices; batches are broadcast."""
    if out.numel == 0:
        return
    plan_copy(b, y, out)
    x = batched(out)
    factors = plan_factors(b, a)
    if factors.w.shape[0] != x.shape[0]:
        if factors.w.shape[0] == 1:
            # One matrix for all: their right sides stand side by side.
            wide = b.scratch((1, x.shape[1], x.shape[0] * x.shape[2]), x.dtype)
            plan_regular(b, factors)
            view = wide.view((x.shape[1], x.shape[0], x.shape[2]))
            plan_copy(b, x.permute(1, 0, 2), view)
            plan_factored_solve(b, factors.matrix, factors.pivots, wide, transpose)
            plan_copy(b, view.permute(1, 0, 2), x)
            return
        full = b.scratch((*out.shape[:-2], *a.shape[-2:]), a.dtype)
        plan_copy(b, a, full)
        factors = plan_factors(b, full)
    plan_regular(b, factors)
    plan_factored_solve(b, factors.matrix, factors.pivots, x, transpose)


def plan_solve_grad(
    b: PlanBuilder, a: Tensor, out: Tensor, d: Tensor, da: Tensor | None, dy: Tensor | None
) -> None:
    """dy = a^-T d, da = -dy out^T."""
    dy_full = b.scratch(out.shape, out.dtype)
    plan_solve(b, a, d, dy_full, transpose=True)
    if dy is not None:
        plan_reduced(b, dy_full, dy)
    if da is not None:
        full = b.scratch((*out.shape[:-2], *a.shape[-2:]), out.dtype)
        plan_product(b, dy_full, transposed(out), full, None, -1.0)
        plan_reduced(b, full, da)


def plan_identity(b: PlanBuilder, out: Tensor) -> None:
    """The identity in every matrix of a contiguous tensor."""
    b.zero(out)
    diagonal = diagonal_view(out, 0, out.ndim - 2, out.ndim - 1)
    plan_full(b, diagonal, 1.0)


def plan_inverse(
    b: PlanBuilder, x: Tensor, out: Tensor, transpose: bool = False, checked: bool = True
) -> None:
    """The inverse of each matrix, or its transpose. A matrix that has none ends the call, when `checked`."""
    if out.numel == 0:
        return
    plan_identity(b, out)
    factors = plan_factors(b, x)
    if checked:
        plan_regular(b, factors)
    plan_factored_solve(b, factors.matrix, factors.pivots, batched(out), transpose)


def plan_inverse_grad(b: PlanBuilder, out: Tensor, d: Tensor, dx: Tensor) -> None:
    half = b.scratch(out.shape, out.dtype)
    plan_product(b, transposed(out), d, half, None, -1.0)
    plan_product(b, half, transposed(out), dx)


def plan_determinant(b: PlanBuilder, x: Tensor, out: Tensor) -> None:
    """The determinant of each matrix, from its LU factors."""
    _plan_determinant(b, x, None, None, out)


def plan_slogdet(b: PlanBuilder, x: Tensor, sign: Tensor, logarithm: Tensor) -> None:
    """The sign of each determinant, and the logarithm of its magnitude."""
    _plan_determinant(b, x, sign, logarithm, None)


def _plan_determinant(
    b: PlanBuilder, x: Tensor, sign: Tensor | None, logarithm: Tensor | None, product: Tensor | None
) -> None:
    matrices, n = math.prod(x.shape[:-2]), x.shape[-1]
    if matrices == 0:
        return
    if n == 0:
        for target, value in ((sign, 1.0), (logarithm, 0.0), (product, 1.0)):
            if target is not None:
                plan_full(b, target, value)
        return
    factors = plan_factors(b, x)
    b.launch(
        "factorization.determinant", matrices, factors.w, factors.pivots, sign, logarithm, product, n, n, n * n, n,
        cost=matrices * n * 16, LOGARITHM=product is None,
    )  # fmt: skip


def plan_determinant_grad(b: PlanBuilder, x: Tensor, out: Tensor, d: Tensor, dx: Tensor) -> None:
    """d out x^-T; zeros for a matrix whose determinant is zero, as Paddle has it."""
    if dx.numel == 0:
        return
    inverse = b.scratch(x.shape, x.dtype)
    plan_inverse(b, x, inverse, transpose=True, checked=False)
    each = (*x.shape[:-2], 1, 1)
    factor = b.scratch(out.shape, out.dtype)
    plan_map(b, "elementwise.multiply", [out, d], factor)
    zero = b.scratch((), out.dtype)
    b.zero(zero)
    plan_map(b, "elementwise.multiply", [inverse, factor.reshape(*each)], dx)
    regular = b.scratch(out.shape, "bool")
    plan_map(b, "compare.not_equal", [out, zero], regular)
    plan_where(b, regular.reshape(*each), dx, zero, dx)


def plan_slogdet_grad(b: PlanBuilder, x: Tensor, d: Tensor, dx: Tensor) -> None:
    """d x^-T."""
    if dx.numel == 0:
        return
    inverse = b.scratch(x.shape, x.dtype)
    plan_inverse(b, x, inverse, transpose=True, checked=False)
    plan_map(b, "elementwise.multiply", [inverse, d.reshape(*x.shape[:-2], 1, 1)], dx)


def plan_permutation(b: PlanBuilder, pivots: Tensor, out: Tensor) -> None:
    """The matrix P with P L U = A, from row swaps."""
    m = out.shape[-1]
    matrices, steps = math.prod(out.shape[:-2]), pivots.shape[-1]
    b.zero(out)
    if out.numel == 0:
        return
    order = b.scratch((matrices, m), "i32")
    b.launch("factorization.permutation", matrices, pivots, order, m, steps, m, cost=matrices * m * 32)
    b.launch("factorization.permutation_matrix", matrices, order, out, m, cost=matrices * m * 32)


def plan_lu_unpack(
    b: PlanBuilder, lu: Tensor, pivots: Tensor, p: Tensor | None, lower: Tensor | None, upper: Tensor | None
) -> None:
    """P, L with its ones, and U."""
    k = min(lu.shape[-2:])
    if p is not None:
        plan_permutation(b, pivots, p)
    if lower is not None and lower.numel:
        plan_copy(b, box(lu, slice(None), slice(0, k)), lower)
        plan_triangle(b, lower, lower, -1, True)
        plan_full(b, diagonal_view(lower, 0, lower.ndim - 2, lower.ndim - 1), 1.0)
    if upper is not None and upper.numel:
        plan_copy(b, box(lu, slice(0, k), slice(None)), upper)
        plan_triangle(b, upper, upper, 0, False)


def plan_lu_unpack_grad(b: PlanBuilder, dl: Tensor | None, du: Tensor | None, dx: Tensor) -> None:
    """The strict lower triangle of dl and the upper triangle of du."""
    if dx.numel == 0:
        return
    b.zero(dx)
    for d, diagonal, lower in ((dl, -1, True), (du, 0, False)):
        if d is None or d.numel == 0:
            continue
        triangle = b.scratch(d.shape, d.dtype)
        plan_triangle(b, d, triangle, diagonal, lower)
        place = box(dx, slice(0, d.shape[-2]), slice(0, d.shape[-1]))
        plan_map(b, "elementwise.add", [place, triangle], place)


def plan_lu_grad(b: PlanBuilder, lu: Tensor, pivots: Tensor, d: Tensor, dx: Tensor) -> None:
    """With d's triangles dL and dU: P L^-T [tril(L^T dL - dU U^T, -1) + triu(dU U^T - L^T dL)] U^-T for a square matrix, and
    the same with what stands beside it for others. Source: the differential of P A = L U, solved for dA."""
    if dx.numel == 0:
        return
    m, n = lu.shape[-2:]
    k = min(m, n)
    x, g, out = batched(lu), batched(d), batched(dx)
    matrices = x.shape[0]
    lower = b.scratch((matrices, m, k), x.dtype)
    upper = b.scratch((matrices, k, n), x.dtype)
    plan_lu_unpack(b, x, pivots, None, lower, upper)
    g_lower, g_upper = b.scratch(lower.shape, x.dtype), b.scratch(upper.shape, x.dtype)
    plan_copy(b, box(g, slice(None), slice(0, k)), g_lower)
    plan_triangle(b, g_lower, g_lower, -1, True)
    plan_copy(b, box(g, slice(0, k), slice(None)), g_upper)
    plan_triangle(b, g_upper, g_upper, 0, False)
    l_square, u_square = box(lower, slice(0, k), slice(None)), box(upper, slice(None), slice(0, k))
    from_lower, from_upper = b.scratch((matrices, k, k), x.dtype), b.scratch((matrices, k, k), x.dtype)
    plan_product(b, transposed(l_square), box(g_lower, slice(0, k), slice(None)), from_lower)
    plan_product(b, box(g_upper, slice(None), slice(0, k)), transposed(u_square), from_upper)
    if m > n:
        below, g_below = box(lower, slice(k, m), slice(None)), box(g_lower, slice(k, m), slice(None))
        plan_product(b, transposed(below), g_below, from_upper, from_upper, -1.0, 1.0)
    elif n > m:
        right, g_right = box(upper, slice(None), slice(k, n)), box(g_upper, slice(None), slice(k, n))
        plan_product(b, g_right, transposed(right), from_lower, from_lower, -1.0, 1.0)
    plan_triangle(b, from_lower, from_lower, -1, True)
    plan_triangle(b, from_upper, from_upper, 0, False)
    middle = b.scratch((matrices, k, k), x.dtype)
    plan_map(b, "elementwise.add", [from_lower, from_upper], middle)
    turned = b.scratch((matrices, k, k), x.dtype)
    if m <= n:
        plan_copy(b, transposed(middle), turned)
        plan_triangular(b, u_square, turned, True, False)
        plan_copy(b, transposed(turned), box(out, slice(None), slice(0, k)))
        if n > k:
            plan_copy(b, box(g_upper, slice(None), slice(k, n)), box(out, slice(None), slice(k, n)))
        plan_triangular(b, transposed(l_square), out, True, True)
    else:
        plan_triangular(b, transposed(l_square), middle, True, True)
        psi = b.scratch((matrices, n, m), x.dtype)
        plan_copy(b, transposed(middle), box(psi, slice(None), slice(0, k)))
        plan_copy(b, transposed(box(g_lower, slice(k, m), slice(None))), box(psi, slice(None), slice(k, m)))
        plan_triangular(b, u_square, psi, True, False)
        plan_copy(b, transposed(psi), out)
    plan_swaps(b, pivots.reshape(matrices, k), out, backward=True)


def plan_lu_solve(
    b: PlanBuilder, y: Tensor, lu: Tensor, pivots: Tensor, out: Tensor, transpose: bool
) -> None:
    """out = the inverse of the factored matrix times y."""
    if out.numel == 0:
        return
    plan_copy(b, y, out)
    factors = broadcast_batch(b, lu, out.shape[:-2])
    swaps = pivots
    if factors.strides[0] == 0 and math.prod(out.shape[:-2]) > 1:
        swaps = b.scratch((*out.shape[:-2], pivots.shape[-1]), pivots.dtype)
        plan_copy(b, pivots, swaps)
    plan_factored_solve(b, factors, swaps.reshape(-1, pivots.shape[-1]), batched(out), transpose)


def plan_lu_solve_grad(
    b: PlanBuilder,
    lu: Tensor,
    pivots: Tensor,
    out: Tensor,
    d: Tensor,
    dy: Tensor | None,
    dlu: Tensor | None,
    transpose: bool,
) -> None:
    """z, the gradient of y, solves the transposed system. With M = P^T dA, dA = -z out^T (or -out z^T): the strict lower
    triangle of M U^T and the upper triangle of L^T M."""
    z = b.scratch(out.shape, out.dtype)
    plan_lu_solve(b, d, lu, pivots, z, not transpose)
    if dy is not None:
        plan_reduced(b, z, dy)
    if dlu is None or dlu.numel == 0:
        return
    n = lu.shape[-1]
    swapped = b.scratch(out.shape, out.dtype)
    plan_copy(b, out if transpose else z, swapped)
    swaps = b.scratch((*out.shape[:-2], n), pivots.dtype)
    plan_copy(b, pivots, swaps)
    plan_swaps(b, swaps.reshape(-1, n), batched(swapped))
    whole, left, right = (b.scratch((*out.shape[:-2], n, n), out.dtype) for _ in range(3))
    plan_product(b, swapped, transposed(z if transpose else out), whole, None, -1.0)
    lower, upper = b.scratch(lu.shape, lu.dtype), b.scratch(lu.shape, lu.dtype)
    plan_lu_unpack(b, lu, pivots, None, lower, upper)
    plan_product(b, whole, transposed(upper), left)
    plan_product(b, transposed(lower), whole, right)
    plan_triangle(b, left, left, -1, True)
    plan_triangle(b, right, right, 0, False)
    plan_map(b, "elementwise.add", [left, right], left)
    plan_reduced(b, left, dlu)


# ---- Cholesky ----


def plan_upper_factor(b: PlanBuilder, w: Tensor) -> None:
    """w[m] becomes U with U^T U = w[m] above its diagonal; below stays what was there."""
    matrices, n, _ = w.shape
    for first, last in blocks(n):
        width = last - first
        corner = box(w, slice(first, last), slice(first, last))
        b.launch(
            "factorization.cholesky_block", matrices, corner, width, n * n, n, cost=matrices * width**3 * 4,
            BLOCK=max(power_of_two(width), 16),
        )  # fmt: skip
        if last == n:
            return
        beside = box(w, slice(first, last), slice(last, n))
        plan_triangular(b, transposed(corner), beside, False, False)
        for top in range(last, n, 256):  # what lies left of the diagonal is not needed
            bottom = min(top + 256, n)
            rest = box(w, slice(top, bottom), slice(top, n))
            left, right = part(beside, 2, top - last, bottom - top), part(beside, 2, top - last, n - top)
            plan_product(b, transposed(left), right, rest, rest, -1.0, 1.0)


def plan_cholesky(b: PlanBuilder, x: Tensor, out: Tensor, upper: bool) -> None:
    """L with L L^T = x, or U with U^T U = x; only that triangle of x is read."""
    if out.numel == 0:
        return
    if upper:
        plan_copy(b, x, out)
        plan_upper_factor(b, batched(out))
        plan_triangle(b, out, out, 0, False)
        return
    w = b.scratch(x.shape, x.dtype)
    plan_copy(b, transposed(x), w)
    plan_upper_factor(b, batched(w))
    plan_copy(b, transposed(w), out)
    plan_triangle(b, out, out, 0, True)


def plan_cholesky_grad(b: PlanBuilder, out: Tensor, d: Tensor, dx: Tensor, upper: bool) -> None:
    """L^-T sym(phi(L^T dL)) L^-1, phi the lower triangle with half the diagonal.
    Source: Murray, Differentiation of the Cholesky decomposition, 2016."""
    if dx.numel == 0:
        return
    factor, gradient = batched(out), batched(d)
    if upper:
        factor, gradient = transposed(factor), transposed(gradient)
    shape = batched(out).shape
    phi, both = b.scratch(shape, out.dtype), b.scratch(shape, out.dtype)
    plan_product(b, transposed(factor), gradient, phi)
    plan_triangle(b, phi, phi, 0, True)
    diagonal = diagonal_view(phi, 0, 1, 2)
    plan_map(b, "elementwise.multiply_scalar", [diagonal], diagonal, [0.5])
    plan_map(b, "factorization.half_sum", [phi, transposed(phi)], both)
    plan_triangular(b, transposed(factor), both, True, False)
    turned = batched(dx)
    plan_copy(b, transposed(both), turned)
    plan_triangular(b, transposed(factor), turned, True, False)


def plan_cholesky_solve(b: PlanBuilder, y: Tensor, factor: Tensor, out: Tensor, upper: bool) -> None:
    """out = (L L^T)^-1 y or (U^T U)^-1 y."""
    if out.numel == 0:
        return
    plan_copy(b, y, out)
    triangle, x = broadcast_batch(b, factor, out.shape[:-2]), batched(out)
    lower = transposed(triangle) if upper else triangle
    plan_triangular(b, lower, x, False, False)
    plan_triangular(b, transposed(lower), x, True, False)


def plan_cholesky_solve_grad(
    b: PlanBuilder,
    factor: Tensor,
    out: Tensor,
    d: Tensor,
    dy: Tensor | None,
    dfactor: Tensor | None,
    upper: bool,
) -> None:
    """dy = (L L^T)^-1 d; dL = -(dy out^T + out dy^T) L, dU = -U (dy out^T + out dy^T)."""
    full = b.scratch(out.shape, out.dtype)
    plan_cholesky_solve(b, d, factor, full, upper)
    if dy is not None:
        plan_reduced(b, full, dy)
    if dfactor is None:
        return
    n = factor.shape[-1]
    outer, both = (b.scratch((*out.shape[:-2], n, n), out.dtype) for _ in range(2))
    plan_product(b, full, transposed(out), outer)
    plan_map(b, "elementwise.add", [outer, transposed(outer)], both)
    total = b.scratch(both.shape, out.dtype)
    triangle = b.scratch(factor.shape, factor.dtype)
    plan_triangle(b, factor, triangle, 0, not upper)
    if upper:
        plan_product(b, triangle, both, total, None, -1.0)
    else:
        plan_product(b, both, triangle, total, None, -1.0)
    plan_triangle(b, total, total, 0, not upper)
    plan_reduced(b, total, dfactor)


# ---- QR ----

# Beyond 2^limit in either direction, matrices are scaled by 2^shift.
_RANGE = {"f32": (50, 90), "f64": (400, 700)}


def plan_scaled(b: PlanBuilder, w: Tensor) -> Tensor:
    """Brings each matrix of a contiguous w[matrix, ...] into a range in which squares can be summed, in place. The result
    [matrix] multiplies what grows with the matrix (triangles, singular values) back."""
    matrices = w.shape[0]
    size = w.numel // max(matrices, 1)
    restore = b.scratch((matrices,), w.dtype)
    limit, shift = _RANGE[w.dtype]
    b.launch(
        "factorization.scale_matrix", matrices, w, restore, size, cost=2 * w.nbytes,
        LOW=2.0**-limit, HIGH=2.0**limit, DOWN=2.0**-shift, UP=2.0**shift, BLOCK=line(size),
    )  # fmt: skip
    return restore


@dataclass(frozen=True)
class Reflectors:
    """Householder vectors below a diagonal of w[matrix, column, row] (below the one under it for `shift` 1): v_k begins with a
    one at row k + shift, which is not stored. `tau` scales them."""

    w: Tensor
    tau: Tensor
    shift: int = 0
    restore: Tensor | None = None  # what the triangle has to be multiplied by

    @property
    def count(self) -> int:
        return self.tau.shape[-1]

    def panel(self, b: PlanBuilder, first: int, last: int) -> tuple[Tensor, Tensor]:
        """Vectors first..last as rows from row first + shift on, and t (transposed) of their compact form."""
        matrices, _, ld = self.w.shape
        width, length = last - first, ld - first - self.shift
        v = b.scratch((matrices, width, length), self.w.dtype)
        corner = box(self.w, slice(first, last), slice(first + self.shift, ld))
        b.launch(
            "factorization.reflectors", (width, matrices), corner, v, length, ld, self.w.strides[0], width * length,
            cost=2 * v.nbytes, BLOCK=line(length),
        )  # fmt: skip
        gram, t = (b.scratch((matrices, width, width), self.w.dtype) for _ in range(2))
        plan_product(b, v, transposed(v), gram)
        b.launch(
            "factorization.compact_reflectors", matrices, gram, part(self.tau, 1, first, width), t, width,
            self.tau.strides[0], width * width, cost=matrices * width**3 * 8, BLOCK=max(power_of_two(width), 16),
        )  # fmt: skip
        return v, t

    def plan_apply(self, b: PlanBuilder, x: Tensor, rows: bool = False) -> None:
        """Rows of x[matrix] (each a vector) become H_0 H_1 ... times them. `rows`: row k is nonzero from k on only, as of an
        identity, so that a block of reflectors leaves the rows before it alone."""
        for first, last in reversed(blocks(self.count)):
            v, t = self.panel(b, first, last)
            start = first + self.shift
            target = box(x, slice(start if rows else 0, x.shape[1]), slice(start, x.shape[2]))
            _plan_reflect(b, target, v, transposed(t), transposed(v))


def _plan_reflect(b: PlanBuilder, x: Tensor, v: Tensor, t: Tensor, v_transposed: Tensor) -> None:
    """x -= ((x v^T) t^T) v, t given transposed."""
    if x.numel == 0:
        return
    half, whole = (b.scratch((x.shape[0], x.shape[1], v.shape[1]), x.dtype) for _ in range(2))
    plan_product(b, x, v_transposed, half)
    plan_product(b, half, transposed(t), whole)
    plan_product(b, whole, v, x, x, -1.0, 1.0)


def plan_reflectors(b: PlanBuilder, x: Tensor) -> Reflectors:
    """QR of x[..., m, n]: R on and above the diagonal of the result, reflectors below."""
    matrices, (m, n) = math.prod(x.shape[:-2]), x.shape[-2:]
    k = min(m, n)
    full = b.scratch((*x.shape[:-2], n, m), x.dtype)
    plan_copy(b, transposed(x), full)
    w = full.reshape(matrices, n, m)
    found = Reflectors(w, b.scratch((matrices, k), x.dtype), 0, plan_scaled(b, w))
    for first, last in blocks(k):
        b.launch(
            "factorization.qr_panel", matrices, w, found.tau, m, first, last, m, m * n, k,
            cost=matrices * (m - first) * (last - first) ** 2 * 8, BLOCK=line(m - first),
        )  # fmt: skip
        if last < n:
            v, t = found.panel(b, first, last)
            # H_k ... H_1 H_0 from the left: the transposed product.
            _plan_reflect(b, box(w, slice(last, n), slice(first, m)), v, t, transposed(v))
    return found


def plan_qr(b: PlanBuilder, x: Tensor, q: Tensor | None, r: Tensor) -> None:
    """Q (all of it or its first columns, by its shape) and R, with the signs that Householder's method gives."""
    m, _n = x.shape[-2:]
    if x.numel == 0:
        if q is not None and q.numel:
            plan_identity(b, q)
        return
    found = plan_reflectors(b, x)
    rows = r.shape[-2]
    assert found.restore is not None
    triangle = box(transposed(found.w), slice(0, rows), slice(None))
    plan_map(b, "elementwise.multiply", [triangle, found.restore.reshape(-1, 1, 1)], batched(r))
    plan_triangle(b, r, r, 0, False)
    if q is not None:
        columns = q.shape[-1]
        basis = b.scratch((found.w.shape[0], columns, m), x.dtype)
        plan_identity(b, basis)
        found.plan_apply(b, basis, rows=True)
        plan_copy(b, transposed(basis), batched(q))


def _square_qr_grad(
    b: PlanBuilder, q: Tensor, r: Tensor, dq: Tensor | None, dr: Tensor | None, out: Tensor
) -> None:
    """(dq + q copyltu(r dr^T - dq^T q)) r^-T for r of n x n."""
    matrices, n = r.shape[0], r.shape[-1]
    inner, other = (b.scratch((matrices, n, n), q.dtype) for _ in range(2))
    if dr is not None:
        plan_product(b, r, transposed(dr), inner)
        if dq is not None:
            plan_product(b, transposed(dq), q, inner, inner, -1.0, 1.0)
    elif dq is not None:
        plan_product(b, transposed(dq), q, inner, None, -1.0)
    plan_triangle(b, inner, inner, 0, True)
    strict = b.scratch((matrices, n, n), q.dtype)
    plan_triangle(b, inner, strict, -1, True)
    plan_map(b, "elementwise.add", [inner, transposed(strict)], other)
    right = b.scratch(q.shape, q.dtype)
    if dq is None:
        plan_product(b, q, other, right)
    else:
        plan_product(b, q, other, right, dq)
    turned = b.scratch((matrices, n, q.shape[1]), q.dtype)
    plan_copy(b, transposed(right), turned)
    plan_triangular(b, r, turned, True, False)
    plan_copy(b, transposed(turned), out)


def plan_qr_grad(
    b: PlanBuilder, x: Tensor, q: Tensor, r: Tensor, dq: Tensor | None, dr: Tensor | None, dx: Tensor
) -> None:
    """Of the reduced factors. Source: Walter and Lehmann, Algorithmic differentiation of linear algebra functions, 2018; for
    wide matrices the part beside the square one follows from x2 = q r2."""
    if dx.numel == 0:
        return
    m, n = x.shape[-2:]
    out, basis, upper = batched(dx), batched(q), batched(r)
    gq = None if dq is None else batched(dq)
    gr = None if dr is None else batched(dr)
    if m >= n:
        _square_qr_grad(b, basis, upper, gq, gr, out)
        return
    beside = box(batched(x), slice(None), slice(m, n))
    left = None if gr is None else box(gr, slice(None), slice(0, m))
    if gr is not None:
        total = b.scratch(basis.shape, basis.dtype)
        g_beside = box(gr, slice(None), slice(m, n))
        if gq is None:
            plan_product(b, beside, transposed(g_beside), total)
        else:
            plan_product(b, beside, transposed(g_beside), total, gq)
        gq = total
        plan_product(b, basis, g_beside, box(out, slice(None), slice(m, n)))
    else:
        plan_full(b, box(out, slice(None), slice(m, n)), 0.0)
    _square_qr_grad(
        b, basis, box(upper, slice(None), slice(0, m)), gq, left, box(out, slice(None), slice(0, m))
    )


# ---- powers ----


def plan_matrix_power(b: PlanBuilder, x: Tensor, out: Tensor, n: int) -> None:
    """x multiplied by itself n times, by squaring; a negative n is that of the inverse."""
    if out.numel == 0:
        return
    if n == 0:
        plan_identity(b, out)
        return
    if n < 0:
        inverse = b.scratch(x.shape, x.dtype)
        plan_inverse(b, x, inverse)
        x, n = inverse, -n
    result: Tensor | None = None
    square = x
    while True:
        if n & 1:
            target = out if n == 1 else b.scratch(x.shape, x.dtype)
            if result is None:
                if n == 1:
                    plan_copy(b, square, out)
                else:
                    target = square
            else:
                plan_product(b, result, square, target)
            result = target
        n >>= 1
        if n == 0:
            return
        following = b.scratch(x.shape, x.dtype)
        plan_product(b, square, square, following)
        square = following


def plan_matrix_power_grad(b: PlanBuilder, x: Tensor, out: Tensor, d: Tensor, dx: Tensor, n: int) -> None:
    """The sum over i of x^T^i d x^T^(n - 1 - i); of a negative power, that of the inverse's, taken through the inverse."""
    if dx.numel == 0:
        return
    if n == 0:
        b.zero(dx)
        return
    base, target = x, dx
    if n < 0:
        base = b.scratch(x.shape, x.dtype)
        plan_inverse(b, x, base)
        target = b.scratch(x.shape, x.dtype)
    turned, count = transposed(base), abs(n)
    # total(k + 1) = total(k) x^T + x^T^k d
    plan_copy(b, d, target)
    left = d
    for _ in range(count - 1):
        following = b.scratch(x.shape, x.dtype)
        plan_product(b, turned, left, following)
        left = following
        total = b.scratch(x.shape, x.dtype)
        plan_product(b, target, turned, total, left)
        target = total
    if n > 0:
        if target is not dx:
            plan_copy(b, target, dx)
        return
    plan_inverse_grad(b, base, target, dx)
