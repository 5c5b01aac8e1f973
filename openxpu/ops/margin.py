# Cross entropy with angular margins: planners.

from __future__ import annotations

from openxpu.ops.plan import PlanBuilder, Tensor, dtype_constexpr
from openxpu.ops.reduce import accumulation_dtype, power_of_two, real, require_contiguous

_TILE = 2048


def plan_margin_cross_entropy(
    b: PlanBuilder, x: Tensor, labels: Tensor, softmax: Tensor, loss: Tensor, margins: tuple[float, float, float],
    scale: float,
) -> None:  # fmt: skip
    """Cosines x [rows, n] of angles theta: loss [rows, 1] = -log softmax(scale * x) of the label, whose cosine is replaced by
    cos(m1 * theta + m2) - m3."""
    require_contiguous("margin_cross_entropy", x, labels, softmax, loss)
    if x.numel == 0:
        return
    rows, n = x.shape
    acc = accumulation_dtype(x.dtype)
    b.launch(
        "margin.forward", rows, x, labels, softmax, loss, n, *(real(m, acc) for m in margins), real(scale, acc),
        cost=16 * x.nbytes, ACC=dtype_constexpr(acc), BLOCK=min(max(power_of_two(n), 16), _TILE),
    )  # fmt: skip


def plan_margin_cross_entropy_grad(
    b: PlanBuilder, x: Tensor, labels: Tensor, softmax: Tensor, dloss: Tensor, dx: Tensor,
    margins: tuple[float, float, float], scale: float,
) -> None:  # fmt: skip
    require_contiguous("margin_cross_entropy_grad", x, labels, softmax, dloss, dx)
    if x.numel == 0:
        return
    rows, n = x.shape
    acc = accumulation_dtype(x.dtype)
    block = min(max(power_of_two(n), 16), _TILE)
    b.launch(
        "margin.backward", (-(-n // block), rows), x, labels, softmax, dloss, dx, n,
        real(margins[0], acc), real(margins[1], acc), real(scale, acc), cost=8 * x.nbytes,
        MARGIN=int(margins[:2] != (1.0, 0.0)), ACC=dtype_constexpr(acc), BLOCK=block,
    )  # fmt: skip
