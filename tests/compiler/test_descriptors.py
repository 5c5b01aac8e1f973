"""Tensor descriptors: blocks inside, across and outside the edges, padding, atomics, gather and scatter, between guard pages."""

import numpy as np
import pytest
from harness import guarded, launch
from values import DTYPES
from written import kernel

SOURCE = """
@triton.jit
def kernel(x, out, m, n, row, col, R: tl.constexpr, C: tl.constexpr, PAD: tl.constexpr):
    source = tl.make_tensor_descriptor(x, shape=[m, n], strides=[n, 1], block_shape=[R, C], padding_option=PAD)
    whole = tl.make_tensor_descriptor(out, shape=[R, C], strides=[C, 1], block_shape=[R, C])
    tl.store_tensor_descriptor(whole, [0, 0], tl.load_tensor_descriptor(source, [row, col]))
"""


@pytest.mark.parametrize("dtype", [d for d in DTYPES if d != "bool"])
def test_load(dtype):
    x = np.arange(5 * 16).reshape(5, 16).astype(DTYPES[dtype])
    for row, col in ((0, 0), (2, 0), (4, 8), (-1, -8), (7, 0), (0, 16)):
        out = guarded(np.ones((4, 16), DTYPES[dtype]))
        launch(kernel(SOURCE), (1,), guarded(x), out, 5, 16, row, col, R=4, C=16, PAD="zero")
        expected = np.zeros((4, 16), DTYPES[dtype])
        for i in range(4):
            for j in range(16):
                if 0 <= row + i < 5 and 0 <= col + j < 16:
                    expected[i, j] = x[row + i, col + j]
        np.testing.assert_array_equal(out, expected, err_msg=f"{row} {col}")


def test_padding_with_nan():
    x = np.ones((2, 16), "f4")
    launch(
        kernel(SOURCE),
        (1,),
        guarded(x),
        out := guarded(np.zeros((4, 16), "f4")),
        2,
        16,
        0,
        0,
        R=4,
        C=16,
        PAD="nan",
    )
    assert np.isnan(out[2:]).all()
    assert (out[:2] == 1).all()


STORES = """
@triton.jit
def kernel(x, out, m, n, KIND: tl.constexpr):
    d = tl.make_tensor_descriptor(out, shape=[m, n], strides=[n, 1], block_shape=[4, 16])
    at = tl.program_id(0) * 4
    v = tl.load(x + tl.arange(0, 4)[:, None] * 16 + tl.arange(0, 16)[None, :])
    if KIND == "store":
        d.store([at, 0], v)
    elif KIND == "add":
        d.atomic_add([at, 0], v)
    elif KIND == "max":
        d.atomic_max([at, 0], v)
    elif KIND == "min":
        d.atomic_min([at, 0], v)
    elif KIND == "and":
        d.atomic_and([at, 0], v)
    elif KIND == "or":
        d.atomic_or([at, 0], v)
    else:
        d.atomic_xor([at, 0], v)
"""
COMBINE = {"store": lambda a, b: b, "add": np.add, "max": np.maximum, "min": np.minimum, "and": np.bitwise_and,
           "or": np.bitwise_or, "xor": np.bitwise_xor}  # fmt: skip


@pytest.mark.parametrize("kind", COMBINE)
def test_stores_and_atomics(kind):
    rng = np.random.default_rng(3)
    x, start = rng.integers(-50, 50, (4, 16)).astype("i4"), rng.integers(-50, 50, (6, 12)).astype("i4")
    launch(kernel(STORES), (2,), guarded(x), out := guarded(start), 6, 12, KIND=kind)
    expected = np.concatenate([COMBINE[kind](start[:4], x[:, :12]), COMBINE[kind](start[4:], x[:2, :12])])
    np.testing.assert_array_equal(out, expected)


ROWS = """
@triton.jit
def kernel(x, index, out, m, n, SCATTER: tl.constexpr):
    rows = tl.load(index + tl.arange(0, 8))
    if SCATTER:
        d = tl.make_tensor_descriptor(out, shape=[m, n], strides=[n, 1], block_shape=[1, 16])
        d.scatter(tl.load(x + tl.arange(0, 8)[:, None] * 16 + tl.arange(0, 16)[None, :]), rows, 16)
    else:
        d = tl.make_tensor_descriptor(x, shape=[m, n], strides=[n, 1], block_shape=[1, 16])
        tl.store(out + tl.arange(0, 8)[:, None] * 16 + tl.arange(0, 16)[None, :], d.gather(rows, 16))
"""


def test_gather_and_scatter():
    x = np.arange(20 * 32).reshape(20, 32).astype("f4")
    index = np.array([3, 19, 0, 7, 20, 11, 5, 1], "i4")  # one row is outside
    launch(
        kernel(ROWS), (1,), guarded(x), index, out := guarded(np.ones((8, 16), "f4")), 20, 32, SCATTER=False
    )
    np.testing.assert_array_equal(out, np.concatenate([x, np.zeros((1, 32), "f4")])[index, 16:])
    launch(
        kernel(ROWS),
        (1,),
        guarded(x[:8, :16].copy()),
        index,
        back := guarded(np.zeros((20, 32), "f4")),
        20,
        32,
        SCATTER=True,
    )
    expected = np.zeros((21, 32), "f4")
    expected[index, 16:] = x[:8, :16]
    np.testing.assert_array_equal(back, expected[:20])


MATMUL = """
@triton.jit
def kernel(a, b, c, m, n, k, BM: tl.constexpr, BN: tl.constexpr, BK: tl.constexpr):
    da = tl.make_tensor_descriptor(a, shape=[m, k], strides=[k, 1], block_shape=[BM, BK])
    db = tl.make_tensor_descriptor(b, shape=[n, k], strides=[k, 1], block_shape=[BN, BK])
    dc = tl.make_tensor_descriptor(c, shape=[m, n], strides=[n, 1], block_shape=[BM, BN])
    acc = tl.zeros((BM, BN), tl.float32)
    for start in range(0, k, BK):
        acc = tl.dot(da.load([tl.program_id(0) * BM, start]), db.load([tl.program_id(1) * BN, start]).T, acc)
    dc.store([tl.program_id(0) * BM, tl.program_id(1) * BN], acc)
"""


def test_matmul():
    rng = np.random.default_rng(4)
    a, b = rng.standard_normal((40, 68)).astype("f4"), rng.standard_normal((36, 68)).astype("f4")
    c = guarded(np.zeros((40, 36), "f4"))
    launch(kernel(MATMUL), (2, 2), guarded(a), guarded(b), c, 40, 36, 68, BM=32, BN=32, BK=32)
    np.testing.assert_allclose(c, a @ b.T, rtol=1e-4, atol=1e-4)


HIGHER = """
@triton.jit
def kernel(x, out, a, b, c):
    d = tl.make_tensor_descriptor(x, shape=[a, b, c], strides=[b * c, c, 1], block_shape=[2, 4, 16])
    e = tl.make_tensor_descriptor(out, shape=[a * b * c], strides=[1], block_shape=[128])
    e.store([0], tl.reshape(d.load([1, 0, 0]), (128,)) * 2)
"""


def test_other_ranks():
    x = np.arange(3 * 4 * 16).reshape(3, 4, 16).astype("f4")
    launch(kernel(HIGHER), (1,), guarded(x), out := guarded(np.zeros(3 * 4 * 16, "f4")), 3, 4, 16)
    np.testing.assert_array_equal(out[:128], x[1:].ravel() * 2)
    assert (out[128:] == 0).all()
