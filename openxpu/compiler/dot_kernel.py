"""The register-tile micro-kernel of tl.dot: a few rows of A, broadcast word by word, times vectors of B.

A *word* is what one multiply-add step consumes from each operand: one f32 or f64, a pair of bf16 (vdpbf16ps) or
four i8 (vpdpbusd). The kernel is the same for all of them; only the multiply-add differs. The sums stay in
registers for the whole k loop, one vector of B is loaded once for all rows, and each word of A once for all vectors.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from llvmlite import ir

from openxpu.compiler import dot_emit as e


@dataclass(frozen=True)
class Word:
    """One step of the reduction: its storage, its accumulator and how many elements of k it holds."""

    name: str
    scalar: ir.Type
    accumulator: ir.Type
    nbytes: int
    per_word: int

    def multiply_add(self, b: ir.IRBuilder, acc: ir.Value, x: ir.Value, y: ir.Value) -> ir.Value:
        lanes = acc.type.count
        bits = lanes * self.nbytes * 8
        if self.name == "bf16x2":
            t = _Bf16Vector(lanes * 2)
            f = e.intrinsic(b, f"llvm.x86.avx512bf16.dpbf16ps.{bits}", acc.type, [acc.type, t, t])
            return b.call(f, [acc, b.bitcast(x, t), b.bitcast(y, t)])
        if self.name == "i8x4":
            # The first factor is unsigned (B, biased by 128 when it was packed), the second signed (A).
            t = ir.VectorType(e.I8, lanes * 4)
            f = e.intrinsic(b, f"llvm.x86.avx512.vpdpbusd.{bits}", acc.type, [acc.type, t, t])
            return b.call(f, [acc, b.bitcast(y, t), b.bitcast(x, t)])
        if self.name == "i32":
            return b.add(acc, b.mul(x, y))
        return e.multiply_add(b, x, y, acc)

    def add(self, b: ir.IRBuilder, x: ir.Value, y: ir.Value) -> ir.Value:
        """The sum of two vectors of accumulators."""
        return b.add(x, y) if self.accumulator == e.I32 else b.fadd(x, y)


class _Bf16(ir.Type):  # type: ignore[misc]
    """LLVM's bfloat, which llvmlite has no class for."""

    def _to_string(self) -> str:
        return "bfloat"

    def __str__(self) -> str:
        return "bfloat"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Bf16)

    def __hash__(self) -> int:
        return hash(_Bf16)


def _Bf16Vector(lanes: int) -> ir.VectorType:
    return ir.VectorType(_Bf16(), lanes)


F32_WORD = Word("f32", e.F32, e.F32, 4, 1)
F64_WORD = Word("f64", e.F64, e.F64, 8, 1)
BF16_WORD = Word("bf16x2", e.I32, e.F32, 4, 2)
I8_WORD = Word("i8x4", e.I32, e.I32, 4, 4)
I32_WORD = Word("i32", e.I32, e.I32, 4, 1)


@dataclass(frozen=True)
class MicroKernel:
    """What decides the code of one micro-kernel; equal descriptions share one function of the module.

    Strides are in bytes; None means that the stride is an argument.
    """

    word: Word
    rows: int
    vectors: int
    lanes: int
    a_form: str  # "strided", "rows" (address table per row) or "cols" (address table per word of k)
    a_row_stride: int | None
    a_step: int | None
    b_form: str  # "strided" or "rows" (address table per row of B)
    b_step: int | None
    acc_stride: int
    masked_b: bool  # the last vectors of B may be partial or empty: never read beyond the last column
    masked_acc: bool  # the row of the accumulator may end inside the last vectors
    k_tail: bool  # k may end inside a word (A is read straight from memory)
    unroll: int = 1
    prefetch: int = 0  # rows of B fetched ahead of their use

    @property
    def name(self) -> str:
        def spelled(stride: int | None) -> str:
            return "v" if stride is None else str(stride).replace("-", "n")

        flags = "".join(
            c for c, on in zip("bat", (self.masked_b, self.masked_acc, self.k_tail), strict=True) if on
        )
        a = f"{self.a_form[0]}{spelled(self.a_row_stride)}x{spelled(self.a_step)}"
        return (
            f"dot.{self.word.name}.{self.rows}x{self.vectors}x{self.lanes}.{a}"
            f".{self.b_form[0]}{spelled(self.b_step)}.{self.acc_stride}{flags}.{self.unroll}.{self.prefetch}"
        )

    def function(self, module: ir.Module) -> ir.Function:
        """f(a, a_row_stride, a_step, a_offset, b, b_step, b_offset, acc, k_words, columns, k_rest), all strides in bytes.

        columns: how many columns of the panel are valid; k_rest: elements of k behind the last whole word. Kernels of i8
        have one more: where each row's sums start, which takes back what the bias of B adds.
        """
        arguments: list[ir.Type] = [
            e.PTR,
            e.I64,
            e.I64,
            e.I64,
            e.PTR,
            e.I64,
            e.I64,
            e.PTR,
            e.I64,
            e.I64,
            e.I64,
        ]
        if self.word is I8_WORD:
            arguments.append(e.PTR)
        return e.internal_function(module, self.name, arguments, self._body)

    def _body(self, b: ir.IRBuilder, args: list[ir.Argument]) -> None:
        (
            a,
            a_row_stride,
            a_step,
            a_offset,
            bp,
            b_step,
            b_offset,
            acc,
            k,
            columns,
            k_rest,
            *starts,
        ) = args
        row_stride = a_row_stride if self.a_row_stride is None else e.i64(self.a_row_stride)
        step = a_step if self.a_step is None else e.i64(self.a_step)
        bstep = b_step if self.b_step is None else e.i64(self.b_step)
        vector = ir.VectorType(self.word.scalar, self.lanes)
        acc_vector = ir.VectorType(self.word.accumulator, self.lanes)
        width = self.lanes * self.word.nbytes

        # The caller takes a narrower kernel when no more than half of the vectors have a valid column.
        masks: list[ir.Value | None] = [None] * self.vectors
        if self.masked_b or self.masked_acc:
            for j in range(self.vectors // 2, self.vectors):
                masks[j] = e.prefix_mask(b, b.sub(columns, e.i64(j * self.lanes)), self.lanes)
        b_masks = masks if self.masked_b else [None] * self.vectors
        acc_masks = masks if self.masked_acc else [None] * self.vectors

        row_offsets = [e.multiply(b, e.i64(i), row_stride) for i in range(self.rows)]
        if self.a_form == "rows":
            bases = [e.offset(b, e.load_pointer(b, a, e.i64(i)), a_offset) for i in range(self.rows)]
        elif self.a_form == "strided":
            bases = [e.offset(b, a, o) for o in row_offsets]
        else:
            row_offsets = [e.add(b, a_offset, o) for o in row_offsets]
            bases = []

        def acc_address(i: int, j: int) -> ir.Value:
            return e.offset(b, acc, i * self.acc_stride + j * width)

        # Sums start at zero and join the accumulator at the end: long reductions become sums of short ones, whose
        # rounding errors grow with the square root of the number of blocks instead of the number of terms.
        sums: list[ir.Value] = [e.zero(acc_vector)] * (self.rows * self.vectors)
        for start in starts:
            rows = [b.load(e.offset(b, start, 4 * i), typ=e.I32, align=4) for i in range(self.rows)]
            sums = [e.splat(b, row, self.lanes) for row in rows for _ in range(self.vectors)]

        def a_addresses(index: ir.Value, a_at: ir.Value) -> list[ir.Value]:
            if self.a_form == "cols":
                column = e.load_pointer(b, a, index)
                return [e.offset(b, column, o) for o in row_offsets]
            return [e.offset(b, base, a_at) for base in bases]

        def b_row(index: ir.Value, b_at: ir.Value) -> ir.Value:
            if self.b_form == "rows":
                return e.offset(b, e.load_pointer(b, bp, index), b_offset)
            return e.offset(b, bp, b_at)

        def step_once(
            acc_in: list[ir.Value],
            index: ir.Value,
            a_at: ir.Value,
            b_at: ir.Value,
            rest: bool,
        ) -> list[ir.Value]:
            row = b_row(index, b_at)
            ys = [
                e.masked_load(b, vector, e.offset(b, row, j * width), b_masks[j], self.word.nbytes)
                for j in range(self.vectors)
            ]
            if self.prefetch:
                self._prefetch(b, row, bstep, width)
            out = list(acc_in)
            for i, address in enumerate(a_addresses(index, a_at)):
                word = self._partial_word(b, address, k_rest) if rest else self._word(b, address)
                x = e.splat(b, word, self.lanes)
                for j in range(self.vectors):
                    at = i * self.vectors + j
                    out[at] = self.word.multiply_add(b, out[at], x, ys[j])
            return out

        sums, index, a_at, b_at = self._loop(b, sums, k, step, bstep, step_once)
        if self.k_tail:
            body, done = b.append_basic_block("rest"), b.append_basic_block("rest.done")
            before = b.block
            b.cbranch(b.icmp_signed(">", k_rest, e.i64(0)), body, done)
            b.position_at_end(body)
            with_rest = step_once(sums, index, a_at, b_at, True)
            after = b.block
            b.branch(done)
            b.position_at_end(done)
            sums = [_phi(b, [(s, before), (r, after)]) for s, r in zip(sums, with_rest, strict=True)]
        for i in range(self.rows):
            for j in range(self.vectors):
                address, mask = acc_address(i, j), acc_masks[j]
                before_sum = e.masked_load(b, acc_vector, address, mask, 4)
                total = self.word.add(b, before_sum, sums[i * self.vectors + j])
                e.masked_store(b, total, address, mask, 4)

    def _loop(
        self,
        b: ir.IRBuilder,
        sums: list[ir.Value],
        k: ir.Value,
        step: ir.Value,
        bstep: ir.Value,
        step_once: Callable[[list[ir.Value], ir.Value, ir.Value, ir.Value, bool], list[ir.Value]],
    ) -> tuple[list[ir.Value], ir.Value, ir.Value, ir.Value]:
        """The k loop: `unroll` steps at a time while that many are left, then one at a time."""
        index, a_at, b_at = e.i64(0), e.i64(0), e.i64(0)
        for unroll in dict.fromkeys((self.unroll, 1)):
            loop, done = (
                b.append_basic_block(f"k{unroll}"),
                b.append_basic_block(f"k{unroll}.done"),
            )
            before = b.block
            limit = b.sub(k, e.i64(unroll - 1)) if unroll > 1 else k
            b.cbranch(b.icmp_signed("<", index, limit), loop, done)
            b.position_at_end(loop)
            state = [_phi(b, [(v, before)]) for v in (index, a_at, b_at)]
            carried = [_phi(b, [(s, before)]) for s in sums]
            i, x, y = state
            out: list[ir.Value] = list(carried)
            for _ in range(unroll):
                out = step_once(out, i, x, y, False)
                i = b.add(i, e.i64(1), flags=("nuw", "nsw"))
                x = b.add(x, step)
                y = b.add(y, bstep)
            after = b.block
            for phi, value in zip(state, (i, x, y), strict=True):
                phi.add_incoming(value, after)
            for phi, value in zip(carried, out, strict=True):
                phi.add_incoming(value, after)
            b.cbranch(b.icmp_signed("<", i, limit), loop, done)
            b.position_at_end(done)
            index, a_at, b_at = (
                _phi(b, [(first, before), (last, after)])
                for first, last in zip((index, a_at, b_at), (i, x, y), strict=True)
            )
            sums = [_phi(b, [(first, before), (last, after)]) for first, last in zip(sums, out, strict=True)]
        return sums, index, a_at, b_at

    def _word(self, b: ir.IRBuilder, address: ir.Value) -> ir.Value:
        return b.load(address, typ=self.word.scalar, align=self.word.nbytes // self.word.per_word)

    def _partial_word(self, b: ir.IRBuilder, address: ir.Value, k_rest: ir.Value) -> ir.Value:
        """The last word of a row when k ends inside it: the missing elements are zero and are not read."""
        element = ir.IntType(self.word.nbytes * 8 // self.word.per_word)
        t = ir.VectorType(element, self.word.per_word)
        mask = e.prefix_mask(b, k_rest, self.word.per_word)
        return b.bitcast(e.masked_load(b, t, address, mask, 1), self.word.scalar)

    def _prefetch(self, b: ir.IRBuilder, row: ir.Value, bstep: ir.Value, width: int) -> None:
        ahead = e.offset(b, row, e.multiply(b, e.i64(self.prefetch), bstep))
        f = e.intrinsic(b, "llvm.prefetch.p0", e.VOID, [e.PTR, e.I32, e.I32, e.I32])
        for j in range(0, self.vectors * width, 64):
            b.call(f, [e.offset(b, ahead, j)] + [ir.Constant(e.I32, v) for v in (0, 3, 1)])


def _phi(b: ir.IRBuilder, incoming: list[tuple[ir.Value, ir.Block]]) -> ir.PhiInstr:
    phi = b.phi(incoming[0][0].type)
    for value, block in incoming:
        phi.add_incoming(value, block)
    return phi
