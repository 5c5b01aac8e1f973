"""Profiles: kernels of Triton, of the library and of Paddle, with bytes and flops that the launch's arguments decide."""

import ctypes
import json

import numpy as np
import pytest
import triton
import triton.language as tl

import openxpu
from openxpu import _runtime, compiler
from openxpu.compiler import figures
from openxpu.compiler.ceiling import Ceiling, ceiling, fma_loop
from openxpu.compiler.target import host
from openxpu.ops import softmax


@triton.jit
def scale(x, out, n, k, BLOCK: tl.constexpr):
    offs = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    tl.store(out + offs, tl.load(x + offs, mask=offs < n) * k, mask=offs < n)


@triton.jit
def matmul(a, b, c, N, K, BM: tl.constexpr, BN: tl.constexpr, BK: tl.constexpr):
    m = tl.program_id(0) * BM + tl.arange(0, BM)
    n = tl.program_id(1) * BN + tl.arange(0, BN)
    k = tl.arange(0, BK)
    acc = tl.zeros((BM, BN), tl.float32)
    for start in range(0, K, BK):
        x = tl.load(a + m[:, None] * K + (start + k)[None, :])
        y = tl.load(b + (start + k)[:, None] * N + n[None, :])
        acc += tl.dot(x, y)
    tl.store(c + m[:, None] * N + n[None, :], acc)


@triton.jit
def causal_rows(x, out, BLOCK: tl.constexpr):
    row = tl.program_id(0)
    total = 0.0
    for start in range(0, (row + 1) * BLOCK, BLOCK):
        total += tl.sum(tl.load(x + start + tl.arange(0, BLOCK)), 0)
    tl.store(out + row, total)


@triton.jit
def segments(x, lengths, out, BLOCK: tl.constexpr):
    total = 0.0
    for i in range(0, tl.load(lengths + tl.program_id(0))):
        total += tl.load(x + i)
    tl.store(out + tl.program_id(0), total)


@triton.jit
def branches(x, out, n, BLOCK: tl.constexpr):
    offs = tl.arange(0, BLOCK)
    if tl.program_id(0) < n:
        tl.store(out + offs, tl.load(x + offs))
    else:
        tl.store(out + offs, tl.exp(tl.load(x + offs)))


def row(profile, name):
    (found,) = [k for k in profile.kernels if k.name == name]
    return found


def test_masked_tails_are_counted_by_the_elements_that_are_on():
    x, out = openxpu.from_numpy(np.ones(1000, "f4")), openxpu.zeros(1000)
    with compiler.profile() as p:
        for _ in range(3):
            scale[(4,)](x, out, 1000, 2.0, BLOCK=256)
    found = row(p, "scale")
    assert (out.numpy() == 2).all()
    assert (found.launches, found.load_bytes, found.store_bytes) == (3, 3 * 4000, 3 * 4000)
    assert found.flops == 3 * 1024  # operations of masked lanes are done
    assert found.exact
    assert 0 < found.seconds <= p.elapsed_seconds


def test_loops_with_bounds_that_are_arguments():
    a, b = (openxpu.from_numpy(np.ones((64, 64), "f4")) for _ in range(2))
    out = openxpu.zeros((64, 64))
    with compiler.profile() as p:
        matmul[(2, 2)](a, b, out, 64, 64, BM=32, BN=32, BK=16)
    found = row(p, "matmul")
    assert found.dot_flops == found.flops == 2 * 64**3
    assert found.load_bytes == 4 * (2 * 32 * 16 * 4) * 4
    assert found.store_bytes == 64 * 64 * 4


def test_loops_with_bounds_that_differ_by_program():
    x, out = openxpu.from_numpy(np.ones(160, "f4")), openxpu.zeros(10)
    with compiler.profile() as p:
        causal_rows[(10,)](x, out, BLOCK=16)
    assert row(p, "causal_rows").load_bytes == 4 * 16 * sum(range(1, 11))


def test_branches_on_the_program():
    x, out = openxpu.from_numpy(np.ones(16, "f4")), openxpu.zeros(16)
    with compiler.profile() as p:
        branches[(8,)](x, out, 3, BLOCK=16)
    found = row(p, "branches")
    assert (found.load_bytes, found.flops, found.exact) == (8 * 64, 5 * 16, True)


def test_what_only_the_card_knows_is_marked():
    x, lengths, out = openxpu.zeros(16), openxpu.from_numpy(np.full(2, 5, "i4")), openxpu.zeros(2)
    with compiler.profile() as p:
        segments[(2,)](x, lengths, out, BLOCK=16)
    found = row(p, "segments")
    assert not found.exact
    assert "known only on the card" in found.notes[0]
    assert "~ segments: a loop" in p.table()


def test_kernels_of_the_library_copies_and_fills():
    x = openxpu.from_numpy(np.random.default_rng(1).random((32, 100), "f4"))
    softmax.softmax(x)
    with compiler.profile() as p:
        y = softmax.softmax(x)
        z = openxpu.zeros(1 << 12, "u8")
        openxpu.synchronize()
    (kernel,) = [k for k in p.kernels if k.name.startswith("softmax.")]
    assert kernel.load_bytes == kernel.store_bytes == 32 * 100 * 4
    assert kernel.flops > 32 * 100 * 3
    assert y.shape == (32, 100)
    assert row(p, "fill").store_bytes == z.nbytes


def test_table_and_json():
    x, out = openxpu.zeros(1000), openxpu.zeros(1000)
    with compiler.profile() as p:
        scale[(4,)](x, out, 1000, 2.0, BLOCK=256)
    data = json.loads(p.json())
    (found,) = [k for k in data["kernels"] if k["name"] == "scale"]
    roof = Ceiling(data["ceiling"]["bandwidth"], data["ceiling"]["flops"])
    assert found["share"] == pytest.approx(roof.seconds(8000, 1024) / found["seconds"])
    assert found["bandwidth"] == pytest.approx(8000 / found["seconds"])
    assert found["bound"] in ("memory", "compute")
    assert ceiling() is ceiling()
    assert "scale" in str(p)
    assert "GFLOP/s" in p.table(200)


def test_nothing_ran():
    with compiler.profile() as p:
        pass
    assert p.kernels == []
    assert p.data()["kernels"] == []
    assert "No kernel ran" in str(p)


def test_one_profile_at_a_time():
    with compiler.profile(), pytest.raises(openxpu.Error, match="another one is being taken"):
        compiler.profile().__enter__()
    with compiler.profile() as p:
        scale[(1,)](openxpu.zeros(8), openxpu.zeros(8), 8, 1.0, BLOCK=8)
    assert row(p, "scale").launches == 1


def test_a_profile_ends_with_the_error_of_its_block():
    with pytest.raises(ZeroDivisionError), compiler.profile():
        raise ZeroDivisionError
    with compiler.profile():
        pass


def test_a_roof_is_the_slower_of_memory_and_arithmetic():
    roof = Ceiling(bandwidth=10.0, flops=100.0)
    assert roof.seconds(20, 100) == 2
    assert roof.seconds(20, 500) == 5


@triton.jit
def outer(x, y, out, N: tl.constexpr):
    i = tl.arange(0, N)
    tl.store(
        out + i[:, None] * N + i[None, :],
        tl.load(x + i[:, None] + tl.zeros((N, N), tl.int32)) * tl.load(y + i)[None, :],
    )


def test_broadcast_loads_count_each_element_once():
    x, out = openxpu.from_numpy(np.ones(16, "f4")), openxpu.zeros((16, 16))
    with compiler.profile() as p:
        outer[(1,)](x, x, out, N=16)
    assert (row(p, "outer").load_bytes, row(p, "outer").store_bytes) == (2 * 64, 1024)


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        (["trips", 0, 10, 3], 4), (["trips", 5, 3, 1], 0), (["ceildiv", 7, 2], 4), (["%", 7, 4], 3), (["/", 7, 2], 3),
        (["select", ["<", 1, 2], 5, 6], 5), (["not", 0], 1), (["min", 3, ["max", 1, 2]], 2), (["-", ["arg", 0], 1], 8),
        (["&", ["==", 1, 1], ["!=", 1, 1]], 0), (["grid", 1], 2), (["|", [">=", 2, 1], [">", 0, 1]], 1), (["<=", 2, 1], 0),
    ],
)  # fmt: skip
def test_expressions(expression, value):
    entry = {"kind": "load", "dtype": "i8", "count": 1, "times": [expression], "extents": []}
    totals = figures.evaluate({"entries": [entry], "notes": []}, (1, 2, 1), [9])
    assert totals.load_bytes == 2 * value
    assert figures.text(expression, ["n"])


def test_the_loop_of_the_peak_does_its_fmas():
    target = host()
    kind = ctypes.CFUNCTYPE(
        ctypes.c_int32, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_uint64, ctypes.c_uint64, ctypes.c_void_p
    )
    raw, argument = np.zeros(192, np.uint8), np.array([1], np.uint64)
    scratch = (raw.ctypes.data + 63) // 64 * 64
    image = _runtime.load_image(fma_loop(target))
    entry = kind(image.symbol("openxpu_entry"))
    assert entry(argument.ctypes.data, None, 0, 1, scratch) == 0
    found = raw[scratch - raw.ctypes.data :].view(np.float32)[: target.vector_bytes // 4]
    chains, rounds = (12 if target.registers < 32 else 24), 100_000
    assert (
        found == sum(range(chains)) + chains * rounds
    ).all()  # each started at its number and added 1 a round
