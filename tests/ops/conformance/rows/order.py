# What follows from an order or a number.
from __future__ import annotations

import numpy as np
import paddle
from conformance.draw import below, distinct, normal, ties, uniform
from conformance.row import ALONG, Input, row, something_along

K = [{"k": 1, "axis": -1}, {"k": 3, "axis": 1}, {"k": 2, "axis": 0, "keepdim": True}]
MODES = [{"axis": -1}, {"axis": 0, "keepdim": True}, {"axis": 1}]
SHORT = [s for s in ALONG if all(n < 2000 for n in s)]
BEFORE = [
    ((7,), (5,)),
    ((1,), (3, 5)),
    ((3, 9), (3, 4)),
    ((2, 3, 33), (2, 3, 700)),
    ((20011,), (7, 3)),
    ((4,), (0,)),
]
SIDES = [{}, {"right": True}, {"out_int32": True}]


def enough(shapes, attrs):
    shape, axis = shapes[0], attrs["axis"]
    return -len(shape) <= axis < len(shape) and shape[axis] >= attrs["k"]


def somewhere(shapes, attrs):
    if isinstance(attrs["axis"], list):
        return len(shapes[0]) > 1 and 0 not in shapes[0]
    return something_along(shapes, attrs)


def rising(d):
    return np.sort(normal(d), axis=-1)


def segments(d):
    """Ascending ids, some of which do not occur."""
    return np.sort(d.rng.integers(0, 2 * d.shape[0], d.shape))


def with_nans(d):
    return np.where(d.rng.random(d.shape) < 0.3, np.nan, ties(d))


def distinct_with_nans(d):
    return np.where(d.rng.random(d.shape) < 0.3, np.nan, distinct(d))


def pooled(name):
    return getattr(paddle.geometric, f"segment_{name}")


POOLED = [((7, 5), (7,)), ((33, 65), (33,)), ((9,), (9,)), ((40, 3, 4), (40,)), ((1, 2), (1,))]
NO_MEAN = {"i32": "means of integers run on the CPU", "i64": "as i32"}
CHOSEN = [
    ((3, 5), (3, 5), (3, 1)),
    ((33, 65), (33, 65), (33, 1)),
    ((4, 2, 3), (4, 2, 3), (4, 1)),
    ((1, 1), (1, 1), (1, 1)),
]

MEDIANS = [
    {"axis": -1},
    {"axis": 0, "keepdim": True},
    {"axis": 1},
    {"axis": None},
    {"axis": -1, "mode": "min"},
]

ROWS = [
    row("median", paddle.median, distinct, shapes=SHORT, attrs=MEDIANS[:4], valid=something_along, extremes="", dtypes=("f32", "f64")),
    row("median", lambda x, **a: paddle.median(x, **a)[0], ties, name="median_lower", shapes=SHORT, attrs=MEDIANS[4:], valid=something_along, extremes="i", grad=False),
    row("nanmedian", paddle.nanmedian, distinct, shapes=SHORT, attrs=[*MEDIANS[:4], {"axis": [0, 1]}], valid=somewhere, extremes="", without={"i32": "integers have no NaN: median", "i64": "integers have no NaN: median"}),
    row("nanmedian", paddle.nanmedian, distinct_with_nans, name="nanmedian_skips", shapes=[(3, 7), (33, 65)], attrs=MEDIANS[:4], extremes="", dtypes=("f32", "f64"), finite=False),
    row("nanmedian", lambda x, **a: paddle.nanmedian(x, **a)[0], with_nans, name="nanmedian_lower", shapes=SHORT, attrs=MEDIANS[4:], valid=something_along, extremes="", grad=False, dtypes=("f32", "f64")),
    row("kthvalue", paddle.kthvalue, distinct, shapes=ALONG, attrs=K, valid=enough, extremes="", without={"f16": "Paddle's CPU has none", "bf16": "as f16"}),
    row("mode", lambda x, **a: paddle.mode(x, **a)[0], ties, shapes=SHORT, attrs=MODES, valid=something_along, extremes="i", grad=False),
    row("mode", paddle.mode, distinct, name="mode_where", shapes=SHORT, attrs=MODES, valid=something_along, extremes=""),
    row("searchsorted", paddle.searchsorted, rising, normal, shapes=BEFORE, attrs=SIDES, layouts=(), extremes=""),
    row("searchsorted", lambda s, x, **a: paddle.bucketize(x, s, **a), rising, normal, name="bucketize", shapes=[((7,), (5,)), ((1,), (3, 5)), ((300,), (33, 65))], attrs=SIDES, layouts=(), extremes=""),
    row("histogram", paddle.histogram, normal, shapes=[(7,), (3, 5), (33, 65), (20011,)], attrs=[{"bins": 10, "min": -3, "max": 3}, {"bins": 100, "min": 0, "max": 0}, {"bins": 7, "min": -1, "max": 2}, {"bins": 1}], reference=None, extremes=""),
    row("histogram", lambda x, w, density, **a: paddle.histogram(x, weight=w, density=density, **a), normal, uniform(0, 2), name="histogram_weights", shapes=[((7,), (7,)), ((33, 65), (33, 65)), ((3000,), (3000,))], attrs=[{"bins": 10, "min": -3, "max": 3, "density": d} for d in (False, True)], extremes="", tolerance=64),
    row("histogram", paddle.histogram, normal, name="histogram_density", shapes=[(7,), (33, 65)], attrs=[{"bins": 10, "min": -3, "max": 3, "density": True}, {"bins": 7, "density": True}], extremes="", tolerance=8),
    row("bincount", paddle.bincount, below(50), dtypes=("i32", "i64"), shapes=[(7,), (33,), (20011,)], attrs=[{}, {"minlength": 100}, {"minlength": 3}], extremes=""),
    row("bincount", paddle.bincount, Input(below(50), "i64"), normal, name="bincount_weights", dtypes=("f32", "f64"), shapes=[((7,), (7,)), ((33,), (33,))], extremes=""),
    row("multiplex", lambda x, y, i: paddle.multiplex([x, y], i), normal, normal, Input(below(2), "i32"), shapes=CHOSEN),
    row("scatter_nd_add", paddle.scatter_nd_add, normal, Input(below(3), "i64"), normal, name="scatter_nd_add_grad", shapes=[((3, 5), (7, 1), (7, 5)), ((3, 3, 4), (20, 2), (20, 4))], grad=["scatter_nd_add_grad"], dtypes=("f32", "f64"), extremes=""),
    *(row("segment_pool", pooled(name), normal, Input(segments, "i64"), name=f"segment_{name}", shapes=POOLED, extremes="", without={"bf16": "Paddle's CPU has none", **(NO_MEAN if name == "mean" else {})}) for name in ("sum", "mean", "max", "min")),
]  # fmt: skip
