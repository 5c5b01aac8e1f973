"""From a schedule to an LLVM module: the entry point, control flow, scalars, and operations on whole tiles."""

from __future__ import annotations

from typing import Any

from llvmlite import ir

from openxpu.compiler import printing
from openxpu.compiler.affine import identity
from openxpu.compiler.lanes import (
    I8,
    I32,
    I64,
    POINTER,
    SMALL,
    Lanes,
    memory_type,
    register_type,
)
from openxpu.compiler.nest import ZERO, Coord, Nest, c64, emit_loop
from openxpu.compiler.schedule import (
    CopyStep,
    EndStep,
    NestStep,
    RegionStep,
    ScalarStep,
    Schedule,
    Scheduler,
    Slot,
    Step,
    TileStep,
)
from openxpu.compiler.target import Target
from openxpu.compiler.tile_ir import Block, CompileError, Function, Op, Type, Value

ENTRY = "openxpu_entry"
_ATOMIC = {
    "add": "add", "fadd": "fadd", "and": "and", "or": "or", "xor": "xor", "exch": "xchg",
    "max": "max", "min": "min", "umax": "umax", "umin": "umin",
}  # fmt: skip


class Program:
    """The code of one kernel for one target."""

    def __init__(self, function: Function, target: Target) -> None:
        self.function = function
        self.target = target
        self.module = ir.Module(name=function.name)
        self.module.triple = target.triple
        self.lanes = Lanes(self.module, target)
        scheduler = Scheduler(function)
        self.schedule: Schedule = scheduler.run()
        self.scheduler = scheduler
        self.scalars: dict[Value, Any] = {}
        self.ready: set[Value] = set()
        self.messages: list[str] = []
        self.vectors: dict[
            Step, tuple[int, int]
        ] = {}  # of nests: lanes of a vector (0: scalar), vectors a turn
        self.scratch_bytes = 0
        self.b: ir.IRBuilder = ir.IRBuilder()
        self._zeros: Any = None
        self.streams = (
            False  # whether there are stores past the cache, which other threads see after a fence only
        )
        for slot in self.schedule.all_slots:
            self.place_slot(slot)

    # --- scratch ------------------------------------------------------------------------------

    def place_slot(self, slot: Slot) -> None:
        if slot.offset < 0:
            slot.offset = self.reserve(slot.nbytes)

    def reserve(self, nbytes: int) -> int:
        offset = self.scratch_bytes
        # A full vector may be read past the end of a tile that is narrower than one.
        self.scratch_bytes += (nbytes + 63) // 64 * 64
        return offset

    def slot_pointer(self, slot: Slot) -> Any:
        self.place_slot(slot)
        return self.first.gep(self.scratch, [c64(slot.offset)], source_etype=I8)

    def scratch_block(self, nbytes: int) -> Any:
        """A private block for the dot micro-kernels, 64-byte aligned."""
        return self.first.gep(self.scratch, [c64(self.reserve(nbytes))], source_etype=I8)

    def zeros(self, nbytes: int = 64) -> Any:
        """Readable zeros: where an address that a mask switches off points instead."""
        have = self._zeros.value_type.count if self._zeros is not None else 0
        if have < nbytes:
            kind = ir.ArrayType(I8, (nbytes + 63) // 64 * 64)
            self._zeros = ir.GlobalVariable(self.module, kind, f"openxpu_zeros_{nbytes}")
            self._zeros.linkage = "internal"
            self._zeros.global_constant = True
            self._zeros.align = 64
            self._zeros.initializer = ir.Constant(kind, None)
        return self._zeros

    # --- the entry point ------------------------------------------------------------------------

    def emit(self) -> ir.Module:
        self.emit_body()
        self.emit_entry()
        return self.module

    def emit_body(self) -> None:
        args = self.function.args
        types = [register_type(a.type.dtype) for a in args]
        kind = ir.FunctionType(I32, [*types, *[I32] * 6, POINTER])
        self.body = ir.Function(self.module, kind, "body")
        self.body.linkage = "internal"
        self.body.attributes.add("alwaysinline")
        for value, parameter in zip(args, self.body.args, strict=False):
            self.scalars[value] = parameter
        n = len(args)
        self.program_ids = self.body.args[n : n + 3]
        self.num_programs = self.body.args[n + 3 : n + 6]
        self.scratch = self.body.args[n + 6]
        self.scratch.add_attribute("noalias")
        entry = self.body.append_basic_block("entry")
        start = self.body.append_basic_block("start")
        # Addresses in scratch are computed in the entry block, which dominates everything.
        self.first = ir.IRBuilder(entry)
        branch = self.first.branch(start)
        self.first.position_before(branch)
        self.b = ir.IRBuilder(start)
        self.blocks: dict[Block, Any] = {}
        blocks = self.function.body.blocks
        for i, block in enumerate(blocks):
            self.blocks[block] = start if i == 0 else self.body.append_basic_block(f"block{i}")
        for i, block in enumerate(blocks):
            self.b.position_at_end(self.blocks[block])
            if i:
                for arg in block.args:
                    if not arg.type.is_tile:
                        self.scalars[arg] = self.b.phi(register_type(arg.type.dtype))
        for block, steps in zip(blocks, self.schedule.blocks, strict=True):
            self.b.position_at_end(self.blocks[block])
            self.finish_block(self.run(steps))

    def finish_block(self, op: Op) -> None:
        """The terminator of a block of the function."""
        if op.name == "tt.return":
            self.b.ret(ir.Constant(I32, 0))
            return
        targets, counts = op.attrs["blocks"], op.attrs["counts"]
        at = 0 if op.name == "cf.br" else 1
        for target, count in zip(targets, counts, strict=True):
            for value, arg in zip(op.operands[at : at + count], target.args, strict=True):
                if not arg.type.is_tile:
                    self.scalars[arg].add_incoming(self.scalar(value), self.b.block)
            at += count
        if op.name == "cf.br":
            self.b.branch(self.blocks[targets[0]])
        else:
            self.b.cbranch(
                self.scalar(op.operands[0]),
                self.blocks[targets[0]],
                self.blocks[targets[1]],
            )

    def emit_entry(self) -> None:
        """int32 entry(const u64 *args, const u32 grid[3], u64 begin, u64 end, void *scratch): architecture.md, contract 1."""
        kind = ir.FunctionType(I32, [POINTER, POINTER, I64, I64, POINTER])
        entry = ir.Function(self.module, kind, ENTRY)
        arguments, grid, begin, end, scratch = entry.args
        scratch.add_attribute("noalias")
        scratch.attributes.align = 64
        b = ir.IRBuilder(entry.append_basic_block("entry"))
        values = []
        for i, arg in enumerate(self.function.args):
            place = b.gep(arguments, [c64(i)], source_etype=I64)
            if arg.type.is_pointer:
                values.append(b.load(place, typ=POINTER, align=8))
            elif arg.type.dtype == "i1":
                values.append(b.trunc(b.load(place, typ=I8, align=8), ir.IntType(1)))
            else:
                values.append(b.load(place, typ=register_type(arg.type.dtype), align=8))
        sizes = [b.load(b.gep(grid, [c64(i)], source_etype=I32), typ=I32, align=4) for i in range(3)]
        gx, gy = (b.zext(s, I64) for s in sizes[:2])
        rest = b.udiv(begin, gx)
        x0 = b.sub(begin, b.mul(rest, gx))
        z0 = b.udiv(rest, gy)
        y0 = b.sub(rest, b.mul(z0, gy))
        failed = entry.append_basic_block("failed")

        def body(b: ir.IRBuilder, _: Any, carried: list[Any]) -> list[Any]:
            x, y, z = carried
            ids = [b.trunc(v, I32) for v in (x, y, z)]
            code = b.call(self.body, [*values, *ids, *sizes, scratch])
            if self.messages:
                go_on = entry.append_basic_block("go_on")
                b.cbranch(b.icmp_signed("==", code, ir.Constant(I32, 0)), go_on, failed)
                codes.append((code, b.block))
                b.position_at_end(go_on)
            x1 = b.add(x, c64(1))
            wrap_x = b.icmp_unsigned("==", x1, gx)
            y1 = b.select(wrap_x, b.add(y, c64(1)), y)
            wrap_y = b.icmp_unsigned("==", y1, gy)
            z1 = b.select(wrap_y, b.add(z, c64(1)), z)
            return [b.select(wrap_x, c64(0), x1), b.select(wrap_y, c64(0), y1), z1]

        codes: list[tuple[Any, Any]] = []
        emit_loop(b, begin, end, 1, [x0, y0, z0], body)
        if self.streams and self.target.triple.startswith("x86_64"):
            fence = ir.FunctionType(ir.VoidType(), [])
            b.call(ir.Function(self.module, fence, "llvm.x86.sse.sfence"), [])
        b.ret(ir.Constant(I32, 0))
        b.position_at_end(failed)
        if codes:
            phi = b.phi(I32)
            for code, block in codes:
                phi.add_incoming(code, block)
            b.ret(phi)
        else:
            b.unreachable()

    # --- steps ------------------------------------------------------------------------------------

    def run(self, steps: list[Step]) -> Op:
        """Emit the steps of a block; returns its terminator."""
        for step in steps:
            if isinstance(step, ScalarStep):
                self.scalar_step(step)
            elif isinstance(step, NestStep):
                nest = Nest(self, step, self.scheduler.reach(step, self.schedule.homes))
                self.vectors[step] = (nest.width, nest.unroll)
                nest.emit()
                for keep in step.keeps:
                    if self.schedule.slots.get(keep.value) is keep.slot:
                        self.ready.add(keep.value)
            elif isinstance(step, TileStep):
                self.tile_step(step)
            elif isinstance(step, RegionStep):
                {
                    "scf.for": self.emit_for,
                    "scf.if": self.emit_if,
                    "scf.while": self.emit_while,
                }[step.op.name](step)
            elif isinstance(step, CopyStep):
                self.copy(step.source, step.target)
            elif isinstance(step, EndStep):
                return step.op
        raise CompileError(f"A block of kernel {self.function.name} has no terminator.")

    def scalar(self, value: Value) -> Any:
        op = value.op
        if op is not None and op.name == "arith.constant":
            return self.lanes.constant(value.type.dtype, op.attrs["value"])
        found = self.scalars.get(value)
        if found is None:
            raise CompileError(
                f"Kernel {self.function.name}: {value!r} ({op!r}) was needed before it was computed."
            )
        return found

    def scalar_step(self, step: ScalarStep) -> None:
        op, b = step.op, self.b
        name = op.name
        if name in {"arith.constant", "llvm.intr.assume"} or name.endswith(".barrier"):
            return
        if name == "tt.get_program_id":
            self.scalars[op.result] = self.program_ids[op.attrs["axis"]]
        elif name == "tt.get_num_programs":
            self.scalars[op.result] = self.num_programs[op.attrs["axis"]]
        elif name in ("tt.load", "tt.store", "tt.atomic_rmw", "tt.atomic_cas"):
            self.scalar_memory(op)
        elif name == "tt.atomic_poll":
            self.poll(op)
        elif name == "tt.assert":
            self.fail_unless(b, self.scalar(op.operands[0]), op)
        elif name == "tt.unsplat":
            shape = op.operands[0].type.shape or ()
            nest_step = NestStep(step.order, step.block, shape)
            nest = Nest(self, nest_step, {})
            self.scalars[op.result] = nest.eval(op.operands[0], tuple(ZERO for _ in shape))
        elif name == "tt.print":
            printing.emit(self, b, op, [self.scalar(o) for o in op.operands], [])
        else:
            self.scalars[op.result] = self.lanes.apply(b, op, [self.scalar(o) for o in op.operands])

    def scalar_memory(self, op: Op) -> None:
        b = self.b
        pointer = self.scalar(op.operands[0])
        pointee = op.operands[0].type.pointee
        assert pointee is not None
        element = memory_type(pointee.dtype)
        helper = Nest(self, NestStep(op.order, op.block or Block(), ()), {})
        helper.width = 0
        if op.name == "tt.load":
            mask = self.scalar(op.operands[1]) if len(op.operands) > 1 else None
            other: Any = None
            if mask is not None:
                zero = self.lanes.constant("i64" if pointee.is_pointer else pointee.dtype, 0)
                other = self.scalar(op.operands[2]) if len(op.operands) > 2 else zero
            value = helper.read(b, pointee.dtype, pointer, None, 0, mask, other)
            if pointee.is_pointer:
                value = b.inttoptr(value, POINTER)
            self.scalars[op.result] = value
        elif op.name == "tt.store":
            mask = self.scalar(op.operands[2]) if len(op.operands) > 2 else None
            helper.write(b, pointee.dtype, pointer, None, 0, mask, self.scalar(op.operands[1]))
        else:
            count = 3 if op.name == "tt.atomic_cas" else 2
            mask = (
                self.scalar(op.operands[2]) if op.name == "tt.atomic_rmw" and len(op.operands) > 2 else None
            )
            values = [self.scalar(o) for o in op.operands[1:count]]
            self.scalars[op.result] = self.atomic(b, op, pointer, values, mask)
        del element

    def atomic(self, b: ir.IRBuilder, op: Op, pointer: Any, values: list[Any], mask: Any) -> Any:
        """One atomic operation; with a mask it happens only where the mask is on, and gives 0 elsewhere."""
        type = op.operands[0].type.pointee
        assert type is not None
        before = b.block
        if mask is not None:
            inside, after = (
                b.append_basic_block("atomic"),
                b.append_basic_block("after_atomic"),
            )
            b.cbranch(mask, inside, after)
            b.position_at_end(inside)
        old = self.unmasked_atomic(b, op, type, pointer, values)
        if mask is not None:
            end = b.block
            b.branch(after)
            b.position_at_end(after)
            phi = b.phi(old.type)
            phi.add_incoming(old, end)
            phi.add_incoming(ir.Constant(old.type, 0), before)
            old = phi
        return old

    def unmasked_atomic(self, b: ir.IRBuilder, op: Op, type: Type, pointer: Any, values: list[Any]) -> Any:
        """Every memory order is at least as strong as asked: acquire and release."""
        register = register_type(type.dtype)
        bits = ir.IntType(max(8, type.bits))

        def raw(value: Any) -> Any:
            return value if value.type == bits else b.bitcast(value, bits)

        def cooked(value: Any) -> Any:
            return value if value.type == register else b.bitcast(value, register)

        if op.name == "tt.atomic_cas":
            exchanged = b.cmpxchg(pointer, raw(values[0]), raw(values[1]), "acq_rel", "acquire")
            return cooked(b.extract_value(exchanged, 0))
        kind = _ATOMIC.get(op.attrs["kind"])
        if op.attrs["kind"] == "load":
            return cooked(b.load_atomic(pointer, "acquire", align=bits.width // 8, typ=bits))
        if kind is None:
            raise CompileError(f"The atomic operation {op.attrs['kind']} is not supported on this card.")
        if kind == "xchg" or (type.is_float and kind in ("and", "or", "xor")):
            return cooked(b.atomic_rmw(kind, pointer, raw(values[0]), "acq_rel"))
        if type.dtype in SMALL:
            return cooked(self.small_atomic(b, kind, type, pointer, values[0], bits))
        if kind in ("max", "min") and type.is_float:
            kind = "f" + kind
        return b.atomic_rmw(kind, pointer, values[0], "acq_rel")

    def small_atomic(
        self, b: ir.IRBuilder, kind: str, type: Type, pointer: Any, value: Any, bits: Any
    ) -> Any:
        """An addition in f32 and a compare-and-swap, until nobody came between. Gives the old bits."""
        if kind != "fadd":
            raise CompileError(
                f"Kernel {self.function.name} uses an atomic {kind} on {type}; use f32, f64, i32 or i64."
            )
        register = register_type(type.dtype)
        addend = self.lanes.to_f32(b, value, type.dtype)
        first = b.load_atomic(pointer, "monotonic", align=bits.width // 8, typ=bits)
        before = b.block
        again, done = b.append_basic_block("again"), b.append_basic_block("added")
        b.branch(again)
        b.position_at_end(again)
        old = b.phi(bits)
        old.add_incoming(first, before)
        known = old if register == bits else b.bitcast(old, register)
        total = self.lanes.from_f32(b, b.fadd(self.lanes.to_f32(b, known, type.dtype), addend), type.dtype)
        new = total if register == bits else b.bitcast(total, bits)
        exchanged = b.cmpxchg(pointer, old, new, "acq_rel", "acquire")
        old.add_incoming(b.extract_value(exchanged, 0), b.block)
        b.cbranch(b.extract_value(exchanged, 1), done, again)
        b.position_at_end(done)
        return old

    def poll(self, op: Op) -> None:
        """Wait until a word has a value. With a time limit, give up after about as many turns of 16 ns; the result says."""
        b = self.b
        pointer, expected = self.scalar(op.operands[0]), self.scalar(op.operands[1])
        limit = self.lanes.resize(b, self.scalar(op.operands[2]), "i64") if len(op.operands) > 2 else None
        before = b.block
        again, wait, done = (b.append_basic_block(n) for n in ("poll", "wait", "polled"))
        b.branch(again)
        b.position_at_end(again)
        turn = b.phi(I64)
        turn.add_incoming(c64(0), before)
        found = b.load_atomic(pointer, "acquire", align=expected.type.width // 8, typ=expected.type)
        equal = b.icmp_signed("==", found, expected)
        over: Any = equal
        if limit is not None:
            over = b.or_(equal, b.icmp_signed(">=", b.shl(turn, c64(4)), limit))
        b.cbranch(over, done, wait)
        b.position_at_end(wait)
        if self.target.architecture == "aarch64":
            self.lanes.intrinsic(b, "!llvm.aarch64.hint", ir.VoidType(), [ir.Constant(I32, 1)])  # yield
        else:
            self.lanes.intrinsic(b, "!llvm.x86.sse2.pause", ir.VoidType(), [])
        turn.add_incoming(b.add(turn, c64(1)), b.block)
        b.branch(again)
        b.position_at_end(done)
        self.scalars[op.result] = equal

    def fail_unless(self, b: ir.IRBuilder, held: Any, op: Op) -> None:
        """Return the number of the assertion when it does not hold."""
        text = (op.attrs.get("strings") or ["assertion failed"])[0]
        if text not in self.messages:
            self.messages.append(text)
        number = self.messages.index(text) + 1
        failed, good = b.append_basic_block("assert"), b.append_basic_block("held")
        b.cbranch(held, good, failed)
        b.position_at_end(failed)
        b.ret(ir.Constant(I32, number))
        b.position_at_end(good)

    def copy(self, source: Slot, target: Slot) -> None:
        self.memory_copy(self.b, self.slot_pointer(target), self.slot_pointer(source), source.nbytes)

    def memory_copy(self, b: ir.IRBuilder, target: Any, source: Any, nbytes: int) -> None:
        """Copy within scratch, a vector at a time (both ends are padded to whole 64-byte lines)."""
        wide = ir.VectorType(I8, 64)

        def body(b: ir.IRBuilder, index: Any, _: list[Any]) -> list[Any]:
            value = b.load(b.gep(source, [index], source_etype=I8), typ=wide, align=64)
            b.store(value, b.gep(target, [index], source_etype=I8), align=64)
            return []

        emit_loop(b, c64(0), c64((nbytes + 63) // 64 * 64), 64, [], body)

    # --- control flow ---------------------------------------------------------------------------------

    def emit_for(self, step: RegionStep) -> None:
        op, b = step.op, self.b
        body = op.regions[0].block
        lower, upper, stride = (self.scalar(o) for o in op.operands[:3])
        carried = [(a, r, s) for a, r, s in zip(body.args[1:], op.results, op.operands[3:], strict=True)]
        scalars = [(a, r, self.scalar(s)) for a, r, s in carried if not a.type.is_tile]
        before = b.block
        head, inside, after = (b.append_basic_block(n) for n in ("for", "do", "done"))
        b.branch(head)
        b.position_at_end(head)
        index = b.phi(lower.type)
        index.add_incoming(lower, before)
        phis = []
        for arg, result, start in scalars:
            phi = b.phi(start.type)
            phi.add_incoming(start, before)
            self.scalars[arg] = phi
            self.scalars[result] = phi
            phis.append(phi)
        self.scalars[body.args[0]] = index
        compare = b.icmp_unsigned if op.attrs.get("unsigned") else b.icmp_signed
        b.cbranch(compare("<", index, upper), inside, after)
        b.position_at_end(inside)
        terminator = self.run(step.bodies[0])
        b = self.b
        yields = [v for v in terminator.operands if not v.type.is_tile]
        values = [self.scalar(v) for v in yields]
        end = b.block
        for phi, value in zip(phis, values, strict=True):
            phi.add_incoming(value, end)
        index.add_incoming(
            b.add(index, stride, flags=() if op.attrs.get("unsigned") else ("nsw",)),
            end,
        )
        b.branch(head)
        b.position_at_end(after)

    def emit_if(self, step: RegionStep) -> None:
        op, b = step.op, self.b
        then, other, after = (b.append_basic_block(n) for n in ("then", "else", "endif"))
        b.cbranch(self.scalar(op.operands[0]), then, other)
        incoming = []
        for block, body in zip((then, other), step.bodies, strict=True):
            self.b.position_at_end(block)
            terminator = self.run(body)
            values = [self.scalar(v) for v in terminator.operands if not v.type.is_tile]
            incoming.append((values, self.b.block))
            self.b.branch(after)
        self.b.position_at_end(after)
        scalars = [r for r in op.results if not r.type.is_tile]
        for i, result in enumerate(scalars):
            phi = self.b.phi(register_type(result.type.dtype))
            for values, block in incoming:
                phi.add_incoming(values[i], block)
            self.scalars[result] = phi

    def emit_while(self, step: RegionStep) -> None:
        op, b = step.op, self.b
        before, after_block = op.regions[0].block, op.regions[1].block
        start = b.block
        head, inside, done = (b.append_basic_block(n) for n in ("while", "do", "done"))
        starts = [self.scalar(o) for o in op.operands if not o.type.is_tile]
        b.branch(head)
        b.position_at_end(head)
        phis = []
        for arg, value in zip((a for a in before.args if not a.type.is_tile), starts, strict=True):
            phi = b.phi(value.type)
            phi.add_incoming(value, start)
            self.scalars[arg] = phi
            phis.append(phi)
        condition = self.run(step.bodies[0])
        forwarded = [v for v in condition.operands[1:] if not v.type.is_tile]
        values = [self.scalar(v) for v in forwarded]
        for arg, value in zip((a for a in after_block.args if not a.type.is_tile), values, strict=True):
            self.scalars[arg] = value
        for result, value in zip((r for r in op.results if not r.type.is_tile), values, strict=True):
            self.scalars[result] = value
        self.b.cbranch(self.scalar(condition.operands[0]), inside, done)
        self.b.position_at_end(inside)
        terminator = self.run(step.bodies[1])
        results = [self.scalar(v) for v in terminator.operands if not v.type.is_tile]
        for phi, value in zip(phis, results, strict=True):
            phi.add_incoming(value, self.b.block)
        self.b.branch(head)
        self.b.position_at_end(done)

    # --- whole tiles ------------------------------------------------------------------------------------

    def tile_step(self, step: TileStep) -> None:
        from openxpu.compiler import whole

        whole.emit(self, step)


__all__ = ["ENTRY", "I64", "Coord", "Program", "identity"]
