# Eigenvalues and eigenvectors of symmetric matrices, singular values and vectors, ranks; in batches, with gradients.
"""Both go the classical way: Householder reflectors to a band of two diagonals, implicit QR steps on the band which rotate the
rows of an identity along, values and rows sorted, and the reflectors applied to the rows by matrix products."""

from __future__ import annotations

from openxpu.ops.creation import plan_full, plan_triangle
from openxpu.ops.diagonal import diagonal_view
from openxpu.ops.factorization import Reflectors, batched, line, plan_identity, plan_scaled, transposed
from openxpu.ops.layout import part, plan_copy
from openxpu.ops.matmul import plan_product
from openxpu.ops.plan import PlanBuilder, Tensor
from openxpu.ops.pointwise import plan_map
from openxpu.ops.reduce import plan_max, plan_sum

EPSILON = {"f32": 2.0**-23, "f64": 2.0**-52}
STEPS = 64  # QR steps for each value; two or three are usual


def _sorted_rows(
    b: PlanBuilder, d: Tensor, values: Tensor, x: Tensor | None, out: Tensor | None, descending: bool
) -> None:
    """Sorted values, and the rows of x[matrix] that belong to them as the first rows of out[matrix]."""
    matrices, n = d.shape
    order = b.scratch((matrices, n), "i32")
    b.launch(
        "eigen.ranks",
        matrices,
        d,
        values,
        order,
        n,
        cost=matrices * n * n * 4,
        DESCENDING=descending,
        BLOCK=line(n),
    )
    if x is not None and out is not None:
        width = x.shape[2]
        b.launch(
            "eigen.take_rows", (n, matrices), x, order, out, n, width, x.strides[0], out.strides[0],
            cost=2 * x.nbytes, BLOCK=line(width),
        )  # fmt: skip


def _restored(b: PlanBuilder, values: Tensor, restore: Tensor) -> None:
    rows = values.reshape(restore.shape[0], -1)
    plan_map(b, "elementwise.multiply", [rows, restore.reshape(-1, 1)], rows)


# ---- symmetric matrices ----


def plan_eigh(b: PlanBuilder, x: Tensor, values: Tensor, vectors: Tensor | None, lower: bool) -> None:
    """Eigenvalues in ascending order, and eigenvectors as columns. Only one triangle of x is read."""
    n = x.shape[-1]
    if x.numel == 0:
        return
    w, half = b.scratch(x.shape, x.dtype), b.scratch(x.shape, x.dtype)
    plan_triangle(b, x, w, 0, lower)
    plan_triangle(b, x, half, -1 if lower else 1, lower)
    both = b.scratch(x.shape, x.dtype)
    plan_map(b, "elementwise.add", [w, transposed(half)], both)
    whole = batched(both)
    matrices = whole.shape[0]
    restore = plan_scaled(b, whole)
    d, e, tau, work = (b.scratch((matrices, n), x.dtype) for _ in range(4))
    b.launch(
        "eigen.tridiagonalize", matrices, whole, d, e, tau, work, n, cost=matrices * n**3 * 4, BLOCK=line(n)
    )
    rows = b.scratch((matrices, n, n), x.dtype) if vectors is not None else None
    if rows is not None:
        plan_identity(b, rows)
    b.launch(
        "eigen.tridiagonal_eigen", matrices, d, e, rows, n, STEPS * n, cost=matrices * n**3 * 8,
        EPSILON=EPSILON[x.dtype], VECTORS=vectors is not None, BLOCK=line(n),
    )  # fmt: skip
    taken = b.scratch((matrices, n, n), x.dtype) if rows is not None else None
    _sorted_rows(b, d, values, rows, taken, False)
    _restored(b, values, restore)
    if taken is not None and vectors is not None:
        Reflectors(whole, part(tau, 1, 0, n - 1), 1).plan_apply(b, taken)
        plan_copy(b, transposed(taken), batched(vectors))


def plan_eigh_grad(
    b: PlanBuilder,
    values: Tensor,
    vectors: Tensor,
    dvalues: Tensor | None,
    dvectors: Tensor | None,
    dx: Tensor,
) -> None:
    """V (skew(V^T dV) / (w_j - w_i) + diag(dw)) V^T; equal eigenvalues, whose vectors are not unique, count nothing."""
    if dx.numel == 0:
        return
    n = dx.shape[-1]
    v, out = batched(vectors), batched(dx)
    inner = b.scratch(v.shape, v.dtype)
    if dvectors is None:
        b.zero(inner)
    else:
        product, skew, gap = (b.scratch(v.shape, v.dtype) for _ in range(3))
        w = values.reshape(-1, n)
        plan_product(b, transposed(v), batched(dvectors), product, None, 0.5)
        plan_map(b, "elementwise.subtract", [product, transposed(product)], skew)
        plan_map(b, "eigen.difference_inverse", [w.reshape(-1, 1, n), w.reshape(-1, n, 1)], gap)
        plan_map(b, "elementwise.multiply", [skew, gap], inner)
    if dvalues is not None:
        plan_copy(b, dvalues.reshape(-1, n), diagonal_view(inner, 0, 1, 2))
    half = b.scratch(v.shape, v.dtype)
    plan_product(b, v, inner, half)
    plan_product(b, half, transposed(v), out)


def plan_eigvalsh_grad(b: PlanBuilder, vectors: Tensor, dvalues: Tensor, dx: Tensor) -> None:
    """V diag(dw) V^T."""
    plan_eigh_grad(b, dvalues, vectors, dvalues, None, dx)


# ---- singular values ----


def plan_svd(b: PlanBuilder, x: Tensor, u: Tensor | None, values: Tensor, vh: Tensor | None) -> None:
    """Singular values in descending order; left vectors as columns and right vectors as rows, as many as u and vh have."""
    m, n = x.shape[-2:]
    if x.numel == 0:
        for t in (u, vh):
            if t is not None and t.numel:
                plan_identity(b, t)
        return
    # A wide matrix is taken transposed: its columns are what lies as rows.
    wide = m < n
    full = b.scratch(x.shape if wide else (*x.shape[:-2], n, m), x.dtype)
    plan_copy(b, x if wide else transposed(x), full)
    w = batched(full)
    matrices, k, rows = w.shape
    restore = plan_scaled(b, w)
    d, e, left, right = (b.scratch((matrices, k), x.dtype) for _ in range(4))
    work = b.scratch((matrices, rows), x.dtype)
    b.launch(
        "eigen.bidiagonalize", matrices, w, d, e, left, right, work, rows, k, cost=matrices * rows * k * k * 8,
        BLOCK=line(rows),
    )  # fmt: skip
    long, short = (vh, u) if wide else (u, vh)
    if long is None or short is None:
        b.launch(
            "eigen.bidiagonal_singular", matrices, d, e, None, None, k, 0, 0, 0, STEPS * k, cost=matrices * k * k * 32,
            EPSILON=EPSILON[x.dtype], VECTORS=False, BLOCK=16,
        )  # fmt: skip
        _sorted_rows(b, d, values, None, None, True)
        _restored(b, values, restore)
        return
    count = long.shape[-2] if wide else long.shape[-1]
    first, second = b.scratch((matrices, k, rows), x.dtype), b.scratch((matrices, k, k), x.dtype)
    plan_identity(b, first)
    plan_identity(b, second)
    b.launch(
        "eigen.bidiagonal_singular", matrices, d, e, first, second, k, rows, k * rows, k * k, STEPS * k,
        cost=matrices * k**3 * 16, EPSILON=EPSILON[x.dtype], VECTORS=True, BLOCK=line(k),
    )  # fmt: skip
    us, vs = b.scratch((matrices, count, rows), x.dtype), b.scratch((matrices, k, k), x.dtype)
    if count > k:
        plan_identity(b, us)
    _sorted_rows(b, d, values, first, us, True)
    _sorted_rows(b, d, values, second, vs, True)
    _restored(b, values, restore)
    across = b.scratch((matrices, k, k), x.dtype)
    plan_copy(b, transposed(part(w, 2, 0, k)), across)
    Reflectors(w, left).plan_apply(b, us)
    Reflectors(across, part(right, 1, 0, k - 1), 1).plan_apply(b, vs)
    plan_copy(b, us if wide else transposed(us), batched(long))
    plan_copy(b, transposed(vs) if wide else vs, batched(short))


def plan_svd_grad(
    b: PlanBuilder,
    u: Tensor,
    vh: Tensor,
    s: Tensor,
    du: Tensor | None,
    dvh: Tensor | None,
    ds: Tensor | None,
    dx: Tensor,
) -> None:
    """U ((skew(U^T dU) / E) S + S (skew(V^T dV) / E) + diag(dS)) V^T with E_ij = s_j^2 - s_i^2, and what of dU and dV lies outside
    of U and V, divided by S. Equal singular values count nothing."""
    if dx.numel == 0:
        return
    k = s.shape[-1]
    out, values = batched(dx), s.reshape(-1, k)
    u, vh = part(batched(u), 2, 0, k), part(batched(vh), 1, 0, k)
    matrices, m, n = out.shape
    dtype = out.dtype
    by_row, by_column = values.reshape(-1, k, 1), values.reshape(-1, 1, k)
    gap = b.scratch((matrices, k, k), dtype)
    plan_map(b, "eigen.square_difference_inverse", [by_column, by_row], gap)
    inner = b.scratch((matrices, k, k), dtype)
    b.zero(inner)

    def add_skew(x: Tensor, y: Tensor, scale: Tensor) -> None:
        product, skew = b.scratch((matrices, k, k), dtype), b.scratch((matrices, k, k), dtype)
        plan_product(b, x, y, product)
        plan_map(b, "elementwise.subtract", [product, transposed(product)], skew)
        plan_map(b, "elementwise.multiply", [skew, gap], product)
        plan_map(b, "elementwise.multiply", [product, scale], skew)
        plan_map(b, "elementwise.add", [inner, skew], inner)

    if du is not None:
        du = part(batched(du), 2, 0, k)
        add_skew(transposed(u), du, by_column)
    if dvh is not None:
        dvh = part(batched(dvh), 1, 0, k)
        add_skew(vh, transposed(dvh), by_row)
    if ds is not None:
        diagonal = diagonal_view(inner, 0, 1, 2)
        plan_map(b, "elementwise.add", [diagonal, ds.reshape(-1, k)], diagonal)
    half = b.scratch((matrices, m, k), dtype)
    plan_product(b, u, inner, half)
    if du is not None and m > k:  # + (1 - U U^T) dU / s
        inside, outside = b.scratch((matrices, k, k), dtype), b.scratch((matrices, m, k), dtype)
        plan_product(b, transposed(u), du, inside)
        plan_product(b, u, inside, outside, du, -1.0, 1.0)
        plan_map(b, "elementwise.divide", [outside, by_column], outside)
        plan_map(b, "elementwise.add", [half, outside], half)
    plan_product(b, half, vh, out)
    if dvh is not None and n > k:  # + U (dV^T (1 - V V^T)) / s
        inside, outside = b.scratch((matrices, k, k), dtype), b.scratch((matrices, k, n), dtype)
        plan_product(b, dvh, transposed(vh), inside)
        plan_product(b, inside, vh, outside, dvh, -1.0, 1.0)
        plan_map(b, "elementwise.divide", [outside, by_row], outside)
        plan_product(b, u, outside, out, out, 1.0, 1.0)


def plan_svdvals_grad(b: PlanBuilder, x: Tensor, ds: Tensor, dx: Tensor) -> None:
    """U diag(dS) V^T, with the vectors found again."""
    if dx.numel == 0:
        return
    m, n = x.shape[-2:]
    k, batch = min(m, n), x.shape[:-2]
    u, s, vh = (b.scratch((*batch, *shape), x.dtype) for shape in ((m, k), (k,), (k, n)))
    plan_svd(b, x, u, s, vh)
    plan_svd_grad(b, u, vh, s, None, None, ds, dx)


# ---- ranks ----


def plan_matrix_rank(
    b: PlanBuilder, x: Tensor, atol: Tensor | float, rtol: Tensor | float, hermitian: bool, out: Tensor
) -> None:
    """How many singular values (magnitudes of eigenvalues, when hermitian) exceed max(atol, rtol * the largest)."""
    if out.numel == 0:
        return
    if x.numel == 0:
        b.zero(out)
        return
    batch, k = x.shape[:-2], min(x.shape[-2:])
    found = b.scratch((*batch, k), x.dtype)
    if hermitian:
        plan_eigh(b, x, found, None, True)
        plan_map(b, "activation.abs", [found], found)
    else:
        plan_svd(b, x, None, found, None)
    top = b.scratch((*batch, 1), x.dtype)
    plan_max(b, found, top, (len(batch),))
    limit = b.scratch((*out.shape, 1), x.dtype)
    if isinstance(rtol, Tensor):
        scaled = b.scratch((*out.shape, 1), x.dtype)
        plan_map(b, "elementwise.multiply", [top, _column(rtol)], scaled)
    else:
        scaled = b.scratch((*batch, 1), x.dtype)
        plan_map(b, "elementwise.multiply_scalar", [top], scaled, [rtol])
    if isinstance(atol, Tensor):
        plan_map(b, "elementwise.maximum", [scaled, _column(atol)], limit)
    else:
        floor = b.scratch((1,), x.dtype)
        plan_full(b, floor, atol)
        plan_map(b, "elementwise.maximum", [scaled, floor], limit)
    counted = b.scratch((*out.shape, k), "i64")
    plan_map(b, "eigen.above", [found, limit], counted)
    plan_sum(b, counted, out, (out.ndim,))


def _column(t: Tensor) -> Tensor:
    return t.reshape(*t.shape, 1)


def default_rtol(x: Tensor) -> float:
    """Rounding errors of a singular value, relative to the largest."""
    return EPSILON[x.dtype] * max(x.shape[-2:])
