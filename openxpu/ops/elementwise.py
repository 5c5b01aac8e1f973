# Two-operand arithmetic with broadcasting, sums of many tensors, scaling, powers: planners and public functions.
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from openxpu.ops.plan import FLOATS, Dynamic, PlanBuilder, Scalar, Tensor, Unsupported
from openxpu.ops.pointwise import aligned, broadcast_shape, plan_map, plan_map_reduced
from openxpu.ops.run import run

if TYPE_CHECKING:
    from openxpu.runtime import Array


@dataclass(frozen=True)
class Binary:
    """A function of two tensors. A gradient is (kernel function, which of x, y, out, d it takes in order);
    None: the operand has none."""

    function: str
    grad_x: tuple[str, str] | None = None
    grad_y: tuple[str, str] | None = None
    effort: int = 1


BINARY = {
    "add": Binary("add", ("first", "d"), ("first", "d")),
    "subtract": Binary("subtract", ("first", "d"), ("negative", "d")),
    "multiply": Binary("multiply", ("multiply_grad", "yd"), ("multiply_grad", "xd")),
    "divide": Binary("divide", ("divide_grad_x", "yd"), ("divide_grad_y", "oyd")),
    "maximum": Binary("maximum", ("greater_grad", "xyd"), ("less_grad", "xyd")),
    "minimum": Binary("minimum", ("less_grad", "xyd"), ("greater_grad", "xyd")),
    "fmax": Binary("fmax", ("fmax_grad_x", "xyd"), ("fmax_grad_y", "xyd")),
    "fmin": Binary("fmin", ("fmin_grad_x", "xyd"), ("fmin_grad_y", "xyd")),
    "pow": Binary("pow", ("pow_grad_x", "xyd"), ("pow_grad_y", "xyd"), effort=16),
    "floor_divide": Binary("floor_divide"),
    "trunc_divide": Binary("trunc_divide"),
    "remainder": Binary("remainder", ("first", "d"), ("remainder_grad_y", "xyd"), effort=8),
    "heaviside": Binary("heaviside", None, ("heaviside_grad_y", "xd")),
    "copysign": Binary("copysign"),
}


def plan_binary(b: PlanBuilder, x: Tensor, y: Tensor, out: Tensor, name: str, axis: int = -1) -> None:
    """out = name(x, y) with broadcasting; `axis` is where the smaller operand's first dimension lies (-1: trailing)."""
    row = BINARY[name]
    ndim = max(x.ndim, y.ndim)
    operands = [aligned(x, ndim, axis), aligned(y, ndim, axis)]
    plan_map(b, f"elementwise.{row.function}", operands, out, effort=row.effort)


def plan_binary_grad(
    b: PlanBuilder,
    x: Tensor | None,
    y: Tensor | None,
    out: Tensor | None,
    d: Tensor,
    dx: Tensor | None,
    dy: Tensor | None,
    name: str,
    axis: int = -1,
) -> None:
    """Gradients of `plan_binary`, summed over the dimensions in which the operand was broadcast. x, y and out may
    be None where the gradient does not use them; dx and dy where they are not wanted. divide without out finds
    it again as x / y."""
    row = BINARY[name]
    ndim = d.ndim
    named = {
        letter: None if tensor is None else aligned(tensor, ndim, axis)
        for letter, tensor in (("x", x), ("y", y), ("o", out), ("d", d))
    }
    if name == "divide" and out is None and dy is not None:
        assert x is not None
        assert y is not None
        quotient = b.scratch(d.shape, "f32" if d.dtype in ("f16", "bf16") else d.dtype)
        plan_binary(b, x, y, quotient, "divide", axis)
        named["o"] = quotient
    for grad, target in ((row.grad_x, dx), (row.grad_y, dy)):
        if target is None:
            continue
        if grad is None:
            b.zero(target)
            continue
        function, letters = grad
        operands = [operand for letter in letters if (operand := named[letter]) is not None]
        if len(operands) < len(letters):
            raise Unsupported(f"The gradient of {name} needs an operand that was not given.")
        plan_map_reduced(
            b, f"elementwise.{function}", operands, d.shape, target, axis=axis, effort=row.effort
        )


def plan_add_n(b: PlanBuilder, inputs: Sequence[Tensor], out: Tensor) -> None:
    """The sum of tensors of one shape, in their order; 16-bit floats are summed in f32."""
    if len(inputs) == 1:
        plan_map(b, "elementwise.first", inputs, out)
        return
    left = list(inputs)
    total = None
    while left:
        if total is None:
            terms, left = left[:3], left[3:]
        else:
            terms, left = [total, *left[:2]], left[2:]
        if not left:
            target = out
        elif total is None:
            # Not `out`: it may be one of the inputs that are still to come.
            target = b.scratch(out.shape, "f32" if out.dtype in ("f16", "bf16") else out.dtype)
        else:
            target = total
        plan_map(b, "elementwise.add3" if len(terms) == 3 else "elementwise.add", terms, target)
        total = target


def plan_scale(
    b: PlanBuilder, x: Tensor, out: Tensor, scale: Scalar, bias: Scalar, bias_after_scale: bool = True
) -> None:
    """out = x * scale + bias, or (x + bias) * scale."""
    plan_map(
        b, "elementwise.scale_bias" if bias_after_scale else "elementwise.bias_scale", [x], out, [scale, bias]
    )


def plan_add_scalar(b: PlanBuilder, x: Tensor, out: Tensor, value: Scalar) -> None:
    plan_map(b, "elementwise.add_scalar", [x], out, [value])


def plan_divide_scalar(b: PlanBuilder, x: Tensor, out: Tensor, value: Scalar | Sequence[Scalar]) -> None:
    """`value` may be complex: (real, imaginary)."""
    if isinstance(value, Sequence):
        plan_map(b, "complex.divide_number", [x], out, value)
        return
    plan_map(b, "elementwise.divide_scalar", [x], out, [value])


def plan_multiply_scalar(b: PlanBuilder, x: Tensor, out: Tensor, value: Scalar) -> None:
    plan_map(b, "elementwise.multiply_scalar", [x], out, [value])


_CHEAP_POWERS = {
    2.0: "activation.square", 0.5: "activation.sqrt", -1.0: "activation.reciprocal", -0.5: "activation.rsqrt",
    1.0: "elementwise.first",
}  # fmt: skip


def plan_pow_scalar(b: PlanBuilder, x: Tensor, out: Tensor, factor: float) -> None:
    """out = x ** factor; common factors cost no logarithm."""
    cheap = _CHEAP_POWERS.get(float(factor))
    if cheap and (x.dtype in FLOATS or factor in (1, 2)):
        plan_map(b, cheap, [x], out)
    elif x.dtype not in FLOATS and factor in range(64):
        plan_map(b, "elementwise.pow_integer", [x], out, [int(factor)], effort=4)
    else:
        plan_map(b, "elementwise.pow_scalar", [x], out, [factor], effort=16)


def plan_pow_scalar_grad(b: PlanBuilder, x: Tensor, d: Tensor, dx: Tensor, factor: float) -> None:
    if factor == 0:
        b.zero(dx)
    elif factor == 1:
        plan_map(b, "elementwise.first", [d], dx)
    elif factor == 2:
        plan_map(b, "activation.square_grad", [x, d], dx)
    else:
        plan_map(b, "elementwise.pow_scalar_grad", [x, d], dx, [factor], effort=16)


def plan_lerp(b: PlanBuilder, x: Tensor, y: Tensor, weight: Tensor, out: Tensor) -> None:
    plan_map(b, "elementwise.lerp", [x, y, weight], out)


def _binary(name: str, x: Array, y: Array) -> Array:
    return run(plan_binary, [x, y], [(broadcast_shape(x.shape, y.shape), x.dtype)], name)  # type: ignore[no-any-return]


def add(x: Array, y: Array) -> Array:
    """x + y with broadcasting; both of one dtype."""
    return _binary("add", x, y)


def subtract(x: Array, y: Array) -> Array:
    """x - y."""
    return _binary("subtract", x, y)


def multiply(x: Array, y: Array) -> Array:
    """x * y."""
    return _binary("multiply", x, y)


def divide(x: Array, y: Array) -> Array:
    """x / y; integers divide towards zero, and by zero give 0."""
    return _binary("divide", x, y)


def maximum(x: Array, y: Array) -> Array:
    """The greater of each pair; NaN when either is."""
    return _binary("maximum", x, y)


def minimum(x: Array, y: Array) -> Array:
    """The lesser of each pair; NaN when either is."""
    return _binary("minimum", x, y)


def fmax(x: Array, y: Array) -> Array:
    """The greater of each pair, or the one that is not NaN."""
    return _binary("fmax", x, y)


def fmin(x: Array, y: Array) -> Array:
    """The lesser of each pair, or the one that is not NaN."""
    return _binary("fmin", x, y)


def pow(x: Array, y: Array) -> Array:
    """x ** y."""
    return _binary("pow", x, y)


def floor_divide(x: Array, y: Array) -> Array:
    """x / y rounded towards minus infinity."""
    return _binary("floor_divide", x, y)


def trunc_divide(x: Array, y: Array) -> Array:
    """x / y rounded towards zero."""
    return _binary("trunc_divide", x, y)


def remainder(x: Array, y: Array) -> Array:
    """What x leaves when divided by y, with the sign of y."""
    return _binary("remainder", x, y)


def heaviside(x: Array, y: Array) -> Array:
    """0 below zero, 1 above, y at zero."""
    return _binary("heaviside", x, y)


def copysign(x: Array, y: Array) -> Array:
    """|x| with the sign of y."""
    return _binary("copysign", x, y)


def add_n(inputs: Sequence[Array]) -> Array:
    """The sum of arrays of one shape and dtype."""
    first = inputs[0]
    return run(plan_add_n, [list(inputs)], [(first.shape, first.dtype)])  # type: ignore[no-any-return]


def scale(x: Array, scale: float, bias: float = 0.0, bias_after_scale: bool = True) -> Array:
    """x * scale + bias, or (x + bias) * scale."""
    return run(  # type: ignore[no-any-return]
        plan_scale, [x], [(x.shape, x.dtype)], Dynamic(0), Dynamic(1), bias_after_scale, dynamic=(scale, bias)
    )


def pow_scalar(x: Array, factor: float) -> Array:
    """x ** factor for one number."""
    return run(plan_pow_scalar, [x], [(x.shape, x.dtype)], factor)  # type: ignore[no-any-return]


def lerp(x: Array, y: Array, weight: Array) -> Array:
    """x + weight * (y - x)."""
    shape = broadcast_shape(x.shape, y.shape, weight.shape)
    return run(plan_lerp, [x, y, weight], [(shape, x.dtype)])  # type: ignore[no-any-return]
