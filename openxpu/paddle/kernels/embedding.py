# phi kernels of embedding, mapped to openxpu.ops.embedding.

from __future__ import annotations

from openxpu.ops import embedding as ops
from openxpu.ops.plan import PlanBuilder, Tensor
from openxpu.paddle.kernels import phi_kernel


@phi_kernel
def embedding(b: PlanBuilder, ids: Tensor, weight: Tensor, padding_idx: int, out: Tensor) -> None:
    ops.plan_embedding(b, ids, weight, out, padding_idx)


@phi_kernel
def embedding_grad(
    b: PlanBuilder, ids: Tensor, weight: Tensor, dout: Tensor, padding_idx: int, dweight: Tensor
) -> None:
    ops.plan_embedding_grad(b, ids, dout, dweight, padding_idx)
