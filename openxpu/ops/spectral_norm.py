# Spectral normalisation: a weight by its largest singular value, found by power iteration; with Paddle's gradient.

from __future__ import annotations

import math

from openxpu.ops.layout import normalize
from openxpu.ops.matmul import plan_matmul
from openxpu.ops.plan import PlanBuilder, Tensor, dtype_constexpr
from openxpu.ops.pointwise import plan_map
from openxpu.ops.reduce import (
    accumulation_dtype,
    plan_squared_norm,
    plan_sum,
    power_of_two,
    require_contiguous,
)


def _matrix(t: Tensor, dim: int) -> Tensor:
    """Dimension `dim` in front of the others."""
    dim = normalize(dim, t.ndim)
    return t.permute(dim, *(d for d in range(t.ndim) if d != dim))


def _iterate(
    b: PlanBuilder, weight: Tensor, u: Tensor, v: Tensor, dim: int, iterations: int, eps: float
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The weight as a matrix, left and right singular vectors, and the singular value, in f32 (f64)."""
    require_contiguous("spectral_norm", weight, u, v)
    acc = accumulation_dtype(weight.dtype)
    view = _matrix(weight, dim)
    dense = b.scratch(view.shape, acc)
    plan_map(b, "elementwise.first", [view], dense, compute=None)
    rows, columns = u.numel, v.numel
    matrix = dense.reshape(rows, columns)
    left, right = b.scratch((rows, 1), acc), b.scratch((columns, 1), acc)
    plan_map(b, "elementwise.first", [u.reshape(rows, 1)], left, compute=None)
    plan_map(b, "elementwise.first", [v.reshape(columns, 1)], right, compute=None)
    for _ in range(iterations):
        for source, target, transpose in ((left, right, True), (right, left, False)):
            raw, square = b.scratch(target.shape, acc), b.scratch((1, 1), acc)
            plan_matmul(b, matrix, source, raw, transpose_x=transpose)
            plan_squared_norm(b, raw, square)
            plan_map(b, "spectral_norm.normalized", [raw, square], target, [eps])
    product, sigma = b.scratch((rows, 1), acc), b.scratch((1, 1), acc)
    plan_matmul(b, matrix, right, product)
    plan_matmul(b, left, product, sigma, transpose_x=True)
    return matrix, left, right, sigma


def plan_spectral_norm(
    b: PlanBuilder, weight: Tensor, u: Tensor, v: Tensor, out: Tensor, dim: int, iterations: int, eps: float
) -> None:
    """weight / sigma, with u [rows] and v [columns] as first guesses of the singular vectors. Source: Miyato et al., Spectral
    normalization for generative adversarial networks, 2018."""
    if out.numel == 0:
        return
    matrix, _, _, sigma = _iterate(b, weight, u, v, dim, iterations, eps)
    view = _matrix(out, dim)
    shape = view.shape
    plan_map(b, "elementwise.divide", [matrix.reshape(*shape), sigma.reshape(*(1,) * len(shape))], view)


def plan_spectral_norm_grad(
    b: PlanBuilder, weight: Tensor, u: Tensor, v: Tensor, d: Tensor, dweight: Tensor, dim: int, iterations: int,
    eps: float,
) -> None:  # fmt: skip
    """As Paddle has it: d * (1 - u v^T sum(weight / sigma)) / sigma."""
    if dweight.numel == 0:
        return
    matrix, left, right, sigma = _iterate(b, weight, u, v, dim, iterations, eps)
    acc = matrix.dtype
    rows, columns = matrix.shape
    scaled, total = b.scratch(matrix.shape, acc), b.scratch((1, 1), acc)
    plan_map(b, "elementwise.divide", [matrix, sigma], scaled)
    plan_sum(b, scaled, total, (0, 1))
    view = _matrix(d, dim)
    given, result = b.scratch(view.shape, acc), b.scratch(view.shape, acc)
    plan_map(b, "elementwise.first", [view], given, compute=None)
    block = min(1024, max(power_of_two(columns), 16))
    b.launch(
        "spectral_norm.spectral_norm_grad", (-(-columns // block), rows), given, left, right, total, sigma, result,
        rows, columns, cost=math.prod(matrix.shape) * 16, ACC=dtype_constexpr(acc), BLOCK=block,
    )  # fmt: skip
    plan_map(b, "elementwise.first", [result], _matrix(dweight, dim), compute=None)
