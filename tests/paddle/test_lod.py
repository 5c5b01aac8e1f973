# Kernels that read LoD, which plans do not know, run on the CPU when there is some.

from __future__ import annotations

from typing import Any

import numpy as np
import paddle
from paddle import _C_ops

import openxpu.paddle


def test_a_matrix_with_lod_goes_to_the_cpu() -> None:
    paddle.enable_static()
    x = np.random.default_rng(0).random((5, 4)).astype("float32")

    def match(place: Any) -> np.ndarray:
        main = paddle.static.Program()
        with paddle.static.program_guard(main, paddle.static.Program()):
            data = paddle.static.data("x", [5, 4], "float32")
            fetch = list(_C_ops.bipartite_match(data, "bipartite", 0.5))
            tensor = paddle.base.core.DenseTensor()
            tensor.set(x, paddle.CPUPlace())
            tensor.set_recursive_sequence_lengths([[2, 3]])
            return paddle.static.Executor(place).run(main, feed={"x": tensor}, fetch_list=fetch)[0]

    want = match(paddle.CPUPlace())
    assert want.shape == (2, 4)
    openxpu.paddle.reset_counters()
    np.testing.assert_array_equal(match(paddle.CustomPlace("xpu", 0)), want)
    assert "bipartite_match" in openxpu.paddle.fallbacks()
