# phi kernels of rotary position embedding, mapped to openxpu.ops.rotary.

from __future__ import annotations

from openxpu.ops.plan import PlanBuilder, Tensor
from openxpu.ops.rotary import plan_rotary
from openxpu.paddle.kernels import phi_kernel


def _rotate(
    b: PlanBuilder, pairs: list[tuple[Tensor | None, Tensor | None]], sin: Tensor | None, cos: Tensor | None,
    positions: Tensor | None, neighbours: bool, time_major: bool, base: float, grad: bool,
) -> None:  # fmt: skip
    for x, out in pairs:
        if x is None or out is None:
            continue
        order = (1, 0, 2, 3) if time_major else (0, 1, 2, 3)
        plan_rotary(b, x.permute(*order), out.permute(*order), sin, cos, positions, neighbours, base, grad)


@phi_kernel
def fused_rotary_position_embedding(
    b: PlanBuilder, q: Tensor, k: Tensor | None, v: Tensor | None, sin: Tensor | None, cos: Tensor | None,
    position_ids: Tensor | None, use_neox_rotary_style: bool, time_major: bool, rotary_emb_base: float,
    out_q: Tensor, out_k: Tensor | None, out_v: Tensor | None,
) -> None:  # fmt: skip
    _rotate(
        b, [(q, out_q), (k, out_k), (v, out_v)], sin, cos, position_ids, use_neox_rotary_style, time_major,
        rotary_emb_base, False,
    )  # fmt: skip


@phi_kernel
def fused_rotary_position_embedding_grad(
    b: PlanBuilder, sin: Tensor | None, cos: Tensor | None, position_ids: Tensor | None, out_q_grad: Tensor,
    out_k_grad: Tensor | None, out_v_grad: Tensor | None, use_neox_rotary_style: bool, time_major: bool,
    rotary_emb_base: float, q_grad: Tensor | None, k_grad: Tensor | None, v_grad: Tensor | None,
) -> None:  # fmt: skip
    _rotate(
        b, [(out_q_grad, q_grad), (out_k_grad, k_grad), (out_v_grad, v_grad)], sin, cos, position_ids,
        use_neox_rotary_style, time_major, rotary_emb_base, True,
    )  # fmt: skip
