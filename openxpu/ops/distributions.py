# Random numbers of given distributions: planners.
"""The generator's key and counter are drawn from the card's at each replay (openxpu/ops/random.py)."""

from __future__ import annotations

from openxpu.ops.elementwise import plan_binary
from openxpu.ops.plan import I64, OFFSET, SEED, PlanBuilder, Tensor, Unsupported, dtype_constexpr
from openxpu.ops.random import _grid, _key
from openxpu.ops.reduce import accumulation_dtype, plan_sum, require_contiguous

_ATTEMPTS = 64  # of a rejection method; each needs a counter of its own
_BLOCK = 256


def plan_exponential(b: PlanBuilder, out: Tensor, rate: float) -> None:
    """out with density rate * exp(-rate * x)."""
    if out.numel == 0:
        return
    programs, block, counters = _grid(out.numel)
    b.launch(
        "distributions.exponential", programs, out, out.numel, float(rate), *_key(b, counters, 0),
        cost=30 * out.numel, BLOCK=block,
    )  # fmt: skip


def _rejection(
    b: PlanBuilder, kernel: str, inputs: tuple[Tensor, ...], out: Tensor, cost: int, **constexprs: str
) -> None:
    n = out.numel
    if n == 0:
        return
    require_contiguous(kernel, *inputs)
    for x in inputs:
        if x.numel != n:
            raise Unsupported(
                f"{kernel} was asked for {out.shape} from parameters of {x.shape}; broadcast them first."
            )
    programs = -(-n // _BLOCK)
    lanes = programs * _BLOCK
    b.draw(lanes * _ATTEMPTS)
    b.launch(
        f"distributions.{kernel}", programs, *inputs, out, I64(n), I64(lanes), SEED, OFFSET,
        cost=cost * n, **constexprs, ATTEMPTS=_ATTEMPTS, BLOCK=_BLOCK,
    )  # fmt: skip


def plan_standard_gamma(b: PlanBuilder, alpha: Tensor, out: Tensor) -> None:
    """Gamma numbers of shape alpha and scale 1."""
    acc = accumulation_dtype(alpha.dtype)
    _rejection(b, "gamma", (alpha,), out, 200, ACC=dtype_constexpr(acc))


def plan_dirichlet(b: PlanBuilder, alpha: Tensor, out: Tensor) -> None:
    """Points of the simplex of the last dimension."""
    numbers = b.scratch(out.shape, accumulation_dtype(out.dtype))
    plan_standard_gamma(b, alpha, numbers)
    total = b.scratch((*out.shape[:-1], 1), numbers.dtype)
    plan_sum(b, numbers, total, (out.ndim - 1,))
    plan_binary(b, numbers, total, out, "divide")


def plan_poisson(b: PlanBuilder, rate: Tensor, out: Tensor) -> None:
    """Whole numbers with mean rate >= 0."""
    _rejection(b, "poisson", (rate,), out, 300)


def plan_binomial(b: PlanBuilder, count: Tensor, probability: Tensor, out: Tensor) -> None:
    """Successes in `count` trials of the given probability."""
    _rejection(b, "binomial", (count, probability), out, 400)
