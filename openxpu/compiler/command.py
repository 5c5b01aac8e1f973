"""`openxpu compile`: prints the stages of one kernel and a summary."""

from __future__ import annotations

import json
import sys
from typing import Any

from openxpu.compiler.inspect import (
    DEFAULT_STAGES,
    STAGES,
    InspectError,
    Report,
    parse_constant,
    report,
    summary_text,
)
from openxpu.compiler.target import UnsupportedProcessor
from openxpu.compiler.tile_ir import CompileError

_LEXERS = {"llvm": "llvm", "optimised": "llvm", "asm": "gas"}


def _constants(pairs: list[str]) -> dict[str, Any]:
    out: dict[str, Any] = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals or not name.strip():
            raise InspectError(f"--constexpr takes NAME=VALUE, found {pair!r}; write for example BLOCK=256.")
        out[name.strip()] = parse_constant(value.strip())
    return out


def _stages(wanted: str | None) -> tuple[str, ...]:
    if wanted is None:
        return DEFAULT_STAGES
    names = tuple(w.strip() for w in wanted.split(",") if w.strip())
    unknown = [n for n in names if n not in STAGES]
    if unknown or not names:
        raise InspectError(
            f"--stage {wanted!r} was asked for; the stages are {', '.join(STAGES)}, separated by commas."
        )
    return names


def print_report(made: Report, stages: tuple[str, ...]) -> None:
    """On a terminal with colours and headings, in a pipe as plain text."""
    from rich.console import Console
    from rich.rule import Rule
    from rich.syntax import Syntax

    console = Console()
    texts = {**made.stages, "summary": summary_text(made)}
    for stage in (s for s in STAGES if s in stages):
        if not console.is_terminal:
            print(f"--- {STAGES[stage]}\n{texts[stage].rstrip()}\n")
            continue
        console.print(Rule(f"[bold]{STAGES[stage]}[/bold] of {made.name} for {made.target}"))
        if stage in _LEXERS:
            console.print(Syntax(texts[stage].rstrip(), _LEXERS[stage], background_color="default"))
        else:
            for line in texts[stage].rstrip().splitlines():
                head, colon, rest = line.partition(":")
                if stage == "summary" and colon:
                    console.print(f"[bold]{head}[/bold]:", end="", highlight=False)
                    console.print(rest, markup=False)
                else:
                    console.print(line, markup=False)


def run(
    ref: str, signature: str, constexprs: list[str], target: str | None, stage: str | None, as_json: bool
) -> int:
    """Exit code 0; 1 with one sentence on stderr when the kernel cannot be compiled."""
    try:
        stages = _stages(stage)
        types = [t.strip() for t in signature.split(",") if t.strip()]
        made = report(ref, types, _constants(constexprs), target)
    except (InspectError, CompileError, UnsupportedProcessor) as error:
        print(f"openxpu compile: {error}", file=sys.stderr)
        return 1
    if as_json:
        print(json.dumps(made.data(stages), indent=2))
    else:
        print_report(made, stages)
    return 0
