# Mixed precision: which dtypes operators run in, losses near f32's, loss scaling that meets an infinity.

from __future__ import annotations

from typing import Any

import numpy as np
import paddle
import pytest
from compared import fallen, on_both, set_weights


class Model(paddle.nn.Layer):
    """A convolution (white list), normalisation (black list), a linear layer and a softmax."""

    def __init__(self) -> None:
        super().__init__()
        self.convolution = paddle.nn.Conv2D(3, 8, 3, padding=1)
        self.norm = paddle.nn.BatchNorm2D(8)
        self.linear = paddle.nn.Linear(8, 4)

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        x = paddle.nn.functional.relu(self.norm(self.convolution(x)))
        return self.linear(x.mean([2, 3]))


def batches(count: int) -> list[tuple[np.ndarray, np.ndarray]]:
    rng = np.random.default_rng(0)
    made = []
    for _ in range(count):
        y = rng.integers(0, 4, 16)
        x = rng.normal(0, 1, (16, 3, 8, 8)) + 2.0 * y[:, None, None, None]
        made.append((x.astype(np.float32), y.astype(np.int64)))
    return made


def train(dtype: str, level: str, steps: int = 16) -> list[float]:
    paddle.seed(0)
    model = Model()
    set_weights(model.convolution, scale=0.3)
    set_weights(model.linear, scale=0.3)
    optimizer: Any = paddle.optimizer.AdamW(0.1, parameters=model.parameters())
    if level == "O2":
        model, optimizer = paddle.amp.decorate(model, optimizer, level="O2", dtype=dtype)
    scaler = paddle.amp.GradScaler(enable=dtype == "float16", init_loss_scaling=256.0)
    losses = []
    for x, y in batches(steps):
        with paddle.amp.auto_cast(enable=level != "O0", level=level, dtype=dtype):
            loss = paddle.nn.functional.cross_entropy(model(paddle.to_tensor(x)), paddle.to_tensor(y))
        scaler.scale(loss).backward()
        scaler.step(optimizer)
        scaler.update()
        optimizer.clear_grad()
        losses.append(loss.astype("float32").item())
    assert scaler.is_enable() == (dtype == "float16")
    return losses


@pytest.mark.parametrize("level", ["O1", "O2"])
@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_training_follows_f32(dtype: str, level: str) -> None:
    reference = train("bfloat16", "O0")
    losses: list[float] = []
    assert fallen(lambda: losses.extend(train(dtype, level))) == {}
    np.testing.assert_allclose(losses, reference, rtol=0.06, atol=0.03)
    assert losses[-1] < 0.6 * losses[0]


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_operators_run_in_the_dtypes_of_the_lists(dtype: str) -> None:
    model = Model()
    x = paddle.to_tensor(batches(1)[0][0])
    wide, narrow = paddle.float32, getattr(paddle, dtype)
    with paddle.amp.auto_cast(level="O1", dtype=dtype):
        convolved = paddle.nn.functional.conv2d(x, model.convolution.weight)
        assert convolved.dtype == narrow
        assert paddle.matmul(x, x).dtype == narrow
        assert paddle.nn.functional.softmax(convolved).dtype == wide
        assert paddle.exp(convolved).dtype == wide
        assert (convolved + convolved).dtype == narrow
    with paddle.amp.auto_cast(level="O1", dtype=dtype, custom_black_list={"matmul_v2", "matmul"}):
        assert paddle.matmul(x, x).dtype == wide
    with paddle.amp.auto_cast(enable=False):
        assert paddle.matmul(x, x).dtype == wide


def test_o2_keeps_master_weights() -> None:
    model = Model()
    optimizer = paddle.optimizer.AdamW(0.01, parameters=model.parameters())
    model, optimizer = paddle.amp.decorate(model, optimizer, level="O2", dtype="bfloat16", master_weight=True)
    assert model.linear.weight.dtype == paddle.bfloat16
    assert model.norm.weight.dtype == paddle.float32
    before = model.linear.weight.astype("float32").numpy()
    # Updates far below the resolution of bf16 add up in the master weights.
    for _ in range(40):
        with paddle.amp.auto_cast(level="O2", dtype="bfloat16"):
            model(paddle.to_tensor(batches(1)[0][0])).sum().backward()
        optimizer.set_lr(1e-4)
        optimizer.step()
        optimizer.clear_grad()
    after = model.linear.weight.astype("float32").numpy()
    assert np.abs(after - before).mean() > 1e-3


def test_loss_scaling_skips_a_step_with_an_infinity() -> None:
    parameter = paddle.create_parameter([2], "float32")
    parameter.set_value(np.float32([1.0, -2.0]))
    optimizer = paddle.optimizer.SGD(0.5, parameters=[parameter])
    scaler = paddle.amp.GradScaler(
        init_loss_scaling=1024.0, incr_ratio=2.0, decr_ratio=0.5, incr_every_n_steps=2, decr_every_n_nan_or_inf=1
    )  # fmt: skip
    values, scales = [], []
    for factor in (1.0, np.inf, 1.0, 1.0, np.nan, 1.0):
        with paddle.amp.auto_cast(dtype="float16"):  # Paddle scales nothing but losses of float16
            loss = (parameter * paddle.to_tensor(np.float32([factor, 1.0]))).sum()
        scaler.scale(loss).backward()
        scaler.step(optimizer)
        scaler.update()
        optimizer.clear_grad()
        values.append(parameter.numpy().tolist())
        scales.append(scaler.state_dict()["scale"].item())
    assert values == [[0.5, -2.5], [0.5, -2.5], [0.0, -3.0], [-0.5, -3.5], [-0.5, -3.5], [-1.0, -4.0]]
    assert scales == [1024.0, 512.0, 512.0, 1024.0, 512.0, 512.0]


def test_unscale_then_clip() -> None:
    def run() -> np.ndarray:
        layer = paddle.nn.Linear(4, 3)
        set_weights(layer)
        optimizer = paddle.optimizer.SGD(
            1.0, parameters=layer.parameters(), grad_clip=paddle.nn.ClipGradByGlobalNorm(0.5)
        )
        scaler = paddle.amp.GradScaler(init_loss_scaling=4096.0)
        with paddle.amp.auto_cast(dtype="float16", custom_black_list={"linear", "matmul_v2", "matmul"}):
            loss = (layer(paddle.arange(8, dtype="float32").reshape([2, 4])) ** 2).sum()
        scaler.scale(loss).backward()
        scaler.unscale_(optimizer)
        scaler.step(optimizer)
        scaler.update()
        return layer.weight.numpy()

    card, cpu = on_both(run)
    np.testing.assert_allclose(card, cpu, rtol=1e-5)
