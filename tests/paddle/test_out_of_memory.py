# Out of card memory inside Paddle: the error names the figures, and the same process goes on with less.

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable

import paddle
import pytest

Run = Callable[..., subprocess.CompletedProcess[str]]

LIMITED = """
import numpy as np
import paddle
import openxpu
paddle.set_device("xpu")

def told(function):
    try:
        function()
    except Exception as error:
        print(type(error).__name__, "|", str(error).replace("\\n", " "))
    else:
        print("NO ERROR")

kept = paddle.ones([4, 1024, 1024])
told(lambda: paddle.ones([32, 1024, 1024]))
told(lambda: kept.tile([16, 1, 1]))
told(lambda: paddle.to_tensor(np.zeros(100 << 20, "uint8")))
told(lambda: [paddle.ones([1024, 1024]) for _ in range(100)])
model = paddle.nn.Linear(1024, 1024)
optimizer = paddle.optimizer.SGD(0.001, parameters=model.parameters())

def step(rows):
    loss = (model(paddle.ones([rows, 1024])) ** 2).mean()
    loss.backward()
    optimizer.step()
    optimizer.clear_grad()
    return loss.item()

first = step(64)
told(lambda: step(1 << 14))
optimizer.clear_grad()
losses = [step(64) for _ in range(5)]
assert losses[-1] < first, losses
assert float(kept.sum()) == 4 * 1024 * 1024
free = paddle.device.xpu.memory_total() - paddle.device.xpu.memory_used()
print("WENT ON", free >> 20)
"""


def test_the_error_names_the_figures_and_training_goes_on(run_program: Run) -> None:
    done = run_program(LIMITED, OPENXPU_CARD_MEMORY="96M")
    assert done.returncode == 0, done.stdout + done.stderr
    *told, went_on = done.stdout.splitlines()
    assert went_on.startswith("WENT ON")
    assert len(told) == 5
    for line in told:
        for part in (
            r"\d [KMG]iB were asked for",
            r"\d [KMG]iB are free",
            r"the limit is 96\.00 MiB",
            "xpu:0",
        ):
            assert re.search(part, line), f"{part!r} is not in: {line}"
    assert "128.00 MiB were asked for" in told[0]


def test_a_request_beyond_all_memory() -> None:
    with pytest.raises(MemoryError, match=r"the limit is"):
        paddle.empty([1 << 40])
    assert float(paddle.ones([3]).sum()) == 3.0
