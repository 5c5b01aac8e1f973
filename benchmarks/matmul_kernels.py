"""The product with a fused epilogue that benchmarks/kernels.py times against torch's addmm followed by gelu."""

import triton
import triton.language as tl


@triton.jit
def linear_gelu(x, w, bias, out, m, n, k, BM: tl.constexpr, BN: tl.constexpr, BK: tl.constexpr):
    """gelu(x @ w + bias), by erf; x: [m, k], w: [k, n], contiguous, f32."""
    rows = tl.program_id(1) * BM + tl.arange(0, BM)
    columns = tl.program_id(0) * BN + tl.arange(0, BN)
    acc = tl.zeros((BM, BN), dtype=tl.float32)
    for start in range(0, k, BK):
        inner = start + tl.arange(0, BK)
        a = tl.load(
            x + rows[:, None] * k + inner[None, :],
            mask=(rows[:, None] < m) & (inner[None, :] < k),
            other=0.0,
        )
        b = tl.load(
            w + inner[:, None] * n + columns[None, :],
            mask=(inner[:, None] < k) & (columns[None, :] < n),
            other=0.0,
        )
        acc = tl.dot(a, b, acc)
    v = acc + tl.load(bias + columns, mask=columns < n, other=0.0)[None, :]
    v = 0.5 * v * (1.0 + tl.erf(v * 0.7071067811865476))
    at = rows[:, None] * n + columns[None, :]
    tl.store(out + at, v, mask=(rows[:, None] < m) & (columns[None, :] < n))
