"""`openxpu certify --mode multi-card`: a model trained by data parallelism on two cards, beside one card that has the whole batch."""

from __future__ import annotations

import json
import math
import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from openxpu.certify.stages import STEPS, Run, StageFailed, built, called, device, momentum, tensors
from openxpu.models.registry import Batch

CARDS = 2
LIMIT = 900  # seconds
# Relative: gradients are averaged in another order, and the clipping of their norm is the same.
LOSSES = 1e-2


def parts(batch: Batch, ranks: int) -> list[Batch]:
    """The batch cut along the samples. Raises StageFailed where it cannot be cut evenly."""
    extents = {len(value) for value in batch.values() if isinstance(value, np.ndarray)}
    if len(extents) != 1 or min(extents) % ranks:
        raise StageFailed(
            f"A batch of {sorted(extents)} samples cannot be cut for {ranks} cards; give --batch {ranks} or a multiple of it."
        )
    each = min(extents) // ranks
    return [
        {n: v[r * each : (r + 1) * each] if isinstance(v, np.ndarray) else v for n, v in batch.items()}
        for r in range(ranks)
    ]


def steady(model: Any) -> None:
    """Training mode, but batch normalisation takes the statistics that it has: those of a batch differ between a part and the whole."""
    model.train()
    for layer in model.sublayers():
        if "BatchNorm" in type(layer).__name__:
            layer.eval()


def losses(run: Run, batches: list[Batch], parallel: bool) -> list[float]:
    """STEPS steps of Momentum: the mean loss of all parts before each; in parallel this process has one part, and averages."""
    import paddle

    model = built(run)
    steady(model)
    trained = paddle.DataParallel(model) if parallel else model
    optimizer = momentum(run, model)
    given, found = [tensors(batch) for batch in batches], []
    for _ in range(STEPS):
        total = 0.0
        for part in given:
            loss = run.data.loss(called(trained, run, part), part) / len(given)
            loss.backward()
            total += float(loss.item())
        optimizer.step()
        optimizer.clear_grad()
        if parallel:
            mean: Any = paddle.to_tensor([total], "float32")
            paddle.distributed.all_reduce(mean)
            total = float(mean.item()) / paddle.distributed.get_world_size()
        found.append(total)
    return found


def rank(order: dict[str, Any]) -> None:
    """What each card does; rank 0 writes the losses."""
    import paddle

    from openxpu.certify import user
    from openxpu.models import find

    paddle.distributed.init_parallel_env()
    model = user.model(order["model"], order["shapes"]) if order["shapes"] else find([order["model"]])[0]
    run = Run(model, order["batch"], order["seed"], Path("."))
    number = paddle.distributed.get_rank()
    own = parts(run.data.make(run.batch_size, run.seed), CARDS)[number]
    found = losses(run, [own], True)
    if number == 0:
        Path(order["result"]).write_text(json.dumps(found))


def multi_card(run: Run) -> dict[str, Any]:
    """The losses of two cards, each with half of the batch, and those of one card with both halves."""
    batch = run.data.make(run.batch_size, run.seed)
    halves = parts(batch, CARDS)
    with device("xpu"):
        wanted = losses(run, halves, False)
    with tempfile.TemporaryDirectory(prefix="openxpu-cards-") as name:
        folder = Path(name)
        result = folder / "losses.json"
        order = {"model": run.model.name, "batch": run.batch_size, "seed": run.seed}
        order |= {"shapes": run.shapes, "result": str(result)}
        environment = {**os.environ, "OPENXPU_CARDS": str(CARDS)}
        for stale in ("PADDLE_MASTER", "MASTER_ADDR", "MASTER_PORT", "PYTHONSAFEPATH"):
            environment.pop(stale, None)
        command = [
            sys.executable, "-m", "paddle.distributed.launch", "--devices", ",".join(map(str, range(CARDS))),
            "--log_dir", str(folder / "log"), __file__, json.dumps(order),
        ]  # fmt: skip
        child = subprocess.Popen(
            command, env=environment, cwd=folder, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL, start_new_session=True,
        )  # fmt: skip
        try:
            status: int | None = child.wait(LIMIT)
        except subprocess.TimeoutExpired:
            status = None
            child.send_signal(signal.SIGTERM)  # the launcher ends its ranks
            child.wait(60)
        if not result.exists():
            logs = sorted((folder / "log").glob("workerlog.*"))
            last = logs[0].read_text()[-1500:] if logs else "The launcher wrote nothing."
            words = f"took more than {LIMIT} s" if status is None else f"ended with status {status}"
            raise StageFailed(f"The {CARDS} cards {words}. Card 0 wrote last: {last}")
        found = json.loads(result.read_text())
    apart = [abs(a - b) / max(abs(b), 1e-3) for a, b in zip(found, wanted, strict=True)]
    if not all(map(math.isfinite, found)) or max(apart) > LOSSES:
        step = next((i for i, a in enumerate(apart) if not a <= LOSSES), 0)
        raise StageFailed(
            f"The loss of step {step + 1} is {found[step]:.6g} on {CARDS} cards and {wanted[step]:.6g} on one."
        )
    return {"losses": found, "difference": max(apart), "cards": CARDS}


if __name__ == "__main__":
    rank(json.loads(sys.argv[1]))
