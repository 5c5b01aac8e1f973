# Complex numbers: parts, pairs of reals, conjugates, angles, absolute values. Planners and public functions.
"""A complex tensor lies in memory as pairs (real, imaginary); `Tensor.parts` is that view. Arithmetic is that of
elementwise.py, whose plan_map finds the functions of complex numbers by name (kernels/complex.py)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from openxpu.ops.plan import PARTS, PlanBuilder, Tensor
from openxpu.ops.pointwise import broadcast_shape, plan_map, plan_map_reduced
from openxpu.ops.run import run

if TYPE_CHECKING:
    from openxpu.runtime import Array


def plan_complex(b: PlanBuilder, x: Tensor, y: Tensor, out: Tensor) -> None:
    """out = x + iy."""
    plan_map(b, "complex.pair", [x, y], out)


def plan_complex_grad(b: PlanBuilder, d: Tensor, dx: Tensor | None, dy: Tensor | None) -> None:
    for part, target in ((0, dx), (1, dy)):
        if target is not None:
            parts = d.parts
            half = parts.view(d.shape, parts.strides[:-1], part)
            plan_map_reduced(b, "elementwise.first", [half], d.shape, target)


def plan_real(b: PlanBuilder, x: Tensor, out: Tensor) -> None:
    plan_map(b, "complex.first", [x], out)


def plan_imag(b: PlanBuilder, x: Tensor, out: Tensor) -> None:
    plan_map(b, "complex.imag", [x], out)


def plan_real_grad(b: PlanBuilder, d: Tensor, dx: Tensor) -> None:
    plan_map(b, "complex.first", [d], dx)


def plan_imag_grad(b: PlanBuilder, d: Tensor, dx: Tensor) -> None:
    plan_map(b, "complex.imag_grad", [d], dx)


def plan_conj(b: PlanBuilder, x: Tensor, out: Tensor) -> None:
    """Of reals, the reals."""
    plan_map(b, "complex.conj" if x.dtype in PARTS else "elementwise.first", [x], out)


def plan_as_real(b: PlanBuilder, x: Tensor, out: Tensor) -> None:
    """Complex numbers as a last dimension (real, imaginary)."""
    plan_map(b, "elementwise.first", [x.parts], out)


def plan_as_complex(b: PlanBuilder, x: Tensor, out: Tensor) -> None:
    """A last dimension (real, imaginary) as complex numbers."""
    plan_map(b, "elementwise.first", [x], out.parts)


def plan_angle(b: PlanBuilder, x: Tensor, out: Tensor) -> None:
    """The angle of each number; of a real one pi below zero and 0 above."""
    plan_map(b, "complex.angle" if x.dtype in PARTS else "complex.real_angle", [x], out, effort=16)


def plan_angle_grad(b: PlanBuilder, x: Tensor, d: Tensor, dx: Tensor) -> None:
    if x.dtype in PARTS:
        plan_map(b, "complex.angle_grad", [x, d], dx)
    else:
        b.zero(dx)


def complex(x: Array, y: Array) -> Array:
    """x + iy of two real arrays."""
    shape = broadcast_shape(x.shape, y.shape)
    return run(plan_complex, [x, y], [(shape, "c64" if x.dtype == "f32" else "c128")])  # type: ignore[no-any-return]


def real(x: Array) -> Array:
    """The real parts."""
    return run(plan_real, [x], [(x.shape, PARTS[x.dtype])])  # type: ignore[no-any-return]


def imag(x: Array) -> Array:
    """The imaginary parts."""
    return run(plan_imag, [x], [(x.shape, PARTS[x.dtype])])  # type: ignore[no-any-return]


def conj(x: Array) -> Array:
    """The complex conjugates."""
    return run(plan_conj, [x], [(x.shape, x.dtype)])  # type: ignore[no-any-return]


def angle(x: Array) -> Array:
    """The angles, from -pi to pi."""
    return run(plan_angle, [x], [(x.shape, PARTS.get(x.dtype, x.dtype))])  # type: ignore[no-any-return]
