# Planners of loss scaling for mixed precision.

from __future__ import annotations

from collections.abc import Sequence

from openxpu.ops.plan import I64, PlanBuilder, Tensor, dtype_constexpr
from openxpu.ops.reduce import accumulation_dtype, power_of_two, real, require_contiguous

_BLOCK = 4096


def plan_check_finite_and_unscale(
    b: PlanBuilder, xs: Sequence[Tensor], scale: Tensor, outs: Sequence[Tensor], found: Tensor
) -> None:
    """outs = xs / scale; found = whether any of them has an infinity or a NaN."""
    b.zero(found)
    flag = found.reinterpret("i8")
    for x, out in zip(xs, outs, strict=True):
        require_contiguous("check_finite_and_unscale", x, out)
        n = x.numel
        block = min(_BLOCK, max(power_of_two(n), 16))
        b.launch(
            "amp.unscale", -(-n // block), x, scale, out, flag, I64(n), cost=2 * x.nbytes,
            ACC=dtype_constexpr(accumulation_dtype(x.dtype)), BLOCK=block,
        )  # fmt: skip


def plan_update_loss_scaling(
    b: PlanBuilder,
    xs: Sequence[Tensor],
    found: Tensor,
    scale: Tensor,
    good: Tensor,
    bad: Tensor,
    outs: Sequence[Tensor],
    scale_out: Tensor,
    good_out: Tensor,
    bad_out: Tensor,
    up_every: int,
    down_every: int,
    up: float,
    down: float,
    stop: bool = False,
) -> None:
    """outs = xs, zeros when an infinity was found; then moves the scale unless `stop`."""
    flag = found.reinterpret("i8")
    for x, out in zip(xs, outs, strict=True):
        require_contiguous("update_loss_scaling", x, out)
        n = x.numel
        block = min(_BLOCK, max(power_of_two(n), 16))
        b.launch("amp.zero_if", -(-n // block), x, flag, out, I64(n), cost=2 * x.nbytes, BLOCK=block)
    if stop:
        return
    acc = accumulation_dtype(scale.dtype)
    b.launch(
        "amp.move_scale", 1, flag, scale, good, bad, scale_out, good_out, bad_out, up_every, down_every,
        real(up, acc), real(down, acc), ACC=dtype_constexpr(acc),
    )  # fmt: skip
