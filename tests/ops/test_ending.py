# Convolutions and products with bias, residual sum and activation, against Paddle's CPU kernels in f64.

from __future__ import annotations

from typing import Any

import numpy as np
import paddle
import pytest
from execute import INTERPRETED, execute
from test_conv import DEPTHWISE, DTYPES, IMAGES, ONE_PIXEL, SMALL, TOLERANCE, WIDE, Case

from openxpu.ops import conv
from openxpu.ops.ending import ACTIVATIONS, Ending
from openxpu.ops.matmul import plan_product
from openxpu.ops.plan import PlanBuilder, Tensor, Unsupported

F = paddle.nn.functional
NUMBERS = {"leaky_relu": ":0.25", "elu": ":0.75", "hardsigmoid": ":0.3:0.4"}
WANTED = {
    "identity": lambda x: x, "relu": F.relu, "relu6": F.relu6, "leaky_relu": lambda x: F.leaky_relu(x, 0.25),
    "hardswish": F.hardswish, "hardsigmoid": lambda x: F.hardsigmoid(x, 0.3, 0.4), "silu": F.silu, "sigmoid": F.sigmoid,
    "tanh": paddle.tanh, "gelu": F.gelu, "gelu_tanh": lambda x: F.gelu(x, approximate=True), "elu": lambda x: F.elu(x, 0.75),
}  # fmt: skip
CASES = (
    SMALL[:3] if INTERPRETED else [*SMALL, WIDE[1], WIDE[2], WIDE[8], *ONE_PIXEL, *DEPTHWISE, *IMAGES[::3]]
)


def text(activation: str) -> str:
    return activation + NUMBERS.get(activation, "")


def plan(
    b: PlanBuilder,
    x: Tensor,
    w: Tensor,
    bias: Tensor,
    residual: Tensor | None,
    out: Tensor,
    activation: str,
    *how: Any,
) -> None:
    conv.plan_conv(b, x, w, out, *how, Ending.of(activation, bias, residual))


def check(case: Case, dtype: str, activation: str, added: bool, layout: str = "NCHW") -> None:
    rng = np.random.default_rng(5)
    kind = DTYPES[dtype]
    x = rng.standard_normal(case.x).astype(kind)
    w = rng.standard_normal((case.k, case.x[1] // case.groups, *case.kernel)).astype(kind)
    bias = rng.standard_normal(case.k).astype(kind)

    def wide(a: np.ndarray) -> Any:
        return paddle.to_tensor(a.astype(np.float64), place=paddle.CPUPlace())

    def given(value: Any) -> Any:
        return list(value) if isinstance(value, tuple) else value

    function = getattr(F, f"conv{len(case.kernel)}d")
    total = function(
        wide(x), wide(w), wide(bias), given(case.stride), given(case.padding), given(case.dilation), case.groups
    )  # fmt: skip
    residual = rng.standard_normal(total.shape).astype(kind) if added else None
    if residual is not None:
        total = total + wide(residual)
    want = WANTED[activation](total).numpy()
    scale = max(1.0, (w.size / case.k) ** 0.5)

    def arranged(a: np.ndarray) -> np.ndarray:
        return np.ascontiguousarray(np.moveaxis(a, 1, -1)) if layout == "NHWC" else a

    (got,) = execute(
        plan, [arranged(x), w, bias, None if residual is None else arranged(residual)], [(arranged(want).shape, dtype)],
        text(activation), case.stride, case.padding, case.dilation, case.groups, layout,
    )  # fmt: skip
    error = np.abs(got.astype(np.float64) - arranged(want)).max(initial=0.0) / scale
    assert error <= 4 * TOLERANCE[dtype]


@pytest.mark.parametrize("added", [False, True])
@pytest.mark.parametrize("case", CASES, ids=str)
def test_convolutions(case: Case, added: bool) -> None:
    check(case, "f32", "relu", added)


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_activations(activation: str) -> None:
    check(SMALL[1], "f32", activation, True)
    check(DEPTHWISE[0], "f32", activation, False)
    check(ONE_PIXEL[0], "f32", activation, True)


@pytest.mark.parametrize("dtype", ["f64", "f16", "bf16"])
@pytest.mark.parametrize("case", [SMALL[0], SMALL[7], ONE_PIXEL[0], DEPTHWISE[1], IMAGES[0]], ids=str)
def test_dtypes(case: Case, dtype: str) -> None:
    check(case, dtype, "hardswish", True)


@pytest.mark.parametrize("added", [False, True])
@pytest.mark.parametrize("case", [SMALL[0], SMALL[4], DEPTHWISE[0]], ids=str)
def test_channels_last(case: Case, added: bool) -> None:
    check(case, "f32", "silu", added, "NHWC")


@pytest.mark.parametrize("activation", ["relu", "gelu", "leaky_relu"])
@pytest.mark.parametrize(("m", "k", "n"), [(1, 7, 33), (5, 40, 1), (64, 300, 70), (4, 20000, 8)])
def test_products(m: int, k: int, n: int, activation: str) -> None:
    rng = np.random.default_rng(6)
    x, y, bias = (rng.standard_normal(s).astype(np.float32) for s in ((m, k), (k, n), (1, n)))

    def plan_ended(b: PlanBuilder, x: Tensor, y: Tensor, bias: Tensor, out: Tensor) -> None:
        plan_product(b, x, y, out, bias, ending=Ending.of(text(activation)))

    (got,) = execute(plan_ended, [x, y, bias], [((m, n), "f32")])
    wide = x.astype(np.float64) @ y.astype(np.float64) + bias
    want = WANTED[activation](paddle.to_tensor(wide, place=paddle.CPUPlace())).numpy()
    assert np.abs(got - want).max() / k**0.5 <= 1e-5


def test_not_a_number_and_infinity_reach_the_end() -> None:
    x = np.array([np.nan, np.inf, -np.inf, 1.0], np.float32).reshape(1, 1, 2, 2)
    w, bias = np.ones((1, 1, 1, 1), np.float32), np.zeros(1, np.float32)
    (got,) = execute(plan, [x, w, bias, None], [(x.shape, "f32")], "identity", 1, 0, 1, 1, "NCHW")
    np.testing.assert_array_equal(got, x)


def test_what_cannot_end_a_convolution() -> None:
    for wrong in ("softmax", "relu:1", "leaky_relu", ""):
        with pytest.raises(Unsupported, match="a convolution ends in one of identity, relu"):
            Ending.of(wrong)


@pytest.mark.parametrize(
    ("bias", "residual", "words"),
    [
        ((4,), None, "wants as many contiguous biases"),
        ((3,), (1, 3, 1, 1), "has the shape of its result"),
        ((3,), (1, 3, 4, 4), ""),
    ],
)
def test_shapes_of_an_ending(bias: Any, residual: Any, words: str) -> None:
    x, w, out = (
        Tensor.argument(i, shape, "f32") for i, shape in enumerate([(1, 2, 4, 4), (3, 2, 1, 1), (1, 3, 4, 4)])
    )
    ending = Ending.of(
        "relu", Tensor.argument(3, bias, "f32"), residual and Tensor.argument(4, residual, "f32")
    )
    builder = PlanBuilder("conv2d")
    if not words:
        conv.plan_conv(builder, x, w, out, ending=ending)
        assert builder.steps
        return
    with pytest.raises(Unsupported, match=words):
        conv.plan_conv(builder, x, w, out, ending=ending)
