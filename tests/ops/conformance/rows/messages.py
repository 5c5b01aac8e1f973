# Messages on graphs.
from __future__ import annotations

from typing import Any

import paddle
from conformance.draw import below, distinct, normal, ties
from conformance.row import Input, row

NODE = Input(below(lambda d: d.shapes[0][0]), "i64")
EDGE = Input(below(lambda d: d.shapes[0][0]), "i32")


def pooled(*names: str) -> list[dict[str, Any]]:
    return [{"how": name} for name in names]


def between(*names: str) -> list[dict[str, Any]]:
    return [{"message": m, "how": name} for m in ("add", "sub", "mul", "div") for name in names]


SENT = [
    ((5, 7), (9,), (9,)),
    ((33, 65), (300,), (300,)),
    ((4, 2, 3), (20,), (20,)),
    ((7,), (12,), (12,)),
    ((9, 1030), (40,), (40,)),
]
MIXED = [
    ((5, 7), (9, 7), (9,), (9,)),
    ((33, 65), (300, 1), (300,), (300,)),
    ((5, 1), (9, 7), (9,), (9,)),
    ((4, 2, 3), (20, 1, 3), (20,), (20,)),
    ((7,), (12,), (12,), (12,)),
]
NO_MEAN = {"i32": "means of integers differ in their rounding", "i64": "as i32"}
# Where one node receives hundreds of messages, one after the other.
SUMS = {"f32": 64.0}
ends = paddle.geometric


def u_recv(x, source, target, how, **more):
    return ends.send_u_recv(x, source, target, reduce_op=how, **more)


def ue_recv(x, y, source, target, message, how, **more):
    return ends.send_ue_recv(x, y, source, target, message_op=message, reduce_op=how, **more)


ROWS = [
    row("send_u_recv", u_recv, normal, NODE, NODE, shapes=SENT, attrs=[*pooled("sum"), {"how": "sum", "out_size": 40}], valid=lambda s, a: True, scale="terms", extremes="", tolerance=SUMS),
    row("send_u_recv", u_recv, normal, EDGE, EDGE, name="send_u_recv_mean", shapes=SENT, attrs=pooled("mean"), scale="terms", extremes="", tolerance=SUMS, without=NO_MEAN),
    row("send_u_recv", u_recv, distinct, NODE, NODE, name="send_u_recv_extreme", shapes=SENT, attrs=pooled("max", "min"), extremes="", tolerance=SUMS, finite=False),
    row("send_ue_recv", ue_recv, normal, normal, NODE, NODE, shapes=MIXED, attrs=between("sum")[:3], extremes="", tolerance=SUMS),
    row("send_ue_recv", ue_recv, normal, normal, EDGE, EDGE, name="send_ue_recv_mean", shapes=MIXED, attrs=between("mean")[:3], extremes="", tolerance=SUMS, without=NO_MEAN),
    row("send_ue_recv", ue_recv, ties, ties, NODE, NODE, name="send_ue_recv_extreme", shapes=MIXED, attrs=[*between("max")[:3], *between("min")[:3]], extremes="", tolerance=SUMS, finite=False),
    row("send_uv", lambda x, y, source, target, message: ends.send_uv(x, y, source, target, message_op=message), normal, normal, NODE, NODE,
        shapes=[((5, 7), (5, 7), (9,), (9,)), ((33, 65), (33, 1), (300,), (300,)), ((4, 1, 3), (4, 2, 3), (20,), (20,)), ((7,), (7,), (12,), (12,))], attrs=[{"message": m} for m in ("add", "sub", "mul")], extremes="", tolerance=SUMS),
]  # fmt: skip
