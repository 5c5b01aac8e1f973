# Convolution: geometry of the padded planes, plans of conv2d, its gradients and the transposed convolution.
"""How a convolution becomes matrix products is explained in `kernels/conv.py`. Here the geometry is worked out:
which phases the taps need, how wide a line must be so that one run of zeros pads two neighbours at once, where
each (channel, tap) starts; then tiles are chosen and the launches are written down."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from openxpu.ops.plan import ITEMSIZE, PlanBuilder, Tensor, Unsupported, dtype_constexpr
from openxpu.ops.run import run

if TYPE_CHECKING:
    from openxpu.runtime import Array

Pair = tuple[int, int]
Tap = tuple[int, int]
_DTYPES = ("f32", "bf16", "f16", "f64")
_INT32 = 2**31


@dataclass(frozen=True)
class Conv:
    """A convolution from `height` x `width` pixels of `channels` to `out_height` x `out_width` of `out_channels`."""

    images: int
    channels: int
    height: int
    width: int
    out_channels: int
    out_height: int
    out_width: int
    kernel: Pair
    stride: Pair
    dilation: Pair
    pad: Pair  # top, left: bottom and right follow from the output's size
    groups: int

    @property
    def taps(self) -> int:
        return self.kernel[0] * self.kernel[1]

    @property
    def depthwise(self) -> bool:
        """One input channel for each group (with any number of output channels)."""
        return self.channels == self.groups

    @property
    def flops(self) -> int:
        pixels = self.images * self.out_height * self.out_width
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
    pitch: int  # of one line; a line is one row of one image
    channel_size: int  # all phases
    outer_size: int
    row_axis: Axis
    column_axis: Axis
    phase_size: int
    direct: bool

    def tap_offsets(self, taps: Sequence[Tap]) -> np.ndarray:
        """Where each of the taps (indices on both axes) starts, from the channel's first element."""
        rows, columns = self.row_axis, self.column_axis
        if self.direct:
            return np.zeros(len(taps), np.int64)
        phases = len(columns.phases)
        return np.array(
            [
                (rows.phases.index(rows.tap_phases[i]) * phases + columns.phases.index(columns.tap_phases[j]))
                * self.phase_size
                + (rows.shifts[i] - rows.first) * self.images * self.pitch
                + (columns.shifts[j] - columns.first)
                for i, j in taps
            ],
            np.int64,
        )

    def offsets(self, channels: int, taps: Sequence[Tap]) -> np.ndarray:
        """The offset table over (channel, tap)."""
        starts = np.arange(channels, dtype=np.int64) * self.channel_size
        table = (starts[:, None] + self.tap_offsets(taps)[None, :]).reshape(-1)
        if table.size and int(table.max()) + self.phase_size >= _INT32:
            raise Unsupported(
                "a convolution over planes of 2^31 elements or more was asked; split the batch or the channels."
            )
        return np.asarray(table, np.int32)


def _power_of_two(value: int, low: int, high: int) -> int:
    return max(low, min(high, 1 << max(0, value - 1).bit_length()))


def _strides(x: Tensor, layout: str) -> tuple[int, int, int, int]:
    """Element strides of image, channel, row, column."""
    s = x.strides
    return (s[0], s[1], s[2], s[3]) if layout == "NCHW" else (s[0], s[3], s[1], s[2])


def _extents(x: Tensor, layout: str) -> tuple[int, int, int, int]:
    """Images, channels, rows, columns."""
    s = x.shape
    return (s[0], s[1], s[2], s[3]) if layout == "NCHW" else (s[0], s[3], s[1], s[2])


def _accumulator(dtype: str) -> str:
    return "f64" if dtype == "f64" else "f32"


def _widened(b: PlanBuilder, w: Tensor) -> Tensor:
    """The filter in the dtype that is multiplied: f32 for the 16-bit ones, as the planes."""
    dtype = _accumulator(w.dtype)
    if w.dtype == dtype:
        return w
    out = b.scratch(w.shape, dtype)
    b.launch("conv.widen", -(-w.numel // 1024), w, out, w.numel, cost=2 * out.nbytes, BLOCK=1024)
    return out


def make_planes(
    b: PlanBuilder, x: Tensor, layout: str, rows: Axis, columns: Axis, out_height: int, out_width: int
) -> Planes:
    """Plans the copy of x into padded planes for `out_height` x `out_width` outputs; none when x serves as it is."""
    images, channels, height, width = _extents(x, layout)
    strides = _strides(x, layout)
    dtype = _accumulator(x.dtype)
    plain = rows == columns == Axis.of(1, [0]) and (out_height, out_width) == (height, width)
    if plain and layout == "NCHW" and x.contiguous and x.dtype == dtype:
        pixels = height * width
        # A short last vector is cheaper than a copy unless the image is tiny.
        if images == 1 or pixels / (-(-pixels // 16) * 16) > 0.85:
            return Planes(
                x, 1, images, pixels, pixels, channels * pixels, rows, columns, channels * pixels, True
            )
    pitch = columns.line_pitch(out_width, width)
    row_count = out_height + rows.last - rows.first
    phase_size = -(-(row_count * images + 1) * pitch // 16) * 16
    phases = [(i, j) for i in rows.phases for j in columns.phases]
    if phase_size * ITEMSIZE[dtype] % 4096 < 128:  # planes a page apart would share cache sets
        phase_size += 128 // ITEMSIZE[dtype]
    planes = b.scratch((channels, len(phases), phase_size), dtype)
    table = b.constant(np.array(phases, np.int32))
    lanes = 16 if pitch <= 16 else 64
    lines = 16
    b.launch(
        "conv.pad_planes",
        (-(-(row_count * images + 1) // lines), channels * len(phases)),
        x, planes, table, len(phases), images, channels, height, width, rows.first, columns.first, row_count, pitch, phase_size,
        *strides,
        cost=2 * planes.nbytes,
        STEP_H=rows.step, STEP_W=columns.step, UNIT=strides[3] == 1, ROWS=lines, LANES=lanes,
    )  # fmt: skip
    size = len(phases) * phase_size
    return Planes(planes, images, 1, pitch, size, channels * size, rows, columns, phase_size, False)


def _product(
    b: PlanBuilder,
    planes: Planes,
    weights: Tensor,
    y: Tensor,
    y_strides: tuple[int, int, int, int],
    out: Pair,
    m_size: int,
    groups: int,
    plane_offsets: np.ndarray,
    weight_offsets: np.ndarray | None,
    weights_row: int,
    weights_group: int,
) -> None:
    """Plans Y = A X on the planes; `y` starts at the first output pixel, `out` are its extents."""
    out_height, out_width = out
    y_image, y_channel, y_row, y_column = y_strides
    if planes.direct:
        if y_column == 1 and y_row == out_width:
            out_height, out_width = 1, planes.pitch
        else:  # one long line in, but rows with gaps out
            planes = Planes(
                planes.tensor, 1, planes.outer, out_width, planes.channel_size, planes.outer_size,
                planes.row_axis, planes.column_axis, planes.phase_size, True,
            )  # fmt: skip
    pitch, images = planes.pitch, planes.images
    p_size = (out_height - 1) * images * pitch + (images - 1) * pitch + out_width
    k_size = plane_offsets.size
    bm, bn, bk = _tile(m_size, p_size, k_size)
    m_tiles, p_tiles = -(-m_size // bm), -(-p_size // bn)
    # The operand that is walked through more slowly is the one whose tile stays in the second-level cache.
    m_step, p_step = (1, m_tiles) if m_size < p_size else (p_tiles, 1)
    b.launch(
        "conv.convolve_planes",
        (m_tiles * p_tiles, groups * planes.outer),
        planes.tensor, weights, y, b.constant(plane_offsets),
        None if weight_offsets is None else b.constant(weight_offsets),
        m_size, k_size, p_size, m_tiles, p_tiles, m_step, p_step, pitch, out_width, images,
        planes.outer_size, planes.outer_size // groups, weights_row, weights_group,
        m_size * y_channel, y_image, y_channel, y_row, y_column,
        cost=2 * m_size * k_size * p_size * groups * planes.outer,
        TABLE=weight_offsets is not None, GROUPS=groups, UNIT=y_column == 1,
        ACC=dtype_constexpr(_accumulator(weights.dtype)), BM=bm, BN=bn, BK=bk,
    )  # fmt: skip


def _tile(m_size: int, p_size: int, k_size: int) -> tuple[int, int, int]:
    """BM, BN, BK of `convolve_planes`."""
    return (16 if m_size <= 16 else 64), 64, (32 if k_size <= 32 else 128)


def _forward_axes(c: Conv) -> tuple[Axis, Axis]:
    return (
        Axis.of(c.stride[0], [k * c.dilation[0] - c.pad[0] for k in range(c.kernel[0])]),
        Axis.of(c.stride[1], [k * c.dilation[1] - c.pad[1] for k in range(c.kernel[1])]),
    )


def _all_taps(c: Conv) -> list[Tap]:
    return [(i, j) for i in range(c.kernel[0]) for j in range(c.kernel[1])]


def _forward(b: PlanBuilder, c: Conv, x: Tensor, w: Tensor, y: Tensor, layout: str) -> None:
    if c.depthwise:
        _depthwise_forward(b, c, x, w, y, layout)
        return
    channels = c.channels // c.groups
    m_size = c.out_channels // c.groups
    planes = make_planes(b, x, layout, *_forward_axes(c), c.out_height, c.out_width)
    _product(
        b, planes, _widened(b, w), y, _strides(y, layout), (c.out_height, c.out_width), m_size, c.groups,
        planes.offsets(channels, _all_taps(c)), None, channels * c.taps, m_size * channels * c.taps,
    )  # fmt: skip


def _phase_taps(kernel: int, stride: int, dilation: int, pad: int, phase: int) -> list[tuple[int, int]]:
    """Taps k that reach input pixels i = phase + stride * j, each with its output coordinate at j = 0."""
    return [
        (k, (phase + pad - k * dilation) // stride)
        for k in range(kernel)
        if (phase + pad - k * dilation) % stride == 0
    ]


def _input_gradient(b: PlanBuilder, c: Conv, w: Tensor, dy: Tensor, dx: Tensor, layout: str) -> None:
    if c.depthwise:
        _depthwise_input_gradient(b, c, w, dy, dx, layout)
        return
    (sh, sw), (kh, kw) = c.stride, c.kernel
    rows = [_phase_taps(kh, sh, c.dilation[0], c.pad[0], a) for a in range(min(sh, c.height))]
    columns = [_phase_taps(kw, sw, c.dilation[1], c.pad[1], a) for a in range(min(sw, c.width))]
    if not all(rows) or not all(columns) or c.height < sh or c.width < sw:
        b.zero(dx)  # some pixels are read by no tap
    row_origins = [origin for phase in rows for _, origin in phase]
    column_origins = [origin for phase in columns for _, origin in phase]
    if not row_origins or not column_origins:
        return
    channels, out_channels = c.channels // c.groups, c.out_channels // c.groups
    row_axis, column_axis = Axis.of(1, row_origins), Axis.of(1, column_origins)
    planes = make_planes(b, dy, layout, row_axis, column_axis, -(-c.height // sh), -(-c.width // sw))
    dx_image, dx_channel, dx_row, dx_column = _strides(dx, layout)
    w = _widened(b, w)
    row_index = 0
    for i, row_taps in enumerate(rows):
        column_index = 0
        for j, column_taps in enumerate(columns):
            pairs = [(p, q) for p in range(len(row_taps)) for q in range(len(column_taps))]
            if pairs:
                taps = [(row_index + p, column_index + q) for p, q in pairs]
                places = np.array([row_taps[p][0] * kw + column_taps[q][0] for p, q in pairs], np.int64)
                starts = np.arange(out_channels, dtype=np.int64) * (channels * c.taps)
                table = (starts[:, None] + places[None, :]).reshape(-1).astype(np.int32)
                _product(
                    b, planes, w, dx.view((1,), (1,), i * dx_row + j * dx_column),
                    (dx_image, dx_channel, dx_row * sh, dx_column * sw),
                    (-(-(c.height - i) // sh), -(-(c.width - j) // sw)), channels, c.groups,
                    planes.offsets(out_channels, taps), table, c.taps, out_channels * channels * c.taps,
                )  # fmt: skip
            column_index += len(column_taps)
        row_index += len(row_taps)


def _weight_gradient(b: PlanBuilder, c: Conv, x: Tensor, dy: Tensor, dw: Tensor, layout: str) -> None:
    if c.depthwise:
        _depthwise_weight_gradient(b, c, x, dy, dw, layout)
        return
    planes = make_planes(b, x, layout, *_forward_axes(c), c.out_height, c.out_width)
    channels, n_size = c.channels // c.groups, c.out_channels // c.groups
    out_height, out_width, pitch, images = c.out_height, c.out_width, planes.pitch, planes.images
    strides = _strides(dy, layout)
    if planes.direct and strides[3] == 1 and strides[2] == out_width:
        out_height, out_width = 1, pitch
    elif planes.direct:
        pitch = out_width
    lines = out_height * images
    p_size = lines * pitch
    acc = _accumulator(dw.dtype)
    rows = b.scratch((planes.outer, p_size, c.out_channels), acc)
    lanes = 16 if pitch <= 16 else 64
    b.launch(
        "conv.pixels_to_rows",
        (lines, -(-c.out_channels // 64), planes.outer),
        dy, rows, c.out_channels, images, out_width, pitch, p_size, *strides,
        cost=2 * rows.nbytes,
        UNIT=strides[3] == 1, CHANNELS=64, LANES=lanes,
    )  # fmt: skip
    m_size = channels * c.taps
    # The last lanes of the last line have no pixel and their planes may end before them.
    k_size = p_size - (pitch - out_width)
    bm, bn, bk = 64, 64, 128
    tiles = -(-m_size // bm) * -(-n_size // bn) * c.groups
    p_chunk, p_splits, outer_chunk, outer_splits = _splits(tiles, k_size, planes.outer, bk)
    splits = p_splits * outer_splits
    direct = splits == 1
    partial = dw if direct else b.scratch((splits, c.groups, m_size, n_size), acc)
    b.launch(
        "conv.weight_gradient",
        (-(-m_size // bm), -(-n_size // bn), c.groups * splits),
        planes.tensor, rows, partial, b.constant(planes.offsets(channels, _all_taps(c))),
        m_size, n_size, k_size, p_size, p_chunk, p_splits, planes.outer, outer_chunk,
        planes.outer_size, planes.outer_size // c.groups, c.out_channels, c.groups * m_size * n_size,
        cost=c.flops,
        GROUPS=c.groups, DIRECT=direct, ACC=dtype_constexpr(acc), BM=bm, BN=bn, BK=bk,
    )  # fmt: skip
    if not direct:
        sum_m, sum_n = 64, 64
        b.launch(
            "conv.sum_partial_weights",
            (-(-m_size // sum_m), -(-n_size // sum_n), c.groups),
            partial, dw, m_size, n_size, splits, c.groups * m_size * n_size,
            cost=partial.nbytes, BM=sum_m, BN=sum_n,
        )  # fmt: skip


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


def _depthwise_constants(c: Conv, layout: str, rows: int, columns: int, dtype: str) -> dict[str, object]:
    lanes = _power_of_two(columns, 16, 64)
    return {
        "MULTIPLIER": c.out_channels // c.channels,
        "KH": c.kernel[0], "KW": c.kernel[1],
        "STRIDE_H": c.stride[0], "STRIDE_W": c.stride[1],
        "DILATION_H": c.dilation[0], "DILATION_W": c.dilation[1],
        "UNIT": layout == "NCHW",
        "ACC": dtype_constexpr(_accumulator(dtype)),
        "ROWS": _power_of_two(rows, 1, max(1, 512 // lanes)),
        "LANES": lanes,
    }  # fmt: skip


def _depthwise_forward(b: PlanBuilder, c: Conv, x: Tensor, w: Tensor, y: Tensor, layout: str) -> None:
    constants = _depthwise_constants(c, layout, c.out_height, c.out_width, w.dtype)
    grid = (-(-c.out_width // constants["LANES"]), -(-c.out_height // constants["ROWS"]))  # type: ignore[operator]
    b.launch(
        "conv.depthwise_forward",
        (*grid, c.images * c.out_channels),
        x, w, y, c.out_channels, c.height, c.width, c.out_height, c.out_width, *c.pad,
        *_strides(x, layout), *_strides(y, layout),
        cost=c.flops, **constants,
    )  # fmt: skip


def _depthwise_input_gradient(
    b: PlanBuilder, c: Conv, w: Tensor, dy: Tensor, dx: Tensor, layout: str
) -> None:
    constants = _depthwise_constants(c, layout, c.height, c.width, w.dtype)
    grid = (-(-c.width // constants["LANES"]), -(-c.height // constants["ROWS"]))  # type: ignore[operator]
    b.launch(
        "conv.depthwise_input_gradient",
        (*grid, c.images * c.channels),
        w, dy, dx, c.channels, c.height, c.width, c.out_height, c.out_width, *c.pad,
        *_strides(dx, layout), *_strides(dy, layout),
        cost=c.flops, **constants,
    )  # fmt: skip


def _depthwise_weight_gradient(
    b: PlanBuilder, c: Conv, x: Tensor, dy: Tensor, dw: Tensor, layout: str
) -> None:
    b.launch(
        "conv.depthwise_weight_gradient",
        (c.taps, c.out_channels),
        x, dy, dw, c.images, c.height, c.width, c.out_height, c.out_width, *c.pad,
        *_strides(x, layout), *_strides(dy, layout),
        cost=c.flops, **_depthwise_constants(c, layout, c.out_height, c.out_width, dw.dtype),
    )  # fmt: skip


def _pair(value: int | Sequence[int], what: str) -> Pair:
    pair = (value, value) if isinstance(value, int) else tuple(int(v) for v in value)
    if len(pair) == 1:
        pair = (pair[0], pair[0])
    if len(pair) != 2:
        raise Unsupported(f"conv2d wants one or two numbers for {what}, found {value}.")
    return pair


def resolve_padding(
    padding: int | str | Sequence[int], size: Pair, kernel: Pair, stride: Pair, dilation: Pair
) -> tuple[tuple[int, int, int, int], Pair]:
    """(top, bottom, left, right) and the dilation for a padding given as a number, 2 or 4 numbers, "SAME" or
    "VALID". With "SAME" the dilation is 1, as Paddle defines it."""
    if isinstance(padding, str):
        if padding.upper() == "VALID":
            return (0, 0, 0, 0), dilation
        if padding.upper() != "SAME":
            raise Unsupported(f'conv2d knows the paddings "SAME" and "VALID", found {padding!r}.')
        total = [max((-(-n // s) - 1) * s + k - n, 0) for n, k, s in zip(size, kernel, stride, strict=True)]
        return (total[0] // 2, total[0] - total[0] // 2, total[1] // 2, total[1] - total[1] // 2), (1, 1)
    numbers = (padding,) if isinstance(padding, int) else tuple(int(p) for p in padding)
    if len(numbers) == 1:
        numbers *= 2
    if len(numbers) == 2:
        numbers = (numbers[0], numbers[0], numbers[1], numbers[1])
    if len(numbers) != 4:
        raise Unsupported(f"conv2d wants a padding of 1, 2 or 4 numbers, found {padding}.")
    return (numbers[0], numbers[1], numbers[2], numbers[3]), dilation


def _layout(data_format: str) -> str:
    if data_format == "NHWC":
        return "NHWC"
    if data_format in ("NCHW", "AnyLayout", "Undefined(AnyLayout)"):
        return "NCHW"
    raise Unsupported(f"conv2d has the data formats NCHW and NHWC, found {data_format}.")


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
) -> Conv:
    """Checks and collects; x is the convolution's input side and y its output side."""
    for name, t, rank in (("input", x, 4), ("filter", w, 4), ("output", y, 4)):
        if t.ndim != rank:
            raise Unsupported(f"{what} wants tensors of 4 dimensions, the {name} has shape {t.shape}.")
        if t.dtype not in _DTYPES or t.dtype != w.dtype:
            raise Unsupported(
                f"{what} wants one dtype of {', '.join(_DTYPES)} for all, the {name} is {t.dtype}, the filter {w.dtype}."
            )
    if not w.contiguous:
        raise Unsupported(f"{what} wants a contiguous filter, found strides {w.strides} of {w.shape}.")
    images, channels, height, width = _extents(x, layout)
    _, out_channels, out_height, out_width = _extents(y, layout)
    kernel, strides = (w.shape[2], w.shape[3]), _pair(stride, "stride")
    pads, dilations = resolve_padding(padding, (height, width), kernel, strides, _pair(dilation, "dilation"))
    if groups < 1 or channels % groups or out_channels % groups or w.shape[1] != channels // groups:
        raise Unsupported(
            f"{what} of {channels} to {out_channels} channels in {groups} groups does not fit a filter {w.shape}."
        )
    return Conv(
        images, channels, height, width, out_channels, out_height, out_width,
        kernel, strides, dilations, (pads[0], pads[2]), groups,
    )  # fmt: skip


def output_size(size: int, kernel: int, stride: int, dilation: int, before: int, after: int) -> int:
    """Pixels that a convolution makes of `size` along one axis."""
    return (size + before + after - dilation * (kernel - 1) - 1) // stride + 1


def plan_conv2d(
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
    """out = x convolved with w. x [N, C, H, W] (or NHWC), w [K, C / groups, KH, KW], out [N, K, OH, OW]."""
    layout = _layout(data_format)
    c = _conv("conv2d", x, w, out, stride, padding, dilation, groups, layout)
    if out.numel == 0:
        return
    if c.channels == 0 or c.taps == 0:
        b.zero(out)
        return
    _forward(b, c, x, w, out, layout)


def plan_conv2d_grad(
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
    """Gradients of `plan_conv2d` with respect to the input and the filter; either may be left out."""
    layout = _layout(data_format)
    c = _conv("conv2d_grad", x, w, dy, stride, padding, dilation, groups, layout)
    if dy.numel == 0:
        for gradient in (dx, dw):
            if gradient is not None:
                b.zero(gradient)
        return
    if dx is not None and dx.numel:
        _input_gradient(b, c, w, dy, dx, layout)
    if dw is not None and dw.numel:
        _weight_gradient(b, c, x, dy, dw, layout)


def plan_conv2d_transpose(
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
    x [N, C, H, W], w [C, K / groups, KH, KW], out [N, K, OH, OW]; the output padding is in out's size."""
    layout = _layout(data_format)
    c = _conv("conv2d_transpose", out, w, x, stride, padding, dilation, groups, layout)
    if out.numel == 0:
        return
    if x.numel == 0:
        b.zero(out)
        return
    _input_gradient(b, c, w, x, out, layout)


def plan_conv2d_transpose_grad(
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
    """Gradients of `plan_conv2d_transpose`; either may be left out."""
    layout = _layout(data_format)
    c = _conv("conv2d_transpose_grad", dy, w, x, stride, padding, dilation, groups, layout)
    if dy.numel == 0 or x.numel == 0:
        for gradient in (dx, dw):
            if gradient is not None:
                b.zero(gradient)
        return
    if dx is not None and dx.numel:
        _forward(b, c, dy, w, dx, layout)
    if dw is not None and dw.numel:
        _weight_gradient(b, c, dy, x, dw, layout)


def transpose_padding(
    x: Tensor,
    w: Tensor,
    stride: int | Sequence[int],
    padding: int | str | Sequence[int],
    dilation: int | Sequence[int],
    data_format: str = "NCHW",
) -> tuple[tuple[int, int, int, int], Pair]:
    """`resolve_padding` for a transposed convolution, whose "SAME" counts from x, as Paddle defines it."""
    _, _, height, width = _extents(x, _layout(data_format))
    kernel = (w.shape[2], w.shape[3])
    return resolve_padding(
        padding, (height, width), kernel, _pair(stride, "stride"), _pair(dilation, "dilation")
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
    kernel, strides = (w.shape[2], w.shape[3]), _pair(stride, "stride")
    pads, dilations = resolve_padding(padding, (height, width), kernel, strides, _pair(dilation, "dilation"))
    out_height = output_size(height, kernel[0], strides[0], dilations[0], pads[0], pads[1])
    out_width = output_size(width, kernel[1], strides[1], dilations[1], pads[2], pads[3])
    if out_height < 1 or out_width < 1:
        raise Unsupported(
            f"conv2d of {height} x {width} pixels with a {kernel[0]} x {kernel[1]} filter has no output; pad the input."
        )
    shape = _shape(layout, images, w.shape[0], out_height, out_width)
    attributes = (strides, pads, dilations, groups, layout)
    return run(plan_conv2d, [x, w], [(shape, x.dtype)], *attributes)  # type: ignore[no-any-return]


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
    return run(plan_conv2d_grad, [x, w, dy], outputs, *attributes)  # type: ignore[no-any-return]


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
    kernel, strides = (w.shape[2], w.shape[3]), _pair(stride, "stride")
    pads, dilations = resolve_padding(padding, (height, width), kernel, strides, _pair(dilation, "dilation"))
    extra = _pair(output_padding, "output_padding")
    out_height = (height - 1) * strides[0] - pads[0] - pads[1] + dilations[0] * (kernel[0] - 1) + 1 + extra[0]
    out_width = (width - 1) * strides[1] - pads[2] - pads[3] + dilations[1] * (kernel[1] - 1) + 1 + extra[1]
    shape = _shape(layout, x.shape[0], w.shape[1] * groups, out_height, out_width)
    attributes = (strides, pads, dilations, groups, layout)
    return run(plan_conv2d_transpose, [x, w], [(shape, x.dtype)], *attributes)  # type: ignore[no-any-return]


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
    return run(plan_conv2d_transpose_grad, [x, w, dy], outputs, *attributes)  # type: ignore[no-any-return]


def _spatial(shape: Sequence[int], layout: str) -> tuple[int, int, int]:
    """Channels, rows, columns of a shape."""
    return (shape[1], shape[2], shape[3]) if layout == "NCHW" else (shape[3], shape[1], shape[2])


def _shape(layout: str, images: int, channels: int, height: int, width: int) -> tuple[int, ...]:
    return (images, channels, height, width) if layout == "NCHW" else (images, height, width, channels)
