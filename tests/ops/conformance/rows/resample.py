# Interpolation to another size.
from __future__ import annotations

import paddle
from conformance.draw import normal
from conformance.row import row

F = paddle.nn.functional
FORMATS = {3: ("NCW", "NWC"), 4: ("NCHW", "NHWC"), 5: ("NCDHW", "NDHWC")}
# Channels first and last (the same shapes, read differently), upwards, downwards, both, and to one pixel or from one.
LINES = [(2, 3, 7), (1, 1, 1), (2, 33, 20), (0, 3, 5), (3, 130, 17)]
IMAGES = [(2, 3, 7, 5), (1, 1, 1, 1), (1, 4, 1, 9), (2, 17, 6, 33), (0, 3, 5, 4), (1, 2, 130, 67)]
VOLUMES = [(1, 2, 3, 5, 4), (2, 1, 4, 6, 3), (1, 3, 1, 2, 17)]


def call(mode, align_corners=False, antialias=False):
    def interpolate(x, last=False, **a):
        return F.interpolate(
            x,
            mode=mode,
            align_corners=align_corners,
            antialias=antialias,
            data_format=FORMATS[x.ndim][last],
            **a,
        )

    return interpolate


def sizes(rank, modes=(0,)):
    """Attribute sets: sizes and factors, channels first and last."""
    given = [
        {"size": [14, 9, 5][:rank]},
        {"size": [3, 16, 7][:rank]},
        {"scale_factor": [2.0, 0.5, 1.5][:rank]},
    ]
    plain = [{**g, "align_mode": m} if m else g for g in given for m in modes]
    return [*plain, {"size": [6, 4, 2][:rank], "last": True}, {"scale_factor": 3.0, "last": True}]


def growing(shapes, attrs):
    """A factor leaves something of every extent."""
    extents = shapes[0][1:-1] if attrs.get("last") else shapes[0][2:]
    factor = attrs.get("scale_factor", 1)
    factors = factor if isinstance(factor, list) else [factor] * len(extents)
    return all(int(e * f) > 0 for e, f in zip(extents, factors, strict=True))


def interp(kernel, mode, shapes, attrs, name=None, **kwargs):
    return row(kernel, call(mode, **{k: kwargs.pop(k) for k in ("align_corners", "antialias") if k in kwargs}), normal, name=name,
               shapes=shapes, attrs=attrs, valid=growing, **kwargs)  # fmt: skip


ROWS = [
    interp("linear_interp", "linear", LINES, sizes(1, (0, 1))),
    interp("linear_interp", "linear", LINES, sizes(1), name="linear_interp_corners", align_corners=True),
    interp("bilinear_interp", "bilinear", IMAGES, sizes(2, (0, 1))),
    interp("bilinear_interp", "bilinear", IMAGES, sizes(2), name="bilinear_interp_corners", align_corners=True),
    interp("trilinear_interp", "trilinear", VOLUMES, sizes(3, (0, 1))),
    interp("trilinear_interp", "trilinear", VOLUMES, sizes(3), name="trilinear_interp_corners", align_corners=True),
    interp("nearest_interp", "nearest", [*IMAGES, *VOLUMES], [{"scale_factor": 2.0}, {"scale_factor": 1.7}, {"scale_factor": 3.0, "last": True}]),
    interp("nearest_interp", "nearest", IMAGES, sizes(2), name="nearest_interp_sizes"),
    # Extremes: sums of the largest numbers overflow or not by the order of the axes.
    interp("bicubic_interp", "bicubic", IMAGES, sizes(2), extremes=""),
    interp("bicubic_interp", "bicubic", IMAGES, sizes(2), name="bicubic_interp_corners", align_corners=True, grad_tolerance=5.0, extremes=""),
    interp("interp_antialias", "bilinear", IMAGES, sizes(2), antialias=True, extremes=""),
    interp("interp_antialias", "bicubic", IMAGES, sizes(2), name="interp_antialias_bicubic", antialias=True, extremes=""),
]  # fmt: skip
