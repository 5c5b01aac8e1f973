"""Interpolation and affine grids in programs, where the size of the result is known only when they run."""

from __future__ import annotations

from typing import Any

import numpy as np
import paddle
import pytest

import openxpu.paddle

F = paddle.nn.functional


def program(kind: str, device: str) -> list[np.ndarray]:
    """An image at a new size, and the gradient of its sum."""
    rng = np.random.default_rng(0)
    feed: dict[str, Any] = {
        "x": rng.standard_normal((2, 3, 7, 5), "f4"),
        "like": np.zeros((1, 3, 9, 4), "f4"),
    }
    place = paddle.CustomPlace("xpu", 0) if device == "xpu" else paddle.CPUPlace()
    paddle.set_device(device)
    paddle.enable_static()
    try:
        with paddle.static.program_guard(paddle.static.Program()):
            x = paddle.static.data("x", [-1, 3, -1, -1], "float32")
            like = paddle.static.data("like", [-1, 3, -1, -1], "float32")
            x.stop_gradient = False
            size = paddle.shape(like)
            if kind == "whole":
                out = F.interpolate(x, size[2:], mode="bilinear")
            elif kind == "parts":
                out = F.interpolate(x, [size[2], 11], mode="bicubic")
            else:
                factor = paddle.static.data("factor", [1], "float32")
                feed["factor"] = np.array([1.5], "f4")
                out = F.interpolate(x, scale_factor=factor, mode="bilinear", align_corners=True)
            (dx,) = paddle.static.gradients([out.square().sum()], [x])
            return paddle.static.Executor(place).run(feed=feed, fetch_list=[out, dx])  # type: ignore[no-any-return]
    finally:
        paddle.disable_static()


@pytest.mark.parametrize("kind", ["whole", "parts", "factor"])
def test_size_from_a_tensor(paddle_xpu: Any, kind: str) -> None:
    kernels = [("bicubic_interp" if kind == "parts" else "bilinear_interp") + end for end in ("", "_grad")]
    expected = program(kind, "cpu")
    before = openxpu.paddle.native_calls()
    got = program(kind, "xpu")
    after = openxpu.paddle.native_calls()
    assert all(after[kernel] == before.get(kernel, 0) + 1 for kernel in kernels)
    for a, b in zip(got, expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5)


def grid_program(device: str, given: str) -> list[np.ndarray]:
    """An affine grid for an image of the size of another, and the gradient of its squares."""
    rng = np.random.default_rng(0)
    feed = {"theta": rng.standard_normal((2, 2, 3)).astype("f4"), "like": np.zeros((2, 3, 9, 4), "f4")}
    place = paddle.CustomPlace("xpu", 0) if device == "xpu" else paddle.CPUPlace()
    paddle.set_device(device)
    paddle.enable_static()
    try:
        with paddle.static.program_guard(paddle.static.Program()):
            theta = paddle.static.data("theta", [-1, 2, 3], "float32")
            like = paddle.static.data("like", [-1, 3, -1, -1], "float32")
            theta.stop_gradient = False
            out = F.affine_grid(theta, paddle.shape(like) if given == "tensor" else [2, 3, 9, 4])
            (dtheta,) = paddle.static.gradients([out.square().sum()], [theta])
            return paddle.static.Executor(place).run(feed=feed, fetch_list=[out, dtheta])  # type: ignore[no-any-return]
    finally:
        paddle.disable_static()


@pytest.mark.parametrize("given", ["numbers", "tensor"])
def test_affine_grid(paddle_xpu: Any, given: str) -> None:
    expected = grid_program("cpu", given)
    before = openxpu.paddle.native_calls()
    got = grid_program("xpu", given)
    after = openxpu.paddle.native_calls()
    assert all(after[k] == before.get(k, 0) + 1 for k in ("affine_grid", "affine_grid_grad"))
    for a, b in zip(got, expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5)
