"""How products of f32 are computed: by fused multiply-adds, or on tile registers as products of the bf16 that make up each number."""

from __future__ import annotations

import functools

from openxpu import environment
from openxpu.compiler import target

IEEE, TILES = "ieee", "bf16x6"
# Taking a number apart costs as much as its products with some forty others save.
SMALL, FEW = 48, 64 * 64
ENOUGH = 4  # blocks


def of_products(dtype: str, m: int, n: int) -> str:
    """tl.dot's input_precision for [m, k] times [k, n] of this type: "bf16x6" for f32 where the processor has tile registers of bf16 and
    the result is large enough to repay the taking apart, unless OPENXPU_F32_DOT is "ieee". Six products of 16 x 16 x 32 take
    two fifths of the time of as many fused multiply-adds, and round less."""
    if dtype != "f32" or min(m, n) <= SMALL or m * n <= FEW or environment.f32_dot() == IEEE:
        return IEEE
    return TILES if has_tiles() else IEEE


@functools.cache
def has_tiles() -> bool:
    """Whether the processor has tile registers for bf16."""
    return {"amx-tile", "amx-bf16"} <= target.host().features


def tiles(m: int, n: int, k: int, batch: int) -> tuple[int, int, int]:
    """BM, BN, BK of products on tile registers: both factors of a block are taken apart anew, so that it should be large, but
    it stays in the second-level cache, and there are some for every worker."""
    bm, bn = (64 if extent <= 64 else 128 if extent <= 128 else 256 for extent in (m, n))
    while -(-m // bm) * -(-n // bn) * batch < ENOUGH and bm * bn > 128 * 128:
        if bm >= bn:
            bm //= 2
        else:
            bn //= 2
    return bm, bn, 32 if k <= 32 else 256
