# Fourier transforms of many sequences side by side: passes of radix 2, 3, 4, 5, 7 and 8 over lanes, one sequence in each.
"""Stockham's autosort method: a pass reads r elements that are n / r apart and writes them r in a row, so that no reordering is
left at the end. Source: Van Loan, Computational frameworks for the fast Fourier transform (1992), section 1.7."""

import triton
import triton.language as tl

from openxpu.ops.kernels.complex import load_pair, store_pair


@triton.jit
def put(pointer, plane, real, imaginary, wr, wi):
    """Stores a number times w."""
    tl.store(pointer, real * wr - imaginary * wi)
    tl.store(pointer + plane, real * wi + imaginary * wr)


@triton.jit
def stage2(source, target, table, n, m, stride, LANES: tl.constexpr):
    """One pass of radix 2."""
    lane = tl.arange(0, LANES)
    plane = n * LANES
    hop = m * stride * LANES
    for p in range(0, m):
        wr = tl.load(table + p * stride)
        wi = tl.load(table + n + p * stride)
        for q in range(0, stride):
            x = source + (p * stride + q) * LANES + lane
            y = target + (2 * p * stride + q) * LANES + lane
            ar = tl.load(x)
            ai = tl.load(x + plane)
            br = tl.load(x + hop)
            bi = tl.load(x + hop + plane)
            tl.store(y, ar + br)
            tl.store(y + plane, ai + bi)
            put(y + stride * LANES, plane, ar - br, ai - bi, wr, wi)


@triton.jit
def stage4(source, target, table, n, m, stride, LANES: tl.constexpr):
    """One pass of radix 4."""
    lane = tl.arange(0, LANES)
    plane = n * LANES
    hop = m * stride * LANES
    for p in range(0, m):
        wr1 = tl.load(table + p * stride)
        wi1 = tl.load(table + n + p * stride)
        wr2 = tl.load(table + 2 * p * stride)
        wi2 = tl.load(table + n + 2 * p * stride)
        wr3 = tl.load(table + 3 * p * stride)
        wi3 = tl.load(table + n + 3 * p * stride)
        for q in range(0, stride):
            x = source + (p * stride + q) * LANES + lane
            y = target + (4 * p * stride + q) * LANES + lane
            ar0 = tl.load(x)
            ai0 = tl.load(x + plane)
            ar1 = tl.load(x + hop)
            ai1 = tl.load(x + hop + plane)
            ar2 = tl.load(x + 2 * hop)
            ai2 = tl.load(x + 2 * hop + plane)
            ar3 = tl.load(x + 3 * hop)
            ai3 = tl.load(x + 3 * hop + plane)
            sr = ar0 + ar2
            si = ai0 + ai2
            tr = ar1 + ar3
            ti = ai1 + ai3
            dr = ar0 - ar2
            di = ai0 - ai2
            er = ar1 - ar3
            ei = ai1 - ai3
            tl.store(y, sr + tr)
            tl.store(y + plane, si + ti)
            put(y + stride * LANES, plane, dr + ei, di - er, wr1, wi1)
            put(y + 2 * stride * LANES, plane, sr - tr, si - ti, wr2, wi2)
            put(y + 3 * stride * LANES, plane, dr - ei, di + er, wr3, wi3)


@triton.jit
def stage3(source, target, table, n, m, stride, LANES: tl.constexpr):
    """One pass of radix 3."""
    lane = tl.arange(0, LANES)
    plane = n * LANES
    hop = m * stride * LANES
    for p in range(0, m):
        wr1 = tl.load(table + p * stride)
        wi1 = tl.load(table + n + p * stride)
        wr2 = tl.load(table + 2 * p * stride)
        wi2 = tl.load(table + n + 2 * p * stride)
        for q in range(0, stride):
            x = source + (p * stride + q) * LANES + lane
            y = target + (3 * p * stride + q) * LANES + lane
            ar0 = tl.load(x)
            ai0 = tl.load(x + plane)
            ar1 = tl.load(x + hop)
            ai1 = tl.load(x + hop + plane)
            ar2 = tl.load(x + 2 * hop)
            ai2 = tl.load(x + 2 * hop + plane)
            sr1 = ar1 + ar2
            si1 = ai1 + ai2
            dr1 = ar1 - ar2
            di1 = ai1 - ai2
            tl.store(y, ar0 + sr1)
            tl.store(y + plane, ai0 + si1)
            cr = ar0 - 0.4999999999999998 * sr1
            ci = ai0 - 0.4999999999999998 * si1
            er = 0.8660254037844387 * di1
            ei = 0.8660254037844387 * dr1
            put(y + stride * LANES, plane, cr + er, ci - ei, wr1, wi1)
            put(y + 2 * stride * LANES, plane, cr - er, ci + ei, wr2, wi2)


@triton.jit
def stage5(source, target, table, n, m, stride, LANES: tl.constexpr):
    """One pass of radix 5."""
    lane = tl.arange(0, LANES)
    plane = n * LANES
    hop = m * stride * LANES
    for p in range(0, m):
        wr1 = tl.load(table + p * stride)
        wi1 = tl.load(table + n + p * stride)
        wr2 = tl.load(table + 2 * p * stride)
        wi2 = tl.load(table + n + 2 * p * stride)
        wr3 = tl.load(table + 3 * p * stride)
        wi3 = tl.load(table + n + 3 * p * stride)
        wr4 = tl.load(table + 4 * p * stride)
        wi4 = tl.load(table + n + 4 * p * stride)
        for q in range(0, stride):
            x = source + (p * stride + q) * LANES + lane
            y = target + (5 * p * stride + q) * LANES + lane
            ar0 = tl.load(x)
            ai0 = tl.load(x + plane)
            ar1 = tl.load(x + hop)
            ai1 = tl.load(x + hop + plane)
            ar2 = tl.load(x + 2 * hop)
            ai2 = tl.load(x + 2 * hop + plane)
            ar3 = tl.load(x + 3 * hop)
            ai3 = tl.load(x + 3 * hop + plane)
            ar4 = tl.load(x + 4 * hop)
            ai4 = tl.load(x + 4 * hop + plane)
            sr1 = ar1 + ar4
            si1 = ai1 + ai4
            dr1 = ar1 - ar4
            di1 = ai1 - ai4
            sr2 = ar2 + ar3
            si2 = ai2 + ai3
            dr2 = ar2 - ar3
            di2 = ai2 - ai3
            tl.store(y, ar0 + sr1 + sr2)
            tl.store(y + plane, ai0 + si1 + si2)
            cr = ar0 + 0.30901699437494745 * sr1 - 0.8090169943749473 * sr2
            ci = ai0 + 0.30901699437494745 * si1 - 0.8090169943749473 * si2
            er = 0.9510565162951535 * di1 + 0.5877852522924732 * di2
            ei = 0.9510565162951535 * dr1 + 0.5877852522924732 * dr2
            put(y + stride * LANES, plane, cr + er, ci - ei, wr1, wi1)
            put(y + 4 * stride * LANES, plane, cr - er, ci + ei, wr4, wi4)
            cr = ar0 - 0.8090169943749473 * sr1 + 0.30901699437494723 * sr2
            ci = ai0 - 0.8090169943749473 * si1 + 0.30901699437494723 * si2
            er = 0.5877852522924732 * di1 - 0.9510565162951536 * di2
            ei = 0.5877852522924732 * dr1 - 0.9510565162951536 * dr2
            put(y + 2 * stride * LANES, plane, cr + er, ci - ei, wr2, wi2)
            put(y + 3 * stride * LANES, plane, cr - er, ci + ei, wr3, wi3)


@triton.jit
def stage7(source, target, table, n, m, stride, LANES: tl.constexpr):
    """One pass of radix 7."""
    lane = tl.arange(0, LANES)
    plane = n * LANES
    hop = m * stride * LANES
    for p in range(0, m):
        wr1 = tl.load(table + p * stride)
        wi1 = tl.load(table + n + p * stride)
        wr2 = tl.load(table + 2 * p * stride)
        wi2 = tl.load(table + n + 2 * p * stride)
        wr3 = tl.load(table + 3 * p * stride)
        wi3 = tl.load(table + n + 3 * p * stride)
        wr4 = tl.load(table + 4 * p * stride)
        wi4 = tl.load(table + n + 4 * p * stride)
        wr5 = tl.load(table + 5 * p * stride)
        wi5 = tl.load(table + n + 5 * p * stride)
        wr6 = tl.load(table + 6 * p * stride)
        wi6 = tl.load(table + n + 6 * p * stride)
        for q in range(0, stride):
            x = source + (p * stride + q) * LANES + lane
            y = target + (7 * p * stride + q) * LANES + lane
            ar0 = tl.load(x)
            ai0 = tl.load(x + plane)
            ar1 = tl.load(x + hop)
            ai1 = tl.load(x + hop + plane)
            ar2 = tl.load(x + 2 * hop)
            ai2 = tl.load(x + 2 * hop + plane)
            ar3 = tl.load(x + 3 * hop)
            ai3 = tl.load(x + 3 * hop + plane)
            ar4 = tl.load(x + 4 * hop)
            ai4 = tl.load(x + 4 * hop + plane)
            ar5 = tl.load(x + 5 * hop)
            ai5 = tl.load(x + 5 * hop + plane)
            ar6 = tl.load(x + 6 * hop)
            ai6 = tl.load(x + 6 * hop + plane)
            sr1 = ar1 + ar6
            si1 = ai1 + ai6
            dr1 = ar1 - ar6
            di1 = ai1 - ai6
            sr2 = ar2 + ar5
            si2 = ai2 + ai5
            dr2 = ar2 - ar5
            di2 = ai2 - ai5
            sr3 = ar3 + ar4
            si3 = ai3 + ai4
            dr3 = ar3 - ar4
            di3 = ai3 - ai4
            tl.store(y, ar0 + sr1 + sr2 + sr3)
            tl.store(y + plane, ai0 + si1 + si2 + si3)
            cr = ar0 + 0.6234898018587336 * sr1 - 0.22252093395631434 * sr2 - 0.900968867902419 * sr3
            ci = ai0 + 0.6234898018587336 * si1 - 0.22252093395631434 * si2 - 0.900968867902419 * si3
            er = 0.7818314824680298 * di1 + 0.9749279121818236 * di2 + 0.43388373911755823 * di3
            ei = 0.7818314824680298 * dr1 + 0.9749279121818236 * dr2 + 0.43388373911755823 * dr3
            put(y + stride * LANES, plane, cr + er, ci - ei, wr1, wi1)
            put(y + 6 * stride * LANES, plane, cr - er, ci + ei, wr6, wi6)
            cr = ar0 - 0.22252093395631434 * sr1 - 0.9009688679024191 * sr2 + 0.6234898018587334 * sr3
            ci = ai0 - 0.22252093395631434 * si1 - 0.9009688679024191 * si2 + 0.6234898018587334 * si3
            er = 0.9749279121818236 * di1 - 0.433883739117558 * di2 - 0.7818314824680299 * di3
            ei = 0.9749279121818236 * dr1 - 0.433883739117558 * dr2 - 0.7818314824680299 * dr3
            put(y + 2 * stride * LANES, plane, cr + er, ci - ei, wr2, wi2)
            put(y + 5 * stride * LANES, plane, cr - er, ci + ei, wr5, wi5)
            cr = ar0 - 0.900968867902419 * sr1 + 0.6234898018587334 * sr2 - 0.2225209339563141 * sr3
            ci = ai0 - 0.900968867902419 * si1 + 0.6234898018587334 * si2 - 0.2225209339563141 * si3
            er = 0.43388373911755823 * di1 - 0.7818314824680299 * di2 + 0.9749279121818237 * di3
            ei = 0.43388373911755823 * dr1 - 0.7818314824680299 * dr2 + 0.9749279121818237 * dr3
            put(y + 3 * stride * LANES, plane, cr + er, ci - ei, wr3, wi3)
            put(y + 4 * stride * LANES, plane, cr - er, ci + ei, wr4, wi4)


@triton.jit
def transform(
    x, out, work, table, radices, twist, n, stages, count, kept, groups, blocks, programs, lanes,
    in_outer, in_step, in_extent, in_jump, out_outer, out_step, out_extent, out_jump, in_sign, out_sign, scale,
    IN: tl.constexpr, OUT: tl.constexpr, TWIST: tl.constexpr, IN_DENSE: tl.constexpr, OUT_DENSE: tl.constexpr,
    LANES: tl.constexpr,
):  # fmt: skip
    """Transforms of length n of sequences side by side. A group is LANES of the `lanes` sequences of one outer index (twice as
    many where IN is not "complex": two real sequences make a complex one). Element j of lane l of outer index o lies at
    o * in_outer + j * in_step + (l // in_extent) * in_jump + l % in_extent (DENSE: + l); elements from `count` on are zero.

    IN: "complex"; "real"; "half", the first half of the spectrum of real sequences. OUT: "complex"; "half", the spectrum
    of two real sequences, its first `kept` elements; "both", two real sequences. TWIST: the element k of lane l is multiplied
    by row k, column l // out_extent of `twist`. `table` holds exp(-2 pi i k / n), real parts first; `work` four planes of n LANES a
    program. in_sign and out_sign are -1 where the numbers are to be conjugated."""
    program = tl.program_id(0)
    lane = tl.arange(0, LANES)
    plane = n * LANES
    work += program.to(tl.int64) * plane * 4
    paired: tl.constexpr = IN != "complex"
    for group in range(program, groups, programs):
        outer = (group // blocks).to(tl.int64)
        first = (group - outer * blocks).to(tl.int64) * (LANES * 2 if paired else LANES)
        l0 = first + lane
        l1 = l0 + LANES
        m0 = l0 < lanes
        m1 = l1 < lanes
        i0 = l0
        i1 = l1
        if not IN_DENSE:
            i0 = (l0 // in_extent) * in_jump + l0 % in_extent
            i1 = (l1 // in_extent) * in_jump + l1 % in_extent
        o0 = l0
        o1 = l1
        if not OUT_DENSE:
            o0 = (l0 // out_extent) * out_jump + l0 % out_extent
            o1 = (l1 // out_extent) * out_jump + l1 % out_extent
        given = outer * in_outer
        for j in range(0, count):
            at = given + j.to(tl.int64) * in_step
            if IN == "complex":
                re, im = load_pair(x, at + i0, m0)
                im = im * in_sign
            elif IN == "real":
                re = tl.load(x + at + i0, mask=m0, other=0)
                im = tl.load(x + at + i1, mask=m1, other=0)
            else:
                ar, ai = load_pair(x, at + i0, m0)
                br, bi = load_pair(x, at + i1, m1)
                if (j == 0) | (2 * j == n):
                    # An infinite imaginary part, which is not to be seen, must not become NaN.
                    ai = ai * 0.0
                    bi = bi * 0.0
                    ai = tl.where(ai == 0, ai, 0.0)
                    bi = tl.where(bi == 0, bi, 0.0)
                else:
                    mirror = (n - j) * LANES + lane
                    tl.store(work + mirror, ar + bi)
                    tl.store(work + plane + mirror, (br - ai) * in_sign)
                re = ar - bi
                im = (ai + br) * in_sign
            tl.store(work + j * LANES + lane, re)
            tl.store(work + plane + j * LANES + lane, im)
        if IN == "complex":
            for j in range(count, n):
                tl.store(work + j * LANES + lane, tl.zeros([LANES], work.dtype.element_ty))
                tl.store(work + plane + j * LANES + lane, tl.zeros([LANES], work.dtype.element_ty))
        source = 0
        m = n
        stride = 1
        for s in range(0, stages):
            r = tl.load(radices + s)
            m = m // r
            a = work + source * (2 * plane)
            b = work + (1 - source) * (2 * plane)
            if r == 4:
                stage4(a, b, table, n, m, stride, LANES)
            elif r == 2:
                stage2(a, b, table, n, m, stride, LANES)
            elif r == 3:
                stage3(a, b, table, n, m, stride, LANES)
            elif r == 5:
                stage5(a, b, table, n, m, stride, LANES)
            else:
                stage7(a, b, table, n, m, stride, LANES)
            stride = stride * r
            source = 1 - source
        done = work + source * (2 * plane)
        sink = outer * out_outer
        for k in range(0, kept):
            at = sink + k.to(tl.int64) * out_step
            re = tl.load(done + k * LANES + lane)
            im = tl.load(done + plane + k * LANES + lane)
            if OUT == "complex":
                if TWIST:
                    column = l0 // out_extent
                    wr = tl.load(twist + k * TWIST + column, mask=m0, other=0)
                    wi = tl.load(twist + n * TWIST + k * TWIST + column, mask=m0, other=0)
                    turned = re * wr - im * wi
                    im = re * wi + im * wr
                    re = turned
                store_pair(out, at + o0, re * scale, im * (out_sign * scale), m0)
            elif OUT == "both":
                tl.store(out + at + o0, re * scale, mask=m0)
                tl.store(out + at + o1, im * (out_sign * scale), mask=m1)
            else:
                mirror = tl.where(k == 0, 0, n - k)
                mr = tl.load(done + mirror * LANES + lane)
                mi = tl.load(done + plane + mirror * LANES + lane)
                half = 0.5 * scale
                turn = half * out_sign
                store_pair(out, at + o0, (re + mr) * half, (im - mi) * turn, m0)
                store_pair(out, at + o1, (im + mi) * half, (mr - re) * turn, m1)


@triton.jit
def whole_spectrum(x, out, n, half, total, inner, BLOCK: tl.constexpr):
    """The spectrum of real sequences, [outer, n, inner], from its first half, [outer, half, inner]."""
    index = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    mask = index < total
    row = index // inner
    outer = row // n
    k = row - outer * n
    mirrored = k > n - k
    source = (outer * half + tl.where(mirrored, n - k, k)) * inner + (index - row * inner)
    alone = (k == 0) | (2 * k == n)
    im = tl.load(x + 2 * source + 1, mask=mask, other=0)
    tl.store(out + 2 * index, tl.load(x + 2 * source, mask=mask, other=0), mask=mask)
    tl.store(out + 2 * index + 1, tl.where(alone, 0.0, tl.where(mirrored, -im, im)), mask=mask)


@triton.jit
def overlap_add(
    x, out, total, length, inner, frame, frames, hop, turns, outer_step, place_step, frame_step,
    ACC: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """out[o, t, i] = the sum of x[o, place, f, i] over the frames f that cover t = f * hop + place, at most `turns`."""
    index = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    row = index // inner
    column = index - row * inner
    outer = row // length
    t = row - outer * length
    last = t // hop
    acc = tl.zeros([BLOCK], ACC)
    for turn in range(0, turns):
        f = last - turn
        place = t - f * hop
        mask = (index < total) & (f >= 0) & (f < frames) & (place < frame)
        at = x + outer * outer_step + place * place_step + f * frame_step + column
        acc += tl.load(at, mask=mask, other=0).to(ACC)
    tl.store(out + index, acc.to(out.dtype.element_ty), mask=index < total)
