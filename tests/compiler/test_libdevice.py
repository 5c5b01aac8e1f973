"""libdevice: every function of Triton's list is there; values against SciPy, NumPy and exact arithmetic."""

import math
from fractions import Fraction

import numpy as np
import pytest
import scipy.special
from harness import guarded, launch
from triton.language.extra import libdevice as listed
from values import DTYPES, sample
from written import kernel, rows

from openxpu.compiler import libdevice

RNG = np.random.default_rng(11)


def test_every_function_of_the_list_is_there():
    names = [
        n for n, f in vars(listed).items() if callable(f) and getattr(f, "__module__", "") == listed.__name__
    ]
    assert len(names) > 150
    assert [n for n in names if not hasattr(libdevice, n)] == []


# name -> (reference, low, high, ulps of f32)
FUNCTIONS = {
    "acos": (np.arccos, -1, 1, 2), "acosh": (np.arccosh, 1, 90, 2), "asin": (np.arcsin, -1, 1, 2), "asinh": (np.arcsinh, -9, 9, 2),
    "atan": (np.arctan, -9, 9, 2), "atanh": (np.arctanh, -0.99, 0.99, 2), "cbrt": (np.cbrt, -9, 9, 2), "ceil": (np.ceil, -9, 9, 0),
    "cos": (np.cos, -9, 9, 2), "cosh": (np.cosh, -9, 9, 3), "erf": (scipy.special.erf, -4, 4, 3), "erfc": (scipy.special.erfc, -4, 8, 4),
    "exp": (np.exp, -80, 80, 2), "exp10": (lambda x: 10.0**x, -30, 30, 2), "exp2": (np.exp2, -90, 90, 2), "expm1": (np.expm1, -9, 9, 3),
    "floor": (np.floor, -9, 9, 0), "j0": (scipy.special.j0, 0.1, 2, 4), "j1": (scipy.special.j1, 0.1, 3, 4),
    "lgamma": (scipy.special.gammaln, 3, 90, 4), "log": (np.log, 0.01, 90, 2), "log10": (np.log10, 0.01, 90, 3),
    "log1p": (np.log1p, -0.9, 90, 3), "log2": (np.log2, 0.01, 90, 2), "rint": (np.rint, -9, 9, 0), "round": (lambda x: np.trunc(x + np.copysign(0.5, x)), -9, 9, 0),
    "rsqrt": (lambda x: 1 / np.sqrt(x), 0.01, 90, 2), "sin": (np.sin, -9, 9, 2), "sinh": (np.sinh, -9, 9, 3), "sqrt": (np.sqrt, 0, 90, 0.51),
    "tan": (np.tan, -1.5, 1.5, 3), "tanh": (np.tanh, -9, 9, 2), "tgamma": (scipy.special.gamma, 0.1, 20, 9), "trunc": (np.trunc, -9, 9, 0),
    "y0": (scipy.special.y0, 1, 3, 9), "y1": (scipy.special.y1, 0.1, 2, 9), "fabs": (np.abs, -9, 9, 0), "abs": (np.abs, -9, 9, 0),
    "nearbyint": (np.rint, -9, 9, 0), "sinpi": (lambda x: np.sin(np.pi * np.fmod(x, 2)), -0.5, 0.5, 3), "cospi": (lambda x: np.cos(np.pi * np.fmod(x, 2)), -0.4, 0.4, 3),
    "rcbrt": (lambda x: 1 / np.cbrt(x), 0.1, 9, 3), "cyl_bessel_i0": (scipy.special.i0, -80, 80, 2), "cyl_bessel_i1": (scipy.special.i1, -80, 80, 2),
    "erfinv": (scipy.special.erfinv, -0.9999, 0.9999, 2), "erfcinv": (scipy.special.erfcinv, 1e-30, 1.9999, 2), "erfcx": (scipy.special.erfcx, -8, 80, 2),
    "normcdf": (scipy.special.ndtr, -8, 8, 40), "normcdfinv": (scipy.special.ndtri, 1e-9, 0.999, 2), "rsqrt_rn": (lambda x: 1 / np.sqrt(x), 0.1, 9, 2),
    "logb": (lambda x: np.floor(np.log2(np.abs(x))), -90, 90, 0), "saturatef": (lambda x: np.clip(x, 0, 1), -2, 2, 0),
    "fast_sinf": (np.sin, -3, 3, 2), "fast_cosf": (np.cos, -1, 1, 2), "fast_log2f": (np.log2, 2, 9, 2), "fast_logf": (np.log, 2, 9, 2),
    "fast_expf": (np.exp, -9, 9, 2), "fast_tanhf": (np.tanh, -9, 9, 2), "fast_tanf": (np.tan, -1, 1, 3), "fast_exp10f": (lambda x: 10.0**x, -9, 9, 2),
    "fast_log10f": (np.log10, 2, 9, 3),
}  # fmt: skip


@pytest.mark.parametrize("dtype", ["f16", "bf16", "f32", "f64"])
@pytest.mark.parametrize("name", FUNCTIONS)
def test_function_of_floats(name, dtype):
    kind = DTYPES[dtype]
    if dtype != "f32" and (name.startswith("fast_") or name == "saturatef"):
        return  # of f32 only
    reference, low, high, ulps = FUNCTIONS[name]
    x = RNG.uniform(low, high, 300).astype(kind)
    x = x[(x.astype("f8") >= low) & (x.astype("f8") <= high)]
    out = guarded(np.zeros((1, x.size), kind))
    launch(kernel(rows([f"libdevice.{name}(a)"], 1)), (1,), guarded(x), out, x.size, BLOCK=512)
    with np.errstate(all="ignore"):
        exact = reference(x.astype("f8"))
        rounded = exact.astype(kind).astype("f8")
    good = np.isfinite(rounded) & (np.abs(rounded) > 1e-36)
    if kind.itemsize == 2:  # of f32, rounded
        np.testing.assert_allclose(
            out[0].astype("f8")[good], exact[good], rtol=2.0**-10 if dtype == "f16" else 2.0**-7, atol=1e-7
        )
        return
    unit = np.spacing(np.abs(rounded[good]).astype(kind)).astype("f8")
    error = np.abs(out[0].astype("f8")[good] - exact[good]) / unit
    assert error.max() <= ulps * (1 if dtype == "f32" else 40), (x[good][error.argmax()], error.max())


BINARY = {
    "atan2": np.arctan2, "copysign": np.copysign, "fdim": lambda a, b: np.where(a > b, a - b, 0), "fmod": np.fmod, "hypot": np.hypot,
    "nextafter": np.nextafter, "pow": lambda a, b: np.abs(a) ** b, "remainder": lambda a, b: a - b * np.rint(a / b),
    "rhypot": lambda a, b: 1 / np.hypot(a, b), "fast_powf": lambda a, b: np.abs(a) ** b, "fast_dividef": np.divide,
}  # fmt: skip


@pytest.mark.parametrize("dtype", ["f32", "f64"])
@pytest.mark.parametrize("name", BINARY)
def test_function_of_two_floats(name, dtype):
    kind = DTYPES[dtype]
    a, b = (RNG.uniform(-9, 9, 100).astype(kind) for _ in range(2))
    out = np.zeros((1, 100), kind)
    first = "tl.abs(a)" if "pow" in name else "a"
    launch(kernel(rows([f"libdevice.{name}({first}, b)"])), (1,), a, b, out, 100, BLOCK=128)
    wide = (a, b) if name == "nextafter" else (a.astype("f8"), b.astype("f8"))
    tolerance = 3e-6 if dtype == "f32" or name.startswith("fast") else 1e-13
    np.testing.assert_allclose(
        out[0],
        BINARY[name](*wide),
        rtol=tolerance,
        atol=1e-5 if dtype == "f32" and name == "remainder" else 1e-12,
    )


def test_functions_of_more_arguments():
    a, b, c = (RNG.uniform(0.5, 9, 50).astype("f8") for _ in range(3))
    names = [
        "norm3d(a, b, c)",
        "rnorm3d(a, b, c)",
        "norm4d(a, b, c, a)",
        "rnorm4d(a, b, c, a)",
        "fma(a, b, c)",
        "jn(2, a)",
        "yn(3, a)",
        "ldexp(a, 5)",
        "scalbn(b, -9)",
        "pow(a, 3)",
    ]
    out = np.zeros((len(names), 50))
    launch(kernel(rows(["libdevice." + n for n in names], 3)), (1,), a, b, c, out, 50, BLOCK=64)
    three, four = np.sqrt(a * a + b * b + c * c), np.sqrt(2 * a * a + b * b + c * c)
    expected = [
        three,
        1 / three,
        four,
        1 / four,
        a * b + c,
        scipy.special.jn(2, a),
        scipy.special.yn(3, a),
        a * 32,
        b / 512,
        a**3,
    ]
    np.testing.assert_allclose(out, expected, rtol=1e-12)


@pytest.mark.parametrize("dtype", ["i32", "i64", "u32", "u64"])
def test_bits_of_integers(dtype):
    kind, bits = DTYPES[dtype], DTYPES[dtype].itemsize * 8
    a, b = sample(dtype, 60, 1), sample(dtype, 60, 2)
    names = ["popc(a)", "clz(a)", "ffs(a)", "brev(a)", "mulhi(a, b)", "hadd(a, b)", "rhadd(a, b)"]
    out = np.zeros((len(names), 60), kind)
    launch(kernel(rows(["libdevice." + n for n in names])), (1,), guarded(a), guarded(b), out, 60, BLOCK=64)
    whole = [int(x) & (1 << bits) - 1 for x in a]
    np.testing.assert_array_equal(out[0], [x.bit_count() for x in whole])
    np.testing.assert_array_equal(out[1], [bits - x.bit_length() for x in whole])
    np.testing.assert_array_equal(out[2], [(x & -x).bit_length() for x in whole])
    backwards = np.array([int(f"{x:0{bits}b}"[::-1], 2) for x in whole], f"u{bits // 8}").view(kind)
    np.testing.assert_array_equal(out[3], backwards)
    pairs = [(int(x), int(y)) for x, y in zip(a, b, strict=True)]
    np.testing.assert_array_equal(out[4], [(x * y) >> bits for x, y in pairs])
    np.testing.assert_array_equal(out[5], [(x + y) >> 1 for x, y in pairs])
    np.testing.assert_array_equal(out[6], [(x + y + 1) >> 1 for x, y in pairs])


def test_bytes_and_halves():
    a, b = sample("i32", 40, 1), sample("i32", 40, 2)
    names = ["byte_perm(a, b, 0x5140)", "byte_perm(a, b, 0x8F3A)", "mul24(a, b)", "sad(a, b, 7)"]
    out = np.zeros((4, 40), "i4")
    launch(kernel(rows(["libdevice." + n for n in names])), (1,), a, b, out, 40, BLOCK=64)

    def permute(x, y, selector):
        source = int(x).to_bytes(4, "little", signed=True) + int(y).to_bytes(4, "little", signed=True)
        picked = [selector >> 4 * i & 15 for i in range(4)]
        return int.from_bytes(
            bytes((255 if source[p & 7] & 128 else 0) if p & 8 else source[p & 7] for p in picked),
            "little",
            signed=True,
        )

    np.testing.assert_array_equal(out[0], [permute(x, y, 0x5140) for x, y in zip(a, b, strict=True)])
    np.testing.assert_array_equal(out[1], [permute(x, y, 0x8F3A) for x, y in zip(a, b, strict=True)])
    with np.errstate(over="ignore"):
        np.testing.assert_array_equal(out[2], ((a << 8) >> 8) * ((b << 8) >> 8))
        np.testing.assert_array_equal(out[3], (np.abs(a.astype("i8") - b) + 7).astype("i4"))


def test_bits_of_floats():
    x = np.array([1.5, -0.0, np.inf, -np.inf, np.nan, 1e-310, -7.25, 0.0])
    names = [
        "signbit(a)",
        "isnan(a)",
        "isinf(a)",
        "isfinited(a)",
        "double2hiint(a)",
        "double2loint(a)",
        "ilogb(a)",
        "llrint(a * 0.3)",
        "llround(a * 2)",
    ]
    out = np.zeros((len(names), 8), "i8")
    launch(kernel(rows(["libdevice." + n for n in names], 1)), (1,), x, out, 8, BLOCK=8)
    bits = x.view("i8")
    good = np.isfinite(x)
    np.testing.assert_array_equal(out[:4], [np.signbit(x), np.isnan(x), np.isinf(x), good])
    np.testing.assert_array_equal(out[4], bits >> 32)
    np.testing.assert_array_equal(out[5], (bits & 0xFFFFFFFF).astype("u4").view("i4"))
    np.testing.assert_array_equal(out[6], [0, -(2**31), 2**31 - 1, 2**31 - 1, -(2**31), -1030, 2, -(2**31)])
    np.testing.assert_array_equal(out[7][good], np.rint(x[good] * 0.3))
    np.testing.assert_array_equal(out[8][good], [3, 0, 0, -15, 0])
    back = np.zeros((2, 8))
    names = [
        "libdevice.hiloint2double(libdevice.double2hiint(a), libdevice.double2loint(a))",
        "libdevice.longlong_as_double(libdevice.double_as_longlong(a))",
    ]
    launch(kernel(rows(names, 1)), (1,), x, back, 8, BLOCK=8)
    np.testing.assert_array_equal(back.view("i8"), [bits, bits])
    f, same = np.array([1.5, -2, np.nan, 0], "f4"), np.zeros((1, 4), "f4")
    launch(kernel(rows(["libdevice.int_as_float(libdevice.float_as_int(a))"], 1)), (1,), f, same, 4, BLOCK=4)
    np.testing.assert_array_equal(same[0].view("i4"), f.view("i4"))


def rounded(exact: Fraction, mode: str, kind: np.dtype) -> float:
    """An exact number rounded to a float type in a direction."""
    near = kind.type(float(exact)) if kind == np.float64 else np.float32(float(exact))
    steps = sorted({np.nextafter(near, kind.type(-np.inf)), near, np.nextafter(near, kind.type(np.inf))})
    below = max(s for s in steps if Fraction(float(s)) <= exact)
    above = min(s for s in steps if Fraction(float(s)) >= exact)
    if mode == "rn":
        return float(exact)
    return float({"rd": below, "ru": above, "rz": below if exact > 0 else above}[mode])


@pytest.mark.parametrize("mode", ["rn", "rz", "rd", "ru"])
@pytest.mark.parametrize("dtype", ["f32", "f64"])
def test_rounding_in_a_direction(mode, dtype):
    kind = DTYPES[dtype]
    a, b, c = (RNG.uniform(-9, 9, 60).astype(kind) for _ in range(3))
    a[:5], b[:5] = 1, [1, 2, 4, 0.5, -1]
    names = ["add({m}a, b)", "sub({m}a, b)", "mul({m}a, b)", "div({m}a, b)", "rcp({m}b)", "fma({m}a, b, c)"]
    out = np.zeros((len(names), 60), kind)
    texts = ["libdevice." + n.replace("({m}", f"_{mode}(") for n in names]
    launch(kernel(rows(texts, 3)), (1,), a, b, c, out, 60, BLOCK=64)
    for i in range(60):
        x, y, z = (Fraction(float(v[i])) for v in (a, b, c))
        exact = [x + y, x - y, x * y, x / y, 1 / y, x * y + z]
        for j, e in enumerate(exact):
            if e and (mode != "rn" or dtype == "f64"):  # Python rounds to f64
                assert float(out[j, i]) == rounded(e, mode, kind), (names[j], x, y, z)
    root = np.zeros((1, 60), kind)
    launch(kernel(rows([f"libdevice.sqrt_{mode}(tl.abs(a))"], 1)), (1,), a, root, 60, BLOCK=64)
    for x, r in zip(a, root[0], strict=True):
        exact, found = Fraction(abs(float(x))), Fraction(float(r))
        if mode in ("rd", "rz"):
            assert found**2 <= exact < Fraction(float(np.nextafter(r, kind.type(np.inf)))) ** 2
        elif mode == "ru":
            assert Fraction(float(np.nextafter(r, kind.type(0)))) ** 2 < exact <= found**2


@pytest.mark.parametrize("mode", ["rn", "rz", "rd", "ru"])
def test_conversions_in_a_direction(mode):
    to_whole = {"rn": np.rint, "rz": np.trunc, "rd": np.floor, "ru": np.ceil}[mode]
    x = np.concatenate([RNG.uniform(-1000, 1000, 50), [2.5, -2.5, 0.5, -0.5]])
    names = ["double2int", "double2uint", "double2ll", "double2ull"]
    out = np.zeros((4, x.size), "i8")
    launch(kernel(rows([f"libdevice.{n}_{mode}(a)" for n in names], 1)), (1,), x, out, x.size, BLOCK=64)
    np.testing.assert_array_equal(out[0], to_whole(x))
    np.testing.assert_array_equal(out[1::2], [np.maximum(to_whole(x), 0)] * 2)
    np.testing.assert_array_equal(out[2], to_whole(x))
    single = np.zeros((1, x.size), "f4")
    launch(kernel(rows([f"libdevice.double2float_{mode}(a)"], 1)), (1,), x, single, x.size, BLOCK=64)
    if mode != "rn":
        np.testing.assert_array_equal(
            single[0], [rounded(Fraction(float(v)), mode, np.dtype("f4")) for v in x]
        )
    n = np.concatenate([sample("i64", 40, 3), [2**53 + 1, -(2**53) - 1, 2**24 + 1]]).astype("i8")
    floats = np.zeros((2, n.size))
    launch(
        kernel(rows([f"libdevice.ll2double_{mode}(a)", f"libdevice.ll2float_{mode}(a)"], 1)),
        (1,),
        n,
        floats,
        n.size,
        BLOCK=64,
    )
    if mode != "rn":
        exact = [Fraction(int(v)) for v in n]
        np.testing.assert_array_equal(
            floats[0], [rounded(e, mode, np.dtype("f8")) if e else 0 for e in exact]
        )
        np.testing.assert_array_equal(
            floats[1], [rounded(e, mode, np.dtype("f4")) if e else 0 for e in exact]
        )


def test_edges():
    x = np.array([0, -0.0, np.inf, -np.inf, np.nan, 1, -1, 2])
    names = ["erfinv", "erfcinv", "erfcx", "normcdf", "normcdfinv", "logb", "cyl_bessel_i0", "cyl_bessel_i1"]
    references = [
        scipy.special.erfinv,
        scipy.special.erfcinv,
        scipy.special.erfcx,
        scipy.special.ndtr,
        scipy.special.ndtri,
        None,
        scipy.special.i0,
        scipy.special.i1,
    ]
    out = np.zeros((len(names), 8))
    launch(kernel(rows([f"libdevice.{n}(a)" for n in names], 1)), (1,), x, out, 8, BLOCK=8)
    for row, name, reference in zip(out, names, references, strict=True):
        with np.errstate(all="ignore"):
            expected = (
                [-math.inf, -math.inf, math.inf, math.inf, math.nan, 0, 0, 1]
                if reference is None
                else reference(x)
            )
        if "bessel" in name:  # SciPy has NaN there
            expected = np.where(np.isinf(x), np.abs(x) if name.endswith("0") else x, expected)
        np.testing.assert_allclose(row, expected, rtol=1e-12, err_msg=name)


EDGES = [0.0, -0.0, 1.0, -1.0, 2.0, -2.0, 3.0, -3.0, 0.5, -0.5, 2.5, -2.5, 1e-40, -1e-40, 1e-10, 1e30, -1e30, 3.4e38, 16777217.0,
         8388609.0, -8388607.0, 127.0, -149.0, 1.0000001, 0.9999999, np.inf, -np.inf, np.nan]  # fmt: skip


@pytest.mark.parametrize("name", ["pow", "fmod"])
def test_every_pair_of_edges(name):
    x, y = (np.array(v, "f4").ravel() for v in np.meshgrid(EDGES, EDGES))
    found = np.zeros((1, x.size), "f4")
    launch(kernel(rows([f"libdevice.{name}(a, b)"])), (1,), x, y, found, x.size, BLOCK=1024)
    with np.errstate(all="ignore"):
        wide = (np.float_power if name == "pow" else np.fmod)(x.astype("f8"), y.astype("f8")).astype("f4")
    np.testing.assert_array_equal(np.isnan(found[0]), np.isnan(wide))
    good = np.isfinite(wide)
    np.testing.assert_array_equal(found[0][~good & ~np.isnan(wide)], wide[~good & ~np.isnan(wide)])
    np.testing.assert_array_equal(np.signbit(found[0][good]), np.signbit(wide[good]))
    if name == "fmod":
        np.testing.assert_array_equal(found[0][good], wide[good])
    else:
        assert (np.abs(found[0][good].astype("f8") - wide[good]) <= 2 * np.spacing(np.abs(wide[good]))).all()
