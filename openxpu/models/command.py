"""`openxpu models`: the library as a table."""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Sequence
from typing import Any

from openxpu.models.registry import Model, find


def _work(chosen: Sequence[Model], as_json: bool) -> int:
    """Builds the models and prints what each computes; 1 when one could not be counted."""
    from openxpu.models import flops

    rows, wrong = [], 0
    for model in chosen:
        row: dict[str, Any] = {"name": model.name, "task": model.task}
        try:
            if model.missing:
                raise ValueError(model.missing)
            found = flops.of(model)
        except Exception as error:  # of whichever suite builds it; the other models are still counted
            row["error"], wrong = " ".join(str(error).split())[:200] or type(error).__name__, 1
        else:
            row |= {"inputs": list(found.inputs), "parameters": found.parameters}
            row |= {"multiply_adds": found.multiply_adds, "by_operator": found.by_operator}
        rows.append(row)
    if as_json:
        print(json.dumps(rows, indent=1))
        return wrong
    from rich.console import Console
    from rich.table import Table

    printed = Table("model", "inputs", "parameters", "GMAC", "by operator")
    for row in rows:
        if "error" in row:
            printed.add_row(row["name"], "", "", "", row["error"])
            continue
        total = max(row["multiply_adds"], 1)
        parts = ", ".join(f"{name} {share / total:.0%}" for name, share in row["by_operator"].items())
        figures = f"{row['parameters'] / 1e6:.2f} M", f"{row['multiply_adds'] / 1e9:.4g}"
        printed.add_row(row["name"], " ".join(row["inputs"]), *figures, parts)
    Console().print(printed)
    print(
        "GMAC: billions of multiply-adds of one sample, forward, in matrix products and convolutions; FLOPs are twice as many."
    )
    return wrong


def run(names: Sequence[str], tasks: Sequence[str], as_json: bool, work: bool = False) -> int:
    """Prints the models of these names or tasks; `work`: also how much they compute."""
    try:
        chosen = find(names, tasks)
    except LookupError as error:
        print(f"openxpu: {error}", file=sys.stderr)
        return 2
    if work:
        return _work(chosen, as_json)
    if as_json:
        rows = [
            {"name": m.name, "task": m.task, "source": m.source, "missing": m.missing, "listed": m.listed}
            for m in chosen
        ]
        print(json.dumps(rows, indent=1))
        return 0
    from rich.console import Console
    from rich.table import Table

    printed = Table("model", "task", "of", "here")
    for m in chosen:
        printed.add_row(m.name, m.task, m.source, f"pip install {m.install}" if m.missing else "yes")
    Console().print(printed)
    counts = Counter(m.task for m in chosen)
    print(f"{len(chosen)} models: {', '.join(f'{count} {task}' for task, count in counts.items())}.")
    return 0
