# phi kernels of einsum and of products of more than two matrices, mapped to openxpu.ops.einsum and .contraction.

from __future__ import annotations

from collections.abc import Sequence

from openxpu.ops import contraction as ops
from openxpu.ops.einsum import plan_einsum, plan_einsum_grad
from openxpu.ops.plan import PlanBuilder, Tensor
from openxpu.paddle.kernels import phi_kernel
from openxpu.paddle.outputs import typed, unused

Tensors = Sequence[Tensor]
Gradients = Sequence[Tensor | None]


@phi_kernel
def einsum(
    b: PlanBuilder,
    x: Tensors,
    equation: str,
    out: Tensor,
    inner_cache: Gradients,
    xshape: Gradients,
) -> None:
    unused(b, *inner_cache, *xshape)  # the cache is the operands: csrc/paddle/output_sizes.cc
    plan_einsum(b, x, out, equation)


@phi_kernel
def einsum_grad(
    b: PlanBuilder, x: Tensors, inner_cache: Tensors, d: Tensor, equation: str, dx: Gradients
) -> None:
    plan_einsum_grad(b, inner_cache, d, dx, equation)  # x has shapes only


@phi_kernel
def kron(b: PlanBuilder, x: Tensor, y: Tensor, out: Tensor) -> None:
    ops.plan_kron(b, x, y, out)


@phi_kernel
def kron_grad(b: PlanBuilder, x: Tensor, y: Tensor, d: Tensor, dx: Tensor | None, dy: Tensor | None) -> None:
    ops.plan_kron_grad(b, x, y, d, dx, dy)


@phi_kernel
def cross(b: PlanBuilder, x: Tensor, y: Tensor, axis: int, out: Tensor) -> None:
    ops.plan_cross(b, x, y, out, axis)


@phi_kernel
def cross_grad(
    b: PlanBuilder, x: Tensor, y: Tensor, d: Tensor, axis: int, dx: Tensor | None, dy: Tensor | None
) -> None:
    if dx is not None:
        ops.plan_cross(b, y, d, dx, axis)
    if dy is not None:
        ops.plan_cross(b, d, x, dy, axis)


@phi_kernel
def baddbmm(
    b: PlanBuilder, addend: Tensor, x: Tensor, y: Tensor, beta: float, alpha: float, out: Tensor
) -> None:
    ops.plan_baddbmm(b, addend, x, y, out, beta, alpha)


@phi_kernel
def baddbmm_grad(
    b: PlanBuilder,
    addend: Tensor,
    x: Tensor,
    y: Tensor,
    d: Tensor,
    alpha: float,
    beta: float,
    daddend: Tensor | None,
    dx: Tensor | None,
    dy: Tensor | None,
) -> None:
    ops.plan_baddbmm_grad(b, x, y, d, daddend, dx, dy, alpha, beta)


@phi_kernel
def multi_dot(b: PlanBuilder, x: Tensors, out: Tensor) -> None:
    ops.plan_multi_dot(b, x, out)


@phi_kernel
def multi_dot_grad(b: PlanBuilder, x: Tensors, d: Tensor, dx: Gradients) -> None:
    # Shape inference leaves their dtypes open.
    ops.plan_multi_dot_grad(b, x, d, [typed(b, target, d.dtype) for target in dx])


@phi_kernel
def bilinear(b: PlanBuilder, x: Tensor, y: Tensor, weight: Tensor, bias: Tensor | None, out: Tensor) -> None:
    ops.plan_bilinear(b, x, y, weight, bias, out)


@phi_kernel
def bilinear_grad(
    b: PlanBuilder,
    x: Tensor,
    y: Tensor,
    weight: Tensor,
    d: Tensor,
    dx: Tensor | None,
    dy: Tensor | None,
    dweight: Tensor | None,
    dbias: Tensor | None,
) -> None:
    ops.plan_bilinear_grad(b, x, y, weight, d, dx, dy, dweight, dbias)
