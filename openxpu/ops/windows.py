# Sliding windows as columns and back: unfold (im2col), fold (col2im) and their gradients.

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from openxpu.ops.layout import plan_copy, plan_pad
from openxpu.ops.plan import PlanBuilder, Tensor, dtype_constexpr
from openxpu.ops.pointwise import plan_map
from openxpu.ops.reduce import accumulation_dtype, power_of_two, require_contiguous
from openxpu.ops.run import run

if TYPE_CHECKING:
    from openxpu.runtime import Array

Pair = tuple[int, int]
_UNROLLED = 25  # taps


def _pair(values: Sequence[int]) -> Pair:
    """(rows, columns) of one or two numbers."""
    return values[0], values[-1]


@dataclass(frozen=True)
class Windows:
    """`padding` is (top, left, bottom, right)."""

    kernel: Pair
    stride: Pair
    padding: tuple[int, int, int, int]
    dilation: Pair

    @staticmethod
    def of(
        kernel: Sequence[int], stride: Sequence[int], padding: Sequence[int], dilation: Sequence[int]
    ) -> Windows:
        """From lists of one or two numbers, padding also of four."""
        top, left = _pair(padding) if len(padding) < 4 else (padding[0], padding[1])
        bottom, right = (top, left) if len(padding) < 4 else (padding[2], padding[3])
        return Windows(_pair(kernel), _pair(stride), (top, left, bottom, right), _pair(dilation))

    def counts(self, height: int, width: int) -> Pair:
        """Windows in rows and columns."""
        (kh, kw), (sh, sw), (dh, dw) = self.kernel, self.stride, self.dilation
        top, left, bottom, right = self.padding
        down = (height + top + bottom - dh * (kh - 1) - 1) // sh + 1
        across = (width + left + right - dw * (kw - 1) - 1) // sw + 1
        return max(down, 0), max(across, 0)


def plan_unfold(b: PlanBuilder, x: Tensor, out: Tensor, windows: Windows) -> None:
    """x [images, channels, height, width], out [images, channels * taps, windows]: a strided copy of the padded image."""
    require_contiguous("unfold", x, out)
    if out.numel == 0:
        return
    images, channels, height, width = x.shape
    rows, columns = windows.counts(height, width)
    if any(windows.padding):
        top, left, bottom, right = windows.padding
        padded = b.scratch((images, channels, height + top + bottom, width + left + right), x.dtype)
        plan_pad(b, x, padded, [(0, 0), (0, 0), (top, bottom), (left, right)], "constant", 0.0)
        x = padded
    (kh, kw), (sh, sw), (dh, dw) = windows.kernel, windows.stride, windows.dilation
    image, channel, line, pixel = x.strides
    shape = (images, channels, kh, kw, rows, columns)
    strides = (image, channel, dh * line, dw * pixel, sh * line, sw * pixel)
    plan_copy(b, x.view(shape, strides), out.view(shape))


def plan_fold(b: PlanBuilder, x: Tensor, out: Tensor, windows: Windows) -> None:
    """x [images, channels * taps, windows] summed into out [images, channels, height, width], where windows overlap."""
    require_contiguous("fold", x, out)
    if out.numel == 0:
        return
    *planes, height, width = out.shape
    rows, columns = windows.counts(height, width)
    acc = accumulation_dtype(out.dtype)
    if windows.stride == (1, 1) and math.prod(windows.kernel) <= _UNROLLED:
        block = min(256, max(power_of_two(width), 16))
        tile_rows = min(max(1024 // block, 1), power_of_two(height))
        b.launch(
            "windows.fold_dense", (-(-width // block), -(-height // tile_rows), math.prod(planes)), x, out,
            height, width, rows, columns, *windows.padding[:2], *windows.dilation, cost=2 * x.nbytes,
            KH=windows.kernel[0], KW=windows.kernel[1], ACC=dtype_constexpr(acc), ROWS=tile_rows, BLOCK=block,
        )  # fmt: skip
        return
    total = out if out.dtype == acc else b.scratch(out.shape, acc)
    b.zero(total)
    if x.numel:
        block = min(256, max(power_of_two(columns), 16))
        tile_rows = min(max(1024 // block, 1), power_of_two(rows))
        (kh, kw), (sh, sw), (dh, dw) = windows.kernel, windows.stride, windows.dilation
        b.launch(
            "windows.fold_planes", math.prod(planes), x, total, height, width, rows, columns,
            sh, sw, windows.padding[0], windows.padding[1], dh, dw, kh, kw,
            cost=3 * x.nbytes, ACC=dtype_constexpr(acc), ROWS=tile_rows, BLOCK=block,
        )  # fmt: skip
    if total is not out:
        plan_map(b, "elementwise.first", [total], out, compute=None)


# ---- on arrays ----


def unfold(
    x: Array,
    kernel: Sequence[int],
    stride: Sequence[int] = (1, 1),
    padding: Sequence[int] = (0, 0),
    dilation: Sequence[int] = (1, 1),
) -> Array:
    """The windows of x [images, channels, height, width] as columns."""
    windows = Windows.of(kernel, stride, padding, dilation)
    shape = (x.shape[0], x.shape[1] * math.prod(windows.kernel), math.prod(windows.counts(*x.shape[2:])))
    return run(plan_unfold, [x], [(shape, x.dtype)], windows)  # type: ignore[no-any-return]
