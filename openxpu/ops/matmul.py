# Matrix products of every kind and their gradients: planners and public functions.
"""Everything is one problem: out[..., m, n] = alpha * x[..., m, k] @ y[..., k, n] + beta * addend on strided views. A transposed
operand is a view, a broadcast one has strides of zero, a contraction over batches is a longer k."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from openxpu.ops import precision
from openxpu.ops.ending import NOTHING, Ending
from openxpu.ops.plan import (
    F64,
    I64,
    PARTS,
    PlanBuilder,
    Tensor,
    Unsupported,
    contiguous_strides,
    dtype_constexpr,
)
from openxpu.ops.pointwise import plan_map
from openxpu.ops.reduce import plan_sum, power_of_two
from openxpu.ops.run import run

if TYPE_CHECKING:
    from openxpu.runtime import Array

ACCUMULATOR = {
    "f16": "f32",
    "bf16": "f32",
    "f32": "f32",
    "f64": "f64",
    "i8": "i32",
    "c64": "c64",
    "c128": "c128",
}
LARGE = 1 << 22  # flops from which a product is worth spreading over many programs


@dataclass(frozen=True)
class Batch:
    """One batch dimension: its extent and the strides of x, y, out and the addend along it."""

    size: int
    strides: tuple[int, int, int, int]


def _broadcast(view: Tensor, batch: Sequence[int]) -> tuple[int, ...]:
    """Strides of a view's leading dimensions when they are broadcast to `batch`."""
    own = view.shape[:-2]
    strides = [0] * (len(batch) - len(own)) + [
        0 if extent == 1 else stride for extent, stride in zip(own, view.strides[:-2], strict=True)
    ]
    return tuple(strides)


def _merge(dims: list[Batch]) -> list[Batch]:
    """Neighbouring dimensions that are one dimension for every operand become one."""
    out: list[Batch] = []
    for dim in dims:
        if dim.size == 1:
            continue
        if out and all(a == b * dim.size for a, b in zip(out[-1].strides, dim.strides, strict=True)):
            out[-1] = Batch(out[-1].size * dim.size, dim.strides)
        else:
            out.append(dim)
    return out


def _unit(row: int, col: int, rows: int, cols: int) -> int:
    """0: rows are contiguous, 1: columns are, 2: neither. A dimension of extent 1 has no stride to speak of."""
    if col == 1 or cols == 1:
        return 0
    if row == 1 or rows == 1:
        return 1
    return 2


def _tiles(m: int, n: int, k: int, batch: int, dtype: str, how: str) -> tuple[int, int, int]:
    """BM, BN, BK: tall tiles, so that each panel of y serves many rows, but enough of them for every worker."""
    if how == precision.TILES or (dtype == "bf16" and min(m, n) > 64 and precision.has_tiles()):
        return precision.tiles(m, n, k, batch)
    if k <= 16 < m and n >= 512 and dtype == "f32":
        # Hardly more than writing the result, as the filter's gradient of a small batch: whole lines of it, one after another.
        return (8, 1024, 4) if k <= 4 else (16, 1024, 16)
    # Few sizes, so that few kernels are compiled: what a tile has beyond the matrix costs nothing, extents are masked.
    bm = 16 if m <= 16 else 32 if m <= 32 else 64 if m <= 64 else 256
    bn = 16 if n <= 16 else 32 if n <= 32 else 64 if n <= 64 else 128
    bk = 32 if k <= 32 else 256
    if (
        dtype == "i8" and n > 128 and k > 512
    ):  # sums stay in registers for as many instructions as those of f32
        bn, bk = 256, 1024
    if 2 * m * n * k * batch >= LARGE:
        while -(-m // bm) * -(-n // bn) * batch < 8 and bm * bn > 64 * 64:
            if bm >= bn:
                bm //= 2
            else:
                bn //= 2
    return bm, bn, bk


def _memory_bound(m: int, n: int, k: int, dtype: str) -> bool:
    """Whether reading y, past the second-level cache, takes longer than the few products of each of its elements."""
    if n < 256 or k * n < 1 << 18 or dtype not in ("f32", "bf16"):
        return False
    return m <= 4 or (m <= 8 and k * n >= 1 << 20 and dtype == "f32")


def plan_product(
    b: PlanBuilder,
    x: Tensor,
    y: Tensor,
    out: Tensor,
    addend: Tensor | None = None,
    alpha: float = 1.0,
    beta: float = 1.0,
    ending: Ending = NOTHING,
) -> None:
    """out[..., M, N] = alpha * x[..., M, K] @ y[..., K, N] + beta * addend[..., M, N] on views with any strides; leading dimensions are
    broadcast. `out` may be the addend. The activation of `ending` is applied to all of that. Products of f16 and bf16 accumulate in f32, of i8 exactly in i32."""
    if x.dtype not in ACCUMULATOR or y.dtype != x.dtype:
        raise Unsupported(
            f"A product of {x.dtype} and {y.dtype} was asked for; both must be one of {', '.join(ACCUMULATOR)}."
        )
    if out.numel == 0:
        return
    if x.dtype in PARTS:
        if addend is not None or alpha != 1.0:
            raise Unsupported("A product of complex numbers was asked for with alpha or an addend.")
        _plan_complex_product(b, x, y, out)
        return
    if out.strides[-1] != 1 and out.shape[-1] != 1:
        # The result is wanted transposed: (x y)^T = y^T x^T.
        plan_product(
            b,
            _transposed(y),
            _transposed(x),
            _transposed(out),
            None if addend is None else _transposed(addend),
            alpha,
            beta,
            ending,
        )
        return
    shape = out.shape[:-2]
    vx, vy, vout = _broadcast(x, shape), _broadcast(y, shape), out.strides[:-2]
    vadd = (0,) * len(shape) if addend is None else _broadcast(addend, shape)
    dims = _merge([Batch(size, (vx[i], vy[i], vout[i], vadd[i])) for i, size in enumerate(shape)])
    problem = _Problem(b, x, y, out, addend, alpha, beta, ending, out.shape[-2], out.shape[-1], x.shape[-1])
    problem.plan(dims)


def _transposed(t: Tensor) -> Tensor:
    order = [*range(t.ndim - 2), t.ndim - 1, t.ndim - 2]
    return t.permute(*order)


@dataclass(frozen=True)
class _Problem:
    """One strided product being planned."""

    b: PlanBuilder
    x: Tensor
    y: Tensor
    out: Tensor
    addend: Tensor | None
    alpha: float
    beta: float
    ending: Ending
    m: int
    n: int
    k: int

    def plan(self, dims: list[Batch]) -> None:
        x_row, out_row = self.x.strides[-2], self.out.strides[-2]
        add_row = 0 if self.addend is None else self.addend.strides[-2]
        if self.addend is not None and self.addend.shape[-2] == 1 and self.m > 1:
            add_row = 0
        if dims:
            # A batch whose y is shared, and whose rows follow on, is just more rows.
            last = dims[-1]
            sx, sy, so, sa = last.strides
            if sy == 0 and (
                self.m == 1
                or (
                    (sx, so) == (self.m * x_row, self.m * out_row)
                    and (self.addend is None or sa == self.m * add_row)
                )
            ):
                rows = (sx, so, sa) if self.m == 1 else (x_row, out_row, add_row)
                taller = replace(
                    self,
                    x=_with_rows(self.x, rows[0], last.size * self.m),
                    out=_with_rows(self.out, rows[1], last.size * self.m),
                    addend=None
                    if self.addend is None
                    else _with_rows(self.addend, rows[2], last.size * self.m),
                    m=last.size * self.m,
                )
                taller.plan(dims[:-1])
                return
        if len(dims) > 2:
            # More than two nested batch dimensions: the outermost one is a launch for each of its entries.
            first, rest = dims[0], dims[1:]
            for i in range(first.size):
                sx, sy, so, sa = first.strides
                replace(
                    self,
                    x=_shifted(self.x, i * sx),
                    y=_shifted(self.y, i * sy),
                    out=_shifted(self.out, i * so),
                    addend=None if self.addend is None else _shifted(self.addend, i * sa),
                ).plan(rest)
            return
        outer, inner = ([Batch(1, (0, 0, 0, 0))] * (2 - len(dims)) + dims)[:2]
        self.launch(outer, inner)

    def launch(self, outer: Batch, inner: Batch) -> None:
        b, m, n, k = self.b, self.m, self.n, self.k
        x, y, out, addend = self.x, self.y, self.out, self.addend
        if n == 1 and m > 16 and out.strides[-2] == 1:
            # One column as one row: lanes lie along it, and each of them has an element.
            row = replace(
                self,
                x=_transposed(y),
                y=_transposed(x),
                out=_transposed(out),
                addend=None if addend is None else _transposed(addend),
                m=1,
                n=m,
            )
            row.launch(*(Batch(d.size, (d.strides[1], d.strides[0], *d.strides[2:])) for d in (outer, inner)))
            return
        batch = outer.size * inner.size
        acc = ACCUMULATOR[x.dtype]
        how = precision.of_products(x.dtype, m, n)
        bm, bn, bk = _tiles(m, n, k, batch, x.dtype, how)
        rows_of_b = 0
        if y.strides[-1] == 1 and _memory_bound(m, n, k, x.dtype):
            bm, bn, bk, rows_of_b = power_of_two(m), 1024, 256, 8
        tiles_m, tiles_n = -(-m // bm), -(-n // bn)
        flops = 2 * m * n * k * batch
        parts, k_part = self._split(tiles_m * tiles_n * batch, flops, bk)
        target, strides_c = out, (out.strides[-2], outer.strides[2], inner.strides[2])
        part_size = batch * m * n
        if parts > 1:
            target = b.scratch((parts, batch, m, n), acc)
            strides_c = (n, inner.size * m * n, m * n)
        final = parts == 1
        add = 0
        add_row = add_col = 0
        if addend is not None:
            add_row = addend.strides[-2] if addend.shape[-2] != 1 or m == 1 else 0
            add_col = addend.strides[-1] if addend.shape[-1] != 1 or n == 1 else 0
            add = 1 if add_col == 1 or n == 1 else 2
        scale = int(self.alpha != 1.0)
        alpha, beta = (F64(v) if acc == "f64" else float(v) for v in (self.alpha, self.beta))
        m_first = int(tiles_m <= tiles_n or tiles_m * bm * k * x.itemsize <= 1 << 20)
        grid_mn = (tiles_m, tiles_n) if m_first else (tiles_n, tiles_m)
        b.launch(
            "matmul.product",
            (*grid_mn, batch * parts),
            x,
            y,
            target,
            addend if final else None,
            m,
            n,
            k,
            k_part,
            I64(x.strides[-2]),
            I64(x.strides[-1]),
            I64(y.strides[-2]),
            I64(y.strides[-1]),
            I64(strides_c[0]),
            I64(add_row),
            I64(add_col),
            inner.size,
            I64(outer.strides[0]),
            I64(inner.strides[0]),
            I64(outer.strides[1]),
            I64(inner.strides[1]),
            I64(strides_c[1]),
            I64(strides_c[2]),
            I64(outer.strides[3]),
            I64(inner.strides[3]),
            I64(part_size),
            alpha,
            beta,
            self.ending.first if final else 0.0,
            self.ending.second if final else 0.0,
            cost=flops,
            A_UNIT=_unit(x.strides[-2], x.strides[-1], m, k),
            B_UNIT=_unit(y.strides[-2], y.strides[-1], k, n),
            SCALE=scale if final else 0,
            ADD=add if final else 0,
            ACTIVATION=(self.ending if final else NOTHING).function,
            PARTS=parts,
            M_FIRST=m_first,
            ACC=dtype_constexpr(acc),
            PRECISION=how,
            BM=bm,
            BN=bn,
            BK=bk,
            ROWS_OF_B=rows_of_b,
        )
        if final:
            return
        for i in range(outer.size):
            self._sum(
                target, out, outer, inner, i, parts, part_size, add, add_row, add_col, scale, alpha, beta
            )

    def _sum(  # type: ignore[no-untyped-def]
        self, target, out, outer, inner, i, parts, part_size, add, add_row, add_col, scale, alpha, beta
    ) -> None:
        m, n = self.m, self.n
        bn = min(power_of_two(n), 256)
        addend = None if self.addend is None else _shifted(self.addend, i * outer.strides[3])
        self.b.launch(
            "matmul.sum_parts",
            (-(-n // bn), m, inner.size),
            target.view((inner.size, m, n), offset=i * inner.size * m * n),
            _shifted(out, i * outer.strides[2]),
            addend,
            m,
            n,
            I64(out.strides[-2]),
            I64(inner.strides[2]),
            I64(add_row),
            I64(add_col),
            I64(inner.strides[3]),
            I64(part_size),
            alpha,
            beta,
            self.ending.first,
            self.ending.second,
            cost=parts * inner.size * m * n * 4,
            PARTS=parts,
            SCALE=scale,
            ADD=add,
            ACTIVATION=self.ending.function,
            BN=bn,
        )

    def _split(self, programs: int, flops: int, bk: int) -> tuple[int, int]:
        """How many parts k is cut into, and their length: only when there are too few tiles for the workers."""
        if programs >= 4 or flops < LARGE or self.k < 8 * bk or self.m >= 65536:
            return 1, self.k
        parts = min(8 // programs, self.k // (4 * bk))
        share = -(-self.k // max(parts, 1))
        length = -(-share // bk) * bk
        parts = -(-self.k // length)
        return (parts, length) if parts > 1 else (1, self.k)


def _with_rows(t: Tensor, stride: int, rows: int) -> Tensor:
    """The matrix of a view with another number of rows and distance between them; leading dimensions dropped."""
    return t.view((rows, t.shape[-1]), (stride, t.strides[-1]))


def _shifted(t: Tensor, elements: int) -> Tensor:
    return t.view(t.shape, t.strides, elements)


# Paddle's matmul: vectors, broadcasting, transposes.


def _matrices(
    x: Tensor, y: Tensor, out: Tensor, transpose_x: bool, transpose_y: bool
) -> tuple[Tensor, Tensor, Tensor]:
    """x as [..., M, K], y as [..., K, N] and out as [..., M, N]; a vector is a row (x) or a column (y)."""
    if x.ndim == 0 or y.ndim == 0:
        raise Unsupported("A matrix product needs vectors or matrices, a scalar was given.")
    out_shape, out_strides = list(out.shape), list(out.strides)
    if y.ndim == 1:
        y = y.view((y.shape[0], 1), (y.strides[0], 1))
        if x.ndim > 1 or out.ndim == 0:
            out_shape.append(1)
            out_strides.append(1)
    elif transpose_y:
        y = _transposed(y)
    if x.ndim == 1:
        x = x.view((1, x.shape[0]), (max(x.shape[0], 1), x.strides[0]))
        at = len(out_shape) - 1
        out_shape.insert(max(at, 0), 1)
        out_strides.insert(max(at, 0), max(out.numel, 1))
    elif transpose_x:
        x = _transposed(x)
    if len(out_shape) < 2:  # paddle gives a product of two vectors the shape [1] in some versions
        out_shape, out_strides = (
            [1] * (2 - len(out_shape)) + out_shape,
            [1] * (2 - len(out_strides)) + out_strides,
        )
    if x.shape[-1] != y.shape[-2]:
        raise ValueError(
            f"matmul cannot multiply {tuple(x.shape)} by {tuple(y.shape)}: the inner extents {x.shape[-1]} and {y.shape[-2]} differ."
        )
    return x, y, out.view(out_shape, out_strides)


def _plan_complex_product(b: PlanBuilder, x: Tensor, y: Tensor, out: Tensor) -> None:
    """One product of reals: x as it lies, [.., m, 2k], times the rows (real, imaginary) of y and of iy, [.., 2k, 2n]."""
    if not x.contiguous:
        dense = b.scratch(x.shape, x.dtype)
        plan_map(b, "elementwise.first", [x], dense)
        x = dense
    *batch, k, n = y.shape
    both = b.scratch((*batch, k, 2, n), y.dtype)
    for row, function in ((0, "first"), (1, "times_i")):
        strides = (*both.strides[:-2], 1)
        plan_map(b, f"complex.{function}", [y], both.view(y.shape, strides, row * n))
    target = out if out.contiguous else b.scratch(out.shape, out.dtype)
    plan_product(
        b,
        x.pairs((*x.shape[:-1], 2 * k)),
        both.pairs((*batch, 2 * k, 2 * n)),
        target.pairs((*out.shape[:-1], 2 * n)),
    )
    if target is not out:
        plan_map(b, "elementwise.first", [target], out)


def _conjugate(b: PlanBuilder, x: Tensor) -> Tensor:
    """The conjugates of complex numbers, as the gradient of a product takes its factors; reals as they are."""
    if x.dtype not in PARTS:
        return x
    out = b.scratch(x.shape, x.dtype)
    plan_map(b, "complex.conj", [x], out)
    return out


def plan_matmul(
    b: PlanBuilder, x: Tensor, y: Tensor, out: Tensor, transpose_x: bool = False, transpose_y: bool = False
) -> None:
    """out = op(x) @ op(y), NumPy's rules for vectors and batches."""
    plan_product(b, *_matrices(x, y, out, transpose_x, transpose_y))


def plan_matmul_grad(
    b: PlanBuilder,
    x: Tensor,
    y: Tensor,
    dout: Tensor,
    dx: Tensor | None,
    dy: Tensor | None,
    transpose_x: bool = False,
    transpose_y: bool = False,
) -> None:
    """dx = dout @ op(y)^T and dy = op(x)^T @ dout, summed over the dimensions that were broadcast."""
    vx, vy, vout = _matrices(x, y, dout, transpose_x, transpose_y)
    if dx is not None:
        _plan_factor_grad(b, vout, _transposed(_conjugate(b, vy)), _as_factor(dx, transpose_x, True))
    if dy is not None:
        _plan_factor_grad(b, _transposed(_conjugate(b, vx)), vout, _as_factor(dy, transpose_y, False))


def _as_factor(t: Tensor, transpose: bool, left: bool) -> Tensor:
    if t.ndim == 1:
        n = t.shape[0]
        return t.view((1, n), (max(n, 1), 1)) if left else t.view((n, 1), (1, 1))
    return _transposed(t) if transpose else t


def _plan_factor_grad(b: PlanBuilder, u: Tensor, v: Tensor, out: Tensor) -> None:
    """out = u @ v, where batch dimensions that `out` lacks are summed over."""
    if out.numel == 0:
        return
    ndim = max(u.ndim, v.ndim) - 2
    own = (1,) * (ndim - (out.ndim - 2)) + out.shape[:-2]
    batch = tuple(
        max(p, q) if 0 not in (p, q) else 0
        for p, q in zip(
            (1,) * (ndim - u.ndim + 2) + u.shape[:-2], (1,) * (ndim - v.ndim + 2) + v.shape[:-2], strict=True
        )
    )
    summed = tuple(i for i in range(ndim) if own[i] == 1 and batch[i] != 1)
    if not summed:
        plan_product(b, u, v, out)
        return
    if math.prod(batch) == 0:
        _plan_zero(b, out)
        return
    if len(summed) == ndim:
        # Summing over every batch is a longer k, when the batches follow on along it.
        dims = _merge(
            [
                Batch(size, (p, q, 0, 0))
                for size, p, q in zip(batch, _broadcast(u, batch), _broadcast(v, batch), strict=True)
            ]
        )
        k, u_col, v_row = u.shape[-1], u.strides[-1], v.strides[-2]
        if len(dims) == 1 and (k == 1 or dims[0].strides[:2] == (k * u_col, k * v_row)):
            if k == 1:
                u_col, v_row = dims[0].strides[:2]
            long = dims[0].size * k
            flat_u = u.view((u.shape[-2], long), (u.strides[-2], u_col))
            flat_v = v.view((long, v.shape[-1]), (v_row, v.strides[-1]))
            plan_product(b, flat_u, flat_v, out.view(out.shape[-2:], out.strides[-2:]))
            return
    acc = ACCUMULATOR[u.dtype]
    full = b.scratch((*batch, *_memory_order(out)), acc)
    flipped = out.strides[-1] != 1 and out.shape[-1] != 1
    plan_product_as(b, u, v, _transposed(full) if flipped else full, acc)
    plan_sum(b, full, out.view(_memory_order(out)) if not flipped else _transposed(out), summed)


def plan_product_as(b: PlanBuilder, u: Tensor, v: Tensor, out: Tensor, acc: str) -> None:
    """A product whose result has the accumulator's type."""
    if out.dtype != acc:
        raise ValueError(f"the product accumulates in {acc}, its result was asked for as {out.dtype}")
    plan_product(b, u, v, out)


def _memory_order(out: Tensor) -> tuple[int, int]:
    """The last two extents in the order in which they lie in memory."""
    m, n = out.shape[-2:]
    return (n, m) if out.strides[-1] != 1 and n != 1 else (m, n)


def _plan_zero(b: PlanBuilder, out: Tensor) -> None:
    order = sorted(range(out.ndim), key=lambda d: -out.strides[d])
    b.zero(out.permute(*order))


def plan_addmm(
    b: PlanBuilder, addend: Tensor, x: Tensor, y: Tensor, out: Tensor, beta: float = 1.0, alpha: float = 1.0
) -> None:
    """out = alpha * x @ y + beta * addend for matrices; the addend is broadcast to the shape of out."""
    shape = (1,) * (2 - addend.ndim) + addend.shape
    strides = (0,) * (2 - addend.ndim) + addend.strides
    if beta == 0.0:
        plan_product(b, x, y, out, None, alpha)
    else:
        plan_product(b, x, y, out, addend.view(shape, strides), alpha, beta)


def plan_addmm_grad(
    b: PlanBuilder,
    addend: Tensor,
    x: Tensor,
    y: Tensor,
    dout: Tensor,
    daddend: Tensor | None,
    dx: Tensor | None,
    dy: Tensor | None,
    alpha: float = 1.0,
    beta: float = 1.0,
) -> None:
    from openxpu.ops.elementwise import plan_scale

    if dx is not None:
        plan_product(b, dout, _transposed(y), dx, None, alpha)
    if dy is not None:
        plan_product(b, _transposed(x), dout, dy, None, alpha)
    if daddend is None or daddend.numel == 0:
        return
    own = (1,) * (2 - daddend.ndim) + daddend.shape
    summed = tuple(i for i in range(2) if own[i] == 1 and dout.shape[i] != 1)
    if not summed:
        plan_scale(b, dout.view(daddend.shape), daddend, beta, 0.0, True)
        return
    total = daddend if beta == 1.0 else b.scratch(daddend.shape, daddend.dtype)
    plan_sum(b, dout, total, summed)
    if beta != 1.0:
        plan_scale(b, total, daddend, beta, 0.0, True)


def plan_matmul_with_flatten(
    b: PlanBuilder, x: Tensor, y: Tensor, out: Tensor, x_columns: int = 1, y_columns: int = 1
) -> None:
    """x and y flattened to matrices: the first `x_columns` dimensions of x are rows, the rest is k; likewise y."""
    plan_product(b, _flat(x, x_columns), _flat(y, y_columns), _flat(out, x_columns))


def plan_matmul_with_flatten_grad(
    b: PlanBuilder,
    x: Tensor,
    y: Tensor,
    dout: Tensor,
    dx: Tensor | None,
    dy: Tensor | None,
    x_columns: int = 1,
    y_columns: int = 1,
) -> None:
    u, v, g = _flat(x, x_columns), _flat(y, y_columns), _flat(dout, x_columns)
    if dx is not None:
        plan_product(b, g, _transposed(v), _flat(dx, x_columns))
    if dy is not None:
        plan_product(b, _transposed(u), g, _flat(dy, y_columns))


def _flat(t: Tensor, columns: int) -> Tensor:
    if not t.contiguous:
        raise Unsupported(f"A flattened product needs contiguous operands, strides {t.strides} were given.")
    return t.view((math.prod(t.shape[:columns]), math.prod(t.shape[columns:])))


def plan_dot(b: PlanBuilder, x: Tensor, y: Tensor, out: Tensor) -> None:
    """Products of vectors: the last dimension is summed, one result for each row."""
    n = x.shape[-1]
    rows = out.numel
    if rows == 1 and n >= 1 << 16 and x.dtype in ACCUMULATOR:
        plan_product(
            b,
            x.view((1, n), (n, x.strides[-1])),
            y.view((n, 1), (y.strides[-1], 1)),
            out.view((1, 1), (1, 1)),
        )
        return
    acc = ACCUMULATOR.get(x.dtype, x.dtype)
    block = min(max(power_of_two(n), 16), 1024)
    b.launch(
        "matmul.dot_rows",
        rows,
        _dense("dot", x),
        _dense("dot", y),
        out,
        n,
        cost=2 * x.nbytes,
        ACC=dtype_constexpr(acc),
        BLOCK=block,
    )


def plan_dot_grad(
    b: PlanBuilder, x: Tensor, y: Tensor, dout: Tensor, dx: Tensor | None, dy: Tensor | None
) -> None:
    """dx = dout * y and dy = dout * x, row by row."""
    n = x.shape[-1]
    acc = ACCUMULATOR.get(x.dtype, x.dtype)
    block = min(max(power_of_two(n), 16), 4096)
    for other, out in ((y, dx), (x, dy)):
        if out is not None and out.numel:
            b.launch(
                "matmul.dot_rows_grad",
                (-(-n // block), out.numel // n),
                _dense("dot_grad", other),
                dout,
                out,
                n,
                cost=2 * out.nbytes,
                ACC=dtype_constexpr(acc),
                BLOCK=block,
            )


def _dense(name: str, t: Tensor) -> Tensor:
    if not t.contiguous:
        raise Unsupported(f"{name} needs contiguous vectors, strides {t.strides} of {t.shape} were given.")
    return t


# Public functions.


def _result_shape(
    x: Sequence[int], y: Sequence[int], transpose_x: bool, transpose_y: bool
) -> tuple[int, ...]:
    vx = (1, *x) if len(x) == 1 else (*x[:-2], x[-1], x[-2]) if transpose_x else tuple(x)
    vy = (*y, 1) if len(y) == 1 else (*y[:-2], y[-1], y[-2]) if transpose_y else tuple(y)
    if vx[-1] != vy[-2]:
        raise ValueError(
            f"matmul cannot multiply {tuple(x)} by {tuple(y)}: the inner extents {vx[-1]} and {vy[-2]} differ."
        )
    ndim = max(len(vx), len(vy))
    batch = []
    for p, q in zip((1,) * (ndim - len(vx)) + vx[:-2], (1,) * (ndim - len(vy)) + vy[:-2], strict=True):
        if p != q and 1 not in (p, q):
            raise ValueError(
                f"matmul cannot broadcast the batches of {tuple(x)} and {tuple(y)}: {p} against {q}."
            )
        batch.append(q if p == 1 else p)
    rows = () if len(x) == 1 else (vx[-2],)
    columns = () if len(y) == 1 else (vy[-1],)
    return (*batch, *rows, *columns)


def matmul(x: Array, y: Array, transpose_x: bool = False, transpose_y: bool = False) -> Array:
    """The matrix product with NumPy's rules for vectors and leading dimensions. i8 gives i32."""
    dtype = "i32" if x.dtype == "i8" else x.dtype
    shape = _result_shape(x.shape, y.shape, transpose_x, transpose_y)
    return run(plan_matmul, [x, y], [(shape, dtype)], transpose_x, transpose_y)  # type: ignore[no-any-return]


def addmm(addend: Array, x: Array, y: Array, beta: float = 1.0, alpha: float = 1.0) -> Array:
    """alpha * x @ y + beta * addend."""
    shape = (x.shape[0], y.shape[1])
    return run(plan_addmm, [addend, x, y], [(shape, x.dtype)], beta, alpha)  # type: ignore[no-any-return]


def outer(x: Array, y: Array) -> Array:
    """The outer product of two vectors: [m] and [n] give [m, n]."""
    return run(plan_outer, [x, y], [((x.shape[0], y.shape[0]), x.dtype)])  # type: ignore[no-any-return]


def plan_outer(b: PlanBuilder, x: Tensor, y: Tensor, out: Tensor) -> None:
    m, n = x.numel, y.numel
    plan_product(b, x.view((m, 1), (x.strides[0], 1)), y.view((1, n), (n, y.strides[0])), out)


def dot(x: Array, y: Array) -> Array:
    """The sum of x * y along the last dimension."""
    return run(plan_dot, [x, y], [(x.shape[:-1], x.dtype)])  # type: ignore[no-any-return]


__all__ = [
    "addmm",
    "contiguous_strides",
    "dot",
    "matmul",
    "outer",
    "plan_addmm",
    "plan_matmul",
    "plan_product",
]
