"""Scans along every axis in both directions against Triton's interpreter: sums, products, own combine functions, several operands."""

import numpy as np
import pytest
from harness import guarded, launch
from interpreter import interpret
from values import DTYPES, FLOATS, FP8, INTS
from written import kernel

SOURCE = """
@triton.jit
def biggest(a, b):
    return tl.maximum(a, b)


@triton.jit
def kernel(x, out, KIND: tl.constexpr, AXIS: tl.constexpr, REVERSE: tl.constexpr, A: tl.constexpr, B: tl.constexpr, C: tl.constexpr):
    i = tl.arange(0, A)[:, None, None]
    j = tl.arange(0, B)[None, :, None]
    k = tl.arange(0, C)[None, None, :]
    offs = (i * B + j) * C + k
    v = tl.load(x + offs)
    if KIND == "sum":
        r = tl.cumsum(v, AXIS, reverse=REVERSE)
    elif KIND == "product":
        r = tl.cumprod(v, AXIS, reverse=REVERSE)
    else:
        r = tl.associative_scan(v, AXIS, biggest, reverse=REVERSE)
    tl.store(out + offs, r.to(out.dtype.element_ty))
"""


@pytest.mark.parametrize("dtype", ["bool", *INTS, *FLOATS, *FP8])
@pytest.mark.parametrize("kind", ["sum", "product", "max"])
def test_scan(dtype, kind):
    shapes = ((2, 4, 8), (1, 1, 1), (4, 8, 1), (2, 1, 64))
    for shape in shapes if dtype in ("i32", "f32") else shapes[:1]:
        x = (
            np.random.default_rng(3)
            .integers(-1 if dtype[0] != "u" else 0, 2 if dtype in FP8 else 3, shape)
            .astype(DTYPES[dtype])
        )
        for axis in range(3):
            for reverse in (False, True):
                out = np.zeros(shape, "f8")
                named = {
                    "KIND": kind,
                    "AXIS": axis,
                    "REVERSE": reverse,
                    "A": shape[0],
                    "B": shape[1],
                    "C": shape[2],
                }
                y = x.astype("f4") if dtype == "bf16" or dtype in FP8 else x
                expected = interpret(kernel(SOURCE), (1,), y, out, **named)[1]
                launch(kernel(SOURCE), (1,), guarded(x), found := guarded(out), **named)
                np.testing.assert_array_equal(
                    found, expected, err_msg=f"{shape} axis {axis} reverse {reverse}"
                )


LINEAR = '''
@triton.jit
def compose(a, b, c, d):
    """x -> a x + b, then x -> c x + d: associative, and not commutative."""
    return a * c, b * c + d


@triton.jit
def kernel(a, b, out, N: tl.constexpr, REVERSE: tl.constexpr):
    offs = tl.arange(0, N)
    x = tl.load(a + offs)
    y = tl.load(b + offs)
    p, q = tl.associative_scan((x, y), 0, compose, reverse=REVERSE)
    tl.store(out + offs, p)
    tl.store(out + N + offs, q)
'''


@pytest.mark.parametrize("n", [1, 2, 128])
@pytest.mark.parametrize("reverse", [False, True])
def test_linear_recurrence(n, reverse):
    rng = np.random.default_rng(4)
    a, b = rng.uniform(0.5, 1.2, n).astype("f4"), rng.standard_normal(n).astype("f4")
    out = np.zeros((2, n), "f4")
    launch(kernel(LINEAR), (1,), a, b, out, N=n, REVERSE=reverse)
    p, q, expected = np.float64(1), np.float64(0), []
    for x, y in zip(a[::-1], b[::-1], strict=True) if reverse else zip(a, b, strict=True):
        p, q = p * x, q * x + y
        expected.append((p, q))
    wanted = np.array(expected).T[:, ::-1] if reverse else np.array(expected).T
    np.testing.assert_allclose(out, wanted, rtol=1e-4, atol=1e-4)
