# anchor_generator, which Paddle has in programs only.

from __future__ import annotations

from typing import Any

import numpy as np
import paddle
import pytest
from paddle import _C_ops

import openxpu.paddle


def anchors(place: Any, dtype: str, stride: list[float], offset: float) -> list[np.ndarray]:
    """Anchors and variances of a program."""
    main = paddle.static.Program()
    with paddle.static.program_guard(main, paddle.static.Program()):
        x = paddle.static.data("x", [2, 3, 5, 6], dtype)
        arguments = [32.0, 64.0], [0.5, 1.0, 2.0], [0.1, 0.1, 0.2, 0.2], stride, offset
        fetch = list(_C_ops.anchor_generator(x, *arguments))
        feed = {"x": np.zeros((2, 3, 5, 6), dtype)}
        return list(paddle.static.Executor(place).run(main, feed=feed, fetch_list=fetch))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("stride", "offset"), [([16.0, 16.0], 0.5), ([16.0, 12.0], 0.0)])
def test_anchor_generator(dtype: str, stride: list[float], offset: float) -> None:
    paddle.enable_static()
    want = anchors(paddle.CPUPlace(), dtype, stride, offset)
    openxpu.paddle.reset_counters()
    got = anchors(paddle.CustomPlace("xpu", 0), dtype, stride, offset)
    assert openxpu.paddle.native_calls()["anchor_generator"] == 1
    for ours, theirs in zip(got, want, strict=True):
        assert ours.shape == theirs.shape
        np.testing.assert_allclose(ours, theirs, rtol=1e-6)
