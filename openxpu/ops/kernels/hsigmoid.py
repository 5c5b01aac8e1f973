# Hierarchical sigmoid: a class is a leaf of a binary tree, its loss that of the decisions on the way to it.
"""Without a table the tree is complete: leaf c + classes, whose bits are the decisions from the leaf up, and whose prefixes
are the nodes. Tables [samples, steps] give nodes and decisions instead, a way ends at the first negative node. As in
Paddle, the steps beyond a way's end each cost log(2)."""

import triton
import triton.language as tl

from openxpu.ops.kernels.elementary import expm1, log1p


@triton.jit
def step(labels, path, code, i, j, steps, classes, going, TABLE: tl.constexpr):
    """(whether there is a step j, its node, the decision) for sample i."""
    if TABLE:
        node = tl.load(path + i * steps + j).to(tl.int64)
        bit = (tl.load(code + i * steps + j) != 0).to(tl.int32)
        going = going & (node >= 0)
    else:
        leaf = tl.load(labels + i).to(tl.int64) + classes
        node = (leaf >> (j + 1)) - 1
        bit = ((leaf >> j) & 1).to(tl.int32)
        going = node >= 0
    return going, tl.where(going, node, 0), bit


@triton.jit
def loss(
    x, labels, w, bias, path, code, out, costs, features, steps, classes,
    TABLE: tl.constexpr, BIAS: tl.constexpr, ACC: tl.constexpr, BLOCK: tl.constexpr, STEPS: tl.constexpr,
):  # fmt: skip
    """One sample a program. costs [samples, steps] gets log(1 + exp(score)) of each step."""
    i = tl.program_id(0).to(tl.int64)
    lane = tl.arange(0, STEPS)
    scores = tl.zeros((STEPS,), ACC)
    taken = tl.zeros((STEPS,), ACC)  # what counts: the score, or minus the score
    going = i >= 0
    for j in range(0, steps):
        going, node, bit = step(labels, path, code, i, j, steps, classes, going, TABLE)
        products = tl.zeros((BLOCK,), ACC)
        for start in range(0, features, BLOCK):
            k = start + tl.arange(0, BLOCK)
            a = tl.load(x + i * features + k, mask=k < features, other=0).to(ACC)
            products += a * tl.load(w + node * features + k, mask=(k < features) & going, other=0).to(ACC)
        score = tl.sum(products, axis=0)
        if BIAS:
            score += tl.load(bias + node).to(ACC)
        score = tl.where(going, tl.minimum(tl.maximum(score, -40.0), 40.0), 0.0)
        scores = tl.where(lane == j, score, scores)
        taken = tl.where(lane == j, tl.where(bit > 0, -score, score), taken)
    mask = lane < steps
    tl.store(costs + i * steps + lane, log1p(tl.exp(scores)).to(costs.dtype.element_ty), mask=mask)
    total = tl.sum(tl.where(mask, log1p(tl.exp(taken)), 0.0), axis=0)
    tl.store(out + i, total.to(out.dtype.element_ty))


@triton.jit
def gradient(
    x, labels, w, path, code, costs, d, dx, nodes, scores, updates, features, steps, classes,
    TABLE: tl.constexpr, WANT_X: tl.constexpr, WANT_W: tl.constexpr, ACC: tl.constexpr, BLOCK: tl.constexpr,
    STEPS: tl.constexpr,
):  # fmt: skip
    """nodes and scores [samples, steps]: the node of each step and the gradient of its score; updates [samples, steps,
    features]: what the node's weights get. One sample a program."""
    i = tl.program_id(0).to(tl.int64)
    lane = tl.arange(0, STEPS)
    turns = tl.zeros((STEPS,), tl.int32)  # 1 + the decision, 0 where there is no step
    going = i >= 0
    for j in range(0, steps):
        going, node, bit = step(labels, path, code, i, j, steps, classes, going, TABLE)
        tl.store(nodes + i * steps + j, node)
        turns = tl.where(lane == j, tl.where(going, 1 + bit, 0), turns)
    cost = tl.load(costs + i * steps + lane, mask=lane < steps, other=0).to(ACC)
    slope = tl.where(turns > 1, -tl.exp(-cost), -expm1(-cost)) * tl.load(d + i).to(ACC)
    tl.store(scores + i * steps + lane, tl.where(turns > 0, slope, 0.0), mask=lane < steps)
    for start in range(0, features, BLOCK):
        k = start + tl.arange(0, BLOCK)
        mask = k < features
        a = tl.load(x + i * features + k, mask=mask, other=0).to(ACC)
        total = tl.zeros((BLOCK,), ACC)
        for j in range(0, steps):
            g = tl.load(scores + i * steps + j)
            if WANT_W:
                tl.store(updates + (i * steps + j) * features + k, g * a, mask=mask)
            if WANT_X:
                node = tl.load(nodes + i * steps + j)
                total += g * tl.load(w + node * features + k, mask=mask, other=0).to(ACC)
        if WANT_X:
            tl.store(dx + i * features + k, total.to(dx.dtype.element_ty), mask=mask)
