"""Casts between every pair of dtypes: rounding to nearest even, saturation and NaN as on Triton's GPU targets; bitcasts."""

import ml_dtypes
import numpy as np
import pytest
from harness import guarded, launch
from values import DTYPES, FP8, INTS, TRITON, same, sample
from written import kernel, rows


def convert(x: np.ndarray, dtype: str) -> np.ndarray:
    kind = DTYPES[dtype]
    if x.dtype == kind:
        return x
    if dtype == "bool":
        return x.astype("f8") != 0 if x.dtype.kind not in "iu" else x != 0
    if kind.kind in "iu" and x.dtype.kind not in "iub":
        wide = np.nan_to_num(np.trunc(x.astype("f8")), nan=0.0, posinf=np.inf, neginf=-np.inf)
        info = np.iinfo(kind if kind.itemsize >= 4 else "i4")  # narrow integers are the low bits of an i32
        whole = [
            min(max(int(v), info.min), info.max) if np.isfinite(v) else (info.max if v > 0 else info.min)
            for v in wide
        ]
        return np.array(whole, dtype="O").astype("i8" if info.min else "u8").astype(kind)
    if dtype in FP8:
        most = float(ml_dtypes.finfo(kind).max)
        return np.clip(x.astype("f8"), -most, most).astype(kind)
    if x.dtype.kind in "iub" and kind.itemsize <= 2 and kind.kind not in "iu":
        return x.astype("f8").astype(kind)
    return x.astype(kind)


def refused(source: str, target: str) -> bool:
    """Triton's own front end has no cast between 8-bit floats and integers."""
    return (source in FP8 and target in ("bool", *INTS)) or (target in FP8 and source in ("bool", *INTS))


PAIRS = [(s, t) for s in DTYPES for t in DTYPES if not refused(s, t)]


@pytest.mark.parametrize(("source", "target"), PAIRS)
def test_cast(source, target):
    x = sample(source, 100, 4)
    if source not in ("bool", *INTS):
        x[20:40] = (np.random.default_rng(0).standard_normal(20) * 300).astype(x.dtype)
        x[40:50] = np.array(
            [-1, -0.7, 127.5, 255.9, 2.0**31, -(2.0**31), 2.0**33, 65504, 65520, 1e30]
        ).astype(x.dtype)
    out = guarded(np.zeros(100, DTYPES[target]))
    launch("kernels_basic:cast", (1,), guarded(x), out, 100, BLOCK=128)
    with np.errstate(all="ignore"):
        same(out, convert(x, target))


@pytest.mark.parametrize("dtype", FP8)
def test_every_code_of_an_8_bit_float(dtype):
    codes = np.arange(256, dtype="u1").view(DTYPES[dtype])
    for target in ("f32", "f16"):
        out = guarded(np.zeros(256, DTYPES[target]))
        launch("kernels_basic:cast", (1,), guarded(codes), out, 256, BLOCK=256)
        same(out, codes.astype(DTYPES[target]))
    back = guarded(np.zeros(256, DTYPES[dtype]))
    launch("kernels_basic:cast", (1,), codes.astype("f4"), back, 256, BLOCK=256)
    with np.errstate(all="ignore"):
        same(back, convert(codes.astype("f4"), dtype))


@pytest.mark.parametrize("target", ["f16", "bf16", *FP8])
def test_8_and_16_bit_floats_round_to_nearest_even(target):
    """Every midpoint between neighbours, and what lies just beside it."""
    last = {"f16": 0x7BFF, "bf16": 0x7F7F, "f8e4m3": 0x7E, "f8e5m2": 0x7B}[target]
    codes = np.arange(last + 1).astype("u1" if target in FP8 else "u2")
    if target not in FP8:
        codes = codes[np.arange(0, last, 16)[:, None] + np.arange(2)].ravel()
    numbers = codes.view(DTYPES[target]).astype("f8")
    low, middle = codes[:-1], (numbers[1:] + numbers[:-1]) / 2
    pairs = codes[1:] - low == 1
    low, middle = low[pairs], middle[pairs]
    for source in ("f32", "f64"):
        exact = middle.astype(DTYPES[source])
        above, below = np.nextafter(exact, exact.dtype.type(np.inf)), np.nextafter(exact, exact.dtype.type(0))
        x = np.concatenate([exact, above, below])
        x = np.concatenate([x, -x])
        expected = np.concatenate([low + (low & 1), low + 1, low]).astype(low.dtype).view(DTYPES[target])
        out = np.zeros(x.size, DTYPES[target])
        launch("kernels_basic:cast", (-(-x.size // 1024),), x, out, x.size, BLOCK=1024)
        same(out, np.concatenate([expected, -expected]))


@pytest.mark.parametrize(
    ("source", "target"), [("f32", "f16"), ("f32", "bf16"), ("f64", "f16"), ("f32", "f8e5m2")]
)
def test_rounding_toward_zero(source, target):
    x = sample(source, 200, 5)
    out = np.zeros((1, 200), DTYPES[target])
    launch(
        kernel(rows([f"a.to({TRITON[target]}, fp_downcast_rounding='rtz')"], 1)), (1,), x, out, 200, BLOCK=256
    )
    with np.errstate(all="ignore"):
        near = convert(x, target)
        away = np.abs(near.astype("f8")) > np.abs(x.astype("f8"))
        bits = near.view(f"u{near.dtype.itemsize}")
        same(out[0], (bits - away.astype(bits.dtype)).view(near.dtype))


WIDTHS = [("i8", "u8", *FP8), ("i16", "u16", "f16", "bf16"), ("i32", "u32", "f32"), ("i64", "u64", "f64")]


@pytest.mark.parametrize(("source", "target"), [(s, t) for w in WIDTHS for s in w for t in w if s != t])
def test_bitcast(source, target):
    bits = np.random.default_rng(3).integers(0, 256, 64 * DTYPES[source].itemsize).astype("u1")
    x, out = bits.view(DTYPES[source]), guarded(np.zeros((1, 64), DTYPES[target]))
    launch(kernel(rows([f"a.to({TRITON[target]}, bitcast=True)"], 1)), (1,), guarded(x), out, 64, BLOCK=64)
    np.testing.assert_array_equal(out.view("u1").ravel(), bits)
