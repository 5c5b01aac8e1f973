# What a convolution or a product does with each sum before it is stored: bias, residual sum, activation.

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from openxpu.ops.activation import UNARY
from openxpu.ops.plan import Tensor, Unsupported, function_constexpr

# The numbers that each activation takes.
ACTIVATIONS = {"identity": 0} | {
    name: len(UNARY[name].defaults)
    for name in (
        "relu", "relu6", "leaky_relu", "hardswish", "hardsigmoid", "silu", "sigmoid", "tanh", "gelu", "gelu_tanh", "elu",
    )
}  # fmt: skip


@dataclass(frozen=True)
class Ending:
    """out = activation(sum + bias + residual): bias [channels], residual of the result's shape, both of its dtype."""

    bias: Tensor | None = None
    residual: Tensor | None = None
    activation: str = "identity"
    numbers: tuple[float, ...] = ()

    @staticmethod
    def of(text: str, bias: Tensor | None = None, residual: Tensor | None = None) -> Ending:
        """`text` is "relu" or, with its numbers, "leaky_relu:0.1"."""
        name, *numbers = text.split(":")
        if ACTIVATIONS.get(name) != len(numbers):
            known = ", ".join(ACTIVATIONS)
            raise Unsupported(f"a convolution ends in one of {known} with its numbers, found {text!r}.")
        return Ending(bias, residual, name, tuple(map(float, numbers)))

    @property
    def plain(self) -> bool:
        return self.bias is None and self.residual is None and self.activation == "identity"

    @property
    def constexprs(self) -> dict[str, Any]:
        return {
            "BIAS": self.bias is not None,
            "RESIDUAL": self.residual is not None,
            "ACTIVATION": self.function,
        }

    @property
    def function(self) -> str:
        return function_constexpr(f"ending.{self.activation}")

    @property
    def first(self) -> float:
        return self.numbers[0] if self.numbers else 0.0

    @property
    def second(self) -> float:
        return self.numbers[1] if len(self.numbers) > 1 else 0.0


NOTHING = Ending()
