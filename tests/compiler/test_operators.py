"""Arithmetic, comparisons, shifts, selection on every dtype: integers against Triton's interpreter, floats against NumPy."""

from fractions import Fraction

import numpy as np
import pytest
from harness import guarded, launch
from interpreter import interpret
from values import DTYPES, FLOATS, FP8, INTS, same, sample
from written import kernel, rows

INT_OPERATORS = [
    "a + b", "a - b", "a * b", "a & b", "a | b", "a ^ b", "a << (b & 7)", "a >> (b & 7)", "~a", "a < b", "a <= b", "a > b", "a >= b",
    "a == b", "a != b", "a // b", "a % b", "tl.minimum(a, b)", "tl.maximum(a, b)", "tl.where(a < b, a, b)", "tl.abs(a)",
    "tl.where((a < b) & (b != 3), a * 2, b)", "(a < b) ^ (a == b)", "(a > b).to(tl.int32) + 1", "a.to(tl.int1)",
    "tl.cdiv(a, b)", "tl.clamp(a.to(tl.float32), -5.0, 7.0)", "a * a + 3 * b - (a ^ b)", "-a",
]  # fmt: skip


@pytest.mark.parametrize("dtype", INTS)
@pytest.mark.parametrize("n", [1, 77])
def test_integer_operators(dtype, n):
    results = list(INT_OPERATORS)
    if dtype in ("i32", "u32", "i64", "u64"):
        results.append("tl.umulhi(a, b)")
    if dtype.startswith("u"):
        results = [r for r in results if r not in ("tl.abs(a)", "-a")]
    ref = kernel(rows(results))
    a, b = sample(dtype, n, 1), sample(dtype, n, 2)
    b[b == 0] = 3
    if dtype.startswith(
        "i"
    ):  # the interpreter has no defined result there; test_division_at_the_edges looks at it
        b[b == -1] = 5
    out = np.zeros((len(results), n), DTYPES[dtype])
    expected = interpret(ref, (1,), a, b, out, n, BLOCK=128)[2]
    found = guarded(out)
    launch(ref, (1,), guarded(a), guarded(b), found, n, BLOCK=128)
    for i, result in enumerate(results):
        np.testing.assert_array_equal(found[i], expected[i], err_msg=result)


@pytest.mark.parametrize("dtype", INTS)
def test_division_at_the_edges(dtype):
    """Division by zero and INT_MIN / -1 do not trap; the second wraps."""
    info = np.iinfo(DTYPES[dtype])
    a = np.array([info.min, info.max, 0, 7, info.min, 5], DTYPES[dtype])
    b = np.array([-1 if info.min else 1, 0, 0, 0, 1, 2], dtype="i8").astype(DTYPES[dtype])
    out = np.zeros((4, 6), DTYPES[dtype])
    launch(
        kernel(rows(["a // b", "a % b", "a // tl.min(b).to(b.dtype)", "a % tl.min(b).to(b.dtype)"])),
        (1,),
        a,
        b,
        out,
        6,
        BLOCK=8,
    )
    np.testing.assert_array_equal(out[:2, [0, 4, 5]], [[info.min, info.min, 2], [0, 0, 1]])


@pytest.mark.parametrize("dtype", INTS)
def test_shifts_as_wide_as_the_type_and_wider(dtype):
    """As PTX: what is shifted out is gone, the sign fills."""
    bits = DTYPES[dtype].itemsize * 8
    a = np.repeat(sample(dtype, 6, 3), 5)
    b = np.tile(np.array([0, 1, bits - 1, bits, bits + 5], DTYPES[dtype]), 6)
    out = np.zeros((2, a.size), DTYPES[dtype])
    launch(kernel(rows(["a << b", "a >> b"])), (1,), a, b, out, a.size, BLOCK=32)
    left = [(int(x) << int(s)) & (1 << bits) - 1 for x, s in zip(a, b, strict=True)]
    np.testing.assert_array_equal(out[0], np.array(left, "u8").astype(DTYPES[dtype]))
    np.testing.assert_array_equal(out[1], [int(x) >> int(s) for x, s in zip(a, b, strict=True)])


def test_bool_operators():
    results = ["a & b", "a | b", "a ^ b", "~a", "a == b", "a != b", "tl.where(a, b, a)",
               "a.to(tl.int32) + b", "a.to(tl.float32) * 2"]  # fmt: skip
    ref = kernel(rows(results))
    a, b = sample("bool", 33, 1), sample("bool", 33, 2)
    for dtype in ("bool", "i32", "f32"):
        out = np.zeros((len(results), 33), DTYPES[dtype])
        expected = interpret(ref, (1,), a, b, out, 33, BLOCK=64)[2]
        launch(ref, (1,), guarded(a), guarded(b), found := guarded(out), 33, BLOCK=64)
        np.testing.assert_array_equal(found, expected)


def _ieee_maximum(a, b):
    return np.where(np.isnan(a), b, np.where(np.isnan(b), a, np.maximum(a, b)))


def _ieee_minimum(a, b):
    return np.where(np.isnan(a), b, np.where(np.isnan(b), a, np.minimum(a, b)))


FLOAT_OPERATORS = {
    "a + b": np.add, "a - b": np.subtract, "a * b": np.multiply, "a / b": np.divide, "-a": lambda a, b: -a,
    "a < b": np.less, "a <= b": np.less_equal, "a > b": np.greater, "a >= b": np.greater_equal, "a == b": np.equal,
    "a != b": np.not_equal, "tl.where(a < b, a, b)": lambda a, b: np.where(a < b, a, b), "tl.abs(a)": lambda a, b: np.abs(a),
    "tl.maximum(a, b)": _ieee_maximum, "tl.minimum(a, b)": _ieee_minimum,
    "tl.maximum(a, b, propagate_nan=tl.PropagateNan.ALL)": np.maximum,
    "tl.minimum(a, b, propagate_nan=tl.PropagateNan.ALL)": np.minimum,
    "tl.clamp(a, -1.0, 2.0)": lambda a, b: _ieee_minimum(_ieee_maximum(a, a.dtype.type(-1)), a.dtype.type(2)),
    "tl.clamp(a, -1.0, 2.0, propagate_nan=tl.PropagateNan.ALL)": lambda a, b: np.clip(a, -1, 2).astype(a.dtype),
    "a.to(tl.int1)": lambda a, b: a != 0, "a + 1": lambda a, b: a + a.dtype.type(1), "2.5 * a": lambda a, b: a * a.dtype.type(2.5),
    "a % b": np.fmod,
}  # fmt: skip


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("n", [1, 150])
def test_float_operators(dtype, n):
    kind = DTYPES[dtype]
    a, b = sample(dtype, n, 1), sample(dtype, n, 2)
    b[: n // 2] = np.roll(b, 3)[: n // 2]
    ref = kernel(rows(list(FLOAT_OPERATORS)))
    found = guarded(np.zeros((len(FLOAT_OPERATORS), n), kind))
    launch(ref, (1,), guarded(a), guarded(b), found, n, BLOCK=256)
    wide = np.dtype("f4") if kind.itemsize == 2 else kind
    with np.errstate(all="ignore"):
        for row, (name, function) in zip(found, FLOAT_OPERATORS.items(), strict=True):
            expected = np.asarray(function(a.astype(wide), b.astype(wide))).astype(kind)
            if "imum" in name or "clamp" in name:  # which zero is not said
                found_row, expected = row + kind.type(0), expected + kind.type(0)
            else:
                found_row = row
            try:
                same(found_row, expected)
            except AssertionError as error:
                raise AssertionError(f"{name}: {error}") from error


@pytest.mark.parametrize("dtype", [*FLOATS, *FP8])
def test_fma_rounds_once(dtype):
    kind = DTYPES[dtype]
    if kind.itemsize < 4:
        a, b, c = (np.random.default_rng(s).integers(-4, 5, 60).astype(kind) for s in range(3))
        out = np.zeros((1, 60), kind)
        launch(kernel(rows(["tl.fma(a, b, c)"], 3)), (1,), a, b, c, out, 60, BLOCK=64)
        np.testing.assert_array_equal(
            out[0].astype("f4"), (a.astype("f4") * b.astype("f4") + c.astype("f4")).astype(kind).astype("f4")
        )
        return
    a, b, c = (sample(dtype, 60, s, special=False) for s in range(3))
    c = (-(a * b)).astype(kind)
    out = np.zeros((1, 60), kind)
    launch(kernel(rows(["tl.fma(a, b, c)"], 3)), (1,), a, b, c, out, 60, BLOCK=64)
    exact = [
        Fraction(float(x)) * Fraction(float(y)) + Fraction(float(z)) for x, y, z in zip(a, b, c, strict=True)
    ]
    np.testing.assert_array_equal(out[0], np.array([float(e) for e in exact]).astype(kind))


def test_mixed_types_promote_as_triton_says():
    results = ["a + b", "a * b", "a < b", "tl.where(a < b, a, b)"]
    for x, y in [("i8", "i32"), ("u8", "i8"), ("i32", "u32"), ("i64", "i16"), ("i32", "f32"), ("f16", "f32"), ("f32", "f64"),
                 ("bool", "i32"), ("i16", "f16"), ("u16", "i16")]:  # fmt: skip
        a, b = sample(x, 40, 1, special=False), sample(y, 40, 2, special=False)
        ref = kernel(rows(results))
        out = np.zeros((len(results), 40), "f8")
        expected = interpret(ref, (1,), a, b, out, 40, BLOCK=64)[2]
        launch(ref, (1,), a, b, out, 40, BLOCK=64)
        np.testing.assert_array_equal(out, expected, err_msg=f"{x} {y}")


@pytest.mark.parametrize("dtype", FP8)
def test_arithmetic_on_8_bit_floats_is_that_of_f32_rounded_back(dtype):
    a, b = (np.random.default_rng(s).integers(-8, 8, 40).astype(DTYPES[dtype]) for s in range(2))
    b[b == 0] = 1
    out = np.zeros((10, 40), DTYPES[dtype])
    launch(
        kernel(
            rows(
                [
                    "a + b",
                    "a - b",
                    "a * b",
                    "-a",
                    "tl.where(a < b, a, b)",
                    "tl.where(a == b, a, b)",
                    "a % b",
                    "tl.maximum(a, b)",
                    "tl.clamp(a, b, b)",
                    "tl.abs(a)",
                ]
            )
        ),
        (1,),
        a,
        b,
        out,
        40,
        BLOCK=64,
    )
    x, y = a.astype("f4"), b.astype("f4")
    expected = [
        x + y,
        x - y,
        x * y,
        -x,
        np.where(x < y, x, y),
        np.where(x == y, x, y),
        np.fmod(x, y),
        np.maximum(x, y),
        y,
        np.abs(x),
    ]
    np.testing.assert_array_equal(out.astype("f4"), np.array(expected).astype(DTYPES[dtype]).astype("f4"))
