# Images and volumes sampled at positions from a grid (spatial transformers), and affine grids; with gradients.

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from openxpu.ops.layout import plan_copy
from openxpu.ops.plan import PlanBuilder, Tensor, Unsupported, dtype_constexpr
from openxpu.ops.pointwise import plan_map
from openxpu.ops.reduce import accumulation_dtype, power_of_two, real, require_contiguous
from openxpu.ops.run import run

if TYPE_CHECKING:
    from openxpu.runtime import Array

_BLOCK = 256  # points
_PADDINGS = ("zeros", "border", "reflection")


def _setting(
    x: Tensor, grid: Tensor, mode: str, padding: str, align_corners: bool
) -> tuple[tuple[int, int, int], int, dict[str, Any]]:
    """Depth, height and width of the image; points of an image; the kernels' constexprs."""
    dims = x.ndim - 2
    if dims not in (2, 3) or grid.shape[-1] != dims:
        raise Unsupported(f"grid_sample is for images and volumes, found {x.shape} and a grid {grid.shape}.")
    if mode not in ("bilinear", "nearest") or padding not in _PADDINGS:
        raise Unsupported(f"grid_sample has no mode {mode!r} with padding {padding!r}.")
    depth, height, width = (1, *x.shape[2:])[-3:]
    if depth * height * width >= 2**31:
        raise Unsupported("grid_sample is for fewer than 2^31 pixels in a channel of an image.")
    flags = {
        "DIMS": dims,
        "NEAREST": int(mode == "nearest"),
        "ALIGN": int(align_corners),
        "PADDING": padding,
        "ACC": dtype_constexpr(accumulation_dtype(x.dtype)),
    }
    return (depth, height, width), math.prod(grid.shape[1:-1]), flags


def plan_grid_sample(
    b: PlanBuilder, x: Tensor, grid: Tensor, out: Tensor, mode: str, padding: str, align_corners: bool
) -> None:
    """x [images, channels, (depth,) height, width] at the positions of grid [images, ..., 2 or 3]. Source: Jaderberg et al.,
    Spatial transformer networks, 2015."""
    require_contiguous("grid_sample", x, grid, out)
    sides, points, flags = _setting(x, grid, mode, padding, align_corners)
    if out.numel == 0:
        return
    if x.numel == 0:
        b.zero(out)
        return
    images, channels = x.shape[:2]
    block = min(_BLOCK, max(power_of_two(points), 16))
    blocks = -(-points // block)
    each = max(min(channels, 16), channels * blocks * images // 64, 1) if channels > 1 else 1
    b.launch(
        "grid_sample.grid_sample", (blocks, -(-channels // each), images), x, grid, out, channels, each, points, *sides,
        cost=out.numel * 64, **flags, BLOCK=block,
    )  # fmt: skip


def plan_grid_sample_grad(
    b: PlanBuilder, x: Tensor, grid: Tensor, d: Tensor, dx: Tensor | None, dgrid: Tensor | None, mode: str,
    padding: str, align_corners: bool,
) -> None:  # fmt: skip
    require_contiguous("grid_sample_grad", x, grid, d, dx, dgrid)
    sides, points, flags = _setting(x, grid, mode, padding, align_corners)
    images, channels = x.shape[:2]
    acc = accumulation_dtype(x.dtype)
    if dgrid is not None:
        if mode == "nearest" or x.numel == 0:
            b.zero(dgrid)
        else:
            block = min(_BLOCK, max(power_of_two(points), 16))
            own = {key: value for key, value in flags.items() if key != "NEAREST"}
            b.launch(
                "grid_sample.grid_sample_grad_grid", (-(-points // block), images), x, grid, d, dgrid, channels, points,
                *sides, cost=d.numel * 96, **own, BLOCK=block,
            )  # fmt: skip
    if dx is not None and dx.numel:
        # Channels last: what a point adds to a pixel is one run of memory, and no two lanes meet.
        pixels = math.prod(sides)
        turned = b.scratch((images, points, channels), d.dtype)
        plan_copy(b, d.reshape(images, channels, points).permute(0, 2, 1), turned)
        total = b.scratch((images, pixels, channels), acc)
        b.zero(total)
        block = min(256, max(power_of_two(-(-channels // max(8 // images, 1))), 16))
        b.launch(
            "grid_sample.grid_sample_grad_x", (-(-channels // block), images), grid, turned, total, channels, points,
            *sides, cost=d.numel * 64, **flags, BLOCK=block,
        )  # fmt: skip
        target = dx.reshape(images, channels, pixels)
        if dx.dtype == acc:
            plan_copy(b, total.permute(0, 2, 1), target)
        else:
            plan_map(b, "elementwise.first", [total.permute(0, 2, 1)], target, compute=None)


def _lines(extents: tuple[int, ...], align_corners: bool, acc: str) -> tuple[int, int, int, list[Any]]:
    """Depth, height and width of a grid, and start and step of its positions in depth, height and width."""
    depth, height, width = (1, *extents)[-3:]
    numbers: list[Any] = []
    for extent in (depth, height, width):
        start, step = (-1.0, 2 / max(extent - 1, 1)) if align_corners else (1 / extent - 1, 2 / extent)
        numbers += [real(start, acc), real(step, acc)]
    return depth, height, width, numbers


def plan_affine_grid(b: PlanBuilder, theta: Tensor, out: Tensor, align_corners: bool) -> None:
    """out [images, (depth,) height, width, dims]: the pixels' positions, moved by theta [images, dims, dims + 1]."""
    require_contiguous("affine_grid", theta, out)
    if out.numel == 0:
        return
    acc = accumulation_dtype(theta.dtype)
    depth, height, width, numbers = _lines(out.shape[1:-1], align_corners, acc)
    points = depth * height * width
    b.launch(
        "grid_sample.affine_grid", (-(-points // 1024), theta.shape[0]), theta, out, depth, height, width, *numbers,
        cost=out.nbytes * 8, DIMS=out.shape[-1], ACC=dtype_constexpr(acc), BLOCK=1024,
    )  # fmt: skip


def plan_affine_grid_grad(b: PlanBuilder, d: Tensor, dtheta: Tensor, align_corners: bool) -> None:
    require_contiguous("affine_grid_grad", d, dtheta)
    if d.numel == 0:
        b.zero(dtheta)
        return
    acc = accumulation_dtype(d.dtype)
    depth, height, width, numbers = _lines(d.shape[1:-1], align_corners, acc)
    b.launch(
        "grid_sample.affine_grid_grad", dtheta.numel, d, dtheta, depth, height, width, *numbers,
        cost=d.nbytes * 16, DIMS=d.shape[-1], ACC=dtype_constexpr(acc), BLOCK=1024,
    )  # fmt: skip


# ---- on arrays ----


def grid_sample(
    x: Array, grid: Array, mode: str = "bilinear", padding: str = "zeros", align_corners: bool = True
) -> Array:
    """x [images, channels, ...] at the positions of grid [images, ..., 2 or 3]."""
    shape = (*x.shape[:2], *grid.shape[1:-1])
    return run(plan_grid_sample, [x, grid], [(shape, x.dtype)], mode, padding, align_corners)  # type: ignore[no-any-return]
