# Bipartite matching of predictions and truth: the planner.

from __future__ import annotations

from openxpu.ops.plan import PlanBuilder, Tensor, Unsupported
from openxpu.ops.reduce import power_of_two, real, require_contiguous

_SORTED = 130  # rows from which Paddle takes entries below _LEAST too
_LEAST = 1e-6


def plan_bipartite_match(
    b: PlanBuilder, x: Tensor, match: Tensor, value: Tensor, every: bool, threshold: float
) -> None:
    """match [1, columns]: for each column of x [rows, columns] the row that it is paired with, -1 for none; value: their entries.
    Pairs are taken greatest first. `every`: columns that are left take their greatest entry from the threshold up."""
    require_contiguous("bipartite_match", x, match, value)
    if x.dtype not in ("f32", "f64"):
        raise Unsupported(f"bipartite_match computes in f32 or f64, found {x.dtype}.")
    rows, columns = x.shape
    if columns == 0:
        return
    tiny = 5e-324 if x.dtype == "f64" else 1e-45
    numbers = [real(v, x.dtype) for v in (tiny if rows >= _SORTED else _LEAST, _LEAST, threshold)]
    b.launch(
        "matching.match_columns", 1, x, b.scratch((rows,), "i32"), b.scratch((columns,), x.dtype),
        b.scratch((columns,), "i32"), match, value, rows, columns, *numbers, cost=4 * x.nbytes, EVERY=int(every),
        BLOCK=min(256, max(power_of_two(columns), 16)),
    )  # fmt: skip
