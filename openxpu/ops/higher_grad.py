# Gradients of gradients: one table for functions of one tensor, formulas for arithmetic and products. Planners.
"""A function whose gradient is f1(s) d, s being what it keeps (x or out), has

    double gradient    ds = f2(s) d ddx                 ddout = f1(s) ddx
    triple gradient    ds = f3(s) d ddx e + f2(s) ddx g      dd = f2(s) ddx e      dddx = f2(s) d e + f1(s) g

where f2 and f3 are the derivatives of f1, e is the gradient of ds and g that of ddout."""

from __future__ import annotations

import math
from collections.abc import Sequence

from openxpu.ops.creation import plan_full
from openxpu.ops.layout import plan_copy
from openxpu.ops.matmul import plan_matmul, plan_matmul_grad
from openxpu.ops.plan import PlanBuilder, Tensor, dtype_constexpr, scalar_as
from openxpu.ops.pointwise import aligned, compute_dtype, plan_map, plan_map_reduced
from openxpu.ops.reduce import plan_sum, power_of_two
from openxpu.ops.select import dense

Term = Sequence[Tensor | None]
Function = tuple[str, tuple[float, ...]]


def _derivatives(name: str, parameters: tuple[float, ...]) -> tuple[Function, ...]:
    """f1, f2 (and f3) with their numbers."""
    if name == "pow":
        (n,) = parameters
        return (
            ("scaled_power", (n, n - 1)),
            ("scaled_power", (n * (n - 1), n - 2)),
            ("scaled_power", (n * (n - 1) * (n - 2), n - 3)),
        )
    table: dict[str, tuple[Function, ...]] = {
        "sin": (("cosine", ()), ("minus_sine", ()), ("minus_cosine", ())),
        "cos": (("minus_sine", ()), ("minus_cosine", ()), ("sine", ())),
        "tanh": (("o_tanh", ()), ("times", (-2.0,)), ("constant", (-2.0,))),
        "sigmoid": (("o_sigmoid", ()), ("o_sigmoid2", ()), ("constant", (-2.0,))),
        "relu": (("positive", ()),),
        "abs": (("sign", ()),),
        "leaky_relu": (("leaky_relu", parameters),),
        # sqrt and rsqrt keep out and dx: ds = f2(out) dx ddx
        "sqrt": (("over", (0.5,)), ("over", (-1.0,))),
        "rsqrt": (("o_rsqrt", ()), ("over", (3.0,))),
        "square": (("times", (2.0,)), ("constant", (2.0,))),
        "log": (("over", (1.0,)), ("minus_inverse_square", ())),
        "elu": (("elu", parameters), ("elu2", parameters)),
        "celu": (("celu", parameters), ("celu2", parameters)),
        "softplus": (("softplus", parameters), ("softplus2", parameters)),
    }
    return table[name]


def _plan_sum(
    b: PlanBuilder, saved: Tensor, out: Tensor | None, terms: Sequence[tuple[Function, Term]]
) -> None:
    """out = the sum of function(saved) times factors. A term with an absent factor is zero."""
    if out is None:
        return
    present = [term for term in terms if all(factor is not None for factor in term[1])]
    total: Tensor | None = None
    for i, ((function, numbers), factors) in enumerate(present):
        value = b.scratch(saved.shape, compute_dtype(saved.dtype))
        plan_map(b, f"higher_grad.{function}", [saved], value, numbers, effort=4)
        *more, last = [factor for factor in factors if factor is not None]
        for factor in more:
            plan_map(b, "elementwise.multiply", [value, factor], value)
        target = out if i == len(present) - 1 else value
        if total is None:
            plan_map(b, "elementwise.multiply", [value, last], target)
        else:
            plan_map(b, "higher_grad.product_and", [value, last, total], target)
        total = value
    if total is None:
        b.zero(out)


def plan_double_grad(
    b: PlanBuilder,
    saved: Tensor,
    d: Tensor | None,
    ddx: Tensor | None,
    ds: Tensor | None,
    ddout: Tensor | None,
    name: str,
    *parameters: float,
) -> None:
    """The gradients of the gradient of `name` by what it keeps and by d."""
    f = _derivatives(name, parameters)
    # Paddle gives one of the outputs the memory of ddx: that of pow's ds, that of the others' ddout.
    if name == "pow":
        _plan_sum(b, saved, ddout, [(f[0], (ddx,))])
    if ds is not None:
        _plan_sum(b, saved, ds, [(f[1], (d, ddx))])
    if name != "pow":
        _plan_sum(b, saved, ddout, [(f[0], (ddx,))])


def plan_triple_grad(
    b: PlanBuilder,
    saved: Tensor,
    d: Tensor | None,
    ddx: Tensor | None,
    e: Tensor | None,
    g: Tensor | None,
    ds: Tensor | None,
    dd: Tensor | None,
    dddx: Tensor | None,
    name: str,
    *parameters: float,
) -> None:
    f1, f2, f3 = _derivatives(name, parameters)
    _plan_sum(b, saved, ds, [(f3, (d, ddx, e)), (f2, (ddx, g))])
    _plan_sum(b, saved, dd, [(f2, (ddx, e))])
    _plan_sum(b, saved, dddx, [(f2, (d, e)), (f1, (g,))])


def _plan_products(
    b: PlanBuilder, out: Tensor | None, terms: Sequence[Term], shape: Sequence[int], axis: int
) -> None:
    """out = the sum of products of pairs (or single tensors), each broadcast to `shape`, summed over the dimensions in which out
    was broadcast. A term with an absent factor is zero."""
    if out is None:
        return
    whole = [[t for t in term if t is not None] for term in terms if all(t is not None for t in term)]
    if not whole:
        b.zero(out)
        return
    total: Tensor | None = None
    ndim = len(shape)
    for i, factors in enumerate(whole):
        last = i == len(whole) - 1
        operands = [aligned(t, ndim, axis) for t in factors]
        function = "elementwise.multiply" if len(operands) == 2 else "elementwise.first"
        target = out if last and total is None else b.scratch(out.shape, compute_dtype(out.dtype))
        plan_map_reduced(b, function, operands, shape, target, axis=axis)
        if total is not None:
            plan_map(b, "elementwise.add", [total, target], out if last else target)
        total = target


def plan_sum_double_grad(
    b: PlanBuilder,
    ddx: Tensor | None,
    ddy: Tensor | None,
    ddout: Tensor | None,
    axis: int,
    minus: bool = False,
) -> None:
    """Of x + y, or x - y: ddout = ddx + ddy, or ddx - ddy."""
    if ddout is None:
        return
    if ddx is None or ddy is None:
        only = ddx if ddy is None else ddy
        if only is None:
            b.zero(ddout)
        else:
            function = "negative" if minus and ddx is None else "first"
            plan_map(b, f"elementwise.{function}", [aligned(only, ddout.ndim, axis)], ddout)
        return
    operands = [aligned(t, ddout.ndim, axis) for t in (ddx, ddy)]
    plan_map(b, "elementwise.subtract" if minus else "elementwise.add", operands, ddout)


def plan_multiply_double_grad(
    b: PlanBuilder,
    x: Tensor,
    y: Tensor,
    d: Tensor,
    ddx: Tensor | None,
    ddy: Tensor | None,
    dx: Tensor | None,
    dy: Tensor | None,
    ddout: Tensor | None,
    axis: int,
) -> None:
    _plan_products(b, dx, [(ddy, d)], d.shape, axis)
    _plan_products(b, dy, [(ddx, d)], d.shape, axis)
    _plan_products(b, ddout, [(ddx, y), (x, ddy)], d.shape, axis)


def plan_multiply_triple_grad(
    b: PlanBuilder,
    x: Tensor,
    y: Tensor,
    d: Tensor,
    ddx: Tensor | None,
    ddy: Tensor | None,
    d_dx: Tensor | None,
    d_dy: Tensor | None,
    d_ddout: Tensor | None,
    outs: Sequence[Tensor | None],
    axis: int,
) -> None:
    """`outs`: the gradients of x, y, d, ddx, ddy."""
    terms: Sequence[Sequence[Term]] = (
        [(ddy, d_ddout)],
        [(ddx, d_ddout)],
        [(ddx, d_dy), (ddy, d_dx)],
        [(d_dy, d), (y, d_ddout)],
        [(d_dx, d), (x, d_ddout)],
    )
    for out, own in zip(outs, terms, strict=True):
        _plan_products(b, out, own, d.shape, axis)


def plan_divide_double_grad(
    b: PlanBuilder,
    y: Tensor,
    out: Tensor,
    d: Tensor,
    dx: Tensor | None,
    ddx: Tensor | None,
    ddy: Tensor | None,
    dy: Tensor | None,
    dout: Tensor | None,
    ddout: Tensor | None,
    axis: int,
) -> None:
    """dx is d / y, the gradient of x, without the sum over broadcast dimensions; it is found again from d."""
    compute, shape = compute_dtype(d.dtype), d.shape
    y = aligned(y, d.ndim, axis)
    ddx = None if ddx is None else aligned(ddx, d.ndim, axis)
    ddy = None if ddy is None else aligned(ddy, d.ndim, axis)
    slope = b.scratch(shape, compute)
    plan_map(b, "elementwise.divide", [d, y], slope)
    # (ddx - out ddy) / y
    change = b.scratch(shape, compute)
    if ddy is not None:
        plan_map(b, "elementwise.multiply", [out, ddy], change)
        if ddx is not None:
            plan_map(b, "elementwise.subtract", [ddx, change], change)
        else:
            plan_map(b, "elementwise.negative", [change], change)
        plan_map(b, "elementwise.divide", [change, y], change)
    elif ddx is not None:
        plan_map(b, "elementwise.divide", [ddx, y], change)
    else:
        b.zero(change)
    if ddout is not None:
        plan_map(b, "elementwise.first", [change], ddout)
    if dout is not None:
        if ddy is None:
            b.zero(dout)
        else:
            product = b.scratch(shape, compute)
            plan_map(b, "elementwise.multiply", [slope, ddy], product)
            plan_map(b, "elementwise.negative", [product], dout)
    if dy is not None:
        plan_map(b, "elementwise.negative", [change], change)
        _plan_products(b, dy, [(change, slope)], shape, axis)


def plan_matmul_double_grad(
    b: PlanBuilder,
    x: Tensor,
    y: Tensor,
    d: Tensor,
    ddx: Tensor | None,
    ddy: Tensor | None,
    dx: Tensor | None,
    dy: Tensor | None,
    ddout: Tensor | None,
    transpose_x: bool,
    transpose_y: bool,
) -> None:
    for own, other, target, left in ((x, ddy, dx, True), (ddx, y, dy, False)):
        if target is None:
            continue
        if own is None or other is None:
            b.zero(target)
        else:
            grads = (target, None) if left else (None, target)
            plan_matmul_grad(b, own, other, d, grads[0], grads[1], transpose_x, transpose_y)
    if ddout is None:
        return
    pairs = [(u, v) for u, v in ((ddx, y), (x, ddy)) if u is not None and v is not None]
    if not pairs:
        b.zero(ddout)
        return
    products = [b.scratch(ddout.shape, ddout.dtype) if len(pairs) == 2 else ddout for _ in pairs]
    for (u, v), product in zip(pairs, products, strict=True):
        plan_matmul(b, u, v, product, transpose_x, transpose_y)
    if len(products) == 2:
        plan_map(b, "elementwise.add", products, ddout)


def plan_norm_double_grad(
    b: PlanBuilder,
    x: Tensor,
    scale: Tensor | None,
    mean: Tensor,
    factor: Tensor,
    dy: Tensor,
    ddx: Tensor | None,
    ddscale: Tensor | None,
    ddbias: Tensor | None,
    dx: Tensor | None,
    dscale: Tensor | None,
    ddy: Tensor | None,
    instances: bool,
    channels_last: bool = False,
    fixed: bool = False,
    epsilon: float = 0.0,
) -> None:
    """Of a normalization over the batch, or, instances, over each channel of an image. `factor` is the reciprocal of the
    deviation, or, fixed, a variance that does not depend on x. What is absent counts as zero, an absent scale as one."""
    if not x.numel:
        for target in (dx, dscale, ddy):
            if target is not None:
                b.zero(target)
        return
    first = (0, x.ndim - 1, *range(1, x.ndim - 1)) if channels_last else tuple(range(x.ndim))

    def ordered(tensor: Tensor) -> Tensor:
        return dense(b, tensor.permute(*first))

    def zeros(shape: Sequence[int], dtype: str) -> Tensor:
        zero = b.scratch(shape, dtype)
        b.zero(zero)
        return zero

    x, dy = ordered(x), ordered(dy)
    ddx = zeros(x.shape, x.dtype) if ddx is None else ordered(ddx)
    images, channels = x.shape[:2]
    inner = math.prod(x.shape[2:])
    outer, groups = (1, images * channels) if instances else (images, channels)
    if scale is None:
        scale = b.scratch((channels,), x.dtype)
        plan_full(b, scale, 1.0)
    sides = [zeros((channels,), x.dtype) if t is None else t for t in (ddscale, ddbias)]
    results = [t if t is not None and not channels_last else b.scratch(x.shape, x.dtype) for t in (dx, ddy)]
    partial = b.scratch((groups // channels, channels), scale.dtype)
    acc = compute_dtype(x.dtype)
    b.launch(
        "higher_grad.norm_double_grad", groups, x, dy, ddx, scale, *sides, mean, factor, results[0], partial, results[1],
        outer, groups, channels, inner, scalar_as(epsilon, acc), cost=16 * x.nbytes,
        FIXED=int(fixed), ACC=dtype_constexpr(acc), BLOCK=min(1024, max(16, power_of_two(inner))),
    )  # fmt: skip
    if dscale is not None:
        plan_sum(b, partial, dscale, (0,))
    if channels_last:
        for result, target in zip(results, (dx, ddy), strict=True):
            if target is not None:
                plan_copy(b, result, target.permute(*first))
