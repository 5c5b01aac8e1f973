"""Operations on whole tiles that lie in scratch: dot, scan, histogram, join, cat, map_elementwise."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from llvmlite import ir

from openxpu.compiler.lanes import I8, I32, I64, memory_type
from openxpu.compiler.nest import c64, emit_loop
from openxpu.compiler.schedule import Factor, NestStep, Slot, TileStep
from openxpu.compiler.tile_ir import CompileError, Op

if TYPE_CHECKING:
    from openxpu.compiler.program import Program


def emit(program: Program, step: TileStep) -> None:
    op = step.op
    if op.name == "tt.dot":
        dot(program, op)
    elif op.name == "tt.scan":
        scan(program, op)
    elif op.name == "tt.histogram":
        histogram(program, op)
    elif op.name in ("tt.join", "tt.cat"):
        join(program, op)
    elif op.name == "tt.map_elementwise":
        map_elementwise(program, step)
    else:
        raise CompileError(f"The kernel uses {op.name}, which this compiler does not have.")


def _numel(shape: tuple[int, ...]) -> int:
    n = 1
    for d in shape:
        n *= d
    return n


def dot(program: Program, op: Op) -> None:
    from openxpu.compiler.dot import DotAccumulator, DotOperand, emit_dot

    slots = program.schedule.slots
    a, b, result = op.operands[0], op.operands[1], op.result
    shape_a, shape_b = a.type.shape or (), b.type.shape or ()
    m, k, n = shape_a[-2], shape_a[-1], shape_b[-1]
    batch = _numel(shape_a[:-2])
    result_pointer = program.slot_pointer(slots[result])
    direct = program.schedule.direct

    def one(builder: ir.IRBuilder, index: Any) -> None:
        factors: list[Any] = []
        for position, value, columns, rows in ((0, a, k, m), (1, b, n, k)):
            if (op, position) in direct:
                factors.append(_direct(program, builder, direct[op, position]))
                continue
            pointer = program.slot_pointer(slots[value])
            if index is not None:
                offset = builder.mul(index, c64(rows * columns * value.type.bytes))
                pointer = builder.gep(pointer, [offset], source_etype=I8)
            factors.append(DotOperand(value.type.dtype, pointer, c64(columns), c64(1)))
        target = result_pointer
        if index is not None:
            offset = builder.mul(index, c64(m * n * result.type.bytes))
            target = builder.gep(target, [offset], source_etype=I8)
        accumulator = DotAccumulator(result.type.dtype, target)
        try:
            emit_dot(
                builder,
                program.target,
                m,
                n,
                k,
                factors[0],
                factors[1],
                accumulator,
                program.scratch_block,
                op.attrs.get("precision", "ieee"),
            )
        except ValueError as error:
            raise CompileError(f"Kernel {program.function.name}: {error}") from error

    if batch == 1:
        one(program.b, None)
        return

    def body(builder: ir.IRBuilder, index: Any, _: list[Any]) -> list[Any]:
        one(builder, index)
        return []

    emit_loop(program.b, c64(0), c64(batch), 1, [], body)


def _direct(program: Program, b: ir.IRBuilder, factor: Factor) -> Any:
    """The operand for a factor that is read from memory: strides, valid extents, a table of addresses."""
    from openxpu.compiler.dot import DotOperand
    from openxpu.compiler.nest import ZERO, Coord, Nest

    assert b is program.b
    nest = Nest(program, NestStep(0, program.function.body.block, (factor.shape[factor.table or 0],)), {})
    size, element = factor.type.bytes, memory_type(factor.type.dtype)
    base = program.scalar(factor.base)
    pointer = b.gep(base, [nest.lower(factor.form.base)], source_etype=element)
    strides = [nest.lower(c) for c in factor.form.coefs]
    valid: list[Any] = [None, None]
    for dim, value in factor.extents:
        form = program.schedule.analysis.difference(value)
        assert form is not None
        extent = nest.clamp(b, nest.lower(form.base), factor.shape[dim])
        valid[dim] = (
            extent
            if valid[dim] is None
            else program.lanes.intrinsic(b, "llvm.smin", I64, [valid[dim], extent])
        )
    tables: list[Any] = [None, None]
    if factor.table is not None:
        dim = factor.table
        rows = factor.shape[dim]
        table = program.scratch_block(rows * 8)
        zero_bytes = (
            (factor.form.coefs[1 - dim].number or 0) * factor.shape[1 - dim] * size + 64
            if factor.masks
            else 0
        )
        nest.width = min(rows, program.target.vector_bytes // 8) if rows > 1 else 0
        nest.open(nest.levels[0])

        def body(b: ir.IRBuilder, index: Any, _: list[Any]) -> list[Any]:
            depth = nest.push(b)
            at = Coord(index, depth, 0, nest.width > 0)
            total = nest.times(b, index, factor.form.coefs[dim])
            if nest.width:
                iota = nest.times(b, nest.lanes.iota(I64, nest.width), factor.form.coefs[dim])
                total = b.add(nest.lanes.splat(b, total, nest.width), iota)
            for term in factor.form.terms:
                coords = tuple(ZERO if d is None else at for d in term.dims)
                value = nest.lanes.resize(b, nest.eval(term.value, coords), "i64")
                addend = nest.lanes.splat(b, nest.times(b, value, term.coef), nest.width)
                total = b.add(total, addend)
            scaled = b.mul(total, nest.lanes.constant("i64", size, nest.width))
            address = b.add(nest.lanes.splat(b, b.ptrtoint(pointer, I64), nest.width), scaled)
            for value, dims in factor.masks:
                on = nest.eval(value, tuple(ZERO if d is None else at for d in dims))
                nothing = nest.lanes.splat(b, b.ptrtoint(program.zeros(zero_bytes), I64), nest.width)
                address = b.select(nest.lanes.splat(b, on, nest.width), address, nothing)
            b.store(address, b.gep(table, [index], source_etype=I64), align=8)
            nest.pop()
            return []

        emit_loop(nest.levels[0].b, c64(0), c64(rows), max(1, nest.width), [], body)
        tables[dim] = table
    row, column = (1, 0) if factor.swapped else (0, 1)
    return DotOperand(
        factor.type.dtype,
        pointer,
        strides[row],
        strides[column],
        valid[row],
        valid[column],
        tables[row],
        tables[column],
    )


def _element(program: Program, b: ir.IRBuilder, slot: Slot, index: Any) -> Any:
    """The address of an element by its linear index."""
    return b.gep(program.slot_pointer(slot), [index], source_etype=memory_type(slot.dtype))


def _shuffle(b: ir.IRBuilder, value: Any, order: list[int]) -> Any:
    mask = ir.Constant(ir.VectorType(I32, len(order)), [ir.Constant(I32, i) for i in order])
    return b.shuffle_vector(value, value, mask)


def scan(program: Program, op: Op) -> None:
    """Along the axis one element after another, the dimensions inside it as lanes; along the last axis a vector at a
    time: within it in log steps (Hillis and Steele, Data parallel algorithms, 1986), then onto what came before."""
    from openxpu.compiler.nest import Nest

    slots = program.schedule.slots
    shape = op.operands[0].type.shape or ()
    axis, reverse = op.attrs["axis"], op.attrs["reverse"]
    size = shape[axis]
    inner = _numel(shape[axis + 1 :])
    outer = _numel(shape[:axis])
    width = min(inner, 16) if inner > 1 else min(size, 16) if size >= 4 else 0
    helper = Nest(program, NestStep(op.order, op.block, ()), {})  # type: ignore[arg-type]
    helper.width = width

    def at(b: ir.IRBuilder, o: Any, i: Any, position: Any) -> Any:
        if reverse:
            position = b.sub(c64(size - 1), position)
        return b.add(b.mul(b.add(b.mul(o, c64(size)), position), c64(inner)), i)

    def load(b: ir.IRBuilder, index: Any) -> list[Any]:
        out = []
        for operand in op.operands:
            slot = slots[operand]
            pointer = _element(program, b, slot, index)
            out.append(helper.read(b, slot.dtype, pointer, None, 1 if width else 0, None, None))
        return out

    def store(b: ir.IRBuilder, index: Any, values: list[Any]) -> None:
        for result, value in zip(op.results, values, strict=True):
            slot = slots[result]
            helper.write(
                b,
                slot.dtype,
                _element(program, b, slot, index),
                None,
                1 if width else 0,
                None,
                value,
            )

    def along(b: ir.IRBuilder, o: Any, i: Any) -> None:
        first = load(b, at(b, o, i, c64(0)))
        store(b, at(b, o, i, c64(0)), first)

        def body(b: ir.IRBuilder, position: Any, carried: list[Any]) -> list[Any]:
            index = at(b, o, i, position)
            values = helper.combine(b, op, carried, load(b, index))
            store(b, index, values)
            return values

        emit_loop(b, c64(1), c64(size), 1, first, body)

    def within(b: ir.IRBuilder, values: list[Any]) -> list[Any]:
        step = 1
        while step < width:
            moved = [_shuffle(b, v, [max(i - step, 0) for i in range(width)]) for v in values]
            joined = helper.combine(b, op, moved, values)
            later = ir.Constant(ir.VectorType(ir.IntType(1), width), [i >= step for i in range(width)])
            values = [b.select(later, new, old) for new, old in zip(joined, values, strict=True)]
            step *= 2
        return values

    def vectors(b: ir.IRBuilder, o: Any) -> None:
        backward = list(reversed(range(width)))

        def load_vector(b: ir.IRBuilder, position: Any) -> tuple[Any, list[Any]]:
            start = b.sub(c64(size - width), position) if reverse else position
            index = b.add(b.mul(o, c64(size)), start)
            values = load(b, index)
            return index, [_shuffle(b, v, backward) for v in values] if reverse else values

        def store_vector(b: ir.IRBuilder, index: Any, values: list[Any]) -> None:
            store(b, index, [_shuffle(b, v, backward) for v in values] if reverse else values)

        def last(b: ir.IRBuilder, values: list[Any]) -> list[Any]:
            return [_shuffle(b, v, [width - 1] * width) for v in values]

        index, values = load_vector(b, c64(0))
        values = within(b, values)
        store_vector(b, index, values)

        def body(b: ir.IRBuilder, position: Any, carried: list[Any]) -> list[Any]:
            index, values = load_vector(b, position)
            values = helper.combine(b, op, carried, within(b, values))
            store_vector(b, index, values)
            return last(b, values)

        emit_loop(b, c64(width), c64(size), width, last(b, values), body)

    def outer_body(b: ir.IRBuilder, o: Any, _: list[Any]) -> list[Any]:
        if inner == 1 and width:
            vectors(b, o)
            return []

        def inner_body(b: ir.IRBuilder, i: Any, _: list[Any]) -> list[Any]:
            along(b, o, i)
            return []

        emit_loop(b, c64(0), c64(inner), max(1, width), [], inner_body)
        return []

    emit_loop(program.b, c64(0), c64(outer), 1, [], outer_body)


def histogram(program: Program, op: Op) -> None:
    """Counts of the values 0 .. bins-1; values outside are not counted."""
    slots = program.schedule.slots
    source, target = slots[op.operands[0]], slots[op.result]
    mask = slots[op.operands[1]] if len(op.operands) > 1 else None
    bins = target.shape[0]
    count = memory_type(target.dtype)

    def clear(b: ir.IRBuilder, i: Any, _: list[Any]) -> list[Any]:
        b.store(ir.Constant(count, 0), _element(program, b, target, i))
        return []

    emit_loop(program.b, c64(0), c64(bins), 1, [], clear)
    bits = memory_type(source.dtype)

    def body(b: ir.IRBuilder, i: Any, _: list[Any]) -> list[Any]:
        value = b.load(_element(program, b, source, i), typ=bits)
        value = b.zext(value, I64) if bits.width < 64 else value
        good = b.icmp_unsigned("<", value, c64(bins))
        if mask is not None:
            on = b.load(_element(program, b, mask, i), typ=I8)
            good = b.and_(good, b.icmp_unsigned("!=", on, ir.Constant(I8, 0)))
        pointer = _element(program, b, target, b.select(good, value, c64(0)))
        old = b.load(pointer, typ=count)
        b.store(b.add(old, b.zext(good, count)), pointer)
        return []

    emit_loop(program.b, c64(0), c64(_numel(source.shape)), 1, [], body)


def map_elementwise(program: Program, step: TileStep) -> None:
    """The mapped function as scalar code, for `pack` neighbours at a time; only the side of a branch that is taken runs."""
    from openxpu.compiler.nest import Nest

    op, slots = step.op, program.schedule.slots
    pack, block = op.attrs["pack"], op.regions[0].block
    helper = Nest(program, NestStep(op.order, step.block, ()), {})

    def body(b: ir.IRBuilder, i: Any, _: list[Any]) -> list[Any]:
        places = [b.add(i, c64(k)) if k else i for k in range(pack)]
        for at, arg in enumerate(block.args):
            slot = slots[op.operands[at // pack]]
            pointer = _element(program, b, slot, places[at % pack])
            program.scalars[arg] = helper.read(b, slot.dtype, pointer, None, 0, None, None)
        end = program.run(step.body)
        for at, value in enumerate(end.operands):
            slot = slots[op.results[at // pack]]
            pointer = _element(program, b, slot, places[at % pack])
            helper.write(b, slot.dtype, pointer, None, 0, None, program.scalar(value))
        return []

    emit_loop(program.b, c64(0), c64(op.result.type.numel), pack, [], body)


def join(program: Program, op: Op) -> None:
    """join: a new last dimension of two, interleaved; cat: one after the other."""
    slots = program.schedule.slots
    target = slots[op.result]
    element = memory_type(target.dtype)
    n = _numel(slots[op.operands[0]].shape)
    for position, operand in enumerate(op.operands):
        source = slots[operand]

        def body(
            b: ir.IRBuilder,
            i: Any,
            _: list[Any],
            source: Slot = source,
            position: int = position,
        ) -> list[Any]:
            value = b.load(_element(program, b, source, i), typ=element)
            if op.name == "tt.join":
                index = b.add(b.shl(i, c64(1)), c64(position))
            else:
                index = b.add(i, c64(position * n))
            b.store(value, _element(program, b, target, index))
            return []

        emit_loop(program.b, c64(0), c64(n), 1, [], body)


__all__ = ["I32", "emit"]
