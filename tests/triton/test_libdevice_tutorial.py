"""The seventh Triton tutorial: functions of libdevice."""

import numpy as np
import triton
import triton.language as tl
from triton.language.extra import libdevice

import openxpu


@triton.jit
def asin_kernel(x_ptr, y_ptr, n_elements, BLOCK_SIZE: tl.constexpr):
    offsets = tl.program_id(axis=0) * BLOCK_SIZE + tl.arange(0, BLOCK_SIZE)
    mask = offsets < n_elements
    x = tl.load(x_ptr + offsets, mask=mask)
    x = libdevice.asin(x)
    tl.store(y_ptr + offsets, x, mask=mask)


def test_asin(random):
    x = (random.random(98432, "f4") * 2 - 1).astype("f4")
    out = openxpu.empty(x.shape)
    asin_kernel[lambda meta: (triton.cdiv(x.size, meta["BLOCK_SIZE"]),)](
        openxpu.from_numpy(x), out, x.size, BLOCK_SIZE=1024
    )
    np.testing.assert_allclose(out.numpy(), np.arcsin(x.astype("f8")), rtol=1e-6, atol=1e-7)
