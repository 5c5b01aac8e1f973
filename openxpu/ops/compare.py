# Comparisons, logic, bits and selection with broadcasting: planners and public functions.
from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from openxpu.ops.plan import PlanBuilder, Scalar, Tensor
from openxpu.ops.pointwise import aligned, broadcast_shape, compute_dtype, plan_map, plan_map_reduced
from openxpu.ops.run import run

if TYPE_CHECKING:
    from openxpu.runtime import Array

COMPARISONS = ("equal", "not_equal", "less_than", "less_equal", "greater_than", "greater_equal")
LOGIC = ("logical_and", "logical_or", "logical_xor")
BITS = ("bitwise_and", "bitwise_or", "bitwise_xor")


def plan_compare(b: PlanBuilder, x: Tensor, y: Tensor, out: Tensor, name: str, axis: int = -1) -> None:
    """A comparison or logical function of two tensors, as bool (or in out's dtype)."""
    ndim = max(x.ndim, y.ndim)
    plan_map(b, f"compare.{name}", [aligned(x, ndim, axis), aligned(y, ndim, axis)], out)


def plan_bitwise(b: PlanBuilder, x: Tensor, y: Tensor, out: Tensor, name: str) -> None:
    """Bits of integers; bools are 0 and 1."""
    if x.dtype == "bool":
        x, y, out = x.reinterpret("u8"), y.reinterpret("u8"), out.reinterpret("u8")
    plan_map(b, f"compare.{name}", [x, y], out)


def plan_not(b: PlanBuilder, x: Tensor, out: Tensor, name: str) -> None:
    """logical_not (as bool), or bitwise_not (of bools the same)."""
    plan_map(b, "compare.logical_not" if x.dtype == "bool" else f"compare.{name}", [x], out)


def plan_where(b: PlanBuilder, condition: Tensor, x: Tensor, y: Tensor, out: Tensor) -> None:
    """x where the condition holds, else y."""
    plan_map(b, "compare.where", [condition, x, y], out, compute=None)


def plan_where_grad(
    b: PlanBuilder, condition: Tensor, d: Tensor, dx: Tensor | None, dy: Tensor | None
) -> None:
    for function, target in (("where_grad_x", dx), ("where_grad_y", dy)):
        if target is None:
            continue
        if target.shape == d.shape:
            plan_map(b, f"compare.{function}", [condition, d], target, compute=None)
        else:
            chosen = b.scratch(d.shape, compute_dtype(d.dtype))
            plan_map(b, f"compare.{function}", [condition, d], chosen, compute=None)
            plan_map_reduced(b, "elementwise.first", [chosen], d.shape, target)


def plan_isclose(
    b: PlanBuilder, x: Tensor, y: Tensor, out: Tensor, rtol: Scalar, atol: Scalar, equal_nan: bool
) -> None:
    """|x - y| <= atol + rtol * |y| as bool; integers are compared as f64."""
    compute = "f64" if x.dtype == "f64" or (x.dtype[0] in "iub" and x.dtype != "bf16") else "f32"
    plan_map(b, "compare.isclose", [x, y], out, [rtol, atol, float(equal_nan)], compute=compute)


def _public(name: str, plan: Callable[..., None], result: str | None) -> Callable[[Array, Array], Array]:
    def function(x: Array, y: Array) -> Array:
        shape = broadcast_shape(x.shape, y.shape)
        return run(plan, [x, y], [(shape, result or x.dtype)], name)  # type: ignore[no-any-return]

    function.__name__ = function.__qualname__ = name
    function.__doc__ = f"{name} of each pair of elements, with broadcasting" + (
        ", as bool." if result else "."
    )
    return function


equal, not_equal, less_than, less_equal, greater_than, greater_equal = (
    _public(name, plan_compare, "bool") for name in COMPARISONS
)
logical_and, logical_or, logical_xor = (_public(name, plan_compare, "bool") for name in LOGIC)
bitwise_and, bitwise_or, bitwise_xor = (_public(name, plan_bitwise, None) for name in BITS)


def logical_not(x: Array) -> Array:
    """True where x is zero."""
    return run(plan_not, [x], [(x.shape, "bool")], "logical_not")  # type: ignore[no-any-return]


def bitwise_not(x: Array) -> Array:
    """Every bit turned over; bools become their opposite."""
    return run(plan_not, [x], [(x.shape, x.dtype)], "bitwise_not")  # type: ignore[no-any-return]


def where(condition: Array, x: Array, y: Array) -> Array:
    """x where the condition holds, else y; all three broadcast."""
    shape = broadcast_shape(condition.shape, x.shape, y.shape)
    return run(plan_where, [condition, x, y], [(shape, x.dtype)])  # type: ignore[no-any-return]


def isclose(x: Array, y: Array, rtol: float = 1e-5, atol: float = 1e-8, equal_nan: bool = False) -> Array:
    """|x - y| <= atol + rtol * |y| as bool."""
    shape = broadcast_shape(x.shape, y.shape)
    return run(plan_isclose, [x, y], [(shape, "bool")], rtol, atol, equal_nan)  # type: ignore[no-any-return]
