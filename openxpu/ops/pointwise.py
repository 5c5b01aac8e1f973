# Planner of everything that applies one function to every element: broadcasting, strides, grids.
"""`plan_map(b, "elementwise.add", [x, y], out)` picks the kernel by the shape of the problem that is left when
dimensions that go together have been merged: one line without gaps, rows, or gathered lanes."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from openxpu.ops.plan import (
    FLOATS,
    INTEGERS,
    PARTS,
    PlanBuilder,
    Scalar,
    Tensor,
    Unsupported,
    dtype_constexpr,
    function_constexpr,
    scalar_as,
    streams,
)

_BLOCK = 8192  # elements of a program in one line: tens of KB
_PROGRAM_ELEMENTS = 16384  # elements of a program that takes rows
_SHORT_ROWS = 8  # row dimensions below this give way to a longer one
_SHORT = 16  # inner dimensions below this are gathered
_NARROW = 128  # inner dimensions below this are worth a copy of a small operand that makes them longer
_REPEATED = 65536  # elements of such a copy
_PATTERN = 2048  # elements of a block whose offsets are a table
_OF_PARTS = ("first", "negative", "add", "add3", "subtract", "divide_scalar")


def compute_dtype(dtype: str) -> str:
    """What a kernel computes in for stored `dtype`: 16-bit floats are widened."""
    return "f32" if dtype in ("f16", "bf16") else dtype


def scalar_kind(compute: str) -> str:
    """The type in which scalars reach a kernel that computes in `compute`."""
    return compute if compute in ("f32", "f64") else "i64"


def broadcast_strides(tensor: Tensor, shape: Sequence[int]) -> tuple[int, ...]:
    """Strides of `tensor` seen as `shape` (trailing dimensions aligned, extent 1 repeats by stride 0)."""
    lead = len(shape) - tensor.ndim
    own_shape = (1,) * lead + tensor.shape
    own_strides = (0,) * lead + tensor.strides
    strides = []
    for want, have, stride in zip(shape, own_shape, own_strides, strict=True):
        if have == want:
            strides.append(stride)
        elif have == 1:
            strides.append(0)
        else:
            raise ValueError(f"shape {tensor.shape} does not broadcast to {tuple(shape)}")
    return tuple(strides)


def broadcast_shape(*shapes: Sequence[int]) -> tuple[int, ...]:
    """The common shape of several operands."""
    return tuple(int(extent) for extent in np.broadcast_shapes(*(tuple(shape) for shape in shapes)))


def aligned(tensor: Tensor, ndim: int, axis: int) -> Tensor:
    """`tensor` with extents of 1 added so that its first dimension lies at `axis` of `ndim` dimensions
    (axis -1: trailing dimensions aligned, as in NumPy)."""
    if axis == -1 or tensor.ndim >= ndim:
        return tensor
    tail = ndim - axis - tensor.ndim
    if tail < 0:
        raise Unsupported(
            f"axis {axis} places {tensor.ndim} dimensions beyond the {ndim} of the other operand"
        )
    return tensor.view((*tensor.shape, *(1,) * tail), (*tensor.strides, *(0,) * tail))


def collapse(shape: Sequence[int], strides: Sequence[Sequence[int]]) -> tuple[list[int], list[list[int]]]:
    """Drops extents of 1 and merges neighbours which every operand steps through as one. Returns the extents and
    each operand's strides."""
    extents: list[int] = []
    steps: list[list[int]] = [[] for _ in strides]
    for d, extent in enumerate(shape):
        if extent == 1:
            continue
        if extents and all(
            own[-1] == operand[d] * extent for own, operand in zip(steps, strides, strict=True)
        ):
            extents[-1] *= extent
            for own, operand in zip(steps, strides, strict=True):
                own[-1] = operand[d]
        else:
            extents.append(extent)
            for own, operand in zip(steps, strides, strict=True):
                own.append(operand[d])
    return extents, steps


def division(divisor: int) -> tuple[int, int]:
    """(multiplier, shift) with (n * multiplier) >> shift == n // divisor for 0 <= n < 2^31, product below 2^63.
    Source: Granlund and Montgomery, Division by invariant integers using multiplication, 1994."""
    bits = max(divisor - 1, 0).bit_length()
    shift = 31 + bits
    return -(-(1 << shift) // divisor), shift


def plan_patterned(
    b: PlanBuilder,
    function: str,
    inputs: Sequence[Tensor],
    out: Tensor,
    extents: Sequence[int],
    steps: Sequence[Sequence[int]],
    scalars: Sequence[Scalar] = (),
    compute: str | None = None,
    cost: int = 0,
    pairs: int = 0,
) -> bool:
    """plan_map of short dimensions: those that make a block of _PATTERN elements have the same offsets in every block,
    so they are a table. `steps`: the strides of the inputs, then of out. False: the block spans too much."""
    inner, at = 1, len(extents)
    while at > 0 and inner * extents[at - 1] <= _PATTERN:
        at -= 1
        inner *= extents[at]
    extent, row_steps = 1, [0] * len(steps)
    if at > 0:
        at -= 1
        extent, row_steps = extents[at], [own[at] for own in steps]
    chunks = -(-extent // max(1, min(extent, _PATTERN // inner)))
    each = -(-extent // chunks)
    block = (each, *extents[at + 1 :]) if at < len(extents) and extent > 1 else tuple(extents)
    patterns: list[np.ndarray] = []
    units: list[int | None] = []
    for own, row in zip(steps, row_steps, strict=True):
        strides = (row, *own[at + 1 :]) if at < len(extents) and extent > 1 else tuple(own)
        offsets = np.zeros(block, np.int64)
        for d, (length, stride) in enumerate(zip(block, strides, strict=True)):
            offsets += (np.arange(length) * stride).reshape(-1, *(1,) * (len(block) - 1 - d))
        flat = offsets.ravel()
        if abs(flat).max() >= 2**31:
            return False
        units.append(0 if not flat.any() else 1 if (flat == np.arange(flat.size)).all() else None)
        patterns.append(flat.astype(np.int32))
    outer = [(n, *(own[d] for own in steps)) for d, n in enumerate(extents[:at])][::-1] if extent > 1 else []
    count = len(inputs)
    table = [(n, *own[:-1], *[0] * (3 - count), own[-1]) for n, *own in outer]
    wanted = [b.constant(p) if unit is None else None for p, unit in zip(patterns, units, strict=True)]
    absent = [None] * (3 - count)
    kind = scalar_kind(compute or compute_dtype(inputs[0].dtype))
    values = [scalar_as(value, kind) for value in scalars]
    values += [0] * (3 - len(values))
    b.launch(
        "pointwise.patterned", math.prod(n for n, *_ in outer) * chunks,
        *inputs, *absent, out, *wanted[:-1], *absent, wanted[-1],
        b.constant(np.array(table, np.int64)) if table else None, extent, chunks, each, inner,
        *row_steps[:-1], *[0] * (3 - count), row_steps[-1], *values, cost=cost,
        FN=function_constexpr(function), INPUTS=count, SCALARS=len(scalars),
        COMPUTE=None if compute is None else dtype_constexpr(compute),
        PAIRS=pairs, XS=units[0], YS=units[1] if count > 1 else 0, ZS=units[2] if count > 2 else 0, OS=units[-1],
        OUTER=len(table), BLOCK=_PATTERN,
    )  # fmt: skip
    return True


def _in_groups(extents: list[int], steps: list[list[int]]) -> tuple[list[int], list[list[int]]]:
    """A matrix of short rows as a stack of matrices, so that `_repeated` finds dimensions that go together."""
    if len(extents) != 2:
        return extents, steps
    rows, cols = extents
    for each in range(_PATTERN // cols, 1, -1):
        if rows % each == 0 and rows // each >= _SHORT_ROWS:
            return [rows // each, each, cols], [[own[0] * each, *own] for own in steps]
    return extents, steps


def _repeated(
    b: PlanBuilder, inputs: Sequence[Tensor], extents: list[int], steps: list[list[int]]
) -> list[Tensor] | None:
    """The inputs with those that repeat over the outer dimensions written out once for all inner ones, so that these
    go together as one. `steps`: the strides of the inputs, then of out."""
    for at in range(1, len(extents) - 1):
        inner = math.prod(extents[at:])
        if inner > _REPEATED or math.prod(extents[:at]) < _SHORT_ROWS:
            continue
        dense = [own[-1] == 1 and collapse(extents[at:], [own[at:]])[0] == [inner] for own in steps]
        if dense[-1] and all(d or not any(own[:at]) for d, own in zip(dense, steps, strict=True)):
            break
    else:
        return None
    from openxpu.ops.layout import plan_copy

    made = []
    for x, own, line in zip(inputs, steps, dense, strict=False):
        if line or not any(own):
            made.append(x.view(tuple(extents), tuple(own)))
            continue
        whole = b.scratch(tuple(extents[at:]), x.dtype)
        plan_copy(b, x.view(tuple(extents[at:]), tuple(own[at:])), whole)
        made.append(whole)
    return made


def _block(extent: int) -> int:
    """Inner block of a row kernel: few variants, and rows in one piece, of which no more is done than they have."""
    return 16 if extent <= 16 else 64 if extent <= 64 else 256 if extent <= 256 else 1024


def _wide(inputs: Sequence[Tensor], out: Tensor) -> bool:
    """Whether the parts of complex numbers make longer rows than of one number."""
    parts = out.parts
    strides = [broadcast_strides(tensor.parts, parts.shape) for tensor in inputs]
    return collapse(parts.shape, [*strides, parts.strides])[0][-1] > 2


def plan_map(
    b: PlanBuilder,
    function: str,
    inputs: Sequence[Tensor],
    out: Tensor,
    scalars: Sequence[Scalar] = (),
    compute: str | None = "",
    effort: int = 1,
    together: int = 0,
) -> None:
    """out = function(*inputs, *scalars) for every element, inputs broadcast to out's shape.

    `function` is a @triton.jit function below openxpu/ops/kernels of one to three tensors and up to three
    scalars. `compute` is the dtype in which it sees the inputs (default: the first input's, 16-bit floats as
    f32); None leaves each as stored. Scalars come as f32, f64 or i64. `effort` multiplies the cost of
    an element, for functions that compute rather than copy. `together`: how many elements share a loop whose length depends
    on values (default: whatever suits memory). `out` may be one of the inputs."""
    if out.numel == 0:
        return
    pairs = sum(1 << i for i, tensor in [*enumerate(inputs), (3, out)] if tensor.dtype in PARTS)
    if pairs:
        # By the function of the same name of complex numbers, unless it does the same to both parts.
        name = function.rpartition(".")[2]
        if name in _OF_PARTS and pairs == (1 << len(inputs)) - 1 | 8 and _wide(inputs, out):
            inputs, out, pairs = [tensor.parts for tensor in inputs], out.parts, 0
        else:
            function = f"complex.{name}"
            compute = next(PARTS[tensor.dtype] for tensor in (*inputs, out) if tensor.dtype in PARTS)
            inputs, out = [tensor.words for tensor in inputs], out.words
    if compute == "":
        compute = compute_dtype(inputs[0].dtype)
    kind = scalar_kind(compute or compute_dtype(inputs[0].dtype))
    values = [scalar_as(value, kind) for value in scalars]
    values += [0] * (3 - len(values))
    strides = [broadcast_strides(tensor, out.shape) for tensor in inputs]
    extents, (*steps, out_steps) = collapse(out.shape, [*strides, out.strides])
    whole = not pairs or compute == "f32"  # else an element is two of the dtype that the tensors are given
    if whole and len(inputs) > 1 and len(extents) > 1 and extents[-1] < _NARROW and out.numel > _BLOCK:
        extents, (*steps, out_steps) = _in_groups(extents, [*steps, out_steps])
        repeated = _repeated(b, inputs, extents, [*steps, out_steps])
        if repeated is not None:
            inputs = repeated
            out = out.view(tuple(extents), tuple(out_steps))
            strides = [broadcast_strides(tensor, out.shape) for tensor in inputs]
        extents, (*steps, out_steps) = collapse(out.shape, [*strides, out.strides])
    pointers = [*inputs, *[None] * (3 - len(inputs)), out]
    cost = out.numel * (sum(tensor.itemsize for tensor in inputs) + out.itemsize) * effort
    shared = {
        "FN": function_constexpr(function),
        "INPUTS": len(inputs),
        "SCALARS": len(scalars),
        "COMPUTE": None if compute is None else dtype_constexpr(compute),
        "PAIRS": pairs,
    }
    steps += [[0] * len(extents)] * (3 - len(inputs))
    n = out.numel
    inner = [own[-1] if own else 0 for own in steps]
    if not extents or (len(extents) == 1 and out_steps[0] == 1 and all(step in (0, 1) for step in inner)):
        block = together or (_BLOCK if n > _BLOCK // 8 and not pairs else _BLOCK // 8)
        xs, ys, zs = inner
        b.launch(
            "pointwise.flat", -(-n // block), *pointers, n, *values, cost=cost,
            **shared, XS=xs, YS=ys, ZS=zs, STREAM=int(streams(out)), BLOCK=block,
        )  # fmt: skip
        return
    if (
        extents[-1] < _SHORT
        and n > _BLOCK
        and plan_patterned(
            b,
            function,
            inputs,
            out,
            extents,
            [*steps[: len(inputs)], out_steps],
            scalars,
            compute,
            cost * 2,
            pairs,
        )
    ):
        return
    span = max(
        sum((extent - 1) * abs(step) for extent, step in zip(extents, own, strict=True))
        for own in (*steps, out_steps)
    )
    if extents[-1] < _SHORT and max(n, span) < 2 ** (30 if pairs else 31):
        dims = list(zip(reversed(extents), *(reversed(own) for own in (*steps, out_steps)), strict=True))
        table = [[extent, *division(extent), *own] for extent, *own in dims]
        block = together or 1024
        b.launch(
            "pointwise.gathered", -(-n // block), *pointers, b.constant(np.array(table, np.int64)), n, *values,
            cost=cost * 4, **shared, DIMS=len(dims), BLOCK=block,
        )  # fmt: skip
        return
    dims = list(zip(extents, *steps, out_steps, strict=True))
    cols, *lanes = dims.pop()
    # Rows are a dimension that is long enough to make the address arithmetic of a program worth while.
    rows, *row_steps = (1, 0, 0, 0, 0)
    within = 1
    if dims:
        chosen = len(dims) - 1
        if dims[chosen][0] < _SHORT_ROWS:
            chosen = max(range(len(dims)), key=lambda d: (dims[d][0], d))
        rows, *row_steps = dims.pop(chosen)
        within = math.prod(extent for extent, *_ in dims[chosen:])
    outer = math.prod(extent for extent, *_ in dims)
    cols_each = cols if rows * cols <= _PROGRAM_ELEMENTS else min(cols, _PROGRAM_ELEMENTS)
    rows_each = min(rows, max(1, _PROGRAM_ELEMENTS // cols_each))
    chunks = -(-rows // rows_each)
    outer_dims = b.constant(np.array(dims[::-1], np.int64)) if dims else None
    unit = [step if step in (0, 1, 2) else None for step in lanes]
    b.launch(
        "pointwise.strided", (outer * chunks, -(-cols // cols_each)), *pointers, outer_dims,
        rows, cols, chunks, within, rows_each, cols_each, *row_steps, *lanes, *values, cost=cost,
        **shared, XS=unit[0], YS=unit[1], ZS=unit[2], OS=unit[3], OUTER=len(dims), BLOCK=together or _block(cols),
    )  # fmt: skip


def plan_map_reduced(
    b: PlanBuilder,
    function: str,
    inputs: Sequence[Tensor],
    shape: Sequence[int],
    out: Tensor,
    scalars: Sequence[Scalar] = (),
    axis: int = -1,
    effort: int = 1,
) -> None:
    """function(*inputs, *scalars) over `shape`, summed over the dimensions in which `out` is broadcast to `shape`:
    the gradient of an operand that was broadcast. The sum has one fixed order."""
    from openxpu.ops.reduce import plan_sum

    shape = tuple(shape)
    if math.prod(shape) == 0:
        b.zero(out)
        return
    target = aligned(out, len(shape), axis)
    lead = len(shape) - target.ndim
    kept = (1,) * lead + target.shape
    axes = tuple(d for d, extent in enumerate(shape) if kept[d] == 1 and extent != 1)
    if not axes:
        whole = target.view(shape)
        if function == "elementwise.first" and inputs[0].dtype == out.dtype and inputs[0].shape == shape:
            from openxpu.ops.layout import plan_copy

            plan_copy(b, inputs[0], whole)
        else:
            plan_map(b, function, inputs, whole, scalars, effort=effort)
        return
    dtype = compute_dtype(out.dtype)
    if function == "elementwise.first" and inputs[0].shape == shape and inputs[0].contiguous:
        plan_sum(b, inputs[0], out, axes)
        return
    values = b.scratch(shape, dtype)
    plan_map(b, function, inputs, values, scalars, effort=effort)
    plan_sum(b, values, out, axes)


def is_float(dtype: str) -> bool:
    return dtype in FLOATS


def is_integer(dtype: str) -> bool:
    return dtype in INTEGERS
