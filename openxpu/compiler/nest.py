"""Loop nests: the code of one NestStep as LLVM IR, with vectors of lanes along one dimension.

A coordinate belongs to a level: level 0 is the code before the nest, level k the body of the k-th loop. A value is
computed at the deepest level among its coordinates, so what a row shares is computed once a row. The lane loop runs
unmasked, several vectors at a time, as far as every prefix mask (`offs < n`) holds, then masked, vector by vector.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from llvmlite import ir

from openxpu.compiler import printing
from openxpu.compiler.affine import DimMap, Form, Poly, compose, identity, operand_dims
from openxpu.compiler.lanes import (
    I1,
    I8,
    I32,
    I64,
    Lanes,
    lanes_of,
    memory_type,
    register_type,
)
from openxpu.compiler.schedule import (
    SHAPE_OPS,
    NestStep,
    Reached,
    Slot,
    is_stored,
    operation_cost,
)
from openxpu.compiler.tile_ir import Block, CompileError, Op, Value

if TYPE_CHECKING:
    from openxpu.compiler.program import Program


@dataclass(eq=False)
class Coord:
    """An index along one dimension of the nest: value + offset, and + [0, 1, 2, ...] when it is the lane."""

    value: Any  # i64, None for 0
    level: int = 0
    dim: int = -1
    lane: bool = False
    offset: int = 0


ZERO = Coord(None)
Coords = tuple[Coord, ...]
Conjunct = tuple[Value, DimMap]
Assumed = frozenset[Conjunct]
NOTHING: Assumed = frozenset()
_KEEP_ZERO = (
    "arith.extf",
    "arith.extsi",
    "arith.extui",
    "arith.sitofp",
    "arith.uitofp",
    "math.absf",
    "math.absi",
)


@dataclass(eq=False)
class Level:
    b: ir.IRBuilder  # where code goes now
    hoist: ir.IRBuilder  # where values shared by inner levels go
    memo: dict[Any, Any] = field(default_factory=dict)
    assumed: Assumed = NOTHING
    opened: bool = False


def emit_loop(
    b: ir.IRBuilder,
    start: Any,
    stop: Any,
    step: int,
    carried: list[Any],
    body: Callable[[ir.IRBuilder, Any, list[Any]], list[Any]],
) -> list[Any]:
    """for (i = start; i < stop; i += step) carried = body(i, carried). Leaves b behind the loop."""
    before = b.block
    function = b.function
    head = function.append_basic_block("head")
    inside = function.append_basic_block("body")
    after = function.append_basic_block("after")
    b.branch(head)
    b.position_at_end(head)
    index = b.phi(I64)
    index.add_incoming(start, before)
    phis = []
    for value in carried:
        phi = b.phi(value.type)
        phi.add_incoming(value, before)
        phis.append(phi)
    b.cbranch(b.icmp_signed("<", index, stop), inside, after)
    b.position_at_end(inside)
    results = body(b, index, list(phis))
    end = b.block
    index.add_incoming(b.add(index, ir.Constant(I64, step), flags=("nsw",)), end)
    for phi, value in zip(phis, results, strict=True):
        phi.add_incoming(value, end)
    b.branch(head)
    b.position_at_end(after)
    return list(phis)


def c64(value: int) -> ir.Constant:
    return ir.Constant(I64, value)


class Nest:
    def __init__(self, program: Program, step: NestStep, reached: Reached) -> None:
        self.program = program
        self.lanes: Lanes = program.lanes
        self.analysis = program.schedule.analysis
        self.step = step
        self.reached = reached
        self.shape = step.shape
        self.here = identity(len(step.shape), step.shape)
        self.levels = [Level(program.b, program.b)]
        self.fresh = {k.value for k in step.keeps if k.value not in program.ready}
        self.polys: dict[Poly, Any] = {}
        self.copies: list[Op] = []  # reductions along a dimension of one element
        self.width, self.unroll = self.choose_width()

    # --- shape of the vectors -----------------------------------------------------------------

    def choose_width(self) -> tuple[int, int]:
        if (
            any(op.name.startswith(("tt.atomic", "tt.print")) for op in self.step.roots)
            or self.step.shape == ()
        ):
            return 0, 1
        size = self.shape[self.step.lane]
        if size == 1:
            return 0, 1
        sizes, work = [], 0
        for value in self.reached:
            if value.op is None or is_stored(value) or not value.type.is_tile:
                sizes.append(value.type.bytes)
                continue
            work += operation_cost(value.op)
            if value.op.name in ("tt.load", "tt.gather"):
                sizes.append(value.type.bytes)
            elif value.type.is_float:
                sizes.append(4 if value.type.bits <= 16 else value.type.bytes)
            elif value.type.is_int and value.type.bits > 1 and not self.is_index(value):
                sizes.append(value.type.bytes)
        for op in self.step.roots:
            if op.name == "tt.store":
                sizes.append(op.operands[1].type.bytes)
        widest = max(sizes, default=4)
        if widest == 8 and min(sizes) < 8:
            widest = 4
        if widest == 2:
            widest = (
                2
                if not any(
                    v.type.is_float and v.op is not None and v.op.name.startswith(("arith.", "math."))
                    for v in self.reached
                )
                else 4
            )
        width = min(size, self.lanes.target.vector_bytes // max(1, widest))
        unroll = 4 if work < 24 else 2 if work < 90 else 1
        if widest == 8:
            unroll = min(unroll, 4)
        return width, max(1, min(unroll, size // width))

    def is_index(self, value: Value) -> bool:
        return value.type.dtype in ("i32", "i64") and self.analysis.form(value).affine

    # --- entry --------------------------------------------------------------------------------

    def emit(self) -> None:
        """Emit the whole nest at the program's position and leave the program behind it."""
        step = self.step
        if not step.shape or all(d == 1 for d in step.shape):
            self.innermost(self.coords({}), NOTHING)
            for op in step.reduces:
                self.finish_reduce(op, [self.eval(o, self.coords({})) for o in op.operands], {})
            return
        reduces = step.reduces
        axis = reduces[0].attrs["axis"] if reduces else -1
        if reduces and self.shape[axis] == 1:
            self.copies, reduces = reduces, []
        lane = step.lane
        outer = [d for d in range(len(self.shape)) if self.shape[d] > 1 and d not in (lane, axis)]
        self.conjuncts = self.find_conjuncts()
        if reduces and axis != lane and self.shape[axis] > 1:
            self.outer_loops(outer, {}, lambda chosen: self.lane_then_axis(chosen, axis))
        else:
            self.outer_loops(outer, {}, self.lane_loop)
        self.program.b = self.levels[0].b

    def find_conjuncts(self) -> list[tuple[Value, DimMap]]:
        """The comparisons that mask the loads and stores of the nest, with nest dimensions."""
        found: dict[tuple[Value, DimMap], None] = {}
        for value, where in self.reached.items():
            if value.op is not None and value.op.name == "tt.load" and len(value.op.operands) > 1:
                if self.is_ready(value):
                    continue
                for dims in where:
                    if -1 not in dims:
                        for c in self.analysis.conjuncts(value.op.operands[1], dims):
                            found[c] = None
        for op in self.step.roots:
            if op.name == "tt.store" and len(op.operands) > 2:
                for c in self.analysis.conjuncts(op.operands[2], self.here):
                    found[c] = None
        return list(found)

    def is_ready(self, value: Value) -> bool:
        """Does the value lie in scratch already?"""
        return value in self.program.ready and value not in self.fresh

    # --- loops --------------------------------------------------------------------------------

    def coords(self, chosen: dict[int, Coord]) -> Coords:
        return tuple(chosen.get(d, ZERO) for d in range(len(self.shape)))

    def outer_loops(
        self,
        dims: list[int],
        chosen: dict[int, Coord],
        inner: Callable[[dict[int, Coord]], None],
    ) -> None:
        if not dims:
            inner(chosen)
            return
        d = dims[0]
        level = self.levels[-1]
        stop = self.store_limit(d, chosen)

        def body(b: ir.IRBuilder, index: Any, _: list[Any]) -> list[Any]:
            depth = self.push(b)
            self.outer_loops(dims[1:], {**chosen, d: Coord(index, depth, d)}, inner)
            self.pop()
            return []

        self.open(level)
        emit_loop(level.b, c64(0), stop, 1, [], body)

    def open(self, level: Level) -> None:
        """Fix where the level's shared values go: before the branch into the loop that follows."""
        if level.opened:
            return
        level.opened = True
        block = level.b.block
        entry = level.b.function.append_basic_block("enter")
        branch = level.b.branch(entry)
        hoist = ir.IRBuilder(block)
        hoist.position_before(branch)
        level.hoist = hoist
        level.b.position_at_end(entry)

    def push(self, b: ir.IRBuilder, assumed: Assumed = NOTHING) -> int:
        inherited = self.levels[-1].assumed | assumed
        self.levels.append(Level(b, b, {}, inherited))
        return len(self.levels) - 1

    def pop(self) -> None:
        self.levels.pop()

    def prefix(self, conjunct: tuple[Value, DimMap], d: int) -> tuple[Form, int] | None:
        """A mask that holds for i_d below a bound: (form of the rest, k) with i_d < rest / k."""
        value, dims = conjunct
        form = self.analysis.difference(value)
        if form is None:
            return None
        k = 0
        for own, to in enumerate(dims):
            if to == d:
                number = form.coefs[own].number
                if number is None:
                    return None
                k += number
        if k >= 0:
            return None
        for term in form.terms:
            if any(own is not None and dims[own] == d for own in term.dims):
                return None
        return form, -k

    def bound(self, conjunct: tuple[Value, DimMap], d: int, chosen: dict[int, Coord]) -> Any | None:
        """How many indices along d satisfy the mask, as i64 (not clamped); None if it is not a prefix there."""
        found = self.prefix(conjunct, d)
        if found is None:
            return None
        form, k = found
        dims = conjunct[1]
        for own, to in enumerate(dims):
            if to is not None and to != d and to not in chosen and form.depends(own):
                return None
        level = self.levels[-1]
        coords = tuple(ZERO if to is None or to == d else chosen.get(to, ZERO) for to in dims)
        total = self.offset_value(form, coords, skip=tuple(to == d for to in dims))
        if k > 1:
            total = level.hoist.sdiv(level.hoist.add(total, c64(k - 1)), c64(k))
        return total

    def clamp(self, b: ir.IRBuilder, value: Any, high: int) -> Any:
        if isinstance(value, ir.Constant):
            return c64(max(0, min(high, int(value.constant))))
        value = self.lanes.intrinsic(b, "llvm.smin", I64, [value, c64(high)])
        return self.lanes.intrinsic(b, "llvm.smax", I64, [value, c64(0)])

    def store_limit(self, d: int, chosen: dict[int, Coord]) -> Any:
        """Where a loop of a nest that only stores may stop: all stores are masked off beyond."""
        size = self.shape[d]
        step = self.step
        if (
            step.keeps
            or not step.roots
            or any(op.name != "tt.store" or len(op.operands) < 3 for op in step.roots)
        ):
            return c64(size)
        masks = [self.analysis.conjuncts(op.operands[2], self.here) for op in step.roots]
        return self.farthest(masks, d, chosen)

    def farthest(self, masks: list[list[Conjunct]], d: int, chosen: dict[int, Coord]) -> Any:
        """The index along d from which on, in each of the lists, some mask does not hold."""
        b, size = self.levels[-1].hoist, self.shape[d]
        limit = None
        for conjuncts in masks:
            own = None
            for c in conjuncts:
                bound = self.bound(c, d, chosen)
                if bound is not None:
                    own = bound if own is None else self.lanes.intrinsic(b, "llvm.smin", I64, [own, bound])
            if own is None:
                return c64(size)
            limit = own if limit is None else self.lanes.intrinsic(b, "llvm.smax", I64, [limit, own])
        return self.clamp(b, limit, size)

    def reduce_limit(self, d: int, chosen: dict[int, Coord]) -> tuple[Any, list[Any]]:
        """Where a loop of a nest that only reduces may stop, and what each reduction then starts with beside its neutral
        element: beyond, its operand is a constant that changes nothing, however often it is combined."""
        size, reduces = self.shape[d], self.step.reduces
        masks, starts = [], []
        for op in reduces:
            neutral = self.neutral(op)
            number, conjuncts = self.outside(op.operands[0], self.here)
            if neutral is None or number is None:
                return c64(size), []
            same = number == neutral[0]
            if not same and op.regions[0].block.ops[0].name[6:9] not in ("max", "min"):
                return c64(size), []
            masks.append([c for c in conjuncts if d == self.step.lane or self.step.lane not in c[1]])
            starts.append(None if same else number)
        if self.step.keeps or self.copies or len(reduces) != len(self.step.roots):
            return c64(size), []
        return self.farthest(masks, d, chosen), starts

    def outside(self, value: Value, dims: DimMap) -> tuple[Any, list[Conjunct]]:
        """(number, masks): the value is this number wherever one of the masks does not hold."""
        op = value.op
        if op is None or is_stored(value):
            return None, []
        if op.name == "tt.load" and len(op.operands) > 2:
            return op.operands[2].constant, self.analysis.conjuncts(op.operands[1], dims)
        if op.name == "arith.select":
            number, masks = op.operands[2].constant, self.analysis.conjuncts(op.operands[0], dims)
            inner, more = self.outside(op.operands[1], dims)
            return number, masks + more if inner == number else masks
        if op.name in SHAPE_OPS:
            where = operand_dims(value)
            return (None, []) if where is None else self.outside(op.operands[0], compose(dims, where))
        square = op.name in ("arith.mulf", "arith.muli") and op.operands[0] is op.operands[1]
        if square or op.name in _KEEP_ZERO:
            number, masks = self.outside(op.operands[0], dims)
            return (number, masks) if number == 0 or op.name == "arith.extf" else (None, [])
        return None, []

    def lane_loop(self, chosen: dict[int, Coord]) -> None:
        """The innermost loop along the lanes, with reductions along it if there are any."""
        step, level, d = self.step, self.levels[-1], self.step.lane
        width, unroll, size = max(1, self.width), self.unroll, self.shape[d]
        self.open(level)
        b = level.b
        limit = self.store_limit(d, chosen)
        bounds, assumed, scalars = [], [], []
        for c in self.conjuncts:
            if d not in c[1]:
                scalars.append(c)
                continue
            bound = self.bound(c, d, chosen)
            if bound is not None:
                bounds.append(bound)
                assumed.append(c)
        for c in scalars:
            coords = tuple(ZERO if to is None else chosen.get(to, ZERO) for to in c[1])
            held = self.eval(c[0], coords)
            if isinstance(held, ir.Constant) and held.constant == 1:
                continue
            bounds.append(level.hoist.select(held, c64(size), c64(0)))
            assumed.append(c)
        fast: Any = c64(size)
        for bound in bounds:
            fast = self.lanes.intrinsic(level.hoist, "llvm.smin", I64, [fast, bound])
        if bounds:
            fast = self.clamp(level.hoist, fast, size)
        reduces = [] if self.copies else step.reduces
        starts: list[Any] = []
        if reduces:
            limit, starts = self.reduce_limit(d, chosen)
        carried = self.start_accumulators(reduces, unroll, limit, starts)
        begin = 0
        if reduces and carried is None:
            # No neutral element is known: the first vectors start the accumulators.
            begin = width * unroll
            carried = self.first_accumulators(chosen, reduces)
        whole = width * unroll
        fast_stop = fast if isinstance(fast, ir.Constant) else level.b.and_(fast, c64(-whole))
        if isinstance(fast, ir.Constant):
            fast_stop = c64(int(fast.constant) // whole * whole)

        def make_body(count: int, known: Assumed) -> Callable[[ir.IRBuilder, Any, list[Any]], list[Any]]:
            def body(b: ir.IRBuilder, index: Any, accumulators: list[Any]) -> list[Any]:
                depth = self.push(b, known)
                rows = [
                    {**chosen, d: Coord(index, depth, d, self.width > 0, u * width)} for u in range(count)
                ]
                self.innermost_many([self.coords(r) for r in rows])
                result = self.accumulate(reduces, rows, accumulators, unroll)
                self.pop()
                return result

            return body

        carried = carried or []
        final = emit_loop(
            b,
            c64(begin),
            fast_stop,
            whole,
            carried,
            make_body(unroll, frozenset(assumed)),
        )
        if bounds or size % whole:
            start: Any = fast_stop
            if begin:
                start = self.lanes.intrinsic(b, "llvm.smax", I64, [fast_stop, c64(begin)])
            if unroll == 4 and bounds and not isinstance(fast, ir.Constant):
                # Of short rows most vectors are here, and masked stores are slow.
                single = b.and_(fast, c64(-width))
                final = emit_loop(b, start, single, width, final, make_body(1, frozenset(assumed)))
                start = self.lanes.intrinsic(b, "llvm.smax", I64, [start, single])
            final = emit_loop(b, start, limit, width, final, make_body(1, NOTHING))
        if reduces:
            self.finish_accumulators(chosen, reduces, final, unroll)

    def lane_then_axis(self, chosen: dict[int, Coord], axis: int) -> None:
        """Reductions across lanes' rows: chunks of lanes outside, the reduced axis inside."""
        level, d = self.levels[-1], self.step.lane
        width, unroll, size = max(1, self.width), self.unroll, self.shape[d]
        self.open(level)
        reduces = self.step.reduces
        bounds, assumed = [], []
        for c in self.conjuncts:
            if d in c[1] and axis not in c[1]:
                bound = self.bound(c, d, chosen)
                if bound is not None:
                    bounds.append(bound)
                    assumed.append(c)
        fast: Any = c64(size)
        for bound in bounds:
            fast = self.lanes.intrinsic(level.hoist, "llvm.smin", I64, [fast, bound])
        fast = self.clamp(level.hoist, fast, size)
        whole = width * unroll
        fast_stop = (
            c64(int(fast.constant) // whole * whole)
            if isinstance(fast, ir.Constant)
            else level.b.and_(fast, c64(-whole))
        )

        def chunk(count: int, known: Assumed) -> Callable[[ir.IRBuilder, Any, list[Any]], list[Any]]:
            def body(b: ir.IRBuilder, index: Any, _: list[Any]) -> list[Any]:
                depth = self.push(b, known)
                rows = [
                    {**chosen, d: Coord(index, depth, d, self.width > 0, u * width)} for u in range(count)
                ]
                self.axis_loop(rows, axis, reduces)
                self.pop()
                return []

            return body

        emit_loop(level.b, c64(0), fast_stop, whole, [], chunk(unroll, frozenset(assumed)))
        if bounds or size % whole:
            emit_loop(level.b, fast_stop, c64(size), width, [], chunk(1, NOTHING))

    def axis_loop(self, rows: list[dict[int, Coord]], axis: int, reduces: list[Op]) -> None:
        level = self.levels[-1]
        self.open(level)
        b = level.b
        size = self.shape[axis]
        chosen = rows[0]
        bounds, assumed = [], []
        for c in self.conjuncts:
            if axis in c[1] and self.step.lane not in c[1]:
                bound = self.bound(c, axis, chosen)
                if bound is not None:
                    bounds.append(bound)
                    assumed.append(c)
        fast: Any = c64(size)
        for bound in bounds:
            fast = self.lanes.intrinsic(level.hoist, "llvm.smin", I64, [fast, bound])
        if bounds:
            fast = self.clamp(level.hoist, fast, size)
        limit, starts = self.reduce_limit(axis, chosen)
        accumulators = self.start_accumulators(reduces, len(rows), limit, starts)
        begin = 0
        if accumulators is None:
            accumulators = []
            begin = 1
            depth = self.push(b)
            firsts = [self.coords({**r, axis: Coord(c64(0), depth, axis)}) for r in rows]
            self.innermost_many(firsts)
            for op in reduces:
                for first in firsts:
                    accumulators.extend(self.operands(op, first))
            self.pop()

        def make_body(
            known: Assumed,
        ) -> Callable[[ir.IRBuilder, Any, list[Any]], list[Any]]:
            def body(b: ir.IRBuilder, index: Any, carried: list[Any]) -> list[Any]:
                depth = self.push(b, known)
                coords = [self.coords({**r, axis: Coord(index, depth, axis)}) for r in rows]
                self.innermost_many(coords)
                out, at = [], 0
                for op in reduces:
                    n = len(op.operands)
                    for c in coords:
                        values = self.operands(op, c)
                        out.extend(self.combine(self.levels[-1].b, op, carried[at : at + n], values))
                        at += n
                self.pop()
                return out

            return body

        final = emit_loop(b, c64(begin), fast, 1, accumulators, make_body(frozenset(assumed)))
        if bounds:
            start = self.lanes.intrinsic(b, "llvm.smax", I64, [fast, c64(begin)]) if begin else fast
            final = emit_loop(b, start, limit, 1, final, make_body(NOTHING))
        at = 0
        for op in reduces:
            n = len(op.operands)
            for row in rows:
                self.finish_reduce(op, final[at : at + n], row)
                at += n

    # --- reductions ---------------------------------------------------------------------------

    def operands(self, op: Op, coords: Coords) -> list[Any]:
        b = self.levels[-1].b
        return [self.lanes.splat(b, self.eval(o, coords), self.width) for o in op.operands]

    def neutral(self, op: Op) -> list[Any] | None:
        """The neutral element of a reduction that combines with a single known operation."""
        block = op.regions[0].block
        if len(block.ops) != 2 or len(op.operands) != 1:
            return None
        inner = block.ops[0]
        if set(inner.operands) != set(block.args):
            return None
        dtype = op.operands[0].type.dtype
        bits = op.operands[0].type.bits
        least, most = -(1 << (bits - 1)), (1 << (bits - 1)) - 1
        table: dict[str, Any] = {
            "arith.addf": 0.0,
            "arith.addi": 0,
            "arith.mulf": 1.0,
            "arith.muli": 1,
            "arith.maxnumf": float("nan"),
            "arith.minnumf": float("nan"),
            "arith.maximumf": float("-inf"),
            "arith.minimumf": float("inf"),
            "arith.maxsi": least,
            "arith.minsi": most,
            "arith.maxui": 0,
            "arith.minui": -1,
            "arith.andi": -1,
            "arith.ori": 0,
            "arith.xori": 0,
        }
        if inner.name not in table:
            return None
        del dtype
        return [table[inner.name]]

    def neutral_registers(self, op: Op) -> list[Any]:
        values = self.neutral(op)
        assert values is not None
        return [
            self.lanes.constant(o.type.dtype, v, self.width) for o, v in zip(op.operands, values, strict=True)
        ]

    def combine(self, b: ir.IRBuilder, op: Op, left: list[Any], right: list[Any]) -> list[Any]:
        """One application of the combine region to registers."""
        block = op.regions[0].block
        width = lanes_of(left[0])
        if block.ops[0].name in ("arith.maximumf", "arith.minimumf") and self.neutral(op) is not None:
            extreme = self.lanes.extreme_so_far(
                b, block.ops[0].name, op.operands[0].type.dtype, left[0], right[0]
            )
            return [self.lanes.splat(b, extreme, width)]
        out = self.straight(b, block, dict(zip(block.args, left + right, strict=True)))
        return [self.lanes.splat(b, value, width) for value in out]

    def straight(self, b: ir.IRBuilder, block: Block, values: dict[Value, Any]) -> list[Any]:
        """What a block of a combine function yields; both sides of a branch are computed, and lanes choose."""

        def value_of(operand: Value) -> Any:
            return values[operand] if operand in values else self.program.scalar(operand)

        for inner in block.ops[:-1]:
            if inner.name == "arith.constant":
                values[inner.result] = self.lanes.constant(inner.result.type.dtype, inner.attrs["value"])
            elif inner.name == "scf.if":
                condition = value_of(inner.operands[0])
                sides = [self.straight(b, region.block, values) for region in inner.regions]
                width = max((lanes_of(v) for v in (condition, *sides[0], *sides[1])), default=0)
                for result, x, y in zip(inner.results, *sides, strict=True):
                    parts = [self.lanes.splat(b, v, width) for v in (condition, x, y)]
                    values[result] = b.select(*parts)
            elif inner.regions:
                raise CompileError(
                    f"Kernel {self.program.function.name} uses {inner.name} inside the combine function of a reduction "
                    "or scan, where this compiler takes straight code and `if`; unroll the loop with tl.static_range."
                )
            elif inner.name != "tt.assert":
                values[inner.result] = self.lanes.apply(b, inner, [value_of(o) for o in inner.operands])
        return [value_of(o) for o in block.terminator.operands]

    def start_accumulators(
        self, reduces: list[Op], count: int, limit: Any, starts: list[Any]
    ) -> list[Any] | None:
        """`count` registers for each reduction, or None where one has no neutral element."""
        if any(self.neutral(op) is None for op in reduces):
            return None
        b = self.levels[-1].b
        out: list[Any] = []
        for i, op in enumerate(reduces):
            registers = self.neutral_registers(op)
            if starts and starts[i] is not None:
                passed = b.icmp_signed("<", limit, c64(self.shape[op.attrs["axis"]]))
                beyond = self.lanes.constant(op.operands[0].type.dtype, starts[i], self.width)
                registers = [b.select(passed, beyond, registers[0])]
            out.extend(registers * count)
        return out

    def first_accumulators(self, chosen: dict[int, Coord], reduces: list[Op]) -> list[Any]:
        d, width = self.step.lane, max(1, self.width)
        depth = self.push(self.levels[-1].b)
        rows = [{**chosen, d: Coord(c64(0), depth, d, self.width > 0, u * width)} for u in range(self.unroll)]
        self.innermost_many([self.coords(r) for r in rows])
        out = []
        for op in reduces:
            for row in rows:
                out.extend(self.operands(op, self.coords(row)))
        level = self.levels[-1]
        self.pop()
        self.levels[-1].b = level.b
        return out

    def accumulate(
        self,
        reduces: list[Op],
        rows: list[dict[int, Coord]],
        carried: list[Any],
        unroll: int,
    ) -> list[Any]:
        out = list(carried)
        b = self.levels[-1].b
        at = 0
        for op in reduces:
            n = len(op.operands)
            for u, row in enumerate(rows):
                values = self.operands(op, self.coords(row))
                place = at + u * n
                out[place : place + n] = self.combine(b, op, out[place : place + n], values)
            at += n * unroll
        return out

    def finish_accumulators(
        self, chosen: dict[int, Coord], reduces: list[Op], final: list[Any], unroll: int
    ) -> None:
        b = self.levels[-1].b
        at = 0
        for op in reduces:
            n = len(op.operands)
            parts = [final[at + u * n : at + (u + 1) * n] for u in range(unroll)]
            at += n * unroll
            while len(parts) > 1:
                parts = [self.combine(b, op, parts[i], parts[i + 1]) for i in range(0, len(parts), 2)]
            values = parts[0]
            width = lanes_of(values[0])
            while width > 1:
                half = width // 2
                lanes = max(
                    half, min(4, width if width > 2 else lanes_of(values[0]))
                )  # below four, the lower ones count
                lows, highs = (
                    [
                        b.shuffle_vector(
                            v,
                            v,
                            ir.Constant(
                                ir.VectorType(I32, lanes), [I32(at + i % half) for i in range(lanes)]
                            ),
                        )
                        for v in values
                    ]
                    for at in (0, half)
                )
                values = self.combine(b, op, lows, highs)
                width = half
            if lanes_of(values[0]):
                values = [b.extract_element(v, ir.Constant(I32, 0)) for v in values]
            self.finish_reduce(op, values, chosen)

    def finish_reduce(self, op: Op, values: list[Any], chosen: dict[int, Coord]) -> None:
        axis = op.attrs["axis"]
        for result, value in zip(op.results, values, strict=True):
            if not result.type.is_tile:
                self.program.scalars[result] = value
                continue
            coords = tuple(chosen.get(d, ZERO) for d in range(len(self.shape)) if d != axis)
            self.store_slot(self.program.schedule.slots[result], coords, value)

    # --- the innermost body ---------------------------------------------------------------------

    def innermost(self, coords: Coords, known: Assumed) -> None:
        self.innermost_many([coords])

    def innermost_many(self, many: list[Coords]) -> None:
        """Compute the roots at every position, then write: a store never precedes a load of the same step."""
        writes: list[tuple[Callable[..., None], tuple[Any, ...]]] = []
        for coords in many:
            if len(self.step.roots) > 1:
                self.compute_in_order(coords)
            for op in self.copies:
                short = tuple(c for d, c in enumerate(coords) if d != op.attrs["axis"])
                for result, operand in zip(op.results, op.operands, strict=True):
                    slot = self.program.schedule.slots[result]
                    writes.append((self.store_slot, (slot, short, self.eval(operand, coords))))
            for keep in self.step.keeps:
                value = self.eval(keep.value, coords)
                writes.append((self.store_slot, (keep.slot, coords, value)))
            for op in self.step.roots:
                if op.name == "tt.store":
                    value = self.eval(op.operands[1], coords)
                    mask = self.mask(op.operands[2], coords) if len(op.operands) > 2 else None
                    writes.append((self.store, (op, coords, value, mask)))
                elif op.name in ("tt.atomic_rmw", "tt.atomic_cas"):
                    writes.append((self.atomic, (op, coords)))
                elif op.name == "tt.assert":
                    writes.append((self.check, (op, coords)))
                elif op.name == "tt.print":
                    writes.append((self.print, (op, coords)))
        for function, arguments in writes:
            function(*arguments)

    def compute_in_order(self, coords: Coords) -> None:
        """Several roots share values: compute them in the program's order, which may hold fewer at a time than one root
        after the other."""
        own = [
            v
            for v, where in self.reached.items()
            if v.op is not None and v.type.is_float and self.here in where
        ]
        for value in sorted(own, key=lambda v: v.op.order if v.op else 0):
            self.eval(value, coords)

    def check(self, op: Op, coords: Coords) -> None:
        b = self.levels[-1].b
        held = self.eval(op.operands[0], coords)
        if lanes_of(held):
            held = self.lanes.intrinsic(b, f"!llvm.vector.reduce.and.v{lanes_of(held)}i1", I1, [held])
        self.program.fail_unless(b, held, op)

    def print(self, op: Op, coords: Coords) -> None:
        """One line for each operand, at one element (printing nests are scalar)."""
        b = self.levels[-1].b
        places = [c64(0) if c.value is None else c.value for c in coords]
        printing.emit(self.program, b, op, [self.eval(o, coords) for o in op.operands], places)

    # --- evaluation -----------------------------------------------------------------------------

    def eval(self, value: Value, coords: Coords) -> Any:
        """The value at these coordinates: a scalar if it does not vary along the lanes, else a vector."""
        if not value.type.is_tile:
            return self.program.scalar(value)
        shape = value.type.shape or ()
        coords = tuple(ZERO if shape[i] == 1 else c for i, c in enumerate(coords))
        op = value.op
        if op is not None and op.name == "arith.constant":
            return self.lanes.constant(value.type.dtype, op.attrs["value"])
        if op is not None and op.name == "tt.splat":
            return self.program.scalar(op.operands[0])
        depth = max((c.level for c in coords), default=0)
        level = self.levels[depth]
        if value.type.dtype == "i1" and level.assumed:
            dims = tuple(None if c is ZERO else c.dim for c in coords)
            if (value, dims) in level.assumed:
                return self.lanes.constant("i1", 1)
        key = (value, coords)
        found = level.memo.get(key)
        if found is None:
            found = level.memo[key] = self.compute(value, coords, level)
        return found

    def compute(self, value: Value, coords: Coords, level: Level) -> Any:
        op = value.op
        if (is_stored(value) or value in self.program.ready) and value not in self.fresh:
            return self.load_slot(self.program.schedule.slots[value], value.type.dtype, coords, level)
        if op is None or is_stored(value):
            # a carried value that this very nest rewrites: read the old one
            return self.load_slot(self.program.schedule.slots[value], value.type.dtype, coords, level)
        name = op.name
        b = level.hoist
        if name == "arith.cmpi":
            mask = self.prefix_mask(value, coords, b)
            if mask is not None:
                return mask
        if name == "tt.load":
            return self.load(op, coords, level)
        if name == "tt.make_range":
            return self.range(op, coords[0], b)
        if name in SHAPE_OPS:
            where = operand_dims(value)
            source = op.operands[0]
            if where is None:
                slot = self.program.schedule.slots[source]
                view = Slot(value.type.shape or (), slot.dtype, slot.offset)
                return self.load_slot(view, source.type.dtype, coords, level)
            return self.eval(source, tuple(ZERO if to is None else coords[to] for to in where))
        if name == "tt.gather":
            return self.gather_slot(op, coords, level)
        if name == "tt.split":
            return self.eval(op.operands[0], (*coords, Coord(c64(value.index), 0)))
        return self.lanes.apply(b, op, [self.eval(o, coords) for o in op.operands])

    def prefix_mask(self, value: Value, coords: Coords, b: ir.IRBuilder) -> Any:
        """A comparison that holds for the first so many lanes, as bits of a mask register: however wide the compared numbers
        are, one scalar instruction. None: it is another comparison, or the target has no such registers."""
        own = [i for i, c in enumerate(coords) if c.lane]
        if len(own) != 1 or self.width < 8 or not self.lanes.target.avx512:
            return None
        at, form = coords[own[0]], self.analysis.difference(value)
        if form is None or form.coefs[own[0]].number != -1 or any(own[0] in t.dims for t in form.terms):
            return None
        total = self.offset_value(form, coords, skip=tuple(c.lane for c in coords))
        left = b.sub(total, b.add(at.value, c64(at.offset)))
        count = self.lanes.intrinsic(b, "llvm.smax", I64, [left, c64(0)])
        count = self.lanes.intrinsic(b, "llvm.smin", I64, [count, c64(self.width)])
        bits = self.lanes.intrinsic(b, "!llvm.x86.bmi.bzhi.64", I64, [c64(-1), count])
        if self.width < 64:
            bits = b.trunc(bits, ir.IntType(self.width))
        return b.bitcast(bits, ir.VectorType(I1, self.width))

    def range(self, op: Op, coord: Coord, b: ir.IRBuilder) -> Any:
        start = op.attrs["start"] + coord.offset
        if coord.value is None:
            return ir.Constant(I32, start)
        base = b.trunc(coord.value, I32)
        if not coord.lane:
            return b.add(base, ir.Constant(I32, start)) if start else base
        return b.add(self.lanes.splat(b, base, self.width), Lanes.iota(I32, self.width, start))

    # --- addresses ------------------------------------------------------------------------------

    def lower(self, poly: Poly) -> Any:
        """A polynomial as an i64 at level 0."""
        known = poly.number
        if known is not None:
            return c64(known)
        found = self.polys.get(poly)
        if found is not None:
            return found
        b = self.levels[0].hoist
        total: Any = None
        for monomial, coefficient in poly.terms.items():
            product: Any = None
            for factor in monomial:
                x = self.lanes.resize(b, self.program.scalar(factor), "i64")
                product = x if product is None else b.mul(product, x)
            if product is None:
                product = c64(coefficient)
            elif coefficient != 1:
                product = b.mul(product, c64(coefficient))
            total = product if total is None else b.add(total, product)
        self.polys[poly] = total
        return total

    def offset_parts(
        self, form: Form, coords: Coords, skip: tuple[bool, ...]
    ) -> dict[int, list[tuple[Any, Poly]]]:
        """Addends of a form by level: (i64 index or lanes' term, coefficient); level -1: what varies along the lanes."""
        parts: dict[int, list[tuple[Any, Poly]]] = {}
        for own, coefficient in enumerate(form.coefs):
            c = coords[own]
            if c is ZERO or coefficient.number == 0 or skip[own]:
                continue
            parts.setdefault(c.level, []).append((c, coefficient))
        for term in form.terms:
            inner = tuple(ZERO if d is None else coords[d] for d in term.dims)
            depth = max((c.level for c in inner), default=0)
            value = self.eval(term.value, inner)
            parts.setdefault(-1 if lanes_of(value) else depth, []).append((value, term.coef))
        return parts

    def times(self, b: ir.IRBuilder, value: Any, coefficient: Poly) -> Any:
        known = coefficient.number
        if known == 1:
            return value
        k = self.lower(coefficient)
        return b.mul(value, self.lanes.splat(b, k, lanes_of(value)))

    def offset_value(self, form: Form, coords: Coords, skip: tuple[bool, ...] | None = None) -> Any:
        """A form that does not vary along the lanes, as i64."""
        total = self.lower(form.base)
        parts = self.offset_parts(form, coords, skip or (False,) * len(coords))
        for depth in sorted(parts):
            b = self.levels[max(depth, 0)].hoist
            for item, coefficient in parts[depth]:
                if isinstance(item, Coord):
                    index = item.value
                    if item.offset:
                        index = b.add(index, c64(item.offset))
                else:
                    index = self.lanes.resize(b, item, "i64")
                total = b.add(total, self.times(b, index, coefficient))
        return total

    def place(self, base: Any, form: Form, coords: Coords, size: int, element: Any) -> tuple[Any, Any, int]:
        """An address as (pointer of lane 0, i64 offsets in elements of each lane or None, constant lane stride).

        Stride 0: all lanes alike; 1: contiguous; offsets given: anything else, where a stride other than 0 is how many
        elements they are apart.
        """
        pointer = base
        start = self.lower(form.base)
        if not (isinstance(start, ir.Constant) and start.constant == 0):
            pointer = self.levels[0].hoist.gep(pointer, [start], source_etype=element)
        parts = self.offset_parts(form, coords, (False,) * len(coords))
        stride = Poly({})
        constant = 0
        for depth in sorted(d for d in parts if d >= 0):
            b = self.levels[depth].hoist
            total: Any = None
            for item, coefficient in parts[depth]:
                if isinstance(item, Coord):
                    if item.lane:
                        stride = stride + coefficient
                    if item.offset:
                        known = coefficient.number
                        if known is not None:
                            constant += known * item.offset
                        else:
                            extra = b.mul(self.lower(coefficient), c64(item.offset))
                            total = extra if total is None else b.add(total, extra)
                    index = item.value
                else:
                    index = self.lanes.resize(b, item, "i64")
                addend = self.times(b, index, coefficient)
                total = addend if total is None else b.add(total, addend)
            if total is not None and not (isinstance(total, ir.Constant) and total.constant == 0):
                pointer = self.keyed_gep(b, pointer, total, element)
        depth = max((c.level for c in coords), default=0)
        b = self.levels[depth].hoist
        if constant:
            pointer = b.gep(pointer, [c64(constant)], source_etype=element)
        known_stride = stride.number
        vectors = parts.get(-1, [])
        if not vectors and known_stride in (0, 1):
            return pointer, None, known_stride
        offsets: Any = None
        if known_stride != 0:
            step = self.lanes.splat(b, self.lower(stride), self.width)
            offsets = b.mul(Lanes.iota(I64, self.width), step)
        for item, coefficient in vectors:
            wide = self.lanes.resize(b, item, "i64")
            addend = self.times(b, wide, coefficient)
            offsets = addend if offsets is None else b.add(offsets, addend)
        del size
        return pointer, offsets, 0 if vectors or known_stride is None else known_stride

    @staticmethod
    def keyed_gep(b: ir.IRBuilder, pointer: Any, index: Any, element: Any) -> Any:
        return b.gep(pointer, [index], source_etype=element)

    def address(self, pointer: Value, coords: Coords, element: Any, size: int) -> tuple[Any, Any, int]:
        address = self.analysis.address(pointer)
        if address.base is not None:
            return self.place(self.program.scalar(address.base), address.offset, coords, size, element)
        depth = max((c.level for c in coords), default=0)
        b = self.levels[depth].hoist
        value = self.eval(pointer, coords)
        if lanes_of(value):
            return None, value, 0
        if isinstance(value.type, ir.IntType):
            value = b.inttoptr(value, ir.PointerType())
        return value, None, 0

    def lane_pointers(self, b: ir.IRBuilder, pointer: Any, offsets: Any, size: int) -> Any:
        """A vector of pointers from a base and offsets (or from absolute addresses when there is no base)."""
        width = lanes_of(offsets)
        if pointer is not None:
            scaled = b.mul(offsets, Lanes.constant("i64", size, width)) if size != 1 else offsets
            base = self.lanes.splat(b, b.ptrtoint(pointer, I64), width)
            offsets = b.add(base, scaled)
        return b.inttoptr(offsets, ir.VectorType(ir.PointerType(), width))

    # --- masks ------------------------------------------------------------------------------------

    def mask(self, value: Value, coords: Coords) -> Any:
        """None when all lanes are on, else an i1 or a vector of them."""
        depth = max((c.level for c in coords), default=0)
        level = self.levels[depth]
        own = tuple(range(len(coords)))
        scalar: Any = None
        vector: Any = None
        for conjunct, dims in self.analysis.conjuncts(value, own):
            inner = tuple(ZERO if d is None else coords[d] for d in dims)
            inner = tuple(ZERO if (conjunct.type.shape or ())[i] == 1 else c for i, c in enumerate(inner))
            if (
                level.assumed
                and (conjunct, tuple(None if c is ZERO else c.dim for c in inner)) in level.assumed
            ):
                continue
            held = self.eval(conjunct, inner)
            if isinstance(held, ir.Constant) and held.constant in (1, True, -1):
                continue
            if lanes_of(held):
                vector = held if vector is None else level.hoist.and_(vector, held)
            else:
                scalar = held if scalar is None else level.hoist.and_(scalar, held)
        if vector is None:
            return scalar
        if scalar is not None:
            vector = level.hoist.and_(vector, self.lanes.splat(level.hoist, scalar, self.width))
        return vector

    # --- memory -------------------------------------------------------------------------------------

    def load(self, op: Op, coords: Coords, level: Level) -> Any:
        type = op.result.type
        element = memory_type(type.dtype)
        b = level.hoist
        mask = self.mask(op.operands[1], coords) if len(op.operands) > 1 else None
        other: Any = None
        if len(op.operands) > 2:
            other = self.eval(op.operands[2], coords)
        elif mask is not None:
            other = self.lanes.constant(type.dtype, 0) if type.dtype != "ptr" else c64(0)
        pointer, offsets, stride = self.address(op.operands[0], coords, element, type.bytes)
        raw = self.read(b, type.dtype, pointer, offsets, stride, mask, other)
        return raw

    def to_memory(self, b: ir.IRBuilder, value: Any, dtype: str) -> Any:
        if dtype == "i1":
            return b.zext(value, memory_type("i1", lanes_of(value)))
        if dtype == "ptr" and isinstance(value.type, ir.PointerType):
            return b.ptrtoint(value, I64)
        return value

    def from_memory(self, b: ir.IRBuilder, value: Any, dtype: str) -> Any:
        if dtype == "i1":
            lanes = lanes_of(value)
            zero = Lanes.constant("i8", 0, lanes)
            return b.icmp_unsigned("!=", value, zero)
        return value

    def read(
        self,
        b: ir.IRBuilder,
        dtype: str,
        pointer: Any,
        offsets: Any,
        stride: int,
        mask: Any,
        other: Any,
    ) -> Any:
        element = memory_type(dtype)
        size = 1 if dtype == "i1" else 8 if dtype == "ptr" else max(1, _bytes(element))
        if other is not None:
            other = self.to_memory(b, other, dtype)
        if offsets is None and (stride == 0 or self.width == 0):
            if mask is None:
                return self.from_memory(b, b.load(pointer, typ=element, align=size), dtype)
            any_on = mask
            if lanes_of(mask):
                any_on = self.lanes.intrinsic(b, f"!llvm.vector.reduce.or.v{lanes_of(mask)}i1", I1, [mask])
            safe = b.select(any_on, pointer, self.program.zeros())
            value = b.load(safe, typ=element, align=size)
            lanes = max(lanes_of(mask), lanes_of(other))
            if lanes:
                value, other, mask = (self.lanes.splat(b, x, lanes) for x in (value, other, mask))
            return self.from_memory(b, b.select(mask, value, other), dtype)
        width = self.width
        vector = ir.VectorType(element, width)
        if mask is not None:
            mask = self.lanes.splat(b, mask, width)
        fill = self.lanes.splat(b, other, width) if other is not None else ir.Constant(vector, None)
        if offsets is None:
            if mask is None:
                return self.from_memory(b, b.load(pointer, typ=vector, align=size), dtype)
            name = f"!llvm.masked.load.{Lanes._suffix(vector)}.p0"
            value = self.lanes.intrinsic(b, name, vector, [pointer, mask, fill])
            return self.from_memory(b, value, dtype)
        places = self.apart(stride, size, mask is not None)
        if places:
            value = None
            name = f"!llvm.masked.load.{Lanes._suffix(vector)}.p0"
            for start, inside in self.vectors_of(places):
                at = b.gep(pointer, [c64(start)], source_etype=element)
                if mask is None:  # nothing before the first element and behind the last
                    part = b.load(at, typ=vector, align=size)
                else:
                    on = self.spread(b, mask, inside)
                    part = self.lanes.intrinsic(b, name, vector, [at, on, ir.Constant(vector, None)])
                if value is None:
                    value = self.shuffled(b, part, part, inside, 0)
                else:
                    own = {i: i for i in range(width)} | {i: width + p for i, p in inside.items()}
                    value = self.shuffled(b, value, part, own, 0)
            if mask is not None and not _is_zero(fill):
                value = b.select(mask, value, fill)
            return self.from_memory(b, value, dtype)
        pointers = self.lane_pointers(b, pointer, offsets, size)
        if self.program.target.gathers and size >= 4:
            on = ir.Constant(ir.VectorType(I1, width), [1] * width) if mask is None else mask
            name = f"!llvm.masked.gather.{Lanes._suffix(vector)}.v{width}p0"
            return self.from_memory(b, self.lanes.intrinsic(b, name, vector, [pointers, on, fill]), dtype)
        # One load for each lane: three times as fast as a gather instruction where that is microcode (AMD).
        if mask is not None:
            nowhere = self.lanes.splat(b, b.ptrtoint(self.program.zeros(), I64), width)
            pointers = b.select(mask, pointers, b.inttoptr(nowhere, pointers.type))
        value = ir.Constant(vector, ir.Undefined)
        for lane in (ir.Constant(I32, i) for i in range(width)):
            one = b.load(b.extract_element(pointers, lane), typ=element, align=size)
            value = b.insert_element(value, one, lane)
        return self.from_memory(b, value if mask is None else b.select(mask, value, fill), dtype)

    def apart(self, stride: int, size: int, masked: bool) -> list[int]:
        """Where lanes that are so many elements apart lie, counted from the lowest, when some plain accesses and shuffles
        cost less than an access for each lane; else nothing."""
        target, width = self.program.target, self.width
        if not stride or 2 * abs(stride) > min(max(width, 4), 16) or width < 2:
            return []
        if masked and not (target.avx512 or (target.vector_bytes == 32 and size >= 4)):
            return []
        lanes = [i * stride for i in range(width)]
        return [at - min(lanes) for at in lanes]

    def vectors_of(self, lanes: list[int]) -> Iterator[tuple[int, dict[int, int]]]:
        """The vectors that cover these places, none of which reaches beyond them: where each starts, seen from the first
        lane, and {lane: place in it}."""
        width = self.width
        for part in range(max(lanes) // width + 1):
            start = min(part * width, max(lanes) + 1 - width)
            yield start - lanes[0], {i: at - start for i, at in enumerate(lanes) if at // width == part}

    @staticmethod
    def shuffled(b: ir.IRBuilder, first: Any, second: Any, chosen: dict[int, int], rest: int) -> Any:
        """{lane: lane of the two vectors}; `rest` is for lanes that are not named."""
        count = first.type.count
        return b.shuffle_vector(
            first, second, ir.Constant(ir.VectorType(I32, count), [chosen.get(i, rest) for i in range(count)])
        )

    def spread(self, b: ir.IRBuilder, mask: Any, inside: dict[int, int]) -> Any:
        """The mask of a vector in which lane i of `mask` stands at place inside[i]; its other places are off."""
        width, lanes, places = self.width, list(inside), list(inside.values())
        constant = isinstance(mask, ir.Constant)
        if (
            not constant
            and {"avx512f", "bmi2"} <= self.program.target.features
            and 8 <= width <= 32
            and places == sorted(places)
        ):
            # As bits: shuffles of masks go through vectors, there and back.
            bits, number = ir.IntType(width), ir.Constant(I64, sum(1 << place for place in places))
            wide = b.lshr(b.zext(b.bitcast(mask, bits), I64), c64(lanes[0]))
            wide = self.lanes.intrinsic(b, "!llvm.x86.bmi.pdep.64", I64, [wide, number])
            return b.bitcast(b.trunc(wide, bits), mask.type)
        return self.shuffled(b, mask, ir.Constant(mask.type, None), {p: i for i, p in inside.items()}, width)

    def write(
        self,
        b: ir.IRBuilder,
        dtype: str,
        pointer: Any,
        offsets: Any,
        stride: int,
        mask: Any,
        value: Any,
        streaming: bool = False,
    ) -> None:
        element = memory_type(dtype)
        size = max(1, _bytes(element))
        alike = (
            offsets is None and stride == 0 and not lanes_of(value) and (mask is None or not lanes_of(mask))
        )
        if self.width == 0 or alike:
            value = self.to_memory(b, value, dtype)
            if mask is None:
                b.store(value, pointer, align=size)
                return
            vector = ir.VectorType(element, 1)
            one = b.insert_element(ir.Constant(vector, ir.Undefined), value, ir.Constant(I32, 0))
            bit = b.insert_element(
                ir.Constant(ir.VectorType(I1, 1), ir.Undefined),
                mask,
                ir.Constant(I32, 0),
            )
            name = f"!llvm.masked.store.{Lanes._suffix(vector)}.p0"
            self.lanes.intrinsic(b, name, ir.VoidType(), [one, pointer, bit])
            return
        width = self.width
        value = self.to_memory(b, self.lanes.splat(b, value, width), dtype)
        if mask is not None:
            mask = self.lanes.splat(b, mask, width)
        vector = ir.VectorType(element, width)
        if offsets is None and stride == 1:
            if mask is None:
                if streaming and width * size == self.program.target.vector_bytes:
                    self.stream(b, pointer, value, width * size, size)
                else:
                    b.store(value, pointer, align=size)
                return
            name = f"!llvm.masked.store.{Lanes._suffix(vector)}.p0"
            self.lanes.intrinsic(b, name, ir.VoidType(), [value, pointer, mask])
            return
        lanes = self.apart(stride, size, True)
        if lanes:
            on = ir.Constant(ir.VectorType(I1, width), [1] * width) if mask is None else mask
            for start, inside in self.vectors_of(lanes):
                places = {p: i for i, p in inside.items()}
                part = self.shuffled(b, value, value, places, 0)
                here = self.spread(b, on, inside)
                at = b.gep(pointer, [c64(start)], source_etype=element)
                name = f"!llvm.masked.store.{Lanes._suffix(vector)}.p0"
                self.lanes.intrinsic(b, name, ir.VoidType(), [part, at, here])
            return
        if offsets is None:
            offsets = Lanes.constant("i64", 0, width)
        pointers = self.lane_pointers(b, pointer, offsets, size)
        if mask is None:  # the last of equal addresses stays, as with the instruction
            for lane in (ir.Constant(I32, i) for i in range(width)):
                b.store(b.extract_element(value, lane), b.extract_element(pointers, lane), align=size)
            return
        name = f"!llvm.masked.scatter.{Lanes._suffix(vector)}.v{width}p0"
        self.lanes.intrinsic(b, name, ir.VoidType(), [value, pointers, mask])

    def stream(self, b: ir.IRBuilder, pointer: Any, value: Any, nbytes: int, align: int) -> None:
        """A whole vector past the cache (cache_modifier=".cs"), which only an aligned address allows."""
        aligned = b.icmp_unsigned("==", b.and_(b.ptrtoint(pointer, I64), c64(nbytes - 1)), c64(0))
        with b.if_else(aligned) as (then, otherwise):
            with then:
                past = b.store(value, pointer, align=nbytes)
                past.set_metadata("nontemporal", self.program.module.add_metadata([ir.Constant(I32, 1)]))
            with otherwise:
                b.store(value, pointer, align=align)
        self.program.streams = True

    def store(self, op: Op, coords: Coords, value: Any, mask: Any) -> None:
        type = op.operands[1].type
        pointer, offsets, stride = self.address(op.operands[0], coords, memory_type(type.dtype), type.bytes)
        streaming = op.attrs.get("streaming", False)
        self.write(self.levels[-1].b, type.dtype, pointer, offsets, stride, mask, value, streaming)

    def slot_form(self, slot: Slot) -> Form:
        coefficients, stride = [], 1
        for size in reversed(slot.shape):
            coefficients.append(Poly.const(stride if size > 1 else 0))
            stride *= size
        return Form(Poly({}), tuple(reversed(coefficients)))

    def load_slot(self, slot: Slot, dtype: str, coords: Coords, level: Level) -> Any:
        element = memory_type(dtype)
        pointer, offsets, stride = self.place(
            self.program.slot_pointer(slot), self.slot_form(slot), coords, 0, element
        )
        return self.read(level.hoist, dtype, pointer, offsets, stride, None, None)

    def store_slot(self, slot: Slot, coords: Coords, value: Any) -> None:
        element = memory_type(slot.dtype)
        coords = tuple(ZERO if slot.shape[i] == 1 else c for i, c in enumerate(coords))
        pointer, offsets, stride = self.place(
            self.program.slot_pointer(slot), self.slot_form(slot), coords, 0, element
        )
        b = self.levels[-1].b
        if lanes_of(value) == 0 and stride == 0 and offsets is None:
            value = self.to_memory(b, value, slot.dtype)
            b.store(value, pointer, align=max(1, _bytes(element)))
            return
        self.write(b, slot.dtype, pointer, offsets, stride, None, value)

    def gather_slot(self, op: Op, coords: Coords, level: Level) -> Any:
        """tl.gather: source[..., index, ...] with the index along one axis."""
        axis = op.attrs["axis"]
        source, index = op.operands
        slot = self.program.schedule.slots[source]
        form = self.slot_form(slot)
        b = level.hoist
        position = self.lanes.resize(b, self.eval(index, coords), "i64")
        rest = Form(
            form.base,
            tuple(Poly({}) if d == axis else c for d, c in enumerate(form.coefs)),
        )
        element = memory_type(source.type.dtype)
        pointer, offsets, stride = self.place(self.program.slot_pointer(slot), rest, coords, 0, element)
        along = self.times(b, position, form.coefs[axis])
        if not lanes_of(along):
            if offsets is None:
                pointer = b.gep(pointer, [along], source_etype=element)
                return self.read(b, source.type.dtype, pointer, None, stride, None, None)
            along = self.lanes.splat(b, along, self.width)
        if offsets is None:
            offsets = along if stride == 0 else b.add(along, Lanes.iota(I64, self.width))
        else:
            offsets = b.add(offsets, along)
        return self.read(b, source.type.dtype, pointer, offsets, 0, None, None)

    # --- atomics --------------------------------------------------------------------------------

    def atomic(self, op: Op, coords: Coords) -> None:
        """One element (atomic nests are scalar): skipped where the mask is off."""
        level = self.levels[-1]
        type = op.operands[0].type.pointee
        assert type is not None
        values = [self.eval(o, coords) for o in op.operands[1 : 3 if op.name == "tt.atomic_cas" else 2]]
        mask = None
        if op.name == "tt.atomic_rmw" and len(op.operands) > 2:
            mask = self.mask(op.operands[2], coords)
        pointer, _, _ = self.address(op.operands[0], coords, memory_type(type.dtype), type.bytes)
        old = self.program.atomic(level.b, op, pointer, values, mask)
        for result in op.results:
            if result in self.program.schedule.slots:
                self.store_slot(self.program.schedule.slots[result], coords, old)


def _is_zero(value: Any) -> bool:
    """Whether a constant, or all of a vector of them, is zero (and not -0.0)."""
    if not isinstance(value, ir.Constant):
        return False
    parts = value.constant
    if isinstance(parts, list | tuple):
        return all(_is_zero(part) for part in parts)
    return isinstance(parts, int | float) and str(parts) in ("0", "0.0")


def _bytes(element: Any) -> int:
    if isinstance(element, ir.IntType):
        return max(1, int(element.width) // 8)
    return {"half": 2, "float": 4, "double": 8}.get(str(element), 8)


__all__ = ["I8", "ZERO", "CompileError", "Coord", "Nest", "emit_loop", "register_type"]
