"""The schedule: which operations become loop nests together, and which tiles are kept in scratch.

Cheap tile values are lazy: every nest that needs them computes them at its own indices. The roots that force work
(stores, reductions, atomics, dots, carried tiles, ...) become steps. A value is kept in scratch when it would be computed
twice and costs more than a reload, when something needs it as an array, or when a store could change what it loads.

Aliasing: a store may change what any earlier load of the same pointer argument reads, and what a load of another argument
reads when both tiles have the same shape (operators that work in place, element for element). Stores of one shape through
one argument do not disturb loads of another shape through another argument.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from openxpu.compiler.affine import (
    Address,
    Analysis,
    DimMap,
    Form,
    compose,
    identity,
    operand_dims,
    root_argument,
)
from openxpu.compiler.tile_ir import (
    Block,
    CompileError,
    Function,
    Op,
    Type,
    Value,
    number,
    walk,
)

SHAPE_OPS = {"tt.expand_dims", "tt.broadcast", "tt.trans", "tt.reshape"}
# Results that live in scratch as soon as they exist.
STORED = {
    "tt.reduce",
    "tt.scan",
    "tt.dot",
    "tt.histogram",
    "tt.join",
    "tt.cat",
    "tt.map_elementwise",
    "tt.atomic_rmw",
    "tt.atomic_cas",
}
WHOLE = ("tt.dot", "tt.scan", "tt.histogram", "tt.join", "tt.cat", "tt.map_elementwise")
STORED |= {"scf.for", "scf.if", "scf.while", "tt.call"}
NEST_ROOTS = {
    "tt.store",
    "tt.reduce",
    "tt.atomic_rmw",
    "tt.atomic_cas",
    "tt.assert",
    "tt.print",
}
WRITES = {"tt.store", "tt.atomic_rmw", "tt.atomic_cas", "tt.atomic_poll", "tt.call"}

_COST = {
    "arith.divf": 8, "tt.precise_divf": 8, "arith.divsi": 24, "arith.divui": 24, "arith.remsi": 26, "arith.remui": 26,
    "math.exp": 14, "math.exp2": 12, "math.log": 20, "math.log2": 20, "math.sqrt": 8, "tt.precise_sqrt": 8,
    "math.rsqrt": 14, "math.erf": 34, "math.sin": 40, "math.cos": 40, "tt.mulhiui": 6, "tt.extern_elementwise": 60,
    "tt.gather": 16, "arith.truncf": 2, "arith.maxnumf": 3, "arith.minnumf": 3,
}  # fmt: skip


@dataclass(eq=False)
class Slot:
    """A block of scratch that holds one tile, row-major."""

    shape: tuple[int, ...]
    dtype: str
    offset: int = -1  # bytes from the start of scratch, set when code is generated

    @property
    def nbytes(self) -> int:
        tile = Type(self.dtype, self.shape)
        return tile.numel * tile.bytes


@dataclass(eq=False)
class Keep:
    """A root that writes a value to a slot."""

    value: Value
    slot: Slot


@dataclass(eq=False)
class Step:
    order: float
    block: Block


@dataclass(eq=False)
class ScalarStep(Step):
    op: Op


@dataclass(eq=False)
class NestStep(Step):
    """A loop nest over `shape`; all its roots are evaluated at every point."""

    shape: tuple[int, ...]
    roots: list[Op] = field(default_factory=list)
    keeps: list[Keep] = field(default_factory=list)
    first: float = 0.0
    lane: int = 0
    passed: list[Op] = field(default_factory=list)  # tile loads after its first root

    @property
    def reduces(self) -> list[Op]:
        return [r for r in self.roots if r.name == "tt.reduce"]


@dataclass(eq=False)
class TileStep(Step):
    """An operation on whole tiles with code of its own: dot, scan, histogram, join, cat, map_elementwise."""

    op: Op
    body: list[Step] = field(default_factory=list)  # of map_elementwise


@dataclass(eq=False)
class RegionStep(Step):
    """for, if, while: one list of steps for each region."""

    op: Op
    bodies: list[list[Step]]


@dataclass(eq=False)
class CopyStep(Step):
    """slot <- slot, at the end of a loop body whose carried tiles depend on one another."""

    source: Slot
    target: Slot


@dataclass(eq=False)
class EndStep(Step):
    op: Op


@dataclass(frozen=True)
class Factor:
    """A factor of a dot that the micro-kernel reads from memory: pointer + offset form over (row, column)."""

    base: Value
    form: Form
    shape: tuple[int, ...]
    type: Type
    table: int | None  # the dimension whose addresses are tabulated, in the dimensions of the load
    extents: list[tuple[int, Value]]  # prefix masks: dimension and comparison
    masks: list[tuple[Value, DimMap]]  # other masks, all along the table's dimension
    swapped: bool  # the load is [columns, rows] of the factor

    def transposed(self) -> Factor:
        return replace(self, swapped=not self.swapped)


@dataclass
class Schedule:
    function: Function
    analysis: Analysis
    blocks: list[list[Step]]
    slots: dict[Value, Slot]
    all_slots: list[Slot]
    homes: dict[Value, Step]
    direct: dict[tuple[Op, int], Factor]


def is_stored(value: Value) -> bool:
    """Values that are arrays in scratch by their nature."""
    if not value.type.is_tile:
        return False
    return value.op is None or value.op.name in STORED


def operation_cost(op: Op) -> int:
    if op.name in SHAPE_OPS or op.name in (
        "tt.splat",
        "arith.constant",
        "tt.make_range",
    ):
        return 0
    if op.name in _COST:
        if (
            op.name.startswith(("arith.div", "arith.rem"))
            and op.operands[1].constant is not None
            and "f" not in op.name[-1]
        ):
            return 8
        if op.operands[0].type.dtype == "f64" and op.name.startswith("math."):
            return 100
        return _COST[op.name]
    if op.name.startswith("math."):
        return 3 if op.name in ("math.absf", "math.absi", "math.fma", "math.floor", "math.ceil") else 60
    return 1


def last_big(shape: tuple[int, ...]) -> int:
    """The last dimension with more than one element."""
    for d in reversed(range(len(shape))):
        if shape[d] > 1:
            return d
    return len(shape) - 1


Reached = dict[Value, set[DimMap]]


class Scheduler:
    def __init__(self, function: Function) -> None:
        number(function)
        self.function = function
        self.analysis = Analysis()
        self.slots: dict[Value, Slot] = {}
        self.all_slots: list[Slot] = []
        self.steps: dict[Block, list[Step]] = {}
        self.homes: dict[Value, Step] = {}
        self.reasons: dict[Value, str] = {}  # why a value is kept in scratch
        self._reached: dict[int, dict[Step, Reached]] = {}
        self._lanes: dict[Step, int] = {}
        self.parents: dict[Block, Op] = {}
        self.users: dict[Value, list[Op]] = {}
        self._depends: dict[Value, frozenset[Op]] = {}
        self._loads: dict[Value, frozenset[Op]] = {}
        self.writes: list[Op] = []
        self.direct: dict[tuple[Op, int], Factor] = {}
        for op in walk(function.body):
            for operand in op.operands:
                self.users.setdefault(operand, []).append(op)
            if op.name in WRITES:
                self.writes.append(op)
            for region in op.regions:
                for block in region.blocks:
                    self.parents[block] = op

    # --- facts about values -----------------------------------------------------------------

    def slot(self, value: Value) -> Slot:
        found = self.slots.get(value)
        if found is None:
            assert value.type.shape is not None
            found = self.slots[value] = self.new_slot(value.type.shape, value.type.dtype)
        return found

    def new_slot(self, shape: tuple[int, ...], dtype: str) -> Slot:
        slot = Slot(shape, dtype)
        self.all_slots.append(slot)
        return slot

    def depends(self, value: Value) -> frozenset[Op]:
        """The nest roots (reductions, atomics) whose results a value needs, without going through them."""
        found = self._depends.get(value)
        if found is None:
            op = value.op
            if op is None:
                found = frozenset()
            elif op.name in NEST_ROOTS:
                found = frozenset([op])
            else:
                found = frozenset().union(*(self.depends(o) for o in op.operands))
            self._depends[value] = found
        return found

    def loads(self, value: Value) -> frozenset[Op]:
        """The tile loads that are evaluated with a lazy value."""
        found = self._loads.get(value)
        if found is None:
            op = value.op
            if op is None or not value.type.is_tile or op.name in STORED:
                found = frozenset()
            else:
                found = frozenset().union(*(self.loads(o) for o in op.operands))
                if op.name == "tt.load":
                    found |= {op}
            self._loads[value] = found
        return found

    def inputs(self, value: Value, dims: DimMap) -> list[tuple[Value, DimMap]]:
        """The tiles that a lazy value is computed from, each with the nest dimensions of its own dimensions."""
        op = value.op
        assert op is not None
        if op.name == "tt.load":
            out = self.address_inputs(op.operands[0], dims)
            for operand in op.operands[1:]:
                out.append((operand, dims))
            return out
        if op.name in SHAPE_OPS:
            where = operand_dims(value)
            source = op.operands[0]
            if where is None:
                shape = source.type.shape or ()
                return [(source, (-1,) * len(shape))]
            return [(source, compose(dims, where))]
        if op.name == "tt.gather":
            return [(op.operands[0], (-1,) * len(dims)), (op.operands[1], dims)]
        if op.name == "tt.split":
            return [(op.operands[0], (*dims, None))]
        return [(o, dims) for o in op.operands if o.type.is_tile]

    def address_inputs(self, pointer: Value, dims: DimMap) -> list[tuple[Value, DimMap]]:
        address = self.analysis.address(pointer)
        if address.base is None:
            if pointer.op is not None and pointer.op.name == "tt.addptr":
                return [(o, dims) for o in pointer.op.operands]
            return [(pointer, dims)]
        return [
            (t.value, tuple(None if d is None else dims[d] for d in t.dims)) for t in address.offset.terms
        ]

    # --- grouping ---------------------------------------------------------------------------

    def group(self, block: Block) -> list[Step]:
        steps: list[Step] = []
        pending: NestStep | None = None

        def flush() -> None:
            nonlocal pending
            if pending is not None:
                steps.append(pending)
                pending = None

        for op in block.ops:
            tile_operands = [o for o in op.operands if o.type.is_tile]
            needed: frozenset[Op] = frozenset().union(*(self.depends(o) for o in op.operands))
            blocked = pending is not None and bool(needed & set(pending.roots))
            if op is block.ops[-1]:
                flush()
                self.end(block, op, steps)
                continue
            if op.regions and op.name.startswith("scf."):
                flush()
                self.prepare_region(op, block, steps)
                bodies = [self.group(region.block) for region in op.regions]
                steps.append(RegionStep(op.order, block, op, bodies))
                for result in op.results:
                    if result.type.is_tile:
                        self.homes[result] = steps[-1]
                continue
            if op.name in NEST_ROOTS and tile_operands:
                shape = tile_operands[0].type.shape
                assert shape is not None
                if pending is None or blocked or not self.fits(pending, op, shape):
                    flush()
                    pending = NestStep(op.order, block, shape, first=op.order)
                pending.roots.append(op)
                pending.order = op.order
                for result in op.results:
                    if result.type.is_tile:
                        self.slot(result)
                        self.homes[result] = pending
                continue
            tile_result = any(r.type.is_tile for r in op.results)
            if op.name in WHOLE:
                flush()
                self.tile_step(op, block, steps)
                continue
            if tile_result:
                if op.name == "tt.load" and pending is not None:
                    pending.passed.append(op)
                continue  # lazy
            if (
                op.name
                in (
                    "tt.store",
                    "tt.atomic_rmw",
                    "tt.atomic_cas",
                    "tt.atomic_poll",
                    "tt.call",
                    "tt.assert",
                    "tt.print",
                )
                or blocked
                or (op.name == "tt.load" and pending is not None and not pending.reduces)
            ):
                flush()
            steps.append(ScalarStep(op.order, block, op))
        self.steps[block] = steps
        return steps

    def fits(self, pending: NestStep, op: Op, shape: tuple[int, ...]) -> bool:
        """May this root join the nest that is being collected?"""
        head = pending.roots[0]
        if shape != pending.shape or op.name != head.name:
            return False
        if op.name == "tt.reduce":
            return bool(op.attrs["axis"] == head.attrs["axis"])
        if op.name == "tt.store":
            first = pending.roots[0].order
            if any(load.order >= first for o in op.operands for load in self.loads(o)):
                return False
            # The nest is placed where its last store is: loads on the way there must not wait for its first ones.
            return not any(self.may_alias(load, root) for load in pending.passed for root in pending.roots)
        return False

    def prepare_region(self, op: Op, block: Block, steps: list[Step]) -> None:
        """Slots of carried tiles and of results, and the nests that fill them at the start."""
        if op.name == "scf.for":
            body = op.regions[0].block
            for result, arg, start in zip(op.results, body.args[1:], op.operands[3:], strict=True):
                if result.type.is_tile:
                    slot = self.slots[arg] = self.slots[result] = self.slot(result)
                    steps.append(self.keep_nest(start, slot, op.order - 0.4, block))
        elif op.name == "scf.while":
            before, after = op.regions[0].block, op.regions[1].block
            for arg, start in zip(before.args, op.operands, strict=True):
                if arg.type.is_tile:
                    steps.append(self.keep_nest(start, self.slot(arg), op.order - 0.4, block))
            for result, arg in zip(op.results, after.args, strict=True):
                if result.type.is_tile:
                    self.slots[arg] = self.slot(result)
        else:
            for result in op.results:
                if result.type.is_tile:
                    self.slot(result)

    def keep_nest(self, value: Value, slot: Slot, order: float, block: Block) -> NestStep:
        assert value.type.shape is not None
        return NestStep(order, block, value.type.shape, keeps=[Keep(value, slot)], first=order)

    def tile_step(self, op: Op, block: Block, steps: list[Step]) -> None:
        if op.name == "tt.dot":
            accumulator = op.operands[2]
            # In place when the accumulator is an array that nobody reads again.
            if (
                is_stored(accumulator)
                and len(self.users[accumulator]) == 1
                and accumulator.type == op.result.type
            ):
                self.slots[op.result] = self.slot(accumulator)
            else:
                steps.append(self.keep_nest(accumulator, self.slot(op.result), op.order - 0.4, block))
        step = TileStep(op.order, block, op)
        if op.name == "tt.map_elementwise":
            step.body = self.group(op.regions[0].block)
        if op.name == "tt.dot":
            for index in range(2):
                found = self.classify_factor(step, op.operands[index])
                if found is not None:
                    self.direct[op, index] = found
        for result in op.results:
            self.slot(result)
            self.homes[result] = step
        steps.append(step)

    def end(self, block: Block, op: Op, steps: list[Step]) -> None:
        """The terminator: carried and returned tiles are written to their slots."""
        targets: list[tuple[Value, Slot]] = []
        parent = self.parents.get(block)
        if op.name == "scf.yield" and parent is not None:
            if parent.name == "scf.while":
                destinations: Iterable[Value] = parent.regions[0].block.args
            else:
                destinations = parent.results
            for value, destination in zip(op.operands, destinations, strict=True):
                if value.type.is_tile:
                    targets.append((value, self.slot(destination)))
        elif op.name == "scf.condition" and parent is not None:
            for value, result in zip(op.operands[1:], parent.results, strict=True):
                if value.type.is_tile:
                    targets.append((value, self.slot(result)))
        elif op.name in ("cf.br", "cf.cond_br"):
            at = 0 if op.name == "cf.br" else 1
            for target, count in zip(op.attrs["blocks"], op.attrs["counts"], strict=True):
                for value, arg in zip(op.operands[at : at + count], target.args, strict=True):
                    if value.type.is_tile:
                        targets.append((value, self.slot(arg)))
                at += count
        targets = [(v, s) for v, s in targets if self.slots.get(v) is not s]
        order = op.order - 0.4
        if len(targets) == 1:
            nest = self.keep_nest(targets[0][0], targets[0][1], order, block)
            if not self.reads_moved(nest):
                steps.append(nest)
                steps.append(EndStep(op.order, block, op))
                return
        groups: dict[tuple[int, ...], NestStep] = {}
        for value, slot in targets:
            assert value.type.shape is not None
            shape = value.type.shape
            if shape not in groups:
                groups[shape] = NestStep(order, block, shape, first=order)
            groups[shape].keeps.append(Keep(value, slot))
        ordered = self.order_carried(list(groups.values()))
        for index, nest in enumerate(ordered):
            nest.order = order + 0.001 * index
            steps.append(nest)
        copies = []
        for nest in ordered:
            for keep in nest.keeps:
                if keep.slot in self._indirect:
                    aside = self.new_slot(keep.slot.shape, keep.slot.dtype)
                    copies.append(CopyStep(op.order - 0.1, block, aside, keep.slot))
                    keep.slot = aside
        self._indirect.clear()
        steps.extend(copies)
        steps.append(EndStep(op.order, block, op))

    def lazily_read(self, value: Value, dims: DimMap) -> list[tuple[Value, DimMap]]:
        """The arrays that evaluating a value reads, before anything is decided about keeping."""
        seen: set[tuple[Value, DimMap]] = set()
        out: list[tuple[Value, DimMap]] = []
        stack = [(value, dims)]
        while stack:
            entry = stack.pop()
            if entry in seen or not entry[0].type.is_tile:
                continue
            seen.add(entry)
            if is_stored(entry[0]):
                out.append(entry)
            else:
                stack.extend(self.inputs(*entry))
        return out

    def reads_moved(self, nest: NestStep) -> bool:
        """Does the nest read a slot that it writes, elsewhere than at the same index?"""
        own = {k.slot for k in nest.keeps}
        here = identity(len(nest.shape), nest.shape)
        for keep in nest.keeps:
            for value, dims in self.lazily_read(keep.value, here):
                if self.slots.get(value) in own and dims != here:
                    return True
        return False

    def order_carried(self, nests: list[NestStep]) -> list[NestStep]:
        """Readers of an old tile come before its writer; what cannot be ordered goes through a copy."""
        self._indirect = set()
        reads: dict[NestStep, set[Slot]] = {}
        for nest in nests:
            here = identity(len(nest.shape), nest.shape)
            found: set[Slot] = set()
            for keep in nest.keeps:
                for value, dims in self.lazily_read(keep.value, here):
                    slot = self.slots.get(value)
                    if slot is not None:
                        found.add(slot)
                        if dims != here and any(slot is k.slot for k in nest.keeps):
                            self._indirect.add(slot)
            reads[nest] = found
        out: list[NestStep] = []
        rest = list(nests)
        while rest:
            for nest in rest:
                others = [n for n in rest if n is not nest]
                if not any(k.slot in reads[o] for o in others for k in nest.keeps):
                    break
            else:
                nest = rest[0]
                others = rest[1:]
                self._indirect |= {k.slot for k in nest.keeps if any(k.slot in reads[o] for o in others)}
            out.append(nest)
            rest.remove(nest)
        return out

    # --- what every step evaluates ------------------------------------------------------------

    def roots(self, step: Step) -> list[tuple[Value, DimMap]]:
        if isinstance(step, NestStep):
            here = identity(len(step.shape), step.shape)
            out: list[tuple[Value, DimMap]] = [(k.value, here) for k in step.keeps]
            for op in step.roots:
                if op.name in ("tt.store", "tt.atomic_rmw", "tt.atomic_cas"):
                    out.extend(self.address_inputs(op.operands[0], here))
                    out.extend((o, here) for o in op.operands[1:])
                else:
                    out.extend((o, here) for o in op.operands)
            return [(v, d) for v, d in out if v.type.is_tile]
        if isinstance(step, TileStep):
            out = []
            op = step.op
            for index, operand in enumerate(op.operands):
                shape = operand.type.shape or ()
                if op.name == "tt.dot":
                    if index < 2:
                        out.extend(self.dot_inputs(op, index))
                else:
                    out.append((operand, (-1,) * len(shape)))
            return out
        if isinstance(step, ScalarStep):
            # tl.unsplat: the one element of a tile
            return [(o, (None,) * len(o.type.shape or ())) for o in step.op.operands if o.type.is_tile]
        return []

    def dot_inputs(self, op: Op, index: int) -> list[tuple[Value, DimMap]]:
        """A factor read where it lies needs its address terms and masks; any other is wanted as an array."""
        operand = op.operands[index]
        direct = self.direct.get((op, index))
        if direct is None:
            shape = operand.type.shape or ()
            return [(operand, (-1,) * len(shape))]
        if direct.table is None:
            return []
        out: list[tuple[Value, DimMap]] = []
        for term in direct.form.terms:
            if direct.table in term.dims:
                out.append((term.value, tuple(0 if d is not None else None for d in term.dims)))
        for value, dims in direct.masks:
            out.append((value, tuple(0 if d is not None else None for d in dims)))
        return out

    def classify_factor(self, step: TileStep, operand: Value) -> Factor | None:
        """How the micro-kernel can read a factor straight from memory; None when it must be an array first."""
        op = operand.op
        shape = operand.type.shape
        if op is None or shape is None or len(shape) != 2:
            return None
        if op.name == "tt.trans" and op.attrs["order"] == (1, 0):
            inner = self.classify_factor(step, op.operands[0])
            return None if inner is None else inner.transposed()
        if (
            op.name != "tt.load"
            or self.clobbered(op, step, set())
            or operand.type.dtype not in ("f32", "bf16", "f16", "f64", "i8")
        ):
            return None
        if len(op.operands) > 2 and op.operands[2].constant != 0:
            return None
        address = self.analysis.address(op.operands[0])
        if address.base is None:
            return None
        tables: set[int] = set()
        for term in address.offset.terms:
            on = {d for d in term.dims if d is not None}
            if len(on) != 1:
                return None
            tables |= on
        extents: list[tuple[int, Value]] = []
        masks: list[tuple[Value, DimMap]] = []
        for value, dims in (
            self.analysis.conjuncts(op.operands[1], identity(2, shape)) if len(op.operands) > 1 else []
        ):
            on = {d for d in dims if d is not None}
            if len(on) != 1:
                return None
            (dim,) = on
            form = self.analysis.difference(value)
            if (
                form is not None
                and form.affine
                and (k := form.coefs[dims.index(dim)].number) is not None
                and k == -1
            ):
                extents.append((dim, value))
            else:
                tables.add(dim)
                masks.append((value, dims))
        if len(tables) > 1:
            return None
        table = tables.pop() if tables else None
        if masks:
            # Switched-off rows point at zeros, which must reach as far as the other dimension does.
            stride = address.offset.coefs[1 - (table or 0)].number
            if stride is None or stride < 0 or stride * shape[1 - (table or 0)] > 1 << 16:
                return None
        return Factor(address.base, address.offset, shape, operand.type, table, extents, masks, False)

    def all_steps(self) -> list[Step]:
        out: list[Step] = []
        for steps in self.steps.values():
            out.extend(steps)
        out.sort(key=lambda s: s.order)
        return out

    def reach(self, step: Step, kept: dict[Value, Step]) -> Reached:
        """Every lazy tile that a step computes, with the dimensions it is computed at."""
        cache = self._reached.setdefault(id(kept), {})
        found = cache.get(step)
        if found is None:
            found = cache[step] = self.find_reached(step, kept)
        return found

    def forget(self, value: Value, home: Step) -> None:
        """A value has got a home: steps that computed it reach less now, and its home may have got a root."""
        for cache in self._reached.values():
            for step in [s for s, reached in cache.items() if s is home or value in reached]:
                del cache[step]
                self._lanes.pop(step, None)
        self._lanes.pop(home, None)

    def find_reached(self, step: Step, kept: dict[Value, Step]) -> Reached:
        reached: Reached = {}
        stack = self.roots(step)
        while stack:
            value, dims = stack.pop()
            if not value.type.is_tile:
                continue
            seen = reached.setdefault(value, set())
            if dims in seen:
                continue
            seen.add(dims)
            if is_stored(value) or kept.get(value, step) is not step:
                continue
            stack.extend(self.inputs(value, dims))
        return reached

    # --- keeping ------------------------------------------------------------------------------

    def loops_of(self, block: Block) -> list[Op]:
        """The loops around a block, innermost first."""
        out = []
        op = self.parents.get(block)
        while op is not None:
            if op.name in ("scf.for", "scf.while"):
                out.append(op)
            op = self.parents.get(op.block) if op.block is not None else None
        return out

    def clobbered(self, load: Op, step: Step, places: set[DimMap]) -> bool:
        """Could a write between the load and the step change what the load reads? Or one of the step itself, which
        computes the load at these places?"""
        assert load.block is not None
        own = set(step.roots) if isinstance(step, NestStep) else set()
        around = self.loops_of(load.block)
        again = [loop for loop in self.loops_of(step.block) if loop not in around]
        begin = step.first if isinstance(step, NestStep) else step.order
        for write in self.writes:
            assert write.block is not None
            if write in own and write.order > load.order and self.overtakes(write, load, step, places):
                return True
            loops = self.loops_of(write.block)
            between = load.order < write.order < begin and write not in own
            repeated = any(loop in loops for loop in again)
            if (between or repeated) and self.may_alias(load, write):
                return True
        return False

    def overtakes(self, write: Op, load: Op, step: Step, places: set[DimMap]) -> bool:
        """Does a nest write, at one index, what it loads through the same argument at a later one?"""
        a, b = (self.analysis.address(op.operands[0]) for op in (load, write))
        if a.base is None or b.base is None:
            return True
        if root_argument(a.base) is not root_argument(b.base):
            return False
        if a.base is not b.base or not isinstance(step, NestStep):
            return True
        return not all(
            -1 in dims or apart(a.offset.remap(len(step.shape), dims), b.offset, step.shape)
            for dims in places
        )

    def may_alias(self, load: Op, write: Op) -> bool:
        if write.name in ("tt.call", "tt.atomic_poll"):  # another program may have written anything
            return True
        a, b = (
            self.analysis.address(load.operands[0]),
            self.analysis.address(write.operands[0]),
        )
        if a.base is None or b.base is None:
            return True
        if root_argument(a.base) is root_argument(b.base):
            return True
        return load.operands[0].type.shape == write.operands[0].type.shape

    def wanted(self, kept: dict[Value, Step]) -> dict[Value, Step]:
        """Values that must be arrays, with the first step that needs them."""
        out: dict[Value, Step] = {}
        for step in self.all_steps():
            for value, dims in self.reach(step, kept).items():
                if is_stored(value) or value in kept:
                    continue
                op = value.op
                assert op is not None
                need = any(-1 in d for d in dims)
                why = "it is needed as an array"
                if not need and op.name == "tt.load" and self.clobbered(op, step, dims):
                    need = True
                    why = "a store may change what it loads"
                if need:
                    self.reasons.setdefault(value, why)
                if need and value not in out:
                    out[value] = step
        return out

    def costs(self, value: Value, kept: dict[Value, Step], memo: dict[Value, int]) -> int:
        """Rough vector instructions to compute one vector of a lazy value."""
        found = memo.get(value)
        if found is not None:
            return found
        memo[value] = 0
        op = value.op
        if is_stored(value) or value in kept or op is None:
            cost = 1
        elif op.name == "tt.load":
            cost = self.load_cost(op, kept, memo)
        elif not self.analysis.form(value).terms and value.type.dtype in ("i32", "i64"):
            cost = 1
        else:
            cost = operation_cost(op) + sum(
                self.costs(v, kept, memo)
                for v in {i[0] for i in self.inputs(value, (0,) * len(value.type.shape or ()))}
            )
        memo[value] = min(cost, 100000)
        return memo[value]

    def load_cost(self, op: Op, kept: dict[Value, Step], memo: dict[Value, int]) -> int:
        address = self.analysis.address(op.operands[0])
        cost = sum(
            self.costs(v, kept, memo)
            for v, _ in self.address_inputs(op.operands[0], (0,) * len(op.result.type.shape or ()))
        )
        if address.base is None or address.offset.terms:
            return cost + 16
        return 1 if any(c.number == 1 for c in address.offset.coefs) else 4

    def decide(self) -> None:
        kept: dict[Value, Step] = {}
        while True:
            wanted = self.wanted(kept)
            if not wanted:
                break
            # Consumers first, so that a producer sees the nests made for them.
            value = max(wanted, key=lambda v: v.op.order if v.op else 0)
            self.place(value, kept)
        for _ in range(64):
            worth = self.worth_keeping(kept)
            if worth is None:
                break
            self.place(worth, kept)
        self.homes.update(kept)
        # A kept value may have opened a hole: what it loads must still be what it was.
        while wanted := self.wanted(kept):
            self.place(max(wanted, key=lambda v: v.op.order if v.op else 0), kept)
        self.homes.update(kept)

    def worth_keeping(self, kept: dict[Value, Step]) -> Value | None:
        times: dict[Value, float] = {}
        first: dict[Value, Step] = {}
        for step in self.all_steps():
            inside = self.loops_of(step.block)
            for value, dims in self.reach(step, kept).items():
                if is_stored(value) or value in kept or value.op is None:
                    continue
                if value.op.name in SHAPE_OPS or value.op.name in (
                    "tt.splat",
                    "arith.constant",
                    "tt.make_range",
                ):
                    continue
                assert value.op.block is not None
                outside = self.loops_of(value.op.block)
                weight = 8.0 if any(loop not in outside for loop in inside) else 1.0
                weight *= sum(self.repeats(step, value, d) for d in dims)
                times[value] = times.get(value, 0.0) + weight
                first.setdefault(value, step)
        memo: dict[Value, int] = {}
        best: Value | None = None
        for value, count in times.items():
            if count < 2 or value.type.is_pointer:
                continue
            cost = self.costs(value, kept, memo)
            if cost * (count - 1) < 5 * max(1.0, count / 2):
                continue
            if value.op is not None and value.op.name == "tt.load" and cost <= 1:
                continue
            if best is None or (value.op and best.op and value.op.order > best.op.order):
                best = value
        if best is not None:
            self.reasons[best] = (
                f"computing it {times[best]:g} times, at about {memo[best]} instructions for each vector, "
                "costs more than reading it back"
            )
        return best

    def repeats(self, step: Step, value: Value, dims: DimMap) -> float:
        """How often a nest computes each element of a value that it broadcasts along an outer dimension."""
        if not isinstance(step, NestStep) or value.type.shape is None:
            return 1.0
        mine = {d for d in dims if d is not None}
        if not mine:
            return 1.0
        lane = self._lanes.get(step)
        if lane is None:
            lane = self._lanes[step] = self.lane(step, None)
        if lane not in mine:
            return 1.0
        factor = 1.0
        for d, size in enumerate(step.shape):
            if d not in mine:
                factor *= size
        return factor

    def place(self, value: Value, kept: dict[Value, Step]) -> None:
        """Give a value a slot and a home: the first nest that computes all of it, or a nest of its own."""
        kept[value] = home = self.find_home(value, kept)
        self.forget(value, home)

    def find_home(self, value: Value, kept: dict[Value, Step]) -> NestStep:
        op = value.op
        assert op is not None
        assert op.block is not None
        assert value.type.shape is not None
        reaching = [s for s in self.all_steps() if value in self.reach(s, kept)]
        if not reaching:
            return self.own_nest(value, kept)
        step = reaching[0]
        here = identity(len(value.type.shape), value.type.shape)
        if (
            isinstance(step, NestStep)
            and step.block is op.block
            and step.shape == value.type.shape
            and here in self.reach(step, kept)[value]
            and not any(-1 in dims for dims in self.reach(step, kept)[value])  # needed whole before the nest
            and not any(
                self.clobbered(load, step, self.reach(step, kept).get(load.result, {here}))
                for load in self.loads(value)
            )
        ):
            step.keeps.append(Keep(value, self.slot(value)))
            return step
        return self.own_nest(value, kept)

    def own_nest(self, value: Value, kept: dict[Value, Step]) -> NestStep:
        assert value.op is not None
        assert value.op.block is not None
        order = float(value.op.order)
        block = value.op.block
        needed = self.depends(value)
        for step in self.steps[block]:
            if isinstance(step, NestStep) and needed & set(step.roots):
                order = max(order, step.order)
        nest = self.keep_nest(value, self.slot(value), order + 0.2, block)
        # What it reads may have been kept before, in a nest that was not meant to come this early.
        for read in self.reach(nest, kept):
            home = kept.get(read)
            if home is not None and home.block is block and home.order >= nest.order:
                nest.order = home.order + 0.01
        self.steps[block].append(nest)
        self.steps[block].sort(key=lambda s: s.order)
        return nest

    # --- lanes --------------------------------------------------------------------------------

    def lane(self, step: NestStep, reached: Reached | None) -> int:
        """The dimension that vectors run along: where memory is contiguous, stores first."""
        shape = step.shape
        scores = [0.0] * len(shape)
        if sum(d > 1 for d in shape) <= 1:
            return last_big(shape)

        def count(address: Address, dims: DimMap, weight: float) -> None:
            for d in range(len(shape)):
                scores[d] += weight * access_score(address, dims, d)

        here = identity(len(shape), shape)
        for op in step.roots:
            if op.name in ("tt.store", "tt.atomic_rmw", "tt.atomic_cas"):
                count(self.analysis.address(op.operands[0]), here, 1.5)
        scores[last_big(shape)] += 2.0 * len(step.keeps)
        if reached is None:
            reached = self.reach(step, self.homes)
        for value, where in reached.items():
            producer = value.op
            for dims in where:
                if is_stored(value) or value in self.slots:
                    big = last_big(value.type.shape or ())
                    if 0 <= big < len(dims):
                        to = dims[big]
                        if to is not None and to >= 0:
                            scores[to] += 3.0
                elif producer is not None and producer.name == "tt.load":
                    count(self.analysis.address(producer.operands[0]), dims, 1.0)
        best = last_big(shape)
        for d in reversed(range(len(shape))):
            if shape[d] > 1:
                efficient = min(shape[d], 16) / 16
                if scores[d] * efficient > scores[best] * min(shape[best], 16) / 16 + 1e-9:
                    best = d
        return best

    # --- all ----------------------------------------------------------------------------------

    def run(self) -> Schedule:
        for block in self.function.body.blocks:
            for index, arg in enumerate(block.args):
                if arg.type.is_tile and block is self.function.body.block:
                    raise CompileError(
                        f"Argument {index} of {self.function.name} is a tile; only scalars can be passed."
                    )
        for block in self.function.body.blocks:
            self.group(block)
        for steps in self.steps.values():
            steps.sort(key=lambda s: s.order)
        self.decide()
        self._reached.clear()  # the homes are what has been kept from here on
        for steps in self.steps.values():
            for step in steps:
                if isinstance(step, NestStep):
                    step.lane = self.lane(step, self.reach(step, self.homes))
                if isinstance(step, RegionStep):
                    step.bodies = [self.steps[region.block] for region in step.op.regions]
        blocks = [self.steps[block] for block in self.function.body.blocks]
        return Schedule(
            self.function, self.analysis, blocks, self.slots, self.all_slots, self.homes, self.direct
        )


def apart(load: Form, store: Form, shape: tuple[int, ...]) -> bool:
    """Is what is loaded at an index what is stored there, or nothing that is stored anywhere in the nest?"""
    if load == store:
        return True
    distance = (load.base + -store.base).number
    steps = [c.number for c in store.coefs]
    if distance is None or load.coefs != store.coefs or load.terms or store.terms or None in steps:
        return False
    return abs(distance) > sum(abs(k or 0) * (size - 1) for k, size in zip(steps, shape, strict=True))


def access_score(address: Address, dims: DimMap, d: int) -> float:
    """How good dimension d of a nest is as the lane of a memory access: 4 contiguous, 1 uniform, -6 strided."""
    if address.base is None:
        return -6.0
    coefficient = form_coefficient(address.offset, dims, d)
    if coefficient is None:
        return -6.0
    if coefficient == 0:
        return 1.0
    return 4.0 if coefficient == 1 else -6.0


def form_coefficient(form: Form, dims: DimMap, d: int) -> int | None:
    """The known coefficient of nest dimension d, None when it is not a known number or a term depends on d."""
    total = 0
    for own, to in enumerate(dims):
        if to == d:
            coefficient = form.coefs[own].number
            if coefficient is None:
                return None
            total += coefficient
    for term in form.terms:
        if any(own is not None and dims[own] == d for own in term.dims):
            return None
    return total


def schedule(function: Function) -> Schedule:
    return Scheduler(function).run()
