"""Sample values of every dtype of the language: random ones, and those at which types differ from numbers."""

from __future__ import annotations

import ml_dtypes
import numpy as np

BF16, E4M3, E5M2 = (np.dtype(t) for t in (ml_dtypes.bfloat16, ml_dtypes.float8_e4m3fn, ml_dtypes.float8_e5m2))
DTYPES = {
    "bool": np.dtype("?"), "i8": np.dtype("i1"), "i16": np.dtype("i2"), "i32": np.dtype("i4"), "i64": np.dtype("i8"),
    "u8": np.dtype("u1"), "u16": np.dtype("u2"), "u32": np.dtype("u4"), "u64": np.dtype("u8"),
    "f16": np.dtype("f2"), "bf16": BF16, "f32": np.dtype("f4"), "f64": np.dtype("f8"), "f8e4m3": E4M3, "f8e5m2": E5M2,
}  # fmt: skip
SIGNED = ("i8", "i16", "i32", "i64")
UNSIGNED = ("u8", "u16", "u32", "u64")
INTS = SIGNED + UNSIGNED
FLOATS = ("f16", "bf16", "f32", "f64")
FP8 = ("f8e4m3", "f8e5m2")
TRITON = {
    "bool": "tl.int1", "i8": "tl.int8", "i16": "tl.int16", "i32": "tl.int32", "i64": "tl.int64",
    "u8": "tl.uint8", "u16": "tl.uint16", "u32": "tl.uint32", "u64": "tl.uint64",
    "f16": "tl.float16", "bf16": "tl.bfloat16", "f32": "tl.float32", "f64": "tl.float64",
    "f8e4m3": "tl.float8e4nv", "f8e5m2": "tl.float8e5",
}  # fmt: skip


def sample(dtype: str, n: int, seed: int = 0, special: bool = True) -> np.ndarray:
    """n values: integers over the whole range, floats of moderate size; the first ones are the dtype's edges."""
    rng = np.random.default_rng(seed)
    kind = DTYPES[dtype]
    if dtype == "bool":
        return rng.random(n) < 0.5
    if kind.kind in "iu":
        info = np.iinfo(kind)
        out = rng.integers(info.min, info.max, n, dtype=kind, endpoint=True)
        small = rng.random(n) < 0.5
        out[small] = rng.integers(-9 if info.min else 0, 9, int(small.sum()))
        edges: list[float] = [info.min, info.max, 0, 1, info.max - 1]
    else:
        out = (rng.standard_normal(n) * np.exp(rng.standard_normal(n))).astype(kind)
        finfo = ml_dtypes.finfo(kind)
        tiny, most = float(finfo.smallest_subnormal), float(finfo.max)
        edges = [0.0, -0.0, tiny, -3 * tiny, most, -most, float("nan"), 1.0]
        if dtype != "f8e4m3":
            edges += [float("inf"), float("-inf")]
    if special:
        out[: len(edges)] = np.array(edges[:n], kind)
    return out


def same(found: np.ndarray, expected: np.ndarray) -> None:
    """Equal bit for bit but for the payload of NaN."""
    assert found.dtype == expected.dtype
    if found.dtype.kind not in "iub":
        nan = np.isnan(expected.astype("f8"))
        np.testing.assert_array_equal(np.isnan(found.astype("f8")), nan)
        bits = f"u{found.dtype.itemsize}"
        found, expected = found.view(bits)[~nan], expected.view(bits)[~nan]
    np.testing.assert_array_equal(found, expected)
