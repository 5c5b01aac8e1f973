"""Packing of a dot operand into scratch: any strides or address tables in, whole words in a regular layout out.

Two layouts come out, always zero-padded to whole vectors of words:

"kx"  panels of `panel` columns: [x / panel][k words][panel]; x is n for B, m for A. What a micro-kernel reads
      as vectors (B) or as neighbouring broadcasts (A).
"xk"  one row of k words per x: what a micro-kernel broadcasts and an AMX tile loads (A).

Reading is along whichever axis is contiguous; when that is not the layout's own axis, square blocks are
transposed in registers on the way.

f32 can be packed as the sum of two or three bf16: each is what is left of the number, rounded to eight bits, so that three of
them are all of its 24. A row or a line of a panel then has as many parts side by side. Numbers that are not finite have no such
parts; that there is one is noted behind the packed operand.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from llvmlite import ir

from openxpu.compiler import dot_emit as e
from openxpu.compiler import float16
from openxpu.compiler.dot_kernel import Word


@dataclass
class Pack:
    """What decides the code of one packing function. Strides are in bytes; None means an argument."""

    dtype: str  # of the source elements
    word: Word
    lanes: int
    layout: str  # "kx" or "xk"
    panel: int  # kx: columns of a panel
    k_words: int  # rows of a panel (kx) or words of a row (xk), a multiple of lanes
    x_table: bool  # addresses come from a table per x ...
    k_table: bool  # ... or from a table per k
    x_stride: int | None
    k_stride: int | None
    masked: bool  # the extents are run-time values or no multiple of the vectors
    bias: bool  # i8: add 128, for the unsigned factor of vpdpbusd

    converts_f16: bool = True  # whether the target has an instruction for it
    whole: bool = False  # zeros also fill up the last block of lanes words of k, and of lanes rows (xk)
    parts: int = 1  # f32 in words of bf16: how many of them make up a number
    padding: int = 0  # bytes behind each row (xk) or panel (kx): powers of two apart they would share few sets of a cache

    # The arguments of the function while its body is being emitted.
    source: ir.Value = field(init=False, repr=False)
    destination: ir.Value = field(init=False, repr=False)
    x_valid: ir.Value = field(init=False, repr=False)
    k_valid: ir.Value = field(init=False, repr=False)
    xs: ir.Value = field(init=False, repr=False)
    ks: ir.Value = field(init=False, repr=False)
    strange: ir.Value = field(init=False, repr=False)  # parts > 1: NaN as soon as a number was not finite

    @property
    def name(self) -> str:
        def spelled(stride: int | None) -> str:
            return "v" if stride is None else str(stride).replace("-", "n")

        flags = self.x_table, self.k_table, self.masked, self.bias, self.whole
        forms = "".join(c for c, on in zip("xkmbw", flags, strict=True) if on)
        return (
            f"dot.pack.{self.dtype}.{self.word.name}.{self.lanes}.{self.layout}{self.panel}.{self.k_words}"
            f".{spelled(self.x_stride)}x{spelled(self.k_stride)}{forms}"
            + (f".{self.parts}.{self.padding}" if self.parts > 1 or self.padding else "")
        )

    @property
    def part_bytes(self) -> int:
        """From a word's first part to its second."""
        return (self.panel if self.layout == "kx" else self.k_words) * self.word.nbytes

    @property
    def line_bytes(self) -> int:
        """From row to row (xk), or from word to word of k (kx)."""
        return self.parts * self.part_bytes + (self.padding if self.layout == "xk" else 0)

    @property
    def panel_bytes(self) -> int:
        """From panel to panel (kx)."""
        return self.k_words * self.line_bytes + self.padding

    def packed_bytes(self, extent: int) -> int:
        """Of this many columns (kx) or rows (xk), without the note of what is not finite."""
        if self.layout == "kx":
            return -(-extent // self.panel) * self.panel_bytes
        return -(-extent // self.lanes) * self.lanes * self.line_bytes

    def function(self, module: ir.Module) -> ir.Function:
        """f(source or table, x_stride, k_stride, x_valid, k_valid, destination, note); k_valid counts elements. `note`: parts > 1: f32 of
        as many lanes, NaN where a number was not finite."""
        types = [e.PTR, e.I64, e.I64, e.I64, e.I64, e.PTR, e.PTR]
        return e.internal_function(module, self.name, types, self._body)

    @property
    def element_bytes(self) -> int:
        return e.ELEMENT_BYTES[self.dtype]

    @property
    def element(self) -> ir.Type:
        return {"f32": e.F32, "f64": e.F64, "f16": e.F16, "bf16": e.I16, "i8": e.I8}[self.dtype]

    def _body(self, b: ir.IRBuilder, args: list[ir.Argument]) -> None:
        (
            self.source,
            x_stride,
            k_stride,
            self.x_valid,
            self.k_valid,
            self.destination,
            note,
        ) = args
        self.xs = x_stride if self.x_stride is None else e.i64(self.x_stride)
        self.ks = k_stride if self.k_stride is None else e.i64(self.k_stride)
        words = e.ceil_div(b, self.k_valid, self.word.per_word)
        if self.whole:
            words = e.multiply(b, e.ceil_div(b, words, self.lanes), e.i64(self.lanes))
        along_x = self.x_stride == self.element_bytes and not self.x_table
        along_k = self.k_stride == self.element_bytes and not self.k_table
        if self.parts > 1:
            sums = ir.VectorType(e.F32, self.lanes)
            self.strange = b.alloca(sums)
            b.store(e.zero(sums), self.strange)
        if along_x and self.layout == "kx":
            self._copy_along_x(b, words)
        elif along_k and self.layout == "xk":
            self._copy_along_k(b, words)
        elif along_x or along_k:
            self._transpose(b, words, along_k)
        else:
            self._one_by_one(b, words)
        if self.parts > 1:
            noted = b.load(self.strange, typ=ir.VectorType(e.F32, self.lanes))
            b.store(noted, note, align=4)

    # Where things are.

    def _at(self, b: ir.IRBuilder, x: ir.Value, k: ir.Value) -> ir.Value:
        """Address of source element (x, k)."""
        if self.x_table:
            return e.offset(b, e.load_pointer(b, self.source, x), e.multiply(b, k, self.ks))
        if self.k_table:
            return e.offset(b, e.load_pointer(b, self.source, k), e.multiply(b, x, self.xs))
        at = e.offset(b, self.source, e.multiply(b, k, self.ks))
        return e.offset(b, at, e.multiply(b, x, self.xs))

    def _to(self, b: ir.IRBuilder, x: ir.Value, word: ir.Value) -> ir.Value:
        """Address of word `word` of column x in the destination."""
        nbytes = self.word.nbytes
        if self.layout == "xk":
            at = e.offset(b, self.destination, e.multiply(b, x, e.i64(self.line_bytes)))
            return e.offset(b, at, e.multiply(b, word, e.i64(nbytes)))
        shift = e.i64(self.panel.bit_length() - 1)
        panel = b.lshr(x, shift)
        within = b.and_(x, e.i64(self.panel - 1))
        at = e.offset(b, self.destination, b.mul(panel, e.i64(self.panel_bytes)))
        at = e.offset(b, at, e.multiply(b, word, e.i64(self.line_bytes)))
        return e.offset(b, at, e.multiply(b, within, e.i64(nbytes)))

    def _store(self, b: ir.IRBuilder, words: list[ir.Value], address: ir.Value) -> None:
        """Each part's words."""
        for i, value in enumerate(words):
            b.store(value, e.offset(b, address, i * self.part_bytes), align=4)

    # Vectors of words, one for each part.

    def _words_along_x(self, b: ir.IRBuilder, x: ir.Value, word: ir.Value) -> list[ir.Value]:
        """The words (x .. x + lanes, word), read with one vector load per element of a word."""
        mask = e.prefix_mask(b, b.sub(self.x_valid, x), self.lanes) if self.masked else None
        t = ir.VectorType(self.element, self.lanes)
        parts = []
        per_word = self.word.per_word
        for i in range(per_word):
            k = e.add(b, b.mul(word, e.i64(per_word)), e.i64(i)) if per_word > 1 else word
            m = mask
            if mask is not None and (i or self.whole):
                inside = b.icmp_signed("<", k, self.k_valid)
                k = b.select(inside, k, e.i64(0))
                m = b.select(inside, mask, e.zero(mask.type))
            parts.append(e.masked_load(b, t, self._at(b, x, k), m, self.element_bytes))
        if per_word == 1:
            return [self._convert(b, parts[0])]
        wide = ir.VectorType(e.I32, self.lanes)
        if self.parts > 1:
            half = ir.Constant(wide, [16] * self.lanes)
            pairs = zip(self._split(b, parts[0]), self._split(b, parts[1]), strict=True)
            return [b.or_(b.lshr(low, half), high) for low, high in pairs]
        bits = 32 // per_word
        value = b.zext(parts[0], wide)
        for i, part in enumerate(parts[1:], 1):
            value = b.or_(
                value,
                b.shl(b.zext(part, wide), ir.Constant(wide, [bits * i] * self.lanes)),
            )
        return [self._biased(b, value)]

    def _words_along_k(
        self,
        b: ir.IRBuilder,
        x: ir.Value,
        word: ir.Value,
        k_mask: ir.Value | None,
        x_checked: bool,
    ) -> list[ir.Value]:
        """The words (x, word .. word + lanes), read with one vector load."""
        per_word = self.word.per_word
        mask = k_mask
        at = x
        if mask is not None and not x_checked:
            inside = b.icmp_signed("<", x, self.x_valid)
            mask = b.select(inside, mask, e.zero(mask.type))
            if self.x_table:  # entries behind the valid ones may not exist
                at = b.select(inside, x, e.i64(0))
        t = ir.VectorType(self.element, self.lanes * per_word)
        value = e.masked_load(
            b,
            t,
            self._at(b, at, e.multiply(b, word, e.i64(per_word))),
            mask,
            self.element_bytes,
        )
        if per_word == 1:
            return [self._convert(b, value)]
        words = ir.VectorType(e.I32, self.lanes)
        if self.parts == 1:
            return [self._biased(b, b.bitcast(value, words))]
        halves = [
            e.shuffle(b, value, value, list(range(first, first + self.lanes))) for first in (0, self.lanes)
        ]
        shorts = ir.VectorType(e.I16, 2 * self.lanes)
        upper = list(range(1, 4 * self.lanes, 2))
        pairs = zip(*(self._split(b, half) for half in halves), strict=True)
        return [
            b.bitcast(e.shuffle(b, b.bitcast(low, shorts), b.bitcast(high, shorts), upper), words)
            for low, high in pairs
        ]

    def _split(self, b: ir.IRBuilder, value: ir.Value) -> list[ir.Value]:
        """f32 as bf16 parts, largest first, each in the upper half of an i32 whose lower half is zero."""
        bits = ir.VectorType(e.I32, value.type.count)
        cut, half = (ir.Constant(bits, [number] * bits.count) for number in (-0x10000, 0x8000))
        out = []
        for i in range(self.parts):
            part = b.bitcast(value, bits)
            if i < 2:  # the third is exact; ties may go either way
                part = b.and_(b.add(part, half), cut)
            out.append(part)
            value = b.fsub(value, b.bitcast(part, value.type))
        # What is left is nothing, or little, of a finite number, and NaN of all others.
        sums = ir.VectorType(e.F32, self.lanes)
        if bits.count != self.lanes:
            value = e.splat(b, b.extract_element(value, ir.Constant(e.I32, 0)), self.lanes)
        noted = b.load(self.strange, typ=sums)
        b.store(e.multiply_add(b, value, e.zero(sums), noted), self.strange)
        return out

    def _convert(self, b: ir.IRBuilder, value: ir.Value) -> ir.Value:
        if self.dtype == "bf16":
            wide = ir.VectorType(e.I32, self.lanes)
            high = b.shl(b.zext(value, wide), ir.Constant(wide, [16] * self.lanes))
            return b.bitcast(high, ir.VectorType(e.F32, self.lanes))
        if self.dtype == "f16":
            if not self.converts_f16:
                return float16.widen(b, value)
            return b.fpext(value, ir.VectorType(e.F32, self.lanes))
        if self.dtype == "i8":
            return b.sext(value, ir.VectorType(e.I32, self.lanes))
        return value

    def _biased(self, b: ir.IRBuilder, value: ir.Value) -> ir.Value:
        if not self.bias:
            return value
        signs = -0x7F7F7F80  # 0x80 in every byte, as a signed number
        return b.xor(value, ir.Constant(value.type, [signs] * self.lanes))

    def _k_mask(self, b: ir.IRBuilder, word: ir.Value) -> ir.Value | None:
        if not self.masked:
            return None
        rest = b.sub(self.k_valid, e.multiply(b, word, e.i64(self.word.per_word)))
        return e.prefix_mask(b, rest, self.lanes * self.word.per_word)

    # The four ways through the operand.

    def _copy_along_x(self, b: ir.IRBuilder, words: ir.Value) -> None:
        with e.count_loop(b, e.i64(0), words, 1, "pack.k") as word:
            with e.count_loop(b, e.i64(0), self.x_valid, self.lanes, "pack.x") as x:
                self._store(b, self._words_along_x(b, x, word), self._to(b, x, word))

    def _copy_along_k(self, b: ir.IRBuilder, words: ir.Value) -> None:
        rows = self.x_valid
        if self.whole:
            rows = e.multiply(b, e.ceil_div(b, rows, self.lanes), e.i64(self.lanes))
        with e.count_loop(b, e.i64(0), rows, 1, "pack.x") as x:
            with e.count_loop(b, e.i64(0), words, self.lanes, "pack.k") as word:
                values = self._words_along_k(b, x, word, self._k_mask(b, word), not self.whole)
                self._store(b, values, self._to(b, x, word))

    def _transpose(self, b: ir.IRBuilder, words: ir.Value, along_k: bool) -> None:
        """Blocks of lanes x lanes words through registers."""
        with e.count_loop(b, e.i64(0), self.x_valid, self.lanes, "pack.x") as x:
            with e.count_loop(b, e.i64(0), words, self.lanes, "pack.k") as word:
                if along_k:
                    mask = self._k_mask(b, word)
                    block = [
                        self._words_along_k(b, b.add(x, e.i64(i)), word, mask, False)
                        for i in range(self.lanes)
                    ]
                else:
                    block = [self._row_of_words(b, x, word, i, words) for i in range(self.lanes)]
                first = self._to(b, x, word)
                for part, rows in enumerate(zip(*block, strict=True)):
                    for i, value in enumerate(transpose_block(b, list(rows))):
                        at = e.offset(b, first, part * self.part_bytes + i * self.line_bytes)
                        b.store(value, at, align=4)

    def _row_of_words(
        self, b: ir.IRBuilder, x: ir.Value, word: ir.Value, i: int, words: ir.Value
    ) -> list[ir.Value]:
        """The words (x .. x + lanes, word + i), zero behind the last word."""
        at = b.add(word, e.i64(i))
        if not self.masked:
            return self._words_along_x(b, x, at)
        inside = b.icmp_signed("<", at, words)
        values = self._words_along_x(b, x, b.select(inside, at, word))
        return [b.select(inside, value, e.zero(value.type)) for value in values]

    def _one_by_one(self, b: ir.IRBuilder, words: ir.Value) -> None:
        """Nothing is contiguous: element by element."""
        per_word = self.word.per_word
        one = ir.VectorType(self.element, 1)
        bits = ir.IntType(self.element_bytes * 8)
        rounded = e.multiply(b, e.ceil_div(b, self.x_valid, self.lanes), e.i64(self.lanes))
        with e.count_loop(b, e.i64(0), words, 1, "pack.k") as word:
            with e.count_loop(b, e.i64(0), rounded, 1, "pack.x") as x:
                x_inside = b.icmp_signed("<", x, self.x_valid)
                x_at = b.select(x_inside, x, e.i64(0))
                values: list[ir.Value] = []
                for i in range(per_word):
                    k = e.add(b, e.multiply(b, word, e.i64(per_word)), e.i64(i))
                    inside = b.and_(x_inside, b.icmp_signed("<", k, self.k_valid))
                    k_at = b.select(inside, k, e.i64(0))
                    mask = e.splat(b, inside, 1)
                    loaded = e.masked_load(b, one, self._at(b, x_at, k_at), mask, self.element_bytes)
                    if per_word == 1:
                        values = [self._convert_one(b, loaded)]
                        continue
                    if self.parts > 1:
                        half = ir.Constant(e.I32, 0 if i else 16)
                        found = [
                            b.lshr(b.extract_element(part, ir.Constant(e.I32, 0)), half)
                            for part in self._split(b, loaded)
                        ]
                    else:
                        part = b.zext(b.bitcast(loaded, bits), e.I32)
                        found = [b.shl(part, ir.Constant(e.I32, 32 // per_word * i))]
                    values = [b.or_(x, y) for x, y in zip(values, found, strict=True)] if values else found
                if self.bias:
                    values = [b.xor(values[0], ir.Constant(e.I32, -0x7F7F7F80))]
                self._store(b, values, self._to(b, x, word))

    def _convert_one(self, b: ir.IRBuilder, loaded: ir.Value) -> ir.Value:
        scalar = b.extract_element(loaded, ir.Constant(e.I32, 0))
        if self.dtype == "bf16":
            return b.bitcast(b.shl(b.zext(scalar, e.I32), ir.Constant(e.I32, 16)), e.F32)
        if self.dtype == "f16":
            return b.fpext(scalar, e.F32) if self.converts_f16 else float16.widen(b, scalar)
        if self.dtype == "i8":
            return b.sext(scalar, e.I32)
        return scalar


def transpose_block(b: ir.IRBuilder, rows: list[ir.Value]) -> list[ir.Value]:
    """A square block in registers, transposed by exchanging halves, quarters, ... (Eklundh 1972)."""
    n = len(rows)
    rows = list(rows)
    distance = n // 2
    while distance:
        low = [lane if not lane & distance else n + lane - distance for lane in range(n)]
        high = [lane + distance if not lane & distance else n + lane for lane in range(n)]
        for i in range(n):
            if not i & distance:
                x, y = rows[i], rows[i + distance]
                rows[i], rows[i + distance] = (
                    e.shuffle(b, x, y, low),
                    e.shuffle(b, x, y, high),
                )
        distance //= 2
    return rows
