# Elementary functions that Triton's language does not have, for f32 and f64.
import triton
import triton.language as tl
from triton.language import core


@core.extern
def _libm(name: core.constexpr, x, _semantic=None):
    """A function that the compiler knows by its C name: vectors in f32 (openxpu.compiler.math), the C library lane by lane in f64."""
    name = core._unwrap_if_constexpr(name)
    f32, f64 = core.dtype("fp32"), core.dtype("fp64")
    return core.extern_elementwise(
        "", "", [x], {(f32,): (name + "f", f32), (f64,): (name, f64)}, is_pure=True, _semantic=_semantic
    )


@core.extern
def _libm2(name: core.constexpr, x, y, _semantic=None):
    name = core._unwrap_if_constexpr(name)
    f32, f64 = core.dtype("fp32"), core.dtype("fp64")
    table = {(f32, f32): (name + "f", f32), (f64, f64): (name, f64)}
    return core.extern_elementwise("", "", [x, y], table, is_pure=True, _semantic=_semantic)


@triton.jit
def tan(x):
    return _libm("tan", x)


@triton.jit
def asin(x):
    return _libm("asin", x)


@triton.jit
def acos(x):
    return _libm("acos", x)


@triton.jit
def atan(x):
    return _libm("atan", x)


@triton.jit
def asinh(x):
    return _libm("asinh", x)


@triton.jit
def acosh(x):
    return _libm("acosh", x)


@triton.jit
def atanh(x):
    return _libm("atanh", x)


@triton.jit
def power(x, y):
    """x to the power y."""
    return _libm2("pow", x, y)


@triton.jit
def fmod(x, y):
    """The remainder of x / y with the sign of x."""
    return _libm2("fmod", x, y)


@triton.jit
def tanh(x):
    """A polynomial where 1 - exp(-2x) would cancel. Source: Cephes mathematical library (Moshier), tanhf and tanh."""
    size = tl.abs(x)
    z = x * x
    if x.dtype == tl.float64:
        numerator = (-9.64399179425052238628e-1 * z - 9.92877231001918586564e1) * z - 1.61468768441708447952e3
        denominator = (
            (z + 1.12811678491632931402e2) * z + 2.23548839060100448583e3
        ) * z + 4.84406305325125486048e3
        small = x + x * z * (numerator / denominator)
    else:
        p = (-5.70498872745e-3 * z + 2.06390887954e-2) * z - 5.37397155531e-2
        p = (p * z + 1.33314422036e-1) * z - 3.33332819422e-1
        small = x + x * z * p
    e = tl.exp(size * -2.0)
    large = (1.0 - e) / (1.0 + e)
    large = tl.where(x < 0, -large, large)
    return tl.where(size < 0.625, small, large)


@triton.jit
def expm1(x):
    """exp(x) - 1; Taylor's series where the difference would cancel."""
    if x.dtype == tl.float64:
        p = x * (1.0 / 17.0) + 1.0
        for i in tl.static_range(14):
            p = p * x * (1.0 / (16 - i)) + 1.0
        p = p * x * 0.5 + 1.0
        small = p * x
    else:
        p = x * (1.0 / 9.0) + 1.0
        for i in tl.static_range(6):
            p = p * x * (1.0 / (8 - i)) + 1.0
        p = p * x * 0.5 + 1.0
        small = p * x
    return tl.where(tl.abs(x) < 0.5, small, tl.exp(x) - 1.0)


@triton.jit
def log1p(x):
    """log(1 + x), corrected by what 1 + x lost. Source: Hewlett-Packard HP-15C advanced functions handbook (Kahan)."""
    u = x + 1.0
    d = u - 1.0
    exact = (d == 0) | (u == float("inf"))
    return tl.where(d == 0, x, tl.where(exact, u, tl.log(u) * (x / tl.where(exact, 1.0, d))))


@triton.jit
def sinh(x):
    size = tl.abs(x)
    e = expm1(size)
    half = tl.exp(size * 0.5)
    value = tl.where(size < 80.0, 0.5 * (e + e / (e + 1.0)), (0.5 * half) * half)
    return tl.where(x < 0, -value, value)


@triton.jit
def cosh(x):
    size = tl.abs(x)
    half = tl.exp(size * 0.5)
    e = tl.exp(size)
    return tl.where(size < 80.0, 0.5 * (e + 1.0 / e), (0.5 * half) * half)


@triton.jit
def sigmoid(x):
    return 1.0 / (1.0 + tl.exp(-x))


@triton.jit
def trunc(x):
    """Rounds towards zero."""
    return tl.where(x < 0, tl.ceil(x), tl.floor(x))
