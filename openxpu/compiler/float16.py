"""f16 to and from f32 with integer instructions, as LLVM IR, for processors that have no conversion (x86-64 before F16C).

LLVM would call a function for every lane. Both directions are IEEE 754's: widening is exact, narrowing rounds to
nearest even with subnormals and infinities, and a NaN stays a NaN, quietened.
"""

from __future__ import annotations

import math
from typing import Any

from llvmlite import ir

I16, I32, F16, F32 = ir.IntType(16), ir.IntType(32), ir.HalfType(), ir.FloatType()


def _like(value: Any, element: Any) -> Any:
    return ir.VectorType(element, value.type.count) if isinstance(value.type, ir.VectorType) else element


def _constant(value: Any, element: Any, number: Any) -> Any:
    one = ir.Constant(element, number)
    if isinstance(value.type, ir.VectorType):
        return ir.Constant(_like(value, element), [one] * value.type.count)
    return one


def widen(b: ir.IRBuilder, value: Any) -> Any:
    """f16 (scalar or vector) as f32. The code shifted into place is 2^-112 too small, also where it is subnormal."""

    def i(number: int) -> Any:
        return _constant(value, I32, number)

    integer, single = _like(value, I32), _like(value, F32)
    wide = b.zext(b.bitcast(value, _like(value, I16)), integer)
    code = b.and_(wide, i(0x7FFF))
    shifted = b.bitcast(b.shl(code, i(13)), single)
    scaled = b.bitcast(b.fmul(shifted, _constant(value, F32, math.ldexp(1.0, 112))), integer)
    quiet = b.select(b.icmp_unsigned(">", code, i(0x7C00)), i(0x7FC00000), i(0x7F800000))
    special = b.or_(quiet, b.shl(code, i(13)))
    magnitude = b.select(b.icmp_unsigned(">=", code, i(0x7C00)), special, scaled)
    return b.bitcast(b.or_(magnitude, b.shl(b.and_(wide, i(0x8000)), i(16))), single)


def narrow(b: ir.IRBuilder, value: Any) -> Any:
    """f32 (scalar or vector) rounded to f16."""

    def i(number: int) -> Any:
        return _constant(value, I32, number)

    integer, single = _like(value, I32), _like(value, F32)
    bits = b.bitcast(value, integer)
    size = b.and_(bits, i(0x7FFFFFFF))
    odd = b.and_(b.lshr(size, i(13)), i(1))
    rounded = b.lshr(b.add(b.add(size, i(0xFFF)), odd), i(13))
    normal = b.sub(rounded, i(112 << 10))
    # An addition whose result has the subnormals' spacing rounds them.
    magic = _constant(value, F32, 0.5)
    moved = b.bitcast(b.fadd(b.bitcast(size, single), magic), integer)
    small = b.sub(moved, b.bitcast(magic, integer))
    code = b.select(b.icmp_unsigned("<", size, i(113 << 23)), small, normal)
    code = b.select(b.icmp_unsigned(">=", size, i(143 << 23)), i(0x7C00), code)
    nan = b.or_(b.and_(b.lshr(size, i(13)), i(0x3FF)), i(0x7E00))
    code = b.select(b.icmp_unsigned(">", size, i(0x7F800000)), nan, code)
    code = b.or_(code, b.and_(b.lshr(bits, i(16)), i(0x8000)))
    return b.bitcast(b.trunc(code, _like(value, I16)), _like(value, F16))
