# Tensors from nothing or by copying: full, arange, eye, triangles, one_hot, cast, assign; planners and public functions.
from __future__ import annotations

import math
import struct
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from openxpu.ops.plan import (
    F64,
    FLOATS,
    I64,
    PARTS,
    Dynamic,
    PlanBuilder,
    Scalar,
    Tensor,
    Unsupported,
    dtype_constexpr,
    scalar_as,
)
from openxpu.ops.pointwise import plan_map
from openxpu.ops.run import run

if TYPE_CHECKING:
    from openxpu.runtime import Array

_BLOCK = 8192
_ROW_ELEMENTS = 16384
# Bytes. Gradients are filled one after the other and read much later: written past the cache in half the time, where one number
# makes up a tensor of the size of a second-level cache.
FILLED_PAST_CACHE = 1 << 20


def _line(n: int) -> tuple[int, int]:
    """(programs, block) of a kernel over n elements."""
    block = _BLOCK if n > 1024 else 1024
    return -(-n // block), block


def _rows(rows: int, cols: int) -> tuple[int, int, int]:
    """(programs, rows of each, block) of a kernel over a matrix."""
    each = max(1, _ROW_ELEMENTS // max(cols, 1))
    block = 1024 if cols >= 1024 else 64 if cols >= 64 else 16
    return -(-rows // each), each, block


def _typed(value: Scalar, dtype: str) -> Scalar:
    """A fill value in the type in which the fill kernel of `dtype` takes it."""
    kind = "f64" if dtype == "f64" else "f32" if dtype in FLOATS else "i64"
    if isinstance(value, Dynamic):
        return value.to(kind)
    if isinstance(value, I64 | F64):
        value = value.value
    if kind == "i64":
        value = int(value != 0) if dtype == "bool" else int(value)
        return I64(value - 2**64 if value >= 2**63 else value)
    return F64(float(value)) if kind == "f64" else float(value)


def _is_zero(value: Scalar) -> bool:
    """Whether the bits of the value are all zero in every dtype (-0.0 is not)."""
    if isinstance(value, Dynamic):
        return False
    if isinstance(value, I64 | F64):
        value = value.value
    return value == 0 and math.copysign(1.0, value) > 0


def plan_full(b: PlanBuilder, out: Tensor, value: Scalar | Sequence[Scalar]) -> None:
    """out = value everywhere; of complex numbers (real, imaginary), or a real one."""
    if out.dtype in PARTS:
        parts = out.parts
        both = (value, 0) if not isinstance(value, list | tuple) else value
        if all(_is_zero(content) for content in both) and out.contiguous:
            b.zero(out)
            return
        for part, content in enumerate(both):
            plan_full(b, parts.view(out.shape, parts.strides[:-1], part), content)
        return
    assert not isinstance(value, Sequence)
    if _is_zero(value) and out.contiguous:
        b.zero(out)
        return
    if out.numel == 0:
        return
    if not out.contiguous:
        single = b.scratch((1,), out.dtype)
        plan_full(b, single, value)
        plan_map(b, "elementwise.first", [single], out, compute=None)
        return
    programs, block = _line(out.numel)
    b.launch(
        "creation.fill", programs, out, out.numel, _typed(value, out.dtype),
        cost=out.nbytes, STREAM=out.nbytes >= FILLED_PAST_CACHE, BLOCK=block,
    )  # fmt: skip


def plan_full_with_tensor(b: PlanBuilder, value: Tensor, out: Tensor) -> None:
    """out = the value of a tensor of one element."""
    if out.numel == 0:
        return
    programs, block = _line(out.numel)
    b.launch("creation.fill_from", programs, out, value, out.numel, cost=out.nbytes, BLOCK=block)


def plan_cast(b: PlanBuilder, x: Tensor, out: Tensor) -> None:
    """Converts between dtypes: to bool as x != 0, floats to integers towards zero."""
    if x.dtype == out.dtype:
        plan_assign(b, x, out)
    elif out.dtype == "bool" and x.dtype in PARTS:
        plan_map(b, "complex.nonzero", [x], out)
    else:
        plan_map(b, "elementwise.first", [x], out, compute=None)


def plan_assign(b: PlanBuilder, x: Tensor, out: Tensor) -> None:
    """out = x, same dtype; a plain copy when neither has gaps."""
    from openxpu.ops.layout import plan_copy

    plan_copy(b, x, out)


_FORMATS = {
    "bool": "?", "u8": "B", "i8": "b", "i16": "h", "i32": "i", "i64": "q", "f16": "e", "f32": "f", "f64": "d",
    "c64": "ff", "c128": "dd",
}  # fmt: skip


def plan_assign_value(b: PlanBuilder, out: Tensor, values: Sequence[Any]) -> None:
    """out = a list of numbers, which become a constant of the plan."""
    if out.numel == 0:
        return
    if len(values) != out.numel:
        raise Unsupported(f"assign_value got {len(values)} values for a tensor of {out.numel} elements.")
    if out.dtype == "bf16":
        source = b.constant(np.array(values, np.float32))
        plan_cast(b, source.reshape(*out.shape), out)
        return
    flat: list[Any] = []
    for value in values:
        flat += [value.real, value.imag] if out.dtype in ("c64", "c128") else [value]
    if out.dtype not in ("f16", "f32", "f64", "c64", "c128"):
        flat = [bool(v) if out.dtype == "bool" else int(v) for v in flat]
    data = struct.pack("<" + _FORMATS[out.dtype] * len(values), *flat)
    table = b.constant(np.frombuffer(data, np.uint8))
    b.copy(out, Tensor(out.shape, out.dtype, out.strides, table.slot))


def plan_arange(b: PlanBuilder, out: Tensor, start: Scalar, step: Scalar) -> None:
    """out[i] = start + i * step."""
    if out.numel == 0:
        return
    kind = "f64" if out.dtype in FLOATS else "i64"
    values = [scalar_as(value, kind) for value in (start, step)]
    programs, block = _line(out.numel)
    b.launch("creation.arange", programs, out, out.numel, *values, cost=out.nbytes, BLOCK=block)


def plan_arange_tensor(b: PlanBuilder, start: Tensor, step: Tensor, out: Tensor) -> None:
    """arange whose start and step are tensors of one element."""
    if out.numel == 0:
        return
    programs, block = _line(out.numel)
    compute = dtype_constexpr("f64" if out.dtype in FLOATS else "i64")
    b.launch(
        "creation.arange_from", programs, out, out.numel, start, step, cost=out.nbytes, COMPUTE=compute, BLOCK=block
    )  # fmt: skip


def plan_linspace(b: PlanBuilder, start: Tensor, stop: Tensor, out: Tensor) -> None:
    """out.numel values from start to stop, both included; start and stop are tensors of one element."""
    if out.numel == 0:
        return
    programs, block = _line(out.numel)
    b.launch("creation.linspace", programs, out, I64(out.numel), start, stop, cost=out.nbytes, BLOCK=block)


def plan_logspace(b: PlanBuilder, start: Tensor, stop: Tensor, base: Tensor, out: Tensor) -> None:
    """`base` to the powers from start to stop, both included; all three are tensors of one element."""
    if out.numel == 0:
        return
    programs, block = _line(out.numel)
    b.launch(
        "creation.logspace",
        programs,
        out,
        I64(out.numel),
        start,
        stop,
        base,
        cost=64 * out.numel,
        BLOCK=block,
    )


def plan_eye(b: PlanBuilder, out: Tensor) -> None:
    """The identity, rows by columns of out."""
    rows, cols = out.shape
    programs, each, block = _rows(rows, cols)
    if out.numel:
        b.launch("creation.eye", programs, out, rows, cols, each, cost=out.nbytes, BLOCK=block)


def plan_triangle(b: PlanBuilder, x: Tensor, out: Tensor, diagonal: int, lower: bool) -> None:
    """tril or triu of the last two dimensions."""
    if out.numel == 0:
        return
    rows, cols = x.shape[-2:]
    total = x.numel // cols
    programs, each, block = _rows(total, cols)
    b.launch(
        "creation.triangle", programs, x, out, rows, cols, diagonal, each, total,
        cost=2 * out.nbytes, LOWER=lower, BLOCK=block,
    )  # fmt: skip


def plan_one_hot(b: PlanBuilder, ids: Tensor, out: Tensor) -> None:
    """out[..., c] = 1 where c == ids[...]; ids out of range give rows of zeros."""
    cols = out.shape[-1]
    if out.numel == 0:
        return
    programs, each, block = _rows(ids.numel, cols)
    b.launch("creation.one_hot", programs, ids, out, ids.numel, cols, each, cost=out.nbytes, BLOCK=block)


def plan_diag(b: PlanBuilder, x: Tensor, out: Tensor, offset: int, padding: float) -> None:
    """A vector onto a diagonal of a matrix (the rest is `padding`), or a matrix's diagonal as a vector."""
    matrix = out if x.ndim == 1 else x
    rows, cols = matrix.shape
    first = offset if offset >= 0 else -offset * cols
    n = max(0, min(rows + min(offset, 0), cols - max(offset, 0)))
    if x.ndim == 1:
        plan_full(b, out, padding)
        steps = (0, 1, first, cols + 1)
    else:
        steps = (first, cols + 1, 0, 1)
    programs, block = _line(n)
    b.launch("creation.diagonal_copy", programs, x, out, n, *steps, cost=n * 8, BLOCK=block)


def full(shape: Sequence[int], value: float, dtype: str = "f32", device: Any = None) -> Array:
    """A tensor of `shape` with `value` everywhere."""
    out = (tuple(shape), dtype)
    return run(plan_full, [], [out], Dynamic(0), dynamic=(value,), device=device)  # type: ignore[no-any-return]


def arange(start: float, stop: float, step: float = 1, dtype: str = "i64", device: Any = None) -> Array:
    """start, start + step, ... below stop."""
    if step == 0:
        raise ValueError("arange needs a step other than zero")
    n = max(0, math.ceil((stop - start) / step))
    return run(plan_arange, [], [((n,), dtype)], start, step, device=device)  # type: ignore[no-any-return]


def eye(rows: int, cols: int | None = None, dtype: str = "f32", device: Any = None) -> Array:
    """The identity matrix."""
    return run(plan_eye, [], [((rows, cols or rows), dtype)], device=device)  # type: ignore[no-any-return]


def cast(x: Array, dtype: str) -> Array:
    """x in another dtype."""
    return run(plan_cast, [x], [(x.shape, dtype)])  # type: ignore[no-any-return]


def tril(x: Array, diagonal: int = 0) -> Array:
    """The lower triangle of the last two dimensions."""
    return run(plan_triangle, [x], [(x.shape, x.dtype)], diagonal, True)  # type: ignore[no-any-return]


def triu(x: Array, diagonal: int = 0) -> Array:
    """The upper triangle of the last two dimensions."""
    return run(plan_triangle, [x], [(x.shape, x.dtype)], diagonal, False)  # type: ignore[no-any-return]


def one_hot(ids: Array, classes: int, dtype: str = "f32") -> Array:
    """Rows with a 1 at each id; ids outside of [0, classes) give zeros."""
    return run(plan_one_hot, [ids], [((*ids.shape, classes), dtype)])  # type: ignore[no-any-return]


__all__ = ["arange", "cast", "eye", "full", "one_hot", "tril", "triu"]
