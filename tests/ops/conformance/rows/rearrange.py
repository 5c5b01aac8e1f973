# Grids, common shapes, parts of rows, shards of ids.
from __future__ import annotations

import numpy as np
import paddle
from conformance.draw import below, normal
from conformance.row import BROADCAST, row
from paddle import _C_ops as ops

COLUMNS = [{"start": 0, "length": -1}, {"start": 1, "length": 2}, {"start": -2, "length": 1}]


def columns(x, start, length):
    start %= x.shape[1]
    return x[:, start : x.shape[1] if length < 0 else start + length]


# Paddle's CPU kernels of these two write past their results.
def concatenated(x, y, start, length):
    return np.concatenate([columns(x, start, length), columns(y, start, length)], 1)


def summed(x, y, start, length):
    return columns(x, start, length) + columns(y, start, length)


ROWS = [
    row("meshgrid", paddle.meshgrid, normal, normal, normal, shapes=[((3,), (4,), (5,)), ((1,), (7,), (1,)), ((33,), (20,), (17,)), ((), (3,), (2,))], scale="terms"),
    row("broadcast_tensors", lambda x, y: paddle.broadcast_tensors([x, y]), normal, normal, shapes=BROADCAST, scale="terms"),
    row("partial_concat", lambda x, y, start, length: ops.partial_concat([x, y], start, length), normal, normal, shapes=[(3, 5), (7, 33), (1, 3)], attrs=COLUMNS, reference=concatenated, static="Paddle has no such function for programs"),
    row("partial_sum", lambda x, y, start, length: ops.partial_sum([x, y], start, length), normal, normal, shapes=[(3, 5), (7, 33), (1, 3)], attrs=COLUMNS, reference=summed, static="Paddle has no such function for programs"),
    row("shard_index", lambda x, shard: paddle.shard_index(x, 20, 3, shard, -1), below(20), shapes=[(5, 1), (33, 1), (1, 1)], attrs=[{"shard": 0}, {"shard": 2}], extremes=""),
    row("is_empty", paddle.is_empty, normal, shapes=[(3, 5), (), (0,), (2, 0, 3)], extremes=""),
]  # fmt: skip
