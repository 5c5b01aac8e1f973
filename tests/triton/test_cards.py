"""Several cards: a launch runs on the card of its arguments, and arguments of two cards are refused."""

import os
import subprocess
import sys

PROGRAM = """
import sys
import numpy as np
import triton, triton.language as tl
import openxpu, openxpu.triton
from openxpu import _runtime

openxpu.triton.register()

@triton.jit
def copy_kernel(x, y, n, BLOCK: tl.constexpr):
    i = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    tl.store(y + i, tl.load(x + i, mask=i < n), mask=i < n)

values = np.arange(1000, dtype="f4")
_runtime.trace_start()
for turn in range(4):
    for card in ("xpu:0", "xpu:1"):
        x, y = openxpu.from_numpy(values, device=card), openxpu.empty(1000, device=card)
        copy_kernel[(4,)](x, y, 1000, BLOCK=256)
        np.testing.assert_array_equal(y.numpy(), values)
cards = [record[1] for record in _runtime.trace_stop() if record[0] == "copy_kernel"]
assert cards == [0, 1] * 4, cards
for turn in range(3):
    try:
        copy_kernel[(4,)](x, openxpu.empty(1000, device="xpu:0"), 1000, BLOCK=256)
    except ValueError as error:
        assert "lie on several cards (xpu:0, xpu:1); copy them to one card first" in str(error), error
    else:
        sys.exit("arguments of two cards were taken")
"""


def test_two_cards(tmp_path):
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)
    done = subprocess.run(
        [sys.executable, str(program)],
        env={**os.environ, "OPENXPU_CARDS": "2"},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stderr
