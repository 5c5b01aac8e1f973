# Tensor descriptors made on the host, over memory of every kind.
from __future__ import annotations

from collections.abc import Sequence
from typing import Any


class _DType:
    """A dtype as Triton's TensorDescriptor reads it, which is as torch's."""

    def __init__(self, name: str) -> None:
        from triton._utils import canonicalize_dtype, get_primitive_bitwidth

        self.name: str = canonicalize_dtype(name)
        self.itemsize = max(1, get_primitive_bitwidth(self.name) // 8)
        self.is_floating_point = self.name.startswith(("fp", "bf"))

    def __str__(self) -> str:
        return self.name


class Described:
    """A kernel argument below a descriptor. `argument` is what the launch sees."""

    def __init__(self, argument: Any) -> None:
        self.argument = argument
        self.dtype = _DType(str(argument.dtype))
        self.shape = list(argument.shape)

    def data_ptr(self) -> int:
        """Address of the first element."""
        address: int = self.argument.data_ptr()
        return address

    def stride(self) -> list[int]:
        """Strides in elements, wherever the library keeps them."""
        for name in ("stride", "strides", "get_strides"):
            found = getattr(self.argument, name, None)
            if found is not None:
                return list(found() if callable(found) else found)
        raise TypeError(f"A tensor descriptor needs strides, which {self.argument!r:.80} does not give.")


def tensor_descriptor(
    argument: Any, block_shape: Sequence[int], *, padding: str = "zero", round_f32_to_tf32: bool = False
) -> Any:
    """Triton's TensorDescriptor over a card array, a Paddle tensor, a torch tensor or a numpy_argument.

    block_shape   what desc.load and desc.store move, powers of 2
    padding       "zero" or "nan": what lies outside the tensor
    Triton demands a base aligned to 16 bytes, rows that start at multiples of 16 bytes and dense last dimensions."""
    from triton.tools.tensor_descriptor import TensorDescriptor

    base = Described(argument)
    return TensorDescriptor(base, base.shape, base.stride(), list(block_shape), padding, round_f32_to_tf32)
