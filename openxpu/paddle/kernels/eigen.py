# phi kernels of eigenvalues, singular values and ranks, mapped to openxpu.ops.eigen.

from __future__ import annotations

from openxpu.ops import eigen as ops
from openxpu.ops.plan import PlanBuilder, Tensor
from openxpu.paddle.kernels import phi_kernel
from openxpu.paddle.outputs import required


@phi_kernel
def eigh(b: PlanBuilder, x: Tensor, uplo: str, values: Tensor, vectors: Tensor) -> None:
    ops.plan_eigh(b, x, values, vectors, uplo != "U")


@phi_kernel
def eigh_grad(
    b: PlanBuilder,
    values: Tensor,
    vectors: Tensor,
    dvalues: Tensor | None,
    dvectors: Tensor | None,
    dx: Tensor,
) -> None:
    ops.plan_eigh_grad(b, values, vectors, dvalues, dvectors, dx)


@phi_kernel
def eigvalsh(
    b: PlanBuilder, x: Tensor, uplo: str, is_test: bool, values: Tensor, vectors: Tensor | None
) -> None:
    ops.plan_eigh(b, x, values, None if is_test else vectors, uplo != "U")


@phi_kernel
def eigvalsh_grad(
    b: PlanBuilder, vectors: Tensor, dvalues: Tensor, uplo: str, is_test: bool, dx: Tensor
) -> None:
    ops.plan_eigvalsh_grad(b, vectors, dvalues, dx)


@phi_kernel
def svd(b: PlanBuilder, x: Tensor, full_matrices: bool, u: Tensor, s: Tensor, vh: Tensor) -> None:
    ops.plan_svd(b, x, u, s, vh)


@phi_kernel
def svd_grad(
    b: PlanBuilder,
    x: Tensor,
    u: Tensor,
    vh: Tensor,
    s: Tensor,
    du: Tensor | None,
    dvh: Tensor | None,
    ds: Tensor | None,
    full_matrices: bool,
    dx: Tensor,
) -> None:
    ops.plan_svd_grad(b, u, vh, s, du, dvh, ds, dx)


@phi_kernel
def svdvals(b: PlanBuilder, x: Tensor, s: Tensor) -> None:
    ops.plan_svd(b, x, None, s, None)


@phi_kernel
def svdvals_grad(b: PlanBuilder, x: Tensor, ds: Tensor, dx: Tensor) -> None:
    ops.plan_svdvals_grad(b, x, ds, dx)


@phi_kernel
def matrix_rank(
    b: PlanBuilder, x: Tensor, tol: float, use_default_tol: bool, hermitian: bool, out: Tensor
) -> None:
    atol, rtol = (0.0, ops.default_rtol(x)) if use_default_tol else (tol, 0.0)
    ops.plan_matrix_rank(b, x, atol, rtol, hermitian, required(b, out, "i64"))


@phi_kernel
def matrix_rank_tol(
    b: PlanBuilder, x: Tensor, atol: Tensor, use_default_tol: bool, hermitian: bool, out: Tensor
) -> None:
    rtol = ops.default_rtol(x) if use_default_tol else 0.0
    ops.plan_matrix_rank(b, x, atol, rtol, hermitian, required(b, out, "i64"))


@phi_kernel
def matrix_rank_atol_rtol(
    b: PlanBuilder, x: Tensor, atol: Tensor, rtol: Tensor | None, hermitian: bool, out: Tensor
) -> None:
    ops.plan_matrix_rank(
        b, x, atol, ops.default_rtol(x) if rtol is None else rtol, hermitian, required(b, out, "i64")
    )
