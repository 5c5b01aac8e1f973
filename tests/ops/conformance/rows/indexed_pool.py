# Unpooling, fractional max pooling.
from __future__ import annotations

import numpy as np
import paddle
from conformance.draw import distinct, normal
from conformance.row import Input, row

F = paddle.nn.functional


def places(d):
    """Different places in the planes of the result, as max pooling gives them."""
    pixels = int(np.prod([n * 2 for n in d.shape[2:]]))
    count = int(np.prod(d.shape[2:]))
    return np.stack([d.rng.permutation(pixels)[:count] for _ in range(d.shape[0] * d.shape[1])]).reshape(
        d.shape
    )


INDEX = Input(places, "i32", grad=False)
FRACTIONS = [
    {"output_size": 3, "random_u": 0.3},
    {"output_size": [2, 4, 3], "random_u": 0.7, "kernel_size": 2},
    {"output_size": 2, "random_u": 0.99, "kernel_size": [1, 3, 2]},
]


def fractional(call):
    def pool(x, output_size, random_u, kernel_size=None, return_mask=False):
        fit = lambda v: v[: x.ndim - 2] if isinstance(v, list) else v  # noqa: E731
        return call(x, fit(output_size), fit(kernel_size), random_u, return_mask)

    return pool


ROWS = [
    row("unpool", lambda x, index: F.max_unpool2d(x, index, 2), normal, INDEX, shapes=[(2, 3, 4, 5), (1, 1, 1, 1), (3, 17, 2, 33)]),
    row("unpool3d", lambda x, index: F.max_unpool3d(x, index, 2), normal, INDEX, shapes=[(2, 3, 2, 4, 5), (1, 1, 1, 1, 1), (1, 17, 3, 2, 9)]),
    row("fractional_max_pool2d", fractional(F.fractional_max_pool2d), distinct, shapes=[(2, 3, 7, 9), (1, 17, 8, 33)], attrs=FRACTIONS),
    row("fractional_max_pool2d", fractional(F.fractional_max_pool2d), distinct, name="fractional_max_pool2d_mask", grad=False, shapes=[(2, 3, 7, 9)], attrs=[{**a, "return_mask": True} for a in FRACTIONS]),
    row("fractional_max_pool3d", fractional(F.fractional_max_pool3d), distinct, shapes=[(2, 3, 5, 7, 9), (1, 5, 6, 8, 17)], attrs=FRACTIONS),
    row("fractional_max_pool3d", fractional(F.fractional_max_pool3d), distinct, name="fractional_max_pool3d_mask", grad=False, shapes=[(2, 3, 5, 7, 9)], attrs=[{**a, "return_mask": True} for a in FRACTIONS]),
]  # fmt: skip
