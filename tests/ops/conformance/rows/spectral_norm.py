# Spectral normalisation.
from __future__ import annotations

import paddle
from conformance.draw import normal
from conformance.row import Input, row


def spectral_norm(weight, u, v, dim, power_iters, eps=1e-12):
    return paddle._C_ops.spectral_norm(weight, u, v, dim, power_iters, eps)


FIXED = Input(normal, grad=False)
WEIGHTS = [((5, 7), (5,), (7,)), ((4, 3, 3, 2), (4,), (18,)), ((33, 65), (33,), (65,)), ((2, 3), (2,), (3,))]

ROWS = [
    # The gradient is Paddle's, not the derivative. Signs of small singular vectors decide, so 16 bits are wide apart.
    row("spectral_norm", spectral_norm, normal, FIXED, FIXED, extremes="", layouts=("transposed",), finite=False, shapes=(), tolerance={"f32": 64.0, "f64": 256.0, "f16": 8.0, "bf16": 8.0}, grad_scale="tensor",
        cases=[*((s, {"dim": 0, "power_iters": n}) for s in WEIGHTS for n in (1, 3)), (((3, 4, 2), (4,), (6,)), {"dim": 1, "power_iters": 2}), (((3, 4, 2, 5), (5,), (24,)), {"dim": 3, "power_iters": 1})]),
]  # fmt: skip
