"""Keys and paths of the kernel cache. Imports neither triton nor llvmlite: a hit costs well under a millisecond."""

from __future__ import annotations

import functools
import hashlib
import importlib.metadata
import importlib.util
import json
import sys
from pathlib import Path
from typing import Any

from openxpu.compiler.target import Target
from openxpu.environment import cache_dir


def _digest_files(paths: list[Path]) -> str:
    digest = hashlib.sha256()
    for path in sorted(paths):
        digest.update(path.name.encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()


@functools.cache
def compiler_digest() -> str:
    """The compiler's own sources and the versions of what it stands on."""
    sources = _digest_files(list(Path(__file__).parent.glob("*.py")))
    versions = [f"{name} {importlib.metadata.version(name)}" for name in ("triton", "llvmlite")]
    return hashlib.sha256("\n".join([sources, *versions]).encode()).hexdigest()


@functools.cache
def package_digest(module_name: str) -> str:
    """All Python files of the folder that a kernel's module lies in."""
    if module_name.startswith("openxpu.ops.kernels."):
        folder = Path(__file__).parent.parent / "ops" / "kernels"
        return _digest_files(list(folder.glob("*.py")))
    file = getattr(sys.modules.get(module_name), "__file__", None)  # a script has no other name
    if file is None:
        spec = importlib.util.find_spec(module_name)
        if spec is None or spec.origin is None:
            return "absent"
        file = spec.origin
    origin = Path(file)
    return _digest_files([origin] if "." not in module_name else list(origin.parent.glob("*.py")))


def module_of(ref: str) -> str:
    return ref.partition(":")[0] if ":" in ref else "openxpu.ops.kernels." + ref.rpartition(".")[0]


def key(ref: str, arg_types: list[str], constexprs: dict[str, Any], target: Target) -> str:
    """sha256 over everything that decides the code."""
    material = [
        compiler_digest(),
        package_digest(module_of(ref)),
        ref,
        list(arg_types),
        sorted((name, type(value).__name__, repr(value)) for name, value in constexprs.items()),
        target.key,
    ]
    return hashlib.sha256(json.dumps(material).encode()).hexdigest()


def path(key_: str) -> Path:
    return cache_dir() / key_[:2] / f"{key_}.oxk"
