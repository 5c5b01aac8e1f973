"""The fused kernels that benchmarks/kernels.py times against chains of torch's operators."""

import triton
import triton.language as tl


@triton.jit
def add_gelu(x, y, out, n, BLOCK: tl.constexpr, MODIFIER: tl.constexpr):
    """gelu(x + y), by erf."""
    i = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    mask = i < n
    v = tl.load(x + i, mask=mask) + tl.load(y + i, mask=mask)
    tl.store(out + i, 0.5 * v * (1.0 + tl.erf(v * 0.7071067811865476)), mask=mask, cache_modifier=MODIFIER)


@triton.jit
def silu_and_mul(x, y, out, n, BLOCK: tl.constexpr, MODIFIER: tl.constexpr):
    """x * sigmoid(x) * y."""
    i = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    mask = i < n
    v = tl.load(x + i, mask=mask)
    tl.store(out + i, v * tl.sigmoid(v) * tl.load(y + i, mask=mask), mask=mask, cache_modifier=MODIFIER)


@triton.jit
def chain(x, y, out, n, BLOCK: tl.constexpr, MODIFIER: tl.constexpr):
    """tanh(x * y + x) / 2 - y."""
    i = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    mask = i < n
    a, b = tl.load(x + i, mask=mask), tl.load(y + i, mask=mask)
    v = a * b + a
    tanh = 2.0 * tl.sigmoid(2.0 * v) - 1.0
    tl.store(out + i, 0.5 * tanh - b, mask=mask, cache_modifier=MODIFIER)
