# phi kernels of operators that stand for a row of others, mapped to openxpu.ops.fused.

from __future__ import annotations

import math
from collections.abc import Sequence

from openxpu.ops import fused
from openxpu.ops.attention import plan_seeds
from openxpu.ops.layout import plan_copy
from openxpu.ops.norm import plan_rms_norm, plan_rms_norm_grad
from openxpu.ops.plan import I64, PlanBuilder, Tensor, Unsupported
from openxpu.ops.reduce import accumulation_dtype
from openxpu.ops.softmax import plan_softmax_grad
from openxpu.paddle.kernels import phi_kernel
from openxpu.paddle.outputs import required, typed, unused

# ---- norms ----


def _dense(b: PlanBuilder, x: Tensor) -> Tensor:
    if x.contiguous:
        return x
    copy = b.scratch(x.shape, x.dtype)
    plan_copy(b, x, copy)
    return copy


@phi_kernel
def rms_norm(
    b: PlanBuilder, x: Tensor, scale: Tensor | None, normalized_shape: Sequence[int], epsilon: float,
    y: Tensor, invvar: Tensor,
) -> None:  # fmt: skip
    factor = required(b, invvar, accumulation_dtype(x.dtype))
    plan_rms_norm(b, _dense(b, x), scale, y, factor, epsilon, x.ndim - len(normalized_shape))


@phi_kernel
def rms_norm_grad(
    b: PlanBuilder, x: Tensor, scale: Tensor | None, invvar: Tensor, y_grad: Tensor, normalized_shape: Sequence[int],
    epsilon: float, x_grad: Tensor | None, scale_grad: Tensor | None,
) -> None:  # fmt: skip
    dx = b.scratch(x.shape, x.dtype) if x_grad is None else x_grad
    begin = x.ndim - len(normalized_shape)
    plan_rms_norm_grad(b, _dense(b, x), scale, invvar, _dense(b, y_grad), dx, scale_grad, begin)


@phi_kernel
def fused_rms_norm_ext(
    b: PlanBuilder, x: Tensor, scale: Tensor, epsilon: float, y: Tensor, invvar: Tensor
) -> None:
    factor = required(b, invvar, accumulation_dtype(x.dtype))
    plan_rms_norm(b, _dense(b, x), scale, y, factor, epsilon, x.ndim - 1)


@phi_kernel
def fused_rms_norm_ext_grad(
    b: PlanBuilder, x: Tensor, scale: Tensor, invvar: Tensor, y_grad: Tensor, epsilon: float,
    x_grad: Tensor | None, scale_grad: Tensor | None,
) -> None:  # fmt: skip
    dx = b.scratch(x.shape, x.dtype) if x_grad is None else x_grad
    plan_rms_norm_grad(b, _dense(b, x), scale, invvar, _dense(b, y_grad), dx, scale_grad, x.ndim - 1)


def _rounding(
    scale: float, round_type: int, largest: float, smallest: float
) -> tuple[float, int, float, float] | None:
    return (scale, round_type, largest, smallest) if scale > 0 else None


def _result(b: PlanBuilder, out: Tensor, dtype: str, rounded: bool) -> Tensor:
    return required(b, out, "i8" if rounded else dtype)


@phi_kernel
def fused_rms_norm_quant(
    b: PlanBuilder, x: Tensor, bias: Tensor | None, residual: Tensor | None, norm_weight: Tensor,
    norm_bias: Tensor | None, epsilon: float, begin_norm_axis: int, quant_scale: float, quant_round_type: int,
    quant_max_bound: float, quant_min_bound: float, out: Tensor, residual_out: Tensor | None, inv_var: Tensor | None,
) -> None:  # fmt: skip
    total = typed(b, residual_out, x.dtype) if residual is not None else None
    if residual is None:
        unused(b, residual_out)
    rounding = _rounding(quant_scale, quant_round_type, quant_max_bound, quant_min_bound)
    factor = typed(b, inv_var, accumulation_dtype(x.dtype))
    out = _result(b, out, x.dtype, rounding is not None)
    fused.plan_sum_norm(
        b, x, bias, residual, norm_weight, norm_bias, out, total, (factor, None), epsilon, begin_norm_axis, rms=True,
        rounding=rounding,
    )  # fmt: skip


@phi_kernel
def fused_rms_norm_quant_grad(
    b: PlanBuilder, x: Tensor, bias: Tensor | None, residual: Tensor | None, norm_weight: Tensor,
    norm_bias: Tensor | None, inv_var: Tensor, out_grad: Tensor, epsilon: float, begin_norm_axis: int,
    quant_scale: float, x_grad: Tensor | None, norm_weight_grad: Tensor | None, norm_bias_grad: Tensor | None,
) -> None:  # fmt: skip
    if quant_scale > 0:
        raise Unsupported("a norm whose result is rounded to 8 bits has no gradient.")
    fused.plan_sum_rms_norm_grad(
        b, x, bias, residual, norm_weight, inv_var, out_grad, x_grad, norm_weight_grad, norm_bias_grad, begin_norm_axis
    )  # fmt: skip


@phi_kernel
def fused_bias_residual_layernorm(
    b: PlanBuilder, x: Tensor, bias: Tensor | None, residual: Tensor | None, norm_weight: Tensor | None,
    norm_bias: Tensor | None, epsilon: float, residual_alpha: float, begin_norm_axis: int, quant_scale: float,
    quant_round_type: int, quant_max_bound: float, quant_min_bound: float,
    out: Tensor, residual_out: Tensor | None, mean: Tensor | None, variance: Tensor | None,
) -> None:  # fmt: skip
    rounding = _rounding(quant_scale, quant_round_type, quant_max_bound, quant_min_bound)
    out = _result(b, out, x.dtype, rounding is not None)
    if norm_weight is None and norm_bias is None:
        unused(b, mean, variance, residual_out)
        statistics: tuple[Tensor | None, Tensor | None] = (None, None)
        total = None
    else:
        acc = accumulation_dtype(x.dtype)
        statistics = typed(b, mean, acc), typed(b, variance, acc)
        total = typed(b, residual_out, x.dtype) if residual is not None else None
        if residual is None:
            unused(b, residual_out)
    fused.plan_sum_norm(
        b, x, bias, residual, norm_weight, norm_bias, out, total, statistics, epsilon, begin_norm_axis, residual_alpha,
        rounding=rounding,
    )  # fmt: skip


@phi_kernel
def fused_bias_dropout_residual_layer_norm(
    b: PlanBuilder, x: Tensor, residual: Tensor, bias: Tensor | None, ln_scale: Tensor | None, ln_bias: Tensor | None,
    dropout_rate: float, is_test: bool, dropout_fix_seed: bool, dropout_seed: int, dropout_implementation: str,
    ln_epsilon: float, y: Tensor, bias_dropout_residual_out: Tensor, dropout_mask_out: Tensor, ln_mean: Tensor,
    ln_variance: Tensor,
) -> None:  # fmt: skip
    acc = accumulation_dtype(x.dtype)
    if is_test:  # the mask has no shape then
        unused(b, dropout_mask_out)
    fused.plan_bias_dropout_residual_norm(
        b, x, residual, bias, ln_scale, ln_bias, required(b, y, x.dtype),
        required(b, bias_dropout_residual_out, x.dtype), None if is_test else required(b, dropout_mask_out, "u8"),
        required(b, ln_mean, acc), required(b, ln_variance, acc), dropout_rate, not is_test,
        dropout_implementation == "upscale_in_train", (dropout_seed or 1) if dropout_fix_seed else 0, ln_epsilon,
    )  # fmt: skip


@phi_kernel
def fused_bias_dropout_residual_layer_norm_grad(
    b: PlanBuilder, x: Tensor, residual: Tensor, bias: Tensor | None, ln_scale: Tensor | None, ln_bias: Tensor | None,
    ln_mean: Tensor, ln_variance: Tensor, bias_dropout_residual_out: Tensor, dropout_mask_out: Tensor, y_grad: Tensor,
    dropout_rate: float, is_test: bool, dropout_fix_seed: bool, dropout_seed: int, dropout_implementation: str,
    ln_epsilon: float, x_grad: Tensor | None, residual_grad: Tensor | None, bias_grad: Tensor | None,
    ln_scale_grad: Tensor | None, ln_bias_grad: Tensor | None,
) -> None:  # fmt: skip
    fused.plan_bias_dropout_residual_norm_grad(
        b, ln_scale, ln_mean, ln_variance, bias_dropout_residual_out, dropout_mask_out, y_grad, x_grad, residual_grad,
        bias_grad, ln_scale_grad, ln_bias_grad, dropout_rate, not is_test,
        dropout_implementation == "upscale_in_train", ln_epsilon,
    )  # fmt: skip


# ---- activation, softmax, dropout ----

_COMPUTE = {"fp16": "f16", "bf16": "bf16", "fp32": "f32"}


@phi_kernel
def fused_bias_act(
    b: PlanBuilder, x: Tensor, bias: Tensor | None, dequant_scales: Tensor | None, shift: Tensor | None,
    smooth: Tensor | None, act_method: str, compute_dtype: str, quant_scale: float, quant_round_type: int,
    quant_max_bound: float, quant_min_bound: float, out: Tensor,
) -> None:  # fmt: skip
    rounding = _rounding(quant_scale, quant_round_type, quant_max_bound, quant_min_bound)
    dtype = x.dtype
    if dtype == "i32":
        if dequant_scales is None or compute_dtype not in _COMPUTE:
            raise Unsupported(
                "fused_bias_act of int32 needs dequant_scales, and fp16, bf16 or fp32 as compute_dtype."
            )
        dtype = _COMPUTE[compute_dtype]
    out = _result(b, out, dtype, rounding is not None)
    fused.plan_bias_activation(b, x, bias, dequant_scales, shift, smooth, out, act_method, dtype, rounding)


@phi_kernel
def fused_softmax_mask(b: PlanBuilder, x: Tensor, mask: Tensor, out: Tensor) -> None:
    fused.plan_masked_softmax(b, x, mask, out)


@phi_kernel
def fused_softmax_mask_grad(b: PlanBuilder, out: Tensor, out_grad: Tensor, x_grad: Tensor) -> None:
    plan_softmax_grad(b, _dense(b, out), _dense(b, out_grad), x_grad)


@phi_kernel
def fused_softmax_mask_upper_triangle(b: PlanBuilder, x: Tensor, out: Tensor) -> None:
    fused.plan_masked_softmax(b, x, None, out)


@phi_kernel
def fused_softmax_mask_upper_triangle_grad(
    b: PlanBuilder, out: Tensor, out_grad: Tensor, x_grad: Tensor
) -> None:
    plan_softmax_grad(b, _dense(b, out), _dense(b, out_grad), x_grad)


@phi_kernel
def fused_dropout_add(
    b: PlanBuilder, x: Tensor, y: Tensor, seed_tensor: Tensor | None, p: float, is_test: bool, mode: str, seed: int,
    fix_seed: bool, out: Tensor, seed_offset: Tensor,
) -> None:  # fmt: skip
    seeds = required(b, seed_offset, "i64")
    upscale = mode == "upscale_in_train"
    if seed_tensor is not None:
        raise Unsupported(
            "fused_dropout_add with its seed in a tensor is not planned; give the seed as a number."
        )
    if is_test or p == 0:
        fused.plan_residual_sum(b, y, None, x, out, 1.0 if upscale or not is_test else 1.0 - p)
        return
    if p >= 1:
        plan_copy(b, y, out)
        return
    block, programs = fused.dropout_grid(x.numel)
    if fix_seed:
        b.launch("attention.keep_seed", 1, seeds, I64(seed), I64(0))
    else:
        plan_seeds(b, None, seeds, block * programs)
    fused.plan_dropout_from(b, x, y, out, seeds, p, upscale)


@phi_kernel
def fused_dropout_add_grad(
    b: PlanBuilder, seed_offset: Tensor, out_grad: Tensor, p: float, is_test: bool, mode: str, fix_seed: bool,
    x_grad: Tensor | None, y_grad: Tensor | None,
) -> None:  # fmt: skip
    upscale = mode == "upscale_in_train"
    if y_grad is not None:
        plan_copy(b, out_grad, y_grad)
    if x_grad is None:
        return
    if is_test or p == 0:
        from openxpu.ops.elementwise import plan_multiply_scalar

        plan_multiply_scalar(b, out_grad, x_grad, 1.0 if upscale or not is_test else 1.0 - p)
    elif p >= 1:
        b.zero(x_grad)
    else:
        fused.plan_dropout_from(b, out_grad, None, x_grad, seed_offset, p, upscale)


# ---- products ----


def _matrix(b: PlanBuilder, x: Tensor, columns: int) -> Tensor:
    """x with its first `columns` dimensions as rows."""
    return _dense(b, x).reshape(math.prod(x.shape[:columns]), math.prod(x.shape[columns:]))


@phi_kernel
def fused_gemm_epilogue(
    b: PlanBuilder, x: Tensor, y: Tensor, bias: Tensor, trans_x: bool, trans_y: bool, activation: str,
    out: Tensor, reserve_space: Tensor | None,
) -> None:  # fmt: skip
    matrix = _matrix(b, x, 1 if trans_x else x.ndim - 1)
    rows = matrix.shape[1] if trans_x else matrix.shape[0]
    if activation == "none":
        unused(b, reserve_space)
    before = typed(b, reserve_space, x.dtype) if activation != "none" else None
    fused.plan_gemm_epilogue(
        b, matrix, y, bias, out.reshape(rows, out.shape[-1]), before, trans_x, trans_y, activation
    )


@phi_kernel
def fused_gemm_epilogue_grad(
    b: PlanBuilder, x: Tensor, y: Tensor, reserve_space: Tensor | None, out_grad: Tensor, trans_x: bool, trans_y: bool,
    activation_grad: str, x_grad: Tensor | None, y_grad: Tensor | None, bias_grad: Tensor | None,
) -> None:  # fmt: skip
    columns = 1 if trans_x else x.ndim - 1
    matrix = _matrix(b, x, columns)
    dx = None if x_grad is None else x_grad.reshape(*matrix.shape)
    fused.plan_gemm_epilogue_grad(
        b, matrix, y, reserve_space, _matrix(b, out_grad, out_grad.ndim - 1), dx, y_grad, bias_grad, trans_x, trans_y,
        activation_grad.removesuffix("_grad"),
    )  # fmt: skip


@phi_kernel
def fused_linear_param_grad_add(
    b: PlanBuilder, x: Tensor, dout: Tensor, dweight: Tensor | None, dbias: Tensor | None, multi_precision: bool,
    has_bias: bool, dweight_out: Tensor | None, dbias_out: Tensor | None,
) -> None:  # fmt: skip
    dtype = accumulation_dtype(x.dtype) if multi_precision else x.dtype
    if not has_bias:
        unused(b, dbias_out)
    fused.plan_linear_grad_add(
        b, _matrix(b, x, x.ndim - 1), _matrix(b, dout, dout.ndim - 1), dweight, dbias, typed(b, dweight_out, dtype),
        typed(b, dbias_out, dtype) if has_bias else None,
    )  # fmt: skip
