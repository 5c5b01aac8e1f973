# Matrix products.
from __future__ import annotations

import paddle
from conformance.draw import normal
from conformance.row import row
from paddle import _legacy_C_ops as legacy

PRODUCTS = [
    ((3, 5), (5, 4)), ((7,), (7,)), ((3, 5), (5,)), ((5,), (5, 4)), ((2, 3, 5), (5, 4)), ((2, 1, 3, 5), (1, 4, 5, 6)), ((0, 5), (5, 4)),
    ((3, 0), (0, 4)), ((1, 1), (1, 1)), ((65, 129), (129, 33)), ((3, 17, 40), (3, 40, 19)), ((130, 257), (257, 131)),
]  # fmt: skip
TRANSPOSED = [
    (((5, 3), (5, 4)), {"transpose_x": True}), (((3, 5), (4, 5)), {"transpose_y": True}), (((2, 5, 3), (2, 4, 5)), {"transpose_x": True, "transpose_y": True}),
    (((129, 65), (129, 33)), {"transpose_x": True}), (((65, 129), (33, 129)), {"transpose_y": True}),
]  # fmt: skip

ROWS = [
    row("matmul", lambda x, y, transpose_x=False, transpose_y=False: paddle.matmul(x, y, transpose_x, transpose_y), normal, normal,
        scale="terms", extremes="", tolerance=3.0, shapes=PRODUCTS, cases=TRANSPOSED),
    # Paddle has no gradient of these.
    row("matmul", paddle.matmul, normal, normal, name="matmul_ranks", scale="terms", extremes="", tolerance=3.0, grad=False, shapes=[((2, 1, 3, 5), (4, 5, 6)), ((4, 3, 5), (2, 1, 5, 6)), ((2, 3, 1, 3, 5), (1, 4, 5, 6))]),
    row("matmul_with_flatten", lambda x, y, x_num_col_dims, y_num_col_dims: legacy.mul(x, y, "x_num_col_dims", x_num_col_dims, "y_num_col_dims", y_num_col_dims), normal, normal, static="only old programs have it", scale="terms", extremes="",
        cases=[(((3, 5), (5, 4)), {"x_num_col_dims": 1, "y_num_col_dims": 1}), (((2, 3, 5), (5, 4)), {"x_num_col_dims": 2, "y_num_col_dims": 1}), (((3, 2, 5), (2, 5, 4)), {"x_num_col_dims": 1, "y_num_col_dims": 2}),
               (((17, 33), (33, 65)), {"x_num_col_dims": 1, "y_num_col_dims": 1})], shapes=[]),
    row("bmm", paddle.bmm, normal, normal, scale="terms", extremes="", shapes=[((2, 3, 5), (2, 5, 4)), ((3, 17, 40), (3, 40, 19)), ((1, 1, 1), (1, 1, 1)), ((0, 3, 5), (0, 5, 4)), ((5, 65, 33), (5, 33, 7))]),
    row("mv", paddle.mv, normal, normal, scale="terms", extremes="", shapes=[((3, 5), (5,)), ((65, 129), (129,)), ((1, 1), (1,)), ((33, 1025), (1025,))]),
    row("dot", paddle.dot, normal, normal, scale="terms", extremes="", shapes=[((5,), (5,)), ((3, 7), (3, 7)), ((1,), (1,)), ((20011,), (20011,)), ((17, 129), (17, 129))]),
    row("addmm", paddle.addmm, normal, normal, normal, scale="terms", extremes="", shapes=[((3, 4), (3, 5), (5, 4)), ((1, 4), (3, 5), (5, 4)), ((4,), (3, 5), (5, 4)), ((65, 33), (65, 129), (129, 33))],
        attrs=[{}, {"alpha": 2.0, "beta": 0.5}, {"beta": 0.0}]),
]  # fmt: skip
