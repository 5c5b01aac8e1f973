# The Paddle adapter: device "xpu" inside an unchanged PaddlePaddle.
"""`import paddle` finds the plug-in by itself; nothing here has to be imported to use the device.

openxpu.paddle.fallbacks()      {phi kernel: calls that ran on the CPU because the card has no kernel for them}
openxpu.paddle.native_calls()   {phi kernel: calls that ran on a card}
openxpu.paddle.registered_kernels(), openxpu.paddle.kernel_dtypes()    what the card has
openxpu.paddle.reset_counters()
openxpu.paddle.register(...)    an operator of one's own from a Triton kernel
"""

from __future__ import annotations

from typing import Any

__all__ = [
    "fallbacks", "kernel_dtypes", "native_calls", "plans", "register", "registered_kernels", "reset_counters"
]  # fmt: skip


def __getattr__(name: str) -> Any:
    """Loads what is asked for at its first use: `import paddle` passes through this file."""
    if name == "register":
        from openxpu.paddle.operators import register

        return register
    if name in __all__:
        from openxpu.paddle import counters

        return getattr(counters, name)
    raise AttributeError(f"module 'openxpu.paddle' has no attribute {name!r}")
