# What a planner writes with: tensors by description, kernel launches, workspace; and the plan that comes of it.
"""A plan function sees descriptions of tensors, never data: shape, dtype, strides and a slot, which says where
the address will come from when the plan is replayed. It calls `PlanBuilder.launch` (and `copy`, `zero`) in the
order in which the card is to run them. `finish` compiles what is not yet in the kernel cache and returns the
native plan, which is replayed without Python."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

Slot = tuple[Any, ...]

ITEMSIZE = {
    "bool": 1, "u8": 1, "i8": 1, "i16": 2, "i32": 4, "i64": 8,
    "f16": 2, "bf16": 2, "f32": 4, "f64": 8, "c64": 8, "c128": 16,
}  # fmt: skip
FLOATS = ("f16", "bf16", "f32", "f64")
INTEGERS = ("u8", "i8", "i16", "i32", "i64")
PARTS = {"c64": "f32", "c128": "f64"}  # a complex dtype and that of its real and imaginary part

NUMPY_NAMES = {
    "bool": "bool", "uint8": "u8", "int8": "i8", "int16": "i16", "int32": "i32", "int64": "i64",
    "float16": "f16", "bfloat16": "bf16", "float32": "f32", "float64": "f64", "complex64": "c64", "complex128": "c128",
}  # fmt: skip
STREAMED = 1 << 25  # bytes of a result from which it is written past the cache
_WORKSPACE_ALIGNMENT = 64


class Unsupported(Exception):
    """The planner cannot do this case; the sentence says which, and what would work."""


def contiguous_strides(shape: Sequence[int]) -> tuple[int, ...]:
    """Row-major strides in elements: (12, 4, 1) for (2, 3, 4)."""
    strides, step = [], 1
    for extent in reversed(shape):
        strides.append(step)
        step *= max(extent, 1)
    return tuple(reversed(strides))


@dataclass(frozen=True)
class Tensor:
    """A tensor without data. `strides` count elements; `slot` gives the address of its first element."""

    shape: tuple[int, ...]
    dtype: str
    strides: tuple[int, ...]
    slot: Slot

    @staticmethod
    def argument(
        index: int, shape: Sequence[int], dtype: str, strides: Sequence[int] | None = None
    ) -> Tensor:
        """The call's tensor number `index` (inputs then outputs); contiguous unless strides are given."""
        shape = tuple(shape)
        return Tensor(
            shape,
            dtype,
            contiguous_strides(shape) if strides is None else tuple(strides),
            ("t", index, 0),
        )

    @property
    def numel(self) -> int:
        return math.prod(self.shape)

    @property
    def ndim(self) -> int:
        return len(self.shape)

    @property
    def itemsize(self) -> int:
        return ITEMSIZE[self.dtype]

    @property
    def nbytes(self) -> int:
        """Bytes of the elements (not of the span in memory, which is larger when there are gaps)."""
        return self.numel * self.itemsize

    @property
    def contiguous(self) -> bool:
        """Row-major without gaps. Strides of dimensions of extent 1 do not matter."""
        step = 1
        for extent, stride in zip(reversed(self.shape), reversed(self.strides), strict=True):
            if extent != 1 and stride != step:
                return self.numel == 0
            step *= extent
        return True

    def view(self, shape: Sequence[int], strides: Sequence[int] | None = None, offset: int = 0) -> Tensor:
        """Another view of the same memory. `offset` is in elements from this tensor's first element; without
        strides the view is contiguous, which needs this tensor to be contiguous too when it holds more than
        the view reads."""
        shape = tuple(shape)
        strides = contiguous_strides(shape) if strides is None else tuple(strides)
        *head, byte_offset = self.slot
        return Tensor(shape, self.dtype, strides, (*head, byte_offset + offset * self.itemsize))

    def reshape(self, *shape: int) -> Tensor:
        """The same contiguous memory under another shape; one extent may be -1."""
        if not self.contiguous:
            raise ValueError(
                f"reshape to {shape} needs a contiguous tensor, this one has shape {self.shape}, "
                f"strides {self.strides}"
            )
        if -1 in shape:
            rest = -math.prod(shape)
            shape = tuple(self.numel // rest if extent == -1 else extent for extent in shape)
        if math.prod(shape) != self.numel:
            raise ValueError(f"reshape of {self.shape} to {shape} changes the number of elements")
        return self.view(shape)

    def permute(self, *order: int) -> Tensor:
        """Dimensions in another order, no data moved."""
        return replace(
            self,
            shape=tuple(self.shape[d] for d in order),
            strides=tuple(self.strides[d] for d in order),
        )

    @property
    def parts(self) -> Tensor:
        """Complex numbers as reals, with a last dimension (real, imaginary); a tensor of reals as it is."""
        if self.dtype not in PARTS:
            return self
        strides = (*(2 * stride for stride in self.strides), 1)
        return replace(self, shape=(*self.shape, 2), dtype=PARTS[self.dtype], strides=strides)

    def pairs(self, shape: Sequence[int]) -> Tensor:
        """Contiguous complex numbers as contiguous reals of this shape."""
        return self.parts.reshape(*shape)

    @property
    def reals(self) -> Tensor:
        """A tensor whose pointer is to reals: complex numbers as pairs, whose strides still count pairs."""
        return replace(self, dtype=PARTS.get(self.dtype, self.dtype))

    @property
    def words(self) -> Tensor:
        """Complex numbers of f32 as words of 64 bits, which are moved as a whole; others as `reals`."""
        return self.reinterpret("i64") if self.dtype == "c64" else self.reals

    def reinterpret(self, dtype: str) -> Tensor:
        """The same bits as another dtype of the same size (data movement does not care what the bits mean)."""
        if ITEMSIZE[dtype] != self.itemsize:
            raise ValueError(f"{self.dtype} has {self.itemsize} bytes, {dtype} has {ITEMSIZE[dtype]}")
        return replace(self, dtype=dtype)


@dataclass(frozen=True)
class I64:
    """Passes an integer as i64 whatever its value."""

    value: int


@dataclass(frozen=True)
class F64:
    """Passes a float as f64."""

    value: float


@dataclass(frozen=True)
class Dynamic:
    """The call's `index`-th dynamic scalar: its value is read at each replay and converted to `kind`."""

    index: int
    kind: str = "f32"

    def to(self, kind: str) -> Dynamic:
        return Dynamic(self.index, kind)


@dataclass(frozen=True)
class Count:
    """The `index`-th number of those that a stage measures (`PlanBuilder.count`). An extent of an output, and, after
    `PlanBuilder.measure`, an i64 argument of kernels; `place` is where the stage writes it."""

    index: int

    @property
    def place(self) -> Tensor:
        return Tensor((), "i64", (), ("k", 8 * self.index))


@dataclass(frozen=True)
class _Generator:
    name: str


SEED = _Generator("seed")
OFFSET = _Generator("offset")
Scalar = int | float | bool | I64 | F64 | Dynamic
Argument = Tensor | Scalar | Count | _Generator | None


def streams(out: Tensor) -> bool:
    """Whether a result is better written past the cache (cache_modifier=".cs"): it would find no room there, and a
    plain store reads every line before it writes it."""
    return out.nbytes >= STREAMED


def dtype_constexpr(dtype: str) -> str:
    """A dtype as the value of a constexpr parameter."""
    return f"dtype:{dtype}"


def function_constexpr(ref: str) -> str:
    """A @triton.jit function ("activation.gelu") as the value of a constexpr parameter, which the kernel calls."""
    return f"function:{ref}"


def scalar_as(value: Scalar, kind: str) -> Scalar:
    """A scalar argument in the type that a kernel computes with: kind is "i32", "i64", "f32" or "f64"."""
    if isinstance(value, Dynamic):
        return value.to(kind)
    if isinstance(value, I64 | F64):
        value = value.value
    if kind == "f64":
        return F64(float(value))
    if kind == "f32":
        return float(value)
    return I64(int(value)) if kind == "i64" else int(value)


@dataclass(frozen=True)
class Launch:
    """One kernel launch of a plan; `ref` names the kernel below openxpu/ops/kernels."""

    ref: str
    grid: tuple[int, int, int]
    arg_types: tuple[str, ...]
    slots: tuple[Slot, ...]
    cost: int
    constexprs: tuple[tuple[str, Any], ...]


@dataclass(frozen=True)
class Copy:
    dst: Slot
    src: Slot
    nbytes: int


@dataclass(frozen=True)
class Fill:
    dst: Slot
    nbytes: int
    value: int


@dataclass(frozen=True)
class Measure:
    """The end of a stage, and the sizes that outputs get: extents, or -1 - k for the k-th count."""

    sizes: dict[int, list[int]] = field(default_factory=dict)


Step = Launch | Copy | Fill | Measure


def _argument(arg: Argument) -> tuple[str, Slot]:
    """Type and slot of one runtime argument."""
    if isinstance(arg, Tensor):
        return "*" + arg.dtype, arg.slot
    if arg is None:  # a null pointer: the kernel must not touch it (a constexpr tells it so)
        return "*u8", ("i", 0)
    if isinstance(arg, bool):
        return "i32", ("i", int(arg))
    if isinstance(arg, int | np.integer):
        return "i32" if -(2**31) <= arg < 2**31 else "i64", ("i", int(arg))
    if isinstance(arg, float | np.floating):
        return "f32", ("f32", float(arg))
    if isinstance(arg, I64):
        return "i64", ("i", int(arg.value))
    if isinstance(arg, F64):
        return "f64", ("f64", float(arg.value))
    if isinstance(arg, Dynamic):
        return arg.kind, ("d", arg.index, arg.kind)
    if isinstance(arg, Count):
        return "i64", ("n", arg.index)
    if isinstance(arg, _Generator):
        return "i64", (arg.name,)
    raise TypeError(
        f"a kernel argument is a Tensor, a number, Dynamic, SEED or OFFSET, not {type(arg).__name__}"
    )


def _reference(kernel: Any) -> str:
    """The name under which the compiler finds a @triton.jit function."""
    function = getattr(kernel, "fn", None)
    if function is None:
        raise TypeError(f"a kernel is a name or a @triton.jit function, not {type(kernel).__name__}")
    if "." in function.__qualname__:
        raise ValueError(
            f"kernel {function.__qualname__} is defined inside a function or class; the compiler finds kernels by module "
            "and name, so move it to the top of its module"
        )
    return f"{function.__module__}:{function.__qualname__}"


@dataclass
class PlanBuilder:
    """Collects the steps of one operator call."""

    name: str
    steps: list[Step] = field(default_factory=list)
    constants: list[bytes] = field(default_factory=list)
    workspace_bytes: int = 0
    philox_increment: int = 0
    output_dtypes: dict[int, str | None] = field(default_factory=dict)
    counts: int = 0
    kept_bytes: int = 0

    def scratch(self, shape: Sequence[int], dtype: str) -> Tensor:
        """A contiguous tensor in the workspace. Its contents are undefined at first."""
        shape = tuple(shape)
        start = -(-self.workspace_bytes // _WORKSPACE_ALIGNMENT) * _WORKSPACE_ALIGNMENT
        self.workspace_bytes = start + math.prod(shape) * ITEMSIZE[dtype]
        return Tensor(shape, dtype, contiguous_strides(shape), ("w", start))

    def count(self) -> Count:
        """A number (i64) that is known when this stage has run, such as how many elements an output has: kernels
        write it to `place`, `measure` reads it. Ask for all counts before anything is `kept`."""
        if self.kept_bytes > 8 * self.counts:
            raise ValueError(f"{self.name}: counts come before what is kept")
        self.counts += 1
        self.kept_bytes = 8 * self.counts
        return Count(self.counts - 1)

    def kept(self, shape: Sequence[int], dtype: str) -> Tensor:
        """Like `scratch`, for what a later stage reads: the workspace is anyone's between stages."""
        shape = tuple(shape)
        start = -(-self.kept_bytes // _WORKSPACE_ALIGNMENT) * _WORKSPACE_ALIGNMENT
        self.kept_bytes = start + math.prod(shape) * ITEMSIZE[dtype]
        return Tensor(shape, dtype, contiguous_strides(shape), ("k", start))

    def measure(self, *outputs: tuple[Tensor | None, Sequence[int | Count]]) -> None:
        """Ends a stage of an operator whose outputs' sizes depend on values: the counts are waited for and read, and each
        (output, shape) is allocated. What is launched after it may take counts as arguments, but has a fixed grid, which
        covers the largest size that is possible. A wait costs more than a launch, so most such operators have two stages."""
        if not self.counts:
            raise ValueError(f"{self.name}: there is no count to measure")
        sizes = {
            out.slot[1]: [-1 - n.index if isinstance(n, Count) else n for n in shape]
            for out, shape in outputs
            if out is not None
        }
        self.steps.append(Measure(sizes))

    def constant(self, array: np.ndarray) -> Tensor:
        """A small read-only table that lives as long as the plan."""
        array = np.ascontiguousarray(array)
        name = NUMPY_NAMES[array.dtype.name]
        self.constants.append(array.tobytes())
        return Tensor(array.shape, name, contiguous_strides(array.shape), ("c", len(self.constants) - 1, 0))

    def launch(
        self,
        kernel: Any,
        grid: Sequence[int] | int,
        /,
        *args: Argument,
        cost: int | float = 0,
        **constexprs: Any,
    ) -> None:
        """Runs a kernel over `grid` (1 to 3 extents): "group.name" below openxpu/ops/kernels, "package.module:name",
        or the @triton.jit function itself. `args` are its runtime parameters in order, the
        keywords its constexpr parameters, which a kernel lists last. `cost`: bytes or flops of the whole
        launch, roughly; small launches stay on one worker. A grid with a zero extent launches nothing."""
        extents = (grid,) if isinstance(grid, int) else tuple(grid)
        ref = kernel if isinstance(kernel, str) else _reference(kernel)
        x, y, z = (*extents, 1, 1)[:3]
        if x * y * z == 0:
            return
        if max(x, y, z) >= 2**31:
            raise Unsupported(f"{ref} was planned with grid {extents}; an extent must be below 2^31.")
        typed = [_argument(arg) for arg in args]
        arg_types = (*(kind for kind, _ in typed), *("constexpr",) * len(constexprs))
        slots = tuple(slot for _, slot in typed)
        self.steps.append(Launch(ref, (x, y, z), arg_types, slots, int(cost), tuple(constexprs.items())))

    def copy(self, dst: Tensor, src: Tensor) -> None:
        """Copies the bytes of a contiguous tensor to another of the same size."""
        if not (dst.contiguous and src.contiguous and dst.nbytes == src.nbytes):
            raise ValueError(
                f"copy needs two contiguous tensors of one size, found {src.shape} {src.dtype} to "
                f"{dst.shape} {dst.dtype}"
            )
        if src.nbytes and dst.slot != src.slot:
            self.steps.append(Copy(dst.slot, src.slot, src.nbytes))

    def zero(self, dst: Tensor) -> None:
        """Writes zero bytes over a contiguous tensor."""
        if not dst.contiguous:
            raise ValueError(f"zero needs a contiguous tensor, found strides {dst.strides} of {dst.shape}")
        if dst.nbytes:
            self.steps.append(Fill(dst.slot, dst.nbytes, 0))

    def draw(self, counters: int) -> None:
        """Says that the plan uses `counters` Philox counters from OFFSET on: the generator moves on by as many
        at each replay. Several draws in one plan share one OFFSET, so add the sum of those before to it."""
        self.philox_increment += counters

    def set_output(self, index: int, dtype: str | None) -> None:
        """Paddle allocates output tensor `index` as `dtype`, instead of the dtype of its meta data; None: it
        is not allocated (in-place and shared outputs)."""
        self.output_dtypes[index] = dtype

    def finish(self) -> Any:
        """Gets every kernel from the cache or the compiler and builds the native plan."""
        from openxpu import _runtime
        from openxpu.compiler import get_kernel

        def stage() -> Any:
            plan = _runtime.Plan(self.name)
            plan.workspace_bytes = self.workspace_bytes
            for data in self.constants:
                plan.add_constant(data)
            return plan

        stages = [plan := stage()]
        for step in self.steps:
            if isinstance(step, Measure):
                stages.append(plan := stage())
                for index, extents in step.sizes.items():
                    plan.size_output(index, extents)
            elif isinstance(step, Launch):
                kernel = get_kernel(step.ref, step.arg_types, dict(step.constexprs))
                plan.add_launch(
                    kernel.entry, kernel.scratch_bytes, step.grid, list(step.slots), step.cost, kernel.name
                )
            elif isinstance(step, Copy):
                plan.add_copy(step.dst, step.src, step.nbytes)
            else:
                plan.add_fill(step.dst, step.nbytes, step.value)
        stages[0].philox_increment = self.philox_increment
        for index, dtype in self.output_dtypes.items():
            stages[0].set_output(index, dtype)
        for last in range(len(stages) - 1, 0, -1):
            stages[last - 1].set_next(self.kept_bytes, self.counts, stages[last])
        return stages[0]
