# Random tensors and dropout from the counter-based generator Philox: planners and public functions.
"""With seed 0 the key and counter are drawn from the card's generator at each replay; another seed always gives the
same numbers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from openxpu.ops.creation import plan_arange, plan_cast, plan_full
from openxpu.ops.layout import plan_copy
from openxpu.ops.plan import F64, I64, OFFSET, SEED, PlanBuilder, Tensor, Unsupported, dtype_constexpr
from openxpu.ops.pointwise import compute_dtype, plan_map
from openxpu.ops.run import run

if TYPE_CHECKING:
    from openxpu.runtime import Array


def _key(b: PlanBuilder, counters: int, seed: int) -> tuple[Any, Any]:
    """The generator's key and first counter as kernel arguments."""
    if seed:
        return I64(seed), I64(0)
    b.draw(counters)
    return SEED, OFFSET


def _grid(n: int, each: int = 4) -> tuple[int, int, int]:
    """(programs, BLOCK, counters): each counter gives `each` elements."""
    block = 1024 if n > 1024 else 256
    programs = -(-n // (block * each))
    return programs, block, programs * block


def plan_uniform(b: PlanBuilder, out: Tensor, low: float, high: float, seed: int = 0) -> None:
    """out in [low, high)."""
    if out.numel == 0:
        return
    wide = out.dtype == "f64"
    programs, block, counters = _grid(out.numel, 2 if wide else 4)
    limits = (F64(float(low)), F64(float(high))) if wide else (float(low), float(high))
    b.launch(
        "random.uniform64" if wide else "random.uniform", programs, out, out.numel, *limits,
        *_key(b, counters, seed), cost=20 * out.numel, BLOCK=block,
    )  # fmt: skip


def plan_gaussian(b: PlanBuilder, out: Tensor, mean: float, std: float, seed: int = 0) -> None:
    """Normal numbers."""
    if out.numel == 0:
        return
    programs, block, counters = _grid(out.numel)
    b.launch(
        "random.gaussian", programs, out, out.numel, float(mean), float(std), *_key(b, counters, seed),
        cost=40 * out.numel, BLOCK=block,
    )  # fmt: skip


def plan_truncated_gaussian(
    b: PlanBuilder, out: Tensor, mean: float, std: float, low: float = -2.0, high: float = 2.0, seed: int = 0
) -> None:
    """Normal numbers within [mean + low * std, mean + high * std]."""
    if out.numel == 0:
        return
    low_cdf, high_cdf = (0.5 * (1.0 + math.erf(edge / math.sqrt(2.0))) for edge in (low, high))
    programs, block, counters = _grid(out.numel)
    b.launch(
        "random.truncated_gaussian", programs, out, out.numel, float(mean), float(std), float(low), float(high),
        low_cdf, high_cdf - low_cdf, *_key(b, counters, seed), cost=40 * out.numel, BLOCK=block,
    )  # fmt: skip


def plan_randint(b: PlanBuilder, out: Tensor, low: int, high: int, seed: int = 0) -> None:
    """Integers in [low, high)."""
    if out.numel == 0:
        return
    span = high - low
    if span <= 0:
        raise Unsupported(f"randint needs low below high, found {low} and {high}.")
    wide = span >= 2**31
    programs, block, counters = _grid(out.numel, 2 if wide else 4)
    b.launch(
        "random.randint64" if wide else "random.randint", programs, out, out.numel, I64(low), I64(span),
        *_key(b, counters, seed), cost=20 * out.numel, BLOCK=block,
    )  # fmt: skip


def plan_bernoulli(b: PlanBuilder, x: Tensor, out: Tensor, seed: int = 0) -> None:
    """1 with probability x."""
    if out.numel == 0:
        return
    programs, block, counters = _grid(out.numel)
    b.launch(
        "random.bernoulli",
        programs,
        x,
        out,
        out.numel,
        *_key(b, counters, seed),
        cost=20 * out.numel,
        BLOCK=block,
    )


def plan_randperm(b: PlanBuilder, out: Tensor, seed: int = 0) -> None:
    """0 .. n - 1 in random order."""
    n = out.numel
    target = out if out.dtype in ("i32", "i64") else b.scratch(out.shape, "i64")
    plan_arange(b, target, 0, 1)
    if n > 1:
        b.launch("random.shuffle", 1, target, I64(n), *_key(b, n, seed), cost=n)
    if target is not out:
        plan_cast(b, target, out)


def plan_dropout(
    b: PlanBuilder,
    x: Tensor,
    out: Tensor,
    mask: Tensor | None,
    p: float,
    training: bool = True,
    upscale: bool = True,
    seed: int = 0,
) -> None:
    """Keeps elements with probability 1 - p; the mask (u8, of x's shape or with extents of 1, which x then shares)
    says which. With `upscale` what is kept is divided by 1 - p in training; else everything is multiplied
    by it outside of training."""
    keep = 1.0 - p
    if not training:
        if upscale or p == 0:
            plan_copy(b, x, out)
        else:
            plan_map(b, "elementwise.multiply_scalar", [x], out, [keep])
        if mask is not None:
            plan_full(b, mask, 1)
        return
    if mask is None:
        mask = b.scratch(x.shape, "u8")
    scale = 1.0 / keep if upscale and keep > 0 else 1.0
    if keep <= 0:
        b.zero(out)
        b.zero(mask)
        return
    if x.numel == 0:
        return
    shared = mask.shape != x.shape
    programs, block, counters = _grid(mask.numel)
    compute = compute_dtype(x.dtype)
    b.launch(
        "random.dropout", programs, None if shared else x, None if shared else out, mask, mask.numel, float(p), scale,
        *_key(b, counters, seed), cost=20 * mask.numel, MASK_ONLY=shared, COMPUTE=dtype_constexpr(compute), BLOCK=block,
    )  # fmt: skip
    if shared:
        plan_map(b, "random.masked_scale", [x, mask], out, [scale], compute=compute)


def plan_dropout_grad(
    b: PlanBuilder, mask: Tensor, d: Tensor, dx: Tensor, p: float, training: bool = True, upscale: bool = True
) -> None:
    """d where the mask is set, scaled as the forward pass was."""
    if not training:
        plan_map(b, "elementwise.multiply_scalar", [d], dx, [1.0 if upscale else 1.0 - p])
    elif p >= 1:
        b.zero(dx)
    else:
        scale = 1.0 / (1.0 - p) if upscale else 1.0
        plan_map(b, "random.masked_scale", [d, mask], dx, [scale], compute=compute_dtype(d.dtype))


def uniform(
    shape: Sequence[int],
    low: float = 0.0,
    high: float = 1.0,
    dtype: str = "f32",
    seed: int = 0,
    device: Any = None,
) -> Array:
    """Numbers in [low, high)."""
    return run(plan_uniform, [], [(tuple(shape), dtype)], low, high, seed, device=device)  # type: ignore[no-any-return]


def gaussian(
    shape: Sequence[int],
    mean: float = 0.0,
    std: float = 1.0,
    dtype: str = "f32",
    seed: int = 0,
    device: Any = None,
) -> Array:
    """Normal numbers."""
    return run(plan_gaussian, [], [(tuple(shape), dtype)], mean, std, seed, device=device)  # type: ignore[no-any-return]


def randint(
    shape: Sequence[int], low: int, high: int, dtype: str = "i64", seed: int = 0, device: Any = None
) -> Array:
    """Integers in [low, high)."""
    return run(plan_randint, [], [(tuple(shape), dtype)], low, high, seed, device=device)  # type: ignore[no-any-return]


def randperm(n: int, dtype: str = "i64", seed: int = 0, device: Any = None) -> Array:
    """0 .. n - 1 in random order."""
    return run(plan_randperm, [], [((n,), dtype)], seed, device=device)  # type: ignore[no-any-return]


def bernoulli(x: Array, seed: int = 0) -> Array:
    """1 with probability x, else 0, in x's dtype."""
    return run(plan_bernoulli, [x], [(x.shape, x.dtype)], seed)  # type: ignore[no-any-return]


def dropout(x: Array, p: float = 0.5, seed: int = 0) -> tuple[Array, Array]:
    """(x with elements dropped and the rest scaled up, the u8 mask of what was kept)."""
    return run(plan_dropout, [x], [(x.shape, x.dtype), (x.shape, "u8")], p, True, True, seed)  # type: ignore[no-any-return]
