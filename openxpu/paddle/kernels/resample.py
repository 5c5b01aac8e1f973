# phi kernels of interpolation to another size, mapped to openxpu.ops.resample.

from __future__ import annotations

from collections.abc import Sequence

from openxpu.ops import resample
from openxpu.ops.plan import PlanBuilder, Tensor, Unsupported
from openxpu.paddle.kernels import phi_kernel

_METHODS = {
    "linear": "linear",
    "bilinear": "linear",
    "trilinear": "linear",
    "nearest": "nearest",
    "bicubic": "cubic",
}


def _how(
    x: Tensor, scale_tensor: Tensor | None, scale: Sequence[float], method: str, align_corners: bool, align_mode: int,
    antialias: bool = False,
) -> resample.Interpolation:  # fmt: skip
    """Paddle's attributes as one Interpolation. Sizes are those of the output, whether numbers or a tensor gave them."""
    sides = x.ndim - 2
    if scale_tensor is not None and not align_corners:
        raise Unsupported("interpolation by a factor that only a tensor holds; give it as a number.")
    scales = tuple(scale) if len(scale) == sides else ()
    if not antialias and method not in _METHODS:
        raise Unsupported(f"interpolation by {method!r}.")
    return resample.Interpolation(
        method if antialias else _METHODS[method], align_corners, align_mode, scales
    )


@phi_kernel(name="linear_interp")
@phi_kernel(name="bilinear_interp")
@phi_kernel(name="trilinear_interp")
@phi_kernel(name="nearest_interp")
@phi_kernel(name="bicubic_interp")
def interpolate(
    b: PlanBuilder, x: Tensor, out_size: Tensor | None, size_tensor: list[Tensor] | None, scale_tensor: Tensor | None,
    data_layout: str, out_d: int, out_h: int, out_w: int, scale: Sequence[float], interp_method: str,
    align_corners: bool, align_mode: int, out: Tensor,
) -> None:  # fmt: skip
    how = _how(x, scale_tensor, scale, interp_method, align_corners, align_mode)
    resample.plan_interpolate(b, x, out, how, data_layout in ("NHWC", "NDHWC", "NWC"))


@phi_kernel(name="linear_interp_grad")
@phi_kernel(name="bilinear_interp_grad")
@phi_kernel(name="trilinear_interp_grad")
@phi_kernel(name="nearest_interp_grad")
@phi_kernel(name="bicubic_interp_grad")
def interpolate_grad(
    b: PlanBuilder, x: Tensor, out_size: Tensor | None, size_tensor: list[Tensor] | None, scale_tensor: Tensor | None,
    out_grad: Tensor, data_layout: str, out_d: int, out_h: int, out_w: int, scale: Sequence[float], interp_method: str,
    align_corners: bool, align_mode: int, x_grad: Tensor,
) -> None:  # fmt: skip
    how = _how(x, scale_tensor, scale, interp_method, align_corners, align_mode)
    resample.plan_interpolate_grad(b, out_grad, x_grad, how, data_layout in ("NHWC", "NDHWC", "NWC"))


@phi_kernel
def interp_antialias(
    b: PlanBuilder, x: Tensor, out_size: Tensor | None, size_tensor: list[Tensor] | None, scale_tensor: Tensor | None,
    data_layout: str, out_d: int, out_h: int, out_w: int, scale: Sequence[float], interp_method: str,
    align_corners: bool, align_mode: int, out: Tensor,
) -> None:  # fmt: skip
    how = _how(x, scale_tensor, scale, interp_method, align_corners, align_mode, antialias=True)
    resample.plan_interpolate(b, x, out, how, data_layout == "NHWC")


@phi_kernel
def interp_antialias_grad(
    b: PlanBuilder, x: Tensor, out_size: Tensor | None, size_tensor: list[Tensor] | None, scale_tensor: Tensor | None,
    out_grad: Tensor, data_layout: str, out_d: int, out_h: int, out_w: int, scale: Sequence[float], interp_method: str,
    align_corners: bool, align_mode: int, x_grad: Tensor,
) -> None:  # fmt: skip
    how = _how(x, scale_tensor, scale, interp_method, align_corners, align_mode, antialias=True)
    resample.plan_interpolate_grad(b, out_grad, x_grad, how, data_layout == "NHWC")
