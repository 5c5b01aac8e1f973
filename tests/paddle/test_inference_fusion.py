# The pass that Paddle Inference runs for the card: what becomes one kernel, and that the numbers stay.

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import paddle
import paddle.inference as serving
import paddle.nn.functional as F
import pytest
from test_inference import infer

from openxpu.paddle import counters

nn = paddle.nn


class Row(nn.Layer):
    """A convolution with what follows it."""

    def __init__(
        self,
        act: Callable[..., Any] | None,
        residual: bool = False,
        bias: Any = False,
        norm: bool = True,
        **conv: Any,
    ):
        super().__init__()
        self.first = nn.Conv2D(4, 8, 1)
        self.conv = nn.Conv2D(8, 8, 3, bias_attr=None if bias else False, **{"padding": 1, **conv})
        self.norm = nn.BatchNorm2D(8) if norm else None
        self.act, self.residual = act, residual

    def forward(self, x: Any) -> Any:
        x = self.first(x)
        y = self.conv(x)
        if self.norm is not None:
            y = self.norm(y)
        if self.residual:
            y = x + y
        return y if self.act is None else self.act(y)


def moved(model: Any) -> Any:
    """The model with statistics and weights that are not those of a new one."""
    rng = np.random.default_rng(3)
    for name, value in model.state_dict().items():
        low, high = (0.5, 2.0) if "variance" in name or name.endswith("norm.weight") else (-0.5, 0.5)
        value.set_value(rng.uniform(low, high, value.shape).astype(np.float32))
    model.eval()
    return model


def served(
    model: Any, x: np.ndarray, folder: Path, shape: list[int | None] | None = None, **options: Any
) -> tuple[np.ndarray, Counter[str], np.ndarray]:
    """What the predictor gives, which kernels a run calls, and what the model gives on the CPU."""
    paddle.set_device("cpu")
    wanted = model(paddle.to_tensor(x)).numpy()
    path = str(folder / "model")
    paddle.jit.save(
        model, path, input_spec=[paddle.static.InputSpec(shape or [None, *x.shape[1:]], "float32", "x")]
    )
    config = serving.Config(path + ".json", path + ".pdiparams")
    config.enable_custom_device("xpu", 0)
    config.disable_glog_info()
    for name, value in options.items():
        getattr(config, name)(value)
    runner = serving.create_predictor(config)

    infer(runner, x)
    before = Counter(counters.native_calls())
    found = infer(runner, x)
    return found, Counter(counters.native_calls()) - before, wanted


def image(*shape: int) -> np.ndarray:
    return np.random.default_rng(1).normal(0, 2, shape).astype(np.float32)


ACTIVATIONS = {
    "none": None, "relu": F.relu, "relu6": F.relu6, "hardswish": F.hardswish, "silu": F.silu, "swish": F.swish,
    "sigmoid": F.sigmoid, "tanh": F.tanh, "gelu": F.gelu, "gelu_tanh": lambda x: F.gelu(x, approximate=True),
    "leaky": lambda x: F.leaky_relu(x, 0.3), "elu": lambda x: F.elu(x, 0.7), "hardsigmoid": lambda x: F.hardsigmoid(x, 0.3, 0.4),
}  # fmt: skip


@pytest.mark.parametrize("residual", [False, True])
@pytest.mark.parametrize("act", ACTIVATIONS)
def test_a_row_is_one_kernel(act: str, residual: bool, tmp_path: Path, paddle_xpu: Any) -> None:
    model = moved(Row(ACTIVATIONS[act], residual))
    found, calls, wanted = served(model, image(3, 4, 9, 7), tmp_path)
    np.testing.assert_allclose(found, wanted, rtol=2e-4, atol=2e-5)
    assert calls == {"fused_conv2d_add_act": 2}


@pytest.mark.parametrize("residual", [False, True])
@pytest.mark.parametrize(
    ("options", "shape"),
    [
        ({"groups": 8}, (2, 4, 8, 8)),  # depthwise
        ({"groups": 2}, (2, 4, 5, 6)),
        ({"dilation": 2, "padding": 2, "bias": True}, (1, 4, 6, 9)),
        ({"bias": True, "norm": False}, (2, 4, 6, 9)),
        ({"groups": 8, "bias": True, "norm": False}, (2, 4, 6, 33)),
        ({}, (17, 4, 4, 4)),  # many small images
        ({}, (2, 4, 1, 1)),
    ],
)
def test_kinds_of_convolutions(
    options: dict[str, Any], shape: tuple[int, ...], residual: bool, tmp_path: Path, paddle_xpu: Any
) -> None:
    model = moved(Row(F.hardswish, residual, **options))
    found, calls, wanted = served(model, image(*shape), tmp_path)
    np.testing.assert_allclose(found, wanted, rtol=2e-4, atol=2e-5)
    assert calls == {"fused_conv2d_add_act": 2}


def test_strides_and_free_extents(tmp_path: Path, paddle_xpu: Any) -> None:
    model = moved(Row(F.relu, bias=True, stride=2))
    found, calls, wanted = served(model, image(2, 4, 11, 8), tmp_path, [None, 4, None, None])
    np.testing.assert_allclose(found, wanted, rtol=2e-4, atol=2e-5)
    assert calls == {"fused_conv2d_add_act": 2}


def test_what_is_used_twice_stays(tmp_path: Path, paddle_xpu: Any) -> None:
    class Twice(nn.Layer):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.norm = nn.Conv2D(4, 8, 3, bias_attr=False), nn.BatchNorm2D(8)

        def forward(self, x: Any) -> Any:
            y = self.conv(x)
            return self.norm(y) + F.sigmoid(y)

    found, calls, wanted = served(moved(Twice()), image(2, 4, 6, 6), tmp_path)
    np.testing.assert_allclose(found, wanted, rtol=2e-4, atol=2e-5)
    assert calls["conv2d"] == 1
    assert "fused_conv2d_add_act" not in calls


def test_a_sum_that_broadcasts_is_no_residual(tmp_path: Path, paddle_xpu: Any) -> None:
    class Gate(nn.Layer):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2D(4, 4, 3, padding=1)

        def forward(self, x: Any) -> Any:
            return F.relu(self.conv(x) + x.mean([2, 3], keepdim=True))

    found, calls, wanted = served(moved(Gate()), image(2, 4, 6, 6), tmp_path)
    np.testing.assert_allclose(found, wanted, rtol=2e-4, atol=2e-5)
    assert calls["fused_conv2d_add_act"] == 1


def test_what_is_written_in_between_is_read_before(tmp_path: Path, paddle_xpu: Any) -> None:
    class InPlace(nn.Layer):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2D(4, 4, 3, padding=1)

        def forward(self, x: Any) -> Any:
            x = x * 2.0
            y = self.conv(x)
            z = F.relu_(x)
            return F.sigmoid(y) + z

    found, _, wanted = served(moved(InPlace()), image(2, 4, 6, 6), tmp_path)
    np.testing.assert_allclose(found, wanted, rtol=2e-4, atol=2e-5)


@pytest.mark.parametrize("act", ["none", "relu", "gelu", "silu"])
def test_linear_layers(act: str, tmp_path: Path, paddle_xpu: Any) -> None:
    class Linear(nn.Layer):
        def __init__(self) -> None:
            super().__init__()
            self.linear = nn.Linear(8, 24)

        def forward(self, x: Any) -> Any:
            y = F.dropout(self.linear(x), 0.3, training=self.training)
            return y if ACTIVATIONS[act] is None else ACTIVATIONS[act](y)  # type: ignore[misc]

    found, calls, wanted = served(moved(Linear()), image(3, 5, 8), tmp_path)
    np.testing.assert_allclose(found, wanted, rtol=2e-4, atol=2e-5)
    assert calls == Counter(fused_gemm_epilogue=1) + Counter([] if act == "none" else [act])


def test_programs_say_which_passes_run(tmp_path: Path, paddle_xpu: Any) -> None:
    model, x = moved(Row(F.relu)), image(2, 4, 6, 6)
    for options, fused in (
        ({"enable_custom_passes": ["dead_code_elimination_pass"]}, True),
        ({"switch_ir_optim": False}, False),
    ):
        found, calls, wanted = served(model, x, tmp_path, **options)
        np.testing.assert_allclose(found, wanted, rtol=2e-4, atol=2e-5)
        assert ("fused_conv2d_add_act" in calls) == fused


def test_pools_stay_in_their_layout(tmp_path: Path, paddle_xpu: Any) -> None:
    model = moved(
        nn.Sequential(nn.Conv2D(4, 8, 3), nn.ReLU(), nn.MaxPool2D(3, 2), nn.Conv2D(8, 4, 1), nn.ReLU())
    )
    found, calls, wanted = served(model, image(2, 4, 9, 9), tmp_path)
    np.testing.assert_allclose(found, wanted, rtol=2e-4, atol=2e-5)
    assert calls == {"fused_conv2d_add_act": 2, "pool2d": 1}
