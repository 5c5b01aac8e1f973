# Matrix products.
from __future__ import annotations

import paddle
from conformance.draw import normal
from conformance.row import row

ROWS = [
    row("matmul", lambda x, y, transpose_x=False, transpose_y=False: paddle.matmul(x, y, transpose_x, transpose_y), normal, normal,
        scale="terms", extremes="", shapes=[((3, 5), (5, 4)), ((7,), (7,)), ((3, 5), (5,)), ((5,), (5, 4)), ((2, 3, 5), (5, 4)), ((2, 1, 3, 5), (1, 4, 5, 6)), ((0, 5), (5, 4)), ((3, 0), (0, 4)), ((65, 129), (129, 33)), ((1, 1), (1, 1))],
        cases=[(((5, 3), (5, 4)), {"transpose_x": True}), (((3, 5), (4, 5)), {"transpose_y": True}), (((2, 5, 3), (2, 4, 5)), {"transpose_x": True, "transpose_y": True})]),
]  # fmt: skip
