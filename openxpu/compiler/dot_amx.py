"""The dot on AMX: products of 16 x 16 tiles in tile registers, two by two.

Four accumulator tiles (tmm0-3) are fed by two tiles of A (tmm4-5: 16 rows of 64 bytes of k) and two of B (tmm6-7: 16 words
of k by 16 columns). A is read where it lies when its rows are whole and contiguous along k, otherwise it is packed;
B is always packed by words, in panels of 16 columns.

Products of f32 are those of the bf16 that it is the sum of (dot_pack.py): of three parts each, the six products that are not
below the last bit of f32 (Henry, Tang and Heinecke, ARITH 2019). A tile instruction adds 32 of them from zero before they join the
accumulator, so that rounding is less than in a chain of fused multiply-adds.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from llvmlite import ir

from openxpu.compiler import dot_emit as e
from openxpu.compiler.dot_kernel import Word

TILE = 16  # rows of a tile, words of a row
_INSTRUCTION = {"bf16x2": "tdpbf16ps", "i8x4": "tdpbssd"}
_FEATURE = {"bf16x2": "amx-bf16", "i8x4": "amx-int8"}
# Which parts of A and B are multiplied, by their number; in an order in which just one of the two changes.
_PAIRS = {
    1: ((0, 0),),
    2: ((1, 0), (0, 0), (0, 1)),
    3: ((2, 0), (1, 0), (1, 1), (0, 1), (0, 0), (0, 2)),
}


def feature(word: Word) -> str:
    """LLVM's name of the feature that multiplies these words."""
    return _FEATURE.get(word.name, "")


@dataclass(frozen=True)
class TileKernel:
    """One function: `rows` x `columns` accumulator tiles over all of k. Strides in bytes."""

    word: Word
    rows: int  # tiles
    columns: int
    acc_stride: int
    parts: int = 1  # of each number of A and of B
    a_part: int = 0  # bytes from one to the next
    b_part: int = 0
    b_line: int = 64  # bytes from word to word of k

    def function(self, module: ir.Module) -> ir.Function:
        """f(a, a_row_stride, b, b_panel_stride, acc, k_tiles)."""
        name = f"dot.amx.{self.word.name}.{self.rows}x{self.columns}.{self.acc_stride}"
        if self.parts > 1:
            name += f".{self.parts}x{self.a_part}x{self.b_part}"
        name += f".{self.b_line}"
        return e.internal_function(module, name, [e.PTR, e.I64, e.PTR, e.I64, e.PTR, e.I64], self._body)

    def _body(self, b: ir.IRBuilder, args: list[ir.Argument]) -> None:
        a, a_stride, bp, panel_stride, acc, k_tiles = args
        acc_stride = e.i64(self.acc_stride)

        def out(i: int, j: int) -> ir.Value:
            return e.offset(b, acc, i * TILE * self.acc_stride + j * TILE * 4)

        # Sums of parts start at zero and join the accumulator at the end, as the micro-kernel's do: they round less.
        fresh = self.parts > 1
        sums = b.alloca(ir.ArrayType(ir.VectorType(e.F32, TILE), TILE)) if fresh else None
        for i in range(self.rows):
            for j in range(self.columns):
                if fresh:
                    f = e.intrinsic(b, "llvm.x86.tilezero", e.VOID, [e.I8])
                    b.call(f, [ir.Constant(e.I8, 2 * i + j)])
                else:
                    _tile(b, "tileloadd64", 2 * i + j, out(i, j), acc_stride)
        second_rows = b.mul(a_stride, e.i64(TILE))
        with e.count_loop(b, e.i64(0), k_tiles, 1, "tile.k") as t:
            a_at = e.offset(b, a, b.mul(t, e.i64(64)))
            b_at = e.offset(b, bp, b.mul(t, e.i64(TILE * self.b_line)))
            held: tuple[int | None, int | None] = (None, None)
            for x, y in _PAIRS[self.parts]:
                a_part, b_part = e.offset(b, a_at, x * self.a_part), e.offset(b, b_at, y * self.b_part)
                if held[1] != y:
                    for j in range(self.columns):
                        at = b_part if j == 0 else e.offset(b, b_part, panel_stride)
                        _tile(b, "tileloadd64", 6 + j, at, e.i64(self.b_line))
                for i in range(self.rows):
                    if held[0] != x:
                        at = a_part if i == 0 else e.offset(b, a_part, second_rows)
                        _tile(b, "tileloadd64", 4 + i, at, a_stride)
                    for j in range(self.columns):
                        _multiply(b, _INSTRUCTION[self.word.name], 2 * i + j, 4 + i, 6 + j)
                held = x, y
        for i in range(self.rows):
            for j in range(self.columns):
                if sums is None:
                    _tile(b, "tilestored64", 2 * i + j, out(i, j), acc_stride)
                else:
                    _tile(b, "tilestored64", 2 * i + j, sums, e.i64(TILE * 4))
                    self._join(b, sums, out(i, j))

    def _join(self, b: ir.IRBuilder, sums: ir.Value, out: ir.Value) -> None:
        """out += sums, a tile that was stored there."""
        row = ir.VectorType(e.F32, TILE)
        with e.count_loop(b, e.i64(0), e.i64(TILE), 4, "tile.join") as i:
            for k in range(4):
                at = e.offset(b, out, b.mul(b.add(i, e.i64(k)), e.i64(self.acc_stride)))
                part = e.offset(b, sums, b.mul(b.add(i, e.i64(k)), e.i64(TILE * 4)))
                b.store(b.fadd(b.load(at, typ=row, align=64), b.load(part, typ=row, align=64)), at, align=64)


def _tile(b: ir.IRBuilder, name: str, register: int, pointer: ir.Value, stride: ir.Value) -> None:
    f = e.intrinsic(b, f"llvm.x86.{name}", e.VOID, [e.I8, e.PTR, e.I64])
    b.call(f, [ir.Constant(e.I8, register), pointer, stride])


def _multiply(b: ir.IRBuilder, name: str, out: int, x: int, y: int) -> None:
    f = e.intrinsic(b, f"llvm.x86.{name}", e.VOID, [e.I8, e.I8, e.I8])
    b.call(f, [ir.Constant(e.I8, v) for v in (out, x, y)])


def emit_tiles(
    b: ir.IRBuilder,
    word: Word,
    n: int,
    a: ir.Value,
    a_stride: ir.Value,
    packed_b: ir.Value,
    panel_stride: int,
    acc: ir.Value,
    m_valid: ir.Value,
    n_valid: ir.Value,
    words: ir.Value,
    scratch: Callable[[int], ir.Value],
    parts: tuple[int, int, int, int] = (1, 0, 0, 64),
) -> None:
    """The loops over tiles. Rows of A and columns of B behind the valid ones are zero up to whole tiles, and so is k.
    `parts`: how many of each number, the bytes from one to the next of A and of B, and from word to word of B."""
    config = scratch(64)  # palette 1; 64 bytes and 16 rows for each of the eight registers
    rows, bytes_ = 0x1010101010101010, 0x0040004000400040
    for i, value in enumerate([1, 0, bytes_, bytes_, 0, 0, rows, 0]):
        b.store(e.i64(value), e.offset(b, config, 8 * i), align=8)
    b.call(e.intrinsic(b, "llvm.x86.ldtilecfg", e.VOID, [e.PTR]), [config])
    m_tiles, n_tiles = e.ceil_div(b, m_valid, TILE), e.ceil_div(b, n_valid, TILE)
    k_tiles = e.ceil_div(b, words, TILE)
    stride = n * 4

    def along(count: ir.Value, name: str, run: Callable[[ir.Value, int], None]) -> None:
        """Two tiles at a time, then the odd one."""
        pairs = e.i64((e.known(count) or 0) & -2) if e.known(count) is not None else b.and_(count, e.i64(-2))
        with e.count_loop(b, e.i64(0), pairs, 2, name) as index:
            run(index, 2)
        with e.count_loop(b, pairs, count, 1, name + ".odd") as index:
            run(index, 1)

    def columns(j: ir.Value, wide: int) -> None:
        panel = e.offset(b, packed_b, e.multiply(b, j, e.i64(panel_stride)))
        to = e.offset(b, acc, e.multiply(b, j, e.i64(TILE * 4)))

        def rows(i: ir.Value, tall: int) -> None:
            source = e.offset(b, a, e.multiply(b, e.multiply(b, i, e.i64(TILE)), a_stride))
            target = e.offset(b, to, e.multiply(b, i, e.i64(TILE * stride)))
            f = TileKernel(word, tall, wide, stride, *parts).function(b.module)
            b.call(f, [source, a_stride, panel, e.i64(panel_stride), target, k_tiles])

        along(m_tiles, "tile.m", rows)

    along(n_tiles, "tile.n", columns)
    b.call(e.intrinsic(b, "llvm.x86.tilerelease", e.VOID, []), [])
