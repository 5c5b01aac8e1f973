# The card's operators: which phi kernels it has in which dtypes, what conformance found, which ones a program lacks.
"""Needs Paddle with the plug-in. What the conformance sweep found is conformance.json beside this file, written by

OPENXPU_CONFORMANCE_REPORT=openxpu/paddle/conformance.json pytest -m slow tests/ops/conformance
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

CONFORMANCE = Path(__file__).with_name("conformance.json")
SPEED = Path(__file__).parents[2] / "docs" / "operators-speed.json"  # of the repository, when there is one

# What programs have beside calls of kernels.
_STRUCTURE = frozenset(
    (
        "feed", "data", "fetch", "shadow_output", "shadow_feed", "full_int_array", "yield", "if", "while", "tuple_push",
        "tuple_pop",
    )
)  # fmt: skip
# Kernels of programs whose name is not the operator's.
_KERNELS = {"assign": "assign_raw", "arange": "arange_tensor"}
_BUILTIN = "0"  # the number of PIR's own dialect in a file
_DTYPES = {
    "bool": "bool", "ui8": "u8", "i8": "i8", "i16": "i16", "i32": "i32", "i64": "i64", "f16": "f16", "bf16": "bf16",
    "f32": "f32", "f64": "f64", "c64": "c64", "c128": "c128", "f8e4m3fn": "f8e4m3", "f8e5m2": "f8e5m2",
}  # fmt: skip


@dataclass(frozen=True)
class Operator:
    """One operator of the card. `kernels`: its phi kernels, the gradient's included; `error` and `gradient_error` are in units of the dtype's eps, None when not measured;
    `speed` is the time of Paddle's CPU kernel divided by the card's, `torch_speed` that of torch's operator (None: not the same one)."""

    kernel: str
    kernels: tuple[str, ...]
    group: str
    dtypes: tuple[str, ...]
    backward: bool
    cases: int
    error: float | None
    gradient_error: float | None
    speed: float | None
    torch_speed: float | None


@dataclass(frozen=True)
class Missing:
    """An operator of a program that would run on the CPU: its name, how often it occurs, and why."""

    operator: str
    dtype: str
    count: int
    reason: str


def operators() -> list[Operator]:
    """All forward kernels, by group and name; a gradient kernel is part of its forward kernel's entry."""
    from openxpu.paddle import counters

    found = conformance()
    speeds, torch_speeds = _speeds("paddle"), _speeds("torch")
    dtypes = counters.kernel_dtypes()
    result = []
    for kernel, group in counters.registered_kernels().items():
        gradient = f"{kernel}_grad"
        if kernel.endswith("_grad") and kernel.removesuffix("_grad") in dtypes:
            continue
        result.append(
            Operator(
                kernel=kernel,
                kernels=(kernel, gradient) if gradient in dtypes else (kernel,),
                group=group,
                dtypes=dtypes[kernel],
                backward=gradient in dtypes,
                cases=_cases(found, kernel) + _cases(found, gradient),
                error=_error(found, kernel),
                gradient_error=_error(found, gradient),
                speed=speeds.get(kernel),
                torch_speed=torch_speeds.get(kernel),
            )
        )
    return sorted(result, key=lambda o: (o.group, o.kernel))


def conformance() -> dict[str, Any]:
    """{phi kernel: {"dtypes": {dtype: {"run", "passed", "error_eps", "error"}}, "skipped": [...]}} of the last sweep."""
    if not CONFORMANCE.is_file():
        return {}
    kernels: dict[str, Any] = json.loads(CONFORMANCE.read_text())["kernels"]
    return kernels


def _cases(found: dict[str, Any], kernel: str) -> int:
    return sum(int(entry["passed"]) for entry in found.get(kernel, {"dtypes": {}})["dtypes"].values())


def _error(found: dict[str, Any], kernel: str) -> float | None:
    entries = found.get(kernel, {"dtypes": {}})["dtypes"].values()
    return max((float(entry["error_eps"]) for entry in entries if entry["passed"]), default=None)


def speed_report() -> dict[str, Any]:
    """{"machine": {...}, "works": {work: {"kernel", "large", "gradient", "milliseconds", "ratios"}}} of benchmarks/operators.py."""
    if not SPEED.is_file():
        return {"machine": {}, "works": {}}
    report: dict[str, Any] = json.loads(SPEED.read_text())
    return report


def _speeds(peer: str) -> dict[str, float]:
    slowest: dict[str, float] = {}
    for work in speed_report()["works"].values():
        ratio = work["ratios"].get(peer)
        if ratio is not None and work["large"] and not work["gradient"]:
            slowest[work["kernel"]] = min(ratio, slowest.get(work["kernel"], ratio))
    return slowest


def missing(path: Path) -> list[Missing]:
    """The operators of a saved program that the card lacks, the most frequent first.

    `path`: what paddle.jit.save or paddle.static.save_inference_model wrote, model.json or model.pdmodel; the weights are
    not needed. An operator counts as there when its kernel is registered in the dtype of its first input; what a planner
    refuses for its shapes or attributes is not seen here."""
    if path.suffix not in (".json", ".pdmodel"):
        raise ValueError(f"{path} is no program: give a .json or a .pdmodel file")
    from paddle.base import core

    from openxpu.paddle import counters

    own = counters.kernel_dtypes()
    paddle_core: Any = core
    everywhere = paddle_core._get_registered_phi_kernels("all")
    found: Counter[tuple[str, str, str]] = Counter()
    for operator, dtype in _saved(path) if path.suffix == ".json" else _translated(path):
        kernel = operator if operator in own or operator not in _KERNELS else _KERNELS[operator]
        if kernel in own:
            if dtype and dtype not in own[kernel]:
                found[operator, dtype, f"the card has it in {', '.join(own[kernel])}"] += 1
        elif not any(key.startswith(("(xpu,", "(CUSTOM,")) for key in everywhere.get(kernel, ())):
            unknown = "" if kernel in everywhere else "; Paddle has no kernel of this name either"
            found[operator, dtype, f"the card has no kernel{unknown}"] += 1
    return [Missing(o, d, n, why) for (o, d, why), n in sorted(found.items(), key=lambda i: (-i[1], i[0]))]


def _saved(path: Path) -> Iterator[tuple[str, str]]:
    """(operator, dtype of its first input) of a program of the new format (PIR), which is JSON."""
    read = json.loads(path.read_text())
    if not isinstance(read, dict) or "program" not in read:
        raise ValueError(f"{path} is JSON, but no program of Paddle")
    yield from _regions(read["program"]["regions"], {})


def _regions(regions: list[Any], dtypes: dict[int, str]) -> Iterator[tuple[str, str]]:
    """`dtypes`: of the values seen so far, by number."""
    for region in regions:
        for block in region["blocks"]:
            for op in block["ops"]:
                outputs = op.get("O", [])
                for value in outputs if isinstance(outputs, list) else [outputs]:
                    dtypes[value["%"]] = _dtype(value.get("TT", {}))
                dialect, _, name = op["#"].partition(".")
                inputs = [dtypes.get(value["%"], "") for value in op.get("I", [])]
                if name and dialect != _BUILTIN and name not in _STRUCTURE:
                    outputs = outputs if isinstance(outputs, list) else [outputs]
                    first = inputs or [dtypes[value["%"]] for value in outputs]
                    yield name.removesuffix("_"), first[0] if first else ""
                yield from _regions(op.get("regions", []), dtypes)


def _dtype(described: Any) -> str:
    """The dtype of a tensor's type; of a list of tensors that of the first."""
    parts = described.get("D", []) if isinstance(described, dict) else []
    for part in parts if isinstance(parts, list) else [parts]:
        name = part.get("#", "").partition(".t_")[2] if isinstance(part, dict) else ""
        if name in _DTYPES:
            return _DTYPES[name]
        if inner := _dtype(part):
            return inner
    return ""


def _translated(path: Path) -> Iterator[tuple[str, str]]:
    """The same of a program of the old format (ProgramDesc), which Paddle translates."""
    from paddle.base import core
    from paddle.base.libpaddle import pir

    from openxpu.paddle import counters

    program = pir.translate_to_pir(core.ProgramDesc(path.read_bytes()))
    for op in program.global_block().ops:
        dialect, _, name = op.name().partition(".")
        if dialect == "builtin" or name in _STRUCTURE:
            continue
        values = op.operands_source() or op.results()
        dtype = str(values[0].dtype).rpartition(".")[2].lower() if values else ""
        yield name.removesuffix("_"), counters.DTYPES.get(dtype, "")
