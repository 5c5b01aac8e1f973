# Normalisation planners: layer norm, rms norm, batch norm, group norm, instance norm, and their gradients.
"""Batch norm with channels first gives each channel to one program, which reads it once from memory and normalises it
out of the cache. With channels last it takes moments of row blocks, merges them, and applies y = x * slope + offset."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from openxpu.ops.plan import PlanBuilder, Tensor, Unsupported, dtype_constexpr, streams
from openxpu.ops.reduce import accumulation_dtype, plan_reduce, power_of_two, real, require_contiguous
from openxpu.ops.run import run

if TYPE_CHECKING:
    from openxpu.runtime import Array

_ROW_TILE = 16384  # the longest row that is held as one tile
_PLANE_TILE = 1024
_COLUMN_TILE = 512
_COLUMN_BYTES = 1 << 17


def plan_layer_norm(
    b: PlanBuilder,
    x: Tensor,
    scale: Tensor | None,
    bias: Tensor | None,
    y: Tensor,
    mean: Tensor | None,
    variance: Tensor | None,
    epsilon: float,
    begin_axis: int,
) -> None:
    """y = (x - mean) / sqrt(variance + epsilon) * scale + bias over the dimensions from begin_axis on."""
    require_contiguous("layer_norm", x, scale, bias, y)
    rows, n = math.prod(x.shape[:begin_axis]), math.prod(x.shape[begin_axis:])
    if x.numel == 0:
        return
    acc = accumulation_dtype(x.dtype)
    mean = b.scratch((rows,), acc) if mean is None else mean
    variance = b.scratch((rows,), acc) if variance is None else variance
    kernel = "norm.layer_norm_rows" if n <= _ROW_TILE else "norm.layer_norm_long_rows"
    b.launch(
        kernel, rows, x, scale, bias, y, mean, variance, n, real(epsilon, acc), cost=2 * x.nbytes,
        HAS_SCALE=int(scale is not None), HAS_BIAS=int(bias is not None), ACC=dtype_constexpr(acc),
        BLOCK=max(power_of_two(n), 16) if n <= _ROW_TILE else 2048,
        **({"STREAM": int(streams(y))} if n <= _ROW_TILE else {}),
    )  # fmt: skip


def row_parts(rows: int, n: int, itemsize: int) -> tuple[int, int]:
    """(parts, rows of one part) for kernels whose programs go through several rows and end with sums over them."""
    chunk = max(min(-(-rows // 16), max((1 << 17) // max(n * itemsize, 1), 1)), -(-rows // 512), 1)
    return -(-rows // chunk), chunk


def plan_layer_norm_grad(
    b: PlanBuilder,
    x: Tensor,
    scale: Tensor | None,
    mean: Tensor,
    variance: Tensor,
    dy: Tensor,
    dx: Tensor | None,
    dscale: Tensor | None,
    dbias: Tensor | None,
    epsilon: float,
    begin_axis: int,
) -> None:
    require_contiguous("layer_norm_grad", x, scale, dy, dx)
    rows, n = math.prod(x.shape[:begin_axis]), math.prod(x.shape[begin_axis:])
    if x.numel == 0:
        for grad in (dscale, dbias):
            if grad is not None:
                b.zero(grad)
        return
    if n > 4 * _ROW_TILE:
        raise Unsupported(f"layer_norm_grad normalises at most {4 * _ROW_TILE} elements together, found {n}.")
    acc = accumulation_dtype(x.dtype)
    parts, chunk = row_parts(rows, n, x.itemsize)
    partial = [b.scratch((parts, n), acc) if grad is not None else None for grad in (dscale, dbias)]
    b.launch(
        "norm.layer_norm_grad_rows", parts,
        x, scale, mean, variance, dy, dx, *partial, rows, n, chunk, real(epsilon, acc), cost=3 * x.nbytes,
        HAS_SCALE=int(scale is not None), WANT_X=int(dx is not None), WANT_SCALE=int(dscale is not None),
        WANT_BIAS=int(dbias is not None), ACC=dtype_constexpr(acc),
        STREAM=int(dx is not None and streams(dx)), BLOCK=max(power_of_two(n), 16),
    )  # fmt: skip
    for part, grad in zip(partial, (dscale, dbias), strict=True):
        if part is not None and grad is not None:
            plan_reduce(b, part, grad, (0,), "sum")


def plan_rms_norm(
    b: PlanBuilder,
    x: Tensor,
    scale: Tensor | None,
    y: Tensor,
    factor: Tensor | None,
    epsilon: float,
    begin_axis: int,
) -> None:
    """y = x / sqrt(mean(x^2) + epsilon) * scale; `factor` gets 1 / sqrt(...) of each row."""
    require_contiguous("rms_norm", x, scale, y)
    rows, n = math.prod(x.shape[:begin_axis]), math.prod(x.shape[begin_axis:])
    if n > 4 * _ROW_TILE:
        raise Unsupported(f"rms_norm normalises at most {4 * _ROW_TILE} elements together, found {n}.")
    if x.numel == 0:
        return
    acc = accumulation_dtype(x.dtype)
    factor = b.scratch((rows,), acc) if factor is None else factor
    b.launch(
        "norm.rms_norm_rows", rows, x, scale, y, factor, n, real(epsilon, acc), cost=2 * x.nbytes,
        HAS_SCALE=int(scale is not None), ACC=dtype_constexpr(acc), STREAM=int(streams(y)), BLOCK=max(power_of_two(n), 16),
    )  # fmt: skip


def plan_rms_norm_grad(
    b: PlanBuilder,
    x: Tensor,
    scale: Tensor | None,
    factor: Tensor,
    dy: Tensor,
    dx: Tensor,
    dscale: Tensor | None,
    begin_axis: int,
) -> None:
    require_contiguous("rms_norm_grad", x, scale, dy, dx)
    rows, n = math.prod(x.shape[:begin_axis]), math.prod(x.shape[begin_axis:])
    if n > 4 * _ROW_TILE:
        raise Unsupported(f"rms_norm_grad normalises at most {4 * _ROW_TILE} elements together, found {n}.")
    if x.numel == 0:
        if dscale is not None:
            b.zero(dscale)
        return
    acc = accumulation_dtype(x.dtype)
    parts, chunk = row_parts(rows, n, x.itemsize)
    partial = b.scratch((parts, n), acc) if scale is not None else None
    b.launch(
        "norm.rms_norm_grad_rows", parts, x, scale, factor, dy, dx, partial, rows, n, chunk, cost=3 * x.nbytes,
        HAS_SCALE=int(scale is not None), ACC=dtype_constexpr(acc), STREAM=int(streams(dx)), BLOCK=max(power_of_two(n), 16),
    )  # fmt: skip
    if partial is not None and dscale is not None:
        plan_reduce(b, partial, dscale, (0,), "sum")


# ---- batch norm ----


def _layout(x: Tensor, channels_last: bool) -> tuple[int, int, int]:
    """(images, channels, pixels); pixels is 1 when the channels are last in memory."""
    if x.ndim < 2:
        raise ValueError(f"batch_norm needs at least 2 dimensions, found shape {x.shape}")
    if channels_last:
        return math.prod(x.shape[:-1]), x.shape[-1], 1
    return x.shape[0], x.shape[1], math.prod(x.shape[2:])


def _plane_tiles(images: int, pixels: int) -> dict[str, int]:
    width = min(_PLANE_TILE, max(power_of_two(pixels), 16))
    height = 1 if pixels > 256 else min(max(_PLANE_TILE // width, 1), power_of_two(images))
    return {"IMAGES": height, "PIXELS": width}


def _column_tiles(rows: int, channels: int, itemsize: int) -> tuple[int, int, int]:
    """(block of channels, parts, rows of one part)."""
    block = min(_COLUMN_TILE, max(power_of_two(channels), 16))
    chunk = max(_COLUMN_BYTES // (min(block, channels) * itemsize), 16, -(-rows // 1024))
    return block, -(-rows // chunk), chunk


def plan_batch_norm(
    b: PlanBuilder,
    x: Tensor,
    mean: Tensor,
    variance: Tensor,
    scale: Tensor | None,
    bias: Tensor | None,
    y: Tensor,
    mean_out: Tensor,
    variance_out: Tensor,
    saved_mean: Tensor,
    saved_factor: Tensor,
    momentum: float,
    epsilon: float,
    channels_last: bool = False,
) -> None:
    """Training: normalises by the statistics of this batch; running = running * momentum + batch * (1 - momentum)
    (the variance is the biased one); saved_factor is 1 / sqrt(variance + epsilon)."""
    require_contiguous("batch_norm", x, y)
    images, channels, pixels = _layout(x, channels_last)
    if x.numel == 0:
        return
    if images * pixels == 1:  # one value per channel has no variance: Paddle passes it through
        b.copy(y, x)
        b.copy(mean_out, mean)
        b.copy(variance_out, variance)
        b.zero(saved_mean)
        b.zero(saved_factor)
        return
    acc = accumulation_dtype(x.dtype)
    flags = {
        "HAS_SCALE": int(scale is not None),
        "HAS_BIAS": int(bias is not None),
        "ACC": dtype_constexpr(acc),
    }
    constants = (real(momentum, acc), real(epsilon, acc))
    if pixels > 1:
        b.launch(
            "norm.batch_norm_channels", channels,
            x, scale, bias, mean, variance, y, mean_out, variance_out, saved_mean, saved_factor,
            images, pixels, *constants, cost=3 * x.nbytes, **flags, **_plane_tiles(images, pixels),
        )  # fmt: skip
        return
    block, parts, chunk = _column_tiles(images, channels, x.itemsize)
    total, squares = b.scratch((parts, channels), acc), b.scratch((parts, channels), acc)
    slope, offset = b.scratch((channels,), acc), b.scratch((channels,), acc)
    grid = (-(-channels // block), parts)
    kind = dtype_constexpr(acc)
    b.launch(
        "norm.column_moments",
        grid,
        x,
        total,
        squares,
        images,
        channels,
        chunk,
        cost=x.nbytes,
        ACC=kind,
        BLOCK=block,
    )
    b.launch(
        "norm.batch_norm_merge", grid[0],
        x, total, squares, scale, bias, mean, variance, mean_out, variance_out, saved_mean, saved_factor, slope, offset,
        images, channels, chunk, parts, *constants, cost=3 * total.nbytes, **flags, BLOCK=block,
    )  # fmt: skip
    b.launch(
        "norm.affine_columns", grid, x, slope, offset, y, images, channels, chunk,
        cost=2 * x.nbytes, ACC=kind, BLOCK=block,
    )  # fmt: skip


def plan_batch_norm_fixed(
    b: PlanBuilder,
    x: Tensor,
    mean: Tensor,
    variance: Tensor,
    scale: Tensor | None,
    bias: Tensor | None,
    y: Tensor,
    epsilon: float,
    channels_last: bool = False,
) -> None:
    """Inference: normalises by given statistics."""
    require_contiguous("batch_norm", x, y)
    images, channels, pixels = _layout(x, channels_last)
    if x.numel == 0:
        return
    acc = accumulation_dtype(x.dtype)
    flags = {"HAS_SCALE": int(scale is not None), "HAS_BIAS": int(bias is not None)}
    kind = dtype_constexpr(acc)
    if pixels > 1:
        width = min(4096, max(power_of_two(pixels), 16))
        b.launch(
            "norm.batch_norm_channels_fixed", (-(-pixels // width), channels, images),
            x, scale, bias, mean, variance, y, images, channels, pixels, real(epsilon, acc),
            cost=2 * x.nbytes, **flags, IS_FACTOR=0, ACC=kind, PIXELS=width,
        )  # fmt: skip
        return
    slope, offset = b.scratch((channels,), acc), b.scratch((channels,), acc)
    block, parts, chunk = _column_tiles(images, channels, x.itemsize)
    columns = -(-channels // block)
    b.launch(
        "norm.batch_norm_fixed_affine", columns, scale, bias, mean, variance, slope, offset, channels,
        real(epsilon, acc), cost=slope.nbytes, **flags, ACC=kind, BLOCK=block,
    )  # fmt: skip
    b.launch(
        "norm.affine_columns", (columns, parts), x, slope, offset, y, images, channels, chunk,
        cost=2 * x.nbytes, ACC=kind, BLOCK=block,
    )  # fmt: skip


def plan_batch_norm_grad(
    b: PlanBuilder,
    x: Tensor,
    scale: Tensor | None,
    mean: Tensor,
    variance: Tensor,
    dy: Tensor,
    dx: Tensor | None,
    dscale: Tensor | None,
    dbias: Tensor | None,
    epsilon: float,
    channels_last: bool = False,
    fixed: bool = False,
) -> None:
    """`fixed`: mean and variance are the running statistics, which did not depend on x; otherwise they are what
    plan_batch_norm saved (the second then is 1 / sqrt(variance + epsilon))."""
    require_contiguous("batch_norm_grad", x, dy, dx)
    images, channels, pixels = _layout(x, channels_last)
    if x.numel == 0 or (images * pixels == 1 and not fixed):
        for grad in (dscale, dbias):
            if grad is not None:
                b.zero(grad)
        if dx is not None and x.numel:
            b.copy(dx, dy)
        return
    acc = accumulation_dtype(x.dtype)
    flags = {
        "HAS_SCALE": int(scale is not None), "IS_FACTOR": int(not fixed), "FIXED": int(fixed),
        "WANT_X": int(dx is not None), "WANT_SCALE": int(dscale is not None), "WANT_BIAS": int(dbias is not None),
        "ACC": dtype_constexpr(acc),
    }  # fmt: skip
    if pixels > 1:
        b.launch(
            "norm.batch_norm_grad_channels", channels,
            x, scale, mean, variance, dy, dx, dscale, dbias, images, pixels, real(epsilon, acc),
            cost=5 * x.nbytes, **flags, **_plane_tiles(images, pixels),
        )  # fmt: skip
        return
    block, parts, chunk = _column_tiles(images, channels, x.itemsize)
    sums = [b.scratch((parts, channels), acc) for _ in range(2)]
    grid = (-(-channels // block), parts)
    b.launch(
        "norm.column_grad_sums", grid, x, mean, dy, *sums, images, channels, chunk,
        cost=2 * x.nbytes, ACC=dtype_constexpr(acc), BLOCK=block,
    )  # fmt: skip
    if parts > 1:
        whole = [b.scratch((channels,), acc) for _ in range(2)]
        for part, full in zip(sums, whole, strict=True):
            plan_reduce(b, part, full, (0,), "sum")
        sums = whole
    b.launch(
        "norm.batch_norm_grad_columns", grid if dx is not None else (grid[0], 1),
        x, scale, mean, variance, *sums, dy, dx, dscale, dbias, images, channels, chunk, real(epsilon, acc),
        cost=3 * x.nbytes, **flags, BLOCK=block,
    )  # fmt: skip


# ---- group norm and instance norm ----


def plan_group_norm(
    b: PlanBuilder,
    x: Tensor,
    scale: Tensor | None,
    bias: Tensor | None,
    y: Tensor,
    mean: Tensor | None,
    variance: Tensor | None,
    groups: int,
    epsilon: float,
    factor_out: bool = False,
) -> None:
    """x [images, channels, ...]; mean and variance [images, groups]. `factor_out`: variance gets
    1 / sqrt(variance + epsilon) instead. groups == channels is instance norm."""
    require_contiguous("group_norm", x, y, scale, bias)
    images, channels, pixels = _layout(x, False)
    if channels % groups:
        raise ValueError(
            f"group_norm of {channels} channels into {groups} groups: the groups would be unequal"
        )
    if x.numel == 0:
        return
    acc = accumulation_dtype(x.dtype)
    cells = images * groups
    mean = b.scratch((cells,), acc) if mean is None else mean
    variance = b.scratch((cells,), acc) if variance is None else variance
    b.launch(
        "norm.group_norm_rows", cells, x, scale, bias, y, mean, variance, groups, channels // groups, pixels,
        real(epsilon, acc), cost=3 * x.nbytes, HAS_SCALE=int(scale is not None), HAS_BIAS=int(bias is not None),
        FACTOR_OUT=int(factor_out), ACC=dtype_constexpr(acc), PIXELS=min(_PLANE_TILE, max(power_of_two(pixels), 16)),
    )  # fmt: skip


def plan_group_norm_grad(
    b: PlanBuilder,
    x: Tensor,
    scale: Tensor | None,
    mean: Tensor,
    variance: Tensor,
    dy: Tensor,
    dx: Tensor | None,
    dscale: Tensor | None,
    dbias: Tensor | None,
    groups: int,
    epsilon: float,
    is_factor: bool = False,
) -> None:
    require_contiguous("group_norm_grad", x, dy, dx, scale)
    images, channels, pixels = _layout(x, False)
    if x.numel == 0:
        for grad in (dscale, dbias):
            if grad is not None:
                b.zero(grad)
        return
    acc = accumulation_dtype(x.dtype)
    dx = b.scratch(x.shape, x.dtype) if dx is None else dx
    parts = [b.scratch((images, channels), acc) for _ in range(2)]
    b.launch(
        "norm.group_norm_grad_rows", images * groups,
        x, scale, mean, variance, dy, dx, *parts, groups, channels // groups, pixels, real(epsilon, acc),
        cost=5 * x.nbytes, HAS_SCALE=int(scale is not None), IS_FACTOR=int(is_factor), ACC=dtype_constexpr(acc),
        PIXELS=min(_PLANE_TILE, max(power_of_two(pixels), 16)),
    )  # fmt: skip
    for part, grad in zip(parts, (dscale, dbias), strict=True):
        if grad is not None:
            plan_reduce(b, part, grad, (0,), "sum")


# ---- on arrays ----


def layer_norm(
    x: Array,
    scale: Array | None = None,
    bias: Array | None = None,
    epsilon: float = 1e-5,
    begin_axis: int = -1,
) -> Array:
    """Normalises over the dimensions from `begin_axis` on, then scales and shifts by scale and bias."""
    begin_axis %= len(x.shape)
    outputs = [(x.shape, x.dtype), None, None]
    return run(plan_layer_norm, [x, scale, bias], outputs, epsilon, begin_axis)[0]  # type: ignore[no-any-return]


def rms_norm(x: Array, scale: Array | None = None, epsilon: float = 1e-6, begin_axis: int = -1) -> Array:
    """x / sqrt(mean(x^2) + epsilon) * scale over the dimensions from `begin_axis` on (Zhang and Sennrich 2019)."""
    begin_axis %= len(x.shape)
    return run(plan_rms_norm, [x, scale], [(x.shape, x.dtype), None], epsilon, begin_axis)[0]  # type: ignore[no-any-return]


def batch_norm(
    x: Array,
    mean: Array,
    variance: Array,
    scale: Array | None = None,
    bias: Array | None = None,
    training: bool = False,
    momentum: float = 0.9,
    epsilon: float = 1e-5,
    channels_last: bool = False,
) -> Array:
    """Normalises each channel (Ioffe and Szegedy 2015). Training: by the statistics of x, and `mean` and `variance`
    move towards those in place; else by `mean` and `variance`."""
    inputs = [x, mean, variance, scale, bias]
    if not training:
        return run(plan_batch_norm_fixed, inputs, [(x.shape, x.dtype)], epsilon, channels_last)  # type: ignore[no-any-return]
    saved = (mean.shape, mean.dtype)
    outputs: list[tuple[Sequence[int], str] | Array | None] = [
        (x.shape, x.dtype), mean, variance, saved, saved,
    ]  # fmt: skip
    return run(plan_batch_norm, inputs, outputs, momentum, epsilon, channels_last)[0]  # type: ignore[no-any-return]


def group_norm(
    x: Array, groups: int, scale: Array | None = None, bias: Array | None = None, epsilon: float = 1e-5
) -> Array:
    """Normalises groups of channels of each image (Wu and He 2018); x [images, channels, ...]."""
    outputs = [(x.shape, x.dtype), None, None]
    return run(plan_group_norm, [x, scale, bias], outputs, groups, epsilon)[0]  # type: ignore[no-any-return]
