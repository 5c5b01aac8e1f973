# Functions of one tensor: mathematics, activations, predicates.
from __future__ import annotations

from typing import Any

import numpy as np
import paddle
from conformance.draw import Generator, normal, uniform
from conformance.row import Row, row
from scipy import special as scipy

F = paddle.nn.functional


def unary(kernel: str, draw: Generator = normal, call: Any = None, **more: Any) -> Row:
    """A function of single elements; paddle.<kernel> and paddle.<kernel>_ unless told otherwise."""
    call = call or getattr(paddle, kernel, None) or getattr(F, kernel)
    name = getattr(call, "__name__", "")
    variant = next((v for v in (getattr(m, f"{name}_", None) for m in (paddle, F)) if v is not None), None)
    if name == kernel:
        more.setdefault("inplace", variant)
    return row(kernel, call, draw, **{"scale": "element", **more})


open_unit = uniform(-0.95, 0.95)
positive = uniform(0.05, 4)
# Arguments for which Paddle's Eigen kernels are right too; the sine of 1e38 is open (f32 reduces it with f64's digits).
SMALL = (np.nan, np.inf, -np.inf, 0.0, -0.0, 1e-30, -1e-40, 1e4)


def piecewise(condition: Any, then: Any, otherwise: Any) -> Any:
    """A function for `special`: then(x) where condition(x), else otherwise."""
    return lambda x, **attrs: np.where(condition(x, **attrs), then(x, **attrs), otherwise(x, **attrs))


ROWS = [
    unary("sin", extremes=SMALL),
    unary("cos", extremes=SMALL),
    unary("tan", open_unit),
    unary("asin", open_unit),
    unary("acos", open_unit),
    unary("atan"),
    unary("sinh"),
    unary("cosh"),
    unary("asinh"),
    unary("acosh", uniform(1.1, 5)),
    unary("atanh", open_unit),
    unary("tanh"),
    unary("tanh_shrink", call=F.tanhshrink, scale="tensor"),
    unary("exp", special=np.exp),
    unary("expm1"),
    unary("log", positive),
    unary("log2", positive),
    unary("log10", positive),
    unary("log1p", uniform(-0.9, 4)),
    unary("logit", uniform(0.05, 0.95), attrs=[{}, {"eps": 0.1}], scale="tensor", special=lambda x, eps=0.0: scipy.logit(x)),
    unary("sqrt", positive),
    unary("rsqrt", positive),
    unary("square"),
    unary("reciprocal", uniform(0.3, 3)),
    unary("erf"),
    unary("abs"),
    unary("sign", special=np.sign, grad=("scale",), finite=False),
    unary("floor", finite=False),
    unary("ceil", finite=False),
    unary("round", attrs=[{}, {"decimals": 2}, {"decimals": -1}], finite=False),
    unary("trunc", special=np.trunc, finite=False),
    unary("relu"),
    unary("relu6", uniform(-2, 8)),
    unary("silu"),
    unary("swish"),
    unary("mish", scale=0.1, grad_scale=0.5),
    unary("softsign"),
    unary("sigmoid"),
    unary("logsigmoid", call=F.log_sigmoid, special=lambda x: -np.logaddexp(0, -x)),
    unary("softplus", attrs=[{}, {"beta": 2.0, "threshold": 3.0}], scale=0.1),
    unary("gelu", attrs=[{"approximate": False}, {"approximate": True}], scale="tensor", special=lambda x, approximate: x * scipy.ndtr(x)),
    unary("selu", attrs=[{}, {"scale": 1.5, "alpha": 2.0}], scale=0.1, grad_tolerance={"f64": 1e9}),
    unary("elu", attrs=[{}, {"alpha": 0.3}], scale=0.1),
    unary("celu", attrs=[{}, {"alpha": 0.3}], scale=0.1),
    unary("leaky_relu", attrs=[{}, {"negative_slope": 0.3}]),
    unary("hard_shrink", call=F.hardshrink, attrs=[{}, {"threshold": 1.0}], special=piecewise(lambda x, threshold=0.5: np.abs(x) < threshold, lambda x, **_: 0 * x, lambda x, **_: x)),
    unary("softshrink", attrs=[{}, {"threshold": 1.0}], special=lambda x, threshold=0.5: np.where(np.abs(x) > threshold, x - np.copysign(threshold, x), 0)),
    unary("hardtanh", attrs=[{}, {"min": -0.5, "max": 0.7}]),
    unary("hardsigmoid", uniform(-4, 4), attrs=[{}, {"slope": 0.3, "offset": 0.4}], scale=1.0),
    unary("hardswish", uniform(-4, 4)),
    unary("thresholded_relu", attrs=[{}, {"threshold": 0.3, "value": 0.1}], special=lambda x, threshold=1.0, value=0.0: np.where(x > threshold, x, np.float32(value))),
    unary("stanh", attrs=[{}, {"scale_a": 0.4, "scale_b": 2.0}]),
    unary("clip", attrs=[{"min": -1, "max": 1}, {"min": 0}, {"max": 0.5}], extremes="i"),
    unary("isnan"),
    unary("isinf"),
    unary("isfinite"),
]  # fmt: skip
