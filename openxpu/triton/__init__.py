# OpenXPU as a back end of Triton: kernel[grid](...) runs on a card.
"""Triton finds this package by the entry point `triton.backends` once OpenXPU is installed; nothing has to be imported.

register()            adds the back end by hand, for a source tree that is not installed
numpy_argument(a)     a NumPy array as an argument of a kernel, used in place
tensor_descriptor(a, block_shape)   a tensor descriptor made on the host, over any kind of argument

`import triton` passes through this file, so it imports nothing of Triton."""

from __future__ import annotations

from openxpu.triton.arguments import NumpyArgument, numpy_argument
from openxpu.triton.descriptor import tensor_descriptor

__all__ = ["NAME", "NumpyArgument", "numpy_argument", "register", "tensor_descriptor"]

NAME = "openxpu"  # for TRITON_DEFAULT_BACKEND


def register() -> None:
    """Adds the back end to Triton unless its entry point did so already. Has no effect on kernels that have run."""
    from triton.backends import Backend, backends

    from openxpu.triton.compiler import OpenXPUBackend
    from openxpu.triton.driver import OpenXPUDriver

    backends.setdefault(NAME, Backend(OpenXPUBackend, OpenXPUDriver))
