"""What this card refuses, said with the kernel's file and line: inline assembly, and operations of GPU dialects (gluon)."""

from __future__ import annotations

import re
from typing import Any

from openxpu.compiler.tile_ir import CompileError

_REFUSED = {
    "tt.elementwise_inline_asm": "inline assembly is written for one chip; use plain Triton operations or libdevice",
    "ttg.": "it is an operation of Triton's GPU dialect (gluon); write the kernel in plain Triton",
    "ttng.": "it is an operation of Triton's Nvidia dialect; write the kernel in plain Triton",
    "nvvm.": "it is an instruction of Nvidia chips; write the kernel in plain Triton",
    "rocdl.": "it is an instruction of AMD chips; write the kernel in plain Triton",
}
_OPERATION = re.compile(r'^\s*(?:%[^=]*= )?"?((?:tt|ttg|ttng|nvvm|rocdl)\.[a-z_.]+)"?')
_ALLOWED = {"ttg.barrier"}
_DEFINITION = re.compile(r"^(#loc\d*) = loc\((.*)\)$")


def refused(name: str) -> str | None:
    """Why an operation is refused; None when it is not."""
    if name in _ALLOWED:
        return None
    return next((why for start, why in _REFUSED.items() if name.startswith(start)), None)


def check(module: Any, text: str) -> None:
    """Raise CompileError for the first operation of an MLIR module that no kernel may have. text: without locations."""
    if not any(name in text for name in _REFUSED):
        return
    places: dict[str, str] = {}
    lines = module.str().splitlines()
    for line in lines:
        if found := _DEFINITION.match(line):
            places[found.group(1)] = found.group(2)
    for line in lines:
        found = _OPERATION.match(line)
        why = refused(found.group(1)) if found else None
        if found and why:
            place = re.search(r"loc\((#loc\d*)\)$", line)
            where = resolve(place.group(1), places) if place else None
            sentence = f"The kernel uses {found.group(1)}, which this card refuses: {why}."
            raise CompileError(f"{where}: {sentence}" if where else sentence)


def resolve(name: str, places: dict[str, str]) -> str | None:
    """'file.py:12' of a location; of the innermost function where one was inlined into another."""
    text = places.get(name, "")
    if found := re.match(r'"([^"]*)":(\d+):\d+', text):
        return f"{found.group(1)}:{found.group(2)}"
    for inner in re.findall(r"#loc\d*", text):
        if (place := resolve(inner, places)) is not None:
            return place
    return None


def check_function(function: Any, ref: str) -> None:
    """Raise CompileError for a gluon kernel."""
    if function.is_gluon():
        code = function.fn.__code__
        raise CompileError(
            f"{code.co_filename}:{code.co_firstlineno}: {ref!r} is a gluon kernel, which is written for the "
            "layouts of GPUs; this card refuses it: write the kernel in plain Triton (@triton.jit)."
        )
