"""Rewrites of the tile IR before scheduling: pointers and indices that a loop moves become scalar inductions."""

from __future__ import annotations

from openxpu.compiler.tile_ir import (
    Block,
    Function,
    Op,
    Region,
    Type,
    Value,
    make_op,
    replace_uses,
    walk,
)


def _delta(value: Value, start: Value) -> list[Value] | None:
    """value = start + d1 + d2 + ..., each d a uniform tile: the list of d, else None."""
    deltas: list[Value] = []
    while value is not start:
        op = value.op
        if op is None or op.name not in ("tt.addptr", "arith.addi"):
            return None
        left, right = op.operands
        if op.name == "arith.addi" and uniform_source(left) is not None and uniform_source(right) is None:
            left, right = right, left
        if uniform_source(right) is None:
            return None
        deltas.append(right)
        value = left
    return deltas


def uniform_source(value: Value) -> Value | None:
    """The scalar (or the constant tile) that every element of a tile equals, else None."""
    op = value.op
    if op is None or not value.type.is_tile:
        return None
    if op.name == "tt.splat":
        return op.operands[0]
    if op.name == "arith.constant":
        return value
    if op.name in ("tt.broadcast", "tt.expand_dims", "tt.reshape", "tt.trans"):
        return uniform_source(op.operands[0])
    return None


def _scalar(value: Value, type: Type, out: list[Op]) -> Value:
    source = uniform_source(value)
    assert source is not None
    if source.type.is_tile:
        op = make_op("arith.constant", [], [type], value=source.constant)
        out.append(op)
        return op.result
    if source.type.bits < type.bits:
        op = make_op("arith.extsi", [source], [type])
        out.append(op)
        return op.result
    return source


def scalar_inductions(function: Function) -> None:
    """Replace `tile = tile + uniform` carried by a loop with `start + splat(scalar)`, the scalar carried instead."""
    for op in list(walk(function.body)):
        if op.name != "scf.for":
            continue
        body = op.regions[0].block
        container = _container(function, op)
        for position in reversed(range(len(op.results))):
            carried = body.args[position + 1]
            type = carried.type
            if not type.is_tile or not (type.is_pointer or type.dtype in ("i32", "i64")):
                continue
            yielded = body.terminator.operands[position]
            deltas = _delta(yielded, carried)
            if deltas is None:
                continue
            _rewrite(function, op, container, position, deltas)


def _container(function: Function, op: Op) -> Block:
    def search(region: Region) -> Block | None:
        for block in region.blocks:
            for other in block.ops:
                if other is op:
                    return block
                for inner in other.regions:
                    if (found := search(inner)) is not None:
                        return found
        return None

    found = search(function.body)
    assert found is not None
    return found


def _rewrite(function: Function, loop: Op, container: Block, position: int, deltas: list[Value]) -> None:
    body = loop.regions[0].block
    carried, start, result = (
        body.args[position + 1],
        loop.operands[position + 3],
        loop.results[position],
    )
    tile = carried.type
    scalar = Type("i64") if tile.is_pointer else Type(tile.dtype)
    index = Type(scalar.dtype, tile.shape)
    combine = "tt.addptr" if tile.is_pointer else "arith.addi"

    before = make_op("arith.constant", [], [scalar], value=0)
    container.ops.insert(container.ops.index(loop), before)
    loop.operands[position + 3] = before.result

    induction = Value(scalar, None, body, position + 1, carried.name + "_step")
    body.args[position + 1] = induction
    splat = make_op("tt.splat", [induction], [index])
    moved = make_op(combine, [start, splat.result], [tile])
    body.ops[:0] = [splat, moved]
    for region in loop.regions:
        replace_uses(region, carried, moved.result)
    moved.operands[0] = start

    tail: list[Op] = []
    total = induction
    for delta in reversed(deltas):
        step = _scalar(delta, scalar, tail)
        add = make_op("arith.addi", [total, step], [scalar])
        tail.append(add)
        total = add.result
    terminator = body.terminator
    body.ops[-1:] = [*tail, terminator]
    terminator.operands[position] = total

    final = Value(scalar, loop, None, position, result.name + "_step")
    after_splat = make_op("tt.splat", [final], [index])
    after = make_op(combine, [start, after_splat.result], [tile])
    replace_uses(function.body, result, after.result)
    loop.results[position] = final
    at = container.ops.index(loop) + 1
    container.ops[at:at] = [after_splat, after]


def remove_dead(function: Function) -> None:
    """Drop pure operations whose results nobody uses."""
    keep = {
        "tt.store",
        "tt.atomic_rmw",
        "tt.atomic_cas",
        "tt.assert",
        "tt.print",
        "tt.call",
        "tt.return",
    }
    keep |= {
        "scf.for",
        "scf.if",
        "scf.while",
        "scf.yield",
        "scf.condition",
        "cf.br",
        "cf.cond_br",
    }
    keep |= {"tt.reduce.return", "tt.scan.return", "tt.map_elementwise.return", "tt.atomic_poll"}
    while True:
        used: set[Value] = set()
        for op in walk(function.body):
            used.update(op.operands)
        changed = False

        def sweep(region, changed: bool) -> bool:  # type: ignore[no-untyped-def]
            for block in region.blocks:
                kept = []
                for op in block.ops:
                    if op.name in keep or any(r in used for r in op.results):  # noqa: B023
                        kept.append(op)
                    else:
                        changed = True
                    for inner in op.regions:
                        changed = sweep(inner, changed)
                block.ops = kept
            return changed

        if not sweep(function.body, changed):
            return
