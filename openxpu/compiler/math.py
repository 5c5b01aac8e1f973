"""Elementary functions as LLVM IR on f32 vectors or scalars: polynomials fitted for a relative error below 2^-24.

The coefficients are Lawson-weighted least-squares fits on Chebyshev nodes of the intervals named at each function.
f64 goes to libm lane by lane (lanes.py); both treat infinities, NaN and denormals as C does.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any

from llvmlite import ir

from openxpu.compiler.target import Target

F32, I32, F64, I64 = ir.FloatType(), ir.IntType(32), ir.DoubleType(), ir.IntType(64)
# (2^r - 1) / r for |r| <= 1/2, and (log2(1 + s) - log2(1 - s)) / s in s^2 for |s| <= 0.1716
_EXP2 = [0.6931472, 0.2402265, 0.055504102, 0.009618038, 0.0013333935, 0.00015466756, 1.5196157e-05]
_ATANH = [2.885390081790079, 0.9617966733501314, 0.5770835832566528, 0.41167282750892736, 0.3407279993789469]
_WIDE = 143  # biased exponent of 2^16, from which on sin and cos reduce their argument in f64
_LARGE = 157  # that of 2^30, from which on they do it by tables


@functools.cache
def _turns() -> tuple[list[float], list[float]]:
    """2^e 2 / pi modulo 4 for the exponents e = _LARGE - 150 .. 104 of whole mantissas: a multiple of 2^-27, and the rest."""
    bits = 256

    def arccot(x: int) -> int:
        total, term, k = 0, (1 << bits + 16) // x, 0
        while term:
            total += (-term if k % 2 else term) // (2 * k + 1)
            term //= x * x
            k += 1
        return total

    pi = 16 * arccot(5) - 4 * arccot(239)  # Machin 1706
    inverse = (2 << 2 * bits + 16) // pi
    high, low = [], []
    for e in range(_LARGE - 150, 105):
        part = (inverse << e) % (4 << bits)
        first = part >> bits - 27
        high.append(first / 2**27)
        low.append((part - (first << bits - 27)) / 2**bits)
    return high, low


class FloatMath:
    """Builds functions of one f32 value (scalar or vector) at the builder's position."""

    def __init__(
        self,
        builder: ir.IRBuilder,
        like: Any,
        intrinsic: Callable[..., Any],
        target: Target,
    ) -> None:
        self.b = builder
        self.type = like.type
        self.lanes = like.type.count if isinstance(like.type, ir.VectorType) else 0
        self.int_type = ir.VectorType(I32, self.lanes) if self.lanes else I32
        self.intrinsic = intrinsic
        self.target = target
        self.avx512 = target.avx512 and self.lanes in (4, 8, 16)
        self.fused = target.fused

    # small words --------------------------------------------------------------------------

    def f(self, value: float) -> ir.Constant:
        import struct

        value = struct.unpack("<f", struct.pack("<f", value))[0] if math.isfinite(value) else value
        one = ir.Constant(F32, value)
        return ir.Constant(self.type, [one] * self.lanes) if self.lanes else one

    def i(self, value: int) -> ir.Constant:
        one = ir.Constant(I32, value)
        return ir.Constant(self.int_type, [one] * self.lanes) if self.lanes else one

    def fma(self, x: Any, y: Any, z: Any) -> Any:
        """x * y + z. No function here needs it rounded once, but for `_quadrant`, which sees to it."""
        name = "llvm.fma" if self.fused else "llvm.fmuladd"
        return self.intrinsic(self.b, name, self.type, [x, y, z])

    def poly(self, x: Any, coefficients: list[float]) -> Any:
        """Horner, lowest degree first."""
        result = self.f(coefficients[-1])
        for c in reversed(coefficients[:-1]):
            result = self.fma(result, x, self.f(c))
        return result

    def abs(self, x: Any) -> Any:
        return self.intrinsic(self.b, "llvm.fabs", self.type, [x])

    def copysign(self, x: Any, sign: Any) -> Any:
        return self.intrinsic(self.b, "llvm.copysign", self.type, [x, sign])

    def bits(self, x: Any) -> Any:
        return self.b.bitcast(x, self.int_type)

    def as_float(self, x: Any) -> Any:
        return self.b.bitcast(x, self.type)

    def select(self, condition: Any, x: Any, y: Any) -> Any:
        return self.b.select(condition, x, y)

    def less(self, x: Any, y: Any) -> Any:
        return self.b.fcmp_ordered("<", x, y)

    def clamp(self, x: Any, low: float, high: float) -> Any:
        """NaN stays NaN."""
        x = self.select(self.less(self.f(high), x), self.f(high), x)
        return self.select(self.less(x, self.f(low)), self.f(low), x)

    def round_split(self, t: Any) -> tuple[Any, Any]:
        """Nearest integer of a small number as f32 and as i32, without a conversion that NaN would poison."""
        magic = self.f(12582912.0)
        shifted = self.b.fadd(t, magic)
        integer = self.b.sub(self.bits(shifted), self.i(0x4B400000))
        return self.b.fsub(shifted, magic), integer

    def _instruction(self, name: str, arguments: list[Any], rounds: bool = True) -> Any:
        """An AVX-512 instruction of all lanes; its last argument is what masked lanes would keep."""
        width, bits = self.lanes * 32, max(8, self.lanes)
        arguments = [*arguments, ir.Constant(ir.IntType(bits), (1 << bits) - 1)]
        if width == 512 and rounds:
            arguments.append(ir.Constant(I32, 4))
        kind = "" if name in ("rcp14", "rsqrt14") else "mask."
        return self.intrinsic(self.b, f"!llvm.x86.avx512.{kind}{name}.ps.{width}", self.type, arguments)

    def scale(self, p: Any, nf: Any, n: Any) -> Any:
        """p * 2^n with gradual underflow and overflow to infinity."""
        # Nothing is left below 2^-150, and processors take a hundred times as long to find that out by multiplying.
        p = self.select(self.less(nf, self.f(-150.5)), self.f(0.0), p)
        if self.avx512:
            return self._instruction("scalef", [p, nf, p])
        half = self.b.ashr(n, self.i(1))
        rest = self.b.sub(n, half)
        for part in (half, rest):
            factor = self.as_float(self.b.shl(self.b.add(part, self.i(127)), self.i(23)))
            p = self.b.fmul(p, factor)
        return p

    # functions ----------------------------------------------------------------------------

    def exp(self, x: Any) -> Any:
        return self._exp(self.clamp(x, -105.0, 89.0))

    def _exp(self, x: Any) -> Any:
        """exp = 2^n * exp(r), |r| <= ln2/2."""
        nf, n = self.round_split(self.b.fmul(x, self.f(1.4426950408889634)))
        r = self.fma(nf, self.f(-0.693145751953125), x)
        r = self.fma(nf, self.f(-1.4286068203094172e-06), r)
        p = self.poly(r, [0.5, 0.16666666, 0.041666295, 0.008333497, 0.0013944657, 0.00019790344])
        p = self.fma(self.b.fmul(r, r), p, r)
        return self.scale(self.b.fadd(p, self.f(1.0)), nf, n)

    def exp2(self, x: Any) -> Any:
        x = self.clamp(x, -151.0, 129.0)
        nf, n = self.round_split(x)
        r = self.b.fsub(x, nf)
        return self.scale(self.fma(self.poly(r, _EXP2), r, self.f(1.0)), nf, n)

    def _wide(self) -> tuple[Any, Any, Callable[[float], ir.Constant], Callable[[int], ir.Constant]]:
        """f64 and i64 of as many lanes, and makers of their constants."""

        def maker(element: Any, type: Any) -> Callable[[Any], ir.Constant]:
            def make(value: Any) -> ir.Constant:
                one = ir.Constant(element, value)
                return ir.Constant(type, [one] * self.lanes) if self.lanes else one

            return make

        double, integer = (ir.VectorType(t, self.lanes) if self.lanes else t for t in (F64, I64))
        return double, integer, maker(F64, double), maker(I64, integer)

    def pow(self, x: Any, y: Any) -> Any:
        """2^(y log2|x|), the logarithm in f64 by the series of the inverse hyperbolic tangent, fitted to 2^-37: its error
        times the largest exponent is far below the last place."""
        b, (double, integer, d, i) = self.b, self._wide()
        size = self.abs(x)
        a = b.fpext(size, double)
        bits = b.bitcast(a, integer)
        root = 0x3FE6A09E667F3BCD  # of 1/2: mantissas lie between it and its inverse
        shifted = b.add(bits, i(0x3FF0000000000000 - root))
        exponent = b.or_(b.lshr(shifted, i(52)), i(0x4330000000000000))  # 2^52 and the biased exponent
        e = b.fsub(b.bitcast(exponent, double), d(4503599627370496.0 + 1023.0))
        m = b.bitcast(b.add(b.and_(shifted, i(0xFFFFFFFFFFFFF)), i(root)), double)

        def fma(*values: Any) -> Any:
            return self.intrinsic(b, "llvm.fma" if self.fused else "llvm.fmuladd", double, list(values))

        s = b.fdiv(b.fsub(m, d(1.0)), b.fadd(m, d(1.0)))
        z = b.fmul(s, s)
        p = d(_ATANH[-1])
        for c in reversed(_ATANH[:-1]):
            p = fma(p, z, d(c))
        log = fma(p, s, e)
        log = b.select(b.fcmp_ordered("<", a, d(math.inf)), log, a)  # infinity and NaN
        log = b.select(b.fcmp_ordered("==", a, d(0.0)), d(-math.inf), log)
        power = b.fpext(y, double)
        t = b.fmul(power, log)
        t = b.select(b.fcmp_ordered("<", d(200.0), t), d(200.0), t)
        t = b.select(b.fcmp_ordered("<", t, d(-200.0)), d(-200.0), t)
        one = b.or_(b.fcmp_ordered("==", log, d(0.0)), b.fcmp_ordered("==", power, d(0.0)))
        t = b.select(one, d(0.0), t)
        magic = d(6755399441055744.0)  # 1.5 * 2^52
        sum_ = b.fadd(t, magic)
        n = b.fsub(sum_, magic)
        r = b.fptrunc(b.fsub(t, n), self.type)
        whole = b.trunc(b.bitcast(sum_, integer), self.int_type)
        p = self.fma(self.poly(r, _EXP2), r, self.f(1.0))
        result = self.scale(p, b.fptrunc(n, self.type), whole)
        # Of negative numbers: the sign for odd powers, no number for others than whole ones.
        half = b.fmul(y, self.f(0.5))
        down, halved = (self.intrinsic(b, "llvm.trunc", self.type, [v]) for v in (y, half))
        odd = b.and_(b.fcmp_ordered("==", down, y), b.fcmp_ordered("!=", halved, half))
        sign = b.and_(self.bits(x), self.i(-0x80000000))
        result = self.select(odd, self.as_float(b.or_(self.bits(result), sign)), result)
        negative = b.and_(self.less(x, self.f(0.0)), self.less(self.f(-math.inf), x))
        lost = b.and_(negative, b.fcmp_unordered("!=", down, y))
        return self.select(lost, self.f(math.nan), result)

    def fmod(self, x: Any, y: Any) -> Any:
        """x - q y in f64, exact where the quotient has less than 29 bits: q is the truncated quotient or, where that was
        rounded up, the next."""
        b, (double, _, d, _) = self.b, self._wide()
        a, c = b.fpext(x, double), b.fpext(y, double)
        quotient = b.fdiv(a, c)
        whole = self.intrinsic(b, "llvm.trunc", double, [quotient])
        r = b.fsub(a, b.fmul(whole, c))
        size = self.intrinsic(b, "llvm.fabs", double, [c])
        back = b.select(b.fcmp_ordered("<", a, d(0.0)), b.fneg(size), size)
        r = b.select(b.fcmp_ordered("<", b.fmul(r, a), d(0.0)), b.fadd(r, back), r)
        near = b.fptrunc(r, self.type)
        inside = b.and_(b.fcmp_ordered("==", size, d(math.inf)), self.less(self.abs(x), self.f(math.inf)))
        near = self.copysign(self.select(inside, x, near), x)
        far = b.fcmp_ordered(">=", self.intrinsic(b, "llvm.fabs", double, [quotient]), d(2.0**29))
        return b.call(self._far_remainder(), [x, y, near, far])

    def _far_remainder(self) -> ir.Function:
        """The function (x, y, near, far) -> near or, where far, the C library's fmod: inlined later, as `_large_quadrant`."""
        name, module, lanes = f"openxpu.far_remainder.{self.lanes}", self.b.module, self.lanes
        if name in module.globals:
            return module.globals[name]
        bit = ir.IntType(1)
        flags = ir.VectorType(bit, lanes) if lanes else bit
        function = ir.Function(
            module, ir.FunctionType(self.type, [self.type, self.type, self.type, flags]), name
        )
        function.linkage = "internal"
        function.attributes.add("alwaysinline")
        x, y, near, far = function.args
        entry, slow, done = (function.append_basic_block(part) for part in ("entry", "slow", "done"))
        b = ir.IRBuilder(entry)
        any_far = (
            b.icmp_unsigned("!=", b.bitcast(far, ir.IntType(lanes)), ir.IntType(lanes)(0)) if lanes else far
        )
        b.cbranch(any_far, slow, done)
        b.position_at_end(slow)
        found = ir.Constant(self.type, ir.Undefined) if lanes else None
        for lane in range(lanes or 1):
            at = ir.Constant(I32, lane)
            pair = [b.extract_element(v, at) if lanes else v for v in (x, y)]
            value = self.intrinsic(b, "!fmodf", F32, pair)
            found = b.insert_element(found, value, at) if lanes else value
        chosen = b.select(far, found, near)
        b.branch(done)
        b.position_at_end(done)
        result = b.phi(self.type)
        result.add_incoming(near, entry)
        result.add_incoming(chosen, slow)
        b.ret(result)
        return function

    def expm1(self, x: Any) -> Any:
        """2^n * (exp(r) - 1) + (2^n - 1): no cancellation near zero."""
        clamped = self.clamp(x, -30.0, 89.0)
        nf, n = self.round_split(self.b.fmul(clamped, self.f(1.4426950408889634)))
        r = self.fma(nf, self.f(-0.693145751953125), clamped)
        r = self.fma(nf, self.f(-1.4286068203094172e-06), r)
        p = self.poly(r, [0.5, 0.16666666, 0.041666295, 0.008333497, 0.0013944657, 0.00019790344])
        p = self.fma(self.b.fmul(r, r), p, r)
        # 2^n overflows for n = 128 while the result may not: work with half of it.
        half = self.as_float(self.b.shl(self.b.add(n, self.i(126)), self.i(23)))
        result = self.fma(half, p, self.b.fsub(half, self.f(0.5)))
        result = self.b.fadd(result, result)
        return self.select(self.b.fcmp_ordered("==", x, self.f(0.0)), x, result)

    def _log_parts(self, x: Any) -> tuple[Any, Any, Any]:
        """x = 2^e * (1 + f), -1/4 <= f < 1/2: e as f32, f, and the tail f^3 * p(f) - f^2/2."""
        if self.avx512:
            # Of zero, infinity and what has no logarithm they give what the result has to be.
            ef = self._instruction("getexp", [x, x])
            m = self._instruction("getmant", [x, ir.Constant(I32, 0b1011), x])
            ef = self.select(self.less(m, self.f(1.0)), self.b.fadd(ef, self.f(1.0)), ef)
        else:
            tiny = self.less(x, self.f(1.17549435e-38))
            scaled = self.select(tiny, self.b.fmul(x, self.f(8388608.0)), x)
            bits = self.bits(scaled)
            e = self.b.ashr(self.b.sub(bits, self.i(0x3F400000)), self.i(23))
            m = self.as_float(self.b.sub(bits, self.b.shl(e, self.i(23))))
            ef = self.b.sitofp(e, self.type)
            ef = self.b.fsub(ef, self.select(tiny, self.f(23.0), self.f(0.0)))
        f = self.b.fsub(m, self.f(1.0))
        p = self.poly(
            f,
            [
                0.3333334,
                -0.25000164,
                0.19999605,
                -0.16655296,
                0.1427624,
                -0.1272778,
                0.117006585,
                -0.091161735,
                0.03767276,
            ],
        )
        square = self.b.fmul(f, f)
        tail = self.fma(self.b.fmul(p, f), square, self.b.fmul(square, self.f(-0.5)))
        return ef, f, tail

    def _log_edges(self, x: Any, result: Any) -> Any:
        if self.avx512:
            return result
        result = self.select(self.b.fcmp_ordered("==", x, self.f(math.inf)), x, result)
        result = self.select(self.b.fcmp_unordered("<", x, self.f(0.0)), self.f(math.nan), result)
        return self.select(self.b.fcmp_ordered("==", x, self.f(0.0)), self.f(-math.inf), result)

    def log(self, x: Any) -> Any:
        e, f, tail = self._log_parts(x)
        low = self.fma(e, self.f(1.4286068203094172e-06), tail)
        result = self.fma(e, self.f(0.693145751953125), self.b.fadd(f, low))
        return self._log_edges(x, result)

    def log2(self, x: Any) -> Any:
        e, f, tail = self._log_parts(x)
        extra = self.f(0.4426950408889634)
        result = self.fma(tail, extra, tail)
        result = self.fma(f, extra, result)
        result = self.b.fadd(self.b.fadd(result, f), e)
        return self._log_edges(x, result)

    def log1p(self, x: Any) -> Any:
        """log(u) + (x - (u - 1)) / u with u = 1 + x; the quotient restores what rounding u lost."""
        u = self.b.fadd(x, self.f(1.0))
        lost = self.b.fdiv(self.b.fsub(x, self.b.fsub(u, self.f(1.0))), u)
        result = self.b.fadd(self.log(u), lost)
        exact = self.b.fcmp_ordered("==", u, self.f(1.0))
        result = self.select(exact, x, result)
        infinite = self.b.fcmp_ordered("==", self.abs(x), self.f(math.inf))
        result = self.select(
            infinite,
            self.select(self.less(x, self.f(0.0)), self.f(math.nan), x),
            result,
        )
        return self.select(self.b.fcmp_ordered("==", x, self.f(-1.0)), self.f(-math.inf), result)

    def tanh(self, x: Any) -> Any:
        """Odd polynomial below 0.625, 1 - 2 / (exp(2|x|) + 1) above."""
        a = self.abs(x)
        s = self.b.fmul(x, x)
        p = self.poly(s, [-0.3333328, 0.13331442, -0.053739715, 0.020639088, -0.0057049873])
        small = self.fma(self.b.fmul(p, s), x, x)
        double = self.b.fadd(a, a)
        double = self.select(self.less(self.f(40.0), double), self.f(40.0), double)
        share = self.b.fadd(self._exp(double), self.f(1.0))
        if self.avx512:
            part = self._instruction("rcp14", [share, share], rounds=False)
            part = self.fma(part, self.fma(self.b.fneg(share), part, self.f(1.0)), part)
        else:
            part = self.b.fdiv(self.f(1.0), share)
        large = self.fma(part, self.f(-2.0), self.f(1.0))
        return self.select(self.less(a, self.f(0.625)), small, self.copysign(large, x))

    def erf(self, x: Any) -> Any:
        """1 - 2^-t with t = a p(a), a = |x| up to 4. With t = n + f and 2^-f = 1 + f r(f) it is (1 - 2^-n) - 2^-n f r(f),
        where the first term is exact: no digits are lost near zero, and nothing has to be chosen."""
        a = self.abs(x)
        a = self.select(self.less(self.f(4.0), a), self.f(4.0), a)
        p = self.poly(
            a,
            [
                1.6279070377349854,
                0.9184476137161255,
                0.14827705919742584,
                -0.027632027864456177,
                -0.0002314064622623846,
                0.0024050166830420494,
                -0.0009129932732321322,
                0.0001697213010629639,
                -1.3354067959880922e-05,
            ],
        )
        magic = 12582912.0  # 1.5 * 2^23: what is added to it becomes whole, in its low bits
        z = self.fma(p, a, self.f(magic))
        whole = self.b.fsub(z, self.f(magic))
        f = self.fma(p, a, self.b.fneg(whole))
        r = self.poly(
            f,
            [
                -0.6931471824645996,
                0.24022649228572845,
                -0.05550357699394226,
                0.009618263691663742,
                -0.0013390704989433289,
                0.00015395255468320101,
            ],
        )
        power = self.as_float(self.b.sub(self.i(127 << 23), self.b.shl(self.bits(z), self.i(23))))
        part = self.b.fneg(self.b.fmul(power, f))
        return self.copysign(self.fma(part, r, self.b.fsub(self.f(1.0), power)), x)

    def _quadrant(self, x: Any) -> tuple[Any, Any]:
        """x - n * pi/2, and an i32 whose last two bits are those of n: with pi/2 in three parts (Cody and Waite 1980), of which
        the first leaves no error where multiply-adds round once; what is too large for it otherwise."""
        if self.fused:
            magic = self.f(12582912.0)
            shifted = self.fma(x, self.f(2 / math.pi), magic)
            n, r = self.b.fneg(self.b.fsub(shifted, magic)), x
            for part in (1.57079637, -4.37113883e-08, -1.71512451e-15):
                r = self.fma(n, self.f(part), r)
            near = r, self.bits(shifted)
        else:
            near = self._wide_quadrant(x)
        pair = self.b.call(self._large_quadrant(), [x, *near])
        return self.b.extract_value(pair, 0), self.b.extract_value(pair, 1)

    def _wide_quadrant(self, x: Any) -> tuple[Any, Any]:
        """The same, reduced in f64."""
        wide, _, d, _ = self._wide()

        def call(name: str, *arguments: Any) -> Any:
            return self.intrinsic(self.b, name, wide, list(arguments))

        y = self.b.fpext(x, wide)
        n = call("llvm.rint", self.b.fmul(y, d(0.6366197723675814)))
        negative = self.b.fneg(n)
        if self.fused:
            r = call("llvm.fma", negative, d(1.5707963267948966), y)
        else:
            # The product in two parts (Dekker 1971): y is close to it, so that what is subtracted first is exact.
            scaled = self.b.fmul(n, d(134217729.0))
            high = self.b.fsub(scaled, self.b.fsub(scaled, n))
            low = self.b.fsub(n, high)
            product = self.b.fmul(n, d(1.5707963267948966))
            pi_high, pi_low = d(1.5707963407039642), d(-1.3909067675399456e-08)
            error = self.b.fsub(self.b.fmul(high, pi_high), product)
            for x_part, pi_part in ((high, pi_low), (low, pi_high), (low, pi_low)):
                error = self.b.fadd(error, self.b.fmul(x_part, pi_part))
            r = self.b.fsub(self.b.fsub(y, product), error)
        r = call("llvm.fmuladd", negative, d(6.123233995736766e-17), r)
        quarter = call("llvm.floor", self.b.fmul(n, d(0.25)))
        q = call("llvm.fmuladd", quarter, d(-4.0), n)  # exact
        good = self.b.fcmp_ordered("<=", q, d(3.0))
        q = self.b.select(good, q, d(0.0))
        return self.b.fptrunc(r, self.type), self.b.fptosi(q, self.int_type)

    def _large_quadrant(self) -> ir.Function:
        """The function (x, r, n) -> (r, n) that reduces anew what is too large for `_quadrant`: in f64 or, from 2^30 on, by
        tables: of m 2^e with a whole m below 2^24, 2^e 2 / pi modulo 4 is there, 29 bits, whose product with m is exact, and
        53 more. A function of the module, inlined later, because its branch keeps them from costing anything in the
        usual range."""
        name = f"openxpu.large_quadrant.{self.lanes}"
        module = self.b.module
        if name in module.globals:
            return module.globals[name]
        lanes = self.lanes

        def many(type: Any) -> Any:
            return ir.VectorType(type, lanes) if lanes else type

        def all_of(type: Any, value: float) -> ir.Constant:
            one = ir.Constant(type, value)
            return ir.Constant(many(type), [one] * lanes) if lanes else one

        result = ir.LiteralStructType([self.type, self.int_type])
        function = ir.Function(module, ir.FunctionType(result, [self.type, self.type, self.int_type]), name)
        function.linkage = "internal"
        function.attributes.add("alwaysinline")
        x, r, n = function.args
        entry, far, done = (function.append_basic_block(part) for part in ("entry", "far", "done"))
        b = ir.IRBuilder(entry)
        bits = b.bitcast(x, self.int_type)
        exponent = b.and_(b.lshr(bits, all_of(I32, 23)), all_of(I32, 255))
        index = b.sub(exponent, all_of(I32, _LARGE))
        large = b.icmp_unsigned("<", index, all_of(I32, 255 - _LARGE))
        least = _WIDE if self.fused else _LARGE
        beyond = b.icmp_unsigned("<", b.sub(exponent, all_of(I32, least)), all_of(I32, 255 - least))
        found = (
            b.icmp_unsigned("!=", b.bitcast(beyond, ir.IntType(lanes)), ir.IntType(lanes)(0))
            if lanes
            else beyond
        )
        b.cbranch(found, far, done)

        b.position_at_end(far)
        wide_r, wide_n = r, n
        if self.fused:
            wide_r, wide_n = FloatMath(b, x, self.intrinsic, self.target)._wide_quadrant(x)
            wide_r, wide_n = b.select(beyond, wide_r, r), b.select(beyond, wide_n, n)
        index = b.select(large, index, all_of(I32, 0))
        mantissa = b.or_(b.and_(bits, all_of(I32, 0x7FFFFF)), all_of(I32, 0x800000))
        m = b.sitofp(mantissa, many(F64))
        tables = []
        for part, values in zip(("high", "low"), _turns(), strict=True):
            table = ir.GlobalVariable(module, ir.ArrayType(F64, len(values)), f"{name}.{part}")
            table.linkage, table.global_constant = "internal", True
            table.initializer = ir.Constant(table.type.pointee, values)
            loaded = ir.Constant(many(F64), ir.Undefined)
            for lane in range(lanes or 1):
                at = b.extract_element(index, ir.Constant(I32, lane)) if lanes else index
                value = b.load(
                    b.gep(table, [ir.Constant(I32, 0), at], source_etype=table.type.pointee), typ=F64
                )
                loaded = b.insert_element(loaded, value, ir.Constant(I32, lane)) if lanes else value
            tables.append(loaded)
        high, low = (b.fmul(m, table) for table in tables)
        whole = self.intrinsic(b, "llvm.rint", many(F64), [high])
        rest = b.fadd(b.fsub(high, whole), low)
        more = self.intrinsic(b, "llvm.rint", many(F64), [rest])
        turn = b.fadd(whole, more)
        angle = b.fptrunc(b.fmul(b.fsub(rest, more), all_of(F64, math.pi / 2)), self.type)
        quarter = b.fptosi(turn, self.int_type)  # below 2^27
        negative = b.icmp_signed("<", bits, all_of(I32, 0))
        angle = b.select(negative, b.fneg(angle), angle)
        quarter = b.select(negative, b.neg(quarter), quarter)
        far_r, far_n = b.select(large, angle, wide_r), b.select(large, quarter, wide_n)
        b.branch(done)

        b.position_at_end(done)
        values = []
        for type, near_value, far_value in ((self.type, r, far_r), (self.int_type, n, far_n)):
            phi = b.phi(type)
            phi.add_incoming(near_value, entry)
            phi.add_incoming(far_value, far)
            values.append(phi)
        pair: Any = b.insert_value(ir.Constant(result, ir.Undefined), values[0], 0)
        b.ret(b.insert_value(pair, values[1], 1))
        return function

    def _kernels(self, r: Any) -> tuple[Any, Any]:
        """Sine and cosine for |r| <= pi/4."""
        s = self.b.fmul(r, r)
        p = self.poly(s, [-0.16666667, 0.008333329, -0.00019839303, 2.718026e-06])
        sine = self.fma(self.b.fmul(p, s), r, r)
        p = self.poly(s, [0.041666668, -0.0013888883, 2.4799449e-05, -2.720485e-07])
        return sine, self.fma(self.b.fmul(p, s), s, self.fma(s, self.f(-0.5), self.f(1.0)))

    def _sincos(self, x: Any, shift: int) -> Any:
        r, q = self._quadrant(x)
        if shift:
            q = self.b.add(q, self.i(shift))
        sine, cosine = self._kernels(r)
        odd = self.b.icmp_signed("!=", self.b.and_(q, self.i(1)), self.i(0))
        result = self.bits(self.select(odd, cosine, sine))
        sign = self.b.shl(self.b.and_(q, self.i(2)), self.i(30))
        return self.as_float(self.b.xor(result, sign))

    def sin(self, x: Any) -> Any:
        result = self._sincos(x, 0)
        return self.select(self.b.fcmp_ordered("==", x, self.f(0.0)), x, result)

    def cos(self, x: Any) -> Any:
        return self._sincos(x, 1)

    def tan(self, x: Any) -> Any:
        r, q = self._quadrant(x)
        sine, cosine = self._kernels(r)
        odd = self.b.icmp_signed("!=", self.b.and_(q, self.i(1)), self.i(0))
        above = self.select(odd, self.b.fneg(cosine), sine)
        result = self.b.fdiv(above, self.select(odd, sine, cosine))
        return self.select(self.b.fcmp_ordered("==", x, self.f(0.0)), x, result)

    def _atan_unit(self, t: Any) -> Any:
        """atan(t) - t for |t| <= 1."""
        s = self.b.fmul(t, t)
        p = self.poly(
            s,
            [
                -0.333332986,
                0.199985489,
                -0.142642408,
                0.109521814,
                -0.0840343684,
                0.0579573587,
                -0.0311776139,
                0.0109144812,
                -0.00179359387,
            ],
        )
        return self.b.fmul(self.b.fmul(p, s), t)

    def atan(self, x: Any) -> Any:
        """Beyond one pi/2 + atan(-1 / |x|), with pi/2 in two parts."""
        a = self.abs(x)
        far = self.less(self.f(1.0), a)
        t = self.select(far, self.b.fdiv(self.f(-1.0), a), a)
        inner = self.b.fadd(self._atan_unit(t), self.select(far, self.f(-4.371139e-08), self.f(0.0)))
        inner = self.b.fadd(t, inner)
        return self.copysign(self.b.fadd(self.select(far, self.f(1.57079637), self.f(0.0)), inner), x)

    def atan2(self, y: Any, x: Any) -> Any:
        """The smaller over the larger side, mirrored at the diagonal and at the vertical."""
        above, right = self.abs(y), self.abs(x)
        steep = self.less(right, above)
        low, high = self.select(steep, right, above), self.select(steep, above, right)
        t = self.b.fdiv(low, high)
        t = self.select(self.b.fcmp_ordered("==", low, self.f(math.inf)), self.f(1.0), t)
        t = self.select(self.b.fcmp_ordered("==", high, self.f(0.0)), self.f(0.0), t)
        tail = self._atan_unit(t)
        mirrored = self.b.fsub(self.f(-4.371139e-08), tail)
        angle = self.select(
            steep, self.b.fadd(self.f(1.57079637), self.b.fsub(mirrored, t)), self.b.fadd(t, tail)
        )
        left = self.b.icmp_signed("<", self.bits(x), self.i(0))
        behind = self.b.fadd(self.f(3.14159274), self.b.fsub(self.f(-8.742278e-08), angle))
        result = self.copysign(self.select(left, behind, angle), y)
        return self.select(self.b.fcmp_unordered("uno", x, y), self.b.fadd(x, y), result)

    def _asin_parts(self, x: Any) -> tuple[Any, Any, Any, Any]:
        """Whether |x| > 1/2; t and asin(t) - t, where t is |x|, or sqrt((1 - |x|) / 2), half of whose angle's rest it is."""
        a = self.abs(x)
        far = self.less(self.f(0.5), a)
        half = self.fma(a, self.f(-0.5), self.f(0.5))
        s = self.select(far, half, self.b.fmul(a, a))
        t = self.select(far, self.intrinsic(self.b, "llvm.sqrt", self.type, [half]), a)
        p = self.poly(s, [0.166667521, 0.074952975, 0.0454703756, 0.0241795257, 0.0421662852])
        return far, a, t, self.b.fmul(self.b.fmul(p, s), t)

    def asin(self, x: Any) -> Any:
        far, a, t, tail = self._asin_parts(x)
        near_one = self.fma(tail, self.f(-2.0), self.f(-4.371139e-08))
        near_one = self.b.fadd(self.fma(t, self.f(-2.0), self.f(1.57079637)), near_one)
        result = self.copysign(self.select(far, near_one, self.b.fadd(t, tail)), x)
        return self.select(self.less(self.f(1.0), a), self.f(math.nan), result)

    def acos(self, x: Any) -> Any:
        far, a, t, tail = self._asin_parts(x)
        rest = self.b.fadd(t, tail)
        double = self.b.fadd(rest, rest)
        negative = self.less(x, self.f(0.0))
        mirrored = self.b.fsub(self.f(3.14159274), self.b.fadd(double, self.f(8.742278e-08)))
        middle = self.b.fadd(self.copysign(rest, x), self.f(4.371139e-08))
        middle = self.b.fsub(self.f(1.57079637), middle)
        result = self.select(far, self.select(negative, mirrored, double), middle)
        return self.select(self.less(self.f(1.0), a), self.f(math.nan), result)

    def asinh(self, x: Any) -> Any:
        """log(1 + a + a^2 / (1 + sqrt(1 + a^2))); beyond 2^60, where the square would overflow, log(a) + log(2)."""
        a = self.abs(x)
        far = self.less(self.f(2.0**60), a)
        small = self.select(far, self.f(1.0), a)
        square = self.b.fmul(small, small)
        root = self.intrinsic(self.b, "llvm.sqrt", self.type, [self.b.fadd(square, self.f(1.0))])
        inner = self.b.fadd(small, self.b.fdiv(square, self.b.fadd(root, self.f(1.0))))
        return self.copysign(self.select(far, self._log_double(a), self.log1p(inner)), x)

    def acosh(self, x: Any) -> Any:
        """log(1 + t + sqrt(2t + t^2)) with t = x - 1."""
        far = self.less(self.f(2.0**60), x)
        t = self.b.fsub(self.select(far, self.f(1.0), x), self.f(1.0))
        inside = self.b.fmul(t, self.b.fadd(t, self.f(2.0)))
        root = self.intrinsic(self.b, "llvm.sqrt", self.type, [inside])
        result = self.select(far, self._log_double(x), self.log1p(self.b.fadd(t, root)))
        return self.select(self.less(x, self.f(1.0)), self.f(math.nan), result)

    def _log_double(self, x: Any) -> Any:
        return self.b.fadd(self.log(x), self.f(0.6931472))

    def atanh(self, x: Any) -> Any:
        """log(1 + 2a / (1 - a)) / 2."""
        a = self.abs(x)
        ratio = self.b.fdiv(self.b.fadd(a, a), self.b.fsub(self.f(1.0), a))
        return self.copysign(self.b.fmul(self.log1p(ratio), self.f(0.5)), x)

    def nextafter(self, x: Any, y: Any) -> Any:
        """Numbers of one sign are ordered as their bits are."""
        bits = self.bits(x)
        away = self.b.icmp_signed(
            "==",
            self.b.zext(self.less(x, y), self.int_type),
            self.b.zext(self.less(self.f(0.0), x), self.int_type),
        )
        stepped = self.as_float(self.b.add(bits, self.select(away, self.i(1), self.i(-1))))
        tiny = self.copysign(self.as_float(self.i(1)), y)
        result = self.select(self.b.fcmp_ordered("==", x, self.f(0.0)), tiny, stepped)
        result = self.select(self.b.fcmp_ordered("==", x, y), y, result)
        return self.select(self.b.fcmp_unordered("uno", x, y), self.b.fadd(x, y), result)

    def rsqrt(self, x: Any) -> Any:
        """With AVX-512 an estimate of 14 bits and one step of Newton's; of zero and infinity it is exact, and the step is not."""
        if self.avx512:
            y = self._instruction("rsqrt14", [x, x], rounds=False)
            error = self.fma(self.b.fmul(self.b.fneg(x), y), y, self.f(1.0))
            better = self.fma(self.b.fmul(y, self.f(0.5)), error, y)
            return self.select(self.b.fcmp_ordered("ord", error, error), better, y)
        return self.b.fdiv(self.f(1.0), self.intrinsic(self.b, "llvm.sqrt", self.type, [x]))


FUNCTIONS = (
    "exp",
    "exp2",
    "expm1",
    "log",
    "log2",
    "log1p",
    "tanh",
    "erf",
    "sin",
    "cos",
    "rsqrt",
    "pow",
    "fmod",
    "tan",
    "atan",
    "atan2",
    "asin",
    "acos",
    "asinh",
    "acosh",
    "atanh",
    "nextafter",
)
