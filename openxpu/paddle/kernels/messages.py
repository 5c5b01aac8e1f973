# phi kernels of messages on graphs, mapped to openxpu.ops.messages.

from __future__ import annotations

from openxpu.ops import messages
from openxpu.ops.plan import PlanBuilder, Tensor
from openxpu.paddle.kernels import phi_kernel
from openxpu.paddle.outputs import required, typed, unused


def _counts(b: PlanBuilder, counts: Tensor, how: str) -> Tensor | None:
    if how != "MEAN":
        unused(b, counts)
        return None
    return required(b, counts, "i32")


@phi_kernel
def send_u_recv(
    b: PlanBuilder,
    x: Tensor,
    source: Tensor,
    target: Tensor,
    how: str,
    out_size: list[int],
    out: Tensor,
    counts: Tensor,
) -> None:
    messages.plan_receive(b, x, None, source, target, out, _counts(b, counts, how), "copy", how)


@phi_kernel
def send_u_recv_grad(
    b: PlanBuilder,
    x: Tensor,
    source: Tensor,
    target: Tensor,
    out: Tensor | None,
    counts: Tensor | None,
    d: Tensor,
    how: str,
    dx: Tensor,
) -> None:
    messages.plan_receive_grad(b, x, None, source, target, out, counts, d, "copy", how, dx, None)


@phi_kernel
def send_ue_recv(
    b: PlanBuilder,
    x: Tensor,
    y: Tensor,
    source: Tensor,
    target: Tensor,
    message: str,
    how: str,
    out_size: list[int],
    out: Tensor,
    counts: Tensor,
) -> None:
    messages.plan_receive(b, x, y, source, target, out, _counts(b, counts, how), message, how)


@phi_kernel
def send_ue_recv_grad(
    b: PlanBuilder,
    x: Tensor,
    y: Tensor,
    source: Tensor,
    target: Tensor,
    out: Tensor | None,
    counts: Tensor | None,
    d: Tensor,
    message: str,
    how: str,
    dx: Tensor | None,
    dy: Tensor | None,
) -> None:
    dx, dy = typed(b, dx, x.dtype), typed(b, dy, y.dtype)
    messages.plan_receive_grad(b, x, y, source, target, out, counts, d, message, how, dx, dy)


@phi_kernel
def send_uv(
    b: PlanBuilder, x: Tensor, y: Tensor, source: Tensor, target: Tensor, message: str, out: Tensor
) -> None:
    messages.plan_send(b, x, y, source, target, out, message)


@phi_kernel
def send_uv_grad(
    b: PlanBuilder,
    x: Tensor,
    y: Tensor,
    source: Tensor,
    target: Tensor,
    d: Tensor,
    message: str,
    dx: Tensor | None,
    dy: Tensor | None,
) -> None:
    messages.plan_send_grad(b, x, y, source, target, d, message, dx, dy)
