# Arithmetic of pairs beside the four operations: angles, neighbours, shifts, interpolation, losses. Planners.
from __future__ import annotations

from typing import TYPE_CHECKING

from openxpu.ops.compare import plan_compare, plan_isclose
from openxpu.ops.creation import plan_full
from openxpu.ops.plan import FLOATS, PlanBuilder, Scalar, Tensor
from openxpu.ops.pointwise import broadcast_shape, plan_map, plan_map_reduced
from openxpu.ops.reduce import plan_all
from openxpu.ops.run import run

if TYPE_CHECKING:
    from openxpu.runtime import Array


def plan_atan2(b: PlanBuilder, y: Tensor, x: Tensor, out: Tensor) -> None:
    """The angle of the points (x, y), of integers in f64."""
    compute = "" if y.dtype in FLOATS else "f64"
    plan_map(b, "arithmetic.atan2", [y, x], out, compute=compute, effort=16)


def plan_atan2_grad(
    b: PlanBuilder, y: Tensor, x: Tensor, d: Tensor, dy: Tensor | None, dx: Tensor | None
) -> None:
    for function, target in (("atan2_grad_y", dy), ("atan2_grad_x", dx)):
        if target is not None:
            plan_map_reduced(b, f"arithmetic.{function}", [y, x, d], d.shape, target)


def plan_nextafter(b: PlanBuilder, x: Tensor, y: Tensor, out: Tensor) -> None:
    """The next number after x towards y, in the dtype of out."""
    plan_map(b, "arithmetic.nextafter", [x, y], out, effort=8)


def plan_copysign_grad(
    b: PlanBuilder, x: Tensor, y: Tensor, d: Tensor, dx: Tensor | None, dy: Tensor | None
) -> None:
    if dx is not None:
        plan_map_reduced(b, "arithmetic.copysign_grad", [x, y, d], d.shape, dx)
    if dy is not None:
        b.zero(dy)


def plan_shift(
    b: PlanBuilder, x: Tensor, y: Tensor, out: Tensor, left: bool, arithmetic: bool = True
) -> None:
    """x shifted by y bits; to the right filled with the sign (arithmetic) or with zeros."""
    name = "shift_left" if left else "shift_right" if arithmetic else "shift_right_logical"
    plan_map(b, f"arithmetic.{name}", [x, y], out)


def plan_lerp_grad(b: PlanBuilder, weight: Tensor, d: Tensor, dx: Tensor | None, dy: Tensor | None) -> None:
    for function, target in (("arithmetic.lerp_grad_x", dx), ("elementwise.multiply", dy)):
        if target is not None:
            plan_map_reduced(b, function, [weight, d], d.shape, target)


def plan_rint(b: PlanBuilder, x: Tensor, out: Tensor) -> None:
    """Rounds halves to even."""
    plan_map(b, "arithmetic.rint" if x.dtype in FLOATS else "elementwise.first", [x], out)


def plan_hinge_loss(b: PlanBuilder, logits: Tensor, labels: Tensor, out: Tensor) -> None:
    """max(1 - logit (2 label - 1), 0)."""
    plan_map(b, "arithmetic.hinge_loss", [logits, labels], out)


def plan_hinge_loss_grad(b: PlanBuilder, logits: Tensor, labels: Tensor, d: Tensor, dx: Tensor) -> None:
    plan_map(b, "arithmetic.hinge_loss_grad", [logits, labels, d], dx)


def plan_soft_relu(b: PlanBuilder, x: Tensor, out: Tensor, threshold: float) -> None:
    """log(1 + exp(x)), x held within [-threshold, threshold]."""
    plan_map(b, "arithmetic.soft_relu", [x], out, [threshold], effort=4)


def plan_soft_relu_grad(
    b: PlanBuilder, x: Tensor, out: Tensor, d: Tensor, dx: Tensor, threshold: float
) -> None:
    plan_map(b, "arithmetic.soft_relu_grad", [x, out, d], dx, [threshold], effort=2)


def plan_equal_all(b: PlanBuilder, x: Tensor, y: Tensor, out: Tensor) -> None:
    """Whether both have one shape and the same elements."""
    if x.shape != y.shape:
        plan_full(b, out, 0)
        return
    equal = b.scratch(x.shape, "bool")
    plan_compare(b, x, y, equal, "equal")
    plan_all(b, equal, out, range(x.ndim))


def plan_allclose(
    b: PlanBuilder, x: Tensor, y: Tensor, out: Tensor, rtol: Scalar, atol: Scalar, equal_nan: bool
) -> None:
    """Whether |x - y| <= atol + rtol |y| everywhere."""
    close = b.scratch(broadcast_shape(x.shape, y.shape), "bool")
    plan_isclose(b, x, y, close, rtol, atol, equal_nan)
    plan_all(b, close, out, range(close.ndim))


def atan2(y: Array, x: Array) -> Array:
    """The angle of the points (x, y), from -pi to pi."""
    return run(plan_atan2, [y, x], [(broadcast_shape(y.shape, x.shape), y.dtype)])  # type: ignore[no-any-return]


def nextafter(x: Array, y: Array) -> Array:
    """The next representable number after x towards y."""
    return run(plan_nextafter, [x, y], [(broadcast_shape(x.shape, y.shape), x.dtype)])  # type: ignore[no-any-return]


def equal_all(x: Array, y: Array) -> Array:
    """Whether both arrays have one shape and the same elements, as a bool without dimensions."""
    return run(plan_equal_all, [x, y], [((), "bool")])  # type: ignore[no-any-return]
