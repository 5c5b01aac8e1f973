"""Triton's interpreter as the reference: `interpret` runs a kernel on copies of NumPy arrays in a child process."""

from __future__ import annotations

import atexit
import importlib
import os
import pickle
import struct
import subprocess
import sys
import traceback
from typing import Any

import numpy as np

_child: subprocess.Popen[bytes] | None = None


def _send(stream: Any, message: Any) -> None:
    data = pickle.dumps(message)
    stream.write(struct.pack("<Q", len(data)) + data)
    stream.flush()


def _receive(stream: Any) -> Any:
    header = stream.read(8)
    if len(header) < 8:
        raise EOFError("the interpreter's process has ended; its messages are on stderr")
    return pickle.loads(stream.read(struct.unpack("<Q", header)[0]))


def _stop() -> None:
    if _child is not None:
        _child.kill()
        _child.wait()


def interpret(ref: str, grid: tuple[int, ...], *args: Any, **constexprs: Any) -> list[np.ndarray]:
    """The arrays among args as the kernel leaves them. Arguments are as for harness.launch."""
    global _child  # noqa: PLW0603
    if _child is None or _child.poll() is not None:
        environment = {**os.environ, "TRITON_INTERPRET": "1", "OMP_NUM_THREADS": "1"}
        environment["PYTHONPATH"] = os.pathsep.join(p or os.getcwd() for p in sys.path)
        _child = subprocess.Popen(
            [sys.executable, __file__], env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        atexit.register(_stop)
    _send(_child.stdin, (ref, grid, args, constexprs, sys.path))
    good, answer = _receive(_child.stdout)
    if not good:
        raise RuntimeError(f"the interpreter failed in {ref}:\n{answer}")
    return answer


def _serve() -> None:
    requests, answers = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what kernels print must not get into the answers
    import triton.language as tl
    from triton.runtime import interpreter

    kinds = {
        "bool": tl.int1, "uint8": tl.uint8, "int8": tl.int8, "uint16": tl.uint16, "int16": tl.int16, "uint32": tl.uint32,
        "int32": tl.int32, "uint64": tl.uint64, "int64": tl.int64, "float16": tl.float16, "bfloat16": tl.bfloat16,
        "float32": tl.float32, "float64": tl.float64, "float8_e4m3fn": tl.float8e4nv, "float8_e5m2": tl.float8e5,
    }  # fmt: skip
    short = {
        "i32": "int32", "i64": "int64", "u32": "uint32", "u64": "uint64", "f32": "float32", "f64": "float64",
        "i8": "int8", "u8": "uint8", "i16": "int16", "u16": "uint16", "bool": "bool", "f16": "float16",
    }  # fmt: skip

    def argument(value: Any) -> Any:
        if isinstance(value, np.ndarray):
            dtype: Any = tl.pointer_type(kinds[value.dtype.name])
            data = np.array([value.ctypes.data], np.uint64)
        else:
            name = (
                short[value.dtype]
                if hasattr(value, "value")
                else "float32"
                if isinstance(value, float)
                else "int32"
            )
            dtype, data = kinds[name], np.array([getattr(value, "value", value)]).astype(name)
        return tl.tensor(interpreter.TensorHandle(data, dtype), dtype)

    def constexpr(value: Any) -> Any:
        if isinstance(value, str) and value.startswith("dtype:"):
            return kinds[value.removeprefix("dtype:")]
        if isinstance(value, str) and value.startswith("function:"):
            return find(value.removeprefix("function:"))
        return value

    def find(ref: str) -> Any:
        module, _, name = ref.partition(":")
        return getattr(importlib.import_module(module), name)

    def run(ref: str, grid: tuple[int, ...], args: Any, constexprs: dict[str, Any]) -> list[np.ndarray]:
        function = find(ref)
        values = [argument(a) for a in args]
        grid = (*grid, *(1,) * (3 - len(grid)))
        scope = interpreter._patch_lang(function.fn)
        try:
            body = function.rewrite()
            interpreter.interpreter_builder.set_grid_dim(*grid)
            for x, y, z in np.ndindex(*grid):
                interpreter.interpreter_builder.set_grid_idx(x, y, z)
                body(*values, **{k: constexpr(v) for k, v in constexprs.items()})
        finally:
            scope.restore()
        return [a for a in args if isinstance(a, np.ndarray)]

    while True:
        try:
            *request, path = _receive(requests)
        except EOFError:
            return
        sys.path.extend(p for p in path if p not in sys.path)
        try:
            with np.errstate(all="ignore"):
                _send(answers, (True, run(*request)))
        except Exception:
            _send(answers, (False, traceback.format_exc()))


if __name__ == "__main__":
    _serve()
