"""8-bit floats as LLVM IR: e4m3 (no infinity, largest 448) and e5m2, to and from f32.

Conversion rounds to nearest even and saturates at the largest finite number, infinities included, as PTX's
cvt.rn.satfinite does; every NaN becomes 0x7F.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from llvmlite import ir

I8, I32, F32 = ir.IntType(8), ir.IntType(32), ir.FloatType()


@dataclass(frozen=True)
class Format:
    fraction: int  # bits
    bias: int
    largest: int  # bits of the largest finite number
    infinity: int | None


FORMATS = {"f8e4m3": Format(3, 7, 0x7E, None), "f8e5m2": Format(2, 15, 0x7B, 0x7C)}


def bits_to_float(dtype: str, bits: int) -> float:
    form = FORMATS[dtype]
    sign, code = -1.0 if bits & 0x80 else 1.0, bits & 0x7F
    if code == form.infinity:
        return sign * math.inf
    if code > form.largest:
        return math.nan
    exponent, fraction = code >> form.fraction, code & ((1 << form.fraction) - 1)
    if exponent == 0:
        return sign * math.ldexp(fraction, 1 - form.bias - form.fraction)
    return sign * math.ldexp(fraction + (1 << form.fraction), exponent - form.bias - form.fraction)


def float_to_bits(dtype: str, value: float) -> int:
    """The code of a constant, rounded to nearest even; constants keep their infinities."""
    form = FORMATS[dtype]
    sign = 0x80 if math.copysign(1.0, value) < 0 else 0
    if math.isnan(value):
        return 0x7F
    if math.isinf(value):
        return sign | (form.largest if form.infinity is None else form.infinity)
    best = min(
        range(form.largest + 1), key=lambda code: (abs(bits_to_float(dtype, code) - abs(value)), code & 1)
    )
    return sign | best


class Float8:
    """Emits conversions for values like `like` (scalar or vector) at the builder's position."""

    def __init__(self, b: ir.IRBuilder, like: Any, dtype: str, intrinsic: Callable[..., Any]) -> None:
        self.b, self.format, self.intrinsic = b, FORMATS[dtype], intrinsic
        self.lanes = like.type.count if isinstance(like.type, ir.VectorType) else 0

    def type(self, element: Any) -> Any:
        return ir.VectorType(element, self.lanes) if self.lanes else element

    def c(self, element: Any, value: Any) -> Any:
        one = ir.Constant(element, value)
        return ir.Constant(self.type(element), [one] * self.lanes) if self.lanes else one

    def i(self, value: int) -> Any:
        return self.c(I32, value)

    def decode(self, value: Any) -> Any:
        """Exact. The code shifted into place is 2^-(127 - bias) too small, also where it is subnormal."""
        b, form = self.b, self.format
        wide = b.zext(value, self.type(I32))
        code = b.and_(wide, self.i(0x7F))
        shifted = b.bitcast(b.shl(code, self.i(23 - form.fraction)), self.type(F32))
        magnitude = b.bitcast(b.fmul(shifted, self.c(F32, math.ldexp(1.0, 127 - form.bias))), self.type(I32))
        if form.infinity is not None:
            magnitude = b.select(
                b.icmp_unsigned("==", code, self.i(form.infinity)), self.i(0x7F800000), magnitude
            )
        first_nan = form.largest + (1 if form.infinity is None else 2)
        magnitude = b.select(b.icmp_unsigned(">=", code, self.i(first_nan)), self.i(0x7FC00000), magnitude)
        sign = b.shl(b.and_(wide, self.i(0x80)), self.i(24))
        return b.bitcast(b.or_(magnitude, sign), self.type(F32))

    def encode(self, value: Any) -> Any:
        b, form = self.b, self.format
        bits = b.bitcast(value, self.type(I32))
        size = b.and_(bits, self.i(0x7FFFFFFF))
        drop = 23 - form.fraction
        odd = b.and_(b.lshr(size, self.i(drop)), self.i(1))
        rounded = b.lshr(b.add(b.add(size, self.i((1 << (drop - 1)) - 1)), odd), self.i(drop))
        normal = b.sub(rounded, self.i((127 - form.bias) << form.fraction))
        # An addition whose result has the subnormals' spacing rounds them.
        magic = math.ldexp(1.0, 23 + 1 - form.bias - form.fraction)
        moved = b.fadd(b.bitcast(size, self.type(F32)), self.c(F32, magic))
        small = b.sub(b.bitcast(moved, self.type(I32)), b.bitcast(self.c(F32, magic), self.type(I32)))
        code = b.select(b.icmp_unsigned("<", size, self.i((128 - form.bias) << 23)), small, normal)
        code = self.intrinsic(b, "llvm.umin", self.type(I32), [code, self.i(form.largest)])
        code = b.or_(code, b.and_(b.lshr(bits, self.i(24)), self.i(0x80)))
        code = b.select(b.fcmp_unordered("uno", value, value), self.i(0x7F), code)
        return b.trunc(code, self.type(I8))
