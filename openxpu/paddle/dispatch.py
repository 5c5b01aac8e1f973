# The planner's Paddle half: a kernel's name and arguments in, a plan out. Called by C++ once per new signature.

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from openxpu.paddle.kernels import registry

if TYPE_CHECKING:
    from openxpu import _runtime


def dynamic_arguments(kernel: str) -> list[int]:
    """Positions of the dynamic scalars among a kernel's arguments."""
    return list(registry.find(kernel).dynamic)


def plan(kernel: str, arguments: list[Any]) -> _runtime.Plan:
    """Runs the kernel's mapping function and compiles what is not in the kernel cache."""
    from openxpu import _runtime
    from openxpu.ops.plan import Dynamic, PlanBuilder, Tensor

    def described(argument: Any) -> Any:
        if isinstance(argument, _runtime.TensorMeta):
            return Tensor.argument(argument.slot, argument.shape, argument.dtype, argument.strides)
        if isinstance(argument, list):
            return [described(a) for a in argument]
        if isinstance(argument, _runtime.DynamicScalar):
            return Dynamic(argument.index)
        return argument

    mapping = registry.find(kernel)
    if len(arguments) != len(mapping.parameters):
        raise TypeError(
            f"phi kernel {kernel} has {len(arguments)} arguments, its mapping function takes {len(mapping.parameters)}: "
            f"{', '.join(mapping.parameters)}."
        )
    builder = PlanBuilder(kernel)
    mapping.function(builder, *map(described, arguments))
    made: _runtime.Plan = builder.finish()
    return made
