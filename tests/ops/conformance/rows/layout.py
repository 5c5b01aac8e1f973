# Data movement: joining, cutting, repeating, gathering, scattering, running sums.
from __future__ import annotations

from typing import Any

import numpy as np
import paddle
from conformance.draw import Draw, Input, below, nonzero, normal, permutation, uniform
from conformance.row import ALONG, row
from paddle import _C_ops as ops

F = paddle.nn.functional
OLD = "only old programs have it"
NOT_ON_CPU = dict.fromkeys(
    ("c64", "c128"), "Paddle's CPU device has no kernel; compared with NumPy in a row of its own"
)
EAGER = "a call of eager mode"
INDEX = Input(below(lambda d: d.shapes[0][d.attrs.get("axis", 0)]), "i64")
INDEX32 = Input(below(lambda d: d.shapes[0][d.attrs.get("axis", 0)]), "i32")
# Where one element receives hundreds of others, one after the other.
SUMS = {"f32": 64.0, "f16": 8.0, "bf16": 8.0}
AXES = [{"axis": -1}, {"axis": 0}, {"axis": 1}]


def reversed_axes(x: Any) -> list[int]:
    return list(range(x.ndim))[::-1]


def into_view(x: Any) -> Any:
    """x copied into a transposed view of zeros."""
    base = paddle.empty([x.shape[i] for i in reversed_axes(x)], x.dtype)
    base.transpose(reversed_axes(x)).copy_(x, True)
    return base


def everywhere(d: Draw) -> np.ndarray:
    """Index tuples for gather_nd: as many coordinates as the last dimension says."""
    shape = d.shapes[0]
    parts = [d.rng.integers(0, shape[i], (*d.shape[:-1], 1)) for i in range(d.shape[-1])]
    return np.concatenate(parts, -1) if parts else np.zeros(d.shape, np.int64)


def apart(shapes: Any, attrs: dict[str, Any]) -> bool:
    """The axis exists in the first input and is divided by 'parts'."""
    rank, axis = len(shapes[0]), attrs["axis"]
    return (
        -rank <= axis < rank
        and shapes[0][axis] % attrs.get("num", 1) == 0
        and shapes[0][axis] >= sum(max(n, 0) for n in attrs.get("sections", [0])) + 1
    )


PAIRS = [
    ((3, 5), (3, 2)),
    ((4, 7, 2), (4, 1, 2)),
    ((7,), (3,)),
    ((3, 0), (3, 2)),
    ((33, 65), (33, 7)),
    ((2, 20011), (2, 3)),
]


def put_along(x, index, values, axis, reduce, include_self):
    return paddle.put_along_axis(x, index, values, axis, reduce, include_self, broadcast=False)


ROWS = [
    row("contiguous", lambda x: x.transpose(reversed_axes(x)).contiguous(), normal, shapes=[(3, 5), (7, 33), (2, 3, 4, 5), (33, 65), (129, 257), (5, 4099)], grad=False, static=EAGER, extremes="f", layouts=("strided", "overlapping")),
    row("strided_copy", into_view, normal, allow={"empty": "Paddle's own empty tensor of complex numbers"}, shapes=[(3, 5), (7, 33), (2, 3, 4, 5), (33, 65), (129, 257), (5, 4099)], grad=False, static=EAGER,
        without={"f8e4m3": "Paddle has no empty tensors of 8-bit floats", "f8e5m2": "Paddle has no empty tensors of 8-bit floats"}),
    row("transpose", lambda x, perm: paddle.transpose(x, perm[: x.ndim]), normal, shapes=[(3, 5), (7, 33), (2, 3), (0, 3), (33, 65), (129, 257)], attrs=[{"perm": [1, 0]}], view=True),
    row("transpose", paddle.transpose, normal, name="transpose_4d", shapes=[(2, 3, 4, 5), (3, 1, 33, 17), (5, 64, 3, 65)], attrs=[{"perm": [0, 2, 1, 3]}, {"perm": [3, 2, 1, 0]}, {"perm": [0, 3, 1, 2]}, {"perm": [0, 1, 2, 3]}], view=True),
    row("concat", lambda x, y, axis: paddle.concat([x, y, x], axis), normal, normal, shapes=PAIRS, attrs=[{"axis": -1}, {"axis": 1}],
        valid=lambda s, a: len(s[0]) > 1 + (a["axis"] - 1 if a["axis"] > 0 else -1) and all(m == n for i, (m, n) in enumerate(zip(*s, strict=True)) if i != a["axis"] % len(s[0]))),
    row("split", lambda x, axis, sections: paddle.split(x, sections, axis), normal, shapes=ALONG, attrs=[{"axis": -1, "sections": [2, 3, -1]}, {"axis": 0, "sections": [1, -1]}, {"axis": 1, "sections": [1, 2, -1]}], valid=apart, view=True, grad=("concat",)),
    row("split_with_num", lambda x, axis, num: paddle.split(x, num, axis), normal, shapes=[(4, 6), (6, 33), (6,), (2, 6, 3), (12, 65), (2, 4098)], attrs=[{"axis": -1, "num": 3}, {"axis": 0, "num": 2}, {"axis": 1, "num": 3}], valid=apart, view=True, grad=("concat",), without=NOT_ON_CPU),
    row("split_with_num", lambda x, axis, num: paddle.split(x, num, axis), normal, name="split_with_num_complex", inference="Paddle Inference has no complex tensors", dtypes=("c64", "c128"), shapes=[(4, 6), (6, 33), (12, 65)], attrs=[{"axis": -1, "num": 3}, {"axis": 0, "num": 2}], valid=apart, view=True, grad=(), reference=lambda x, axis, num: np.split(x, num, axis)),
    row("unbind", paddle.unbind, normal, shapes=[(3, 5), (5, 7), (2, 3, 4), (3, 1025)], attrs=[{"axis": 0}, {"axis": 1}], view=True, grad=("stack",)),
    row("slice", lambda x, axes, starts, ends: paddle.slice(x, axes, starts, ends), normal, shapes=[(5, 7), (6, 33), (4, 5, 6), (33, 65), (5, 4099), (4, 0)],
        attrs=[{"axes": [0], "starts": [1], "ends": [3]}, {"axes": [0, 1], "starts": [-3, 2], "ends": [-1, 100]}, {"axes": [1], "starts": [2], "ends": [5]}, {"axes": [0], "starts": [3], "ends": [1]}], view=True),
    row("strided_slice", paddle.strided_slice, normal, shapes=[(5, 7), (6, 33), (4, 5, 6), (33, 65), (5, 4099)],
        attrs=[{"axes": [0], "starts": [0], "ends": [5], "strides": [2]}, {"axes": [0, 1], "starts": [-1, 1], "ends": [-100, 6], "strides": [-1, 3]}, {"axes": [1], "starts": [4], "ends": [0], "strides": [-2]}], view=True),
    row("stack", lambda x, y, axis: paddle.stack([x, y, x], axis), normal, normal, shapes=[(3, 5), (7, 33), (), (1,), (2, 0, 3), (33, 65), (20011,)], attrs=[{"axis": 0}, {"axis": -1}, {"axis": 1}], valid=lambda s, a: a["axis"] <= len(s[0])),
    row("unstack", paddle.unstack, normal, shapes=[(3, 5), (5, 7), (2, 3, 4), (3, 1025)], attrs=[{"axis": 0}, {"axis": 1}, {"axis": -1}]),
    row("expand", paddle.expand, normal, shapes=[(3, 1), (1, 5), (1, 1)], attrs=[{"shape": [3, 5]}, {"shape": [2, 3, 5]}, {"shape": [4, 3, 5]}], cases=[((1,), {"shape": [7]}), ((), {"shape": [3, 4]}), ((5, 1, 33), {"shape": [-1, 7, 33]}), ((0, 1), {"shape": [0, 5]}), ((1, 65), {"shape": [300, 65]}), ((33, 1), {"shape": [33, 129]})]),
    row("expand_as", paddle.expand_as, normal, normal, shapes=[((3, 1), (3, 5)), ((1, 5), (4, 5)), ((5,), (2, 3, 5)), ((), (3, 4)), ((1, 65), (300, 65)), ((33, 1), (33, 129))], without=NOT_ON_CPU),
    row("expand_as", paddle.expand_as, normal, normal, name="expand_as_complex", inference="Paddle Inference has no complex tensors", dtypes=("c64", "c128"), shapes=[((3, 1), (3, 5)), ((5,), (2, 3, 5)), ((), (3, 4)), ((33, 1), (33, 129))], grad=(), reference=lambda x, y: np.broadcast_to(x, y.shape)),
    row("tile", paddle.tile, normal, shapes=[(3, 5), (7, 33), (1,), (2, 0, 3), (2, 3, 4), (33, 65)], attrs=[{"repeat_times": [2, 3]}, {"repeat_times": [2]}, {"repeat_times": [2, 1, 3]}, {"repeat_times": [1, 1]}]),
    row("pad", lambda x, pad, value: F.pad(x, pad, value=value, pad_from_left_axis=True), normal, shapes=[(3, 5), (7, 33), (1, 1), (33, 65), (3, 4099)], attrs=[{"pad": [1, 2, 0, 3], "value": 0.0}, {"pad": [0, 0, 1, 1], "value": 2.0}]),
    row("pad3d", lambda x, pad, mode: F.pad(x, pad, mode=mode, data_format="NCDHW"), normal, shapes=[(2, 3, 4, 5, 6), (1, 1, 3, 3, 3), (1, 2, 9, 17, 33)],
        attrs=[{"pad": [1, 2, 0, 1, 1, 0], "mode": m} for m in ("constant", "reflect", "replicate", "circular")]),
    row("flip", paddle.flip, normal, shapes=[*ALONG, (5, 4099)], attrs=[{"axis": 0}, {"axis": [0, -1]}, {"axis": 1}], grad=("flip",)),
    row("roll", paddle.roll, normal, shapes=[*ALONG, (5, 4099)], attrs=[{"shifts": 2, "axis": 0}, {"shifts": -3, "axis": -1}, {"shifts": [1, 2], "axis": [0, 1]}, {"shifts": 5, "axis": None}]),
    row("gather", lambda x, index, axis: paddle.gather(x, index, axis), normal, INDEX, shapes=[((7, 5), (4,)), ((9, 33), (20,)), ((5, 4, 3), (7,)), ((5,), (3,)), ((7, 5), (0,)), ((33, 65), (129,)), ((5, 4099), (3,))], attrs=[{"axis": 0}, {"axis": 1}], valid=lambda s, a: a["axis"] < len(s[0])),
    row("gather", lambda x, index: paddle.gather(x, index), normal, INDEX32, name="gather_i32", shapes=[((7, 5), (4,)), ((33, 65), (129,))], scale="terms", extremes=""),
    row("gather_nd", paddle.gather_nd, normal, Input(everywhere, "i64"), shapes=[((7, 5), (4, 2)), ((9, 33), (20, 1)), ((5, 4, 3), (2, 3, 2)), ((5, 4, 3), (6, 3)), ((33, 65), (300, 2))]),
    row("index_select", paddle.index_select, normal, INDEX, shapes=[((7, 5), (4,)), ((9, 33), (20,)), ((5, 4, 3), (7,)), ((5,), (3,)), ((33, 65), (129,))], attrs=[{"axis": 0}, {"axis": -1}]),
    row("index_sample", paddle.index_sample, normal, Input(below(lambda d: d.shapes[0][1]), "i64"), shapes=[((3, 7), (3, 4)), ((5, 33), (5, 65)), ((1, 1), (1, 1)), ((33, 65), (33, 129))]),
    row("index_add", lambda x, index, value, axis: paddle.index_add(x, index, axis, value), normal, INDEX, normal, shapes=[((7, 5), (4,), (4, 5)), ((9, 33), (20,), (20, 33)), ((33, 65), (129,), (129, 65))], attrs=[{"axis": 0}], cases=[(((5, 7), (4,), (5, 4)), {"axis": 1})], scale="terms", extremes="", tolerance=SUMS),
    row("scatter", lambda x, index, updates: paddle.scatter(x, index, updates), normal, Input(permutation(lambda d: d.shapes[0][0]), "i64"), normal, shapes=[((7, 5), (4,), (4, 5)), ((30, 33), (20,), (20, 33)), ((9,), (5,), (5,)), ((130, 65), (129,), (129, 65))], layouts=("transposed", "strided")),
    row("scatter", lambda x, index, updates: paddle.scatter(x, index, updates, overwrite=False), normal, INDEX, normal, name="scatter_add", shapes=[((7, 5), (4,), (4, 5)), ((9, 33), (20,), (20, 33)), ((33, 65), (129,), (129, 65))], scale="terms", extremes="", tolerance=SUMS, finite=False),
    row("scatter_nd_add", paddle.scatter_nd_add, normal, Input(everywhere, "i64"), normal, shapes=[((7, 5), (4, 2), (4,)), ((9, 33), (20, 1), (20, 33)), ((33, 65), (300, 2), (300,))], scale="terms", extremes="", tolerance=SUMS, grad=False),
    row("take_along_axis", lambda x, index, axis: paddle.take_along_axis(x, index, axis, broadcast=False), normal, INDEX, shapes=[((7, 5), (4, 5)), ((9, 33), (20, 33)), ((5, 4, 3), (5, 4, 3)), ((5,), (3,)), ((33, 65), (129, 65))], attrs=[{"axis": 0}]),
    row("take_along_axis", lambda x, index, axis: paddle.take_along_axis(x, index, axis), normal, INDEX, name="take_along_axis_last", shapes=[((5, 7), (5, 4)), ((33, 9), (33, 20)), ((5, 4, 3), (5, 4, 3)), ((65, 33), (65, 129))], attrs=[{"axis": -1}, {"axis": 1}], valid=lambda s, a: a["axis"] == -1 or len(s[0]) == 2),
    row("put_along_axis", lambda x, index, values, axis, reduce: paddle.put_along_axis(x, index, values, axis, reduce, broadcast=False), normal, Input(lambda d: np.argsort(d.rng.random(d.shape), axis=1), "i64"), normal,
        shapes=[((5, 7), (5, 7), (5, 7)), ((9, 33), (9, 33), (9, 33)), ((33, 65), (33, 65), (33, 65))], attrs=[{"axis": 1, "reduce": r} for r in ("assign", "add")], scale="tensor", extremes="", layouts=("transposed", "strided"), finite=False),
    row("put_along_axis", put_along, nonzero, Input(below(lambda d: d.shapes[0][d.attrs["axis"]]), "i64"), nonzero, name="put_along_axis_reduced", shapes=[((5, 7), (5, 4), (5, 4)), ((9, 33), (9, 65), (9, 65)), ((33, 65), (33, 20), (33, 20))],
        attrs=[{"axis": 1, "reduce": r, "include_self": s} for r in ("add", "mean", "amin", "amax", "assign") for s in (True, False)], scale="tensor", extremes="", layouts=("transposed", "strided"), finite=False),
    row("put_along_axis", put_along, nonzero, INDEX, nonzero, name="put_along_axis_part", shapes=[((5, 7), (3, 4), (3, 4)), ((9, 33, 4), (7, 65, 2), (7, 65, 2))], attrs=[{"axis": 1, "reduce": r, "include_self": s} for r in ("add", "amax", "assign") for s in (True, False)], scale="tensor", extremes="", layouts=("transposed",), finite=False),
    row("take_along_axis", lambda x, index, axis: paddle.take_along_axis(x, index, axis, broadcast=False), normal, INDEX, name="take_along_axis_part", layouts=("transposed", "strided"), shapes=[((7, 5), (4, 3)), ((9, 33, 4), (20, 7, 2))], attrs=[{"axis": 0}]),
    row("put_along_axis", put_along, uniform(0.5, 1.5), Input(below(lambda d: d.shapes[0][0]), "i32"), uniform(0.5, 1.5), name="put_along_axis_product", shapes=[((7, 5), (4, 5), (4, 5)), ((33, 9), (20, 9), (20, 9))],
        attrs=[{"axis": 0, "reduce": "multiply", "include_self": s} for s in (True, False)], scale="tensor", extremes="", finite=False),
    row("set_value", lambda x, starts, ends, steps, axes, none=(): ops.set_value(x, starts, ends, steps, axes, [], list(none), [1], [3.0]), normal, shapes=[(5, 7), (6, 33), (33, 65), (5, 4099)],
        attrs=[{"starts": [1], "ends": [3], "steps": [1], "axes": [0]}, {"starts": [0, 6], "ends": [5, 0], "steps": [2, -2], "axes": [0, 1]}], grad=("set_value_with_scalar_grad",), static="Paddle differentiates it as assign in a program", layouts=("transposed", "strided")),
    row("set_value_with_tensor", lambda x, values, starts, ends, steps, axes: ops.set_value_with_tensor(x, values, starts, ends, steps, axes, [], []), normal, normal,
        cases=[(((5, 7), (2, 7)), {"starts": [1], "ends": [3], "steps": [1], "axes": [0]}), (((6, 33), (3, 1)), {"starts": [0, 2], "ends": [6, 30], "steps": [2, 3], "axes": [0, 1]}), (((33, 65), (65,)), {"starts": [32], "ends": [-100], "steps": [-2], "axes": [0]})], shapes=[], grad=("set_value_grad",), layouts=("transposed", "strided")),
    row("cumsum", paddle.cumsum, normal, shapes=[*ALONG, ()], attrs=[{"axis": -1}, {"axis": 0}, {"axis": None}, {"axis": 1}], scale="terms", extremes=""),
    row("masked_fill", lambda x, mask, value: paddle.masked_fill(x, mask, value), normal, Input(normal, "bool"), shapes=[((3, 5), (3, 5)), ((7, 33), (7, 33)), ((2, 3, 4), (3, 1)), ((0,), (0,)), ((33, 65), (65,)), ((20011,), (20011,))], attrs=[{"value": 2}]),
]  # fmt: skip
