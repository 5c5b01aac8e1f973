"""The second Triton tutorial: fused softmax by persistent programs, sized from what the driver says of the card."""

import numpy as np
import pytest
import triton
import triton.language as tl
from scipy.special import softmax as reference
from triton.runtime import driver

import openxpu


@triton.jit
def softmax_kernel(
    output_ptr,
    input_ptr,
    input_row_stride,
    output_row_stride,
    n_rows,
    n_cols,
    BLOCK_SIZE: tl.constexpr,
    num_stages: tl.constexpr,
):
    row_start = tl.program_id(0)
    row_step = tl.num_programs(0)
    for row_idx in tl.range(row_start, n_rows, row_step, num_stages=num_stages):
        row_start_ptr = input_ptr + row_idx * input_row_stride
        col_offsets = tl.arange(0, BLOCK_SIZE)
        input_ptrs = row_start_ptr + col_offsets
        mask = col_offsets < n_cols
        row = tl.load(input_ptrs, mask=mask, other=-float("inf"))
        row_minus_max = row - tl.max(row, axis=0)
        numerator = tl.exp(row_minus_max)
        denominator = tl.sum(numerator, axis=0)
        softmax_output = numerator / denominator
        output_row_start_ptr = output_ptr + row_idx * output_row_stride
        tl.store(output_row_start_ptr + col_offsets, softmax_output, mask=mask)


def softmax(x):
    properties = driver.active.utils.get_device_properties(driver.active.get_current_device())
    n_rows, n_cols = x.shape
    block_size, num_warps, num_stages = triton.next_power_of_2(n_cols), 8, 2
    y = openxpu.empty(x.shape)
    kernel = softmax_kernel.warmup(
        y, x, n_cols, n_cols, n_rows, n_cols,
        BLOCK_SIZE=block_size, num_stages=num_stages, num_warps=num_warps, grid=(1,),
    )  # fmt: skip
    kernel._init_handles()
    occupancy = properties["max_num_regs"] // (kernel.n_regs * properties["warpSize"] * num_warps)
    occupancy = min(occupancy, properties["max_shared_mem"] // kernel.metadata.shared)
    num_programs = min(properties["multiprocessor_count"] * occupancy, n_rows)
    kernel[(num_programs, 1, 1)](y, x, n_cols, n_cols, n_rows, n_cols, block_size, num_stages)
    return y


@pytest.mark.parametrize("shape", [(1823, 781), (5, 1), (64, 1000)])
def test_softmax(random, shape):
    x = (random.standard_normal(shape) * 5).astype("f4")
    np.testing.assert_allclose(
        softmax(openxpu.from_numpy(x)).numpy(), reference(x, axis=1), rtol=2e-6, atol=1e-7
    )
