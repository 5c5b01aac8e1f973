# Matching of columns to rows by the greatest entry that is left, one pair after the other.

import triton
import triton.language as tl


@triton.jit
def best_rows(x, used, own, best, where, m, rows, columns, least, FREE: tl.constexpr):
    """The greatest entry of each column among rows that are not used (FREE), or all, and at least `least`."""
    for r in range(0, rows):
        v = tl.load(x + tl.cast(r, tl.int64) * columns + own, mask=m, other=-1)
        better = m & (v >= least) & (v > best)
        if FREE:
            better = better & (tl.load(used + r) == 0)
        best = tl.where(better, v, best)
        where = tl.where(better, r, where)
    return best, where


@triton.jit
def match_columns(
    x,
    used,
    best,
    where,
    match,
    value,
    rows,
    columns,
    least,
    least_of_rest,
    threshold,
    EVERY: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """match [columns] = a row of x [rows, columns] or -1, value = their entry or 0. The pair with the greatest entry is taken
    until none is left; with EVERY, columns without a row then take their greatest entry above the threshold. used [rows],
    best and where [columns] are workspace. One program."""
    lanes = tl.arange(0, BLOCK)
    for first in range(0, rows, BLOCK):
        tl.store(used + first + lanes, tl.zeros((BLOCK,), tl.int32), mask=first + lanes < rows)
    for first in range(0, columns, BLOCK):
        j = first + lanes
        m = j < columns
        none = tl.load(x + j, mask=m, other=0) * 0 - 1
        top, row = best_rows(x, used, j, none, tl.full((BLOCK,), -1, tl.int32), m, rows, columns, least, 1)
        tl.store(best + j, top, mask=m)
        tl.store(where + j, row, mask=m)
        tl.store(match + j, tl.full((BLOCK,), -1, tl.int32), mask=m)
        tl.store(value + j, none + 1, mask=m)
    more = rows > 0
    while more:
        column = tl.full((), -1, tl.int32)
        top = tl.load(x) * 0 - 1
        for first in range(0, columns, BLOCK):
            j = first + lanes
            v = tl.load(best + j, mask=j < columns, other=-1)
            here = tl.max(v, axis=0)
            at = tl.min(tl.where(v == here, j, 2147483647), axis=0)
            wins = here > top
            column = tl.where(wins, at, column)
            top = tl.where(wins, here, top)
        more = column >= 0
        if more:
            row = tl.load(where + column)
            tl.store(match + column, row)
            tl.store(value + column, top)
            tl.store(used + row, 1)
            tl.store(best + column, top * 0 - 1)
            tl.store(where + column, -1)
            for first in range(0, columns, BLOCK):
                j = first + lanes
                stale = tl.load(where + j, mask=j < columns, other=-1) == row
                if tl.sum(stale.to(tl.int32), axis=0) > 0:
                    none = tl.load(x + j, mask=stale, other=0) * 0 - 1
                    again, rest = best_rows(
                        x, used, j, none, tl.full((BLOCK,), -1, tl.int32), stale, rows, columns, least, 1
                    )
                    tl.store(best + j, again, mask=stale)
                    tl.store(where + j, rest, mask=stale)
    if EVERY:
        for first in range(0, columns, BLOCK):
            j = first + lanes
            m = (j < columns) & (tl.load(match + j, mask=j < columns, other=0) < 0)
            none = tl.load(x + j, mask=m, other=0) * 0 - 1
            bound = tl.maximum(least_of_rest, threshold)
            top, row = best_rows(
                x, used, j, none, tl.full((BLOCK,), -1, tl.int32), m, rows, columns, bound, 0
            )
            found = m & (row >= 0)
            tl.store(match + j, row, mask=found)
            tl.store(value + j, top, mask=found)
