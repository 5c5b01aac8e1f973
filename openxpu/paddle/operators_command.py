# `openxpu ops`: the card's operators as a table, those that a saved program lacks, those of a script that fell back.

from __future__ import annotations

import json
import linecache
import runpy
import statistics
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from itertools import groupby, product
from pathlib import Path
from types import FrameType
from typing import Any

from openxpu.paddle import operator_table as operators
from openxpu.paddle.left_to_paddle import LEFT


def _import_paddle() -> None:
    """Paddle with the plug-in. Raises RuntimeError with a sentence without it."""
    try:
        import paddle
    except ImportError as error:
        raise RuntimeError(f"openxpu ops needs PaddlePaddle: {error}") from None
    if "xpu" not in paddle.device.get_all_custom_device_type():
        raise RuntimeError("Paddle did not load the plug-in; it has no device xpu")


def table(as_json: bool) -> int:
    """Prints every operator of the card."""
    _import_paddle()
    rows = operators.operators()
    if as_json:
        print(json.dumps([asdict(row) for row in rows], indent=1))
        return 0
    from rich.console import Console
    from rich.table import Table

    printed = Table("group", "operator", "dtypes", "gradient", "cases", "error", "its gradient's", "speed")
    for column in (4, 5, 6, 7):
        printed.columns[column].justify = "right"
    for row in rows:
        printed.add_row(
            row.group,
            row.kernel,
            " ".join(row.dtypes),
            "yes" if row.backward else "",
            str(row.cases or ""),
            _number(row.error),
            _number(row.gradient_error),
            _ratio(row.speed),
        )
    Console().print(printed)
    print(
        f"{len(rows)} operators ({sum(len(row.kernels) for row in rows)} phi kernels), "
        f"{sum(row.backward for row in rows)} with a gradient. Errors: the largest of the cases, in "
        "units of the dtype's eps. Speed: of Paddle's CPU kernel."
    )
    return 0


def _ratio(speed: float | None) -> str:
    return "" if speed is None else f"{speed:.2f}x"


def _number(error: float | None) -> str:
    return "" if error is None else f"{error:.2g}"


def missing(path: Path, as_json: bool) -> int:
    """Prints what a saved program has that the card has not."""
    _import_paddle()
    rows = operators.missing(path)
    if as_json:
        print(json.dumps([asdict(row) for row in rows], indent=1))
        return 0
    if not rows:
        print(f"The card has all operators of {path}.")
        return 0
    from rich.console import Console
    from rich.table import Table

    printed = Table("operator", "of dtype", "in the program", "why it would run on the CPU")
    for row in rows:
        printed.add_row(row.operator, row.dtype, str(row.count), row.reason)
    Console().print(printed)
    return 0


# Files whose lines are not looked at: Python's and installed ones, ours, and code that has no file.
_LIBRARIES = ("<", sys.prefix, sys.base_prefix, str(Path(__file__).parents[1]))


@dataclass
class _First:
    """Where an operator fell back first."""

    calls: int
    file: str
    line: int


class _Watch:
    """A trace function that looks at the plug-in's count of fallbacks after every line of the script's own files."""

    def __init__(self) -> None:
        from openxpu.paddle import counters

        self._library = counters.plugin()
        self._text = b""
        self._line: dict[FrameType, int] = {}
        self.found: dict[str, _First] = {}

    def __call__(self, frame: FrameType, event: str, argument: Any) -> Any:
        if frame.f_code.co_filename.startswith(_LIBRARIES):
            return None
        self._line[frame] = frame.f_lineno
        return self._lines

    def _lines(self, frame: FrameType, event: str, argument: Any) -> Any:
        self._look(frame.f_code.co_filename, self._line.get(frame, frame.f_lineno))
        if event == "return":
            self._line.pop(frame, None)
        else:
            self._line[frame] = frame.f_lineno
        return self._lines

    def _look(self, file: str, line: int) -> None:
        text: bytes = self._library.openxpu_paddle_fallbacks()
        if text == self._text:
            return
        self._text = text
        for row in text.decode().splitlines():
            name, calls = row.rsplit(" ", 1)
            self.found.setdefault(name, _First(0, file, line)).calls = int(calls)


def trace(command: list[str], as_json: bool) -> int:
    """Runs a script as `python script.py argument ...` would, then prints its fallbacks."""
    script = command[0]
    if not Path(script).is_file():
        raise ValueError(f"there is no script {script}")
    _import_paddle()
    watch = _Watch()
    before = sys.argv, sys.path[:]
    sys.argv, sys.path[0:0] = command, [str(Path(script).resolve().parent)]
    status = 0
    sys.settrace(watch)
    try:
        runpy.run_path(script, run_name="__main__")
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else 0 if end.code is None else 1
    finally:
        sys.settrace(None)
        sys.argv, sys.path[:] = before
    from openxpu.paddle import counters

    native = sum(counters.native_calls().values())
    for name, calls in counters.fallbacks().items():  # of threads, and of the script's end
        watch.found.setdefault(name, _First(0, "", 0)).calls = calls
    rows = sorted(watch.found.items(), key=lambda item: (-item[1].calls, item[0]))
    if as_json:
        listed = [{"operator": name, **asdict(first)} for name, first in rows]
        print(json.dumps({"native_calls": native, "fallbacks": listed}, indent=1))
        return status
    if not rows:
        print(f"Nothing fell back: all {native} calls of operators ran on the card.")
        return status
    from rich.console import Console
    from rich.table import Table

    printed = Table("operator", "calls on the CPU", "first at", "")
    for name, first in rows:
        where = f"{Path(first.file).name}:{first.line}" if first.file else ""
        printed.add_row(name, str(first.calls), where, linecache.getline(first.file, first.line).strip())
    Console().print(printed)
    print(f"{native} calls of operators ran on the card.")
    return status


HEAD = """# Operators

Every phi kernel of Paddle that runs natively on the card, as compiled kernels on its stream. What is not listed runs on the
CPU by itself, and is counted: `openxpu ops --trace script.py` names it, `openxpu ops --missing model.json` reads it from a
saved program.

This page is written by

    openxpu ops --markdown > docs/operators.md

*Cases*: calls that were compared with Paddle's CPU kernels in f64 ([add-an-operator.md](add-an-operator.md), section 4),
over all dtypes, forward and backward. *Error*: the largest one, in units of the dtype's eps; *gradient* the same for
gradients, `-` where there is none; a thousand and more are f64 beside a CPU kernel of Paddle that takes an attribute in 32 bits.
The dtypes are those that are registered; 16-bit floats are computed in f32. *Speed*: how often the card does the forward
operator while Paddle's CPU kernel does it once, *torch* the same for torch's operator where it has the same; the slowest of
the operator's large works ([benchmarks/operators.py](../benchmarks/operators.py)).
"""


LEFT_HEAD = """## Left to Paddle

Kernels that other back ends of Paddle have and the card has not, and why.
"""


def _speeds() -> Iterator[str]:
    """Medians over the measured works, and how many are behind."""
    report = operators.speed_report()
    machine, works = report["machine"], list(report["works"].values())
    if not works:
        return
    yield f"Measured on {machine['processor']}, {machine['threads_per_peer']} thread of each peer, in turn in one run:\n"
    yield "| works | beside | median | of | under 0.8x | under 0.6x |"
    yield "|---|---|--:|--:|--:|--:|"
    for large, gradient in product((True, False), (False, True)):
        chosen = [w["ratios"] for w in works if w["large"] == large and w["gradient"] == gradient]
        for peer in ("paddle", "paddle*", "torch"):
            ratios = [r[peer] for r in chosen if peer in r]
            if not ratios:
                continue
            size = f"{'a million elements' if large else 'small'}{', with gradients' if gradient else ''}"
            behind = " | ".join(str(sum(r < limit for r in ratios)) for limit in (0.8, 0.6))
            yield f"| {size} | {peer} | {statistics.median(ratios):.2f}x | {len(ratios)} | {behind} |"
    yield ""


def document() -> str:
    """The text of docs/operators.md."""
    rows = operators.operators()
    kernels = sum(len(row.kernels) for row in rows)
    gradients = sum(row.backward for row in rows)
    parts = [
        HEAD,
        f"{len(rows)} operators ({kernels} phi kernels), {gradients} of them with a gradient.\n",
        *_speeds(),
    ]
    for group, members in groupby(rows, key=lambda row: row.group):
        parts.append(f"## {group}\n")
        parts.append("| operator | dtypes | cases | error | speed | torch | gradient |")
        parts.append("|---|---|--:|--:|--:|--:|--:|")
        for row in members:
            gradient = (_number(row.gradient_error) or "yes") if row.backward else "-"
            parts.append(
                f"| `{row.kernel}` | {' '.join(row.dtypes)} | {row.cases or ''} | {_number(row.error)} "
                f"| {_ratio(row.speed)} | {_ratio(row.torch_speed)} | {gradient} |"
            )
        parts.append("")
    parts.append(LEFT_HEAD)
    own = {kernel for row in rows for kernel in row.kernels}
    for reason, left in groupby(LEFT.items(), key=lambda item: item[1]):
        names = ", ".join(f"`{kernel}`" for kernel, _ in left if kernel not in own)
        if names:
            parts.append(f"- {reason} {names}")
    parts.append("")
    return "\n".join(parts)


def markdown() -> int:
    """Prints docs/operators.md."""
    _import_paddle()
    print(document(), end="")
    return 0
