# phi kernels of losses, mapped to openxpu.ops.loss.

from __future__ import annotations

from openxpu.ops import loss
from openxpu.ops.elementwise import plan_multiply_scalar
from openxpu.ops.plan import PlanBuilder, Tensor, Unsupported
from openxpu.paddle.kernels import phi_kernel
from openxpu.paddle.outputs import required


@phi_kernel
def cross_entropy_with_softmax(
    b: PlanBuilder, logits: Tensor, label: Tensor, soft_label: bool, use_softmax: bool, numeric_stable_mode: bool,
    ignore_index: int, axis: int, softmax: Tensor, out: Tensor,
) -> None:  # fmt: skip
    loss.plan_cross_entropy(b, logits, label, softmax, out, soft_label, axis, ignore_index, not use_softmax)


@phi_kernel
def cross_entropy_with_softmax_grad(
    b: PlanBuilder, label: Tensor, softmax: Tensor, dloss: Tensor, soft_label: bool, use_softmax: bool,
    numeric_stable_mode: bool, ignore_index: int, axis: int, dlogits: Tensor,
) -> None:  # fmt: skip
    loss.plan_cross_entropy_grad(
        b, label, softmax, dloss, dlogits, soft_label, axis, ignore_index, not use_softmax
    )


@phi_kernel
def bce_loss(b: PlanBuilder, x: Tensor, label: Tensor, out: Tensor) -> None:
    loss.plan_elementwise_loss(b, x, label, out, "bce")


@phi_kernel
def bce_loss_grad(b: PlanBuilder, x: Tensor, label: Tensor, dout: Tensor, dx: Tensor) -> None:
    loss.plan_elementwise_loss_grad(b, x, label, dout, dx, "bce", p=1e-12)


def _not_normalised(normalize: bool) -> None:
    if normalize:
        raise Unsupported("sigmoid_cross_entropy_with_logits with normalize=True is not planned.")


@phi_kernel
def sigmoid_cross_entropy_with_logits(
    b: PlanBuilder,
    x: Tensor,
    label: Tensor,
    pos_weight: Tensor | None,
    normalize: bool,
    ignore_index: int,
    out: Tensor,
) -> None:
    _not_normalised(normalize)
    loss.plan_elementwise_loss(
        b, x, label, out, "sigmoid", weight=pos_weight, ignore_index=float(ignore_index)
    )


@phi_kernel
def sigmoid_cross_entropy_with_logits_grad(
    b: PlanBuilder, x: Tensor, label: Tensor, pos_weight: Tensor | None, dout: Tensor, normalize: bool,
    ignore_index: int, dx: Tensor,
) -> None:  # fmt: skip
    _not_normalised(normalize)
    loss.plan_elementwise_loss_grad(
        b, x, label, dout, dx, "sigmoid", weight=pos_weight, ignore_index=float(ignore_index)
    )


@phi_kernel
def huber_loss(b: PlanBuilder, x: Tensor, label: Tensor, delta: float, out: Tensor, residual: Tensor) -> None:
    residual = required(b, residual, x.dtype)
    loss.plan_elementwise_loss(b, x, label, out, "huber", second=residual, p=delta)


@phi_kernel
def huber_loss_grad(
    b: PlanBuilder, residual: Tensor, dout: Tensor, delta: float, dx: Tensor | None, dlabel: Tensor | None
) -> None:
    dx = b.scratch(residual.shape, residual.dtype) if dx is None else dx
    loss.plan_elementwise_loss_grad(b, residual, None, dout, dx, "huber", dlabel=dlabel, p=delta)


@phi_kernel
def log_loss(b: PlanBuilder, x: Tensor, label: Tensor, epsilon: float, out: Tensor) -> None:
    loss.plan_elementwise_loss(b, x, label, out, "log", p=epsilon)


@phi_kernel
def log_loss_grad(b: PlanBuilder, x: Tensor, label: Tensor, dout: Tensor, epsilon: float, dx: Tensor) -> None:
    loss.plan_elementwise_loss_grad(b, x, label, dout, dx, "log", p=epsilon)


@phi_kernel
def kldiv_loss(
    b: PlanBuilder, x: Tensor, label: Tensor, reduction: str, log_target: bool, out: Tensor
) -> None:
    loss.plan_kldiv(b, x, label, out, reduction, log_target)


@phi_kernel
def kldiv_loss_grad(
    b: PlanBuilder, x: Tensor, label: Tensor, dout: Tensor, reduction: str, log_target: bool, dx: Tensor
) -> None:
    loss.plan_kldiv_grad(b, x, label, dout, dx, reduction, log_target)


@phi_kernel
def nll_loss(
    b: PlanBuilder, x: Tensor, label: Tensor, weight: Tensor | None, ignore_index: int, reduction: str, out: Tensor,
    total_weight: Tensor,
) -> None:  # fmt: skip
    total_weight = required(b, total_weight, x.dtype)
    loss.plan_nll_loss(b, x, label, weight, out, total_weight, ignore_index, reduction)


@phi_kernel
def nll_loss_grad(
    b: PlanBuilder, x: Tensor, label: Tensor, weight: Tensor | None, total_weight: Tensor, dout: Tensor,
    ignore_index: int, reduction: str, dx: Tensor,
) -> None:  # fmt: skip
    loss.plan_nll_loss_grad(b, x, label, weight, total_weight, dout, dx, ignore_index, reduction)


@phi_kernel
def label_smooth(b: PlanBuilder, label: Tensor, prior: Tensor | None, epsilon: float, out: Tensor) -> None:
    loss.plan_label_smooth(b, label, prior, out, epsilon)


@phi_kernel
def label_smooth_grad(b: PlanBuilder, dout: Tensor, epsilon: float, dx: Tensor) -> None:
    plan_multiply_scalar(b, dout, dx, 1.0 - epsilon)
