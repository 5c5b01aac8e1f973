# What the conformance runs found, by phi kernel: OPENXPU_CONFORMANCE_REPORT=path writes it when pytest ends.
from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any


class Report:
    """Counts of cases and largest errors of each phi kernel in each dtype."""

    def __init__(self) -> None:
        self._kernels: dict[str, dict[str, Any]] = {}
        self._native: set[str] = set()

    def _entry(self, kernel: str, dtype: str) -> dict[str, Any]:
        kernel_entry = self._kernels.setdefault(kernel, {"dtypes": {}, "skipped": []})
        entry: dict[str, Any] = kernel_entry["dtypes"].setdefault(
            dtype, {"run": 0, "passed": 0, "error_eps": 0.0, "error": 0.0}
        )
        return entry

    def ran(self, case: Any, native: Mapping[str, int]) -> None:
        """The phi kernels that a case reached."""
        self._native = set(native)

    def passed(self, case: Any, forward: Any, backward: Any = None, instead: Sequence[str] = ()) -> None:
        """A case passed, with these distances from its reference; `backward` is None when it had no gradient. `instead`:
        the kernels that ran, where they are not the row's."""
        row = case.row
        ahead = instead or (row.kernel, *row.also)
        for kernels, found in ((ahead, forward), (row.backward, None if instead else backward)):
            for kernel in kernels if found is not None else ():
                entry = self._entry(kernel, case.dtype)
                entry["run"] += 1
                entry["passed"] += 1
                entry["error_eps"] = max(entry["error_eps"], found.eps)
                entry["error"] = max(entry["error"], found.absolute)

    def failed(self, case: Any) -> None:
        """A case failed; nothing is known of the size of its error."""
        for kernel in (case.row.kernel, *case.row.also, *(case.row.backward if case.differentiable else ())):
            self._entry(kernel, case.dtype)["run"] += 1

    def skipped(self, row: Any, what: str, reason: str) -> None:
        """Something of a row is not run."""
        entry = self._kernels.setdefault(row.kernel, {"dtypes": {}, "skipped": []})
        sentence = f"{what}: {reason}"
        if sentence not in entry["skipped"]:
            entry["skipped"].append(sentence)

    def write(self) -> None:
        """Writes the file that OPENXPU_CONFORMANCE_REPORT names, aside first."""
        named = os.environ.get("OPENXPU_CONFORMANCE_REPORT")
        if not named or not self._kernels:
            return
        path = Path(named)
        aside = path.with_name(f".{path.name}.{os.getpid()}")
        for kernel in self._kernels.values():
            for entry in kernel["dtypes"].values():
                entry.update({name: float(f"{entry[name]:.3g}") for name in ("error_eps", "error")})
        lines = [f"{json.dumps(name)}: {json.dumps(self._kernels[name])}" for name in sorted(self._kernels)]
        aside.write_text('{"kernels": {\n' + ",\n".join(lines) + "\n}}\n")
        aside.replace(path)


REPORT = Report()
