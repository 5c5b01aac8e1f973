# phi kernels of double and triple gradients, mapped to openxpu.ops.higher_grad.

from __future__ import annotations

from typing import Any

from openxpu.ops import higher_grad
from openxpu.ops.plan import PlanBuilder, Tensor, Unsupported
from openxpu.paddle.kernels import phi_kernel

Maybe = Tensor | None


def _named(kernel: str, function: Any) -> None:
    function.__name__ = function.__qualname__ = kernel
    phi_kernel(function)


def _double(name: str, parameters: int) -> None:
    """(kept, d, ddx, parameters.., ds, ddout)"""

    def double0(b: PlanBuilder, saved: Tensor, d: Tensor, ddx: Tensor, ds: Maybe, ddout: Maybe) -> None:
        higher_grad.plan_double_grad(b, saved, d, ddx, ds, ddout, name)

    def double1(
        b: PlanBuilder, saved: Tensor, d: Tensor, ddx: Tensor, p: float, ds: Maybe, ddout: Maybe
    ) -> None:
        higher_grad.plan_double_grad(b, saved, d, ddx, ds, ddout, name, float(p))

    def double2(
        b: PlanBuilder, saved: Tensor, d: Tensor, ddx: Tensor, p: float, q: float, ds: Maybe, ddout: Maybe
    ) -> None:
        higher_grad.plan_double_grad(b, saved, d, ddx, ds, ddout, name, float(p), float(q))

    _named(f"{name}_double_grad", (double0, double1, double2)[parameters])


def _triple(name: str) -> None:
    def triple(
        b: PlanBuilder,
        saved: Tensor,
        d: Maybe,
        ddx: Maybe,
        e: Maybe,
        g: Maybe,
        ds: Maybe,
        dd: Maybe,
        dddx: Maybe,
    ) -> None:
        higher_grad.plan_triple_grad(b, saved, d, ddx, e, g, ds, dd, dddx, name)

    _named(f"{name}_triple_grad", triple)


for _name in ("sin", "cos", "tanh", "sigmoid", "sqrt", "rsqrt", "square", "log"):
    _double(_name, 0)
for _name in ("elu", "celu", "pow"):
    _double(_name, 1)
_double("softplus", 2)
for _name in ("sin", "cos", "tanh", "sigmoid"):
    _triple(_name)


@phi_kernel
def relu_double_grad(b: PlanBuilder, out: Tensor, ddx: Tensor, ddout: Tensor) -> None:
    higher_grad.plan_double_grad(b, out, None, ddx, None, ddout, "relu")


@phi_kernel
def abs_double_grad(b: PlanBuilder, x: Tensor, ddx: Tensor, ddout: Tensor) -> None:
    higher_grad.plan_double_grad(b, x, None, ddx, None, ddout, "abs")


@phi_kernel
def leaky_relu_double_grad(b: PlanBuilder, x: Tensor, ddx: Tensor, alpha: float, ddout: Tensor) -> None:
    higher_grad.plan_double_grad(b, x, None, ddx, None, ddout, "leaky_relu", alpha)


@phi_kernel
def pow_triple_grad(
    b: PlanBuilder,
    x: Tensor,
    d: Tensor,
    ddx: Tensor,
    e: Tensor,
    g: Maybe,
    factor: float,
    dx: Maybe,
    dd: Maybe,
    dddx: Maybe,
) -> None:
    higher_grad.plan_triple_grad(b, x, d, ddx, e, g, dx, dd, dddx, "pow", float(factor))


@phi_kernel
def add_double_grad(
    b: PlanBuilder, y: Tensor, d: Tensor, ddx: Maybe, ddy: Maybe, axis: int, ddout: Maybe
) -> None:
    higher_grad.plan_sum_double_grad(b, ddx, ddy, ddout, axis)


@phi_kernel
def subtract_double_grad(
    b: PlanBuilder, y: Tensor, d: Tensor, ddx: Maybe, ddy: Maybe, axis: int, ddout: Maybe
) -> None:
    higher_grad.plan_sum_double_grad(b, ddx, ddy, ddout, axis, minus=True)


@phi_kernel
def multiply_double_grad(
    b: PlanBuilder,
    x: Tensor,
    y: Tensor,
    d: Tensor,
    ddx: Maybe,
    ddy: Maybe,
    axis: int,
    dx: Maybe,
    dy: Maybe,
    ddout: Maybe,
) -> None:
    higher_grad.plan_multiply_double_grad(b, x, y, d, ddx, ddy, dx, dy, ddout, axis)


@phi_kernel
def multiply_triple_grad(
    b: PlanBuilder,
    x: Tensor,
    y: Tensor,
    d: Tensor,
    ddx: Maybe,
    ddy: Maybe,
    d_dx: Maybe,
    d_dy: Maybe,
    d_ddout: Maybe,
    axis: int,
    out_x: Maybe,
    out_y: Maybe,
    out_d: Maybe,
    out_ddx: Maybe,
    out_ddy: Maybe,
) -> None:
    outs = (out_x, out_y, out_d, out_ddx, out_ddy)
    higher_grad.plan_multiply_triple_grad(b, x, y, d, ddx, ddy, d_dx, d_dy, d_ddout, outs, axis)


@phi_kernel
def divide_double_grad(
    b: PlanBuilder,
    y: Tensor,
    out: Tensor,
    d: Tensor,
    dx: Maybe,
    ddx: Maybe,
    ddy: Maybe,
    axis: int,
    dy: Maybe,
    dout: Maybe,
    ddout: Maybe,
) -> None:
    higher_grad.plan_divide_double_grad(b, y, out, d, dx, ddx, ddy, dy, dout, ddout, axis)


@phi_kernel
def matmul_double_grad(
    b: PlanBuilder,
    x: Tensor,
    y: Tensor,
    d: Tensor,
    ddx: Maybe,
    ddy: Maybe,
    transpose_x: bool,
    transpose_y: bool,
    dx: Maybe,
    dy: Maybe,
    ddout: Maybe,
) -> None:
    higher_grad.plan_matmul_double_grad(b, x, y, d, ddx, ddy, dx, dy, ddout, transpose_x, transpose_y)


@phi_kernel
def batch_norm_double_grad(
    b: PlanBuilder, x: Tensor, scale: Maybe, mean: Maybe, variance: Maybe, saved_mean: Tensor, saved_factor: Tensor,
    dy: Tensor, ddx: Maybe, ddscale: Maybe, ddbias: Maybe, momentum: float, epsilon: float, data_layout: str,
    is_test: bool, use_global_stats: bool, trainable_statistics: bool, dx: Maybe, dscale: Maybe, ddy: Maybe,
) -> None:  # fmt: skip
    fixed = use_global_stats or is_test
    center, spread = (mean, variance) if fixed else (saved_mean, saved_factor)
    if center is None or spread is None or x.ndim < 2:
        raise Unsupported(
            "batch_norm_double_grad is planned for statistics that are there, of two dimensions or more."
        )
    higher_grad.plan_norm_double_grad(
        b, x, scale, center, spread, dy, ddx, ddscale, ddbias, dx, dscale, ddy, False,
        data_layout in ("NHWC", "NDHWC", "NLC") and x.ndim > 2, fixed, epsilon,
    )  # fmt: skip


@phi_kernel
def instance_norm_double_grad(
    b: PlanBuilder, x: Tensor, scale: Maybe, saved_mean: Tensor, saved_factor: Tensor, dy: Tensor, ddx: Maybe,
    ddscale: Maybe, ddbias: Maybe, epsilon: float, dx: Maybe, dscale: Maybe, ddy: Maybe,
) -> None:  # fmt: skip
    higher_grad.plan_norm_double_grad(
        b, x, scale, saved_mean, saved_factor, dy, ddx, ddscale, ddbias, dx, dscale, ddy, True
    )
