# phi kernels of Fourier transforms and frames, mapped to openxpu.ops.fourier.

from __future__ import annotations

from collections.abc import Sequence

from openxpu.ops import fourier
from openxpu.ops.plan import PARTS, PlanBuilder, Tensor
from openxpu.paddle.kernels import phi_kernel
from openxpu.paddle.outputs import required

Axes = Sequence[int]


def _norm(normalization: str, forward: bool) -> str:
    """Which way of a transform is divided by the number of elements: the one back, neither by all, or the one there."""
    if normalization == "ortho":
        return "by_sqrt_n"
    return "by_n" if (normalization == "forward") == forward else "none"


@phi_kernel
def fft_c2c(b: PlanBuilder, x: Tensor, axes: Axes, norm: str, forward: bool, out: Tensor) -> None:
    fourier.plan_fft_c2c(b, x, out, axes, _norm(norm, forward), forward)


@phi_kernel
def fft_c2c_grad(b: PlanBuilder, d: Tensor, axes: Axes, norm: str, forward: bool, dx: Tensor) -> None:
    fourier.plan_fft_c2c(b, d, dx, axes, _norm(norm, forward), not forward)


@phi_kernel
def fft_r2c(
    b: PlanBuilder, x: Tensor, axes: Axes, norm: str, forward: bool, onesided: bool, out: Tensor
) -> None:
    fourier.plan_fft_r2c(b, x, required(b, out, fourier.PAIRS[x.dtype]), axes, _norm(norm, forward), forward)


@phi_kernel
def fft_r2c_grad(
    b: PlanBuilder, x: Tensor, d: Tensor, axes: Axes, norm: str, forward: bool, onesided: bool, dx: Tensor
) -> None:
    fourier.plan_fft_r2c_grad(b, d, required(b, dx, PARTS[d.dtype]), axes, _norm(norm, forward), forward)


@phi_kernel
def fft_c2r(
    b: PlanBuilder, x: Tensor, axes: Axes, norm: str, forward: bool, last_dim_size: int, out: Tensor
) -> None:
    fourier.plan_fft_c2r(b, x, required(b, out, PARTS[x.dtype]), axes, _norm(norm, forward), forward)


@phi_kernel
def fft_c2r_grad(
    b: PlanBuilder, d: Tensor, axes: Axes, norm: str, forward: bool, last_dim_size: int, dx: Tensor
) -> None:
    fourier.plan_fft_c2r_grad(
        b, d, required(b, dx, fourier.PAIRS[d.dtype]), axes, _norm(norm, forward), forward
    )


@phi_kernel
def frame(b: PlanBuilder, x: Tensor, frame_length: int, hop_length: int, axis: int, out: Tensor) -> None:
    fourier.plan_frame(b, x, out, frame_length, hop_length, axis)


@phi_kernel
def frame_grad(
    b: PlanBuilder, x: Tensor, d: Tensor, frame_length: int, hop_length: int, axis: int, dx: Tensor
) -> None:
    fourier.plan_frame_grad(b, d, required(b, dx, d.dtype), hop_length, axis)


@phi_kernel
def overlap_add(b: PlanBuilder, x: Tensor, hop_length: int, axis: int, out: Tensor) -> None:
    fourier.plan_overlap_add(b, x, required(b, out, x.dtype), hop_length, axis)


@phi_kernel
def overlap_add_grad(b: PlanBuilder, x: Tensor, d: Tensor, hop_length: int, axis: int, dx: Tensor) -> None:
    fourier.plan_overlap_add_grad(b, d, required(b, dx, d.dtype), hop_length, axis)


@phi_kernel
def stft(
    b: PlanBuilder,
    x: Tensor,
    window: Tensor,
    n_fft: int,
    hop_length: int,
    normalized: bool,
    onesided: bool,
    out: Tensor,
) -> None:
    fourier.plan_stft(b, x, window, required(b, out, fourier.PAIRS[x.dtype]), n_fft, hop_length, normalized)


@phi_kernel
def stft_grad(
    b: PlanBuilder,
    x: Tensor,
    window: Tensor,
    d: Tensor,
    n_fft: int,
    hop_length: int,
    normalized: bool,
    onesided: bool,
    dx: Tensor,
) -> None:
    fourier.plan_stft_grad(b, window, d, required(b, dx, PARTS[d.dtype]), n_fft, hop_length, normalized)
