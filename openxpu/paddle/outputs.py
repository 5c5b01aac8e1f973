# What a mapping says about an output whose dtype the framework's metadata leaves open, or which nobody wants.

from __future__ import annotations

from dataclasses import replace

from openxpu.ops.plan import PlanBuilder, Tensor


def typed(b: PlanBuilder, out: Tensor | None, dtype: str) -> Tensor | None:
    """`out` as a tensor of `dtype`, which is how it will be allocated."""
    if out is None:
        return None
    b.set_output(out.slot[1], dtype)
    return replace(out, dtype=dtype)


def required(b: PlanBuilder, out: Tensor, dtype: str) -> Tensor:
    """The same for an output that is always there."""
    b.set_output(out.slot[1], dtype)
    return replace(out, dtype=dtype)


def unused(b: PlanBuilder, *outs: Tensor | None) -> None:
    """These outputs are neither allocated nor written."""
    for out in outs:
        if out is not None:
            b.set_output(out.slot[1], None)
