# Choosing tokens: planners of sampling from weights, of nucleus sampling, and of a beam search's back pointers.

from __future__ import annotations

from openxpu.ops.creation import plan_cast
from openxpu.ops.layout import plan_cumsum
from openxpu.ops.plan import I64, OFFSET, SEED, PlanBuilder, Tensor, Unsupported
from openxpu.ops.random import _key
from openxpu.ops.reduce import power_of_two, require_contiguous
from openxpu.ops.search import plan_topk


def plan_multinomial(
    b: PlanBuilder, x: Tensor, out: Tensor, count: int, replacement: bool, seed: int = 0
) -> None:
    """out [..., count] i64: categories drawn in proportion to the weights x [..., n]."""
    require_contiguous("multinomial", x, out)
    n = x.shape[-1]
    if out.numel == 0:
        return
    rows = x.numel // n
    if replacement:
        wide, sums = b.scratch((rows, n), "f64"), b.scratch((rows, n), "f64")
        plan_cast(b, x.reshape(rows, n), wide)
        plan_cumsum(b, wide, sums, 1)
        block = min(max(power_of_two(count), 16), 256)
        b.launch(
            "sampling.pick", (-(-count // block), rows), sums, out, n, count, max(n - 1, 1).bit_length() + 1,
            *_key(b, rows * count, seed), cost=100 * out.numel, BLOCK=block,
        )  # fmt: skip
        return
    if count > n:
        raise ValueError(f"{count} samples without replacement were asked for from {n} categories")
    keys, best = b.scratch((rows, n), "f32"), b.scratch((rows, count), "f32")
    b.launch(
        "sampling.race",
        -(-x.numel // 1024),
        x,
        keys,
        x.numel,
        *_key(b, x.numel, seed),
        cost=40 * x.numel,
        BLOCK=1024,
    )
    plan_topk(b, keys, best, out.reshape(rows, count), count)


def plan_nucleus(
    b: PlanBuilder,
    x: Tensor,
    shares: Tensor,
    seeds: Tensor | None,
    values: Tensor,
    ids: Tensor,
    seed: int = -1,
) -> None:
    """One token of each row of probabilities x [rows, n]: its probability and number, from the most probable ones that
    together have the row's share. A row with its own seed (not below 0) draws by it; else all by `seed`, or
    by the generator when that is below 0 too."""
    require_contiguous("top_p_sampling", x, shares, seeds, values, ids)
    rows, n = x.shape
    if x.dtype not in ("f32", "f16", "bf16"):
        raise Unsupported(f"top_p_sampling takes probabilities of f32, f16 or bf16, found {x.dtype}.")
    if x.numel == 0:
        return
    if seed < 0:
        b.draw(rows)
    key = (SEED, OFFSET) if seed < 0 else (I64(seed), I64(0))
    b.launch(
        "sampling.nucleus", rows, x, shares, seeds, values, ids, n, *key, cost=40 * x.nbytes,
        SEEDS=int(seeds is not None), BLOCK=min(max(power_of_two(n), 16), 4096),
    )  # fmt: skip
