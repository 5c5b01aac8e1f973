# phi kernels of connectionist temporal classification, mapped to openxpu.ops.ctc.

from __future__ import annotations

from openxpu.ops import ctc
from openxpu.ops.plan import PlanBuilder, Tensor
from openxpu.paddle.kernels import phi_kernel
from openxpu.paddle.outputs import required


@phi_kernel
def warpctc(
    b: PlanBuilder, logits: Tensor, label: Tensor, logits_length: Tensor | None, labels_length: Tensor | None, blank: int,
    norm_by_times: bool, loss: Tensor, warpctcgrad: Tensor,
) -> None:  # fmt: skip
    loss, grad = required(b, loss, logits.dtype), required(b, warpctcgrad, logits.dtype)
    ctc.plan_ctc_loss(b, logits, label, logits_length, labels_length, loss, grad, blank)


@phi_kernel
def warpctc_grad(
    b: PlanBuilder, logits: Tensor, logits_length: Tensor | None, warpctcgrad: Tensor, dloss: Tensor, blank: int,
    norm_by_times: bool, dlogits: Tensor | None,
) -> None:  # fmt: skip
    if dlogits is not None:
        ctc.plan_ctc_loss_grad(b, warpctcgrad, logits_length, dloss, dlogits, norm_by_times)


@phi_kernel
def ctc_align(
    b: PlanBuilder, x: Tensor, lengths: Tensor | None, blank: int, merge_repeated: bool, padding_value: int, out: Tensor,
    out_lengths: Tensor,
) -> None:  # fmt: skip
    out, out_lengths = required(b, out, x.dtype), required(b, out_lengths, x.dtype)
    ctc.plan_ctc_align(b, x, lengths, out, out_lengths, blank, merge_repeated, padding_value)
