# Reductions on device arrays: sum, mean, max, min, prod, any, all, logsumexp, norm. Their planners are in reduce.py.

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from openxpu.ops import reduce
from openxpu.ops.plan import FLOATS
from openxpu.ops.reduce import Axes, normalize_axes
from openxpu.ops.run import run

if TYPE_CHECKING:
    from openxpu.runtime import Array


def kept_shape(shape: Sequence[int], axes: Sequence[int], keepdims: bool) -> tuple[int, ...]:
    """The shape of a reduction's result."""
    if keepdims:
        return tuple(1 if i in axes else extent for i, extent in enumerate(shape))
    return tuple(extent for i, extent in enumerate(shape) if i not in axes)


def _run(plan: Any, x: Array, axis: Axes, keepdims: bool, dtype: str, *attributes: Any) -> Array:
    axes = normalize_axes(axis, len(x.shape))
    return run(plan, [x], [(kept_shape(x.shape, axes, keepdims), dtype)], axes, *attributes)  # type: ignore[no-any-return]


def sum(x: Array, axis: Axes = None, keepdims: bool = False) -> Array:
    """Sum over `axis` (None: everything); integers and bool add up in i64."""
    return _run(reduce.plan_sum, x, axis, keepdims, x.dtype if x.dtype in FLOATS else "i64")


def mean(x: Array, axis: Axes = None, keepdims: bool = False) -> Array:
    """Mean over `axis`, of floats."""
    return _run(reduce.plan_mean, x, axis, keepdims, x.dtype)


def max(x: Array, axis: Axes = None, keepdims: bool = False) -> Array:
    """Greatest element over `axis`."""
    return _run(reduce.plan_max, x, axis, keepdims, x.dtype)


def min(x: Array, axis: Axes = None, keepdims: bool = False) -> Array:
    """Least element over `axis`."""
    return _run(reduce.plan_min, x, axis, keepdims, x.dtype)


def prod(x: Array, axis: Axes = None, keepdims: bool = False) -> Array:
    """Product over `axis`; integers multiply in i64."""
    return _run(reduce.plan_prod, x, axis, keepdims, x.dtype if x.dtype in FLOATS else "i64")


def any(x: Array, axis: Axes = None, keepdims: bool = False) -> Array:
    """Whether any element over `axis` is not zero."""
    return _run(reduce.plan_any, x, axis, keepdims, "bool")


def all(x: Array, axis: Axes = None, keepdims: bool = False) -> Array:
    """Whether all elements over `axis` are not zero."""
    return _run(reduce.plan_all, x, axis, keepdims, "bool")


def logsumexp(x: Array, axis: Axes = None, keepdims: bool = False) -> Array:
    """log(sum(exp(x))) over `axis`, without overflow."""
    return _run(reduce.plan_logsumexp, x, axis, keepdims, x.dtype)


def norm(x: Array, order: float = 2.0, axis: Axes = None, keepdims: bool = False) -> Array:
    """(sum |x|^order)^(1/order) over `axis`; order may be inf, -inf and 0 (how many are not zero)."""
    return _run(reduce.plan_norm, x, axis, keepdims, x.dtype, float(order))
