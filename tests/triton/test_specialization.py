"""Triton's specialisation: integers that are 1 or multiples of 16, alignment, classes and values of constants."""

import numpy as np
import triton
import triton.language as tl

import openxpu


@triton.jit
def scale_kernel(out, stride, factor, n, BLOCK: tl.constexpr):
    i = tl.arange(0, BLOCK)
    tl.store(out + i * stride, i * factor, mask=i < n)


def test_one_and_multiples_of_16():
    for _ in range(3):
        for stride in (1, 2, 3, 16, 32, 1):
            for factor in (1, 16, 5, 2**33, -1):
                out = openxpu.zeros(64 * 32, "i64")
                scale_kernel[(1,)](out, stride, factor, 50, BLOCK=64)
                expected = np.zeros(64 * 32, "i8")
                expected[: 50 * stride : stride] = np.arange(50) * factor
                np.testing.assert_array_equal(out.numpy(), expected)


def test_a_variant_for_each_case():
    out = openxpu.zeros(64 * 32, "i64")
    kernels = [scale_kernel[(1,)](out, stride, 7, 50, BLOCK=64) for stride in (1, 2, 16, 3, 32, 1)]
    assert len({id(kernel) for kernel in kernels[:3]}) == 3
    assert [kernel.hash for kernel in kernels[:3]] == [kernels[i].hash for i in (5, 3, 4)]


@triton.jit
def wide_kernel(out, value):
    tl.store(out, value)


def test_integer_widths():
    for _ in range(3):
        for value in (3, 2**31 - 1, 2**31, -(2**31) - 1, 2**63 - 1, -(2**63)):
            out = openxpu.zeros(1, "i64")
            wide_kernel[(1,)](out, value)
            assert out.item() == value
        out = openxpu.zeros(1, "i64")
        wide_kernel[(1,)](out, 2**63 + 5)
        assert int(out.numpy().view("u8")[0]) == 2**63 + 5


def test_numbers_and_bools():
    for _ in range(3):
        for value in (1.5, 1, True, False, 0, 0.0, 16, 3):
            out = openxpu.zeros(1, "f64")
            wide_kernel[(1,)](out, value)
            assert out.item() == value


@triton.jit
def typed_kernel(out, a: tl.float16, b: tl.bfloat16, c: tl.float64, d: tl.int8, e: tl.uint16, f: tl.int1):
    tl.store(out, a.to(tl.float64))
    tl.store(out + 1, b.to(tl.float64))
    tl.store(out + 2, c)
    tl.store(out + 3, d.to(tl.float64))
    tl.store(out + 4, e.to(tl.float64))
    tl.store(out + 5, f.to(tl.float64))


def test_annotated_numbers():
    for value in (0.1, -65504.0, 1e-7, 3.0e-5, 1.0009765625, 1e9):
        out = openxpu.zeros(6, "f64")
        for _ in range(3):
            typed_kernel[(1,)](out, value, value, value, -7, 65535, True)
        with np.errstate(over="ignore"):
            half = float(np.float16(value))
        bits = np.float32(value).view(np.uint32)
        brain = ((bits + 0x7FFF + ((bits >> 16) & 1)) & 0xFFFF0000).astype(np.uint32).view(np.float32)
        np.testing.assert_array_equal(out.numpy(), [half, float(brain), value, -7, 65535, 1])


@triton.jit
def copy_kernel(x, y, n, BLOCK: tl.constexpr):
    i = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    tl.store(y + i, tl.load(x + i, mask=i < n), mask=i < n)


def test_alignment(random):
    x = random.random(1001, "f4")
    whole = openxpu.from_numpy(x)
    for offset in (0, 1, 4, 1, 0):
        out = openxpu.zeros(1000)
        copy_kernel[(4,)](whole.view((1001 - offset,), offset=offset), out, 1000 - offset, BLOCK=256)
        np.testing.assert_array_equal(out.numpy()[: 1000 - offset], x[offset:1000])


def test_a_pointer_that_is_none(random):
    @triton.jit
    def maybe_kernel(x, bias, out, n, BLOCK: tl.constexpr):
        i = tl.arange(0, BLOCK)
        value = tl.load(x + i, mask=i < n)
        if bias is not None:
            value += tl.load(bias + i, mask=i < n)
        tl.store(out + i, value, mask=i < n)

    x = openxpu.from_numpy(random.random(100, "f4"))
    out = openxpu.empty(100)
    for _ in range(3):
        maybe_kernel[(1,)](x, None, out, 100, BLOCK=128)
        np.testing.assert_array_equal(out.numpy(), x.numpy())
        maybe_kernel[(1,)](x, x, out, 100, BLOCK=128)
        np.testing.assert_array_equal(out.numpy(), 2 * x.numpy())


def test_keywords_and_defaults(random):
    @triton.jit
    def default_kernel(x, out, n, factor=3.0, BLOCK: tl.constexpr = 128):
        i = tl.arange(0, BLOCK)
        tl.store(out + i, tl.load(x + i, mask=i < n) * factor, mask=i < n)

    x = openxpu.from_numpy(random.random(100, "f4"))
    for _ in range(3):
        out = openxpu.empty(100)
        default_kernel[(1,)](x, out, n=100)
        np.testing.assert_array_equal(out.numpy(), x.numpy() * np.float32(3))
        default_kernel[(1,)](out=out, x=x, n=100, factor=2.0, BLOCK=256, num_warps=8)
        np.testing.assert_array_equal(out.numpy(), x.numpy() * np.float32(2))
