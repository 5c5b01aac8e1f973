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
    return found


ROWS = _all()
