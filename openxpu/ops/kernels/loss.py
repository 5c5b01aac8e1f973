# Loss kernels: cross-entropy fused with softmax, and element by element losses, with their gradients.

import triton
import triton.language as tl

from openxpu.ops.kernels.softmax import row_statistics, widen

# ---- cross-entropy with softmax: logits [rows, n], or [outer, n, inner] along n ----


@triton.jit
def cross_entropy_rows(
    logits,
    label,
    probabilities,
    loss,
    n,
    ignore,
    SOFT: tl.constexpr,
    NORMALISED: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """One row of n <= BLOCK logits a program: softmax and loss. SOFT: `label` is [rows, n] of weights, else [rows] of
    class numbers. NORMALISED: `logits` are probabilities already."""
    row = tl.program_id(0)
    start = row.to(tl.int64) * n
    offsets = tl.arange(0, BLOCK)
    mask = offsets < n
    v = widen(tl.load(logits + start + offsets, mask=mask, other=float("-inf")))
    if NORMALISED:
        v = tl.where(mask, v, 0.0)
        tl.store(probabilities + start + offsets, v.to(probabilities.dtype.element_ty), mask=mask)
        logs = tl.log(v)
    else:
        v = v - tl.max(v, axis=0)
        e = tl.exp(v)
        total = tl.sum(e, axis=0)
        tl.store(
            probabilities + start + offsets, (e * (1.0 / total)).to(probabilities.dtype.element_ty), mask=mask
        )
        logs = v - tl.log(total)
    if SOFT:
        weight = widen(tl.load(label + start + offsets, mask=mask, other=0))
        value = -tl.sum(tl.where(mask & (weight != 0), weight * logs, 0.0), axis=0)
    else:
        wanted = tl.load(label + row).to(tl.int64)
        kept = wanted != ignore
        tl.device_assert(
            (wanted >= 0) & (wanted < n) | (wanted == ignore),
            "cross-entropy: a class number is neither below the number of classes nor ignore_index",
        )
        value = -tl.sum(tl.where(offsets == wanted, logs, 0.0), axis=0)
        value = tl.where(kept, value, 0.0)
    tl.store(loss + row, value.to(loss.dtype.element_ty))


@triton.jit
def cross_entropy_long_rows(
    logits, label, probabilities, loss, n, ignore,
    SOFT: tl.constexpr, NORMALISED: tl.constexpr, ACC: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """The same for rows longer than a tile."""
    row = tl.program_id(0)
    start = row.to(tl.int64) * n
    logits += start
    probabilities += start
    offsets = tl.arange(0, BLOCK)
    top = tl.full((), 0.0, ACC)
    total = tl.full((), 1.0, ACC)
    if not NORMALISED:
        top, total = row_statistics(logits, n, ACC, BLOCK)
    shift = tl.log(total)
    factor = 1.0 / total
    value = tl.full((), 0.0, ACC)
    if not SOFT:
        wanted = tl.load(label + row).to(tl.int64)
        kept = wanted != ignore
        tl.device_assert(
            (wanted >= 0) & (wanted < n) | (wanted == ignore),
            "cross-entropy: a class number is neither below the number of classes nor ignore_index",
        )
        at = tl.where((wanted >= 0) & (wanted < n), wanted, 0)
        value = tl.load(logits + at).to(ACC)
        if NORMALISED:
            value = -tl.log(value)
        else:
            value = shift - (value - top)
        value = tl.where(kept, value, 0.0)
    for first in range(0, n, BLOCK):
        mask = offsets < n - first
        v = tl.load(logits + first + offsets, mask=mask, other=0).to(ACC)
        if NORMALISED:
            p = v
            logs = tl.log(v)
        else:
            p = tl.exp(v - top) * factor
            logs = (v - top) - shift  # top + shift would lose the digits of shift where top is large
        tl.store(probabilities + first + offsets, p.to(probabilities.dtype.element_ty), mask=mask)
        if SOFT:
            weight = tl.load(label + start + first + offsets, mask=mask, other=0).to(ACC)
            value -= tl.sum(tl.where(mask & (weight != 0), weight * logs, 0.0), axis=0)
    tl.store(loss + row, value.to(loss.dtype.element_ty))


@triton.jit
def cross_entropy_columns(
    logits, label, probabilities, loss, n, inner, ignore,
    SOFT: tl.constexpr, NORMALISED: tl.constexpr, ACC: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """[outer, n, inner] along n: program (columns, outer); hard labels are [outer, inner]."""
    first = tl.program_id(0) * BLOCK
    outer = tl.program_id(1).to(tl.int64)
    start = outer * n * inner + first
    logits += start
    probabilities += start
    offsets = tl.arange(0, BLOCK)
    mask = offsets < inner - first
    top = tl.full((BLOCK,), 0.0, ACC)
    total = tl.full((BLOCK,), 1.0, ACC)
    if not NORMALISED:
        top = tl.full((BLOCK,), float("-inf"), ACC)
        at = tl.full((), 0, tl.int64)
        for _i in range(0, n):
            top = tl.maximum(top, tl.load(logits + at + offsets, mask=mask, other=0).to(ACC))
            at += inner
        total = tl.full((BLOCK,), 0.0, ACC)
        at = tl.full((), 0, tl.int64)
        for _i in range(0, n):
            total += tl.exp(tl.load(logits + at + offsets, mask=mask, other=0).to(ACC) - top)
            at += inner
    shift = tl.log(total)
    factor = 1.0 / total
    if not SOFT:
        wanted = tl.load(label + outer * inner + first + offsets, mask=mask, other=0).to(tl.int64)
        tl.device_assert(
            (wanted >= 0) & (wanted < n) | (wanted == ignore),
            "cross-entropy: a class number is neither below the number of classes nor ignore_index",
        )
    value = tl.full((BLOCK,), 0.0, ACC)
    at = tl.full((), 0, tl.int64)
    for i in range(0, n):
        v = tl.load(logits + at + offsets, mask=mask, other=0).to(ACC)
        if NORMALISED:
            p = v
            logs = tl.log(v)
        else:
            p = tl.exp(v - top) * factor
            logs = (v - top) - shift
        tl.store(probabilities + at + offsets, p.to(probabilities.dtype.element_ty), mask=mask)
        if SOFT:
            weight = tl.load(label + start + at + offsets, mask=mask, other=0).to(ACC)
            value -= tl.where(weight != 0, weight * logs, 0.0)
        else:
            value -= tl.where((wanted == i) & (wanted != ignore), logs, 0.0)
        at += inner
    tl.store(loss + outer * inner + first + offsets, value.to(loss.dtype.element_ty), mask=mask)


@triton.jit
def cross_entropy_grad_tile(
    probabilities, label, dloss, dx, n, inner, ignore,
    SOFT: tl.constexpr, NORMALISED: tl.constexpr, ACC: tl.constexpr, ROWS: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """dlogits [outer, n, inner] = (softmax - label) * dloss; program (inner block, block of n, outer). NORMALISED: the
    forward pass took probabilities, so the gradient is -label / probability * dloss."""
    c0 = tl.program_id(0) * BLOCK
    r0 = tl.program_id(1) * ROWS
    outer = tl.program_id(2).to(tl.int64)
    r = tl.arange(0, ROWS)
    c = tl.arange(0, BLOCK)
    inside = c < inner - c0
    mask = (r < n - r0)[:, None] & inside[None, :]
    at = (outer * n + r0) * inner + c0 + r.to(tl.int64)[:, None] * inner + c[None, :]
    p = tl.load(probabilities + at, mask=mask, other=1).to(ACC)
    g = tl.load(dloss + outer * inner + c0 + c, mask=inside, other=0).to(ACC)[None, :]
    if SOFT:
        target = tl.load(label + at, mask=mask, other=0).to(ACC)
    else:
        wanted = tl.load(label + outer * inner + c0 + c, mask=inside, other=0).to(tl.int64)[None, :]
        target = tl.where((r0 + r)[:, None] == wanted, 1.0, 0.0).to(ACC)
        g = tl.where(wanted == ignore, 0.0, g)
    if NORMALISED:
        v = tl.where(target != 0, -target / p, 0.0) * g
    else:
        v = (p - target) * g
    tl.store(dx + at, v.to(dx.dtype.element_ty), mask=mask)


@triton.jit
def cross_entropy_grad_rows(
    probabilities, label, dloss, dx, n, ignore,
    SOFT: tl.constexpr, NORMALISED: tl.constexpr, ACC: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """The same for [rows, n]: program (block of n, row)."""
    first = tl.program_id(0) * BLOCK
    row = tl.program_id(1)
    at = row.to(tl.int64) * n + first
    offsets = tl.arange(0, BLOCK)
    mask = offsets < n - first
    p = tl.load(probabilities + at + offsets, mask=mask, other=1).to(ACC)
    g = tl.load(dloss + row).to(ACC)
    if SOFT:
        target = tl.load(label + at + offsets, mask=mask, other=0).to(ACC)
    else:
        wanted = tl.load(label + row).to(tl.int64)
        g = tl.where(wanted == ignore, 0.0, g)
        target = tl.where(offsets == wanted - first, 1.0, 0.0).to(ACC)
    if NORMALISED:
        v = tl.where(target != 0, -target / p, 0.0) * g
    else:
        v = (p - target) * g
    tl.store(dx + at + offsets, v.to(dx.dtype.element_ty), mask=mask)


# ---- element by element ----


@triton.jit
def softplus(x):
    """log(1 + exp(x)) without overflow."""
    return tl.maximum(x, 0.0) + tl.log(1.0 + tl.exp(-tl.abs(x)))


@triton.jit
def elementwise_loss(
    x,
    label,
    weight,
    out,
    second,
    n,
    p,
    ignore,
    KIND: tl.constexpr,
    HAS_WEIGHT: tl.constexpr,
    ACC: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """KIND: "bce" (of probabilities), "sigmoid" (binary cross-entropy of logits, zero where label == ignore), "huber"
    (delta p; `second` gets label - x), "kldiv", "kldiv_log" (label is a logarithm), "log" (epsilon p), "hinge"."""
    first = tl.program_id(0).to(tl.int64) * BLOCK
    offsets = tl.arange(0, BLOCK)
    mask = offsets < tl.minimum(n - first, BLOCK).to(tl.int32)
    v = tl.load(x + first + offsets, mask=mask, other=0).to(ACC)
    t = tl.load(label + first + offsets, mask=mask, other=0).to(ACC)
    if KIND == "bce":
        r = -t * tl.maximum(tl.log(v), -100.0) - (1.0 - t) * tl.maximum(tl.log(1.0 - v), -100.0)
    elif KIND == "sigmoid":
        if HAS_WEIGHT:
            w = tl.load(weight + first + offsets, mask=mask, other=0).to(ACC)
            r = (1.0 - t) * v + w * softplus(-v)
        else:
            r = tl.maximum(v, 0.0) - v * t + tl.log(1.0 + tl.exp(-tl.abs(v)))
        r = tl.where(t == ignore, 0.0, r)
    elif KIND == "huber":
        d = t - v
        a = tl.abs(d)
        r = tl.where(a <= p, 0.5 * d * d, p * (a - 0.5 * p))
        tl.store(second + first + offsets, d.to(second.dtype.element_ty), mask=mask)
    elif KIND == "kldiv":
        r = tl.where(t > 0, t * (tl.log(t) - v), 0.0)
    elif KIND == "kldiv_log":
        r = tl.exp(t) * (t - v)
    elif KIND == "log":
        r = -t * tl.log(v + p) - (1.0 - t) * tl.log(1.0 - v + p)
    else:
        r = tl.maximum(1.0 - (2.0 * t - 1.0) * v, 0.0)
    tl.store(out + first + offsets, r.to(out.dtype.element_ty), mask=mask)


@triton.jit
def elementwise_loss_grad(
    x, label, weight, dout, dx, dlabel, n, p, ignore, scale,
    KIND: tl.constexpr, HAS_WEIGHT: tl.constexpr, ONE_DOUT: tl.constexpr, WANT_LABEL: tl.constexpr,
    ACC: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """ONE_DOUT: dout is one value for all. For "huber", x is label - input of the forward pass, label is absent."""
    first = tl.program_id(0).to(tl.int64) * BLOCK
    offsets = tl.arange(0, BLOCK)
    mask = offsets < tl.minimum(n - first, BLOCK).to(tl.int32)
    v = tl.load(x + first + offsets, mask=mask, other=0).to(ACC)
    if KIND != "huber":
        t = tl.load(label + first + offsets, mask=mask, other=0).to(ACC)
    if ONE_DOUT:
        g = tl.load(dout).to(ACC) * scale
    else:
        g = tl.load(dout + first + offsets, mask=mask, other=0).to(ACC) * scale
    if KIND == "bce":
        r = (v - t) / tl.maximum((1.0 - v) * v, p) * g
    elif KIND == "sigmoid":
        s = 1.0 / (1.0 + tl.exp(-v))
        if HAS_WEIGHT:
            w = tl.load(weight + first + offsets, mask=mask, other=0).to(ACC)
            r = ((1.0 - t) - w * (1.0 - s)) * g
        else:
            r = (s - t) * g
        r = tl.where(t == ignore, 0.0, r)
    elif KIND == "huber":
        r = tl.where(tl.abs(v) <= p, v, tl.where(v < 0, -p, p)) * g
        if WANT_LABEL:
            tl.store(dlabel + first + offsets, r.to(dlabel.dtype.element_ty), mask=mask)
        r = -r
    elif KIND == "kldiv":
        r = tl.where(t > 0, -t * g, 0.0)
    elif KIND == "kldiv_log":
        r = -tl.exp(t) * g
    elif KIND == "log":
        r = (-t / (v + p) + (1.0 - t) / (1.0 - v + p)) * g
    else:
        sign = 2.0 * t - 1.0
        r = tl.where(sign * v < 1.0, -sign, 0.0) * g
    tl.store(dx + first + offsets, r.to(dx.dtype.element_ty), mask=mask)


# ---- negative log likelihood: x [outer, classes, inner] of logarithms, label [outer, inner] ----


@triton.jit
def class_place(cell, number, classes, inner, FLAT: tl.constexpr):
    """Where the value of class `number` of a cell lies in [N, classes, inner]; FLAT: inner is 1, and nothing is divided."""
    if FLAT:
        place = cell * classes + number
    else:
        place = ((cell // inner) * classes + number) * inner + cell % inner
    return place


@triton.jit
def nll_loss_cells(
    x, label, weight, out, weights_out, cells, classes, inner, ignore,
    FLAT: tl.constexpr, HAS_WEIGHT: tl.constexpr, ACC: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """out = -weight[label] * x[label] for each label, and the weights that were used."""
    first = tl.program_id(0).to(tl.int64) * BLOCK
    cell = first + tl.arange(0, BLOCK)
    mask = cell < cells
    wanted = tl.load(label + cell, mask=mask, other=0).to(tl.int64)
    tl.device_assert(
        (wanted >= 0) & (wanted < classes) | (wanted == ignore),
        "nll_loss: a class number is neither below the number of classes nor ignore_index",
    )
    kept = mask & (wanted != ignore) & (wanted >= 0) & (wanted < classes)
    safe = tl.where(kept, wanted, 0)
    v = tl.load(x + class_place(cell, safe, classes, inner, FLAT), mask=kept, other=0).to(ACC)
    if HAS_WEIGHT:
        w = tl.load(weight + safe, mask=kept, other=0).to(ACC)
    else:
        w = tl.where(kept, 1.0, 0.0).to(ACC)
    tl.store(out + cell, (-v * w).to(out.dtype.element_ty), mask=mask)
    tl.store(weights_out + cell, w, mask=mask)


@triton.jit
def nll_loss_finish(total, weights, out, weight_out, MEAN: tl.constexpr):
    """The sums: out = total, divided by the sum of the weights when MEAN (0 when nothing counted)."""
    t = tl.load(total)
    w = tl.load(weights)
    if MEAN:
        t = tl.where(w == 0, 0.0, t / tl.where(w == 0, 1.0, w))
    tl.store(out, t.to(out.dtype.element_ty))
    tl.store(weight_out, w.to(weight_out.dtype.element_ty))


@triton.jit
def nll_loss_grad_cells(
    label, weight, total_weight, dout, dx, cells, classes, inner, ignore,
    FLAT: tl.constexpr, HAS_WEIGHT: tl.constexpr, ONE_DOUT: tl.constexpr, MEAN: tl.constexpr, ACC: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """dx was zeroed: writes -weight * dout at each label."""
    first = tl.program_id(0).to(tl.int64) * BLOCK
    cell = first + tl.arange(0, BLOCK)
    mask = cell < cells
    wanted = tl.load(label + cell, mask=mask, other=0).to(tl.int64)
    kept = mask & (wanted != ignore) & (wanted >= 0) & (wanted < classes)
    safe = tl.where(kept, wanted, 0)
    if ONE_DOUT:
        g = tl.load(dout).to(ACC) + tl.zeros((BLOCK,), ACC)
    else:
        g = tl.load(dout + cell, mask=kept, other=0).to(ACC)
    if MEAN:
        g = g / tl.load(total_weight).to(ACC)
    if HAS_WEIGHT:
        g = g * tl.load(weight + safe, mask=kept, other=0).to(ACC)
    at = class_place(cell, safe, classes, inner, FLAT)
    tl.store(dx + at, (-g).to(dx.dtype.element_ty), mask=kept)


@triton.jit
def smoothed(label, prior, kept, epsilon):
    return label * kept + prior * epsilon
