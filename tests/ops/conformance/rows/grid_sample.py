# Sampling at grids, affine grids.
from __future__ import annotations

import paddle
from conformance.draw import normal, uniform
from conformance.row import row

F = paddle.nn.functional
HOW = [
    {"mode": m, "padding_mode": p, "align_corners": a}
    for m in ("bilinear", "nearest")
    for p in ("zeros", "border", "reflection")
    for a in (True, False)
]
IMAGES = [
    ((2, 3, 5, 7), (2, 4, 6, 2)),
    ((1, 1, 1, 3), (1, 1, 1, 2)),
    ((3, 33, 6, 4), (3, 5, 9, 2)),
    ((1, 5, 40, 30), (1, 33, 21, 2)),
]
VOLUMES = [((2, 3, 4, 5, 7), (2, 3, 4, 6, 3)), ((1, 17, 1, 3, 2), (1, 2, 5, 3, 3))]
# An error of a position, which is counted in pixels, is multiplied by the steps between them.
POSITIONS = {"f32": 160.0, "f64": 192.0, "f16": 12.0, "bf16": 12.0}
# Positions beyond the borders too. 16-bit positions lie on a coarse raster, on which rounding decides between neighbours.
BEYOND = uniform(-1.7, 1.7)


def sample(x, grid, **a):
    return F.grid_sample(x, grid, **a)


def affine(theta, out_shape, align_corners):
    return F.affine_grid(theta, out_shape, align_corners)


ROWS = [
    row("grid_sample", sample, normal, BEYOND, shapes=[*IMAGES, *VOLUMES], attrs=HOW, extremes="", layouts=("strided",),
        without={"f16": "row grid_sample_16_bits", "bf16": "row grid_sample_16_bits"}, finite=False, scale=1.0, tolerance=POSITIONS),
    row("grid_sample", sample, normal, BEYOND, name="grid_sample_16_bits", shapes=[IMAGES[0], IMAGES[2], VOLUMES[0]], attrs=HOW[:6], dtypes=("f16", "bf16"),
        extremes="", layouts=("strided",), finite=False, scale=1.0, tolerance=POSITIONS),
    row("affine_grid", affine, normal, extremes="", layouts=("strided", "transposed"), shapes=(), scale=1.0, static="Paddle leaves the size of the grid open in programs",
        cases=[(((n, 2, 3),), {"out_shape": [n, 3, h, w], "align_corners": c}) for n, h, w in ((2, 5, 7), (1, 2, 2), (3, 33, 65)) for c in (True, False)]
        + [(((n, 3, 4),), {"out_shape": [n, 3, d, h, w], "align_corners": c}) for n, d, h, w in ((2, 3, 5, 7), (1, 9, 17, 33)) for c in (True, False)]),
]  # fmt: skip
