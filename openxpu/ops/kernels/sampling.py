# Choosing tokens: from weights with and without replacement, from the nucleus of a distribution, and along back pointers.
import triton
import triton.language as tl

from openxpu.ops.kernels.random import above_zero, unit, unit64, words


@triton.jit
def pick(sums, out, n, count, steps, seed, offset, BLOCK: tl.constexpr):
    """out [rows, count]: the first category whose running sum [rows, n] f64 is above a uniform share of the whole."""
    row = tl.program_id(1).to(tl.int64)
    sums += row * n
    lane = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    inside = lane < count
    a, b, _, _ = words(seed, offset, row * count + lane)
    goal = unit64(a, b) * tl.load(sums + n - 1)
    low = tl.zeros([BLOCK], tl.int32)
    high = tl.zeros([BLOCK], tl.int32) + (n - 1)
    for _step in range(0, steps):
        middle = (low + high) // 2
        above = tl.load(sums + middle, mask=inside, other=0) > goal
        high = tl.where(above, middle, high)
        low = tl.where(above, low, tl.minimum(middle + 1, high))
    tl.store(out + row * count + lane, low.to(tl.int64), mask=inside)


@triton.jit
def race(x, keys, n, seed, offset, BLOCK: tl.constexpr):
    """keys = log(u) / x: in the order of the largest come samples without replacement, each in proportion to x.
    Source: Efraimidis and Spirakis, Weighted random sampling with a reservoir, 2006."""
    program = tl.program_id(0).to(tl.int64)
    lane = program * BLOCK + tl.arange(0, BLOCK)
    inside = lane < n
    word, _, _, _ = words(seed, offset, lane)
    weight = tl.load(x + lane, mask=inside, other=1).to(tl.float32)
    key = tl.where(weight > 0, tl.log(above_zero(word)) / weight, float("-inf"))
    tl.store(keys + lane, key, mask=inside)


@triton.jit
def mass_from(x, n, bits, BLOCK: tl.constexpr):
    """The sum of the elements of a row whose bits are at least `bits` (numbers from zero on are in the order of their bits)."""
    total = tl.full((), 0.0, tl.float64)
    for start in range(0, n, BLOCK):
        lane = start + tl.arange(0, BLOCK)
        v = tl.load(x + lane, mask=lane < n, other=0).to(tl.float32)
        counted = v.to(tl.int32, bitcast=True) >= bits
        total += tl.sum(tl.where(counted, v, 0.0), axis=0).to(tl.float64)
    return total


@triton.jit
def nucleus(x, shares, row_seeds, values, ids, n, seed, offset, SEEDS: tl.constexpr, BLOCK: tl.constexpr):
    """A token of each row of probabilities, from the most probable ones that together have the row's share: the one at which
    their running sum in falling order reaches a uniform part of the share. No row is sorted: the probability at that
    place is found by halving the range of its bits. Source: Holtzman et al., The curious case of neural text degeneration, 2020."""
    row = tl.program_id(0).to(tl.int64)
    x += row * n
    key = seed
    counter = offset + row
    if SEEDS:
        own = tl.load(row_seeds + row)
        key = tl.where(own < 0, key, own)
        counter = tl.where(own < 0, counter, 0)
    word, _, _, _ = words(key, counter, 0)
    goal = unit(word).to(tl.float64) * tl.load(shares + row).to(tl.float64)
    goal = tl.minimum(goal, mass_from(x, n, 1, BLOCK))
    low = tl.full((), 1, tl.int32)  # there is enough mass from here on
    high = tl.full((), 2139095040, tl.int32)  # infinity
    for _step in range(0, 31):
        middle = low + (high - low + 1) // 2
        enough = mass_from(x, n, middle, BLOCK) >= goal
        enough = enough & (middle < high)
        low = tl.where(enough, middle, low)
        high = tl.where(enough, high, tl.maximum(middle, low + 1))
    # From the places of the largest bits with enough mass, the first at which the sum is reached.
    best = tl.full((), 0, tl.int32)
    for start in range(0, n, BLOCK):
        lane = start + tl.arange(0, BLOCK)
        v = tl.load(x + lane, mask=lane < n, other=0).to(tl.float32).to(tl.int32, bitcast=True)
        best = tl.maximum(best, tl.max(tl.where(v <= low, v, 0), axis=0))
    if mass_from(x, n, best, BLOCK) < goal or best == 0:
        best = low
    rest = goal - mass_from(x, n, best + 1, BLOCK)
    value = best.to(tl.float32, bitcast=True)
    want = tl.maximum(
        tl.ceil((rest / tl.maximum(value, 1e-38).to(tl.float64)).to(tl.float32)).to(tl.int32), 1
    )
    seen = tl.full((), 0, tl.int32)
    chosen = tl.full((), 0, tl.int32)
    for start in range(0, n, BLOCK):
        lane = start + tl.arange(0, BLOCK)
        v = tl.load(x + lane, mask=lane < n, other=0).to(tl.float32).to(tl.int32, bitcast=True)
        same = ((v == best) & (lane < n)).to(tl.int32)
        order = seen + tl.cumsum(same, axis=0)
        hit = tl.where((same != 0) & (order <= want), lane, -1)
        chosen = tl.maximum(chosen, tl.max(hit, axis=0))
        seen += tl.sum(same, axis=0)
    tl.store(ids + row, chosen.to(tl.int64))
    tl.store(values + row, tl.load(x + chosen))
