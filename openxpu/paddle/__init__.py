# The Paddle adapter: device "xpu" inside an unchanged PaddlePaddle.
"""`import paddle` finds the plug-in by itself; nothing here has to be imported to use the device.

openxpu.paddle.fallbacks()      {phi kernel: calls that ran on the CPU because the card has no kernel for them}
openxpu.paddle.native_calls()   {phi kernel: calls that ran on a card}
openxpu.paddle.registered_kernels(), openxpu.paddle.kernel_dtypes()    what the card has
openxpu.paddle.reset_counters()
"""

from __future__ import annotations

from typing import Any

__all__ = ["fallbacks", "kernel_dtypes", "native_calls", "plans", "registered_kernels", "reset_counters"]


def __getattr__(name: str) -> Any:
    """Loads the counters at their first use: `import paddle` passes through this file."""
    if name in __all__:
        from openxpu.paddle import counters

        return getattr(counters, name)
    raise AttributeError(f"module 'openxpu.paddle' has no attribute {name!r}")
