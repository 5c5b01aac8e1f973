# What falls back to the CPU is counted, announced or forbidden; what does not is counted as native.

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
    x = paddle.ones([3, 3])

    def call() -> None:
        paddle.lgamma(x)
        paddle.lgamma(x)
        paddle.linalg.cholesky(x + 2.0 * paddle.eye(3))

    assert fallen(call) == {"lgamma": 2, "cholesky": 1}


def test_reset_and_native_calls() -> None:
    paddle.lgamma(paddle.ones([3]))
    assert openxpu.paddle.fallbacks()["lgamma"] > 0
    openxpu.paddle.reset_counters()
    assert openxpu.paddle.fallbacks() == {}
    assert openxpu.paddle.native_calls() == {}
    paddle.ones([3]) + paddle.ones([3])
    assert openxpu.paddle.native_calls() == {"full": 2, "add": 1}
    assert openxpu.paddle.fallbacks() == {}


def test_gradients_that_fall_back_are_counted() -> None:
    x = paddle.ones([3])
    x.stop_gradient = False
    assert fallen(lambda: paddle.lgamma(x).sum().backward()) == {"lgamma": 1, "lgamma_grad": 1}


def test_calls_meant_for_the_cpu_are_not_counted() -> None:
    x = paddle.to_tensor([1.0, 2.0], place="cpu")
    assert fallen(lambda: paddle.lgamma(x)) == {}


class Mixed(paddle.nn.Layer):
    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        return paddle.lgamma(x * 2.0) + paddle.digamma(x)


def test_each_run_of_a_program_is_counted(tmp_path: Path) -> None:
    """The sum counts too: after two operators on the CPU, Paddle leaves it there."""
    spec = [paddle.static.InputSpec([None, 4], "float32")]
    model = paddle.jit.to_static(Mixed(), input_spec=spec, full_graph=True)
    x = paddle.full([2, 4], 1.5)
    model(x)
    assert fallen(lambda: [model(x) for _ in range(3)]) == {"lgamma": 3, "digamma": 3, "add": 3}
    paddle.jit.save(model, str(tmp_path / "mixed"))
    loaded = paddle.jit.load(str(tmp_path / "mixed"))
    loaded(x)
    assert fallen(lambda: loaded(x)) == {"lgamma": 1, "digamma": 1, "add": 1}
    np.testing.assert_allclose(loaded(x).numpy(), np.full([2, 4], 0.69314718 + 0.03648998), rtol=1e-5)


PROGRAM = """
import paddle
paddle.set_device("xpu")
x = paddle.full([3], 1.5)
y = x + 1.0
for _ in range(3):
    paddle.lgamma(x)
paddle.digamma(x)
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
        f"OpenXPU: operator {name} runs on the CPU: the card has no kernel of this name."
        for name in ("lgamma", "digamma")
    ]


def test_error_stops_at_the_first(run_program: Run) -> None:
    done = run_program(PROGRAM, OPENXPU_FALLBACK="error")
    assert done.returncode != 0
    assert "done" not in done.stdout
    assert (
        "Operator lgamma would run on the CPU: the card has no kernel of this name. OPENXPU_FALLBACK=error forbids "
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
