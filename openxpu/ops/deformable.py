# Deformable convolution (with and without modulation), forward and backward: sampled columns, then products.

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from openxpu.ops.creation import plan_cast
from openxpu.ops.layout import plan_transpose
from openxpu.ops.matmul import plan_product
from openxpu.ops.plan import I64, PlanBuilder, Scalar, Tensor, Unsupported, dtype_constexpr
from openxpu.ops.reduce import accumulation_dtype, power_of_two, require_contiguous
from openxpu.ops.run import run

if TYPE_CHECKING:
    from openxpu.runtime import Array

_COLUMNS = 1 << 24  # bytes of the matrix of sampled columns that exist at a time


@dataclass(frozen=True)
class Deformable:
    """The extents of one deformable convolution."""

    images: int
    channels: int
    height: int
    width: int
    filters: int
    kernel: tuple[int, int]
    out: tuple[int, int]
    strides: tuple[int, int]
    paddings: tuple[int, int]
    dilations: tuple[int, int]
    sets: int
    groups: int

    @property
    def cells(self) -> int:
        """Output pixels of an image."""
        return self.out[0] * self.out[1]

    @property
    def taps(self) -> int:
        return self.kernel[0] * self.kernel[1]

    @property
    def group(self) -> int:
        """Channels of a group."""
        return self.channels // self.groups

    @property
    def segment(self) -> int:
        """Neighbouring channels with one group and one set of offsets."""
        return math.gcd(self.group, self.channels // self.sets)

    def numbers(self, first: int, pixels: int) -> tuple[Scalar, ...]:
        """What all kernels take after their tensors."""
        return (
            I64(first), pixels, self.channels, self.group, self.segment, self.cells, self.taps, self.sets, self.height,
            self.width, self.out[1], self.kernel[1], *self.strides, *self.paddings, *self.dilations,
        )  # fmt: skip

    def parts(self, itemsize: int) -> Iterator[tuple[int, int]]:
        """(first pixel, pixels) of the pieces whose columns fit: whole images, or parts of one."""
        one = self.taps * self.channels * itemsize
        images = max(_COLUMNS // (one * self.cells), 1)
        step = min(self.cells, max(_COLUMNS // one, 256)) if images == 1 else self.cells * images
        for image in range(0, self.images, images):
            end = min(image + images, self.images) * self.cells
            for first in range(image * self.cells, end, step):
                yield first, min(step, end - first)


def deformable_of(
    x: Tensor, offset: Tensor, filter: Tensor, mask: Tensor | None, out: Tensor, strides: Sequence[int],
    paddings: Sequence[int], dilations: Sequence[int], sets: int, groups: int,
) -> Deformable:  # fmt: skip
    """Extents of a call whose tensors are x [images, channels, height, width], filter [filters, channels / groups, kh, kw]."""
    require_contiguous("deformable_conv", x, offset, filter, mask, out)
    images, channels, height, width = x.shape
    kernel, sides = filter.shape[2:], out.shape[2:]
    pairs = [(*values, *values)[:2] for values in (strides, paddings, dilations)]
    c = Deformable(
        images, channels, height, width, filter.shape[0], (kernel[0], kernel[1]), (sides[0], sides[1]),
        (pairs[0][0], pairs[0][1]), (pairs[1][0], pairs[1][1]), (pairs[2][0], pairs[2][1]), sets, groups,
    )  # fmt: skip
    if x.dtype not in ("f32", "f64", "f16", "bf16"):
        raise Unsupported(f"deformable_conv takes floats, found {x.dtype}.")
    if channels % sets or channels % groups or offset.numel != 2 * sets * c.taps * images * c.cells:
        raise ValueError(f"deformable_conv: offsets {offset.shape} do not fit {x.shape} with {sets} sets.")
    return c


def _last(b: PlanBuilder, x: Tensor) -> Tensor:
    """[images, height, width, channels]"""
    n, ch, h, w = x.shape
    moved = b.scratch((n, h, w, ch), x.dtype)
    plan_transpose(b, x, moved, (0, 2, 3, 1))
    return moved


def _weights(b: PlanBuilder, c: Deformable, filter: Tensor) -> Tensor:
    """[groups, filters of a group, taps * channels of a group]"""
    m = c.filters // c.groups
    moved = b.scratch((c.groups, m, c.taps, c.group), filter.dtype)
    plan_transpose(b, filter.reshape(c.groups, m, c.group, c.taps), moved, (0, 1, 3, 2))
    return moved.reshape(c.groups, m, c.taps * c.group)


def _columns(
    b: PlanBuilder, c: Deformable, x: Tensor, offset: Tensor, mask: Tensor | None, columns: Tensor, first: int, pixels: int
) -> None:  # fmt: skip
    block = min(128, max(power_of_two(c.segment), 16))
    b.launch(
        "deformable.deformable_columns", (-(-pixels // 16), c.channels // c.segment), x, offset, mask, columns,
        *c.numbers(first, pixels), cost=10 * columns.nbytes, PIXELS=16, MASK=int(mask is not None),
        ACC=dtype_constexpr(accumulation_dtype(x.dtype)), BLOCK=block,
    )  # fmt: skip


def plan_deformable_conv(
    b: PlanBuilder, x: Tensor, offset: Tensor, filter: Tensor, mask: Tensor | None, out: Tensor, strides: Sequence[int],
    paddings: Sequence[int], dilations: Sequence[int], sets: int, groups: int,
) -> None:  # fmt: skip
    """out [images, filters, out_height, out_width]: a convolution whose taps are moved by `offset` and scaled by `mask`."""
    if out.numel == 0:
        return
    if x.numel == 0 or filter.numel == 0:
        b.zero(out)
        return
    c = deformable_of(x, offset, filter, mask, out, strides, paddings, dilations, sets, groups)
    x, weights = _last(b, x), _weights(b, c, filter)
    m, k = c.filters // c.groups, c.taps * c.group
    pieces = list(c.parts(x.itemsize))
    memory = b.scratch((c.groups * max(pixels for _, pixels in pieces) * k,), x.dtype)
    for first, pixels in pieces:
        columns = memory.view((c.groups, pixels, k))
        _columns(b, c, x, offset, mask, columns, first, pixels)
        image, cell = divmod(first, c.cells)
        n = -(-pixels // c.cells)
        each = pixels // n
        plan_product(
            b,
            weights.view((n, *weights.shape), (0, *weights.strides)),
            columns.view((n, c.groups, k, each), (each * k, pixels * k, 1, k)),
            out.view(
                (n, c.groups, m, each),
                (c.filters * c.cells, m * c.cells, c.cells, 1),
                image * c.filters * c.cells + cell,
            ),
        )


def plan_deformable_conv_grad(
    b: PlanBuilder, x: Tensor, offset: Tensor, filter: Tensor, mask: Tensor | None, dout: Tensor, dx: Tensor | None,
    doffset: Tensor | None, dfilter: Tensor | None, dmask: Tensor | None, strides: Sequence[int],
    paddings: Sequence[int], dilations: Sequence[int], sets: int, groups: int,
) -> None:  # fmt: skip
    """Gradients of plan_deformable_conv. Each has one owner that adds in a fixed order."""
    wanted = [t for t in (dx, doffset, dfilter, dmask) if t is not None]
    require_contiguous("deformable_conv_grad", *wanted)
    if x.numel == 0 or filter.numel == 0 or dout.numel == 0:
        for t in wanted:
            b.zero(t)
        return
    c = deformable_of(x, offset, filter, mask, dout, strides, paddings, dilations, sets, groups)
    acc = accumulation_dtype(x.dtype)
    x, weights, dout = _last(b, x), _weights(b, c, filter), _last(b, dout)
    m, k = c.filters // c.groups, c.taps * c.group
    flags = {"MASK": int(mask is not None), "ACC": dtype_constexpr(acc)}
    dimage = dweights = None
    if dx is not None:
        dimage = b.scratch(x.shape, acc)
        b.zero(dimage)
    if dfilter is not None:
        dweights = b.scratch(weights.shape, acc)
    pieces = list(c.parts(x.itemsize))
    memory = b.scratch((c.groups * max(pixels for _, pixels in pieces) * k,), x.dtype)
    for first, pixels in pieces:
        columns = memory.view((c.groups, pixels, k))
        # [groups, pixels, filters of a group]
        d = dout.view((c.groups, pixels, m), (m, c.filters, 1), first * c.filters)
        if dx is not None or doffset is not None or dmask is not None:
            plan_product(b, d, weights, columns)
        if dimage is not None:
            n = -(-pixels // c.cells)
            block = min(64, max(power_of_two(c.segment), 16))
            b.launch(
                "deformable.deformable_image_grad", (-(-c.segment // block), c.channels // c.segment, n), offset, mask,
                columns, dimage, *c.numbers(first, pixels), cost=20 * columns.nbytes, **flags, BLOCK=block,
            )  # fmt: skip
        if doffset is not None or dmask is not None:
            block = min(64, max(power_of_two(c.segment), 16))
            b.launch(
                "deformable.deformable_place_grad", (-(-pixels // 16), c.sets), x, offset, mask, columns, doffset, dmask,
                *c.numbers(first, pixels), cost=10 * columns.nbytes, PIXELS=16, MASK=flags["MASK"],
                GRAD=int(doffset is not None) + 2 * int(dmask is not None), ACC=flags["ACC"], BLOCK=block,
            )  # fmt: skip
        if dweights is not None:
            _columns(b, c, x, offset, mask, columns, first, pixels)
            plan_product(b, d.permute(0, 2, 1), columns, dweights, None if first == 0 else dweights)
    if dimage is not None and dx is not None:
        plan_transpose(b, _narrowed(b, dimage, dx.dtype), dx, (0, 3, 1, 2))
    if dweights is not None and dfilter is not None:
        narrow = _narrowed(b, dweights, dfilter.dtype).reshape(c.groups, m, c.taps, c.group)
        plan_transpose(b, narrow, dfilter.reshape(c.groups, m, c.group, c.taps), (0, 1, 3, 2))


def _narrowed(b: PlanBuilder, t: Tensor, dtype: str) -> Tensor:
    if t.dtype == dtype:
        return t
    narrow = b.scratch(t.shape, dtype)
    plan_cast(b, t, narrow)
    return narrow


# ---- on arrays ----


def deformable_conv2d(
    x: Array, offset: Array, filter: Array, mask: Array | None = None, stride: int = 1, padding: int = 0, dilation: int = 1,
    sets: int = 1, groups: int = 1,
) -> Array:  # fmt: skip
    """A convolution of x [images, channels, height, width] whose taps are moved by `offset` (down, right) and scaled by `mask`;
    `sets` of channels have offsets of their own."""
    out = (x.shape[0], filter.shape[0], *offset.shape[2:])
    pairs = (stride,) * 2, (padding,) * 2, (dilation,) * 2
    return run(plan_deformable_conv, [x, offset, filter, mask], [(out, x.dtype)], *pairs, sets, groups)  # type: ignore[no-any-return]
