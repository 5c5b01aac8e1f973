# The driver half of the Triton back end: which card, which stream, how kernels are loaded, launched and timed.
from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from triton._utils import type_canonicalisation_dict
from triton.backends.compiler import GPUTarget
from triton.backends.driver import DriverBase

from openxpu import environment
from openxpu.compiler.target import UnsupportedProcessor, host
from openxpu.runtime import current_device, set_device
from openxpu.triton import arguments, benchmark, fast, launch
from openxpu.triton.compiler import OpenXPUBackend, triton_target

_SCRATCH_LIMIT = 1 << 30  # of one worker
_CPP_TYPES = {
    "i1": "int8_t", "i8": "int8_t", "i16": "int16_t", "i32": "int32_t", "i64": "int64_t",
    "u1": "uint8_t", "u8": "uint8_t", "u16": "uint16_t", "u32": "uint32_t", "u64": "uint64_t",
    "fp16": "double", "bf16": "double", "fp32": "double", "f32": "double", "fp64": "double",
}  # fmt: skip

# The dtype names of card arrays that Triton spells otherwise ("i32", "bf16", ... are the same).
type_canonicalisation_dict.update(f16="fp16", f32="fp32", f64="fp64")


class Cards:
    """What Triton calls the driver's utils."""

    @staticmethod
    def get_device_properties(device: int) -> dict[str, Any]:
        """A card in the words of Triton's tutorials: a worker is a multiprocessor with warps of one thread."""
        from openxpu import _runtime

        properties = _runtime.card_properties(device)
        return {
            "name": properties["name"],
            "max_shared_mem": _SCRATCH_LIMIT,
            "multiprocessor_count": properties["workers"],
            "warpSize": 1,
            "max_num_regs": 32 * host().registers,
        }

    @staticmethod
    def load_binary(
        name: str, image: bytes, shared: int, device: int
    ) -> tuple[launch.Function, launch.Function, int, int, int]:
        """(module, function, registers, spills, most threads) of a kernel image."""
        function = launch.load(image)
        return function, function, host().registers, 0, 1 << 20

    @staticmethod
    def unload_module(module: launch.Function) -> None:
        """Code stays until the process ends: launches of it may be under way."""


class OpenXPUDriver(DriverBase):  # type: ignore[misc]
    """The cards of this machine as Triton's active driver."""

    def __init__(self) -> None:
        super().__init__()
        from triton.runtime import driver as config
        from triton.runtime import jit

        self.utils = Cards()
        self.get_empty_cache_for_benchmark = _empty_cache
        active = config.__class__.active.fget  # type: ignore[attr-defined]

        def is_active() -> bool:
            return active(config) is self

        install = functools.partial(fast.install, driver_is_active=is_active)
        self.launcher_cls: Callable[[Any, Any], launch.KernelLauncher] = functools.partial(
            launch.KernelLauncher, installed=install
        )
        if not getattr(jit.native_specialize_impl, "of_openxpu", False):
            # Kernels look this function up when they are first launched, which is after the driver was made.
            explain = arguments.explaining(
                jit.native_specialize_impl, lambda backend: isinstance(backend, OpenXPUBackend)
            )
            explain.of_openxpu = True  # type: ignore[attr-defined]
            jit.native_specialize_impl = explain

    @classmethod
    def is_active(cls) -> bool:
        """True on every machine whose processor the host card supports. A target that was named and cannot be had
        is an error, not the absence of a driver."""
        try:
            host()
        except UnsupportedProcessor:
            if environment.target():
                raise
            return False
        return True

    def map_python_to_cpp_type(self, ty: str) -> str:
        return "void *" if ty.startswith("*") else _CPP_TYPES[ty]

    def get_current_target(self) -> GPUTarget:
        return triton_target(host())

    def get_current_device(self) -> int:
        return current_device().id

    def set_current_device(self, device: int) -> None:
        set_device(device)

    def get_current_stream(self, device: int) -> None:
        """None: the stream is chosen by the arguments (openxpu/triton/launch.py)."""
        return None

    def get_active_torch_device(self) -> Any:
        """torch.device("cpu") when the program uses torch: its CPU memory is the host card's too. Else the card."""
        torch = sys.modules.get("torch")
        return current_device() if torch is None else torch.device("cpu")

    def get_device_interface(self) -> type[benchmark.DeviceInterface]:
        return benchmark.DeviceInterface

    def get_benchmarker(self) -> Callable[..., Sequence[float]]:
        return benchmark.benchmark

    def clear_cache(self, cache: NDArray[Any]) -> None:
        """Pushes what earlier work left out of the processor's caches."""
        cache.fill(0)


def _empty_cache() -> NDArray[Any]:
    from openxpu import _runtime

    return np.empty(min(max(2 * _runtime.cache_sizes()[2], 32 << 20), 256 << 20), np.uint8)
