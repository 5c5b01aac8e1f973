# Sums of products along named dimensions: every equation becomes views, sums, and batched matrix products.
"""An operand is a view with one label for each dimension. A label that an operand has twice is a diagonal, which is a view
too. Two operands are contracted by one batched product: labels of both that stay are its batches, labels of both that
go are its k, labels of one are rows or columns. What has no k is a product of elements. Three and more operands are
contracted in pairs, the one with the least work first. A gradient is an equation as well."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from openxpu.ops.creation import plan_full
from openxpu.ops.layout import plan_copy
from openxpu.ops.matmul import plan_dot, plan_product
from openxpu.ops.plan import PlanBuilder, Tensor, Unsupported
from openxpu.ops.pointwise import plan_map
from openxpu.ops.reduce import plan_sum
from openxpu.ops.run import run

if TYPE_CHECKING:
    from openxpu.runtime import Array

Labels = tuple[str, ...]


@dataclass(frozen=True)
class Operand:
    """A view and the names of its dimensions, no name twice."""

    view: Tensor
    labels: Labels

    def stride(self, label: str) -> int:
        return self.view.strides[self.labels.index(label)] if label in self.labels else 0

    def extent(self, label: str) -> int:
        return self.view.shape[self.labels.index(label)] if label in self.labels else 1

    def ordered(self, labels: Sequence[str]) -> Tensor:
        """The view with its dimensions in another order."""
        return self.view.permute(*(self.labels.index(label) for label in labels))


def parse(equation: str, ndims: Sequence[int]) -> tuple[list[Labels], Labels]:
    """The labels of the inputs and of the output. The dimensions behind an ellipsis are called ".0", ".1", ..., the last
    one ".0". Without an arrow the output has what occurs once, in alphabetic order."""
    left, arrow, right = equation.replace(" ", "").partition("->")
    terms = left.split(",")
    if len(terms) != len(ndims):
        raise ValueError(f"einsum {equation!r} names {len(terms)} operands, {len(ndims)} were given")
    depth = 0
    inputs = []
    for term, ndim in zip(terms, ndims, strict=True):
        hidden = ndim - len(term.replace("...", ""))
        if hidden < 0 or (hidden and "..." not in term):
            raise ValueError(f"einsum term {term!r} does not fit an operand of {ndim} dimensions")
        depth = max(depth, hidden)
        inputs.append(_expand(term, hidden))
    if not arrow:
        letters = left.replace("...", "").replace(",", "")
        right = "..." + "".join(sorted(letter for letter in set(letters) if letters.count(letter) == 1))
    return inputs, _expand(right, depth)


def _expand(term: str, hidden: int) -> Labels:
    before, dots, after = term.partition("...")
    names = tuple(f".{i}" for i in reversed(range(hidden))) if dots else ()
    return (*before, *names, *after)


def _diagonal(view: Tensor, labels: Labels) -> Operand:
    """Dimensions of one name become one, whose steps are the sum of theirs."""
    names = tuple(dict.fromkeys(labels))
    shape, strides = [], []
    for name in names:
        own = [d for d, label in enumerate(labels) if label == name]
        extents = {view.shape[d] for d in own}
        if len(extents) > 1:
            raise ValueError(f"einsum takes a diagonal of label {name!r} with extents {sorted(extents)}")
        shape.append(extents.pop())
        strides.append(sum(view.strides[d] for d in own))
    return Operand(view.view(shape, strides), names)


def _narrow(operand: Operand, kept: Iterable[str]) -> Operand:
    """Without the dimensions whose labels are not `kept`; their extent is 1."""
    names = [label for label in operand.labels if label in kept]
    view = operand.view.view(
        [operand.extent(label) for label in names], [operand.stride(label) for label in names]
    )
    return Operand(view, tuple(names))


def _contract(b: PlanBuilder, operands: Sequence[Operand], out: Operand) -> None:
    """out = the sum of products over all labels that out lacks."""
    if out.view.numel == 0:
        return
    extents: dict[str, int] = {}
    for operand in operands:
        for label in operand.labels:
            extent = operand.extent(label)
            known = extents.get(label, 1)
            if extent != known and 1 not in (extent, known):
                raise ValueError(f"einsum label {label!r} has extents {known} and {extent}")
            extents[label] = extent if known == 1 else known
    if 0 in extents.values():
        plan_full(b, out.view, 0)
        return
    # A label of extent 1 in the result alone is summed over: the gradient of what was repeated along it.
    out = _narrow(out, [label for label in out.labels if out.extent(label) != 1])
    left = [
        _narrow(operand, [label for label in operand.labels if operand.extent(label) != 1])
        for operand in operands
    ]
    while len(left) > 2:
        pairs = [(i, j) for j in range(len(left)) for i in range(j)]
        i, j = min(pairs, key=lambda pair: _work(left[pair[0]], left[pair[1]], extents))
        others = [operand for k, operand in enumerate(left) if k not in (i, j)]
        wanted = {*out.labels, *(label for operand in others for label in operand.labels)}
        labels = tuple(
            label for label in dict.fromkeys((*left[i].labels, *left[j].labels)) if label in wanted
        )
        between = Operand(b.scratch([extents[label] for label in labels], out.view.dtype), labels)
        _pair(b, left[i], left[j], between)
        left = [*others, between]
    if len(left) == 1:
        _sum(b, left[0], out)
    else:
        _pair(b, left[0], left[1], out)


def _work(x: Operand, y: Operand, extents: dict[str, int]) -> int:
    return math.prod(extents[label] for label in {*x.labels, *y.labels})


def _sum(b: PlanBuilder, x: Operand, out: Operand) -> None:
    """One operand: summed over what goes, its dimensions reordered."""
    gone = [label for label in x.labels if label not in out.labels]
    if not gone:
        plan_copy(b, x.ordered(out.labels), out.view)
        return
    order = sorted(x.labels, key=lambda label: -abs(x.stride(label)))
    dense = x.ordered(order)
    if not dense.contiguous:
        source = dense
        dense = b.scratch(source.shape, source.dtype)
        plan_copy(b, source, dense)
    kept = tuple(label for label in order if label in out.labels)
    total = out.view if kept == out.labels and out.view.contiguous else None
    target = b.scratch([x.extent(label) for label in kept], out.view.dtype) if total is None else total
    plan_sum(b, dense, target, tuple(d for d, label in enumerate(order) if label not in kept))
    if total is None:
        plan_copy(b, Operand(target, kept).ordered(out.labels), out.view)


def _summed(b: PlanBuilder, x: Operand, kept: set[str]) -> Operand:
    """x without the labels that neither the other operand nor the result has."""
    names = tuple(label for label in x.labels if label in kept)
    if names == x.labels:
        return x
    total = Operand(b.scratch([x.extent(label) for label in names], x.view.dtype), names)
    _sum(b, x, total)
    return total


def _merged(operand: Operand, labels: Sequence[str]) -> tuple[int, int] | None:
    """Extent and stride of several dimensions taken as one; None when the memory does not lie so."""
    extent, stride = 1, 1
    for label in reversed(labels):
        if extent == 1:
            stride = operand.stride(label)
        elif operand.stride(label) != stride * extent:
            return None
        extent *= operand.extent(label)
    return extent, stride


def _matrix(
    b: PlanBuilder, x: Operand, batch: Sequence[str], rows: Sequence[str], columns: Sequence[str]
) -> Tensor:
    """x as [batch..., rows, columns]: a view where its memory allows, otherwise a copy."""
    r, c = _merged(x, rows), _merged(x, columns)
    if r is None or c is None or not (1 in (r[1], c[1]) or 1 in (r[0], c[0])):
        order = (*batch, *rows, *columns)
        copy = b.scratch([x.extent(label) for label in order], x.view.dtype)
        plan_copy(b, x.ordered(order), copy)
        return _matrix(b, Operand(copy, order), batch, rows, columns)
    return x.view.view(
        (*(x.extent(label) for label in batch), r[0], c[0]),
        (*(x.stride(label) for label in batch), r[1], c[1]),
    )


def _pair(b: PlanBuilder, x: Operand, y: Operand, out: Operand) -> None:
    """out = the sum of x * y over the labels that out lacks, as one batched product."""
    x = _summed(b, x, {*y.labels, *out.labels})
    y = _summed(b, y, {*x.labels, *out.labels})
    inner = [label for label in x.labels if label in y.labels and label not in out.labels]
    if not inner:
        views = [
            operand.view.view(out.view.shape, [operand.stride(label) for label in out.labels])
            for operand in (x, y)
        ]
        plan_map(b, "elementwise.multiply", views, out.view)
        return
    batch = [label for label in out.labels if label in x.labels and label in y.labels]
    rows = [label for label in out.labels if label not in y.labels]
    columns = [label for label in out.labels if label not in x.labels]
    inner.sort(key=lambda label: -abs(y.stride(label) if columns else x.stride(label)))
    if not rows and not columns:
        lines = [_matrix(b, operand, batch, (), inner) for operand in (x, y)]
        dense = [line if line.contiguous else _dense(b, line) for line in lines]
        k = dense[0].shape[-1]
        target = out.view if out.view.contiguous else b.scratch(out.view.shape, out.view.dtype)
        plan_dot(b, dense[0].reshape(-1, k), dense[1].reshape(-1, k), target.reshape(target.numel))
        if target is not out.view:
            plan_copy(b, target, out.view)
        return
    left, right = _matrix(b, x, batch, rows, inner), _matrix(b, y, batch, inner, columns)
    if _merged(out, rows) is None or _merged(out, columns) is None:
        order = (*batch, *rows, *columns)
        dense_out = Operand(b.scratch([out.extent(label) for label in order], out.view.dtype), order)
        plan_product(b, left, right, _matrix(b, dense_out, batch, rows, columns))
        plan_copy(b, dense_out.ordered(out.labels), out.view)
        return
    (m, row), (n, column) = _merged(out, rows) or (1, 1), _merged(out, columns) or (1, 1)
    view = out.view.view(
        (*(out.extent(label) for label in batch), m, n),
        (*(out.stride(label) for label in batch), row, column),
    )
    if 1 not in (row, column) and 1 not in (m, n):
        target_view = b.scratch(view.shape, view.dtype)
        plan_product(b, left, right, target_view)
        plan_copy(b, target_view, view)
        return
    plan_product(b, left, right, view)


def _dense(b: PlanBuilder, view: Tensor) -> Tensor:
    copy = b.scratch(view.shape, view.dtype)
    plan_copy(b, view, copy)
    return copy


def plan_einsum(b: PlanBuilder, inputs: Sequence[Tensor], out: Tensor, equation: str) -> None:
    """The sum of products that `equation` ("bij,bjk->bik") names: repeated labels, an ellipsis and any number of
    operands."""
    terms, right = parse(equation, [x.ndim for x in inputs])
    if len(set(right)) < len(right):
        raise Unsupported(f"einsum {equation!r} names an output dimension twice; diag_embed does that.")
    operands = [_diagonal(x, labels) for x, labels in zip(inputs, terms, strict=True)]
    _contract(b, operands, Operand(out.view(out.shape, out.strides), right))


def plan_einsum_grad(
    b: PlanBuilder, inputs: Sequence[Tensor], d: Tensor, dxs: Sequence[Tensor | None], equation: str
) -> None:
    """The gradient of operand i is the equation of the output's gradient and the other operands; labels that only
    operand i has are repeated, and a diagonal gets zeros around it."""
    terms, right = parse(equation, [x.ndim for x in inputs])
    operands = [_diagonal(x, labels) for x, labels in zip(inputs, terms, strict=True)]
    for i, dx in enumerate(dxs):
        if dx is None or dx.numel == 0:
            continue
        target = _diagonal(dx, terms[i])
        if len(target.labels) < len(terms[i]):
            b.zero(dx)
        others = [Operand(d, right), *(operand for j, operand in enumerate(operands) if j != i)]
        extents = {label: 1 for label in target.labels}
        for operand in others:
            for label in operand.labels:
                extents[label] = max(extents.get(label, 1), operand.extent(label))
        own = [label for label in target.labels if extents[label] == 1 and target.extent(label) != 1]
        if not own:
            _contract(b, others, target)
            continue
        kept = tuple(label for label in target.labels if label not in own)
        part = Operand(b.scratch([target.extent(label) for label in kept], dx.dtype), kept)
        _contract(b, others, part)
        repeated = part.view.view(target.view.shape, [part.stride(label) for label in target.labels])
        plan_copy(b, repeated, target.view)


def einsum(equation: str, *operands: Array) -> Array:
    """The sum of products that the equation names, as numpy.einsum."""
    terms, right = parse(equation, [len(x.shape) for x in operands])
    extents: dict[str, int] = {}
    for x, labels in zip(operands, terms, strict=True):
        for extent, label in zip(x.shape, labels, strict=True):
            extents[label] = extent if extents.get(label, 1) == 1 else extents[label]
    shape = tuple(extents[label] for label in right)
    return run(plan_einsum, [list(operands)], [(shape, operands[0].dtype)], equation)  # type: ignore[no-any-return]
