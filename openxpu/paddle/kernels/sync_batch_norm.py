# phi kernels of batch normalisation over all cards: on a single one it is batch normalisation.

from __future__ import annotations

import os

from openxpu.ops.plan import PlanBuilder, Tensor, Unsupported
from openxpu.paddle.kernels import norm, phi_kernel


def _alone() -> None:
    if int(os.environ.get("PADDLE_TRAINERS_NUM", "1")) > 1:
        raise Unsupported(
            "sync_batch_norm is planned for a single card, not for statistics of several; use BatchNorm2D there."
        )


@phi_kernel
def sync_batch_norm(
    b: PlanBuilder, x: Tensor, mean: Tensor, variance: Tensor, scale: Tensor, bias: Tensor, is_test: bool,
    momentum: float, epsilon: float, data_layout: str, use_global_stats: bool, trainable_statistics: bool, y: Tensor,
    mean_out: Tensor, variance_out: Tensor, saved_mean: Tensor, saved_variance: Tensor, reserve_space: Tensor | None,
) -> None:  # fmt: skip
    _alone()
    norm.batch_norm(
        b, x, mean, variance, scale, bias, is_test, momentum, epsilon, data_layout, use_global_stats,
        trainable_statistics, y, mean_out, variance_out, saved_mean, saved_variance, reserve_space,
    )  # fmt: skip


@phi_kernel
def sync_batch_norm_grad(
    b: PlanBuilder, x: Tensor, scale: Tensor, bias: Tensor, saved_mean: Tensor, saved_variance: Tensor,
    reserve_space: Tensor | None, dy: Tensor, momentum: float, epsilon: float, data_layout: str, is_test: bool,
    use_global_stats: bool, trainable_statistics: bool, dx: Tensor | None, dscale: Tensor | None, dbias: Tensor | None,
) -> None:  # fmt: skip
    _alone()
    norm.batch_norm_grad(
        b, x, scale, bias, None, None, saved_mean, saved_variance, reserve_space, dy, momentum, epsilon, data_layout,
        is_test, use_global_stats, trainable_statistics, dx, dscale, dbias,
    )  # fmt: skip
