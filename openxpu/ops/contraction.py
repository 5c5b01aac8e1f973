# Kronecker and cross products, chains of matrices, bilinear forms, and products with an addend: planners.

from __future__ import annotations

import math
from collections.abc import Sequence

from openxpu.ops.elementwise import plan_binary, plan_scale
from openxpu.ops.layout import plan_copy
from openxpu.ops.matmul import plan_product
from openxpu.ops.plan import PlanBuilder, Tensor, dtype_constexpr
from openxpu.ops.pointwise import compute_dtype, plan_map, plan_map_reduced
from openxpu.ops.reduce import plan_sum, power_of_two


def _transposed(t: Tensor) -> Tensor:
    return t.permute(*range(t.ndim - 2), t.ndim - 1, t.ndim - 2)


# ---- Kronecker ----


def _interleaved(x: Tensor, y: Tensor, out: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """x, y and out over the pairs (place in x, place in y) of each dimension."""
    own_x, own_y = (1,) * (out.ndim - x.ndim) + x.shape, (1,) * (out.ndim - y.ndim) + y.shape
    pairs = [extent for pair in zip(own_x, own_y, strict=True) for extent in pair]
    first = [extent for own in own_x for extent in (own, 1)]
    second = [extent for own in own_y for extent in (1, own)]
    return x.reshape(*first), y.reshape(*second), out.reshape(*pairs)


def plan_kron(b: PlanBuilder, x: Tensor, y: Tensor, out: Tensor) -> None:
    """Every element of x times y, side by side."""
    u, v, w = _interleaved(x, y, out)
    plan_binary(b, u, v, w, "multiply")


def plan_kron_grad(
    b: PlanBuilder, x: Tensor, y: Tensor, d: Tensor, dx: Tensor | None, dy: Tensor | None
) -> None:
    u, v, w = _interleaved(x, y, d)
    if dx is not None:
        plan_map_reduced(b, "elementwise.multiply", [w, v], w.shape, dx.reshape(*u.shape))
    if dy is not None:
        plan_map_reduced(b, "elementwise.multiply", [w, u], w.shape, dy.reshape(*v.shape))


# ---- cross ----

FIRST_AXIS = 9  # what the framework gives for "the first dimension of extent 3"


def plan_cross(b: PlanBuilder, x: Tensor, y: Tensor, out: Tensor, axis: int = FIRST_AXIS) -> None:
    """The cross product of vectors of three along `axis`."""
    if out.numel == 0:
        return
    if axis == FIRST_AXIS:
        axis = out.shape.index(3)
    axis %= out.ndim
    inner = math.prod(out.shape[axis + 1 :])
    outer = out.numel // (3 * inner)
    block = 1024 if inner == 1 else min(1024, max(power_of_two(inner), 16))
    rows = 0 if inner == 1 else min(max(1024 // block, 1), power_of_two(outer))
    b.launch(
        "contraction.cross", (-(-inner // block), -(-outer // (rows or block))), x, y, out, outer, inner,
        cost=6 * out.nbytes, COMPUTE=dtype_constexpr(compute_dtype(out.dtype)), ROWS=rows, BLOCK=block,
    )  # fmt: skip


# ---- products with an addend ----


def plan_baddbmm(
    b: PlanBuilder, addend: Tensor, x: Tensor, y: Tensor, out: Tensor, beta: float = 1.0, alpha: float = 1.0
) -> None:
    """out = alpha * x @ y + beta * addend in batches; the addend is broadcast."""
    lead = out.ndim - addend.ndim
    view = addend.view(
        (1,) * lead + addend.shape,
        (0,) * lead + tuple(s if e != 1 else 0 for e, s in zip(addend.shape, addend.strides, strict=True)),
    )
    if beta == 0.0:
        plan_product(b, x, y, out, None, alpha)
    else:
        plan_product(b, x, y, out, view, alpha, beta)


def plan_baddbmm_grad(
    b: PlanBuilder,
    x: Tensor,
    y: Tensor,
    d: Tensor,
    daddend: Tensor | None,
    dx: Tensor | None,
    dy: Tensor | None,
    alpha: float = 1.0,
    beta: float = 1.0,
) -> None:
    if dx is not None:
        plan_product(b, d, _transposed(y), dx, None, alpha)
    if dy is not None:
        plan_product(b, _transposed(x), d, dy, None, alpha)
    if daddend is None or daddend.numel == 0:
        return
    own = (1,) * (d.ndim - daddend.ndim) + daddend.shape
    summed = tuple(i for i in range(d.ndim) if own[i] == 1 and d.shape[i] != 1)
    if not summed:
        plan_scale(b, d, daddend.reshape(*d.shape), beta, 0.0)
        return
    total = b.scratch(daddend.shape, compute_dtype(daddend.dtype))
    plan_sum(b, d, total, summed)
    plan_map(b, "elementwise.multiply_scalar", [total], daddend, [beta])


# ---- chains ----


def plan_chain(b: PlanBuilder, factors: Sequence[Tensor], out: Tensor) -> None:
    """out = the product of matrices, in the order of multiplications that takes the fewest operations."""
    if len(factors) == 1:
        plan_copy(b, factors[0], out)
        return
    sizes = [factors[0].shape[0], *(t.shape[1] for t in factors)]
    n = len(factors)
    best = {(i, i): (0, i) for i in range(n)}
    for length in range(2, n + 1):
        for i in range(n - length + 1):
            j = i + length - 1
            best[i, j] = min(
                (best[i, k][0] + best[k + 1, j][0] + sizes[i] * sizes[k + 1] * sizes[j + 1], k)
                for k in range(i, j)
            )

    def product(i: int, j: int, target: Tensor | None = None) -> Tensor:
        if i == j:
            return factors[i]
        k = best[i, j][1]
        left, right = product(i, k), product(k + 1, j)
        if target is None:
            target = b.scratch((sizes[i], sizes[j + 1]), out.dtype)
        plan_product(b, left, right, target)
        return target

    product(0, n - 1, out)


def _as_matrices(factors: Sequence[Tensor]) -> list[Tensor]:
    """A vector in front is a row, at the end a column."""
    first, *middle, last = factors
    if first.ndim == 1:
        first = first.view((1, first.shape[0]), (first.shape[0], first.strides[0]))
    if last.ndim == 1:
        last = last.view((last.shape[0], 1), (last.strides[0], 1))
    return [first, *middle, last]


def plan_multi_dot(b: PlanBuilder, factors: Sequence[Tensor], out: Tensor) -> None:
    """The product of two or more matrices, the first and the last of which may be vectors."""
    chain = _as_matrices(factors)
    plan_chain(b, chain, out.reshape(chain[0].shape[0], chain[-1].shape[1]))


def plan_multi_dot_grad(
    b: PlanBuilder, factors: Sequence[Tensor], d: Tensor, dxs: Sequence[Tensor | None]
) -> None:
    """Of each factor: those before it transposed, d, those behind it transposed."""
    chain = _as_matrices(factors)
    whole = d.reshape(chain[0].shape[0], chain[-1].shape[1])
    turned = [_transposed(t) for t in chain]
    for i, dx in enumerate(dxs):
        if dx is not None:
            plan_chain(
                b, [*reversed(turned[:i]), whole, *reversed(turned[i + 1 :])], dx.reshape(*chain[i].shape)
            )


# ---- bilinear forms ----


def plan_bilinear(
    b: PlanBuilder, x: Tensor, y: Tensor, weight: Tensor, bias: Tensor | None, out: Tensor
) -> None:
    """out[n, o] = x[n] @ weight[o] @ y[n] + bias[o]."""
    rows, outs = out.shape
    if out.numel == 0:
        return
    half = b.scratch((outs, rows, y.shape[1]), compute_dtype(out.dtype))
    plan_product(b, x, weight, half)
    products = b.scratch((outs, rows, y.shape[1]), half.dtype)
    plan_map(b, "elementwise.multiply", [half, y], products)
    total = b.scratch((outs, rows), half.dtype)
    plan_sum(b, products, total, (2,))
    if bias is None:
        plan_map(b, "elementwise.first", [_transposed(total)], out)
    else:
        plan_map(b, "elementwise.add", [_transposed(total), bias.reshape(1, outs)], out)


def plan_bilinear_grad(
    b: PlanBuilder,
    x: Tensor,
    y: Tensor,
    weight: Tensor,
    d: Tensor,
    dx: Tensor | None,
    dy: Tensor | None,
    dweight: Tensor | None,
    dbias: Tensor | None,
) -> None:
    rows, outs = d.shape
    by_out = _transposed(d).view((outs, rows, 1), (d.strides[1], d.strides[0], 0))
    for target, other, matrix in ((dx, y, _transposed(weight)), (dy, x, weight)):
        if target is None:
            continue
        half = b.scratch((outs, rows, target.shape[1]), compute_dtype(d.dtype))
        plan_product(b, other, matrix, half)
        weighted = b.scratch(half.shape, half.dtype)
        plan_map(b, "elementwise.multiply", [half, by_out], weighted)
        plan_sum(b, weighted, target, (0,))
    if dweight is not None:
        scaled = b.scratch((outs, rows, x.shape[1]), d.dtype)
        plan_map(b, "elementwise.multiply", [x.view((1, *x.shape), (0, *x.strides)), by_out], scaled)
        plan_product(b, _transposed(scaled), y, dweight)
    if dbias is not None:
        plan_sum(b, d, dbias.reshape(outs), (0,))
