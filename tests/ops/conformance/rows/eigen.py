# Eigenvalues of symmetric matrices, singular values, ranks.
from __future__ import annotations

import numpy as np
import paddle
from conformance.draw import normal
from conformance.row import row

L = paddle.linalg
SQUARE = [(4, 4), (3, 5, 5), (1, 1), (2, 1, 33, 33), (70, 70), (130, 130)]
ANY = [(5, 3), (3, 5), (2, 20, 12), (4, 4), (1, 1), (70, 40), (12, 70), (100, 130)]


def limit(outputs, n):
    return 50 * np.finfo(outputs[0].dtype).eps * n**0.5


def spread(d):
    """Symmetric with gaps between the eigenvalues."""
    n = d.shape[-1]
    q = np.linalg.qr(d.rng.standard_normal(d.shape))[0]
    return (q * (np.arange(n) - n / 3)) @ np.swapaxes(q, -1, -2)


def separate(d):
    """Singular values with gaps, none near zero."""
    u, s, v = np.linalg.svd(d.rng.standard_normal(d.shape), full_matrices=False)
    return (u * (1 + np.arange(s.shape[-1])[::-1])) @ v


def low_rank(d):
    """Rank 1 or 2, or nothing but zeros."""
    m, n = d.shape[-2:]
    a, b = d.rng.standard_normal((*d.shape[:-1], 2)), d.rng.standard_normal((*d.shape[:-2], 2, n))
    return a @ b * (m != 4)


def huge(d):
    """Squares of these overflow in f32."""
    return d.rng.standard_normal(d.shape) * 1e30


def eigenvectors(outputs, arrays, attrs):
    (w, v), x = (o.astype("f8") for o in outputs), arrays[0].astype("f8")
    a = (
        np.tril(x) + np.swapaxes(np.tril(x, -1), -1, -2)
        if attrs["UPLO"] == "L"
        else np.triu(x) + np.swapaxes(np.triu(x, 1), -1, -2)
    )
    n, size = x.shape[-1], max(1.0, np.abs(w).max())
    assert np.abs(a @ v - v * w[..., None, :]).max() <= limit(outputs, n) * size
    assert np.abs(np.swapaxes(v, -1, -2) @ v - np.eye(n)).max() <= limit(outputs, n)
    assert np.abs(w - np.linalg.eigvalsh(a)).max() <= limit(outputs, n) * size


def singular_vectors(outputs, arrays, attrs):
    (u, s, vh), x = (o.astype("f8") for o in outputs), arrays[0].astype("f8")
    m, n = x.shape[-2:]
    k, size = min(m, n), max(1.0, s.max())
    assert u.shape[-1] == (m if attrs["full_matrices"] else k)
    assert (
        np.abs((u[..., :k] * s[..., None, :]) @ vh[..., :k, :] - x).max() <= limit(outputs, max(m, n)) * size
    )
    for q in (np.swapaxes(u, -1, -2), vh):
        assert np.abs(q @ np.swapaxes(q, -1, -2) - np.eye(q.shape[-2])).max() <= limit(outputs, max(m, n))
    assert np.abs(s - np.linalg.svd(x, compute_uv=False)).max() <= limit(outputs, max(m, n)) * size


def whole(x):
    return (x + x.transpose([*range(x.ndim - 2), x.ndim - 1, x.ndim - 2])) * 0.5


def half(x):
    return (x + np.swapaxes(x, -1, -2)) * 0.5


def squares(x):
    """What does not depend on the signs of the vectors."""
    u, s, vh = L.svd(x)
    return u * u, s, vh * vh


def eigen_squares(x):
    w, v = L.eigh(whole(x))
    return w, v * v


def eigen_squares_by_numpy(x):
    w, v = np.linalg.eigh(half(x))
    return w, v * v


COMMON = {"extremes": "", "tolerance": {"f32": 2000.0, "f64": 20000.0}}
RANKS = {"shapes": [(5, 3), (3, 5), (2, 20, 12), (4, 4), (1, 1)], "extremes": "", "layouts": ("strided",)}

ROWS = [
    row("eigh", L.eigh, huge, name="eigh_huge", shapes=SQUARE[:4], attrs=[{"UPLO": "L"}], grad=False, check=eigenvectors, extremes="", layouts=()),
    row("svd", L.svd, huge, name="svd_huge", shapes=ANY[:6], attrs=[{"full_matrices": False}], grad=False, check=singular_vectors, extremes="", layouts=()),
    row("eigh", L.eigh, normal, name="eigh_factors", shapes=SQUARE, attrs=[{"UPLO": "L"}, {"UPLO": "U"}], grad=False, check=eigenvectors, extremes="", layouts=("transposed", "strided")),
    # Paddle's gradients of batches take the first matrix's values for all: the references are NumPy, and finite differences.
    row("eigh", eigen_squares, spread, shapes=SQUARE[:5], layouts=("transposed", "strided"),
        reference=eigen_squares_by_numpy, **COMMON),
    row("eigvalsh", lambda x: L.eigvalsh(whole(x)), spread, shapes=SQUARE[:5], layouts=("transposed", "strided"), reference=lambda x: np.linalg.eigvalsh(half(x)), **COMMON),
    row("svd", L.svd, normal, name="svd_factors", shapes=ANY, attrs=[{"full_matrices": False}, {"full_matrices": True}], grad=False, check=singular_vectors, extremes="", layouts=("transposed", "strided")),
    row("svd", L.svd, low_rank, name="svd_of_low_rank", shapes=ANY, attrs=[{"full_matrices": False}, {"full_matrices": True}], grad=False, check=singular_vectors, extremes="", layouts=()),
    row("svd", squares, separate, shapes=ANY[:7], layouts=("transposed", "strided"), **COMMON),
    row("svdvals", L.svdvals, separate, shapes=ANY[:7], layouts=("transposed", "strided"), **COMMON),
    row("matrix_rank", L.matrix_rank, separate, attrs=[{}, {"tol": 2.5}], **RANKS),
    row("matrix_rank", lambda x, **a: L.matrix_rank(x, hermitian=True, **a), spread, name="matrix_rank_hermitian", **{**RANKS, "shapes": [(4, 4), (2, 5, 5)]}, attrs=[{}, {"tol": 1.5}]),
    row("matrix_rank_tol", lambda x, tol: L.matrix_rank(x, tol=tol), separate, lambda d: np.full(d.shape, 1.5), **{**RANKS, "shapes": [((5, 3), (1,)), ((2, 20, 12), (2,)), ((2, 4, 4), (1,))]}),
    row("matrix_rank_atol_rtol", lambda x, atol, rtol: L.matrix_rank(x, atol=atol, rtol=rtol), separate, lambda d: np.full(d.shape, 1.5), lambda d: np.full(d.shape, 0.4), **{**RANKS, "shapes": [((5, 3), (1,), (1,)), ((2, 20, 12), (2,), (2,)), ((2, 4, 4), (1,), None)]}),
]  # fmt: skip
