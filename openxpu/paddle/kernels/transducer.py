# phi kernels of sequence transducers, mapped to openxpu.ops.transducer.

from __future__ import annotations

from openxpu.ops import transducer
from openxpu.ops.plan import PlanBuilder, Tensor
from openxpu.paddle.kernels import phi_kernel
from openxpu.paddle.outputs import required


@phi_kernel
def warprnnt(
    b: PlanBuilder, x: Tensor, label: Tensor, input_lengths: Tensor, label_lengths: Tensor, blank: int,
    fastemit_lambda: float, loss: Tensor, warprnntgrad: Tensor,
) -> None:  # fmt: skip
    loss, grad = required(b, loss, x.dtype), required(b, warprnntgrad, x.dtype)
    transducer.plan_transducer_loss(
        b, x, label, input_lengths, label_lengths, loss, grad, blank, fastemit_lambda
    )


@phi_kernel
def warprnnt_grad(
    b: PlanBuilder, x: Tensor, input_lengths: Tensor, warprnntgrad: Tensor, dloss: Tensor, blank: int,
    fastemit_lambda: float, dx: Tensor | None,
) -> None:  # fmt: skip
    if dx is not None:
        transducer.plan_transducer_loss_grad(b, warprnntgrad, dloss, dx)
