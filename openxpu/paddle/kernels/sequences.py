# phi kernels of sequences of indices, mapped to openxpu.ops.sequences.

from __future__ import annotations

from openxpu.ops import sequences
from openxpu.ops.plan import PlanBuilder, Tensor
from openxpu.paddle.kernels import phi_kernel
from openxpu.paddle.outputs import required


@phi_kernel
def tril_indices(b: PlanBuilder, rows: int, cols: int, offset: int, dtype: str | None, out: Tensor) -> None:
    sequences.plan_triangle_indices(b, required(b, out, dtype or out.dtype), rows, cols, offset, True)


@phi_kernel
def triu_indices(b: PlanBuilder, rows: int, cols: int, offset: int, dtype: str | None, out: Tensor) -> None:
    sequences.plan_triangle_indices(b, required(b, out, dtype or out.dtype), rows, cols, offset, False)
