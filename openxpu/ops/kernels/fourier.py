# Fourier transforms of many sequences side by side: passes of radix 2, 4 and any odd radix over lanes, one sequence in each.
"""Stockham's autosort method: a pass reads r elements that are n / r apart and writes them r in a row, so that no reordering is
left at the end. Source: Van Loan, Computational frameworks for the fast Fourier transform (1992), section 1.7."""

import triton
import triton.language as tl

from openxpu.ops.kernels.pointwise import load_pair, store_pair, whole_quotient


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
def odd(source, target, table, n, m, stride, R: tl.constexpr, LANES: tl.constexpr):
    """One pass of a small odd radix R. Elements j and R - j appear only as their sum and difference, outputs k and R - k only as
    sum and difference of an even and an odd part."""
    lane = tl.arange(0, LANES)
    plane = n * LANES
    hop = m * stride * LANES
    part = n // R
    for p in range(0, m):
        for q in range(0, stride):
            x = source + (p * stride + q) * LANES + lane
            y = target + (R * p * stride + q) * LANES + lane
            ar = tl.load(x)
            ai = tl.load(x + plane)
            total_r = ar
            total_i = ai
            sums = ()
            for j in tl.static_range(1, (R + 1) // 2):
                br = tl.load(x + j * hop)
                bi = tl.load(x + j * hop + plane)
                cr = tl.load(x + (R - j) * hop)
                ci = tl.load(x + (R - j) * hop + plane)
                total_r += br + cr
                total_i += bi + ci
                sums = sums + ((br + cr, bi + ci, br - cr, bi - ci),)  # noqa: RUF005
            tl.store(y, total_r)
            tl.store(y + plane, total_i)
            for k in tl.static_range(1, (R + 1) // 2):
                cr = ar
                ci = ai
                er = ar * 0
                ei = ar * 0
                for j in tl.static_range(1, (R + 1) // 2):
                    c = tl.load(table + (j * k % R) * part)
                    s = tl.load(table + n + (j * k % R) * part)
                    cr += c * sums[j - 1][0]
                    ci += c * sums[j - 1][1]
                    er -= s * sums[j - 1][3]
                    ei -= s * sums[j - 1][2]
                both(
                    y,
                    plane,
                    k * stride * LANES,
                    (R - k) * stride * LANES,
                    cr,
                    ci,
                    er,
                    ei,
                    table,
                    n,
                    p * k * stride,
                    p * (R - k) * stride,
                )


@triton.jit
def both(y, plane, near, far, cr, ci, er, ei, table, n, turn, back):
    """Stores outputs k and R - k of a pass times their factors."""
    put(y + near, plane, cr + er, ci - ei, tl.load(table + turn), tl.load(table + n + turn))
    put(y + far, plane, cr - er, ci + ei, tl.load(table + back), tl.load(table + n + back))


@triton.jit
def prime(source, target, table, n, m, stride, r, LANES: tl.constexpr):
    """One pass of any odd radix r, in the same way, two pairs of outputs at a time. Sums and differences take the elements' places
    in `source`."""
    lane = tl.arange(0, LANES)
    plane = n * LANES
    hop = m * stride * LANES
    part = n // r
    half = r // 2
    for p in range(0, m):
        for q in range(0, stride):
            x = source + (p * stride + q) * LANES + lane
            y = target + (r * p * stride + q) * LANES + lane
            ar = tl.load(x)
            ai = tl.load(x + plane)
            total_r = ar
            total_i = ai
            for j in range(1, half + 1):
                low = x + j * hop
                high = x + (r - j) * hop
                br = tl.load(low)
                bi = tl.load(low + plane)
                cr = tl.load(high)
                ci = tl.load(high + plane)
                total_r += br + cr
                total_i += bi + ci
                tl.store(low, br + cr)
                tl.store(low + plane, bi + ci)
                tl.store(high, br - cr)
                tl.store(high + plane, bi - ci)
            tl.store(y, total_r)
            tl.store(y + plane, total_i)
            for k in range(1, half + 1, 2):
                next = tl.minimum(k + 1, half)
                cr = ar
                ci = ai
                er = ar * 0
                ei = ar * 0
                fr = ar
                fi = ai
                gr = ar * 0
                gi = ar * 0
                t = 0
                u = 0
                for j in range(1, half + 1):
                    t += k
                    t = tl.where(t >= r, t - r, t)
                    u += next
                    u = tl.where(u >= r, u - r, u)
                    low = x + j * hop
                    high = x + (r - j) * hop
                    sr = tl.load(low)
                    si = tl.load(low + plane)
                    dr = tl.load(high)
                    di = tl.load(high + plane)
                    c = tl.load(table + t * part)
                    s = tl.load(table + n + t * part)
                    cr += c * sr
                    ci += c * si
                    er -= s * di
                    ei -= s * dr
                    c = tl.load(table + u * part)
                    s = tl.load(table + n + u * part)
                    fr += c * sr
                    fi += c * si
                    gr -= s * di
                    gi -= s * dr
                step = stride * LANES
                both(
                    y,
                    plane,
                    k * step,
                    (r - k) * step,
                    cr,
                    ci,
                    er,
                    ei,
                    table,
                    n,
                    p * k * stride,
                    p * (r - k) * stride,
                )
                both(
                    y,
                    plane,
                    next * step,
                    (r - next) * step,
                    fr,
                    fi,
                    gr,
                    gi,
                    table,
                    n,
                    p * next * stride,
                    p * (r - next) * stride,
                )


@triton.jit
def row_tile(x, staged, at, jump, count, lanes, WORDS: tl.constexpr, TILE: tl.constexpr, ROWS: tl.constexpr, OUTWARD: tl.constexpr):  # fmt: skip
    """Moves TILE elements of ROWS sequences from x + at to rows of `staged` (OUTWARD: back), by whole lines. Lanes that read x
    themselves would fall on one set of the cache where `jump` is a power of two."""
    row = tl.arange(0, ROWS)[:, None]
    column = tl.arange(0, TILE * WORDS)[None, :]
    mask = (row < lanes) & (column < count * WORDS)
    far = x + at * WORDS + (row * (jump * WORDS) + column)
    near = staged + row * ((TILE + 1) * WORDS) + column
    if OUTWARD:
        tl.store(far, tl.load(near, mask=mask, other=0), mask=mask)
    else:
        tl.store(near, tl.load(far, mask=mask, other=0), mask=mask)


@triton.jit
def transform(
    x, out, work, near, away, table, radices, twist, chirp, n, length, stages, count, kept, groups, blocks, programs, lanes,
    in_outer, in_step, in_extent, in_jump, out_outer, out_step, out_extent, out_jump, in_sign, out_sign, scale,
    IN: tl.constexpr, OUT: tl.constexpr, TWIST: tl.constexpr, CHIRP: tl.constexpr, IN_DENSE: tl.constexpr,
    OUT_DENSE: tl.constexpr, IN_ROW: tl.constexpr, OUT_ROW: tl.constexpr, TILE: tl.constexpr, LANES: tl.constexpr,
):  # fmt: skip
    """Transforms of length n of sequences side by side. A group is LANES of the `lanes` sequences of one outer index (twice as
    many where IN is not "complex": two real sequences make a complex one). Element j of lane l of outer index o lies at
    o * in_outer + j * in_step + (l // in_extent) * in_jump + l % in_extent (DENSE: + l); elements from `count` on are zero.
    ROW, words of an element: in_step and in_extent are 1, and TILE elements of each sequence at once pass through `near` or `away`.

    IN: "complex"; "real"; "half", the first half of the spectrum of real sequences. OUT: "complex"; "half", the spectrum
    of two real sequences, its first `kept` elements; "both", two real sequences. TWIST: the element k of lane l is multiplied
    by row k, column l // out_extent of `twist`. CHIRP: the transform is a convolution of `length` elements; `chirp` holds
    exp(-pi i j^2 / n), `twist` the transform of its conjugate. `table` holds exp(-2 pi i k / length), real parts first; `work` four
    planes of `length` LANES a program. in_sign and out_sign are -1 where the numbers are to be conjugated."""
    program = tl.program_id(0)
    lane = tl.arange(0, LANES)
    plane = length * LANES
    work += program.to(tl.int64) * plane * 4
    paired: tl.constexpr = IN != "complex"
    span: tl.constexpr = 2 * LANES if paired else LANES
    near += program * (span * (TILE + 1) * IN_ROW)
    away += program * (span * (TILE + 1) * OUT_ROW)
    for group in range(program, groups, programs):
        outer = (group // blocks).to(tl.int64)
        first = (group - outer * blocks).to(tl.int64) * span
        l0 = first + lane
        l1 = l0 + LANES
        m0 = l0 < lanes
        m1 = l1 < lanes
        i0 = l0
        i1 = l1
        if IN_ROW:
            i0 = (lane * (TILE + 1)).to(tl.int64)
            i1 = i0 + LANES * (TILE + 1)
        elif not IN_DENSE:
            i0 = (l0 // in_extent) * in_jump + l0 % in_extent
            i1 = (l1 // in_extent) * in_jump + l1 % in_extent
        o0 = l0
        o1 = l1
        if OUT_ROW:
            o0 = (lane * (TILE + 1)).to(tl.int64)
            o1 = o0 + LANES * (TILE + 1)
        elif not OUT_DENSE:
            o0 = (l0 // out_extent) * out_jump + l0 % out_extent
            o1 = (l1 // out_extent) * out_jump + l1 % out_extent
        if TWIST:
            column = l0 // out_extent
        given = outer * in_outer
        for j0 in range(0, count, TILE):
            if IN_ROW:
                row_tile(
                    x,
                    near,
                    given + first * in_jump + j0,
                    in_jump,
                    count - j0,
                    lanes - first,
                    IN_ROW,
                    TILE,
                    span,
                    False,
                )
            for j in range(j0, tl.minimum(j0 + TILE, count)):
                if IN_ROW:
                    begin = near
                    at = (j - j0).to(tl.int64)
                else:
                    begin = x
                    at = given + j.to(tl.int64) * in_step
                if IN == "complex":
                    re, im = load_pair(begin, at + i0, m0)
                    im = im * in_sign
                elif IN == "real":
                    re = tl.load(begin + at + i0, mask=m0, other=0)
                    im = tl.load(begin + at + i1, mask=m1, other=0)
                else:
                    ar, ai = load_pair(begin, at + i0, m0)
                    br, bi = load_pair(begin, at + i1, m1)
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
        given_until = count if IN == "complex" else n
        for j in range(given_until, length):
            tl.store(work + j * LANES + lane, tl.zeros([LANES], work.dtype.element_ty))
            tl.store(work + plane + j * LANES + lane, tl.zeros([LANES], work.dtype.element_ty))
        source = 0
        if CHIRP:
            for j in range(0, given_until):
                at = work + j * LANES + lane
                put(at, plane, tl.load(at), tl.load(at + plane), tl.load(chirp + j), tl.load(chirp + n + j))
        for turn in range(0, 2 if CHIRP else 1):
            m = length
            stride = 1
            for s in range(0, stages):
                r = tl.load(radices + s)
                m = m // r
                a = work + source * (2 * plane)
                b = work + (1 - source) * (2 * plane)
                if r == 4:
                    stage4(a, b, table, length, m, stride, LANES)
                elif r == 2:
                    stage2(a, b, table, length, m, stride, LANES)
                elif r == 3:
                    odd(a, b, table, length, m, stride, 3, LANES)
                elif r == 5:
                    odd(a, b, table, length, m, stride, 5, LANES)
                elif not CHIRP:
                    if r == 7:
                        odd(a, b, table, length, m, stride, 7, LANES)
                    else:
                        prime(a, b, table, length, m, stride, r, LANES)
                stride = stride * r
                source = 1 - source
            if CHIRP:
                # The transform back is that of the conjugate, conjugated.
                at = work + source * (2 * plane) + lane
                for k in range(0, length if turn == 0 else n):
                    if turn == 0:
                        wr = tl.load(twist + k)
                        wi = tl.load(twist + length + k)
                    else:
                        wr = tl.load(chirp + k)
                        wi = tl.load(chirp + n + k)
                    re = tl.load(at)
                    im = tl.load(at + plane)
                    if turn == 0:
                        tl.store(at, re * wr - im * wi)
                        tl.store(at + plane, -(re * wi + im * wr))
                    else:
                        put(at, plane, re, -im, wr, wi)
                    at += LANES
        done = work + source * (2 * plane)
        sink = outer * out_outer
        for k0 in range(0, kept, TILE):
            for k in range(k0, tl.minimum(k0 + TILE, kept)):
                if OUT_ROW:
                    begin = away
                    at = (k - k0).to(tl.int64)
                else:
                    begin = out
                    at = sink + k.to(tl.int64) * out_step
                re = tl.load(done + k * LANES + lane)
                im = tl.load(done + plane + k * LANES + lane)
                if OUT == "complex":
                    if TWIST:
                        wr = tl.load(twist + k * TWIST + column, mask=m0, other=0)
                        wi = tl.load(twist + n * TWIST + k * TWIST + column, mask=m0, other=0)
                        turned = re * wr - im * wi
                        im = re * wi + im * wr
                        re = turned
                    store_pair(begin, at + o0, re * scale, im * (out_sign * scale), m0)
                elif OUT == "both":
                    tl.store(begin + at + o0, re * scale, mask=m0)
                    tl.store(begin + at + o1, im * (out_sign * scale), mask=m1)
                else:
                    mirror = tl.where(k == 0, 0, n - k)
                    mr = tl.load(done + mirror * LANES + lane)
                    mi = tl.load(done + plane + mirror * LANES + lane)
                    half = 0.5 * scale
                    turn_back = half * out_sign
                    store_pair(begin, at + o0, (re + mr) * half, (im - mi) * turn_back, m0)
                    store_pair(begin, at + o1, (im + mi) * half, (mr - re) * turn_back, m1)
            if OUT_ROW:
                row_tile(
                    out,
                    away,
                    sink + first * out_jump + k0,
                    out_jump,
                    kept - k0,
                    lanes - first,
                    OUT_ROW,
                    TILE,
                    span,
                    True,
                )


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
def halves(x, out, table, n, given, kept, sign, scale, BACK: tl.constexpr, BLOCK: tl.constexpr):
    """[rows, kept] from [rows, given]: the spectrum of n real numbers from the transform of n / 2 pairs of them, (even, odd), as
    complex numbers; BACK: the other way. `table` holds exp(-2 pi i k / n); sign is -1 for the transform back."""
    k = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    mask = k < kept
    half = n // 2
    near = k
    far = half - k
    if not BACK:
        near = tl.where(k >= half, k - half, k)
        far = tl.where(k > half, n - k, far)
        far = tl.where(far == half, 0, far)
    row = tl.program_id(1).to(tl.int64)
    ar, ai = load_pair(x, row * given + near, mask)
    br, bi = load_pair(x, row * given + far, mask)
    wr = tl.load(table + k, mask=mask, other=0)
    wi = tl.load(table + n + k, mask=mask, other=0)
    if BACK:
        # What has no imaginary part in a spectrum of reals is not looked at.
        ai = tl.where(k == 0, 0.0, ai * sign)
        bi = tl.where(k == 0, 0.0, bi * sign)
    even_r = ar + br
    even_i = ai - bi
    odd_r = ar - br
    odd_i = ai + bi
    if BACK:
        re = even_r - (wr * odd_i - wi * odd_r)
        im = even_i + (wr * odd_r + wi * odd_i)
    else:
        re = (even_r + (wr * odd_i + wi * odd_r)) * scale
        im = (even_i - (wr * odd_r - wi * odd_i)) * (scale * sign)
    store_pair(out, row * kept + k, re, im, mask)


@triton.jit
def overlap_add(
    x, out, total, length, inner, frame, frames, hop, turns, outer_step, place_step, frame_step,
    by_length, by_length_shift, by_inner, by_inner_shift, by_hop, by_hop_shift,
    SMALL: tl.constexpr, ACC: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """out[o, t, i] = the sum of x[o, place, f, i] over the frames f that cover t = f * hop + place, at most `turns`."""
    index = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    row = whole_quotient(index, inner, by_inner, by_inner_shift, SMALL)
    column = index - row * inner
    outer = whole_quotient(row, length, by_length, by_length_shift, SMALL)
    t = row - outer * length
    last = whole_quotient(t, hop, by_hop, by_hop_shift, SMALL)
    acc = tl.zeros([BLOCK], ACC)
    for turn in range(0, turns):
        f = last - turn
        place = t - f * hop
        mask = (index < total) & (f >= 0) & (f < frames) & (place < frame)
        at = x + outer * outer_step + place * place_step + f * frame_step + column
        acc += tl.load(at, mask=mask, other=0).to(ACC)
    tl.store(out + index, acc.to(out.dtype.element_ty), mask=index < total)
