# Recurrent networks: every mode, several layers, both directions, sequences of different lengths.
from __future__ import annotations

from typing import Any

import paddle
from conformance.draw import Generator, normal, uniform
from conformance.row import Input, Row, row

GATES = {"LSTM": 4, "GRU": 3, "RNN_TANH": 1, "RNN_RELU": 1}
LENGTHS: Generator = lambda d: d.rng.integers(1, d.shapes[0][0] + 1, d.shape)  # noqa: E731


def network(
    mode: str, layers: int, directions: int, *sizes: tuple[int, int, int, int], lengths: bool = False
) -> Row:
    """The row of one kind of network; sizes: (steps, batch, features, hidden)."""
    states = 2 if mode == "LSTM" else 1

    def call(x: Any, *rest: Any) -> Any:
        first, rest = list(rest[:states]), rest[states:]
        length, weights = (rest[0], rest[1:]) if lengths else (None, rest)
        dropout_state = paddle.zeros([1], "uint8")
        out, _, last = paddle._C_ops.rnn(
            x, first, list(weights), length, dropout_state, 0.0, directions == 2, x.shape[2], first[0].shape[2], layers,
            mode, 0, False,
        )  # fmt: skip
        return [out, *last]

    shapes = []
    for steps, batch, features, hidden in sizes:
        given: list[tuple[int, ...]] = [
            (steps, batch, features),
            *[(layers * directions, batch, hidden)] * states,
        ]
        given += [(batch,)] * lengths
        for layer in range(layers):
            width = features if layer == 0 else directions * hidden
            given += [(GATES[mode] * hidden, width), (GATES[mode] * hidden, hidden)] * directions
        given += [(GATES[mode] * hidden,)] * (2 * layers * directions)
        shapes.append(tuple(given))
    drawn = [normal] * (1 + states) + [Input(LENGTHS, "i32")] * lengths
    drawn += [uniform(-0.5, 0.5)] * (4 * layers * directions)
    return row(
        "rnn", call, *drawn, name="_".join(["rnn", mode, str(layers), str(directions), *(["lengths"] * lengths)]), shapes=shapes,
        extremes="", layouts=("transposed", "strided"), grad_scale="tensor", tolerance=10.0,
        static="the state of the dropout is a variable of the layer", inference="the state of the dropout is a variable of the layer",
    )  # fmt: skip


SIZES = [(4, 3, 5, 6), (1, 1, 1, 1), (5, 18, 7, 33), (3, 2, 70, 80)]

ROWS = [
    *(network(mode, 1, 1, *SIZES) for mode in GATES),
    *(network(mode, 1, 1, SIZES[0], SIZES[2], lengths=True) for mode in GATES),
    network("LSTM", 2, 2, SIZES[0], SIZES[2]),
    network("GRU", 3, 1, SIZES[0], SIZES[2]),
    network("RNN_TANH", 2, 2, SIZES[0], SIZES[2]),
]
