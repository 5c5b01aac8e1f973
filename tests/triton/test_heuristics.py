"""triton.heuristics: constants computed from the arguments, alone and below autotune."""

import numpy as np
import triton
import triton.language as tl

import openxpu


@triton.heuristics(
    {"BLOCK": lambda args: triton.next_power_of_2(args["n"]), "EVEN": lambda args: args["n"] % 2 == 0}
)
@triton.jit
def flag_kernel(out, n, BLOCK: tl.constexpr, EVEN: tl.constexpr):
    i = tl.arange(0, BLOCK)
    tl.store(out + i, BLOCK if EVEN else -BLOCK, mask=i < n)


def test_heuristics():
    for _ in range(3):
        for n in (5, 6, 64, 100, 101):
            out = openxpu.zeros(n, "i32")
            flag_kernel[(1,)](out, n)
            block = triton.next_power_of_2(n)
            np.testing.assert_array_equal(out.numpy(), np.full(n, block if n % 2 == 0 else -block))


@triton.autotune(configs=[triton.Config({"BLOCK": 64}), triton.Config({"BLOCK": 128})], key=["n"])
@triton.heuristics({"MASKED": lambda args: args["n"] % args["BLOCK"] != 0})
@triton.jit
def fill_kernel(out, n, BLOCK: tl.constexpr, MASKED: tl.constexpr):
    i = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    if MASKED:
        tl.store(out + i, i, mask=i < n)
    else:
        tl.store(out + i, i)


def test_below_autotune():
    for n in (128, 100, 1000, 128):
        out = openxpu.zeros(n, "i32")
        for _ in range(3):
            fill_kernel[lambda meta: (triton.cdiv(n, meta["BLOCK"]),)](out, n)  # noqa: B023 - called at once
        np.testing.assert_array_equal(out.numpy(), np.arange(n))
