"""Reductions of every kind over every dtype and axis against Triton's interpreter: ties, several operands, own combine functions."""

import warnings

import numpy as np
import pytest
from harness import guarded, launch
from interpreter import interpret
from values import DTYPES, FLOATS, FP8, INTS, sample
from written import kernel

KINDS = {
    "sum": "tl.sum(v, AXIS)", "max": "tl.max(v, AXIS)", "min": "tl.min(v, AXIS)", "argmax": "tl.argmax(v, AXIS)",
    "argmin": "tl.argmin(v, AXIS)", "xor_sum": "tl.xor_sum(v, AXIS)",
    "or": "tl.reduce_or(v, AXIS)", "keep_dims": "tl.sum(v, AXIS, keep_dims=True)",
    "max with index": "tl.max(v, AXIS, return_indices=True)[0]", "index of min": "tl.min(v, AXIS, return_indices=True)[1]",
    "product": "tl.reduce(v, AXIS, product)", "sum of squares": "tl.reduce(v * v, AXIS, add)",
}  # fmt: skip

SOURCE = """
@triton.jit
def product(a, b):
    return a * b


@triton.jit
def add(a, b):
    return a + b


@triton.jit
def kernel(x, out, n, AXIS: tl.constexpr, M: tl.constexpr, N: tl.constexpr, R: tl.constexpr):
    rows = tl.arange(0, M)[:, None]
    cols = tl.arange(0, N)[None, :]
    v = tl.load(x + rows * n + cols, mask=cols < n, other=FILL)
    r = RESULT
    tl.store(out + tl.arange(0, R), tl.reshape(r, (R,)).to(out.dtype.element_ty))
"""


def reduction(kind: str, fill: str = "0") -> str:
    return kernel(SOURCE.replace("RESULT", KINDS[kind]).replace("FILL", fill))


def integers(dtype: str, shape: tuple[int, int]) -> np.ndarray:
    """Few different values, so that ties are common; of 8-bit floats so small ones that sums are exact."""
    if dtype in FP8:
        return (np.random.default_rng(5).random(shape) < 0.1).astype(DTYPES[dtype])
    return np.random.default_rng(5).integers(0, 2 if dtype == "bool" else 4, shape).astype(DTYPES[dtype])


PAIRS = [(k, d) for k in KINDS for d in ("bool", *INTS)]
PAIRS += [(k, d) for k in KINDS if k not in ("xor_sum", "or") for d in (*FLOATS, *FP8)]


@pytest.mark.parametrize(("kind", "dtype"), PAIRS)
def test_reduction(kind, dtype):
    shapes = ((4, 29, 32), (8, 64, 64), (1, 5, 8), (16, 1, 1))
    for m, n, block in shapes if dtype in ("i32", "f32") else shapes[:1]:
        for axis in (0, 1):
            r = block if axis == 0 else m
            x = integers(dtype, (m, n))
            out = np.zeros(r, "f8")
            ref, shape = (
                reduction(kind, "0.0" if dtype in FP8 else "0"),
                {"AXIS": axis, "M": m, "N": block, "R": r},
            )
            expected = (
                interpret(ref, (1,), x, out, n, **shape)[1] if dtype != "bf16" and dtype not in FP8 else None
            )
            launch(ref, (1,), guarded(x), found := guarded(out), n, **shape)
            if expected is None:
                expected = interpret(ref, (1,), x.astype("f4"), out, n, **shape)[1]
                expected = expected.astype(DTYPES[dtype]).astype("f8")
            np.testing.assert_array_equal(found, expected, err_msg=f"{m}x{n} axis {axis}")


def test_argmax_with_free_ties_gives_the_index_of_a_maximum():
    source = SOURCE.replace("RESULT", "tl.argmax(v, AXIS, tie_break_left=False)").replace("FILL", "0")
    x = integers("i32", (4, 64))
    out = np.zeros(4, "i4")
    launch(kernel(source), (1,), x, out, 64, AXIS=1, M=4, N=64, R=4)
    np.testing.assert_array_equal(x[np.arange(4), out], x.max(1))


def test_extremes_and_nan():
    """tl.max ignores NaN unless all elements are, and gives the index of a NaN as Triton's combine function says."""
    for dtype in FLOATS:
        x = sample(dtype, 64, 3).reshape(4, 16)
        x[2] = np.nan
        for kind in ("max", "min"):
            out = np.zeros(4, "f8")
            launch(reduction(kind), (1,), x, out, 16, AXIS=1, M=4, N=16, R=4)
            with warnings.catch_warnings(action="ignore"):
                expected = getattr(np, f"nan{kind}")(x.astype("f8"), 1)
            np.testing.assert_array_equal(out, expected)


SEVERAL = """
@triton.jit
def welford(mean_a, m2_a, n_a, mean_b, m2_b, n_b):
    n = n_a + n_b
    delta = mean_b - mean_a
    part = tl.where(n == 0, 0.0, n_b / tl.where(n == 0, 1.0, n))
    return mean_a + delta * part, m2_a + m2_b + delta * delta * n_a * part, n


@triton.jit
def kernel(x, out, n, M: tl.constexpr, N: tl.constexpr):
    rows = tl.arange(0, M)
    cols = tl.arange(0, N)[None, :]
    v = tl.load(x + rows[:, None] * n + cols, mask=cols < n, other=0.0)
    one = tl.where(cols < n, 1.0, 0.0) + tl.zeros((M, N), tl.float32)
    mean, m2, count = tl.reduce((v, tl.zeros((M, N), tl.float32), one), 1, welford)
    tl.store(out + rows, mean)
    tl.store(out + M + rows, m2 / count)
    tl.store(out + 2 * M + rows, count)
"""


@pytest.mark.parametrize("n", [1, 13, 64, 100])
def test_three_operands(n):
    x = np.random.default_rng(1).standard_normal((4, n)).astype("f4")
    out = np.zeros((3, 4), "f4")
    launch(kernel(SEVERAL), (1,), guarded(x), out, n, M=4, N=128)
    np.testing.assert_allclose(out, [x.mean(1), x.var(1), [n] * 4], rtol=1e-4, atol=1e-6)


BRANCHES = """
@triton.jit
def nearer_to_zero(a, i, b, j):
    if tl.abs(a) < tl.abs(b):
        value = a
        index = i
    else:
        if tl.abs(a) == tl.abs(b):
            value = tl.maximum(a, b)
            index = tl.minimum(i, j)
        else:
            value = b
            index = j
    return value, index


@triton.jit
def early(a, b):
    if a > b:
        return a
    return b


@triton.jit
def kernel(x, out, where, N: tl.constexpr, SCAN: tl.constexpr):
    offs = tl.arange(0, N)
    v = tl.load(x + offs)
    if SCAN:
        value, index = tl.associative_scan((v, offs), 0, nearer_to_zero)
        tl.store(out + offs, value)
        tl.store(where + offs, index)
        tl.store(out + N + offs, tl.associative_scan(v, 0, early))
    else:
        value, index = tl.reduce((v, offs), 0, nearer_to_zero)
        tl.store(out, value)
        tl.store(where, index)
        tl.store(out + 1, tl.reduce(v, 0, early))
"""


@pytest.mark.parametrize("n", [1, 2, 64])
def test_combine_functions_with_branches(n):
    x = np.random.default_rng(1).integers(-9, 9, n).astype("i4")
    for scan in (False, True):
        out, where = np.zeros(2 * n + 2, "i4"), np.zeros(n + 1, "i4")
        launch(kernel(BRANCHES), (1,), x, out, where, N=n, SCAN=scan)
        best = [min(range(k + 1), key=lambda i: (abs(x[i]), -x[i], i)) for k in range(n)]
        first = [min(i for i in range(k + 1) if abs(x[i]) == abs(x[best[k]])) for k in range(n)]
        if scan:
            np.testing.assert_array_equal(out[:n], x[best])
            np.testing.assert_array_equal(where[:n], first)
            np.testing.assert_array_equal(out[n : 2 * n], np.maximum.accumulate(x))
        else:
            assert (out[0], where[0], out[1]) == (x[best[-1]], first[-1], x.max())


WHOLE = """
@triton.jit
def kernel(x, out, A: tl.constexpr, B: tl.constexpr, C: tl.constexpr):
    i = tl.arange(0, A)[:, None, None]
    j = tl.arange(0, B)[None, :, None]
    k = tl.arange(0, C)[None, None, :]
    v = tl.load(x + (i * B + j) * C + k)
    tl.store(out, tl.sum(v))
    tl.store(out + 1, tl.max(v))
    tl.store(out + 2, tl.min(tl.min(v, 1), 0).sum())
    tl.store(out + 3, tl.sum(tl.sum(v, 2, keep_dims=True) * v))
    tl.store(out + 4, tl.argmax(tl.reshape(v, (A * B * C,)), 0))
"""


@pytest.mark.parametrize("shape", [(2, 4, 8), (1, 1, 1), (4, 1, 16), (8, 16, 1)])
def test_whole_tiles(shape):
    x = np.random.default_rng(2).integers(-50, 50, shape).astype("i4")
    out = np.zeros(5, "i4")
    launch(kernel(WHOLE), (1,), x, out, A=shape[0], B=shape[1], C=shape[2])
    expected = [x.sum(), x.max(), x.min((0, 1)).sum(), (x.sum(2, keepdims=True) * x).sum(), x.argmax()]
    np.testing.assert_array_equal(out, expected)
