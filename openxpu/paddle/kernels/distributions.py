# phi kernels of random distributions, mapped to openxpu.ops.distributions.

from __future__ import annotations

from openxpu.ops import distributions
from openxpu.ops.plan import PlanBuilder, Tensor
from openxpu.paddle.kernels import phi_kernel
from openxpu.paddle.outputs import required


@phi_kernel
def exponential(b: PlanBuilder, x: Tensor, rate: float, out: Tensor) -> None:
    distributions.plan_exponential(b, out, rate)


@phi_kernel
def standard_gamma(b: PlanBuilder, alpha: Tensor, out: Tensor) -> None:
    distributions.plan_standard_gamma(b, alpha, out)


@phi_kernel
def dirichlet(b: PlanBuilder, alpha: Tensor, out: Tensor) -> None:
    distributions.plan_dirichlet(b, alpha, out)


@phi_kernel
def poisson(b: PlanBuilder, x: Tensor, out: Tensor) -> None:
    distributions.plan_poisson(b, x, out)


@phi_kernel
def binomial(b: PlanBuilder, count: Tensor, prob: Tensor, out: Tensor) -> None:
    distributions.plan_binomial(b, count, prob, required(b, out, "i64"))
