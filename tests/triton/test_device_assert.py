"""tl.device_assert: on with debug=True; a failure is raised where the host waits for the card."""

import numpy as np
import pytest
import triton
import triton.language as tl

import openxpu
from openxpu.triton import numpy_argument


@triton.jit(debug=True)
def checked_kernel(x, n, BLOCK: tl.constexpr):
    i = tl.arange(0, BLOCK)
    v = tl.load(x + i, mask=i < n, other=0.0)
    tl.device_assert(v >= 0, "negative values have no square root here")
    tl.store(x + i, tl.sqrt(v), mask=i < n)


@triton.jit
def unchecked_kernel(x, n, BLOCK: tl.constexpr):
    i = tl.arange(0, BLOCK)
    v = tl.load(x + i, mask=i < n, other=0.0)
    tl.device_assert(v >= 0, "never looked at")
    tl.store(x + i, v + 1, mask=i < n)


def test_at_synchronisation():
    good, bad = np.full(100, 4, "f4"), np.full(100, -1, "f4")
    for _ in range(3):
        x = openxpu.from_numpy(good)
        checked_kernel[(1,)](x, 100, BLOCK=128)
        openxpu.synchronize()
        np.testing.assert_array_equal(x.numpy(), 2)
        checked_kernel[(1,)](openxpu.from_numpy(bad), 100, BLOCK=128)
        with pytest.raises(
            openxpu.LaunchError, match=r"checked_kernel.*negative values have no square root here"
        ):
            openxpu.synchronize()
        openxpu.synchronize()  # once only


def test_in_the_launch_on_host_memory():
    bad = np.full(100, -1, "f4")
    for _ in range(3):
        with pytest.raises(openxpu.LaunchError, match="negative values"):
            checked_kernel[(1,)](numpy_argument(bad), 100, BLOCK=128)


def test_off_by_default():
    x = openxpu.from_numpy(np.full(100, -1, "f4"))
    for _ in range(3):
        unchecked_kernel[(1,)](x, 100, BLOCK=128)
    np.testing.assert_array_equal(x.numpy(), 2)


def test_as_an_option():
    x = openxpu.from_numpy(np.full(100, -1, "f4"))
    for _ in range(3):
        unchecked_kernel[(1,)](x, 100, BLOCK=128, debug=True)
        with pytest.raises(openxpu.LaunchError, match="never looked at"):
            openxpu.synchronize()
        x = openxpu.from_numpy(np.full(100, -1, "f4"))
