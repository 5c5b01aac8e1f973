# All rows of rows/*.py; a row's group is the name of its file.
from __future__ import annotations

import importlib
from dataclasses import replace
from pathlib import Path

from conformance.row import Row


def _all() -> list[Row]:
    found: list[Row] = []
    names: set[str] = set()
    for path in sorted((Path(__file__).parent / "rows").glob("*.py")):
        module = importlib.import_module(f"conformance.rows.{path.stem}")
        for row in module.ROWS:
            if row.name in names:
                raise ValueError(
                    f"{path}: there is another row {row.name}; give one of them a name of its own"
                )
            names.add(row.name)
            found.append(replace(row, group=path.stem))
    return [
        _without_complex(row) if f"{row.kernel.removesuffix('_raw')}_complex" in names else row
        for row in found
    ]


def _without_complex(row: Row) -> Row:
    """A kernel with a row <kernel>_complex has its complex dtypes there; <kernel>_raw has the same plan."""
    if row.name.endswith("_complex"):
        return row
    elsewhere = {d: "in the row of complex numbers" for d in row.dtypes if d.startswith("c")}
    return replace(
        row,
        dtypes=tuple(d for d in row.dtypes if d not in elsewhere),
        without={**row.without, **elsewhere},
        backward_dtypes=tuple(d for d in row.backward_dtypes if d not in elsewhere),
    )


ROWS = _all()
