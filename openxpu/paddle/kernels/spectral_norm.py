# phi kernels of spectral normalisation, mapped to openxpu.ops.spectral_norm.

from __future__ import annotations

from openxpu.ops.plan import PlanBuilder, Tensor
from openxpu.ops.spectral_norm import plan_spectral_norm, plan_spectral_norm_grad
from openxpu.paddle.kernels import phi_kernel


@phi_kernel
def spectral_norm(
    b: PlanBuilder, weight: Tensor, u: Tensor, v: Tensor, dim: int, power_iters: int, eps: float, out: Tensor
) -> None:
    plan_spectral_norm(b, weight, u, v, out, dim, power_iters, eps)


@phi_kernel
def spectral_norm_grad(
    b: PlanBuilder, weight: Tensor, u: Tensor, v: Tensor, out_grad: Tensor, dim: int, power_iters: int, eps: float,
    weight_grad: Tensor,
) -> None:  # fmt: skip
    plan_spectral_norm_grad(b, weight, u, v, out_grad, weight_grad, dim, power_iters, eps)
