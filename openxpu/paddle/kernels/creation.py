# phi kernels that make, copy and convert tensors, mapped to openxpu.ops.creation.

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from openxpu.ops import creation
from openxpu.ops.plan import Dynamic, PlanBuilder, Tensor
from openxpu.paddle.kernels import phi_kernel
from openxpu.paddle.outputs import required


def _as(b: PlanBuilder, out: Tensor, dtype: str | None) -> Tensor:
    """The output in the dtype that an attribute asks for; none asked for: in its own."""
    return out if not dtype or dtype in ("undefined", out.dtype) else required(b, out, dtype)


@phi_kernel(dynamic=("value",))
def full(b: PlanBuilder, shape: Sequence[int], value: Dynamic, dtype: str, out: Tensor) -> None:
    creation.plan_full(b, _as(b, out, dtype), value)


@phi_kernel(dynamic=("value",))
def full_like(b: PlanBuilder, x: Tensor, value: Dynamic, dtype: str, out: Tensor) -> None:
    creation.plan_full(b, _as(b, out, dtype), value)


@phi_kernel(dynamic=("value",))
def full_batch_size_like(
    b: PlanBuilder,
    x: Tensor,
    shape: Sequence[int],
    value: Dynamic,
    dtype: str,
    x_batch_dim: int,
    out_batch_dim: int,
    out: Tensor,
) -> None:
    creation.plan_full(b, _as(b, out, dtype), value)


@phi_kernel
def full_with_tensor(b: PlanBuilder, value: Tensor, shape: Sequence[int], dtype: str, out: Tensor) -> None:
    creation.plan_full_with_tensor(b, value, _as(b, out, dtype))


@phi_kernel(dynamic=("value",))
def fill(b: PlanBuilder, x: Tensor, value: Dynamic, out: Tensor) -> None:
    creation.plan_full(b, out, value)


@phi_kernel(dynamic=("value",))
def fill_grad(b: PlanBuilder, d: Tensor, value: Dynamic, dx: Tensor | None) -> None:
    if dx is not None:
        b.zero(dx)


@phi_kernel
def cast(b: PlanBuilder, x: Tensor, dtype: str, out: Tensor) -> None:
    creation.plan_cast(b, x, _as(b, out, dtype))


@phi_kernel
def assign(b: PlanBuilder, x: Tensor, out: Tensor) -> None:
    creation.plan_assign(b, x, out)


@phi_kernel
def assign_raw(b: PlanBuilder, x: Tensor | None, out: Tensor) -> None:
    if x is not None:
        creation.plan_assign(b, x, out)


@phi_kernel
def assign_value(
    b: PlanBuilder, shape: Sequence[int], dtype: str, values: Sequence[Any], out: Tensor
) -> None:
    creation.plan_assign_value(b, _as(b, out, dtype), values)


@phi_kernel(dynamic=("start", "end", "step"))
def arange(b: PlanBuilder, start: Dynamic, end: Dynamic, step: Dynamic, out: Tensor) -> None:
    creation.plan_arange(b, out, start, step)


@phi_kernel
def arange_tensor(b: PlanBuilder, start: Tensor, end: Tensor, step: Tensor, out: Tensor) -> None:
    raise AssertionError("csrc/paddle/output_sizes.cc makes arange of it, whose numbers are scalars")


@phi_kernel
def linspace(b: PlanBuilder, start: Tensor, stop: Tensor, number: Tensor, dtype: str, out: Tensor) -> None:
    creation.plan_linspace(b, start, stop, _as(b, out, dtype))


@phi_kernel
def logspace(
    b: PlanBuilder, start: Tensor, stop: Tensor, number: Tensor, base: Tensor, dtype: str, out: Tensor
) -> None:
    creation.plan_logspace(b, start, stop, base, _as(b, out, dtype))


@phi_kernel
def eye(b: PlanBuilder, rows: int, columns: int, dtype: str, out: Tensor) -> None:
    creation.plan_eye(b, _as(b, out, dtype))


@phi_kernel
def tril(b: PlanBuilder, x: Tensor, diagonal: int, out: Tensor) -> None:
    creation.plan_triangle(b, x, out, diagonal, lower=True)


@phi_kernel
def triu(b: PlanBuilder, x: Tensor, diagonal: int, out: Tensor) -> None:
    creation.plan_triangle(b, x, out, diagonal, lower=False)


@phi_kernel
def tril_triu(b: PlanBuilder, x: Tensor, diagonal: int, lower: bool, out: Tensor) -> None:
    creation.plan_triangle(b, x, out, diagonal, lower)


@phi_kernel
def tril_grad(b: PlanBuilder, d: Tensor, diagonal: int, dx: Tensor) -> None:
    creation.plan_triangle(b, d, dx, diagonal, lower=True)


@phi_kernel
def triu_grad(b: PlanBuilder, d: Tensor, diagonal: int, dx: Tensor) -> None:
    creation.plan_triangle(b, d, dx, diagonal, lower=False)


@phi_kernel
def tril_triu_grad(b: PlanBuilder, d: Tensor, diagonal: int, lower: bool, dx: Tensor) -> None:
    creation.plan_triangle(b, d, dx, diagonal, lower)


@phi_kernel
def one_hot(b: PlanBuilder, x: Tensor, classes: int, out: Tensor) -> None:
    creation.plan_one_hot(b, x, required(b, out, "f32"))


@phi_kernel
def diag(b: PlanBuilder, x: Tensor, offset: int, padding: float, out: Tensor) -> None:
    creation.plan_diag(b, x, out, offset, padding)
