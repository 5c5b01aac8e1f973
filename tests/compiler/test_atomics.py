"""Atomics of every kind, dtype, mask and memory order: what they leave in memory and what they return."""

import numpy as np
import pytest
from harness import guarded, launch
from values import DTYPES
from written import kernel

SOURCE = """
@triton.jit
def kernel(p, v, old, n, BLOCK: tl.constexpr):
    offs = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    mask = offs < n
    r = tl.atomic_KIND(p + offs % 5, tl.load(v + offs, mask=mask, other=0), mask=mask, sem=SEM)
    tl.store(old + offs, r, mask=mask)
"""
KINDS = {
    "add": np.add, "max": np.maximum, "min": np.minimum, "and": np.bitwise_and, "or": np.bitwise_or, "xor": np.bitwise_xor,
    "xchg": lambda a, b: b,
}  # fmt: skip
TYPES = {
    "add": ("i32", "u32", "i64", "u64", "f16", "bf16", "f32", "f64"), "max": ("i32", "u32", "i64", "u64", "f32", "f64"),
    "min": ("i32", "u32", "i64", "u64", "f32", "f64"), "and": ("i32", "u32", "i64", "u64", "f32", "f64"), "or": ("i32", "u32", "i64", "u64", "f32", "f64"),
    "xor": ("i32", "u32", "i64", "u64", "f32", "f64"), "xchg": ("i32", "u32", "i64", "u64", "f32", "f64"),
}  # fmt: skip
ROWS = [(kind, dtype) for kind, types in TYPES.items() for dtype in types]


def combine(kind: str, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    if kind in ("and", "or", "xor") and a.dtype.kind == "f":  # of their bits
        bits = f"u{a.dtype.itemsize}"
        return KINDS[kind](a.view(bits), b.view(bits)).view(a.dtype)
    return KINDS[kind](a, b)


def run(kind: str, dtype: str, sem: str, n: int = 77) -> None:
    rng = np.random.default_rng(1)
    low = 0 if dtype.startswith("u") else -9
    v, start = rng.integers(low, 9, n).astype(DTYPES[dtype]), rng.integers(low, 9, 5).astype(DTYPES[dtype])
    p, old = guarded(start), guarded(np.zeros(n, DTYPES[dtype]))
    launch(kernel(SOURCE.replace("KIND", kind).replace("SEM", sem)), (2,), p, guarded(v), old, n, BLOCK=64)
    memory, returned = start.copy(), np.zeros_like(old)
    for i in range(n):
        returned[i] = memory[i % 5]
        memory[i % 5] = combine(kind, memory[i % 5 : i % 5 + 1], v[i : i + 1])[0]
    np.testing.assert_array_equal(p, memory)
    if kind not in ("max", "min") or dtype[0] != "f":  # Triton makes two atomics of those, by sign
        np.testing.assert_array_equal(old, returned)


@pytest.mark.parametrize(("kind", "dtype"), ROWS)
def test_atomic(kind, dtype):
    run(kind, dtype, "None")


@pytest.mark.parametrize("sem", ["'relaxed'", "'acquire'", "'release'", "'acq_rel'"])
def test_memory_orders(sem):
    run("add", "i32", sem)
    run("xchg", "f32", sem)


CAS = """
@triton.jit
def kernel(p, compare, new, old, BLOCK: tl.constexpr):
    offs = tl.arange(0, BLOCK)
    tl.store(old + offs, tl.atomic_cas(p + offs, tl.load(compare + offs), tl.load(new + offs), sem=SEM))
"""


@pytest.mark.parametrize("dtype", ["i16", "u16", "i32", "u32", "i64", "u64", "f16", "bf16", "f32", "f64"])
@pytest.mark.parametrize("sem", ["None", "'relaxed'"])
def test_compare_and_swap(dtype, sem):
    start = np.arange(16).astype(DTYPES[dtype])
    compare, new = start.copy(), (start + start.dtype.type(50)).astype(start.dtype)
    compare[::3] = 99
    p, old = guarded(start), guarded(np.zeros_like(start))
    launch(kernel(CAS.replace("SEM", sem)), (1,), p, compare, new, old, BLOCK=16)
    np.testing.assert_array_equal(p, np.where(compare == start, new, start))
    np.testing.assert_array_equal(old, start)


SCALARS = """
@triton.jit
def kernel(lock, count, total, n):
    while tl.atomic_cas(lock, 0, 1) == 1:
        pass
    tl.store(total, tl.load(total) + tl.program_id(0))
    tl.debug_barrier()
    tl.atomic_xchg(lock, 0)
    first = tl.atomic_add(count, 1)
    if first == n - 1:
        tl.atomic_store(total + 1, tl.atomic_load(total) * 2)
    tl.atomic_poll(count, first + 1)
"""


def test_lock_last_program_load_store_and_poll():
    lock, count, total = np.zeros(1, "i4"), np.zeros(1, "i4"), np.zeros(2, "i4")
    launch(kernel(SCALARS), (10,), lock, count, total, 10)
    np.testing.assert_array_equal([lock[0], count[0], *total], [0, 10, 45, 90])


BITS = """
@triton.jit
def kernel(p, v, out, BLOCK: tl.constexpr):
    offs = tl.arange(0, BLOCK)
    tl.atomic_max(p + offs * 0, tl.load(v + offs))
    tl.atomic_min(p + 1 + offs * 0, tl.load(v + offs))
    tl.store(out + offs, tl.atomic_load(v + offs, mask=offs < 5))
    tl.atomic_store(out + offs, tl.load(v + offs) * 2, mask=offs >= 5)
"""


@pytest.mark.parametrize("dtype", ["f32", "f64", "i32"])
def test_extremes_over_signs(dtype):
    v = np.array([-3, 2, -0.0, 7, -11, 5, 1, 0], DTYPES[dtype])
    p, out = np.array([-1, 1], DTYPES[dtype]), np.zeros(8, DTYPES[dtype])
    launch(kernel(BITS), (1,), p, v, out, BLOCK=8)
    np.testing.assert_array_equal(p, [7, -11])
    np.testing.assert_array_equal(out, [-3, 2, 0, 7, -11, 10, 2, 0])
