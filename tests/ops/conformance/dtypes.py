# Dtypes of the conformance tables: our names, NumPy's and Paddle's, and what each phi kernel's line claims.
from __future__ import annotations

import re
from pathlib import Path

import ml_dtypes
import numpy as np

FLOATS = ("f32", "f64", "f16", "bf16")
INTEGERS = ("i32", "i64", "i16", "i8", "u8")
COMPLEX = ("c64", "c128")

NUMPY = {
    "bool": np.dtype(np.bool_), "u8": np.dtype(np.uint8), "i8": np.dtype(np.int8), "i16": np.dtype(np.int16),
    "i32": np.dtype(np.int32), "i64": np.dtype(np.int64), "f16": np.dtype(np.float16),
    "bf16": np.dtype(ml_dtypes.bfloat16), "f32": np.dtype(np.float32), "f64": np.dtype(np.float64),
    "c64": np.dtype(np.complex64), "c128": np.dtype(np.complex128),
    "f8e4m3": np.dtype(ml_dtypes.float8_e4m3fn), "f8e5m2": np.dtype(ml_dtypes.float8_e5m2),
}  # fmt: skip
PADDLE = {
    "bool": "bool", "u8": "uint8", "i8": "int8", "i16": "int16", "i32": "int32", "i64": "int64", "f16": "float16",
    "bf16": "bfloat16", "f32": "float32", "f64": "float64", "c64": "complex64", "c128": "complex128",
    "f8e4m3": "float8_e4m3fn", "f8e5m2": "float8_e5m2",
}  # fmt: skip
NAMES = {dtype: name for name, dtype in NUMPY.items()}
# What a reference computes in.
WIDE = {"f32": "f64", "f16": "f64", "bf16": "f64", "c64": "c128"}

_LINE = re.compile(r'^OPENXPU_KERNEL\((\w+),[^"]*"[^"]*",([\w\s,]+)\)', re.MULTILINE)


def _claimed() -> dict[str, tuple[str, ...]]:
    kernels = Path(__file__).parents[3] / "csrc" / "paddle" / "kernels"
    return {
        name: tuple(dtype.strip().lower() for dtype in dtypes.split(","))
        for path in sorted(kernels.glob("*.inc"))
        for name, dtypes in _LINE.findall(path.read_text())
    }


# {phi kernel: dtypes of its line in csrc/paddle/kernels/*.inc}
CLAIMED = _claimed()


def is_float(dtype: str) -> bool:
    return dtype in FLOATS


def is_integer(dtype: str) -> bool:
    return dtype in INTEGERS
