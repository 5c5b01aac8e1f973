# Convolution: geometry of the padded planes, plans of convolutions of two and three dimensions and their gradients.
"""How a convolution becomes matrix products is explained in `kernels/conv.py`. Here the geometry is worked out:
which phases the taps need, how wide a line must be so that one run of zeros pads two neighbours at once, where
each (channel, tap) starts; then tiles are chosen and the launches are written down. Everything has three dimensions
(slices, rows, columns) inside; an image is one slice."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from openxpu.ops import precision
from openxpu.ops.activation import plan_unary
from openxpu.ops.ending import NOTHING, Ending
from openxpu.ops.layout import plan_copy
from openxpu.ops.matmul import plan_product
from openxpu.ops.plan import ITEMSIZE, PlanBuilder, Tensor, Unsupported, dtype_constexpr
from openxpu.ops.pointwise import plan_map
from openxpu.ops.run import run

if TYPE_CHECKING:
    from openxpu.runtime import Array

Numbers = tuple[int, ...]
Triple = tuple[int, int, int]
Moved = dict[Tensor, Tensor]
_DTYPES = ("f32", "bf16", "f16", "f64")
_INT32 = 2**31
_UNROLLED = (
    1 << 16
)  # products of taps in the text of one kernel; the compiler takes a minute for ten times as many
_WINDOW = 32  # taps of a filter over one channel from which k is long enough for products
_PAST_CACHE = 1 << 18  # elements that no second-level cache keeps beside other data
_SHORT, _MANY, _TABLE = 8, 16, 1 << 16  # pixels of a line, images, entries: what makes images the lanes


@dataclass(frozen=True)
class Conv:
    """A convolution from `extents` pixels of `channels` to `out_extents` of `out_channels`."""

    images: int
    channels: int
    extents: Triple
    out_channels: int
    out_extents: Triple
    kernel: Triple
    stride: Triple
    dilation: Triple
    pad: Triple  # at the start: the end's follows from the output's size
    groups: int

    @property
    def taps(self) -> int:
        return math.prod(self.kernel)

    @property
    def pixels(self) -> int:
        return math.prod(self.extents)

    @property
    def out_pixels(self) -> int:
        return math.prod(self.out_extents)

    def algorithm(self, kind: str) -> str:
        """How the "forward", "data" or "weight" kind is computed; docs/convolution.md has the reasons.

        "product": images of one pixel, as of a squeeze-and-excitation block, are a matrix product as they are.
        "depthwise": one input channel for each group has too short a k for products, unless it is one group of many taps.
        "images": many small images are the lanes themselves, where their short lines would be mostly padding.
        "planes": everything else is a product on padded planes."""
        single = self.taps == self.groups == self.pixels == self.out_pixels == 1
        if single and not any(self.pad):
            return "product"
        flat = self.extents[0] == self.out_extents[0] == self.kernel[0] == 1 and self.pad[0] == 0
        depthwise = self.channels == self.groups and (self.groups > 1 or self.taps <= _WINDOW)
        if flat and depthwise and (kind != "data" or self.out_channels == self.groups):
            # The gradient of the filter has a sum for each tap, and each tap is looked up among all of them.
            lines = 3 * self.stride[1] + (self.kernel[1] - 1) * self.dilation[1] + 1
            if kind != "weight" or 4 * lines * self.kernel[2] * self.taps <= _UNROLLED:
                return "depthwise"
        side = self.out_channels if kind == "data" else self.channels
        table = max(self.pixels, self.out_pixels) * side // self.groups * self.taps
        short = min(self.extents[2], self.out_extents[2]) <= _SHORT
        return "images" if short and self.images >= _MANY and table <= _TABLE else "planes"

    def reads(self, data: bool) -> np.ndarray:
        """[pixels of the result, taps]: the pixel that each tap reads, -1 outside; of y from x, or (`data`) of dx from dy."""
        result, source = (self.extents, self.out_extents) if data else (self.out_extents, self.extents)
        place, inside = np.zeros((1, 1), np.int64), np.ones((1, 1), bool)
        each = zip(result, source, self.kernel, self.stride, self.dilation, self.pad, strict=True)
        for extent, limit, kernel, stride, dilation, pad in each:
            at, tap = np.arange(extent)[:, None], np.arange(kernel)[None, :] * dilation
            if data:
                at, rest = np.divmod(at + pad - tap, stride)
            else:
                at, rest = at * stride + tap - pad, np.zeros((), np.int64)
            valid = (at >= 0) & (at < limit) & (rest == 0)
            shape = (place.shape[0] * extent, place.shape[1] * kernel)
            place = (place[:, None, :, None] * limit + at[None, :, None, :]).reshape(shape)
            inside = (inside[:, None, :, None] & valid[None, :, None, :]).reshape(shape)
        return np.where(inside, place, -1)

    @staticmethod
    def factor(dtype: str) -> str:
        """The dtype of the planes and filters that are multiplied: products of bf16 have instructions of their own, f16
        becomes f32."""
        return "bf16" if dtype == "bf16" else _accumulator(dtype)

    @property
    def flops(self) -> int:
        pixels = self.images * math.prod(self.out_extents)
        return 2 * pixels * self.out_channels * (self.channels // self.groups) * self.taps


@dataclass(frozen=True)
class Axis:
    """One axis of the planes. Source coordinate of tap t at output o is (o + shift[t]) * step + phase[t]."""

    step: int
    first: int  # smallest shift
    last: int  # largest shift
    phases: tuple[int, ...]
    shifts: tuple[int, ...]
    tap_phases: tuple[int, ...]

    @staticmethod
    def of(step: int, origins: Sequence[int]) -> Axis:
        """`origins`: the source coordinate of each tap at output 0."""
        shifts = tuple(origin // step for origin in origins)
        tap_phases = tuple(origin % step for origin in origins)
        return Axis(step, min(shifts), max(shifts), tuple(sorted(set(tap_phases))), shifts, tap_phases)

    def line_pitch(self, out: int, extent: int) -> int:
        """The smallest distance of two lines of `out` output pixels at which every access beyond a line's end
        wants a zero and finds one, in the left padding of the next line."""

        def zero(column: int, phase: int) -> bool:
            source = (column + self.first) * self.step + phase
            return source < 0 or source >= extent

        accesses = set(zip(self.shifts, self.tap_phases, strict=True))
        for pitch in range(out, out + self.last - self.first):
            beyond = [
                (column, phase)
                for shift, phase in accesses
                for column in range(pitch, out + shift - self.first)
            ]
            if all(zero(column, phase) and zero(column - pitch, phase) for column, phase in beyond):
                return pitch
        return out + self.last - self.first


@dataclass(frozen=True)
class Planes:
    """Image planes in the workspace (or the source itself, `direct`), and how lanes are numbered on them."""

    tensor: Tensor
    images: int  # in one plane
    outer: int  # planes of one channel: outer * images = all images
    rows: int  # of one slice, those of padding between slices included
    pitch: int  # of one line; a line is one row of one image
    channel_size: int  # all phases
    outer_size: int
    axes: tuple[Axis, Axis, Axis]
    phase_size: int
    direct: bool

    def tap_offsets(self, taps: Sequence[Triple]) -> np.ndarray:
        """Where each of the taps (indices on all axes) starts, from the channel's first element."""
        if self.direct:
            return np.zeros(len(taps), np.int64)
        steps = (self.rows * self.images * self.pitch, self.images * self.pitch, 1)
        offsets = []
        for tap in taps:
            phase = place = 0
            for axis, i, step in zip(self.axes, tap, steps, strict=True):
                phase = phase * len(axis.phases) + axis.phases.index(axis.tap_phases[i])
                place += (axis.shifts[i] - axis.first) * step
            offsets.append(phase * self.phase_size + place)
        return np.array(offsets, np.int64)

    def offsets(self, channels: int, taps: Sequence[Triple]) -> np.ndarray:
        """The offset table over (channel, tap)."""
        starts = np.arange(channels, dtype=np.int64) * self.channel_size
        table = (starts[:, None] + self.tap_offsets(taps)[None, :]).reshape(-1)
        _check_offsets(int(table.max(initial=0)) + self.phase_size)
        return np.asarray(table, np.int32)


def _check_offsets(size: int) -> None:
    if size >= _INT32:
        raise Unsupported(
            "a convolution over planes of 2^31 elements or more was asked; split the batch or the channels."
        )


def _power_of_two(value: int, low: int, high: int) -> int:
    return max(low, min(high, 1 << max(0, value - 1).bit_length()))


def _channels_first(t: Tensor, layout: str) -> Tensor:
    """The view [images, channels, slices, rows, columns] of data with two or three spatial dimensions."""
    if layout == "NHWC":
        t = t.permute(0, t.ndim - 1, *range(1, t.ndim - 1))
    if t.ndim == 5:
        return t
    (n, c, *spatial), (s_n, s_c, *steps) = t.shape, t.strides
    return t.view((n, c, 1, *spatial), (s_n, s_c, 0, *steps))


def _accumulator(dtype: str) -> str:
    return "f64" if dtype == "f64" else "f32"


def _widened(b: PlanBuilder, c: Conv, w: Tensor) -> Tensor:
    """The filter in the dtype that is multiplied."""
    dtype = c.factor(w.dtype)
    if w.dtype == dtype:
        return w
    out = b.scratch(w.shape, dtype)
    b.launch("conv.widen", -(-w.numel // 1024), w, out, w.numel, cost=2 * out.nbytes, BLOCK=1024)
    return out


def make_planes(
    b: PlanBuilder, x: Tensor, axes: tuple[Axis, Axis, Axis], out_extents: Triple, dtype: str
) -> Planes:
    """Plans the copy of x into padded planes for `out_extents` outputs; none when x serves as it is."""
    images, channels, *extents = x.shape
    plain = all(axis == Axis.of(1, [0]) for axis in axes) and list(out_extents) == extents
    if plain and x.contiguous and x.dtype == dtype:
        pixels = math.prod(extents)
        # A short last vector is cheaper than a copy unless the image is tiny.
        if images == 1 or pixels / (-(-pixels // 16) * 16) > 0.85:
            size = channels * pixels
            return Planes(x, 1, images, 1, pixels, pixels, size, axes, size, True)
    pitch = axes[2].line_pitch(out_extents[2], extents[2])
    slices = out_extents[0] + axes[0].last - axes[0].first
    rows = last_rows = out_extents[1] + axes[1].last - axes[1].first
    if slices > 1:
        rows = axes[1].line_pitch(out_extents[1], extents[1])
    lines = (slices * rows + max(0, last_rows - rows)) * images + 1
    left = max(0, -axes[2].first)
    phase_size = -(-(lines * pitch + left) // 16) * 16
    phases = list(itertools.product(*(axis.phases for axis in axes)))
    if phase_size * ITEMSIZE[dtype] % 4096 < 128:  # planes a page apart would share cache sets
        phase_size += 128 // ITEMSIZE[dtype]
    planes = b.scratch((channels, len(phases), phase_size), dtype)
    tile, lanes = _copied_tile(-(-lines // images), pitch)
    b.launch(
        "conv.pad_planes",
        (-(-lines // (tile * images)), channels * len(phases), images),
        x, planes, b.constant(np.array(phases, np.int32)), len(phases), images, channels, *extents,
        axes[0].first, axes[1].first, axes[2].first + left, left, slices, rows, lines, pitch, phase_size, *x.strides,
        cost=2 * planes.nbytes,
        STEP_D=axes[0].step, STEP_H=axes[1].step, STEP_W=axes[2].step, DEEP=slices > 1, UNIT=x.strides[4] == 1,
        LEFT=left > 0, ROWS=tile, LANES=lanes,
    )  # fmt: skip
    size = len(phases) * phase_size
    return Planes(planes, images, 1, rows, pitch, size, channels * size, axes, phase_size, False)


def _copied_tile(rows: int, pitch: int) -> tuple[int, int]:
    """ROWS and LANES of `pad_planes`: a program takes as long for lines that are not there as for others."""
    return min((4, 8, 16), key=lambda tile: (-(-rows // tile) * (tile + 2), -tile)), _power_of_two(
        pitch, 16, 64
    )


def _lines(planes: Planes, strides: Numbers, out: Triple) -> tuple[Planes, Triple]:
    """The lines of an output with these strides: of a plane that is the source itself one long line, or lines without
    padding."""
    if not planes.direct:
        return planes, out
    dense = strides[4] == 1 and (out[1] == 1 or strides[3] == out[2])
    if dense and (out[0] == 1 or strides[2] == out[1] * out[2]):
        return planes, (1, 1, planes.pitch)
    return replace(planes, rows=out[1], pitch=out[2]), out


def _product(
    b: PlanBuilder,
    planes: Planes,
    weights: Tensor,
    y: Tensor,
    out: Triple,
    m_size: int,
    groups: int,
    plane_offsets: np.ndarray,
    weight_offsets: np.ndarray | None,
    weights_row: int,
    weights_group: int,
    along_m: bool = False,
    ending: Ending = NOTHING,
) -> None:
    """Plans Y = A X on the planes; `y` has the strides of the output and starts at its first pixel, `out` are its extents."""
    planes, out = _lines(planes, y.strides, out)
    y_image, y_channel, y_slice, y_row, y_column = y.strides
    pitch, images = planes.pitch, planes.images
    k_size = plane_offsets.size
    p_size = ((out[0] - 1) * planes.rows + out[1] - 1) * images * pitch + (images - 1) * pitch + out[2]
    # Filters that are read through a table are not taken apart: it would be one by one.
    how = (
        precision.IEEE if weight_offsets is not None else precision.of_products(weights.dtype, m_size, p_size)
    )
    bm, bn, bk = _tile(m_size, p_size, k_size, weights.dtype, how, groups * planes.outer)
    if weights_row == 1 and p_size <= 16 and m_size >= 512 and weights.dtype == "f32":
        # Reading the filter, here across its rows, is most of the work: longer pieces of each.
        bm, bn, bk = 128, 16, 32
    m_tiles, p_tiles = -(-m_size // bm), -(-p_size // bn)
    # The operand that is walked through more slowly is the one whose tile stays in the second-level cache.
    m_step, p_step = (1, m_tiles) if m_size < p_size else (p_tiles, 1)
    b.launch(
        "conv.convolve_planes",
        (m_tiles * p_tiles, groups * planes.outer),
        planes.tensor, weights, y, b.constant(plane_offsets),
        None if weight_offsets is None else b.constant(weight_offsets), ending.bias, ending.residual,
        m_size, k_size, p_size, m_tiles, p_tiles, m_step, p_step, planes.rows, out[1], pitch, out[2], images,
        planes.outer_size, planes.outer_size // groups, weights_row, weights_group,
        m_size * y_channel, y_image, y_channel, y_slice, y_row, y_column, ending.first, ending.second,
        cost=2 * m_size * k_size * p_size * groups * planes.outer,
        TABLE=weight_offsets is not None, ALONG_M=along_m, LISTS=False, GROUPS=groups, DEEP=out[0] > 1, STEP=_step(y),
        **ending.constexprs, ACC=dtype_constexpr(_accumulator(weights.dtype)), PRECISION=how, BM=bm, BN=bn, BK=bk,
    )  # fmt: skip


def _step(y: Tensor) -> int:
    """1 or 2 when that is the distance of an output's columns, which stores without scatters serve."""
    return y.strides[4] if y.strides[4] in (1, 2) else 0


def _tile(
    m_size: int, p_size: int, k_size: int, dtype: str, how: str = precision.IEEE, batch: int = 1
) -> tuple[int, int, int]:
    """BM, BN, BK of `convolve_planes`."""
    if how == precision.TILES:
        return precision.tiles(m_size, p_size, k_size, batch)
    if dtype == "bf16":  # pairs of k are packed: taller tiles repay it
        return (16 if m_size <= 16 else 64 if m_size <= 64 else 128), 64, (32 if k_size <= 32 else 512)
    return (16 if m_size <= 16 else 64), 64, (32 if k_size <= 32 else 128)


def _triple(axes: Sequence[Axis]) -> tuple[Axis, Axis, Axis]:
    return axes[0], axes[1], axes[2]


def _forward_axes(c: Conv) -> tuple[Axis, Axis, Axis]:
    each = zip(c.kernel, c.stride, c.dilation, c.pad, strict=True)
    return _triple([Axis.of(s, [i * d - p for i in range(k)]) for k, s, d, p in each])


def _all_taps(c: Conv) -> list[Triple]:
    return [(k, i, j) for k, i, j in itertools.product(*map(range, c.kernel))]


def _matrix(t: Tensor) -> Tensor:
    """[images, channels] of images of one pixel."""
    return t.view(t.shape[:2], t.strides[:2])


def _depthwise(
    b: PlanBuilder,
    c: Conv,
    x: Tensor,
    w: Tensor,
    y: Tensor,
    kernel: Sequence[int],
    step: Sequence[int],
    dilation: Sequence[int],
    first: Sequence[int],
    weight_steps: Sequence[int],
    ending: Ending = NOTHING,
) -> None:
    """Plans one launch over the pixels of y; w starts at the first tap, `weight_steps` go to the next row's and column's."""
    rows = _power_of_two(y.shape[3], 1, 4)
    span = (kernel[0] - 1) * dilation[0]
    b.launch(
        "conv.depthwise", c.images * c.out_channels,
        x, w, y, ending.bias, ending.residual, c.out_channels // c.channels, c.out_channels, *x.shape[3:], *y.shape[3:], *first, c.taps, *weight_steps,
        *x.strides[:2], *x.strides[3:], *y.strides[:2], *y.strides[3:], ending.first, ending.second,
        cost=8 * c.flops, KH=kernel[0], KW=kernel[1], STEP_H=step[0], STEP_W=step[1],
        DILATION_H=dilation[0], DILATION_W=dilation[1], UNIT=x.strides[4] == 1, Y_STEP=_step(y),
        **ending.constexprs, ACC=dtype_constexpr(_accumulator(w.dtype)), LOWEST=min(0, span), REACH=(rows - 1) * step[0] + abs(span) + 1, ROWS=rows, LANES=16,
    )  # fmt: skip


def _depthwise_input_gradient(b: PlanBuilder, c: Conv, w: Tensor, dy: Tensor, dx: Tensor) -> None:
    """A convolution of dy for each phase of the stride, with every so many taps."""
    (rows, columns), steps = [
        [_phase_taps(c.kernel[d], c.stride[d], c.dilation[d], c.pad[d], a) for a in range(min(c.stride[d], c.extents[d]))]
        for d in (1, 2)
    ], (c.kernel[2], 1)  # fmt: skip
    for (i, own_rows), (j, own_columns) in itertools.product(enumerate(rows), enumerate(columns)):
        taps = (own_rows, own_columns)
        if not all(taps):
            continue
        strides = (*dx.strides[:3], dx.strides[3] * c.stride[1], dx.strides[4] * c.stride[2])
        extents = [-(-(e - a) // s) for e, a, s in zip(c.extents[1:], (i, j), c.stride[1:], strict=True)]
        target = dx.view((*dx.shape[:3], *extents), strides, i * dx.strides[3] + j * dx.strides[4])
        second = [own[1] if len(own) > 1 else (own[0][0] + 1, own[0][1] + 1) for own in taps]
        _depthwise(
            b, c, dy, w.view(w.shape, w.strides, own_rows[0][0] * steps[0] + own_columns[0][0]), target,
            [len(own) for own in taps], (1, 1), [s[1] - own[0][1] for s, own in zip(second, taps, strict=True)],
            [own[0][1] for own in taps],
            [(s[0] - own[0][0]) * step for s, own, step in zip(second, taps, steps, strict=True)],
        )  # fmt: skip


def _images_last(b: PlanBuilder, x: Tensor, moved: Moved, result: bool = False) -> Tensor:
    """x (or room for it, when it is a `result`) as [channels, slices, rows, columns, images] in the workspace, lines of
    images a little longer where they would fall into the same sets of the cache. `moved`: what this plan has moved."""
    if x in moved:
        return moved[x]
    images = x.shape[0]
    pitch = -(-images // 16) * 16
    if pitch * x.itemsize % 4096 < 128:
        pitch += 128 // x.itemsize
    space = b.scratch((*x.shape[1:], pitch), x.dtype)
    turned = space.view((*x.shape[1:], images), space.strides)
    if not result:
        moved[x] = turned
        plan_copy(b, x.permute(1, 2, 3, 4, 0), turned)
    return turned


def _product_of_images(
    b: PlanBuilder, c: Conv, source: Tensor, w: Tensor, result: Tensor, moved: Moved, data: bool = False,
    ending: Ending = NOTHING,
) -> None:  # fmt: skip
    """Plans y from x, or (`data`) dx from dy: for each pixel of the result one product, whose k are the (channel, tap)
    that read a pixel and whose lanes are the images."""
    k_channels, m_size = c.channels // c.groups, c.out_channels // c.groups
    row, columns = k_channels * c.taps, (c.taps, 1)
    if data:
        k_channels, m_size = m_size, k_channels
        row, columns = c.taps, (m_size * c.taps, 1)
    source, y = _images_last(b, source, moved), _images_last(b, result, moved, result=True)
    pitch, channel = source.strides[3], source.strides[0]
    reads = c.reads(data)
    offsets = np.arange(k_channels)[None, :, None] * channel + reads[:, None, :] * pitch
    places = np.arange(k_channels)[:, None] * columns[0] + np.arange(c.taps) * columns[1]
    valid = np.broadcast_to(reads[:, None, :] >= 0, offsets.shape)
    _check_offsets(channel * source.shape[0])
    bounds = np.concatenate([[0], np.cumsum(valid.sum(axis=(1, 2)))])
    k_size = int(bounds[-1])
    bm, _, bk = _tile(m_size, c.images, k_size // len(reads) + 1, w.dtype)
    bn = 64 if c.images <= 64 else 256  # a pixel's product is small: fewer programs
    m_tiles, p_tiles = -(-m_size // bm), -(-c.images // bn)
    b.launch(
        "conv.convolve_planes",
        (m_tiles * p_tiles, c.groups * len(reads)),
        source, w, y, b.constant(np.concatenate([offsets[valid], bounds]).astype(np.int32)),
        b.constant(np.broadcast_to(places, offsets.shape)[valid].astype(np.int32)), ending.bias, None,
        m_size, k_size, c.images, m_tiles, p_tiles, p_tiles, 1, 1, 1, c.images, c.images, 1,
        0, channel * k_channels, row, m_size * k_channels * c.taps,
        m_size * y.strides[0], y.strides[3], y.strides[0], 0, 0, 1, ending.first, ending.second,
        cost=2 * m_size * k_size * c.images * c.groups,
        TABLE=True, ALONG_M=False, LISTS=True, GROUPS=c.groups, DEEP=False, STEP=1,
        **ending.constexprs, ACC=dtype_constexpr(_accumulator(w.dtype)), PRECISION=precision.IEEE, BM=bm, BN=bn, BK=bk,
    )  # fmt: skip
    plan_copy(b, y.permute(4, 0, 1, 2, 3), result)


def _forward(
    b: PlanBuilder, c: Conv, x: Tensor, w: Tensor, y: Tensor, moved: Moved, ending: Ending = NOTHING
) -> None:
    how = c.algorithm("forward")
    residual = ending.residual
    if residual is not None and (how in ("product", "images") or residual.strides != y.strides):
        # These store elsewhere or in another order than the residual lies in.
        _forward(b, c, x, w, y, moved, Ending(ending.bias))
        plan_map(b, "elementwise.add", [y, residual], y)
        if ending.activation != "identity":
            plan_unary(b, y, y, ending.activation, *ending.numbers)
        return
    if how == "product":
        bias = None if ending.bias is None else ending.bias.view((1, c.out_channels), (c.out_channels, 1))
        plan_product(
            b, _matrix(x), _matrix(w).permute(1, 0), _matrix(y), bias, ending=replace(ending, bias=None)
        )
        return
    if how == "depthwise":
        first = [-p for p in c.pad[1:]]
        _depthwise(b, c, x, w, y, c.kernel[1:], c.stride[1:], c.dilation[1:], first, (c.kernel[2], 1), ending)
        return
    if how == "images":
        _product_of_images(b, c, x, w, y, moved, ending=ending)
        return
    channels = c.channels // c.groups
    m_size = c.out_channels // c.groups
    planes = make_planes(b, x, _forward_axes(c), c.out_extents, c.factor(x.dtype))
    _product(
        b, planes, _widened(b, c, w), y, c.out_extents, m_size, c.groups,
        planes.offsets(channels, _all_taps(c)), None, channels * c.taps, m_size * channels * c.taps, ending=ending,
    )  # fmt: skip


def _phase_taps(kernel: int, stride: int, dilation: int, pad: int, phase: int) -> list[tuple[int, int]]:
    """Taps k that reach input pixels i = phase + stride * j, each with its output coordinate at j = 0."""
    return [
        (k, (phase + pad - k * dilation) // stride)
        for k in range(kernel)
        if (phase + pad - k * dilation) % stride == 0
    ]


ORDERED_FROM = 256  # pixels: as many products of each element repay its gather


def _ordered(b: PlanBuilder, c: Conv, w: Tensor, phases: list[list[list[tuple[int, int]]]]) -> Tensor:
    """The filter as [group, tap, output channel, channel], the taps phase by phase."""
    _, height, width = c.kernel
    order = [
        (p * height + q) * width + r
        for each in itertools.product(*phases)
        for (p, _), (q, _), (r, _) in itertools.product(*each)
    ]
    channels, out_channels = c.channels // c.groups, c.out_channels // c.groups
    out = b.scratch((c.groups, c.taps, out_channels, channels), w.dtype)
    block = _power_of_two(channels, 32, 512)
    b.launch(
        "conv.order_filter",
        (-(-channels // block), len(order), c.out_channels),
        w, out, b.constant(np.array(order, np.int32)), channels, out_channels, c.taps,
        cost=16 * w.numel, BLOCK=block,
    )  # fmt: skip
    return out


def _input_gradient(
    b: PlanBuilder, c: Conv, w: Tensor, dy: Tensor, dx: Tensor, whole: Tensor, moved: Moved
) -> None:
    """`whole`: dx as it lies in memory, where all of it is zeroed."""
    how = c.algorithm("data")
    if how == "product":
        plan_product(b, _matrix(dy), _matrix(w), _matrix(dx))
        return
    if how == "images":
        _product_of_images(b, c, dy, w, dx, moved, data=True)
        return
    each = list(zip(c.kernel, c.stride, c.dilation, c.pad, c.extents, strict=True))
    phases = [[_phase_taps(k, s, d, p, a) for a in range(min(s, e))] for k, s, d, p, e in each]
    if not all(taps for axis in phases for taps in axis) or any(e < s for _, s, _, _, e in each):
        b.zero(whole)  # some pixels are read by no tap
    origins = [[origin for taps in axis for _, origin in taps] for axis in phases]
    if not all(origins):
        return
    if how == "depthwise":
        _depthwise_input_gradient(b, c, w, dy, dx)
        return
    channels, out_channels = c.channels // c.groups, c.out_channels // c.groups
    axes = _triple([Axis.of(1, starts) for starts in origins])
    lattice = [-(-e // s) for _, s, _, _, e in each]
    planes = make_planes(b, dy, axes, (lattice[0], lattice[1], lattice[2]), c.factor(dy.dtype))
    steps = (*dx.strides[:2], *(step * s for step, s in zip(dx.strides[2:], c.stride, strict=True)))
    w = _widened(b, c, w)
    starts = np.arange(out_channels, dtype=np.int64) * (channels * c.taps)
    firsts = [[sum(map(len, axis[:i])) for i in range(len(axis))] for axis in phases]
    # bf16 is multiplied in pairs of k, and f32 on tile registers is taken apart: both want rows that are contiguous.
    pixels = math.prod(lattice)
    ordered = w.dtype == "bf16" or (
        pixels * c.images >= ORDERED_FROM
        and precision.of_products(w.dtype, channels, pixels * planes.images) == precision.TILES
    )
    first_tap = 0
    if ordered and c.taps > 1:
        w = _ordered(b, c, w, phases)
    for i, j, k in itertools.product(*(range(len(axis)) for axis in phases)):
        chosen = [axis[a] for axis, a in zip(phases, (i, j, k), strict=True)]
        if not all(chosen):
            continue
        at = [first[a] for first, a in zip(firsts, (i, j, k), strict=True)]
        indices = list(itertools.product(*(range(len(taps)) for taps in chosen)))
        taps = [(at[0] + p, at[1] + q, at[2] + r) for p, q, r in indices]
        places = np.array(
            [(chosen[0][p][0] * c.kernel[1] + chosen[1][q][0]) * c.kernel[2] + chosen[2][r][0] for p, q, r in indices],
            np.int64,
        )  # fmt: skip
        table = (starts[:, None] + places[None, :]).reshape(-1).astype(np.int32)
        plane_offsets = planes.offsets(out_channels, taps)
        offset = sum(a * step for a, step in zip((i, j, k), dx.strides[2:], strict=True))
        extents = [-(-(e - a) // s) for (_, s, _, _, e), a in zip(each, (i, j, k), strict=True)]
        target, out = dx.view(dx.shape, steps, offset), (extents[0], extents[1], extents[2])
        if ordered:
            plane_offsets = plane_offsets.reshape(out_channels, len(taps)).T.reshape(-1)
            rows = w.view(w.shape, w.strides, first_tap * out_channels * channels)
            first_tap += len(taps)
            _product(
                b, planes, rows, target, out, channels, c.groups, plane_offsets, None, channels,
                out_channels * channels * c.taps, along_m=True,
            )  # fmt: skip
            continue
        _product(
            b, planes, w, target, out, channels, c.groups,
            plane_offsets, table, c.taps, out_channels * channels * c.taps,
        )  # fmt: skip


def _weight_gradient(b: PlanBuilder, c: Conv, x: Tensor, dy: Tensor, dw: Tensor, moved: Moved) -> None:
    how = c.algorithm("weight")
    if how == "product":
        plan_product(b, _matrix(dy).permute(1, 0), _matrix(x), _matrix(dw))
        return
    if how == "depthwise":
        b.launch(
            "conv.depthwise_weight_gradient", c.out_channels,
            x, dy, dw, c.out_channels // c.channels, c.images, *x.shape[3:], *dy.shape[3:], *(-p for p in c.pad[1:]),
            *x.strides[:2], *x.strides[3:], *dy.strides[:2], *dy.strides[3:],
            cost=8 * c.flops, KH=c.kernel[1], KW=c.kernel[2], STEP_H=c.stride[1], STEP_W=c.stride[2],
            DILATION_H=c.dilation[1], DILATION_W=c.dilation[2], UNIT=x.strides[4] == dy.strides[4] == 1,
            ACC=dtype_constexpr(_accumulator(dw.dtype)), ROWS=4, LANES=16,
        )  # fmt: skip
        return
    channels = c.channels // c.groups
    if how == "images":
        x, dy = _images_last(b, x, moved), _images_last(b, dy, moved)
        reads = c.reads(False)
        _check_offsets(x.strides[0] * x.shape[0])
        table = np.arange(channels)[None, :, None] * x.strides[0] + reads[:, None, :] * x.strides[3]
        table = np.where(reads[:, None, :] >= 0, table, -1).astype(np.int32)
        _summed_products(
            b, c, x, dy, dw, table, c.images, len(reads), (0, channels * x.strides[0], dy.strides[3], dy.strides[0]), True
        )  # fmt: skip
        return
    dtype = c.factor(dw.dtype)
    planes = make_planes(b, x, _forward_axes(c), c.out_extents, dtype)
    table = planes.offsets(channels, _all_taps(c))
    planes, out = _lines(planes, dy.strides, c.out_extents)
    pitch = planes.pitch
    # The last lanes of the last line have no pixel and their planes may end before them.
    p_size = (((out[0] - 1) * planes.rows + out[1]) * planes.images - 1) * pitch + out[2]
    dy_outer, dy_channel = dy.strides[:2]
    in_lines = planes.images == 1 and out[2] == pitch and dy.strides[3:] == (pitch, 1)
    in_place = (planes.direct and out == (1, 1, pitch)) or (in_lines and out[0] == 1)
    if not in_place or dy.dtype != dtype:
        dy = _lay_out(b, planes, dy, out, dtype)
        dy_outer, dy_channel = c.out_channels * dy.shape[-1], dy.shape[-1]
    strides = (planes.outer_size, planes.outer_size // c.groups, dy_outer, dy_channel)
    _summed_products(b, c, planes.tensor, dy, dw, table, p_size, planes.outer, strides)


def _weight_tile(
    terms: int, m_size: int, n_size: int, dtype: str, how: str, groups: int
) -> tuple[int, int, int]:
    """BM, BN, BK of `weight_gradient`, whose sums have so many terms."""
    if how == precision.TILES:
        return precision.tiles(m_size, n_size, terms, groups)
    if dtype == "f32" and terms <= 128 and n_size >= 512 and m_size * n_size >= _PAST_CACHE:
        return 32, 256, 32  # hardly more than writing the result, in lines that are long enough for memory
    return 64, 64, (512 if dtype == "bf16" else 128)


def _summed_products(
    b: PlanBuilder,
    c: Conv,
    planes: Tensor,
    dy: Tensor,
    dw: Tensor,
    table: np.ndarray,
    p_size: int,
    outer: int,
    strides: tuple[int, int, int, int],
    lists: bool = False,
) -> None:
    """Plans dw as products over `p_size` lanes of each of `outer` parts, in ranges that are summed at the end. `strides`:
    of the planes from part to part and group to group, of dy from part to part and channel to channel."""
    acc, m_size, n_size = (
        _accumulator(dw.dtype),
        c.out_channels // c.groups,
        c.channels // c.groups * c.taps,
    )
    how = precision.of_products(planes.dtype, m_size, n_size)
    bm, bn, bk = _weight_tile(p_size * outer, m_size, n_size, planes.dtype, how, c.groups)
    tiles = -(-m_size // bm) * -(-n_size // bn) * c.groups
    p_chunk, p_splits, outer_chunk, outer_splits = _splits(tiles, p_size, outer, bk)
    splits = p_splits * outer_splits
    partial = dw if splits == 1 else b.scratch((splits, *dw.shape), acc)
    b.launch(
        "conv.weight_gradient",
        (-(-m_size // bm), -(-n_size // bn), c.groups * splits),
        planes, dy, partial, b.constant(table),
        m_size, n_size, p_size, p_chunk, p_splits, outer, outer_chunk, *strides, dw.numel,
        cost=c.flops, LISTS=lists, GROUPS=c.groups, ACC=dtype_constexpr(acc), PRECISION=how, BM=bm, BN=bn, BK=bk,
    )  # fmt: skip
    if splits > 1:
        b.launch(
            "conv.sum_partial_weights", -(-dw.numel // 1024),
            partial, dw, dw.numel, splits, cost=partial.nbytes, BLOCK=1024,
        )  # fmt: skip


def _lay_out(b: PlanBuilder, planes: Planes, y: Tensor, out: Triple, dtype: str) -> Tensor:
    """Copies y, with the extents `out`, to where the lanes of `planes` are; zeros on the padding lanes."""
    lines = ((out[0] - 1) * planes.rows + out[1]) * planes.images
    size = -(-lines * planes.pitch // 16) * 16
    laid = b.scratch((planes.outer, y.shape[1], size), dtype)
    tile, lanes = _copied_tile(-(-lines // planes.images), planes.pitch)
    b.launch(
        "conv.pad_planes",
        (-(-lines // (tile * planes.images)), planes.outer * y.shape[1], planes.images),
        y, laid, b.constant(np.zeros(3, np.int32)), 1, planes.images, y.shape[1], *out, 0, 0, 0, 0,
        out[0], planes.rows if out[0] > 1 else out[1], lines, planes.pitch, size, *y.strides,
        cost=2 * laid.nbytes, STEP_D=1, STEP_H=1, STEP_W=1, DEEP=out[0] > 1, LEFT=False, UNIT=y.strides[4] == 1,
        ROWS=tile, LANES=lanes,
    )  # fmt: skip
    return laid


def _splits(tiles: int, pixels: int, outer: int, bk: int) -> tuple[int, int, int, int]:
    """Pixels and splits within a plane, planes and splits over the outer planes: enough programs for the
    workers, and pixel ranges short enough that their rows stay in the second-level cache."""
    wanted = max(-(-32 // tiles), -(-pixels * outer // 4096)) if tiles < 256 else 1
    wanted = max(1, min(wanted, pixels * outer // (4 * bk) or 1))
    if outer > 1:
        chunk = -(-outer // min(wanted, outer))
        return pixels, 1, chunk, -(-outer // chunk)
    chunk = -(-pixels // wanted // bk) * bk or pixels
    chunk = max(bk, -(-pixels // (wanted * bk)) * bk)
    return chunk, -(-pixels // chunk), 1, 1


def _numbers(value: int | Sequence[int], rank: int, what: str) -> Numbers:
    numbers = (value,) if isinstance(value, int) else tuple(int(v) for v in value)
    if len(numbers) == 1:
        numbers *= rank
    if len(numbers) != rank:
        raise Unsupported(
            f"a convolution of {rank} dimensions wants 1 or {rank} numbers for {what}, found {value}."
        )
    return numbers


def resolve_padding(
    padding: int | str | Sequence[int], size: Numbers, kernel: Numbers, stride: Numbers, dilation: Numbers
) -> tuple[Numbers, Numbers]:
    """(before, after) of each dimension in one tuple, and the dilation, for a padding given as a number, one or two for
    each dimension, "SAME" or "VALID". With "SAME" the dilation is 1, as Paddle defines it."""
    rank = len(size)
    if isinstance(padding, str):
        if padding.upper() == "VALID":
            return (0,) * (2 * rank), dilation
        if padding.upper() != "SAME":
            raise Unsupported(f'a convolution knows the paddings "SAME" and "VALID", found {padding!r}.')
        total = [max((-(-n // s) - 1) * s + k - n, 0) for n, k, s in zip(size, kernel, stride, strict=True)]
        return tuple(n for t in total for n in (t // 2, t - t // 2)), (1,) * rank
    numbers = (padding,) if isinstance(padding, int) else tuple(int(p) for p in padding)
    if len(numbers) == 1:
        numbers *= rank
    if len(numbers) == rank:
        numbers = tuple(n for n in numbers for _ in (0, 1))
    if len(numbers) != 2 * rank:
        raise Unsupported(
            f"a convolution wants a padding of 1, {rank} or {2 * rank} numbers, found {padding}."
        )
    return numbers, dilation


def _layout(data_format: str) -> str:
    if data_format in ("NHWC", "NDHWC"):
        return "NHWC"
    if data_format in ("NCHW", "NCDHW", "AnyLayout", "Undefined(AnyLayout)"):
        return "NCHW"
    raise Unsupported(f"a convolution has the data formats NCHW, NCDHW, NHWC and NDHWC, found {data_format}.")


def _conv(
    what: str,
    x: Tensor,
    w: Tensor,
    y: Tensor,
    stride: int | Sequence[int],
    padding: int | str | Sequence[int],
    dilation: int | Sequence[int],
    groups: int,
    layout: str,
) -> tuple[Conv, Tensor, Tensor]:
    """Checks and collects; x is the convolution's input side and y its output side, which come back channels first."""
    for name, t in (("input", x), ("filter", w), ("output", y)):
        if t.ndim != x.ndim or t.ndim not in (4, 5):
            raise Unsupported(f"{what} wants tensors of 4 or 5 dimensions, the {name} has shape {t.shape}.")
        if t.dtype not in _DTYPES or t.dtype != w.dtype:
            raise Unsupported(
                f"{what} wants one dtype of {', '.join(_DTYPES)} for all, the {name} is {t.dtype}, the filter {w.dtype}."
            )
    if not w.contiguous:
        raise Unsupported(f"{what} wants a contiguous filter, found strides {w.strides} of {w.shape}.")
    rank = x.ndim - 2
    x, y = _channels_first(x, layout), _channels_first(y, layout)
    (images, channels, *extents), (_, out_channels, *out_extents) = x.shape, y.shape
    kernel, strides = w.shape[2:], _numbers(stride, rank, "stride")
    dilations = _numbers(dilation, rank, "dilation")
    pads, dilations = resolve_padding(padding, tuple(extents[-rank:]), kernel, strides, dilations)
    if groups < 1 or channels % groups or out_channels % groups or w.shape[1] != channels // groups:
        raise Unsupported(
            f"{what} of {channels} to {out_channels} channels in {groups} groups does not fit a filter {w.shape}."
        )

    def three(numbers: Sequence[int], filling: int) -> Triple:
        values = [filling] * (3 - len(numbers)) + list(numbers)
        return values[0], values[1], values[2]

    c = Conv(
        images, channels, three(extents, 1), out_channels, three(out_extents, 1),
        three(kernel, 1), three(strides, 1), three(dilations, 1), three(pads[::2], 0), groups,
    )  # fmt: skip
    return c, x, y


def output_size(size: int, kernel: int, stride: int, dilation: int, before: int, after: int) -> int:
    """Pixels that a convolution makes of `size` along one axis."""
    return (size + before + after - dilation * (kernel - 1) - 1) // stride + 1


def plan_conv(
    b: PlanBuilder,
    x: Tensor,
    w: Tensor,
    out: Tensor,
    stride: int | Sequence[int] = 1,
    padding: int | str | Sequence[int] = 0,
    dilation: int | Sequence[int] = 1,
    groups: int = 1,
    data_format: str = "NCHW",
    ending: Ending = NOTHING,
) -> None:
    """out = x convolved with w, with an `ending`. x [N, C, H, W] or [N, C, D, H, W] (or channels last), w [K, C / groups, (KD,) KH, KW],
    out [N, K, (OD,) OH, OW]."""
    layout = _layout(data_format)
    c, source, target = _conv("a convolution", x, w, out, stride, padding, dilation, groups, layout)
    if out.numel == 0:
        return
    if ending.bias is not None:
        if ending.bias.numel != c.out_channels or not ending.bias.contiguous:
            raise Unsupported(
                f"a convolution to {c.out_channels} channels wants as many contiguous biases, found shape {ending.bias.shape}."
            )
        ending = replace(ending, bias=ending.bias.view((c.out_channels,)))
    if ending.residual is not None:
        if ending.residual.shape != out.shape:
            raise Unsupported(
                f"a convolution's residual has the shape of its result, {out.shape}; found {ending.residual.shape}."
            )
        ending = replace(ending, residual=_channels_first(ending.residual, layout))
    if c.channels == 0 or c.taps == 0:
        if not ending.plain:
            raise Unsupported("a convolution of no channels has no bias, residual or activation.")
        b.zero(out)
        return
    _forward(b, c, source, w, target, {}, ending)


def plan_conv_grad(
    b: PlanBuilder,
    x: Tensor,
    w: Tensor,
    dy: Tensor,
    dx: Tensor | None,
    dw: Tensor | None,
    stride: int | Sequence[int] = 1,
    padding: int | str | Sequence[int] = 0,
    dilation: int | Sequence[int] = 1,
    groups: int = 1,
    data_format: str = "NCHW",
) -> None:
    """Gradients of `plan_conv` with respect to the input and the filter; either may be left out."""
    layout = _layout(data_format)
    c, source, above = _conv(
        "the gradient of a convolution", x, w, dy, stride, padding, dilation, groups, layout
    )
    if dy.numel == 0:
        for gradient in (dx, dw):
            if gradient is not None:
                b.zero(gradient)
        return
    moved: Moved = {}
    if dx is not None and dx.numel:
        _input_gradient(b, c, w, above, _channels_first(dx, layout), dx, moved)
    if dw is not None and dw.numel:
        _weight_gradient(b, c, source, above, dw, moved)


def plan_conv_double_grad(
    b: PlanBuilder,
    x: Tensor,
    w: Tensor,
    dy: Tensor,
    ddx: Tensor | None,
    ddw: Tensor | None,
    dx: Tensor | None,
    dw: Tensor | None,
    ddy: Tensor | None,
    *attributes: Any,
) -> None:
    """Gradients of `plan_conv_grad`, whose results' gradients are ddx and ddw: a convolution is linear in x and in w."""
    for gradient, change in ((dx, ddw), (dw, ddx)):
        if gradient is not None and change is None:
            b.zero(gradient)
    if dx is not None and ddw is not None:
        plan_conv_grad(b, dx, ddw, dy, dx, None, *attributes)
    if dw is not None and ddx is not None:
        plan_conv_grad(b, ddx, w, dy, None, dw, *attributes)
    if ddy is None:
        return
    pairs = [(p, q) for p, q in ((ddx, w), (x, ddw)) if p is not None and q is not None]
    if not pairs:
        b.zero(ddy)
        return
    plan_conv(b, *pairs[0], ddy, *attributes)
    if len(pairs) == 2:
        other = b.scratch(ddy.shape, ddy.dtype)
        plan_conv(b, *pairs[1], other, *attributes)
        plan_map(b, "elementwise.add", [ddy, other], ddy)


def plan_conv_transpose(
    b: PlanBuilder,
    x: Tensor,
    w: Tensor,
    out: Tensor,
    stride: int | Sequence[int] = 1,
    padding: int | str | Sequence[int] = 0,
    dilation: int | Sequence[int] = 1,
    groups: int = 1,
    data_format: str = "NCHW",
) -> None:
    """The transposed convolution: out is what the data gradient of a convolution from `out` to `x` would be.
    x [N, C, (D,) H, W], w [C, K / groups, (KD,) KH, KW], out [N, K, (OD,) OH, OW]; the output padding is in out's size."""
    layout = _layout(data_format)
    c, target, source = _conv(
        "a transposed convolution", out, w, x, stride, padding, dilation, groups, layout
    )
    if out.numel == 0:
        return
    if x.numel == 0:
        b.zero(out)
        return
    _input_gradient(b, c, w, source, target, out, {})


def plan_conv_transpose_grad(
    b: PlanBuilder,
    x: Tensor,
    w: Tensor,
    dy: Tensor,
    dx: Tensor | None,
    dw: Tensor | None,
    stride: int | Sequence[int] = 1,
    padding: int | str | Sequence[int] = 0,
    dilation: int | Sequence[int] = 1,
    groups: int = 1,
    data_format: str = "NCHW",
) -> None:
    """Gradients of `plan_conv_transpose`; either may be left out."""
    layout = _layout(data_format)
    c, above, source = _conv(
        "the gradient of a transposed convolution", dy, w, x, stride, padding, dilation, groups, layout
    )
    if dy.numel == 0 or x.numel == 0:
        for gradient in (dx, dw):
            if gradient is not None:
                b.zero(gradient)
        return
    moved: Moved = {}
    if dx is not None and dx.numel:
        _forward(b, c, above, w, _channels_first(dx, layout), moved)
    if dw is not None and dw.numel:
        _weight_gradient(b, c, above, source, dw, moved)


def transpose_padding(
    x: Tensor,
    w: Tensor,
    stride: int | Sequence[int],
    padding: int | str | Sequence[int],
    dilation: int | Sequence[int],
    data_format: str = "NCHW",
) -> tuple[Numbers, Numbers]:
    """`resolve_padding` for a transposed convolution, whose "SAME" counts from x, as Paddle defines it."""
    rank = x.ndim - 2
    size = _channels_first(x, _layout(data_format)).shape[-rank:]
    return resolve_padding(
        padding, size, w.shape[2:], _numbers(stride, rank, "stride"), _numbers(dilation, rank, "dilation")
    )


def _frozen(value: int | str | Sequence[int]) -> int | str | tuple[int, ...]:
    """An attribute as part of a plan's signature."""
    return value if isinstance(value, int | str) else tuple(value)


def conv2d(
    x: Array,
    w: Array,
    stride: int | Sequence[int] = 1,
    padding: int | str | Sequence[int] = 0,
    dilation: int | Sequence[int] = 1,
    groups: int = 1,
    data_format: str = "NCHW",
) -> Array:
    """x [N, C, H, W] convolved with w [K, C / groups, KH, KW]; result [N, K, OH, OW] (channels last in and out with
    data_format "NHWC"). padding: a number, (rows, columns), (top, bottom, left, right), "SAME" or "VALID".
    dtypes f32, f16, bf16 (f32 sums) and f64. Raises Unsupported when shapes or dtypes do not fit."""
    layout = _layout(data_format)
    images, _, height, width = (x.shape[0], *_spatial(x.shape, layout))
    kernel, strides = (w.shape[2], w.shape[3]), _numbers(stride, 2, "stride")
    pads, dilations = resolve_padding(
        padding, (height, width), kernel, strides, _numbers(dilation, 2, "dilation")
    )
    out_height = output_size(height, kernel[0], strides[0], dilations[0], pads[0], pads[1])
    out_width = output_size(width, kernel[1], strides[1], dilations[1], pads[2], pads[3])
    if out_height < 1 or out_width < 1:
        raise Unsupported(
            f"conv2d of {height} x {width} pixels with a {kernel[0]} x {kernel[1]} filter has no output; pad the input."
        )
    shape = _shape(layout, images, w.shape[0], out_height, out_width)
    attributes = (strides, pads, dilations, groups, layout)
    return run(plan_conv, [x, w], [(shape, x.dtype)], *attributes)  # type: ignore[no-any-return]


def conv2d_grad(
    x: Array,
    w: Array,
    dy: Array,
    stride: int | Sequence[int] = 1,
    padding: int | str | Sequence[int] = 0,
    dilation: int | Sequence[int] = 1,
    groups: int = 1,
    data_format: str = "NCHW",
) -> tuple[Array, Array]:
    """(dx, dw) of `conv2d` for the gradient dy of its result."""
    attributes = (_frozen(stride), _frozen(padding), _frozen(dilation), groups, data_format)
    outputs = [(x.shape, x.dtype), (w.shape, w.dtype)]
    return run(plan_conv_grad, [x, w, dy], outputs, *attributes)  # type: ignore[no-any-return]


def conv2d_transpose(
    x: Array,
    w: Array,
    stride: int | Sequence[int] = 1,
    padding: int | str | Sequence[int] = 0,
    output_padding: int | Sequence[int] = 0,
    dilation: int | Sequence[int] = 1,
    groups: int = 1,
    data_format: str = "NCHW",
) -> Array:
    """The transposed convolution of x [N, C, H, W] with w [C, K / groups, KH, KW]; result [N, K, OH, OW] with
    OH = (H - 1) * stride - top - bottom + dilation * (KH - 1) + 1 + output_padding."""
    layout = _layout(data_format)
    _, height, width = _spatial(x.shape, layout)
    kernel, strides = (w.shape[2], w.shape[3]), _numbers(stride, 2, "stride")
    pads, dilations = resolve_padding(
        padding, (height, width), kernel, strides, _numbers(dilation, 2, "dilation")
    )
    extra = _numbers(output_padding, 2, "output_padding")
    out_height = (height - 1) * strides[0] - pads[0] - pads[1] + dilations[0] * (kernel[0] - 1) + 1 + extra[0]
    out_width = (width - 1) * strides[1] - pads[2] - pads[3] + dilations[1] * (kernel[1] - 1) + 1 + extra[1]
    shape = _shape(layout, x.shape[0], w.shape[1] * groups, out_height, out_width)
    attributes = (strides, pads, dilations, groups, layout)
    return run(plan_conv_transpose, [x, w], [(shape, x.dtype)], *attributes)  # type: ignore[no-any-return]


def conv2d_transpose_grad(
    x: Array,
    w: Array,
    dy: Array,
    stride: int | Sequence[int] = 1,
    padding: int | Sequence[int] = 0,
    dilation: int | Sequence[int] = 1,
    groups: int = 1,
    data_format: str = "NCHW",
) -> tuple[Array, Array]:
    """(dx, dw) of `conv2d_transpose` for the gradient dy of its result."""
    attributes = (_frozen(stride), _frozen(padding), _frozen(dilation), groups, data_format)
    outputs = [(x.shape, x.dtype), (w.shape, w.dtype)]
    return run(plan_conv_transpose_grad, [x, w, dy], outputs, *attributes)  # type: ignore[no-any-return]


def _spatial(shape: Sequence[int], layout: str) -> tuple[int, int, int]:
    """Channels, rows, columns of a shape."""
    return (shape[1], shape[2], shape[3]) if layout == "NCHW" else (shape[3], shape[1], shape[2])


def _shape(layout: str, images: int, channels: int, height: int, width: int) -> tuple[int, ...]:
    return (images, channels, height, width) if layout == "NCHW" else (images, height, width, channels)
