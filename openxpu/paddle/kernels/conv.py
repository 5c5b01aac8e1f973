# phi kernels of convolution, mapped to openxpu.ops.conv.

from __future__ import annotations

from collections.abc import Sequence

from openxpu.ops import conv
from openxpu.ops.ending import Ending
from openxpu.ops.plan import PlanBuilder, Tensor, Unsupported
from openxpu.paddle.kernels import phi_kernel


def _padding(paddings: Sequence[int], algorithm: str) -> tuple[int, ...] | str:
    """Paddle's pair of attributes as one: the algorithm's name wins over the numbers."""
    return algorithm if algorithm in ("SAME", "VALID") else tuple(paddings)


@phi_kernel
def conv2d(
    b: PlanBuilder,
    x: Tensor,
    w: Tensor,
    strides: Sequence[int],
    paddings: Sequence[int],
    padding_algorithm: str,
    dilations: Sequence[int],
    groups: int,
    data_format: str,
    out: Tensor,
) -> None:
    padding = _padding(paddings, padding_algorithm)
    conv.plan_conv(b, x, w, out, strides, padding, dilations, groups, data_format)


@phi_kernel
def conv2d_grad(
    b: PlanBuilder,
    x: Tensor,
    w: Tensor,
    dy: Tensor,
    strides: Sequence[int],
    paddings: Sequence[int],
    padding_algorithm: str,
    dilations: Sequence[int],
    groups: int,
    data_format: str,
    dx: Tensor | None,
    dw: Tensor | None,
) -> None:
    padding = _padding(paddings, padding_algorithm)
    conv.plan_conv_grad(b, x, w, dy, dx, dw, strides, padding, dilations, groups, data_format)


@phi_kernel(name="conv3d")
@phi_kernel
def depthwise_conv2d(
    b: PlanBuilder,
    x: Tensor,
    w: Tensor,
    strides: Sequence[int],
    paddings: Sequence[int],
    padding_algorithm: str,
    groups: int,
    dilations: Sequence[int],
    data_format: str,
    out: Tensor,
) -> None:
    padding = _padding(paddings, padding_algorithm)
    conv.plan_conv(b, x, w, out, strides, padding, dilations, groups, data_format)


@phi_kernel(name="conv3d_grad")
@phi_kernel
def depthwise_conv2d_grad(
    b: PlanBuilder,
    x: Tensor,
    w: Tensor,
    dy: Tensor,
    strides: Sequence[int],
    paddings: Sequence[int],
    padding_algorithm: str,
    groups: int,
    dilations: Sequence[int],
    data_format: str,
    dx: Tensor | None,
    dw: Tensor | None,
) -> None:
    padding = _padding(paddings, padding_algorithm)
    conv.plan_conv_grad(b, x, w, dy, dx, dw, strides, padding, dilations, groups, data_format)


def _plan_transpose(
    b: PlanBuilder,
    x: Tensor,
    w: Tensor,
    strides: Sequence[int],
    paddings: Sequence[int],
    output_padding: Sequence[int],
    output_size: Sequence[int],
    padding_algorithm: str,
    groups: int,
    dilations: Sequence[int],
    data_format: str,
    out: Tensor,
) -> None:
    padding, dilation = conv.transpose_padding(
        x, w, strides, _padding(paddings, padding_algorithm), dilations, data_format
    )
    conv.plan_conv_transpose(b, x, w, out, strides, padding, dilation, groups, data_format)


def _plan_transpose_grad(
    b: PlanBuilder,
    x: Tensor,
    w: Tensor,
    dy: Tensor,
    strides: Sequence[int],
    paddings: Sequence[int],
    output_padding: Sequence[int],
    output_size: Sequence[int],
    padding_algorithm: str,
    groups: int,
    dilations: Sequence[int],
    data_format: str,
    dx: Tensor | None,
    dw: Tensor | None,
) -> None:
    padding, dilation = conv.transpose_padding(
        x, w, strides, _padding(paddings, padding_algorithm), dilations, data_format
    )
    conv.plan_conv_transpose_grad(b, x, w, dy, dx, dw, strides, padding, dilation, groups, data_format)


@phi_kernel(name="conv3d_transpose")
@phi_kernel
def conv2d_transpose(
    b: PlanBuilder,
    x: Tensor,
    w: Tensor,
    strides: Sequence[int],
    paddings: Sequence[int],
    output_padding: Sequence[int],
    output_size: Sequence[int],
    padding_algorithm: str,
    groups: int,
    dilations: Sequence[int],
    data_format: str,
    out: Tensor,
) -> None:
    _plan_transpose(
        b, x, w, strides, paddings, output_padding, output_size, padding_algorithm, groups, dilations, data_format, out
    )  # fmt: skip


@phi_kernel(name="conv3d_transpose_grad")
@phi_kernel
def conv2d_transpose_grad(
    b: PlanBuilder,
    x: Tensor,
    w: Tensor,
    dy: Tensor,
    strides: Sequence[int],
    paddings: Sequence[int],
    output_padding: Sequence[int],
    output_size: Sequence[int],
    padding_algorithm: str,
    groups: int,
    dilations: Sequence[int],
    data_format: str,
    dx: Tensor | None,
    dw: Tensor | None,
) -> None:
    _plan_transpose_grad(
        b, x, w, dy, strides, paddings, output_padding, output_size, padding_algorithm, groups, dilations, data_format,
        dx, dw,
    )  # fmt: skip


@phi_kernel
def depthwise_conv2d_transpose(
    b: PlanBuilder,
    x: Tensor,
    w: Tensor,
    strides: Sequence[int],
    paddings: Sequence[int],
    output_padding: Sequence[int],
    output_size: Sequence[int],
    padding_algorithm: str,
    groups: int,
    dilations: Sequence[int],
    data_format: str,
    out: Tensor,
) -> None:
    _plan_transpose(
        b, x, w, strides, paddings, output_padding, output_size, padding_algorithm, groups, dilations, data_format, out
    )  # fmt: skip


@phi_kernel
def depthwise_conv2d_transpose_grad(
    b: PlanBuilder,
    x: Tensor,
    w: Tensor,
    dy: Tensor,
    strides: Sequence[int],
    paddings: Sequence[int],
    output_padding: Sequence[int],
    output_size: Sequence[int],
    padding_algorithm: str,
    groups: int,
    dilations: Sequence[int],
    data_format: str,
    dx: Tensor | None,
    dw: Tensor | None,
) -> None:
    _plan_transpose_grad(
        b, x, w, dy, strides, paddings, output_padding, output_size, padding_algorithm, groups, dilations, data_format,
        dx, dw,
    )  # fmt: skip


@phi_kernel
def conv2d_double_grad(
    b: PlanBuilder,
    x: Tensor,
    w: Tensor,
    dy: Tensor,
    ddx: Tensor | None,
    ddw: Tensor | None,
    strides: Sequence[int],
    paddings: Sequence[int],
    padding_algorithm: str,
    dilations: Sequence[int],
    groups: int,
    data_format: str,
    dx: Tensor | None,
    dw: Tensor | None,
    ddy: Tensor | None,
) -> None:
    padding = _padding(paddings, padding_algorithm)
    attributes = (strides, padding, dilations, groups, data_format)
    conv.plan_conv_double_grad(b, x, w, dy, ddx, ddw, dx, dw, ddy, *attributes)


@phi_kernel
def conv3d_double_grad(
    b: PlanBuilder,
    x: Tensor,
    w: Tensor,
    dy: Tensor,
    ddx: Tensor | None,
    ddw: Tensor | None,
    strides: Sequence[int],
    paddings: Sequence[int],
    padding_algorithm: str,
    groups: int,
    dilations: Sequence[int],
    data_format: str,
    dx: Tensor | None,
    dw: Tensor | None,
    ddy: Tensor | None,
) -> None:
    padding = _padding(paddings, padding_algorithm)
    attributes = (strides, padding, dilations, groups, data_format)
    conv.plan_conv_double_grad(b, x, w, dy, ddx, ddw, dx, dw, ddy, *attributes)


@phi_kernel
def fused_conv2d_add_act(
    b: PlanBuilder,
    x: Tensor,
    w: Tensor,
    bias: Tensor | None,
    residual: Tensor | None,
    strides: Sequence[int],
    paddings: Sequence[int],
    padding_algorithm: str,
    dilations: Sequence[int],
    groups: int,
    data_format: str,
    activation: str,
    split_channels: Sequence[int],
    exhaustive_search: bool,
    workspace_size_MB: int,
    fuse_alpha: float,
    output: Tensor,
    outputs: Sequence[Tensor],
) -> None:
    if split_channels:
        raise Unsupported("a convolution with an ending was asked to split its channels, which it cannot.")
    padding = _padding(paddings, padding_algorithm)
    ending = Ending.of(activation, bias, residual)
    conv.plan_conv(b, x, w, output, strides, padding, dilations, groups, data_format, ending)
