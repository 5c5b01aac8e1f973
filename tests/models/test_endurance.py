"""Long runs and hard limits: memory does not grow, an out-of-memory error leaves a usable card."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parent.parent.parent

GROWTH = """
import sys
import paddle
import openxpu
from openxpu.demo import digits

warm, steps = int(sys.argv[1]), int(sys.argv[2])
paddle.set_device("xpu")

def process_bytes():
    return int(open("/proc/self/statm").read().split()[1]) * 4096

def card_bytes():
    paddle.device.synchronize("xpu")
    return openxpu.Device(0).memory_stats()["reserved"]

data, recipe = digits.load_digits(), digits.Recipe()
model, optimizer, _ = digits.build(recipe)
done, before = 0, None
for epoch in range(1000):
    for images, labels in digits.batches(data, recipe, epoch):
        digits.train_step(model, optimizer, images, labels).item()
        done += 1
        if done == warm:
            before = process_bytes(), card_bytes()
        if done == warm + steps:
            after = process_bytes(), card_bytes()
            print("GROWTH", after[0] - before[0], after[1] - before[1])
            sys.exit(0)
"""

OUT_OF_MEMORY = """
import numpy as np
import paddle

paddle.set_device("xpu")
nn = paddle.nn
features = nn.Sequential(nn.Conv2D(3, 64, 3, padding=1), nn.ReLU(), nn.AdaptiveAvgPool2D(1))
model = nn.Sequential(features, nn.Flatten(), nn.Linear(64, 10))
optimizer = paddle.optimizer.Momentum(0.01, parameters=model.parameters())

def step(batch):
    x = paddle.to_tensor(np.random.default_rng(0).standard_normal((batch, 3, 128, 128)).astype("float32"))
    loss = paddle.nn.functional.cross_entropy(model(x), paddle.to_tensor(np.arange(batch) % 10))
    loss.backward()
    optimizer.step()
    optimizer.clear_grad()
    return loss.item()

first = step(2)
try:
    step(256)  # one activation alone is 1 GiB
except Exception as error:
    print("REFUSED", str(error).replace("\\n", " "))
losses = [step(2) for _ in range(3)]
assert losses[-1] < first, losses
print("WENT ON", losses)
"""


def run(program: str, *arguments: str, **environment: str) -> str:
    import os

    done = subprocess.run(
        [sys.executable, "-c", program, *arguments],
        cwd=ROOT,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"{done.stdout[-2000:]}\n{done.stderr[-4000:]}"
    return done.stdout


@pytest.mark.parametrize(
    ("warm", "steps"), [(30, 60), pytest.param(100, 500, marks=pytest.mark.slow)], ids=["60", "500"]
)
def test_training_steps_grow_neither_arena_nor_process(paddle_xpu: ModuleType, warm: int, steps: int) -> None:
    words = run(GROWTH, str(warm), str(steps)).split("GROWTH ")[1].split()
    process, card = int(words[0]), int(words[1])
    assert process < 8 << 20, f"{steps} steps grew the process by {process / 2**20:.1f} MiB"
    assert card <= 0, f"{steps} steps grew the arena by {card / 2**20:.1f} MiB"


def test_out_of_card_memory_is_told_and_a_smaller_batch_goes_on(paddle_xpu: ModuleType) -> None:
    said = run(OUT_OF_MEMORY, OPENXPU_CARD_MEMORY="400M")
    assert "REFUSED" in said, "256 pictures should not have fitted into 400 MB"
    refusal = said.split("REFUSED")[1].split("WENT ON")[0].lower()
    for word in ("free", "limit"):
        assert word in refusal, f"the error does not name the {word}: {refusal}"
    assert "WENT ON" in said
