# Quantization: planners of simulated quantization, of weights in 8 and 4 bits, and of products with these.
"""Weights lie as they are multiplied: those of a product with [k, n] as i8 [n, k]; in 4 bits [n / 2, k], where a byte has the
columns 2 i (lower half) and 2 i + 1. Their scales are [n], or [k / group, n] with one for each `group` rows."""

from __future__ import annotations

from openxpu.ops.layout import plan_copy
from openxpu.ops.matmul import plan_product
from openxpu.ops.plan import PlanBuilder, Tensor, Unsupported, dtype_constexpr
from openxpu.ops.pointwise import compute_dtype, plan_map
from openxpu.ops.reduce import accumulation_dtype, plan_reduce

_FEW = 8  # rows of x up to which weights are multiplied as they lie


def bins(bits: int) -> int:
    """Steps to each side of zero."""
    return (1 << (bits - 1)) - 1


def plan_largest(b: PlanBuilder, x: Tensor, out: Tensor, axis: int | None = None) -> None:
    """The largest magnitude of x, or of each index along `axis`."""
    if x.numel == 0:
        b.zero(out)
        return
    axes = tuple(d for d in range(x.ndim) if d != axis)
    if not axes:  # every element by itself
        plan_map(b, "activation.abs", [x], out.view(x.shape))
        return
    shape = () if axis is None else (x.shape[axis],)
    plan_reduce(b, x, out.view(shape), axes, "max", pre="abs")


def _along(scale: Tensor, ndim: int, axis: int) -> Tensor:
    """A scale of one element, or of one for each index along `axis`, ready to be broadcast."""
    if axis < 0 or scale.numel == 1:
        return scale.view((1,) * ndim)
    shape = [1] * ndim
    shape[axis] = scale.numel
    return scale.reshape(*shape)


def plan_quantize(
    b: PlanBuilder, x: Tensor, scale: Tensor, out: Tensor, steps: int, round_type: int, axis: int = -1,
    back: bool = False,
) -> None:  # fmt: skip
    """x / scale in `steps` to each side of zero, halves to even (round_type 0) or away from zero; `back`: as a multiple
    of the scale again. One scale, or one for each index along `axis`."""
    name = ("simulate_" if back else "quantize_") + ("even" if round_type == 0 else "away")
    plan_map(b, f"quantize.{name}", [x, _along(scale, x.ndim, axis)], out, [float(steps)], effort=2)


def plan_dequantize(
    b: PlanBuilder,
    x: Tensor,
    scale: Tensor,
    out: Tensor,
    largest: float,
    axis: int = -1,
    second: Tensor | None = None,
) -> None:
    """x * scale / largest, with one scale or one for each index along `axis`, and a second factor of one element."""
    scales = [_along(scale, x.ndim, axis)]
    if second is not None:
        scales.append(_along(second, x.ndim, -1))
    name = "times_over" if second is None else "times_over_two"
    plan_map(b, f"quantize.{name}", [x, *scales], out, [float(largest)], compute=None)


def plan_round_to_i8(
    b: PlanBuilder, x: Tensor, out: Tensor, scale: float, round_type: int, largest: float, smallest: float
) -> None:
    """x * scale * largest rounded into [smallest, largest]."""
    name = "quantize.to_i8_even" if round_type == 0 else "quantize.to_i8_away"
    plan_map(b, name, [x], out, [scale * largest, largest, smallest], effort=2)


def plan_moving_average(
    b: PlanBuilder, x: Tensor, accum: Tensor, state: Tensor, accum_out: Tensor, state_out: Tensor, scale_out: Tensor,
    rate: float,
) -> None:  # fmt: skip
    """state_out = rate * state + 1, accum_out = rate * accum + max |x|, scale_out = accum_out / state_out."""
    current = b.scratch((1,), compute_dtype(x.dtype))
    plan_largest(b, x, current)
    b.launch("quantize.moving_average", 1, current, accum, state, accum_out, state_out, scale_out, rate)


def plan_windowed_largest(
    b: PlanBuilder, x: Tensor, last: Tensor, step: Tensor, scales: Tensor, scale_out: Tensor, window: int
) -> None:
    """The largest magnitude in a window of steps; `scales` keeps those of the steps."""
    current = b.scratch((1,), x.dtype)
    plan_largest(b, x, current)
    b.launch("quantize.windowed", 1, current, last, step, scales, scale_out, window, BLOCK=1024)


# ---- weights ----


def _groups(k: int, group: int) -> int:
    if group <= 0:
        return 1
    if k % group:
        raise Unsupported(f"scales of {group} rows each need a multiple of {group} rows, found {k}.")
    return k // group


def _columns(tensor: Tensor, groups: int) -> Tensor:
    """What lies as [n, k] as [n, groups, k / groups]."""
    n, k = tensor.shape
    column, row = tensor.strides
    return tensor.view((n, groups, k // groups), (column, k // groups * row, row))


def _scales(scale: Tensor, n: int, groups: int, first: int = 0, step: int = 1) -> Tensor:
    """The scales of every `step`-th column from `first` on, as [columns, groups, 1]."""
    return scale.view((n // step, groups, 1), (step, n, 1), first)


def plan_weight_quantize(
    b: PlanBuilder, x: Tensor, out: Tensor, scale: Tensor, bits: int, group: int = -1
) -> None:
    """The weights x [k, n] in `bits` (8 or 4): out [n, k] or [n / 2, k], scale [n] or [k / group, n]."""
    k, n = x.shape
    if x.numel == 0:
        return
    if bits == 4 and n % 2:
        raise Unsupported(f"weights in 4 bits need an even number of columns, found {n}.")
    groups, largest = _groups(k, group), float(bins(bits))
    row, column = x.strides
    grouped = x.view((groups, k // groups, n), (k // groups * row, row, column))
    magnitude = b.scratch((groups, n), compute_dtype(x.dtype))
    plan_reduce(b, grouped, magnitude, (1,), "max", pre="abs")
    plan_map(b, "elementwise.divide_scalar", [magnitude], scale.view((groups, n)), [largest])
    steps = b.scratch((k, n), "i8")
    scales, target = scale.view((groups, 1, n)), steps.view((groups, k // groups, n))
    plan_map(b, "quantize.weight_step", [grouped, scales], target, [largest], effort=4)
    turned = out if bits == 8 else b.scratch((n, k), "i8")
    plan_copy(b, steps.permute(1, 0), turned)
    if bits == 4:
        low, high = (turned.view((n // 2, k), (2 * k, 1), i * k) for i in range(2))
        plan_map(b, "quantize.pack", [low, high], out, compute=None)


def plan_weight_dequantize(
    b: PlanBuilder, q: Tensor, scale: Tensor, out: Tensor, bits: int, group: int = -1
) -> None:
    """out [k, n] (any strides) from weights in `bits` and their scales."""
    k, n = out.shape
    if out.numel == 0:
        return
    groups = _groups(k, group)
    turned = out.permute(1, 0) if out.strides[0] == 1 else b.scratch((n, k), out.dtype)
    if bits == 8:
        plan_map(
            b, "quantize.times", [_columns(q, groups), _scales(scale, n, groups)], _columns(turned, groups), compute=None
        )  # fmt: skip
    else:
        for i, name in enumerate(("low", "high")):
            half = turned.view((n // 2, k), (2 * turned.strides[0], turned.strides[1]), i * turned.strides[0])
            scales = _scales(scale, n, groups, i, 2)
            plan_map(
                b,
                f"quantize.{name}_times",
                [_columns(q, groups), scales],
                _columns(half, groups),
                compute=None,
            )
    if out.strides[0] != 1:
        plan_copy(b, turned.permute(1, 0), out)


def plan_weight_linear(
    b: PlanBuilder,
    x: Tensor,
    q: Tensor,
    bias: Tensor | None,
    scale: Tensor,
    out: Tensor,
    bits: int,
    group: int = -1,
) -> None:
    """out [rows, n] = x [rows, k] @ weights + bias."""
    (rows, k), n = x.shape, out.shape[-1]
    if out.numel == 0:
        return
    if not x.contiguous:
        dense = b.scratch(x.shape, x.dtype)
        plan_copy(b, x, dense)
        x = dense
    groups = _groups(k, group)
    if rows <= _FEW:
        b.launch(
            "quantize.few_rows", -(-n // 16), x, q, scale, bias, out, rows, n, k, max(group, 1), cost=2 * rows * n * k,
            GROUPS=int(groups > 1), BITS=bits, BIAS=int(bias is not None), ACC=dtype_constexpr(accumulation_dtype(x.dtype)),
            BN=16, BK=64 if groups > 1 else 256,
        )  # fmt: skip
        return
    weight = b.scratch((n, k), x.dtype).permute(1, 0)
    plan_weight_dequantize(b, q, scale, weight, bits, group)
    plan_product(b, x, weight, out, None if bias is None else bias.view((1, n)))


def plan_weight_linear_grad(
    b: PlanBuilder, q: Tensor, scale: Tensor, dout: Tensor, dx: Tensor, bits: int, group: int = -1
) -> None:
    """dx [rows, k] = dout [rows, n] @ weights^T."""
    k, n = dx.shape[-1], dout.shape[-1]
    weight = b.scratch((n, k), dx.dtype)
    plan_weight_dequantize(b, q, scale, weight.permute(1, 0), bits, group)
    plan_product(b, dout, weight, dx)


def plan_straight_through(b: PlanBuilder, dout: Tensor, dx: Tensor) -> None:
    """The gradient of simulated quantization, as if it did nothing. Source: Bengio et al., Estimating or propagating
    gradients through stochastic neurons, 2013."""
    plan_copy(b, dout, dx)
