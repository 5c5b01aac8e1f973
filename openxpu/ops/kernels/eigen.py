# Eigenvalues of symmetric matrices and singular values: Householder reductions and implicit QR steps, one program a matrix.
"""Vectors are rows, so that a reflection or a rotation goes along contiguous memory. A reflector begins with a one that is
not stored; `tau` scales it."""

import triton
import triton.language as tl


@triton.jit
def householder(alpha, squares):
    """(tau, beta, scale) of the reflector that takes (alpha, rest) to (beta, 0), rest having the sum of squares `squares`;
    scale makes rest its vector."""
    tau = squares * 0.0
    beta = alpha
    scale = tau
    if squares != 0.0:
        beta = tl.sqrt(alpha * alpha + squares)
        if alpha >= 0.0:
            beta = -beta
        tau = (beta - alpha) / beta
        scale = 1.0 / (alpha - beta)
    return tau, beta, scale


@triton.jit
def length(x, y):
    """sqrt(x^2 + y^2) without overflow."""
    x = tl.abs(x)
    y = tl.abs(y)
    large = tl.maximum(x, y)
    small = tl.minimum(x, y)
    result = large
    if small > 0.0:
        ratio = small / large
        result = large * tl.sqrt(1.0 + ratio * ratio)
    return result


@triton.jit
def rotate(p, q, n, c, s, BLOCK: tl.constexpr):
    """Rows p and q become c p + s q and c q - s p."""
    for start in range(0, n, BLOCK):
        at = start + tl.arange(0, BLOCK)
        mask = at < n
        x = tl.load(p + at, mask=mask)
        y = tl.load(q + at, mask=mask)
        tl.store(p + at, c * x + s * y, mask=mask)
        tl.store(q + at, c * y - s * x, mask=mask)


@triton.jit
def tridiagonalize(w, d, e, tau, work, n, BLOCK: tl.constexpr):
    """A symmetric matrix becomes tridiagonal: diagonal d, below it e; reflector j stands in row j from column j + 1 on."""
    matrix = tl.program_id(0).to(tl.int64)
    w += matrix * n * n
    d += matrix * n
    e += matrix * n
    tau += matrix * n
    work += matrix * n
    lane = tl.arange(0, BLOCK)
    for j in range(0, n):
        row = w + j * n
        tl.store(d + j, tl.load(row + j))
        if j + 1 < n:
            first = j + 1
            alpha = tl.load(row + first)
            squares = alpha * 0.0
            for start in range(first + 1, n, BLOCK):
                at = start + lane
                x = tl.load(row + at, mask=at < n, other=0.0)
                squares += tl.sum(x * x, axis=0)
            factor, beta, scale = householder(alpha, squares)
            tl.store(e + j, beta)
            tl.store(tau + j, factor)
            if factor != 0.0:
                for start in range(first + 1, n, BLOCK):
                    at = start + lane
                    tl.store(row + at, tl.load(row + at, mask=at < n) * scale, mask=at < n)
                tl.store(row + first, alpha * 0.0 + 1.0)
                # p = tau A v, then w = p - (tau / 2)(p . v) v, and A -= v w^T + w v^T.
                product = alpha * 0.0
                for r in range(first, n):
                    other = w + r * n
                    total = alpha * 0.0
                    for start in range(first, n, BLOCK):
                        at = start + lane
                        x = tl.load(row + at, mask=at < n, other=0.0)
                        total += tl.sum(x * tl.load(other + at, mask=at < n, other=0.0), axis=0)
                    total *= factor
                    tl.store(work + r, total)
                    product += total * tl.load(row + r)
                half = 0.5 * factor * product
                for start in range(first, n, BLOCK):
                    at = start + lane
                    x = tl.load(row + at, mask=at < n)
                    tl.store(work + at, tl.load(work + at, mask=at < n) - half * x, mask=at < n)
                for r in range(first, n):
                    other = w + r * n
                    mine = tl.load(row + r)
                    his = tl.load(work + r)
                    for start in range(first, n, BLOCK):
                        at = start + lane
                        x = tl.load(row + at, mask=at < n)
                        y = tl.load(work + at, mask=at < n)
                        tl.store(
                            other + at, tl.load(other + at, mask=at < n) - mine * y - his * x, mask=at < n
                        )
        else:
            tl.store(e + j, tl.load(row + j) * 0.0)


@triton.jit
def tridiagonal_eigen(d, e, z, n, steps, EPSILON: tl.constexpr, VECTORS: tl.constexpr, BLOCK: tl.constexpr):
    """Implicit QL steps with Wilkinson's shift until every e is negligible; the rows of z are rotated along. At most `steps`
    of them. Source: Bowdler, Martin, Reinsch and Wilkinson, The QR and QL algorithms for symmetric matrices, 1968."""
    matrix = tl.program_id(0).to(tl.int64)
    d += matrix * n
    e += matrix * n
    z += matrix * n * n
    left = steps
    for low in range(0, n):
        going = 1
        while going == 1:
            # The block low..high that no negligible e divides.
            high = low
            searching = high < n - 1
            while searching:
                size = tl.abs(tl.load(d + high)) + tl.abs(tl.load(d + high + 1))
                if tl.abs(tl.load(e + high)) > EPSILON * size:
                    high += 1
                    searching = high < n - 1
                else:
                    searching = False
            left -= 1
            if (high == low) | (left < 0):
                going = 0
            else:
                corner = tl.load(d + low)
                below = tl.load(e + low)
                g = (tl.load(d + low + 1) - corner) / (2.0 * below)
                r = length(g, g * 0.0 + 1.0)
                if g < 0.0:
                    r = -r
                g = tl.load(d + high) - corner + below / (g + r)
                s = g * 0.0 + 1.0
                c = s
                p = g * 0.0
                i = high - 1
                split = 0
                while i >= low:
                    f = s * tl.load(e + i)
                    b = c * tl.load(e + i)
                    r = length(f, g)
                    tl.store(e + i + 1, r)
                    if r == 0.0:
                        tl.store(d + i + 1, tl.load(d + i + 1) - p)
                        tl.store(e + high, p * 0.0)
                        split = 1
                        i = low - 1
                    else:
                        s = f / r
                        c = g / r
                        g = tl.load(d + i + 1) - p
                        r = (tl.load(d + i) - g) * s + 2.0 * c * b
                        p = s * r
                        tl.store(d + i + 1, g + p)
                        g = c * r - b
                        if VECTORS:
                            rotate(z + (i + 1) * n, z + i * n, n, c, s, BLOCK)
                        i -= 1
                if split == 0:
                    tl.store(d + low, tl.load(d + low) - p)
                    tl.store(e + low, g)
                    tl.store(e + high, p * 0.0)


@triton.jit
def bidiagonalize(w, d, e, left, right, work, m, n, BLOCK: tl.constexpr):
    """Columns (w[column * m + row], m >= n) become bidiagonal: diagonal d, above it e[1], e[2], ...; reflector j from the
    left stands in column j below the diagonal, from the right in row j from column j + 1 on."""
    matrix = tl.program_id(0).to(tl.int64)
    w += matrix * m * n
    d += matrix * n
    e += matrix * n
    left += matrix * n
    right += matrix * n
    work += matrix * m
    lane = tl.arange(0, BLOCK)
    tl.store(e, tl.load(w) * 0.0)
    for j in range(0, n):
        column = w + j * m
        alpha = tl.load(column + j)
        squares = alpha * 0.0
        for start in range(j + 1, m, BLOCK):
            at = start + lane
            x = tl.load(column + at, mask=at < m, other=0.0)
            squares += tl.sum(x * x, axis=0)
        factor, beta, scale = householder(alpha, squares)
        tl.store(d + j, beta)
        tl.store(left + j, factor)
        if factor != 0.0:
            for start in range(j + 1, m, BLOCK):
                at = start + lane
                tl.store(column + at, tl.load(column + at, mask=at < m) * scale, mask=at < m)
            tl.store(column + j, alpha * 0.0 + 1.0)
            for c in range(j + 1, n):
                other = w + c * m
                total = alpha * 0.0
                for start in range(j, m, BLOCK):
                    at = start + lane
                    x = tl.load(column + at, mask=at < m, other=0.0)
                    total += tl.sum(x * tl.load(other + at, mask=at < m, other=0.0), axis=0)
                total *= factor
                for start in range(j, m, BLOCK):
                    at = start + lane
                    x = tl.load(column + at, mask=at < m)
                    tl.store(other + at, tl.load(other + at, mask=at < m) - total * x, mask=at < m)
        tl.store(right + j, alpha * 0.0)
        if j + 1 < n:
            first = j + 1
            alpha = tl.load(w + first * m + j)
            squares = alpha * 0.0
            for c in range(first + 1, n):
                x = tl.load(w + c * m + j)
                squares += x * x
            factor, beta, scale = householder(alpha, squares)
            tl.store(e + first, beta)
            tl.store(right + j, factor)
            if factor != 0.0:
                for c in range(first + 1, n):
                    tl.store(w + c * m + j, tl.load(w + c * m + j) * scale)
                tl.store(w + first * m + j, alpha * 0.0 + 1.0)
                for start in range(j + 1, m, BLOCK):
                    at = start + lane
                    total = tl.load(w + first * m + at, mask=at < m, other=0.0)
                    for c in range(first + 1, n):
                        total += tl.load(w + c * m + j) * tl.load(w + c * m + at, mask=at < m, other=0.0)
                    total *= factor
                    for c in range(first, n):
                        other = w + c * m + at
                        tl.store(
                            other, tl.load(other, mask=at < m) - tl.load(w + c * m + j) * total, mask=at < m
                        )


@triton.jit
def bidiagonal_singular(
    d, e, u, v, n, u_row, u_stride, v_stride, steps, EPSILON: tl.constexpr, VECTORS: tl.constexpr, BLOCK: tl.constexpr
):  # fmt: skip
    """Implicit QR steps on an upper bidiagonal matrix (e[i] stands above d[i]) until every e is negligible; rows of u and v
    are rotated along, and singular values made positive. At most `steps` of them.
    Source: Golub and Reinsch, Singular value decomposition and least squares solutions, 1970."""
    matrix = tl.program_id(0).to(tl.int64)
    d += matrix * n
    e += matrix * n
    u += matrix * u_stride
    v += matrix * v_stride
    norm = tl.load(d) * 0.0
    for i in range(0, n):
        norm = tl.maximum(norm, tl.abs(tl.load(d + i)) + tl.abs(tl.load(e + i)))
    small = EPSILON * norm
    left = steps
    for reverse in range(0, n):
        last = n - 1 - reverse
        going = 1
        while going == 1:
            # The block first..last: e[first] is negligible, or d[first - 1] is and makes e[first] go.
            first = last
            cancel = 0
            searching = first > 0
            while searching:
                if tl.abs(tl.load(e + first)) <= small:
                    searching = False
                elif tl.abs(tl.load(d + first - 1)) <= small:
                    cancel = 1
                    searching = False
                else:
                    first -= 1
                    searching = first > 0
            if cancel == 1:
                c = norm * 0.0
                s = c + 1.0
                i = first
                while i <= last:
                    f = s * tl.load(e + i)
                    tl.store(e + i, c * tl.load(e + i))
                    if tl.abs(f) <= small:
                        i = last + 1
                    else:
                        g = tl.load(d + i)
                        h = length(f, g)
                        tl.store(d + i, h)
                        c = g / h
                        s = -f / h
                        if VECTORS:
                            rotate(u + (first - 1) * u_row, u + i * u_row, n, c, s, BLOCK)
                        i += 1
            z = tl.load(d + last)
            left -= 1
            if (first == last) | (left < 0):
                going = 0
                if z < 0.0:
                    tl.store(d + last, -z)
                    if VECTORS:
                        for start in range(0, n, BLOCK):
                            at = start + tl.arange(0, BLOCK)
                            row = v + last * n + at
                            tl.store(row, -tl.load(row, mask=at < n), mask=at < n)
            else:
                x = tl.load(d + first)
                y = tl.load(d + last - 1)
                g = tl.load(e + last - 1)
                h = tl.load(e + last)
                f = ((y - z) * (y + z) + (g - h) * (g + h)) / (2.0 * h * y)
                g = length(f, f * 0.0 + 1.0)
                if f < 0.0:
                    g = -g
                f = ((x - z) * (x + z) + h * (y / (f + g) - h)) / x
                c = f * 0.0 + 1.0
                s = c
                for j in range(first, last):
                    i = j + 1
                    g = tl.load(e + i)
                    y = tl.load(d + i)
                    h = s * g
                    g = c * g
                    z = length(f, h)
                    tl.store(e + j, z)
                    c = f * 0.0 + 1.0
                    s = f * 0.0
                    if z != 0.0:
                        c = f / z
                        s = h / z
                    f = x * c + g * s
                    g = g * c - x * s
                    h = y * s
                    y = y * c
                    if VECTORS:
                        rotate(v + j * n, v + i * n, n, c, s, BLOCK)
                    z = length(f, h)
                    tl.store(d + j, z)
                    if z != 0.0:
                        c = f / z
                        s = h / z
                    f = c * g + s * y
                    x = c * y - s * g
                    if VECTORS:
                        rotate(u + j * u_row, u + i * u_row, n, c, s, BLOCK)
                tl.store(e + first, f * 0.0)
                tl.store(e + last, f)
                tl.store(d + last, x)


@triton.jit
def ranks(d, out, order, n, DESCENDING: tl.constexpr, BLOCK: tl.constexpr):
    """Sorted values, and for each place the row that it comes from; equal values keep their order."""
    matrix = tl.program_id(0).to(tl.int64)
    d += matrix * n
    out += matrix * n
    order += matrix * n
    for i in range(0, n):
        value = tl.load(d + i)
        before = 0
        for start in range(0, n, BLOCK):
            at = start + tl.arange(0, BLOCK)
            other = tl.load(d + at, mask=at < n, other=0.0)
            if DESCENDING:
                first = (other > value) | ((other == value) & (at < i))
            else:
                first = (other < value) | ((other == value) & (at < i))
            # Not a number goes last, in order.
            first = first | ((value != value) & ((other == other) | (at < i)))
            before += tl.sum(tl.where(first & (at < n), 1, 0), axis=0)
        tl.store(out + before, value)
        tl.store(order + before, i)


@triton.jit
def take_rows(x, order, out, n, width, x_stride, out_stride, BLOCK: tl.constexpr):
    """Row i of out is row order[i] of x, i < n; they have `width` elements."""
    matrix = tl.program_id(1).to(tl.int64)
    i = tl.program_id(0)
    source = x + matrix * x_stride + tl.load(order + matrix * n + i) * width
    target = out + matrix * out_stride + i * width
    for start in range(0, width, BLOCK):
        at = start + tl.arange(0, BLOCK)
        tl.store(target + at, tl.load(source + at, mask=at < width), mask=at < width)


@triton.jit
def difference_inverse(x, y):
    """1 / (x - y), zero where they are equal."""
    return tl.where(x == y, 0.0, 1.0 / (x - y)).to(x.dtype)


@triton.jit
def square_difference_inverse(x, y):
    """1 / (x^2 - y^2), zero where they are equal."""
    return tl.where(x == y, 0.0, 1.0 / ((x - y) * (x + y))).to(x.dtype)


@triton.jit
def above(x, tolerance):
    """One where x > tolerance."""
    return tl.where(x > tolerance, 1, 0).to(tl.int64)
