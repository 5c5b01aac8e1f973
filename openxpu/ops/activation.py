# Functions of one tensor, mathematics and activations, with gradients: one table, planners and public functions.
from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from openxpu.ops.plan import PlanBuilder, Scalar, Tensor
from openxpu.ops.pointwise import plan_map
from openxpu.ops.run import run

if TYPE_CHECKING:
    from openxpu.runtime import Array


@dataclass(frozen=True)
class Unary:
    """`function` and `grad` name kernel functions; `saved` says whether the gradient takes x or out (None: the
    gradient is zero). `defaults` are the values of its parameters. `integers`: "identity" for rounding functions,
    "same" when integers work as they are, None when they do not."""

    function: str
    grad: str | None = None
    saved: str | None = None
    defaults: tuple[float, ...] = ()
    effort: int = 1
    integers: str | None = None


_SELU = (1.0507009873554804934193349852946, 1.6732632423543772848170429916717)

UNARY = {
    # mathematics
    "exp": Unary("activation.exp", "activation.exp_grad_out", "out", effort=2),
    "expm1": Unary("elementary.expm1", "activation.expm1_grad_out", "out", effort=3),
    "log": Unary("activation.log", "activation.log_grad", "x", effort=2),
    "log2": Unary("activation.log2", "activation.log2_grad", "x", effort=2),
    "log10": Unary("activation.log10", "activation.log10_grad", "x", effort=2),
    "log1p": Unary("elementary.log1p", "activation.log1p_grad", "x", effort=3),
    "sqrt": Unary("activation.sqrt", "activation.sqrt_grad_out", "out"),
    "rsqrt": Unary("activation.rsqrt", "activation.rsqrt_grad_out", "out"),
    "abs": Unary("activation.abs", "activation.abs_grad", "x", integers="same"),
    "square": Unary("activation.square", "activation.square_grad", "x", integers="same"),
    "reciprocal": Unary("activation.reciprocal", "activation.reciprocal_grad_out", "out"),
    "negative": Unary("activation.negative", integers="same"),
    "sin": Unary("activation.sin", "activation.sin_grad", "x", effort=4),
    "cos": Unary("activation.cos", "activation.cos_grad", "x", effort=4),
    "tan": Unary("elementary.tan", "activation.tan_grad", "x", effort=16),
    "asin": Unary("elementary.asin", "activation.asin_grad", "x", effort=16),
    "acos": Unary("elementary.acos", "activation.acos_grad", "x", effort=16),
    "atan": Unary("elementary.atan", "activation.atan_grad", "x", effort=16),
    "sinh": Unary("elementary.sinh", "activation.sinh_grad", "x", effort=4),
    "cosh": Unary("elementary.cosh", "activation.cosh_grad", "x", effort=4),
    "asinh": Unary("elementary.asinh", "activation.asinh_grad", "x", effort=16),
    "acosh": Unary("elementary.acosh", "activation.acosh_grad", "x", effort=16),
    "atanh": Unary("elementary.atanh", "activation.atanh_grad", "x", effort=16),
    "erf": Unary("activation.erf", "activation.erf_grad", "x", effort=4),
    "floor": Unary("activation.floor", integers="identity"),
    "ceil": Unary("activation.ceil", integers="identity"),
    "round": Unary("activation.round", integers="identity"),
    "trunc": Unary("elementary.trunc", integers="identity"),
    "sign": Unary("activation.sign", integers="same"),
    "logit": Unary("activation.logit", "activation.logit_grad", "x", (0.0,), effort=3),
    # activations
    "relu": Unary("activation.relu", "activation.relu_grad_out", "out", integers="same"),
    "relu6": Unary("activation.relu6", "activation.relu6_grad_out", "out", integers="same"),
    "leaky_relu": Unary("activation.leaky_relu", "activation.leaky_relu_grad", "x", (0.02,)),
    "thresholded_relu": Unary(
        "activation.thresholded_relu", "activation.thresholded_relu_grad", "x", (1.0, 0.0)
    ),
    "sigmoid": Unary("elementary.sigmoid", "activation.sigmoid_grad_out", "out", effort=2),
    "tanh": Unary("elementary.tanh", "activation.tanh_grad_out", "out", effort=3),
    "gelu": Unary("activation.gelu", "activation.gelu_grad", "x", effort=4),
    "gelu_tanh": Unary("activation.gelu_tanh", "activation.gelu_tanh_grad", "x", effort=4),
    "silu": Unary("activation.silu", "activation.silu_grad", "x", effort=2),
    "logsigmoid": Unary("activation.logsigmoid", "activation.logsigmoid_grad", "x", effort=4),
    "hardswish": Unary("activation.hardswish", "activation.hardswish_grad", "x"),
    "hardsigmoid": Unary("activation.hardsigmoid", "activation.hardsigmoid_grad_out", "out", (0.2, 0.5)),
    "hardtanh": Unary("activation.clip", "activation.hardtanh_grad", "x", (-1.0, 1.0)),
    "clip": Unary("activation.clip", "activation.clip_grad", "x", (0.0, 1.0), integers="same"),
    "elu": Unary("activation.elu", "activation.elu_grad", "x", (1.0,), effort=3),
    "celu": Unary("activation.celu", "activation.celu_grad", "x", (1.0,), effort=3),
    "selu": Unary("activation.selu", "activation.selu_grad_out", "out", _SELU, effort=3),
    "softplus": Unary("activation.softplus", "activation.softplus_grad", "x", (1.0, 20.0), effort=4),
    "softsign": Unary("activation.softsign", "activation.softsign_grad", "x"),
    "softshrink": Unary("activation.softshrink", "activation.softshrink_grad", "x", (0.5,)),
    "hard_shrink": Unary("activation.hard_shrink", "activation.hard_shrink_grad", "x", (0.5,)),
    "tanh_shrink": Unary("activation.tanh_shrink", "activation.tanh_shrink_grad", "x", effort=3),
    "stanh": Unary("activation.stanh", "activation.stanh_grad", "x", (0.67, 1.7159), effort=3),
    "mish": Unary("activation.mish", "activation.mish_grad", "x", (20.0,), effort=3),
}


def plan_unary(b: PlanBuilder, x: Tensor, out: Tensor, name: str, *parameters: Scalar) -> None:
    """out = name(x, *parameters). `out` may be x."""
    row = UNARY[name]
    if row.integers == "identity" and x.dtype not in ("f16", "bf16", "f32", "f64"):
        plan_map(b, "elementwise.first", [x], out)
        return
    plan_map(b, row.function, [x], out, parameters or row.defaults, effort=row.effort)


def plan_unary_grad(
    b: PlanBuilder, saved: Tensor | None, d: Tensor, dx: Tensor, name: str, *parameters: Scalar
) -> None:
    """dx from the saved tensor (x or out, as the table says) and the gradient of the result."""
    row = UNARY[name]
    if row.grad is None or saved is None:
        b.zero(dx)
        return
    plan_map(b, row.grad, [saved, d], dx, parameters or row.defaults, effort=row.effort)


def plan_round(b: PlanBuilder, x: Tensor, out: Tensor, decimals: int = 0) -> None:
    """Rounds halves to the even neighbour, at `decimals` digits after the point. Integers stay as they are."""
    if decimals == 0 or x.dtype not in ("f16", "bf16", "f32", "f64"):
        plan_unary(b, x, out, "round")
    else:
        plan_map(b, "activation.round_decimals", [x], out, [10.0**decimals])


def plan_classify(b: PlanBuilder, x: Tensor, out: Tensor, name: str) -> None:
    """isnan, isinf or isfinite, as bool. The answer for integers is known."""
    if x.dtype in ("f16", "bf16", "f32", "f64"):
        plan_map(b, f"activation.{name}", [x], out)
    else:
        constant = "constant_true" if name == "isfinite" else "constant_false"
        plan_map(b, f"activation.{constant}", [x], out)


def _public(name: str) -> Callable[..., Array]:
    row = UNARY[name]

    def function(x: Array, *parameters: float) -> Array:
        return run(plan_unary, [x], [(x.shape, x.dtype)], name, *parameters)  # type: ignore[no-any-return]

    function.__name__ = function.__qualname__ = name
    function.__doc__ = f"{name} of every element" + (
        f"; parameters default to {row.defaults}." if row.defaults else "."
    )
    return function


exp, expm1, log, log2, log10, log1p = map(_public, ("exp", "expm1", "log", "log2", "log10", "log1p"))
sqrt, rsqrt, square, reciprocal = map(_public, ("sqrt", "rsqrt", "square", "reciprocal"))
abs, negative, sign = map(_public, ("abs", "negative", "sign"))
sin, cos, tan, asin, acos, atan = map(_public, ("sin", "cos", "tan", "asin", "acos", "atan"))
sinh, cosh, asinh, acosh, atanh = map(_public, ("sinh", "cosh", "asinh", "acosh", "atanh"))
erf, logit, clip = map(_public, ("erf", "logit", "clip"))
floor, ceil, round, trunc = map(_public, ("floor", "ceil", "round", "trunc"))
relu, relu6, leaky_relu, thresholded_relu = map(_public, ("relu", "relu6", "leaky_relu", "thresholded_relu"))
sigmoid, tanh, gelu, gelu_tanh, silu = map(_public, ("sigmoid", "tanh", "gelu", "gelu_tanh", "silu"))
logsigmoid, hardswish, hardsigmoid, hardtanh = map(
    _public, ("logsigmoid", "hardswish", "hardsigmoid", "hardtanh")
)
elu, celu, selu, softplus, softsign = map(_public, ("elu", "celu", "selu", "softplus", "softsign"))
softshrink, hard_shrink, tanh_shrink = map(_public, ("softshrink", "hard_shrink", "tanh_shrink"))
stanh, mish = map(_public, ("stanh", "mish"))


def _classify(name: str) -> Callable[[Array], Array]:
    def function(x: Array) -> Array:
        return run(plan_classify, [x], [(x.shape, "bool")], name)  # type: ignore[no-any-return]

    function.__name__ = function.__qualname__ = name
    function.__doc__ = f"{name} of every element, as bool."
    return function


isnan, isinf, isfinite = map(_classify, ("isnan", "isinf", "isfinite"))
