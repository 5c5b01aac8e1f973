# Gated and randomised activations: swiglu, rrelu, gumbel softmax. Planners.
from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from openxpu.ops.creation import plan_arange
from openxpu.ops.plan import PlanBuilder, Tensor, Unsupported
from openxpu.ops.pointwise import compute_dtype, plan_map
from openxpu.ops.random import plan_uniform
from openxpu.ops.run import run
from openxpu.ops.search import plan_arg_best
from openxpu.ops.softmax import plan_softmax

if TYPE_CHECKING:
    from openxpu.runtime import Array


def _halves(x: Tensor) -> tuple[Tensor, Tensor]:
    """The two halves of the last dimension."""
    half = x.shape[-1] // 2
    shape = (*x.shape[:-1], half)
    return x.view(shape, x.strides), x.view(shape, x.strides, half * x.strides[-1])


def plan_swiglu(b: PlanBuilder, x: Tensor, y: Tensor | None, out: Tensor) -> None:
    """x sigmoid(x) y; without y, x and y are the halves of x's last dimension."""
    gate, value = _halves(x) if y is None else (x, y)
    plan_map(b, "gating.swiglu", [gate, value], out, effort=3)


def plan_swiglu_grad(
    b: PlanBuilder, x: Tensor, y: Tensor | None, d: Tensor, dx: Tensor | None, dy: Tensor | None
) -> None:
    gate, value = _halves(x) if y is None else (x, y)
    if y is None and dx is not None:
        dx, dy = _halves(dx)
    if dx is not None:
        plan_map(b, "gating.swiglu_grad_x", [gate, value, d], dx, effort=3)
    if dy is not None:
        plan_map(b, "gating.swiglu_grad_y", [gate, d], dy, effort=3)


def _middle(low: float, high: float) -> float:
    """In f32, in which Paddle has both."""
    return float(np.float32(low) + np.float32(high)) / 2


def plan_rrelu(
    b: PlanBuilder, x: Tensor, out: Tensor, noise: Tensor, low: float, high: float, test: bool
) -> None:
    """x times noise, which is 1 for x >= 0 and else drawn from [low, high); in a test their mean."""
    if test:
        plan_map(b, "gating.rrelu_fixed", [x], noise, [_middle(low, high)])
    else:
        drawn = b.scratch(x.shape, compute_dtype(x.dtype))
        plan_uniform(b, drawn, 0.0, 1.0)
        plan_map(b, "gating.rrelu_noise", [x, drawn], noise, [low, high])
    plan_map(b, "elementwise.multiply", [x, noise], out)


def plan_gumbel_softmax(
    b: PlanBuilder, x: Tensor, out: Tensor, temperature: float, hard: bool, axis: int
) -> None:
    """softmax((x + Gumbel noise) / temperature); hard: 1 at its largest element of each row, 0 elsewhere."""
    if temperature <= 0:
        raise Unsupported(f"gumbel_softmax needs a temperature above 0, found {temperature}.")
    if out.numel == 0:
        return
    compute = compute_dtype(x.dtype)
    noisy = b.scratch(x.shape, compute)
    plan_uniform(b, noisy, 1e-5, 1.0)
    plan_map(b, "gating.gumbel", [x, noisy], noisy, [temperature], effort=4)
    if not hard:
        plan_softmax(b, noisy, out, axis)
        return
    axis %= max(x.ndim, 1)
    kept = tuple(1 if d == axis else extent for d, extent in enumerate(x.shape))
    best = b.scratch(kept, "i64")
    plan_arg_best(b, noisy, best.reshape(*(e for d, e in enumerate(kept) if d != axis)), axis, True)
    places = b.scratch(x.shape[axis : axis + 1], "i64")
    plan_arange(b, places, 0, 1)
    column = places.view(tuple(x.shape[axis] if d == axis else 1 for d in range(x.ndim)))
    plan_map(b, "gating.same", [column, best], out, compute=None)


def swiglu(x: Array, y: Array) -> Array:
    """x sigmoid(x) y."""
    return run(plan_swiglu, [x, y], [(x.shape, x.dtype)])  # type: ignore[no-any-return]
