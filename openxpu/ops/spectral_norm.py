# Spectral normalisation (Miyato et al. 2018): a weight over its largest singular value, by power iterations.

from __future__ import annotations

from openxpu.ops.creation import plan_cast
from openxpu.ops.matmul import plan_product
from openxpu.ops.plan import F64, PlanBuilder, Tensor
from openxpu.ops.pointwise import plan_map
from openxpu.ops.reduce import accumulation_dtype, plan_sum


def _matrix(b: PlanBuilder, t: Tensor, dim: int) -> Tensor:
    """A copy in the accumulator's type: rows along `dim`, everything else in columns."""
    view = t.permute(dim, *(d for d in range(t.ndim) if d != dim))
    out = b.scratch(view.shape, accumulation_dtype(t.dtype))
    plan_cast(b, view, out)
    return out.reshape(t.shape[dim], t.numel // t.shape[dim])


def _restore(b: PlanBuilder, matrix: Tensor, out: Tensor, dim: int) -> None:
    """The matrix as the weight that it was made of."""
    view = out.permute(dim, *(d for d in range(out.ndim) if d != dim))
    plan_cast(b, matrix.reshape(*view.shape), view)


def _iterate(
    b: PlanBuilder, w: Tensor, u: Tensor, v: Tensor, iterations: int, epsilon: float
) -> tuple[Tensor, Tensor, Tensor]:
    """u [rows, 1] and v [columns, 1] after the iterations, and sigma = u^T w v."""
    rows, columns = w.shape
    acc = w.dtype
    left, right = b.scratch((rows, 1), acc), b.scratch((columns, 1), acc)
    plan_cast(b, u.reshape(rows, 1), left)
    plan_cast(b, v.reshape(columns, 1), right)
    product = b.scratch((max(rows, columns), 1), acc)
    eps = F64(epsilon) if acc == "f64" else epsilon
    for _ in range(iterations):
        for x, y, target in ((w.permute(1, 0), left, right), (w, right, left)):
            raw = product.view(target.shape)
            plan_product(b, x, y, raw)
            n = target.numel
            b.launch("spectral_norm.unit_vector", 1, raw, target, n, eps, cost=2 * target.nbytes, BLOCK=256)
    raw = product.view((rows, 1))
    plan_product(b, w, right, raw)
    sigma = b.scratch((1, 1), acc)
    plan_product(b, left.permute(1, 0), raw, sigma)
    return left, right, sigma


def plan_spectral_norm(
    b: PlanBuilder,
    weight: Tensor,
    u: Tensor,
    v: Tensor,
    out: Tensor,
    dim: int,
    iterations: int,
    epsilon: float,
) -> None:
    """out = weight / sigma; u and v are where the iterations start."""
    if weight.numel == 0:
        return
    w = _matrix(b, weight, dim)
    _, _, sigma = _iterate(b, w, u, v, iterations, epsilon)
    plan_map(b, "elementwise.divide", [w, sigma], w)
    _restore(b, w, out, dim)


def plan_spectral_norm_grad(
    b: PlanBuilder,
    weight: Tensor,
    u: Tensor,
    v: Tensor,
    dout: Tensor,
    dweight: Tensor,
    dim: int,
    iterations: int,
    epsilon: float,
) -> None:
    """dweight as Paddle defines it: dout * (1 - u v^T * sum(weight / sigma)) / sigma."""
    if weight.numel == 0:
        return
    w, d = _matrix(b, weight, dim), _matrix(b, dout, dim)
    left, right, sigma = _iterate(b, w, u, v, iterations, epsilon)
    plan_map(b, "elementwise.divide", [w, sigma], w)
    total = b.scratch((1, 1), w.dtype)
    plan_sum(b, w, total, (0, 1))
    rows, columns = w.shape
    block = 256
    b.launch(
        "spectral_norm.weight_gradient", (-(-columns // block), rows), d, left, right, total, sigma, d, columns,
        cost=2 * d.nbytes, BLOCK=block,
    )  # fmt: skip
    _restore(b, d, dweight, dim)
