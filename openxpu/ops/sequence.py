# Sequences: planners of Viterbi and CRF decoding, beam trees, edit distances, masks of lengths.

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from openxpu.ops.plan import PlanBuilder, Tensor, Unsupported, dtype_constexpr
from openxpu.ops.reduce import power_of_two, real, require_contiguous
from openxpu.ops.run import run

if TYPE_CHECKING:
    from openxpu.runtime import Array

_LONGEST = 1 << 15  # letters of a reference whose row of the table is one tile


def _plan_path(
    b: PlanBuilder, name: str, x: Tensor, weights: Tensor, lengths: Tensor, label: Tensor | None, scores: Tensor | None,
    path: Tensor, rows: tuple[int, int, int], ends: bool,
) -> None:  # fmt: skip
    """rows: those of start, stop and the first transition in `weights`."""
    require_contiguous(name, x, weights, lengths, label, scores, path)
    if x.dtype not in ("f32", "f64"):
        raise Unsupported(f"{name} computes in f32 or f64, found {x.dtype}.")
    if x.numel == 0:
        return
    batch, time, tags = x.shape
    lowest = real(float(np.finfo(np.float64 if x.dtype == "f64" else np.float32).min), x.dtype)
    b.launch(
        "sequence.best_path", batch, x, weights, lengths, label, b.scratch((batch, 2, tags), x.dtype),
        b.scratch(x.shape, "i32"), scores, path, time, tags, path.shape[1], *rows, lowest, cost=2 * x.numel * tags,
        ENDS=int(ends), SCORES=int(scores is not None), LABEL=int(label is not None), ACC=dtype_constexpr(x.dtype),
        BLOCK=max(power_of_two(tags), 16),
    )  # fmt: skip


def plan_viterbi(
    b: PlanBuilder, x: Tensor, transitions: Tensor, lengths: Tensor, scores: Tensor, path: Tensor, ends: bool
) -> None:
    """The best path [batch, time] and its score for emissions x [batch, time, tags] (Viterbi, 1967). With `ends` the last two
    rows of transitions [tags, tags] are scores to stop and to start."""
    tags = x.shape[2]
    _plan_path(
        b, "viterbi_decode", x, transitions, lengths, None, scores, path, (tags - 1, tags - 2, 0), ends
    )


def plan_crf_decoding(
    b: PlanBuilder, x: Tensor, transitions: Tensor, label: Tensor | None, lengths: Tensor | None, path: Tensor
) -> None:
    """The best path of a conditional random field (Lafferty et al., 2001), or where it is the label; the first two rows of
    transitions [tags + 2, tags] are scores to start and to stop."""
    if lengths is None or x.ndim != 3:
        raise Unsupported("crf_decoding needs length; LoD is not known on the card.")
    if label is not None:
        label = label.reshape(*path.shape)
    _plan_path(b, "crf_decoding", x, transitions, lengths, label, None, path, (0, 1, 2), True)


def plan_gather_tree(b: PlanBuilder, ids: Tensor, parents: Tensor, out: Tensor) -> None:
    """Whole sequences of beams from each step's ids and parents [time, batch, beams]."""
    require_contiguous("gather_tree", ids, parents, out)
    if ids.numel == 0:
        return
    time, batch, beams = ids.shape
    block = min(256, max(power_of_two(batch * beams), 16))
    b.launch(
        "sequence.gather_tree", -(-batch * beams // block), ids, parents, out, time, batch * beams, beams,
        cost=4 * ids.nbytes, BLOCK=block,
    )  # fmt: skip


def plan_edit_distance(
    b: PlanBuilder, x: Tensor, y: Tensor, x_lengths: Tensor | None, y_lengths: Tensor | None, count: Tensor, out: Tensor,
    normalized: bool,
) -> None:  # fmt: skip
    """out [batch, 1]: the distance of each padded row of x from that of y; count: how many there are."""
    if x_lengths is None or y_lengths is None:
        raise Unsupported("edit_distance needs the lengths of both; LoD is not known on the card.")
    require_contiguous("edit_distance", x, y, x_lengths, y_lengths, count, out)
    batch = x.shape[0]
    widths = x.numel // max(batch, 1), y.numel // max(batch, 1)
    if widths[1] >= _LONGEST:
        raise Unsupported(f"edit_distance takes references below {_LONGEST} letters, found {widths[1]}.")
    b.launch(
        "sequence.edit_distance", batch, x, y, x_lengths, y_lengths, count, out, *widths, batch,
        cost=8 * batch * widths[0] * widths[1], NORMALIZED=int(normalized), BLOCK=max(power_of_two(widths[1] + 1), 16),
    )  # fmt: skip


def plan_sequence_mask(b: PlanBuilder, lengths: Tensor, out: Tensor) -> None:
    """out [*lengths, width] = position < length."""
    require_contiguous("sequence_mask", lengths, out)
    if out.numel == 0:
        return
    width = out.shape[-1]
    block = min(1024, max(power_of_two(width), 16))
    b.launch(
        "sequence.sequence_mask",
        (-(-width // block), lengths.numel),
        lengths,
        out,
        width,
        cost=out.nbytes,
        BLOCK=block,
    )


# ---- on arrays ----


def viterbi(x: Array, transitions: Array, lengths: Array, ends: bool = True) -> tuple[Array, Array]:
    """(score [batch], best path [batch, time] as i64) for emissions x [batch, time, tags]. See plan_viterbi."""
    outputs = [((x.shape[0],), x.dtype), (x.shape[:2], "i64")]
    return run(plan_viterbi, [x, transitions, lengths], outputs, ends)  # type: ignore[no-any-return]
