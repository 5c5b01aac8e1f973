# Convolution, its gradients and the transposed convolution against Paddle's CPU kernels in f64.

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import ml_dtypes
import numpy as np
import paddle
import pytest
from execute import INTERPRETED, execute
from reference import Reference

from openxpu.ops import conv
from openxpu.ops.plan import PlanBuilder, Tensor, Unsupported

DTYPES = {"f32": np.float32, "f64": np.float64, "f16": np.float16, "bf16": ml_dtypes.bfloat16}
TOLERANCE = {"f32": 2e-6, "f64": 1e-13, "f16": 2e-3, "bf16": 1.6e-2}


@dataclass(frozen=True)
class Case:
    """x [n, c, (d,) h, w], filter [k, c / groups, (kd,) kh, kw]; padding as given to the planner."""

    x: tuple[int, ...]
    k: int
    kernel: tuple[int, ...]
    stride: Any = 1
    padding: Any = 0
    dilation: Any = 1
    groups: int = 1

    def __str__(self) -> str:
        sizes = "x".join(map(str, self.x))
        return f"{sizes}-{self.k}-k{self.kernel}s{self.stride}p{self.padding}d{self.dilation}g{self.groups}".replace(
            " ", ""
        )


SMALL = [
    Case((1, 3, 5, 7), 4, (3, 3), 1, 1),
    Case((2, 3, 9, 7), 5, (3, 3), 2, 1),
    Case((4, 4, 7, 7), 6, (3, 3), 1, 1),
    Case((2, 3, 15, 15), 4, (7, 7), 2, 3),
    Case((2, 5, 8, 8), 7, (1, 1)),
    Case((2, 5, 4, 3), 7, (1, 1)),
    Case((2, 5, 9, 8), 7, (1, 1), 2),
    Case((2, 6, 9, 8), 4, (3, 2), (2, 1), (1, 0, 2, 1), (1, 2), 2),
    Case((1, 4, 11, 10), 4, (3, 3), (3, 2), (2, 1, 0, 3), 2),
    Case((1, 2, 3, 3), 2, (2, 2), 3),
    Case((1, 2, 6, 5), 3, (2, 2), 3),
    Case((2, 4, 6, 6), 8, (3, 3), groups=4),
    Case((2, 4, 9, 6), 4, (3, 3), 2, 1, groups=4),
    Case((1, 3, 6, 9), 2, (3, 5), 2, "SAME"),
    Case((1, 3, 6, 9), 2, (3, 3), 1, "VALID"),
    Case((1, 2, 5, 5), 3, (3, 3), 1, 4),
]
WIDE = [
    Case((1, 1, 1, 1), 1, (1, 1)),
    Case((8, 64, 7, 7), 70, (3, 3), 1, 1),
    Case((2, 20, 14, 14), 33, (3, 3), 1, 1),
    Case((1, 17, 28, 30), 24, (3, 3), 2, 1),
    Case((2, 3, 65, 130), 16, (7, 7), 2, 3),
    Case((3, 65, 13, 11), 40, (1, 1)),
    Case((8, 64, 7, 7), 31, (1, 1)),
    Case((2, 64, 56, 56), 64, (3, 3), 1, 1),
    Case((2, 32, 14, 14), 32, (3, 3), 1, 1, groups=8),
    Case((1, 24, 33, 20), 24, (5, 5), 2, 2, groups=24),
    Case((1, 8, 20, 70), 16, (5, 3), 1, (2, 1), groups=8),
    Case((2, 16, 40, 17), 8, (3, 3), 1, 4, 4),
    Case((1, 4, 200, 150), 4, (11, 11), 4, 2),
    Case((2, 512, 7, 7), 512, (3, 3), 1, 1),
    Case((2, 3, 32, 32), 8, (4, 4), 4),
    Case((2, 530, 2, 2), 520, (1, 1)),
    Case((2, 140, 3, 3), 300, (3, 3), 1, 1),
    Case((2, 600, 4, 4), 40, (1, 1), 2),
]
ONE_PIXEL = [
    Case((3, 17, 1, 1), 33, (1, 1)),
    Case((2, 9, 1, 1), 5, (1, 1), 3, 1),
    Case((1, 6, 1, 9), 4, (3, 3), 2, 1, groups=2),
]
DEPTHWISE = [
    Case((2, 20, 14, 14), 20, (3, 3), 1, 1, groups=20),
    Case((2, 6, 15, 70), 6, (3, 3), 1, (2, 1, 0, 3), (2, 1), groups=6),
    Case((1, 4, 5, 5), 4, (3, 3), 1, 4, groups=4),
    Case((2, 12, 9, 13), 12, (5, 5), 2, 2, groups=12),
    Case((3, 5, 7, 7), 5, (5, 5), 1, 2, groups=5),
    Case((1, 3, 30, 31), 9, (7, 7), (1, 3), 3, groups=3),
    Case((1, 3, 12, 140), 3, (3, 3), 2, 1, groups=3),
    Case((2, 2, 9, 300), 2, (3, 5), 1, (1, 2), groups=2),
    Case((2, 3, 4, 33), 3, (3, 3), 2, 4, (1, 2), groups=3),
    Case((1, 2, 1, 20), 2, (1, 3), 1, (0, 1), groups=2),
    Case((1, 2, 9, 8), 2, (2, 2), 3, groups=2),
]
IMAGES = [
    Case((17, 3, 5, 6), 4, (3, 3), 1, 1),
    Case((40, 4, 7, 5), 6, (3, 2), (2, 1), (1, 0, 2, 1), (1, 2), 2),
    Case((64, 3, 6, 6), 18, (3, 3), 2, 1),
    Case((16, 2, 5, 3), 3, (2, 2), 3),
    Case((130, 20, 4, 4), 70, (3, 3), 1, 1),
    Case((16, 2, 3, 3), 5, (1, 1), 1, 1),
    Case((20, 3, 6, 7, 8), 4, (2, 3, 2), (2, 1, 3), 0, (1, 2, 2)),
    Case((18, 4, 3, 4, 5), 6, (3, 3, 3), 1, (1, 2, 0), groups=2),
    Case((16, 3, 3, 4, 5), 3, (3, 3, 3), 2, 1, groups=3),
]
WIDE += ONE_PIXEL + DEPTHWISE + IMAGES
CASES = SMALL[:8] if INTERPRETED else SMALL + WIDE


def _channels_last(a: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(np.moveaxis(a, 1, -1))


def _reference(
    case: Case, dtype: Any, transpose: bool
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Inputs in `dtype`, and (y, dx, dw) of Paddle's CPU kernels in f64 for the same numbers."""
    rng = np.random.default_rng(7)
    c = case.x[1]
    second = case.k // case.groups if transpose else c // case.groups
    first = c if transpose else case.k
    x = rng.standard_normal(case.x).astype(dtype)
    f = rng.standard_normal((first, second, *case.kernel)).astype(dtype)
    name = f"conv{len(case.kernel)}d{'_transpose' * transpose}"
    function = getattr(paddle.nn.functional, name)
    padding = list(case.padding) if isinstance(case.padding, tuple) else case.padding
    dilation = list(case.dilation) if isinstance(case.dilation, tuple) else case.dilation
    stride = list(case.stride) if isinstance(case.stride, tuple) else case.stride
    reference = Reference(
        lambda x, f: function(x, f, None, stride, padding, dilation=dilation, groups=case.groups), x, f
    )
    dy = rng.standard_normal(reference.shape).astype(dtype)
    dx, df = reference.gradients(dy)
    return {"x": x, "f": f, "dy": dy}, {"y": reference.value, "dx": dx, "dw": df}


def _close(got: np.ndarray, want: np.ndarray, tolerance: float, terms: int) -> None:
    """Errors relative to the size that a sum of `terms` products of standard normals has."""
    scale = max(1.0, terms**0.5)
    error = np.abs(got.astype(np.float64) - want).max(initial=0.0) / scale
    assert error <= tolerance * 4, (
        f"largest error is {error:.3g} of the typical size, {tolerance * 4:.3g} are allowed"
    )


def _terms(case: Case, y: np.ndarray) -> dict[str, int]:
    taps = math.prod(case.kernel)
    return {
        "y": case.x[1] // case.groups * taps,
        "dx": case.k // case.groups * taps,
        "dw": y.shape[0] * math.prod(y.shape[2:]),
    }


def _check(case: Case, dtype: str, layout: str) -> None:
    given, want = _reference(case, DTYPES[dtype], False)
    arrange = _channels_last if layout == "NHWC" else np.ascontiguousarray
    x, f, dy = arrange(given["x"]), given["f"], arrange(given["dy"])
    attributes = (case.stride, case.padding, case.dilation, case.groups, layout)
    (y,) = execute(conv.plan_conv, [x, f], [(dy.shape, dtype)], *attributes)
    dx, dw = execute(conv.plan_conv_grad, [x, f, dy], [(x.shape, dtype), (f.shape, dtype)], *attributes)
    terms = _terms(case, want["y"])
    _close(y, arrange(want["y"]), TOLERANCE[dtype], terms["y"])
    _close(dx, arrange(want["dx"]), TOLERANCE[dtype], terms["dx"])
    _close(dw, want["dw"], TOLERANCE[dtype], terms["dw"])


def _seldom(cases: list[Case]) -> list[Any]:
    """The same cases, those slow that take long to compile: as many products in a row as taps, for three directions."""
    long = (DEPTHWISE[3], DEPTHWISE[5])
    return [pytest.param(case, marks=pytest.mark.slow) if case in long else case for case in cases]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_conv2d_f32(case: Case) -> None:
    _check(case, "f32", "NCHW")


@pytest.mark.parametrize(
    "case", SMALL[:3] if INTERPRETED else SMALL + WIDE[1:6] + _seldom(DEPTHWISE) + IMAGES[::3], ids=str
)
def test_conv2d_channels_last(case: Case) -> None:
    _check(case, "f32", "NHWC")


@pytest.mark.parametrize("dtype", ["f64", "f16", "bf16"])
@pytest.mark.parametrize(
    "case",
    SMALL[1:3]
    if INTERPRETED
    else [*SMALL, WIDE[1], WIDE[5], WIDE[8], *ONE_PIXEL, *_seldom(DEPTHWISE), *IMAGES[::3]],
    ids=str,
)
def test_conv2d_dtypes(case: Case, dtype: str) -> None:
    _check(case, dtype, "NCHW")


TRANSPOSED = [
    Case((2, 4, 5, 6), 3, (3, 3), 2, 1),
    Case((1, 6, 4, 4), 4, (4, 4), 2, 1, groups=2),
    Case((1, 3, 3, 5), 2, (2, 2), 3),
    Case((2, 4, 6, 5), 4, (3, 3), 2, 1, groups=4),
    Case((1, 2, 5, 4), 3, (3, 3), 1, 1, 2),
    Case((1, 20, 14, 14), 18, (4, 4), 2, 1),
    Case((21, 4, 3, 4), 5, (2, 2), 2),
    Case((16, 4, 3, 4, 5), 3, (2, 2, 2), 2),
    Case((19, 4, 3, 4, 5), 4, (3, 3, 2), (1, 2, 3), 1, groups=2),
]


@pytest.mark.parametrize("case", TRANSPOSED[:2] if INTERPRETED else TRANSPOSED, ids=str)
def test_conv2d_transpose(case: Case) -> None:
    given, want = _reference(case, np.float32, True)
    x, f, dy = given["x"], given["f"], given["dy"]
    attributes = (case.stride, case.padding, case.dilation, case.groups, "NCHW")
    (y,) = execute(conv.plan_conv_transpose, [x, f], [(dy.shape, "f32")], *attributes)
    dx, dw = execute(
        conv.plan_conv_transpose_grad, [x, f, dy], [(x.shape, "f32"), (f.shape, "f32")], *attributes
    )
    taps = math.prod(case.kernel)
    _close(y, want["y"], TOLERANCE["f32"], case.x[1] * taps)
    _close(dx, want["dx"], TOLERANCE["f32"], case.k * taps)
    _close(dw, want["dw"], TOLERANCE["f32"], case.x[0] * math.prod(case.x[2:]))


def test_images_become_lanes_when_they_are_many_and_small() -> None:
    def chosen(images: int, size: int) -> str:
        shapes = (images, 4, size, size), (4, 4, 3, 3), (images, 4, size, size)
        x, w, y = (Tensor.argument(i, shape, "f32") for i, shape in enumerate(shapes))
        return conv._conv("a convolution", x, w, y, 1, 1, 1, 1, "NCHW")[0].algorithm("forward")

    assert chosen(64, 7) == "images"
    assert chosen(2, 7) == chosen(64, 28) == "planes"


@pytest.mark.skipif(INTERPRETED, reason="the interpreter unrolls nothing")
@pytest.mark.timeout(120)  # with all its taps in one kernel the compiler was at it for more than ten minutes
@pytest.mark.parametrize(
    "case", [Case((4, 1, 20, 64), 3, (4, 64)), Case((2, 8, 1, 90), 8, (1, 75), 1, (0, 37), groups=8)], ids=str
)
def test_a_filter_of_many_taps_is_soon_compiled(case: Case) -> None:
    given, want = _reference(case, np.float32, False)
    attributes = (case.stride, case.padding, case.dilation, case.groups, "NCHW")
    arrays = [given["x"], given["f"], given["dy"]]
    dx, dw = execute(
        conv.plan_conv_grad, arrays, [(given["x"].shape, "f32"), (given["f"].shape, "f32")], *attributes
    )
    terms = _terms(case, want["y"])
    _close(dx, want["dx"], TOLERANCE["f32"], terms["dx"])
    _close(dw, want["dw"], TOLERANCE["f32"], terms["dw"])


def test_one_gradient_only() -> None:
    case = SMALL[1]
    given, want = _reference(case, np.float32, False)
    attributes = (case.stride, case.padding, case.dilation, case.groups, "NCHW")
    arrays = [given["x"], given["f"], given["dy"]]
    dx, nothing = execute(conv.plan_conv_grad, arrays, [(given["x"].shape, "f32"), None], *attributes)
    assert nothing is None
    _close(dx, want["dx"], TOLERANCE["f32"], _terms(case, want["y"])["dx"])
    nothing, dw = execute(conv.plan_conv_grad, arrays, [None, (given["f"].shape, "f32")], *attributes)
    assert nothing is None
    _close(dw, want["dw"], TOLERANCE["f32"], _terms(case, want["y"])["dw"])


def test_weight_gradient_is_deterministic() -> None:
    rng = np.random.default_rng(3)
    arrays = [
        rng.standard_normal(s).astype(np.float32) for s in ((4, 8, 30, 30), (8, 8, 3, 3), (4, 8, 30, 30))
    ]
    if INTERPRETED:
        pytest.skip("the interpreter has one order")
    runs = [execute(conv.plan_conv_grad, arrays, [None, ((8, 8, 3, 3), "f32")], 1, 1)[1] for _ in range(3)]
    assert all(np.array_equal(runs[0], other) for other in runs[1:])


def test_empty_batch() -> None:
    x, f = np.zeros((0, 3, 5, 5), np.float32), np.ones((2, 3, 3, 3), np.float32)
    dy = np.zeros((0, 2, 5, 5), np.float32)
    dx, dw = execute(conv.plan_conv_grad, [x, f, dy], [(x.shape, "f32"), (f.shape, "f32")], 1, 1)
    assert dx.shape == x.shape
    assert not dw.any()


@pytest.mark.parametrize(
    ("x", "w", "out", "attributes", "words"),
    [
        ((1, 3, 5, 5), (2, 4, 3, 3), (1, 2, 3, 3), {}, "does not fit a filter"),
        ((1, 3, 5, 5, 5), (2, 3, 3, 3), (1, 2, 3, 3), {}, "4 or 5 dimensions"),
        ((1, 3, 5, 5), (2, 3, 3, 3), (1, 2, 3, 3), {"padding": "FULL"}, "SAME"),
        ((1, 3, 5, 5), (2, 3, 3, 3), (1, 2, 3, 3), {"data_format": "NCL"}, "data formats"),
        ((1, 3, 5, 5), (2, 3, 3, 3), (1, 2, 3, 3), {"padding": (1, 2, 3)}, "1, 2 or 4"),
    ],
)
def test_refusals_say_why(x: Any, w: Any, out: Any, attributes: dict[str, Any], words: str) -> None:
    tensors = [Tensor.argument(i, shape, "f32") for i, shape in enumerate((x, w, out))]
    with pytest.raises(Unsupported, match=words):
        conv.plan_conv(PlanBuilder("conv2d"), *tensors, **attributes)


@pytest.mark.parametrize("case", [case for case in SMALL + WIDE if len(case.kernel) == 2], ids=str)
def test_lines_share_their_padding(case: Case) -> None:
    """The line pitch is at least an output line, and never more than a line with padding of its own on both sides."""
    pads, dilation = conv.resolve_padding(
        case.padding,
        case.x[2:],
        case.kernel,
        conv._numbers(case.stride, 2, ""),
        conv._numbers(case.dilation, 2, ""),
    )
    stride = conv._numbers(case.stride, 2, "")[1]
    out = conv.output_size(case.x[3], case.kernel[1], stride, dilation[1], pads[2], pads[3])
    axis = conv.Axis.of(stride, [k * dilation[1] - pads[2] for k in range(case.kernel[1])])
    pitch = axis.line_pitch(out, case.x[3])
    assert out <= pitch <= out + axis.last - axis.first
    if stride == 1 and case.kernel[1] == 3 and pads[2:] == (1, 1) and dilation[1] == 1:
        assert pitch == out + 1
