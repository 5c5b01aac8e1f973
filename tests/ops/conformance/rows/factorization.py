# Matrix factors, linear systems, determinants.
from __future__ import annotations

import numpy as np
import paddle
from conformance.draw import normal
from conformance.row import row

L = paddle.linalg
SQUARE = [(4, 4), (3, 5, 5), (1, 1), (2, 1, 33, 33), (0, 3, 3), (65, 65), (130, 130)]
ANY = [(5, 3), (3, 5), (2, 20, 12), (4, 4), (1, 1), (70, 40), (40, 70), (100, 130)]


def regular(d):
    """Far from singular: a diagonal over noise."""
    n = d.shape[-1]
    return d.rng.standard_normal(d.shape) / max(n, 1) ** 0.5 + 3 * np.eye(d.shape[-2], n)


def positive(d):
    """Symmetric, positive definite."""
    n = d.shape[-1]
    a = d.rng.standard_normal(d.shape) / max(n, 1) ** 0.5
    return a @ np.swapaxes(a, -1, -2) + 2 * np.eye(n)


def symmetric(x):
    return (x + x.transpose([*range(x.ndim - 2), x.ndim - 1, x.ndim - 2])) * 0.5


def triangle(x, upper, unit):
    a = np.triu(x, unit) if upper else np.tril(x, -int(unit))
    return a + np.eye(x.shape[-1]) if unit else a


def triangular_solve(x, y, upper, transpose, unitriangular):
    a = triangle(x, upper, unitriangular)
    return np.linalg.solve(np.swapaxes(a, -1, -2) if transpose else a, y)


def orthogonal(outputs, arrays, attrs):
    """Q R = x, Q^T Q = 1, R a triangle; signs as Householder's method gives them."""
    (q, r), x = (o.astype("f8") for o in outputs), arrays[0].astype("f8")
    limit = 50 * np.finfo(outputs[0].dtype).eps * max(x.shape[-2:]) ** 0.5
    assert np.abs(q @ r - x).max() <= limit * max(1, np.abs(x).max())
    assert np.abs(np.swapaxes(q, -1, -2) @ q - np.eye(q.shape[-1])).max() <= limit
    assert not np.tril(r, -1).any()
    assert q.shape[-1] == (x.shape[-2] if attrs["mode"] == "complete" else min(x.shape[-2:]))


VIEWS = ("transposed", "strided")  # rows that overlap make a matrix singular
COMMON = {"layouts": VIEWS, "scale": "tensor", "extremes": "", "tolerance": {"f32": 400.0, "f64": 4000.0}}
RIGHT = [
    ((4, 4), (4, 2)),
    ((3, 5, 5), (3, 5, 1)),
    ((33, 33), (2, 33, 3)),
    ((3, 1, 4, 4), (2, 4, 2)),
    ((130, 130), (130, 20)),
    ((0, 3, 3), (0, 3, 2)),
]
FLAGS = [
    {"upper": u, "transpose": t, "unitriangular": n}
    for u in (False, True)
    for t in (False, True)
    for n in (False, True)
]

ROWS = [
    row("cholesky", lambda x, upper: L.cholesky(symmetric(x), upper), positive, shapes=SQUARE, attrs=[{"upper": False}, {"upper": True}], **COMMON),
    row("cholesky_solve", lambda x, y, upper: L.cholesky_solve(y, paddle.triu(x) if upper else paddle.tril(x), upper), regular, normal, shapes=RIGHT, attrs=[{"upper": False}, {"upper": True}], **COMMON),
    # Paddle's gradient of a lower unit triangle has elements above the diagonal.
    row("triangular_solve", L.triangular_solve, regular, normal, shapes=RIGHT, attrs=FLAGS, reference=triangular_solve, **COMMON),
    row("solve", L.solve, regular, normal, shapes=[*RIGHT, ((4, 4), (4,)), ((3, 4, 4), (3, 4)), ((3, 5, 5), (5,))], static="shape inference of programs does not broadcast batches", **COMMON),
    row("inverse", L.inv, regular, shapes=SQUARE, **COMMON),
    row("determinant", lambda x: L.det(x / 3), regular, shapes=SQUARE, **COMMON),
    row("slogdet", L.slogdet, regular, shapes=SQUARE, static="shape inference of programs gives another shape", **COMMON),
    row("slogdet_v2", paddle._C_ops.slogdet_v2, regular, shapes=SQUARE, **COMMON),
    row("lu", lambda x: L.lu(x, get_infos=True), regular, shapes=ANY, **COMMON),
    row("lu_unpack", lambda x: L.lu_unpack(*L.lu(x)), regular, shapes=ANY, also=["lu"], **COMMON),
    # Paddle's gradient of the factors of a transposed system is another one.
    row("lu_solve", lambda y, x, trans: L.lu_solve(y, *L.lu(x), trans), normal, regular, shapes=[(y, x) for x, y in RIGHT if len(x) == len(y)], attrs=[{"trans": "N"}, {"trans": "T"}], also=["lu"],
        reference=lambda y, x, trans: np.linalg.solve(x if trans == "N" else np.swapaxes(x, -1, -2), y), **COMMON),
    row("qr", L.qr, normal, name="qr_factors", shapes=ANY, attrs=[{"mode": "reduced"}, {"mode": "complete"}], grad=False, check=orthogonal, extremes=""),
    row("qr", L.qr, lambda d: normal(d) * 1e30, name="qr_huge", shapes=ANY[:5], attrs=[{"mode": "reduced"}], grad=False, check=orthogonal, extremes="", layouts=()),
    row("qr", L.qr, regular, shapes=ANY, **COMMON),
    row("matrix_power", L.matrix_power, regular, shapes=SQUARE[:6], attrs=[{"n": 3}, {"n": 1}, {"n": 6}, {"n": -1}, {"n": -2}], **COMMON),
    row("matrix_power", L.matrix_power, regular, name="matrix_power_zero", shapes=SQUARE[:3], attrs=[{"n": 0}], grad=False, **COMMON),
]  # fmt: skip
