# Kernels of running extremes, products and log-sums along the middle of [outer, extent, inner]; a lane owns one (outer, inner).
import triton
import triton.language as tl


@triton.jit
def place(count, extent, inner, COLUMNS: tl.constexpr, BLOCK: tl.constexpr):
    """The lanes of this program: where each begins, and which exist. With COLUMNS they are neighbours: program (block of
    inner, outer)."""
    if COLUMNS:
        first = tl.program_id(0).to(tl.int64) * BLOCK
        lane = tl.arange(0, BLOCK)
        return tl.program_id(1).to(tl.int64) * extent * inner + first + lane, lane < inner - first
    else:
        lane = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
        return (lane // inner) * extent * inner + lane % inner, lane < count


@triton.jit
def extremes(
    x,
    out,
    indices,
    count,
    extent,
    inner,
    LARGEST: tl.constexpr,
    ACC: tl.constexpr,
    COLUMNS: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """The largest (smallest) so far and where it is: of equal ones the last; a NaN stays."""
    at, mask = place(count, extent, inner, COLUMNS, BLOCK)
    best = tl.load(x + at, mask=mask, other=0).to(ACC)
    index = tl.zeros([BLOCK], tl.int32)
    for i in range(0, extent):
        v = tl.load(x + at, mask=mask, other=0).to(ACC)
        if LARGEST:
            wins = v >= best
        else:
            wins = v <= best
        wins = (v != v) | (wins & (best == best))
        best = tl.where(wins, v, best)
        index = tl.where(wins, i, index)
        tl.store(out + at, best.to(out.dtype.element_ty), mask=mask)
        tl.store(indices + at, index.to(indices.dtype.element_ty), mask=mask)
        at += inner


@triton.jit
def larger(a, b):
    return tl.where((a > b) | (a != a), a, b)


@triton.jit
def smaller(a, b):
    return tl.where((a < b) | (a != a), a, b)


@triton.jit
def later(a, b):
    return tl.maximum(a, b)


@triton.jit
def extremes_rows(x, out, indices, extent, LARGEST: tl.constexpr, ACC: tl.constexpr, BLOCK: tl.constexpr):
    """The same for [rows, extent], one row a program: running extremes, then the last place so far that holds its own."""
    row = tl.program_id(0).to(tl.int64) * extent
    x += row
    out += row
    indices += row
    lane = tl.arange(0, BLOCK)
    carry = tl.load(x).to(ACC)
    place = 0
    for begin in range(0, extent, BLOCK):
        at = begin + lane
        inside = at < extent
        v = tl.load(x + at, mask=inside, other=0).to(ACC)
        if LARGEST:
            best = tl.associative_scan(v, 0, larger)
            wins = (carry > best) | (carry != carry)
        else:
            best = tl.associative_scan(v, 0, smaller)
            wins = (carry < best) | (carry != carry)
        best = tl.where(wins, carry, best)
        index = tl.associative_scan(tl.where((v == best) | (v != v), at, place), 0, later)
        tl.store(out + at, best.to(out.dtype.element_ty), mask=inside)
        tl.store(indices + at, index.to(indices.dtype.element_ty), mask=inside)
        carry = tl.load(out + tl.minimum(begin + BLOCK, extent) - 1).to(ACC)
        place = tl.load(indices + tl.minimum(begin + BLOCK, extent) - 1).to(tl.int32)


@triton.jit
def products(x, out, count, extent, inner, ACC: tl.constexpr, COLUMNS: tl.constexpr, BLOCK: tl.constexpr):
    at, mask = place(count, extent, inner, COLUMNS, BLOCK)
    total = tl.full([BLOCK], 1, ACC)
    for _i in range(0, extent):
        total = total * tl.load(x + at, mask=mask, other=1).to(ACC)
        tl.store(out + at, total.to(out.dtype.element_ty), mask=mask)
        at += inner


@triton.jit
def products_grad(
    x, d, dx, count, extent, inner, ACC: tl.constexpr, COLUMNS: tl.constexpr, BLOCK: tl.constexpr
):
    """dx[i] = (product of x[:i]) * s[i], where s[i] = d[i] + x[i + 1] * s[i + 1]: no division, so zeros are no special case.
    dx is in ACC: s waits there for the products, which run the other way."""
    begin, mask = place(count, extent, inner, COLUMNS, BLOCK)
    at = begin + (extent - 1).to(tl.int64) * inner
    after = tl.full([BLOCK], 0, ACC)
    for _i in range(0, extent):
        suffix = tl.load(d + at, mask=mask, other=0).to(ACC) + after
        after = tl.load(x + at, mask=mask, other=0).to(ACC) * suffix
        tl.store(dx + at, suffix, mask=mask)
        at -= inner
    at = begin
    product = tl.full([BLOCK], 1, ACC)
    for _i in range(0, extent):
        s = tl.load(dx + at, mask=mask, other=0)
        tl.store(dx + at, product * s, mask=mask)
        product = product * tl.load(x + at, mask=mask, other=1).to(ACC)
        at += inner


@triton.jit
def log_sums(
    x,
    out,
    count,
    extent,
    inner,
    REVERSE: tl.constexpr,
    ACC: tl.constexpr,
    COLUMNS: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """log of the running sum of exp(x): the largest so far is taken out of the sum."""
    at, mask = place(count, extent, inner, COLUMNS, BLOCK)
    step = inner.to(tl.int64)
    if REVERSE:
        at += (extent - 1) * step
        step = -step
    top = tl.full([BLOCK], float("-inf"), ACC)
    total = tl.zeros([BLOCK], ACC)
    for _i in range(0, extent):
        v = tl.load(x + at, mask=mask, other=0).to(ACC)
        higher = tl.where((v > top) | (v != v), v, top)
        kept = tl.where(top == higher, total, total * tl.exp(top - higher))
        total = kept + tl.where(v == higher, tl.full([BLOCK], 1, ACC), tl.exp(v - higher))
        top = higher
        tl.store(out + at, (top + tl.log(total)).to(out.dtype.element_ty), mask=mask)
        at += step


@triton.jit
def log_sums_grad(
    x,
    out,
    d,
    dx,
    count,
    extent,
    inner,
    REVERSE: tl.constexpr,
    ACC: tl.constexpr,
    COLUMNS: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """dx[i] = sum over j from i on of d[j] * exp(x[i] - out[j]); out never falls, so every exponent is at most 0."""
    at, mask = place(count, extent, inner, COLUMNS, BLOCK)
    step = inner.to(tl.int64)
    if REVERSE:
        step = -step
    else:
        at += (extent - 1) * step
    later = tl.full([BLOCK], 0, ACC)
    total = tl.zeros([BLOCK], ACC)
    for _i in range(0, extent):
        v = tl.load(x + at, mask=mask, other=0).to(ACC)
        o = tl.load(out + at, mask=mask, other=0).to(ACC)
        total = tl.where(o == later, total, total * tl.exp(o - later))
        total += tl.load(d + at, mask=mask, other=0).to(ACC)
        tl.store(dx + at, (total * tl.exp(v - o)).to(dx.dtype.element_ty), mask=mask)
        later = o
        at -= step
