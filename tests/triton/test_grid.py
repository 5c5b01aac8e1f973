"""Grids: tuples, lists and functions of one to three numbers, no programs, and sentences for the rest."""

import numpy as np
import pytest
import triton
import triton.language as tl

import openxpu


@triton.jit
def where_kernel(out, ROW: tl.constexpr):
    x, y, z = tl.program_id(0), tl.program_id(1), tl.program_id(2)
    at = x + tl.num_programs(0) * (y + tl.num_programs(1) * z)
    tl.store(out + at, x + 100 * y + 10000 * z + 0 * ROW)


def expected(grid):
    x, y, z = (*grid, 1, 1)[:3]
    k, j, i = np.meshgrid(np.arange(z), np.arange(y), np.arange(x), indexing="ij")
    return (i + 100 * j + 10000 * k).ravel()


@pytest.mark.parametrize("grid", [(1,), (7,), (3, 5), (2, 3, 4), [4, 2], (np.int64(3), 2)])
def test_numbers(grid):
    for _ in range(4):
        out = openxpu.zeros(100, "i32")
        where_kernel[grid](out, ROW=1)
        n = int(np.prod(grid))
        np.testing.assert_array_equal(out.numpy()[:n], expected(grid))
        assert not out.numpy()[n:].any()


@pytest.mark.parametrize("grid", [lambda meta: (meta["ROW"],), lambda meta: (2, meta["ROW"], 3)])
def test_functions(grid):
    for _ in range(4):
        out = openxpu.zeros(100, "i32")
        where_kernel[grid](out, ROW=5)
        n = int(np.prod(grid({"ROW": 5})))
        np.testing.assert_array_equal(out.numpy()[:n], expected(grid({"ROW": 5})))


@pytest.mark.parametrize("grid", [(0,), (4, 0), (2, 3, 0)])
def test_no_programs(grid):
    out = openxpu.zeros(100, "i32")
    for _ in range(4):
        where_kernel[grid](out, ROW=2)
    assert not out.numpy().any()


@pytest.mark.parametrize("grid", [(-1,), (2.5,), (2**33,)])
def test_refused(grid):
    out = openxpu.zeros(100, "i32")
    for _ in range(3):
        with pytest.raises(
            ValueError, match=r"where_kernel was launched with the grid .*give one to three whole"
        ):
            where_kernel[grid](out, ROW=3)
        where_kernel[(1,)](out, ROW=3)
