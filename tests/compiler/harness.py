"""Runs compiled kernels on NumPy arrays without the run time: LLVM loads the object, ctypes calls the entry point."""

from __future__ import annotations

import ctypes
import mmap
import platform
from typing import Any

import emulated
import llvmlite.binding as llvm
import numpy as np

from openxpu.compiler.compile import compile_kernel
from openxpu.compiler.target import Target, host

_engines: list[Any] = []
_cache: dict[Any, Any] = {}


def load(elf: bytes) -> int:
    """The address of the entry point of an ELF object."""
    llvm.initialize_all_targets()
    llvm.initialize_all_asmprinters()
    target_machine = llvm.Target.from_default_triple().create_target_machine()
    engine = llvm.create_mcjit_compiler(llvm.parse_assembly(""), target_machine)
    engine.add_object_file(llvm.ObjectFileRef.from_data(elf))
    engine.finalize_object()
    _engines.append(engine)
    return int(engine.get_function_address("openxpu_entry"))


def compiled(
    ref: str,
    arg_types: list[str],
    constexprs: dict[str, Any],
    target: Target | None = None,
) -> Any:
    key = (ref, tuple(arg_types), repr(sorted(constexprs.items())), target)
    if key not in _cache:
        result = compile_kernel(ref, arg_types, constexprs, target or host())
        if target is not None and target.architecture != platform.machine():
            _cache[key] = (result, None)
            return _cache[key]
        kind = ctypes.CFUNCTYPE(
            ctypes.c_int32,
            ctypes.c_void_p,
            ctypes.c_void_p,
            ctypes.c_uint64,
            ctypes.c_uint64,
            ctypes.c_void_p,
        )
        _cache[key] = (result, kind(load(result.elf)))
    return _cache[key]


_DTYPES = {
    "bool": "bool", "uint8": "u8", "int8": "i8", "int16": "i16", "uint16": "u16", "int32": "i32", "int64": "i64", "float16": "f16",
    "float32": "f32", "float64": "f64", "uint32": "u32", "uint64": "u64", "bfloat16": "bf16", "float8_e4m3fn": "f8e4m3", "float8_e5m2": "f8e5m2",
}  # fmt: skip


class Typed:
    """A scalar with a given type, e.g. Typed("i64", 3)."""

    def __init__(self, dtype: str, value: Any) -> None:
        self.dtype, self.value = dtype, value


def slot(value: Any) -> tuple[str, int]:
    if isinstance(value, np.ndarray):
        return "*" + _DTYPES[value.dtype.name], value.ctypes.data
    if value is None:
        return "*u8", 0
    if isinstance(value, Typed):
        if value.dtype == "f32":
            return "f32", int(np.float32(value.value).view(np.uint32))
        if value.dtype == "f64":
            return "f64", int(np.float64(value.value).view(np.uint64))
        return value.dtype, int(value.value) & (1 << 64) - 1
    if isinstance(value, float):
        return "f32", int(np.float32(value).view(np.uint32))
    return "i32", int(value) & (1 << 64) - 1


def launch(
    ref: str,
    grid: tuple[int, ...],
    *args: Any,
    target: Target | None = None,
    span: tuple[int, int] | None = None,
    **constexprs: Any,
) -> int:
    """Run a kernel over the grid (or over the programs `span`); returns the number of the failed assertion or 0."""
    slots = [slot(a) for a in args]
    types = [s[0] for s in slots] + ["constexpr"] * len(constexprs)
    result, entry = compiled(ref, types, constexprs, target)
    grid = (*grid, *(1,) * (3 - len(grid)))
    if entry is None:
        assert target is not None
        assert span is None
        arrays = [a if isinstance(a, np.ndarray) else s[1] for a, s in zip(args, slots, strict=True)]
        return emulated.run(target.architecture, result.elf, result.scratch_bytes, grid, arrays)
    raw = np.zeros(result.scratch_bytes + 64, np.uint8)
    raw[:] = 0xA5  # scratch has no defined contents
    scratch = (raw.ctypes.data + 63) // 64 * 64
    values = np.array([s[1] for s in slots] or [0], np.uint64)
    sizes = np.array(grid, np.uint32)
    begin, end = span or (0, int(np.prod(grid)))
    return int(entry(values.ctypes.data, sizes.ctypes.data, begin, end, scratch))


_libc = ctypes.CDLL(None, use_errno=True)
_libc.mprotect.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
_maps: list[Any] = []


def guarded(array: np.ndarray, end: bool = True) -> np.ndarray:
    """A copy whose last byte (or first byte) touches a page that may not be read or written; the other side has one too."""
    page = mmap.PAGESIZE
    need = max(1, (array.nbytes + page - 1) // page) * page
    block = mmap.mmap(-1, need + 2 * page)
    base = ctypes.addressof(ctypes.c_char.from_buffer(block))
    for address in (base, base + page + need):
        if _libc.mprotect(address, page, 0):
            raise OSError(ctypes.get_errno(), "mprotect")
    _maps.append(block)
    start = page + (need - array.nbytes if end else 0)
    out = np.frombuffer(block, np.uint8, array.nbytes, start).view(array.dtype).reshape(array.shape)
    out[...] = array
    return out
