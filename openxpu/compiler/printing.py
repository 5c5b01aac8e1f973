"""tl.device_print as calls of the C library's printf, a line for each element as Triton's GPU targets print it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from llvmlite import ir

from openxpu.compiler.lanes import I8, I32, I64, POINTER, SMALL
from openxpu.compiler.tile_ir import Op

if TYPE_CHECKING:
    from openxpu.compiler.program import Program


def text(program: Program, content: str) -> Any:
    """The address of a string constant."""
    data = bytearray(content.encode() + b"\0")
    kind = ir.ArrayType(I8, len(data))
    name = program.module.get_unique_name("text")
    constant = ir.GlobalVariable(program.module, kind, name)
    constant.linkage, constant.global_constant = "internal", True
    constant.initializer = ir.Constant(kind, data)
    return constant


def emit(program: Program, b: ir.IRBuilder, op: Op, values: list[Any], places: list[Any]) -> None:
    """pid (x, y, z) idx (i, j) prefix value, for each operand at one element; `places` are its indices."""
    prefix = (op.attrs.get("strings") or [""])[0].replace("%", "%%")
    signed, hexadecimal = op.attrs.get("signed", []), op.attrs.get("hex", False)
    head = "pid (%u, %u, %u) idx (" + ", ".join(["%lld"] * len(places)) + ")" + prefix
    several = len(values) > 1
    if not values:
        call(program, b, head + "\n", [*program.program_ids, *places])
    for i, (operand, value) in enumerate(zip(op.operands, values, strict=True)):
        form, argument = format_of(
            program, b, operand.type.dtype, value, bool(signed[i]) if i < len(signed) else True, hexadecimal
        )
        tail = f" (operand {i})\n" if several else "\n"
        call(program, b, head + form + tail, [*program.program_ids, *places, argument])


def format_of(
    program: Program, b: ir.IRBuilder, dtype: str, value: Any, signed: bool, hexadecimal: bool
) -> tuple[str, Any]:
    if dtype == "ptr":
        return "%p", value if isinstance(value.type, ir.PointerType) else b.inttoptr(value, POINTER)
    if dtype in SMALL:
        value = program.lanes.to_f32(b, value, dtype)
    if isinstance(value.type, ir.FloatType):
        value = b.fpext(value, ir.DoubleType())
    if isinstance(value.type, ir.DoubleType):
        return ("%a" if hexadecimal else "%f"), value
    bits = value.type.width
    if hexadecimal:
        return f"0x%0{max(1, bits // 4)}llx", value if bits == 64 else b.zext(value, I64)
    if bits < 64:
        value = b.sext(value, I64) if signed and bits > 1 else b.zext(value, I64)
    return ("%lld" if signed else "%llu"), value


def call(program: Program, b: ir.IRBuilder, form: str, arguments: list[Any]) -> None:
    function = program.module.globals.get("printf")
    if function is None:
        kind = ir.FunctionType(I32, [POINTER], var_arg=True)
        function = ir.Function(program.module, kind, "printf")
    b.call(function, [text(program, form), *arguments])
