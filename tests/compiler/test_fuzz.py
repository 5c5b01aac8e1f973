"""The compiler against Triton's interpreter on random kernels (fuzz.py): a few by default, many with `-m slow`."""

import numpy as np
import pytest
from fuzz import Fuzzer
from harness import guarded, launch
from interpreter import interpret
from written import kernel


def compare(seed: int) -> None:
    fuzzer = Fuzzer(seed)
    source = fuzzer.generate()
    m, n = fuzzer.rows, fuzzer.columns
    rng = np.random.default_rng(seed)
    results = len(fuzzer.scope)
    arrays = [
        rng.integers(-100, 100, m * n).astype("i4"), (rng.integers(-40, 40, m * n) / 4).astype("f4"),
        np.zeros(m * n, "i4"), np.zeros(m * n, "f4"), np.zeros((results, m * n), "i8"), np.zeros((results, m * n)),
    ]  # fmt: skip
    scalars = [int(x) for x in rng.integers(0, 4, 2)]
    ref = kernel(source)
    expected = interpret(ref, (1,), *[a.copy() for a in arrays], *scalars, M=m, N=n)
    found = [guarded(a) for a in arrays]
    launch(ref, (1,), *found, *scalars, M=m, N=n)
    for name, x, y in zip(("bi", "bf", "oi", "of"), found[2:], expected[2:], strict=True):
        np.testing.assert_array_equal(x, y, err_msg=f"seed {seed} {m}x{n} {scalars} {name}\n{source}")


@pytest.mark.parametrize("seed", range(40))
def test_random_kernel(seed):
    compare(seed)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(40, 1000))
def test_many_random_kernels(seed):
    compare(seed)
