# What may be an argument of a kernel, where its memory lies, and the sentences for everything else.
from __future__ import annotations

import enum
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from openxpu.runtime import Array

_NUMPY_DTYPES = {
    "bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64",
    "float16", "float32", "float64", "bfloat16",
}  # fmt: skip


class Kind(enum.Enum):
    """What a launch has to know about an argument's class."""

    ARRAY = "array"  # of OpenXPU: card memory, in the order of its card's current stream
    PADDLE = "paddle"  # a Paddle tensor: in the order of Paddle's current stream
    HOST = "host"  # anything else with data_ptr(): the launch is waited for
    NUMBER = "number"
    NONE = "none"
    OTHER = "other"  # tuples, descriptors, and what Triton refuses


def kind_of(cls: type) -> Kind:
    """The kind of the arguments of a class."""
    if issubclass(cls, Array):
        return Kind.ARRAY
    if cls in (int, float, bool):
        return Kind.NUMBER
    if cls is type(None):
        return Kind.NONE
    if hasattr(cls, "data_ptr"):
        # Paddle's class is asked for by name, so that Paddle need not be imported.
        of_paddle = any(base.__module__.partition(".")[0] == "paddle" for base in cls.__mro__)
        return Kind.PADDLE if of_paddle else Kind.HOST
    return Kind.OTHER


class NumpyArgument:
    """A NumPy array as a kernel argument: the kernel reads and writes the array's own memory.

    array   the array; it must be in native byte order, of a dtype that kernels have, and not move while a kernel runs
    A launch with such an argument returns when the kernel has ended, so the array may be read at once."""

    __slots__ = ("_data", "array", "dtype", "shape")

    def __init__(self, array: NDArray[Any]) -> None:
        if not isinstance(array, np.ndarray):
            raise TypeError(
                f"numpy_argument takes a NumPy array and got {type(array).__name__}; numbers, card arrays, Paddle "
                "tensors and torch tensors are passed to a kernel as they are."
            )
        if array.dtype.name not in _NUMPY_DTYPES or not array.dtype.isnative:
            raise TypeError(
                f"A NumPy array of dtype {array.dtype.str if not array.dtype.isnative else array.dtype.name} cannot be a "
                f"kernel argument; convert it with astype to one of {', '.join(sorted(_NUMPY_DTYPES))}."
            )
        self.array = array
        self.dtype = array.dtype
        self.shape = array.shape
        self._data = array.ctypes.data

    def data_ptr(self) -> int:
        """Address of the first element."""
        return self._data

    def stride(self, axis: int | None = None) -> Any:
        """Strides in elements, as torch and Triton count them."""
        strides = tuple(n // self.array.itemsize for n in self.array.strides)
        return strides if axis is None else strides[axis]

    def element_size(self) -> int:
        """Bytes of one element."""
        return self.array.itemsize

    def numel(self) -> int:
        """Number of elements."""
        return self.array.size

    # What triton.autotune's reset_to_zero and restore_value call:

    def zero_(self) -> NumpyArgument:
        """Fills the array with zeros."""
        self.array[...] = 0
        return self

    def clone(self) -> NumpyArgument:
        """A copy with memory of its own."""
        return NumpyArgument(self.array.copy())

    def copy_(self, source: NumpyArgument) -> NumpyArgument:
        """Takes over the values of another array."""
        self.array[...] = source.array
        return self

    def __repr__(self) -> str:
        return f"numpy_argument({self.dtype.name}{list(self.shape)})"


def numpy_argument(array: NDArray[Any]) -> NumpyArgument:
    """A NumPy array as an argument of kernel[grid](...), used in place; see NumpyArgument. Raises TypeError."""
    return NumpyArgument(array)


def refusal(argument: Any) -> str:
    """Why something cannot be a kernel argument, and what to do."""
    if isinstance(argument, np.ndarray):
        return (
            f"A kernel argument is a NumPy array ({argument.dtype}{list(argument.shape)}), which Triton does not take; "
            "wrap it with openxpu.triton.numpy_argument(array) to use its memory in place, or copy it to the card with "
            "openxpu.from_numpy(array)."
        )
    if isinstance(argument, np.generic):
        return (
            f"A kernel argument is the NumPy scalar {argument!r}; pass a Python number instead: "
            f"{'float' if isinstance(argument, np.inexact) else 'int'}(value)."
        )
    dtype = getattr(argument, "dtype", None)
    if dtype is not None and hasattr(argument, "data_ptr"):
        return (
            f"A kernel argument of class {type(argument).__name__} has the dtype {dtype}, which Triton does not have; "
            "convert it to an integer or floating-point dtype (complex numbers: as pairs of reals)."
        )
    return (
        f"A kernel argument is {argument!r:.80} of class {type(argument).__name__}; kernels take card arrays, Paddle "
        "tensors, torch CPU tensors, openxpu.triton.numpy_argument(array), ints, floats, bools, tuples of these and "
        "None. Declare the parameter tl.constexpr to pass other values when the kernel is compiled."
    )


def explaining(specialize: Callable[..., Any], is_ours: Callable[[Any], bool]) -> Callable[..., Any]:
    """Triton's own function that finds the type of an argument, with the sentences above for what it refuses."""

    def explain(backend: Any, argument: Any, *rest: Any) -> Any:
        try:
            return specialize(backend, argument, *rest)
        except (KeyError, TypeError) as error:
            if not is_ours(backend):
                raise
            raise TypeError(refusal(argument)) from error

    return explain
