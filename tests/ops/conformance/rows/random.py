# Random numbers and dropout.
from __future__ import annotations

from typing import Any

import numpy as np
import paddle
from conformance.draw import constant, uniform
from conformance.row import row
from paddle import _C_ops as ops
from scipy import stats

F = paddle.nn.functional
SIZES = ([200, 101], [20011], [], [0, 3])


def place() -> Any:
    return paddle.framework._current_expected_place()


def of(dtype: str) -> Any:
    return getattr(paddle, dtype)


def sized(**attrs: Any) -> list[dict[str, Any]]:
    """The attributes with every size."""
    return [{**attrs, "shape": shape} for shape in SIZES]


def flat(low: float, high: float, **_: Any) -> Any:
    return stats.uniform(low, high - low)


def permuted(outputs: Any, arrays: Any, attrs: dict[str, Any]) -> None:
    assert (np.sort(outputs[0]) == np.arange(attrs["n"])).all(), "this is no permutation"


def dropped(x: Any, p: float, mode: str) -> Any:
    """The output, and the gradient of its sum."""
    x.stop_gradient = False
    out = F.dropout(x, p, mode=mode)
    return out, paddle.grad([out], [x], [paddle.full_like(out, 2.0)])[0]


def follows_mask(outputs: Any, arrays: Any, attrs: dict[str, Any]) -> None:
    out, gradient = (o.astype(np.float64) for o in outputs)
    x, p = arrays[0].astype(np.float64), attrs["p"]
    factor = 1 / (1 - p) if attrs["mode"] == "upscale_in_train" else 1.0
    kept = out != 0
    np.testing.assert_allclose(out[kept], x[kept] * factor, rtol=1e-2)
    np.testing.assert_allclose(gradient, np.where(kept, 2 * factor, 0), rtol=1e-2)
    spread = (p * (1 - p) / x.size) ** 0.5
    assert abs(kept.mean() - (1 - p)) < 6 * spread + 1e-9, (
        f"{kept.mean()} of the elements are left, not {1 - p}"
    )


EAGER = "its gradient is taken in eager mode"

ROWS = [
    row("gaussian", lambda mean, std, shape, dtype: ops.gaussian(shape, mean, std, 0, of(dtype), place()), typed=True, law=lambda mean, std, **_: stats.norm(mean, std), static="the place is that of eager mode",
        attrs=[*sized(mean=0.0, std=1.0), *sized(mean=-3.0, std=0.5)]),
    row("uniform", lambda low, high, shape, dtype: paddle.uniform(shape, dtype, low, high), typed=True, law=flat, attrs=[*sized(low=0.0, high=1.0), *sized(low=-3.0, high=5.0)]),
    row("truncated_gaussian_random", lambda shape, dtype: ops.truncated_gaussian_random(shape, 1.0, 2.0, 0, -1.5, 2.0, of(dtype), place()), typed=True, static="the place is that of eager mode",
        law=lambda **_: stats.truncnorm((-1.5 - 1) / 2, (2.0 - 1) / 2, 1.0, 2.0), attrs=sized()),
    row("randint", lambda low, high, shape, dtype: paddle.randint(low, high, shape, dtype), typed=True, law=lambda low, high, **_: stats.randint(low, high), attrs=[*sized(low=0, high=10), *sized(low=-5, high=60)]),
    row("randperm", lambda n, dtype: paddle.randperm(n, dtype), typed=True, law=lambda **_: None, check=permuted, attrs=[{"n": n} for n in (1, 7, 1024, 20011)]),
    row("bernoulli", lambda x, p: paddle.bernoulli(x), lambda d: constant(d.attrs["p"])(d), shapes=[(200, 101), (20011,), (), (0, 3)], attrs=[{"p": 0.25}, {"p": 0.5}], law=lambda p: stats.bernoulli(p)),
    row("gaussian_inplace", lambda x, mean, std: ops.gaussian_inplace_(x, mean, std, 0), constant(0), shapes=[(200, 101), (20011,), ()], attrs=[{"mean": 0.0, "std": 1.0}, {"mean": 2.0, "std": 3.0}], law=lambda mean, std: stats.norm(mean, std), layouts=(), grad=False, static="in place"),
    row("uniform_inplace", lambda x, low, high: ops.uniform_inplace_(x, low, high, 0, 0, 0, 1.0), constant(0), shapes=[(200, 101), (20011,), ()], attrs=[{"low": 0.0, "high": 1.0}, {"low": -3.0, "high": 5.0}], law=flat, layouts=(), grad=False, static="in place"),
    row("dropout", dropped, uniform(0.5, 2), shapes=[(200, 101), (20011,), (7,), ()], attrs=[{"p": p, "mode": m} for p in (0.25, 0.5) for m in ("upscale_in_train", "downscale_in_infer")], law=lambda **_: None, check=follows_mask, also=("dropout_grad",), grad=False, static=EAGER),
]  # fmt: skip
