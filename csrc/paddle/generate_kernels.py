# Turns csrc/paddle/kernels/<group>.inc (one line per phi kernel) into C++ sources, one for each group.
"""Usage: generate_kernels.py OUTPUT_DIRECTORY GROUP.inc...

A line is `OPENXPU_KERNEL(name, function, "header", DTYPE, ...)`. The header has to be included before the line's
registration, which the preprocessor cannot do from within one macro, so this script does. Compile errors point
at the line of the .inc file. Also writes registrations.cc, which calls all groups."""

from __future__ import annotations

import re
import sys
from pathlib import Path

DTYPES = {
    "BOOL": "BOOL", "U8": "UINT8", "I8": "INT8", "I16": "INT16", "I32": "INT32", "I64": "INT64",
    "F16": "FLOAT16", "BF16": "BFLOAT16", "F32": "FLOAT32", "F64": "FLOAT64", "C64": "COMPLEX64", "C128": "COMPLEX128",
    "F8E4M3": "FLOAT8_E4M3FN", "F8E5M2": "FLOAT8_E5M2",
}  # fmt: skip
ROW = re.compile(r'^OPENXPU_KERNEL\(\s*(\w+)\s*,\s*(.+?)\s*,\s*"([^"]+)"\s*,\s*([\w\s,]+?)\s*\)\s*;?\s*(//.*)?$')


def rows(path: Path) -> list[tuple[int, str, str, str, list[str]]]:
    """(line number, kernel, function, header, dtypes) of each row of one .inc file."""
    found = []
    for number, line in enumerate(path.read_text().splitlines(), 1):
        text = line.strip()
        if not text or text.startswith(("//", "#")):
            continue
        match = ROW.match(text)
        if not match:
            raise SystemExit(
                f"{path}:{number}: error: expected OPENXPU_KERNEL(name, function, \"header\", DTYPE, ...) on one line, "
                f"found: {text}"
            )
        name, function, header, dtypes, _ = match.groups()
        names = [d.strip() for d in dtypes.split(",") if d.strip()]
        unknown = [d for d in names if d not in DTYPES]
        if unknown:
            raise SystemExit(f"{path}:{number}: error: unknown dtype {unknown[0]}; known are {' '.join(DTYPES)}")
        found.append((number, name, function, header, names))
    return found


def source(path: Path) -> str:
    """The C++ source of one group."""
    table = rows(path)
    group = path.stem
    lines = [f"// Generated from {path.name}; do not edit.", '#include "bridge.h"']
    seen: set[str] = set()
    for number, _, _, header, _ in table:
        if header not in seen:
            seen.add(header)
            lines += [f'#line {number} "{path}"', f'#include "{header}"']
    lines.append("namespace openxpu::paddle_plugin {")
    lines.append("namespace {")
    lines += [f"struct Tag_{name};" for _, name, *_ in table]
    lines.append("}  // namespace")
    lines.append(f"void register_{group}() {{")
    for number, name, function, _, names in table:
        dtypes = ", ".join(f"phi::DataType::{DTYPES[d]}" for d in names)
        lines += [
            f'#line {number} "{path}"',
            f'register_row<Tag_{name}, decltype(&{function})>("{name}", "{group}", {{{dtypes}}});',
        ]
    lines += ["}", "}  // namespace openxpu::paddle_plugin", ""]
    return "\n".join(lines)


def write_if_changed(path: Path, text: str) -> None:
    """Keeps the time stamp of an unchanged file, so that nothing is compiled again for it."""
    if not path.exists() or path.read_text() != text:
        path.write_text(text)


def main() -> None:
    """Entry point."""
    output = Path(sys.argv[1])
    output.mkdir(parents=True, exist_ok=True)
    groups = sorted(Path(p) for p in sys.argv[2:])
    owners: dict[str, str] = {}
    for path in groups:
        for number, name, *_ in rows(path):
            if name in owners:
                raise SystemExit(f"{path}:{number}: error: kernel {name} is already registered at {owners[name]}")
            owners[name] = f"{path}:{number}"
        write_if_changed(output / f"{path.stem}.cc", source(path))
    lines = ["// Generated; do not edit.", "namespace openxpu::paddle_plugin {"]
    lines += [f"void register_{p.stem}();" for p in groups]
    lines += ["void register_generated_kernels() {", *[f"  register_{p.stem}();" for p in groups], "}"]
    lines += ["}  // namespace openxpu::paddle_plugin", ""]
    write_if_changed(output / "registrations.cc", "\n".join(lines))


if __name__ == "__main__":
    main()
