# phi kernels of loss scaling, mapped to openxpu.ops.amp.

from __future__ import annotations

from collections.abc import Sequence

from openxpu.ops import amp
from openxpu.ops.plan import PlanBuilder, Tensor
from openxpu.paddle.kernels import phi_kernel
from openxpu.paddle.outputs import required


@phi_kernel
def check_finite_and_unscale(
    b: PlanBuilder, xs: Sequence[Tensor], scale: Tensor, outs: Sequence[Tensor], found_infinite: Tensor
) -> None:
    amp.plan_check_finite_and_unscale(b, xs, scale, outs, required(b, found_infinite, "bool"))


@phi_kernel
def update_loss_scaling(
    b: PlanBuilder, xs: Sequence[Tensor], found_infinite: Tensor, prev_loss_scaling: Tensor, in_good_steps: Tensor,
    in_bad_steps: Tensor, incr_every_n_steps: int, decr_every_n_nan_or_inf: int, incr_ratio: float, decr_ratio: float,
    stop_update: bool, outs: Sequence[Tensor], loss_scaling: Tensor, out_good_steps: Tensor, out_bad_steps: Tensor,
) -> None:  # fmt: skip
    amp.plan_update_loss_scaling(
        b, xs, found_infinite, prev_loss_scaling, in_good_steps, in_bad_steps, outs,
        required(b, loss_scaling, prev_loss_scaling.dtype), required(b, out_good_steps, "i32"),
        required(b, out_bad_steps, "i32"), incr_every_n_steps, decr_every_n_nan_or_inf, incr_ratio, decr_ratio,
        bool(stop_update),
    )  # fmt: skip
