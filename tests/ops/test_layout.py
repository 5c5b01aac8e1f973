# Data movement against NumPy: every copy path, views, padding, gathers and scatters with their gradients.
from __future__ import annotations

import itertools
from typing import Any

import ml_dtypes
import numpy as np
import paddle
import pytest
from execute import NAMES, execute
from reference import Reference

from openxpu.ops import layout as ops

BF16 = np.dtype(ml_dtypes.bfloat16)


def numbers(shape: Any, dtype: Any = "f4") -> np.ndarray:
    return np.random.default_rng(0).integers(0, 100, shape).astype(dtype)


def kind(array: np.ndarray) -> str:
    return NAMES[array.dtype]


def same(plan: Any, inputs: list[Any], want: np.ndarray, *attributes: Any) -> None:
    """The plan gives exactly `want`."""
    want = np.asarray(want)
    got = execute(plan, inputs, [(want.shape, kind(want))], *attributes)[0]
    np.testing.assert_array_equal(got, want)


@pytest.mark.parametrize("dtype", ["f4", BF16, "u1", "f8", "?", "c8", "c16"], ids=str)
def test_transpose_dtypes(dtype: Any) -> None:
    x = numbers((3, 70, 40), dtype)
    same(ops.plan_transpose, [x], x.transpose(0, 2, 1), (0, 2, 1))


@pytest.mark.parametrize(
    ("shape", "axes"),
    [
        ((2, 3, 65, 7), (0, 2, 3, 1)), ((2, 65, 7, 3), (0, 3, 1, 2)), ((2, 5, 4, 64), (0, 2, 1, 3)), ((300, 5), (1, 0)),
        ((5, 300), (1, 0)), ((2, 3, 4, 5, 6), (4, 1, 3, 0, 2)), ((7,), (0,)), ((1, 9, 1), (2, 1, 0)), ((0, 3), (1, 0)),
        ((66, 130), (-1, 0)),
    ],
)  # fmt: skip
def test_transpose_shapes(shape: Any, axes: Any) -> None:
    x = numbers(shape)
    same(ops.plan_transpose, [x], x.transpose(axes), axes)
    d = numbers(x.transpose(axes).shape)
    same(ops.plan_transpose_grad, [d], d.transpose(np.argsort(np.array(axes) % len(axes))), axes)


@pytest.mark.slow
def test_transpose_every_order() -> None:
    x = numbers((3, 18, 5, 20))
    for axes in itertools.permutations(range(4)):
        same(ops.plan_transpose, [x], x.transpose(axes), axes)


def test_contiguous_of_views() -> None:
    base = numbers((20, 30, 40))
    for view in (base[::2], base[:, 3:7, ::3], base[::-1, :, ::-2], base.T, base[5], base[:, :, 1]):
        same(ops.plan_contiguous, [view], view)


def test_copy_into_views() -> None:
    x = numbers((6, 50))
    out = np.zeros((12, 50), "f4")
    execute_into = np.zeros((12, 50), "f4")
    execute_into[::2] = x

    def plan(b: Any, source: Any, target: Any) -> None:
        ops.plan_copy(b, source, ops.part(target, 0, 0, 6, 2))

    got = execute(plan, [x], [out])[0]
    np.testing.assert_array_equal(got, execute_into)


@pytest.mark.parametrize("axis", [0, 1, -1])
def test_concat_and_split(axis: int) -> None:
    shapes = [[4, 5, 6], [4, 5, 6], [4, 5, 6]]
    for shape, extent in zip(shapes, (1, 17, 3), strict=True):
        shape[axis] = extent
    xs = [numbers(shape) for shape in shapes]
    whole = np.concatenate(xs, axis)
    same(ops.plan_concat, [xs], whole, axis)

    def plan(b: Any, x: Any, *outs: Any) -> None:
        ops.plan_split(b, x, outs, axis)

    for got, want in zip(execute(plan, [whole], [(x.shape, "f32") for x in xs]), xs, strict=True):
        np.testing.assert_array_equal(got, want)


def test_concat_grad() -> None:
    xs = [numbers((4, extent, 6)) for extent in (1, 17, 3)]
    d = numbers((4, 21, 6))

    def plan(b: Any, xs: Any, d: Any, first: Any, last: Any) -> None:
        ops.plan_concat_grad(b, xs, d, [first, None, last], 1)

    first, last = execute(plan, [xs, d], [(xs[0].shape, "f32"), (xs[2].shape, "f32")])
    np.testing.assert_array_equal(first, d[:, :1])
    np.testing.assert_array_equal(last, d[:, 18:])


@pytest.mark.parametrize("axis", [0, 1, 2, -1])
def test_stack_and_unstack(axis: int) -> None:
    xs = [numbers((3, 20)) + i for i in range(3)]
    whole = np.stack(xs, axis)
    same(ops.plan_stack, [xs], whole, axis)

    def plan(b: Any, x: Any, *outs: Any) -> None:
        ops.plan_unstack(b, x, outs, axis)

    for got, want in zip(execute(plan, [whole], [((3, 20), "f32")] * 3), xs, strict=True):
        np.testing.assert_array_equal(got, want)


SLICES = [
    ((0, 2), (1, -5), (9, 1000), (1, 1)),
    ((1,), (-1,), (-1000,), (-1,)),
    ((0, 1, 2), (8, 0, 2), (1, 20, 30), (-3, 7, 4)),
    ((1,), (5,), (5,), (1,)),
]


@pytest.mark.parametrize(("axes", "starts", "ends", "steps"), SLICES)
def test_slice(axes: Any, starts: Any, ends: Any, steps: Any) -> None:
    x = numbers((10, 20, 30))
    where = [slice(None)] * 3
    for axis, start, end, step in zip(axes, starts, ends, steps, strict=True):
        where[axis] = slice(start, None if step < 0 and end < -x.shape[axis] else end, step)
    want = x[tuple(where)]
    same(ops.plan_slice, [x], np.ascontiguousarray(want), axes, starts, ends, steps)
    d = numbers(want.shape) + 1
    dx = np.zeros_like(x)
    dx[tuple(where)] = d
    same(ops.plan_slice_grad, [d], dx, axes, starts, ends, steps)


def test_slice_drops_dimensions() -> None:
    x = numbers((10, 20))
    same(ops.plan_slice, [x], x[3], (0,), (3,), (4,))
    d = numbers((20,))
    dx = np.zeros_like(x)
    dx[3] = d
    same(ops.plan_slice_grad, [d], dx, (0,), (3,), (4,))


def test_set_value() -> None:
    x, value = numbers((10, 20)), numbers((6,)) + 100
    want = x.copy()
    want[1:9:2, 2:8] = value
    same(ops.plan_set_value, [x, value], want, (0, 1), (1, 2), (9, 8), (2, 1))
    want = x.copy()
    want[3, 4:10] = value
    same(ops.plan_set_value, [x, value], want, (0, 1), (3, 4), (4, 10), (1, 1), (0,))
    d = numbers((10, 20)) + 1
    dx, dvalue = execute(
        ops.plan_set_value_grad, [d], [((10, 20), "f32"), ((6,), "f32")], (0, 1), (1, 2), (9, 8), (2, 1)
    )
    want = d.copy()
    want[1:9:2, 2:8] = 0
    np.testing.assert_array_equal(dx, want)
    np.testing.assert_allclose(dvalue, d[1:9:2, 2:8].sum(0))


def test_expand_and_tile() -> None:
    x = numbers((3, 1, 5))
    same(ops.plan_expand, [x], np.broadcast_to(x, (4, 3, 7, 5)))
    d = numbers((4, 3, 7, 5))
    same(ops.plan_expand_grad, [d], d.sum((0, 2), keepdims=True)[0])
    y = numbers((3, 20))
    same(ops.plan_tile, [y], np.tile(y, (2, 3, 4)))
    e = numbers((2, 9, 80))
    same(ops.plan_tile_grad, [e], e.reshape(2, 3, 3, 4, 20).sum((0, 1, 3)))


def test_flip_and_roll() -> None:
    x = numbers((6, 7, 40))
    same(ops.plan_flip, [x], np.flip(x, (0, 2)), (0, -1))
    same(ops.plan_roll, [x], np.roll(x, (2, -3), (0, 2)), (2, -3), (0, 2))
    same(ops.plan_roll, [x], np.roll(x, 11), (11,), ())


PAD_MODES = {"constant": "constant", "reflect": "reflect", "replicate": "edge", "circular": "wrap"}


@pytest.mark.parametrize("mode", PAD_MODES)
def test_pad(mode: str) -> None:
    x = numbers((2, 5, 20))
    padding = ((0, 0), (2, 1), (3, 4))
    extra = {"constant_values": 1.5} if mode == "constant" else {}
    want = np.pad(x, padding, PAD_MODES[mode], **extra)
    same(ops.plan_pad, [x], want, padding, mode, 1.5)
    d = numbers(want.shape)
    # Paddle pads images: the last two of four dimensions, the last one first.
    reference = Reference(lambda x: paddle.nn.functional.pad(x[None], [3, 4, 2, 1], mode, 1.5)[0], x)
    np.testing.assert_array_equal(reference.value, want)
    same(ops.plan_pad_grad, [d], reference.gradient(d).astype("f4"), padding, mode)


@pytest.mark.parametrize("dtype", ["f4", BF16, "u1", "c16"], ids=str)
@pytest.mark.parametrize("axis", [0, 1, 2])
def test_gather(axis: int, dtype: Any) -> None:
    x = numbers((6, 7, 33), dtype)
    index = np.array([5, 0, -1, 3, 3], "i8")
    same(ops.plan_gather, [x, index], np.take(x, index, axis), axis)


@pytest.mark.parametrize("dtype", ["f4", BF16], ids=str)
@pytest.mark.parametrize("axis", [0, 1])
def test_gather_grad(axis: int, dtype: Any) -> None:
    index = np.array([5, 0, 1, 3, 3, 3], "i4")
    d = numbers((6, 6, 33), dtype)
    want = np.zeros((6, 7, 33) if axis else (7, 6, 33))
    np.add.at(want, (slice(None), index) if axis else index, d.astype("f8"))
    same(ops.plan_gather_grad, [index, d], want.astype(dtype), axis)


def test_gather_nd() -> None:
    x = numbers((4, 5, 6))
    index = np.array([[[0, 1], [3, 4]], [[-1, 2], [3, 4]]], "i8")
    same(ops.plan_gather_nd, [x, index], x[index[..., 0], index[..., 1]])
    d = numbers((2, 2, 6))
    dx = np.zeros_like(x)
    np.add.at(dx, (index[..., 0], index[..., 1]), d)
    same(ops.plan_gather_nd_grad, [index, d], dx)
    want = x.copy()
    np.add.at(want, (index[..., 0], index[..., 1]), d)
    same(ops.plan_scatter_nd_add, [x, index, d], want)


@pytest.mark.parametrize("overwrite", [True, False])
def test_scatter(overwrite: bool) -> None:
    x, updates, index = numbers((7, 20)), numbers((4, 20)) + 1, np.array([5, 1, 5, 0], "i8")
    want = x.copy()
    if overwrite:
        for i, row in enumerate(index):
            want[row] = updates[i]
    else:
        want[index] = 0
        np.add.at(want, index, updates)
    same(ops.plan_scatter, [x, index, updates], want, overwrite)


def test_scatter_grad() -> None:
    index, d = np.array([5, 1, 0], "i8"), numbers((7, 20)) + 1
    reference = Reference(
        lambda x, updates: paddle.scatter(x, paddle.to_tensor(index), updates),
        numbers((7, 20)),
        numbers((3, 20)),
    )
    got = execute(ops.plan_scatter_grad, [index, d], [((7, 20), "f32"), ((3, 20), "f32")])
    for mine, want in zip(got, reference.gradients(d), strict=True):
        np.testing.assert_array_equal(mine, want)


@pytest.mark.parametrize("reduce", ["assign", "add"])
@pytest.mark.parametrize("axis", [0, 1, -1])
def test_put_along_axis_grad(axis: int, reduce: str) -> None:
    shape = [5, 6, 7]
    shape[axis] = 3
    index = np.argsort(np.random.default_rng(0).random((5, 6, 7)), axis).take(range(3), axis).astype("i8")
    x, values, d = numbers((5, 6, 7)), numbers(shape), numbers((5, 6, 7)) + 1
    reference = Reference(
        lambda x, values: paddle.put_along_axis(x, paddle.to_tensor(index), values, axis, reduce), x, values
    )
    out = np.zeros_like(x)  # not read for these two
    outputs = [((5, 6, 7), "f32"), (tuple(shape), "f32")]
    given = [x, index, values, out, d]
    got = execute(ops.plan_put_along_axis_grad, given, outputs, axis, reduce, True)
    for mine, want in zip(got, reference.gradients(d), strict=True):
        np.testing.assert_array_equal(mine, want)


@pytest.mark.parametrize("axis", [0, 1, -1])
def test_along_axis(axis: int) -> None:
    rng = np.random.default_rng(1)
    x = numbers((5, 6, 7))
    shape = [5, 6, 7]
    shape[axis] = 3
    index = rng.integers(0, 5, shape).astype("i8")
    same(ops.plan_take_along_axis, [x, index], np.take_along_axis(x, index, axis), axis)
    d = numbers(shape)
    places = list(np.indices(shape))
    places[axis] = index
    want = np.zeros_like(x)
    np.add.at(want, tuple(places), d)
    same(ops.plan_take_along_axis_grad, [index, d], want, axis)
    same(ops.plan_put_along_axis, [x, index, d], x + want, axis, "add", True)
    one = np.array([3.0], "f4")
    want = x.copy()
    np.put_along_axis(want, index, 3.0, axis)
    same(ops.plan_put_along_axis, [x, index, one], want, axis, "assign", True)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_cumsum(axis: int) -> None:
    x = numbers((4, 30, 5))
    same(ops.plan_cumsum, [x], np.cumsum(x, axis), axis)
    same(ops.plan_cumsum, [x], np.flip(np.cumsum(np.flip(x, axis), axis), axis), axis, False, True)
    exclusive = np.cumsum(x, axis) - x
    same(ops.plan_cumsum, [x], exclusive, axis, True, False)
    same(ops.plan_cumsum, [x.astype("i8")], np.cumsum(x.astype("i8"), axis), axis)


@pytest.mark.parametrize(
    "shape", [(3, 1), (5, 32), (2, 31), (1, 1000), (2, 1025), (1, 5000), (2, 300, 17), (3, 2, 260)]
)
@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("exclusive", [False, True])
def test_cumsum_of_many_lengths(shape: tuple[int, ...], reverse: bool, exclusive: bool) -> None:
    for dtype in ("i8", "f4"):
        x = np.round(numbers(shape) * 8).astype(dtype)  # sums are exact
        axis = 1
        want = np.flip(np.cumsum(np.flip(x, axis), axis), axis) if reverse else np.cumsum(x, axis)
        same(ops.plan_cumsum, [x], want - x if exclusive else want, axis, exclusive, reverse)


def test_exclusive_sums_do_not_subtract() -> None:
    x = np.zeros((2, 64), "f4")
    x[:, 5] = np.inf
    want = np.where(np.arange(64) > 5, np.float32(np.inf), np.float32(0)) + np.zeros((2, 1), "f4")
    same(ops.plan_cumsum, [x], want, 1, True, False)


@pytest.mark.parametrize("n", [256, 512, 1024, 1040])
def test_transposes_whose_lines_share_cache_sets(n: int) -> None:
    x = numbers((3, n, n // 2))
    same(ops.plan_transpose, [x], x.transpose(0, 2, 1), (0, 2, 1))
