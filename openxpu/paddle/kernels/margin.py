# phi kernels of cross entropy with angular margins, mapped to openxpu.ops.margin.

from __future__ import annotations

from openxpu.ops import margin
from openxpu.ops.plan import PlanBuilder, Tensor, Unsupported
from openxpu.paddle.kernels import phi_kernel


def _one_card(nranks: int) -> None:
    if nranks > 1:
        raise Unsupported("margin_cross_entropy is planned for classes on one card.")


@phi_kernel
def margin_cross_entropy(
    b: PlanBuilder, logits: Tensor, label: Tensor, return_softmax: bool, ring_id: int, rank: int, nranks: int,
    margin1: float, margin2: float, margin3: float, scale: float, softmax: Tensor, loss: Tensor,
) -> None:  # fmt: skip
    _one_card(nranks)
    margin.plan_margin_cross_entropy(b, logits, label, softmax, loss, (margin1, margin2, margin3), scale)


@phi_kernel
def margin_cross_entropy_grad(
    b: PlanBuilder, logits: Tensor, label: Tensor, softmax: Tensor, loss_grad: Tensor, return_softmax: bool,
    ring_id: int, rank: int, nranks: int, margin1: float, margin2: float, margin3: float, scale: float,
    logits_grad: Tensor,
) -> None:  # fmt: skip
    _one_card(nranks)
    margin.plan_margin_cross_entropy_grad(
        b, logits, label, softmax, loss_grad, logits_grad, (margin1, margin2, margin3), scale
    )
