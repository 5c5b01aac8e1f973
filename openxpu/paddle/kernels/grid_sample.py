# phi kernels of grid sampling and affine grids, mapped to openxpu.ops.grid_sample.

from __future__ import annotations

from collections.abc import Sequence

from openxpu.ops import grid_sample as sampling
from openxpu.ops.plan import PlanBuilder, Tensor
from openxpu.paddle.kernels import phi_kernel


@phi_kernel
def grid_sample(
    b: PlanBuilder, x: Tensor, grid: Tensor, mode: str, padding_mode: str, align_corners: bool, out: Tensor
) -> None:
    sampling.plan_grid_sample(b, x, grid, out, mode, padding_mode, align_corners)


@phi_kernel
def grid_sample_grad(
    b: PlanBuilder, x: Tensor, grid: Tensor, out_grad: Tensor, mode: str, padding_mode: str, align_corners: bool,
    x_grad: Tensor | None, grid_grad: Tensor | None,
) -> None:  # fmt: skip
    sampling.plan_grid_sample_grad(b, x, grid, out_grad, x_grad, grid_grad, mode, padding_mode, align_corners)


@phi_kernel
def affine_grid(
    b: PlanBuilder, theta: Tensor, output_shape: Sequence[int], align_corners: bool, out: Tensor
) -> None:
    sampling.plan_affine_grid(b, theta, out, align_corners)


@phi_kernel
def affine_grid_grad(
    b: PlanBuilder, out_grad: Tensor, output_shape: Sequence[int], align_corners: bool, theta_grad: Tensor
) -> None:
    sampling.plan_affine_grid_grad(b, out_grad, theta_grad, align_corners)
