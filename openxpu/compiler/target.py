"""What a compilation target is: data about instruction sets, vectors and registers, nothing else.

A *level* is a target by name ("x86-64-v3") and what a processor must have for it. The host card compiles for the
highest level of its processor, or for the one that OPENXPU_TARGET names, with the optional instructions that the
processor has besides. AMX is described here and used by tl.dot where Linux grants it.
"""

from __future__ import annotations

import ctypes
import functools
import platform
from dataclasses import dataclass, replace
from pathlib import Path

from openxpu import environment


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
    def architecture(self) -> str:
        """ "x86_64" or "aarch64", as platform.machine() says it."""
        return self.triple.partition("-")[0]

    @property
    def avx512(self) -> bool:
        return "avx512f" in self.features

    @property
    def fused(self) -> bool:
        """Whether a multiply-add that rounds once is an instruction."""
        return self.architecture == "aarch64" or "fma" in self.features

    @property
    def converts_f16(self) -> bool:
        """Whether f16 to and from f32 are instructions."""
        return self.architecture == "aarch64" or "f16c" in self.features

    @property
    def gathers(self) -> bool:
        """Whether a gather instruction is faster than an access for each lane."""
        return "fast-gather" in self.features

    @property
    def llvm_features(self) -> str:
        return ",".join("+" + f for f in sorted(self.features))

    @property
    def key(self) -> str:
        """Everything that makes two targets differ, for the cache key and the image."""
        return f"{self.name} {self.vector_bytes} {self.llvm_features}"


FLOAT8 = ("fp8e4nv", "fp8e5")  # the 8-bit floats that every target has, in Triton's words


class UnsupportedProcessor(RuntimeError):
    """The machine lacks the instructions that the target needs."""


_X86, _ARM = "x86_64-unknown-linux-gnu", "aarch64-unknown-linux-gnu"
_V2 = frozenset({"cx16", "popcnt", "sahf", "sse3", "sse4.1", "sse4.2", "ssse3"})
_V3 = frozenset({"avx2", "bmi", "bmi2", "f16c", "fma", "lzcnt", "movbe", "popcnt"})
_AVX512 = frozenset({"avx512bw", "avx512cd", "avx512dq", "avx512f", "avx512vl"})

X86_64 = Target("x86-64", _X86, "x86-64", frozenset({"sse2"}), 16, 16, ())
X86_64_V2 = Target("x86-64-v2", _X86, "x86-64-v2", _V2, 16, 16, ())
X86_64_V3 = Target("x86-64-v3", _X86, "x86-64-v3", _V3, 32, 16, ("fma",))
X86_64_V4 = Target("x86-64-v4", _X86, "x86-64-v4", _V3 | _AVX512, 64, 32, ("fma",))
AARCH64 = Target("aarch64", _ARM, "generic", frozenset({"fp-armv8", "neon"}), 16, 32, ("fma",))

# What /proc/cpuinfo must show for a level, lowest level first. A hypervisor may hide any of it.
_V2_FLAGS = frozenset({"cx16", "lahf_lm", "pni", "popcnt", "sse4_1", "sse4_2", "ssse3"})
_V3_FLAGS = _V2_FLAGS | {"abm", "avx", "avx2", "bmi1", "bmi2", "f16c", "fma", "movbe"}
_NEEDS = {
    X86_64: frozenset[str](),
    X86_64_V2: _V2_FLAGS,
    X86_64_V3: _V3_FLAGS,
    X86_64_V4: _V3_FLAGS | _AVX512,
    AARCH64: frozenset({"asimd", "fp"}),
}
LEVELS = {target.name: target for target in _NEEDS}

# Not of /proc/cpuinfo: gathers are microcode on AMD's processors and on those of Intel that the mitigation of data sampling
# has slowed down.
FAST_GATHER = "fast_gather"
_GATHER_SAMPLING = Path("/sys/devices/system/cpu/vulnerabilities/gather_data_sampling")

# name in /proc/cpuinfo -> LLVM feature and the lowest level that uses it; for the dot micro-kernels
_OPTIONAL = {
    "avx512_vnni": ("avx512vnni", X86_64_V4),
    "avx512_bf16": ("avx512bf16", X86_64_V4),
    "avx512_fp16": ("avx512fp16", X86_64_V4),
    "avx_vnni": ("avxvnni", X86_64_V3),
    "amx_tile": ("amx-tile", X86_64_V4),
    "amx_bf16": ("amx-bf16", X86_64_V4),
    "amx_int8": ("amx-int8", X86_64_V4),
    FAST_GATHER: ("fast-gather", X86_64_V4),
}


def level(name: str) -> Target:
    """The plain target of this name, without optional instructions. Raises ValueError for an unknown name."""
    if name not in LEVELS:
        raise ValueError(f'There is no target "{name}"; give one of {", ".join(LEVELS)}.')
    return LEVELS[name]


def _processor_flags() -> set[str]:
    """What /proc/cpuinfo says, and FAST_GATHER."""
    intel = False
    with open("/proc/cpuinfo", encoding="utf-8") as f:
        for line in f:
            intel = intel or (line.startswith("vendor_id") and "GenuineIntel" in line)
            if line.startswith(("flags", "Features")):
                flags = set(line.split(":", 1)[1].split())
                return flags | {FAST_GATHER} if intel and _gathers_unhindered() else flags
    return set()


def _gathers_unhindered() -> bool:
    try:
        return _GATHER_SAMPLING.read_text(encoding="utf-8").startswith("Not affected")
    except OSError:
        return False


def runnable(flags: set[str], machine: str = "x86_64") -> list[Target]:
    """The levels that a machine with these /proc/cpuinfo flags runs, lowest first."""
    return [t for t, needs in _NEEDS.items() if t.architecture == machine and needs <= flags]


def from_flags(flags: set[str], machine: str = "x86_64", name: str = "") -> Target:
    """The target of a machine with these /proc/cpuinfo flags: its highest level, or the one named.

    Raises ValueError for a name that is not known, UnsupportedProcessor for one that the machine does not run."""
    able = runnable(flags, machine)
    names = ", ".join(target.name for target in able)
    if name:
        base = level(name)
        if base not in able:
            if base.architecture != machine:
                reason = f"this machine is {machine}"
            else:
                reason = f"this processor lacks {', '.join(sorted(_NEEDS[base] - flags))}"
            raise UnsupportedProcessor(
                f'The target "{name}" was asked for (OPENXPU_TARGET), but {reason}; '
                + (f"give one of {names}, or none for the best of them." if able else "it runs no target.")
            )
    elif able:
        base = able[-1]
    else:
        wanted = ", ".join(sorted({target.architecture for target in _NEEDS}))
        raise UnsupportedProcessor(
            f"OpenXPU's host card compiles for {wanted}; this machine is {machine}"
            + (" without NEON." if machine == AARCH64.architecture else ".")
        )
    features, dots = set(base.features), list(base.dot_instructions)
    levels = list(_NEEDS)
    for flag, (feature, lowest) in _OPTIONAL.items():
        if flag not in flags or base.architecture != machine or lowest.architecture != machine:
            continue
        if levels.index(base) < levels.index(lowest):
            continue
        features.add(feature)
        if flag not in ("amx_tile", "avx512_fp16", FAST_GATHER):
            dots.append(flag)
    return replace(base, features=frozenset(features), dot_instructions=tuple(dots))


def _tiles_allowed() -> bool:
    """Linux hands out AMX's tile registers on request only; the permission holds for all threads of the process."""
    arch_prctl, request, tile_data = 158, 0x1023, 18
    call = ctypes.CDLL(None, use_errno=True).syscall
    return bool(call(*map(ctypes.c_long, (arch_prctl, request, tile_data))) == 0)


@functools.cache
def _host(name: str) -> Target:
    machine = platform.machine()
    flags = _processor_flags()
    if machine != "x86_64" or not _tiles_allowed():
        flags = {flag for flag in flags if not flag.startswith("amx")}
    return from_flags(flags, machine, name)


def host() -> Target:
    """The target of this machine, or the level of it that OPENXPU_TARGET names.

    Raises ValueError when the variable names no target, UnsupportedProcessor for one that this processor lacks."""
    return _host(environment.target())


def of_host() -> list[Target]:
    """Every level that this machine runs, lowest first, each with the optional instructions present."""
    return [_host(target.name) for target in runnable(_processor_flags(), platform.machine())]
