# phi kernels of matching, mapped to openxpu.ops.matching.

from __future__ import annotations

from openxpu.ops import matching
from openxpu.ops.plan import PlanBuilder, Tensor
from openxpu.paddle.kernels import phi_kernel
from openxpu.paddle.outputs import required


@phi_kernel
def bipartite_match(
    b: PlanBuilder, x: Tensor, match_type: str, dist_threshold: float, match: Tensor, value: Tensor
) -> None:
    match, value = required(b, match, "i32"), required(b, value, x.dtype)
    matching.plan_bipartite_match(b, x, match, value, match_type == "per_prediction", dist_threshold)
