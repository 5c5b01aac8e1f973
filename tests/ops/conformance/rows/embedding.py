# Embedding.
from __future__ import annotations

import paddle
from conformance.draw import Input, below, normal
from conformance.row import row

F = paddle.nn.functional
ROWS = [
    row("embedding", lambda index, weight, **a: F.embedding(index, weight, **a), Input(below(lambda d: d.shapes[1][0]), "i64"), normal,
        shapes=[((3, 4), (7, 5)), ((5,), (9, 33)), ((2, 3, 4), (3, 1)), ((0, 3), (7, 5)), ((300,), (11, 65))], attrs=[{}, {"padding_idx": 1}, {"padding_idx": -1}]),
    row("embedding", lambda index, weight: F.embedding(index, weight), Input(below(lambda d: d.shapes[1][0]), "i32"), normal, name="embedding_i32", shapes=[((3, 4), (7, 5)), ((300,), (11, 65))], scale="terms", extremes=""),
]  # fmt: skip
