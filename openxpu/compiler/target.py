"""What a compilation target is: data about instruction sets, vectors and registers, nothing else."""

from __future__ import annotations

import ctypes
import functools
import platform
from dataclasses import dataclass


@dataclass(frozen=True)
class Target:
    """A machine to compile for. Two targets that are equal run the same images."""

    name: str
    triple: str
    cpu: str  # LLVM's processor level
    features: frozenset[str]  # LLVM feature names
    vector_bytes: int
    registers: int  # vector registers
    dot_instructions: tuple[
        str, ...
    ]  # of: "fma", "avx512_bf16", "avx512_vnni", "avx_vnni", "amx_bf16", "amx_int8"
    l1_bytes: int = 32 * 1024
    l2_bytes: int = 1024 * 1024

    @property
    def avx512(self) -> bool:
        return self.vector_bytes == 64

    @property
    def llvm_features(self) -> str:
        return ",".join("+" + f for f in sorted(self.features))

    @property
    def key(self) -> str:
        """Everything that makes two targets differ, for the cache key and the image."""
        return f"{self.name} {self.vector_bytes} {self.llvm_features}"


class UnsupportedProcessor(RuntimeError):
    """The machine lacks the instructions that every target here needs."""


_BASE = frozenset({"avx2", "bmi", "bmi2", "f16c", "fma", "lzcnt", "movbe", "popcnt"})
_AVX512 = frozenset({"avx512bw", "avx512cd", "avx512dq", "avx512f", "avx512vl"})
# name in /proc/cpuinfo -> LLVM feature; used by the dot micro-kernels
_OPTIONAL = {
    "avx512_vnni": "avx512vnni",
    "avx512_bf16": "avx512bf16",
    "avx512_fp16": "avx512fp16",
    "avx_vnni": "avxvnni",
    "amx_tile": "amx-tile",
    "amx_bf16": "amx-bf16",
    "amx_int8": "amx-int8",
}

X86_64_V3 = Target("x86-64-v3", "x86_64-unknown-linux-gnu", "x86-64-v3", _BASE, 32, 16, ("fma",))
X86_64_V4 = Target(
    "x86-64-v4",
    "x86_64-unknown-linux-gnu",
    "x86-64-v4",
    _BASE | _AVX512,
    64,
    32,
    ("fma",),
)


def _processor_flags() -> set[str]:
    with open("/proc/cpuinfo", encoding="utf-8") as f:
        for line in f:
            if line.startswith("flags"):
                return set(line.split(":", 1)[1].split())
    return set()


def from_flags(flags: set[str]) -> Target:
    """The target of a machine whose /proc/cpuinfo flags are these."""
    missing = sorted({"avx2", "fma", "f16c", "bmi2"} - flags)
    if missing:
        raise UnsupportedProcessor(
            f"OpenXPU's host card needs a processor with AVX2, FMA and F16C; this one lacks {', '.join(missing)}."
        )
    wide = {"avx512f", "avx512bw", "avx512vl", "avx512dq", "avx512cd"} <= flags
    base = X86_64_V4 if wide else X86_64_V3
    features, dots = set(base.features), ["fma"]
    for flag, feature in _OPTIONAL.items():
        if flag not in flags or (flag.startswith(("avx512", "amx")) and not wide):
            continue
        features.add(feature)
        if flag not in ("amx_tile", "avx512_fp16"):
            dots.append(flag)
    return Target(
        base.name,
        base.triple,
        base.cpu,
        frozenset(features),
        base.vector_bytes,
        base.registers,
        tuple(dots),
    )


def _tiles_allowed() -> bool:
    """Linux hands out AMX's tile registers on request only; the permission holds for all threads of the process."""
    arch_prctl, request, tile_data = 158, 0x1023, 18
    call = ctypes.CDLL(None, use_errno=True).syscall
    return bool(call(*map(ctypes.c_long, (arch_prctl, request, tile_data))) == 0)


@functools.cache
def host() -> Target:
    """The target of this machine."""
    if platform.machine() != "x86_64":
        raise UnsupportedProcessor(
            f"OpenXPU's host card needs an x86-64 processor, this machine is {platform.machine()}."
        )
    flags = _processor_flags()
    if not _tiles_allowed():
        flags = {flag for flag in flags if not flag.startswith("amx")}
    return from_flags(flags)
