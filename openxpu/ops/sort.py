# Sorting planners: sort and argsort along an axis, stable, and their gradient.

from __future__ import annotations

from typing import TYPE_CHECKING

from openxpu.ops.layout import as_bits, normalize, plan_copy
from openxpu.ops.plan import FLOATS, INTEGERS, PlanBuilder, Tensor, Unsupported
from openxpu.ops.reduce import power_of_two
from openxpu.ops.run import run
from openxpu.ops.search import plan_topk_grad

if TYPE_CHECKING:
    from openxpu.runtime import Array

_PROGRAMS = 64  # of rows; each has working memory of its own
_WORK = 1 << 26  # bytes of working memory from which there are fewer


def key_kind(dtype: str) -> str:
    """How `sort.order_of` reads the bits of a dtype."""
    if dtype in FLOATS:
        return "bfloat" if dtype == "bf16" else "float"
    if dtype in INTEGERS or dtype == "bool":
        return "unsigned" if dtype in ("u8", "bool") else "signed"
    raise Unsupported(f"sort orders bools, integers and floats, found {dtype}.")


def plan_sort_rows(
    b: PlanBuilder, x: Tensor, values: Tensor | None, indices: Tensor, descending: bool = False
) -> None:
    """Sorts rows of contiguous [rows, n]."""
    rows, n = x.shape
    if n >= 2**31:
        raise Unsupported(f"sort takes rows of less than 2^31 elements, found {n}.")
    bits = 8 * x.itemsize
    digit = 8 if n < 8192 or bits < 32 else 11
    digits = -(-bits // digit)
    element = 24 if bits == 64 else 16
    programs = max(1, min(rows, _PROGRAMS, _WORK // max(element * n, 1)))
    each = -(-rows // programs)
    programs = -(-rows // each)
    work = b.scratch((programs, 2, n), "i64")
    places = b.scratch((programs, 2, n), "i32") if bits == 64 else None
    counts = b.scratch((programs, digits, 1 << digit), "i32")
    b.launch(
        "sort.radix_rows", programs, as_bits(x), None if values is None else as_bits(values), indices, work, places,
        counts, rows, n, each,
        cost=16 * digits * x.numel, BITS=bits, KIND=key_kind(x.dtype), DESCENDING=descending, DIGIT=digit, DIGITS=digits,
        VALUES=values is not None, BLOCK=min(1024, max(16, power_of_two(n))),
    )  # fmt: skip


def plan_argsort(
    b: PlanBuilder,
    x: Tensor,
    values: Tensor | None,
    indices: Tensor,
    axis: int = -1,
    descending: bool = False,
) -> None:
    """Elements along `axis` in order, and where they were. Stable; NaN is larger than every number."""
    if x.numel == 0:
        return
    axis = normalize(axis, x.ndim)
    order = [d for d in range(x.ndim) if d != axis] + ([axis] if x.ndim else [])
    n = x.shape[axis] if x.ndim else 1
    rows = x.numel // n

    def rows_of(tensor: Tensor) -> tuple[Tensor, Tensor]:
        """The tensor with `axis` last, and contiguous memory of that shape: its own, or scratch."""
        view = tensor.permute(*order)
        return view, view if view.contiguous else b.scratch(view.shape, tensor.dtype)

    x_view, x_rows = rows_of(x)
    results = [None if out is None else rows_of(out) for out in (values, indices)]
    if x_rows is not x_view:
        plan_copy(b, x_view, x_rows)
    value_rows, index_rows = (None if pair is None else pair[1].reshape(rows, n) for pair in results)
    assert index_rows is not None
    plan_sort_rows(b, x_rows.reshape(rows, n), value_rows, index_rows, descending)
    for pair in results:
        if pair is not None and pair[0] is not pair[1]:
            plan_copy(b, pair[1], pair[0])


def plan_argsort_grad(b: PlanBuilder, indices: Tensor, dout: Tensor, dx: Tensor, axis: int = -1) -> None:
    """dout put back to where the elements were."""
    if dx.ndim == 0:
        plan_copy(b, dout, dx)
    elif dx.numel:
        plan_topk_grad(b, indices, dout, dx, axis)


# ---- public functions ----


def sort(x: Array, axis: int = -1, descending: bool = False) -> tuple[Array, Array]:
    """(values, indices as i64) of x in order along `axis`. Stable: equal elements keep their order; NaN comes after every
    number (before, when descending). Any dtype but complex ones."""
    return run(plan_argsort, [x], [(x.shape, x.dtype), (x.shape, "i64")], axis, descending)  # type: ignore[no-any-return]


def argsort(x: Array, axis: int = -1, descending: bool = False) -> Array:
    """The indices (i64) of `sort`."""
    return run(plan_argsort, [x], [None, (x.shape, "i64")], axis, descending)[1]  # type: ignore[no-any-return]
