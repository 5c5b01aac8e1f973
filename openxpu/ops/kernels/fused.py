# Kernels of operators that stand for a row of others: softmax under a mask, dropout in front of a sum, sums of three.
import triton
import triton.language as tl

from openxpu.ops.kernels.activation import gelu, relu, silu
from openxpu.ops.kernels.random import unit, words


@triton.jit
def masked_softmax_rows(
    x, mask, out, n, rows, heads, mask_batch, mask_head, mask_row,
    TRIANGLE: tl.constexpr, ACC: tl.constexpr, STREAM: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """softmax(x + mask) of one row of n <= BLOCK elements; TRIANGLE: of its elements up to the diagonal."""
    program = tl.program_id(0).to(tl.int64)
    row = program % rows
    offsets = tl.arange(0, BLOCK)
    inside = offsets < n
    v = tl.load(x + program * n + offsets, mask=inside, other=float("-inf")).to(ACC)
    if TRIANGLE:
        v = tl.where(offsets <= row, v, float("-inf"))
    else:
        plane = program // rows
        at = (plane // heads) * mask_batch + (plane % heads) * mask_head + row * mask_row
        v = v + tl.load(mask + at + offsets, mask=inside, other=0).to(ACC)
    v = v - tl.max(v, axis=0)
    e = tl.exp(v)
    modifier: tl.constexpr = ".cs" if STREAM else ""
    value = e * (1.0 / tl.sum(e, axis=0))
    tl.store(
        out + program * n + offsets, value.to(out.dtype.element_ty), mask=inside, cache_modifier=modifier
    )


@triton.jit
def _drop(x, y, out, start, n, word, p, scale, ADD: tl.constexpr, ACC: tl.constexpr, BLOCK: tl.constexpr):
    lane = tl.arange(0, BLOCK)
    inside = lane < n - start
    value = tl.load(x + start + lane, mask=inside, other=0).to(ACC)
    value = tl.where(unit(word) >= p, value * scale.to(ACC), 0.0)
    if ADD:
        value += tl.load(y + start + lane, mask=inside, other=0).to(ACC)
    tl.store(out + start + lane, value.to(out.dtype.element_ty), mask=inside)


@triton.jit
def dropout_from(x, y, out, seeds, n, p, scale, ADD: tl.constexpr, ACC: tl.constexpr, BLOCK: tl.constexpr):
    """x without what is dropped by the key and first counter in `seeds`, times scale; ADD: plus y."""
    program = tl.program_id(0).to(tl.int64)
    counter = tl.load(seeds + 1) + program * BLOCK + tl.arange(0, BLOCK)
    a, b, c, d = words(tl.load(seeds), 0, counter)
    start = program * (4 * BLOCK)
    _drop(x, y, out, start, n, a, p, scale, ADD, ACC, BLOCK)
    _drop(x, y, out, start + BLOCK, n, b, p, scale, ADD, ACC, BLOCK)
    _drop(x, y, out, start + 2 * BLOCK, n, c, p, scale, ADD, ACC, BLOCK)
    _drop(x, y, out, start + 3 * BLOCK, n, d, p, scale, ADD, ACC, BLOCK)


@triton.jit
def sum_of_three(x, y, z, a):
    return x + y + z * a.to(x.dtype)


@triton.jit
def sum_scaled(x, y, a):
    return x + y * a.to(x.dtype)


@triton.jit
def biased_gelu(x, y):
    return gelu(x + y)


@triton.jit
def biased_silu(x, y):
    return silu(x + y)


@triton.jit
def biased_relu(x, y):
    return relu(x + y)


@triton.jit
def gelu_times(x, y):
    return gelu(x) * y


@triton.jit
def silu_times(x, y):
    return silu(x) * y


@triton.jit
def times_biased(x, y, z):
    return x * (y + z)


@triton.jit
def shifted_smoothed(x, y, z):
    return (x + y) * z
