# Every optimizer of paddle.optimizer, ten steps on the card and on Paddle's CPU device; and nothing falls back.
from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import paddle
import pytest
from compared import device, fallen

paddle_optimizer = paddle.optimizer
Make = Callable[..., Any]
OPTIMIZERS: dict[str, Make] = {
    "SGD": lambda p: paddle_optimizer.SGD(0.1, p, weight_decay=0.01),
    "Momentum": lambda p: paddle_optimizer.Momentum(0.1, 0.9, p, use_nesterov=True),
    "Adam": lambda p: paddle_optimizer.Adam(0.01, parameters=p),
    "Adam amsgrad": lambda p: paddle_optimizer.Adam(0.01, parameters=p, amsgrad=True),
    "AdamW": lambda p: paddle_optimizer.AdamW(0.01, parameters=p, weight_decay=0.1),
    "Adamax": lambda p: paddle_optimizer.Adamax(0.01, parameters=p),
    "Adagrad": lambda p: paddle_optimizer.Adagrad(0.1, parameters=p),
    "Adadelta": lambda p: paddle_optimizer.Adadelta(0.1, parameters=p),
    "RMSProp": lambda p: paddle_optimizer.RMSProp(0.01, parameters=p, centered=True, momentum=0.5),
    "Lamb": lambda p: paddle_optimizer.Lamb(0.01, lamb_weight_decay=0.02, parameters=p),
    "Lamb without decay": lambda p: paddle_optimizer.Lamb(
        0.01,
        lamb_weight_decay=0.0,
        parameters=p,
    ),
    "NAdam": lambda p: paddle_optimizer.NAdam(0.01, parameters=p),
    "RAdam": lambda p: paddle_optimizer.RAdam(0.01, parameters=p),
    "Rprop": lambda p: paddle_optimizer.Rprop(0.01, (1e-4, 0.1), p),
    "ASGD": lambda p: paddle_optimizer.ASGD(0.01, batch_num=3, parameters=p),
}
SMOOTH = [name for name in OPTIMIZERS if name != "Rprop"]  # which goes by signs of gradients, however small


def steps(make: Make, dtype: str, count: int = 10, master: bool = False) -> list[np.ndarray]:
    """The parameters after some steps down a hilly loss."""
    rng = np.random.default_rng(0)
    start = [rng.standard_normal(shape).astype(np.float32) for shape in ((7, 33), (129,), ())]
    zeros = paddle.nn.initializer.Constant(0.0)
    parameters = [paddle.create_parameter(list(s.shape), dtype, default_initializer=zeros) for s in start]
    for p, s in zip(parameters, start, strict=True):
        p.set_value(paddle.to_tensor(s).astype(dtype))
    optimizer = make(parameters)
    optimizer._multi_precision = master  # what paddle.amp.decorate sets
    for _ in range(count):
        loss = sum((paddle.sin(3 * p) + 0.1 * p * p).sum() for p in parameters)
        loss.backward()
        optimizer.step()
        optimizer.clear_grad()
    return [p.astype("float64").numpy() for p in parameters]


@pytest.fixture(autouse=True)
def on_the_card(paddle_xpu: Any) -> None:
    paddle.set_device("xpu")


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_equals_cpu(name: str, dtype: str) -> None:
    with device("cpu"):
        wanted = steps(OPTIMIZERS[name], dtype)
    got: list[np.ndarray] = []
    fallbacks = fallen(lambda: got.extend(steps(OPTIMIZERS[name], dtype)))
    assert not fallbacks
    for a, b in zip(got, wanted, strict=True):
        np.testing.assert_allclose(a, b, rtol=2e-5, atol=2e-5 if dtype == "float32" else 1e-6)


@pytest.mark.parametrize("name", SMOOTH)
def test_bfloat16_with_a_master_copy_follows_float32(name: str) -> None:
    wanted = steps(OPTIMIZERS[name], "float32")
    got: list[np.ndarray] = []
    fallbacks = fallen(lambda: got.extend(steps(OPTIMIZERS[name], "bfloat16", master=True)))
    assert not fallbacks
    for a, b in zip(got, wanted, strict=True):
        assert np.abs(a - b).mean() < 0.03 * max(1.0, np.abs(b).mean())


def test_model_average() -> None:
    def run() -> np.ndarray:
        parameter = paddle.create_parameter([5, 9], "float32")
        parameter.set_value(np.random.default_rng(1).standard_normal((5, 9)).astype(np.float32))
        optimizer = paddle_optimizer.SGD(0.1, [parameter])
        average = paddle.incubate.ModelAverage(
            0.5, parameters=[parameter], min_average_window=2, max_average_window=4
        )
        for _ in range(9):
            (parameter * parameter).sum().backward()
            optimizer.step()
            average.step()
            optimizer.clear_grad()
            average.clear_grad()
        with average.apply(need_restore=True):
            result: np.ndarray = parameter.numpy()
        return result

    with device("cpu"):
        wanted = run()
    got: list[np.ndarray] = []
    assert "average_accumulates" not in fallen(lambda: got.append(run()))
    np.testing.assert_allclose(got[0], wanted, rtol=1e-5)


def test_lars() -> None:
    def run() -> np.ndarray:
        paddle.enable_static()
        try:
            main, startup = paddle.static.Program(), paddle.static.Program()
            with paddle.static.program_guard(main, startup):
                x = paddle.static.data("x", [4, 6], "float32")
                attr = paddle.ParamAttr(
                    initializer=paddle.nn.initializer.Assign(np.full((6, 3), 0.5, "float32"))
                )
                y = paddle.static.nn.fc(x, 3, weight_attr=attr, bias_attr=False)
                loss = (y * y).mean()
                optimizer = paddle.incubate.optimizer.LarsMomentumOptimizer(0.1, 0.9, lars_coeff=0.1)
                optimizer.minimize(loss)
            executor = paddle.static.Executor()
            executor.run(startup)
            data = np.random.default_rng(0).standard_normal((4, 6)).astype(np.float32)
            losses = [executor.run(main, {"x": data}, [loss])[0] for _ in range(5)]
            return np.array(losses)
        finally:
            paddle.disable_static()

    with device("cpu"):
        wanted = run()
    np.testing.assert_allclose(run(), wanted, rtol=1e-5)
