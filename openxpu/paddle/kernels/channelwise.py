# phi kernels with a parameter for each channel, mapped to openxpu.ops.channelwise.

from __future__ import annotations

from openxpu.ops import channelwise
from openxpu.ops.plan import PlanBuilder, Tensor
from openxpu.paddle.kernels import phi_kernel


def _last(data_format: str) -> bool:
    return data_format.endswith("C")


@phi_kernel
def prelu(b: PlanBuilder, x: Tensor, alpha: Tensor, data_format: str, mode: str, out: Tensor) -> None:
    channelwise.plan_prelu(b, x, alpha, out, mode, _last(data_format))


@phi_kernel
def prelu_grad(
    b: PlanBuilder, x: Tensor, alpha: Tensor, out_grad: Tensor, data_format: str, mode: str, x_grad: Tensor | None,
    alpha_grad: Tensor | None,
) -> None:  # fmt: skip
    channelwise.plan_prelu_grad(b, x, alpha, out_grad, x_grad, alpha_grad, mode, _last(data_format))


@phi_kernel
def affine_channel(
    b: PlanBuilder, x: Tensor, scale: Tensor, bias: Tensor, data_layout: str, out: Tensor
) -> None:
    channelwise.plan_affine_channel(b, x, scale, bias, out, _last(data_layout))


@phi_kernel
def affine_channel_grad(
    b: PlanBuilder, x: Tensor, scale: Tensor, bias: Tensor, out_grad: Tensor, data_layout: str, x_grad: Tensor | None,
    scale_grad: Tensor | None, bias_grad: Tensor | None,
) -> None:  # fmt: skip
    channelwise.plan_affine_channel_grad(
        b, x, scale, out_grad, x_grad, scale_grad, bias_grad, _last(data_layout)
    )


@phi_kernel
def maxout(b: PlanBuilder, x: Tensor, groups: int, axis: int, out: Tensor) -> None:
    channelwise.plan_maxout(b, x, out, groups, axis)


@phi_kernel
def maxout_grad(
    b: PlanBuilder, x: Tensor, out: Tensor, out_grad: Tensor, groups: int, axis: int, x_grad: Tensor
) -> None:
    channelwise.plan_maxout_grad(b, x, out, out_grad, x_grad, groups, axis)
