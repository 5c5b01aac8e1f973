# The table of mapping functions: which Python function plans which phi kernel.

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar, overload

# Groups whose kernels are C++ that moves or shares memory, or that calls other kernels.
WITHOUT_PLANS = ("device", "shared", "custom", "sync_batch_norm", "collectives")

F = TypeVar("F", bound=Callable[..., None])


@dataclass(frozen=True)
class Mapping:
    """One phi kernel: its mapping function, and which of the C++ arguments (from 0, without the context) are
    dynamic scalars, whose values are no part of a plan's signature."""

    name: str
    function: Callable[..., None]
    parameters: tuple[str, ...]
    dynamic: tuple[int, ...]


_mappings: dict[str, Mapping] = {}


@overload
def phi_kernel(function: F) -> F: ...
@overload
def phi_kernel(*, dynamic: Sequence[str] = (), name: str | None = None) -> Callable[[F], F]: ...
def phi_kernel(function: Any = None, *, dynamic: Sequence[str] = (), name: str | None = None) -> Any:
    """Registers `function(b, *arguments)` as the mapping of the phi kernel of its name (or of `name`). The
    arguments stand in the order of the C++ signature without the context. `dynamic` names attributes that
    change from call to call; the function gets an `openxpu.ops.plan.Dynamic` for them."""

    def register(f: Any) -> Any:
        kernel = name or f.__name__
        parameters = f.__code__.co_varnames[1 : f.__code__.co_argcount]
        unknown = [d for d in dynamic if d not in parameters]
        if unknown:
            raise ValueError(
                f"Kernel {kernel}: dynamic argument {unknown[0]!r} is none of its parameters {parameters}."
            )
        indices = tuple(parameters.index(d) for d in dynamic)
        _mappings[kernel] = Mapping(kernel, f, parameters, tuple(sorted(indices)))
        return f

    return register if function is None else register(function)


def add(mapping: Mapping) -> None:
    """Makes a mapping known that no module of this package holds."""
    _mappings[mapping.name] = mapping


def _load(group: str) -> None:
    importlib.import_module(f"openxpu.paddle.kernels.{group}")


def load_all() -> dict[str, Mapping]:
    """Imports every group; for checks and tables."""
    import openxpu.paddle.kernels as package

    for module in pkgutil.iter_modules(package.__path__):
        if module.name != "registry":
            _load(module.name)
    return dict(_mappings)


def find(kernel: str) -> Mapping:
    """The mapping of a phi kernel; imports no other group than the one that registers it."""
    mapping = _mappings.get(kernel)
    if mapping is not None:
        return mapping
    from openxpu.paddle.counters import registered_kernels

    group = registered_kernels().get(kernel)
    if group is not None:
        _load(group)
        if kernel in _mappings:
            return _mappings[kernel]
    raise LookupError(
        f"The plug-in registers phi kernel {kernel} (csrc/paddle/kernels/{group}.inc), but "
        f"openxpu/paddle/kernels/{group}.py has no function of that name under @phi_kernel. Add it, or take the line out."
    )


def missing() -> list[str]:
    """Registered phi kernels without a mapping function."""
    from openxpu.paddle.counters import registered_kernels

    known = load_all()
    return sorted(
        kernel
        for kernel, group in registered_kernels().items()
        if group not in WITHOUT_PLANS and kernel not in known
    )
