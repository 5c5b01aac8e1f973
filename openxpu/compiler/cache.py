"""Keys and paths of the kernel cache. Imports neither triton nor llvmlite: a hit costs well under a millisecond."""

from __future__ import annotations

import functools
import hashlib
import importlib.metadata
import importlib.util
import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from openxpu.compiler.target import Target
from openxpu.environment import cache_dir

KERNELS = Path(__file__).parent.parent / "ops" / "kernels"


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


# An import in a kernel file, whole: from openxpu.ops.kernels.a import b, from openxpu.ops.kernels import a, b, from .a import b.
_IMPORT = re.compile(
    r"^[ \t]*(?:from[ \t]+(?:openxpu\.ops\.kernels|(?=\.))\.?(\w*)[ \t]+import[ \t]+(\([^)]*\)|[^\n#]+)"
    r"|import[ \t]+openxpu\.ops\.kernels\.(\w+))",
    re.MULTILINE,
)


@functools.cache
def imported(module: str) -> frozenset[str]:
    """The kernel files that this one imports, by their text: importing them would load Triton."""
    found: set[str] = set()
    for origin, names, whole in _IMPORT.findall((KERNELS / f"{module}.py").read_text()):
        if origin or whole:
            found.add(origin or whole)
        else:
            found.update(re.split(r"\s+as\s+", n.strip(" \t\n()"))[0] for n in names.split(","))
    return frozenset(name for name in found if (KERNELS / f"{name}.py").exists())


@functools.cache
def module_digest(module_name: str) -> str:
    """A kernel file of ours and what it imports, however far; of a foreign module, all Python files of its folder."""
    prefix, _, name = module_name.rpartition(".")
    if prefix == "openxpu.ops.kernels":
        if not (KERNELS / f"{name}.py").exists():
            return "absent"
        reached, left = {name}, [name]
        while left:
            new = imported(left.pop()) - reached
            reached |= new
            left += new
        return _digest_files([KERNELS / f"{n}.py" for n in (*reached, "__init__")])
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


def functions_in(value: Any) -> Iterator[str]:
    """References to functions that a constant hands to the kernel."""
    if isinstance(value, str):
        kind, _, ref = value.partition(":")
        if kind in ("function", "fn"):
            yield ref
    elif isinstance(value, list | tuple):
        for part in value:
            yield from functions_in(part)


def key(ref: str, arg_types: list[str], constexprs: dict[str, Any], target: Target) -> str:
    """sha256 over everything that decides the code."""
    modules = {module_of(r) for r in (ref, *functions_in(list(constexprs.values())))}
    material = [
        compiler_digest(),
        [module_digest(m) for m in sorted(modules)],
        ref,
        list(arg_types),
        sorted((name, type(value).__name__, repr(value)) for name, value in constexprs.items()),
        target.key,
    ]
    return hashlib.sha256(json.dumps(material).encode()).hexdigest()


def path(key_: str) -> Path:
    return cache_dir() / key_[:2] / f"{key_}.oxk"
