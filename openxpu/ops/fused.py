# Operators that stand for a row of others: planners.
"""Norms with the sum in front of them, products with their bias and activation, softmax with its mask, dropout with the sum
behind it. Each is a plan of the operators that it stands for, with a kernel of its own where that saves a pass."""

from __future__ import annotations

import math

from openxpu.ops.activation import plan_unary, plan_unary_grad
from openxpu.ops.creation import plan_cast
from openxpu.ops.elementwise import plan_binary
from openxpu.ops.ending import Ending
from openxpu.ops.layout import plan_copy
from openxpu.ops.matmul import plan_matmul_grad, plan_product
from openxpu.ops.norm import plan_layer_norm, plan_layer_norm_grad, plan_rms_norm, plan_rms_norm_grad
from openxpu.ops.plan import PlanBuilder, Tensor, Unsupported, dtype_constexpr, streams
from openxpu.ops.pointwise import compute_dtype, plan_map
from openxpu.ops.quantize import plan_round_to_i8
from openxpu.ops.random import plan_dropout, plan_dropout_grad
from openxpu.ops.reduce import accumulation_dtype, plan_sum, power_of_two, real
from openxpu.ops.softmax import plan_softmax

_ROW_TILE = 16384  # the longest row that is held as one tile


def plan_residual_sum(
    b: PlanBuilder, x: Tensor, bias: Tensor | None, residual: Tensor | None, out: Tensor, alpha: float = 1.0
) -> None:
    """out = x + bias + alpha * residual, of what there is; the bias is broadcast."""
    if bias is not None and residual is not None:
        plan_map(b, "fused.sum_of_three", [x, bias, residual], out, [alpha])
    elif residual is not None:
        plan_map(b, "fused.sum_scaled", [x, residual], out, [alpha])
    elif bias is not None:
        plan_binary(b, x, bias, out, "add")
    else:
        plan_copy(b, x, out)


def plan_sum_norm(
    b: PlanBuilder, x: Tensor, bias: Tensor | None, residual: Tensor | None, weight: Tensor | None,
    norm_bias: Tensor | None, out: Tensor, total: Tensor | None, statistics: tuple[Tensor | None, Tensor | None],
    epsilon: float, begin_axis: int, alpha: float = 1.0, rms: bool = False,
    rounding: tuple[float, int, float, float] | None = None,
) -> None:  # fmt: skip
    """out = norm(x + bias + alpha * residual) * weight + norm_bias over the dimensions from begin_axis on, where the norm
    is layer norm, whose mean and variance `statistics` get, or rms norm, whose factor it gets. `total` gets the sum.
    `rounding`: (scale, round_type, largest, smallest) of the result in i8."""
    rows, n = math.prod(x.shape[:begin_axis]), math.prod(x.shape[begin_axis:])
    if x.numel == 0:
        return
    if not x.contiguous:
        dense = b.scratch(x.shape, x.dtype)
        plan_copy(b, x, dense)
        x = dense
    if bias is not None or residual is not None:
        if total is None:
            total = b.scratch(x.shape, x.dtype)
        flat = (rows, n)
        plan_residual_sum(
            b, x.reshape(*flat), bias and bias.reshape(-1), residual and _dense(b, residual).reshape(*flat),
            total.reshape(*flat), alpha,
        )  # fmt: skip
        x = total
    elif total is not None:
        plan_copy(b, x, total)
    target = out if rounding is None else b.scratch(x.shape, compute_dtype(x.dtype))
    if rms:
        plan_rms_norm(b, x, weight, target, statistics[0], epsilon, begin_axis)
        if norm_bias is not None:
            flat_target = target.reshape(rows, n)
            plan_binary(b, flat_target, norm_bias.reshape(-1), flat_target, "add")
    elif weight is None and norm_bias is None and statistics == (None, None):
        plan_copy(b, x, target) if target.dtype == x.dtype else plan_cast(b, x, target)
    else:
        plan_layer_norm(b, x, weight, norm_bias, target, *statistics, epsilon, begin_axis)
    if rounding is not None:
        plan_round_to_i8(b, target, out, *rounding)


def _dense(b: PlanBuilder, tensor: Tensor) -> Tensor:
    if tensor.contiguous:
        return tensor
    copy = b.scratch(tensor.shape, tensor.dtype)
    plan_copy(b, tensor, copy)
    return copy


def plan_sum_rms_norm_grad(
    b: PlanBuilder, x: Tensor, bias: Tensor | None, residual: Tensor | None, weight: Tensor | None, factor: Tensor,
    dy: Tensor, dx: Tensor | None, dweight: Tensor | None, dnorm_bias: Tensor | None, begin_axis: int,
) -> None:  # fmt: skip
    """The gradients of the sum in front of rms norm, of its weight and of the bias behind it."""
    rows, n = math.prod(x.shape[:begin_axis]), math.prod(x.shape[begin_axis:])
    x, dy = _dense(b, x), _dense(b, dy)
    if (bias is not None or residual is not None) and x.numel:
        total = b.scratch(x.shape, x.dtype)
        plan_residual_sum(
            b, x.reshape(rows, n), bias and bias.reshape(-1), residual and _dense(b, residual).reshape(rows, n),
            total.reshape(rows, n),
        )  # fmt: skip
        x = total
    target = b.scratch(x.shape, x.dtype) if dx is None else dx
    plan_rms_norm_grad(b, x, weight, factor, dy, target, dweight, begin_axis)
    if dnorm_bias is not None:
        plan_sum(b, dy.reshape(rows, n), dnorm_bias.reshape(n), (0,))


def plan_bias_dropout_residual_norm(
    b: PlanBuilder, x: Tensor, residual: Tensor, bias: Tensor | None, scale: Tensor | None, shift: Tensor | None,
    y: Tensor, total: Tensor, mask: Tensor | None, mean: Tensor | None, variance: Tensor | None,
    p: float, training: bool, upscale: bool, seed: int, epsilon: float,
) -> None:  # fmt: skip
    """total = residual + dropout(x + bias); y = layer_norm(total) * scale + shift over the last dimension."""
    kept = b.scratch(x.shape, x.dtype)
    if bias is not None:
        plan_binary(b, x, bias, kept, "add")
        x = kept
    if p > 0 or mask is not None:
        plan_dropout(b, _dense(b, x), kept, mask, p, training, upscale, seed)
        x = kept
    plan_binary(b, x, residual, total, "add")
    plan_layer_norm(b, total, scale, shift, y, mean, variance, epsilon, x.ndim - 1)


def plan_bias_dropout_residual_norm_grad(
    b: PlanBuilder, scale: Tensor | None, mean: Tensor, variance: Tensor, total: Tensor, mask: Tensor, dy: Tensor,
    dx: Tensor | None, dresidual: Tensor | None, dbias: Tensor | None, dscale: Tensor | None, dshift: Tensor | None,
    p: float, training: bool, upscale: bool, epsilon: float,
) -> None:  # fmt: skip
    n = total.shape[-1]
    through = b.scratch(total.shape, total.dtype) if dresidual is None else dresidual
    plan_layer_norm_grad(
        b, total, scale, mean, variance, _dense(b, dy), through, dscale, dshift, epsilon, total.ndim - 1
    )
    if dx is None and dbias is None:
        return
    dx = b.scratch(total.shape, total.dtype) if dx is None else dx
    plan_dropout_grad(b, mask, through, dx, p, training, upscale)
    if dbias is not None:
        plan_sum(b, dx.reshape(-1, n), dbias, (0,))


_GATED = {"geglu": "gelu", "swiglu": "silu"}


def plan_bias_activation(
    b: PlanBuilder, x: Tensor, bias: Tensor | None, factors: Tensor | None, shift: Tensor | None, smooth: Tensor | None,
    out: Tensor, name: str, dtype: str, rounding: tuple[float, int, float, float] | None = None,
) -> None:  # fmt: skip
    """out = name(x + bias), for "geglu" and "swiglu" of the first half of each row times the second half. x in i32 is
    multiplied by `factors` of its columns first; the result becomes (result + shift) * smooth, and in i8 it is rounded."""
    gate = _GATED.get(name)
    if (gate or name) not in ("gelu", "silu", "relu"):
        raise Unsupported(f"fused_bias_act has gelu, relu, silu, geglu and swiglu, found {name!r}.")
    if x.numel == 0:
        return
    compute = compute_dtype(dtype)
    if factors is not None:
        real_x = b.scratch(x.shape, compute)
        plan_map(b, "elementwise.multiply", [x, factors], real_x, compute=compute)
        x = real_x
    plain = shift is None and smooth is None and rounding is None
    target = out if plain else b.scratch(out.shape, compute)
    if gate is None:
        inputs = [x] if bias is None else [x, bias]
        function = f"activation.{name}" if bias is None else f"fused.biased_{name}"
        plan_map(b, function, inputs, target, effort=4)
    else:
        half = x.shape[-1] // 2
        left, right = (x.view((*x.shape[:-1], half), x.strides, i * half * x.strides[-1]) for i in range(2))
        if bias is None:
            plan_map(b, f"fused.{gate}_times", [left, right], target, effort=4)
        else:
            bias_left, bias_right = (
                bias.view((half,), bias.strides, i * half * bias.strides[-1]) for i in range(2)
            )
            active = b.scratch(target.shape, compute)
            plan_map(b, f"fused.biased_{gate}", [left, bias_left], active, effort=4)
            plan_map(b, "fused.times_biased", [active, right, bias_right], target, compute=compute)
    if shift is not None and smooth is not None:
        last = out if rounding is None else target
        plan_map(b, "fused.shifted_smoothed", [target, shift, smooth], last, compute=compute)
        target = last
    if rounding is not None:
        plan_round_to_i8(b, target, out, *rounding)


def plan_masked_softmax(b: PlanBuilder, x: Tensor, mask: Tensor | None, out: Tensor) -> None:
    """softmax(x + mask) over the last dimension of x [batch, heads, rows, n], the mask broadcast to it; without a mask each
    row's elements up to the diagonal, the others are 0."""
    if x.numel == 0:
        return
    n, rows = x.shape[-1], x.shape[-2]
    acc = accumulation_dtype(x.dtype)
    if n > _ROW_TILE:
        if mask is None:
            raise Unsupported(
                f"softmax up to the diagonal holds rows of at most {_ROW_TILE} elements, found {n}."
            )
        total = b.scratch(x.shape, acc)
        plan_map(b, "elementwise.add", [x, mask], total, compute=acc)
        plan_softmax(b, total, total)
        plan_cast(b, total, out)
        return
    x = _dense(b, x)
    steps = (0, 0, 0)
    if mask is not None:
        mask = _dense(b, mask)
        steps = tuple(0 if mask.shape[d] == 1 else mask.strides[d] for d in range(3))  # type: ignore[assignment]
    b.launch(
        "fused.masked_softmax_rows", x.numel // n, x, mask, out, n, rows, x.shape[1], *steps, cost=4 * x.nbytes,
        TRIANGLE=int(mask is None), ACC=dtype_constexpr(acc), STREAM=int(streams(out)), BLOCK=max(power_of_two(n), 16),
    )  # fmt: skip


def plan_dropout_from(
    b: PlanBuilder, x: Tensor, y: Tensor | None, out: Tensor, seeds: Tensor, p: float, upscale: bool
) -> None:
    """out = what is kept of x by the key and counter in `seeds` [2] i64, plus y."""
    if x.numel == 0:
        return
    block, programs = dropout_grid(x.numel)
    acc = accumulation_dtype(x.dtype)
    scale = 1.0 / (1.0 - p) if upscale else 1.0
    b.launch(
        "fused.dropout_from", programs, _dense(b, x), None if y is None else _dense(b, y), out, seeds, x.numel, float(p),
        real(scale, acc), cost=20 * x.numel, ADD=int(y is not None), ACC=dtype_constexpr(acc), BLOCK=block,
    )  # fmt: skip


def dropout_grid(n: int) -> tuple[int, int]:
    """(BLOCK, programs): each counter gives four elements."""
    block = 1024 if n > 1024 else 256
    return block, -(-n // (4 * block))


_EPILOGUES = {"relu": "relu", "gelu": "gelu_tanh"}


def plan_gemm_epilogue(
    b: PlanBuilder, x: Tensor, y: Tensor, bias: Tensor, out: Tensor, before: Tensor | None, transpose_x: bool,
    transpose_y: bool, activation: str,
) -> None:  # fmt: skip
    """out = activation(op(x) @ op(y) + bias) of matrices; `before` gets what the activation is applied to."""
    if activation not in ("none", *_EPILOGUES):
        raise Unsupported(f"a product ends in none, relu or gelu, found {activation!r}.")
    if out.numel == 0:
        return
    u = x.permute(1, 0) if transpose_x else x
    v = y.permute(1, 0) if transpose_y else y
    row = bias.view((1, bias.numel), (bias.numel, bias.strides[-1]))
    if before is None or activation == "none":
        plan_product(b, u, v, out, row, ending=Ending.of(_EPILOGUES.get(activation, "identity")))
        return
    target = before.view(out.shape)
    plan_product(b, u, v, target, row)
    plan_unary(b, target, out, _EPILOGUES[activation])


def plan_gemm_epilogue_grad(
    b: PlanBuilder, x: Tensor, y: Tensor, before: Tensor | None, dout: Tensor, dx: Tensor | None, dy: Tensor | None,
    dbias: Tensor | None, transpose_x: bool, transpose_y: bool, activation: str,
) -> None:  # fmt: skip
    """The gradients from `before` and that of the result."""
    if activation not in ("none", *_EPILOGUES):
        raise Unsupported(f"a product ends in none, relu or gelu, found {activation!r}.")
    if activation != "none":
        if before is None:
            raise Unsupported(
                "the gradient of a product's activation needs what the activation was applied to."
            )
        through = b.scratch(dout.shape, dout.dtype)
        plan_unary_grad(b, before.view(dout.shape), dout, through, _EPILOGUES[activation])
        dout = through
    plan_matmul_grad(b, x, y, dout, dx, dy, transpose_x, transpose_y)
    if dbias is not None:
        plan_sum(b, dout, dbias, (0,))


def plan_linear_grad_add(
    b: PlanBuilder, x: Tensor, dout: Tensor, dweight: Tensor | None, dbias: Tensor | None,
    weight_out: Tensor | None, bias_out: Tensor | None,
) -> None:  # fmt: skip
    """weight_out = dweight + x^T @ dout and bias_out = dbias + sum(dout) for x [rows, k] and dout [rows, n]. The
    gradients so far get the sums too: they may be views of the memory that an optimizer reads."""
    if weight_out is not None:
        plan_product(b, x.permute(1, 0), dout, weight_out, dweight)
        if dweight is not None:
            plan_copy(b, weight_out, dweight)
    if bias_out is not None:
        if dbias is None:
            plan_sum(b, dout, bias_out, (0,))
            return
        total = b.scratch(bias_out.shape, accumulation_dtype(bias_out.dtype))
        plan_sum(b, dout, total, (0,))
        plan_map(b, "elementwise.add", [dbias, total], bias_out, compute=total.dtype)
        plan_copy(b, bias_out, dbias)
