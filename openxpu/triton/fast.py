# The fast path of kernel[grid](...): a few microseconds from the second launch of a specialisation on.
"""Triton's JITFunction.run takes 15 to 30 us for each launch, most of it for work that has the same result every time.
After a kernel's first launch, its `run` is therefore replaced, for that kernel alone, by a generated function which
finds the compiled kernel by what Triton specialises on (classes, dtypes, alignment to 16, integers that are 1 or
multiples of 16, constants, options) and calls the run time. For anything out of the ordinary (hooks, changed globals,
another active driver, tuples, descriptors) and for every miss it calls Triton's own `run`, so that compiling, checking
and refusing stay Triton's."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import Any

from openxpu import _runtime
from openxpu.triton.arguments import Kind, kind_of

_RESERVED = {"grid", "warmup", "options"}


def install(function: Any, driver_is_active: Callable[[], bool]) -> None:
    """Gives a Triton function its fast path. Functions that it does not suit keep Triton's."""
    from triton.runtime.jit import JITFunction

    if type(function) is not JITFunction or "run" in vars(function):
        return
    parameters = function.signature.parameters.values()
    plain = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    if any(p.kind not in plain or p.name in _RESERVED or p.name.startswith("_xpu") for p in parameters):
        return
    function.run = _Paths(function, driver_is_active).run


class _Paths:
    """The paths of one kernel: one for each combination of the arguments' classes."""

    def __init__(self, function: Any, driver_is_active: Callable[[], bool]) -> None:
        from triton import knobs

        self.function = function
        self.triton_run = function.run  # bound to the class's method
        self.parameters = list(function.signature.parameters.values())
        self.constants = {p.name for p in function.params if p.is_constexpr}
        self.paths: dict[tuple[type, ...], Callable[..., Any]] = {}
        self.driver_is_active = driver_is_active
        self.knobs = knobs.runtime
        # Compared by identity at each launch: who hangs hooks in gets Triton's own way.
        self.enter_hook, self.exit_hook = knobs.runtime.launch_enter_hook, knobs.runtime.launch_exit_hook
        self.debug = knobs.runtime.debug
        names = [p.name for p in self.parameters]
        classes = [f"{name}.__class__" for name in names if name not in self.constants]
        source = f"""
def run({self._header()}):
    if not warmup:
        try:
            _xpu_path = _xpu_paths[({"".join(c + ", " for c in classes)})]
        except KeyError:
            _xpu_path = _xpu_new_path(({"".join(n + ", " for n in names)}))
        if _xpu_path is not None:
            return _xpu_path({", ".join([*names, "grid", "options"])})
    return _xpu_slow(({"".join(n + ", " for n in names)}), grid, warmup, options)
"""
        scope: dict[str, Any] = {
            "_xpu_paths": self.paths,
            "_xpu_new_path": self.new_path,
            "_xpu_slow": self.slow,
            **{f"_xpu_default_{p.name}": p.default for p in self.parameters},
        }
        exec(source, scope)
        self.run = scope["run"]
        self.run.__qualname__ = self.run.__name__ = function.__name__

    def _header(self) -> str:
        parts, starred = [], False
        for p in self.parameters:
            if p.kind is inspect.Parameter.KEYWORD_ONLY and not starred:
                parts.append("*")
                starred = True
            has_default = p.default is not inspect.Parameter.empty
            parts.append(f"{p.name}=_xpu_default_{p.name}" if has_default else p.name)
        if not starred:
            parts.append("*")
        return ", ".join([*parts, "grid", "warmup", "**options"])

    def slow(self, values: Sequence[Any], grid: Any, warmup: bool, options: dict[str, Any]) -> Any:
        """Triton's own run."""
        # Hooks see what most callers write: values by position, constants by name.
        positional: list[Any] = []
        named: dict[str, Any] = {}
        for p, value in zip(self.parameters, values, strict=True):
            if named or p.name in self.constants or p.kind is inspect.Parameter.KEYWORD_ONLY:
                named[p.name] = value
            else:
                positional.append(value)
        return self.triton_run(*positional, grid=grid, warmup=warmup, **named, **options)

    def new_path(self, values: Sequence[Any]) -> Callable[..., Any] | None:
        """Generates the path for the classes of these arguments; None when they need Triton's own way."""
        kinds = {
            p.name: kind_of(type(value))
            for p, value in zip(self.parameters, values, strict=True)
            if p.name not in self.constants
        }
        path = None
        of_kind = {kind: [name for name, k in kinds.items() if k is kind] for kind in Kind}
        # Card arrays beside Paddle tensors need their two streams put in order.
        if not of_kind[Kind.OTHER] and not (of_kind[Kind.ARRAY] and of_kind[Kind.PADDLE]):
            path = self._generate(kinds, dict(zip(kinds, self._classes(values), strict=True)), of_kind)
        self.paths[self._classes(values)] = path  # type: ignore[assignment]
        return path

    def _classes(self, values: Sequence[Any]) -> tuple[type, ...]:
        return tuple(
            type(value)
            for p, value in zip(self.parameters, values, strict=True)
            if p.name not in self.constants
        )

    def _generate(
        self, kinds: dict[str, Kind], classes: dict[str, type], of_kind: dict[Kind, list[str]]
    ) -> Callable[..., Any]:
        names = [p.name for p in self.parameters]
        entries: dict[Any, tuple[Any, _runtime.Launcher]] = {}
        before: list[str] = []
        key: list[str] = []
        passed: list[str] = []
        for name in names:
            kind = kinds.get(name)
            passed.append(name)
            if kind is None:  # a constant: 1, 1.0 and True are equal but not the same
                key += [f"{name}.__class__", name]
            elif kind is Kind.ARRAY:
                key += [f"{name}.dtype", f"not {name}._address & 15"]
            elif kind in (Kind.PADDLE, Kind.HOST):
                before.append(f"_xpu_at_{name} = {name}.data_ptr()")
                # Paddle's dtypes are few objects which live for ever, and hashing them takes long.
                dtype = f"id({name}.dtype)" if kind is Kind.PADDLE else f"{name}.dtype"
                key += [dtype, f"not _xpu_at_{name} & 15"]
                passed[-1] = f"_xpu_at_{name}"
            elif classes[name] is int:
                key += [
                    f"{name} == 1",
                    f"not {name} & 15",
                    f"0 if -2147483648 <= {name} <= 2147483647 else 1 if {name} < 9223372036854775808 else 2",
                ]
        arrays = of_kind[Kind.ARRAY]
        if arrays:
            before.append(f"_xpu_device = {arrays[0]}.device")
            odd = " or ".join(
                f"({n}.device is not _xpu_device and {n}.device != _xpu_device)" for n in arrays[1:]
            )
            stream = "_xpu_device.card.current_stream"
        else:
            odd = ""
            stream = "_xpu_current_device().card.current_stream"
        if of_kind[Kind.PADDLE]:
            stream = f"_xpu_paddle_stream({', '.join('_xpu_at_' + n for n in of_kind[Kind.PADDLE])})"
        values = "".join(n + ", " for n in names)
        body = "\n    ".join(before)
        source = f"""
def path({", ".join([*names, "grid", "options"])}):
    if (
        _xpu_knobs.launch_enter_hook is not _xpu_enter or _xpu_enter.calls
        or _xpu_knobs.launch_exit_hook is not _xpu_exit or _xpu_exit.calls
        or _xpu_knobs.add_stages_inspection_hook is not None or _xpu_knobs.debug is not _xpu_debug
        or _xpu_function.pre_run_hooks or not _xpu_is_active()
    ):
        return _xpu_slow(({values}), grid, False, options)
    {body}
    {f"if {odd}: return _xpu_slow(({values}), grid, False, options)" if odd else ""}
    _xpu_key = ({"".join(k + ", " for k in key)}*options.items())
    try:
        _xpu_kernel, _xpu_launch = _xpu_entries[_xpu_key]
    except (KeyError, TypeError):
        return _xpu_learn(_xpu_entries, _xpu_key, ({values}), grid, options)
    for (_xpu_name, _), (_xpu_value, _xpu_scope) in _xpu_function.used_global_vals.items():
        if _xpu_scope.get(_xpu_name, _xpu_missing) != _xpu_value:
            return _xpu_slow(({values}), grid, False, options)
    if grid.__class__ is not tuple and callable(grid):
        grid = grid({{{", ".join(f"{n!r}: {n}" for n in names)}}})
    try:
        _xpu_launch({stream}, {bool(of_kind[Kind.HOST])}, grid, {", ".join(passed)})
    except KeyboardInterrupt:
        _xpu_abandoned.append(({values}))
        raise
    return _xpu_kernel
"""
        from openxpu.runtime import current_device
        from openxpu.triton.launch import abandoned

        scope: dict[str, Any] = {
            "_xpu_knobs": self.knobs,
            "_xpu_enter": self.enter_hook,
            "_xpu_exit": self.exit_hook,
            "_xpu_debug": self.debug,
            "_xpu_function": self.function,
            "_xpu_is_active": self.driver_is_active,
            "_xpu_slow": self.slow,
            "_xpu_learn": self._learn,
            "_xpu_entries": entries,
            "_xpu_missing": object(),
            "_xpu_current_device": current_device,
            "_xpu_abandoned": abandoned,
        }
        if of_kind[Kind.PADDLE]:
            from openxpu.paddle.streams import stream_of

            scope["_xpu_paddle_stream"] = stream_of
        exec(source, scope)
        path: Callable[..., Any] = scope["path"]
        return path

    def _learn(
        self,
        entries: dict[Any, tuple[Any, _runtime.Launcher]],
        key: Any,
        values: Sequence[Any],
        grid: Any,
        options: dict[str, Any],
    ) -> Any:
        from triton.compiler import CompiledKernel

        from openxpu.triton.launch import KernelLauncher

        kernel = self.slow(values, grid, False, options)
        launcher = kernel.run if isinstance(kernel, CompiledKernel) else None
        if isinstance(launcher, KernelLauncher) and launcher.flat:
            try:
                entries[key] = (kernel, launcher.native(kernel.function))
            except TypeError:  # an unhashable constant: never found again
                return kernel
        return kernel
