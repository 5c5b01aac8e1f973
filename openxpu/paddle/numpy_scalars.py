# float(tensor) for tensors of shape [1], which Paddle 3.3 itself relies on, under NumPy 2.4 and later.
"""NumPy 2.4 turns only arrays without dimensions into Python numbers; Paddle hands it arrays of shape [1], for one in
the loss scaling of float16 training. On any device: this is between the two of them."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from openxpu.paddle import after_import

_CONVERSIONS = ("__float__", "__int__", "__long__", "__index__", "__complex__")


def _without_dimensions(convert: Callable[[Any], Any]) -> Callable[[Any], Any]:
    @functools.wraps(convert)
    def converted(tensor: Any) -> Any:
        return convert(tensor.detach().reshape([]) if tensor.shape and tensor.size == 1 else tensor)

    return converted


def _patch(module: Any) -> None:
    original = module.monkey_patch_math_tensor

    @functools.wraps(original)
    def monkey_patch_math_tensor() -> None:
        original()
        tensor = module.core.eager.Tensor
        for name in _CONVERSIONS:
            if hasattr(tensor, name):
                setattr(tensor, name, _without_dimensions(getattr(tensor, name)))

    module.monkey_patch_math_tensor = monkey_patch_math_tensor


def install() -> None:
    """Takes effect while `import paddle` runs; later there is nothing to do any more."""
    after_import.install({"paddle.base.dygraph.math_op_patch": _patch})
