# Rotary position embedding: planner and public function.

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from openxpu.ops.layout import plan_copy
from openxpu.ops.plan import PlanBuilder, Tensor, dtype_constexpr
from openxpu.ops.reduce import accumulation_dtype, power_of_two, real
from openxpu.ops.run import run

if TYPE_CHECKING:
    from openxpu.runtime import Array


def _dense(b: PlanBuilder, tensor: Tensor) -> Tensor:
    if tensor.contiguous:
        return tensor
    copy = b.scratch(tensor.shape, tensor.dtype)
    plan_copy(b, tensor, copy)
    return copy


def plan_rotary(
    b: PlanBuilder, x: Tensor, out: Tensor, sin: Tensor | None, cos: Tensor | None, positions: Tensor | None,
    pairs: bool = True, base: float = 10000.0, grad: bool = False,
) -> None:  # fmt: skip
    """out = x [batch, places, heads, depth] with its pairs of elements (neighbours; else an element of each half) turned by
    angles whose sines and cosines are in rows of sin and cos [places, depth], or which are place *
    base^(-2 pair / depth). `positions` [batch, places] i64 says which row a place has; else its own.
    `grad`: x is the gradient of the result, out that of what was turned."""
    batch, seq, heads, depth = x.shape
    if depth % 2:
        raise ValueError(f"rotary embedding turns pairs of elements; heads have {depth}, which is odd")
    for name, table in (("sin", sin), ("cos", cos)):
        if table is not None and (
            table.shape[-1] != depth
            or (table.numel != seq * depth if positions is None else table.numel < seq * depth)
        ):
            raise ValueError(
                f"{name} has the shape {table.shape}; {seq} places of {depth} elements need [{seq}, {depth}]"
            )
    if out.numel == 0:
        return
    if x.strides[3] != 1:
        x = _dense(b, x)
    acc = accumulation_dtype(x.dtype)
    tables = (None, None) if sin is None or cos is None else (_dense(b, sin), _dense(b, cos))
    block = max(16, power_of_two(depth // 2))
    b.launch(
        "rotary.rotate", batch * seq, x, out, *tables, None if positions is None else _dense(b, positions),
        seq, heads, depth // 2, real(math.log(base), acc), *x.strides[:3], *out.strides[:3], cost=4 * x.nbytes,
        GRAD=int(grad), PAIRS=int(pairs), TABLE=int(tables[0] is not None), POSITIONS=int(positions is not None),
        ACC=dtype_constexpr(acc), HEADS=max(1, min(power_of_two(heads), 1024 // block)), BLOCK=block,
    )  # fmt: skip


def rotary(
    x: Array, sin: Array | None = None, cos: Array | None = None, positions: Array | None = None,
    pairs: bool = True, base: float = 10000.0,
) -> Array:  # fmt: skip
    """x [batch, places, heads, depth] with pairs of elements turned by angles that grow with the place.
    Source: Su et al., RoFormer, 2021."""
    return run(_plan, [x, sin, cos, positions], [(x.shape, x.dtype)], pairs, base)  # type: ignore[no-any-return]


def _plan(
    b: PlanBuilder, x: Tensor, sin: Tensor | None, cos: Tensor | None, positions: Tensor | None, out: Tensor,
    pairs: bool, base: float,
) -> None:  # fmt: skip
    plan_rotary(b, x, out, sin, cos, positions, pairs, base)
