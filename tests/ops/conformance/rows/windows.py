# Sliding windows as columns and back.
from __future__ import annotations

import paddle
from conformance.draw import normal
from conformance.row import row

F = paddle.nn.functional
IMAGES = [(2, 3, 7, 9), (1, 1, 5, 5), (2, 4, 6, 33), (1, 2, 40, 301)]
HOW = [
    {"kernel_sizes": 3},
    {"kernel_sizes": [2, 3], "strides": 2, "paddings": 1},
    {"kernel_sizes": 3, "strides": [1, 2], "paddings": [1, 0, 2, 1], "dilations": [2, 1]},
    {"kernel_sizes": [1, 5], "strides": [3, 4]},
]


def columns(shape, kernel_sizes, strides=1, paddings=0, dilations=1):
    """The shape of an image's windows."""
    pair = lambda v: [v, v] if isinstance(v, int) else v  # noqa: E731
    kernel, stride, dilation, pad = pair(kernel_sizes), pair(strides), pair(dilations), pair(paddings)
    pad = pad if len(pad) == 4 else [*pad, *pad]
    counts = [
        (shape[2 + d] + pad[d] + pad[d + 2] - dilation[d] * (kernel[d] - 1) - 1) // stride[d] + 1
        for d in (0, 1)
    ]
    return (shape[0], shape[1] * kernel[0] * kernel[1], counts[0] * counts[1])  # fmt: skip


ROWS = [
    row("unfold", F.unfold, normal, shapes=IMAGES, attrs=HOW),
    row("fold", F.fold, normal, shapes=(), cases=[((columns(s, **a),), {"output_sizes": list(s[2:]), **a}) for s in IMAGES for a in HOW], extremes=""),
]  # fmt: skip
