# phi kernels of deformable convolution, mapped to openxpu.ops.deformable.

from __future__ import annotations

from collections.abc import Sequence

from openxpu.ops import deformable
from openxpu.ops.plan import PlanBuilder, Tensor
from openxpu.paddle.kernels import phi_kernel

Ints = Sequence[int]


@phi_kernel
def deformable_conv(
    b: PlanBuilder, x: Tensor, offset: Tensor, filter: Tensor, mask: Tensor | None, strides: Ints, paddings: Ints,
    dilations: Ints, deformable_groups: int, groups: int, im2col_step: int, out: Tensor,
) -> None:  # fmt: skip
    deformable.plan_deformable_conv(
        b, x, offset, filter, mask, out, strides, paddings, dilations, deformable_groups, groups
    )


@phi_kernel
def deformable_conv_grad(
    b: PlanBuilder, x: Tensor, offset: Tensor, filter: Tensor, mask: Tensor | None, dout: Tensor, strides: Ints,
    paddings: Ints, dilations: Ints, deformable_groups: int, groups: int, im2col_step: int, dx: Tensor | None,
    doffset: Tensor | None, dfilter: Tensor | None, dmask: Tensor | None,
) -> None:  # fmt: skip
    deformable.plan_deformable_conv_grad(
        b, x, offset, filter, mask, dout, dx, doffset, dfilter, dmask, strides, paddings, dilations,
        deformable_groups, groups,
    )  # fmt: skip
