# phi kernels that put maxima back where they were found, mapped to openxpu.ops.layout: a plane is a row of positions.

from __future__ import annotations

from collections.abc import Sequence

from openxpu.ops import layout
from openxpu.ops.plan import PlanBuilder, Tensor
from openxpu.ops.reduce import require_contiguous
from openxpu.paddle.kernels import phi_kernel

Ints = Sequence[int]


def _planes(t: Tensor) -> Tensor:
    """[planes, positions]"""
    planes = t.shape[0] * t.shape[1]
    return t.reshape(planes, t.numel // max(planes, 1))


@phi_kernel(name="unpool3d")
@phi_kernel
def unpool(
    b: PlanBuilder, x: Tensor, indices: Tensor, ksize: Ints, strides: Ints, paddings: Ints, output_size: Ints,
    data_format: str, out: Tensor,
) -> None:  # fmt: skip
    require_contiguous("unpool", x, indices, out)
    b.zero(out)
    layout.plan_put_along(b, _planes(x), _planes(indices), _planes(out), 1, "assign")


@phi_kernel(name="unpool3d_grad")
@phi_kernel
def unpool_grad(
    b: PlanBuilder, x: Tensor, indices: Tensor, out: Tensor, dout: Tensor, ksize: Ints, strides: Ints, paddings: Ints,
    output_size: Ints, data_format: str, dx: Tensor,
) -> None:  # fmt: skip
    require_contiguous("unpool_grad", indices, dout, dx)
    layout.plan_take_along_axis(b, _planes(dout), _planes(indices), _planes(dx), 1)
