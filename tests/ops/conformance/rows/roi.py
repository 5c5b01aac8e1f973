# Regions of interest.
from __future__ import annotations

import numpy as np
from conformance.draw import Draw
from conformance.row import Input, row
from paddle.vision import ops


def boxes(d: Draw) -> np.ndarray:
    """Boxes that reach beyond the image here and there, at least four pixels of the feature map wide and high."""
    scale = d.attrs["spatial_scale"]
    height, width = (extent / scale for extent in d.shapes[0][2:])
    low = d.rng.uniform(-0.1, 0.5, (*d.shape[:-1], 2)) * (width, height)
    sides = 4 / scale + d.rng.uniform(0, 0.6, low.shape) * (width, height)
    return np.concatenate([low, low + sides], -1)


def counts(d: Draw) -> np.ndarray:
    """How many boxes each image has."""
    return np.bincount(d.rng.integers(0, d.shape[0], d.shapes[1][0]), minlength=d.shape[0])


INPUTS = (Input(), Input(boxes, grad=False), Input(counts, "i32"))
SHAPES = (
    ((2, 19, 30, 41), (9, 4), (2,)), ((1, 1, 9, 8), (3, 4), (1,)), ((4, 130, 9, 7), (5, 4), (4,)), ((1, 16, 5, 6), (40, 4), (1,)),
    ((2, 3, 9, 7), (0, 4), (2,)),
)  # fmt: skip
# Overlapping counts would name more boxes than there are.
VIEWS = ("transposed", "strided")
# A coordinate of a few hundred has lost that many steps before its pixel's share is computed.
FINE = {"f32": 2000.0, "f64": 8000.0, "f16": 4.0, "bf16": 4.0}


def attrs(**more: object) -> list[dict[str, object]]:
    return [
        {"output_size": size, "spatial_scale": scale, **more}
        for size, scale in ((3, 0.5), ((5, 7), 0.25), (1, 1.0))
    ]


ROWS = [
    row(
        "roi_align",
        ops.roi_align,
        *INPUTS,
        shapes=SHAPES,
        attrs=[
            *attrs(sampling_ratio=-1, aligned=True),
            *attrs(sampling_ratio=2, aligned=False),
            *attrs(sampling_ratio=-1, aligned=False),
        ],
        extremes="",
        layouts=VIEWS,
        tolerance=FINE,
    ),
    row(
        "roi_pool",
        ops.roi_pool,
        *INPUTS,
        shapes=SHAPES,
        attrs=attrs(),
        extremes="",
        layouts=VIEWS,
        finite=False,
        grad_tolerance=8.0,
    ),
    row(
        # Bins whose edges are exact in every dtype: a rounding error there would change which pixels are in.
        "psroi_pool",
        ops.psroi_pool,
        *INPUTS,
        shapes=(
            ((2, 16, 30, 41), (9, 4), (2,)),
            ((4, 272, 9, 7), (5, 4), (4,)),
            ((1, 8, 5, 6), (40, 4), (1,)),
        ),
        attrs=[{"output_size": 2, "spatial_scale": scale} for scale in (0.5, 1.0)],
        cases=[(((1, 16, 9, 9), (6, 4), (1,)), {"output_size": (2, 4), "spatial_scale": 0.25})],
        extremes="",
        layouts=VIEWS,
    ),
]
