# Unpooling: what max pooling took goes back to its places; with the gradient.

from __future__ import annotations

import math

from openxpu.ops.layout import as_bits
from openxpu.ops.plan import PlanBuilder, Tensor
from openxpu.ops.reduce import power_of_two, require_contiguous


def plan_unpool(b: PlanBuilder, x: Tensor, index: Tensor, out: Tensor) -> None:
    """out is zero but for x, whose elements go to the places `index` in their planes; of equal places the last wins."""
    require_contiguous("unpool", x, index, out)
    b.zero(out)
    planes = x.shape[0] * x.shape[1]
    points, pixels = math.prod(x.shape[2:]), math.prod(out.shape[2:])
    if x.numel and out.numel:
        b.launch(
            "indexed_pool.put_places", planes, as_bits(x), index, as_bits(out), points, pixels, cost=8 * x.nbytes,
        )  # fmt: skip


def plan_unpool_grad(b: PlanBuilder, index: Tensor, d: Tensor, dx: Tensor) -> None:
    require_contiguous("unpool_grad", index, d, dx)
    points, pixels = math.prod(dx.shape[2:]), math.prod(d.shape[2:])
    block = min(1024, max(power_of_two(points), 16))
    if dx.numel:
        b.launch(
            "indexed_pool.take_places", (-(-points // block), dx.shape[0] * dx.shape[1]), as_bits(d), index, as_bits(dx),
            points, pixels, cost=8 * dx.nbytes, BLOCK=block,
        )  # fmt: skip
