# Comparisons, logic, bits, selection.
from __future__ import annotations

import numpy as np
import paddle
from conformance.draw import Input, normal, ties
from conformance.row import BROADCAST, Row, row
from paddle import _legacy_C_ops as legacy

COMPARISONS = ("less_than", "less_equal", "greater_than", "greater_equal", "equal", "not_equal")
NUMPYS = {name: name if name in ("equal", "not_equal") else name.replace("_than", "") for name in COMPARISONS}
NUMPYS |= {
    "less_than": "less",
    "greater_than": "greater",
    "less_equal": "less_equal",
    "greater_equal": "greater_equal",
}
CONDITION = Input(normal, "bool")


def raw(name: str) -> Row:
    """The kernel of old programs, whose comparisons have an axis."""
    call = getattr(legacy, name)
    return row(
        f"{name}_raw",
        lambda x, y: call(x, y, "axis", -1),
        ties,
        ties,
        shapes=BROADCAST,
        static="only old programs have it",
        special=getattr(np, NUMPYS[name]),
    )


ROWS = [
    # Paddle calls floats equal that differ by less than 1e-8; the card compares them exactly.
    *(row(name, getattr(paddle, name), ties, ties, shapes=BROADCAST, special=getattr(np, NUMPYS[name])) for name in COMPARISONS),
    *(raw(name) for name in COMPARISONS),
    *(row(f"logical_{name}", getattr(paddle, f"logical_{name}"), ties, ties, shapes=BROADCAST) for name in ("and", "or", "xor")),
    row("logical_not", paddle.logical_not, ties),
    *(
        row(f"bitwise_{name}", getattr(paddle, f"bitwise_{name}"), normal, normal, shapes=BROADCAST, inplace=getattr(paddle, f"bitwise_{name}_"))
        for name in ("and", "or", "xor")
    ),
    row("bitwise_not", paddle.bitwise_not, normal, inplace=paddle.bitwise_not_),
    row("where", paddle.where, CONDITION, normal, normal, shapes=[
            ((3, 5), (3, 5), (3, 5)), ((4, 3), (4, 3), (4, 3)), ((), (), ()), ((0,), (0,), (0,)), ((3, 1), (1, 5), (3, 5)), ((2, 3, 4), (4,), (3, 1)), ((33, 65),) * 3, ((20011,),) * 3,
        ]),
    row("isclose", paddle.isclose, ties, ties, shapes=[((3, 5),) * 2, ((7, 33),) * 2, ((),) * 2, ((0,),) * 2, ((33, 65),) * 2, ((20011,),) * 2], attrs=[{}, {"rtol": 0.5, "atol": 0.1}, {"equal_nan": True}], extremes=""),
]  # fmt: skip
