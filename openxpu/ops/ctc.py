# Connectionist temporal classification: planners of the loss with its gradient, and of the alignment.

from __future__ import annotations

from typing import TYPE_CHECKING

from openxpu.ops.elementwise import plan_binary
from openxpu.ops.plan import PlanBuilder, Tensor, Unsupported, dtype_constexpr
from openxpu.ops.reduce import power_of_two, require_contiguous
from openxpu.ops.run import run
from openxpu.ops.softmax import plan_log_softmax

if TYPE_CHECKING:
    from openxpu.runtime import Array

_TIME = 16


def plan_ctc_loss(
    b: PlanBuilder, logits: Tensor, labels: Tensor, lengths: Tensor | None, label_lengths: Tensor | None, loss: Tensor,
    grad: Tensor, blank: int,
) -> None:  # fmt: skip
    """loss [batch, 1] of logits [time, batch, classes] for padded labels [batch, letters], and its gradient."""
    if lengths is None or label_lengths is None or logits.ndim != 3:
        raise Unsupported("warpctc needs logits_length and labels_length; LoD is not known on the card.")
    if logits.dtype not in ("f32", "f64"):
        raise Unsupported(f"warpctc computes in f32 or f64, found {logits.dtype}; cast the logits.")
    require_contiguous("warpctc", logits, labels, lengths, label_lengths, loss, grad)
    time, batch, classes = logits.shape
    letters = labels.shape[1] if labels.ndim > 1 else labels.numel // max(batch, 1)
    if logits.numel == 0:
        return
    acc = logits.dtype
    log_p = b.scratch(logits.shape, acc)
    plan_log_softmax(b, logits, log_p, -1)
    states = 2 * letters + 1
    paths, powers = b.scratch((batch, time, states), acc), b.scratch((batch, time, states), "i32")
    line, line_powers = b.scratch((batch, 2, states), acc), b.scratch((batch, 2, states), "i32")
    given, numbers = (log_p, labels, lengths, label_lengths), (time, batch, classes, letters, blank)
    flags = {"ACC": dtype_constexpr(acc), "BLOCK": max(power_of_two(states), 16)}
    b.launch("ctc.ctc_forward", batch, *given, paths, powers, *numbers, cost=20 * paths.numel, **flags)
    b.launch(
        "ctc.ctc_backward", batch, *given, paths, powers, line, line_powers, loss, *numbers, cost=30 * paths.numel, **flags,
    )  # fmt: skip
    b.launch(
        "ctc.ctc_grad", (-(-time // _TIME), batch), *given, paths, loss, grad, *numbers,
        cost=10 * paths.numel + 4 * grad.nbytes, TIME=_TIME, BLOCK=min(512, max(power_of_two(classes), 16)),
    )  # fmt: skip


def plan_ctc_loss_grad(
    b: PlanBuilder, grad: Tensor, lengths: Tensor | None, dloss: Tensor, dlogits: Tensor, by_time: bool
) -> None:
    """dlogits = grad * dloss [batch, 1], divided by the sequences' lengths with `by_time`."""
    if lengths is None or grad.ndim != 3:
        raise Unsupported("warpctc_grad needs logits_length; LoD is not known on the card.")
    require_contiguous("warpctc_grad", grad, lengths, dloss, dlogits)
    time, batch, classes = grad.shape
    if grad.numel == 0:
        return
    if not by_time:
        plan_binary(b, grad, dloss.view((1, batch, 1)), dlogits, "multiply")
        return
    block = min(1024, max(power_of_two(classes), 16))
    b.launch(
        "ctc.ctc_scale", (-(-classes // block), time * batch), grad, dloss, lengths, dlogits, batch, classes,
        cost=2 * grad.nbytes, BY_TIME=int(by_time), BLOCK=block,
    )  # fmt: skip


def plan_ctc_align(
    b: PlanBuilder, x: Tensor, lengths: Tensor | None, out: Tensor, out_lengths: Tensor, blank: int, merge: bool,
    padding: int,
) -> None:  # fmt: skip
    """out [batch, width]: rows of x without blanks and, with `merge`, repetitions, padded; and their lengths."""
    if lengths is None:
        raise Unsupported("ctc_align needs input_length; LoD is not known on the card.")
    require_contiguous("ctc_align", x, lengths, out, out_lengths)
    if x.numel == 0:
        return
    batch, width = x.shape
    b.launch(
        "ctc.ctc_align", batch, x, lengths, out, out_lengths, width, blank, padding, cost=8 * x.nbytes, MERGE=int(merge),
        BLOCK=min(512, max(power_of_two(width), 16)),
    )  # fmt: skip


# ---- on arrays ----


def ctc_loss(
    logits: Array, labels: Array, lengths: Array, label_lengths: Array, blank: int = 0
) -> tuple[Array, Array]:
    """(loss [batch, 1], its gradient for the logits) of logits [time, batch, classes] for padded labels [batch, letters]."""
    outputs = [((logits.shape[1], 1), logits.dtype), (logits.shape, logits.dtype)]
    return run(plan_ctc_loss, [logits, labels, lengths, label_lengths], outputs, blank)  # type: ignore[no-any-return]
