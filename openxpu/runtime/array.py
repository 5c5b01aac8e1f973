# Arrays in card memory: what openxpu.ops takes and returns.
from __future__ import annotations

import ctypes
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from openxpu import _runtime
from openxpu.runtime.device import Device, as_device

ITEMSIZE = {
    "bool": 1,
    "u8": 1,
    "i8": 1,
    "i16": 2,
    "i32": 4,
    "i64": 8,
    "f16": 2,
    "bf16": 2,
    "f32": 4,
    "f64": 8,
    "c64": 8,
    "c128": 16,
}
_NUMPY = {
    "bool": np.dtype(np.bool_),
    "u8": np.dtype(np.uint8),
    "i8": np.dtype(np.int8),
    "i16": np.dtype(np.int16),
    "i32": np.dtype(np.int32),
    "i64": np.dtype(np.int64),
    "f16": np.dtype(np.float16),
    "f32": np.dtype(np.float32),
    "f64": np.dtype(np.float64),
    "c64": np.dtype(np.complex64),
    "c128": np.dtype(np.complex128),
}
_NAMES = {dtype: name for name, dtype in _NUMPY.items()}
_KDL_CPU = 1


def dtype_name(dtype: Any) -> str:
    """The dtype name ("f32") of a name, a NumPy dtype or a NumPy scalar type. Raises TypeError for others."""
    if isinstance(dtype, str) and dtype in ITEMSIZE:
        return dtype
    found = np.dtype(dtype)
    if found.name == "bfloat16":
        return "bf16"
    if found in _NAMES:
        return _NAMES[found]
    raise TypeError(f"{dtype} cannot live on a card; known are {' '.join(ITEMSIZE)} and their NumPy types")


def dense_strides(shape: Sequence[int]) -> tuple[int, ...]:
    """Strides in elements of a row-major array."""
    strides = [1] * len(shape)
    for i in range(len(shape) - 2, -1, -1):
        strides[i] = strides[i + 1] * max(shape[i + 1], 1)
    return tuple(strides)


class Array:
    """A strided array in the memory of a card.

    shape    tuple of ints
    dtype    name: "bool" "u8" "i8" "i16" "i32" "i64" "f16" "bf16" "f32" "f64" "c64" "c128"
    strides  in elements, row-major by default
    device   the card

    Its memory goes back to the card with the last array that refers to it, in the order of the stream on which it was
    allocated, so arrays may be dropped while work on them is still enqueued there. It is a CPU array for DLPack, so that
    NumPy and torch read the host card's memory in place."""

    __slots__ = ("_address", "_owner", "device", "dtype", "shape", "strides")

    def __init__(
        self,
        owner: object,
        address: int,
        shape: Sequence[int],
        dtype: str,
        strides: Sequence[int] | None,
        device: Device,
    ) -> None:
        self._owner = owner
        self._address = address
        self.shape: tuple[int, ...] = tuple(shape)
        self.dtype = dtype
        self.strides: tuple[int, ...] = dense_strides(self.shape) if strides is None else tuple(strides)
        self.device = device

    def data_ptr(self) -> int:
        """Address of the first element."""
        return self._address

    @property
    def ndim(self) -> int:
        return len(self.shape)

    @property
    def size(self) -> int:
        """Number of elements."""
        return math.prod(self.shape)

    @property
    def itemsize(self) -> int:
        return ITEMSIZE[self.dtype]

    @property
    def nbytes(self) -> int:
        return self.size * self.itemsize

    @property
    def contiguous(self) -> bool:
        """True when the elements lie in row-major order without gaps."""
        expected = 1
        for n, stride in zip(reversed(self.shape), reversed(self.strides), strict=True):
            if n != 1 and stride != expected:
                return self.size == 0
            expected *= n
        return True

    def view(self, shape: Sequence[int], strides: Sequence[int] | None = None, offset: int = 0) -> Array:
        """Another array over the same memory; strides and offset in elements. Raises ValueError when it would reach
        outside this array's memory."""
        shape = tuple(shape)
        strides = dense_strides(shape) if strides is None else tuple(strides)
        low, high = _extent(shape, strides)
        own_low, own_high = _extent(self.shape, self.strides)
        if math.prod(shape) and not (own_low <= offset + low and offset + high <= own_high):
            raise ValueError(
                f"a view of shape {shape}, strides {strides} at {offset} reaches outside the array of shape {self.shape}"
            )
        return Array(
            self._owner, self._address + offset * self.itemsize, shape, self.dtype, strides, self.device
        )

    def reshape(self, *shape: int) -> Array:
        """A view of another shape; one dimension may be -1. The array must be contiguous."""
        sizes = list(shape[0] if len(shape) == 1 and isinstance(shape[0], tuple | list) else shape)
        if -1 in sizes:
            rest = math.prod(n for n in sizes if n != -1)
            sizes[sizes.index(-1)] = self.size // rest if rest else 0
        if not self.contiguous or math.prod(sizes) != self.size:
            raise ValueError(
                f"an array of shape {self.shape}, strides {self.strides} cannot be seen as {tuple(sizes)}"
            )
        return self.view(sizes)

    def numpy(self) -> NDArray[Any]:
        """A copy in host memory; waits for the card. bf16 becomes ml_dtypes.bfloat16, or f32 without that package."""
        if self.contiguous and self.dtype in _NUMPY:
            result = np.empty(self.shape, _NUMPY[self.dtype])
            self.device.card.copy_sync(result.ctypes.data, self._address, result.nbytes, "d2h")
            return result
        self.device.synchronize()
        if self.dtype == "bf16":
            bits = self._host_view(np.dtype(np.uint16)).copy()
            try:
                import ml_dtypes
            except ImportError:
                return (bits.astype(np.uint32) << 16).view(np.float32)
            return bits.view(ml_dtypes.bfloat16)
        return self._host_view(_NUMPY[self.dtype]).copy()

    def item(self) -> Any:
        """The single element as a Python number; waits for the card."""
        if self.size != 1:
            raise ValueError(f"only an array of one element has an item, this one has shape {self.shape}")
        return self.numpy().reshape(()).item()

    def zero_(self) -> Array:
        """Fills the array with zeros, in stream order. The array must be contiguous."""
        if not self.contiguous:
            raise ValueError(f"only a contiguous array can be filled; this one has strides {self.strides}")
        self.device.card.current_stream.fill(self._address, 0, self.nbytes)
        return self

    def clone(self) -> Array:
        """A copy on the same card, in stream order. The array must be contiguous."""
        return empty(self.shape, self.dtype, self.device).copy_(self)

    def copy_(self, source: Array) -> Array:
        """Takes over the values of another array of the card, in stream order. Both must be contiguous and alike."""
        if not (self.contiguous and source.contiguous):
            raise ValueError("only contiguous arrays can be copied into each other")
        if (source.shape, source.dtype, source.device) != (self.shape, self.dtype, self.device):
            raise ValueError(f"{source!r} cannot be copied into {self!r}; shape, dtype and card must agree")
        self.device.card.current_stream.copy(self._address, source._address, self.nbytes, "d2d")
        return self

    def _host_view(self, dtype: np.dtype[Any]) -> NDArray[Any]:
        low, high = _extent(self.shape, self.strides)
        if self.size == 0:
            return np.empty(self.shape, dtype)
        span: Any = (ctypes.c_char * ((high - low) * dtype.itemsize)).from_address(
            self._address + low * dtype.itemsize
        )
        flat = np.frombuffer(span, dtype)
        return np.lib.stride_tricks.as_strided(
            flat[-low:], self.shape, [s * dtype.itemsize for s in self.strides]
        )

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        if copy is False:
            raise ValueError(
                "an array in card memory is copied when NumPy reads it; use numpy.from_dlpack to share"
            )
        result = self.numpy()
        return result if dtype is None else result.astype(dtype)

    def __dlpack__(
        self,
        *,
        stream: Any = None,
        max_version: tuple[int, int] | None = None,
        dl_device: tuple[int, int] | None = None,
        copy: bool | None = None,
    ) -> Any:
        """A DLPack capsule over this memory. Waits for the card, since CPU consumers know no streams."""
        if dl_device is not None and tuple(dl_device) != (_KDL_CPU, 0):
            raise BufferError(
                f"card memory is offered as DLPack device (1, 0), the CPU; {dl_device} was asked for"
            )
        self.device.synchronize()
        source = self
        if copy:
            source = from_numpy(self.numpy(), device=self.device)
            self.device.synchronize()
        view = _runtime.dlpack_view(
            source._owner, source._address, list(self.shape), list(source.strides), self.dtype
        )
        if max_version is None:
            return view.__dlpack__()
        return view.__dlpack__(max_version=max_version)

    def __dlpack_device__(self) -> tuple[int, int]:
        return (_KDL_CPU, 0)

    def __len__(self) -> int:
        if not self.shape:
            raise TypeError("an array without dimensions has no length")
        return self.shape[0]

    def __repr__(self) -> str:
        return f"Array({self.dtype}{list(self.shape)} on {self.device})"


def _extent(shape: Sequence[int], strides: Sequence[int]) -> tuple[int, int]:
    """Lowest element offset and one past the highest."""
    low = sum((n - 1) * s for n, s in zip(shape, strides, strict=True) if s < 0 and n > 0)
    high = sum((n - 1) * s for n, s in zip(shape, strides, strict=True) if s > 0 and n > 0)
    return low, high + 1


def empty(shape: Sequence[int] | int, dtype: Any = "f32", device: Device | int | str | None = None) -> Array:
    """A new array with arbitrary contents. Raises OutOfMemory, after which the card stays usable."""
    device = as_device(device)
    sizes = (shape,) if isinstance(shape, int) else tuple(shape)
    if any(n < 0 for n in sizes):
        raise ValueError(f"an array cannot have shape {sizes}")
    if not isinstance(dtype, str) or dtype not in ITEMSIZE:
        dtype = dtype_name(dtype)
    card = device.card
    nbytes = math.prod(sizes) * ITEMSIZE[dtype]
    if nbytes >= 2**63:  # more than the run time can count
        limit = card.memory_stats()["limit"]
        raise _runtime.OutOfMemory(
            f"Out of memory on card {device}: {nbytes / 2**60:.2f} EiB were asked for, the limit is {limit / 2**30:.2f} GiB."
        )
    buffer = _runtime.Buffer(card, nbytes, card.current_stream)
    return Array(buffer, buffer.address, sizes, dtype, None, device)


def zeros(shape: Sequence[int] | int, dtype: Any = "f32", device: Device | int | str | None = None) -> Array:
    """A new array of zeros."""
    result = empty(shape, dtype, device)
    result.device.card.current_stream.fill(result._address, 0, result.nbytes)
    return result


def from_numpy(array: Any, device: Device | int | str | None = None) -> Array:
    """A copy of a NumPy array (or anything that numpy.asarray takes) on a card."""
    source = np.ascontiguousarray(array).reshape(np.shape(array))
    if not source.dtype.isnative:
        source = source.astype(source.dtype.newbyteorder("="))
    result = empty(source.shape, dtype_name(source.dtype), device)
    result.device.card.current_stream.copy(result._address, source.ctypes.data, source.nbytes, "h2d")
    return result


def to_numpy(array: Array) -> NDArray[Any]:
    """A copy of an array in host memory; waits for the card."""
    return array.numpy()


def from_dlpack(source: Any, device: Device | int | str | None = None) -> Array:
    """An array from any DLPack producer on the CPU (NumPy, torch, ...). Memory of a card is shared; other memory is
    copied, because kernels rely on the alignment and the readable slack of card memory."""
    if isinstance(source, Array):
        return source
    device = as_device(device)
    address, shape, strides, dtype, kind = _runtime.dlpack_read(source)
    if kind != _KDL_CPU:
        raise BufferError(
            f"memory of DLPack device type {kind} cannot be read by a host card; move it to the CPU first"
        )
    array = Array(source, address, shape, dtype, strides, device)
    if device.card.owns(address):
        return array
    if array.contiguous:
        result = empty(shape, dtype, device)
        device.card.current_stream.copy(result._address, address, result.nbytes, "h2d")
        return result
    width = np.dtype(np.uint16) if dtype == "bf16" else _NUMPY[dtype]
    dense = np.ascontiguousarray(array._host_view(width))
    result = empty(shape, dtype, device)
    device.card.current_stream.copy(result._address, dense.ctypes.data, dense.nbytes, "h2d")
    return result


def replay(
    plan: _runtime.Plan,
    arrays: Sequence[Array],
    dynamics: Sequence[int | float] = (),
    device: Device | None = None,
    kept: Array | None = None,
    counts: Sequence[int] = (),
) -> None:
    """Enqueues a plan on the current stream of a card, its tensors being `arrays` in order. Of a plan with several
    stages, one stage: `kept` is its memory between the stages, `counts` what those before have measured."""
    if device is None:
        device = arrays[0].device if arrays else as_device(None)
    elif not isinstance(device, Device):
        device = as_device(device)
    for array in arrays:
        if array.device.id != device.id:
            raise ValueError(
                f"operator {plan.name} runs on {device}, but one of its arrays is on {array.device}"
            )
    plan.replay(
        device.card.current_stream,
        [array._address for array in arrays],
        dynamics,
        None if kept is None else kept._address,
        counts,
    )
