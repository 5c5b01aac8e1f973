# One function of Paddle on the card against Paddle's CPU kernels in float64: results, gradients, and nothing fallen back.

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import paddle
from compared import device, fallen

TOLERANCE = {"float64": 1e-10, "float32": 2e-5, "float16": 4e-3, "bfloat16": 3e-2}


def _listed(value: Any) -> list[Any]:
    return list(value) if isinstance(value, list | tuple) else [value]


def _run(
    function: Callable[..., Any], arrays: Sequence[np.ndarray], dtype: str, gradients: bool
) -> list[np.ndarray]:
    """The results, then the gradients of a weighted sum of those that are floats."""
    tensors = [paddle.to_tensor(a) for a in arrays]
    tensors = [t.astype(dtype) if a.dtype.kind == "f" else t for t, a in zip(tensors, arrays, strict=True)]
    for t, a in zip(tensors, arrays, strict=True):
        t.stop_gradient = not (gradients and a.dtype.kind == "f")
    outs = _listed(function(*tensors))
    found = [o for o in outs if o is not None]
    if gradients:
        rng = np.random.default_rng(5)
        total = None
        for o in found:
            if o.is_floating_point() and not o.stop_gradient:
                weight = paddle.to_tensor(rng.standard_normal(o.shape)).astype(o.dtype)
                term = (o * weight).sum()
                total = term if total is None else total + term
        assert total is not None, "nothing to differentiate"
        total.backward()
        found += [t.grad for t in tensors if t.grad is not None]
    return [
        t.astype("float64").numpy() if t.is_floating_point() else t.numpy()
        for t in (f.detach() for f in found)
    ]


def agree(
    function: Callable[..., Any],
    *arrays: np.ndarray,
    dtype: str = "float32",
    gradients: bool = True,
    tolerance: float | None = None,
) -> list[np.ndarray]:
    """Asserts that the card, in `dtype`, agrees with the CPU in float64, relative to each result's largest element,
    and that the card ran all of it. Returns what the card found."""
    got: list[np.ndarray] = []
    with device("cpu"):
        rounded = [
            paddle.to_tensor(a).astype(dtype).astype("float64").numpy() if a.dtype.kind == "f" else a
            for a in arrays
        ]
        want = _run(function, rounded, "float64", gradients)
    fell = fallen(lambda: got.extend(_run(function, rounded, dtype, gradients)))
    assert not fell, f"ran on the CPU: {fell}"
    assert len(got) == len(want)
    limit = TOLERANCE[dtype] if tolerance is None else tolerance
    for i, (mine, theirs) in enumerate(zip(got, want, strict=True)):
        assert mine.shape == theirs.shape, f"result {i}: {mine.shape} against {theirs.shape}"
        if theirs.size:
            scale = max(1.0, float(np.abs(theirs[np.isfinite(theirs)]).max(initial=0)))
            np.testing.assert_allclose(
                mine / scale, theirs / scale, rtol=limit, atol=limit, err_msg=f"result {i}"
            )
    return got
