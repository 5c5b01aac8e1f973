# Sequences: best paths through scores, beams traced back, edit distances, masks of lengths.

import triton
import triton.language as tl


@triton.jit
def best_path(
    x, weights, lengths, label, alpha, history, scores, path, time, tags, path_time, start_row, stop_row, first_row,
    lowest, ENDS: tl.constexpr, SCORES: tl.constexpr, LABEL: tl.constexpr, ACC: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """The tags with the greatest sum of emissions x [batch, time, tags] and transitions, which lie in rows of `weights` from
    first_row on; with ENDS also of scores to start and to stop. Beyond its length a path is 0. LABEL: 1 where the path is
    the label instead. Program: one sequence; alpha [batch, 2, tags] and history [batch, time, tags] are workspace."""
    i = tl.program_id(0).to(tl.int64)
    n = tl.minimum(tl.load(lengths + i).to(tl.int32), time)
    x += i * time * tags
    alpha += i * 2 * tags
    history += i * time * tags
    j = tl.arange(0, BLOCK)
    mask = j < tags
    floor = tl.zeros((BLOCK,), ACC) + tl.cast(lowest, ACC)
    best = tl.load(x + j, mask=mask, other=0)
    if ENDS:
        best += tl.load(weights + start_row * tags + j, mask=mask, other=0)
    for t in range(1, n):
        own = alpha + (t % 2) * tags
        tl.store(own + j, best, mask=mask)
        top = floor
        where = tl.zeros((BLOCK,), tl.int32)
        for k in range(0, tags):
            v = tl.load(own + k) + tl.load(weights + (first_row + k) * tags + j, mask=mask, other=0)
            better = v > top
            top = tl.where(better, v, top)
            where = tl.where(better, k, where)
        tl.store(history + t * tags + j, where, mask=mask)
        best = top + tl.load(x + t * tags + j, mask=mask, other=0)
    if ENDS:
        stop = tl.load(weights + stop_row * tags + j, mask=mask, other=0)
        best = tl.where(n > 0, best + stop, best)
    best = tl.where(mask, best, tl.cast(lowest, ACC))
    highest = tl.max(best, axis=0)
    tag = tl.min(tl.where(mask & (best == highest), j, tags - 1), axis=0)
    if SCORES:
        tl.store(scores + i, highest)
    for back in range(0, path_time):
        t = path_time - 1 - back
        inside = t < n
        v = tl.where(inside, tag, 0).to(tl.int64)
        at = i * path_time + t
        if LABEL:
            v = (inside & (tl.load(label + at) == v)).to(tl.int64)
        tl.store(path + at, v)
        tag = tl.where(
            inside & (t > 0), tl.load(history + t * tags + tag, mask=inside & (t > 0), other=0), tag
        )


@triton.jit
def gather_tree(ids, parents, out, time, rows, beams, BLOCK: tl.constexpr):
    """ids and parents [time, batch, beams]: each beam of the last step followed back to its first. Lanes: batch x beams."""
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    mask = at < rows
    base = (at // beams) * beams
    beam = (at % beams).to(tl.int64)
    for back in range(0, time):
        row = (tl.cast(time, tl.int64) - 1 - back) * rows
        tl.device_assert((beam >= 0) & (beam < beams), "gather_tree: a parent is no beam", mask=mask)
        known = mask & (beam >= 0) & (beam < beams)
        place = row + base + beam
        tl.store(out + row + at, tl.load(ids + place, mask=known, other=0), mask=mask)
        beam = tl.load(parents + place, mask=known, other=0).to(tl.int64)


@triton.jit
def least(a, b):
    return tl.minimum(a, b)


@triton.jit
def edit_distance(
    x,
    y,
    x_lengths,
    y_lengths,
    count,
    out,
    x_width,
    y_width,
    batch,
    NORMALIZED: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """Insertions, deletions and substitutions from x [batch, x_width] to y (Levenshtein, 1966), over y's length with
    NORMALIZED. One pair a program; a row of the table is a tile, and the insertions along it a running minimum."""
    i = tl.program_id(0).to(tl.int64)
    m = tl.minimum(tl.load(x_lengths + i), x_width).to(tl.int32)
    n = tl.minimum(tl.load(y_lengths + i), y_width).to(tl.int32)
    if NORMALIZED:
        tl.device_assert(
            n > 0, "edit_distance: a reference is empty, by whose length the distance is to be divided"
        )
    j = tl.arange(0, BLOCK)
    letter = tl.load(y + i * y_width + j - 1, mask=(j > 0) & (j <= n), other=0)
    row = j
    for k in range(0, m):
        own = tl.load(x + i * x_width + k)
        before = tl.gather(row, tl.maximum(j - 1, 0), 0)
        here = tl.minimum(row + 1, tl.where(j > 0, before + (letter != own).to(tl.int32), 1073741824))
        row = tl.associative_scan(here - j, 0, least) + j
    distance = tl.sum(tl.where(j == n, row, 0), axis=0).to(tl.float32)
    if NORMALIZED:
        distance = distance / tl.maximum(n, 1).to(tl.float32)
    tl.store(out + i, distance)
    if i == 0:
        tl.store(count, tl.cast(batch, tl.int64))


@triton.jit
def sequence_mask(lengths, out, width, BLOCK: tl.constexpr):
    """out [rows, width] = 1 before each row's length, else 0: program (block of columns, row)."""
    row = tl.program_id(1).to(tl.int64)
    c = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    inside = c < tl.load(lengths + row)
    tl.store(out + row * width + c, inside.to(out.dtype.element_ty), mask=c < width)
