# Sequences of indices: coordinates of triangles of a matrix. Planner.
from __future__ import annotations

from openxpu.ops.plan import PlanBuilder, Tensor


def plan_triangle_indices(
    b: PlanBuilder, out: Tensor, rows: int, cols: int, offset: int, lower: bool
) -> None:
    """out[0] the rows, out[1] the columns of the elements on and below (or above) the diagonal number `offset`, row by row."""
    if out.numel:
        b.launch(
            "sequences.triangle_indices", rows, out, out.shape[1], cols, offset, cost=out.nbytes,
            LOWER=int(lower), BLOCK=256 if cols >= 256 else 32,
        )  # fmt: skip
