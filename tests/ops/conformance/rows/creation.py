# Tensors from nothing, conversions, triangles.
from __future__ import annotations

from typing import Any

import paddle
from conformance.draw import Input, below, constant, normal
from conformance.dtypes import CLAIMED, NUMPY, PADDLE
from conformance.row import row
from paddle import _C_ops as ops
from paddle import _legacy_C_ops as legacy

F = paddle.nn.functional
OLD = "only old programs have it"
SQUARES = [(3, 5), (7, 33), (5, 5), (1, 1), (0, 3), (2, 3, 4, 5), (33, 65), (130, 129)]
DIAGONALS = [{"diagonal": 0}, {"diagonal": 1}, {"diagonal": -2}]


def place() -> Any:
    return paddle.framework._current_expected_place()


def of(name: str) -> Any:
    return getattr(paddle, name)


ROWS = [
    row("full", lambda shape, value, dtype: paddle.full(shape, value, dtype), typed=True, attrs=[{"shape": [3, 5], "value": 3}, {"shape": [], "value": 1}, {"shape": [0, 4], "value": 1}, {"shape": [20011], "value": 7}], inference=False),
    row("full_with_tensor", lambda x, shape: ops.full_with_tensor(x, shape, x.dtype), normal, shapes=[(1,)], attrs=[{"shape": [3, 5]}, {"shape": [33, 65]}, {"shape": []}], layouts=(), extremes=""),
    row("full_like", lambda x, value: paddle.full_like(x, value), normal, attrs=[{"value": 1}, {"value": 0}], extremes=""),
    row("full_batch_size_like", lambda x, shape: ops.full_batch_size_like(x, shape, x.dtype, 1.0, 0, 0, place()), normal, shapes=[(3, 5), (7, 33)], attrs=[{"shape": [1, 7]}, {"shape": [9, 33, 2]}], extremes="", static="the place is that of eager mode"),
    *(
        row("cast", lambda x, to: x.astype(to), normal, name=f"cast_to_{to}", inference=to not in ("bfloat16", "int16") or "Paddle Inference does not hand such tensors out", dtypes=[d for d in NUMPY if PADDLE[d] != to and d in CLAIMED["cast"]], attrs=[{"to": to}], extremes="f" if "float" in to else "", grad=("cast",) if "float" in to else False, finite=False, inplace=None, scale="element",
            shapes=[(3, 5), (7, 33), (), (0,), (33, 65), (20011,)], valid=lambda s, a: True)
        for to in ("float32", "float64", "float16", "bfloat16", "int8", "uint8", "int16", "int32", "int64", "bool")
    ),
    row("assign", paddle.assign, normal, grad=("assign",), in_program=("assign_raw",)),
    row("assign_value", lambda values, dtype: ops.assign_value_(paddle.empty([len(values)], dtype), [len(values)], of(dtype), values, place()), typed=True, attrs=[{"values": [1.0, 0.0, 3.0]}, {"values": [5.0]}], static="in place", allow={"empty": "Paddle's own empty tensor of complex numbers"}),
    row("fill", lambda x, value: ops.fill(x, value), normal, attrs=[{"value": 3.0}, {"value": -2.0}], extremes=""),
    row("arange", lambda start, end, step, dtype: paddle.arange(start, end, step, dtype), typed=True, also=(), attrs=[{"start": 0, "end": 5, "step": 1}, {"start": 3, "end": -20, "step": -2}, {"start": 0, "end": 20011, "step": 1}, {"start": 3, "end": 3, "step": 1}], without={"f16": "Paddle's arange of 16-bit floats counts in f32", "bf16": "Paddle's arange of 16-bit floats counts in f32"}, inference=False),
    row("arange_tensor", paddle.arange, Input(constant(1)), Input(constant(40)), Input(constant(3)), shapes=[((), (), ())], layouts=(), extremes="", grad=False, in_program=("arange",)),
    row("linspace", lambda start, stop, num, dtype: paddle.linspace(start, stop, num, dtype), typed=True, attrs=[{"start": 0, "stop": 5, "num": 11}, {"start": 3, "stop": -20, "num": 24}, {"start": 1, "stop": 2, "num": 1}, {"start": 0, "stop": 20010, "num": 20011}], inference=False),
    row("logspace", lambda start, stop, num, base, dtype: paddle.logspace(start, stop, num, base, dtype), typed=True, attrs=[{"start": 0, "stop": 5, "num": 11, "base": 2}, {"start": 3, "stop": 0, "num": 4, "base": 10}, {"start": 1, "stop": 2, "num": 1, "base": 3}, {"start": 0, "stop": 7, "num": 20011, "base": 3}], inference=False),
    row("eye", lambda rows, columns, dtype: paddle.eye(rows, columns, dtype), typed=True, attrs=[{"rows": 3, "columns": 5}, {"rows": 7, "columns": None}, {"rows": 130, "columns": 65}], inference=False),
    row("tril", paddle.tril, normal, shapes=SQUARES, attrs=DIAGONALS, inplace=paddle.tril_),
    row("triu", paddle.triu, normal, shapes=SQUARES, attrs=DIAGONALS, inplace=paddle.triu_),
    row("tril_triu", lambda x, diagonal, lower: legacy.tril_triu(x, "diagonal", diagonal, "lower", lower), normal, shapes=SQUARES, attrs=[{"diagonal": 1, "lower": True}, {"diagonal": -1, "lower": False}], static=OLD),
    row("one_hot", lambda x, n: F.one_hot(x, n), below(7), shapes=[(3, 5), (7, 33), (1,), (0,), (20011,)], attrs=[{"n": 7}, {"n": 33}], extremes=""),
    row("diag", paddle.diag, normal, shapes=[(5,), (7, 9), (1,), (33, 65), (129,)], attrs=[{"offset": 0}, {"offset": 2}, {"offset": -1}], extremes="f"),
    row("diag", lambda x: paddle.diag(x, padding_value=2), normal, name="diag_padded", shapes=[(5,), (33,)], extremes=""),
]  # fmt: skip
