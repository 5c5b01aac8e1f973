# Embedding planners: look-up and dense gradient.

from __future__ import annotations

from typing import TYPE_CHECKING

from openxpu.ops.plan import I64, PlanBuilder, Tensor
from openxpu.ops.reduce import power_of_two, require_contiguous
from openxpu.ops.run import run

if TYPE_CHECKING:
    from openxpu.runtime import Array

_BLOCK = 1024


def plan_embedding(b: PlanBuilder, ids: Tensor, weight: Tensor, out: Tensor, padding_index: int = -1) -> None:
    """out[..., :] = weight[ids[...], :]; rows of padding_index are zeros (-1: no padding)."""
    require_contiguous("embedding", ids, weight, out)
    rows, n = weight.shape
    block = min(_BLOCK, max(power_of_two(n), 16))
    b.launch(
        "embedding.embedding_rows", (-(-n // block), ids.numel), ids, weight, out, rows, n, I64(padding_index),
        cost=2 * out.nbytes, HAS_PADDING=int(padding_index != -1), BLOCK=block,
    )  # fmt: skip


def plan_embedding_grad(
    b: PlanBuilder, ids: Tensor, dout: Tensor, dweight: Tensor, padding_index: int = -1
) -> None:
    """dweight[ids[i], :] += dout[i, :], summed in the order of the ids; 16-bit gradients are summed in f32."""
    require_contiguous("embedding_grad", ids, dout, dweight)
    rows, n = dweight.shape
    total = dweight if dweight.dtype in ("f32", "f64") else b.scratch(dweight.shape, "f32")
    b.zero(total)
    # A program owns a block of columns: enough programs to share out, not so narrow that a row falls apart.
    block = min(256, max(power_of_two(n // 4), 16))
    b.launch(
        "embedding.embedding_grad_columns", -(-n // block), ids, dout, total, ids.numel, rows, n, I64(padding_index),
        cost=3 * dout.nbytes, HAS_PADDING=int(padding_index != -1), BLOCK=block,
    )  # fmt: skip
    if total is not dweight:
        block = min(4096, power_of_two(dweight.numel))
        b.launch(
            "embedding.narrow", -(-dweight.numel // block), total, dweight, I64(dweight.numel),
            cost=total.nbytes + dweight.nbytes, BLOCK=block,
        )  # fmt: skip


# ---- on arrays ----


def embedding(ids: Array, weight: Array, padding_index: int = -1) -> Array:
    """weight[ids], zeros where ids is padding_index."""
    shape = (*ids.shape, weight.shape[1])
    return run(plan_embedding, [ids, weight], [(shape, weight.dtype)], padding_index)  # type: ignore[no-any-return]
