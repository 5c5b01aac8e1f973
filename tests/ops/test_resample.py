"""Tables of resampling, and the functions on arrays that have no Paddle operator around them."""

from __future__ import annotations

import numpy as np
import pytest

from openxpu import from_numpy
from openxpu.ops import grid_sample, resample, windows

SIZES = [(7, 16), (16, 7), (5, 5), (1, 9), (9, 1), (130, 3)]


def matrix(table: resample.Table) -> np.ndarray:
    """The table as the matrix that it stands for."""
    dense = np.zeros((table.count, table.extent))
    for k in range(table.taps):
        for o in range(table.count):
            if table.index[k, o] >= 0:
                dense[o, table.index[k, o]] += 1 if table.weight is None else table.weight[k, o]
    return dense


def tables(extent: int, count: int) -> list[resample.Table]:
    how = [
        resample.Interpolation(m, a)
        for m in ("nearest", "linear", "cubic", "bilinear", "bicubic")
        for a in (False, True)
    ]
    return [h.tables([extent], [count])[0] for h in how]  # fmt: skip


@pytest.mark.parametrize(("extent", "count"), SIZES)
def test_weights_sum_to_one(extent: int, count: int) -> None:
    for table in tables(extent, count):
        np.testing.assert_allclose(matrix(table).sum(1), 1, rtol=1e-6)


@pytest.mark.parametrize(("extent", "count"), SIZES)
def test_transposed_table(extent: int, count: int) -> None:
    for table in tables(extent, count):
        back = resample.transposed(table)
        assert (back.extent, back.count) == (count, extent)
        np.testing.assert_array_equal(matrix(back), matrix(table).T)


@pytest.mark.parametrize("method", ["nearest", "linear", "cubic"])
@pytest.mark.parametrize("shape", [(2, 3, 7), (2, 3, 7, 5), (1, 2, 3, 4, 5), (1, 1, 3, 40)])
def test_interpolate_is_a_product_along_each_axis(method: str, shape: tuple[int, ...]) -> None:
    x = np.random.default_rng(0).standard_normal(shape).astype("f4")
    size = tuple(2 * n + 1 for n in shape[2:])
    want = x.astype("f8")
    for axis, table in enumerate(resample.Interpolation(method).tables(shape[2:], size), 2):
        want = np.moveaxis(np.tensordot(want, matrix(table), (axis, 1)), -1, axis)
    got = resample.interpolate(from_numpy(x), size, method, align_mode=1).numpy()
    np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-5)


def test_nothing_in_nothing_out() -> None:
    x = from_numpy(np.zeros((0, 3, 4, 4), "f4"))
    assert resample.interpolate(x, (8, 8)).numpy().shape == (0, 3, 8, 8)


def test_unfold_on_arrays() -> None:
    x = np.arange(2 * 3 * 5 * 6, dtype="f4").reshape(2, 3, 5, 6)
    got = windows.unfold(from_numpy(x), (2, 3), (1, 2), (1, 0)).numpy()
    padded = np.pad(x, [(0, 0), (0, 0), (1, 1), (0, 0)])
    views = np.lib.stride_tricks.sliding_window_view(padded, (2, 3), (2, 3))[:, :, :, ::2]
    want = views.transpose(0, 1, 4, 5, 2, 3).reshape(2, 18, -1)
    np.testing.assert_array_equal(got, want)


def test_grid_sample_at_the_pixels_is_the_image() -> None:
    x = np.random.default_rng(0).standard_normal((2, 3, 5, 9)).astype("f4")
    lines = np.meshgrid(np.linspace(-1, 1, 9), np.linspace(-1, 1, 5))
    grid = np.broadcast_to(np.stack(lines, -1).astype("f4"), (2, 5, 9, 2)).copy()
    got = grid_sample.grid_sample(from_numpy(x), from_numpy(grid)).numpy()
    np.testing.assert_allclose(got, x, atol=1e-5)
