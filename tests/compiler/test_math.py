"""tl's functions on every float type that Triton takes, against NumPy and SciPy, in units of the last place."""

import numpy as np
import pytest
import scipy.special
from harness import guarded, launch
from values import DTYPES, FLOATS, sample
from written import kernel, rows

# name -> (reference, ulps of f32, ulps of f64)
FUNCTIONS = {
    "exp": (np.exp, 2, 1), "exp2": (np.exp2, 2, 1), "log": (np.log, 2, 1), "log2": (np.log2, 2, 1), "sin": (np.sin, 2, 1),
    "cos": (np.cos, 2, 1), "sqrt": (np.sqrt, 0.51, 0.51), "rsqrt": (lambda x: 1 / np.sqrt(x), 2, 2),
    "erf": (scipy.special.erf, 3, 2), "floor": (np.floor, 0, 0), "ceil": (np.ceil, 0, 0), "abs": (np.abs, 0, 0),
    "sigmoid": (scipy.special.expit, 4, 4), "sqrt_rn": (np.sqrt, 0.51, 0.51),
}  # fmt: skip
# Triton takes all but abs in f32 and f64 only, and sqrt_rn in f32.
ROWS = [(n, d) for n in FUNCTIONS for d in FLOATS if d in ("f32", "f64") or n == "abs"]
ROWS.remove(("sqrt_rn", "f64"))


@pytest.mark.parametrize(("name", "dtype"), ROWS)
def test_function(name, dtype):
    kind = DTYPES[dtype]
    x = sample(dtype, 200, 3)
    if name in ("sin", "cos"):
        x[np.abs(x.astype("f8")) > 1e15] = 3  # docs/compiler.md: no digits are right there
    out = guarded(np.zeros((1, 200), kind))
    launch(kernel(rows([f"tl.{name}(a)"], 1)), (1,), guarded(x), out, 200, BLOCK=256)
    reference, *ulps = FUNCTIONS[name]
    with np.errstate(all="ignore"):
        exact = reference(x.astype(np.longdouble if dtype == "f64" and name in ("sqrt", "rsqrt") else "f8"))
        rounded = exact.astype("f8").astype(kind).astype("f8")
        np.testing.assert_array_equal(np.isnan(out[0].astype("f8")), np.isnan(rounded))
        good = np.isfinite(rounded) & (np.abs(rounded) > 1e-30)
        unit = np.spacing(np.abs(rounded[good]).astype("f4" if kind.itemsize < 8 else "f8")).astype("f8")
        unit *= {"f16": 2**13, "bf16": 2**16}.get(dtype, 1)
        error = np.abs(out[0].astype("f8")[good] - exact[good].astype("f8")) / unit
    assert error.max() <= (ulps[dtype == "f64"] or 0)


def test_softmax_of_the_standard_library():
    source = """
@triton.jit
def kernel(x, out):
    offs = tl.arange(0, 8)[:, None] * 32 + tl.arange(0, 32)[None, :]
    tl.store(out + offs, tl.softmax(tl.load(x + offs), 1))
"""
    x, out = np.random.default_rng(1).standard_normal((8, 32)).astype("f4"), np.zeros((8, 32), "f4")
    launch(kernel(source), (1,), x, out)
    np.testing.assert_allclose(out, scipy.special.softmax(x, 1), rtol=1e-5)
