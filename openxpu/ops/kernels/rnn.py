# Recurrences over time: LSTM, GRU and the simple recurrent network, forward and backward.
"""One program runs all time steps of its rows of the batch in one direction, program (rows, direction): the state never
leaves it, and no launch waits for another. The input's part of the gates was computed for all steps at once.

hs has steps + 1 places: place t is the state before step t forwards, and after step t backwards in time (direction 1),
so that the state before a step is at t + direction and the state after it at t + 1 - direction. Rows that have ended
(t >= their length) keep their state, and their outputs are zero. The layouts are [direction, time, batch, gate, hidden]."""

import triton
import triton.language as tl

from openxpu.ops.kernels.elementary import sigmoid, tanh


@triton.jit
def _hidden_part(hs, w, bias, at, m_valid, n, n_valid, hidden, gate, row, ACC: tl.constexpr, BM: tl.constexpr,
                 BN: tl.constexpr, BK: tl.constexpr):  # fmt: skip
    """The state's part of one gate for a tile: state @ w[:, gate] + bias[gate]. `row`: length of a row of w."""
    acc = tl.zeros((BM, BN), ACC)
    for k_start in range(0, hidden, BK):
        k = k_start + tl.arange(0, BK)
        k_valid = k < hidden
        a = tl.load(hs + at[:, None] + k[None, :], mask=m_valid[:, None] & k_valid[None, :], other=0)
        f = tl.load(
            w + gate * hidden + (k * row)[:, None] + n[None, :],
            mask=k_valid[:, None] & n_valid[None, :],
            other=0,
        )
        acc = tl.dot(a, f, acc, input_precision="ieee", out_dtype=ACC)
    return acc + tl.load(bias + gate * hidden + n, mask=n_valid, other=0)[None, :]


@triton.jit
def recurrence(
    gates, w, bias, h0, c0, lengths, hs, cells, out, last_h, last_c, steps, batch, hidden, out_step, out_row,
    gates_size, hs_size, cells_size, MODE: tl.constexpr, LENGTHS: tl.constexpr, ACC: tl.constexpr,
    BM: tl.constexpr, BN: tl.constexpr, BK: tl.constexpr,
):  # fmt: skip
    """gates holds the input's part and becomes the activated gates. cells: the cell states of an LSTM (places as in hs),
    the hidden part of a GRU's candidate (one for each step)."""
    GATES: tl.constexpr = 4 if MODE == "LSTM" else (3 if MODE == "GRU" else 1)
    direction = tl.program_id(1)
    far = direction.to(tl.int64)
    row = GATES * hidden
    gates += far * gates_size
    w += far * hidden * row
    bias += direction * row
    hs += far * hs_size
    cells += far * cells_size
    out += direction * hidden
    m = tl.program_id(0) * BM + tl.arange(0, BM)
    m_valid = m < batch
    wide = m.to(tl.int64)
    plane = batch.to(tl.int64) * hidden
    own = wide * hidden  # this program's rows in a plane of states
    if LENGTHS:
        length = tl.load(lengths + m, mask=m_valid, other=0)
    begin = far * steps * plane
    for n_start in range(0, hidden, BN):
        n = n_start + tl.arange(0, BN)
        mask = m_valid[:, None] & (n < hidden)[None, :]
        at = own[:, None] + n[None, :]
        tl.store(hs + begin + at, tl.load(h0 + far * plane + at, mask=mask, other=0).to(ACC), mask=mask)
        if MODE == "LSTM":
            tl.store(
                cells + begin + at, tl.load(c0 + far * plane + at, mask=mask, other=0).to(ACC), mask=mask
            )
    for s in range(0, steps):
        t = (s + direction * (steps - 1 - 2 * s)).to(tl.int64)
        before = (t + direction) * plane
        after = (t + 1 - direction) * plane
        state = before + own
        for n_start in range(0, hidden, BN):
            n = n_start + tl.arange(0, BN)
            n_valid = n < hidden
            mask = m_valid[:, None] & n_valid[None, :]
            at = own[:, None] + n[None, :]
            g = gates + ((t * batch + wide) * row)[:, None] + n[None, :]
            g0 = tl.load(g, mask=mask, other=0) + _hidden_part(
                hs, w, bias, state, m_valid, n, n_valid, hidden, 0, row, ACC, BM, BN, BK
            )
            if MODE == "LSTM":
                g0 = sigmoid(g0)
                tl.store(g, g0, mask=mask)
                g1 = sigmoid(
                    tl.load(g + hidden, mask=mask, other=0)
                    + _hidden_part(hs, w, bias, state, m_valid, n, n_valid, hidden, 1, row, ACC, BM, BN, BK)
                )
                tl.store(g + hidden, g1, mask=mask)
                g2 = tanh(
                    tl.load(g + 2 * hidden, mask=mask, other=0)
                    + _hidden_part(hs, w, bias, state, m_valid, n, n_valid, hidden, 2, row, ACC, BM, BN, BK)
                )
                tl.store(g + 2 * hidden, g2, mask=mask)
                g3 = sigmoid(
                    tl.load(g + 3 * hidden, mask=mask, other=0)
                    + _hidden_part(hs, w, bias, state, m_valid, n, n_valid, hidden, 3, row, ACC, BM, BN, BK)
                )
                tl.store(g + 3 * hidden, g3, mask=mask)
                c_before = tl.load(cells + before + at, mask=mask, other=0)
                c = g1 * c_before + g0 * g2
                h = g3 * tanh(c)
                if LENGTHS:
                    c = tl.where((t < length)[:, None], c, c_before)
                tl.store(cells + after + at, c, mask=mask)
            elif MODE == "GRU":
                g0 = sigmoid(g0)
                tl.store(g, g0, mask=mask)
                g1 = sigmoid(
                    tl.load(g + hidden, mask=mask, other=0)
                    + _hidden_part(hs, w, bias, state, m_valid, n, n_valid, hidden, 1, row, ACC, BM, BN, BK)
                )
                tl.store(g + hidden, g1, mask=mask)
                q = _hidden_part(hs, w, bias, state, m_valid, n, n_valid, hidden, 2, row, ACC, BM, BN, BK)
                tl.store(cells + t * plane + at, q, mask=mask)
                g2 = tanh(tl.load(g + 2 * hidden, mask=mask, other=0) + g0 * q)
                tl.store(g + 2 * hidden, g2, mask=mask)
                h = g1 * tl.load(hs + before + at, mask=mask, other=0) + (1 - g1) * g2
            else:
                if MODE == "RNN_TANH":
                    h = tanh(g0)
                else:
                    h = tl.where(g0 <= 0, 0, g0)
                tl.store(g, h, mask=mask)
            y = h
            if LENGTHS:
                running = (t < length)[:, None]
                h = tl.where(running, h, tl.load(hs + before + at, mask=mask, other=0))
                y = tl.where(running, y, 0)
            tl.store(hs + after + at, h, mask=mask)
            place = out + t * out_step + (wide * out_row)[:, None] + n[None, :]
            tl.store(place, y.to(out.dtype.element_ty), mask=mask)
    end = (1 - far) * steps * plane
    for n_start in range(0, hidden, BN):
        n = n_start + tl.arange(0, BN)
        mask = m_valid[:, None] & (n < hidden)[None, :]
        at = own[:, None] + n[None, :]
        h = tl.load(hs + end + at, mask=mask, other=0)
        tl.store(last_h + far * plane + at, h.to(last_h.dtype.element_ty), mask=mask)
        if MODE == "LSTM":
            c = tl.load(cells + end + at, mask=mask, other=0)
            tl.store(last_c + far * plane + at, c.to(last_c.dtype.element_ty), mask=mask)


@triton.jit
def recurrence_grad(
    gates, w, hs, cells, lengths, dout, dx_gates, dh_gates, dh, dc, steps, batch, hidden, out_step, out_row,
    gates_size, hs_size, cells_size, MODE: tl.constexpr, LENGTHS: tl.constexpr, ACC: tl.constexpr,
    BM: tl.constexpr, BN: tl.constexpr, BK: tl.constexpr,
):  # fmt: skip
    """dx_gates gets the gradients of the gates' input part, dh_gates those of the state's part (they differ only in a
    GRU's candidate; otherwise they are one tensor). dh and dc hold the gradients of the last states and get those of the first.
    w is [direction, gate, hidden, hidden]."""
    GATES: tl.constexpr = 4 if MODE == "LSTM" else (3 if MODE == "GRU" else 1)
    direction = tl.program_id(1)
    far = direction.to(tl.int64)
    row = GATES * hidden
    gates += far * gates_size
    dx_gates += far * gates_size
    dh_gates += far * gates_size
    w += far * hidden * row
    hs += far * hs_size
    cells += far * cells_size
    dout += direction * hidden
    m = tl.program_id(0) * BM + tl.arange(0, BM)
    m_valid = m < batch
    wide = m.to(tl.int64)
    plane = batch.to(tl.int64) * hidden
    own = wide * hidden
    dh += far * plane
    dc += far * plane
    if LENGTHS:
        length = tl.load(lengths + m, mask=m_valid, other=0)
    for s in range(0, steps):
        t = (steps - 1 - s + direction * (2 * s + 1 - steps)).to(tl.int64)
        before = (t + direction) * plane
        after = (t + 1 - direction) * plane
        line = (t * batch + wide) * row
        for n_start in range(0, hidden, BN):
            n = n_start + tl.arange(0, BN)
            mask = m_valid[:, None] & (n < hidden)[None, :]
            at = own[:, None] + n[None, :]
            place = line[:, None] + n[None, :]
            carried = tl.load(dh + at, mask=mask, other=0)
            above = dout + t * out_step + (wide * out_row)[:, None] + n[None, :]
            d = carried + tl.load(above, mask=mask, other=0).to(ACC)
            running = mask
            if LENGTHS:
                running = mask & (t < length)[:, None]
            g0 = tl.load(gates + place, mask=mask, other=0)
            if MODE == "LSTM":
                g1 = tl.load(gates + place + hidden, mask=mask, other=0)
                g2 = tl.load(gates + place + 2 * hidden, mask=mask, other=0)
                g3 = tl.load(gates + place + 3 * hidden, mask=mask, other=0)
                c = tanh(tl.load(cells + after + at, mask=mask, other=0))
                c_before = tl.load(cells + before + at, mask=mask, other=0)
                dc_carried = tl.load(dc + at, mask=mask, other=0)
                e = dc_carried + d * g3 * (1 - c * c)
                into = dx_gates + place
                tl.store(into, tl.where(running, e * g2 * g0 * (1 - g0), 0), mask=mask)
                tl.store(into + hidden, tl.where(running, e * c_before * g1 * (1 - g1), 0), mask=mask)
                tl.store(into + 2 * hidden, tl.where(running, e * g0 * (1 - g2 * g2), 0), mask=mask)
                tl.store(into + 3 * hidden, tl.where(running, d * c * g3 * (1 - g3), 0), mask=mask)
                tl.store(dc + at, tl.where(running, e * g1, dc_carried), mask=mask)
                rest = tl.where(running, 0, carried)
            elif MODE == "GRU":
                g1 = tl.load(gates + place + hidden, mask=mask, other=0)
                g2 = tl.load(gates + place + 2 * hidden, mask=mask, other=0)
                q = tl.load(cells + t * plane + at, mask=mask, other=0)
                h_before = tl.load(hs + before + at, mask=mask, other=0)
                candidate = tl.where(running, d * (1 - g1) * (1 - g2 * g2), 0)
                reset = candidate * q * g0 * (1 - g0)
                update = tl.where(running, d * (h_before - g2) * g1 * (1 - g1), 0)
                tl.store(dx_gates + place, reset, mask=mask)
                tl.store(dx_gates + place + hidden, update, mask=mask)
                tl.store(dx_gates + place + 2 * hidden, candidate, mask=mask)
                tl.store(dh_gates + place, reset, mask=mask)
                tl.store(dh_gates + place + hidden, update, mask=mask)
                tl.store(dh_gates + place + 2 * hidden, candidate * g0, mask=mask)
                rest = tl.where(running, d * g1, carried)
            else:
                if MODE == "RNN_TANH":
                    e = d * (1 - g0 * g0)
                else:
                    e = tl.where(g0 > 0, d, 0)
                tl.store(dx_gates + place, tl.where(running, e, 0), mask=mask)
                rest = tl.where(running, 0, carried)
            tl.store(dh + at, rest, mask=mask)
        for n_start in range(0, hidden, BN):
            n = n_start + tl.arange(0, BN)
            n_valid = n < hidden
            mask = m_valid[:, None] & n_valid[None, :]
            at = own[:, None] + n[None, :]
            acc = tl.zeros((BM, BN), ACC)
            for k_start in range(0, row, BK):
                k = k_start + tl.arange(0, BK)
                k_valid = k < row
                a = tl.load(
                    dh_gates + line[:, None] + k[None, :], mask=m_valid[:, None] & k_valid[None, :], other=0
                )
                f = tl.load(
                    w + (k * hidden)[:, None] + n[None, :], mask=k_valid[:, None] & n_valid[None, :], other=0
                )
                acc = tl.dot(a, f, acc, input_precision="ieee", out_dtype=ACC)
            tl.store(dh + at, tl.load(dh + at, mask=mask, other=0) + acc, mask=mask)
