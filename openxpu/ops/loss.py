# Loss planners: cross-entropy fused with softmax, element by element losses, negative log likelihood, label smoothing.

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from openxpu.ops.plan import I64, PlanBuilder, Tensor, dtype_constexpr
from openxpu.ops.pointwise import plan_map
from openxpu.ops.reduce import accumulation_dtype, plan_reduce, power_of_two, real, require_contiguous
from openxpu.ops.run import run
from openxpu.ops.softmax import COLUMN_TILE, ROW_TILE, split_axis

if TYPE_CHECKING:
    from openxpu.runtime import Array

_BLOCK = 4096


def blocks(n: int, block: int = _BLOCK) -> tuple[int, int]:
    """(grid, block) of a kernel that goes through n elements."""
    block = min(block, max(power_of_two(n), 16))
    return -(-n // block), block


def plan_cross_entropy(
    b: PlanBuilder,
    logits: Tensor,
    label: Tensor,
    probabilities: Tensor,
    loss: Tensor,
    soft_label: bool,
    axis: int = -1,
    ignore_index: int = -100,
    normalised: bool = False,
) -> None:
    """probabilities = softmax(logits) and loss = -log of the label's probability (hard) or -sum(label * log) (soft).
    Labels equal to ignore_index have loss 0. `normalised`: logits are probabilities already."""
    require_contiguous("cross-entropy", logits, label, probabilities, loss)
    if logits.numel == 0:
        if loss.numel:
            b.zero(loss)
        return
    outer, n, inner = split_axis(logits, axis)
    acc = dtype_constexpr(accumulation_dtype(logits.dtype))
    flags = {"SOFT": int(soft_label), "NORMALISED": int(normalised)}
    tensors = (logits, label, probabilities, loss)
    cost = 4 * logits.nbytes
    if inner > 1:
        block = min(COLUMN_TILE, max(power_of_two(inner), 16))
        b.launch(
            "loss.cross_entropy_columns", (-(-inner // block), outer), *tensors, n, inner, ignore_index,
            cost=cost, **flags, ACC=acc, BLOCK=block,
        )  # fmt: skip
    elif n <= ROW_TILE:
        block = max(power_of_two(n), 16)
        b.launch("loss.cross_entropy_rows", outer, *tensors, n, ignore_index, cost=cost, **flags, BLOCK=block)
    else:
        b.launch(
            "loss.cross_entropy_long_rows",
            outer,
            *tensors,
            n,
            ignore_index,
            cost=cost,
            **flags,
            ACC=acc,
            BLOCK=2048,
        )


def plan_cross_entropy_grad(
    b: PlanBuilder,
    label: Tensor,
    probabilities: Tensor,
    dloss: Tensor,
    dlogits: Tensor,
    soft_label: bool,
    axis: int = -1,
    ignore_index: int = -100,
    normalised: bool = False,
) -> None:
    """dlogits = (probabilities - label) * dloss; dlogits may be probabilities."""
    require_contiguous("the gradient of cross-entropy", label, probabilities, dloss, dlogits)
    if dlogits.numel == 0:
        return
    outer, n, inner = split_axis(probabilities, axis)
    acc = dtype_constexpr(accumulation_dtype(dlogits.dtype))
    flags = {"SOFT": int(soft_label), "NORMALISED": int(normalised), "ACC": acc}
    tensors = (probabilities, label, dloss, dlogits)
    cost = 2 * dlogits.nbytes
    if inner > 1:
        block = min(1024, max(power_of_two(inner), 16))
        rows = min(max(1024 // block, 1), power_of_two(n))
        b.launch(
            "loss.cross_entropy_grad_tile", (-(-inner // block), -(-n // rows), outer), *tensors, n, inner, ignore_index,
            cost=cost, **flags, ROWS=rows, BLOCK=block,
        )  # fmt: skip
    else:
        columns, block = blocks(n)
        b.launch(
            "loss.cross_entropy_grad_rows",
            (columns, outer),
            *tensors,
            n,
            ignore_index,
            cost=cost,
            **flags,
            BLOCK=block,
        )


def plan_elementwise_loss(
    b: PlanBuilder,
    x: Tensor,
    label: Tensor,
    out: Tensor,
    kind: str,
    weight: Tensor | None = None,
    second: Tensor | None = None,
    p: float = 0.0,
    ignore_index: float = math.nan,
) -> None:
    """One loss per element; `kind` as in kernels/loss.py."""
    require_contiguous(kind + " loss", x, label, out, weight, second)
    n = x.numel
    acc = accumulation_dtype(x.dtype)
    grid, block = blocks(n)
    b.launch(
        "loss.elementwise_loss", grid, x, label, weight, out, second, I64(n), real(p, acc), real(ignore_index, acc),
        cost=4 * x.nbytes, KIND=kind, HAS_WEIGHT=int(weight is not None), ACC=dtype_constexpr(acc), BLOCK=block,
    )  # fmt: skip


def plan_elementwise_loss_grad(
    b: PlanBuilder,
    x: Tensor,
    label: Tensor | None,
    dout: Tensor,
    dx: Tensor,
    kind: str,
    weight: Tensor | None = None,
    dlabel: Tensor | None = None,
    p: float = 0.0,
    ignore_index: float = math.nan,
    scale: float = 1.0,
) -> None:
    """dx = d loss / d x * dout * scale; dout has one element, or one per element of x."""
    require_contiguous("the gradient of " + kind + " loss", x, label, dout, dx, weight, dlabel)
    n = x.numel
    acc = accumulation_dtype(x.dtype)
    grid, block = blocks(n)
    b.launch(
        "loss.elementwise_loss_grad", grid,
        x, label, weight, dout, dx, dlabel, I64(n), real(p, acc), real(ignore_index, acc), real(scale, acc),
        cost=4 * x.nbytes, KIND=kind, HAS_WEIGHT=int(weight is not None), ONE_DOUT=int(dout.numel == 1),
        WANT_LABEL=int(dlabel is not None), ACC=dtype_constexpr(acc), BLOCK=block,
    )  # fmt: skip


def plan_kldiv(
    b: PlanBuilder, x: Tensor, label: Tensor, out: Tensor, reduction: str, log_target: bool
) -> None:
    """label * (log(label) - x), then nothing ("none"), the sum, the mean, or the sum over the batch size."""
    kind = "kldiv_log" if log_target else "kldiv"
    if reduction == "none":
        plan_elementwise_loss(b, x, label, out, kind)
        return
    each = b.scratch(x.shape, accumulation_dtype(x.dtype))
    plan_elementwise_loss(b, x, label, each, kind)
    plan_reduce(b, each, out, range(x.ndim), "sum", post="scale", scale=_share(x, reduction))


def plan_kldiv_grad(
    b: PlanBuilder, x: Tensor, label: Tensor, dout: Tensor, dx: Tensor, reduction: str, log_target: bool
) -> None:
    kind = "kldiv_log" if log_target else "kldiv"
    plan_elementwise_loss_grad(b, x, label, dout, dx, kind, scale=_share(x, reduction))


def _share(x: Tensor, reduction: str) -> float:
    if reduction == "batchmean":
        return 1.0 / max(x.shape[0] if x.ndim else 1, 1)
    return 1.0 / max(x.numel, 1) if reduction == "mean" else 1.0


def plan_nll_loss(
    b: PlanBuilder,
    x: Tensor,
    label: Tensor,
    weight: Tensor | None,
    out: Tensor,
    total_weight: Tensor,
    ignore_index: int,
    reduction: str,
) -> None:
    """x [N, classes, ...] of log probabilities, label [N, ...]."""
    require_contiguous("nll_loss", x, label, weight, out)
    cells, classes = label.numel, x.shape[1]
    inner = math.prod(x.shape[2:])
    acc = accumulation_dtype(x.dtype)
    grid, block = blocks(cells, 1024)
    each = out if reduction == "none" else b.scratch((cells,), acc)
    weights = b.scratch((cells,), acc)
    b.launch(
        "loss.nll_loss_cells", grid, x, label, weight, each, weights, cells, classes, inner, ignore_index,
        cost=4 * label.nbytes, FLAT=int(inner == 1), HAS_WEIGHT=int(weight is not None), ACC=dtype_constexpr(acc), BLOCK=block,
    )  # fmt: skip
    if reduction == "none":
        b.zero(total_weight)
        return
    total, weight_sum = b.scratch((1,), acc), b.scratch((1,), acc)
    plan_reduce(b, each, total, (0,), "sum")
    plan_reduce(b, weights, weight_sum, (0,), "sum")
    b.launch("loss.nll_loss_finish", 1, total, weight_sum, out, total_weight, MEAN=int(reduction == "mean"))


def plan_nll_loss_grad(
    b: PlanBuilder,
    x: Tensor,
    label: Tensor,
    weight: Tensor | None,
    total_weight: Tensor,
    dout: Tensor,
    dx: Tensor,
    ignore_index: int,
    reduction: str,
) -> None:
    require_contiguous("nll_loss_grad", x, label, weight, dout, dx)
    cells, classes = label.numel, x.shape[1]
    inner = math.prod(x.shape[2:])
    acc = accumulation_dtype(x.dtype)
    b.zero(dx)
    grid, block = blocks(cells, 1024)
    b.launch(
        "loss.nll_loss_grad_cells", grid, label, weight, total_weight, dout, dx, cells, classes, inner, ignore_index,
        cost=4 * label.nbytes, FLAT=int(inner == 1), HAS_WEIGHT=int(weight is not None), ONE_DOUT=int(reduction != "none"),
        MEAN=int(reduction == "mean"), ACC=dtype_constexpr(acc), BLOCK=block,
    )  # fmt: skip


def plan_label_smooth(
    b: PlanBuilder, label: Tensor, prior: Tensor | None, out: Tensor, epsilon: float
) -> None:
    """label * (1 - epsilon) + epsilon * prior, a uniform prior when absent."""
    if prior is None:
        share = epsilon / max(label.shape[-1] if label.ndim else 1, 1)
        plan_map(b, "elementwise.scale_bias", [label], out, [1.0 - epsilon, share])
    else:
        prior = prior.reshape(prior.numel)
        plan_map(b, "loss.smoothed", [label, prior], out, [1.0 - epsilon, epsilon])


# ---- on arrays ----


def cross_entropy(
    logits: Array, label: Array, soft_label: bool = False, axis: int = -1, ignore_index: int = -100
) -> tuple[Array, Array]:
    """(softmax, loss) of logits along `axis`. label: class numbers with extent 1 at `axis`, or (soft) weights in the
    shape of logits. The loss has extent 1 at `axis`."""
    axis %= len(logits.shape)
    shape = tuple(1 if i == axis else extent for i, extent in enumerate(logits.shape))
    outputs = [(logits.shape, logits.dtype), (shape, logits.dtype)]
    return run(plan_cross_entropy, [logits, label], outputs, soft_label, axis, ignore_index)  # type: ignore[no-any-return]
