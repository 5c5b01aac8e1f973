# Hierarchical sigmoid (Morin and Bengio 2005): loss over the way to a leaf of a tree, and its gradients.

from __future__ import annotations

from openxpu.ops.creation import plan_cast
from openxpu.ops.layout import plan_scatter_rows
from openxpu.ops.plan import PlanBuilder, Tensor, dtype_constexpr
from openxpu.ops.reduce import accumulation_dtype, power_of_two, require_contiguous


def _block(features: int) -> int:
    return min(256, max(16, power_of_two(features)))


def plan_hsigmoid_loss(
    b: PlanBuilder,
    x: Tensor,
    labels: Tensor,
    w: Tensor,
    bias: Tensor | None,
    path: Tensor | None,
    code: Tensor | None,
    out: Tensor,
    costs: Tensor,
    classes: int,
) -> None:
    """x [samples, features], w [nodes, features]; costs [samples, steps] is for the gradient."""
    require_contiguous("hsigmoid_loss", x, labels, w, bias, path, code)
    samples, features = x.shape
    b.launch(
        "hsigmoid.loss", samples, x, labels, w, bias, path, code, out, costs, features, costs.shape[1], classes,
        cost=4 * costs.numel * features, TABLE=path is not None, BIAS=bias is not None,
        ACC=dtype_constexpr(accumulation_dtype(x.dtype)), BLOCK=_block(features),
        STEPS=max(power_of_two(costs.shape[1]), 16),
    )  # fmt: skip


def plan_hsigmoid_loss_grad(
    b: PlanBuilder,
    x: Tensor,
    w: Tensor,
    labels: Tensor,
    path: Tensor | None,
    code: Tensor | None,
    costs: Tensor,
    d: Tensor,
    dx: Tensor | None,
    dw: Tensor | None,
    dbias: Tensor | None,
    classes: int,
) -> None:
    """Nodes that several samples pass get their shares in the order of the samples."""
    require_contiguous("hsigmoid_loss_grad", x, w, labels, path, code, costs, d)
    acc = accumulation_dtype(x.dtype)
    (samples, features), steps = x.shape, costs.shape[1]
    nodes, scores = b.scratch((samples, steps), "i64"), b.scratch((samples, steps), acc)
    updates = b.scratch((samples * steps, features), acc) if dw is not None else None
    b.launch(
        "hsigmoid.gradient", samples, x, labels, w, path, code, costs, d, dx, nodes, scores, updates, features, steps, classes,
        cost=6 * costs.numel * features, TABLE=path is not None, WANT_X=dx is not None, WANT_W=dw is not None,
        ACC=dtype_constexpr(acc), BLOCK=_block(features),
        STEPS=max(power_of_two(costs.shape[1]), 16),
    )  # fmt: skip
    index = nodes.reshape(samples * steps)
    for target, rows in ((dw, updates), (dbias, scores.reshape(samples * steps, 1))):
        if target is None or rows is None:
            continue
        total = b.scratch(target.shape, acc)
        b.zero(total)
        plan_scatter_rows(b, rows, index, total.reshape(target.shape[0], rows.shape[1]), 0, True)
        plan_cast(b, total, target)
