# phi kernels of hierarchical sigmoid, mapped to openxpu.ops.hsigmoid.

from __future__ import annotations

from openxpu.ops import hsigmoid
from openxpu.ops.plan import PlanBuilder, Tensor
from openxpu.paddle.kernels import phi_kernel
from openxpu.paddle.outputs import required, unused


@phi_kernel
def hsigmoid_loss(
    b: PlanBuilder, x: Tensor, label: Tensor, w: Tensor, bias: Tensor | None, path: Tensor | None, code: Tensor | None,
    num_classes: int, is_sparse: bool, out: Tensor, pre_out: Tensor, w_out: Tensor | None,
) -> None:  # fmt: skip
    unused(b, w_out)
    costs = required(b, pre_out, x.dtype)
    hsigmoid.plan_hsigmoid_loss(b, x, label, w, bias, path, code, out, costs, num_classes)


@phi_kernel
def hsigmoid_loss_grad(
    b: PlanBuilder, x: Tensor, w: Tensor, label: Tensor, path: Tensor | None, code: Tensor | None, bias: Tensor | None,
    pre_out: Tensor, dout: Tensor, num_classes: int, is_sparse: bool, dx: Tensor | None, dw: Tensor | None,
    dbias: Tensor | None,
) -> None:  # fmt: skip
    hsigmoid.plan_hsigmoid_loss_grad(b, x, w, label, path, code, pre_out, dout, dx, dw, dbias, num_classes)
