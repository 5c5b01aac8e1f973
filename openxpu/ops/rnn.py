# Recurrent networks: several layers, both directions, dropout between layers, sequences of different lengths.
"""The input's part of all gates of all time steps is one product, the recurrence of a layer one launch for both
directions, and the gradients of the weights are products over all steps again. What the backward pass needs is the
reserve: for each layer the activated gates, the states and the cells of both directions, and the inputs of all
layers but the first. 16-bit floats are computed in f32 throughout."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from openxpu.ops.creation import plan_cast, plan_full
from openxpu.ops.matmul import plan_product
from openxpu.ops.plan import I64, PlanBuilder, Tensor, Unsupported, dtype_constexpr
from openxpu.ops.random import plan_dropout, plan_dropout_grad
from openxpu.ops.reduce import accumulation_dtype, plan_sum

GATES = {"LSTM": 4, "GRU": 3, "RNN_TANH": 1, "RNN_RELU": 1}


@dataclass(frozen=True)
class Network:
    """A recurrent network on inputs [steps, batch, features]."""

    mode: str
    layers: int
    directions: int
    hidden: int
    steps: int
    batch: int
    dtype: str

    @property
    def acc(self) -> str:
        return accumulation_dtype(self.dtype)

    @property
    def gates(self) -> int:
        return GATES[self.mode]

    @property
    def width(self) -> int:
        """Of a layer's output."""
        return self.directions * self.hidden

    @property
    def gates_size(self) -> int:
        """Elements of the gates of one layer and direction."""
        return self.steps * self.batch * self.gates * self.hidden

    @property
    def states_size(self) -> int:
        return (self.steps + 1) * self.batch * self.hidden

    @property
    def cells_size(self) -> int:
        return {"LSTM": self.states_size, "GRU": self.steps * self.batch * self.hidden}.get(self.mode, 0)

    @property
    def layer_size(self) -> int:
        return self.directions * (self.gates_size + self.states_size + self.cells_size)

    @property
    def inner_size(self) -> int:
        """Elements between two layers."""
        return self.steps * self.batch * self.width

    @property
    def reserve_size(self) -> int:
        return self.layers * self.layer_size + (self.layers - 1) * self.inner_size

    def parts(self, reserve: Tensor, layer: int) -> tuple[Tensor, Tensor, Tensor]:
        """Gates, states and cells of a layer."""
        at, d = layer * self.layer_size, self.directions
        rows, n = self.steps * self.batch, self.hidden
        gates = reserve.view((d, rows, self.gates * n), offset=at)
        at += d * self.gates_size
        states = reserve.view((d, self.steps + 1, self.batch, n), offset=at)
        return gates, states, reserve.view((d, self.cells_size), offset=at + d * self.states_size)

    def inner(self, reserve: Tensor, layer: int) -> Tensor:
        """The input of layer 1, 2, ..."""
        at = self.layers * self.layer_size + (layer - 1) * self.inner_size
        return reserve.view((self.steps * self.batch, self.width), offset=at)

    def tiles(self) -> tuple[int, dict[str, Any]]:
        """Tiles of the batch, and constexprs: few rows a program, so that there is work for several workers."""
        rows = next(n for n in (16, 32, 64) if n >= self.batch / 4 or n == 64)
        columns = 16 if self.hidden <= 16 else 64
        depth = 32 if self.hidden <= 32 else 256
        flags = {"MODE": self.mode, "ACC": dtype_constexpr(self.acc), "BM": rows, "BN": columns, "BK": depth}
        return -(-self.batch // rows), flags


def network(
    x: Tensor, weights: Sequence[Tensor], mode: str, layers: int, bidirectional: bool, hidden: int
) -> Network:
    """Checks and collects."""
    directions = 2 if bidirectional else 1
    if mode not in GATES:
        raise Unsupported(f"a recurrent network is one of {', '.join(GATES)}, found {mode}.")
    if len(weights) != 4 * layers * directions:
        raise Unsupported(
            f"{layers} layers in {directions} directions want {4 * layers * directions} weights and biases, found {len(weights)}."
        )
    if any(w.dtype != x.dtype for w in weights):
        raise Unsupported(
            f"a recurrent network wants weights of the input's dtype {x.dtype}, found {weights[0].dtype}."
        )
    return Network(mode, layers, directions, hidden, x.shape[0], x.shape[1], x.dtype)


def _as(b: PlanBuilder, x: Tensor, dtype: str) -> Tensor:
    """x without gaps, in another dtype."""
    if x.dtype == dtype and x.contiguous:
        return x
    out = b.scratch(x.shape, dtype)
    plan_cast(b, x, out)
    return out


def _layer_weights(net: Network, weights: Sequence[Any], layer: int) -> list[tuple[Any, Any, Any, Any]]:
    """(input weights, state weights, input bias, state bias) for each direction: Paddle lists all weights, then all biases."""
    d = net.directions
    biases = 2 * d * net.layers
    firsts = [2 * (layer * d + i) for i in range(d)]
    return [(weights[i], weights[i + 1], weights[biases + i], weights[biases + i + 1]) for i in firsts]


def _mask(net: Network, masks: Tensor, layer: int) -> Tensor:
    """Which elements between layer - 1 and layer are kept."""
    return masks.view((net.steps * net.batch, net.width), offset=(layer - 1) * net.inner_size)


def plan_rnn(
    b: PlanBuilder,
    net: Network,
    x: Tensor,
    states: Sequence[Tensor],
    weights: Sequence[Tensor],
    lengths: Tensor | None,
    out: Tensor,
    last: Sequence[Tensor],
    reserve: Tensor | None,
    masks: Tensor | None,
    dropout: float = 0.0,
    seed: int = 0,
) -> None:
    """x [steps, batch, features], states (h and c) [layers * directions, batch, hidden], out [steps, batch, directions *
    hidden]. reserve: see above, None outside of training. masks: u8, of the elements between the layers; None: no dropout."""
    if out.numel == 0:
        return
    states = [_as(b, state, state.dtype) for state in states]
    acc, n, d = net.acc, net.hidden, net.directions
    if reserve is None:
        reserve = b.scratch((net.reserve_size,), acc)
    rows = net.steps * net.batch
    layer_in = _as(b, x, acc).reshape(rows, x.shape[2])
    tiles, flags = net.tiles()
    for layer in range(net.layers):
        gates, hs, cells = net.parts(reserve, layer)
        w = b.scratch((d, n, net.gates * n), acc)
        bias = b.scratch((d, net.gates * n), acc)
        for i, (w_in, w_state, b_in, b_state) in enumerate(_layer_weights(net, weights, layer)):
            plan_product(
                b, layer_in, _as(b, w_in, acc).permute(1, 0), gates.view((rows, net.gates * n), offset=i * net.gates_size),
                _as(b, b_in, acc).reshape(1, net.gates * n),
            )  # fmt: skip
            plan_cast(b, w_state.permute(1, 0), w.view((n, net.gates * n), offset=i * n * net.gates * n))
            plan_cast(b, b_state, bias.view((net.gates * n,), offset=i * net.gates * n))
        final = layer == net.layers - 1
        dropping = masks is not None and not final
        y = out.reshape(rows, net.width) if final else net.inner(reserve, layer + 1)
        raw = b.scratch((rows, net.width), acc) if dropping else y
        place = layer * d * net.batch * n
        first = [s.view((d, net.batch, n), offset=place) for s in (*states, *states)[:2]]
        end = [s.view((d, net.batch, n), offset=place) for s in (*last, *last)[:2]]
        b.launch(
            "rnn.recurrence", (tiles, d), gates, w, bias, *first, lengths, hs, cells, raw, *end,
            net.steps, net.batch, n, I64(net.batch * net.width), net.width,
            I64(net.gates_size), I64(net.states_size), I64(net.cells_size),
            cost=2 * rows * n * n * net.gates * d,
            LENGTHS=lengths is not None, **flags,
        )  # fmt: skip
        if dropping and masks is not None:
            plan_dropout(b, raw, y, _mask(net, masks, layer + 1), dropout, seed=seed)
        layer_in = y


def _write(b: PlanBuilder, out: Tensor, acc: str, plan: Callable[[Tensor], None]) -> None:
    """What `plan` computes in acc, in out's dtype."""
    if out.dtype == acc:
        plan(out)
        return
    wide = b.scratch(out.shape, acc)
    plan(wide)
    plan_cast(b, wide, out)


def plan_rnn_grad(
    b: PlanBuilder,
    net: Network,
    x: Tensor,
    weights: Sequence[Tensor],
    lengths: Tensor | None,
    reserve: Tensor,
    masks: Tensor | None,
    dout: Tensor,
    dlast: Sequence[Tensor | None],
    dx: Tensor | None,
    dstates: Sequence[Tensor | None],
    dweights: Sequence[Tensor | None],
    dropout: float = 0.0,
) -> None:
    """Gradients of `plan_rnn` with respect to the input, the initial states and the weights; each may be left out."""
    if dout.numel == 0:
        for gradient in (dx, *dstates, *dweights):
            if gradient is not None:
                b.zero(gradient)
        return
    acc, n, d = net.acc, net.hidden, net.directions
    rows, size = net.steps * net.batch, net.gates * n
    tiles, flags = net.tiles()
    above = _as(b, dout, dout.dtype).reshape(rows, net.width)
    wide_x = _as(b, x, acc).reshape(rows, x.shape[2])
    dx_gates = b.scratch((d, rows, size), acc)
    dh_gates = b.scratch((d, rows, size), acc) if net.mode == "GRU" else dx_gates
    carried = [b.scratch((d, net.batch, n), acc) for _ in (*dlast, *dlast)[:2]]
    for layer in reversed(range(net.layers)):
        gates, hs, cells = net.parts(reserve, layer)
        place = layer * d * net.batch * n
        for buffer, given in zip(carried, dlast, strict=False):
            if given is None:
                plan_full(b, buffer, 0.0)
            else:
                plan_cast(b, _as(b, given, acc).view(buffer.shape, offset=place), buffer)
        w = b.scratch((d, size, n), acc)
        own, own_gradients = _layer_weights(net, weights, layer), _layer_weights(net, dweights, layer)
        for i in range(d):
            plan_cast(b, own[i][1], w.view((size, n), offset=i * size * n))
        b.launch(
            "rnn.recurrence_grad", (tiles, d), gates, w, hs, cells, lengths, above, dx_gates, dh_gates, *carried,
            net.steps, net.batch, n, I64(net.batch * net.width), net.width,
            I64(net.gates_size), I64(net.states_size), I64(net.cells_size),
            cost=2 * rows * n * n * net.gates * d,
            LENGTHS=lengths is not None, **flags,
        )  # fmt: skip
        for buffer, target in zip(carried, dstates, strict=False):
            if target is not None:
                plan_cast(b, buffer, target.view(buffer.shape, offset=place))
        layer_in = wide_x if layer == 0 else net.inner(reserve, layer)
        below = None
        if layer > 0:
            below = b.scratch((rows, net.width), acc)
        elif dx is not None:
            flat = dx.reshape(rows, dx.shape[2])
            below = flat if d == 1 or dx.dtype == acc else b.scratch(flat.shape, acc)
        for i in range(d):
            of_input = dx_gates.view((rows, size), offset=i * net.gates_size)
            of_state = dh_gates.view((rows, size), offset=i * net.gates_size)
            before = hs.view((rows, n), offset=i * net.states_size + i * net.batch * n)
            if below is not None:
                plan_product(b, of_input, _as(b, own[i][0], acc), below, below if i else None)
            dw_in, dw_state, db_in, db_state = own_gradients[i]
            if dw_in is not None:
                plan_product(b, of_input.permute(1, 0), layer_in, dw_in)
            if dw_state is not None:
                plan_product(b, of_state.permute(1, 0), before, dw_state)
            for bias, source in ((db_in, of_input), (db_state, of_state)):
                if bias is not None:
                    _write(b, bias, acc, lambda wide, source=source: plan_sum(b, source, wide, (0,)))  # type: ignore[misc]
        if layer == 0 and below is not None and dx is not None and below.slot != dx.slot:
            plan_cast(b, below, dx.reshape(rows, dx.shape[2]))
        if layer > 0 and below is not None:
            above = below
            if masks is not None:
                above = b.scratch(below.shape, acc)
                plan_dropout_grad(b, _mask(net, masks, layer), below, above, dropout)
