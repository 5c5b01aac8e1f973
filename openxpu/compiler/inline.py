"""Calls and early returns: what Triton's inliner leaves becomes straight code with structured branches.

Triton cannot inline a function that returns early into a loop, and a function mapped over elements may return early as
well. Their blocks have no cycles (loops are structured), so a branch becomes an `if` whose sides run to the end.
"""

from __future__ import annotations

from openxpu.compiler.tile_ir import Block, CompileError, Function, Module, Op, Region, Type, Value, walk

_DEEPEST = 200  # early returns on one path
_RETURNS = ("tt.return", "tt.map_elementwise.return", "tt.reduce.return", "tt.scan.return")


def clone(op: Op, values: dict[Value, Value]) -> Op:
    """A copy of an operation with its regions; values maps what it uses, and learns what it defines."""
    copy = Op(op.name, [values.get(o, o) for o in op.operands], [], dict(op.attrs))
    for i, result in enumerate(op.results):
        copy.results.append(Value(result.type, copy, None, i, result.name))
        values[result] = copy.results[-1]
    for region in op.regions:
        inner = Region(copy)
        for block in region.blocks:
            made = Block(inner)
            for arg in block.args:
                values[arg] = made.add_arg(arg.type, arg.name)
            made.ops = [clone(o, values) for o in block.ops]
            inner.blocks.append(made)
        copy.regions.append(inner)
    return copy


def straighten(
    block: Block, values: dict[Value, Value], types: list[Type], out: Block, depth: int = 0
) -> list[Value]:
    """Append a copy of a block, and of all that follows it, to `out`; gives the values that are returned."""
    if depth > _DEEPEST:
        raise CompileError(
            "A function has a loop of unstructured branches, which this compiler does not know."
        )
    out.ops.extend(clone(op, values) for op in block.ops[:-1])
    last = block.terminator
    if last.name in _RETURNS:
        return [values.get(o, o) for o in last.operands]
    ends: list[tuple[Block, dict[Value, Value]]] = []
    at = 0 if last.name == "cf.br" else 1
    for target, count in zip(last.attrs["blocks"], last.attrs["counts"], strict=True):
        passed = [values.get(o, o) for o in last.operands[at : at + count]]
        ends.append((target, {**values, **dict(zip(target.args, passed, strict=True))}))
        at += count
    if len(ends) == 1:
        return straighten(*ends[0], types, out, depth + 1)
    branch = Op("scf.if", [values.get(last.operands[0], last.operands[0])])
    for target, known in ends:
        region = Region(branch)
        side = Block(region)
        region.blocks.append(side)
        branch.regions.append(region)
        side.ops.append(Op("scf.yield", straighten(target, known, types, side, depth + 1)))
    branch.results = [Value(t, branch, None, i) for i, t in enumerate(types)]
    out.ops.append(branch)
    return branch.results


def structure_regions(function: Function) -> None:
    """Regions of mapped functions with several blocks become one block each."""
    for op in list(walk(function.body)):
        if op.name == "tt.map_elementwise" and len(op.regions[0].blocks) > 1:
            region = op.regions[0]
            first = region.blocks[0]
            ends = [b.terminator for b in region.blocks if b.terminator.name in _RETURNS]
            made = Block(region)
            made.args = first.args
            for arg in made.args:
                arg.block = made
            results = straighten(first, {}, [o.type for o in ends[0].operands], made)
            made.ops.append(Op(ends[0].name, results))
            region.blocks = [made]


def inline_calls(module: Module) -> None:
    """Replace every call in the kernel by the body of the function."""
    functions = {f.name: f for f in module.functions}
    for _ in range(_DEEPEST):
        calls = [op for op in walk(module.kernel.body) if op.name == "tt.call"]
        if not calls:
            return
        _inline_into(module.kernel.body, functions)
    raise CompileError(
        f"Kernel {module.kernel.name} calls a function that calls itself, which cannot be compiled."
    )


def _inline_into(region: Region, functions: dict[str, Function]) -> None:
    for block in region.blocks:
        made = Block()
        known: dict[Value, Value] = {}
        for op in block.ops:
            op.operands = [known.get(o, o) for o in op.operands]
            if op.name != "tt.call":
                for inner in op.regions:
                    _rename(inner, known)
                    _inline_into(inner, functions)
                made.ops.append(op)
                continue
            callee = functions.get(op.attrs["callee"])
            if callee is None:
                raise CompileError(f"The kernel calls {op.attrs['callee']}, of which the module has no body.")
            values = dict(zip(callee.args, op.operands, strict=True))
            results = straighten(callee.body.block, values, callee.results, made)
            known.update(zip(op.results, results, strict=True))
        block.ops = made.ops
        for later in region.blocks:
            if later is not block and known:
                for op in later.ops:
                    op.operands = [known.get(o, o) for o in op.operands]
                    for inner in op.regions:
                        _rename(inner, known)


def _rename(region: Region, known: dict[Value, Value]) -> None:
    if known:
        for op in walk(region):
            op.operands = [known.get(o, o) for o in op.operands]
