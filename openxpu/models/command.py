"""`openxpu models`: the library as a table."""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Sequence

from openxpu.models.registry import find


def run(names: Sequence[str], tasks: Sequence[str], as_json: bool) -> int:
    """Prints the models of these names or tasks."""
    try:
        chosen = find(names, tasks)
    except LookupError as error:
        print(f"openxpu: {error}", file=sys.stderr)
        return 2
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
