"""Targets: which one a machine gets, and the core of the language on every level that this machine runs, against NumPy."""

from __future__ import annotations

import math
import platform
import re
import struct
import subprocess
import sys
from fractions import Fraction

import emulated
import llvmlite.binding as llvm
import ml_dtypes
import numpy as np
import pytest
from harness import guarded, launch
from written import kernel

import openxpu
from openxpu import _runtime
from openxpu.compiler import target
from openxpu.compiler.compile import compile_kernel, compile_ttir, make_ttir
from openxpu.compiler.target import LEVELS, Target, UnsupportedProcessor

# --- which target a machine gets ------------------------------------------------------------------

SSE2 = {"fpu", "sse", "sse2", "lm"}
SSE42 = SSE2 | {"cx16", "lahf_lm", "pni", "popcnt", "sse4_1", "sse4_2", "ssse3"}
HASWELL = SSE42 | {"abm", "avx", "avx2", "bmi1", "bmi2", "f16c", "fma", "movbe"}
SKYLAKE = HASWELL | {"avx512bw", "avx512cd", "avx512dq", "avx512f", "avx512vl"}
ZEN5 = SKYLAKE | {"avx512_bf16", "avx512_vnni", "avx_vnni"}
SAPPHIRE_RAPIDS = ZEN5 | {"avx512_fp16", "amx_tile", "amx_bf16", "amx_int8"}


@pytest.mark.parametrize(
    ("flags", "name", "dots"),
    [
        (SSE2, "x86-64", ()),
        (SSE42, "x86-64-v2", ()),
        (SSE42 | {"avx", "f16c"}, "x86-64-v2", ()),  # Ivy Bridge
        (HASWELL, "x86-64-v3", ("fma",)),
        (HASWELL - {"movbe"}, "x86-64-v2", ()),
        (HASWELL | {"avx_vnni"}, "x86-64-v3", ("fma", "avx_vnni")),
        (HASWELL | {"avx512f"}, "x86-64-v3", ("fma",)),  # Knights Landing
        (SKYLAKE, "x86-64-v4", ("fma",)),
        (ZEN5, "x86-64-v4", ("fma", "avx512_vnni", "avx512_bf16", "avx_vnni")),
        (
            SAPPHIRE_RAPIDS,
            "x86-64-v4",
            ("fma", "avx512_vnni", "avx512_bf16", "avx_vnni", "amx_bf16", "amx_int8"),
        ),
    ],
)
def test_a_processor_gets_its_highest_level(flags: set[str], name: str, dots: tuple[str, ...]) -> None:
    found = target.from_flags(flags)
    assert (found.name, found.dot_instructions) == (name, dots)
    assert LEVELS[name].features <= found.features


def test_a_lower_level_by_name_has_no_instructions_of_a_higher_one() -> None:
    assert target.from_flags(SAPPHIRE_RAPIDS, name="x86-64") == target.X86_64
    assert target.from_flags(SAPPHIRE_RAPIDS, name="x86-64-v2") == target.X86_64_V2
    v3 = target.from_flags(SAPPHIRE_RAPIDS, name="x86-64-v3")
    assert v3.features == target.X86_64_V3.features | {"avxvnni"}
    assert not v3.avx512
    assert v3.vector_bytes == 32


def test_an_arm_machine_gets_neon() -> None:
    assert target.from_flags({"fp", "asimd", "evtstrm", "crc32", "atomics"}, "aarch64") == target.AARCH64
    with pytest.raises(UnsupportedProcessor, match=r"this machine is aarch64 without NEON\.$"):
        target.from_flags({"fp"}, "aarch64")


def test_another_architecture_is_refused() -> None:
    with pytest.raises(
        UnsupportedProcessor, match=r"compiles for aarch64, x86_64; this machine is riscv64\.$"
    ):
        target.from_flags(set(), "riscv64")


def test_a_name_that_the_processor_cannot_run_is_refused() -> None:
    with pytest.raises(
        UnsupportedProcessor,
        match=r'"x86-64-v4" .*lacks avx512bw, .*; give one of x86-64, x86-64-v2, x86-64-v3, or none',
    ):
        target.from_flags(HASWELL, name="x86-64-v4")
    with pytest.raises(UnsupportedProcessor, match=r'"aarch64" .*this machine is x86_64; give one of x86-64'):
        target.from_flags(ZEN5, name="aarch64")


def test_a_name_that_nothing_has_is_refused_with_those_that_exist() -> None:
    with pytest.raises(
        ValueError, match=r'no target "z80"; give one of x86-64, x86-64-v2, x86-64-v3, x86-64-v4, aarch64\.'
    ):
        target.from_flags(ZEN5, name="z80")


def test_the_variable_chooses(monkeypatch: pytest.MonkeyPatch) -> None:
    lowest, highest = target.of_host()[0], target.of_host()[-1]
    monkeypatch.setenv("OPENXPU_TARGET", lowest.name)
    assert target.host() == lowest
    monkeypatch.setenv("OPENXPU_TARGET", "")
    assert target.host() == highest
    monkeypatch.setenv("OPENXPU_TARGET", "i386")
    with pytest.raises(ValueError, match="i386"):
        target.host()


def test_levels_have_different_keys() -> None:
    assert len({t.key for t in LEVELS.values()}) == len(LEVELS)


def test_the_command_line_names_the_target_and_explains_a_wrong_one(monkeypatch: pytest.MonkeyPatch) -> None:
    command = [sys.executable, "-m", "openxpu.cli", "environment"]
    lowest = target.of_host()[0].name
    monkeypatch.setenv("OPENXPU_TARGET", lowest)
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    assert f"Kernels are compiled for {lowest}" in done.stdout
    monkeypatch.setenv("OPENXPU_TARGET", "z80")
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 1
    assert re.search(r'no target "z80"; give one of x86-64', done.stderr)
    assert "Traceback" not in done.stderr


# --- the core of the language on every level ------------------------------------------------------

RUNNABLE = [pytest.param(t, id=t.name) for t in target.of_host()]
if platform.machine() == "x86_64":
    lacking = emulated.missing("aarch64")
    marks = [pytest.mark.slow, pytest.mark.skipif(bool(lacking), reason=lacking)]
    RUNNABLE.append(pytest.param(target.AARCH64, id="aarch64-emulated", marks=marks))
quiet = pytest.mark.filterwarnings("ignore:invalid value encountered:RuntimeWarning")  # NaN through ml_dtypes
each_target = pytest.mark.parametrize("machine", RUNNABLE)
BF16, E4M3, E5M2 = (np.dtype(getattr(ml_dtypes, n)) for n in ("bfloat16", "float8_e4m3fn", "float8_e5m2"))


def rng() -> np.random.Generator:
    return np.random.default_rng(5)


ELEMENTWISE = kernel("""
@triton.jit
def kernel(x, y, out, n, BLOCK: tl.constexpr):
    offs = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    mask = offs < n
    a = tl.load(x + offs, mask=mask)
    b = tl.load(y + offs, mask=mask, other=1)
    tl.store(out + offs, tl.where(a > b, a * b + a, a - b), mask=mask)
""")


@each_target
@pytest.mark.parametrize("dtype", ["i1", "i2", "i4", "i8", "u1", "f2", "f4", "f8"])
@pytest.mark.parametrize("n", [1, 5, 64, 203])
def test_elementwise_with_a_tail(machine: Target, dtype: str, n: int) -> None:
    x, y = (rng().standard_normal((2, n)) * 20).astype(dtype)
    out = guarded(np.zeros_like(x))
    launch(ELEMENTWISE, (-(-n // 64),), guarded(x), guarded(y), out, n, target=machine, BLOCK=64)
    if dtype == "f2":  # every operation rounds
        expected = np.where(x > y, (x * y).astype(dtype) + x, x - y)
    else:
        expected = np.where(x > y, x * y + x, x - y)
    tolerance = {"f4": 1e-5, "f8": 1e-13}.get(dtype, 0)
    np.testing.assert_allclose(out.astype("f8"), expected.astype("f8"), rtol=tolerance, atol=tolerance)


@each_target
@pytest.mark.parametrize("n", [1, 100, 1000])
def test_softmax(machine: Target, n: int) -> None:
    x = (rng().standard_normal((7, n)) * 10).astype("f4")
    out = guarded(np.zeros_like(x))
    launch("kernels_basic:softmax", (7,), guarded(x), out, n, n, target=machine, BLOCK=1024)
    e = np.exp((x - x.max(1, keepdims=True)).astype("f8"))
    np.testing.assert_allclose(out, e / e.sum(1, keepdims=True), rtol=2e-6, atol=1e-30)


@each_target
@pytest.mark.parametrize("dtype", ["f4", "f2", "f8"])
def test_layer_norm(machine: Target, dtype: str) -> None:
    n = 700
    x, w, b = (rng().standard_normal(s).astype(dtype) for s in ((5, n), n, n))
    out, mean, rstd = guarded(np.zeros_like(x)), np.zeros(5, "f4"), np.zeros(5, "f4")
    arguments = (guarded(x), guarded(w), guarded(b), out, mean, rstd, n, 1e-5)
    launch("kernels_basic:layer_norm", (5,), *arguments, target=machine, BLOCK=1024)
    wide = x.astype("f8")
    mu, var = wide.mean(1, keepdims=True), wide.var(1, keepdims=True)
    expected = (wide - mu) / np.sqrt(var + 1e-5) * w.astype("f8") + b.astype("f8")
    rtol, atol = (2e-3, 4e-3) if dtype == "f2" else (2e-4, 1e-5)
    np.testing.assert_allclose(out.astype("f8"), expected, rtol=rtol, atol=atol)
    np.testing.assert_allclose(mean, mu[:, 0], atol=1e-5)


@each_target
@pytest.mark.parametrize("kind", ["sum", "max", "min", "argmax"])
@pytest.mark.parametrize("axis", [0, 1])
def test_reduce(machine: Target, kind: str, axis: int) -> None:
    x = rng().standard_normal((5, 37)).astype("f4")
    expected = getattr(x, kind)(axis)
    out = guarded(np.zeros(expected.shape, "f4"))
    sizes = {"KIND": kind, "AXIS": axis, "BM": 8, "BN": 64}
    launch("kernels_basic:reduce_2d", (1,), guarded(x), out, 5, 37, target=machine, **sizes)
    np.testing.assert_allclose(out, expected, rtol=1e-5, atol=1e-5)


DOT = kernel("""
@triton.jit
def kernel(a, b, out, m, n, k, M: tl.constexpr, N: tl.constexpr, K: tl.constexpr, ACC: tl.constexpr):
    i, j, l = tl.arange(0, M)[:, None], tl.arange(0, N)[None, :], tl.arange(0, K)
    x = tl.load(a + i * k + l[None, :], mask=(i < m) & (l[None, :] < k), other=0)
    y = tl.load(b + l[:, None] * n + j, mask=(l[:, None] < k) & (j < n), other=0)
    tl.store(out + i * n + j, tl.dot(x, y, out_dtype=ACC), mask=(i < m) & (j < n))
""")


@each_target
@pytest.mark.parametrize("dtype", ["float32", "float64", "float16", "bfloat16", "int8"])
@pytest.mark.parametrize("size", [(32, 64, 64), (17, 33, 45)], ids=str)
def test_dot(machine: Target, dtype: str, size: tuple[int, int, int]) -> None:
    m, n, k = size
    kind = np.dtype(getattr(ml_dtypes, dtype, dtype))
    sums = {"int8": "i4", "float64": "f8"}.get(dtype, "f4")
    a, b = (
        (rng().standard_normal(s) * (30 if dtype == "int8" else 1)).astype(kind) for s in ((m, k), (k, n))
    )
    out = guarded(np.zeros((m, n), sums))
    acc = {"i4": "dtype:i32", "f8": "dtype:f64", "f4": "dtype:f32"}[sums]
    sizes = {"M": 32, "N": 64, "K": 64, "ACC": acc}
    launch(DOT, (1,), guarded(a), guarded(b), out, m, n, k, target=machine, **sizes)
    expected = a.astype("f8") @ b.astype("f8")
    tolerance = {"i4": 0, "f8": 1e-12, "f4": 1e-4}[sums]
    np.testing.assert_allclose(out, expected, rtol=tolerance, atol=tolerance)


CAST = "kernels_basic:cast"


def cast(machine: Target, x: np.ndarray, to: np.dtype) -> np.ndarray:
    out = np.zeros(x.shape, to)
    launch(CAST, (-(-x.size // 256),), x, out, x.size, target=machine, BLOCK=256)
    return out


def same_bits(got: np.ndarray, expected: np.ndarray) -> None:
    """Bit for bit, but that any NaN is as good as another."""
    nan = np.isnan(expected.astype("f8"))
    assert np.isnan(got.astype("f8"))[nan].all()
    kind = f"u{got.dtype.itemsize}"
    np.testing.assert_array_equal(got.view(kind)[~nan], expected.view(kind)[~nan])


@quiet
@each_target
@pytest.mark.parametrize("small", [np.dtype("f2"), BF16, E4M3, E5M2], ids=lambda d: d.name)
def test_every_small_float_widens_exactly(machine: Target, small: np.dtype) -> None:
    codes = np.arange(1 << small.itemsize * 8, dtype=f"u{small.itemsize}").view(small)
    same_bits(cast(machine, codes, np.dtype("f4")), codes.astype("f4"))


def around(small: np.dtype) -> np.ndarray:
    """f32 values at, halfway between and just beside every finite value of a small float; and the special ones."""
    codes = np.arange(1 << small.itemsize * 8, dtype=f"u{small.itemsize}").view(small)
    values = np.unique(codes[np.isfinite(codes)].astype("f8"))
    if len(values) > 20000:
        values = values[::7]
    middles = (values[1:] + values[:-1]) / 2
    points = np.concatenate([values, middles]).astype("f4")
    beside = [np.nextafter(points, np.float32(d)) for d in (-np.inf, np.inf)]
    special = np.array(
        [0.0, -0.0, np.inf, -np.inf, np.nan, 1e-45, 65504, 65519.996, 65520, 1e30, 3.4e38], "f4"
    )
    return np.concatenate([points, *beside, special, -special])


@quiet
@each_target
@pytest.mark.parametrize("small", [np.dtype("f2"), BF16], ids=lambda d: d.name)
def test_f32_narrows_to_nearest_even(machine: Target, small: np.dtype) -> None:
    x = around(small)
    with np.errstate(over="ignore"):
        same_bits(cast(machine, x, small), x.astype(small))


@each_target
@pytest.mark.parametrize("small", [E4M3, E5M2], ids=lambda d: d.name)
def test_f32_narrows_to_8_bits(machine: Target, small: np.dtype) -> None:
    x = around(small)
    largest = float(ml_dtypes.finfo(small).max)
    same_bits(cast(machine, x, small), np.clip(x, -largest, largest).astype(small))


FUSED = kernel("""
@triton.jit
def kernel(x, y, z, out, n, BLOCK: tl.constexpr):
    offs = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    m = offs < n
    tl.store(out + offs, tl.fma(tl.load(x + offs, mask=m), tl.load(y + offs, mask=m), tl.load(z + offs, mask=m)), mask=m)
""")


@each_target
def test_fma_rounds_once(machine: Target) -> None:
    """Products that cancel against z but for their last bits, and sums that lie next to a rounding boundary."""
    n = 4000
    generator = rng()
    x, y = (generator.standard_normal(n).astype("f4") for _ in range(2))
    z = generator.standard_normal(n).astype("f4") * np.float32(1e-8)
    z[: n // 2] = -(x * y)[: n // 2]
    # 1 + 2^-24 + 2^-60: rounding twice, through f64, gives 1 and rounding once the next number.
    x[-1], y[-1], z[-1] = 1 + 2.0**-12, 1 - 2.0**-12, 2.0**-23
    x[-2], y[-2], z[-2] = 2.0**-30, 2.0**-30, 1 + 2.0**-23
    x[-3], y[-3], z[-3] = 3e38, 10, -np.inf
    x[-4], y[-4], z[-4] = 2.0**-24 * (1 + 2.0**-20), 1 + 2.0**-20, 1
    out = np.zeros(n, "f4")
    launch(FUSED, (-(-n // 256),), x, y, z, out, n, target=machine, BLOCK=256)
    exact = [
        np.float32(-np.inf)
        if np.isinf(c)
        else rounded(Fraction(float(a)) * Fraction(float(b)) + Fraction(float(c)))
        for a, b, c in zip(x, y, z, strict=True)
    ]
    np.testing.assert_array_equal(out, np.array(exact, "f4"))


def rounded(value: Fraction) -> np.float32:
    """The nearest f32, ties to even."""
    if value == 0:
        return np.float32(0)
    size = abs(value)
    exponent = max(size.numerator.bit_length() - size.denominator.bit_length() - 1, -126)
    while size >= Fraction(2) ** (exponent + 1):
        exponent += 1
    unit = Fraction(2) ** (exponent - 23)
    return np.float32(float(round(size / unit) * unit) * (1 if value > 0 else -1))


@each_target
@pytest.mark.parametrize("name", ["exp", "log", "sin", "cos", "tanh", "erf", "sqrt", "floor"])
def test_functions(machine: Target, name: str) -> None:
    x = np.concatenate([rng().uniform(-20, 20, 500), [0.0, -0.0, 1e-30, 1e4, 3e7]]).astype("f4")
    if name in ("log", "sqrt"):
        x = np.abs(x) + np.float32(1e-30)
    if name == "exp":
        x = np.minimum(x, np.float32(80))
    out = np.zeros_like(x)
    launch("kernels_basic:unary", (2,), x, out, x.size, target=machine, BLOCK=256, NAME=name)
    expected = [getattr(math, name)(float(v)) for v in x]
    np.testing.assert_allclose(out, expected, rtol=4e-7, atol=1e-30)


SCAN = kernel("""
@triton.jit
def kernel(x, out, n, BLOCK: tl.constexpr):
    offs = tl.arange(0, BLOCK)
    tl.store(out + offs, tl.cumsum(tl.load(x + offs, mask=offs < n, other=0), 0), mask=offs < n)
""")
SORT = kernel("""
@triton.jit
def kernel(x, out, BLOCK: tl.constexpr):
    offs = tl.arange(0, BLOCK)
    tl.store(out + offs, tl.sort(tl.load(x + offs)))
""")
ATOMIC = kernel("""
@triton.jit
def kernel(x, at, out, n, BLOCK: tl.constexpr):
    offs = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    mask = offs < n
    tl.atomic_add(out + tl.load(at + offs, mask=mask), tl.load(x + offs, mask=mask), mask=mask)
""")


ROOT = kernel("""
@triton.jit
def kernel(x, out, BLOCK: tl.constexpr):
    offs = tl.arange(0, BLOCK)
    tl.store(out + offs, libdevice.cbrt(tl.load(x + offs)))
""")


@each_target
@pytest.mark.parametrize("dtype", ["i4", "i8", "f4", "f8"])
def test_scan(machine: Target, dtype: str) -> None:
    x = rng().integers(-9, 9, 119).astype(dtype)
    out = guarded(np.zeros_like(x))
    launch(SCAN, (1,), guarded(x), out, 119, target=machine, BLOCK=128)
    np.testing.assert_array_equal(out, np.cumsum(x))


@each_target
@pytest.mark.parametrize("dtype", ["i1", "i4", "f2", "f4"])
def test_sort(machine: Target, dtype: str) -> None:
    x = (rng().standard_normal(64) * 50).astype(dtype)
    out = np.zeros_like(x)
    launch(SORT, (1,), x, out, target=machine, BLOCK=64)
    np.testing.assert_array_equal(out, np.sort(x))


@each_target
@pytest.mark.parametrize("dtype", ["i4", "i8", "f2", "f4", "f8"])
def test_atomics(machine: Target, dtype: str) -> None:
    x = rng().integers(-4, 5, 150).astype(dtype)
    at = rng().integers(0, 7, 150).astype("i4")
    out = np.zeros(7, dtype)
    launch(ATOMIC, (3,), x, at, out, 150, target=machine, BLOCK=64)
    expected = np.zeros(7, dtype)
    np.add.at(expected, at, x)
    np.testing.assert_array_equal(out, expected)


# --- the code keeps to its level ------------------------------------------------------------------


WIDE = [t for t in LEVELS.values() if t.architecture == "x86_64"]


@pytest.mark.parametrize("machine", WIDE, ids=lambda t: t.name)
def test_a_level_uses_no_register_or_instruction_of_a_higher_one(machine: Target) -> None:
    types = ["*f16"] * 4 + ["*f32"] * 2 + ["i32", "f32", "constexpr"]
    text = make_ttir("kernels_basic:layer_norm", types, {"BLOCK": 64})
    code = compile_ttir(text, machine, ("asm",)).stages["asm"]
    assert ("%zmm" in code) == (machine.vector_bytes == 64)
    if machine.vector_bytes == 16:
        assert not re.search(r"%[yz]mm|\tv", code), "AVX"
    assert bool(re.search(r"\tvfn?m(add|sub)", code)) == machine.fused
    assert ("vcvtph2ps" in code) == machine.converts_f16
    assert "hfsf2" not in code, "a call for every lane"


# --- objects for AArch64 --------------------------------------------------------------------------

OBJECTS = {
    "layer_norm": (
        "kernels_basic:layer_norm",
        ["*f16"] * 4 + ["*f32"] * 2 + ["i32", "f32", "constexpr"],
        {"BLOCK": 256},
    ),
    "sin": ("kernels_basic:unary", ["*f32", "*f32", "i32", *["constexpr"] * 2], {"BLOCK": 64, "NAME": "sin"}),
    "cbrt": (ROOT, ["*f64", "*f64", "constexpr"], {"BLOCK": 16}),
    "dot": (
        DOT,
        [*["*bf16"] * 2, "*f32", *["i32"] * 3, *["constexpr"] * 4],
        {"M": 16, "N": 32, "K": 32, "ACC": "dtype:f32"},
    ),
}
EM_AARCH64 = 183
# What the small, position-independent code model may use (ELF for the Arm 64-bit Architecture, section 5.7).
KNOWN_RELOCATIONS = {
    257: "ABS64",
    260: "PREL64",
    261: "PREL32",
    275: "ADR_PREL_PG_HI21",
    277: "ADD_ABS_LO12_NC",
    278: "LDST8_ABS_LO12_NC",
    282: "JUMP26",
    283: "CALL26",
    284: "LDST16_ABS_LO12_NC",
    285: "LDST32_ABS_LO12_NC",
    286: "LDST64_ABS_LO12_NC",
    299: "LDST128_ABS_LO12_NC",
    311: "ADR_GOT_PAGE",
    312: "LD64_GOT_LO12_NC",
}


def relocations(elf: bytes) -> set[int]:
    """The relocation types of the sections with code and data of a little-endian ELF64 object."""
    table, size, count = struct.unpack_from("<Q", elf, 40)[0], *struct.unpack_from("<HH", elf, 58)
    sections = [struct.unpack_from("<IIQQQQIIQQ", elf, table + i * size) for i in range(count)]
    found = set()
    for section in sections:
        kind, offset, length, patched = section[1], section[4], section[5], section[7]
        if kind == 4 and sections[patched][2] & 2:  # SHT_RELA of an SHF_ALLOC section
            for at in range(offset, offset + length, 24):
                found.add(struct.unpack_from("<Q", elf, at + 8)[0] & 0xFFFFFFFF)
    return found


@pytest.mark.parametrize("name", OBJECTS)
def test_an_object_for_aarch64_is_whole(name: str) -> None:
    made = compile_kernel(*OBJECTS[name], target.AARCH64)
    kind, machine = struct.unpack_from("<HH", made.elf, 16)
    assert made.elf[:6] == b"\x7fELF\x02\x01"
    assert (kind, machine) == (1, EM_AARCH64)  # relocatable
    assert relocations(made.elf) <= set(KNOWN_RELOCATIONS)
    code = b"".join(s.data() for s in llvm.ObjectFileRef.from_data(made.elf).sections() if s.is_text())
    assert len(code) % 4 == 0
    words = struct.unpack(f"<{len(code) // 4}I", code)
    assert 0xD65F03C0 in words, "no ret"
    assert 0 not in words, "udf"


def test_aarch64_code_is_neon() -> None:
    ref, types, constants = OBJECTS["layer_norm"]
    code = compile_ttir(make_ttir(ref, types, constants), target.AARCH64, ("asm",)).stages["asm"]
    assert re.search(r"\tfmla\tv\d+\.4s", code)
    assert re.search(r"\tfcvtl2?\tv\d+\.4s", code)
    assert not re.search(r"\tbl\t(?!printf)", code), "a call in a kernel that needs none"


@pytest.mark.skipif(platform.machine() == "aarch64", reason="it runs here")
def test_the_card_refuses_an_object_for_aarch64() -> None:
    made = compile_kernel(*OBJECTS["sin"], target.AARCH64)
    with pytest.raises(openxpu.Error, match=r"for ELF machine 183, and this card runs x86-64 \(62\)"):
        _runtime.load_image(made.elf)
