"""tl.dot as LLVM IR: acc += a @ b on tiles that lie in memory, for any strides, address tables and valid extents.

The shape of the code is Goto and van de Geijn's (ACM TOMS 34(3), 2008): panels of B a few vectors wide stay in the
first-level cache while register tiles run down the rows of A. What is new here is what is left out: an operand whose
layout suits the micro-kernel is read where it is, and only the others are packed into scratch, once per dot.
"""

from __future__ import annotations

from collections.abc import Callable, Set
from dataclasses import dataclass, replace
from typing import Protocol

from llvmlite import ir

from openxpu.compiler import dot_amx
from openxpu.compiler import dot_emit as e
from openxpu.compiler.dot_kernel import (
    BF16_WORD,
    F32_WORD,
    F64_WORD,
    I8_WORD,
    I32_WORD,
    MicroKernel,
    Word,
)
from openxpu.compiler.dot_pack import Pack

Scratch = Callable[[int], ir.Value]


class DotTarget(Protocol):
    """What the emitter wants to know of a target."""

    @property
    def features(self) -> Set[str]:
        """LLVM's names: avx2, avx512f, avx512bf16, avx512vnni, amx-bf16, ..."""

    @property
    def vector_bytes(self) -> int: ...

    @property
    def registers(self) -> int:
        """Vector registers: 16 or 32."""


@dataclass
class DotOperand:
    """One factor. A is [m, k], B is [k, n]; rows and columns are those of the factor itself."""

    dtype: str  # "f32" "bf16" "f16" "i8" "f64"
    pointer: ir.Value | None  # address of element (0, 0)
    stride_row: ir.Value | None  # i64 elements between rows; ir.Constant when known
    stride_col: ir.Value | None  # i64 elements between columns
    valid_rows: ir.Value | None = (
        None  # rows at or beyond read as zero without touching memory; None: all valid
    )
    valid_cols: ir.Value | None = None
    row_pointers: ir.Value | None = (
        None  # address of i64[rows]: address of element (row, 0); replaces stride_row
    )
    col_pointers: ir.Value | None = (
        None  # address of i64[cols]: address of element (0, col); replaces stride_col
    )


@dataclass
class DotAccumulator:
    """Row-major [M, N] in scratch, 64-byte aligned, N elements from row to row."""

    dtype: str  # "f32" "i32" "f64"
    pointer: ir.Value


def choose_word(dtype: str, features: Set[str]) -> Word:
    """What one multiply-add consumes for operands of this type on this target."""
    if dtype == "f64":
        return F64_WORD
    if dtype == "i8":
        return I8_WORD if "avx512vnni" in features else I32_WORD
    # Processors with AMX (all of those with avx512fp16) run vdpbf16ps at half the rate of two fused multiply-adds.
    if dtype == "bf16" and "avx512bf16" in features and "avx512fp16" not in features:
        return BF16_WORD
    return F32_WORD


# How many bf16 make up an f32 where tl.dot is asked for products of this precision.
SPLITS = {"bf16x3": 2, "bf16x6": 3}


def emit_dot(
    builder: ir.IRBuilder,
    target: DotTarget,
    m: int,
    n: int,
    k: int,
    a: DotOperand,
    b: DotOperand,
    acc: DotAccumulator,
    scratch: Scratch,
    precision: str = "ieee",
) -> None:
    """Emit acc += a @ b at the builder's position and leave the builder behind it.

    scratch(nbytes) gives a 64-byte aligned block that is private to the worker. `precision`: "bf16x6" and "bf16x3" let f32 be
    multiplied as sums of bf16, which is done where tile registers make it faster. Raises ValueError for a combination
    of types that no micro-kernel has.
    """
    expected = {"f64": "f64", "i8": "i32"}.get(a.dtype, "f32")
    if a.dtype != b.dtype or acc.dtype != expected:
        raise ValueError(
            f"A dot of {a.dtype} and {b.dtype} into {acc.dtype} was asked for; the factors must have one type "
            f"and accumulate in {expected}: convert them first."
        )
    parts = SPLITS.get(precision, 1) if a.dtype == "f32" else 1
    _Dot(builder, target, m, n, k, a, b, acc, scratch, parts).emit()


@dataclass
class _Factor:
    """An operand as the micro-kernel sees it; strides are in bytes, `step` goes from word to word of k."""

    form: str  # "strided", "rows" or "cols"
    pointer: ir.Value
    stride: ir.Value  # A: from row to row; B: bytes from panel to panel
    step: ir.Value
    k_words: ir.Value
    k_rest: ir.Value
    packed: bool = False


class _Dot:
    """One dot being emitted."""

    def __init__(
        self,
        builder: ir.IRBuilder,
        target: DotTarget,
        m: int,
        n: int,
        k: int,
        a: DotOperand,
        b: DotOperand,
        acc: DotAccumulator,
        scratch: Scratch,
        parts: int = 1,
        seldom: bool = False,
    ) -> None:
        """`parts`: of f32 as bf16. `seldom`: little code matters more than speed."""
        self.builder, self.target, self.scratch = builder, target, scratch
        self.parts, self.seldom = parts, seldom
        self.m, self.n, self.k, self.a, self.b, self.acc = m, n, k, a, b, acc
        self.word = choose_word(a.dtype, target.features)
        self.lanes = target.vector_bytes // self.word.nbytes
        most = 4 if target.registers >= 32 else 2
        self.vectors = 1 if seldom else min(most, 1 << (-(-n // self.lanes) - 1).bit_length())
        self.panel = self.vectors * self.lanes
        self.m_valid = e.clamp(builder, a.valid_rows, m)
        self.n_valid = e.clamp(builder, b.valid_cols, n)
        self.k_valid = e.minimum(
            builder,
            e.clamp(builder, a.valid_cols, k),
            e.clamp(builder, b.valid_rows, k),
        )

    def emit(self) -> None:
        if self._fits_amx():
            self._emit_amx()
            return
        b = self.builder
        left = self._left()
        right = self._right()
        k_words = left.k_words
        block = max(
            64, 32768 // (self.panel * self.word.nbytes)
        )  # words of k whose panel of B fits the L1 cache
        limit = -(-self.k // self.word.per_word)
        tail = known_nonzero(left.k_rest)
        if limit <= block:
            self._panels(left, right, e.i64(0), k_words, left.k_rest, tail)
            return
        # A rest of k without a whole word before it still needs one pass.
        end = (
            k_words if not tail else b.add(k_words, b.zext(b.icmp_signed(">", left.k_rest, e.i64(0)), e.I64))
        )
        with e.count_loop(b, e.i64(0), end, block, "dot.k") as at:
            words = e.minimum(b, e.i64(block), b.sub(k_words, at))
            rest = left.k_rest
            if tail:
                last = b.icmp_signed(">=", b.add(at, e.i64(block)), end)
                rest = b.select(last, rest, e.i64(0))
            self._panels(left, right, at, words, rest, tail)

    # AMX.

    def _fits_amx(self) -> bool:
        word = {"bf16": BF16_WORD, "i8": I8_WORD}.get(self.a.dtype)
        if self.parts > 1:
            word = BF16_WORD
        features = self.target.features
        if word is None or "amx-tile" not in features or dot_amx.feature(word) not in features:
            return False
        tile = dot_amx.TILE
        return self.m % tile == 0 and self.n % tile == 0 and self.k % (tile * word.per_word) == 0

    def _emit_amx(self) -> None:
        """Whole tiles: A where it lies when nothing of it is masked, everything else packed with zeros behind it."""
        b, a = self.builder, self.a
        self.word = word = I8_WORD if a.dtype == "i8" else BF16_WORD
        self.lanes = self.panel = dot_amx.TILE
        size = e.ELEMENT_BYTES[a.dtype]
        along_k = e.known(a.stride_col) == 1 and a.col_pointers is None and a.row_pointers is None
        along_k = along_k and self.parts == 1
        whole = e.known(self.m_valid) == self.m and e.known(self.k_valid) == self.k
        left: ir.Value
        stride: ir.Value
        a_part, notes = 0, []
        if along_k and whole:
            assert a.pointer is not None
            left, stride = a.pointer, _bytes(b, a.stride_row, size)
        else:
            pack = self._pack(a, "xk", self.m, bias=False, rows_are_k=False)
            pack.whole, pack.padding = True, 64
            if along_k:
                # Most tiles of a masked operand are whole; only those at the edges are packed.
                assert a.pointer is not None
                full = b.and_(
                    b.icmp_signed("==", self.m_valid, e.i64(self.m)),
                    b.icmp_signed("==", self.k_valid, e.i64(self.k)),
                )
                direct = a.pointer, _bytes(b, a.stride_row, size)
                before = b.block
                edge, done = b.append_basic_block("dot.edge"), b.append_basic_block("dot.a")
                b.cbranch(full, done, edge)
                b.position_at_end(edge)
                packed = self._run_pack(pack, a, self.m, self.m_valid, rows_are_k=False)
                after = b.block
                b.branch(done)
                b.position_at_end(done)
                left, stride = b.phi(e.PTR), b.phi(e.I64)
                left.add_incoming(direct[0], before)
                left.add_incoming(packed, after)
                stride.add_incoming(direct[1], before)
                stride.add_incoming(e.i64(pack.line_bytes), after)
            else:
                left = self._run_pack(pack, a, self.m, self.m_valid, rows_are_k=False)
                stride = e.i64(pack.line_bytes)
                a_part, notes = pack.part_bytes, [self._note(pack, left, self.m)]
        pack = self._pack(self.b, "kx", self.panel, bias=False, rows_are_k=True)
        pack.whole, pack.padding = True, 64
        right = self._run_pack(pack, self.b, self.n, self.n_valid, rows_are_k=True)

        def multiply() -> None:
            dot_amx.emit_tiles(
                b,
                word,
                self.n,
                left,
                stride,
                right,
                pack.panel_bytes,
                self.acc.pointer,
                self.m_valid,
                self.n_valid,
                e.ceil_div(b, self.k_valid, word.per_word),
                self.scratch,
                (self.parts, a_part, pack.part_bytes, pack.line_bytes),
            )

        if self.parts == 1:
            multiply()
            return
        # Infinity has no parts: inf * 1 would be inf * (1 + 0 + 0), which is NaN.
        sums = ir.VectorType(e.F32, self.lanes)
        notes.append(self._note(pack, right, self.n))
        total = b.fadd(*(b.load(note, typ=sums, align=4) for note in notes))
        strange = b.bitcast(b.fcmp_unordered("uno", total, total), ir.IntType(self.lanes))
        with b.if_else(b.icmp_unsigned("!=", strange, strange.type(0)), likely=False) as (plain, usual):
            with plain:
                _Dot(
                    b, self.target, self.m, self.n, self.k, a, self.b, self.acc, self.scratch, seldom=True
                ).emit()
            with usual:
                multiply()

    # The operands, packed when they do not suit.

    def _left(self) -> _Factor:
        b, a, word = self.builder, self.a, self.word
        size = e.ELEMENT_BYTES[a.dtype]
        whole = e.ceil_div(b, self.k_valid, word.per_word)
        along_k = e.known(a.stride_col) == 1 and a.col_pointers is None
        direct = a.dtype == word.name or (word.per_word > 1 and along_k)
        if direct:
            stride = e.i64(0) if a.row_pointers is not None else _bytes(b, a.stride_row, size)
            if a.col_pointers is not None:
                return _Factor("cols", a.col_pointers, stride, e.i64(8), self.k_valid, e.i64(0))
            step = e.i64(word.nbytes) if word.per_word > 1 else _bytes(b, a.stride_col, size)
            form, pointer = ("strided", a.pointer) if a.row_pointers is None else ("rows", a.row_pointers)
            assert pointer is not None
            if word.per_word == 1:
                return _Factor(form, pointer, stride, step, self.k_valid, e.i64(0))
            if e.known(self.k_valid) is not None:
                exact = e.known(self.k_valid) or 0
                return _Factor(
                    form,
                    pointer,
                    stride,
                    step,
                    e.i64(exact // word.per_word),
                    e.i64(exact % word.per_word),
                )
            shift = e.i64(word.per_word.bit_length() - 1)
            rest = b.and_(self.k_valid, e.i64(word.per_word - 1))
            return _Factor(form, pointer, stride, step, b.lshr(self.k_valid, shift), rest)
        # The sums of rows that unbias i8 want k-contiguous rows.
        along_m = e.known(a.stride_row) == 1 and a.row_pointers is None and word is not I8_WORD
        pack = self._pack(a, "kx" if along_m else "xk", self.m, bias=False, rows_are_k=False)
        block = self._run_pack(pack, a, self.m, self.m_valid, rows_are_k=False)
        if along_m:
            return _Factor(
                "strided",
                block,
                e.i64(word.nbytes),
                e.i64(pack.panel * word.nbytes),
                whole,
                e.i64(0),
            )
        return _Factor(
            "strided",
            block,
            e.i64(pack.k_words * word.nbytes),
            e.i64(word.nbytes),
            whole,
            e.i64(0),
        )

    def _right(self) -> _Factor:
        b, f, word = self.builder, self.b, self.word
        size = e.ELEMENT_BYTES[f.dtype]
        whole = e.ceil_div(b, self.k_valid, word.per_word)
        along_n = e.known(f.stride_col) == 1 and f.col_pointers is None
        # Rows far apart collide in the first-level cache and are a page each: many rows of A repay one copy of B.
        pitch = e.known(f.stride_row) if f.row_pointers is None else None
        near = pitch is not None and 0 <= pitch <= 4 * self.panel
        if f.dtype == word.name and along_n and (near or self.m < (64 if f.row_pointers is None else 128)):
            between = e.i64(self.panel * size)
            if f.row_pointers is not None:
                return _Factor("rows", f.row_pointers, between, e.i64(8), whole, e.i64(0))
            assert f.pointer is not None
            return _Factor(
                "strided",
                f.pointer,
                between,
                _bytes(b, f.stride_row, size),
                whole,
                e.i64(0),
            )
        pack = self._pack(f, "kx", self.panel, bias=word is I8_WORD, rows_are_k=True)
        block = self._run_pack(pack, f, self.n, self.n_valid, rows_are_k=True)
        between = e.i64(pack.k_words * self.panel * word.nbytes)
        step = e.i64(self.panel * word.nbytes)
        return _Factor("strided", block, between, step, whole, e.i64(0), packed=True)

    def _pack(self, f: DotOperand, layout: str, panel: int, bias: bool, rows_are_k: bool) -> Pack:
        size = e.ELEMENT_BYTES[f.dtype]
        extent = self.n if rows_are_k else self.m
        k_stride, x_stride = (f.stride_row, f.stride_col) if rows_are_k else (f.stride_col, f.stride_row)
        k_table, x_table = (
            (f.row_pointers, f.col_pointers) if rows_are_k else (f.col_pointers, f.row_pointers)
        )
        k_unit = self.lanes * self.word.per_word
        static = (
            e.known(self.k_valid),
            e.known(self.n_valid if rows_are_k else self.m_valid),
        )
        whole = (
            static[0] is not None
            and static[1] is not None
            and not (static[0] % k_unit or static[1] % self.lanes)
        )

        def in_bytes(stride: ir.Value | None) -> int | None:
            constant = e.known(stride)
            return None if constant is None else constant * size

        return Pack(
            dtype=f.dtype,
            word=self.word,
            lanes=self.lanes,
            layout=layout,
            panel=max(self.lanes, 1 << (min(panel, extent) - 1).bit_length()) if layout == "kx" else 0,
            k_words=-(-self.k // k_unit) * self.lanes,
            x_table=x_table is not None,
            k_table=k_table is not None,
            x_stride=None if x_table is not None else in_bytes(x_stride),
            k_stride=None if k_table is not None else in_bytes(k_stride),
            masked=not whole,
            bias=bias,
            converts_f16=bool({"f16c", "neon"} & self.target.features),
            parts=self.parts,
        )

    def _run_pack(
        self, pack: Pack, f: DotOperand, extent: int, valid: ir.Value, rows_are_k: bool
    ) -> ir.Value:
        b = self.builder
        size = e.ELEMENT_BYTES[f.dtype]
        k_stride, x_stride = (f.stride_row, f.stride_col) if rows_are_k else (f.stride_col, f.stride_row)
        block = self.scratch(pack.packed_bytes(extent) + (64 if pack.parts > 1 else 0))
        note = self._note(pack, block, extent) if pack.parts > 1 else ir.Constant(e.PTR, None)
        source = f.row_pointers if f.row_pointers is not None else f.col_pointers
        source = f.pointer if source is None else source
        arguments = [
            source,
            e.i64(0) if pack.x_table else _bytes(b, x_stride, size),
            e.i64(0) if pack.k_table else _bytes(b, k_stride, size),
            valid,
            self.k_valid,
            block,
            note,
        ]
        if not pack.masked:
            b.call(pack.function(b.module), arguments)
            return block
        # Most tiles are whole vectors both ways; masks would cost more than the moves.
        k_unit = self.lanes * self.word.per_word
        whole = b.and_(
            b.icmp_signed("==", b.and_(valid, e.i64(self.lanes - 1)), e.i64(0)),
            b.icmp_signed("==", b.and_(self.k_valid, e.i64(k_unit - 1)), e.i64(0)),
        )
        with b.if_else(whole) as (plain, ragged):
            with plain:
                b.call(replace(pack, masked=False).function(b.module), arguments)
            with ragged:
                b.call(pack.function(b.module), arguments)
        return block

    def _note(self, pack: Pack, block: ir.Value, extent: int) -> ir.Value:
        """Where it says that a number of a packed operand was not finite."""
        return e.offset(self.builder, block, pack.packed_bytes(extent))

    # The loops around the micro-kernel.

    def _panels(
        self,
        left: _Factor,
        right: _Factor,
        at: ir.Value,
        words: ir.Value,
        rest: ir.Value,
        tail: bool,
    ) -> None:
        """All panels of n for the k words at .. at + words."""
        b, word = self.builder, self.word
        a_pointer, a_offset = left.pointer, e.i64(0)
        if left.form == "rows":
            a_offset = e.multiply(b, at, left.step)
        else:
            a_pointer = e.offset(b, a_pointer, e.multiply(b, at, left.step))
        b_pointer = e.offset(b, right.pointer, e.multiply(b, at, right.step))

        kernel = MicroKernel(
            word=word,
            rows=1,
            vectors=self.vectors,
            lanes=self.lanes,
            a_form=left.form,
            a_row_stride=e.known(left.stride),
            a_step=e.known(left.step),
            b_form=right.form,
            b_step=e.known(right.step),
            acc_stride=self.n * word.nbytes,
            masked_b=False,
            masked_acc=False,
            k_tail=tail,
        )
        packed = right.packed
        n_static = e.known(self.n_valid)
        starts = []
        if word is I8_WORD:
            length = b.add(e.multiply(b, words, e.i64(4)), rest) if tail else e.multiply(b, words, e.i64(4))
            starts = [self._starts(left, a_pointer, a_offset, length)]

        def run(column: ir.Value, k: MicroKernel) -> None:
            pointer, b_offset = b_pointer, e.i64(0)
            if packed:
                panel = b.lshr(column, e.i64(self.panel.bit_length() - 1))
                pointer = e.offset(b, pointer, b.mul(panel, right.stride))
                within = b.and_(column, e.i64(self.panel - 1))  # of a narrower panel at the right edge
                pointer = e.offset(b, pointer, e.multiply(b, within, e.i64(word.nbytes)))
            else:
                at_column = e.multiply(b, column, e.i64(word.nbytes))
                if right.form == "rows":
                    b_offset = at_column
                else:
                    pointer = e.offset(b, pointer, at_column)
            acc = e.offset(b, self.acc.pointer, e.multiply(b, column, e.i64(word.nbytes)))
            arguments = [
                a_pointer,
                left.stride,
                left.step,
                a_offset,
                pointer,
                right.step,
                b_offset,
                acc,
                words,
            ]
            arguments += [b.sub(self.n_valid, column), rest, self.m_valid, *starts]
            b.call(self._panel_function(k), arguments)

        if n_static is not None and n_static % self.panel == 0:
            with e.count_loop(b, e.i64(0), e.i64(n_static), self.panel, "dot.n") as column:
                run(column, kernel)
            return
        # Panels get narrower by halves at the right edge; what is left in their right half is masked. Packed columns
        # are padded to one vector only: what lies behind them is read, and the masked accumulator drops it.
        # Where it is B that is masked, the sums behind its columns are those of zeros, and rows as wide as the tile have room
        # for them: loads that follow find masked stores in the cache only, not in the store buffer.
        ragged = replace(kernel, masked_b=not packed)
        begin: ir.Value = e.i64(0)
        vectors = self.vectors
        while vectors:
            width = vectors * self.lanes
            edge = width // 2 if vectors > 1 else 0  # at most this many columns go to the next narrower panel
            end = b.sub(self.n_valid, e.i64(edge)) if n_static is None else e.i64(n_static - edge)
            if not (n_static is not None and begin.constant >= n_static - edge):
                with e.count_loop(b, begin, end, width, f"dot.n{vectors}") as column:
                    masked = packed or self.n % width != 0
                    run(column, replace(ragged, vectors=vectors, masked_acc=masked))
                if n_static is not None:
                    begin = e.i64(begin.constant + -(-(n_static - edge - begin.constant) // width) * width)
            if n_static is None and vectors > 1:
                passed = b.sub(end, begin)
                passed = b.select(b.icmp_signed(">", passed, e.i64(0)), passed, e.i64(0))
                begin = b.add(begin, b.and_(b.add(passed, e.i64(width - 1)), e.i64(-width)))
            vectors //= 2

    def _rows(self, vectors: int) -> list[int]:
        """Heights of the register tiles for a panel of this many vectors, tallest first."""
        if self.seldom:
            return [1]
        if self.target.registers >= 32:
            sizes = [6, 4, 2, 1] if vectors == 4 else [8, 2, 1]
        else:
            sizes = [6, 4, 2, 1] if vectors == 2 else [8, 2, 1]
        static = e.known(self.m_valid)
        if static is None:
            return [size for size in sizes if size <= self.m]
        used, left = [], static
        for size in sizes:
            if left >= size:
                used.append(size)
                left %= size
        return used

    def _panel_function(self, kernel: MicroKernel) -> ir.Function:
        """One panel of B against all rows of A: register tiles from top to bottom."""
        rows = self._rows(kernel.vectors)

        def body(b: ir.IRBuilder, args: list[ir.Argument]) -> None:
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
                m,
                *starts,
            ) = args
            row_stride = a_row_stride if kernel.a_row_stride is None else e.i64(kernel.a_row_stride)

            def call(i: ir.Value, size: int) -> None:
                pointer, at = a, a_offset
                down = e.multiply(b, i, row_stride)
                if kernel.a_form == "rows":
                    pointer = e.offset(b, a, e.multiply(b, i, e.i64(8)))
                elif kernel.a_form == "cols":
                    at = e.add(b, a_offset, down)
                else:
                    pointer = e.offset(b, a, down)
                out = e.offset(b, acc, e.multiply(b, i, e.i64(kernel.acc_stride)))
                function = replace(kernel, rows=size).function(b.module)
                b.call(
                    function,
                    [
                        pointer,
                        a_row_stride,
                        a_step,
                        at,
                        bp,
                        b_step,
                        b_offset,
                        out,
                        k,
                        columns,
                        k_rest,
                        *(e.offset(b, start, e.multiply(b, i, e.i64(4))) for start in starts),
                    ],
                )

            begin: ir.Value = e.i64(0)
            for size in rows:
                # Whole register tiles of this height; fewer than one of the next height's multiple is left over.
                end = b.add(begin, _multiple(b, b.sub(m, begin), size))
                with e.count_loop(b, begin, end, size, f"rows{size}") as i:
                    call(i, size)
                begin = end

        name = f"{kernel.name}.panel." + ".".join(map(str, rows))
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
            e.I64,
        ]
        if kernel.word is I8_WORD:
            arguments.append(e.PTR)
        return e.internal_function(self.builder.module, name, arguments, body)

    def _starts(self, left: _Factor, pointer: ir.Value, offset: ir.Value, length: ir.Value) -> ir.Value:
        """Where the sums of each row start: -128 * sum(a[i, offset : offset + length]), because B is packed with 128 added:
        vpdpbusd wants one unsigned factor. length: bytes."""
        b = self.builder
        lanes = self.lanes
        table = left.form == "rows"
        stride = e.known(left.stride)
        name = f"dot.i8.starts.{lanes}.{'t' if table else stride if stride is not None else 'v'}"

        def body(b: ir.IRBuilder, args: list[ir.Argument]) -> None:
            a, row_stride, from_, out, rows, k = args
            step = row_stride if stride is None else e.i64(stride)
            bytes_t, sums_t = ir.VectorType(e.I8, lanes * 4), ir.VectorType(e.I32, lanes)
            ones = ir.Constant(bytes_t, [1] * (lanes * 4))
            f = e.intrinsic(b, f"llvm.x86.avx512.vpdpbusd.{lanes * 32}", sums_t, [sums_t, bytes_t, bytes_t])
            add = e.intrinsic(b, f"llvm.vector.reduce.add.v{lanes}i32", e.I32, [sums_t])
            with e.count_loop(b, e.i64(0), rows, 1, "row") as i:
                row = e.load_pointer(b, a, i) if table else e.offset(b, a, e.multiply(b, i, step))
                row = e.offset(b, row, from_)
                before = b.block
                loop, done = b.append_basic_block("sum"), b.append_basic_block("sum.done")
                b.branch(loop)
                b.position_at_end(loop)
                at, total = b.phi(e.I64), b.phi(sums_t)
                at.add_incoming(e.i64(0), before)
                total.add_incoming(e.zero(sums_t), before)
                mask = e.prefix_mask(b, b.sub(k, at), lanes * 4)
                part = e.masked_load(b, bytes_t, e.offset(b, row, at), mask, 1)
                new = b.call(f, [total, ones, part])
                following = b.add(at, e.i64(lanes * 4))
                at.add_incoming(following, b.block)
                total.add_incoming(new, b.block)
                b.cbranch(b.icmp_signed("<", following, k), loop, done)
                b.position_at_end(done)
                sum_ = b.mul(b.call(add, [new]), ir.Constant(e.I32, -128))
                b.store(sum_, e.offset(b, out, e.multiply(b, i, e.i64(4))), align=4)

        function = e.internal_function(b.module, name, [e.PTR, e.I64, e.I64, e.PTR, e.I64, e.I64], body)
        starts = self.scratch(self.m * 4)
        b.call(function, [pointer, left.stride, offset, starts, self.m_valid, length])
        return starts


def known_nonzero(value: ir.Value) -> bool:
    """False only for the constant zero."""
    return e.known(value) != 0


def _bytes(b: ir.IRBuilder, stride: ir.Value | None, size: int) -> ir.Value:
    assert stride is not None
    return e.multiply(b, stride, e.i64(size))


def _multiple(b: ir.IRBuilder, value: ir.Value, size: int) -> ir.Value:
    """value rounded down to a multiple of size."""
    if size & (size - 1) == 0:
        return b.and_(value, e.i64(-size))
    return b.sub(value, b.urem(value, e.i64(size)))
