"""Small pieces of LLVM IR that every part of the dot emitter builds from: loops, masks, byte addresses."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from llvmlite import ir

I1 = ir.IntType(1)
I8 = ir.IntType(8)
I16 = ir.IntType(16)
I32 = ir.IntType(32)
I64 = ir.IntType(64)
F16 = ir.HalfType()
F32 = ir.FloatType()
F64 = ir.DoubleType()
PTR = ir.PointerType()
VOID = ir.VoidType()

ELEMENT_BYTES = {"f64": 8, "f32": 4, "i32": 4, "bf16": 2, "f16": 2, "i8": 1}


def i64(value: int) -> ir.Constant:
    return ir.Constant(I64, value)


def known(value: ir.Value | None) -> int | None:
    """The Python integer behind a constant, or None for a run-time value."""
    if isinstance(value, ir.Constant) and isinstance(value.constant, int):
        return value.constant
    return None


def multiply(b: ir.IRBuilder, x: ir.Value, y: ir.Value) -> ir.Value:
    """x * y in i64, folded when both are constants so that addressing modes can use the result."""
    kx, ky = known(x), known(y)
    if kx is not None and ky is not None:
        return i64(kx * ky)
    if kx == 1:
        return y
    if ky == 1:
        return x
    if kx == 0 or ky == 0:
        return i64(0)
    return b.mul(x, y)


def add(b: ir.IRBuilder, x: ir.Value, y: ir.Value) -> ir.Value:
    """x + y in i64, folded when both are constants."""
    kx, ky = known(x), known(y)
    if kx is not None and ky is not None:
        return i64(kx + ky)
    if kx == 0:
        return y
    if ky == 0:
        return x
    return b.add(x, y)


def minimum(b: ir.IRBuilder, x: ir.Value, y: ir.Value) -> ir.Value:
    """The smaller of two i64."""
    kx, ky = known(x), known(y)
    if kx is not None and ky is not None:
        return i64(min(kx, ky))
    return b.select(b.icmp_signed("<", x, y), x, y)


def clamp(b: ir.IRBuilder, value: ir.Value | None, size: int) -> ir.Value:
    """A valid extent brought into 0..size; None means all of it."""
    if value is None:
        return i64(size)
    if (constant := known(value)) is not None:
        return i64(max(0, min(constant, size)))
    low = b.select(b.icmp_signed("<", value, i64(0)), i64(0), value)
    return minimum(b, low, i64(size))


def ceil_div(b: ir.IRBuilder, x: ir.Value, d: int) -> ir.Value:
    """ceil(x / d) for a non-negative x and a power of two d."""
    if (constant := known(x)) is not None:
        return i64(-(-constant // d))
    if d == 1:
        return x
    return b.lshr(b.add(x, i64(d - 1)), i64(d.bit_length() - 1))


def offset(b: ir.IRBuilder, pointer: ir.Value, nbytes: ir.Value | int) -> ir.Value:
    """pointer + nbytes."""
    if isinstance(nbytes, int):
        nbytes = i64(nbytes)
    if known(nbytes) == 0:
        return pointer
    return b.gep(pointer, [nbytes], source_etype=I8)


def load_pointer(b: ir.IRBuilder, table: ir.Value, index: ir.Value) -> ir.Value:
    """The address in entry `index` of a table of i64 addresses."""
    entry = b.gep(table, [index], source_etype=I64)
    return b.inttoptr(b.load(entry, typ=I64, align=8), PTR)


def intrinsic(b: ir.IRBuilder, name: str, result: ir.Type, arguments: list[ir.Type]) -> ir.Function:
    """A declaration of an LLVM intrinsic in the builder's module."""
    module = b.module
    if name in module.globals:
        return module.globals[name]
    return ir.Function(module, ir.FunctionType(result, arguments), name)


def type_name(t: ir.Type) -> str:
    """How LLVM spells a type inside the name of an intrinsic."""
    if isinstance(t, ir.VectorType):
        return f"v{t.count}{type_name(t.element)}"
    if isinstance(t, ir.IntType):
        return f"i{t.width}"
    return {"half": "f16", "float": "f32", "double": "f64", "bfloat": "bf16"}[str(t)]


def splat(b: ir.IRBuilder, scalar: ir.Value, lanes: int) -> ir.Value:
    vector = ir.VectorType(scalar.type, lanes)
    undefined = ir.Constant(vector, ir.Undefined)
    one = b.insert_element(undefined, scalar, ir.Constant(I32, 0))
    return b.shuffle_vector(one, undefined, ir.Constant(ir.VectorType(I32, lanes), [0] * lanes))


def shuffle(b: ir.IRBuilder, x: ir.Value, y: ir.Value, lanes: list[int]) -> ir.Value:
    return b.shuffle_vector(x, y, ir.Constant(ir.VectorType(I32, len(lanes)), lanes))


def zero(t: ir.Type) -> ir.Constant:
    return ir.Constant(t, None)


def prefix_mask(b: ir.IRBuilder, count: ir.Value, lanes: int) -> ir.Value:
    """<lanes x i1> whose first `count` (i64, any value) lanes are set."""
    c = minimum(b, count, i64(lanes))
    if known(c) is None:
        c = b.trunc(b.select(b.icmp_signed("<", c, i64(0)), i64(0), c), I32)
    else:
        c = ir.Constant(I32, max(0, known(c) or 0))
    iota = ir.Constant(ir.VectorType(I32, lanes), list(range(lanes)))
    return b.icmp_unsigned("<", iota, splat(b, c, lanes))


def masked_load(
    b: ir.IRBuilder,
    t: ir.VectorType,
    pointer: ir.Value,
    mask: ir.Value | None,
    align: int,
) -> ir.Value:
    """Lanes whose mask is clear read as zero and touch no memory; without a mask, a plain load."""
    if mask is None:
        return b.load(pointer, typ=t, align=align)
    f = intrinsic(
        b,
        f"llvm.masked.load.{type_name(t)}.p0",
        t,
        [PTR, ir.VectorType(I1, t.count), t],
    )
    return b.call(f, [pointer, mask, zero(t)])


def masked_store(
    b: ir.IRBuilder,
    value: ir.Value,
    pointer: ir.Value,
    mask: ir.Value | None,
    align: int,
) -> None:
    if mask is None:
        b.store(value, pointer, align=align)
        return
    t = value.type
    f = intrinsic(
        b,
        f"llvm.masked.store.{type_name(t)}.p0",
        VOID,
        [t, PTR, ir.VectorType(I1, t.count)],
    )
    b.call(f, [value, pointer, mask])


def multiply_add(b: ir.IRBuilder, x: ir.Value, y: ir.Value, z: ir.Value) -> ir.Value:
    """x * y + z: one instruction where the target has it, else two."""
    f = intrinsic(b, f"llvm.fmuladd.{type_name(x.type)}", x.type, [x.type] * 3)
    return b.call(f, [x, y, z])


@contextmanager
def count_loop(
    b: ir.IRBuilder,
    begin: ir.Value,
    end: ir.Value,
    step: int,
    name: str,
    guard: bool = True,
) -> Iterator[ir.Value]:
    """for (i64 i = begin; i < end; i += step). Leaves the builder after the loop. Without the guard it runs at least once."""
    trips = known(begin), known(end)
    static = trips[0] is not None and trips[1] is not None
    if static and trips[0] + step >= trips[1] > trips[0]:  # type: ignore[operator]
        yield begin  # exactly one trip
        return
    body = b.append_basic_block(name)
    done = b.append_basic_block(name + ".done")
    before = b.block
    if guard and not static:
        b.cbranch(b.icmp_signed("<", begin, end), body, done)
    elif static and trips[0] >= trips[1]:  # type: ignore[operator]
        b.branch(done)
        b.position_at_end(body)  # unreachable, but it keeps the caller simple
        yield begin
        b.branch(done)
        b.position_at_end(done)
        return
    else:
        b.branch(body)
    b.position_at_end(body)
    index = b.phi(I64, name=name + ".i")
    index.add_incoming(begin, before)
    yield index
    following = b.add(index, i64(step))
    index.add_incoming(following, b.block)
    b.cbranch(b.icmp_signed("<", following, end), body, done)
    b.position_at_end(done)


def internal_function(
    module: ir.Module,
    name: str,
    arguments: list[ir.Type],
    body: Callable[[ir.IRBuilder, list[ir.Argument]], None],
) -> ir.Function:
    """A private function shared by all call sites of the module; built on first use."""
    if name in module.globals:
        return module.globals[name]
    function = ir.Function(module, ir.FunctionType(VOID, arguments), name)
    function.linkage = "internal"
    function.attributes.add("noinline")
    function.attributes.add("nounwind")
    builder = ir.IRBuilder(function.append_basic_block("entry"))
    body(builder, list(function.args))
    builder.ret_void()
    return function
