# phi kernels of outputs whose size depends on values, mapped to openxpu.ops.select.

from __future__ import annotations

from openxpu.ops import select
from openxpu.ops.plan import PlanBuilder, Tensor, Unsupported
from openxpu.paddle.kernels import phi_kernel
from openxpu.paddle.outputs import required, unused


@phi_kernel
def nonzero(b: PlanBuilder, x: Tensor, out: Tensor) -> None:
    select.plan_nonzero(b, x, required(b, out, "i64"))


@phi_kernel
def masked_select(b: PlanBuilder, x: Tensor, mask: Tensor, out: Tensor) -> None:
    select.plan_masked_select(b, x, mask, out)


@phi_kernel
def masked_select_grad(b: PlanBuilder, x: Tensor, mask: Tensor, dout: Tensor, dx: Tensor) -> None:
    select.plan_masked_select_grad(b, mask, dout, dx)


def _wanted(b: PlanBuilder, out: Tensor | None, wanted: bool, dtype: str) -> Tensor | None:
    if out is None or not wanted:
        unused(b, out)
        return None
    return required(b, out, dtype)


@phi_kernel
def unique(
    b: PlanBuilder,
    x: Tensor,
    return_index: bool,
    return_inverse: bool,
    return_counts: bool,
    axis: list[int],
    dtype: str,
    out: Tensor,
    indices: Tensor | None,
    inverse: Tensor | None,
    counts: Tensor | None,
) -> None:
    outputs = (
        required(b, out, x.dtype),
        _wanted(b, indices, return_index, dtype),
        _wanted(b, inverse, return_inverse, dtype),
        _wanted(b, counts, return_counts, dtype),
    )
    if axis and x.ndim > 1:
        select.plan_unique_slices(b, x, *outputs, axis[0], consecutive=False)
    else:
        select.plan_unique(b, x, *outputs)


@phi_kernel
def unique_raw(
    b: PlanBuilder,
    x: Tensor,
    return_index: bool,
    return_inverse: bool,
    return_counts: bool,
    axis: list[int],
    dtype: str,
    is_sorted: bool,
    out: Tensor,
    indices: Tensor | None,
    inverse: Tensor | None,
    counts: Tensor | None,
) -> None:
    if not is_sorted:
        raise Unsupported("unique in the order of first occurrence is planned for the sorted order.")
    unique(b, x, return_index, return_inverse, return_counts, axis, dtype, out, indices, inverse, counts)


@phi_kernel
def unique_consecutive(
    b: PlanBuilder,
    x: Tensor,
    return_inverse: bool,
    return_counts: bool,
    axis: list[int],
    dtype: str,
    out: Tensor,
    inverse: Tensor | None,
    counts: Tensor | None,
) -> None:
    result = required(b, out, x.dtype)
    own = _wanted(b, inverse, return_inverse, dtype)
    lengths = _wanted(b, counts, return_counts, dtype)
    if axis and x.ndim > 1:
        select.plan_unique_slices(b, x, result, None, own, lengths, axis[0], consecutive=True)
    else:
        select.plan_unique_consecutive(b, x, result, own, lengths)


@phi_kernel
def repeat_interleave(
    b: PlanBuilder, x: Tensor, repeats: int, dim: int, output_size: int, out: Tensor
) -> None:
    select.plan_repeat_each(b, x, out, repeats, dim)


@phi_kernel
def repeat_interleave_grad(
    b: PlanBuilder, x: Tensor, dout: Tensor, repeats: int, dim: int, output_size: int, dx: Tensor
) -> None:
    select.plan_repeat_each_grad(b, dout, dx, repeats, dim)


@phi_kernel
def repeat_interleave_with_tensor_index(
    b: PlanBuilder, x: Tensor, repeats: Tensor, dim: int, output_size: int, out: Tensor
) -> None:
    select.plan_repeat(b, x, repeats, out, dim)


@phi_kernel
def repeat_interleave_with_tensor_index_grad(
    b: PlanBuilder, x: Tensor, repeats: Tensor, dout: Tensor, dim: int, output_size: int, dx: Tensor
) -> None:
    select.plan_repeat_grad(b, repeats, dout, dx, dim)
