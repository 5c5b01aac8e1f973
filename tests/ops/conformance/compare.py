# The distance of a result from its reference, in units of the dtype's eps.
"""error of an element = |got - reference| / (eps * scale), where eps is the dtype's machine epsilon and scale is

    "element"   |reference|, at least the smallest normal number: for functions of single elements
    "tensor"    max(|reference|, mean |reference| of the tensor): for what subtracts rounded numbers (the default)
    "terms"     the reference of the inputs' magnitudes, sum |x_i y_i| for a product: for sums, whose terms may cancel
    a number    max(|reference|, that number): for functions with a known range, such as sin near a multiple of pi

NaN equals NaN, 0 equals -0, and what overflows when the reference is rounded to the dtype equals infinity. Integers, truth
values and whatever is not finite must be equal."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import ml_dtypes
import numpy as np

Scale = str | float | np.ndarray  # an array: the scale of each element ("terms")


@dataclass(frozen=True)
class Distance:
    """How far a result is from its reference, and where it is farthest."""

    eps: float = 0.0
    absolute: float = 0.0
    index: tuple[int, ...] = ()
    got: Any = None
    want: Any = None


def distance(got: np.ndarray, want: np.ndarray, scale: Scale) -> Distance:
    """The largest error of `got`. Raises AssertionError when the shapes differ."""
    if got.shape != want.shape:
        raise AssertionError(f"shape {got.shape} instead of {want.shape}")
    if got.size == 0:
        return Distance()
    units, absolute = errors(got, want, scale)
    at = _position(int(np.argmax(units)), units.shape)
    return Distance(float(units[at]), float(absolute.max()), at, got[at], want[at])


def first_beyond(got: np.ndarray, want: np.ndarray, scale: Scale, allowed: float) -> tuple[int, ...]:
    """The index of the first element, in memory order, whose error is beyond `allowed`."""
    return _position(int(np.argmax(~(errors(got, want, scale)[0] <= allowed))), got.shape)


def errors(got: np.ndarray, want: np.ndarray, scale: Scale) -> tuple[np.ndarray, np.ndarray]:
    """(in units of eps, absolute) of each element."""
    if got.dtype.kind in "biu":
        with np.errstate(invalid="ignore"):
            wrong = got != (want.astype(got.dtype) if want.dtype.kind in "biu" else want)
        lost = np.where(wrong, np.inf, 0.0)
        return lost, lost
    if got.dtype.kind == "c":
        if isinstance(scale, np.ndarray):
            scale = np.abs(scale)
        real, imaginary = (
            errors(getattr(got, part), getattr(want, part), scale) for part in ("real", "imag")
        )
        return np.maximum(real[0], imaginary[0]), np.maximum(real[1], imaginary[1])
    return _floating(got, np.asarray(want).astype(np.float64), scale)


def _floating(got: np.ndarray, want: np.ndarray, scale: Scale) -> tuple[np.ndarray, np.ndarray]:
    info = ml_dtypes.finfo(got.dtype)
    eps, tiny, top = float(info.eps), float(info.smallest_normal), float(info.max)
    with np.errstate(all="ignore"):
        values, rounded = got.astype(np.float64), want.astype(got.dtype).astype(np.float64)
        same = (
            (values == want) | (np.isnan(values) & np.isnan(want)) | (np.isinf(values) & (values == rounded))
        )
        finite = np.isfinite(values) & np.isfinite(want)
        absolute = np.abs(values - want)
        units = absolute / (eps * np.maximum(_sizes(want, scale), tiny))
        # Infinity is as good as the largest number where the error allows for one step more.
        edge = np.isinf(values) & np.isfinite(want) & (np.sign(values) == np.sign(want))
        units = np.where(edge, np.maximum((top * (1 + eps / 2) - np.abs(want)) / (eps * top), 0.0), units)
        comparable = finite | edge
        units = np.where(same, 0.0, np.where(comparable, units, np.inf))
        absolute = np.where(same | edge, 0.0, np.where(finite, absolute, np.inf))
    return units, absolute


def _sizes(want: np.ndarray, scale: Scale) -> np.ndarray:
    size = np.where(np.isfinite(want), np.abs(want), 0.0)
    if isinstance(scale, np.ndarray):
        return np.maximum(size, np.where(np.isfinite(scale), np.abs(scale), 0.0))
    if scale in ("tensor", "terms"):
        finite = np.isfinite(want)
        return np.maximum(size, float(size.sum() / max(int(finite.sum()), 1)))
    return size if scale == "element" else np.maximum(size, float(scale))


def _position(flat: int, shape: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(int(i) for i in np.unravel_index(flat, shape))
