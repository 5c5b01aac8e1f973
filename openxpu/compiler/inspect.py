"""Compiles one Triton function and keeps what there is to see: the stages as text, and a summary as data."""

from __future__ import annotations

import ast
import importlib
import importlib.util
import inspect as python_inspect
import re
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from openxpu.compiler import figures
from openxpu.compiler import target as targets
from openxpu.compiler.compile import Compiled, compile_ttir, constant, resolve, triton_type, ttir_of
from openxpu.compiler.describe import Description
from openxpu.compiler.target import Target, host
from openxpu.compiler.tile_ir import CompileError

STAGES = {
    "ttir": "TTIR, after Triton's own passes",
    "tile": "tile IR",
    "schedule": "schedule",
    "llvm": "LLVM IR",
    "optimised": "LLVM IR after LLVM's passes",
    "asm": "assembly",
    "summary": "summary",
}
DEFAULT_STAGES = ("ttir", "tile", "schedule", "llvm", "asm", "summary")


class InspectError(Exception):
    """What was asked for cannot be compiled: what was asked, what was found, what to do."""


# --- what to compile ------------------------------------------------------------------------------


def find_target(name: str | None) -> Target:
    """A target by name; this machine's when there is none."""
    if name is None:
        return host()
    known = targets.LEVELS
    if name not in known:
        raise InspectError(
            f"The target {name!r} is not known; give one of {', '.join(sorted(known))}, or leave it out to compile "
            "for this machine."
        )
    return known[name]


def find_function(ref: str) -> Any:
    """ "path/to/kernel.py:function", "package.module:function" or "softmax.softmax_rows" (below openxpu/ops/kernels)."""
    where, _, name = ref.rpartition(":")
    if not where.endswith(".py"):
        if not where and ref.endswith(".py"):
            raise InspectError(f"{ref!r} names a file but no function in it; write {ref}:function.")
        try:
            return resolve(ref)
        except CompileError as error:
            raise InspectError(f"{error} A file is given as path/to/file.py:function.") from error
    path = Path(where)
    if not path.is_file():
        raise InspectError(
            f"The file {where} was asked for, but there is none; give the path of a Python file."
        )
    module = _load(path)
    found = getattr(module, name, None)
    if found is None:
        kernels = [n for n, v in vars(module).items() if hasattr(v, "arg_names")]
        there = f"its kernels are {', '.join(kernels)}" if kernels else "it has no Triton functions"
        raise InspectError(
            f"The function {name!r} was asked for, but {where} has none of this name; {there}."
        )
    if not hasattr(found, "arg_names"):
        raise InspectError(f"{name!r} of {where} is no Triton function; decorate it with @triton.jit.")
    return found


def _load(path: Path) -> Any:
    """The module of a file, with its folder on the path as Python has it for a script."""
    folder = str(path.resolve().parent)
    if folder not in sys.path:
        sys.path.insert(0, folder)
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules.setdefault(path.stem, module)
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        raise InspectError(
            f"The file {path} was asked for, but importing it ended in {type(error).__name__}: {error}"
        ) from error
    return module


@dataclass(frozen=True)
class Unwrapped:
    """A jit function below autotune and heuristics, with the constants of its first configuration."""

    function: Any
    constants: dict[str, Any]
    computed: tuple[str, ...]  # constexpr parameters that heuristics compute


def unwrap(function: Any) -> Unwrapped:
    """The jit function that autotune and heuristics decorate."""
    constants: dict[str, Any] = {}
    computed: list[str] = []
    while not hasattr(function, "def_file_line_number") and hasattr(function, "fn"):
        if configs := getattr(function, "configs", None):
            constants |= configs[0].kwargs
        computed += list(getattr(function, "values", None) or {})
        function = function.fn
    return Unwrapped(function, constants, tuple(computed))


def parse_constant(text: str) -> Any:
    """A constexpr value as it is written on a command line: a Python literal, a dtype, or any other text."""
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        pass
    try:
        triton_type(text)
    except CompileError:
        return text
    return constant("dtype:" + {"fp16": "f16", "fp32": "f32", "fp64": "f64", "i1": "bool"}.get(text, text))


def arguments(
    unwrapped: Unwrapped, signature: list[str], constexprs: dict[str, Any]
) -> tuple[list[str], dict[str, Any], list[str]]:
    """The types of all parameters, the values of the constexpr ones, and remarks on values that nobody gave."""
    function = unwrapped.function
    name = function.__name__
    parameters = python_inspect.signature(function.fn).parameters
    constants = [p.name for p in function.params if p.is_constexpr]
    for given in constexprs:
        if given not in parameters:
            raise InspectError(
                f"The constexpr {given!r} was given, but {name} has no such parameter; it has {', '.join(parameters)}."
            )
    # A value given for an ordinary parameter makes it a constant, as Triton does with integers that are 1.
    constants = [p for p in parameters if p in constants or p in constexprs]
    runtime = [p for p in parameters if p not in constants]
    if len(signature) != len(runtime):
        raise InspectError(
            f"{name} takes {len(runtime)} arguments at run time ({', '.join(runtime)}), but the signature has "
            f"{len(signature)} ({', '.join(signature) or 'none'}); give one type for each, such as '*fp32' or 'i32'."
        )
    for kind in signature:
        try:
            triton_type(kind)
        except CompileError as error:
            raise InspectError(
                f"The signature of {name} cannot be read: {error} A pointer has a * before it."
            ) from error
    values: dict[str, Any] = {}
    remarks: list[str] = []
    missing = []
    for p in constants:
        if p in constexprs:
            values[p] = constexprs[p]
        elif p in unwrapped.constants:
            values[p] = unwrapped.constants[p]
            remarks.append(f"{p} = {values[p]!r} is from the first configuration of autotune")
        elif parameters[p].default is not python_inspect.Parameter.empty:
            values[p] = parameters[p].default
            remarks.append(f"{p} = {values[p]!r} is its default")
        else:
            missing.append(p)
    if missing:
        computed = [p for p in missing if p in unwrapped.computed]
        why = f" (heuristics compute {', '.join(computed)} from a launch's arguments)" if computed else ""
        raise InspectError(
            f"{name} needs a value for the constexpr {', '.join(missing)}{why}; give it by --constexpr {missing[0]}=VALUE."
        )
    by_name = dict(zip(runtime, signature, strict=True))
    return [by_name.get(p, "constexpr") for p in parameters], values, remarks


# --- the report -----------------------------------------------------------------------------------


@dataclass
class Report:
    """What one compilation shows. `stages` are texts by name (STAGES), `summary` is ready for JSON."""

    name: str
    target: str
    signature: dict[str, str]
    constexprs: dict[str, str]
    remarks: list[str]
    stages: dict[str, str]
    schedule: list[list[dict[str, Any]]]
    summary: dict[str, Any] = field(default_factory=dict)

    def data(self, stages: tuple[str, ...] = DEFAULT_STAGES) -> dict[str, Any]:
        """The report for JSON, with the stages asked for; the schedule comes as steps too."""
        out: dict[str, Any] = {
            "kernel": self.name,
            "target": self.target,
            "signature": self.signature,
            "constexprs": self.constexprs,
            "remarks": self.remarks,
            "stages": {s: self.stages[s] for s in stages if s in self.stages},
        }
        if "schedule" in stages:
            out["schedule"] = self.schedule
        if "summary" in stages:
            out["summary"] = self.summary
        return out


def report(
    ref: str,
    signature: list[str],
    constexprs: dict[str, Any] | None = None,
    target: str | None = None,
) -> Report:
    """Compiles a Triton function and reports on it; nothing runs and no cache is used.

    ref: "kernel.py:function", "package.module:function", or a kernel of the library ("softmax.softmax_rows").
    signature: one type for each argument at run time, in order: "*fp32", "*bf16", "i32", "fp32", ...
    constexprs: values of the constexpr parameters; those that autotune or a default has may be left out.
    target: a name such as "x86-64-v4"; None is this machine.
    Raises InspectError with a sentence; CompileError when the compiler refuses the kernel.
    """
    unwrapped = unwrap(find_function(ref))
    machine = find_target(target)
    types, values, remarks = arguments(unwrapped, signature, constexprs or {})
    names = [n for n, t in zip(unwrapped.function.arg_names, types, strict=True) if t != "constexpr"]
    start = time.perf_counter()
    text = ttir_of(unwrapped.function, ref, types, values)
    front = time.perf_counter() - start
    compiled = compile_ttir(text, machine, ("tile", "llvm", "optimised", "asm"))
    description = Description(compiled.program, names)
    compiled.stages |= {"ttir": text.strip(), "schedule": description.text()}
    return Report(
        unwrapped.function.__name__,
        machine.name,
        dict(zip(names, (t for t in types if t != "constexpr"), strict=True)),
        {n: repr(v) for n, v in values.items()},
        remarks,
        compiled.stages,
        description.blocks,
        summary(compiled, description, names, front),
    )


def summary(compiled: Compiled, description: Description, names: list[str], front: float) -> dict[str, Any]:
    """The figures of a compiled kernel; names: of its arguments at run time."""
    asm = compiled.stages["asm"]
    widths = sorted({w for w, _ in compiled.program.vectors.values()})
    return {
        "per_program": figures.per_program(compiled.figures, names),
        "notes": compiled.figures["notes"],
        "vector_bits": compiled.program.target.vector_bytes * 8,
        "vector_lanes": widths,
        "registers": registers(asm),
        "spills": spills(asm),
        "fused": description.fused,
        "scratch_bytes": compiled.program.scratch_bytes,
        "scratch": description.scratch,
        "gathers": description.gathers,
        "object_bytes": len(compiled.elf),
        "instructions": instructions(asm),
        "seconds": {"TTIR": front, **compiled.seconds},
    }


# --- assembly -------------------------------------------------------------------------------------

_VECTOR = re.compile(r"%[xyz]mm(\d+)")
_MASK = re.compile(r"%k([0-7])\b")
_TILE = re.compile(r"%tmm(\d+)")
_GENERAL = re.compile(r"%(?:[re]?(ax|bx|cx|dx|si|di|bp)[lh]?|r(\d+)[bwd]?)\b")
_SPILL = re.compile(r"#.*?(\d+)-byte (?:Folded )?(Spill|Reload)")
_INSTRUCTION = re.compile(r"^\t[a-z]", re.MULTILINE)


def registers(asm: str) -> dict[str, int]:
    """How many registers of each kind the code names."""
    general = {a or b for a, b in _GENERAL.findall(asm)}
    return {
        "vector": len(set(_VECTOR.findall(asm))),
        "mask": len(set(_MASK.findall(asm))),
        "tile": len(set(_TILE.findall(asm))),
        "general": len(general),
    }


def spills(asm: str) -> dict[str, int]:
    """Moves between registers and the stack that the register allocator added; "vector": of 16 bytes and more."""
    out = {"spills": 0, "reloads": 0, "vector_spills": 0, "vector_reloads": 0}
    for size, kind in _SPILL.findall(asm):
        key = "spills" if kind == "Spill" else "reloads"
        out[key] += 1
        if int(size) >= 16:
            out["vector_" + key] += 1
    return out


def instructions(asm: str) -> int:
    return len(_INSTRUCTION.findall(asm))


# --- text -----------------------------------------------------------------------------------------


def amount(n: float) -> str:
    return f"{n:,.0f}".replace(",", " ")


def _sum(entries: list[dict[str, Any]], kind: str) -> str:
    parts = [
        " x ".join([amount(e["count"]), *e["times"]]) + f" {e['dtype']}" for e in entries if e["kind"] == kind
    ]
    return " + ".join(parts) or "0"


def summary_text(report: Report) -> str:
    """The summary as lines "name: value"."""
    s = report.summary
    program = s["per_program"]
    seconds = s["seconds"]
    lines = [
        f"bytes loaded by a program: {_sum(program, 'load')}",
        f"bytes stored by a program: {_sum(program, 'store')}",
        f"flops of a program: {_sum(program, 'flop')}",
        f"flops of its dots: {_sum(program, 'dot')}",
        *(f"not exact: {note}" for note in s["notes"]),
        f"vectors: {s['vector_bits']} bits; lanes in its loops: {', '.join(map(str, s['vector_lanes'])) or 'no loops'}",
        "registers: " + ", ".join(f"{n} {kind}" for kind, n in s["registers"].items() if n),
        "spills: {spills} stores and {reloads} loads of the stack, of vectors {vector_spills} and {vector_reloads}".format(
            **s["spills"]
        ),
    ]
    for fused in s["fused"]:
        lines.append(f"fused: {', '.join(fused['operations'])} into {', '.join(fused['into'])}")
    lines.append(f"scratch: {amount(s['scratch_bytes'])} bytes")
    for place in s["scratch"]:
        lines.append(
            f"  {amount(place['bytes'])} bytes for {' = '.join(place['values']) or 'work space'}: {place['why']}"
        )
    for gather in s["gathers"]:
        lines.append(
            f"{gather['kind']}: {gather['operation']} {gather['value']}".rstrip() + f": {gather['why']}"
        )
    lines += [
        f"object: {amount(s['object_bytes'])} bytes, {amount(s['instructions'])} instructions",
        f"compile time: {1000 * sum(seconds.values()):.1f} ms ("
        + ", ".join(f"{stage} {1000 * t:.1f}" for stage, t in seconds.items())
        + ")",
        *report.remarks,
    ]
    return "\n".join(lines)


__all__ = ["DEFAULT_STAGES", "STAGES", "InspectError", "Report", "find_target", "report", "summary_text"]
