# phi kernels of indexing by tensors, mapped to openxpu.ops.indexing.
"""The kernels of eager mode describe an indexing so: `dims` is the iteration space, `strides` (elements) lead through the
indexed tensor where there are no indices. `index_dims` lists the extents of the indexed dimensions, then for each index -1
and its shape, aligned with the end of `dims`; `index_strides` are the indexed dimensions' strides in bytes, `offset` is that
of the slice which is indexed, in bytes too."""

from __future__ import annotations

from collections.abc import Sequence

from openxpu.ops import indexing, select
from openxpu.ops.indexing import Indexing
from openxpu.ops.plan import Dynamic, PlanBuilder, Scalar, Tensor, Unsupported
from openxpu.ops.pointwise import plan_map
from openxpu.paddle.kernels import phi_kernel


def _indexing(
    x: Tensor,
    index: Sequence[Tensor],
    dims: Sequence[int],
    strides: Sequence[int],
    index_dims: Sequence[int],
    index_strides: Sequence[int],
    offset: Dynamic,
) -> Indexing:
    if any(i.dtype not in ("i64", "i32") for i in index):
        raise Unsupported(f"indexing by a tensor of {index[0].dtype} is planned for i32 and i64.")
    count = len(index)
    tail = list(index_dims[count + 1 :])
    shape = tail[: tail.index(-1)] if -1 in tail else tail
    shape = [1] * (len(dims) - len(shape)) + shape
    long = [d for d, extent in enumerate(shape) if extent != 1]
    first, last = (long[0], long[-1] + 1) if long else (0, 0)
    if shape[first:last] != list(dims[first:last]):
        raise Unsupported(f"an index of shape {shape} in an iteration over {list(dims)} is not planned.")
    flat = [i.reshape(*shape[first:last]) for i in index]
    return Indexing(
        tuple(dims),
        tuple(strides),
        tuple(flat),
        first,
        last,
        tuple(index_dims[:count]),
        tuple(stride // x.itemsize for stride in index_strides),
        x.itemsize,
        offset.to("i64"),
    )


@phi_kernel(dynamic=("offset",))
def index_elementwise_get(
    b: PlanBuilder,
    x: Tensor,
    index: list[Tensor],
    dims: list[int],
    strides: list[int],
    index_dims: list[int],
    index_strides: list[int],
    offset: Dynamic,
    accumulate: bool,
    combined: bool,
    out: Tensor,
) -> None:
    at = _indexing(x, index, dims, strides, index_dims, index_strides, offset)
    indexing.plan_get(b, x, at, out)


@phi_kernel(dynamic=("offset",))
def index_elementwise_get_grad(
    b: PlanBuilder,
    x: Tensor,
    index: list[Tensor],
    dout: Tensor,
    dims: list[int],
    strides: list[int],
    index_dims: list[int],
    index_strides: list[int],
    offset: Dynamic,
    accumulate: bool,
    combined: bool,
    dx: Tensor,
) -> None:
    at = _indexing(x, index, dims, strides, index_dims, index_strides, offset)
    indexing.plan_get_grad(b, dout, at, dx)


@phi_kernel(dynamic=("offset", "value"))
def index_elementwise_put(
    b: PlanBuilder,
    x: Tensor,
    index: list[Tensor],
    value: Scalar,
    dims: list[int],
    strides: list[int],
    index_dims: list[int],
    index_strides: list[int],
    offset: Dynamic,
    out: Tensor,
) -> None:
    at = _indexing(x, index, dims, strides, index_dims, index_strides, offset)
    indexing.plan_filled(b, x, value, at, out)


@phi_kernel(dynamic=("offset",))
def index_elementwise_put_grad(
    b: PlanBuilder,
    x: Tensor,
    index: list[Tensor],
    dout: Tensor,
    dims: list[int],
    strides: list[int],
    index_dims: list[int],
    index_strides: list[int],
    offset: Dynamic,
    dx: Tensor | None,
) -> None:
    at = _indexing(x, index, dims, strides, index_dims, index_strides, offset)
    indexing.plan_replaced_grad(b, dout, at, dx, None)


@phi_kernel(dynamic=("offset",))
def index_elementwise_put_with_tensor(
    b: PlanBuilder,
    x: Tensor,
    index: list[Tensor],
    value: Tensor,
    dims: list[int],
    strides: list[int],
    index_dims: list[int],
    index_strides: list[int],
    offset: Dynamic,
    out: Tensor,
) -> None:
    at = _indexing(x, index, dims, strides, index_dims, index_strides, offset)
    indexing.plan_replaced(b, x, value, at, out)


@phi_kernel(dynamic=("offset",))
def index_elementwise_put_with_tensor_grad(
    b: PlanBuilder,
    x: Tensor,
    index: list[Tensor],
    value: Tensor,
    dout: Tensor,
    dims: list[int],
    strides: list[int],
    index_dims: list[int],
    index_strides: list[int],
    offset: Dynamic,
    dx: Tensor | None,
    dvalue: Tensor | None,
) -> None:
    at = _indexing(x, index, dims, strides, index_dims, index_strides, offset)
    indexing.plan_replaced_grad(b, dout, at, dx, dvalue)


@phi_kernel
def index_put(
    b: PlanBuilder, x: Tensor, indices: list[Tensor], value: Tensor, accumulate: bool, out: Tensor
) -> None:
    if indices[0].dtype == "bool":
        _masked(b, x, indices, value, accumulate, out)
        return
    indexing.plan_replaced(b, x, value, Indexing.leading(out, indices), out, accumulate)


def _masked(
    b: PlanBuilder, x: Tensor, indices: list[Tensor], value: Tensor, accumulate: bool, out: Tensor
) -> None:
    if len(indices) > 1 or value.numel != 1 or accumulate:
        raise Unsupported("index_put by a mask is planned for one mask and one number.")
    mask = indices[0]
    mask = select.dense(b, mask).reshape(*mask.shape, *(1,) * (x.ndim - mask.ndim))
    plan_map(b, "compare.where", [mask, value.reshape(1), x], out, compute=None)


@phi_kernel
def index_put_grad(
    b: PlanBuilder,
    x: Tensor,
    indices: list[Tensor],
    value: Tensor,
    dout: Tensor,
    accumulate: bool,
    dx: Tensor | None,
    dvalue: Tensor | None,
) -> None:
    if indices[0].dtype == "bool":
        raise Unsupported("the gradient of index_put by a mask is not planned.")
    indexing.plan_replaced_grad(b, dout, Indexing.leading(dout, indices), dx, dvalue, accumulate)
