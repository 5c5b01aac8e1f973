# Optimizer planners: one streaming pass per parameter; outputs may be the inputs. Also clipping by norm.
"""`master` is the f32 copy of an f16 or bf16 parameter, or None. `rate` is the learning rate, a tensor of one element."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from openxpu.ops.plan import I64, PlanBuilder, Tensor, dtype_constexpr
from openxpu.ops.reduce import accumulation_dtype, plan_squared_norm, power_of_two, real, require_contiguous

_BLOCK = 4096


def _launch(
    b: PlanBuilder, kernel: str, param: Tensor, tensors: tuple[Tensor | None, ...], scalars: tuple[float, ...],
    master: Tensor | None, streams: int, **flags: Any,
) -> None:  # fmt: skip
    require_contiguous(kernel, *tensors)
    n = param.numel
    acc = accumulation_dtype(param.dtype)
    block = min(_BLOCK, max(power_of_two(n), 16))
    b.launch(
        f"optimizer.{kernel}", -(-n // block), *tensors, I64(n), *(real(value, acc) for value in scalars),
        cost=streams * param.nbytes, **flags, MASTER=int(master is not None), ACC=dtype_constexpr(acc), BLOCK=block,
    )  # fmt: skip


def plan_sgd(
    b: PlanBuilder,
    param: Tensor,
    rate: Tensor,
    grad: Tensor,
    master: Tensor | None,
    param_out: Tensor,
    master_out: Tensor | None,
) -> None:
    """param -= rate * grad."""
    _launch(b, "sgd", param, (param, rate, grad, master, param_out, master_out), (), master, 3)


def plan_momentum(
    b: PlanBuilder,
    param: Tensor,
    grad: Tensor,
    velocity: Tensor,
    rate: Tensor,
    master: Tensor | None,
    param_out: Tensor,
    velocity_out: Tensor,
    master_out: Tensor | None,
    mu: float,
    nesterov: bool = False,
    decay: float = 0.0,
    rescale: float = 1.0,
    factor: Tensor | None = None,
) -> None:
    """velocity = mu * velocity + g; param -= rate * velocity, with g = grad * factor * rescale + decay * param."""
    tensors = (param, grad, velocity, rate, factor, master, param_out, velocity_out, master_out)
    flags = {"NESTEROV": int(nesterov), "DECAY": int(decay != 0.0), "FACTOR": int(factor is not None)}
    _launch(b, "momentum", param, tensors, (mu, decay, rescale), master, 5, **flags)


def plan_clip_factor(b: PlanBuilder, grads: Sequence[Tensor], norm: Tensor, limit: float) -> Tensor:
    """What clipping by global norm multiplies all gradients by, a tensor of one element; norm = their norm."""
    squares, factor = b.scratch((len(grads),), norm.dtype), b.scratch((1,), norm.dtype)
    for i, grad in enumerate(grads):
        plan_squared_norm(b, grad, squares.view((1,), (1,), i))
    acc = accumulation_dtype(norm.dtype)
    b.launch(
        "optimizer.clip_factor", 1, squares, norm, factor, len(grads), real(limit, acc), cost=squares.nbytes,
        ACC=dtype_constexpr(acc), BLOCK=64,
    )  # fmt: skip
    return factor


def plan_adam(
    b: PlanBuilder,
    param: Tensor,
    grad: Tensor,
    rate: Tensor,
    moment1: Tensor,
    moment2: Tensor,
    moment2_max: Tensor | None,
    power1: Tensor,
    power2: Tensor,
    master: Tensor | None,
    skip: Tensor | None,
    param_out: Tensor,
    moment1_out: Tensor,
    moment2_out: Tensor,
    moment2_max_out: Tensor | None,
    power1_out: Tensor | None,
    power2_out: Tensor | None,
    master_out: Tensor | None,
    beta1: float,
    beta2: float,
    epsilon: float,
    rate_ratio: float = 1.0,
    decay: float = 0.0,
    amsgrad: bool = False,
) -> None:
    """Adam, or AdamW when decay is not zero. power1_out, power2_out: None when the caller moves the powers itself."""
    tensors = (
        param, grad, rate, moment1, moment2, moment2_max if amsgrad else None, power1, power2, master, skip,
        param_out, moment1_out, moment2_out, moment2_max_out if amsgrad else None, master_out,
    )  # fmt: skip
    flags = {"AMSGRAD": int(amsgrad), "DECAY": int(decay != 0.0), "SKIP": int(skip is not None)}
    scalars = (beta1, beta2, epsilon, rate_ratio, decay)
    _launch(b, "adam", param, tensors, scalars, master, 7, **flags)
    if power1_out is not None and power2_out is not None:
        acc = accumulation_dtype(power1.dtype)
        b.launch(
            "optimizer.adam_powers", 1, power1, power2, skip, power1_out, power2_out, real(beta1, acc), real(beta2, acc),
            SKIP=int(skip is not None), ACC=dtype_constexpr(acc),
        )  # fmt: skip


def plan_rmsprop(
    b: PlanBuilder,
    param: Tensor,
    mean_square: Tensor,
    grad: Tensor,
    moment: Tensor,
    rate: Tensor,
    mean_grad: Tensor | None,
    master: Tensor | None,
    param_out: Tensor,
    moment_out: Tensor,
    mean_square_out: Tensor,
    mean_grad_out: Tensor | None,
    master_out: Tensor | None,
    epsilon: float,
    rho: float,
    mu: float,
    centered: bool,
) -> None:
    tensors = (
        param, mean_square, grad, moment, rate, mean_grad if centered else None, master,
        param_out, moment_out, mean_square_out, mean_grad_out if centered else None, master_out,
    )  # fmt: skip
    _launch(b, "rmsprop", param, tensors, (epsilon, rho, mu), master, 7, CENTERED=int(centered))


def plan_adagrad(
    b: PlanBuilder,
    param: Tensor,
    grad: Tensor,
    moment: Tensor,
    rate: Tensor,
    master: Tensor | None,
    param_out: Tensor,
    moment_out: Tensor,
    master_out: Tensor | None,
    epsilon: float,
) -> None:
    tensors = (param, grad, moment, rate, master, param_out, moment_out, master_out)
    _launch(b, "adagrad", param, tensors, (epsilon,), master, 5)


def plan_adamax(
    b: PlanBuilder,
    param: Tensor,
    grad: Tensor,
    rate: Tensor,
    moment: Tensor,
    peak: Tensor,
    power1: Tensor,
    master: Tensor | None,
    param_out: Tensor,
    moment_out: Tensor,
    peak_out: Tensor,
    master_out: Tensor | None,
    beta1: float,
    beta2: float,
    epsilon: float,
) -> None:
    tensors = (param, grad, rate, moment, peak, power1, master, param_out, moment_out, peak_out, master_out)
    _launch(b, "adamax", param, tensors, (beta1, beta2, epsilon), master, 7)


def plan_adadelta(
    b: PlanBuilder,
    param: Tensor,
    grad: Tensor,
    square_grad: Tensor,
    square_update: Tensor,
    rate: Tensor,
    master: Tensor | None,
    param_out: Tensor,
    square_grad_out: Tensor,
    square_update_out: Tensor,
    master_out: Tensor | None,
    rho: float,
    epsilon: float,
) -> None:
    tensors = (
        param, grad, square_grad, square_update, rate, master,
        param_out, square_grad_out, square_update_out, master_out,
    )  # fmt: skip
    _launch(b, "adadelta", param, tensors, (rho, epsilon), master, 7)


def _squared_norm(b: PlanBuilder, x: Tensor) -> Tensor:
    square = b.scratch((1,), accumulation_dtype(x.dtype))
    plan_squared_norm(b, x, square.view(()))
    return square


def plan_clip_by_norm(b: PlanBuilder, x: Tensor, out: Tensor, limit: float) -> None:
    """x, scaled down to norm `limit` when its norm is greater."""
    require_contiguous("clip_by_norm", x, out)
    acc = accumulation_dtype(x.dtype)
    square = _squared_norm(b, x)
    n = x.numel
    block = min(_BLOCK, max(power_of_two(n), 16))
    b.launch(
        "optimizer.clip_to_norm", -(-n // block), x, square, out, I64(n), real(limit, acc),
        cost=2 * x.nbytes, ACC=dtype_constexpr(acc), BLOCK=block,
    )  # fmt: skip


def plan_nadam(
    b: PlanBuilder,
    param: Tensor,
    grad: Tensor,
    rate: Tensor,
    scalars: tuple[Tensor, Tensor, Tensor],
    moments: tuple[Tensor, Tensor],
    master: Tensor | None,
    param_out: Tensor,
    scalars_out: tuple[Tensor, Tensor, Tensor],
    moments_out: tuple[Tensor, Tensor],
    master_out: Tensor | None,
    beta1: float,
    beta2: float,
    epsilon: float,
    decay: float,
) -> None:
    """Adam with Nesterov momentum. scalars: 0.96^t, beta2^t and the product of the mu, before this step."""
    tensors = (param, grad, rate, *scalars, *moments, master, param_out, *moments_out, master_out)
    _launch(b, "nadam", param, tensors, (beta1, beta2, epsilon, decay), master, 7)
    acc = accumulation_dtype(scalars[0].dtype)
    numbers = (real(value, acc) for value in (beta1, beta2, decay))
    b.launch("optimizer.nadam_scalars", 1, *scalars, *scalars_out, *numbers, ACC=dtype_constexpr(acc))


def plan_radam(
    b: PlanBuilder,
    param: Tensor,
    grad: Tensor,
    rate: Tensor,
    scalars: tuple[Tensor, Tensor, Tensor],
    moments: tuple[Tensor, Tensor],
    master: Tensor | None,
    param_out: Tensor,
    scalars_out: tuple[Tensor, Tensor, Tensor],
    moments_out: tuple[Tensor, Tensor],
    master_out: Tensor | None,
    beta1: float,
    beta2: float,
    epsilon: float,
) -> None:
    """Rectified Adam. scalars: beta1^t, beta2^t and rho, before this step."""
    tensors = (param, grad, rate, *scalars, *moments, master, param_out, *moments_out, master_out)
    _launch(b, "radam", param, tensors, (beta1, beta2, epsilon), master, 7)
    acc = accumulation_dtype(scalars[0].dtype)
    numbers = (real(value, acc) for value in (beta1, beta2))
    b.launch("optimizer.radam_scalars", 1, *scalars, *scalars_out, *numbers, ACC=dtype_constexpr(acc))


def plan_rprop(
    b: PlanBuilder,
    param: Tensor,
    grad: Tensor,
    before: Tensor,
    rate: Tensor,
    limits: Tensor,
    etas: Tensor,
    master: Tensor | None,
    param_out: Tensor,
    before_out: Tensor,
    rate_out: Tensor,
    master_out: Tensor | None,
) -> None:
    """Resilient propagation; limits: least and largest rate, etas: factors by which a rate shrinks and grows."""
    tensors = (
        param, grad, before, rate, limits, etas, master, param_out, before_out, rate_out, master_out
    )  # fmt: skip
    _launch(b, "rprop", param, tensors, (), master, 6)


def plan_asgd(
    b: PlanBuilder,
    param: Tensor,
    grad: Tensor,
    rate: Tensor,
    total: Tensor,
    kept: Tensor,
    count: Tensor,
    master: Tensor | None,
    param_out: Tensor,
    total_out: Tensor,
    kept_out: Tensor,
    master_out: Tensor | None,
) -> None:
    """total += grad - kept; kept = grad; param -= rate / count * total."""
    tensors = (param, grad, rate, total, kept, count, master, param_out, total_out, kept_out, master_out)
    _launch(b, "asgd", param, tensors, (), master, 6)


def plan_decayed_adagrad(
    b: PlanBuilder, param: Tensor, grad: Tensor, moment: Tensor, rate: Tensor, param_out: Tensor, moment_out: Tensor,
    decay: float, epsilon: float,
) -> None:  # fmt: skip
    """moment = decay * moment + (1 - decay) * grad^2; param -= rate * grad / (sqrt(moment) + epsilon)."""
    tensors = (param, grad, moment, rate, None, param_out, moment_out, None)
    _launch(b, "decayed_adagrad", param, tensors, (decay, epsilon), None, 5)


def plan_lamb(
    b: PlanBuilder,
    param: Tensor,
    grad: Tensor,
    rate: Tensor,
    moments: tuple[Tensor, Tensor],
    powers: tuple[Tensor, Tensor],
    master: Tensor | None,
    skip: Tensor | None,
    param_out: Tensor,
    moments_out: tuple[Tensor, Tensor],
    powers_out: tuple[Tensor, Tensor],
    master_out: Tensor | None,
    decay: float,
    beta1: float,
    beta2: float,
    epsilon: float,
    always_adapt: bool,
) -> None:
    """LAMB. The ratio of the norms counts when there is decay, or always."""
    acc = accumulation_dtype(param.dtype)
    direction = b.scratch(param.shape, acc)
    skipped = {"SKIP": int(skip is not None)}
    tensors: tuple[Tensor | None, ...] = (
        param, grad, *moments, *powers, master, skip, *moments_out, direction
    )  # fmt: skip
    _launch(b, "lamb_direction", param, tensors, (beta1, beta2, epsilon, decay), master, 7, **skipped)
    squares: tuple[Tensor | None, Tensor | None] = (None, None)
    adapt = decay > 0 or always_adapt
    if adapt:
        squares = _squared_norm(b, param if master is None else master), _squared_norm(b, direction)
    tensors = (param, rate, direction, *squares, master, skip, param_out, master_out)
    _launch(b, "lamb", param, tensors, (), master, 4, ADAPT=int(adapt), **skipped)
    acc = accumulation_dtype(powers[0].dtype)
    b.launch(
        "optimizer.adam_powers", 1, *powers, skip, *powers_out, real(beta1, acc), real(beta2, acc),
        **skipped, ACC=dtype_constexpr(acc),
    )  # fmt: skip


def plan_lars(
    b: PlanBuilder,
    param: Tensor,
    grad: Tensor,
    velocity: Tensor,
    rate: Tensor,
    master: Tensor | None,
    param_out: Tensor,
    velocity_out: Tensor,
    master_out: Tensor | None,
    mu: float,
    coefficient: float,
    decay: float,
    epsilon: float,
    rescale: float,
) -> None:
    """velocity = mu * velocity + local * (g + decay * param); param -= velocity, with g = grad * rescale and
    local = rate * coefficient * |param| / (|g| + decay * |param| + epsilon) when there is decay."""
    squares = _squared_norm(b, param if master is None else master), _squared_norm(b, grad)
    tensors = (param, grad, velocity, rate, *squares, master, param_out, velocity_out, master_out)
    _launch(b, "lars", param, tensors, (mu, coefficient, decay, epsilon, rescale), master, 5)


def plan_average_accumulates(
    b: PlanBuilder,
    param: Tensor,
    sums: tuple[Tensor, Tensor, Tensor],
    counters: tuple[Tensor, Tensor, Tensor],
    sums_out: tuple[Tensor, Tensor, Tensor],
    counters_out: tuple[Tensor, Tensor, Tensor],
    window: float,
    longest: int,
    shortest: int,
) -> None:
    """Sums of a parameter for its average over a window of steps. counters: steps in this window, steps in the one before,
    all steps (i64). A new window begins after `shortest` steps at least, when min(longest, window * steps) is reached."""
    require_contiguous("average_accumulates", param, *sums)
    n = param.numel
    acc = accumulation_dtype(param.dtype)
    block = min(_BLOCK, max(power_of_two(n), 16))
    rule = (real(window, acc), I64(longest), I64(shortest))
    accumulates, _, updates = counters
    b.launch(
        "optimizer.average_accumulates", -(-n // block), param, *sums, accumulates, updates, *sums_out, I64(n), *rule,
        cost=7 * param.nbytes, ACC=dtype_constexpr(acc), BLOCK=block,
    )  # fmt: skip
    b.launch("optimizer.average_counters", 1, *counters, *counters_out, *rule, ACC=dtype_constexpr(acc))
