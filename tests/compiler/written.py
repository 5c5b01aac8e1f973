"""Kernels written by tests: text -> a module on disk (Triton reads a kernel's source from its file) -> "module:name"."""

from __future__ import annotations

import atexit
import hashlib
import shutil
import sys
import tempfile
from pathlib import Path

_HEAD = "import triton\nimport triton.language as tl\nfrom triton.language.extra import libdevice\n\n\n"
_folder: Path | None = None


def folder() -> Path:
    global _folder  # noqa: PLW0603
    if _folder is None:
        _folder = Path(tempfile.mkdtemp(prefix="openxpu-kernels-"))
        sys.path.append(str(_folder))
        atexit.register(shutil.rmtree, _folder, True)
    return _folder


def kernel(source: str, name: str = "kernel") -> str:
    """The reference of the kernel `name` in this text; the same text is the same module."""
    text = _HEAD + source
    module = "written_" + hashlib.sha256(text.encode()).hexdigest()[:16]
    path = folder() / f"{module}.py"
    if not path.exists():
        path.write_text(text)
    return f"{module}:{name}"


def rows(results: list[str], inputs: int = 2, setup: str = "", types: str = "") -> str:
    """A kernel over one block of n elements that stores expression i of a, b, c in row i of out, cast to its dtype."""
    names = "abc"[:inputs]
    lines = [
        "@triton.jit",
        f"def kernel({', '.join('p' + c for c in names)}, out, n, BLOCK: tl.constexpr{types}):",
        "    offs = tl.arange(0, BLOCK)",
        "    mask = offs < n",
        *(f"    {c} = tl.load(p{c} + offs, mask=mask)" for c in names),
        *(f"    {line}" for line in setup.splitlines()),
        *(
            f"    tl.store(out + {i} * n + offs, ({e}).to(out.dtype.element_ty), mask=mask)"
            for i, e in enumerate(results)
        ),
    ]
    return "\n".join(lines) + "\n"
