# phi kernels of random numbers and dropout, mapped to openxpu.ops.random.

from __future__ import annotations

from collections.abc import Sequence

from openxpu.ops import random
from openxpu.ops.plan import PlanBuilder, Tensor, Unsupported
from openxpu.paddle.kernels import phi_kernel
from openxpu.paddle.kernels.creation import _as


@phi_kernel
def uniform(
    b: PlanBuilder, shape: Sequence[int], dtype: str, low: float, high: float, seed: int, out: Tensor
) -> None:
    random.plan_uniform(b, _as(b, out, dtype), low, high, seed)


def _no_diagonal(count: int) -> None:
    if count:
        raise Unsupported(
            f"uniform with {count} set diagonal elements is not planned; only without (diag_num 0)."
        )


@phi_kernel
def uniform_raw(
    b: PlanBuilder,
    shape: Sequence[int],
    dtype: str,
    low: float,
    high: float,
    seed: int,
    diag_num: int,
    diag_step: int,
    diag_val: float,
    out: Tensor,
) -> None:
    _no_diagonal(diag_num)
    random.plan_uniform(b, _as(b, out, dtype), low, high, seed)


@phi_kernel
def uniform_inplace(
    b: PlanBuilder,
    x: Tensor,
    low: float,
    high: float,
    seed: int,
    diag_num: int,
    diag_step: int,
    diag_val: float,
    out: Tensor,
) -> None:
    _no_diagonal(diag_num)
    random.plan_uniform(b, out, low, high, seed)


@phi_kernel
def gaussian(
    b: PlanBuilder, shape: Sequence[int], mean: float, std: float, seed: int, dtype: str, out: Tensor
) -> None:
    random.plan_gaussian(b, _as(b, out, dtype), mean, std, seed)


@phi_kernel
def gaussian_inplace(b: PlanBuilder, x: Tensor, mean: float, std: float, seed: int, out: Tensor) -> None:
    random.plan_gaussian(b, out, mean, std, seed)


@phi_kernel
def truncated_gaussian_random(
    b: PlanBuilder,
    shape: Sequence[int],
    mean: float,
    std: float,
    seed: int,
    low: float,
    high: float,
    dtype: str,
    out: Tensor,
) -> None:
    # Paddle's bounds are those of the numbers, not of what is scaled by std.
    low, high = ((edge - mean) / (std or 1.0) for edge in (low, high))
    random.plan_truncated_gaussian(b, _as(b, out, dtype), mean, std, low, high, seed)


@phi_kernel
def randint(b: PlanBuilder, low: int, high: int, shape: Sequence[int], dtype: str, out: Tensor) -> None:
    random.plan_randint(b, _as(b, out, dtype), low, high)


@phi_kernel
def bernoulli(b: PlanBuilder, x: Tensor, out: Tensor) -> None:
    random.plan_bernoulli(b, x, out)


@phi_kernel
def randperm(b: PlanBuilder, n: int, dtype: str, out: Tensor) -> None:
    random.plan_randperm(b, _as(b, out, dtype))


def _dropout(
    b: PlanBuilder,
    x: Tensor,
    seed_tensor: Tensor | None,
    p: float,
    is_test: bool,
    mode: str,
    seed: int,
    fix_seed: bool,
    out: Tensor,
    mask: Tensor | None,
) -> None:
    if seed_tensor is not None:
        raise Unsupported("dropout with its seed in a tensor is not planned; give the seed as a number.")
    if mask is not None:
        mask = _as(b, mask, "u8")
    upscale = mode == "upscale_in_train"
    random.plan_dropout(b, x, out, mask, float(p), not is_test, upscale, (seed or 1) if fix_seed else 0)


@phi_kernel
def dropout(
    b: PlanBuilder,
    x: Tensor,
    seed_tensor: Tensor | None,
    p: float,
    is_test: bool,
    mode: str,
    seed: int,
    fix_seed: bool,
    out: Tensor,
    mask: Tensor | None,
) -> None:
    _dropout(b, x, seed_tensor, p, is_test, mode, seed, fix_seed, out, mask)


@phi_kernel
def dropout_nd(
    b: PlanBuilder,
    x: Tensor,
    seed_tensor: Tensor | None,
    p: float,
    is_test: bool,
    mode: str,
    seed: int,
    fix_seed: bool,
    axis: Sequence[int],
    out: Tensor,
    mask: Tensor | None,
) -> None:
    _dropout(b, x, seed_tensor, p, is_test, mode, seed, fix_seed, out, mask)


@phi_kernel
def dropout_grad(
    b: PlanBuilder, mask: Tensor, d: Tensor, p: float, is_test: bool, mode: str, dx: Tensor
) -> None:
    random.plan_dropout_grad(b, mask, d, dx, float(p), not is_test, mode == "upscale_in_train")


@phi_kernel
def dropout_nd_grad(
    b: PlanBuilder,
    mask: Tensor,
    d: Tensor,
    p: float,
    is_test: bool,
    mode: str,
    axis: Sequence[int],
    dx: Tensor,
) -> None:
    random.plan_dropout_grad(b, mask, d, dx, float(p), not is_test, mode == "upscale_in_train")
