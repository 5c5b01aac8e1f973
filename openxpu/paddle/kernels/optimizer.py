# phi kernels of optimizers, mapped to openxpu.ops.optimizer. Their outputs are the inputs, updated in place.

from __future__ import annotations

from collections.abc import Sequence

from openxpu.ops import optimizer
from openxpu.ops.plan import PlanBuilder, Tensor, Unsupported
from openxpu.paddle.kernels import phi_kernel
from openxpu.paddle.outputs import required, typed, unused


def _master(
    b: PlanBuilder, master: Tensor | None, out: Tensor | None, multi_precision: bool
) -> tuple[Tensor | None, Tensor | None]:
    """The master copy and its output, or none of them."""
    if not multi_precision or master is None or out is None:
        unused(b, out)
        return None, None
    return master, typed(b, out, master.dtype)


@phi_kernel
def sgd(
    b: PlanBuilder, param: Tensor, learning_rate: Tensor, grad: Tensor, master_param: Tensor | None,
    multi_precision: bool, param_out: Tensor, master_param_out: Tensor | None,
) -> None:  # fmt: skip
    master, master_out = _master(b, master_param, master_param_out, multi_precision)
    param_out = required(b, param_out, param.dtype)
    optimizer.plan_sgd(b, param, learning_rate, grad, master, param_out, master_out)


@phi_kernel
def momentum(
    b: PlanBuilder, param: Tensor, grad: Tensor, velocity: Tensor, learning_rate: Tensor, master_param: Tensor | None,
    mu: float, use_nesterov: bool, regularization_method: str, regularization_coeff: float, multi_precision: bool,
    rescale_grad: float, param_out: Tensor, velocity_out: Tensor, master_param_out: Tensor | None,
) -> None:  # fmt: skip
    master, master_out = _master(b, master_param, master_param_out, multi_precision)
    decay = regularization_coeff if regularization_method == "l2_decay" else 0.0
    optimizer.plan_momentum(
        b, param, grad, velocity, learning_rate, master, required(b, param_out, param.dtype),
        required(b, velocity_out, velocity.dtype), master_out, mu, use_nesterov, decay, rescale_grad,
    )  # fmt: skip


@phi_kernel
def merged_momentum(
    b: PlanBuilder, param: Sequence[Tensor], grad: Sequence[Tensor], velocity: Sequence[Tensor],
    learning_rate: Sequence[Tensor], master_param: Sequence[Tensor] | None, mu: float, use_nesterov: bool,
    regularization_method: str | Sequence[str], regularization_coeff: Sequence[float], multi_precision: bool,
    rescale_grad: float, param_out: Sequence[Tensor], velocity_out: Sequence[Tensor],
    master_param_out: Sequence[Tensor] | None,
) -> None:  # fmt: skip
    methods = (
        regularization_method.split() if isinstance(regularization_method, str) else regularization_method
    )
    for i, p in enumerate(param):
        master, master_out = _master(b, _item(master_param, i), _item(master_param_out, i), multi_precision)
        decay = regularization_coeff[i] if i < len(methods) and methods[i] == "l2_decay" else 0.0
        optimizer.plan_momentum(
            b, p, grad[i], velocity[i], learning_rate[i if len(learning_rate) > 1 else 0], master,
            required(b, param_out[i], p.dtype), required(b, velocity_out[i], velocity[i].dtype), master_out, mu,
            use_nesterov, decay, rescale_grad,
        )  # fmt: skip


def _item(tensors: Sequence[Tensor | None] | None, index: int) -> Tensor | None:
    return tensors[index] if tensors is not None and index < len(tensors) else None


def _adam(
    b: PlanBuilder, param: Tensor, grad: Tensor, rate: Tensor, moment1: Tensor, moment2: Tensor,
    moment2_max: Tensor | None, power1: Tensor, power2: Tensor, master: Tensor | None, skip: Tensor | None,
    beta1: float, beta2: float, epsilon: float, multi_precision: bool, use_global_beta_pow: bool, amsgrad: bool,
    param_out: Tensor, moment1_out: Tensor, moment2_out: Tensor, moment2_max_out: Tensor | None,
    power1_out: Tensor | None, power2_out: Tensor | None, master_out: Tensor | None,
    rate_ratio: float = 1.0, decay: float = 0.0,
) -> None:  # fmt: skip
    master, master_out = _master(b, master, master_out, multi_precision)
    if amsgrad:
        if moment2_max is None or moment2_max_out is None:
            raise Unsupported("AMSGrad needs the largest second moments so far.")
        moment2_max_out = required(b, moment2_max_out, moment2_max.dtype)
    else:
        unused(b, moment2_max_out)
        moment2_max_out = None
    if use_global_beta_pow:
        unused(b, power1_out, power2_out)
        power1_out = power2_out = None
    else:
        power1_out, power2_out = typed(b, power1_out, power1.dtype), typed(b, power2_out, power2.dtype)
    optimizer.plan_adam(
        b, param, grad, rate, moment1, moment2, moment2_max, power1, power2, master, skip,
        required(b, param_out, param.dtype), required(b, moment1_out, moment1.dtype),
        required(b, moment2_out, moment2.dtype), moment2_max_out, power1_out, power2_out, master_out,
        beta1, beta2, epsilon, rate_ratio, decay, amsgrad,
    )  # fmt: skip


@phi_kernel
def adam(
    b: PlanBuilder, param: Tensor, grad: Tensor, learning_rate: Tensor, moment1: Tensor, moment2: Tensor,
    moment2_max: Tensor | None, beta1_pow: Tensor, beta2_pow: Tensor, master_param: Tensor | None,
    skip_update: Tensor | None, beta1: float, beta2: float, epsilon: float, lazy_mode: bool,
    min_row_size_to_use_multithread: int, multi_precision: bool, use_global_beta_pow: bool, amsgrad: bool,
    param_out: Tensor, moment1_out: Tensor, moment2_out: Tensor, moment2_max_out: Tensor | None,
    beta1_pow_out: Tensor, beta2_pow_out: Tensor, master_param_outs: Tensor | None,
) -> None:  # fmt: skip
    _adam(
        b, param, grad, learning_rate, moment1, moment2, moment2_max, beta1_pow, beta2_pow, master_param, skip_update,
        beta1, beta2, epsilon, multi_precision, use_global_beta_pow, amsgrad, param_out, moment1_out, moment2_out,
        moment2_max_out, beta1_pow_out, beta2_pow_out, master_param_outs,
    )  # fmt: skip


@phi_kernel
def adamw(
    b: PlanBuilder, param: Tensor, grad: Tensor, learning_rate: Tensor, moment1: Tensor, moment2: Tensor,
    moment2_max: Tensor | None, beta1_pow: Tensor, beta2_pow: Tensor, master_param: Tensor | None,
    skip_update: Tensor | None, beta1: float, beta2: float, epsilon: float, lr_ratio: float, coeff: float,
    with_decay: bool, lazy_mode: bool, min_row_size_to_use_multithread: int, multi_precision: bool,
    use_global_beta_pow: bool, amsgrad: bool, param_out: Tensor, moment1_out: Tensor, moment2_out: Tensor,
    moment2_max_out: Tensor | None, beta1_pow_out: Tensor, beta2_pow_out: Tensor, master_param_outs: Tensor | None,
) -> None:  # fmt: skip
    _adam(
        b, param, grad, learning_rate, moment1, moment2, moment2_max, beta1_pow, beta2_pow, master_param, skip_update,
        beta1, beta2, epsilon, multi_precision, use_global_beta_pow, amsgrad, param_out, moment1_out, moment2_out,
        moment2_max_out, beta1_pow_out, beta2_pow_out, master_param_outs,
        lr_ratio if with_decay else 1.0, coeff if with_decay else 0.0,
    )  # fmt: skip


@phi_kernel
def merged_adam(
    b: PlanBuilder, param: Sequence[Tensor], grad: Sequence[Tensor], learning_rate: Sequence[Tensor],
    moment1: Sequence[Tensor], moment2: Sequence[Tensor], moment2_max: Sequence[Tensor] | None,
    beta1_pow: Sequence[Tensor], beta2_pow: Sequence[Tensor], master_param: Sequence[Tensor] | None, beta1: float,
    beta2: float, epsilon: float, multi_precision: bool, use_global_beta_pow: bool, amsgrad: bool,
    param_out: Sequence[Tensor], moment1_out: Sequence[Tensor], moment2_out: Sequence[Tensor],
    moment2_max_out: Sequence[Tensor] | None, beta1_pow_out: Sequence[Tensor], beta2_pow_out: Sequence[Tensor],
    master_param_out: Sequence[Tensor] | None,
) -> None:  # fmt: skip
    for i, p in enumerate(param):
        _adam(
            b, p, grad[i], learning_rate[i if len(learning_rate) > 1 else 0], moment1[i], moment2[i],
            _item(moment2_max, i), beta1_pow[i], beta2_pow[i], _item(master_param, i), None, beta1, beta2, epsilon,
            multi_precision, use_global_beta_pow, amsgrad, param_out[i], moment1_out[i], moment2_out[i],
            _item(moment2_max_out, i), beta1_pow_out[i], beta2_pow_out[i], _item(master_param_out, i),
        )  # fmt: skip


@phi_kernel
def rmsprop(
    b: PlanBuilder, param: Tensor, mean_square: Tensor, grad: Tensor, moment: Tensor, learning_rate: Tensor,
    mean_grad: Tensor | None, master_param: Tensor | None, epsilon: float, decay: float, momentum: float,
    centered: bool, multi_precision: bool, param_out: Tensor, moment_out: Tensor, mean_square_out: Tensor,
    mean_grad_out: Tensor | None, master_param_outs: Tensor | None,
) -> None:  # fmt: skip
    master, master_out = _master(b, master_param, master_param_outs, multi_precision)
    if centered and mean_grad is not None:
        mean_grad_out = typed(b, mean_grad_out, mean_grad.dtype)
    else:
        unused(b, mean_grad_out)
    optimizer.plan_rmsprop(
        b, param, mean_square, grad, moment, learning_rate, mean_grad, master, required(b, param_out, param.dtype),
        required(b, moment_out, moment.dtype), required(b, mean_square_out, mean_square.dtype), mean_grad_out,
        master_out, epsilon, decay, momentum, centered,
    )  # fmt: skip


@phi_kernel
def adagrad(
    b: PlanBuilder, param: Tensor, grad: Tensor, moment: Tensor, learning_rate: Tensor, master_param: Tensor | None,
    epsilon: float, multi_precision: bool, param_out: Tensor, moment_out: Tensor, master_param_outs: Tensor | None,
) -> None:  # fmt: skip
    master, master_out = _master(b, master_param, master_param_outs, multi_precision)
    optimizer.plan_adagrad(
        b, param, grad, moment, learning_rate, master, required(b, param_out, param.dtype),
        required(b, moment_out, moment.dtype), master_out, epsilon,
    )  # fmt: skip


@phi_kernel
def adamax(
    b: PlanBuilder, param: Tensor, grad: Tensor, learning_rate: Tensor, moment: Tensor, inf_norm: Tensor,
    beta1_pow: Tensor, master_param: Tensor | None, beta1: float, beta2: float, epsilon: float, multi_precision: bool,
    param_out: Tensor, moment_out: Tensor, inf_norm_out: Tensor, master_param_outs: Tensor | None,
) -> None:  # fmt: skip
    master, master_out = _master(b, master_param, master_param_outs, multi_precision)
    optimizer.plan_adamax(
        b, param, grad, learning_rate, moment, inf_norm, beta1_pow, master, required(b, param_out, param.dtype),
        required(b, moment_out, moment.dtype), required(b, inf_norm_out, inf_norm.dtype), master_out,
        beta1, beta2, epsilon,
    )  # fmt: skip


@phi_kernel
def adadelta(
    b: PlanBuilder, param: Tensor, grad: Tensor, avg_squared_grad: Tensor, avg_squared_update: Tensor,
    learning_rate: Tensor, master_param: Tensor | None, rho: float, epsilon: float, multi_precision: bool,
    param_out: Tensor, avg_squared_grad_out: Tensor, avg_squared_update_out: Tensor, master_param_outs: Tensor | None,
) -> None:  # fmt: skip
    master, master_out = _master(b, master_param, master_param_outs, multi_precision)
    optimizer.plan_adadelta(
        b, param, grad, avg_squared_grad, avg_squared_update, learning_rate, master,
        required(b, param_out, param.dtype), required(b, avg_squared_grad_out, avg_squared_grad.dtype),
        required(b, avg_squared_update_out, avg_squared_update.dtype), master_out, rho, epsilon,
    )  # fmt: skip


@phi_kernel
def clip_by_norm(b: PlanBuilder, x: Tensor, max_norm: float, out: Tensor) -> None:
    optimizer.plan_clip_by_norm(b, x, out, max_norm)


@phi_kernel
def nadam(
    b: PlanBuilder, param: Tensor, grad: Tensor, learning_rate: Tensor, momentum_decay_pow: Tensor, beta2_pow: Tensor,
    mu_product: Tensor, moment1: Tensor, moment2: Tensor, master_param: Tensor | None, beta1: float, beta2: float,
    epsilon: float, momentum_decay: float, multi_precision: bool, param_out: Tensor, momentum_decay_pow_out: Tensor,
    beta2_pow_out: Tensor, mu_product_out: Tensor, moment1_out: Tensor, moment2_out: Tensor,
    master_param_out: Tensor | None,
) -> None:  # fmt: skip
    master, master_out = _master(b, master_param, master_param_out, multi_precision)
    scalars = (momentum_decay_pow, beta2_pow, mu_product)
    outs = (momentum_decay_pow_out, beta2_pow_out, mu_product_out)
    optimizer.plan_nadam(
        b, param, grad, learning_rate, scalars, (moment1, moment2), master, required(b, param_out, param.dtype),
        _three(b, outs, scalars), _two(b, (moment1_out, moment2_out), (moment1, moment2)), master_out,
        beta1, beta2, epsilon, momentum_decay,
    )  # fmt: skip


@phi_kernel
def radam(
    b: PlanBuilder, param: Tensor, grad: Tensor, learning_rate: Tensor, beta1_pow: Tensor, beta2_pow: Tensor,
    rho: Tensor, moment1: Tensor, moment2: Tensor, master_param: Tensor | None, beta1: float, beta2: float,
    epsilon: float, multi_precision: bool, param_out: Tensor, beta1_pow_out: Tensor, beta2_pow_out: Tensor,
    rho_out: Tensor, moment1_out: Tensor, moment2_out: Tensor, master_param_out: Tensor | None,
) -> None:  # fmt: skip
    master, master_out = _master(b, master_param, master_param_out, multi_precision)
    scalars = (beta1_pow, beta2_pow, rho)
    optimizer.plan_radam(
        b, param, grad, learning_rate, scalars, (moment1, moment2), master, required(b, param_out, param.dtype),
        _three(b, (beta1_pow_out, beta2_pow_out, rho_out), scalars),
        _two(b, (moment1_out, moment2_out), (moment1, moment2)), master_out, beta1, beta2, epsilon,
    )  # fmt: skip


def _two(b: PlanBuilder, outs: tuple[Tensor, Tensor], like: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
    return required(b, outs[0], like[0].dtype), required(b, outs[1], like[1].dtype)


def _three(
    b: PlanBuilder, outs: tuple[Tensor, Tensor, Tensor], like: tuple[Tensor, Tensor, Tensor]
) -> tuple[Tensor, Tensor, Tensor]:
    return (*_two(b, outs[:2], like[:2]), required(b, outs[2], like[2].dtype))


@phi_kernel
def rprop(
    b: PlanBuilder, param: Tensor, grad: Tensor, prev: Tensor, learning_rate: Tensor, master_param: Tensor | None,
    learning_rate_range: Tensor, etas: Tensor, multi_precision: bool, param_out: Tensor, prev_out: Tensor,
    learning_rate_out: Tensor, master_param_out: Tensor | None,
) -> None:  # fmt: skip
    master, master_out = _master(b, master_param, master_param_out, multi_precision)
    optimizer.plan_rprop(
        b, param, grad, prev, learning_rate, learning_rate_range, etas, master, required(b, param_out, param.dtype),
        required(b, prev_out, prev.dtype), required(b, learning_rate_out, learning_rate.dtype), master_out,
    )  # fmt: skip


@phi_kernel
def asgd(
    b: PlanBuilder, param: Tensor, grad: Tensor, learning_rate: Tensor, d: Tensor, y: Tensor, n: Tensor,
    master_param: Tensor | None, multi_precision: bool, param_out: Tensor, d_out: Tensor, y_out: Tensor,
    master_param_out: Tensor | None,
) -> None:  # fmt: skip
    master, master_out = _master(b, master_param, master_param_out, multi_precision)
    optimizer.plan_asgd(
        b, param, grad, learning_rate, d, y, n, master, required(b, param_out, param.dtype),
        required(b, d_out, d.dtype), required(b, y_out, y.dtype), master_out,
    )  # fmt: skip


@phi_kernel
def decayed_adagrad(
    b: PlanBuilder, param: Tensor, grad: Tensor, moment: Tensor, learning_rate: Tensor, decay: float, epsilon: float,
    param_out: Tensor, moment_out: Tensor,
) -> None:  # fmt: skip
    optimizer.plan_decayed_adagrad(
        b, param, grad, moment, learning_rate, required(b, param_out, param.dtype),
        required(b, moment_out, moment.dtype), decay, epsilon,
    )  # fmt: skip


@phi_kernel
def lamb(
    b: PlanBuilder, param: Tensor, grad: Tensor, learning_rate: Tensor, moment1: Tensor, moment2: Tensor,
    beta1_pow: Tensor, beta2_pow: Tensor, master_param: Tensor | None, skip_update: Tensor | None,
    weight_decay: float, beta1: float, beta2: float, epsilon: float, always_adapt: bool, multi_precision: bool,
    param_out: Tensor, moment1_out: Tensor, moment2_out: Tensor, beta1_pow_out: Tensor, beta2_pow_out: Tensor,
    master_param_outs: Tensor | None,
) -> None:  # fmt: skip
    master, master_out = _master(b, master_param, master_param_outs, multi_precision)
    moments, powers = (moment1, moment2), (beta1_pow, beta2_pow)
    optimizer.plan_lamb(
        b, param, grad, learning_rate, moments, powers, master, skip_update, required(b, param_out, param.dtype),
        _two(b, (moment1_out, moment2_out), moments), _two(b, (beta1_pow_out, beta2_pow_out), powers), master_out,
        weight_decay, beta1, beta2, epsilon, always_adapt,
    )  # fmt: skip


@phi_kernel
def lars_momentum(
    b: PlanBuilder, param: Sequence[Tensor], velocity: Sequence[Tensor], learning_rate: Sequence[Tensor],
    grad: Sequence[Tensor], master_param: Sequence[Tensor] | None, weight_decay: Sequence[float], mu: float,
    lars_coeff: float, epsilon: float, multi_precision: bool, rescale_grad: float, param_out: Sequence[Tensor],
    velocity_out: Sequence[Tensor], master_param_out: Sequence[Tensor] | None,
) -> None:  # fmt: skip
    for i, p in enumerate(param):
        master, master_out = _master(b, _item(master_param, i), _item(master_param_out, i), multi_precision)
        optimizer.plan_lars(
            b, p, grad[i], velocity[i], learning_rate[i], master, required(b, param_out[i], p.dtype),
            required(b, velocity_out[i], velocity[i].dtype), master_out, mu, lars_coeff, weight_decay[i], epsilon,
            rescale_grad,
        )  # fmt: skip


@phi_kernel
def average_accumulates(
    b: PlanBuilder, param: Tensor, sum_1: Tensor, sum_2: Tensor, sum_3: Tensor, num_accumulates: Tensor,
    old_num_accumulates: Tensor, num_updates: Tensor, average_window: float, max_average_window: int,
    min_average_window: int, sum_1_out: Tensor, sum_2_out: Tensor, sum_3_out: Tensor, num_accumulates_out: Tensor,
    old_num_accumulates_out: Tensor, num_updates_out: Tensor,
) -> None:  # fmt: skip
    sums, counters = (sum_1, sum_2, sum_3), (num_accumulates, old_num_accumulates, num_updates)
    optimizer.plan_average_accumulates(
        b, param, sums, counters, _three(b, (sum_1_out, sum_2_out, sum_3_out), sums),
        _three(b, (num_accumulates_out, old_num_accumulates_out, num_updates_out), counters),
        average_window, max_average_window, min_average_window,
    )  # fmt: skip
