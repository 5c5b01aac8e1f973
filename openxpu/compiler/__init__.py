"""The kernel compiler: get_kernel gives the entry point of a Triton kernel, from the cache or compiled."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from openxpu.compiler import cache, eviction, image
from openxpu.compiler.profiling import Profile, profile, remember
from openxpu.compiler.target import Target, host
from openxpu.environment import cache_dir

__all__ = ["Kernel", "Profile", "Target", "get_kernel", "host", "precompile", "profile"]


@dataclass(frozen=True)
class Kernel:
    """A loaded kernel. `entry` follows contract 1 of docs/architecture.md."""

    name: str
    entry: int
    scratch_bytes: int
    arg_types: tuple[str, ...]
    image_path: str
    messages: tuple[str, ...] = ()
    loaded: Any = field(default=None, repr=False, compare=False)  # keeps the code mapped


_kernels: dict[Any, Kernel] = {}
_lock = threading.Lock()


def get_image(
    ref: str, arg_types: list[str], constexprs: dict[str, Any], target: Target
) -> tuple[image.Image, str]:
    """The image of a kernel for any target, and its path: read from the cache, else compiled and stored."""
    path = cache.path(cache.key(ref, arg_types, constexprs, target))
    try:
        found = image.read(path)
        if found.metadata.get("target") == target.key:
            eviction.touch(path)
            return found, str(path)
    except (OSError, image.BadImage, ValueError):
        pass
    from openxpu.compiler.compile import compile_kernel

    compiled = compile_kernel(ref, list(arg_types), constexprs, target)
    metadata = {
        "name": ref,
        "symbol": compiled.symbol,
        "arg_types": list(arg_types),
        "scratch_bytes": compiled.scratch_bytes,
        "target": target.key,
        "messages": compiled.messages,
        "figures": compiled.figures,
        "constexprs": {name: repr(value) for name, value in constexprs.items()},
    }
    made = image.Image(metadata, compiled.elf)
    with contextlib.suppress(OSError):  # a cache that cannot be written costs time, nothing else
        eviction.store(cache_dir(), path, made)
    return made, str(path)


def get_kernel(
    ref: str,
    arg_types: list[str] | tuple[str, ...],
    constexprs: dict[str, Any],
    target: Target | None = None,
) -> Kernel:
    """The kernel `ref` for these argument types and constants, loaded and ready to launch.

    ref: "softmax.softmax_forward" (below openxpu/ops/kernels) or "package.module:function".
    arg_types: one string for each parameter: "*f32", "i32", "f32", ..., or "constexpr".
    constexprs: values of the constexpr parameters: numbers, None, strings; "dtype:f32" stands for tl.float32 and
    "function:activation.gelu" for a jit function.
    Raises CompileError (openxpu.compiler.tile_ir) with a sentence when the kernel cannot be compiled.
    """
    target = target or host()
    memo: tuple[Any, ...] = (
        ref,
        tuple(arg_types),
        tuple(sorted((k, type(v), v) for k, v in constexprs.items())),
        target,
    )
    try:
        found = _kernels.get(memo)
    except TypeError:
        memo = (ref, tuple(arg_types), repr(sorted(constexprs.items())), target)
        found = _kernels.get(memo)
    if found is not None:
        return found
    with _lock:
        found = _kernels.get(memo)
        if found is None:
            found = _kernels[memo] = _load(ref, list(arg_types), constexprs, target)
    return found


def precompile(
    requests: Sequence[tuple[str, Sequence[str], dict[str, Any]]],
    target: Target | None = None,
    jobs: int | None = None,
) -> None:
    """Put the images of many kernels into the kernel cache, compiling what is missing in several processes.

    requests: (ref, arg_types, constexprs) as for get_kernel. jobs: processes at most, this one included; None for one
    per processor. Few missing kernels, or one processor, are compiled here. Nothing is loaded. As in every start of a
    new interpreter, this one's environment and sys.path are what the others see.
    Raises CompileError for a kernel that cannot be compiled; the others may be in the cache by then.
    """
    from openxpu.compiler import parallel

    if jobs is not None and jobs < 1:
        raise ValueError(f"precompile was given jobs={jobs}; give 1 or more, or None for one per processor.")
    listed = [(ref, list(arg_types), dict(constexprs)) for ref, arg_types, constexprs in requests]
    parallel.fill_cache(listed, target or host(), jobs or parallel.processors())


def _load(ref: str, arg_types: list[str], constexprs: dict[str, Any], target: Target) -> Kernel:
    from openxpu import _runtime

    made, path = get_image(ref, arg_types, constexprs, target)
    loaded = _runtime.load_image(made.elf)
    data = made.metadata
    entry = loaded.symbol(data["symbol"])
    remember(entry, data)
    return Kernel(
        data["name"],
        entry,
        data["scratch_bytes"],
        tuple(data["arg_types"]),
        path,
        tuple(data["messages"]),
        loaded,
    )
