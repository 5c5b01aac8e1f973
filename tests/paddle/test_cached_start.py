# With a warm kernel cache a program runs without Triton and LLVM; `import paddle` alone loads no operators.

from __future__ import annotations

import subprocess
from collections.abc import Callable

Run = Callable[..., subprocess.CompletedProcess[str]]

PROGRAM = """
import sys
import paddle

def loaded(*names):
    return sorted(m for m in sys.modules if m in names or m.startswith(tuple(n + "." for n in names)))

heavy = ("triton", "llvmlite")
assert not loaded(*heavy, "openxpu.ops", "openxpu.compiler"), loaded(*heavy, "openxpu.ops", "openxpu.compiler")
paddle.set_device("xpu")
model = paddle.nn.Sequential(paddle.nn.Linear(8, 16), paddle.nn.ReLU(), paddle.nn.Linear(16, 4))
optimizer = paddle.optimizer.AdamW(0.01, parameters=model.parameters())
loss = paddle.nn.functional.cross_entropy(model(paddle.ones([5, 8])), paddle.to_tensor([0, 1, 2, 3, 0]))
loss.backward()
optimizer.step()
assert loss.item() > 0
print(loaded(*heavy))
"""


def test_a_warm_cache_needs_no_compiler(run_program: Run) -> None:
    first = run_program(PROGRAM)
    assert first.returncode == 0, first.stderr
    second = run_program(PROGRAM)
    assert second.stdout == "[]\n", second.stdout + second.stderr


def test_other_devices_load_nothing_of_it(run_program: Run) -> None:
    done = run_program("""
import sys
import paddle
paddle.set_device("cpu")
paddle.ones([3]) + 1
print([m for m in sys.modules if m.startswith(("openxpu.ops", "openxpu.compiler", "triton", "llvmlite"))])
""")
    assert done.stdout == "[]\n", done.stdout + done.stderr
