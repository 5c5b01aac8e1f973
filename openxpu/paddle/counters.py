# What ran on the card and what ran on the CPU: the plug-in's counters.

from __future__ import annotations

import ctypes
import functools

# Paddle's names of dtypes, and ours.
DTYPES = {
    "bool": "bool", "uint8": "u8", "int8": "i8", "int16": "i16", "int32": "i32", "int64": "i64", "float16": "f16",
    "bfloat16": "bf16", "float32": "f32", "float64": "f64", "complex64": "c64", "complex128": "c128",
    "float8_e4m3fn": "f8e4m3", "float8_e5m2": "f8e5m2",
}  # fmt: skip


@functools.cache
def plugin() -> ctypes.CDLL:
    """The plug-in that this process has loaded."""
    with open("/proc/self/maps") as maps:
        for line in maps:
            path = line.rstrip("\n").split(maxsplit=5)[-1]
            if path.endswith("/libopenxpu_paddle.so"):
                library = ctypes.CDLL(path)
                for name in ("native_calls", "fallbacks", "plans", "kernels"):
                    getattr(library, f"openxpu_paddle_{name}").restype = ctypes.c_char_p
                return library
    raise RuntimeError(
        "The Paddle plug-in libopenxpu_paddle.so is not loaded in this process. Import paddle first; if that did not "
        "load it, check that it is installed in site-packages/paddle_custom_device or below CUSTOM_DEVICE_ROOT."
    )


def _rows(name: str) -> list[list[str]]:
    text: bytes = getattr(plugin(), f"openxpu_paddle_{name}")()
    return [line.split(" ") for line in text.decode().splitlines()]


def _counts(name: str) -> dict[str, int]:
    """Sorted by count, the largest first."""
    counts = {row[0]: int(row[1]) for row in _rows(name)}
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))


def fallbacks() -> dict[str, int]:
    """Calls that Paddle ran on the CPU although they were meant for the card, by phi kernel."""
    return _counts("fallbacks")


def native_calls() -> dict[str, int]:
    """Calls that ran as compiled kernels on a card, by phi kernel."""
    return _counts("native_calls")


def plans() -> dict[str, tuple[int, int]]:
    """By phi kernel: plans made since the start, plans kept now."""
    return {row[0]: (int(row[1]), int(row[2])) for row in _rows("plans")}


def registered_kernels() -> dict[str, str]:
    """All phi kernels that the plug-in has registered, with the group that maps each of them."""
    return {row[0]: row[1] for row in _rows("kernels")}


def kernel_dtypes() -> dict[str, tuple[str, ...]]:
    """The dtypes in which each phi kernel is registered, in the order of its line: {"argmax": ("f32", "f64", ...)}."""
    return {row[0]: tuple(DTYPES[dtype] for dtype in row[2:]) for row in _rows("kernels")}


def reset_counters() -> None:
    """Sets all counts of native calls and fallbacks to 0."""
    plugin().openxpu_paddle_reset_counters()
