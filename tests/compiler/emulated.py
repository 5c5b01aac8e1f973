"""Runs kernels compiled for another architecture: linked into a C program that QEMU's user mode executes."""

from __future__ import annotations

import functools
import shutil
import subprocess
import tempfile
from pathlib import Path

import numpy as np

_COMPILERS = {"aarch64": "aarch64-linux-gnu-gcc"}
_EMULATORS = {"aarch64": ("qemu-aarch64-static", "qemu-aarch64")}
_MAIN = Path(__file__).with_suffix(".c")


def missing(architecture: str) -> str:
    """Empty, or what this machine lacks to run kernels of an architecture."""
    if shutil.which(_COMPILERS[architecture]) is None:
        return f"no {_COMPILERS[architecture]} (Debian: gcc-aarch64-linux-gnu, libc6-dev-arm64-cross)"
    if not any(map(shutil.which, _EMULATORS[architecture])):
        return f"no {_EMULATORS[architecture][0]} (Debian: qemu-user-static)"
    return ""


@functools.cache
def _folder() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(prefix="openxpu-emulated-")


@functools.cache
def _main(architecture: str) -> Path:
    made = Path(_folder().name) / f"main-{architecture}.o"
    compiler = _COMPILERS[architecture]
    subprocess.run([compiler, "-O1", "-c", str(_MAIN), "-o", str(made)], check=True, timeout=120)
    return made


@functools.cache
def _program(architecture: str, elf: bytes) -> Path:
    folder = Path(tempfile.mkdtemp(dir=_folder().name))
    (folder / "kernel.o").write_bytes(elf)
    made = folder / "program"
    subprocess.run(
        [
            _COMPILERS[architecture],
            "-static",
            str(_main(architecture)),
            str(folder / "kernel.o"),
            "-lm",
            "-o",
            str(made),
        ],
        check=True,
        timeout=120,
    )
    return made


def run(
    architecture: str,
    elf: bytes,
    scratch_bytes: int,
    grid: tuple[int, int, int],
    args: list[np.ndarray | int],
) -> int:
    """Runs the whole grid; arrays are read and written. Returns the kernel's result."""
    program = _program(architecture, elf)
    emulator = next(filter(None, map(shutil.which, _EMULATORS[architecture])))
    parts = [np.array([len(args), scratch_bytes], "u8").tobytes(), np.array(grid, "u4").tobytes()]
    for arg in args:
        if isinstance(arg, np.ndarray):
            parts += [np.uint64(arg.nbytes).tobytes(), arg.tobytes()]
        else:
            parts += [np.uint64(0).tobytes(), np.uint64(arg).tobytes()]
    source, result = program.parent / "in", program.parent / "out"
    source.write_bytes(b"".join(parts))
    done = subprocess.run([emulator, str(program), str(source), str(result)], timeout=300, check=False)
    if done.returncode < 0 or done.returncode >= 126:
        raise AssertionError(f"the emulated kernel ended with {done.returncode}")
    data, at = result.read_bytes(), 0
    for arg in args:
        if isinstance(arg, np.ndarray):
            arg.view("u1").reshape(-1)[:] = np.frombuffer(data, "u1", arg.nbytes, at)
            at += arg.nbytes
    return done.returncode
