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
        paddle.nn.functional.softsign(x)
        paddle.nn.functional.softsign(x)
        paddle.stanh(x + x)

    assert fallen(call) == {"softsign": 2, "stanh": 1}


def test_reset_and_native_calls() -> None:
    paddle.nn.functional.softsign(paddle.ones([3], "complex64"))
    assert openxpu.paddle.fallbacks()["softsign"] > 0
    openxpu.paddle.reset_counters()
    assert openxpu.paddle.fallbacks() == {}
    assert openxpu.paddle.native_calls() == {}
    paddle.ones([3]) + paddle.ones([3])
    assert openxpu.paddle.native_calls() == {"full": 2, "add": 1}
    assert openxpu.paddle.fallbacks() == {}


def test_gradients_that_fall_back_are_counted() -> None:
    x = paddle.ones([3], "complex64")
    x.stop_gradient = False
    assert fallen(lambda: paddle.nn.functional.softsign(x).abs().sum().backward()) == {
        "softsign": 1,
        "softsign_grad": 1,
    }


def test_calls_meant_for_the_cpu_are_not_counted() -> None:
    x = paddle.to_tensor([1.0 + 1.0j, 2.0], place="cpu")
    assert fallen(lambda: paddle.nn.functional.softsign(x)) == {}


class Mixed(paddle.nn.Layer):
    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        return paddle.nn.functional.softsign(x * 2.0) + paddle.stanh(x)


def test_each_run_of_a_program_is_counted(tmp_path: Path) -> None:
    spec = [paddle.static.InputSpec([None, 4], "complex64")]
    model = paddle.jit.to_static(Mixed(), input_spec=spec, full_graph=True)
    x = paddle.to_tensor(np.full([2, 4], 1.5, np.complex64))
    model(x)
    assert fallen(lambda: [model(x) for _ in range(3)]) == {"softsign": 3, "stanh": 3}
    paddle.jit.save(model, str(tmp_path / "mixed"))
    loaded = paddle.jit.load(str(tmp_path / "mixed"))
    loaded(x)
    assert fallen(lambda: loaded(x)) == {"softsign": 1, "stanh": 1}
    np.testing.assert_allclose(
        loaded(x).numpy(), np.full([2, 4], 0.75 + 1.7159 * np.tanh(0.67 * 1.5)), rtol=1e-5
    )


PROGRAM = """
import paddle
paddle.set_device("xpu")
x = paddle.to_tensor([1.5 + 0j] * 3)
y = x + x
for _ in range(3):
    paddle.nn.functional.softsign(x)
paddle.stanh(x)
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
        for name in ("softsign", "stanh")
    ]


def test_error_stops_at_the_first(run_program: Run) -> None:
    done = run_program(PROGRAM, OPENXPU_FALLBACK="error")
    assert done.returncode != 0
    assert "done" not in done.stdout
    assert (
        "Operator softsign would run on the CPU: the card's kernel does not take complex64. OPENXPU_FALLBACK=error forbids "
        "that; set it to warn or allow to go on." in done.stderr
    )


def test_a_wrong_value_is_named(run_program: Run) -> None:
    done = run_program(PROGRAM, OPENXPU_FALLBACK="never")
    assert 'OPENXPU_FALLBACK is "never"; it can be allow, warn or error' in done.stderr


@pytest.mark.parametrize("policy", ["warn", "error"])
def test_a_refused_signature_says_why(policy: str, run_program: Run) -> None:
    """Kernels exist, but their planner does not do this case: more values than places."""
    done = run_program(
        """
import paddle
paddle.set_device("xpu")
x = paddle.ones([4, 4])
y = paddle.put_along_axis(x, paddle.zeros([4, 1], "int64"), paddle.full([4, 2], 2.0), 1, "add", broadcast=False)
print(y.sum().item())
""",
        OPENXPU_FALLBACK=policy,
    )
    assert "put_along_axis" in done.stderr, done.stderr
    assert (done.returncode == 0) == (policy == "warn")
    if policy == "warn":
        assert done.stdout == "24.0\n"


def test_arithmetic_of_shapes_stays_on_the_host_and_is_no_fallback(run_program: Run, tmp_path: Path) -> None:
    """Paddle keeps a shape on the CPU, and what a program computes from it there: nothing fell."""
    (tmp_path / "halves.py").write_text(
        """
import paddle

class Halves(paddle.nn.Layer):
    def forward(self, x):
        rows = paddle.shape(x)[0].astype("float32") / 2.0
        return x.reshape([-1])[: rows.floor().astype("int32")]
"""
    )
    done = run_program(
        f"""
import sys
sys.path.insert(0, {str(tmp_path)!r})
import paddle, openxpu.paddle
from halves import Halves
paddle.set_device("xpu")
model = paddle.jit.to_static(Halves(), input_spec=[paddle.static.InputSpec([None, 1])], full_graph=True)
print(model(paddle.arange(5, dtype="float32").reshape([5, 1])).numpy(), openxpu.paddle.fallbacks())
"""
    )
    assert done.stdout == "[0. 1.] {}\n", done.stdout + done.stderr
