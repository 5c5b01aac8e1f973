"""Random numbers: the streams of tl.rand, randn, randint and randint4x are those of Triton's interpreter."""

import numpy as np
import pytest
from harness import Typed, guarded, launch
from interpreter import interpret
from written import kernel

SOURCE = """
@triton.jit
def kernel(out, seed, n, BLOCK: tl.constexpr):
    offs = tl.arange(0, BLOCK)
    r = DRAW
    tl.store(out + offs, r, mask=offs < n)
"""
DRAWS = {
    "rand": ("tl.rand(seed, offs)", "f4"), "randn": ("tl.randn(seed, offs)", "f4"), "randint": ("tl.randint(seed, offs)", "i4"),
    "rounds": ("tl.rand(seed, offs, 7)", "f4"), "long offsets": ("tl.randint(seed, offs.to(tl.int64) + 4294967296)", "i8"),
    "philox": ("tl.philox(seed, offs, offs * 3, 0, 1)[2]", "u4"),
    **{f"randint4x {i}": (f"tl.randint4x(seed, offs)[{i}]", "i4") for i in range(4)},
    **{f"rand4x {i}": (f"tl.rand4x(seed, offs)[{i}]", "f4") for i in range(4)},
    **{f"randn4x {i}": (f"tl.randn4x(seed, offs)[{i}]", "f4") for i in range(4)},
}  # fmt: skip


@pytest.mark.parametrize("name", DRAWS)
@pytest.mark.parametrize("seed", [0, 1234, Typed("i64", 2**40 + 17)], ids=["0", "1234", "wide"])
def test_stream(name, seed):
    draw, dtype = DRAWS[name]
    if name == "philox" and isinstance(seed, Typed):
        seed = 99
    out = np.zeros(100, dtype)
    expected = interpret(kernel(SOURCE.replace("DRAW", draw)), (1,), out, seed, 100, BLOCK=128)[0]
    launch(kernel(SOURCE.replace("DRAW", draw)), (1,), found := guarded(out), seed, 100, BLOCK=128)
    if dtype == "f4":
        np.testing.assert_allclose(found, expected, rtol=3e-6, atol=1e-6)
    else:
        np.testing.assert_array_equal(found, expected)


def test_distributions():
    out = np.zeros(4096, "f4")
    launch(kernel(SOURCE.replace("DRAW", "tl.rand(seed, offs)")), (1,), out, 7, 4096, BLOCK=4096)
    assert 0 <= out.min() < out.max() < 1
    assert abs(out.mean() - 0.5) < 0.02
    launch(kernel(SOURCE.replace("DRAW", "tl.randn(seed, offs)")), (1,), out, 7, 4096, BLOCK=4096)
    assert abs(out.mean()) < 0.05
    assert abs(out.std() - 1) < 0.05
