# Runs plans through the Triton interpreter on NumPy memory: checks planners and kernels without our compiler.
"""`interpret(plan_add, [x, y], [(shape, "f32")])` plans, runs every launch in the Triton interpreter in a child
process (its environment variable must be set before triton is imported) and returns the output arrays.

Every lane's address is checked against the memory that the call owns, so a missing mask is an error here even
when its result would have been thrown away. Nothing of openxpu but the planner takes part: the results are a
reference for the compiler."""

from __future__ import annotations

import atexit
import importlib
import os
import pickle
import struct
import subprocess
import sys
import traceback
from collections.abc import Callable, Sequence
from typing import Any

import ml_dtypes
import numpy as np

from openxpu.ops.plan import Copy, Dynamic, Fill, Launch, PlanBuilder, Tensor

NUMPY = {
    "bool": np.dtype(np.bool_), "u8": np.dtype(np.uint8), "i8": np.dtype(np.int8), "i16": np.dtype(np.int16),
    "i32": np.dtype(np.int32), "i64": np.dtype(np.int64), "f16": np.dtype(np.float16),
    "bf16": np.dtype(ml_dtypes.bfloat16), "f32": np.dtype(np.float32), "f64": np.dtype(np.float64),
    "c64": np.dtype(np.complex64), "c128": np.dtype(np.complex128),
}  # fmt: skip
# The C library's functions that kernels call, which the Triton interpreter does not know.
LIBM = {
    "tan": np.tan, "asin": np.arcsin, "acos": np.arccos, "atan": np.arctan, "asinh": np.arcsinh, "acosh": np.arccosh,
    "atanh": np.arctanh, "pow": np.power, "fmod": np.fmod,
}  # fmt: skip
NAMES = {dtype: name for name, dtype in NUMPY.items()}


def describe(index: int, array: np.ndarray) -> Tensor:
    """The planner's view of an array: argument number, shape, dtype and strides in elements."""
    strides = [stride // array.itemsize for stride in array.strides]
    return Tensor.argument(index, array.shape, NAMES[array.dtype], strides)


def interpret(
    plan: Callable[..., Any],
    inputs: Sequence[np.ndarray | list[np.ndarray] | None],
    outputs: Sequence[tuple[Sequence[int], str] | np.ndarray | None],
    *attributes: Any,
    dynamic: Sequence[int | float] = (),
    seed: int = 0,
    offset: int = 0,
    **named: Any,
) -> list[Any]:
    """Calls `plan(b, *inputs, *outputs, *attributes, **named)` and runs what it planned. An output is a
    (shape, dtype), filled with junk first, or an array to write into (in place when it is also an input).
    An attribute `Dynamic(k)` reads `dynamic[k]`. Returns the outputs in order."""
    builder = PlanBuilder(getattr(plan, "__name__", "plan"))
    arrays: list[np.ndarray] = []

    def argument(value: Any) -> Any:
        if value is None:
            return None
        if isinstance(value, list):
            return [argument(item) for item in value]
        arrays.append(value)
        return describe(len(arrays) - 1, value)

    results: list[Any] = [
        junk(*out) if isinstance(out, tuple) else [junk(*o) for o in out] if isinstance(out, list) else out
        for out in outputs
    ]
    tensors = [argument(value) for value in [*inputs, *results]]
    plan(builder, *tensors, *attributes, **named)
    run(builder, arrays, dynamic, seed, offset)
    return results


def junk(shape: Sequence[int], dtype: str) -> np.ndarray:
    """An array of bytes that no operator would leave behind: outputs that were not written are noticed."""
    array = np.empty(tuple(shape), NUMPY[dtype])
    if dtype == "bool":
        array[...] = True
    else:
        array.reshape(-1).view(np.uint8)[...] = 0x7B
    return array


def run(
    builder: PlanBuilder,
    arrays: Sequence[np.ndarray],
    dynamic: Sequence[int | float] = (),
    seed: int = 0,
    offset: int = 0,
) -> None:
    """Runs the builder's steps with `arrays` as the call's tensors, in place."""
    owners: list[np.ndarray] = []
    places = []
    for array in arrays:
        owner = array
        while isinstance(owner.base, np.ndarray):
            owner = owner.base
        known = next((i for i, other in enumerate(owners) if other is owner), None)
        if known is None:
            known = len(owners)
            owners.append(owner)
        places.append((known, array.ctypes.data - owner.ctypes.data))
    request = {
        "steps": builder.steps,
        "constants": builder.constants,
        "workspace": builder.workspace_bytes,
        "blocks": [_bytes_of(owner).tobytes() for owner in owners],
        "places": places,
        "dynamic": list(dynamic),
        "seed": seed,
        "offset": offset,
    }
    answer = _Child.ask(request)
    if "error" in answer:
        raise RuntimeError(f"the Triton interpreter failed in {builder.name}:\n{answer['error']}")
    for owner, block in zip(owners, answer["blocks"], strict=True):
        if owner.nbytes and owner.flags.writeable:
            _bytes_of(owner)[...] = np.frombuffer(block, np.uint8)


def _bytes_of(owner: np.ndarray) -> np.ndarray:
    """The memory of an array that owns it, in memory order."""
    ordered = owner.transpose(np.argsort([-s for s in owner.strides], kind="stable"))
    if not ordered.flags.c_contiguous:
        raise ValueError("an array given to the interpreter must own a gapless block, or be a view of one")
    return ordered.reshape(-1).view(np.uint8)


class _Child:
    """The interpreter's process, started at the first request."""

    process: subprocess.Popen[bytes] | None = None

    @classmethod
    def ask(cls, request: dict[str, Any]) -> dict[str, Any]:
        if cls.process is None or cls.process.poll() is not None:
            environment = {**os.environ, "TRITON_INTERPRET": "1"}
            environment["PYTHONPATH"] = os.pathsep.join(path or os.getcwd() for path in sys.path)
            cls.process = subprocess.Popen(
                [sys.executable, __file__], env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE
            )
            atexit.register(cls.stop)
        stdin, stdout = cls.process.stdin, cls.process.stdout
        assert stdin is not None
        assert stdout is not None
        _send(stdin, request)
        answer: dict[str, Any] = _receive(stdout)
        return answer

    @classmethod
    def stop(cls) -> None:
        if cls.process is not None:
            cls.process.kill()
            cls.process.wait()


def _send(stream: Any, message: dict[str, Any]) -> None:
    data = pickle.dumps(message)
    stream.write(struct.pack("<Q", len(data)) + data)
    stream.flush()


def _receive(stream: Any) -> Any:
    header = stream.read(8)
    if len(header) < 8:
        raise RuntimeError("the interpreter's process ended without an answer; its messages are on stderr")
    return pickle.loads(stream.read(struct.unpack("<Q", header)[0]))


# ---- the child: only this half imports triton ----


class _Memory:
    """The blocks of one request, and the check that every address lies in one of them."""

    def __init__(self, blocks: Sequence[bytes]) -> None:
        self.blocks = [np.frombuffer(bytearray(block or b"\0"), np.uint8) for block in blocks]
        spans = sorted((b.ctypes.data, b.ctypes.data + b.nbytes) for b in self.blocks)
        self.starts = np.array([start for start, _ in spans], np.uint64)
        self.ends = np.array([end for _, end in spans], np.uint64)

    def address(self, block: int) -> int:
        return int(self.blocks[block].ctypes.data)

    def check(self, pointers: np.ndarray, size: int, mask: np.ndarray | None, what: str) -> None:
        pointers = pointers.reshape(-1)
        if mask is not None:
            mask = np.broadcast_to(mask, pointers.shape) if mask.size == 1 else mask.reshape(-1)
            pointers = pointers[mask.astype(bool)]
        if not pointers.size:
            return
        index = np.searchsorted(self.starts, pointers, side="right").astype(np.int64) - 1
        inside = (index >= 0) & (pointers + np.uint64(size) <= self.ends[np.maximum(index, 0)])
        if not inside.all():
            raise IndexError(
                f"{what} of {size} bytes outside the call's memory in {int((~inside).sum())} of {inside.size} lanes"
            )


def _serve() -> None:
    requests = os.fdopen(os.dup(0), "rb")
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what kernels print must not get into the answers

    import triton.language as tl
    from triton.runtime import interpreter

    from openxpu.ops.kernels import elementary

    kinds = {
        "bool": tl.int1, "u8": tl.uint8, "i8": tl.int8, "i16": tl.int16, "i32": tl.int32, "i64": tl.int64,
        "f16": tl.float16, "bf16": tl.bfloat16, "f32": tl.float32, "f64": tl.float64,
    }  # fmt: skip
    builder = interpreter.InterpreterBuilder
    plain_load, plain_store = builder.create_masked_load, builder.create_masked_store
    plain_rmw = builder.create_atomic_rmw
    memory = _Memory([])

    def size_of(pointers: Any) -> int:
        return max(1, int(pointers.get_element_ty().primitive_bitwidth) // 8)

    def load(self: Any, pointers: Any, mask: Any, *rest: Any) -> Any:
        memory.check(pointers.data, size_of(pointers), mask.data, "load")
        return plain_load(self, pointers, mask, *rest)

    def store(self: Any, pointers: Any, value: Any, mask: Any, *rest: Any) -> Any:
        memory.check(pointers.data, size_of(pointers), mask.data, "store")
        return plain_store(self, pointers, value, mask, *rest)

    def rmw(self: Any, op: Any, pointers: Any, value: Any, mask: Any, *rest: Any) -> Any:
        memory.check(pointers.data, size_of(pointers), mask.data, "atomic")
        return plain_rmw(self, op, pointers, value, mask, *rest)

    def libm(name: str, *args: Any) -> Any:
        values = LIBM[name](*(arg.handle.data for arg in args))
        return tl.tensor(interpreter.TensorHandle(values, args[0].dtype), args[0].type)

    elementary._libm = elementary._libm2 = libm  # type: ignore[assignment]
    builder.create_masked_load, builder.create_masked_store = load, store
    builder.create_atomic_rmw = rmw

    def kernel(ref: str) -> Any:
        module, _, name = ref.rpartition(":" if ":" in ref else ".")
        full = module if ":" in ref else f"openxpu.ops.kernels.{module}"
        return getattr(importlib.import_module(full), name)

    def constexpr(value: Any) -> Any:
        if isinstance(value, str) and value.startswith("dtype:"):
            return kinds[value.removeprefix("dtype:")]
        if isinstance(value, str) and value.startswith("function:"):
            return kernel(value.removeprefix("function:"))
        return value

    def scalar(kind: str, value: Any) -> Any:
        dtype = kinds[kind]
        numpy = NUMPY[kind]
        return tl.tensor(interpreter.TensorHandle(np.array([value]).astype(numpy), dtype), dtype)

    def pointer(kind: str, address: int) -> Any:
        dtype = tl.pointer_type(kinds[kind.removeprefix("*")])
        return tl.tensor(interpreter.TensorHandle(np.array([address], np.uint64), dtype), dtype)

    def run_request(request: dict[str, Any]) -> list[bytes]:
        nonlocal memory
        count = len(request["blocks"])
        memory = _Memory([*request["blocks"], b"\x7b" * request["workspace"], *request["constants"]])

        def value_of(slot: tuple[Any, ...]) -> Any:
            match slot:
                case ("t", index, byte_offset):
                    block, start = request["places"][index]
                    return memory.address(block) + start + byte_offset
                case ("w", byte_offset):
                    return memory.address(count) + byte_offset
                case ("c", index, byte_offset):
                    return memory.address(count + 1 + index) + byte_offset
                case ("d", index, _):
                    return request["dynamic"][index]
                case ("seed",) | ("offset",):
                    return request[slot[0]]
                case _:
                    return slot[1]

        def bytes_at(address: int, size: int) -> np.ndarray:
            memory.check(np.array([address], np.uint64), size, None, "copy or fill")
            owner = next(b for b in memory.blocks if b.ctypes.data <= address < b.ctypes.data + b.nbytes)
            return owner[address - owner.ctypes.data :][:size]

        for step in request["steps"]:
            if isinstance(step, Copy):
                bytes_at(value_of(step.dst), step.nbytes)[...] = bytes_at(
                    value_of(step.src), step.nbytes
                ).copy()
            elif isinstance(step, Fill):
                bytes_at(value_of(step.dst), step.nbytes)[...] = step.value
            elif isinstance(step, Launch):
                function = kernel(step.ref)
                values = [
                    pointer(kind, value_of(slot)) if kind.startswith("*") else scalar(kind, value_of(slot))
                    for kind, slot in zip(step.arg_types, step.slots, strict=False)
                ]
                named = {name: constexpr(value) for name, value in step.constexprs}
                scope = interpreter._patch_lang(function.fn)
                try:
                    body = function.rewrite()
                    interpreter.interpreter_builder.set_grid_dim(*step.grid)
                    for z in range(step.grid[2]):
                        for y in range(step.grid[1]):
                            for x in range(step.grid[0]):
                                interpreter.interpreter_builder.set_grid_idx(x, y, z)
                                body(*values, **named)
                except Exception as error:
                    raise RuntimeError(f"{step}") from error
                finally:
                    scope.restore()
        return [b.tobytes() if request["blocks"][i] else b"" for i, b in enumerate(memory.blocks[:count])]

    while True:
        header = requests.read(8)
        if len(header) < 8:
            return
        request = pickle.loads(requests.read(struct.unpack("<Q", header)[0]))
        try:
            _send(answers, {"blocks": run_request(request)})
        except Exception:
            _send(answers, {"error": traceback.format_exc()})


if __name__ == "__main__":
    _serve()

__all__ = ["Dynamic", "describe", "interpret", "junk", "run"]
