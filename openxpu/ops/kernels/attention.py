# Scaled dot-product attention that never holds the whole matrix of scores, forward and backward.
"""Source: Dao, FlashAttention-2, 2023. Arrays are [batch, rows, heads, depth] or any order of these that leaves the depth
dense: every array comes with its strides of batch, head and row. Statistics are in powers of two."""

import triton
import triton.language as tl


@triton.jit
def scores(q, k, first_m, first_n, rows_n, shift, factor, CAUSAL: tl.constexpr, EDGE: tl.constexpr):
    """q @ k.T * factor, minus infinity where a row of q must not look."""
    s = tl.dot(q, tl.trans(k)) * factor
    if EDGE:
        n = first_n + tl.arange(0, k.shape[0])
        allowed = (n < rows_n)[None, :]
        if CAUSAL:
            m = first_m + tl.arange(0, q.shape[0])
            allowed = allowed & (n[None, :] <= (m + shift)[:, None])
        s = tl.where(allowed, s, float("-inf"))
    return s


@triton.jit
def forward_step(
    q, k, v, k_row, v_row, n, N, first_m, shift, factor, top, total, acc,
    CAUSAL: tl.constexpr, EDGE: tl.constexpr, BN: tl.constexpr, BD: tl.constexpr, D: tl.constexpr,
):  # fmt: skip
    """One block of keys: the new maximum, sum and weighted values of each row."""
    d = tl.arange(0, BD)
    at = n + tl.arange(0, BN)
    inside = (at < N)[:, None] & (d < D)[None, :]
    keys = tl.load(k + at.to(tl.int64)[:, None] * k_row + d[None, :], mask=inside, other=0)
    values = tl.load(v + at.to(tl.int64)[:, None] * v_row + d[None, :], mask=inside, other=0)
    s = scores(q, keys, first_m, n, N, shift, factor, CAUSAL, EDGE)
    here = tl.maximum(top, tl.max(s, axis=1))
    # A row that may not look at anything yet keeps minus infinity without making NaN.
    base = tl.where(here == float("-inf"), 0.0, here) if EDGE else here
    p = tl.exp2(s - base[:, None])
    scale = tl.exp2(top - base)
    total = total * scale + tl.sum(p, axis=1)
    acc = tl.dot(p.to(values.dtype), values, acc * scale[:, None])
    return here, total, acc


@triton.jit
def flash_forward(
    q, k, v, out, lse, heads, groups, M, N, scale,
    q_batch, q_head, q_row, k_batch, k_head, k_row, v_batch, v_head, v_row, o_batch, o_head, o_row,
    D: tl.constexpr, BD: tl.constexpr, CAUSAL: tl.constexpr, BM: tl.constexpr, BN: tl.constexpr,
):  # fmt: skip
    """A program computes BM rows of one head. lse [batch, heads, M] gets log2 of each row's sum of powers of two."""
    first_m = tl.program_id(0) * BM
    batch = (tl.program_id(1) // heads).to(tl.int64)
    head = (tl.program_id(1) % heads).to(tl.int64)
    m = first_m + tl.arange(0, BM)
    d = tl.arange(0, BD)
    rows = (m < M)[:, None] & (d < D)[None, :]
    q += batch * q_batch + head * q_head
    k += batch * k_batch + (head // groups) * k_head
    v += batch * v_batch + (head // groups) * v_head
    out += batch * o_batch + head * o_head
    x = tl.load(q + m.to(tl.int64)[:, None] * q_row + d[None, :], mask=rows, other=0)
    factor = scale * 1.4426950408889634
    shift = N - M  # the last query sees the last key
    top = tl.full([BM], float("-inf"), tl.float32)
    total = tl.zeros([BM], tl.float32)
    acc = tl.zeros([BM, BD], tl.float32)
    end = N
    whole = (N // BN) * BN
    if CAUSAL:
        end = tl.maximum(tl.minimum(N, first_m + BM + shift), 0)
        whole = tl.maximum(tl.minimum(whole, ((first_m + shift + 1) // BN) * BN), 0)
    for n in range(0, whole, BN):
        top, total, acc = forward_step(
            x, k, v, k_row, v_row, n, N, first_m, shift, factor, top, total, acc, CAUSAL, False, BN, BD, D
        )
    for n in range(whole, end, BN):
        top, total, acc = forward_step(
            x, k, v, k_row, v_row, n, N, first_m, shift, factor, top, total, acc, CAUSAL, True, BN, BD, D
        )
    acc = acc * (1.0 / tl.where(total == 0, 1.0, total))[:, None]
    tl.store(out + m.to(tl.int64)[:, None] * o_row + d[None, :], acc.to(out.dtype.element_ty), mask=rows)
    # A row without a key has +infinity here, so that its weights are zero in the gradient too.
    log = tl.where(total == 0, float("inf"), top + tl.log2(total))
    tl.store(lse + tl.program_id(1).to(tl.int64) * M + m, log, mask=m < M)


@triton.jit
def row_products(out, dout, delta, heads, M, o_batch, o_head, o_row, d_batch, d_head, d_row,
                 D: tl.constexpr, BD: tl.constexpr, BM: tl.constexpr):  # fmt: skip
    """delta[batch, head, row] = sum(out * dout)."""
    m = tl.program_id(0) * BM + tl.arange(0, BM)
    batch = (tl.program_id(1) // heads).to(tl.int64)
    head = (tl.program_id(1) % heads).to(tl.int64)
    d = tl.arange(0, BD)
    rows = (m < M)[:, None] & (d < D)[None, :]
    at = m.to(tl.int64)[:, None]
    x = tl.load(out + batch * o_batch + head * o_head + at * o_row + d[None, :], mask=rows, other=0)
    y = tl.load(dout + batch * d_batch + head * d_head + at * d_row + d[None, :], mask=rows, other=0)
    total = tl.sum(x.to(tl.float32) * y.to(tl.float32), axis=1)
    tl.store(delta + tl.program_id(1).to(tl.int64) * M + m, total, mask=m < M)


@triton.jit
def backward_step(
    q, dout, dq, lse, delta, q_row, d_row, dq_row, m_first, n_first, M, N, shift, scale, keys, values, dk, dv,
    CAUSAL: tl.constexpr, EDGE: tl.constexpr, BM: tl.constexpr, BD: tl.constexpr, D: tl.constexpr,
):  # fmt: skip
    """One block of queries against one block of keys: adds to dk, dv, and in memory to dq."""
    d = tl.arange(0, BD)
    m = m_first + tl.arange(0, BM)
    rows = (m < M)[:, None] & (d < D)[None, :]
    at = m.to(tl.int64)[:, None]
    x = tl.load(q + at * q_row + d[None, :], mask=rows, other=0)
    g = tl.load(dout + at * d_row + d[None, :], mask=rows, other=0)
    log = tl.load(lse + m, mask=m < M, other=float("inf"))
    s = scores(x, keys, m_first, n_first, N, shift, scale * 1.4426950408889634, CAUSAL, EDGE)
    p = tl.exp2(s - log[:, None])
    dv = tl.dot(tl.trans(p.to(g.dtype)), g, dv)
    ds = p * (tl.dot(g, tl.trans(values)) - tl.load(delta + m, mask=m < M, other=0)[:, None]) * scale
    narrow = ds.to(x.dtype)
    dk = tl.dot(tl.trans(narrow), x, dk)
    place = dq + at * dq_row + d[None, :]
    tl.store(place, tl.dot(narrow, keys, tl.load(place, mask=rows, other=0)), mask=rows)
    return dk, dv


@triton.jit
def flash_backward(
    q, k, v, dout, lse, delta, dq, dk, dv, heads, groups, M, N, scale,
    q_batch, q_head, q_row, k_batch, k_head, k_row, v_batch, v_head, v_row, d_batch, d_head, d_row,
    dq_batch, dq_head, dq_row, dk_batch, dk_head, dk_row, dv_batch, dv_head, dv_row,
    D: tl.constexpr, BD: tl.constexpr, CAUSAL: tl.constexpr, BM: tl.constexpr, BN: tl.constexpr,
):  # fmt: skip
    """A program has one head of keys and values, with all `groups` heads of queries that share it, so that it can add to
    their dq (f32, zero before) without atomics."""
    own = heads // groups
    batch = (tl.program_id(0) // own).to(tl.int64)
    head = (tl.program_id(0) % own).to(tl.int64)
    k += batch * k_batch + head * k_head
    v += batch * v_batch + head * v_head
    dk += batch * dk_batch + head * dk_head
    dv += batch * dv_batch + head * dv_head
    d = tl.arange(0, BD)
    shift = N - M
    for n in range(0, N, BN):
        at = n + tl.arange(0, BN)
        inside = (at < N)[:, None] & (d < D)[None, :]
        wide = at.to(tl.int64)[:, None]
        keys = tl.load(k + wide * k_row + d[None, :], mask=inside, other=0)
        values = tl.load(v + wide * v_row + d[None, :], mask=inside, other=0)
        sum_k = tl.zeros([BN, BD], tl.float32)
        sum_v = tl.zeros([BN, BD], tl.float32)
        begin = 0
        edge = M if n + BN > N else 0  # queries from here on see the whole block
        if CAUSAL:
            begin = (tl.maximum(n - shift, 0) // BM) * BM
            edge = M if n + BN > N else tl.maximum(tl.cdiv(n + BN - 1 - shift, BM) * BM, begin)
        for g in range(0, groups):
            row = batch * heads + head * groups + g
            qh = q + batch * q_batch + (head * groups + g) * q_head
            gh = dout + batch * d_batch + (head * groups + g) * d_head
            dqh = dq + batch * dq_batch + (head * groups + g) * dq_head
            for m in range(begin, tl.minimum(edge, M), BM):
                sum_k, sum_v = backward_step(
                    qh, gh, dqh, lse + row * M, delta + row * M, q_row, d_row, dq_row, m, n, M, N, shift, scale,
                    keys, values, sum_k, sum_v, CAUSAL, True, BM, BD, D,
                )  # fmt: skip
            for m in range(tl.minimum(edge, M), M, BM):
                sum_k, sum_v = backward_step(
                    qh, gh, dqh, lse + row * M, delta + row * M, q_row, d_row, dq_row, m, n, M, N, shift, scale,
                    keys, values, sum_k, sum_v, CAUSAL, False, BM, BD, D,
                )  # fmt: skip
        tl.store(dk + wide * dk_row + d[None, :], sum_k.to(dk.dtype.element_ty), mask=inside)
        tl.store(dv + wide * dv_row + d[None, :], sum_v.to(dv.dtype.element_ty), mask=inside)
