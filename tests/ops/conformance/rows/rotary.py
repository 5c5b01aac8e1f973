# Rotary position embedding; Paddle's CPU device has none, so the reference is the definition (Su et al., RoFormer, 2021).
from __future__ import annotations

import numpy as np
import paddle
from conformance.draw import below, normal
from conformance.row import Input, row

rotate = paddle.incubate.nn.functional.fused_rotary_position_embedding


def call(q, k, sin, cos, position_ids=None, **attrs):
    out = rotate(q, k, None, sin, cos, position_ids, **attrs)
    return out[:2] if k is not None else out[0]


def definition(
    q, k, sin, cos, position_ids=None, use_neox_rotary_style=True, time_major=False, rotary_emb_base=10000.0
):
    def turn(x):
        x = x.swapaxes(0, 1) if time_major else x
        places, depth = x.shape[1], x.shape[3]
        at = np.arange(places)[None] if position_ids is None else position_ids
        if sin is None:
            angle = at[..., None] * rotary_emb_base ** -(np.arange(depth) // 2 * 2 / depth)
            s, c = np.sin(angle), np.cos(angle)
        else:
            s, c = (t.reshape(-1, depth)[at] for t in (sin, cos))
        half = depth // 2
        other = np.empty_like(x)
        if use_neox_rotary_style:
            other[..., 0::2], other[..., 1::2] = -x[..., 1::2], x[..., 0::2]
        else:
            other[..., :half], other[..., half:] = -x[..., half:], x[..., :half]
        out = x * c[:, :, None] + other * s[:, :, None]
        return out.swapaxes(0, 1) if time_major else out

    return (turn(q), turn(k)) if k is not None else turn(q)


Q, K = (2, 7, 4, 10), (2, 7, 2, 10)
SIN, IDS = (9, 10), (2, 7)
STYLES = [{"use_neox_rotary_style": True}, {"use_neox_rotary_style": False}]
TABLE = Input(normal, grad=False)

ROWS = [
    row("fused_rotary_position_embedding", call, normal, normal, TABLE, TABLE, Input(below(lambda d: d.shapes[2][0]), "i64"),
        shapes=[(Q, K, SIN, SIN, IDS), (Q, None, SIN, SIN, IDS), ((1, 3, 33, 64), (1, 3, 1, 64), (5, 64), (5, 64), (1, 3)), ((0, 3, 2, 4), None, (3, 4), (3, 4), (0, 3))],
        attrs=STYLES, reference=definition, extremes=""),
    row("fused_rotary_position_embedding", call, normal, normal, TABLE, TABLE, name="rotary_by_place",
        shapes=[(Q, K, (1, 7, 1, 10), (1, 7, 1, 10)), ((3, 1, 5, 256), None, (1, 256), (1, 256))], attrs=STYLES,
        cases=[(((7, 2, 4, 10), (7, 2, 2, 10), (7, 10), (7, 10)), {"time_major": True}), ((Q, K, None, None), {}), ((Q, None, None, None), {"rotary_emb_base": 500.0})],
        reference=definition, extremes="", tolerance=2),
]  # fmt: skip
