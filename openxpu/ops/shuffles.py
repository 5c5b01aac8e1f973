# Blocks of pixels to channels and back, shuffled channels, shifts in time, crops; with gradients.
"""All of it is copies between two views of the same elements. A gradient is the copy the other way round, with zeros
where nothing was taken."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from openxpu.ops.layout import part, plan_copy
from openxpu.ops.plan import PlanBuilder, Tensor, Unsupported
from openxpu.ops.reduce import require_contiguous


def _clear(b: PlanBuilder, region: Tensor) -> None:
    """Zeros in a view."""
    if region.contiguous:
        b.zero(region)
    elif region.numel:
        zero = b.scratch((1,), region.dtype)
        b.zero(zero)
        plan_copy(b, zero, region)


def _blocks(packed: Tensor, image: Tensor, factor: int, channels_last: bool) -> tuple[Tensor, Tensor]:
    """Both tensors with the same six dimensions: blocks of factor x factor pixels lie in the channels of `packed`."""
    require_contiguous("pixel_shuffle", packed, image)
    if channels_last:
        images, height, width, channels = packed.shape
        cells = packed.reshape(images, height, width, channels // (factor * factor), factor, factor)
    else:
        images, channels, height, width = packed.shape
        cells = packed.reshape(images, channels // (factor * factor), factor, factor, height, width)
    cells = cells.permute(0, 1, 4, 2, 5, 3)
    return cells, image.reshape(*cells.shape)


def plan_pixel_shuffle(
    b: PlanBuilder, x: Tensor, out: Tensor, factor: int, channels_last: bool = False
) -> None:
    """factor * factor channels become a block of pixels."""
    if out.numel:
        plan_copy(b, *_blocks(x, out, factor, channels_last))


def plan_pixel_unshuffle(
    b: PlanBuilder, x: Tensor, out: Tensor, factor: int, channels_last: bool = False
) -> None:
    """A block of pixels becomes factor * factor channels."""
    if out.numel:
        packed, image = _blocks(out, x, factor, channels_last)
        plan_copy(b, image, packed)


def plan_channel_shuffle(
    b: PlanBuilder, x: Tensor, out: Tensor, groups: int, channels_last: bool = False, back: bool = False
) -> None:
    """Channels of `groups` groups take turns; `back`: the inverse, which is the gradient."""
    require_contiguous("channel_shuffle", x, out)
    if out.numel == 0:
        return
    axis = x.ndim - 1 if channels_last else 1
    channels = x.shape[axis]
    columns = channels // groups
    shape = (columns, groups) if back else (groups, columns)
    cells = x.reshape(*x.shape[:axis], *shape, *x.shape[axis + 1 :])
    order = [*range(axis), axis + 1, axis, *range(axis + 2, cells.ndim)]
    turned = cells.permute(*order)
    plan_copy(b, turned, out.reshape(*turned.shape))


def plan_temporal_shift(
    b: PlanBuilder,
    x: Tensor,
    out: Tensor,
    segments: int,
    ratio: float,
    channels_last: bool = False,
    back: bool = False,
) -> None:
    """x [videos * segments, channels, height, width] (or channels last): the first `ratio` of the channels come from the
    segment before, as many from the one after. `back`: the gradient, which shifts the other way."""
    require_contiguous("temporal_shift", x, out)
    if out.numel == 0:
        return
    axis = x.ndim if channels_last else 2
    channels = x.shape[axis - 1]
    first = int(np.float32(channels) * np.float32(ratio))
    second = int(np.float32(channels * 2) * np.float32(ratio))
    source, target = (t.reshape(t.shape[0] // segments, segments, *t.shape[1:]) for t in (x, out))
    for start, end, step in ((0, first, 1), (first, second, -1), (second, channels, 0)):
        if start >= end:
            continue
        given, taken = (part(t, axis, start, end - start) for t in (source, target))
        if step == 0:
            plan_copy(b, given, taken)
            continue
        forward = (step == 1) != back
        if segments > 1:
            plan_copy(
                b,
                part(given, 1, 0 if forward else 1, segments - 1),
                part(taken, 1, 1 if forward else 0, segments - 1),
            )
        _clear(b, part(taken, 1, 0 if forward else segments - 1, 1))


def _box(x: Tensor, offsets: Sequence[int], extents: Sequence[int]) -> Tensor:
    for axis, (offset, extent) in enumerate(zip(offsets, extents, strict=True)):
        if offset < 0 or offset + extent > x.shape[axis]:
            raise Unsupported(
                f"a crop of {extent} from {offset} leaves the {x.shape[axis]} elements of axis {axis}."
            )
        x = part(x, axis, offset, extent)
    return x


def plan_crop(b: PlanBuilder, x: Tensor, out: Tensor, offsets: Sequence[int]) -> None:
    """The box of out's shape at `offsets`."""
    plan_copy(b, _box(x, offsets, out.shape), out)


def plan_crop_grad(b: PlanBuilder, d: Tensor, dx: Tensor, offsets: Sequence[int]) -> None:
    if d.shape != dx.shape:
        b.zero(dx)
    plan_copy(b, d, _box(dx, offsets, d.shape))
