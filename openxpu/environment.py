# Every OPENXPU_* variable: what it means, and one function per variable that Python reads.
"""The C++ run time reads the variables about cards itself (csrc/runtime/environment.cc); everything that Python reads
goes through this module. `openxpu environment` prints the table."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Variable:
    """One environment variable."""

    name: str
    values: str
    default: str
    meaning: str


VARIABLES = (
    Variable("OPENXPU_CARDS", "1-64", "1", "how many cards this machine shows"),
    Variable(
        "OPENXPU_CARD_MEMORY",
        "4G, 512M, bytes",
        "75 % of memory / cards",
        "hard limit of one card's memory in one process",
    ),
    Variable("OPENXPU_CARD_THREADS", "1-1024", "processors / cards", "workers of one card"),
    Variable(
        "OPENXPU_ARENA",
        "private, shared",
        "shared in a card group (PADDLE_TRAINERS_NUM > 1), else private",
        "backing of card memory: anonymous huge pages, or a memfd that other ranks can map",
    ),
    Variable(
        "OPENXPU_COLLECTIVE_TIMEOUT",
        "seconds",
        "60",
        "how long a collective waits for a rank that does not come",
    ),
    Variable(
        "OPENXPU_ADDRESS",
        "address",
        "from Paddle's launcher",
        "this machine's address for the ranks of other machines",
    ),
    Variable(
        "OPENXPU_BLOCKING",
        "0, 1",
        "0",
        "wait for every command as it is enqueued, to find the one that fails",
    ),
    Variable(
        "OPENXPU_POISON",
        "0-255",
        "",
        "fill fresh card memory, workspaces and outputs with this byte, to find a kernel that reads what nobody wrote "
        "(255: NaN in every floating type)",
    ),
    Variable(
        "OPENXPU_GUARD",
        "0, 1",
        "0",
        "end every block of card memory at a page without access, so that a kernel which leaves its tensors ends the "
        "process; with Paddle also FLAGS_free_idle_chunk=1",
    ),
    Variable(
        "OPENXPU_TARGET",
        "x86-64-v4, x86-64-v3, x86-64-v2, x86-64, aarch64",
        "the best that the processor runs",
        "what kernels are compiled for: AVX-512, AVX2, SSE4.2, SSE2, or NEON on AArch64",
    ),
    Variable(
        "OPENXPU_F32_DOT",
        "bf16x6, ieee",
        "bf16x6 on processors with AMX",
        "how matrix products and convolutions of f32 are computed: as six products of bf16 parts in AMX's tile registers, or by "
        "fused multiply-adds",
    ),
    Variable("OPENXPU_CACHE_DIR", "path", "~/.cache/openxpu/kernels", "compiled kernels"),
    Variable(
        "OPENXPU_CACHE_LIMIT",
        "2G, 512M, bytes; 0: none",
        "2G",
        "what compiled kernels may take on disk; those used longest ago go first",
    ),
    Variable(
        "OPENXPU_FALLBACK",
        "allow, warn, error",
        "allow",
        "what to do when an operator runs on the CPU instead",
    ),
    Variable(
        "OPENXPU_NAMING",
        "0, 1",
        "1",
        'make Paddle take "xpu:<n>" and paddle.device.xpu for the card; 0 leaves Paddle\'s Python code as it is',
    ),
    Variable("OPENXPU_DUMP", "ttir,tile,llvm,asm", "", "compiler stages to write beside the cached kernel"),
)
F32_DOTS = ("bf16x6", "ieee")
FALLBACKS = ("allow", "warn", "error")
DUMPS = ("ttir", "tile", "llvm", "asm")


def cache_dir() -> Path:
    """Folder of compiled kernels (OPENXPU_CACHE_DIR, else below XDG_CACHE_HOME or ~/.cache)."""
    named = os.environ.get("OPENXPU_CACHE_DIR")
    if named:
        return Path(named)
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "openxpu" / "kernels"


def cache_limit() -> int:
    """Bytes that the folder of compiled kernels may hold, 0 for no limit (OPENXPU_CACHE_LIMIT, default 2 GiB).

    Raises ValueError for anything that is no size."""
    value = os.environ.get("OPENXPU_CACHE_LIMIT", "").strip() or "2G"
    parts = re.fullmatch(r"(\d+(?:\.\d*)?)\s*([KMGT]?)(?:I?B)?", value.upper())
    if parts is None:
        raise ValueError(
            f'OPENXPU_CACHE_LIMIT is "{value}"; give a size such as 2G, 512M or a number of bytes, or 0 for no limit'
        )
    return int(float(parts.group(1)) * 1024 ** " KMGT".index(parts.group(2) or " "))


def address() -> str:
    """Where ranks of other machines reach this one, or "" (OPENXPU_ADDRESS)."""
    return os.environ.get("OPENXPU_ADDRESS", "")


def target() -> str:
    """The target that kernels are compiled for, or "" for the processor's best. openxpu.compiler.target checks it."""
    return os.environ.get("OPENXPU_TARGET", "")


def f32_dot() -> str:
    """ "bf16x6" or "ieee". Raises ValueError for anything else."""
    value = os.environ.get("OPENXPU_F32_DOT") or "bf16x6"
    if value not in F32_DOTS:
        raise ValueError(f'OPENXPU_F32_DOT is "{value}"; give one of {", ".join(F32_DOTS)}')
    return value


def fallback() -> str:
    """ "allow", "warn" or "error". Raises ValueError for anything else."""
    value = os.environ.get("OPENXPU_FALLBACK") or "allow"
    if value not in FALLBACKS:
        raise ValueError(f'OPENXPU_FALLBACK is "{value}"; give one of {", ".join(FALLBACKS)}')
    return value


def dump() -> frozenset[str]:
    """The compiler stages to write out. Raises ValueError for an unknown one."""
    stages = frozenset(part.strip() for part in os.environ.get("OPENXPU_DUMP", "").split(",") if part.strip())
    unknown = sorted(stages - set(DUMPS))
    if unknown:
        raise ValueError(f'OPENXPU_DUMP names "{unknown[0]}"; known stages are {", ".join(DUMPS)}')
    return stages


def unknown() -> list[str]:
    """OPENXPU_* variables that are set and that nothing reads: most likely misspelt."""
    known = {variable.name for variable in VARIABLES}
    return sorted(name for name in os.environ if name.startswith("OPENXPU_") and name not in known)
