# Boxes of detectors: grids of prior boxes, offsets to and from boxes, YOLO's predictions.

import triton
import triton.language as tl


@triton.jit
def box_grid(
    sides, boxes, out_variances, count, cells, width, step_w, step_h, shift_w, shift_h,
    CLIP: tl.constexpr, ROWS: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """boxes [cells, count]: a cell's boxes, four sides each, around its centre. `sides` [3, count] holds how far each side is
    from there, the extent in whose units it is measured, and its variance. Program (block of sides, ROWS cells)."""
    cell = tl.program_id(1) * ROWS + tl.arange(0, ROWS)
    j = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    inside = j < count
    line = cell // width
    across = ((cell - line * width) * step_w + shift_w)[:, None]
    down = (line * step_h + shift_h)[:, None]
    distance = tl.load(sides + j, mask=inside, other=0)[None, :]
    extent = tl.load(sides + count + j, mask=inside, other=1)[None, :]
    v = (tl.where((j % 2 == 0)[None, :], across, down) + distance) / extent
    if CLIP:
        v = tl.minimum(tl.maximum(v, 0.0), 1.0)
    at = (cell.to(tl.int64) * count)[:, None] + j[None, :]
    mask = (cell < cells)[:, None] & inside[None, :]
    tl.store(boxes + at, v.to(boxes.dtype.element_ty), mask=mask)
    variance = tl.load(sides + 2 * count + j, mask=inside, other=0)
    tl.store(out_variances + at, tl.broadcast_to(variance[None, :], (ROWS, BLOCK)), mask=mask)


@triton.jit
def variance_of(table, at, mask, v0, v1, v2, v3, VARIANCE: tl.constexpr):
    """The four variances of boxes: of the call (VARIANCE 1) or of each box (2)."""
    if VARIANCE == 2:
        v0 = tl.load(table + at, mask=mask, other=1)
        v1 = tl.load(table + at + 1, mask=mask, other=1)
        v2 = tl.load(table + at + 2, mask=mask, other=1)
        v3 = tl.load(table + at + 3, mask=mask, other=1)
    return v0, v1, v2, v3


@triton.jit
def box_coder(
    priors, variances, targets, out, columns, pixel, v0, v1, v2, v3,
    ENCODE: tl.constexpr, AXIS: tl.constexpr, VARIANCE: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """out [rows, columns, 4]. ENCODE: target box of the row as seen from the prior box of the column; else: the box at
    these offsets from the prior box of the column (AXIS 0) or row (AXIS 1). Program (block of columns, row)."""
    row = tl.program_id(1).to(tl.int64)
    j = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    mask = j < columns
    to = (row * columns + j) * 4
    if ENCODE or AXIS == 0:
        at = j * 4
    else:
        at = j * 0 + row * 4
    x0 = tl.load(priors + at, mask=mask, other=0)
    y0 = tl.load(priors + at + 1, mask=mask, other=0)
    w = tl.load(priors + at + 2, mask=mask, other=1) - x0 + pixel
    h = tl.load(priors + at + 3, mask=mask, other=1) - y0 + pixel
    cx = x0 + w / 2
    cy = y0 + h / 2
    vx, vy, vw, vh = variance_of(variances, at, mask, v0, v1, v2, v3, VARIANCE)
    if ENCODE:
        box = targets + row * 4
        a0 = tl.load(box)
        a1 = tl.load(box + 1)
        a2 = tl.load(box + 2)
        a3 = tl.load(box + 3)
        o0 = ((a0 + a2) / 2 - cx) / w / vx
        o1 = ((a1 + a3) / 2 - cy) / h / vy
        o2 = tl.log(tl.abs((a2 - a0 + pixel) / w)) / vw
        o3 = tl.log(tl.abs((a3 - a1 + pixel) / h)) / vh
    else:
        tx = vx * tl.load(targets + to, mask=mask, other=0) * w + cx
        ty = vy * tl.load(targets + to + 1, mask=mask, other=0) * h + cy
        tw = tl.exp(vw * tl.load(targets + to + 2, mask=mask, other=0)) * w
        th = tl.exp(vh * tl.load(targets + to + 3, mask=mask, other=0)) * h
        o0 = tx - tw / 2
        o1 = ty - th / 2
        o2 = tx + tw / 2 - pixel
        o3 = ty + th / 2 - pixel
    tl.store(out + to, o0, mask=mask)
    tl.store(out + to + 1, o1, mask=mask)
    tl.store(out + to + 2, o2, mask=mask)
    tl.store(out + to + 3, o3, mask=mask)


@triton.jit
def logistic(x):
    return 1.0 / (1.0 + tl.exp(-x))


@triton.jit
def power(x, y):
    """x to the y for x in [0, 1]."""
    return tl.exp(y * tl.log(x))


@triton.jit
def yolo_box(
    x, sizes, anchors, boxes, scores, per_cell, classes, height, width, ratio, threshold, scale, bias, share,
    total, CLIP: tl.constexpr, IOU: tl.constexpr, FLAT: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """x [images, per_cell * (5 + classes), height, width] as boxes [images, per_cell * cells, 4] in pixels of images of `sizes`
    [images, 2], and scores [images, per_cell * cells, classes]; zeros below the threshold. IOU: x begins with a predicted
    overlap for each anchor, which has this share in the confidence. Program (block of cells, anchor, image), or (FLAT,
    where cells are few) block of all `total` boxes."""
    cells = height * width
    cell = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    if FLAT:
        mask = cell < total
        cell = tl.minimum(cell, total - 1)
        anchor = cell // cells % per_cell
        image = (cell // cells // per_cell).to(tl.int64)
        cell = cell % cells
    else:
        mask = cell < cells
        anchor = tl.program_id(1)
        image = tl.program_id(2).to(tl.int64)
    entries = 5 + classes
    if IOU:
        x += image * per_cell * (entries + 1) * cells
        overlap = logistic(tl.load(x + anchor * cells + cell, mask=mask, other=0))
        x += (per_cell + anchor * entries) * cells
    else:
        x += (image * per_cell + anchor) * entries * cells
    confidence = logistic(tl.load(x + 4 * cells + cell, mask=mask, other=0))
    if IOU:
        confidence = power(confidence, 1.0 - share) * power(overlap, share)
    kept = mask & ~(confidence < threshold)
    image_h = tl.load(sizes + image * 2)
    image_w = tl.load(sizes + image * 2 + 1)
    bx = (cell % width + logistic(tl.load(x + cell, mask=mask, other=0)) * scale + bias) * image_w / width
    by = (
        (cell // width + logistic(tl.load(x + cells + cell, mask=mask, other=0)) * scale + bias)
        * image_h
        / height
    )
    anchor_w = tl.load(anchors + anchor * 2)
    anchor_h = tl.load(anchors + anchor * 2 + 1)
    bw = tl.exp(tl.load(x + 2 * cells + cell, mask=mask, other=0)) * anchor_w * image_w / (ratio * width)
    bh = tl.exp(tl.load(x + 3 * cells + cell, mask=mask, other=0)) * anchor_h * image_h / (ratio * height)
    x0 = bx - bw / 2
    y0 = by - bh / 2
    x1 = bx + bw / 2
    y1 = by + bh / 2
    if CLIP:
        x0 = tl.where(x0 > 0, x0, 0.0)
        y0 = tl.where(y0 > 0, y0, 0.0)
        x1 = tl.where(x1 < image_w - 1, x1, (image_w - 1).to(x1.dtype))
        y1 = tl.where(y1 < image_h - 1, y1, (image_h - 1).to(y1.dtype))
    place = (image * per_cell + anchor) * cells + cell
    tl.store(boxes + place * 4, tl.where(kept, x0, 0.0), mask=mask)
    tl.store(boxes + place * 4 + 1, tl.where(kept, y0, 0.0), mask=mask)
    tl.store(boxes + place * 4 + 2, tl.where(kept, x1, 0.0), mask=mask)
    tl.store(boxes + place * 4 + 3, tl.where(kept, y1, 0.0), mask=mask)
    for k in range(0, classes):
        v = confidence * logistic(tl.load(x + (5 + k) * cells + cell, mask=mask, other=0))
        tl.store(scores + place * classes + k, tl.where(kept, v, 0.0), mask=mask)


# ---- YOLO's loss (Redmon and Farhadi, YOLOv3, 2018): boxes are centre, width and height in units of the image ----


@triton.jit
def side_overlap(c1, w1, c2, w2):
    return tl.minimum(c1 + w1 / 2, c2 + w2 / 2) - tl.maximum(c1 - w1 / 2, c2 - w2 / 2)


@triton.jit
def overlap_of(x1, y1, w1, h1, x2, y2, w2, h2):
    """Intersection over union."""
    w = side_overlap(x1, w1, x2, w2)
    h = side_overlap(y1, h1, y2, h2)
    common = tl.where((w < 0) | (h < 0), 0.0, w * h)
    return common / (w1 * h1 + w2 * h2 - common)


@triton.jit
def logistic_loss(x, label):
    return tl.maximum(x, 0.0) - x * label + tl.log(1.0 + tl.exp(-tl.abs(x)))


@triton.jit
def yolo_ignored(
    x, truth, anchors, anchor_mask, objectness, per_cell, classes, height, width, truths, size, scale, bias, threshold,
    BLOCK: tl.constexpr,
):  # fmt: skip
    """objectness = -1 where a prediction overlaps some true box by more than the threshold, else 0: program (block of cells,
    anchor, image)."""
    image = tl.program_id(2).to(tl.int64)
    anchor = tl.program_id(1)
    cells = height * width
    cell = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    mask = cell < cells
    x += (image * per_cell + anchor) * (5 + classes) * cells
    which = tl.load(anchor_mask + anchor)
    px = (cell % width + logistic(tl.load(x + cell, mask=mask, other=0)) * scale + bias) / height
    py = (cell // width + logistic(tl.load(x + cells + cell, mask=mask, other=0)) * scale + bias) / height
    pw = tl.exp(tl.load(x + 2 * cells + cell, mask=mask, other=0)) * tl.load(anchors + which * 2) / size
    ph = tl.exp(tl.load(x + 3 * cells + cell, mask=mask, other=0)) * tl.load(anchors + which * 2 + 1) / size
    best = px * 0
    for t in range(0, truths):
        box = truth + (image * truths + t) * 4
        w = tl.load(box + 2)
        h = tl.load(box + 3)
        if (w >= 1e-6) & (h >= 1e-6):
            iou = overlap_of(px, py, pw, ph, tl.load(box), tl.load(box + 1), w, h)
            best = tl.where(iou > best, iou, best)
    v = tl.where(best > threshold, -1.0, 0.0)
    tl.store(
        objectness + (image * per_cell + anchor) * cells + cell, v.to(objectness.dtype.element_ty), mask=mask
    )


@triton.jit
def yolo_targets(box, gi, gj, height, size, anchor_w, anchor_h, score):
    """What the four numbers of a matched box should be, and their weight."""
    w = tl.load(box + 2)
    h = tl.load(box + 3)
    tx = tl.load(box) * height - gi
    ty = tl.load(box + 1) * height - gj
    return tx, ty, tl.log(w * size / anchor_w), tl.log(h * size / anchor_h), (2.0 - w * h) * score


@triton.jit
def yolo_loss(
    x, truth, labels, scores, anchors, anchor_mask, objectness, match, loss, all_anchors, per_cell, classes, height, width,
    truths, size, positive, negative, SCORES: tl.constexpr, CLASSES: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Each true box is matched with the anchor whose shape is nearest; its cell pays for place and class, every cell that
    is not ignored for its objectness. One image a program."""
    image = tl.program_id(0).to(tl.int64)
    cells = height * width
    step = (5 + classes) * cells
    x += image * per_cell * step
    objectness += image * per_cell * cells
    c = tl.arange(0, CLASSES)
    one = tl.load(x) * 0 + 1.0
    total = one * 0
    for t in range(0, truths):
        at = image * truths + t
        box = truth + at * 4
        w = tl.load(box + 2)
        h = tl.load(box + 3)
        found = tl.full((), -1, tl.int32)
        if (w >= 1e-6) & (h >= 1e-6):
            best = one * 0
            which = tl.full((), 0, tl.int32)
            for a in range(0, all_anchors):
                aw = tl.load(anchors + a * 2) / (size * one)
                ah = tl.load(anchors + a * 2 + 1) / (size * one)
                iou = (
                    overlap_of(one * 0, one * 0, aw, ah, one * 0, one * 0, w, h).to(tl.float32).to(one.dtype)
                )
                which = tl.where(iou > best, a, which)
                best = tl.where(iou > best, iou, best)
            for m in range(0, per_cell):
                found = tl.where((found < 0) & (tl.load(anchor_mask + m) == which), m, found)
            gi = (tl.load(box) * width).to(tl.int32)
            gj = (tl.load(box + 1) * height).to(tl.int32)
            cell = gj * width + gi
            if (found >= 0) & (cell >= 0) & (cell < cells):
                score = one
                if SCORES:
                    score = tl.load(scores + at)
                tx, ty, tw, th, weight = yolo_targets(
                    box,
                    gi,
                    gj,
                    height,
                    size,
                    tl.load(anchors + which * 2),
                    tl.load(anchors + which * 2 + 1),
                    score,
                )
                own = x + found * step + cell
                total += logistic_loss(tl.load(own), tx) * weight
                total += logistic_loss(tl.load(own + cells), ty) * weight
                total += tl.abs(tw - tl.load(own + 2 * cells)) * weight
                total += tl.abs(th - tl.load(own + 3 * cells)) * weight
                tl.store(objectness + found * cells + cell, score)
                label = tl.load(labels + at)
                for first in range(0, classes, CLASSES):
                    inside = first + c < classes
                    v = tl.load(own + (5 + first + c) * cells, mask=inside, other=0)
                    wanted = tl.where(first + c == label, positive, negative)
                    total += tl.sum(tl.where(inside, logistic_loss(v, wanted), 0.0), axis=0) * score
        tl.store(match + at, found)
    lanes = tl.arange(0, BLOCK)
    for anchor in range(0, per_cell):
        for first in range(0, cells, BLOCK):
            mask = first + lanes < cells
            o = tl.load(objectness + anchor * cells + first + lanes, mask=mask, other=-1)
            v = tl.load(x + anchor * step + 4 * cells + first + lanes, mask=mask, other=0)
            part = tl.where(
                o > 1e-5, logistic_loss(v, 1.0) * o, tl.where(o > -0.5, logistic_loss(v, 0.0), 0.0)
            )
            total += tl.sum(tl.where(mask, part, 0.0), axis=0)
    tl.store(loss + image, total)


@triton.jit
def yolo_objectness_grad(x, objectness, dloss, dx, per_cell, classes, cells, BLOCK: tl.constexpr):
    """The gradient of the objectness, and zeros for all else: program (block of cells, anchor, image)."""
    image = tl.program_id(2).to(tl.int64)
    cell = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    mask = cell < cells
    plane = image * per_cell + tl.program_id(1)
    o = tl.load(objectness + plane * cells + cell, mask=mask, other=-1)
    at = plane * (5 + classes) * cells + cell
    v = logistic(tl.load(x + at + 4 * cells, mask=mask, other=0))
    d = tl.where(o > 1e-5, (v - 1.0) * o, tl.where(o > -0.5, v, 0.0)) * tl.load(dloss + image)
    for k in range(0, 5 + classes):
        tl.store(dx + at + k * cells, tl.where(k == 4, d, 0.0), mask=mask)


@triton.jit
def yolo_match_grad(
    x, truth, labels, scores, anchors, anchor_mask, match, dloss, dx, per_cell, classes, height, width, truths, size,
    positive, negative, SCORES: tl.constexpr, CLASSES: tl.constexpr,
):  # fmt: skip
    """The gradients of place and class of the matched boxes; of two in one cell the last counts. One image a program."""
    image = tl.program_id(0).to(tl.int64)
    cells = height * width
    step = (5 + classes) * cells
    c = tl.arange(0, CLASSES)
    d = tl.load(dloss + image)
    for t in range(0, truths):
        at = image * truths + t
        found = tl.load(match + at)
        box = truth + at * 4
        gi = (tl.load(box) * width).to(tl.int32)
        gj = (tl.load(box + 1) * height).to(tl.int32)
        cell = gj * width + gi
        if (found >= 0) & (cell >= 0) & (cell < cells):
            score = d * 0 + 1.0
            if SCORES:
                score = tl.load(scores + at)
            which = tl.load(anchor_mask + found)
            tx, ty, tw, th, weight = yolo_targets(
                box,
                gi,
                gj,
                height,
                size,
                tl.load(anchors + which * 2),
                tl.load(anchors + which * 2 + 1),
                score,
            )
            own = (image * per_cell + found) * step + cell
            weight = weight * d
            tl.store(dx + own, (logistic(tl.load(x + own)) - tx) * weight)
            tl.store(dx + own + cells, (logistic(tl.load(x + own + cells)) - ty) * weight)
            tl.store(dx + own + 2 * cells, tl.where(tl.load(x + own + 2 * cells) > tw, weight, -weight))
            tl.store(dx + own + 3 * cells, tl.where(tl.load(x + own + 3 * cells) > th, weight, -weight))
            label = tl.load(labels + at)
            for first in range(0, classes, CLASSES):
                inside = first + c < classes
                place = own + (5 + first + c) * cells
                v = logistic(tl.load(x + place, mask=inside, other=0))
                wanted = tl.where(first + c == label, positive, negative)
                tl.store(dx + place, (v - wanted) * score * d, mask=inside)
