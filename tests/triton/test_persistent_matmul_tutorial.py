"""The ninth Triton tutorial: persistent products that walk over tiles, by pointers and by descriptors."""

import numpy as np
import pytest
import triton
import triton.language as tl
from triton.runtime import driver

import openxpu
from openxpu.triton import tensor_descriptor


@triton.jit
def compute_pid(tile_id, num_pid_in_group, num_pid_m, GROUP_SIZE_M: tl.constexpr):
    group_id = tile_id // num_pid_in_group
    first_pid_m = group_id * GROUP_SIZE_M
    group_size_m = min(num_pid_m - first_pid_m, GROUP_SIZE_M)
    pid_m = first_pid_m + (tile_id % group_size_m)
    pid_n = (tile_id % num_pid_in_group) // group_size_m
    return pid_m, pid_n


@triton.jit
def persistent_kernel(
    a_desc, b_desc, c_desc, M, N, K,
    BLOCK_SIZE_M: tl.constexpr, BLOCK_SIZE_N: tl.constexpr, BLOCK_SIZE_K: tl.constexpr,
    GROUP_SIZE_M: tl.constexpr, NUM_SMS: tl.constexpr, EPILOGUE_SUBTILE: tl.constexpr,
):  # fmt: skip
    start_pid = tl.program_id(axis=0)
    num_pid_m = tl.cdiv(M, BLOCK_SIZE_M)
    num_pid_n = tl.cdiv(N, BLOCK_SIZE_N)
    k_tiles = tl.cdiv(K, BLOCK_SIZE_K)
    num_tiles = num_pid_m * num_pid_n
    num_pid_in_group = GROUP_SIZE_M * num_pid_n
    for tile_id in tl.range(start_pid, num_tiles, NUM_SMS, flatten=True):
        pid_m, pid_n = compute_pid(tile_id, num_pid_in_group, num_pid_m, GROUP_SIZE_M)
        offs_am = pid_m * BLOCK_SIZE_M
        offs_bn = pid_n * BLOCK_SIZE_N
        accumulator = tl.zeros((BLOCK_SIZE_M, BLOCK_SIZE_N), dtype=tl.float32)
        for ki in range(k_tiles):
            offs_k = ki * BLOCK_SIZE_K
            a = a_desc.load([offs_am, offs_k])
            b = b_desc.load([offs_bn, offs_k])
            accumulator = tl.dot(a, b.T, accumulator)
        if EPILOGUE_SUBTILE:
            acc = tl.reshape(accumulator, (BLOCK_SIZE_M, 2, BLOCK_SIZE_N // 2))
            acc = tl.permute(acc, (0, 2, 1))
            acc0, acc1 = tl.split(acc)
            c_desc.store([offs_am, offs_bn], acc0.to(c_desc.dtype))
            c_desc.store([offs_am, offs_bn + BLOCK_SIZE_N // 2], acc1.to(c_desc.dtype))
        else:
            c_desc.store([offs_am, offs_bn], accumulator.to(c_desc.dtype))


@pytest.mark.parametrize("subtile", [False, True])
def test_persistent(random, subtile):
    m, n, k, blocks = 200, 96, 128, (64, 32, 64)
    a = (random.standard_normal((m, k)) / 4).astype("f2")
    b = (random.standard_normal((n, k)) / 4).astype("f2")
    c = openxpu.zeros((m, n), "f16")
    workers = driver.active.utils.get_device_properties(0)["multiprocessor_count"]
    for _ in range(2):
        persistent_kernel[lambda meta: (min(workers, 12),)](
            tensor_descriptor(openxpu.from_numpy(a), [blocks[0], blocks[2]]),
            tensor_descriptor(openxpu.from_numpy(b), [blocks[1], blocks[2]]),
            tensor_descriptor(c, [blocks[0], blocks[1] // (2 if subtile else 1)]),
            m, n, k, *blocks, GROUP_SIZE_M=8, NUM_SMS=min(workers, 12), EPILOGUE_SUBTILE=subtile,
        )  # fmt: skip
    np.testing.assert_allclose(c.numpy(), a.astype("f8") @ b.astype("f8").T, rtol=2e-3, atol=2e-3)
