"""The tile IR: typed SSA over scalars and tiles, with structured regions, and its verifier."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

INT_BITS = {"i1": 1, "i8": 8, "i16": 16, "i32": 32, "i64": 64}
FLOAT_BITS = {"f8e4m3": 8, "f8e5m2": 8, "f16": 16, "bf16": 16, "f32": 32, "f64": 64}


class CompileError(Exception):
    """A kernel that cannot be compiled: what was asked, what was found, what to do."""


@dataclass(frozen=True)
class Type:
    """A scalar (shape is None) or a tile of one dtype; pointers carry what they point to."""

    dtype: str
    shape: tuple[int, ...] | None = None
    pointee: Type | None = None

    @property
    def is_tile(self) -> bool:
        return self.shape is not None

    @property
    def is_float(self) -> bool:
        return self.dtype in FLOAT_BITS

    @property
    def is_int(self) -> bool:
        return self.dtype in INT_BITS

    @property
    def is_pointer(self) -> bool:
        return self.dtype == "ptr"

    @property
    def bits(self) -> int:
        if self.dtype == "ptr":
            return 64
        return INT_BITS.get(self.dtype) or FLOAT_BITS[self.dtype]

    @property
    def bytes(self) -> int:
        """Bytes of one element in memory (a bool takes one)."""
        return max(1, self.bits // 8)

    @property
    def numel(self) -> int:
        n = 1
        for d in self.shape or ():
            n *= d
        return n

    @property
    def element(self) -> Type:
        return Type(self.dtype, None, self.pointee)

    def with_shape(self, shape: tuple[int, ...] | None) -> Type:
        return Type(self.dtype, shape, self.pointee)

    def with_dtype(self, dtype: str) -> Type:
        return Type(dtype, self.shape)

    def __str__(self) -> str:
        name = f"ptr<{self.pointee}>" if self.dtype == "ptr" else self.dtype
        if self.shape is None:
            return name
        return "tile<" + "x".join(map(str, self.shape)) + "x" + name + ">"


_uids = itertools.count()


class Value:
    """One SSA value: the result of an operation or an argument of a block."""

    __slots__ = ("block", "index", "name", "op", "type", "uid")

    def __init__(
        self,
        type: Type,
        op: Op | None = None,
        block: Block | None = None,
        index: int = 0,
        name: str = "",
    ):
        self.uid = next(_uids)
        self.type = type
        self.op = op
        self.block = block
        self.index = index
        self.name = name

    @property
    def constant(self) -> Any:
        """The Python number of a constant (or constant splat), else None."""
        op = self.op
        if op is None:
            return None
        if op.name == "arith.constant":
            return op.attrs["value"]
        if op.name in (
            "tt.splat",
            "tt.broadcast",
            "tt.expand_dims",
            "tt.reshape",
            "tt.trans",
        ):
            return op.operands[0].constant
        return None

    def __repr__(self) -> str:
        return f"%{self.name or self.uid}"


@dataclass(eq=False)
class Op:
    """One operation. Names are those of TTIR; attrs hold Python values."""

    name: str
    operands: list[Value]
    results: list[Value] = field(default_factory=list)
    attrs: dict[str, Any] = field(default_factory=dict)
    regions: list[Region] = field(default_factory=list)
    block: Block | None = None
    order: int = 0

    @property
    def result(self) -> Value:
        return self.results[0]

    def __repr__(self) -> str:
        left = ", ".join(map(repr, self.results)) + " = " if self.results else ""
        right = ", ".join(map(repr, self.operands))
        types = ", ".join(str(r.type) for r in self.results)
        return f"{left}{self.name} {right}" + (f" : {types}" if types else "")


class Block:
    """Operations in order, the last one a terminator; control enters at the top with values for args."""

    def __init__(self, region: Region | None = None) -> None:
        self.args: list[Value] = []
        self.ops: list[Op] = []
        self.region = region

    def add_arg(self, type: Type, name: str = "") -> Value:
        value = Value(type, None, self, len(self.args), name)
        self.args.append(value)
        return value

    @property
    def terminator(self) -> Op:
        return self.ops[-1]


class Region:
    def __init__(self, op: Op | None = None) -> None:
        self.blocks: list[Block] = []
        self.op = op

    @property
    def block(self) -> Block:
        return self.blocks[0]


@dataclass(eq=False)
class Function:
    name: str
    body: Region
    results: list[Type]

    @property
    def args(self) -> list[Value]:
        return self.body.block.args


@dataclass(eq=False)
class Module:
    functions: list[Function]

    @property
    def kernel(self) -> Function:
        return self.functions[0]


def make_op(name: str, operands: list[Value], types: list[Type], **attrs: Any) -> Op:
    op = Op(name, operands, [], attrs)
    op.results = [Value(t, op, None, i) for i, t in enumerate(types)]
    return op


def walk(region: Region) -> Iterator[Op]:
    """Every operation of a region, outer before inner, in program order."""
    for block in region.blocks:
        for op in block.ops:
            yield op
            for inner in op.regions:
                yield from walk(inner)


def replace_uses(region: Region, old: Value, new: Value) -> None:
    for op in walk(region):
        op.operands = [new if o is old else o for o in op.operands]


def number(function: Function) -> None:
    """Set Op.order to the position in program order and Op.block to the containing block."""
    for i, op in enumerate(walk(function.body)):
        op.order = i

    def visit(region: Region) -> None:
        for block in region.blocks:
            block.region = region
            for op in block.ops:
                op.block = block
                for inner in op.regions:
                    inner.op = op
                    visit(inner)

    visit(function.body)


def dump(function: Function) -> str:
    """The function as text, for OPENXPU_DUMP=tile and for error messages."""
    lines = [f"func @{function.name}(" + ", ".join(f"{a!r}: {a.type}" for a in function.args) + ")"]

    def visit(region: Region, depth: int) -> None:
        for i, block in enumerate(region.blocks):
            if block.args and (depth > 1 or i):
                args = ", ".join(f"{a!r}: {a.type}" for a in block.args)
                lines.append("  " * depth + f"^{i}({args}):")
            elif i:
                lines.append("  " * depth + f"^{i}:")
            for op in block.ops:
                attrs = f" {op.attrs}" if op.attrs else ""
                lines.append("  " * depth + repr(op) + attrs)
                for inner in op.regions:
                    visit(inner, depth + 1)

    visit(function.body, 1)
    return "\n".join(lines)


# --- verifier ---------------------------------------------------------------------------------

_SAME_SHAPE_PREFIXES = ("arith.", "math.")
TERMINATORS = {
    "tt.return",
    "scf.yield",
    "scf.condition",
    "tt.reduce.return",
    "tt.scan.return",
    "tt.map_elementwise.return",
    "cf.br",
    "cf.cond_br",
}


def _fail(function: Function, op: Op, sentence: str) -> None:
    raise CompileError(f"Kernel {function.name} is not well formed at '{op!r}': {sentence}")


def verify(function: Function) -> None:
    """Check dominance, types and shapes; raise CompileError with a sentence that names the operation."""

    def check(op: Op, condition: bool, sentence: str) -> None:
        if not condition:
            _fail(function, op, sentence)

    def visit(region: Region, visible: set[Value]) -> None:
        known = set(visible)
        # In a multi-block body a value may be used in any block that its own block dominates; the parser keeps
        # program order, so seeing it earlier in the text is what is checked here.
        for block in region.blocks:
            known.update(block.args)
            for position, op in enumerate(block.ops):
                for operand in op.operands:
                    check(
                        op,
                        operand in known,
                        f"it uses {operand!r}, which is not defined before it.",
                    )
                last = position == len(block.ops) - 1
                if op.name in TERMINATORS:
                    check(
                        op,
                        last,
                        "a terminator must be the last operation of its block.",
                    )
                elif last:
                    check(op, False, "the last operation of a block must be a terminator.")
                _check_types(op, check)
                for inner in op.regions:
                    visit(inner, known)
                known.update(op.results)

    visit(function.body, set())


def _check_types(op: Op, check: Any) -> None:
    name, operands, results = op.name, op.operands, op.results
    if name.startswith(_SAME_SHAPE_PREFIXES) and name != "arith.constant":
        shapes = {o.type.shape for o in operands[1 if name == "arith.select" else 0 :]}
        shapes |= {r.type.shape for r in results}
        if name == "arith.select" and operands[0].type.is_tile:
            shapes.add(operands[0].type.shape)
        check(
            op,
            len(shapes) == 1,
            f"operands and result must have one shape, found {sorted(map(str, shapes))}.",
        )
    elif name == "tt.splat":
        check(op, not operands[0].type.is_tile, "splat takes a scalar.")
    elif name == "tt.broadcast":
        source, target = operands[0].type.shape, results[0].type.shape
        good = (
            source is not None
            and target is not None
            and len(source) == len(target)
            and all(s in (1, t) for s, t in zip(source, target, strict=True))
        )
        check(op, good, f"a tile of shape {source} does not broadcast to {target}.")
    elif name in ("tt.reshape", "tt.trans"):
        check(
            op,
            operands[0].type.numel == results[0].type.numel,
            f"{operands[0].type} and {results[0].type} differ in their number of elements.",
        )
    elif name in ("tt.load", "tt.store"):
        pointer = operands[0].type
        check(op, pointer.is_pointer, f"the address must be a pointer, found {pointer}.")
        for other in operands[1:]:
            check(
                op,
                other.type.shape == pointer.shape,
                f"the address has shape {pointer.shape} and an operand {other.type.shape}.",
            )
    elif name == "tt.dot":
        a, b, c = (o.type.shape for o in operands[:3])
        good = bool(a and b and c and a[-1] == b[-2] and c[-2] == a[-2] and c[-1] == b[-1])
        check(op, good, f"shapes {a} x {b} do not give {c}.")
    elif name == "scf.for":
        check(
            op,
            [o.type for o in operands[3:]] == [r.type for r in results],
            "the initial values and the results of the loop differ in type.",
        )
        check(op, bool(op.regions), "a loop needs a body.")
