"""AMX in Python: the tile instructions as functions that compiled code calls, for machines that do not have them.

Source: Intel 64 and IA-32 Architectures Software Developer's Manual, volume 2, instructions LDTILECFG, TILELOADD,
TILESTORED, TILEZERO, TDPBF16PS, TDPBSSD. Tiles are 16 rows of 64 bytes, whatever the configuration: the emitter uses no others,
and `configure` holds it to that.
"""

from __future__ import annotations

import ctypes
from typing import Any

import llvmlite.binding as llvm
import ml_dtypes
import numpy as np

ROWS, BYTES = 16, 64


def _row(address: int) -> np.ndarray:
    return np.ctypeslib.as_array((ctypes.c_uint8 * BYTES).from_address(address))


class Tiles:
    """The eight tile registers and what went wrong: an exception does not cross compiled code."""

    def __init__(self) -> None:
        self.data = np.zeros((8, ROWS, BYTES), np.uint8)
        self.configured = False
        self.products = 0
        self.problems: list[str] = []

    def configure(self, address: int) -> None:
        config = _row(address)
        good = config[0] == 1 and not config[1:16].any()
        good &= (config[16:32].view(np.uint16) == BYTES).all() and not config[32:48].any()
        good &= (config[48:56] == ROWS).all() and not config[56:].any()
        if not good:
            self.problems.append(f"configured with {config.tolist()}")
        self.data[:] = 0
        self.configured = True

    def release(self) -> None:
        self.configured = False

    def load(self, tile: int, address: int, stride: int) -> None:
        self.used()
        for i in range(ROWS):
            self.data[tile, i] = _row(address + i * stride)

    def zero(self, tile: int) -> None:
        self.used()
        self.data[tile] = 0

    def store(self, tile: int, address: int, stride: int) -> None:
        self.used()
        for i in range(ROWS):
            _row(address + i * stride)[:] = self.data[tile, i]

    def multiply_bf16(self, out: int, x: int, y: int) -> None:
        self.used()
        self.products += 1
        a = self.data[x].view(ml_dtypes.bfloat16).astype(np.float32).reshape(ROWS, 16, 2)
        b = self.data[y].view(ml_dtypes.bfloat16).astype(np.float32).reshape(16, ROWS, 2)
        self.data[out].view(np.float32)[:] += np.einsum("ikp,kjp->ij", a, b, optimize=False)

    def multiply_i8(self, out: int, x: int, y: int) -> None:
        self.used()
        self.products += 1
        a = self.data[x].view(np.int8).astype(np.int32).reshape(ROWS, 16, 4)
        b = self.data[y].view(np.int8).astype(np.int32).reshape(16, ROWS, 4)
        self.data[out].view(np.int32)[:] += np.einsum("ikp,kjp->ij", a, b)

    def used(self) -> None:
        if not self.configured:
            self.problems.append("a tile instruction without a configuration")


TILES = Tiles()
_I8, _PTR, _I64 = ctypes.c_uint8, ctypes.c_void_p, ctypes.c_int64
_FUNCTIONS: dict[str, tuple[Any, tuple[Any, ...]]] = {
    "ldtilecfg": (TILES.configure, (_PTR,)),
    "tilerelease": (TILES.release, ()),
    "tileloadd64": (TILES.load, (_I8, _PTR, _I64)),
    "tilestored64": (TILES.store, (_I8, _PTR, _I64)),
    "tilezero": (TILES.zero, (_I8,)),
    "tdpbf16ps": (TILES.multiply_bf16, (_I8, _I8, _I8)),
    "tdpbssd": (TILES.multiply_i8, (_I8, _I8, _I8)),
}
_kept = {name: ctypes.CFUNCTYPE(None, *types)(function) for name, (function, types) in _FUNCTIONS.items()}


def emulated(text: str) -> str:
    """The module with every tile instruction replaced by a call into this file."""
    for name, function in _kept.items():
        llvm.add_symbol(f"openxpu_test_{name}", ctypes.cast(function, ctypes.c_void_p).value)
        text = text.replace(f'"llvm.x86.{name}"', f'"openxpu_test_{name}"')
    assert "llvm.x86.t" not in text
    return text
