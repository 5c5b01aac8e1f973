# phi kernels of spectral normalisation, mapped to openxpu.ops.spectral_norm.

from __future__ import annotations

from openxpu.ops import spectral_norm as spectral
from openxpu.ops.plan import PlanBuilder, Tensor
from openxpu.paddle.kernels import phi_kernel


@phi_kernel
def spectral_norm(
    b: PlanBuilder, weight: Tensor, u: Tensor, v: Tensor, dim: int, power_iters: int, eps: float, out: Tensor
) -> None:
    spectral.plan_spectral_norm(b, weight, u, v, out, dim, power_iters, eps)


@phi_kernel
def spectral_norm_grad(
    b: PlanBuilder, weight: Tensor, u: Tensor, v: Tensor, dout: Tensor, dim: int, power_iters: int, eps: float,
    dweight: Tensor,
) -> None:  # fmt: skip
    spectral.plan_spectral_norm_grad(b, weight, u, v, dout, dweight, dim, power_iters, eps)
