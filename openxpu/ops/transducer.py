# The loss of sequence transducers: planners of the loss with its gradient.

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from openxpu.ops.elementwise import plan_binary
from openxpu.ops.plan import PlanBuilder, Tensor, Unsupported, dtype_constexpr
from openxpu.ops.reduce import power_of_two, real, require_contiguous
from openxpu.ops.run import run

if TYPE_CHECKING:
    from openxpu.runtime import Array

_TIME = 8


def plan_transducer_loss(
    b: PlanBuilder, log_p: Tensor, labels: Tensor, lengths: Tensor, label_lengths: Tensor, loss: Tensor, grad: Tensor,
    blank: int, early: float,
) -> None:  # fmt: skip
    """loss [batch] of log-probabilities [batch, time, letters + 1, classes] for padded labels [batch, letters] (Graves, 2012), and
    its gradient, in which emissions of letters weigh 1 + `early`."""
    require_contiguous("warprnnt", log_p, labels, lengths, label_lengths, loss, grad)
    if log_p.dtype not in ("f32", "f64"):
        raise Unsupported(
            f"warprnnt computes in f32 or f64, found {log_p.dtype}; cast the log-probabilities."
        )
    if log_p.numel == 0:
        return
    batch, time, width, classes = log_p.shape
    acc = log_p.dtype
    paths = b.scratch((2, batch, time, width), acc)
    none = real(float(np.finfo(np.float64 if acc == "f64" else np.float32).min), acc)
    b.zero(grad)
    block = max(power_of_two(width), 16)
    b.launch(
        "transducer.transducer_paths", (batch, 2), log_p, labels, lengths, label_lengths, paths, time, batch, classes,
        width - 1, blank, none, cost=40 * paths.numel, ACC=dtype_constexpr(acc), BLOCK=block,
    )  # fmt: skip
    b.launch(
        "transducer.transducer_grad", (-(-time // _TIME), batch), log_p, labels, lengths, label_lengths, paths, loss, grad,
        time, batch, classes, width - 1, blank, real(1.0 + early, acc), none, cost=40 * paths.numel,
        ACC=dtype_constexpr(acc), TIME=_TIME, BLOCK=min(block, 128),
    )  # fmt: skip


def plan_transducer_loss_grad(b: PlanBuilder, grad: Tensor, dloss: Tensor, dlog_p: Tensor) -> None:
    """dlog_p = grad * dloss of its sequence."""
    require_contiguous("warprnnt_grad", grad, dloss, dlog_p)
    plan_binary(b, grad, dloss.view((grad.shape[0], 1, 1, 1)), dlog_p, "multiply")


# ---- on arrays ----


def transducer_loss(
    log_p: Array, labels: Array, lengths: Array, label_lengths: Array, blank: int = 0, early: float = 0.0
) -> tuple[Array, Array]:
    """(loss [batch], its gradient for log_p). See plan_transducer_loss."""
    outputs = [((log_p.shape[0],), log_p.dtype), (log_p.shape, log_p.dtype)]
    return run(plan_transducer_loss, [log_p, labels, lengths, label_lengths], outputs, blank, early)  # type: ignore[no-any-return]
