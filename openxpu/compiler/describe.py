"""A schedule for people: its steps, loop nests with their vectors, what is fused into them, and what lies in scratch and why."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from openxpu.compiler.affine import DimMap, Poly, identity
from openxpu.compiler.program import Program
from openxpu.compiler.schedule import (
    SHAPE_OPS,
    CopyStep,
    EndStep,
    NestStep,
    RegionStep,
    ScalarStep,
    Slot,
    Step,
    TileStep,
    is_stored,
)
from openxpu.compiler.tile_ir import Op, Value

Node = dict[str, Any]
_SILENT = {"tt.splat", "arith.constant", "tt.make_range", *SHAPE_OPS}
_WHY_STORED = {
    "tt.reduce": "result of a reduction",
    "tt.dot": "result of a dot",
    "tt.atomic_rmw": "result of an atomic",
    "tt.atomic_cas": "result of an atomic",
    "scf.for": "carried by a loop",
    "scf.while": "carried by a loop",
    "scf.if": "result of a branch",
}


def origin(value: Value) -> str:
    """The operation that a value comes from, behind shape operations: "%12 = arith.remsi"."""
    while value.op is not None and value.op.name in (*SHAPE_OPS, "arith.extsi", "arith.extui", "tt.splat"):
        value = value.op.operands[0]
    return repr(value) if value.op is None else f"{value!r} = {value.op.name}"


def product(poly: Poly) -> str:
    return " + ".join(
        "*".join([*([str(c)] if c != 1 or not m else []), *map(repr, m)]) for m, c in poly.terms.items()
    )


class Description:
    """One program's schedule as data; `text` prints it. names: of the kernel's arguments at run time."""

    def __init__(self, program: Program, names: list[str] | None = None) -> None:
        self.program = program
        self.names = names or []
        self.schedule = program.schedule
        self.analysis = program.schedule.analysis
        self.gathers: list[Node] = []
        self.fused: list[Node] = []
        self.blocks = [self.steps(steps) for steps in self.schedule.blocks]
        self.scratch = self.places()

    # --- memory accesses --------------------------------------------------------------------------

    def access(self, pointer: Value, dims: DimMap, lane: int) -> tuple[str, str]:
        """How a nest reaches memory along its lanes: ("contiguous" | "uniform" | "gather", why it is a gather)."""
        address = self.analysis.address(pointer)
        if address.base is None:
            return "gather", f"its addresses are no pointer plus an index: {origin(pointer)}"
        for term in address.offset.terms:
            if any(own is not None and dims[own] == lane for own in term.dims):
                return "gather", f"its index is not affine: it comes from {origin(term.value)}"
        stride = 0
        for own, to in enumerate(dims):
            if to != lane:
                continue
            coefficient = address.offset.coefs[own]
            if coefficient.number is None:
                return (
                    "gather",
                    f"its stride along the lanes is {product(coefficient)}, which is not known to be 1",
                )
            stride += coefficient.number
        if stride in (0, 1):
            return ("contiguous" if stride else "uniform"), ""
        return "gather", f"its stride along the lanes is {stride} elements, not 1"

    def described_access(self, op: Op, dims: DimMap, step: NestStep, width: int) -> str:
        if width == 0:
            return "scalar"
        kind, why = self.access(op.operands[0], dims, step.lane)
        if kind != "gather":
            return kind if op.name == "tt.load" or kind == "contiguous" else "scatter"
        kind = "gather" if op.name == "tt.load" else "scatter"
        for index, name in enumerate(self.names):
            why = re.sub(rf"%arg{index}\b", name, why)
        node = {"operation": op.name, "value": _name(op), "kind": kind, "why": why}
        if node not in self.gathers:
            self.gathers.append(node)
        return kind

    # --- steps ------------------------------------------------------------------------------------

    def steps(self, steps: list[Step]) -> list[Node]:
        out: list[Node] = []
        for step in steps:
            if isinstance(step, ScalarStep):
                if step.op.name not in ("arith.constant", "llvm.intr.assume"):
                    out.append({"step": "scalar", "operation": step.op.name, "value": _name(step.op)})
            elif isinstance(step, NestStep):
                out.append(self.nest(step))
            elif isinstance(step, TileStep):
                out.append(self.tile(step))
            elif isinstance(step, RegionStep):
                node: Node = {"step": step.op.name, "value": _name(step.op)}
                if step.op.name == "scf.for":
                    node["range"] = [_scalar(o) for o in step.op.operands[:3]]
                elif step.op.operands:
                    node["condition"] = repr(step.op.operands[0])
                node["bodies"] = [self.steps(body) for body in step.bodies]
                out.append(node)
            elif isinstance(step, CopyStep):
                out.append({"step": "copy", "bytes": step.source.nbytes})
            elif not isinstance(step, EndStep):  # pragma: no cover
                out.append({"step": type(step).__name__})
        return out

    def nest(self, step: NestStep) -> Node:
        width, unroll = self.program.vectors.get(step, (0, 1))
        reached = self.program.scheduler.reach(step, self.schedule.homes)
        here = identity(len(step.shape), step.shape)
        roots: list[Node] = []
        for op in step.roots:
            root: Node = {"operation": op.name, "value": _name(op)}
            if op.name == "tt.reduce":
                root["axis"] = op.attrs["axis"]
                combine = [o.name for o in op.regions[0].block.ops[:-1] if o.name not in _SILENT]
                root["combine"] = combine
            elif op.name == "tt.store":
                root["access"] = self.described_access(op, here, step, width)
                root["bytes"] = op.operands[1].type.bytes * op.operands[1].type.numel
            roots.append(root)
        loads: list[Node] = []
        read: list[Node] = []
        lazy: list[Node] = []
        for value, places in sorted(reached.items(), key=lambda item: item[0].op.order if item[0].op else -1):
            producer = value.op
            home = self.schedule.homes.get(value)
            if producer is None or is_stored(value) or (home is not None and home is not step):
                read.append({"value": repr(value), "type": str(value.type)})
            elif producer.name == "tt.load":
                kinds = [
                    self.described_access(producer, dims, step, width) for dims in sorted(places, key=repr)
                ]
                loads.append({"value": repr(value), "type": str(value.type), "access": kinds[0]})
            elif producer.name not in _SILENT and not (
                value.type.is_int and self.analysis.form(value).affine and value.type.bits > 1
            ):
                lazy.append({"operation": producer.name, "value": repr(value)})
        node: Node = {
            "step": "nest",
            "shape": list(step.shape),
            "lane": step.lane,
            "width": width,
            "vectors": unroll,
            "roots": roots,
            "keeps": [repr(keep.value) for keep in step.keeps],
            "loads": loads,
            "from_scratch": read,
            "lazy": lazy,
        }
        names = [*(f"tt.load {n['value']}" for n in loads), *(n["operation"] for n in lazy)]
        if names:
            into = [n["operation"] for n in roots] or [f"scratch of {k}" for k in node["keeps"]]
            self.fused.append({"operations": names, "into": into, "shape": list(step.shape)})
        return node

    def tile(self, step: TileStep) -> Node:
        op = step.op
        node: Node = {"step": "tile", "operation": op.name, "value": _name(op)}
        if op.name == "tt.dot":
            a, b = op.operands[:2]
            rows, depth = (a.type.shape or (1, 1))[-2:]
            node |= {"rows": rows, "columns": (b.type.shape or (1, 1))[-1], "depth": depth}
            node["dtypes"] = [a.type.dtype, b.type.dtype, op.result.type.dtype]
            node["factors"] = [
                "read where they lie in memory" if (op, i) in self.schedule.direct else "read from scratch"
                for i in range(2)
            ]
        else:
            node["shape"] = list((op.operands[0].type.shape if op.operands else None) or ())
        return node

    # --- scratch ----------------------------------------------------------------------------------

    def places(self) -> list[Node]:
        owners: dict[int, list[Value]] = {}
        for value, slot in self.schedule.slots.items():
            owners.setdefault(id(slot), []).append(value)
        out: list[Node] = []
        for slot in sorted(self.schedule.all_slots, key=lambda s: s.offset):
            values = sorted(owners.get(id(slot), []), key=lambda v: v.uid)
            out.append(
                {
                    "values": [repr(v) for v in values],
                    "shape": list(slot.shape),
                    "dtype": slot.dtype,
                    "bytes": slot.nbytes,
                    "offset": slot.offset,
                    "why": self.why(values, slot),
                }
            )
        rest = self.program.scratch_bytes - sum((s.nbytes + 63) // 64 * 64 for s in self.schedule.all_slots)
        if rest > 0:
            out.append(
                {
                    "values": [],
                    "shape": [],
                    "dtype": "",
                    "bytes": rest,
                    "offset": None,
                    "why": "packed factors of dots, and work space of operations on whole tiles",
                }
            )
        return out

    def why(self, values: list[Value], slot: Slot) -> str:
        reasons: dict[str, None] = {}
        for value in values:
            known = self.program.scheduler.reasons.get(value)
            if known is not None and not is_stored(value):
                reasons[known] = None
            elif value.op is None:
                reasons["carried by a loop"] = None
            elif value.op.name in _WHY_STORED:
                reasons[_WHY_STORED[value.op.name]] = None
            elif is_stored(value):
                reasons[f"result of {value.op.name}, which works on whole tiles"] = None
        del slot
        return "; ".join(reasons) or "a temporary of a loop whose tiles depend on one another"

    # --- text -------------------------------------------------------------------------------------

    def text(self) -> str:
        lines = [f"kernel {self.program.function.name} for {self.program.target.name}"]
        if self.scratch:
            lines.append(f"scratch: {self.program.scratch_bytes} bytes for each worker")
            for place in self.scratch:
                what = " = ".join(place["values"]) or "-"
                kind = "x".join(map(str, [*place["shape"], place["dtype"]])) if place["dtype"] else ""
                lines.append(f"  {what}: {kind + ', ' if kind else ''}{place['bytes']} bytes: {place['why']}")
        else:
            lines.append("scratch: none")
        for index, block in enumerate(self.blocks):
            if len(self.blocks) > 1:
                lines.append(f"block {index}")
            lines += self.lines(block, 1 if len(self.blocks) > 1 else 0)
        return "\n".join(lines)

    def lines(self, nodes: list[Node], depth: int) -> Iterator[str]:
        pad = "  " * depth
        scalars: list[str] = []
        for node in [*nodes, None]:
            if node is not None and node["step"] == "scalar":
                scalars.append(f"{node['value']} {node['operation']}".strip())
                continue
            if scalars:
                yield f"{pad}scalars: {', '.join(scalars)}"
                scalars = []
            if node is None:
                return
            kind = node["step"]
            if kind == "nest":
                yield from self.nest_lines(node, pad)
            elif kind == "tile":
                yield f"{pad}{node['operation']} {node['value']}: {_tile_text(node)}"
            elif kind == "copy":
                yield f"{pad}copy of {node['bytes']} bytes within scratch"
            else:
                head = {"scf.for": "for", "scf.if": "if", "scf.while": "while"}[kind]
                if "range" in node:
                    head += f" from {node['range'][0]} below {node['range'][1]} by {node['range'][2]}"
                elif "condition" in node:
                    head += f" {node['condition']}"
                for i, body in enumerate(node["bodies"]):
                    yield f"{pad}{head if i == 0 else {'scf.if': 'else', 'scf.while': 'do'}.get(kind, 'then')}"
                    yield from self.lines(body, depth + 1)

    @staticmethod
    def nest_lines(node: Node, pad: str) -> Iterator[str]:
        shape = " x ".join(map(str, node["shape"]))
        if node["width"]:
            how = f"lanes along dimension {node['lane']}, vectors of {node['width']}"
            if node["vectors"] > 1:
                how += f", {node['vectors']} a turn"
        else:
            how = "element by element"
        yield f"{pad}nest {shape}: {how}"
        for load in node["loads"]:
            yield f"{pad}  load {load['value']}, {load['access']}"
        if node["from_scratch"]:
            yield f"{pad}  from scratch: {', '.join(n['value'] for n in node['from_scratch'])}"
        if node["lazy"]:
            yield f"{pad}  lazy: {', '.join(n['value'] + ' ' + n['operation'] for n in node['lazy'])}"
        for value in node["keeps"]:
            yield f"{pad}  root: keep {value} in scratch"
        for root in node["roots"]:
            extra = ""
            if "axis" in root:
                extra = f" {root['value']} along dimension {root['axis']} with {', '.join(root['combine']) or 'nothing'}"
            elif "access" in root:
                extra = f" of {root['bytes']} bytes, {root['access']}"
            yield f"{pad}  root: {root['operation']}{extra}"


def _name(op: Op) -> str:
    return ", ".join(map(repr, op.results))


def _scalar(value: Value) -> str:
    return str(value.constant) if value.constant is not None else repr(value)


def _tile_text(node: Node) -> str:
    if node["operation"] != "tt.dot":
        return "x".join(map(str, node["shape"])) + ", a whole tile at a time"
    left, right = node["factors"]
    size = f"{node['rows']} x {node['columns']}, depth {node['depth']}, {' x '.join(node['dtypes'][:2])} into {node['dtypes'][2]}"
    return f"{size}; left factor {left.replace('they lie', 'it lies')}, right factor {right.replace('they lie', 'it lies')}"


__all__ = ["Description", "origin"]
