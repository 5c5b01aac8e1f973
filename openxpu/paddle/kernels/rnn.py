# phi kernels of recurrent networks, mapped to openxpu.ops.rnn.

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from openxpu.ops import rnn as networks
from openxpu.ops.plan import PlanBuilder, Tensor
from openxpu.paddle.kernels import phi_kernel
from openxpu.paddle.outputs import required, unused


@phi_kernel
def rnn(
    b: PlanBuilder, x: Tensor, pre_state: Sequence[Tensor], weights: Sequence[Tensor], sequence_length: Tensor | None,
    dropout: float, bidirectional: bool, input_size: int, hidden_size: int, layers: int, mode: str, seed: int,
    is_test: bool, out: Tensor, dropout_state: Tensor, state: Sequence[Tensor], reserve: Tensor,
) -> None:  # fmt: skip
    net = networks.network(x, weights, mode, layers, bidirectional, hidden_size)
    if is_test:
        unused(b, dropout_state, reserve)
        networks.plan_rnn(b, net, x, pre_state, weights, sequence_length, out, state, None, None)
        return
    kept = required(b, reserve, net.acc)
    masks = required(b, dropout_state, "u8")
    dropping = dropout > 0 and layers > 1
    networks.plan_rnn(
        b, net, x, pre_state, weights, sequence_length, out, state, replace(kept, shape=(net.reserve_size,), strides=(1,)),
        masks if dropping else None, dropout, seed,
    )  # fmt: skip


@phi_kernel
def rnn_grad(
    b: PlanBuilder, x: Tensor, pre_state: Sequence[Tensor], weights: Sequence[Tensor], sequence_length: Tensor | None,
    out: Tensor, dropout_state: Tensor, reserve: Tensor, dout: Tensor, state_grad: Sequence[Tensor | None],
    dropout: float, bidirectional: bool, input_size: int, hidden_size: int, layers: int, mode: str, seed: int,
    is_test: bool, dx: Tensor | None, pre_state_grad: Sequence[Tensor | None], weight_grads: Sequence[Tensor | None],
) -> None:  # fmt: skip
    net = networks.network(x, weights, mode, layers, bidirectional, hidden_size)
    dropping = dropout > 0 and layers > 1 and not is_test
    if is_test:  # the forward pass kept nothing: it runs again
        reserve = b.scratch((net.reserve_size,), net.acc)
        last = [b.scratch(state.shape, net.acc) for state in pre_state]
        again = b.scratch(out.shape, net.acc)
        networks.plan_rnn(b, net, x, pre_state, weights, sequence_length, again, last, reserve, None)
    networks.plan_rnn_grad(
        b, net, x, weights, sequence_length, reserve, dropout_state if dropping else None, dout, state_grad, dx,
        pre_state_grad, weight_grads or [None] * len(weights), dropout,
    )  # fmt: skip
