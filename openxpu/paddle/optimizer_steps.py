# Momentum's step over all parameters, clipping by global norm included, as one call.
"""Paddle clips and updates parameter by parameter: with a model of hundreds of small parameters, a step is thousands of calls,
each of which takes longer than its work, and every gradient is read and written once more for clipping. Here the norms, the
factor and the updates are one plan, which reads a gradient once for its norm and once for the update.

What this does not know (parameter groups, rates of single parameters, parameters in 16 bits, programs, tensors of several
cards, classes that derive from Paddle's) goes Paddle's own way."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from openxpu.paddle import after_import

if TYPE_CHECKING:
    from openxpu.ops.plan import PlanBuilder, Tensor

Pairs = list[tuple[Any, Any]]


@functools.cache
def _operator() -> Any:
    """Registered at the first step, because the planner's modules are not needed to import Paddle."""
    from openxpu.ops import optimizer
    from openxpu.paddle.operators import register

    @register(
        "openxpu_momentum",
        outputs=("norm",),
        lists=("params", "grads", "velocities"),
        attributes={
            "limit": float, "mu": float, "nesterov": bool, "decay": float, "rescale": float
        },
        infer_shape=lambda *shapes, **attributes: (),
        infer_dtype=lambda params, *others: params[0],
    )  # fmt: skip
    def momentum(
        b: PlanBuilder, params: Sequence[Tensor], grads: Sequence[Tensor], velocities: Sequence[Tensor], rate: Tensor,
        limit: float, mu: float, nesterov: bool, decay: float, rescale: float, norm: Tensor,
    ) -> None:  # fmt: skip
        """Updates params and velocities in place. limit > 0: clips by global norm, which is the result; else that is 0."""
        factor = None
        if limit > 0:
            factor = optimizer.plan_clip_factor(b, grads, norm, limit)
        else:
            b.zero(norm)
        for param, grad, velocity in zip(params, grads, velocities, strict=True):
            optimizer.plan_momentum(
                b,
                param,
                grad,
                velocity,
                rate,
                None,
                param,
                velocity,
                None,
                mu,
                nesterov,
                decay,
                rescale,
                factor,
            )

    return momentum


def _limit(clip: Any) -> float | None:
    """Of clipping by global norm; 0 for none, and None where it is something else."""
    from paddle.nn import ClipGradByGlobalNorm

    if clip is None:
        return 0.0
    plain = type(clip) is ClipGradByGlobalNorm and not clip.auto_skip_clip and clip.clip_norm > 0
    return float(clip.clip_norm) if plain and not clip.should_comm_on_shard_dim else None


def _plain(param: Any, grad: Any, clipped: bool, dtype: Any, card: Any) -> bool:
    """A parameter of this card in `dtype`, with a dense gradient and nothing of its own."""
    attributes = param.__dict__
    return (
        attributes.get("optimize_attr", {}).get("learning_rate") == 1.0
        and attributes.get("regularizer") is None
        and not (clipped and attributes.get("need_clip") is False)
        and "_need_shard_auto" not in attributes
        and param.dtype == dtype == grad.dtype
        and grad.is_dense()
        and not param.is_dist()
        and param.place._equals(card)
        and param.is_contiguous()
    )


def _fused(optimizer: Any, params_grads: Any) -> tuple[Pairs, float] | None:
    """The pairs of parameter and gradient, and the limit of clipping, where the step is one that this file knows."""
    from paddle import float32
    from paddle.base import framework
    from paddle.distributed.auto_parallel import auto_dp_utils, fully_shard_fusion
    from paddle.optimizer import optimizer as paddle_optimizer

    if (
        not framework.in_dygraph_mode()
        or not isinstance(params_grads, list)
        or optimizer._use_multi_tensor
        or optimizer.regularization is not None
        or paddle_optimizer.g_shard_bypass_dygraph_optimizer
        or auto_dp_utils.in_auto_dp_mode()
        or fully_shard_fusion.get_fsdp_context() is not None
        or (limit := _limit(optimizer._grad_clip)) is None
    ):
        return None
    pairs = [pair for pair in params_grads if pair[1] is not None]
    card = pairs[0][0].place if pairs else None
    if card is None or not card.is_custom_place():
        return None
    return (pairs, limit) if all(_plain(p, g, limit > 0, float32, card) for p, g in pairs) else None


def _step(optimizer: Any, pairs: Pairs, limit: float) -> bool:
    """False, and nothing is done, where the optimizer's own tensors are elsewhere: those of a first step on the CPU."""
    from paddle.base import framework
    from paddle.base.layer_helper import LayerHelper

    params = [p for p, _ in pairs]
    optimizer.helper = LayerHelper(type(optimizer).__name__)
    optimizer._create_global_learning_rate()
    optimizer._create_accumulators(framework.default_main_program().global_block(), params)
    decay = optimizer._regularization_coeff if optimizer._regularization_method == "l2_decay" else 0.0
    rate, card = optimizer._global_learning_rate(), params[0].place
    velocities = [optimizer._get_accumulator_master(optimizer._velocity_acc_str, p) for p in params]
    if not all(tensor.place._equals(card) for tensor in (rate, *velocities)):
        return False
    _operator()(
        params,
        [g if g.is_contiguous() else g.contiguous() for _, g in pairs],
        velocities,
        rate,
        limit=limit,
        mu=optimizer._momentum,
        nesterov=optimizer._use_nesterov,
        decay=decay,
        rescale=optimizer._rescale_grad,
    )
    for param in params:
        param._bump_inplace_version()  # as Paddle's operators in place do
    return True


def _patch(module: Any) -> None:
    original: Callable[..., Any] = module.Momentum._apply_optimize

    @functools.wraps(original)
    def apply(self: Any, loss: Any, startup_program: Any, params_grads: Any, param_group_idx: int = 0) -> Any:
        fused = _fused(self, params_grads) if type(self) is module.Momentum else None
        if fused is None or not _step(self, *fused):
            return original(self, loss, startup_program, params_grads, param_group_idx)
        return None

    module.Momentum._apply_optimize = apply


def install() -> None:
    """Takes effect when Paddle's optimizers are imported."""
    after_import.install({"paddle.optimizer.momentum": _patch})
