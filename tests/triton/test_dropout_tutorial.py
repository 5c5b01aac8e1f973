"""The fourth Triton tutorial: dropout from a seed, with Triton's own stream of random numbers (Philox 4x32-10)."""

import numpy as np
import triton
import triton.language as tl

import openxpu


@triton.jit
def seeded_dropout(x_ptr, output_ptr, n_elements, p, seed, BLOCK_SIZE: tl.constexpr):
    pid = tl.program_id(axis=0)
    offsets = pid * BLOCK_SIZE + tl.arange(0, BLOCK_SIZE)
    mask = offsets < n_elements
    x = tl.load(x_ptr + offsets, mask=mask)
    random = tl.rand(seed, offsets)
    x_keep = random > p
    output = tl.where(x_keep, x / (1 - p), 0.0)
    tl.store(output_ptr + offsets, output, mask=mask)


def philox_uniform(seed, offsets):
    """Salmon et al., Parallel random numbers: as easy as 1, 2, 3 (2011); the first word, scaled as tl.rand does."""
    low = np.uint64(0xFFFFFFFF)
    c = [offsets.astype("u8"), *(np.zeros(offsets.shape, "u8") for _ in range(3))]
    k0, k1 = np.uint64(seed) & low, np.uint64(seed) >> np.uint64(32)
    for _ in range(10):
        a, b = np.uint64(0xD2511F53) * c[0], np.uint64(0xCD9E8D57) * c[2]
        shift = np.uint64(32)
        c = [(b >> shift) ^ c[1] ^ k0, b & low, (a >> shift) ^ c[3] ^ k1, a & low]
        k0, k1 = (k0 + np.uint64(0x9E3779B9)) & low, (k1 + np.uint64(0xBB67AE85)) & low
    word = c[0].astype("u4").view("i4")
    word = np.where(word < 0, -word - 1, word)
    return word.astype("f4") * np.float32(4.6566127342e-10)


def test_dropout(random):
    n = 5000
    x = random.standard_normal(n).astype("f4")
    for seed in (123, 123, 512, 2**40 + 7):
        out = openxpu.empty(n)
        seeded_dropout[lambda meta: (triton.cdiv(n, meta["BLOCK_SIZE"]),)](
            openxpu.from_numpy(x), out, n, 0.5, seed, BLOCK_SIZE=1024
        )
        expected = np.where(philox_uniform(seed, np.arange(n)) > 0.5, x * 2, 0)
        np.testing.assert_array_equal(out.numpy(), expected)
