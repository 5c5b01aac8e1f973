"""The dot emitter against NumPy: every operand form, type and ragged extent, with operands that end at a guard page."""

from __future__ import annotations

import ctypes
import mmap
from dataclasses import dataclass, field

import amx
import llvmlite.binding as llvm
import ml_dtypes
import numpy as np
import pytest
from llvmlite import ir

from openxpu.compiler import target
from openxpu.compiler.dot import DotAccumulator, DotOperand, emit_dot

llvm.initialize_native_target()
llvm.initialize_native_asmprinter()

I64 = ir.IntType(64)
PTR = ir.PointerType()
NUMPY = {
    "f32": np.dtype(np.float32),
    "f64": np.dtype(np.float64),
    "f16": np.dtype(np.float16),
    "bf16": np.dtype(ml_dtypes.bfloat16),
    "i8": np.dtype(np.int8),
}
HOST = {name for name, on in llvm.get_host_cpu_features().items() if on}
PAGE = mmap.PAGESIZE


@dataclass(frozen=True)
class Machine:
    """The parts of a target that the emitter reads."""

    features: frozenset[str]
    vector_bytes: int
    registers: int
    emulates_amx: bool = False


AVX512 = Machine(frozenset(f for f in HOST if not f.startswith("amx")), 64, 32)
AVX512_PAIRS = Machine(AVX512.features - {"avx512fp16"}, 64, 32)
AVX2 = Machine(
    frozenset(f for f in HOST if not f.startswith(("avx512", "amx", "avxvnni", "avx10"))),
    32,
    16,
)
SSE2 = Machine(frozenset({"sse2"}), 16, 16)
TARGETS = [pytest.param(AVX2, id="avx2"), pytest.param(SSE2, id="sse2")]
if "avx512f" in HOST:
    TARGETS += [pytest.param(AVX512, id="avx512")]
    if "avx512bf16" in HOST and "avx512fp16" in HOST:
        TARGETS += [pytest.param(AVX512_PAIRS, id="avx512-bf16-pairs")]
AMX = Machine(frozenset(HOST), 64, 32)
if {"amx-tile", "amx-bf16", "amx-int8"} <= target.host().features & HOST:
    TARGETS += [pytest.param(AMX, id="amx")]
elif "avx512f" in HOST:
    AMX = Machine(AVX512.features | {"amx-tile", "amx-bf16", "amx-int8"}, 64, 32, emulates_amx=True)
    TARGETS += [pytest.param(AMX, id="amx-emulated")]


def guarded(nbytes: int) -> int:
    """Address of a block of nbytes whose end is followed by a page that faults."""
    pages = -(-nbytes // PAGE) + 1
    block = mmap.mmap(-1, pages * PAGE)
    _ALIVE.append(block)
    address = ctypes.addressof(ctypes.c_char.from_buffer(block))
    libc = ctypes.CDLL(None, use_errno=True)
    assert libc.mprotect(ctypes.c_void_p(address + (pages - 1) * PAGE), PAGE, 0) == 0
    return address + (pages - 1) * PAGE - nbytes


_ALIVE: list[mmap.mmap] = []


@dataclass
class Placed:
    """A matrix in guarded memory in one of the forms that an operand may have."""

    values: np.ndarray
    form: str
    address: int = 0
    strides: tuple[int, int] = (0, 0)
    table: np.ndarray | None = None
    keep: list[object] = field(default_factory=list)

    def __post_init__(self) -> None:
        rows, cols = self.values.shape
        size = self.values.dtype.itemsize
        self.strides = {
            "row": (cols + 3, 1),
            "col": (1, rows + 5),
            "strided": (2 * cols + 1, 2),
            "rowtable": (cols + 3, 1),
            "coltable": (1, rows + 5),
            "rowtable-strided": (2 * cols + 1, 2),
            "coltable-strided": (2, 2 * rows + 3),
        }[self.form]
        sr, sc = self.strides
        extent = ((rows - 1) * sr + (cols - 1) * sc + 1) * size if rows and cols else 0
        self.address = guarded(extent)
        if extent:
            flat = np.ctypeslib.as_array((ctypes.c_uint8 * extent).from_address(self.address))
            flat = flat.view(self.values.dtype)
            np.lib.stride_tricks.as_strided(flat, (rows, cols), (sr * size, sc * size))[:] = self.values

    def tables(self, full: int) -> int:
        """Address of the table of this form, `full` entries long; entries behind the valid ones point at the guard page."""
        axis = 0 if self.form.startswith("rowtable") else 1
        step = self.strides[axis] * self.values.dtype.itemsize
        valid = self.values.shape[axis]
        self.table = np.array(
            [self.address + i * step if i < valid else 8 for i in range(full)],
            dtype=np.int64,
        )
        return self.table.ctypes.data


def compile_dot(
    machine: Machine,
    dtype: str,
    size: tuple[int, int, int],
    forms: tuple[str, str],
    dynamic: bool,
    unit_only: bool = True,
    strides: tuple[tuple[int, int], tuple[int, int]] | None = None,
    extents: tuple[int | None, int | None, int | None] = (None, None, None),
    precision: str = "ieee",
):
    """f(pointers a, b, acc, scratch, strides a, strides b, valid m, n, k) as a ctypes function, and its module."""
    m, n, k = size
    module = ir.Module("dot_test")
    module.triple = llvm.get_process_triple()
    names = ["a", "b", "acc", "scratch"]
    function = ir.Function(module, ir.FunctionType(ir.VoidType(), [PTR] * 4 + [I64] * 7), "run")
    b = ir.IRBuilder(function.append_basic_block("entry"))
    pa, pb, pacc, pscratch, sar, sac, sbr, sbc, vm, vn, vk = function.args
    del names
    used = 0

    def scratch(nbytes: int) -> ir.Value:
        nonlocal used
        at = b.gep(pscratch, [ir.Constant(I64, used)], source_etype=ir.IntType(8))
        used += -(-nbytes // 64) * 64
        return at

    def operand(pointer: ir.Value, sr: ir.Value, sc: ir.Value, form: str, which: int) -> DotOperand:
        one = ir.Constant(I64, 1)
        if strides is not None:
            sr, sc = (ir.Constant(I64, s) for s in strides[which])
        if form in ("row", "rowtable"):
            sc = one
        if form in ("col", "coltable"):
            sr = one
        rows, cols = ((vm, vk), (vk, vn))[which] if dynamic else (None, None)
        if extents != (None, None, None):
            fixed = [None if x is None else ir.Constant(I64, x) for x in extents]
            rows, cols = ((fixed[0], fixed[2]), (fixed[2], fixed[1]))[which]
        if form.startswith("rowtable"):
            return DotOperand(dtype, None, None, sc, rows, cols, row_pointers=pointer)
        if form.startswith("coltable"):
            return DotOperand(dtype, None, sr, None, rows, cols, col_pointers=pointer)
        return DotOperand(dtype, pointer, sr, sc, rows, cols)

    a = operand(pa, sar, sac, forms[0], 0)
    bb = operand(pb, sbr, sbc, forms[1], 1)
    acc_type = {"f64": "f64", "i8": "i32"}.get(dtype, "f32")
    emit_dot(b, machine, m, n, k, a, bb, DotAccumulator(acc_type, pacc), scratch, precision)
    b.ret_void()
    parsed = llvm.parse_assembly(amx.emulated(str(module)) if machine.emulates_amx else str(module))
    parsed.verify()
    features = ",".join("+" + f for f in sorted(machine.features & HOST))
    tm = llvm.Target.from_default_triple().create_target_machine(cpu="x86-64", features=features, opt=3)
    options = llvm.create_pipeline_tuning_options(speed_level=2)
    llvm.create_pass_builder(tm, options).getModulePassManager().run(
        parsed, llvm.create_pass_builder(tm, options)
    )
    engine = llvm.create_mcjit_compiler(parsed, tm)
    engine.finalize_object()
    address = engine.get_function_address("run")
    call = ctypes.CFUNCTYPE(None, *[ctypes.c_int64] * 11)(address)
    call.engine = engine  # type: ignore[attr-defined]
    call.machine = tm  # type: ignore[attr-defined]
    tiles = dtype in ("bf16", "i8") or (dtype == "f32" and precision.startswith("bf16"))
    tiles = tiles and m % 16 == n % 16 == k % 64 == 0
    call.tiles = machine.emulates_amx and tiles  # type: ignore[attr-defined]
    call.scratch_bytes = used  # type: ignore[attr-defined]
    return call


def aligned(nbytes: int) -> np.ndarray:
    raw = np.zeros(nbytes + 64, np.uint8)
    start = -raw.ctypes.data % 64
    return raw[start : start + nbytes]


def random_matrix(rng: np.random.Generator, dtype: str, shape: tuple[int, int]) -> np.ndarray:
    if dtype == "i8":
        return rng.integers(-128, 128, shape, dtype=np.int8)
    return rng.standard_normal(shape).astype(NUMPY[dtype])


def check(
    call,
    dtype: str,
    size: tuple[int, int, int],
    valid: tuple[int, int, int],
    forms: tuple[str, str],
    tolerance: float | None = None,
) -> None:
    rng = np.random.default_rng(7)
    vm, vn, vk = valid
    a, b = random_matrix(rng, dtype, (vm, vk)), random_matrix(rng, dtype, (vk, vn))
    before, view = run(call, dtype, size, a, b, forms, tiles=call.tiles)
    wide = np.int64 if dtype == "i8" else np.float64
    expected = before.astype(wide)
    expected[:vm, :vn] += a.astype(wide) @ b.astype(wide)
    if dtype == "i8":
        np.testing.assert_array_equal(view, expected)
    else:
        tolerance = tolerance or (1e-12 if dtype == "f64" else 2e-5)
        np.testing.assert_allclose(view, expected, rtol=tolerance, atol=tolerance * max(1, vk) ** 0.5 * 4)


def run(
    call,
    dtype: str,
    size: tuple[int, int, int],
    a: np.ndarray,
    b: np.ndarray,
    forms: tuple[str, str],
    tiles: bool = False,
) -> tuple[np.ndarray, np.ndarray]:
    """The accumulator before and after. `tiles`: emulated tile registers have to be used."""
    m, n, k = size
    vm, vk = a.shape
    vn = b.shape[1]
    rng = np.random.default_rng(8)
    pa, pb = Placed(a, forms[0]), Placed(b, forms[1])
    acc_dtype = {"f64": np.float64, "i8": np.int32}.get(dtype, np.float32)
    acc_bytes = np.dtype(acc_dtype).itemsize
    memory = guarded(-(-m * n * acc_bytes // 64) * 64)
    view = (
        np.ctypeslib.as_array((ctypes.c_uint8 * (m * n * acc_bytes)).from_address(memory))
        .view(acc_dtype)
        .reshape(m, n)
    )
    before = random_matrix(rng, "i8", (m, n)).astype(acc_dtype)
    view[:] = before
    scratch = guarded(-(-call.scratch_bytes // 64) * 64)
    ctypes.memset(scratch, 0xFF, call.scratch_bytes)  # NaN, so that unwritten scratch shows
    address_a = pa.tables(m if forms[0].startswith("row") else k) if "table" in forms[0] else pa.address
    address_b = pb.tables(k if forms[1].startswith("row") else n) if "table" in forms[1] else pb.address
    products = amx.TILES.products
    call(address_a, address_b, memory, scratch, *pa.strides, *pb.strides, vm, vn, vk)
    if tiles and vm and vn and vk:
        assert amx.TILES.products > products, "no tile was multiplied: the emitter took another path"
        assert not amx.TILES.configured, "the tiles were not released"
    assert not amx.TILES.problems
    return before, view


FORMS = [
    "row",
    "col",
    "strided",
    "rowtable",
    "coltable",
    "rowtable-strided",
    "coltable-strided",
]
RAGGED = [
    (64, 64, 32),
    (63, 61, 31),
    (1, 1, 1),
    (17, 33, 3),
    (5, 64, 32),
    (64, 16, 7),
    (0, 5, 5),
    (5, 0, 5),
    (5, 5, 0),
]


# Each form of A and of B in some pair, straight and transposed together.
PAIRS = [
    *list(zip(FORMS, FORMS, strict=True)),
    ("row", "col"),
    ("col", "row"),
    ("row", "coltable"),
    ("coltable", "row"),
]


@pytest.mark.parametrize("machine", TARGETS)
@pytest.mark.parametrize("dtype", list(NUMPY))
@pytest.mark.parametrize("forms", PAIRS, ids="-".join)
def test_ragged_extents(machine: Machine, dtype: str, forms: tuple[str, str]) -> None:
    if machine is AVX512_PAIRS and dtype != "bf16":
        pytest.skip("differs from the AVX-512 target in bf16 only")
    if machine is AMX and dtype not in ("bf16", "i8"):
        pytest.skip("differs from the AVX-512 target in bf16 and i8 only")
    if machine is AVX2 and dtype in ("f16", "f64") and forms not in PAIRS[:3]:
        pytest.skip("takes the paths of f32")
    size = (64, 64, 64) if machine is AMX else (64, 64, 32)
    call = compile_dot(machine, dtype, size, forms, dynamic=True)
    for valid in [*RAGGED, size]:
        check(call, dtype, size, valid, forms)


@pytest.mark.parametrize("machine", TARGETS)
@pytest.mark.parametrize("dtype", ["f32", "bf16", "i8"])
@pytest.mark.parametrize("size", [(16, 16, 64), (32, 128, 64), (80, 48, 512), (8, 8, 8)], ids=str)
def test_whole_tiles(machine: Machine, dtype: str, size: tuple[int, int, int]) -> None:
    """Extents known when compiling, and k longer than a block of the first-level cache."""
    call = compile_dot(machine, dtype, size, ("row", "row"), dynamic=False)
    check(call, dtype, size, size, ("row", "row"))


SPLIT = [p for p in TARGETS if p.values[0] is AMX] if "avx512f" in HOST else []


@pytest.mark.parametrize("machine", SPLIT)
@pytest.mark.parametrize("forms", PAIRS, ids="-".join)
def test_f32_as_a_sum_of_bf16(machine: Machine, forms: tuple[str, str]) -> None:
    size = (64, 64, 64)
    for precision, tolerance in ("bf16x6", 1e-6), ("bf16x3", 1e-4):
        call = compile_dot(machine, "f32", size, forms, dynamic=True, precision=precision)
        for valid in [*RAGGED, size]:
            check(call, "f32", size, valid, forms, tolerance)


@pytest.mark.parametrize("machine", SPLIT)
@pytest.mark.parametrize("scale", [1.0, 1e-9, 1e15])
def test_f32_as_a_sum_of_bf16_is_as_exact_as_f32(machine: Machine, scale: float) -> None:
    size = (32, 64, 512)
    rng = np.random.default_rng(3)
    a, b = (
        (rng.standard_normal(shape) * 10 ** rng.uniform(-3, 3, shape) * scale).astype(np.float32)
        for shape in ((32, 512), (512, 64))
    )
    exact = a.astype(np.float64) @ b.astype(np.float64)
    size_of_terms = np.abs(a).astype(np.float64) @ np.abs(b).astype(np.float64)

    def error(precision: str) -> float:
        call = compile_dot(machine, "f32", size, ("row", "row"), dynamic=False, precision=precision)
        before, after = run(
            call, "f32", size, a, b, ("row", "row"), machine.emulates_amx and precision != "ieee"
        )
        return float((np.abs(after - (before + exact)) / (size_of_terms + np.abs(before))).max())

    assert error("bf16x6") <= max(1.25 * error("ieee"), 2**-22)
    assert error("bf16x3") <= 2**-15


@pytest.mark.parametrize("machine", SPLIT)
@pytest.mark.parametrize("where", ["a", "b", "both"])
@pytest.mark.parametrize("value", [np.inf, -np.inf, np.nan, 3.4e38, 3.3e38])
def test_f32_as_a_sum_of_bf16_keeps_infinity(machine: Machine, where: str, value: float) -> None:
    """inf * 1 is inf, and what is beside it stays as it is; the largest numbers, which round to no bf16, are no infinity."""
    size = (32, 32, 64)
    rng = np.random.default_rng(5)
    a, b = (rng.integers(-3, 4, shape).astype(np.float32) for shape in ((32, 64), (64, 32)))
    if where != "b":
        a[3, 7] = value
    if where != "a":
        b[11, 30] = value
        a[3, 11] = 0  # of two of the largest numbers the sum would depend on the order
    call = compile_dot(machine, "f32", size, ("row", "row"), dynamic=False, precision="bf16x6")
    before, after = run(call, "f32", size, a, b, ("row", "row"), machine.emulates_amx and value == 3.3e38)
    with np.errstate(all="ignore"):
        expected = before + np.where(np.isfinite(value), (a.astype(np.float64) @ b).astype(np.float32), a @ b)
    np.testing.assert_allclose(after, expected, rtol=1e-6)


def test_mixed_types_are_refused() -> None:
    b = ir.IRBuilder(ir.Function(ir.Module(), ir.FunctionType(ir.VoidType(), []), "f").append_basic_block())
    one = ir.Constant(I64, 1)
    x, y = (DotOperand(dtype, ir.Constant(PTR, None), one, one) for dtype in ("f32", "bf16"))
    with pytest.raises(ValueError, match="f32 and bf16"):
        emit_dot(
            b, AVX2, 16, 16, 16, x, y, DotAccumulator("f32", ir.Constant(PTR, None)), lambda n: x.pointer
        )
