# What falls back to the CPU is counted, announced or forbidden; what does not is counted as native.
# The examples are functions of complex numbers, for which the card has no kernels.

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import paddle
import pytest
from compared import fallen

import openxpu.paddle

Run = Callable[..., subprocess.CompletedProcess[str]]


def test_eager_calls_are_counted_by_kernel() -> None:
    x = paddle.ones([3, 3], "complex64")

    def call() -> None:
        paddle.sin(x)
        paddle.sin(x)
        paddle.tan(x + x)

    assert fallen(call) == {"sin": 2, "tan": 1}


def test_reset_and_native_calls() -> None:
    paddle.sin(paddle.ones([3], "complex64"))
    assert openxpu.paddle.fallbacks()["sin"] > 0
    openxpu.paddle.reset_counters()
    assert openxpu.paddle.fallbacks() == {}
    assert openxpu.paddle.native_calls() == {}
    paddle.ones([3]) + paddle.ones([3])
    assert openxpu.paddle.native_calls() == {"full": 2, "add": 1}
    assert openxpu.paddle.fallbacks() == {}


def test_gradients_that_fall_back_are_counted() -> None:
    x = paddle.ones([3], "complex64")
    x.stop_gradient = False
    assert fallen(lambda: paddle.sin(x).abs().sum().backward()) == {"sin": 1, "sin_grad": 1}


def test_calls_meant_for_the_cpu_are_not_counted() -> None:
    x = paddle.to_tensor([1.0 + 1.0j, 2.0], place="cpu")
    assert fallen(lambda: paddle.sin(x)) == {}


class Mixed(paddle.nn.Layer):
    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        return paddle.sin(x * 2.0) + paddle.cos(x)


def test_each_run_of_a_program_is_counted(tmp_path: Path) -> None:
    spec = [paddle.static.InputSpec([None, 4], "complex64")]
    model = paddle.jit.to_static(Mixed(), input_spec=spec, full_graph=True)
    x = paddle.to_tensor(np.full([2, 4], 1.5, np.complex64))
    model(x)
    assert fallen(lambda: [model(x) for _ in range(3)]) == {"sin": 3, "cos": 3}
    paddle.jit.save(model, str(tmp_path / "mixed"))
    loaded = paddle.jit.load(str(tmp_path / "mixed"))
    loaded(x)
    assert fallen(lambda: loaded(x)) == {"sin": 1, "cos": 1}
    np.testing.assert_allclose(loaded(x).numpy(), np.full([2, 4], np.sin(3.0) + np.cos(1.5)), rtol=1e-5)


PROGRAM = """
import paddle
paddle.set_device("xpu")
x = paddle.to_tensor([1.5 + 0j] * 3)
y = x + x
for _ in range(3):
    paddle.sin(x)
paddle.cos(x)
print("done")
"""


def test_allow_says_nothing(run_program: Run) -> None:
    done = run_program(PROGRAM, OPENXPU_FALLBACK="allow")
    assert done.stdout == "done\n", done.stderr
    assert "OpenXPU" not in done.stderr


def test_warn_names_each_operator_once(run_program: Run) -> None:
    done = run_program(PROGRAM, OPENXPU_FALLBACK="warn")
    assert done.stdout == "done\n", done.stderr
    said = [line for line in done.stderr.splitlines() if line.startswith("OpenXPU:")]
    assert said == [
        f"OpenXPU: operator {name} runs on the CPU: the card's kernel does not take complex64."
        for name in ("sin", "cos")
    ]


def test_error_stops_at_the_first(run_program: Run) -> None:
    done = run_program(PROGRAM, OPENXPU_FALLBACK="error")
    assert done.returncode != 0
    assert "done" not in done.stdout
    assert (
        "Operator sin would run on the CPU: the card's kernel does not take complex64. OPENXPU_FALLBACK=error forbids "
        "that; set it to warn or allow to go on." in done.stderr
    )


def test_a_wrong_value_is_named(run_program: Run) -> None:
    done = run_program(PROGRAM, OPENXPU_FALLBACK="never")
    assert 'OPENXPU_FALLBACK is "never"; it can be allow, warn or error' in done.stderr


@pytest.mark.parametrize("policy", ["warn", "error"])
def test_a_refused_signature_says_why(policy: str, run_program: Run) -> None:
    """Kernels exist, but their planner does not do this case: uniform with a diagonal."""
    done = run_program(
        """
import paddle
paddle.set_device("xpu")
x = paddle.ones([4, 4])
y = paddle.put_along_axis(x, paddle.zeros([4, 1], "int64"), paddle.full([4, 1], 2.0), 1, "mean", include_self=False)
print(y.sum().item())
""",
        OPENXPU_FALLBACK=policy,
    )
    assert "put_along_axis" in done.stderr, done.stderr
    assert (done.returncode == 0) == (policy == "warn")
    if policy == "warn":
        assert done.stdout == "20.0\n"
