# Values for the inputs of conformance cases. Every generator is a function of one Draw.
"""A generator returns values of any NumPy dtype; the engine rounds them to the case's dtype before either side sees them.

row("gather", ..., normal, Input(below(lambda d: d.shapes[0][d.attrs["axis"]]), "i64"), ...)
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from conformance.dtypes import NUMPY, is_float, is_integer


@dataclass(frozen=True)
class Draw:
    """What a generator may look at: its own shape and dtype, all inputs' shapes, the attributes."""

    rng: np.random.Generator
    shape: tuple[int, ...]
    dtype: str
    shapes: tuple[Any, ...]
    attrs: dict[str, Any]


Generator = Callable[[Draw], np.ndarray]


def normal(d: Draw) -> np.ndarray:
    """Standard normal numbers; small integers (with both signs where there are two); true and false."""
    if d.dtype == "bool":
        return d.rng.integers(0, 2, d.shape).astype(bool)
    if is_integer(d.dtype):
        return d.rng.integers(0 if d.dtype == "u8" else -9, 10, d.shape)
    values = d.rng.standard_normal(d.shape)
    return values + 1j * d.rng.standard_normal(d.shape) if d.dtype in ("c64", "c128") else values


def uniform(low: float, high: float) -> Generator:
    """Numbers between low and high, integers included (low <= integer <= high)."""

    def generate(d: Draw) -> np.ndarray:
        if is_integer(d.dtype):
            return d.rng.integers(int(np.ceil(low)), int(np.floor(high)) + 1, d.shape)
        return d.rng.uniform(low, high, d.shape)

    return generate


def nonzero(d: Draw) -> np.ndarray:
    """Magnitudes from 0.5 to 3 with both signs; integers from 1 to 9 with both signs where there are two."""
    sign = 1 if d.dtype == "u8" else d.rng.choice([-1, 1], d.shape)
    if is_integer(d.dtype):
        return sign * d.rng.integers(1, 10, d.shape)
    return sign * d.rng.uniform(0.5, 3, d.shape)


def distinct(d: Draw) -> np.ndarray:
    """No two values are equal, in any dtype that has as many: for operators whose answer depends on the order of ties."""
    count = int(np.prod(d.shape, dtype=np.int64))
    order = d.rng.permutation(count)
    if d.dtype in ("f16", "bf16"):  # successive representable numbers around 1, half of them negative
        start = int(np.array(1, NUMPY[d.dtype]).view(np.uint16)) - count // 4
        bits = (start + order // 2 + (order % 2 << 15)).astype(np.uint16)
        return bits.view(NUMPY[d.dtype]).astype(np.float64).reshape(d.shape)
    if is_float(d.dtype):
        return ((order - count / 2) * (4 / max(count, 1)) + 0.001).reshape(d.shape)
    return (order - (0 if d.dtype == "u8" else count // 2)).reshape(d.shape)


def ties(d: Draw) -> np.ndarray:
    """Few different values, so that most of them occur many times."""
    return d.rng.integers(0 if d.dtype in ("u8", "bool") else -2, 3, d.shape)


def below(bound: Callable[[Draw], int] | int, lowest: int = 0) -> Generator:
    """Integers lowest <= i < bound: indices, labels. `lowest` may be -1 to allow for an ignored label."""

    def generate(d: Draw) -> np.ndarray:
        return d.rng.integers(lowest, max(bound(d) if callable(bound) else bound, lowest + 1), d.shape)

    return generate


def permutation(bound: Callable[[Draw], int]) -> Generator:
    """Different integers 0 <= i < bound: indices of which none repeats."""

    def generate(d: Draw) -> np.ndarray:
        return d.rng.permutation(bound(d))[: int(np.prod(d.shape))].reshape(d.shape)

    return generate


def constant(value: float) -> Generator:
    """One value everywhere."""
    return lambda d: np.full(d.shape, value)


def extremes(dtype: str) -> np.ndarray:
    """The values of a dtype at which operators go wrong."""
    numpy = NUMPY[dtype]
    if is_integer(dtype):
        info = np.iinfo(numpy)
        return np.array([info.min, info.max, info.min + 1, info.max - 1, 0, 1], numpy)
    import ml_dtypes

    info = ml_dtypes.finfo(numpy)
    return np.array(
        [
            np.nan, np.inf, -np.inf, 0.0, -0.0, float(info.max), -float(info.max), float(info.smallest_normal),
            float(info.smallest_subnormal) * 5, -float(info.smallest_subnormal), 1.0, -1.0, 0.5, -2.5, 1 + float(info.eps),
        ]
    ).astype(numpy)  # fmt: skip


def with_extremes(values: np.ndarray, rng: np.random.Generator, dtype: str) -> np.ndarray:
    """The values with a third of them, and all of the first, replaced by the dtype's extremes."""
    special = extremes(dtype)
    flat = values.reshape(-1).astype(special.dtype)
    chosen = rng.random(flat.size) < 1 / 3
    flat[chosen] = rng.choice(special, int(chosen.sum()))
    return flat.reshape(values.shape)
