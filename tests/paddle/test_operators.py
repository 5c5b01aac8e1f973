# `openxpu ops`: the table, docs/operators.md, operators that a saved program lacks, fallbacks of a script.

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import paddle
import pytest

import openxpu.paddle
from openxpu.paddle import operator_table as operators
from openxpu.paddle import operators_command
from openxpu.paddle.left_to_paddle import LEFT

ROOT = Path(__file__).parents[2]
DOCUMENT = ROOT / "docs" / "operators.md"


def rows_of(text: str) -> dict[str, tuple[str, str, bool]]:
    """{operator: (group, dtypes, whether it has a gradient)} of a page like docs/operators.md."""
    found: dict[str, tuple[str, str, bool]] = {}
    group = ""
    for line in text.splitlines():
        if line.startswith("## "):
            group = line.removeprefix("## ")
        elif match := re.match(r"\| `(\w+)` \| ([\w ]+) \|.*\| (\S*) \|$", line):
            found[match[1]] = (group, match[2], match[3] != "-")
    return found


def test_the_page_is_not_stale() -> None:
    assert rows_of(DOCUMENT.read_text()) == rows_of(operators_command.document()), (
        "docs/operators.md says something else than the plug-in; write it again: openxpu ops --markdown > docs/operators.md"
    )


def test_every_kernel_is_in_the_table() -> None:
    listed = {row.kernel for row in operators.operators()}
    kernels = set(openxpu.paddle.registered_kernels())
    assert listed <= kernels
    assert {k.removesuffix("_grad") for k in kernels} <= {k.removesuffix("_grad") for k in listed}
    softmax = next(row for row in operators.operators() if row.kernel == "softmax")
    assert softmax.backward
    assert softmax.dtypes == ("f32", "f64", "f16", "bf16")
    assert softmax.cases > 0


class Model(paddle.nn.Layer):
    """An operator that no card has (Paddle has it on GPUs only in other ways), twice, beside some that it has."""

    def forward(self, x: Any) -> Any:
        return paddle.nn.functional.softmax(paddle.lgamma(paddle.lgamma(x)) + x.astype("complex64").abs())


def lacking(path: Path) -> dict[str, int]:
    return {row.operator: row.count for row in operators.missing(path)}


def test_missing_of_a_saved_program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "model"
    paddle.jit.save(Model(), str(path), input_spec=[paddle.static.InputSpec([None, 3], "float32", "x")])
    program = path.with_suffix(".json")
    own = openxpu.paddle.kernel_dtypes()
    # As if the card had all but lgamma, whatever it has by now; abs of complex numbers is a matter of the dtype.
    told = {**own, "softmax": ("f32",), "cast": ("f32",), "add": ("f32",), "abs": ("f32",)}
    told.pop("lgamma", None)
    monkeypatch.setattr("openxpu.paddle.counters.kernel_dtypes", lambda: told)
    monkeypatch.setattr(
        paddle.base.core, "_get_registered_phi_kernels", lambda _: {"lgamma": ["(CPU, x, float32)"]}
    )
    found = lacking(program)
    assert found["lgamma"] == 2
    assert found["abs"] == 1
    assert not {"softmax", "cast", "add"} & set(found)


def test_missing_of_an_old_program(tmp_path: Path) -> None:
    """The format that Paddle 2 wrote."""
    writer = """
import sys, paddle
paddle.enable_static()
program, start = paddle.static.Program(), paddle.static.Program()
with paddle.static.program_guard(program, start):
    x = paddle.static.data("x", [2, 3], "float32")
    y = paddle.nn.functional.softmax(x @ x.T) + 1.0
executor = paddle.static.Executor(paddle.CPUPlace())
executor.run(start)
paddle.static.save_inference_model(sys.argv[1], [x], [y], executor, program=program)
"""
    import os

    path = tmp_path / "old"
    environment = {**os.environ, "FLAGS_enable_pir_api": "0"}
    subprocess.run([sys.executable, "-c", writer, str(path)], env=environment, check=True, timeout=240)
    names = [name for name, _ in operators._translated(path.with_suffix(".pdmodel"))]
    assert {"matmul", "softmax", "scale"} <= set(names)
    assert lacking(path.with_suffix(".pdmodel")) == {}


def test_what_is_no_program(tmp_path: Path) -> None:
    other = tmp_path / "other.json"
    other.write_text("{}")
    with pytest.raises(ValueError, match="no program of Paddle"):
        operators.missing(other)
    with pytest.raises(ValueError, match=r"give a \.json or a \.pdmodel file"):
        operators.missing(tmp_path / "model.onnx")


def test_trace(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        "import sys, paddle\n"
        "paddle.set_device('xpu')\n"
        "x = paddle.rand([4, 5]).astype('complex64')\n"
        "def work(x):\n"
        "    return paddle.linalg.svd(x)\n"
        "for _ in range(int(sys.argv[1])):\n"
        "    work(x)\n"
        "paddle.rand([3]) + 1.0\n"
    )
    command = [sys.executable, "-m", "openxpu.cli", "ops", "--json", "--trace", str(script), "3"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=240, check=True)
    report = json.loads(done.stdout[done.stdout.index("{") :])
    (svd,) = (row for row in report["fallbacks"] if row["operator"] == "svd")
    assert (svd["calls"], svd["line"]) == (3, 5)
    assert report["native_calls"] >= 3


def test_what_is_left_to_paddle_exists() -> None:
    """Every name is a kernel of Paddle, and the page has each with its reason unless the card has it by now."""
    from paddle.base import core

    everywhere: Any = core
    registered = everywhere._get_registered_phi_kernels("all")
    assert [kernel for kernel in LEFT if kernel not in registered] == []
    page = operators_command.document().partition("## Left to Paddle")[2]
    own = openxpu.paddle.registered_kernels()
    assert [kernel for kernel in LEFT if (f"`{kernel}`" in page) == (kernel in own)] == []
