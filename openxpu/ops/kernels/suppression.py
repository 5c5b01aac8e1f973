# Suppression of overlapping boxes: greedy in the order of scores, for each class, by decayed scores; proposals and levels.
"""Boxes are (left, top, right, bottom); `pixel` is 1 where a box contains its last pixel, else 0. Greedy suppression is one
program for each list, so its order is that of the scores whatever the number of workers."""

import triton
import triton.language as tl


@triton.jit
def area_of(x0, y0, x1, y1, pixel):
    return tl.where((x1 < x0) | (y1 < y0), 0.0, (x1 - x0 + pixel) * (y1 - y0 + pixel))


@triton.jit
def overlap_of(a0, a1, a2, a3, b0, b1, b2, b3, pixel, PLAIN: tl.constexpr):
    """Intersection over union; PLAIN: without regard to boxes that are inside out."""
    w = tl.minimum(a2, b2) - tl.maximum(a0, b0) + pixel
    h = tl.minimum(a3, b3) - tl.maximum(a1, b1) + pixel
    if PLAIN:
        common = tl.maximum(w, 0.0) * tl.maximum(h, 0.0)
        return common / ((a2 - a0) * (a3 - a1) + (b2 - b0) * (b3 - b1) - common)
    common = w * h
    whole = area_of(a0, a1, a2, a3, pixel) + area_of(b0, b1, b2, b3, pixel) - common
    apart = (b0 > a2) | (b2 < a0) | (b1 > a3) | (b3 < a1)
    return tl.where(apart, 0.0, common / whole)


@triton.jit
def plus(a, b):
    return a + b


@triton.jit
def suppress(
    boxes, valid, kept, kept_boxes, totals, n, limit, box_step, side_step, threshold, eta, pixel,
    VALID: tl.constexpr, ALL: tl.constexpr, PLAIN: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """The first `limit` boxes of each list that overlap none before them that was kept: kept [lists, n] gets their places,
    totals [lists] their number. ALL: every valid box is kept. kept_boxes [lists, 4, n] is workspace. One list a program."""
    row = tl.program_id(0).to(tl.int64)
    boxes += row * 4 * n
    kept += row * n
    kept_boxes += row * 4 * n
    lanes = tl.arange(0, BLOCK)
    taken = tl.full((), 0, tl.int32)
    bound = threshold
    for i in range(0, n):
        box = boxes + tl.cast(i, tl.int64) * box_step
        a0 = tl.load(box)
        a1 = tl.load(box + side_step)
        a2 = tl.load(box + 2 * side_step)
        a3 = tl.load(box + 3 * side_step)
        good = taken < limit
        if VALID:
            good = good & (tl.load(valid + row * n + i) != 0)
        start = tl.full((), 0, tl.int32)
        if not ALL:
            while good & (start < taken):
                at = start + lanes
                m = at < taken
                b0 = tl.load(kept_boxes + at, mask=m, other=0)
                b1 = tl.load(kept_boxes + n + at, mask=m, other=0)
                b2 = tl.load(kept_boxes + 2 * n + at, mask=m, other=0)
                b3 = tl.load(kept_boxes + 3 * n + at, mask=m, other=0)
                v = overlap_of(a0, a1, a2, a3, b0, b1, b2, b3, pixel, PLAIN)
                if PLAIN:
                    bad = m & (v > bound)
                else:
                    bad = m & ~(v <= bound)
                good = tl.sum(bad.to(tl.int32), axis=0) == 0
                start += BLOCK
        if good:
            tl.store(kept_boxes + taken, a0)
            tl.store(kept_boxes + n + taken, a1)
            tl.store(kept_boxes + 2 * n + taken, a2)
            tl.store(kept_boxes + 3 * n + taken, a3)
            tl.store(kept + taken, i.to(kept.dtype.element_ty))
            taken += 1
            bound = tl.where((eta < 1) & (bound > 0.5), bound * eta, bound)
    tl.store(totals + row, taken.to(tl.int64))


@triton.jit
def take_indices(kept, out, count, BLOCK: tl.constexpr):
    """The first `count` of the kept indices."""
    at = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    m = at < count
    tl.store(out + at, tl.load(kept + at, mask=m, other=0).to(out.dtype.element_ty), mask=m)


# ---- proposals ----


@triton.jit
def proposals(
    order,
    deltas,
    anchors,
    variances,
    sizes,
    boxes,
    valid,
    n,
    total,
    least,
    longest,
    pixel,
    CENTRE: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """The n best anchors of each image moved by their deltas and clipped: boxes [images, 4, n], and whether each is large
    enough. order [images, total]: anchors by score. Program (block of anchors, image)."""
    image = tl.program_id(1).to(tl.int64)
    i = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    m = i < n
    which = tl.load(order + image * total + i, mask=m, other=0).to(tl.int64)
    anchor = anchors + which * 4
    variance = variances + which * 4
    delta = deltas + (image * total + which) * 4
    x0 = tl.load(anchor, mask=m, other=0)
    y0 = tl.load(anchor + 1, mask=m, other=0)
    w = tl.load(anchor + 2, mask=m, other=0) - x0 + pixel
    h = tl.load(anchor + 3, mask=m, other=0) - y0 + pixel
    dx = tl.load(variance, mask=m, other=0) * tl.load(delta, mask=m, other=0)
    dy = tl.load(variance + 1, mask=m, other=0) * tl.load(delta + 1, mask=m, other=0)
    dw = tl.load(variance + 2, mask=m, other=0) * tl.load(delta + 2, mask=m, other=0)
    dh = tl.load(variance + 3, mask=m, other=0) * tl.load(delta + 3, mask=m, other=0)
    cx = dx * w + x0 + 0.5 * w
    cy = dy * h + y0 + 0.5 * h
    bw = tl.exp(tl.minimum(dw, longest)) * w
    bh = tl.exp(tl.minimum(dh, longest)) * h
    height = tl.load(sizes + image * 2)
    width = tl.load(sizes + image * 2 + 1)
    left = tl.maximum(tl.minimum(cx - bw / 2, width - pixel), 0.0)
    top = tl.maximum(tl.minimum(cy - bh / 2, height - pixel), 0.0)
    right = tl.maximum(tl.minimum(cx + bw / 2 - pixel, width - pixel), 0.0)
    bottom = tl.maximum(tl.minimum(cy + bh / 2 - pixel, height - pixel), 0.0)
    ws = right - left + pixel
    hs = bottom - top + pixel
    good = (ws >= least) & (hs >= least)
    if CENTRE:
        good = good & (left + ws / 2 <= width) & (top + hs / 2 <= height)
    to = boxes + image * 4 * n + i
    tl.store(to, left, mask=m)
    tl.store(to + n, top, mask=m)
    tl.store(to + 2 * n, right, mask=m)
    tl.store(to + 3 * n, bottom, mask=m)
    tl.store(valid + image * n + i, good.to(tl.int32), mask=m)


@triton.jit
def proposal_places(totals, numbers, places, count, images):
    """How many proposals each image has, at least one, and where its first one goes. One program."""
    before = tl.full((), 0, tl.int64)
    for i in range(0, images):
        n = tl.maximum(tl.load(totals + i), 1)
        tl.store(numbers + i, n.to(tl.int32))
        tl.store(places + i, before)
        before += n
    tl.store(count, before)


@triton.jit
def gather_proposals(boxes, scores, kept, totals, places, rois, probs, n, total, BLOCK: tl.constexpr):
    """Program (block of kept boxes, image); an image without any has a box and score of zeros."""
    image = tl.program_id(1).to(tl.int64)
    i = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    have = tl.load(totals + image)
    m = i < have
    written = i < tl.maximum(have, 1)
    to = tl.load(places + image) + i
    which = tl.load(kept + image * n + i, mask=m, other=0).to(tl.int64)
    tl.store(probs + to, tl.load(scores + image * total + which, mask=m, other=0), mask=written)
    for side in range(0, 4):
        v = tl.load(boxes + image * 4 * n + side * n + which, mask=m, other=0)
        tl.store(rois + to * 4 + side, v, mask=written)


@triton.jit
def gather_scores(scores, order, out, n, total, BLOCK: tl.constexpr):
    """The n best scores of each row: program (block, row)."""
    row = tl.program_id(1).to(tl.int64)
    i = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    m = i < n
    which = tl.load(order + row * total + i, mask=m, other=0)
    tl.store(out + row * n + i, tl.load(scores + row * total + which, mask=m, other=0), mask=m)


# ---- classes ----


@triton.jit
def nth_start(counts, image):
    """The sum of the counts before an image's."""
    start = tl.full((), 0, tl.int64)
    for i in range(0, image):
        start += tl.load(counts + i).to(tl.int64)
    return start


@triton.jit
def candidates(
    boxes,
    scores,
    counts,
    work_scores,
    work_index,
    work_boxes,
    row,
    classes,
    n,
    threshold,
    FLAT: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """Gathers the boxes of a list (image and class) whose score is above the threshold; their number."""
    image = row // classes
    c = row % classes
    lanes = tl.arange(0, BLOCK)
    own = tl.full((), 0, tl.int64) + n
    if FLAT:
        start = nth_start(counts, image)
        own = tl.load(counts + image).to(tl.int64)
        source = scores + start * classes + c
        box = boxes + (start * classes + c) * 4
        step = classes
    else:
        source = scores + row * n
        box = boxes + image * n * 4
        step = 1
    found = tl.full((), 0, tl.int32)
    for first in range(0, own.to(tl.int32), BLOCK):
        j = first + lanes
        m = j < own
        s = tl.load(source + j * step, mask=m, other=0)
        good = m & (s > threshold)
        some = tl.sum(good.to(tl.int32), axis=0)
        if some > 0:
            to = found + tl.associative_scan(good.to(tl.int32), 0, plus) - 1
            tl.store(work_scores + to, s, mask=good)
            tl.store(work_index + to, j, mask=good)
            for side in range(0, 4):
                tl.store(
                    work_boxes + side * n + to,
                    tl.load(box + j * step * 4 + side, mask=good, other=0),
                    mask=good,
                )
            found += some
    return found


@triton.jit
def suppress_classes(
    boxes, scores, counts, work_scores, work_index, work_boxes, work_overlap, selected, selected_scores, totals, rows, programs,
    classes, n, size, limit, background, threshold, overlap, eta, pixel, FLAT: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Greedy suppression among the `limit` best of each list above the threshold: selected [rows, size] gets their indices in
    the order of their scores, totals [rows] their number. The best box that is left overlaps no kept one by more than
    the bound; each kept box raises the overlaps of all others, which the next search for the best reads anyway."""
    program = tl.program_id(0)
    lanes = tl.arange(0, BLOCK)
    work_scores += tl.cast(program, tl.int64) * n
    work_index += tl.cast(program, tl.int64) * n
    work_boxes += tl.cast(program, tl.int64) * 4 * n
    work_overlap += tl.cast(program, tl.int64) * n
    for r in range(program, rows, programs):
        row = tl.cast(r, tl.int64)
        taken = tl.full((), 0, tl.int32)
        if row % classes != background:
            found = candidates(
                boxes,
                scores,
                counts,
                work_scores,
                work_index,
                work_boxes,
                row,
                classes,
                n,
                threshold,
                FLAT,
                BLOCK,
            )
            bound = overlap
            a0 = overlap * 0
            a1 = overlap * 0
            a2 = overlap * 0
            a3 = overlap * 0
            more = found > 0
            while more:
                top = threshold * 0
                place = tl.full((), -1, tl.int32)
                for first in range(0, found, BLOCK):
                    j = first + lanes
                    m = j < found
                    s = tl.load(work_scores + j, mask=m, other=0)
                    if taken > 0:
                        b0 = tl.load(work_boxes + j, mask=m, other=0)
                        b1 = tl.load(work_boxes + n + j, mask=m, other=0)
                        b2 = tl.load(work_boxes + 2 * n + j, mask=m, other=0)
                        b3 = tl.load(work_boxes + 3 * n + j, mask=m, other=0)
                        v = overlap_of(b0, b1, b2, b3, a0, a1, a2, a3, pixel, 0)
                        o = tl.load(work_overlap + j, mask=m, other=0)
                        o = tl.where(v <= o, o, tl.where(v == v, v, float("inf")))
                        tl.store(work_overlap + j, o, mask=m)
                        left = m & (o <= bound)
                    else:
                        tl.store(work_overlap + j, tl.where(m, float("-inf"), s), mask=m)
                        left = m
                    here = tl.max(tl.where(left, s, float("-inf")), axis=0)
                    at = tl.min(tl.where(left & (s == here), j, 2147483647), axis=0)
                    wins = (at < 2147483647) & ((place < 0) | (here > top))
                    place = tl.where(wins, at, place)
                    top = tl.where(wins, here, top)
                more = place >= 0
                if more & (limit < found):
                    rank = tl.full((), 0, tl.int32)
                    for first in range(0, found, BLOCK):
                        j = first + lanes
                        s = tl.load(work_scores + j, mask=j < found, other=float("-inf"))
                        before = (j < found) & ((s > top) | ((s == top) & (j < place)))
                        rank += tl.sum(before.to(tl.int32), axis=0)
                    more = rank < limit
                if more:
                    a0 = tl.load(work_boxes + place)
                    a1 = tl.load(work_boxes + n + place)
                    a2 = tl.load(work_boxes + 2 * n + place)
                    a3 = tl.load(work_boxes + 3 * n + place)
                    tl.store(work_overlap + place, top * 0 + float("inf"))
                    tl.store(selected + row * size + taken, tl.load(work_index + place))
                    tl.store(selected_scores + row * size + taken, top)
                    bound = tl.where((eta < 1) & (bound > 0.5), bound * eta, bound)
                    taken += 1
        tl.store(totals + row, taken)


@triton.jit
def decay_classes(
    boxes, scores, counts, work_scores, work_index, work_boxes, sorted_scores, sorted_index, sorted_boxes, work_overlap, selected,
    selected_scores, totals, rows, programs, classes, n, size, limit, background, threshold, least, sigma, pixel,
    GAUSSIAN: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Scores of the `limit` best of each list decayed by their overlaps with better ones (Wang et al., SOLOv2, 2020); those
    above `least` are selected, in the order of the scores before."""
    program = tl.program_id(0)
    lanes = tl.arange(0, BLOCK)
    base = tl.cast(program, tl.int64) * n
    work_scores += base
    work_index += base
    work_boxes += base * 4
    sorted_scores += base
    sorted_index += base
    sorted_boxes += base * 4
    work_overlap += base
    for r in range(program, rows, programs):
        row = tl.cast(r, tl.int64)
        taken = tl.full((), 0, tl.int32)
        if row % classes != background:
            found = candidates(
                boxes,
                scores,
                counts,
                work_scores,
                work_index,
                work_boxes,
                row,
                classes,
                n,
                threshold,
                0,
                BLOCK,
            )
            for i in range(0, found):
                own = tl.load(work_scores + i)
                rank = tl.full((), 0, tl.int32)
                for first in range(0, found, BLOCK):
                    j = first + lanes
                    s = tl.load(work_scores + j, mask=j < found, other=float("-inf"))
                    before = (j < found) & ((s > own) | ((s == own) & (j < i)))
                    rank += tl.sum(before.to(tl.int32), axis=0)
                if rank < limit:
                    tl.store(sorted_scores + rank, own)
                    tl.store(sorted_index + rank, tl.load(work_index + i))
                    for side in range(0, 4):
                        tl.store(sorted_boxes + side * n + rank, tl.load(work_boxes + side * n + i))
            for i in range(0, tl.minimum(found, limit)):
                a0 = tl.load(sorted_boxes + i)
                a1 = tl.load(sorted_boxes + n + i)
                a2 = tl.load(sorted_boxes + 2 * n + i)
                a3 = tl.load(sorted_boxes + 3 * n + i)
                largest = a0 * 0
                decay = a0 * 0 + 1.0
                for first in range(0, i, BLOCK):
                    j = first + lanes
                    m = j < i
                    b0 = tl.load(sorted_boxes + j, mask=m, other=0)
                    b1 = tl.load(sorted_boxes + n + j, mask=m, other=0)
                    b2 = tl.load(sorted_boxes + 2 * n + j, mask=m, other=0)
                    b3 = tl.load(sorted_boxes + 3 * n + j, mask=m, other=0)
                    v = tl.where(m, overlap_of(a0, a1, a2, a3, b0, b1, b2, b3, pixel, 0), 0.0)
                    other = tl.load(work_overlap + j, mask=m, other=0)
                    if GAUSSIAN:
                        d = tl.exp((other * other - v * v) * sigma)
                    else:
                        d = (1.0 - v) / (1.0 - other)
                    largest = tl.maximum(largest, tl.max(v, axis=0))
                    decay = tl.minimum(decay, tl.min(tl.where(m, d, 1.0), axis=0))
                tl.store(work_overlap + i, largest)
                score = decay * tl.load(sorted_scores + i)
                if score > least:
                    tl.store(selected + row * size + taken, tl.load(sorted_index + i))
                    tl.store(selected_scores + row * size + taken, score)
                    taken += 1
        tl.store(totals + row, taken)


@triton.jit
def limit_classes(scores, totals, taken, numbers, classes, size, keep, CLASSES: tl.constexpr):
    """How many of each class are among the `keep` best of an image, whose lists are sorted: the heads of the lists are
    compared, the first class wins among equals. keep < 0: all. One image a program."""
    image = tl.program_id(0).to(tl.int64)
    c = tl.arange(0, CLASSES)
    m = c < classes
    have = tl.load(totals + image * classes + c, mask=m, other=0)
    total = tl.sum(have, axis=0)
    head = have
    if (keep >= 0) & (total > keep):
        head = have * 0
        for _i in range(0, keep):
            open_ = m & (head < have)
            s = tl.load(scores + (image * classes + c) * size + head, mask=open_, other=float("-inf"))
            best = tl.max(tl.where(open_, s, float("-inf")), axis=0)
            winner = tl.min(tl.where(open_ & (s == best), c, CLASSES), axis=0)
            head = tl.where(c == winner, head + 1, head)
        total = tl.sum(head, axis=0)
    tl.store(taken + image * classes + c, head, mask=m)
    tl.store(numbers + image, total)


@triton.jit
def image_places(numbers, places, count, images):
    """Where each image's first result goes. One program."""
    before = tl.full((), 0, tl.int64)
    for i in range(0, images):
        tl.store(places + i, before)
        before += tl.load(numbers + i).to(tl.int64)
    tl.store(count, before)


@triton.jit
def write_detections(
    boxes,
    scores,
    counts,
    selected,
    taken,
    places,
    out,
    index,
    classes,
    n,
    size,
    FLAT: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """Rows (class, score, box) class by class, those of a class in the order of their scores, or with FLAT of their indices.
    One image a program."""
    image = tl.program_id(0).to(tl.int64)
    lanes = tl.arange(0, BLOCK)
    to = tl.load(places + image)
    start = image * n
    if FLAT:
        start = nth_start(counts, image)
    for c in range(0, classes):
        row = image * classes + c
        have = tl.load(taken + row)
        for first in range(0, have, BLOCK):
            i = first + lanes
            m = i < have
            j = tl.load(selected + row * size + i, mask=m, other=0)
            score = tl.load(scores + row * size + i, mask=m, other=0)
            rank = i
            flat = start + j
            if FLAT:
                rank = i * 0
                for other in range(0, have):
                    rank += (tl.load(selected + row * size + other) < j).to(tl.int32)
                flat = flat * classes + c
            at = to + rank
            label = tl.zeros((BLOCK,), tl.int32) + c
            tl.store(out + at * 6, label.to(out.dtype.element_ty), mask=m)
            tl.store(out + at * 6 + 1, score, mask=m)
            for side in range(0, 4):
                tl.store(out + at * 6 + 2 + side, tl.load(boxes + flat * 4 + side, mask=m, other=0), mask=m)
            tl.store(index + at, flat.to(index.dtype.element_ty), mask=m)
        to += have


@triton.jit
def write_best_detections(
    boxes, scores, selected, totals, numbers, places, out, index, classes, n, size, BLOCK: tl.constexpr
):
    """Rows (class, score, box) of the best of an image, by score; scores of those that are written become -inf. One image
    a program."""
    image = tl.program_id(0).to(tl.int64)
    lanes = tl.arange(0, BLOCK)
    to = tl.load(places + image)
    for k in range(0, tl.load(numbers + image)):
        top = tl.load(scores + image * classes * size) * 0
        place = tl.full((), -1, tl.int64)
        label = tl.full((), 0, tl.int32)
        for c in range(0, classes):
            row = image * classes + c
            have = tl.load(totals + row)
            for first in range(0, have, BLOCK):
                i = first + lanes
                m = i < have
                s = tl.load(scores + row * size + i, mask=m, other=float("-inf"))
                here = tl.max(s, axis=0)
                if (here > float("-inf")) & ((place < 0) | (here > top)):
                    place = row * size + tl.min(tl.where(m & (s == here), i, 2147483647), axis=0)
                    top = here
                    label = tl.full((), 0, tl.int32) + c
        if place >= 0:
            tl.store(scores + place, top * 0 + float("-inf"))
            flat = image * n + tl.load(selected + place)
            at = out + (to + k) * 6
            tl.store(at, label.to(out.dtype.element_ty))
            tl.store(at + 1, top)
            for side in range(0, 4):
                tl.store(at + 2 + side, tl.load(boxes + flat * 4 + side))
            tl.store(index + to + k, flat.to(index.dtype.element_ty))


@triton.jit
def limit_images(totals, numbers, classes, keep, CLASSES: tl.constexpr):
    """numbers = min(sum of an image's totals, keep); keep < 0: all. One image a program."""
    image = tl.program_id(0)
    c = tl.arange(0, CLASSES)
    total = tl.sum(tl.load(totals + image * classes + c, mask=c < classes, other=0), axis=0)
    tl.store(numbers + image, tl.where(keep >= 0, tl.minimum(total, keep), total))


# ---- levels of a feature pyramid ----


@triton.jit
def pyramid_levels(boxes, levels, n, low, high, refer, scale, small, pixel, BLOCK: tl.constexpr):
    """The level of each box by its size (Lin et al., 2017), from 0."""
    i = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    m = i < n
    box = boxes + i.to(tl.int64) * 4
    area = area_of(
        tl.load(box, mask=m, other=0), tl.load(box + 1, mask=m, other=0), tl.load(box + 2, mask=m, other=0),
        tl.load(box + 3, mask=m, other=0), pixel,
    )  # fmt: skip
    level = tl.floor(tl.log2(tl.sqrt(area) / scale + small) + refer).to(tl.int32)
    tl.store(levels + i, tl.minimum(tl.maximum(level, low), high) - low, mask=m)


@triton.jit
def count_level(levels, counts, numbers, total, n, images, level, BLOCK: tl.constexpr):
    """How many boxes of each image, and of all, are of a level. One program."""
    lanes = tl.arange(0, BLOCK)
    start = tl.full((), 0, tl.int64)
    every = tl.full((), 0, tl.int64)
    for image in range(0, images):
        end = start + tl.load(counts + image).to(tl.int64)
        some = tl.full((), 0, tl.int32)
        for first in range(start.to(tl.int32), tl.minimum(end, n).to(tl.int32), BLOCK):
            i = first + lanes
            v = tl.load(levels + i, mask=i < tl.minimum(end, n), other=-1)
            some += tl.sum((v == level).to(tl.int32), axis=0)
        tl.store(numbers + image, some)
        every += some
        start = end
    tl.store(total, every)


@triton.jit
def take_level(boxes, levels, out, restore, totals, n, level, BLOCK: tl.constexpr):
    """The boxes of a level in order, and where each of them comes when all levels follow one another. One program."""
    lanes = tl.arange(0, BLOCK)
    before = tl.full((), 0, tl.int64)
    for other in range(0, level):
        before += tl.load(totals + other)
    found = tl.full((), 0, tl.int32)
    for first in range(0, n, BLOCK):
        i = first + lanes
        m = tl.load(levels + i, mask=i < n, other=-1) == level
        to = found + tl.associative_scan(m.to(tl.int32), 0, plus) - 1
        for side in range(0, 4):
            tl.store(out + to * 4 + side, tl.load(boxes + i * 4 + side, mask=m, other=0), mask=m)
        tl.store(restore + i, (before + to).to(restore.dtype.element_ty), mask=m)
        found += tl.sum(m.to(tl.int32), axis=0)


@triton.jit
def image_ids(counts, ids, n, images, BLOCK: tl.constexpr):
    """The image of each box of a level."""
    i = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    end = tl.full((), 0, tl.int64)
    image = i * 0
    for k in range(0, images):
        end += tl.load(counts + k).to(tl.int64)
        image += (i >= end).to(tl.int32)
    tl.store(ids + i, tl.minimum(image, images - 1), mask=i < n)


@triton.jit
def collect_images(boxes, ids, order, out, numbers, n, images, BLOCK: tl.constexpr):
    """The first n boxes of `order`, image by image. One program."""
    lanes = tl.arange(0, BLOCK)
    to = tl.full((), 0, tl.int32)
    for image in range(0, images):
        before = to
        for first in range(0, n, BLOCK):
            i = first + lanes
            which = tl.load(order + i, mask=i < n, other=0)
            m = (i < n) & (tl.load(ids + which, mask=i < n, other=-1) == image)
            at = to + tl.associative_scan(m.to(tl.int32), 0, plus) - 1
            for side in range(0, 4):
                tl.store(out + at * 4 + side, tl.load(boxes + which * 4 + side, mask=m, other=0), mask=m)
            to += tl.sum(m.to(tl.int32), axis=0)
        tl.store(numbers + image, to - before)
