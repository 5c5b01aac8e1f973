"""What cannot be: each a sentence that says what was asked, what was found and what to do, with file and line."""

from pathlib import Path

import numpy as np
import pytest
import triton
import triton.language as tl
from triton.experimental import gluon
from triton.experimental.gluon import language as gl

import openxpu
from openxpu.compiler.tile_ir import CompileError

HERE = Path(__file__)


def line_of(text):
    return next(i for i, line in enumerate(HERE.read_text().splitlines(), 1) if text in line)


@triton.jit
def assembly_kernel(out, BLOCK: tl.constexpr):
    i = tl.arange(0, BLOCK)
    v = tl.inline_asm_elementwise("mov $0, $1;", "=r,r", [i], dtype=tl.int32, is_pure=True, pack=1)  # here
    tl.store(out + i, v)


def test_inline_assembly():
    out = openxpu.zeros(16, "i32")
    place = f"{HERE.name}:{line_of('# ' + 'here')}: .*inline assembly is written for one chip"
    for _ in range(2):
        with pytest.raises(CompileError, match=place):
            assembly_kernel[(1,)](out, BLOCK=16)


@gluon.jit
def gluon_kernel(out):
    gl.store(out, 1)


def test_gluon():
    place = rf"{HERE.name}:{line_of('def gluon' + '_kernel')}: Kernel gluon_kernel is written in Gluon.*write it in Triton"
    with pytest.raises(CompileError, match=place):
        gluon_kernel[(1,)](openxpu.zeros(1, "i32"))


@triton.jit
def combine_in_loop(a, b):
    while a > b:
        a -= b
    return a


@triton.jit
def looping_kernel(x, out):
    tl.store(out, tl.reduce(tl.load(x + tl.arange(0, 8)), 0, combine_in_loop))


def test_what_only_the_compiler_refuses():
    place = rf"{HERE.name}:{line_of('def looping' + '_kernel')}: .*combine function"
    with pytest.raises(CompileError, match=place):
        looping_kernel[(1,)](openxpu.zeros(8), openxpu.zeros(1))


@triton.jit
def fill_kernel(out, value, n, BLOCK: tl.constexpr):
    i = tl.arange(0, BLOCK)
    tl.store(out + i, value, mask=i < n)


@pytest.mark.parametrize("warm", [False, True])
def test_arguments(warm):
    out = openxpu.zeros(16)
    if warm:
        for _ in range(3):
            fill_kernel[(1,)](out, 1.0, 16, BLOCK=16)
    for argument, words in (
        (np.zeros(16, "f4"), r"NumPy array \(float32\[16\]\).*openxpu.triton.numpy_argument"),
        ("text", "'text' of class str; kernels take card arrays"),
        (np.float32(3), r"NumPy scalar .*pass a Python number instead: float\(value\)"),
        (openxpu.zeros(4, "c64"), "class Array has the dtype c64, which Triton does not have"),
        (object(), "of class object; kernels take"),
    ):
        with pytest.raises(TypeError, match=words):
            fill_kernel[(1,)](argument, 1.0, 16, BLOCK=16)


def test_a_missing_argument():
    out = openxpu.zeros(16)
    for _ in range(3):
        with pytest.raises(TypeError, match="missing 1 required positional argument: 'n'"):
            fill_kernel[(1,)](out, 1.0, BLOCK=16)
        fill_kernel[(1,)](out, 1.0, 16, BLOCK=16)


def test_an_unknown_option():
    out = openxpu.zeros(16)
    for _ in range(3):
        with pytest.raises(KeyError, match="num_wraps"):
            fill_kernel[(1,)](out, 1.0, 16, BLOCK=16, num_wraps=4)
        fill_kernel[(1,)](out, 1.0, 16, BLOCK=16)


@triton.jit
def narrow_kernel(out, n: tl.int8):
    tl.store(out, n)


def test_a_number_that_does_not_fit():
    out = openxpu.zeros(1, "i32")
    for _ in range(3):
        narrow_kernel[(1,)](out, -128)
        assert out.item() == -128
        with pytest.raises(ValueError, match="narrow_kernel: argument 1 is 300, which does not fit i8"):
            narrow_kernel[(1,)](out, 300)


@pytest.mark.parametrize(
    ("array", "words"),
    [
        (np.zeros(3, "c8"), "dtype complex64 cannot be a kernel argument; convert it with astype"),
        (np.zeros(3, ">f4"), "dtype >f4 cannot be"),
        ([1, 2], "takes a NumPy array and got list"),
    ],
)
def test_numpy_argument(array, words):
    with pytest.raises(TypeError, match=words):
        openxpu.triton.numpy_argument(array)


def test_an_architecture():
    from triton.backends.compiler import GPUTarget

    source = triton.compiler.ASTSource(
        fill_kernel, {"out": "*fp32", "value": "fp32", "n": "i32", "BLOCK": "constexpr"}, {"BLOCK": 16}
    )
    compiled = triton.compile(source, target=GPUTarget("openxpu", "x86-64-v3", 1))
    assert compiled.asm["oxk"][:8] == b"OXPUKRNL"
    with pytest.raises(
        ValueError, match=r"cannot compile for the architecture 'z80'; give one of x86-64, .*x86-64-v3"
    ):
        triton.compile(source, target=GPUTarget("openxpu", "z80", 1))
