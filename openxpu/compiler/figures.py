"""Figures of a kernel from its tile IR: bytes loaded and stored, and floating-point operations, of each program.

They are kept in the kernel image, so that a profile of cached kernels needs no compiler. A figure is a list of entries

    {"kind": "load" | "store" | "flop" | "dot", "dtype": "f32", "count": 4, "times": [...], "extents": [[expression, size]]}

whose total is count x the product of the expressions in `times` (trips of the loops around it, conditions) x the
product of min(max(expression, 0), size) over `extents` (a dimension of a tile whose mask is a prefix). An expression
is a number or a list that starts with an operator; its leaves are ["arg", i], ["pid", axis] and ["grid", axis].

What is counted is the kernel as it is written: a load counts the distinct elements that it addresses, again at each
execution, wherever they come from (memory or cache). A flop is one element of an addition, product, quotient,
maximum, minimum or function (whatever it costs); an fma and a step of a dot are two. Masks that are no prefix, or whose
bound is known only in the loop, count as full. What cannot be known before the launch is counted once and noted.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from openxpu.compiler.affine import Analysis, Poly, identity
from openxpu.compiler.tile_ir import Block, Function, Op, Type, Value, walk

Expression = Any  # int, or [operator, *operands]

_FLOPS = {
    "arith.addf": 1, "arith.subf": 1, "arith.mulf": 1, "arith.divf": 1, "arith.remf": 1, "arith.negf": 1,
    "arith.maximumf": 1, "arith.minimumf": 1, "arith.maxnumf": 1, "arith.minnumf": 1, "math.fma": 2, "math.absf": 0,
    "tt.clampf": 2, "tt.precise_divf": 1, "tt.precise_sqrt": 1, "tt.extern_elementwise": 1,
}  # fmt: skip
_BINARY = {
    "arith.addi": "+", "arith.subi": "-", "arith.muli": "*", "arith.divsi": "/", "arith.divui": "/", "arith.remsi": "%",
    "arith.remui": "%", "arith.minsi": "min", "arith.minui": "min", "arith.maxsi": "max", "arith.maxui": "max",
    "arith.andi": "&", "arith.ori": "|", "arith.ceildivsi": "ceildiv", "arith.floordivsi": "floordiv",
}  # fmt: skip
_SAME = {"arith.extsi", "arith.extui", "arith.trunci", "arith.index_cast"}
_COMPARE = {"eq": "==", "ne": "!=", "slt": "<", "ult": "<", "sle": "<=", "ule": "<=", "sgt": ">", "ugt": ">", "sge": ">=", "uge": ">="}  # fmt: skip


def flops_of(op: Op) -> int:
    """Floating-point operations for each element of the result."""
    if not op.results or not op.result.type.is_float:
        return 0
    return _FLOPS.get(op.name, 1 if op.name.startswith("math.") else 0)


def distinct(analysis: Analysis, pointer: Value) -> tuple[int, ...]:
    """The shape of the elements that a tile of pointers addresses: 1 where all indices give one address."""
    shape = pointer.type.shape or ()
    address = analysis.address(pointer)
    if address.base is None:
        return shape
    return tuple(size if address.offset.depends(d) else 1 for d, size in enumerate(shape))


@dataclass
class _Counter:
    function: Function
    analysis: Analysis
    entries: dict[Any, dict[str, Any]] = field(default_factory=dict)
    notes: dict[str, None] = field(default_factory=dict)

    # --- expressions ----------------------------------------------------------------------------

    def expression(self, value: Value, depth: int = 0) -> Expression | None:
        """A scalar of the kernel in terms of the launch; None when it is known only on the card."""
        op = value.op
        if op is None:
            args = self.function.args
            return ["arg", value.index] if value in args and value.type.is_int else None
        if depth > 40:
            return None
        name = op.name
        if name == "arith.constant":
            return int(op.attrs["value"]) if value.type.is_int else None
        if name == "tt.get_program_id":
            return ["pid", op.attrs["axis"]]
        if name == "tt.get_num_programs":
            return ["grid", op.attrs["axis"]]
        if value.type.is_tile or not (
            name in _SAME or name in _BINARY or name in ("arith.cmpi", "arith.select")
        ):
            return None
        parts = [self.expression(o, depth + 1) for o in op.operands]
        if any(p is None for p in parts):
            return None
        if name in _SAME:
            return parts[0]
        if name == "arith.cmpi":
            return [_COMPARE[op.attrs["predicate"]], *parts]
        if name == "arith.select":
            return ["select", *parts]
        return [_BINARY[name], *parts]

    def polynomial(self, poly: Poly) -> Expression | None:
        total: Expression = 0
        for monomial, coefficient in poly.terms.items():
            product: Expression = coefficient
            for value in monomial:
                factor = self.expression(value)
                if factor is None:
                    return None
                product = ["*", product, factor] if product != 1 else factor
            total = ["+", total, product] if total != 0 else product
        return total

    # --- masks ----------------------------------------------------------------------------------

    def extents(self, mask: Value, shape: tuple[int, ...]) -> dict[int, Expression]:
        """By dimension: how many indices a mask leaves on, where it is a prefix whose length the launch tells."""
        found: dict[int, Expression] = {}
        for conjunct, dims in self.analysis.conjuncts(mask, identity(len(shape), shape)):
            form = self.analysis.difference(conjunct)
            if form is None or form.terms:
                continue
            own = [d for d in range(len(form.coefs)) if form.coefs[d].number != 0 and dims[d] is not None]
            k = form.coefs[own[0]].number if len(own) == 1 else None
            base = self.polynomial(form.base)
            if k is None or k >= 0 or base is None:
                continue
            to = dims[own[0]]
            assert to is not None
            limit = base if k == -1 else ["ceildiv", base, -k]
            found[to] = limit if to not in found else ["min", found[to], limit]
        return found

    # --- counting -------------------------------------------------------------------------------

    def add(
        self,
        kind: str,
        dtype: str,
        count: int,
        times: list[Expression],
        extents: list[list[Any]] | None = None,
    ) -> None:
        if count == 0:
            return
        entry = {"kind": kind, "dtype": dtype, "count": count, "times": times, "extents": extents or []}
        key = repr((kind, dtype, times, extents or []))
        if key in self.entries:
            self.entries[key]["count"] += count
        else:
            self.entries[key] = entry

    def access(self, kind: str, pointer: Value, mask: Value | None, times: list[Expression]) -> None:
        pointee = pointer.type.pointee or Type("i8")
        shape = distinct(self.analysis, pointer)
        limits = (
            self.extents(mask, pointer.type.shape or ()) if mask is not None and mask.type.is_tile else {}
        )
        count, extents = pointee.bytes, []
        for d, size in enumerate(shape):
            if d in limits and size > 1:
                extents.append([limits[d], size])
            else:
                count *= size
        self.add(kind, pointee.dtype, count, times, extents)

    def block(self, block: Block, times: list[Expression]) -> None:
        for op in block.ops:
            self.operation(op, times)

    def operation(self, op: Op, times: list[Expression]) -> None:
        name = op.name
        if name == "scf.for":
            bounds = [self.expression(o) for o in op.operands[:3]]
            if any(b is None for b in bounds):
                self.notes["a loop whose bounds are known only on the card is counted once"] = None
                self.block(op.regions[0].block, times)
            else:
                self.block(op.regions[0].block, [*times, ["trips", *bounds]])
        elif name == "scf.if":
            held = self.expression(op.operands[0])
            if held is None:
                self.notes["a branch whose condition is known only on the card is counted as taken"] = None
            for negate, region in enumerate(op.regions):
                if region.blocks:
                    condition = [] if held is None else [["not", held] if negate else held]
                    self.block(region.block, times + condition)
        elif name == "scf.while":
            self.notes["a while loop is counted once"] = None
            for region in op.regions:
                self.block(region.block, times)
        elif name in ("tt.reduce", "tt.scan", "tt.map_elementwise"):
            size = op.operands[0].type.numel
            steps = size
            if name != "tt.map_elementwise":
                shape = op.operands[0].type.shape or (1,)
                steps = size - size // shape[op.attrs["axis"]]
            for inner in walk(op.regions[0]):
                if flops := flops_of(inner):
                    self.add("flop", inner.result.type.dtype, flops * steps, times)
        elif name == "tt.dot":
            depth = (op.operands[0].type.shape or (1,))[-1]
            self.add("dot", op.operands[0].type.dtype, 2 * op.result.type.numel * depth, times)
        elif name == "tt.load":
            self.access("load", op.operands[0], op.operands[1] if len(op.operands) > 1 else None, times)
        elif name == "tt.store":
            self.access("store", op.operands[0], op.operands[2] if len(op.operands) > 2 else None, times)
        elif name in ("tt.atomic_rmw", "tt.atomic_cas"):
            mask = op.operands[2] if name == "tt.atomic_rmw" and len(op.operands) > 2 else None
            self.access("load", op.operands[0], mask, times)
            self.access("store", op.operands[0], mask, times)
        elif flops := flops_of(op):
            self.add("flop", op.result.type.dtype, flops * op.result.type.numel, times)


def count(function: Function, analysis: Analysis) -> dict[str, Any]:
    """{"entries": [...], "notes": [sentences on what is not exact]} of a kernel, ready for JSON."""
    counter = _Counter(function, analysis)
    for block in function.body.blocks:
        counter.block(block, [])
    if len(function.body.blocks) > 1:
        counter.notes["code behind an early return is counted as reached"] = None
    return {"entries": list(counter.entries.values()), "notes": list(counter.notes)}


# --- evaluation -----------------------------------------------------------------------------------


@dataclass
class Totals:
    """Of one launch. `flops` and `dot_flops` by dtype (of a dot: of its factors)."""

    load_bytes: float = 0.0
    store_bytes: float = 0.0
    flops: dict[str, float] = field(default_factory=dict)
    dot_flops: dict[str, float] = field(default_factory=dict)
    exact: bool = True

    @property
    def bytes(self) -> float:
        return self.load_bytes + self.store_bytes

    @property
    def all_flops(self) -> float:
        return sum(self.flops.values()) + sum(self.dot_flops.values())


def _value(expression: Expression, args: list[int], pids: list[Any], grid: tuple[int, int, int]) -> Any:
    """An expression for all programs at once: a number or an array that broadcasts over (z, y, x)."""
    if not isinstance(expression, list):
        return expression
    head, *rest = expression
    if head == "arg":
        return args[rest[0]]
    if head == "pid":
        return pids[rest[0]]
    if head == "grid":
        return grid[rest[0]]
    v = [_value(e, args, pids, grid) for e in rest]
    match head:
        case "+":
            return v[0] + v[1]
        case "-":
            return v[0] - v[1]
        case "*":
            return v[0] * v[1]
        case "/" | "floordiv":
            return v[0] // np.where(v[1] == 0, 1, v[1])
        case "%":
            return v[0] % np.where(v[1] == 0, 1, v[1])
        case "ceildiv":
            return -(-v[0] // np.where(v[1] == 0, 1, v[1]))
        case "min":
            return np.minimum(v[0], v[1])
        case "max":
            return np.maximum(v[0], v[1])
        case "&":
            return v[0] & v[1]
        case "|":
            return v[0] | v[1]
        case "not":
            return np.asarray(v[0]) == 0
        case "select":
            return np.where(v[0], v[1], v[2])
        case "trips":
            return np.maximum(-(-(v[1] - v[0]) // np.maximum(v[2], 1)), 0)
        case "<":
            return np.less(v[0], v[1])
        case "<=":
            return np.less_equal(v[0], v[1])
        case ">":
            return np.greater(v[0], v[1])
        case ">=":
            return np.greater_equal(v[0], v[1])
        case "==":
            return np.equal(v[0], v[1])
        case "!=":
            return np.not_equal(v[0], v[1])
    raise ValueError(f"The figures of a kernel have the operator {head!r}, which this OpenXPU does not know.")


def arguments_used(figures: dict[str, Any]) -> list[int]:
    """The arguments that the figures of a launch depend on."""
    found: set[int] = set()

    def visit(expression: Expression) -> None:
        if isinstance(expression, list):
            if expression and expression[0] == "arg":
                found.add(expression[1])
            for part in expression[1:]:
                visit(part)

    for entry in figures["entries"]:
        visit(["", *entry["times"], *(e for e, _ in entry["extents"])])
    return sorted(found)


def evaluate(figures: dict[str, Any], grid: tuple[int, int, int], args: list[int]) -> Totals:
    """The totals of one launch. grid: programs along x, y, z; args: the integer arguments, signed (others: anything)."""
    pids = [
        np.arange(n, dtype=np.int64).reshape([-1 if a == axis else 1 for a in (2, 1, 0)])
        for axis, n in enumerate(grid)
    ]
    programs = grid[0] * grid[1] * grid[2]
    out = Totals(exact=not figures["notes"])
    for entry in figures["entries"]:
        product: Any = np.asarray(float(entry["count"]))
        for expression in entry["times"]:
            product = product * _value(expression, args, pids, grid)
        for expression, size in entry["extents"]:
            product = product * np.clip(_value(expression, args, pids, grid), 0, size)
        total = float(product.sum()) * (programs / product.size)
        kind, dtype = entry["kind"], entry["dtype"]
        if kind == "load":
            out.load_bytes += total
        elif kind == "store":
            out.store_bytes += total
        else:
            into = out.flops if kind == "flop" else out.dot_flops
            into[dtype] = into.get(dtype, 0.0) + total
    return out


# --- text -----------------------------------------------------------------------------------------


def text(expression: Expression, names: list[str]) -> str:
    """An expression for people: K / 32, min(n, 4)."""
    if not isinstance(expression, list):
        return str(expression)
    head, *rest = expression
    if head == "arg":
        return names[rest[0]]
    if head in ("pid", "grid"):
        return f"{'program' if head == 'pid' else 'programs'}_{'xyz'[rest[0]]}"
    parts = [text(e, names) for e in rest]
    if head == "trips":
        span = parts[1] if rest[0] == 0 else f"({parts[1]} - {parts[0]})"
        return span if rest[2] == 1 else f"ceil({span} / {parts[2]})"
    if head in ("min", "max", "select", "not"):
        return f"{head}({', '.join(parts)})"
    if head == "ceildiv":
        return f"ceil({parts[0]} / {parts[1]})"
    return f"({parts[0]} {'/' if head == 'floordiv' else head} {parts[1]})"


def per_program(figures: dict[str, Any], names: list[str]) -> list[dict[str, Any]]:
    """The entries of one program with full tiles: [{"kind", "dtype", "count", "times": ["ceil(K / 32)"]}]."""
    merged: dict[Any, dict[str, Any]] = {}
    for entry in figures["entries"]:
        amount = entry["count"]
        for _, size in entry["extents"]:
            amount *= size
        times = [text(t, names) for t in entry["times"]]
        key = (entry["kind"], entry["dtype"], tuple(times))
        if key in merged:
            merged[key]["count"] += amount
        else:
            merged[key] = {"kind": entry["kind"], "dtype": entry["dtype"], "count": amount, "times": times}
    return list(merged.values())


__all__ = ["Totals", "arguments_used", "count", "evaluate", "per_program", "text"]
