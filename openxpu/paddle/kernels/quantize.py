# phi kernels of quantization, mapped to openxpu.ops.quantize.

from __future__ import annotations

import math
from collections.abc import Sequence

from openxpu.ops import quantize
from openxpu.ops.layout import plan_copy
from openxpu.ops.plan import PlanBuilder, Tensor, Unsupported
from openxpu.ops.quantize import bins
from openxpu.paddle.kernels import phi_kernel
from openxpu.paddle.naming import OWN_WEIGHT_ORDER
from openxpu.paddle.outputs import required, typed, unused

# ---- weights ----

_BITS = {"weight_only_int8": 8, "weight_only_int4": 4, "llm.int8": 8, "int8": 8, "int4": 4}


def _bits(algo: str) -> int:
    if algo not in _BITS:
        raise Unsupported(f"weights are quantized by one of {', '.join(_BITS)}, found {algo!r}.")
    return _BITS[algo]


def _own_order(arch: int) -> None:
    """The other numbers stand for orders in which graphics processors keep their weights."""
    if arch not in (0, OWN_WEIGHT_ORDER):
        raise ValueError(
            f"arch {arch} names the order in which that graphics processor keeps quantized weights; the card keeps them "
            "as they are multiplied: leave arch out"
        )


@phi_kernel
def weight_quantize(
    b: PlanBuilder, x: Tensor, algo: str, arch: int, group_size: int, out: Tensor, scale: Tensor
) -> None:
    _own_order(arch)
    scale = required(b, scale, "f32" if algo == "llm.int8" else x.dtype)
    quantize.plan_weight_quantize(b, x, required(b, out, "i8"), scale, _bits(algo), group_size)


@phi_kernel
def weight_dequantize(
    b: PlanBuilder, x: Tensor, scale: Tensor, algo: str, group_size: int, out: Tensor
) -> None:
    quantize.plan_weight_dequantize(b, x, scale, required(b, out, scale.dtype), _bits(algo), group_size)


def _rows(x: Tensor) -> Tensor:
    return x.reshape(math.prod(x.shape[:-1]), x.shape[-1])


def _dense(b: PlanBuilder, x: Tensor) -> Tensor:
    if x.contiguous:
        return x
    copy = b.scratch(x.shape, x.dtype)
    plan_copy(b, x, copy)
    return copy


@phi_kernel
def weight_only_linear(
    b: PlanBuilder, x: Tensor, weight: Tensor, bias: Tensor | None, weight_scale: Tensor, weight_dtype: str, arch: int,
    group_size: int, out: Tensor,
) -> None:  # fmt: skip
    _own_order(arch)
    quantize.plan_weight_linear(
        b, _rows(_dense(b, x)), weight, bias, weight_scale, _rows(out), _bits(weight_dtype), group_size
    )


@phi_kernel
def weight_only_linear_grad(
    b: PlanBuilder, x: Tensor, weight: Tensor, bias: Tensor | None, weight_scale: Tensor, out_grad: Tensor,
    weight_dtype: str, arch: int, group_size: int, x_grad: Tensor,
) -> None:  # fmt: skip
    _own_order(arch)
    quantize.plan_weight_linear_grad(
        b, weight, weight_scale, _rows(_dense(b, out_grad)), _rows(x_grad), _bits(weight_dtype), group_size
    )


@phi_kernel
def llm_int8_linear(
    b: PlanBuilder,
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    weight_scale: Tensor,
    threshold: float,
    out: Tensor,
) -> None:
    # Its threshold says which columns of x are too large for 8 bits; here none of x is rounded.
    quantize.plan_weight_linear(b, _rows(_dense(b, x)), weight, bias, weight_scale, _rows(out), 8)


# ---- linear quantization of activations ----


@phi_kernel
def quantize_linear(
    b: PlanBuilder, x: Tensor, scale: Tensor | None, zero_point: Tensor, in_accum: Tensor | None,
    in_state: Tensor | None, quant_axis: int, bit_length: int, qmin: int, qmax: int, round_type: int, is_test: bool,
    only_observer: bool, out: Tensor, out_state: Tensor | None, out_accum: Tensor | None, out_scale: Tensor | None,
) -> None:  # fmt: skip
    if is_test:
        unused(b, out_state, out_accum, out_scale)
        used = scale
    else:
        used = _observe(b, x, in_accum, in_state, quant_axis, out_state, out_accum, out_scale)
    if only_observer:
        plan_copy(b, x, out)
        return
    if used is None:
        raise Unsupported("quantize_linear without training needs a scale.")
    quantize.plan_quantize(b, x, used, out, bins(bit_length), round_type, quant_axis)


def _observe(
    b: PlanBuilder, x: Tensor, accum: Tensor | None, state: Tensor | None, axis: int, out_state: Tensor | None,
    out_accum: Tensor | None, out_scale: Tensor | None, rate: float = 0.9,
) -> Tensor | None:  # fmt: skip
    """Training: the new scale, a moving average of the largest magnitude, or the largest ones along an axis."""
    scale = typed(b, out_scale, x.dtype)
    if scale is None:
        return None
    if axis >= 0:
        unused(b, out_state, out_accum)
        quantize.plan_largest(b, x, scale, axis)
        return scale
    if accum is None or state is None:
        raise Unsupported("a moving average of scales needs in_accum and in_state.")
    sums = typed(b, out_accum, x.dtype) or b.scratch((1,), x.dtype)
    counts = typed(b, out_state, x.dtype) or b.scratch((1,), x.dtype)
    quantize.plan_moving_average(b, x, accum, state, sums, counts, scale, rate)
    return scale


@phi_kernel
def dequantize_linear(
    b: PlanBuilder, x: Tensor, scale: Tensor | None, zero_point: Tensor, in_accum: Tensor | None,
    in_state: Tensor | None, quant_axis: int, bit_length: int, qmin: int, qmax: int, round_type: int, is_test: bool,
    only_observer: bool, out: Tensor, out_state: Tensor | None, out_accum: Tensor | None, out_scale: Tensor | None,
) -> None:  # fmt: skip
    unused(b, out_state, out_accum, out_scale)
    _dequantize(b, x, scale, quant_axis, bit_length, only_observer, out)


def _dequantize(
    b: PlanBuilder, x: Tensor, scale: Tensor | None, axis: int, bits: int, only_observer: bool, out: Tensor
) -> None:
    if scale is None:
        raise Unsupported("dequantize_linear needs a scale.")
    out = required(b, out, x.dtype if only_observer else scale.dtype)
    if only_observer:
        plan_copy(b, x, out)
    else:
        quantize.plan_dequantize(b, x, scale, out, bins(bits), axis)


# ---- simulated quantization ----


@phi_kernel
def fake_quantize_abs_max(
    b: PlanBuilder, x: Tensor, bit_length: int, round_type: int, out: Tensor, out_scale: Tensor
) -> None:
    _by_largest(b, x, bit_length, round_type, -1, out, out_scale, False)


@phi_kernel
def fake_quantize_dequantize_abs_max(
    b: PlanBuilder, x: Tensor, bit_length: int, round_type: int, out: Tensor, out_scale: Tensor
) -> None:
    _by_largest(b, x, bit_length, round_type, -1, out, out_scale, True)


def _by_largest(
    b: PlanBuilder,
    x: Tensor,
    bits: int,
    round_type: int,
    axis: int,
    out: Tensor,
    out_scale: Tensor,
    back: bool,
) -> None:
    scale = required(b, out_scale, x.dtype)
    quantize.plan_largest(b, x, scale, axis if axis >= 0 else None)
    quantize.plan_quantize(b, x, scale, out, bins(bits), round_type, axis, back)


@phi_kernel
def fake_channel_wise_quantize_abs_max(
    b: PlanBuilder, x: Tensor, bit_length: int, round_type: int, quant_axis: int, is_test: bool,
    out: Tensor, out_scale: Tensor,
) -> None:  # fmt: skip
    if is_test:
        raise Unsupported(
            "fake_channel_wise_quantize_abs_max takes its scales from the output when is_test is set."
        )
    _by_largest(b, x, bit_length, round_type, quant_axis, out, out_scale, False)


@phi_kernel
def fake_channel_wise_quantize_dequantize_abs_max(
    b: PlanBuilder,
    x: Tensor,
    bit_length: int,
    round_type: int,
    quant_axis: int,
    out: Tensor,
    out_scale: Tensor,
) -> None:
    _by_largest(b, x, bit_length, round_type, quant_axis, out, out_scale, True)


def _by_moving_average(
    b: PlanBuilder, x: Tensor, in_scale: Tensor, in_accum: Tensor | None, in_state: Tensor | None, rate: float,
    bits: int, is_test: bool, round_type: int, out: Tensor, out_scale: Tensor, out_state: Tensor | None,
    out_accum: Tensor | None, back: bool,
) -> None:  # fmt: skip
    scale: Tensor | None = in_scale
    if is_test:
        unused(b, out_scale, out_state, out_accum)
    else:
        scale = _observe(b, x, in_accum, in_state, -1, out_state, out_accum, out_scale, rate)
    if scale is None:
        raise Unsupported("a moving average of scales needs out_scale.")
    quantize.plan_quantize(b, x, scale, out, bins(bits), round_type, -1, back)


@phi_kernel
def fake_quantize_moving_average_abs_max(
    b: PlanBuilder, x: Tensor, in_scale: Tensor, in_accum: Tensor | None, in_state: Tensor | None, moving_rate: float,
    bit_length: int, is_test: bool, round_type: int, out: Tensor, out_scale: Tensor, out_state: Tensor | None,
    out_accum: Tensor | None,
) -> None:  # fmt: skip
    _by_moving_average(
        b, x, in_scale, in_accum, in_state, moving_rate, bit_length, is_test, round_type, out, out_scale, out_state,
        out_accum, False,
    )  # fmt: skip


@phi_kernel
def fake_quantize_dequantize_moving_average_abs_max(
    b: PlanBuilder, x: Tensor, in_scale: Tensor, in_accum: Tensor | None, in_state: Tensor | None, moving_rate: float,
    bit_length: int, is_test: bool, round_type: int, out: Tensor, out_scale: Tensor, out_state: Tensor | None,
    out_accum: Tensor | None,
) -> None:  # fmt: skip
    _by_moving_average(
        b, x, in_scale, in_accum, in_state, moving_rate, bit_length, is_test, round_type, out, out_scale, out_state,
        out_accum, True,
    )  # fmt: skip


@phi_kernel
def moving_average_abs_max_scale(
    b: PlanBuilder, x: Tensor, in_accum: Tensor | None, in_state: Tensor | None, moving_rate: float, is_test: bool,
    out: Tensor | None, out_scale: Tensor, out_state: Tensor | None, out_accum: Tensor | None,
) -> None:  # fmt: skip
    if out is not None:
        plan_copy(b, x, required(b, out, x.dtype))
    if is_test:
        unused(b, out_scale, out_state, out_accum)
    else:
        _observe(b, x, in_accum, in_state, -1, out_state, out_accum, out_scale, moving_rate)


@phi_kernel
def fake_quantize_dequantize_abs_max_grad(
    b: PlanBuilder, dout: Tensor, bit_length: int, round_type: int, dx: Tensor
) -> None:
    quantize.plan_straight_through(b, dout, dx)


@phi_kernel
def fake_channel_wise_quantize_dequantize_abs_max_grad(
    b: PlanBuilder, dout: Tensor, bit_length: int, round_type: int, quant_axis: int, dx: Tensor
) -> None:
    quantize.plan_straight_through(b, dout, dx)


@phi_kernel
def fake_quantize_dequantize_moving_average_abs_max_grad(
    b: PlanBuilder,
    dout: Tensor,
    moving_rate: float,
    bit_length: int,
    is_test: bool,
    round_type: int,
    dx: Tensor,
) -> None:
    quantize.plan_straight_through(b, dout, dx)


@phi_kernel
def fake_dequantize_max_abs(b: PlanBuilder, x: Tensor, scale: Tensor, max_range: float, out: Tensor) -> None:
    quantize.plan_dequantize(b, x, scale, out, max_range)


@phi_kernel
def fake_channel_wise_dequantize_max_abs(
    b: PlanBuilder, x: Tensor, scales: Sequence[Tensor], quant_bits: Sequence[int], quant_axis: int,
    x_num_col_dims: int, out: Tensor,
) -> None:  # fmt: skip
    largest = float(bins(quant_bits[0]))
    if len(scales) == 1:
        quantize.plan_dequantize(b, x, scales[0], out, largest, quant_axis)
        return
    quantize.plan_dequantize(b, x, scales[0], out, largest * bins(quant_bits[1]), x_num_col_dims, scales[1])


@phi_kernel
def dequantize_abs_max(b: PlanBuilder, x: Tensor, scale: Tensor, max_range: float, out: Tensor) -> None:
    quantize.plan_dequantize(b, x, scale, required(b, out, "f32"), max_range)
