# Planners of indexing by tensors: x[i, j], x[:, i], x[i, j] = v, sums into such places, and their gradients.
"""An indexing is an iteration space with strides into the indexed tensor, and for some consecutive dimensions of the space
tensors of indices instead: the offset of a place is what the strides say plus what the indices say."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from openxpu.ops.creation import plan_full
from openxpu.ops.layout import as_bits, plan_copy
from openxpu.ops.plan import I64, PlanBuilder, Scalar, Tensor
from openxpu.ops.pointwise import broadcast_shape, broadcast_strides, collapse, plan_map, plan_map_reduced
from openxpu.ops.reduce import power_of_two
from openxpu.ops.select import dense

_EACH = 16384  # elements of a program


@dataclass(frozen=True)
class Indexing:
    """The space `shape`, with `strides` (elements) into the indexed tensor where there are no indices. The indices are
    tensors that broadcast to shape[first:last]; one counts in steps of `steps` elements, and is below `extents`."""

    shape: tuple[int, ...]
    strides: tuple[int, ...]
    indices: tuple[Tensor, ...]
    first: int
    last: int
    extents: tuple[int, ...]
    steps: tuple[int, ...]
    itemsize: int  # of the indexed tensor: offsets are counted in bytes
    start: Scalar = 0  # the first element's offset

    @property
    def numel(self) -> int:
        return math.prod(self.shape)

    @staticmethod
    def leading(x: Tensor, indices: Sequence[Tensor]) -> Indexing:
        """x[i, j, ...]: indices of the first dimensions."""
        common = broadcast_shape(*(index.shape for index in indices))
        rest = len(indices)
        return Indexing(
            (*common, *x.shape[rest:]),
            (*(0,) * len(common), *x.strides[rest:]),
            tuple(indices),
            0,
            len(common),
            x.shape[:rest],
            x.strides[:rest],
            x.itemsize,
        )

    @property
    def shift(self) -> int:
        return self.itemsize.bit_length() - 1

    def offsets(self, b: PlanBuilder) -> Tensor:
        """For each position of the indices where it begins, in bytes."""
        base = b.scratch(self.shape[self.first : self.last], "i64")
        for d, index in enumerate(self.indices):
            numbers = [I64(self.extents[d]), I64(self.steps[d] * self.itemsize)]
            if d == 0:
                plan_map(b, "indexing.first_offset", [index], base, [*numbers, self.start], compute="i64")
            else:
                plan_map(b, "indexing.next_offset", [index, base], base, numbers, compute="i64")
        return base

    def problem(self, b: PlanBuilder, other: Sequence[int]) -> dict[str, Any]:
        """The space as the kernels take it; `other` are the strides of the other side."""
        inner, (xs, os) = collapse(self.shape[self.last :], [self.strides[self.last :], other[self.last :]])
        outer, (xo, oo) = collapse(
            self.shape[: self.first], [self.strides[: self.first], other[: self.first]]
        )
        _, (on,) = collapse(self.shape[self.first : self.last], [other[self.first : self.last]])
        if len(on) > 1:
            raise ValueError(f"the other side of an indexing has strides {tuple(other)} over its indices")
        dims = list(zip([*outer, *inner[:-1]], [*xo, *xs[:-1]], [*oo, *os[:-1]], strict=True))[::-1]
        return {
            "table": b.constant(np.array(dims, np.int64)) if dims else None,
            "others": len(dims),
            "places": math.prod(extent for extent, *_ in dims),
            "n": math.prod(self.shape[self.first : self.last]),
            "step": on[0] if on else 0,
            "flat": not inner,
            "inner": inner[-1] if inner else 1,
            "strides": (xs[-1], os[-1]) if inner else (0, 0),
        }


def plan_get(b: PlanBuilder, x: Tensor, at: Indexing, out: Tensor) -> None:
    """out = x at the places, of the space's shape and contiguous."""
    if not at.numel:
        return
    out = out.reshape(*at.shape)
    base = at.offsets(b)
    p = at.problem(b, out.strides)
    each = max(1, _EACH // p["inner"])
    x, out = as_bits(x), as_bits(out)
    b.launch(
        "indexing.get_at", (-(-p["n"] // each), p["places"]), x, base, out, p["table"], p["n"], p["inner"],
        p["strides"][0], p["step"], each, cost=8 * out.nbytes, SHIFT=at.shift, OTHERS=p["others"],
        FLAT=int(p["flat"]), BLOCK=_block(p["n"] if p["flat"] else p["inner"]),
    )  # fmt: skip


def _block(n: int) -> int:
    return min(1024, max(16, power_of_two(n)))


def plan_put(b: PlanBuilder, values: Tensor, at: Indexing, out: Tensor, add: bool = False) -> None:
    """out at the places = or += values, which are broadcast; of equal places the last stays. Nothing else is written."""
    if not at.numel:
        return
    if values.dtype != out.dtype and not add:
        raise ValueError(f"indexing writes {values.dtype} into {out.dtype}")
    while values.ndim > len(at.shape) and values.shape[0] == 1:
        values = values.view(values.shape[1:], values.strides[1:])
    strides = broadcast_strides(values, at.shape)
    if len(collapse(at.shape[at.first : at.last], [strides[at.first : at.last]])[0]) > 1:
        values = dense(b, values, at.shape)
        strides = values.strides
    base = at.offsets(b)
    p = at.problem(b, strides)
    if not add:
        values, out = as_bits(values), as_bits(out)
    block = _block(p["n"] if p["flat"] else p["inner"])
    each = max(block, -(-p["inner"] // 16 // block) * block)
    b.launch(
        "indexing.put_at", (-(-p["inner"] // each), p["places"]), out, base, values, p["table"], p["n"], p["inner"],
        p["strides"][0], p["step"], p["strides"][1], each, cost=16 * at.numel * out.itemsize,
        ADD=int(add), SHIFT=at.shift, OTHERS=p["others"], FLAT=int(p["flat"]), BLOCK=block,
    )  # fmt: skip


def plan_get_grad(b: PlanBuilder, d: Tensor, at: Indexing, dx: Tensor) -> None:
    """dx sums d, of the space's shape, into the places; 16-bit floats are summed in f32."""
    total = b.scratch(dx.shape, "f32") if dx.dtype in ("f16", "bf16") else dx
    b.zero(total)
    plan_put(b, dense(b, d).reshape(*at.shape), at, total, add=True)
    if total is not dx:
        plan_map(b, "elementwise.first", [total], dx, compute=None)


def plan_filled(b: PlanBuilder, x: Tensor, value: Scalar, at: Indexing, out: Tensor) -> None:
    """out = x with one number at the places."""
    number = b.scratch((1,), out.dtype)
    plan_full(b, number, value)
    plan_copy(b, x, out)
    plan_put(b, number, at, out)


def plan_replaced(
    b: PlanBuilder, x: Tensor, values: Tensor, at: Indexing, out: Tensor, add: bool = False
) -> None:
    """out = x with values, which are broadcast, at the places or added there."""
    plan_copy(b, x, out)
    if add and out.dtype in ("f16", "bf16"):
        total = b.scratch(out.shape, "f32")
        plan_map(b, "elementwise.first", [x], total, compute=None)
        plan_put(b, values, at, total, add=True)
        plan_map(b, "elementwise.first", [total], out, compute=None)
    else:
        plan_put(b, values, at, out, add)


def plan_replaced_grad(
    b: PlanBuilder, d: Tensor, at: Indexing, dx: Tensor | None, dvalues: Tensor | None, add: bool = False
) -> None:
    """dx is d, with zeros at the places unless something was added there; dvalues is d there, summed where values were
    broadcast."""
    if dvalues is not None:
        if not at.numel:
            b.zero(dvalues)
        elif dvalues.shape == at.shape:
            plan_get(b, d, at, dvalues)
        else:
            whole = b.scratch(at.shape, d.dtype)
            plan_get(b, d, at, whole)
            target = dvalues
            while target.ndim > len(at.shape) and target.shape[0] == 1:
                target = target.view(target.shape[1:], target.strides[1:])
            plan_map_reduced(b, "elementwise.first", [whole], at.shape, target)
    if dx is not None:
        plan_copy(b, d, dx)
        if not add and at.numel:
            zero = b.scratch((1,), dx.dtype)
            b.zero(zero)
            plan_put(b, zero, at, dx)
