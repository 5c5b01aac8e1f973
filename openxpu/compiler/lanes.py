"""One element-wise operation on LLVM values: scalars, or vectors of lanes, alike.

Registers hold bf16 and 8-bit floats as their bits and f16 as half; arithmetic on them happens in f32 and rounds to
nearest even.
Tiles of pointers hold i64 lanes, scalar pointers are ptr.
"""

from __future__ import annotations

import math
import struct
from typing import Any

from llvmlite import ir

from openxpu.compiler import float16
from openxpu.compiler.float8 import FORMATS, Float8, float_to_bits
from openxpu.compiler.math import FUNCTIONS, FloatMath
from openxpu.compiler.target import Target
from openxpu.compiler.tile_ir import CompileError, Op, Type

POINTER = ir.PointerType()
I1, I8, I16, I32, I64 = (ir.IntType(n) for n in (1, 8, 16, 32, 64))
F16, F32, F64 = ir.HalfType(), ir.FloatType(), ir.DoubleType()
_REGISTER = {
    "i1": I1,
    "i8": I8,
    "i16": I16,
    "i32": I32,
    "i64": I64,
    "f8e4m3": I8,
    "f8e5m2": I8,
    "f16": F16,
    "bf16": I16,
    "f32": F32,
    "f64": F64,
}

CONTRACT = ("contract",)
SMALL = ("f16", "bf16", "f8e4m3", "f8e5m2")  # computed in f32

# libm functions that an image may call; f32 names carry the suffix f
LIBM_UNARY = {
    "acos", "acosh", "asin", "asinh", "atan", "atanh", "cbrt", "cos", "cosh", "erf", "erfc", "exp", "exp2", "expm1",
    "lgamma", "log", "log10", "log1p", "log2", "sin", "sinh", "tan", "tanh", "tgamma", "exp10", "j0", "j1", "y0", "y1",
}  # fmt: skip
LIBM_ORDERED = ("jn", "yn")  # of an i32 and a float
LIBM_BINARY = {"atan2", "fmod", "hypot", "pow", "nextafter", "remainder", "fdim"}
_ROUNDING = {
    "floor": "llvm.floor",
    "ceil": "llvm.ceil",
    "trunc": "llvm.trunc",
    "round": "llvm.round",
    "rint": "llvm.rint",
}

_INT_BINARY = {
    "arith.addi": "add",
    "arith.subi": "sub",
    "arith.muli": "mul",
    "arith.andi": "and_",
    "arith.ori": "or_",
    "arith.xori": "xor",
}
_FLOAT_BINARY = {
    "arith.addf": "fadd",
    "arith.subf": "fsub",
    "arith.mulf": "fmul",
    "arith.divf": "fdiv",
}
_INT_PREDICATE = {"eq": "==", "ne": "!=", "lt": "<", "le": "<=", "gt": ">", "ge": ">="}


def lanes_of(value: Any) -> int:
    return value.type.count if isinstance(value.type, ir.VectorType) else 0


def register_type(dtype: str, lanes: int = 0) -> Any:
    """The LLVM type of a register: a scalar, or a vector when lanes > 0. Pointer lanes are i64."""
    if dtype == "ptr":
        return ir.VectorType(I64, lanes) if lanes else POINTER
    element = _REGISTER[dtype]
    return ir.VectorType(element, lanes) if lanes else element


def memory_type(dtype: str, lanes: int = 0) -> Any:
    """The LLVM type in memory: a bool is a byte, a pointer is 64 bits."""
    element = I8 if dtype == "i1" else I64 if dtype == "ptr" else _REGISTER[dtype]
    return ir.VectorType(element, lanes) if lanes else element


class Lanes:
    """Emits element-wise operations for one module and one target."""

    def __init__(self, module: ir.Module, target: Target) -> None:
        self.module = module
        self.target = target

    # calls --------------------------------------------------------------------------------

    def declare(self, name: str, result: Any, arguments: list[Any]) -> ir.Function:
        """The declaration of a C function or an intrinsic; the dot emitter may have made it already."""
        found = self.module.globals.get(name)
        if found is None:
            found = ir.Function(self.module, ir.FunctionType(result, arguments), name)
        return found

    @staticmethod
    def _suffix(type: Any) -> str:
        if isinstance(type, ir.VectorType):
            return f"v{type.count}" + Lanes._suffix(type.element)
        if isinstance(type, ir.IntType):
            return f"i{type.width}"
        if isinstance(type, ir.PointerType):
            return "p0"
        return {"half": "f16", "float": "f32", "double": "f64"}[str(type)]

    def intrinsic(self, b: ir.IRBuilder, name: str, type: Any, arguments: list[Any]) -> Any:
        """An intrinsic overloaded on one type; a name with ! in front is taken as it is."""
        full = name[1:] if name.startswith("!") else f"{name}.{self._suffix(type)}"
        return b.call(self.declare(full, type, [a.type for a in arguments]), arguments)

    def per_lane(self, b: ir.IRBuilder, name: str, arguments: list[Any]) -> Any:
        """Call a scalar C function for every lane."""
        count = max(lanes_of(a) for a in arguments)
        if count == 0:
            return b.call(
                self.declare(name, arguments[-1].type, [a.type for a in arguments]),
                arguments,
            )
        arguments = [self.splat(b, a, count) for a in arguments]
        element = arguments[-1].type.element
        function = self.declare(name, element, [a.type.element for a in arguments])
        result: Any = ir.Constant(ir.VectorType(element, count), ir.Undefined)
        for lane in range(count):
            at = ir.Constant(I32, lane)
            result = b.insert_element(
                result,
                b.call(function, [b.extract_element(a, at) for a in arguments]),
                at,
            )
        return result

    # constants and shapes -----------------------------------------------------------------

    @staticmethod
    def constant(dtype: str, value: Any, lanes: int = 0) -> Any:
        element = _REGISTER.get(dtype, I64)
        if dtype in FORMATS:
            number: Any = float_to_bits(dtype, float(value))
            number -= 256 if number > 127 else 0
        elif dtype == "bf16":
            number = bf16_bits(float(value))
        elif dtype == "f32":
            number = round_f32(float(value))
        elif dtype == "f16":
            number = round_f16(float(value))
        elif dtype == "f64":
            number = float(value)
        else:
            bits = element.width
            number = int(value) & ((1 << bits) - 1)
            if number >> (bits - 1) and bits > 1:
                number -= 1 << bits
        one = ir.Constant(element, number)
        return ir.Constant(ir.VectorType(element, lanes), [one] * lanes) if lanes else one

    @staticmethod
    def splat(b: ir.IRBuilder, value: Any, lanes: int) -> Any:
        if lanes == 0 or isinstance(value.type, ir.VectorType):
            return value
        if isinstance(value.type, ir.PointerType):
            value = b.ptrtoint(value, I64)
        if isinstance(value, ir.Constant):
            return ir.Constant(ir.VectorType(value.type, lanes), [value] * lanes)
        vector = ir.VectorType(value.type, lanes)
        first = b.insert_element(ir.Constant(vector, ir.Undefined), value, ir.Constant(I32, 0))
        zeros = ir.Constant(ir.VectorType(I32, lanes), [ir.Constant(I32, 0)] * lanes)
        return b.shuffle_vector(first, ir.Constant(vector, ir.Undefined), zeros)

    @staticmethod
    def iota(type: Any, lanes: int, start: int = 0, step: int = 1) -> Any:
        return ir.Constant(
            ir.VectorType(type, lanes),
            [ir.Constant(type, start + step * i) for i in range(lanes)],
        )

    # conversions --------------------------------------------------------------------------

    def to_f32(self, b: ir.IRBuilder, value: Any, dtype: str) -> Any:
        """A small float as f32, exactly."""
        lanes = lanes_of(value)
        if dtype in FORMATS:
            return Float8(b, value, dtype, self.intrinsic).decode(value)
        if dtype == "f16":
            if not self.target.converts_f16:
                return float16.widen(b, value)
            return b.fpext(value, register_type("f32", lanes))
        wide = b.zext(value, register_type("i32", lanes))
        wide = b.shl(wide, self.constant("i32", 16, lanes))
        return b.bitcast(wide, register_type("f32", lanes))

    def from_f32(self, b: ir.IRBuilder, value: Any, dtype: str) -> Any:
        """f32 rounded to nearest even; NaN stays a quiet NaN, denormals are kept."""
        lanes = lanes_of(value)
        if dtype in FORMATS:
            return Float8(b, value, dtype, self.intrinsic).encode(value)
        if dtype == "f16":
            if not self.target.converts_f16:
                return float16.narrow(b, value)
            return b.fptrunc(value, register_type("f16", lanes))
        bits = b.bitcast(value, register_type("i32", lanes))

        def c(number: int) -> Any:
            return self.constant("i32", number, lanes)

        odd = b.and_(b.lshr(bits, c(16)), c(1))
        rounded = b.lshr(b.add(b.add(bits, c(0x7FFF)), odd), c(16))
        quiet = b.or_(b.lshr(bits, c(16)), c(0x40))
        nan = b.fcmp_unordered("uno", value, value)
        return b.trunc(b.select(nan, quiet, rounded), register_type("i16", lanes))

    def float_to_float(self, b: ir.IRBuilder, value: Any, source: str, target: str) -> Any:
        lanes = lanes_of(value)
        if source == target:
            return value
        if source in SMALL:
            value, source = self.to_f32(b, value, source), "f32"
        if target == "f64":
            return b.fpext(value, register_type("f64", lanes))
        if target == "f32":
            return b.fptrunc(value, register_type("f32", lanes)) if source == "f64" else value
        if source == "f64":
            value = self._round_to_odd(b, value)
        return self.from_f32(b, value, target)

    def _round_to_odd(self, b: ir.IRBuilder, value: Any) -> Any:
        """f64 to f32 such that rounding the result again, to a small type, rounds once."""
        lanes = lanes_of(value)
        near = b.fptrunc(value, register_type("f32", lanes))
        back = b.fpext(near, register_type("f64", lanes))
        bits = b.bitcast(near, register_type("i32", lanes))
        exact = b.fcmp_unordered("==", back, value)
        # when inexact, take the neighbour toward zero and set the last bit
        absolute = self.intrinsic(b, "llvm.fabs", value.type, [value])
        above = b.fcmp_ordered(">", self.intrinsic(b, "llvm.fabs", value.type, [back]), absolute)
        one, zero = self.constant("i32", 1, lanes), self.constant("i32", 0, lanes)
        toward = b.sub(bits, b.select(above, one, zero))
        odd = b.or_(toward, one)
        return b.bitcast(b.select(exact, bits, odd), register_type("f32", lanes))

    def toward_zero(self, b: ir.IRBuilder, value: Any, source: str, target: str) -> Any:
        """A narrowing conversion that truncates: round to nearest, and step back where that went away from zero."""
        near = self.float_to_float(b, value, source, target)
        wide = "f64" if source == "f64" else "f32"
        x, back = self.float_to_float(b, value, source, wide), self.float_to_float(b, near, target, wide)
        magnitudes = [self.intrinsic(b, "llvm.fabs", v.type, [v]) for v in (back, x)]
        above = b.fcmp_ordered(">", *magnitudes)
        kind = f"i{Type(target).bits}"
        bits = b.bitcast(near, register_type(kind, lanes_of(near)))
        stepped = b.sub(bits, b.zext(above, bits.type))
        return b.bitcast(stepped, near.type)

    def int_to_float(self, b: ir.IRBuilder, value: Any, target: str, signed: bool) -> Any:
        lanes = lanes_of(value)
        convert = b.sitofp if signed else b.uitofp
        width = (value.type.element if lanes else value.type).width
        if target == "f64":
            return convert(value, register_type("f64", lanes))
        if target in SMALL and width > 16:
            wide = convert(value, register_type("f64", lanes))
            return self.from_f32(b, self._round_to_odd(b, wide), target)
        result = convert(value, register_type("f32", lanes))
        return result if target == "f32" else self.from_f32(b, result, target)

    def float_to_int(self, b: ir.IRBuilder, value: Any, source: str, target: str, signed: bool) -> Any:
        """Toward zero; what does not fit saturates and NaN gives 0. Narrow integers are the low bits of an i32."""
        lanes = lanes_of(value)
        if source in SMALL:
            value = self.to_f32(b, value, source)
        bits = _REGISTER[target].width
        whole, kind = (
            register_type(target if bits >= 32 else "i32", lanes),
            "s" if signed or bits < 32 else "u",
        )
        result = self._saturated(b, value, whole, kind == "s", lanes)
        return b.trunc(result, register_type(target, lanes)) if bits < 32 else result

    def _saturated(self, b: ir.IRBuilder, value: Any, whole: Any, signed: bool, lanes: int) -> Any:
        """f32 or f64 as an integer. LLVM takes its own saturating conversion of vectors apart, lane by lane."""
        width = (whole.element if lanes else whole).width
        kind = "f64" if (value.type.element if lanes else value.type) == ir.DoubleType() else "f32"
        limit = 1 << (width - signed)
        digits = 53 if kind == "f64" else 24
        least = -limit if signed else 0
        most = limit - (1 << max(width - signed - digits, 0))
        below = b.fcmp_ordered("<", value, self.constant(kind, limit, lanes))
        top, bottom = self.constant(kind, most, lanes), self.constant(kind, least, lanes)
        value_in = b.select(below, value, top)
        value_in = b.select(b.fcmp_ordered(">", value_in, bottom), value_in, bottom)
        result = (b.fptosi if signed else b.fptoui)(value_in, whole)
        integer = f"i{width}"
        full = self.constant(integer, limit - 1 if signed else -1, lanes)
        beyond = b.select(b.fcmp_unordered("uno", value, value), self.constant(integer, 0, lanes), full)
        return b.select(below, result, beyond)

    # the table ----------------------------------------------------------------------------

    def apply(self, b: ir.IRBuilder, op: Op, args: list[Any]) -> Any:
        """The value of an element-wise operation for these operand registers."""
        lanes = max((lanes_of(a) for a in args), default=0)
        if lanes:
            args = [self.splat(b, a, lanes) for a in args]
        name = op.name
        source = op.operands[0].type.dtype
        result = op.results[0].type
        if name in _INT_BINARY:
            return getattr(b, _INT_BINARY[name])(*args)
        if name in ("arith.shli", "arith.shrsi", "arith.shrui"):
            return self._shift(b, name, source, args, op.operands[1].constant)
        if name in _FLOAT_BINARY or name == "tt.precise_divf":
            return self._float_binary(b, _FLOAT_BINARY.get(name, "fdiv"), source, args)
        if name in ("arith.cmpi", "arith.cmpf"):
            return self._compare(b, name, op.attrs["predicate"], source, args)
        if name == "arith.select":
            return b.select(*args)
        if name in ("arith.extf", "arith.truncf", "tt.fp_to_fp"):
            if op.attrs.get("rounding", "rtne") == "rtz":
                return self.toward_zero(b, args[0], source, result.dtype)
            return self.float_to_float(b, args[0], source, result.dtype)
        if name in ("arith.sitofp", "arith.uitofp"):
            return self.int_to_float(b, args[0], result.dtype, name == "arith.sitofp")
        if name in ("arith.fptosi", "arith.fptoui"):
            return self.float_to_int(b, args[0], source, result.dtype, name == "arith.fptosi")
        to = register_type(result.dtype, lanes)
        if name in ("arith.extsi", "arith.extui"):
            return (b.sext if name == "arith.extsi" else b.zext)(args[0], to)
        if name == "arith.trunci":
            return b.trunc(args[0], to)
        if name in ("arith.index_cast", "arith.index_castui"):
            return self.resize(b, args[0], result.dtype)
        if name in ("tt.bitcast", "arith.bitcast"):
            return args[0] if result.is_pointer or args[0].type == to else b.bitcast(args[0], to)
        if name == "tt.int_to_ptr":
            return args[0] if lanes else b.inttoptr(args[0], POINTER)
        if name == "tt.ptr_to_int":
            return args[0] if lanes else b.ptrtoint(args[0], I64)
        if name == "tt.addptr":
            return self.add_pointer(b, args[0], args[1], op.operands[0].type)
        if name in (
            "arith.divsi",
            "arith.divui",
            "arith.remsi",
            "arith.remui",
            "arith.ceildivsi",
            "arith.floordivsi",
        ):
            return self._divide(b, name, op, args)
        if name in ("arith.minsi", "arith.maxsi", "arith.minui", "arith.maxui"):
            kind = {"minsi": "smin", "maxsi": "smax", "minui": "umin", "maxui": "umax"}[name[6:]]
            return self.intrinsic(b, "llvm." + kind, to, args)
        if name in (
            "arith.maxnumf",
            "arith.minnumf",
            "arith.maximumf",
            "arith.minimumf",
        ):
            return self._float_extreme(b, name, source, args)
        if name == "tt.clampf":
            return self._clamp(b, source, args, op.attrs["propagate"])
        if name in {"tt.mulhiui", "tt.mulhisi"}:
            return self._high_product(b, args, name.endswith("ui"), result.bits, lanes)
        if name == "arith.remf":
            return self.function(b, "fmod", source, args)
        if name == "arith.negf":
            return self._negate(b, source, args[0])
        if name == "math.absi":
            negative = b.sub(self.constant(source, 0, lanes), args[0])
            return b.select(
                b.icmp_signed("<", args[0], self.constant(source, 0, lanes)),
                negative,
                args[0],
            )
        if name == "tt.extern_elementwise":
            return self._extern(b, op.attrs["symbol"], source, result, args)
        if name == "tt.precise_sqrt":
            return self.function(b, "sqrt", source, args)
        if name.startswith("math."):
            return self.function(b, name[5:], source, args)
        raise CompileError(
            f"The kernel uses {name}, which this compiler does not have; report it with the kernel."
        )

    def resize(self, b: ir.IRBuilder, value: Any, dtype: str) -> Any:
        """Sign-extend or truncate an integer."""
        lanes = lanes_of(value)
        to = register_type(dtype, lanes)
        have = (value.type.element if lanes else value.type).width
        want = _REGISTER[dtype].width
        if have == want:
            return value
        return b.sext(value, to) if have < want else b.trunc(value, to)

    def add_pointer(self, b: ir.IRBuilder, pointer: Any, offset: Any, type: Type) -> Any:
        assert type.pointee is not None
        if isinstance(pointer.type, ir.PointerType):
            return b.gep(
                pointer,
                [self.resize(b, offset, "i64")],
                source_etype=memory_type(type.pointee.dtype),
            )
        lanes = lanes_of(pointer)
        wide = self.resize(b, offset, "i64")
        return b.add(pointer, b.mul(wide, self.constant("i64", type.pointee.bytes, lanes)))

    def _shift(self, b: ir.IRBuilder, name: str, dtype: str, args: list[Any], constant: Any) -> Any:
        """As PTX: an amount beyond the width leaves nothing but the sign of an arithmetic shift."""
        x, amount = args
        bits, lanes = _REGISTER[dtype].width, lanes_of(x)
        method = {"arith.shli": b.shl, "arith.shrsi": b.ashr, "arith.shrui": b.lshr}[name]
        if constant is not None and 0 <= constant < bits:
            return method(x, amount)
        if name == "arith.shrsi":
            most = self.constant(dtype, bits - 1, lanes)
            return b.ashr(x, self.intrinsic(b, "llvm.umin", x.type, [amount, most]))
        fits = b.icmp_unsigned("<", amount, self.constant(dtype, bits, lanes))
        return b.select(fits, method(x, amount), self.constant(dtype, 0, lanes))

    def _float_binary(self, b: ir.IRBuilder, method: str, dtype: str, args: list[Any]) -> Any:
        flags = CONTRACT if method != "fdiv" else ()
        if dtype in SMALL:
            wide = [self.to_f32(b, a, dtype) for a in args]
            return self.from_f32(b, getattr(b, method)(*wide), dtype)
        return getattr(b, method)(*args, flags=flags)

    def _negate(self, b: ir.IRBuilder, dtype: str, value: Any) -> Any:
        if dtype == "bf16" or dtype in FORMATS:
            bits = Type(dtype).bits
            return b.xor(value, self.constant(f"i{bits}", 1 << (bits - 1), lanes_of(value)))
        return b.fneg(value)

    def _compare(self, b: ir.IRBuilder, name: str, predicate: str, dtype: str, args: list[Any]) -> Any:
        if name == "arith.cmpi":
            if dtype == "ptr" and isinstance(args[0].type, ir.PointerType):
                args = [b.ptrtoint(a, I64) for a in args]
            if predicate in ("eq", "ne"):
                return b.icmp_signed(_INT_PREDICATE[predicate], *args)
            compare = b.icmp_signed if predicate[0] == "s" else b.icmp_unsigned
            return compare(_INT_PREDICATE[predicate[1:]], *args)
        if dtype in SMALL:
            args = [self.to_f32(b, a, dtype) for a in args]
        if predicate in ("ord", "uno"):
            return (b.fcmp_ordered if predicate == "ord" else b.fcmp_unordered)(predicate, *args)
        if predicate in ("true", "false"):
            return self.constant("i1", predicate == "true", lanes_of(args[0]))
        compare = b.fcmp_ordered if predicate[0] == "o" else b.fcmp_unordered
        return compare(_INT_PREDICATE[predicate[1:]], *args)

    def _divide(self, b: ir.IRBuilder, name: str, op: Op, args: list[Any]) -> Any:
        """Integer division; a divisor of 0 (possible in lanes that a mask discards) and INT_MIN / -1 do not trap."""
        lanes = lanes_of(args[0])
        dtype = op.operands[0].type.dtype
        signed = "ui" not in name
        kind = "rem" if "rem" in name else "div"
        x, y = args
        constant = op.operands[1].constant
        if constant is None or constant in (0, -1):
            bad = b.icmp_signed("==", y, self.constant(dtype, 0, lanes))
            if signed:
                least = b.icmp_signed(
                    "==",
                    x,
                    self.constant(dtype, -(1 << (op.operands[0].type.bits - 1)), lanes),
                )
                minus = b.icmp_signed("==", y, self.constant(dtype, -1, lanes))
                bad = b.or_(bad, b.and_(least, minus))
            y = b.select(bad, self.constant(dtype, 1, lanes), y)
        if constant is None and dtype == "i32":
            return self._divide_by_float(b, x, y, signed, kind, lanes)
        method = {
            "div": b.sdiv if signed else b.udiv,
            "rem": b.srem if signed else b.urem,
        }[kind]
        return method(x, y)

    def _divide_by_float(self, b: ir.IRBuilder, x: Any, y: Any, signed: bool, kind: str, lanes: int) -> Any:
        """32-bit quotients through f64, exact because both fit in 53 bits; vectors have no integer division."""
        if not lanes:
            if kind == "div":
                return (b.sdiv if signed else b.udiv)(x, y)
            return (b.srem if signed else b.urem)(x, y)
        wide = register_type("f64", lanes)
        convert = b.sitofp if signed else b.uitofp
        quotient = b.fdiv(convert(x, wide), convert(y, wide))
        to = register_type("i32", lanes)
        whole = b.fptosi(quotient, to) if signed else b.fptoui(quotient, to)
        return whole if kind == "div" else b.sub(x, b.mul(whole, y))

    def _float_extreme(self, b: ir.IRBuilder, name: str, dtype: str, args: list[Any]) -> Any:
        if dtype in SMALL:
            wide = [self.to_f32(b, a, dtype) for a in args]
            return self.from_f32(b, self._float_extreme(b, name, "f32", wide), dtype)
        kind = {"maxnumf": "maxnum", "minnumf": "minnum", "maximumf": "maximum", "minimumf": "minimum"}[
            name[6:]
        ]
        lanes = lanes_of(args[0])
        if kind in ("maximum", "minimum") and self.target.avx512:
            bits = lanes * (8 if dtype == "f64" else 4) * 8
            if bits in (128, 256, 512):
                return self._range(b, dtype, args, bits, kind == "maximum")
        return self.intrinsic(b, "llvm." + kind, args[0].type, args)

    def extreme_so_far(self, b: ir.IRBuilder, name: str, dtype: str, total: Any, x: Any) -> Any:
        """One step of a reduction by arith.maximumf or minimumf, where zeros of both signs are equal. x86's maximum is its
        second operand beside a NaN: a total that is one stays, and whether x is one does not wait for the total."""
        kind = name[6:9]
        suffix = "pd" if dtype == "f64" else "ps"
        function = {
            512: f"avx512.{kind}.{suffix}.512",
            256: f"avx.{kind}.{suffix}.256",
            128: f"sse{2 if dtype == 'f64' else ''}.{kind}.{suffix}",
        }.get(lanes_of(x) * (64 if dtype == "f64" else 32))
        if dtype not in ("f32", "f64") or function is None or self.target.architecture != "x86_64":
            return self._float_extreme(b, name, dtype, [total, x])
        operands = [x, total, *([ir.Constant(I32, 4)] if "512" in function else [])]  # 4: rounding as it is
        farther = self.intrinsic(b, f"!llvm.x86.{function}", x.type, operands)
        return b.select(b.fcmp_unordered("uno", x, x), x, farther)

    def _range(self, b: ir.IRBuilder, dtype: str, args: list[Any], bits: int, largest: bool) -> Any:
        """vrangeps orders zeros by their signs, but gives the number beside a NaN: the sum of both is then the result.
        Half as many instructions as LLVM's own."""
        x, y = args
        lanes = lanes_of(x)
        suffix = "pd" if dtype == "f64" else "ps"
        mask = ir.IntType(max(8, lanes))
        operands = [x, y, ir.Constant(I32, 5 if largest else 4), x, ir.Constant(mask, -1)]
        if bits == 512:
            operands.append(ir.Constant(I32, 4))  # rounding as it is
        ranged = self.intrinsic(b, f"!llvm.x86.avx512.mask.range.{suffix}.{bits}", x.type, operands)
        return b.select(b.fcmp_unordered("uno", x, y), b.fadd(x, y), ranged)

    def _clamp(self, b: ir.IRBuilder, dtype: str, args: list[Any], propagate: bool) -> Any:
        if dtype in SMALL:
            wide = [self.to_f32(b, a, dtype) for a in args]
            return self.from_f32(b, self._clamp(b, "f32", wide, propagate), dtype)
        x, low, high = args
        if propagate:
            x = b.select(b.fcmp_ordered(">", low, x), low, x)
            return b.select(b.fcmp_ordered("<", high, x), high, x)
        x = b.select(b.fcmp_ordered(">", x, low), x, low)
        return b.select(b.fcmp_ordered("<", x, high), x, high)

    def _high_product(self, b: ir.IRBuilder, args: list[Any], unsigned: bool, bits: int, lanes: int) -> Any:
        double = ir.IntType(bits * 2)
        wide = ir.VectorType(double, lanes) if lanes else double
        extend = b.zext if unsigned else b.sext
        product = b.mul(extend(args[0], wide), extend(args[1], wide))
        shift: Any = ir.Constant(double, bits)
        if lanes:
            shift = ir.Constant(wide, [shift] * lanes)
        return b.trunc(b.lshr(product, shift), args[0].type)

    def function(self, b: ir.IRBuilder, name: str, dtype: str, args: list[Any]) -> Any:
        """A function of the math dialect (or of libm) on floats."""
        if dtype in SMALL:
            wide = [self.to_f32(b, a, dtype) for a in args]
            return self.from_f32(b, self.function(b, name, "f32", wide), dtype)
        type = args[0].type
        lanes = lanes_of(args[0])
        if name in {"absf", "fabs"}:
            return self.intrinsic(b, "llvm.fabs", type, args)
        if name == "fma" and dtype == "f32" and not self.target.fused:
            return self._fused_f32(b, *args)
        if name in ("sqrt", "fma", "copysign"):
            return self.intrinsic(b, "llvm." + name, type, args)
        if name in _ROUNDING:
            return self.intrinsic(b, _ROUNDING[name], type, args)
        if name == "roundeven":
            return self.intrinsic(b, "llvm.rint", type, args)
        if name == "rsqrt" and dtype == "f64":
            return b.fdiv(
                self.constant(dtype, 1.0, lanes),
                self.intrinsic(b, "llvm.sqrt", type, args),
            )
        if dtype == "f32" and name in FUNCTIONS:
            math_ = FloatMath(b, args[0], self.intrinsic, self.target)
            return getattr(math_, name)(*args)
        name = {"powf": "pow"}.get(name, name)
        if name in LIBM_UNARY or name in LIBM_BINARY:
            return self.per_lane(b, name + ("f" if dtype == "f32" else ""), args)
        raise CompileError(f"The kernel uses the function {name}, which this compiler does not have.")

    def _fused_f32(self, b: ir.IRBuilder, x: Any, y: Any, z: Any) -> Any:
        """x * y + z of f32, rounded once, in f64: the product is exact, the sum rounds to odd (Boldo and Melquiond
        2008)."""
        lanes = lanes_of(x)
        double, integer = register_type("f64", lanes), register_type("i64", lanes)
        x, y, z = (b.fpext(value, double) for value in (x, y, z))
        product = b.fmul(x, y)
        total = b.fadd(product, z)
        back = b.fsub(total, product)  # the sum's error (Knuth, TAOCP 2, 4.2.2)
        lost = b.fadd(b.fsub(product, b.fsub(total, back)), b.fsub(z, back))
        zero, one = self.constant("f64", 0.0, lanes), self.constant("i64", 1, lanes)
        bits = b.bitcast(total, integer)
        even = b.icmp_signed("==", b.and_(bits, one), self.constant("i64", 0, lanes))
        inexact = b.fcmp_ordered("!=", lost, zero)  # false for infinities and NaN, whose error is NaN
        outward = b.icmp_signed(">=", b.xor(b.bitcast(lost, integer), bits), self.constant("i64", 0, lanes))
        step = b.select(outward, one, self.constant("i64", -1, lanes))
        odd = b.select(b.and_(even, inexact), b.add(bits, step), bits)
        return b.fptrunc(b.bitcast(odd, double), register_type("f32", lanes))

    def _extern(self, b: ir.IRBuilder, symbol: str, dtype: str, result: Type, args: list[Any]) -> Any:
        name = symbol
        for prefix in ("__openxpu_", "__nv_", "__ocml_"):
            name = name.removeprefix(prefix)
        lanes = lanes_of(args[0])
        if prefix_name := {
            "isnan": "uno",
            "isinf": "inf",
            "isfinited": "fin",
            "finitef": "fin",
            "isnand": "uno",
        }.get(name.removesuffix("f") if name in ("isnanf", "isinff") else name):
            x = self.to_f32(b, args[0], dtype) if dtype in SMALL else args[0]
            if prefix_name == "uno":
                found = b.fcmp_unordered("uno", x, x)
            else:
                magnitude = self.intrinsic(b, "llvm.fabs", x.type, [x])
                wide = "f64" if dtype == "f64" else "f32"
                infinity = self.constant(wide, math.inf, lanes)
                found = b.fcmp_ordered("==" if prefix_name == "inf" else "<", magnitude, infinity)
            return found if result.dtype == "i1" else b.zext(found, register_type(result.dtype, lanes))
        if name in LIBM_ORDERED:
            return self.per_lane(b, name + ("f" if result.dtype == "f32" else ""), args)
        names = (name, name[:-1] if name.endswith("f") else name)
        known = (
            {"fabs", "sqrt", "fma", "copysign", "rsqrt", "absf"} | set(_ROUNDING) | LIBM_UNARY | LIBM_BINARY
        )
        for candidate in names:
            if candidate in known:
                return self.function(b, candidate, dtype, args)
        raise CompileError(
            f"The kernel calls the external function {symbol}, which this card does not have; known are "
            + ", ".join(sorted(known))
            + "."
        )


def bf16_bits(value: float) -> int:
    """The 16 bits of a number rounded to bf16, as a signed i16."""
    bits: int = struct.unpack("<I", struct.pack("<f", round_f32(value)))[0]
    if math.isnan(value):
        bits = 0x7FC0
    else:
        bits = (bits + 0x7FFF + ((bits >> 16) & 1)) >> 16
    return bits - 0x10000 if bits >= 0x8000 else bits


def round_f32(value: float) -> float:
    if not math.isfinite(value):
        return value
    try:
        return float(struct.unpack("<f", struct.pack("<f", value))[0])
    except OverflowError:
        return math.copysign(math.inf, value)


def round_f16(value: float) -> float:
    if not math.isfinite(value):
        return value
    try:
        return float(struct.unpack("<e", struct.pack("<e", value))[0])
    except OverflowError:
        return math.copysign(math.inf, value)
