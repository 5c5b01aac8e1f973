# Unpooling.
from __future__ import annotations

import numpy as np
import paddle
from conformance.draw import normal
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
ROWS = [
    row("unpool", lambda x, index: F.max_unpool2d(x, index, 2), normal, INDEX, shapes=[(2, 3, 4, 5), (1, 1, 1, 1), (3, 17, 2, 33)]),
    row("unpool3d", lambda x, index: F.max_unpool3d(x, index, 2), normal, INDEX, shapes=[(2, 3, 2, 4, 5), (1, 1, 1, 1, 1), (1, 17, 3, 2, 9)]),
]  # fmt: skip
