# openxpu.compiler.profile: kernels that Paddle's operators launch, and no second profile beside it.

from __future__ import annotations

import numpy as np
import paddle
import pytest
from paddle import profiler

from openxpu import compiler


@pytest.fixture(scope="module", autouse=True)
def device(paddle_xpu: object) -> None:
    paddle.set_device("xpu")


def test_operators_of_paddle() -> None:
    x = paddle.to_tensor(np.ones((64, 48), np.float32))
    w = paddle.to_tensor(np.ones((48, 32), np.float32))
    with compiler.profile() as p:
        y = paddle.matmul(x, w)
    assert (y.numpy() == 48).all()
    (product,) = [k for k in p.kernels if "matmul" in k.name]
    assert product.known
    assert product.dot_flops >= 2 * 64 * 48 * 32
    assert product.store_bytes == 64 * 32 * 4


def test_paddle_profiler_inside_a_profile_leaves_it_alone() -> None:
    x = paddle.ones([8, 8])
    with compiler.profile() as p:
        inner = profiler.Profiler(
            targets=[profiler.ProfilerTarget.CPU, profiler.ProfilerTarget.CUSTOM_DEVICE]
        )
        inner.start()
        x = x + x
        inner.stop()
        x = x * x
    assert sum(k.launches for k in p.kernels if "pointwise" in k.name) == 2
    assert float(x.sum()) == 256
