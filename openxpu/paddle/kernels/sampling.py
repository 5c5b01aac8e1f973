# phi kernels that choose tokens, mapped to openxpu.ops.sampling.

from __future__ import annotations

from openxpu.ops import sampling
from openxpu.ops.plan import PlanBuilder, Tensor, Unsupported
from openxpu.ops.search import plan_topk
from openxpu.paddle.kernels import phi_kernel
from openxpu.paddle.outputs import required, unused


@phi_kernel
def multinomial(b: PlanBuilder, x: Tensor, num_samples: int, replacement: bool, out: Tensor) -> None:
    sampling.plan_multinomial(b, x, required(b, out, "i64"), int(num_samples), replacement)


@phi_kernel
def top_p_sampling(
    b: PlanBuilder, x: Tensor, ps: Tensor, threshold: Tensor | None, topp_seed: Tensor | None, seed: int, k: int,
    mode: str, out: Tensor, ids: Tensor, topk_scores: Tensor | None, topk_ids: Tensor | None,
) -> None:  # fmt: skip
    if threshold is not None or mode != "truncated":
        raise Unsupported("top_p_sampling is planned in mode 'truncated' without a threshold.")
    sampling.plan_nucleus(b, x, ps, topp_seed, out, required(b, ids, "i64"), seed)
    if k > 0 and topk_scores is not None and topk_ids is not None:
        plan_topk(b, x, topk_scores, required(b, topk_ids, "i64"), k)
    else:
        unused(b, topk_scores, topk_ids)
