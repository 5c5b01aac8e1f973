# phi kernels of matrix factors and linear systems, mapped to openxpu.ops.factorization.

from __future__ import annotations

from openxpu.ops import factorization as ops
from openxpu.ops.plan import PlanBuilder, Tensor, Unsupported
from openxpu.paddle.kernels import phi_kernel
from openxpu.paddle.outputs import required, unused


@phi_kernel
def cholesky(b: PlanBuilder, x: Tensor, upper: bool, out: Tensor) -> None:
    ops.plan_cholesky(b, x, out, upper)


@phi_kernel
def cholesky_grad(b: PlanBuilder, out: Tensor, d: Tensor, upper: bool, dx: Tensor) -> None:
    ops.plan_cholesky_grad(b, out, d, dx, upper)


@phi_kernel
def cholesky_solve(b: PlanBuilder, x: Tensor, y: Tensor, upper: bool, out: Tensor) -> None:
    ops.plan_cholesky_solve(b, x, y, out, upper)


@phi_kernel
def cholesky_solve_grad(
    b: PlanBuilder,
    x: Tensor,
    y: Tensor,
    out: Tensor,
    d: Tensor,
    upper: bool,
    dx: Tensor | None,
    dy: Tensor | None,
) -> None:
    ops.plan_cholesky_solve_grad(b, y, out, d, dx, dy, upper)


@phi_kernel
def triangular_solve(
    b: PlanBuilder, x: Tensor, y: Tensor, upper: bool, transpose: bool, unitriangular: bool, out: Tensor
) -> None:
    ops.plan_triangular_solve(b, x, y, out, upper, transpose, unitriangular)


@phi_kernel
def triangular_solve_grad(
    b: PlanBuilder,
    x: Tensor,
    y: Tensor,
    out: Tensor,
    d: Tensor,
    upper: bool,
    transpose: bool,
    unitriangular: bool,
    dx: Tensor | None,
    dy: Tensor | None,
) -> None:
    ops.plan_triangular_solve_grad(b, x, out, d, dx, dy, upper, transpose, unitriangular)


def _is_vector(x: Tensor, y: Tensor) -> bool:
    return y.ndim == 1 or (y.ndim == x.ndim - 1 and y.shape == x.shape[:-1])


def _column(t: Tensor) -> Tensor:
    return t.reshape(*t.shape, 1)


@phi_kernel
def solve(b: PlanBuilder, x: Tensor, y: Tensor, out: Tensor) -> None:
    if _is_vector(x, y):
        y, out = _column(y), _column(out)
    ops.plan_solve(b, x, y, out)


@phi_kernel
def solve_grad(
    b: PlanBuilder, x: Tensor, y: Tensor, out: Tensor, d: Tensor, dx: Tensor | None, dy: Tensor | None
) -> None:
    if _is_vector(x, y):
        out, d = _column(out), _column(d)
        dy = None if dy is None else _column(dy)
    ops.plan_solve_grad(b, x, out, d, dx, dy)


@phi_kernel
def inverse(b: PlanBuilder, x: Tensor, out: Tensor) -> None:
    ops.plan_inverse(b, x, out)


@phi_kernel
def inverse_grad(b: PlanBuilder, out: Tensor, d: Tensor, dx: Tensor) -> None:
    ops.plan_inverse_grad(b, out, d, dx)


@phi_kernel
def determinant(b: PlanBuilder, x: Tensor, out: Tensor) -> None:
    ops.plan_determinant(b, x, out)


@phi_kernel
def determinant_grad(b: PlanBuilder, x: Tensor, out: Tensor, d: Tensor, dx: Tensor) -> None:
    ops.plan_determinant_grad(b, x, out, d, dx)


def _half(t: Tensor, i: int) -> Tensor:
    """The signs (0) or the logarithms (1) of a stacked result."""
    return t.view(t.shape[1:], t.strides[1:], i * t.strides[0])


@phi_kernel
def slogdet(b: PlanBuilder, x: Tensor, out: Tensor) -> None:
    ops.plan_slogdet(b, x, _half(out, 0), _half(out, 1))


@phi_kernel
def slogdet_grad(b: PlanBuilder, x: Tensor, out: Tensor, d: Tensor, dx: Tensor) -> None:
    ops.plan_slogdet_grad(b, x, _half(d, 1), dx)


@phi_kernel
def slogdet_v2(b: PlanBuilder, x: Tensor, sign: Tensor, logarithm: Tensor) -> None:
    ops.plan_slogdet(b, x, sign, logarithm)


@phi_kernel
def slogdet_v2_grad(
    b: PlanBuilder,
    x: Tensor,
    sign: Tensor,
    logarithm: Tensor,
    dsign: Tensor | None,
    d: Tensor,
    dx: Tensor,
) -> None:
    ops.plan_slogdet_grad(b, x, d, dx)


@phi_kernel
def lu(b: PlanBuilder, x: Tensor, pivot: bool, out: Tensor, pivots: Tensor, infos: Tensor) -> None:
    if not pivot:
        raise Unsupported("lu is planned with partial pivoting; pivot=False was asked for.")
    ops.plan_lu(b, x, out, required(b, pivots, "i32"), required(b, infos, "i32"))


@phi_kernel
def lu_grad(
    b: PlanBuilder, x: Tensor, out: Tensor, pivots: Tensor, d: Tensor, pivot: bool, dx: Tensor
) -> None:
    ops.plan_lu_grad(b, out, pivots, d, dx)


@phi_kernel
def lu_unpack(
    b: PlanBuilder,
    x: Tensor,
    pivots: Tensor,
    unpack_ludata: bool,
    unpack_pivots: bool,
    pmat: Tensor | None,
    lower: Tensor | None,
    upper: Tensor | None,
) -> None:
    if not unpack_ludata:
        unused(b, lower, upper)
        lower = upper = None
    if not unpack_pivots:
        unused(b, pmat)
        pmat = None
    ops.plan_lu_unpack(b, x, pivots, pmat, lower, upper)


@phi_kernel
def lu_unpack_grad(
    b: PlanBuilder,
    x: Tensor,
    pivots: Tensor,
    lower: Tensor | None,
    upper: Tensor | None,
    pmat: Tensor | None,
    dl: Tensor | None,
    du: Tensor | None,
    unpack_ludata: bool,
    unpack_pivots: bool,
    dx: Tensor,
) -> None:
    ops.plan_lu_unpack_grad(b, dl, du, dx)


@phi_kernel
def lu_solve(b: PlanBuilder, y: Tensor, lu: Tensor, pivots: Tensor, trans: str, out: Tensor) -> None:
    ops.plan_lu_solve(b, y, lu, pivots, out, trans != "N")


@phi_kernel
def lu_solve_grad(
    b: PlanBuilder,
    y: Tensor,
    lu: Tensor,
    pivots: Tensor,
    out: Tensor,
    d: Tensor,
    trans: str,
    dy: Tensor | None,
    dlu: Tensor | None,
) -> None:
    ops.plan_lu_solve_grad(b, lu, pivots, out, d, dy, dlu, trans != "N")


@phi_kernel
def qr(b: PlanBuilder, x: Tensor, mode: str, q: Tensor | None, r: Tensor) -> None:
    if mode == "r":
        unused(b, q)
        q = None
    ops.plan_qr(b, x, q, r)


@phi_kernel
def qr_grad(
    b: PlanBuilder,
    x: Tensor,
    q: Tensor,
    r: Tensor,
    dq: Tensor | None,
    dr: Tensor | None,
    mode: str,
    dx: Tensor,
) -> None:
    if mode == "r" or (mode == "complete" and x.shape[-2] > x.shape[-1]):
        raise Unsupported(
            f"The gradient of qr in mode {mode!r} for {x.shape} is not defined; mode 'reduced' has one."
        )
    ops.plan_qr_grad(b, x, q, r, dq, dr, dx)


@phi_kernel
def matrix_power(b: PlanBuilder, x: Tensor, n: int, out: Tensor) -> None:
    ops.plan_matrix_power(b, x, out, n)


@phi_kernel
def matrix_power_grad(b: PlanBuilder, x: Tensor, out: Tensor, d: Tensor, n: int, dx: Tensor) -> None:
    ops.plan_matrix_power_grad(b, x, out, d, dx, n)
