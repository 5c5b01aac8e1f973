"""What kernels say: device_print, device_assert, static_assert, static_print, and the refusals with the kernel's file and line."""

import ctypes
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from harness import compiled, launch
from written import folder, kernel

from openxpu.compiler.tile_ir import CompileError

PRINTS = """
@triton.jit
def kernel(x, f):
    v = tl.load(x + tl.arange(0, 2)[:, None] * 2 + tl.arange(0, 2)[None, :])
    if tl.program_id(0) == 1:
        tl.device_print("tile", v)
        tl.device_print("hex", tl.load(x + 1), hex=True)
        tl.device_print("two of 100%", tl.load(f), tl.load(x).to(tl.uint8))
        tl.device_print("nothing")
"""


def test_device_print(capfd):
    launch(kernel(PRINTS), (2,), np.array([-1, 2, 3, 4], "i4"), np.array([1.5], "f4"))
    ctypes.CDLL(None).fflush(None)
    lines = capfd.readouterr().out.splitlines()
    assert lines[:4] == [
        f"pid (1, 0, 0) idx ({i}, {j}) tile: {v}" for i, j, v in ((0, 0, -1), (0, 1, 2), (1, 0, 3), (1, 1, 4))
    ]
    assert lines[4] == "pid (1, 0, 0) idx () hex: 0x00000002"
    assert lines[5:7] == [
        "pid (1, 0, 0) idx () two of 100%: 1.500000 (operand 0)",
        "pid (1, 0, 0) idx () two of 100%: 255 (operand 1)",
    ]
    assert lines[7] == "pid (1, 0, 0) idx () nothing"
    assert len(lines) == 8


ASSERTS = """
@triton.jit
def kernel(x, n, BLOCK: tl.constexpr):
    tl.static_assert(BLOCK > 1, "too small")
    tl.static_print("block", BLOCK)
    offs = tl.arange(0, BLOCK)
    v = tl.load(x + offs, mask=offs < n, other=7)
    tl.device_assert(v != 7, "seven", mask=offs < n)
    for i in range(n):
        tl.device_assert(i < 4, "loop")
        if i == 3:
            tl.device_assert(tl.sum(v) > 0, "sum")
"""


def test_device_assert_gives_the_first_message_that_fails():
    def message(x, n):
        number = launch(kernel(ASSERTS), (1,), np.array(x, "i4"), n, BLOCK=8)
        result = compiled(kernel(ASSERTS), ["*i32", "i32", "constexpr"], {"BLOCK": 8})[0]
        return result.messages[number - 1] if number else None

    assert message([1, 2, 3, 4], 3) is None
    assert message([1, 7, 3, 4], 3) == "seven"
    assert message([1, 2, 3, 4, 5, 6], 6) == "loop"
    assert message([-100, 2, 3, 4], 4) == "sum"


def test_static_assert():
    with pytest.raises(CompileError, match="too small"):
        launch(kernel(ASSERTS), (1,), np.zeros(4, "i4"), 3, BLOCK=1)


INLINE = """
@triton.jit
def inner(x):
    return tl.inline_asm_elementwise("mov.b32 $0, $1;", "=r,r", [x], dtype=tl.int32, is_pure=True, pack=1)


@triton.jit
def kernel(p):
    tl.store(p, inner(tl.load(p)))
"""


def test_inline_assembly_is_refused_with_file_and_line():
    ref = kernel(INLINE)
    path = folder() / (ref.split(":")[0] + ".py")
    line = next(i for i, text in enumerate(path.read_text().splitlines(), 1) if "inline_asm" in text)
    with pytest.raises(
        CompileError, match=re.escape(f"{path}:{line}: The kernel uses tt.elementwise_inline_asm")
    ):
        launch(ref, (1,), np.zeros(1, "i4"))


GLUON = """
from triton.experimental import gluon


@gluon.jit
def kernel(p):
    pass
"""


def test_gluon_is_refused_with_file_and_line():
    ref = kernel(GLUON)
    path = folder() / (ref.split(":")[0] + ".py")
    with pytest.raises(CompileError, match=re.escape(f"{path}:") + r"\d+: .* is a gluon"):
        launch(ref, (1,), np.zeros(1, "i4"))


REFUSED = {  # by Triton itself, or because no card has the type
    "make_block_ptr": ("tl.make_block_ptr(p, (4,), (1,), (0,), (4,), (0,))", "tensor descriptor"),
    "float8e4b15": (
        "tl.store(p, tl.load(p).to(tl.float8e4b15, bitcast=True).to(tl.float32).to(tl.int8))",
        "fp8|float8",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused(name):
    line, words = REFUSED[name]
    with pytest.raises(CompileError, match=words):
        launch(kernel(f"@triton.jit\ndef kernel(p):\n    {line}\n"), (1,), np.zeros(4, "i1"))


def test_printing_kernels_run_on_the_card():
    """The run time's loader resolves printf."""
    pytest.importorskip("openxpu._runtime")
    code = f"import sys; sys.path[:0] = {[str(folder()), str(Path(__file__).parent)]!r}\n" + (
        "from openxpu.compiler import get_kernel\n"
        f"print(get_kernel({kernel(PRINTS)!r}, ['*i32', '*f32'], {{}}).name)"
    )
    found = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=120
    )
    assert found.returncode == 0, found.stderr
