# phi kernels of arithmetic beside the four operations, mapped to openxpu.ops.arithmetic.

from __future__ import annotations

from openxpu.ops import arithmetic
from openxpu.ops.plan import Dynamic, PlanBuilder, Tensor
from openxpu.paddle.kernels import phi_kernel
from openxpu.paddle.outputs import required


@phi_kernel
def atan2(b: PlanBuilder, y: Tensor, x: Tensor, out: Tensor) -> None:
    arithmetic.plan_atan2(b, y, x, out if y.dtype[0] != "i" else required(b, out, "f64"))


@phi_kernel
def atan2_grad(b: PlanBuilder, y: Tensor, x: Tensor, d: Tensor, dy: Tensor | None, dx: Tensor | None) -> None:
    arithmetic.plan_atan2_grad(b, y, x, d, dy, dx)


@phi_kernel
def copysign_grad(
    b: PlanBuilder, x: Tensor, y: Tensor, d: Tensor, dx: Tensor | None, dy: Tensor | None
) -> None:
    arithmetic.plan_copysign_grad(b, x, y, d, dx, dy)


@phi_kernel
def nextafter(b: PlanBuilder, x: Tensor, y: Tensor, out: Tensor) -> None:
    arithmetic.plan_nextafter(b, x, y, out)


@phi_kernel
def bitwise_left_shift(b: PlanBuilder, x: Tensor, y: Tensor, is_arithmetic: bool, out: Tensor) -> None:
    arithmetic.plan_shift(b, x, y, out, True)


@phi_kernel
def bitwise_right_shift(b: PlanBuilder, x: Tensor, y: Tensor, is_arithmetic: bool, out: Tensor) -> None:
    arithmetic.plan_shift(b, x, y, out, False, is_arithmetic)


@phi_kernel
def lerp_grad(
    b: PlanBuilder,
    x: Tensor,
    y: Tensor,
    weight: Tensor,
    out: Tensor,
    d: Tensor,
    dx: Tensor | None,
    dy: Tensor | None,
) -> None:
    arithmetic.plan_lerp_grad(b, weight, d, dx, dy)


@phi_kernel
def rint(b: PlanBuilder, x: Tensor, out: Tensor) -> None:
    arithmetic.plan_rint(b, x, out)


@phi_kernel
def rint_grad(b: PlanBuilder, d: Tensor, dx: Tensor) -> None:
    b.zero(dx)


@phi_kernel
def hinge_loss(b: PlanBuilder, logits: Tensor, labels: Tensor, out: Tensor) -> None:
    arithmetic.plan_hinge_loss(b, logits, labels, out)


@phi_kernel
def hinge_loss_grad(b: PlanBuilder, logits: Tensor, labels: Tensor, d: Tensor, dx: Tensor | None) -> None:
    if dx is not None:
        arithmetic.plan_hinge_loss_grad(b, logits, labels, d, dx)


@phi_kernel
def soft_relu(b: PlanBuilder, x: Tensor, threshold: float, out: Tensor) -> None:
    arithmetic.plan_soft_relu(b, x, out, threshold)


@phi_kernel
def soft_relu_grad(b: PlanBuilder, x: Tensor, out: Tensor, d: Tensor, threshold: float, dx: Tensor) -> None:
    arithmetic.plan_soft_relu_grad(b, x, out, d, dx, threshold)


@phi_kernel
def equal_all(b: PlanBuilder, x: Tensor, y: Tensor, out: Tensor) -> None:
    arithmetic.plan_equal_all(b, x, y, required(b, out, "bool"))


@phi_kernel(dynamic=("rtol", "atol"))
def allclose(
    b: PlanBuilder, x: Tensor, y: Tensor, rtol: Dynamic, atol: Dynamic, equal_nan: bool, out: Tensor
) -> None:
    arithmetic.plan_allclose(b, x, y, required(b, out, "bool"), rtol, atol, equal_nan)
