"""8-bit floats inside a kernel that is launched by kernel[grid], against ml_dtypes."""

import ml_dtypes
import numpy as np
import pytest
import triton
import triton.language as tl

import openxpu


@triton.jit
def through(x, out, n, KIND: tl.constexpr, BLOCK: tl.constexpr):
    i = tl.arange(0, BLOCK)
    narrow = tl.load(x + i, mask=i < n).to(KIND)
    tl.store(out + i, narrow.to(tl.float32), mask=i < n)


@pytest.mark.parametrize(
    ("kind", "dtype"), [(tl.float8e4nv, ml_dtypes.float8_e4m3fn), (tl.float8e5, ml_dtypes.float8_e5m2)]
)
def test_values_round_to_eight_bits(kind, dtype):
    x = np.linspace(-20, 20, 200, dtype="f4")
    out = openxpu.zeros(200)
    through[(1,)](openxpu.from_numpy(x), out, 200, KIND=kind, BLOCK=256)
    np.testing.assert_array_equal(openxpu.to_numpy(out), x.astype(dtype).astype("f4"))
