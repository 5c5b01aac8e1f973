"""The functions of triton.language.extra.libdevice on this card: each is one external call that lanes.py implements."""

from __future__ import annotations

from typing import Any

from triton.language import core

_UNARY = [
    "acos",
    "acosh",
    "asin",
    "asinh",
    "atan",
    "atanh",
    "cbrt",
    "ceil",
    "cos",
    "cosh",
    "erf",
    "erfc",
    "exp",
    "exp2",
    "expm1",
    "fabs",
    "floor",
    "lgamma",
    "log",
    "log10",
    "log1p",
    "log2",
    "rint",
    "round",
    "rsqrt",
    "sin",
    "sinh",
    "sqrt",
    "tan",
    "tanh",
    "tgamma",
    "trunc",
]
_BINARY = ["atan2", "copysign", "fdim", "fmod", "hypot", "nextafter", "pow", "remainder"]
_FLOATS = ("fp16", "bf16", "fp32", "fp64")


def _unary(name: str) -> Any:
    def function(arg0: Any, _semantic: Any = None) -> Any:
        table = {(core.dtype(t),): ("__openxpu_" + name, core.dtype(t)) for t in _FLOATS}
        return core.extern_elementwise("", "", [arg0], table, is_pure=True, _semantic=_semantic)

    function.__name__ = name
    function.__doc__ = f"{name}(x) of the C library, element by element; f16 and bf16 are computed in f32."
    return core.extern(function)


def _binary(name: str) -> Any:
    def function(arg0: Any, arg1: Any, _semantic: Any = None) -> Any:
        table = {(core.dtype(t),) * 2: ("__openxpu_" + name, core.dtype(t)) for t in _FLOATS}
        return core.extern_elementwise("", "", [arg0, arg1], table, is_pure=True, _semantic=_semantic)

    function.__name__ = name
    function.__doc__ = f"{name}(x, y) of the C library, element by element; f16 and bf16 are computed in f32."
    return core.extern(function)


def _test(name: str) -> Any:
    def function(arg0: Any, _semantic: Any = None) -> Any:
        table = {(core.dtype(t),): ("__openxpu_" + name, core.dtype("int32")) for t in _FLOATS}
        found = core.extern_elementwise("", "", [arg0], table, is_pure=True, _semantic=_semantic)
        return found.to(core.int1, _semantic=_semantic)

    function.__name__ = name
    function.__doc__ = f"{name}(x), element by element, as a bool."
    return core.extern(function)


for _name in _UNARY:
    globals()[_name] = _unary(_name)
for _name in _BINARY:
    globals()[_name] = _binary(_name)
for _name in ("isnan", "isinf"):
    globals()[_name] = _test(_name)
