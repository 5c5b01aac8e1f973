# Spectral normalisation.
from __future__ import annotations

import paddle
from conformance.draw import normal
from conformance.row import Input, row

ROWS = [
    row("spectral_norm", lambda w, u, v, **attrs: paddle._C_ops.spectral_norm(w, u, v, attrs["dim"], attrs["power_iters"], 1e-12), normal, Input(normal, grad=False), Input(normal, grad=False),
        shapes=[], cases=[(((4, 6), (4,), (6,)), {"dim": 0, "power_iters": 2}), (((3, 5, 2, 3), (5,), (18,)), {"dim": 1, "power_iters": 1}), (((33, 70), (33,), (70,)), {"dim": 0, "power_iters": 3}), (((4, 6), (6,), (4,)), {"dim": 1, "power_iters": 0})],
        extremes="", layouts=("transposed", "strided"), finite=False, grad_tolerance={"f16": 16.0, "bf16": 16.0, "f32": 64.0, "f64": 256.0}, tolerance=16.0),
]  # fmt: skip
