# Double and triple gradients, which eager mode often composes of others: plans against Paddle's automatic differentiation in f64.
from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import paddle
import pytest
from execute import execute
from reference import Reference

from openxpu.ops import higher_grad as ops

# The gradient of each function is f1(s) d, s being what it keeps: (f1, its parameters).
FIRST: dict[str, tuple[Callable[..., Any], tuple[float, ...]]] = {
    "sin": (paddle.cos, ()),
    "cos": (lambda x: -paddle.sin(x), ()),
    "tanh": (lambda o: 1 - o * o, ()),
    "sigmoid": (lambda o: o * (1 - o), ()),
    "sqrt": (lambda o: 0.5 / o, ()),
    "rsqrt": (lambda o: -0.5 * o * o * o, ()),
    "square": (lambda x: 2 * x, ()),
    "log": (lambda x: 1 / x, ()),
    "pow": (lambda x: 3.5 * x * x * paddle.sqrt(x), (3.5,)),
    "softplus": (lambda x: 1 / (1 + paddle.exp(-2 * x)), (2.0, 30.0)),
}
TRIPLE = ("sin", "cos", "tanh", "sigmoid", "pow")
SHAPE = (7, 33)


def positive(seed: int, shape: Any = SHAPE) -> np.ndarray:
    return np.random.default_rng(seed).uniform(0.3, 2, shape)


def normal(seed: int, shape: Any = SHAPE) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape)


def same(got: list[Any], want: list[Any], dtype: Any) -> None:
    for ours, theirs in zip(got, want, strict=True):
        scale = np.abs(theirs).mean() + np.abs(theirs)
        assert (np.abs(ours - theirs) <= 200 * np.finfo(dtype).eps * scale).all()


def slope(f1: Callable[..., Any], s: Any) -> Any:
    return paddle.grad(f1(s).sum(), [s], create_graph=True)[0]


@pytest.mark.parametrize(("dtype", "name"), [(np.float32, "f32"), (np.float64, "f64")])
@pytest.mark.parametrize("function", FIRST)
def test_double(function: str, dtype: Any, name: str) -> None:
    f1, parameters = FIRST[function]
    s, d, ddx = (a.astype(dtype) for a in (positive(0), normal(1), normal(2)))
    want = Reference(lambda s, d: f1(s) * d, s, d).gradients(ddx)
    kept = d
    if function in ("sqrt", "rsqrt"):  # these keep the first gradient instead of the result's
        kept = Reference(lambda s, d: f1(s) * d, s, d).value.astype(dtype)
    outputs = [(SHAPE, name), (SHAPE, name)]
    same(execute(ops.plan_double_grad, [s, kept, ddx], outputs, function, *parameters), want, dtype)


@pytest.mark.parametrize("absent", [None, 3, 4])
@pytest.mark.parametrize("function", TRIPLE)
def test_triple(function: str, absent: int | None) -> None:
    f1, parameters = FIRST[function]
    given: list[Any] = [positive(0), normal(1), normal(2), normal(3), normal(4)]
    e, g = (np.zeros(SHAPE) if absent == i else given[i] for i in (3, 4))

    def loss(s: Any, d: Any, ddx: Any) -> Any:
        return slope(f1, s) * d * ddx * paddle.to_tensor(e) + f1(s) * ddx * paddle.to_tensor(g)

    want = Reference(loss, *given[:3]).gradients(np.ones(SHAPE))
    if absent is not None:
        given[absent] = None
    got = execute(ops.plan_triple_grad, given, [(SHAPE, "f64")] * 3, function, *parameters)
    same(got, want, np.float64)


@pytest.mark.parametrize("absent", [None, "ddx", "ddy"])
@pytest.mark.parametrize(
    ("x_shape", "y_shape"), [((4, 3), (4, 3)), ((3, 5), (5,)), ((5,), (3, 5)), ((3, 1), (1, 5))]
)
def test_arithmetic(x_shape: Any, y_shape: Any, absent: str | None) -> None:
    shape = np.broadcast_shapes(x_shape, y_shape)
    x, y, d = normal(0, x_shape), positive(1, y_shape), normal(2, shape)
    ddx, ddy = normal(3, x_shape), normal(4, y_shape)
    kept = (None if absent == "ddx" else ddx, None if absent == "ddy" else ddy)
    zeroed = [np.zeros_like(a) if b is None else b for a, b in zip((ddx, ddy), kept, strict=True)]

    def change(function: Callable[..., Any]) -> list[np.ndarray]:
        """The gradients of <dx, ddx> + <dy, ddy> by x, y and d."""

        def loss(x: Any, y: Any, d: Any) -> Any:
            dx, dy = paddle.grad(function(x, y), [x, y], d, create_graph=True)
            return (dx * paddle.to_tensor(zeroed[0])).sum() + (dy * paddle.to_tensor(zeroed[1])).sum()

        return Reference(loss, x, y, d).gradients(np.ones(()))

    def out(a: np.ndarray) -> tuple[Any, str]:
        return a.shape, "f64"

    want = change(paddle.multiply)
    same(
        execute(ops.plan_multiply_double_grad, [x, y, d, *kept], [out(x), out(y), out(d)], -1),
        want,
        np.float64,
    )
    quotient = x / y
    got = execute(ops.plan_divide_double_grad, [y, quotient, d, None, *kept], [out(y), out(d), out(d)], -1)
    # The result counts as an operand of its own: what its gradient gives to x and y comes on top.
    dy, dout, ddout = got
    dx = Reference(lambda x, y: x / y, x, y).gradients(dout)
    want = change(paddle.divide)
    same([dx[0], dy + dx[1], ddout], want, np.float64)
    sums = execute(ops.plan_sum_double_grad, list(kept), [out(d)], -1)
    same(sums, [np.broadcast_to(zeroed[0] + zeroed[1], shape)], np.float64)
    differences = execute(ops.plan_sum_double_grad, list(kept), [out(d)], -1, True)
    same(differences, [np.broadcast_to(zeroed[0] - zeroed[1], shape)], np.float64)


def test_multiply_triple() -> None:
    shape = (4, 3)
    given = [normal(i, shape) for i in range(8)]
    d_dx, d_dy, d_ddout = given[5:]
    outputs = [(shape, "f64")] * 5

    def plan(b: Any, *tensors: Any) -> None:
        ops.plan_multiply_triple_grad(b, *tensors[:8], tensors[8:], -1)

    def loss(x: Any, y: Any, d: Any, ddx: Any, ddy: Any) -> Any:
        e, f, g = (paddle.to_tensor(a) for a in (d_dx, d_dy, d_ddout))
        return (d * ddy * e + d * ddx * f + (ddx * y + x * ddy) * g).sum()

    want = Reference(loss, *given[:5]).gradients(np.ones(()))
    same(execute(plan, given, outputs), want, np.float64)


@pytest.mark.parametrize("absent", [None, "ddx", "ddy"])
@pytest.mark.parametrize("transpose", [False, True])
def test_matmul(transpose: bool, absent: str | None) -> None:
    x, y = normal(0, (2, 3, 5)), normal(1, (4, 5) if transpose else (5, 4))
    d = normal(2, (2, 3, 4))
    ddx, ddy = (
        (None if absent == "ddx" else normal(3, x.shape)),
        (None if absent == "ddy" else normal(4, y.shape)),
    )

    def loss(x: Any, y: Any, d: Any) -> Any:
        dx, dy = paddle.grad(paddle.matmul(x, y, False, transpose), [x, y], d, create_graph=True)
        parts = [(g * paddle.to_tensor(v)).sum() for g, v in ((dx, ddx), (dy, ddy)) if v is not None]
        return sum(parts[1:], parts[0])

    want = Reference(loss, x, y, d).gradients(np.ones(()))
    outputs = [(a.shape, "f64") for a in (x, y, d)]
    got = execute(ops.plan_matmul_double_grad, [x, y, d, ddx, ddy], outputs, False, transpose)
    same(got, want, np.float64)
