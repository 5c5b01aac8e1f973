# Scaled dot-product attention that never holds the whole matrix of scores, forward and backward.
"""Source: Dao, FlashAttention-2, 2023; masks by rows: Wang et al., FlashMask, 2024. Arrays are [batch, rows, heads, depth] or any
order of these that leaves the depth dense: every array comes with its strides of batch, head and row. Packed sequences
(VARLEN 1) have no batch: their rows lie between two entries of a table each. Padded ones (2) have their lengths in tables.

A score may get an addend (BIAS), which is broadcast by strides of zero; be forbidden by its row (RANGES: each key has 1, 2 or 4
row numbers); and its weight may be dropped (DROP: 32 bits of Philox for each score, from the seed and counter in `seeds`)."""

import triton
import triton.language as tl

from openxpu.ops.kernels.random import unit

LOG2E = tl.constexpr(1.4426950408889634)
LN2 = tl.constexpr(0.6931471805599453)


@triton.jit
def forbidden(bounds, m, n, N, CAUSAL: tl.constexpr, RANGES: tl.constexpr):
    """Scores [m, n] that the rows' bounds [N, RANGES] of each key forbid: from the first to the second of a pair of row
    numbers; a bound that is missing is the end below the diagonal, and the beginning above it."""
    at = bounds + n.to(tl.int64) * RANGES
    inside = n < N
    row = m[:, None]
    low = tl.load(at, mask=inside, other=0)[None, :]
    if RANGES == 1:
        no = row >= low
    elif RANGES == 4:
        low_end = tl.load(at + 1, mask=inside, other=0)[None, :]
        high = tl.load(at + 2, mask=inside, other=0)[None, :]
        high_end = tl.load(at + 3, mask=inside, other=0)[None, :]
        no = ((row >= low) & (row < low_end)) | ((row >= high) & (row < high_end))
    elif CAUSAL:
        no = (row >= low) & (row < tl.load(at + 1, mask=inside, other=0)[None, :])
    else:
        no = (row >= low) | (row < tl.load(at + 1, mask=inside, other=0)[None, :])
    return no


@triton.jit
def scores(
    q, k, bias, bounds, bias_row, first_m, first_n, M, N, shift, factor,
    CAUSAL: tl.constexpr, EDGE: tl.constexpr, BIAS: tl.constexpr, RANGES: tl.constexpr, ACC: tl.constexpr,
):  # fmt: skip
    """q @ k.T * factor + bias in powers of two, minus infinity where a row of q must not look."""
    s = tl.dot(q, tl.trans(k), input_precision="ieee", out_dtype=ACC) * factor
    m = first_m + tl.arange(0, q.shape[0])
    n = first_n + tl.arange(0, k.shape[0])
    if BIAS:
        here = (m < M)[:, None] & (n < N)[None, :]
        column = n if BIAS == 1 else n * 0
        added = tl.load(bias + m.to(tl.int64)[:, None] * bias_row + column[None, :], mask=here, other=0)
        s += added.to(ACC) * LOG2E
    if EDGE:
        allowed = (n < N)[None, :]
        if CAUSAL:
            allowed = allowed & (n[None, :] <= (m + shift)[:, None])
        s = tl.where(allowed, s, float("-inf"))
    if RANGES:
        s = tl.where(forbidden(bounds, m, n, N, CAUSAL, RANGES), float("-inf"), s)
    return s


@triton.jit
def kept(seed, offset, first_m, first_n, N, drop, BM: tl.constexpr, BN: tl.constexpr):
    """Which weights of a block stay."""
    m = first_m + tl.arange(0, BM)
    n = first_n + tl.arange(0, BN)
    word = tl.randint(seed, offset + m.to(tl.int64)[:, None] * N + n[None, :])
    return unit(word) >= drop


@triton.jit
def forward_step(
    q, k, v, bias, bounds, k_row, v_row, bias_row, n, M, N, first_m, shift, factor, seed, offset, drop, top, total, acc,
    CAUSAL: tl.constexpr, EDGE: tl.constexpr, BIAS: tl.constexpr, RANGES: tl.constexpr, DROP: tl.constexpr,
    ACC: tl.constexpr, BM: tl.constexpr, BN: tl.constexpr, BD: tl.constexpr, D: tl.constexpr,
):  # fmt: skip
    """One block of keys: the new maximum, sum and weighted values of each row."""
    d = tl.arange(0, BD)
    at = n + tl.arange(0, BN)
    inside = (at < N)[:, None] & (d < D)[None, :]
    keys = tl.load(k + at.to(tl.int64)[:, None] * k_row + d[None, :], mask=inside, other=0)
    values = tl.load(v + at.to(tl.int64)[:, None] * v_row + d[None, :], mask=inside, other=0)
    s = scores(
        q, keys, bias, bounds, bias_row, first_m, n, M, N, shift, factor, CAUSAL, EDGE, BIAS, RANGES, ACC
    )
    here = tl.maximum(top, tl.max(s, axis=1))
    # A row that may not look at anything yet keeps minus infinity without making NaN.
    base = tl.where(here == float("-inf"), 0.0, here) if EDGE or BIAS or RANGES else here
    p = tl.exp2(s - base[:, None])
    scale = tl.exp2(top - base)
    total = total * scale + tl.sum(p, axis=1)
    if DROP:
        p = tl.where(kept(seed, offset, first_m, n, N, drop, BM, BN), p * (1.0 / (1.0 - drop)), 0.0)
    acc = tl.dot(p.to(values.dtype), values, acc * scale[:, None], input_precision="ieee", out_dtype=ACC)
    return here, total, acc


@triton.jit
def flash_forward(
    q, k, v, bias, bounds, q_starts, k_starts, seeds, out, lse, heads, groups, M, N, more, scale, drop,
    q_batch, q_head, q_row, k_batch, k_head, k_row, v_batch, v_head, v_row, o_batch, o_head, o_row,
    bias_batch, bias_head, bias_row, bounds_batch, bounds_head, bounds_heads, l_batch, l_head,
    D: tl.constexpr, BD: tl.constexpr, CAUSAL: tl.constexpr, BIAS: tl.constexpr, RANGES: tl.constexpr,
    DROP: tl.constexpr, VARLEN: tl.constexpr, ACC: tl.constexpr, BM: tl.constexpr, BN: tl.constexpr,
):  # fmt: skip
    """A program computes BM rows of one head. lse gets the logarithm of each row's sum of exponentials."""
    first_m = tl.program_id(0) * BM
    batch = (tl.program_id(1) // heads).to(tl.int64)
    head = (tl.program_id(1) % heads).to(tl.int64)
    chance = tl.program_id(1).to(tl.int64) * M * N
    q += batch * q_batch + head * q_head
    k += batch * k_batch + (head // groups) * k_head
    v += batch * v_batch + (head // groups) * v_head
    out += batch * o_batch + head * o_head
    lse += batch * l_batch + head * l_head
    if BIAS:
        bias += batch * bias_batch + head * bias_head
    if RANGES:
        bounds += batch * bounds_batch + (head * bounds_heads // heads) * bounds_head
    if VARLEN == 2:
        M = tl.minimum(tl.load(q_starts + batch), M)
        N = tl.minimum(tl.load(k_starts + batch) + more, N)
    elif VARLEN:
        q_start = tl.load(q_starts + batch).to(tl.int64)
        k_start = tl.load(k_starts + batch).to(tl.int64)
        M = (tl.load(q_starts + batch + 1) - q_start).to(tl.int32)
        N = (tl.load(k_starts + batch + 1) - k_start).to(tl.int32)
        q += q_start * q_row
        k += k_start * k_row
        v += k_start * v_row
        out += q_start * o_row
        lse += q_start
    seed = tl.full((), 0, tl.int64)
    offset = tl.full((), 0, tl.int64)
    if DROP:
        seed = tl.load(seeds)
        offset = tl.load(seeds + 1) + chance
    m = first_m + tl.arange(0, BM)
    d = tl.arange(0, BD)
    rows = (m < M)[:, None] & (d < D)[None, :]
    x = tl.load(q + m.to(tl.int64)[:, None] * q_row + d[None, :], mask=rows, other=0)
    factor = scale * LOG2E
    shift = N - M  # the last query sees the last key
    top = tl.full([BM], float("-inf"), ACC)
    total = tl.zeros([BM], ACC)
    acc = tl.zeros([BM, BD], ACC)
    end = N
    whole = (N // BN) * BN
    if CAUSAL:
        end = tl.maximum(tl.minimum(N, first_m + BM + shift), 0)
        whole = tl.maximum(tl.minimum(whole, ((first_m + shift + 1) // BN) * BN), 0)
    if VARLEN:
        end = tl.where(first_m < M, end, 0)
        whole = tl.where(first_m < M, whole, 0)
    for n in range(0, whole, BN):
        top, total, acc = forward_step(
            x, k, v, bias, bounds, k_row, v_row, bias_row, n, M, N, first_m, shift, factor, seed, offset, drop,
            top, total, acc, CAUSAL, False, BIAS, RANGES, DROP, ACC, BM, BN, BD, D,
        )  # fmt: skip
    for n in range(whole, end, BN):
        top, total, acc = forward_step(
            x, k, v, bias, bounds, k_row, v_row, bias_row, n, M, N, first_m, shift, factor, seed, offset, drop,
            top, total, acc, CAUSAL, True, BIAS, RANGES, DROP, ACC, BM, BN, BD, D,
        )  # fmt: skip
    acc = acc * (1.0 / tl.where(total == 0, 1.0, total))[:, None]
    tl.store(out + m.to(tl.int64)[:, None] * o_row + d[None, :], acc.to(out.dtype.element_ty), mask=rows)
    # A row without a key has +infinity here, so that its weights are zero in the gradient too.
    log = tl.where(total == 0, float("inf"), (top + tl.log2(total)) * LN2)
    tl.store(lse + m, log.to(lse.dtype.element_ty), mask=m < M)


@triton.jit
def row_products(out, dout, delta, heads, M, o_batch, o_head, o_row, d_batch, d_head, d_row,
                 D: tl.constexpr, BD: tl.constexpr, ACC: tl.constexpr, BM: tl.constexpr):  # fmt: skip
    """delta[batch, head, row] = sum(out * dout)."""
    m = tl.program_id(0) * BM + tl.arange(0, BM)
    batch = (tl.program_id(1) // heads).to(tl.int64)
    head = (tl.program_id(1) % heads).to(tl.int64)
    d = tl.arange(0, BD)
    rows = (m < M)[:, None] & (d < D)[None, :]
    at = m.to(tl.int64)[:, None]
    x = tl.load(out + batch * o_batch + head * o_head + at * o_row + d[None, :], mask=rows, other=0)
    y = tl.load(dout + batch * d_batch + head * d_head + at * d_row + d[None, :], mask=rows, other=0)
    total = tl.sum(x.to(ACC) * y.to(ACC), axis=1)
    tl.store(delta + tl.program_id(1).to(tl.int64) * M + m, total, mask=m < M)


@triton.jit
def backward_step(
    q, dout, dq, lse, delta, bias, bounds, q_row, d_row, dq_row, bias_row, m_first, n_first, M, N, shift, scale,
    seed, offset, drop, keys, values, dk, dv,
    CAUSAL: tl.constexpr, EDGE: tl.constexpr, BIAS: tl.constexpr, RANGES: tl.constexpr, DROP: tl.constexpr,
    ACC: tl.constexpr, BM: tl.constexpr, BN: tl.constexpr, BD: tl.constexpr, D: tl.constexpr,
):  # fmt: skip
    """One block of queries against one block of keys: adds to dk, dv, and in memory to dq."""
    d = tl.arange(0, BD)
    m = m_first + tl.arange(0, BM)
    rows = (m < M)[:, None] & (d < D)[None, :]
    at = m.to(tl.int64)[:, None]
    x = tl.load(q + at * q_row + d[None, :], mask=rows, other=0)
    g = tl.load(dout + at * d_row + d[None, :], mask=rows, other=0)
    log = tl.load(lse + m, mask=m < M, other=float("inf")).to(ACC) * LOG2E
    s = scores(
        x,
        keys,
        bias,
        bounds,
        bias_row,
        m_first,
        n_first,
        M,
        N,
        shift,
        scale * LOG2E,
        CAUSAL,
        EDGE,
        BIAS,
        RANGES,
        ACC,
    )
    p = tl.exp2(s - log[:, None])
    dp = tl.dot(g, tl.trans(values), input_precision="ieee", out_dtype=ACC)
    weights = p
    if DROP:
        stays = kept(seed, offset, m_first, n_first, N, drop, BM, BN)
        rest = 1.0 / (1.0 - drop)
        weights = tl.where(stays, p * rest, 0.0)
        dp = tl.where(stays, dp * rest, 0.0)
    dv = tl.dot(tl.trans(weights.to(g.dtype)), g, dv, input_precision="ieee", out_dtype=ACC)
    ds = p * (dp - tl.load(delta + m, mask=m < M, other=0)[:, None]) * scale
    narrow = ds.to(x.dtype)
    dk = tl.dot(tl.trans(narrow), x, dk, input_precision="ieee", out_dtype=ACC)
    place = dq + at * dq_row + d[None, :]
    old = tl.load(place, mask=rows, other=0)
    tl.store(place, tl.dot(narrow, keys, old, input_precision="ieee", out_dtype=ACC), mask=rows)
    return dk, dv


@triton.jit
def flash_backward(
    q, k, v, bias, bounds, q_starts, k_starts, seeds, dout, lse, delta, dq, dk, dv, heads, groups, M, N, total, scale, drop,
    q_batch, q_head, q_row, k_batch, k_head, k_row, v_batch, v_head, v_row, d_batch, d_head, d_row,
    dq_batch, dq_head, dq_row, dk_batch, dk_head, dk_row, dv_batch, dv_head, dv_row,
    bias_batch, bias_head, bias_row, bounds_batch, bounds_head, bounds_heads, l_batch, l_head,
    D: tl.constexpr, BD: tl.constexpr, CAUSAL: tl.constexpr, BIAS: tl.constexpr, RANGES: tl.constexpr,
    DROP: tl.constexpr, VARLEN: tl.constexpr, ACC: tl.constexpr, BM: tl.constexpr, BN: tl.constexpr,
):  # fmt: skip
    """A program has one head of keys and values, with all `groups` heads of queries that share it, so that it can add to
    their dq (zero before) without atomics. delta is [batch, heads, total]."""
    own = heads // groups
    batch = (tl.program_id(0) // own).to(tl.int64)
    head = (tl.program_id(0) % own).to(tl.int64)
    each = tl.full((), 0, tl.int64) + M
    each = each * N
    k += batch * k_batch + head * k_head
    v += batch * v_batch + head * v_head
    dk += batch * dk_batch + head * dk_head
    dv += batch * dv_batch + head * dv_head
    q += batch * q_batch
    dout += batch * d_batch
    dq += batch * dq_batch
    lse += batch * l_batch
    delta_batch = batch
    if VARLEN:
        delta_batch = batch * 0
        q_start = tl.load(q_starts + batch).to(tl.int64)
        k_start = tl.load(k_starts + batch).to(tl.int64)
        M = (tl.load(q_starts + batch + 1) - q_start).to(tl.int32)
        N = (tl.load(k_starts + batch + 1) - k_start).to(tl.int32)
        q += q_start * q_row
        dout += q_start * d_row
        dq += q_start * dq_row
        lse += q_start
        delta += q_start
        k += k_start * k_row
        v += k_start * v_row
        dk += k_start * dk_row
        dv += k_start * dv_row
    seed = tl.full((), 0, tl.int64)
    first_counter = tl.full((), 0, tl.int64)
    if DROP:
        seed = tl.load(seeds)
        first_counter = tl.load(seeds + 1)
    d = tl.arange(0, BD)
    shift = N - M
    for n in range(0, N, BN):
        at = n + tl.arange(0, BN)
        inside = (at < N)[:, None] & (d < D)[None, :]
        wide = at.to(tl.int64)[:, None]
        keys = tl.load(k + wide * k_row + d[None, :], mask=inside, other=0)
        values = tl.load(v + wide * v_row + d[None, :], mask=inside, other=0)
        sum_k = tl.zeros([BN, BD], ACC)
        sum_v = tl.zeros([BN, BD], ACC)
        begin = 0
        edge = M if n + BN > N else 0  # queries from here on see the whole block
        if CAUSAL:
            begin = (tl.maximum(n - shift, 0) // BM) * BM
            edge = M if n + BN > N else tl.maximum(tl.cdiv(n + BN - 1 - shift, BM) * BM, begin)
        for g in range(0, groups):
            qhead = head * groups + g
            qh = q + qhead * q_head
            gh = dout + qhead * d_head
            dqh = dq + qhead * dq_head
            lh = lse + qhead * l_head
            deltah = delta + (delta_batch * heads + qhead) * total
            biash = bias
            boundsh = bounds
            if BIAS:
                biash = bias + batch * bias_batch + qhead * bias_head
            if RANGES:
                boundsh = bounds + batch * bounds_batch + (qhead * bounds_heads // heads) * bounds_head
            offset = first_counter + (batch * heads + qhead) * each
            for m in range(begin, tl.minimum(edge, M), BM):
                sum_k, sum_v = backward_step(
                    qh, gh, dqh, lh, deltah, biash, boundsh, q_row, d_row, dq_row, bias_row, m, n, M, N, shift, scale,
                    seed, offset, drop, keys, values, sum_k, sum_v,
                    CAUSAL, True, BIAS, RANGES, DROP, ACC, BM, BN, BD, D,
                )  # fmt: skip
            for m in range(tl.minimum(edge, M), M, BM):
                sum_k, sum_v = backward_step(
                    qh, gh, dqh, lh, deltah, biash, boundsh, q_row, d_row, dq_row, bias_row, m, n, M, N, shift, scale,
                    seed, offset, drop, keys, values, sum_k, sum_v,
                    CAUSAL, False, BIAS, RANGES, DROP, ACC, BM, BN, BD, D,
                )  # fmt: skip
        tl.store(dk + wide * dk_row + d[None, :], sum_k.to(dk.dtype.element_ty), mask=inside)
        tl.store(dv + wide * dv_row + d[None, :], sum_v.to(dv.dtype.element_ty), mask=inside)


@triton.jit
def attention_weights(
    q, k, bias, bounds, lse, seeds, weights, heads, groups, M, N, rows_each, width, scale, drop,
    q_batch, q_head, q_row, k_batch, k_head, k_row, bias_batch, bias_head, bias_row,
    bounds_batch, bounds_head, bounds_heads, l_batch, l_head,
    D: tl.constexpr, BD: tl.constexpr, CAUSAL: tl.constexpr, BIAS: tl.constexpr, RANGES: tl.constexpr, DROP: tl.constexpr,
    SUM: tl.constexpr, ACC: tl.constexpr, BM: tl.constexpr, BN: tl.constexpr,
):  # fmt: skip
    """The weights of BN keys for every query of one head, [batch, heads, rows_each, width]; SUM: their sums over the queries,
    [batch, heads, 1, N]."""
    first_n = tl.program_id(0) * BN
    batch = (tl.program_id(1) // heads).to(tl.int64)
    head = (tl.program_id(1) % heads).to(tl.int64)
    q += batch * q_batch + head * q_head
    k += batch * k_batch + (head // groups) * k_head
    lse += batch * l_batch + head * l_head
    if BIAS:
        bias += batch * bias_batch + head * bias_head
    if RANGES:
        bounds += batch * bounds_batch + (head * bounds_heads // heads) * bounds_head
    seed = tl.full((), 0, tl.int64)
    offset = tl.full((), 0, tl.int64)
    if DROP:
        seed = tl.load(seeds)
        offset = tl.load(seeds + 1) + tl.program_id(1).to(tl.int64) * M * N
    n = first_n + tl.arange(0, BN)
    d = tl.arange(0, BD)
    keys = tl.load(
        k + n.to(tl.int64)[:, None] * k_row + d[None, :], mask=(n < N)[:, None] & (d < D)[None, :], other=0
    )
    sums = tl.zeros([BN], ACC)
    for first_m in range(0, M, BM):
        m = first_m + tl.arange(0, BM)
        x = tl.load(
            q + m.to(tl.int64)[:, None] * q_row + d[None, :],
            mask=(m < M)[:, None] & (d < D)[None, :],
            other=0,
        )
        log = tl.load(lse + m, mask=m < M, other=float("inf")).to(ACC) * LOG2E
        s = scores(
            x, keys, bias, bounds, bias_row, first_m, first_n, M, N, N - M, scale * LOG2E,
            CAUSAL, True, BIAS, RANGES, ACC,
        )  # fmt: skip
        p = tl.exp2(s - log[:, None])
        if DROP:
            p = tl.where(kept(seed, offset, first_m, first_n, N, drop, BM, BN), p * (1.0 / (1.0 - drop)), 0.0)
        if SUM:
            sums += tl.sum(p, axis=0)
        else:
            at = weights + (tl.program_id(1).to(tl.int64) * rows_each + m[:, None]) * width + n[None, :]
            tl.store(at, p.to(weights.dtype.element_ty), mask=(m < M)[:, None] & (n < N)[None, :])
    if SUM:
        tl.store(
            weights + tl.program_id(1).to(tl.int64) * N + n, sums.to(weights.dtype.element_ty), mask=n < N
        )


@triton.jit
def keep_seed(seeds, seed, offset):
    """The generator's key and counter, for the gradient."""
    tl.store(seeds, seed)
    tl.store(seeds + 1, offset)
