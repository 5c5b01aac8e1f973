# phi kernels that rearrange pixels and channels, mapped to openxpu.ops.shuffles.

from __future__ import annotations

from collections.abc import Sequence

from openxpu.ops import shuffles
from openxpu.ops.plan import PlanBuilder, Tensor
from openxpu.paddle.kernels import phi_kernel


@phi_kernel
def pixel_shuffle(b: PlanBuilder, x: Tensor, upscale_factor: int, data_format: str, out: Tensor) -> None:
    shuffles.plan_pixel_shuffle(b, x, out, upscale_factor, data_format == "NHWC")


@phi_kernel
def pixel_shuffle_grad(
    b: PlanBuilder, out_grad: Tensor, upscale_factor: int, data_format: str, x_grad: Tensor
) -> None:
    shuffles.plan_pixel_unshuffle(b, out_grad, x_grad, upscale_factor, data_format == "NHWC")


@phi_kernel
def pixel_unshuffle(b: PlanBuilder, x: Tensor, downscale_factor: int, data_format: str, out: Tensor) -> None:
    shuffles.plan_pixel_unshuffle(b, x, out, downscale_factor, data_format == "NHWC")


@phi_kernel
def pixel_unshuffle_grad(
    b: PlanBuilder, out_grad: Tensor, downscale_factor: int, data_format: str, x_grad: Tensor
) -> None:
    shuffles.plan_pixel_shuffle(b, out_grad, x_grad, downscale_factor, data_format == "NHWC")


@phi_kernel
def channel_shuffle(b: PlanBuilder, x: Tensor, groups: int, data_format: str, out: Tensor) -> None:
    shuffles.plan_channel_shuffle(b, x, out, groups, data_format == "NHWC")


@phi_kernel
def channel_shuffle_grad(
    b: PlanBuilder, out_grad: Tensor, groups: int, data_format: str, x_grad: Tensor
) -> None:
    shuffles.plan_channel_shuffle(b, out_grad, x_grad, groups, data_format == "NHWC", back=True)


@phi_kernel
def shuffle_channel(b: PlanBuilder, x: Tensor, group: int, out: Tensor) -> None:
    shuffles.plan_channel_shuffle(b, x, out, group)


@phi_kernel
def shuffle_channel_grad(b: PlanBuilder, out_grad: Tensor, group: int, x_grad: Tensor) -> None:
    shuffles.plan_channel_shuffle(b, out_grad, x_grad, group, back=True)


@phi_kernel
def temporal_shift(
    b: PlanBuilder, x: Tensor, seg_num: int, shift_ratio: float, data_format: str, out: Tensor
) -> None:
    shuffles.plan_temporal_shift(b, x, out, seg_num, shift_ratio, data_format == "NHWC")


@phi_kernel
def temporal_shift_grad(
    b: PlanBuilder, out_grad: Tensor, seg_num: int, shift_ratio: float, data_format: str, x_grad: Tensor
) -> None:
    shuffles.plan_temporal_shift(b, out_grad, x_grad, seg_num, shift_ratio, data_format == "NHWC", back=True)


@phi_kernel
def crop(b: PlanBuilder, x: Tensor, shape: Sequence[int], offsets: Sequence[int], out: Tensor) -> None:
    shuffles.plan_crop(b, x, out, offsets)


@phi_kernel
def crop_grad(b: PlanBuilder, x: Tensor, out_grad: Tensor, offsets: Sequence[int], x_grad: Tensor) -> None:
    shuffles.plan_crop_grad(b, out_grad, x_grad, offsets)
