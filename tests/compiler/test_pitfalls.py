"""Mistakes that compilers of tile languages make, each with the kernel that shows it."""

import numpy as np
import pytest
from harness import guarded, launch
from values import DTYPES, FLOATS, same, sample
from written import kernel, rows

RNG = np.random.default_rng(9)


def test_a_load_that_is_used_again_after_a_store_keeps_its_value():
    """v = load(p); store(p, v + 1); store(q, v): v must not be read again."""
    source = """
@triton.jit
def kernel(p, q, n, BLOCK: tl.constexpr):
    offs = tl.arange(0, BLOCK)
    v = tl.load(p + offs, mask=offs < n)
    tl.store(p + offs, v + 1, mask=offs < n)
    w = tl.load(p + offs, mask=offs < n)
    tl.atomic_add(p + offs, 10, mask=offs < n)
    tl.store(q + offs, v * 1000 + w, mask=offs < n)
"""
    p, q = np.arange(37, dtype="i4"), np.zeros(37, "i4")
    launch(kernel(source), (1,), p, q, 37, BLOCK=64)
    np.testing.assert_array_equal(q, np.arange(37) * 1001 + 1)
    np.testing.assert_array_equal(p, np.arange(37) + 11)


def test_loads_in_a_loop_see_the_stores_of_the_turn_before():
    source = """
@triton.jit
def kernel(p, n, BLOCK: tl.constexpr):
    offs = tl.arange(0, BLOCK)
    for i in range(n):
        v = tl.load(p + offs)
        w = tl.load(p + BLOCK - 1 - offs)
        tl.store(p + offs, v + w)
"""
    p = np.arange(16, dtype="i4")
    expected = p.copy()
    for _ in range(3):
        expected = expected + expected[::-1]
    launch(kernel(source), (1,), p, 3, BLOCK=16)
    np.testing.assert_array_equal(p, expected)


def test_a_scalar_load_after_a_tile_store_sees_it():
    source = """
@triton.jit
def kernel(p, q, BLOCK: tl.constexpr):
    offs = tl.arange(0, BLOCK)
    before = tl.load(p + 3)
    tl.store(p + offs, offs * 2)
    after = tl.load(p + 3)
    tl.store(p + 3, 100)
    tl.store(q + offs, tl.load(p + offs) + before * 1000 + after * 10000)
"""
    p, q = np.full(8, 5, "i4"), np.zeros(8, "i4")
    launch(kernel(source), (1,), p, q, BLOCK=8)
    np.testing.assert_array_equal(q, np.where(np.arange(8) == 3, 100, np.arange(8) * 2) + 5000 + 60000)


def test_one_array_passed_twice_is_read_before_it_is_written():
    """Element for element, as docs/compiler.md promises: a permuted load through another argument is outside the
    rule, and worked only where one turn of the loop had read the whole tile."""
    source = """
@triton.jit
def kernel(x, out, BLOCK: tl.constexpr):
    offs = tl.arange(0, BLOCK)
    v = tl.load(x + offs)
    tl.store(out + offs, v * 2)
    tl.store(out + offs, v + tl.load(out + offs))
"""
    p = np.arange(256, dtype="i4")
    launch(kernel(source), (1,), p, p, BLOCK=256)
    np.testing.assert_array_equal(p, np.arange(256) * 3)


@pytest.mark.parametrize("block", [16, 64, 512])
def test_a_tile_that_is_permuted_in_place_is_read_whole_before_it_is_written(block):
    source = """
@triton.jit
def kernel(p, q, BLOCK: tl.constexpr):
    offs = tl.arange(0, BLOCK)
    v = tl.load(p + BLOCK - 1 - offs)
    tl.store(p + offs, v)
    tl.store(q + offs + 1, tl.load(q + offs))
"""
    p, q = np.arange(block, dtype="i4"), np.arange(block + 1, dtype="i4")
    launch(kernel(source), (1,), p, q, BLOCK=block)
    np.testing.assert_array_equal(p, np.arange(block)[::-1])
    np.testing.assert_array_equal(q[1:], np.arange(block))


def test_a_load_between_two_stores_sees_the_first_one():
    """The stores must not become one loop nest that stands behind the load."""
    source = """
@triton.jit
def kernel(p, q, out, BLOCK: tl.constexpr):
    offs = tl.arange(0, BLOCK)
    tl.store(p + offs, offs * 2)
    v = tl.load(p + (offs + 1) % BLOCK)
    tl.store(q + offs, offs)
    tl.store(out + offs, v)
"""
    p, q, out = (np.zeros(64, "i4") for _ in range(3))
    launch(kernel(source), (1,), p, q, out, BLOCK=64)
    np.testing.assert_array_equal(out, np.roll(np.arange(64) * 2, -1))


def test_a_value_needed_whole_and_element_by_element_is_kept_before_the_nest():
    source = """
@triton.jit
def kernel(out, BLOCK: tl.constexpr):
    offs = tl.arange(0, BLOCK)
    x = offs.to(tl.float64)
    tl.store(out + offs, tl.gather(x, offs * 7 % BLOCK, 0) * 100 + tl.maximum(x, x))
"""
    out = np.zeros(32)
    launch(kernel(source), (1,), out, BLOCK=32)
    np.testing.assert_array_equal(out, np.arange(32) * 7 % 32 * 100 + np.arange(32))


@pytest.mark.parametrize("n", [1, 7, 15, 16, 17, 33, 63, 64])
@pytest.mark.parametrize("end", [True, False])
def test_no_load_reaches_beyond_its_mask(n, end):
    """Guard pages show reads that masked stores hide: with `% n`, with masks of one and of two dimensions, reversed."""
    source = """
@triton.jit
def kernel(x, y, out, n, BLOCK: tl.constexpr):
    offs = tl.arange(0, BLOCK)
    a = tl.load(x + offs % n)
    b = tl.load(x + (n - 1 - offs), mask=offs < n, other=0)
    i = tl.arange(0, 4)[:, None]
    j = tl.arange(0, BLOCK)[None, :]
    c = tl.load(y + i * n + j, mask=(i < 3) & (j < n), other=0)
    d = tl.load(y + j * 3 + i, mask=(i < 3) & (j < n), other=0)
    e = tl.load(x + offs, mask=(offs < n) & (offs % 3 == 1), other=-1)
    r = a + b * 10 + tl.sum(c, 0) * 100 + tl.sum(d, 0) * 1000 + e * 10000
    tl.store(out + offs, r, mask=offs < n)
"""
    x, y = RNG.integers(0, 9, n).astype("i4"), RNG.integers(0, 9, 3 * n).astype("i4")
    out = guarded(np.zeros(n, "i4"), end)
    launch(kernel(source), (1,), guarded(x, end), guarded(y, end), out, n, BLOCK=64)
    e = np.where(np.arange(n) % 3 == 1, x, -1)
    expected = x + x[::-1] * 10 + y.reshape(3, n).sum(0) * 100 + y.reshape(n, 3).sum(1) * 1000 + e * 10000
    np.testing.assert_array_equal(out, expected)


def test_masked_off_addresses_may_be_anything():
    source = """
@triton.jit
def kernel(x, index, out, n, BLOCK: tl.constexpr):
    offs = tl.arange(0, BLOCK)
    i = tl.load(index + offs)
    v = tl.load(x + i, mask=(i >= 0) & (i < n), other=-5)
    tl.store(out + i, v, mask=(i >= 0) & (i < n))
    s = tl.load(x + n * 1000000, mask=n < 0, other=7)
    tl.store(out + n * 1000000, s, mask=n < 0)
    tl.store(out + 1, s + tl.sum(v))
"""
    index = np.array([0, -1, 2, 2**30, -(2**31), 3, 2**31 - 1, 9], "i4")
    x, out = guarded(np.arange(4, dtype="i4")), guarded(np.zeros(4, "i4"))
    launch(kernel(source), (1,), x, index, out, 4, BLOCK=8)
    np.testing.assert_array_equal(out, [0, 7 + 5 - 25, 2, 3])


def test_exp_of_minus_a_lot_is_zero():
    for value in (-1e30, -3e38, -np.inf, -1e4):
        x = np.array([value, 0, 1], "f4")
        out = np.zeros((3, 3), "f4")
        launch(
            kernel(rows(["tl.exp(a)", "tl.exp2(a)", "tl.exp(a - tl.max(a))"], 1)), (1,), x, out, 3, BLOCK=4
        )
        np.testing.assert_array_equal(out[:, 0], [0, 0, 0])
        np.testing.assert_allclose(out[0, 1:], [1, np.e], rtol=1e-6)


def test_a_masked_row_of_attention_is_no_nan():
    source = """
@triton.jit
def kernel(x, out, n, M: tl.constexpr, N: tl.constexpr):
    i = tl.arange(0, M)[:, None]
    j = tl.arange(0, N)[None, :]
    s = tl.where((j <= i) & (i < n), tl.load(x + i * N + j), -1.0e30)
    m = tl.max(s, 1)
    p = tl.exp(s - m[:, None])
    tl.store(out + i * N + j, p / tl.sum(p, 1)[:, None])
"""
    x, out = RNG.standard_normal((16, 16)).astype("f4"), np.zeros((16, 16), "f4")
    launch(kernel(source), (1,), x, out, 9, M=16, N=16)
    assert np.isfinite(out).all()
    np.testing.assert_allclose(out.sum(1), 1, rtol=1e-5)


@pytest.mark.parametrize("dtype", FLOATS)
def test_infinities_nan_denormals_and_signed_zeros_pass_unharmed(dtype):
    x = sample(dtype, 16, 1)
    results = [
        "a",
        "a * 1.0",
        "a + -0.0",
        "tl.where(a == a, a, a)",
        "-(-a)",
        "tl.maximum(a, a)",
        "tl.abs(a) * tl.where(a < 0, -1.0, 1.0)",
    ]
    out = np.zeros((len(results), 16), DTYPES[dtype])
    launch(kernel(rows(results, 1)), (1,), x, out, 16, BLOCK=16)
    for row, result in zip(out[:-1], results, strict=False):
        try:
            same(row, x)
        except AssertionError as error:
            raise AssertionError(f"{result}: {error}") from error
    np.testing.assert_array_equal(out[-1].astype("f8"), x.astype("f8"))


@pytest.mark.parametrize("dtype", ["i8", "i16", "i32", "i64", "u8", "u16", "u32", "u64"])
def test_integers_wrap(dtype):
    info = np.iinfo(DTYPES[dtype])
    a, b = np.array([info.max, info.min, info.max], DTYPES[dtype]), np.array([1, 1, info.max], DTYPES[dtype])
    out = np.zeros((4, 3), DTYPES[dtype])
    launch(
        kernel(rows(["a + b", "a - b", "a * b", "tl.sum(a.to(a.dtype)).to(a.dtype) * 0 + a * a"])),
        (1,),
        a,
        b,
        out,
        3,
        BLOCK=4,
    )
    with np.errstate(over="ignore"):
        np.testing.assert_array_equal(out, [a + b, a - b, a * b, a * a])


def test_an_expensive_value_of_several_uses_is_right_in_each():
    source = """
@triton.jit
def kernel(x, out, N: tl.constexpr):
    i = tl.arange(0, N)[:, None]
    j = tl.arange(0, N)[None, :]
    v = tl.exp(tl.load(x + i * N + j))
    w = tl.trans(v) / (1 + tl.sum(v, 1)[:, None])
    tl.store(out + i * N + j, v + w + tl.max(v, 0)[None, :])
"""
    x, out = RNG.standard_normal((16, 16)).astype("f4"), np.zeros((16, 16), "f4")
    launch(kernel(source), (1,), x, out, N=16)
    v = np.exp(x.astype("f8"))
    np.testing.assert_allclose(out, v + v.T / (1 + v.sum(1, keepdims=True)) + v.max(0), rtol=1e-5)


def test_a_reduction_of_an_axis_beyond_its_mask_counts_the_fill_value():
    source = """
@triton.jit
def kernel(x, out, n, BLOCK: tl.constexpr):
    offs = tl.arange(0, BLOCK)
    v = tl.load(x + offs, mask=offs < n, other=2)
    tl.store(out, tl.sum(v))
    tl.store(out + 1, tl.max(v))
    tl.store(out + 2, tl.sum((offs < n).to(tl.int32)))
    tl.store(out + 3, tl.sum(tl.where(offs < n, v, 0)))
"""
    for n in (0, 1, 5, 8):
        x, out = guarded(np.full(n, -1, "i4")), np.zeros(4, "i4")
        launch(kernel(source), (1,), x, out, n, BLOCK=8)
        np.testing.assert_array_equal(out, [-n + 2 * (8 - n), 2 if n < 8 else -1, n, -n])


def test_offsets_beyond_32_bits():
    source = """
@triton.jit
def kernel(x, out, far, BLOCK: tl.constexpr):
    offs = tl.arange(0, BLOCK).to(tl.int64) + far
    tl.store(out + (offs - far), tl.load(x - far + offs))
"""
    from harness import Typed

    x, out = RNG.standard_normal(16).astype("f4"), np.zeros(16, "f4")
    launch(kernel(source), (1,), x, out, Typed("i64", 2**33), BLOCK=16)
    np.testing.assert_array_equal(out, x)


def test_pointers_loaded_from_memory():
    """As in grouped products: addresses of arrays lie in an array."""
    source = """
@triton.jit
def kernel(addresses, out, COUNT: tl.constexpr, BLOCK: tl.constexpr):
    offs = tl.arange(0, BLOCK)
    for i in range(COUNT):
        p = tl.load(addresses + i).to(tl.pointer_type(tl.float32))
        tl.store(out + i * BLOCK + offs, tl.load(p + offs) * 2)
    many = tl.load(addresses + tl.arange(0, 2)).to(tl.pointer_type(tl.float32))
    tl.store(out + COUNT * BLOCK + tl.arange(0, 2), tl.load(many + 1))
"""
    arrays = [RNG.standard_normal(8).astype("f4") for _ in range(3)]
    addresses = np.array([a.ctypes.data for a in arrays], "i8")
    out = np.zeros(26, "f4")
    launch(kernel(source), (1,), addresses, out, COUNT=3, BLOCK=8)
    np.testing.assert_array_equal(out[:24].reshape(3, 8), np.stack(arrays) * 2)
    np.testing.assert_array_equal(out[24:], [arrays[0][1], arrays[1][1]])


def test_bool_arrays_and_bitcast_pointers_are_read_where_they_lie():
    source = """
@triton.jit
def kernel(flags, x, out, n, BLOCK: tl.constexpr):
    offs = tl.arange(0, BLOCK)
    f = tl.load(flags + offs, mask=offs < n)
    bits = tl.load(x.to(tl.pointer_type(tl.int32), bitcast=True) + offs, mask=offs < n)
    tl.store(out + offs, tl.where(f, bits, -1), mask=offs < n)
    tl.store(flags + offs, ~f, mask=offs < n)
"""
    flags, x = RNG.random(37) < 0.5, RNG.standard_normal(37).astype("f4")
    given, out = guarded(flags), guarded(np.zeros(37, "i4"))
    launch(kernel(source), (1,), given, guarded(x), out, 37, BLOCK=64)
    np.testing.assert_array_equal(out, np.where(flags, x.view("i4"), -1))
    np.testing.assert_array_equal(given, ~flags)


def test_a_kept_gather_comes_after_the_tile_it_reads():
    source = """
@triton.jit
def kernel(x, out, count, n, BLOCK: tl.constexpr):
    offs = tl.arange(0, BLOCK)
    v = tl.load(x + offs)
    acc = v + n
    for i in range(count):
        acc = tl.maximum(tl.gather(v, offs, 0), acc - 2)
    tl.store(out + offs, acc)
"""
    x, out = RNG.integers(-100, 100, 64).astype("i4"), np.zeros(64, "i4")
    launch(kernel(source), (1,), x, out, 3, 4, BLOCK=64)
    np.testing.assert_array_equal(out, x)


@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_extremes_that_propagate_nan_order_the_zeros(dtype):
    source = """
@triton.jit
def kernel(x, y, high, low, n, BLOCK: tl.constexpr):
    i = tl.arange(0, BLOCK)
    a, b = tl.load(x + i, mask=i < n), tl.load(y + i, mask=i < n)
    tl.store(high + i, tl.maximum(a, b, propagate_nan=tl.PropagateNan.ALL), mask=i < n)
    tl.store(low + i, tl.minimum(a, b, propagate_nan=tl.PropagateNan.ALL), mask=i < n)
"""
    values = np.array([0.0, -0.0, 1, -1, np.inf, -np.inf, np.nan, -np.nan, 1e-40, -1e-40, 3e38], dtype)
    x, y = (t.ravel() for t in np.meshgrid(values, values))
    high, low = np.zeros_like(x), np.zeros_like(x)
    launch(kernel(source), (1,), x, y, high, low, x.size, BLOCK=128)
    for found, function, either in ((high, np.maximum, np.logical_and), (low, np.minimum, np.logical_or)):
        want = function(x, y)
        zeros = (x == 0) & (y == 0)
        want[zeros] = np.where(either(np.signbit(x), np.signbit(y)), -0.0, 0.0)[zeros]
        np.testing.assert_array_equal(found, want)
        numbers = ~np.isnan(want)
        np.testing.assert_array_equal(np.signbit(found)[numbers], np.signbit(want)[numbers])


@pytest.mark.parametrize("dtype", ["i1", "i2", "f4", "f8"])
@pytest.mark.parametrize("first", [0, 1])
@pytest.mark.parametrize("step", [2, 3, 5, 8, 9, -1, -3])
@pytest.mark.parametrize("n", [1, 5, 32, 47, 64])
def test_elements_apart_are_read_and_written_and_none_between_or_behind(dtype, first, step, n):
    """Plain accesses stand for a gather: what lies between the elements stays, what lies behind is not touched."""
    source = """
@triton.jit
def kernel(p, q, n, FIRST: tl.constexpr, STEP: tl.constexpr, BLOCK: tl.constexpr):
    offs = tl.arange(0, BLOCK)
    at = FIRST + STEP * offs
    if STEP < 0:
        at -= STEP * (n - 1)
    v = tl.load(p + at, mask=offs < n, other=7)
    tl.store(q + at, v, mask=(offs < n) & (v != 3))
"""
    size = first + abs(step) * (n - 1) + 1
    for end in (True, False):
        p = guarded(RNG.integers(1, 5, size).astype(dtype), end)
        q = guarded(np.full(size, 9, dtype), end)
        expected = q.copy()
        expected[first :: abs(step)] = np.where(p[first :: abs(step)] == 3, 9, p[first :: abs(step)])
        launch(kernel(source), (1,), p, q, n, FIRST=first, STEP=step, BLOCK=64)
        np.testing.assert_array_equal(q, expected)


def test_elements_apart_in_whole_vectors():
    source = """
@triton.jit
def kernel(p, q, FIRST: tl.constexpr, STEP: tl.constexpr, BLOCK: tl.constexpr):
    at = FIRST + STEP * tl.arange(0, BLOCK)
    tl.store(q + at, tl.load(p + at))
"""
    for dtype in ("i1", "f4", "f8"):
        for step in (2, 3, 4, 7, 8, -1, -2):
            size = abs(step) * 63 + 1
            for end in (True, False):
                p = guarded(RNG.integers(1, 99, size).astype(dtype), end)
                q = guarded(np.full(size, 0, dtype), end)
                expected = q.copy()
                expected[:: abs(step)] = p[:: abs(step)]
                launch(kernel(source), (1,), p, q, FIRST=0 if step > 0 else size - 1, STEP=step, BLOCK=64)
                np.testing.assert_array_equal(q, expected)


EXTREMES = """
@triton.jit
def highest(a, b):
    return tl.maximum(a, b, propagate_nan=tl.PropagateNan.ALL)


@triton.jit
def lowest(a, b):
    return tl.minimum(a, b, propagate_nan=tl.PropagateNan.ALL)


"""


@pytest.mark.parametrize(
    ("reduced", "want"),
    [
        ("tl.reduce(v, AXIS, highest)", np.max),
        ("tl.reduce(v, AXIS, lowest)", np.min),
        ("tl.max(v, AXIS)", np.fmax.reduce),
        ("tl.sum(v, AXIS)", np.sum),
        ("tl.sum(v * v, AXIS)", lambda v, axis: (v * v).sum(axis)),
        ("tl.sum(tl.where(c < n, v, 1.0), AXIS)", None),
    ],
)
@pytest.mark.parametrize("fill", ["0.0", "float('-inf')", "3.0"])
@pytest.mark.parametrize("axis", [0, 1])
def test_a_reduction_that_stops_at_the_mask_counts_what_is_masked(reduced, want, fill, axis):
    """What a masked load gives instead belongs to the result, once or a hundred times: zeros of a sum do not, threes do."""
    text = (
        EXTREMES
        + f"""
@triton.jit
def kernel(x, out, n, AXIS: tl.constexpr, ROWS: tl.constexpr, BLOCK: tl.constexpr):
    if AXIS == 1:
        r, c = tl.arange(0, ROWS)[:, None], tl.arange(0, BLOCK)[None, :]
    else:
        r, c = tl.arange(0, ROWS)[None, :], tl.arange(0, BLOCK)[:, None]
    v = tl.load(x + r * n + c, mask=(c < n) & (r < ROWS - 1), other={fill})
    tl.store(out + tl.arange(0, ROWS), {reduced})
"""
    )
    shape = {"AXIS": axis, "ROWS": 8, "BLOCK": 128}
    plain, fixed = kernel(text), kernel(text.replace("n, AXIS", "n: tl.constexpr, AXIS"))
    for n in (0, 1, 16, 17, 63, 65, 128):
        x = RNG.standard_normal((8, n)).astype("f4")
        if n:
            x[1, -1], x[2, n // 2], x[3, 0] = np.nan, np.inf, -np.inf
        whole = np.full((8, 128), float(fill.replace("float('", "").replace("')", "")), "f4")
        whole[:7, :n] = x[:7]
        if want is None:
            whole[:, n:] = 1.0
        with np.errstate(invalid="ignore"):
            expected = (want or np.sum)(whole, axis=1)
        found = [np.zeros(8, "f4"), np.zeros(8, "f4")]
        launch(plain, (1,), guarded(x), found[0], n, **shape)
        if n in (0, 65):
            launch(fixed, (1,), guarded(x), found[1], n=n, **shape)
        for out in found[: 2 if n in (0, 65) else 1]:
            np.testing.assert_allclose(out, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("dtype", ["i1", "i2", "f4", "f8"])
def test_prefix_masks_of_every_length(dtype):
    source = """
@triton.jit
def kernel(x, out, n, first, BLOCK: tl.constexpr):
    lane = tl.arange(0, BLOCK)
    inside = first.to(tl.int64) + lane < n
    tl.store(out + lane, tl.load(x + lane, mask=inside, other=5), mask=lane <= n)
"""
    ref = kernel(source)
    for first in (0, -3, 2):
        for n in (*range(0, 20), 31, 32, 33, 63, 64, 65, 100, 127):
            count = min(max(n - first, 0), 128)
            x = RNG.integers(-9, 9, count).astype(dtype)
            out = guarded(np.full(n + 1, 7, dtype))
            launch(ref, (1,), guarded(x), out, n, first, BLOCK=128)
            want = np.full(n + 1, 5, dtype)
            want[: min(count, n + 1)] = x[: n + 1]
            np.testing.assert_array_equal(out, want)
