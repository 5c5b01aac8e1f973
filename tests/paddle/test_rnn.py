# Recurrent layers on the card: against cells that Paddle's CPU runs one step after the other, in programs, with dropout.
"""Paddle's own CPU kernel multiplies the wrong states into the gradient of a bidirectional network with lengths and initial states, so the
reference here is its cells, whose gradient comes from the operators that they consist of."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import paddle
import pytest
from compared import device, fallen

STEPS, BATCH, FEATURES, HIDDEN = 6, 5, 7, 10
LAYERS = {
    "LSTM": (paddle.nn.LSTM, 2),
    "GRU": (paddle.nn.GRU, 1),
    "SimpleRNN": (paddle.nn.SimpleRNN, 1),
}
LENGTHS = np.array([6, 2, 4, 1, 5], np.int32)


def made(
    name: str, place: str, dtype: str = "float64", **options: Any
) -> tuple[paddle.nn.Layer, Any, list[Any]]:
    """A layer, its input and initial states: the same numbers everywhere."""
    cls, count = LAYERS[name]
    rng = np.random.default_rng(3)
    with device(place):
        paddle.set_default_dtype(dtype)
        try:
            layer = cls(FEATURES, HIDDEN, num_layers=2, direction="bidirect", **options)
        finally:
            paddle.set_default_dtype("float32")
        for parameter in layer.parameters():
            parameter.set_value(rng.normal(0, 0.3, parameter.shape).astype(dtype))
        tensors = [
            paddle.to_tensor(rng.normal(size=shape).astype(dtype), stop_gradient=False)
            for shape in [(BATCH, STEPS, FEATURES), *[(4, BATCH, HIDDEN)] * count]
        ]
    return layer, tensors[0], tensors[1:]


def trained(name: str, place: str, cells: bool) -> list[np.ndarray]:
    """Outputs and gradients; `cells`: by the layer's cells instead of the kernel for all steps."""
    layer, x, states = made(name, place)
    with device(place):
        lengths = paddle.to_tensor(LENGTHS)
        if cells:
            out, last = x, []
            for i, directions in enumerate(layer):
                pairs = [
                    tuple(s[2 * i + k] for s in states) if name == "LSTM" else states[0][2 * i + k]
                    for k in (0, 1)
                ]
                out, ends = directions(out, tuple(pairs), lengths)
                last += [[*end] if isinstance(end, (tuple, list)) else [end] for end in ends]
            last = [paddle.stack(component) for component in zip(*last, strict=True)]
        else:
            out, last = layer(x, tuple(states) if name == "LSTM" else states, lengths)
            last = [*last] if isinstance(last, tuple) else [last]
        running = np.arange(STEPS)[None, :] < LENGTHS[:, None]
        if not cells:  # whose outputs go on when a sequence has ended
            assert not out.numpy()[~running].any()
        out = out * paddle.to_tensor(running[:, :, None].astype("float64"))
        rng = np.random.default_rng(4)
        loss = sum((t * paddle.to_tensor(rng.normal(size=t.shape))).sum() for t in [out, *last])
        loss.backward()
    gradients = [p.grad for p in layer.parameters() if p.grad is not None]
    return [t.numpy() for t in [out, *last, x.grad, *(s.grad for s in states), *gradients]]


@pytest.mark.parametrize("name", LAYERS)
def test_both_directions_with_lengths_are_the_cells(name: str) -> None:
    got, want = trained(name, "xpu", False), trained(name, "cpu", True)
    assert len(got) == len(want)
    for a, b in zip(got, want, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("name", LAYERS)
def test_nothing_falls_back(name: str) -> None:
    layer, x, states = made(name, "xpu", "float32")

    def step() -> None:
        out, _ = layer(x, tuple(states) if name == "LSTM" else states)
        out.sum().backward()

    assert fallen(step) == {}


@pytest.mark.parametrize("name", LAYERS)
def test_saved_program_is_the_layer(name: str, tmp_path: Path) -> None:
    layer, x, _ = made(name, "xpu", "float32")
    layer.eval()
    want = layer(x)[0].numpy()
    program = paddle.jit.to_static(
        layer, input_spec=[paddle.static.InputSpec([None, None, FEATURES], "float32")]
    )
    np.testing.assert_allclose(program(x)[0].numpy(), want, rtol=1e-6, atol=1e-6)
    paddle.jit.save(program, str(tmp_path / "net"))
    loaded = paddle.jit.load(str(tmp_path / "net"))
    np.testing.assert_allclose(loaded(x)[0].numpy(), want, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("name", LAYERS)
def test_a_program_trains_as_eager_calls_do(name: str) -> None:
    gradients = []
    for static in (False, True):
        layer, x, _ = made(name, "xpu", "float32")
        call = paddle.jit.to_static(layer) if static else layer
        call(x)[0].square().sum().backward()
        gradients.append(
            [x.grad.numpy(), *(p.grad.numpy() for p in layer.parameters() if p.grad is not None)]
        )
    for a, b in zip(*gradients, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5)


def test_dropout_is_between_the_layers_and_in_the_gradient() -> None:
    """With everything dropped the second layer sees zeros; with half of it the gradient is that of the call's own mask."""
    layer, x, _ = made("GRU", "xpu", dropout=0.5)
    paddle.seed(5)
    first = layer(x)[0]
    assert (layer(x)[0] != first).any()
    paddle.seed(5)
    again = layer(x)[0]
    np.testing.assert_array_equal(first.numpy(), again.numpy())
    weight = paddle.to_tensor(np.random.default_rng(6).normal(size=first.shape))
    (first * weight).sum().backward()
    step = 1e-6
    for index in [(0, 0, 0), (2, 3, 4), (4, 5, 6)]:
        ends = []
        for sign in (1, -1):
            moved = x.numpy().copy()
            moved[index] += sign * step
            paddle.seed(5)
            ends.append(float((layer(paddle.to_tensor(moved))[0] * weight).sum().item()))
        assert abs((ends[0] - ends[1]) / (2 * step) - x.grad.numpy()[index]) < 1e-6
    layer.eval()
    np.testing.assert_array_equal(layer(x)[0].numpy(), layer(x)[0].numpy())


def test_a_layer_in_evaluation_has_gradients_too() -> None:
    gradients = []
    for training in (True, False):
        layer, x, _ = made("LSTM", "xpu")
        layer.train() if training else layer.eval()
        layer(x)[0].square().sum().backward()
        gradients.append(
            [x.grad.numpy(), *(p.grad.numpy() for p in layer.parameters() if p.grad is not None)]
        )
    for a, b in zip(*gradients, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-12)
