# phi kernels of complex numbers, mapped to openxpu.ops.complex.

from __future__ import annotations

from openxpu.ops import complex as ops
from openxpu.ops.plan import PARTS, PlanBuilder, Tensor
from openxpu.paddle.kernels import phi_kernel
from openxpu.paddle.outputs import required

_PAIRS = {part: dtype for dtype, part in PARTS.items()}


@phi_kernel
def complex(b: PlanBuilder, x: Tensor, y: Tensor, out: Tensor) -> None:
    ops.plan_complex(b, x, y, required(b, out, _PAIRS[x.dtype]))


@phi_kernel
def complex_grad(
    b: PlanBuilder, x: Tensor, y: Tensor, d: Tensor, dx: Tensor | None, dy: Tensor | None
) -> None:
    ops.plan_complex_grad(b, d, dx, dy)


@phi_kernel
def real(b: PlanBuilder, x: Tensor, out: Tensor) -> None:
    ops.plan_real(b, x, required(b, out, PARTS[x.dtype]))


@phi_kernel
def real_grad(b: PlanBuilder, d: Tensor, dx: Tensor) -> None:
    ops.plan_real_grad(b, d, required(b, dx, _PAIRS[d.dtype]))


@phi_kernel
def imag(b: PlanBuilder, x: Tensor, out: Tensor) -> None:
    ops.plan_imag(b, x, required(b, out, PARTS[x.dtype]))


@phi_kernel
def imag_grad(b: PlanBuilder, d: Tensor, dx: Tensor) -> None:
    ops.plan_imag_grad(b, d, required(b, dx, _PAIRS[d.dtype]))


@phi_kernel
def conj(b: PlanBuilder, x: Tensor, out: Tensor) -> None:
    ops.plan_conj(b, x, out)


@phi_kernel
def as_real(b: PlanBuilder, x: Tensor, out: Tensor) -> None:
    ops.plan_as_real(b, x, required(b, out, PARTS[x.dtype]))


@phi_kernel
def as_complex(b: PlanBuilder, x: Tensor, out: Tensor) -> None:
    ops.plan_as_complex(b, x, required(b, out, _PAIRS[x.dtype]))


@phi_kernel
def angle(b: PlanBuilder, x: Tensor, out: Tensor) -> None:
    ops.plan_angle(b, x, required(b, out, PARTS.get(x.dtype, x.dtype)))


@phi_kernel
def angle_grad(b: PlanBuilder, x: Tensor, d: Tensor, dx: Tensor) -> None:
    ops.plan_angle_grad(b, x, d, dx)
