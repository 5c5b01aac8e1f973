# Momentum over all parameters in one call (openxpu/paddle/optimizer_steps.py), beside Paddle's CPU device and Paddle's own way.
from __future__ import annotations

from typing import Any

import numpy as np
import paddle
import pytest
from compared import device

from openxpu.paddle import counters

SHAPES = ((7, 33), (129,), (), (300, 50))


def parameters(dtype: str = "float32") -> list[Any]:
    rng = np.random.default_rng(0)
    zeros = paddle.nn.initializer.Constant(0.0)
    made = [paddle.create_parameter(list(s), dtype, default_initializer=zeros) for s in SHAPES]
    for p in made:
        p.set_value(paddle.to_tensor(rng.standard_normal(p.shape).astype(np.float32)).astype(dtype))
    return made


def steps(made: list[Any], optimizer: Any, count: int = 5) -> list[np.ndarray]:
    """The parameters after some steps down a hilly loss."""
    for _ in range(count):
        sum((paddle.sin(3 * p) + 0.1 * p * p).sum() for p in made).backward()
        optimizer.step()
        optimizer.clear_grad()
        if not isinstance(optimizer._learning_rate, float):
            optimizer._learning_rate.step()
    return [p.astype("float32").numpy() for p in made]


def momentum(made: list[Any], limit: float | None, **options: Any) -> Any:
    clip = paddle.nn.ClipGradByGlobalNorm(limit) if limit else None
    rate = options.pop("learning_rate", 0.05)
    return paddle.optimizer.Momentum(rate, 0.9, made, grad_clip=clip, **options)


def calls() -> tuple[int, int]:
    """Of the step over all parameters, and of that of one parameter, since the counters were reset."""
    found = counters.native_calls()
    return found.get("openxpu_momentum", 0), found.get("momentum", 0)


@pytest.fixture(autouse=True)
def on_the_card(paddle_xpu: Any) -> None:
    paddle.set_device("xpu")
    counters.reset_counters()


@pytest.mark.parametrize("limit", [None, 0.5, 1e6])
@pytest.mark.parametrize("options", [{}, {"use_nesterov": True}, {"weight_decay": 0.01}], ids=str)
def test_equals_cpu(limit: float | None, options: dict[str, Any]) -> None:
    made = parameters()
    found = steps(made, momentum(made, limit, **options))
    assert calls() == (5, 0)
    assert not counters.fallbacks()
    with device("cpu"):
        made = parameters()
        wanted = steps(made, momentum(made, limit, **options))
    for a, b in zip(found, wanted, strict=True):
        np.testing.assert_allclose(a, b, rtol=2e-5, atol=2e-6)


def test_a_rate_that_falls() -> None:
    def run() -> list[np.ndarray]:
        made = parameters()
        rate = paddle.optimizer.lr.ExponentialDecay(0.1, 0.5)
        return steps(made, momentum(made, 1.0, learning_rate=rate))

    found = run()
    assert calls() == (5, 0)
    with device("cpu"):
        wanted = run()
    for a, b in zip(found, wanted, strict=True):
        np.testing.assert_allclose(a, b, rtol=2e-5, atol=2e-6)


def _unclipped(made: list[Any]) -> Any:
    made[0].need_clip = False
    return momentum(made, 0.5)


def _slower(made: list[Any]) -> Any:
    made[1].optimize_attr = {"learning_rate": 0.5}
    return momentum(made, 0.5)


def _in_groups(made: list[Any]) -> Any:
    return momentum([{"params": made[:2]}, {"params": made[2:], "weight_decay": 0.1}], 0.5)  # type: ignore[list-item]


def _by_value(made: list[Any]) -> Any:
    return paddle.optimizer.Momentum(0.05, 0.9, made, grad_clip=paddle.nn.ClipGradByValue(0.1))


@pytest.mark.parametrize("make", [_unclipped, _slower, _in_groups, _by_value])
def test_what_it_does_not_know_goes_paddles_way(make: Any) -> None:
    made = parameters()
    found = steps(made, make(made))
    assert calls() == (0, 5 * len(SHAPES))
    with device("cpu"):
        made = parameters()
        wanted = steps(made, make(made))
    for a, b in zip(found, wanted, strict=True):
        np.testing.assert_allclose(a, b, rtol=2e-5, atol=2e-6)


def test_parameters_in_16_bits_go_paddles_way() -> None:
    made = parameters("bfloat16")
    steps(made, momentum(made, 0.5))
    assert calls() == (0, 5 * len(SHAPES))


def test_a_parameter_without_gradient_is_left_alone() -> None:
    made = parameters()
    before = made[0].numpy()
    optimizer = momentum(made, 0.5)
    sum((p * p).sum() for p in made[1:]).backward()
    optimizer.step()
    assert calls() == (1, 0)
    np.testing.assert_array_equal(made[0].numpy(), before)


def test_gradients_stay_as_they_were() -> None:
    made = parameters()
    sum((p * p).sum() for p in made).backward()
    before = [p.grad.numpy() for p in made]
    momentum(made, 0.5).step()
    for p, grad in zip(made, before, strict=True):
        np.testing.assert_array_equal(p.grad.numpy(), grad)


def test_backward_through_changed_parameters_is_an_error() -> None:
    made = parameters()
    optimizer = momentum(made, 0.5)
    loss = sum((p * p).sum() for p in made)
    sum((p * p).sum() for p in made).backward()
    optimizer.step()
    with pytest.raises(RuntimeError, match="inplace"):
        loss.backward()


def test_gradients_that_are_not_finite_reach_all_parameters() -> None:
    """As with Paddle's own clipping: the norm is not a number, and so is what it divides."""
    made = parameters()
    (made[1][0] * float("nan") + sum((p * p).sum() for p in made)).backward()
    momentum(made, 0.5).step()
    assert calls() == (1, 0)
    assert all(np.isnan(p.numpy()).all() for p in made)


def test_state_is_paddles() -> None:
    """The velocities are saved and loaded, and training repeats itself."""
    made = parameters()
    optimizer = momentum(made, 0.5)
    steps(made, optimizer, 2)
    weights, state = [p.numpy() for p in made], optimizer.state_dict()
    state = {k: paddle.to_tensor(v.numpy()) if hasattr(v, "numpy") else v for k, v in state.items()}
    wanted = steps(made, optimizer, 2)
    for p, weight in zip(made, weights, strict=True):
        p.set_value(weight)
    optimizer.set_state_dict(state)
    for a, b in zip(steps(made, optimizer, 2), wanted, strict=True):
        np.testing.assert_array_equal(a, b)


def test_state_that_was_made_on_the_cpu_goes_paddles_way() -> None:
    """The CPU is the current device at the first step, and the parameters are on the card."""
    made = parameters()
    optimizer = momentum(made, 0.5)
    with device("cpu"):
        sum((p * p).sum() for p in made).backward()
        optimizer.step()
    assert calls() == (0, len(SHAPES))
