# phi kernels of sliding windows, mapped to openxpu.ops.windows.

from __future__ import annotations

from collections.abc import Sequence

from openxpu.ops.plan import PlanBuilder, Tensor
from openxpu.ops.windows import Windows, plan_fold, plan_unfold
from openxpu.paddle.kernels import phi_kernel

Ints = Sequence[int]


@phi_kernel
def unfold(
    b: PlanBuilder, x: Tensor, kernel_sizes: Ints, strides: Ints, paddings: Ints, dilations: Ints, out: Tensor
) -> None:
    plan_unfold(b, x, out, Windows.of(kernel_sizes, strides, paddings, dilations))


@phi_kernel
def unfold_grad(
    b: PlanBuilder, x: Tensor, out_grad: Tensor, kernel_sizes: Ints, strides: Ints, paddings: Ints, dilations: Ints,
    x_grad: Tensor,
) -> None:  # fmt: skip
    plan_fold(b, out_grad, x_grad, Windows.of(kernel_sizes, strides, paddings, dilations))


@phi_kernel
def fold(
    b: PlanBuilder, x: Tensor, output_sizes: Ints, kernel_sizes: Ints, strides: Ints, paddings: Ints, dilations: Ints,
    out: Tensor,
) -> None:  # fmt: skip
    plan_fold(b, x, out, Windows.of(kernel_sizes, strides, paddings, dilations))


@phi_kernel
def fold_grad(
    b: PlanBuilder, x: Tensor, out_grad: Tensor, output_sizes: Ints, kernel_sizes: Ints, strides: Ints, paddings: Ints,
    dilations: Ints, x_grad: Tensor,
) -> None:  # fmt: skip
    plan_unfold(b, out_grad, x_grad, Windows.of(kernel_sizes, strides, paddings, dilations))
