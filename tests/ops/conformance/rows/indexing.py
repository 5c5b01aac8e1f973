# Indexing by tensors, in eager mode (index_elementwise_*) and as index_put.
from __future__ import annotations

import paddle
from conformance.draw import below, normal
from conformance.row import Input, row


def dimension(d):
    """The indexed dimension's extent; an index counts from either end."""
    return d.shapes[0][d.attrs.get("axis", 0)]


def either_end(d):
    extent = dimension(d)
    return d.rng.integers(-extent, extent, d.shape)


def smallest(d):
    return min(d.shapes[0])


def along(x, index, axis):
    return x[(slice(None),) * axis + (index,)]


def put_along(x, index, *value, axis):
    y = x * 1 if x.dtype != paddle.bool else x.clone()
    y[(slice(None),) * axis + (index,)] = value[0] if value else 2
    return y


EAGER = "programs index by other kernels"
DENSE = {"static": EAGER, "inference": EAGER, "layouts": ()}  # views are indexed by gather_nd
AXES = [
    ((6, 7, 8), (5,), 0),
    ((6, 7, 8), (5,), 1),
    ((6, 7, 8), (2, 3), 2),
    ((6,), (4,), 0),
    ((33, 65), (40,), 1),
    ((9, 3), (1,), 0),
    ((6, 7), (0,), 1),
    ((70, 300), (1000,), 0),
]
NO_MULTIPLY = {"f16": "Paddle's CPU has no product", "i16": "as f16", "i8": "as f16", "u8": "as f16"}


def put_shapes(shapes, axis):
    x, index = shapes
    return x, index, (*x[:axis], *index, *x[axis + 1 :])


ROWS = [
    row("index_elementwise_get", along, normal, Input(either_end, "i64"), shapes=[], cases=[((x, i), {"axis": a}) for x, i, a in AXES], **DENSE),
    row("index_elementwise_get", lambda x, i, j: x[i, j], normal, Input(below(smallest), "i64"), Input(below(smallest), "i64"), name="get_pairs", shapes=[((6, 7, 8), (5,), (3, 5)), ((6, 7), (4, 1), (3,)), ((6, 7, 8, 2), (50,), (50,))], **DENSE),
    row("index_elementwise_get", lambda x, i: x[1:, 2:6, i], normal, Input(below(smallest), "i64"), name="get_in_slice", shapes=[((6, 7, 8), (5,)), ((3, 9, 4), (70,))], **DENSE),
    row("index_elementwise_put", put_along, normal, Input(either_end, "i64"), shapes=[], cases=[((x, i), {"axis": a}) for x, i, a in AXES if 0 not in i], without=NO_MULTIPLY, static=EAGER, inference=EAGER),
    row("index_elementwise_put_with_tensor", put_along, normal, Input(below(dimension), "i64"), normal, shapes=[], cases=[(put_shapes((x, i), a), {"axis": a}) for x, i, a in AXES if i[0] == 1] + [(((6, 7, 8), (5,), (8,)), {"axis": 1}), (((6, 7, 8), (1, 2), (1, 2, 8)), {"axis": 1}), (((60, 7), (2,), (1,)), {"axis": 1})], without=NO_MULTIPLY, static=EAGER, inference=EAGER, grad=False),
    row("index_put", lambda x, i, j, v, **a: paddle.index_put(x, (i, j), v, **a), normal, Input(below(smallest), "i64"), Input(below(smallest), "i64"), normal, attrs=[{}, {"accumulate": True}], shapes=[((6, 7, 8), (1,), (1,), (1, 8)), ((6, 7), (1,), (1,), (1,))], cases=[(((6, 7, 8), (5,), (3, 5), (8,)), {"accumulate": True}), (((6, 7), (40,), (40,), (40,)), {"accumulate": True})], extremes=""),
]  # fmt: skip
